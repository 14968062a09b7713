//! Cells: the stored form of single fields.

use crate::clock::Timestamp;
use std::{fmt, ops::Deref, sync::Arc};
use zeroize::Zeroizing;

/// The name of a cell in its record: `schema/field`, and `schema/field@n` once the stored type changed in version `n`.
///
/// Keys starting with `~` are fetched only when a load names them; a leading `__` is reserved for stores.
///
/// ```
/// use cloakroom::record::CellKey;
/// const VIEWS: CellKey = CellKey::from_static("shop/views");
/// assert_eq!(VIEWS, CellKey::from("shop/views".to_owned()));
/// assert!(!VIEWS.is_on_demand());
/// ```
#[derive(Clone)]
pub struct CellKey(KeyText);

#[derive(Clone)]
enum KeyText {
    Static(&'static str),
    Shared(Arc<str>),
}

impl CellKey {
    /// A key known at compile time; costs nothing to clone.
    ///
    /// ```
    /// use cloakroom::record::{CellKey};
    /// const CART: CellKey = CellKey::from_static("shop/cart");
    /// # let _ = CART;
    /// ```
    pub const fn from_static(key: &'static str) -> Self {
        Self(KeyText::Static(key))
    }

    /// The key's text.
    ///
    /// ```
    /// use cloakroom::record::{CellKey};
    /// assert_eq!(CellKey::from_static("shop/cart").as_str(), "shop/cart");
    /// ```
    pub fn as_str(&self) -> &str {
        match &self.0 {
            KeyText::Static(text) => text,
            KeyText::Shared(text) => text,
        }
    }

    /// Whether a load fetches this cell only when it names it.
    ///
    /// ```
    /// use cloakroom::record::{CellKey};
    /// assert!(CellKey::from("~big/file").is_on_demand());
    /// ```
    pub fn is_on_demand(&self) -> bool {
        self.as_str().starts_with('~')
    }
}

impl From<String> for CellKey {
    fn from(key: String) -> Self {
        Self(KeyText::Shared(key.into()))
    }
}

impl From<&str> for CellKey {
    fn from(key: &str) -> Self {
        Self(KeyText::Shared(key.into()))
    }
}

impl Deref for CellKey {
    type Target = str;
    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl PartialEq for CellKey {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for CellKey {}

impl PartialOrd for CellKey {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for CellKey {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl std::hash::Hash for CellKey {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl fmt::Debug for CellKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for CellKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The encoded bytes of one value. Small ones lie inline, larger ones are shared, so a clone never copies much.
///
/// ```
/// use cloakroom::record::Payload;
/// let payload = Payload::from(&b"abc"[..]);
/// assert_eq!(&payload[..], b"abc");
/// ```
#[derive(Clone)]
pub struct Payload(Bytes);

const INLINE: usize = 22;

#[derive(Clone)]
enum Bytes {
    Inline(u8, [u8; INLINE]),
    Shared(Arc<[u8]>),
    /// Overwritten with zeros when the last clone goes.
    Wiped(Arc<Zeroizing<Box<[u8]>>>),
}

impl Payload {
    /// The plain value of a `secret` field, which does not stay in memory that is free again.
    pub(crate) fn wiped(bytes: &[u8]) -> Self {
        Self(Bytes::Wiped(Arc::new(Zeroizing::new(bytes.into()))))
    }
}

impl From<&[u8]> for Payload {
    fn from(bytes: &[u8]) -> Self {
        if bytes.len() <= INLINE {
            let mut inline = [0; INLINE];
            inline[..bytes.len()].copy_from_slice(bytes);
            // At most INLINE, which fits.
            Self(Bytes::Inline(bytes.len() as u8, inline))
        } else {
            Self(Bytes::Shared(bytes.into()))
        }
    }
}

impl Deref for Payload {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match &self.0 {
            Bytes::Inline(length, bytes) => &bytes[..usize::from(*length)],
            Bytes::Shared(bytes) => bytes,
            Bytes::Wiped(bytes) => bytes,
        }
    }
}

impl PartialEq for Payload {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Payload {}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Field values do not belong into logs.
        write!(f, "{} bytes", self.len())
    }
}

/// How a payload is encoded. It stands in every cell, so a record may mix codecs and a change of codec logs nobody out.
///
/// ```
/// use cloakroom::record::CodecId;
/// assert_eq!(CodecId::BINCODE.as_u8(), 1);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CodecId(u8);

impl CodecId {
    /// bincode 2, `standard()` configuration.
    pub const BINCODE: Self = Self(1);
    /// postcard 1.
    pub const POSTCARD: Self = Self(2);
    /// JSON (RFC 8259), for `opaque` fields.
    pub const JSON: Self = Self(3);

    /// The codec of this stored number, known to this build or not.
    ///
    /// ```
    /// use cloakroom::record::{CodecId};
    /// assert_eq!(CodecId::from_u8(2), CodecId::POSTCARD);
    /// ```
    pub const fn from_u8(id: u8) -> Self {
        Self(id)
    }

    /// The number as stored.
    ///
    /// ```
    /// use cloakroom::record::{CodecId};
    /// assert_eq!(CodecId::JSON.as_u8(), 3);
    /// ```
    pub const fn as_u8(self) -> u8 {
        self.0
    }
}

/// The shape of a stored value: a 64-bit hash over kinds, names and order of everything in its type.
///
/// Two types of one shape encode alike; a cell whose shape is not the one expected is never decoded.
///
/// ```
/// use cloakroom::{SessionValue, record::Shape};
/// assert_eq!(<Box<u32> as SessionValue>::SHAPE, <u32 as SessionValue>::SHAPE);
/// assert_ne!(<u32 as SessionValue>::SHAPE, Shape::OPAQUE);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape(u64);

impl Shape {
    /// The shape of `opaque` fields, whose bytes describe themselves.
    pub const OPAQUE: Self = Self(0);

    /// The shape of this stored number.
    ///
    /// ```
    /// use cloakroom::record::{Shape};
    /// assert_eq!(Shape::from_u64(0), Shape::OPAQUE);
    /// ```
    pub const fn from_u64(hash: u64) -> Self {
        Self(hash)
    }

    /// The number as stored.
    ///
    /// ```
    /// use cloakroom::record::{Shape};
    /// assert_eq!(Shape::from_u64(7).as_u64(), 7);
    /// ```
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// What a cell says about its field.
///
/// ```
/// use cloakroom::record::Content;
/// assert!(Content::Tombstone.payload().is_none());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Content {
    /// The field was cleared; readers see its default.
    Tombstone,
    /// The field has a value.
    Value {
        /// How the payload is encoded.
        codec: CodecId,
        /// What the payload is the encoding of.
        shape: Shape,
        /// Whether the payload is sealed under the session key.
        sealed: bool,
        /// The encoded value.
        payload: Payload,
    },
}

impl Content {
    /// The encoded value, if there is one.
    ///
    /// ```
    /// use cloakroom::record::{CodecId, Content, Payload, Shape};
    /// let content = Content::Value { codec: CodecId::JSON, shape: Shape::OPAQUE, sealed: false, payload: Payload::from(&b"7"[..]) };
    /// assert_eq!(content.payload().map(|payload| &payload[..]), Some(&b"7"[..]));
    /// ```
    pub fn payload(&self) -> Option<&Payload> {
        match self {
            Self::Tombstone => None,
            Self::Value { payload, .. } => Some(payload),
        }
    }
}

/// Everything of a cell but its name and stamp: what a request writes.
///
/// ```
/// use cloakroom::record::{CellBody, Content};
/// let cleared = CellBody::new(Content::Tombstone);
/// assert_eq!(cleared.deadline, None);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CellBody {
    /// The value, or that there is none.
    pub content: Content,
    /// When the field falls back to its default, for `ttl` fields.
    pub deadline: Option<Timestamp>,
    /// Whether the cell survives a change of owner, as far as the program that wrote it is asked.
    pub keep: bool,
    /// Of a cell that is kept, the epoch of its record when it was written. A program that does not declare the field `keep`
    /// believes the cell in that epoch only: in a later one the session may have another owner.
    pub epoch: u32,
}

impl CellBody {
    /// A body without deadline that does not survive a change of owner.
    ///
    /// ```
    /// use cloakroom::record::{CellBody, Content};
    /// let mut body = CellBody::new(Content::Tombstone);
    /// body.keep = true;
    /// ```
    pub fn new(content: Content) -> Self {
        Self { content, deadline: None, keep: false, epoch: 0 }
    }

    /// The value a reader sees at that instant: none for a tombstone or past the deadline.
    ///
    /// ```
    /// use cloakroom::record::{CellBody, CodecId, Content, Payload, Shape, Timestamp};
    /// let content = Content::Value { codec: CodecId::JSON, shape: Shape::OPAQUE, sealed: false, payload: Payload::from(&b"7"[..]) };
    /// let mut body = CellBody::new(content);
    /// body.deadline = Some(Timestamp::from_millis(10));
    /// assert!(body.visible(Timestamp::from_millis(9)).is_some());
    /// assert!(body.visible(Timestamp::from_millis(10)).is_none());
    /// ```
    pub fn visible(&self, now: Timestamp) -> Option<&Content> {
        match (&self.content, self.deadline) {
            (Content::Tombstone, _) => None,
            (_, Some(deadline)) if deadline <= now => None,
            (content, _) => Some(content),
        }
    }
}

/// One stored field.
///
/// ```
/// use cloakroom::record::{Cell, CellBody, CellKey, Content};
/// let cell = Cell::new(CellKey::from_static("shop/views"), 3, CellBody::new(Content::Tombstone));
/// assert_eq!(cell.stamp, 3);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cell {
    /// The physical key.
    pub key: CellKey,
    /// The record's revision when the cell was written.
    pub stamp: u64,
    /// What was written.
    pub body: CellBody,
}

impl Cell {
    /// A cell of these parts.
    ///
    /// ```
    /// use cloakroom::record::{Cell, CellBody, CellKey, Content};
    /// let cell = Cell::new(CellKey::from_static("shop/cart"), 1, CellBody::new(Content::Tombstone));
    /// assert_eq!(cell.key, CellKey::from("shop/cart"));
    /// ```
    pub fn new(key: CellKey, stamp: u64, body: CellBody) -> Self {
        Self { key, stamp, body }
    }
}

/// A cell as a request writes it: the store adds the stamp.
///
/// ```
/// use cloakroom::record::{CellBody, CellKey, Content, Put};
/// let put = Put::new(CellKey::from_static("shop/views"), CellBody::new(Content::Tombstone));
/// assert_eq!(&*put.key, "shop/views");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Put {
    /// The physical key.
    pub key: CellKey,
    /// What to write.
    pub body: CellBody,
}

impl Put {
    /// A write of these parts.
    ///
    /// ```
    /// use cloakroom::record::{CellBody, CellKey, Content, Put};
    /// let put = Put::new(CellKey::from_static("shop/cart"), CellBody::new(Content::Tombstone));
    /// assert_eq!(put.body.deadline, None);
    /// ```
    pub fn new(key: CellKey, body: CellBody) -> Self {
        Self { key, body }
    }
}

/// The cells of a record, sorted by key and shared until changed.
///
/// ```
/// use cloakroom::record::{CellBody, CellKey, Cells, Content, Put};
/// let mut cells = Cells::default();
/// cells.put_all(&[Put::new(CellKey::from_static("shop/views"), CellBody::new(Content::Tombstone))], 1);
/// assert_eq!(cells.stamp("shop/views"), 1);
/// assert_eq!(cells.stamp("shop/cart"), 0);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cells(Arc<Vec<Cell>>);

impl Cells {
    /// The cell of that key.
    ///
    /// ```
    /// use cloakroom::record::{Cell, CellBody, CellKey, Cells, Content};
    /// let cell = |key| Cell::new(CellKey::from_static(key), 3, CellBody::new(Content::Tombstone));
    /// let cells: Cells = [cell("shop/cart"), cell("~shop/scan")].into_iter().collect();
    /// assert!(cells.get("shop/cart").is_some());
    /// ```
    pub fn get(&self, key: &str) -> Option<&Cell> {
        self.find(key).ok().map(|at| &self.0[at])
    }

    /// The stamp of that key's cell; 0 where there is none. This is what guards compare.
    ///
    /// ```
    /// use cloakroom::record::{Cell, CellBody, CellKey, Cells, Content};
    /// let cell = |key| Cell::new(CellKey::from_static(key), 3, CellBody::new(Content::Tombstone));
    /// let cells: Cells = [cell("shop/cart"), cell("~shop/scan")].into_iter().collect();
    /// assert_eq!(cells.stamp("shop/cart"), 3);
    /// assert_eq!(cells.stamp("shop/total"), 0);
    /// ```
    pub fn stamp(&self, key: &str) -> u64 {
        self.get(key).map_or(0, |cell| cell.stamp)
    }

    /// Writes cells under one stamp.
    ///
    /// ```
    /// use cloakroom::record::{CellBody, CellKey, Cells, Content, Put};
    /// let mut cells = Cells::default();
    /// cells.put_all(&[Put::new(CellKey::from_static("shop/cart"), CellBody::new(Content::Tombstone))], 2);
    /// assert_eq!(cells.stamp("shop/cart"), 2);
    /// ```
    pub fn put_all(&mut self, puts: &[Put], stamp: u64) {
        for put in puts {
            self.insert(Cell { key: put.key.clone(), stamp, body: put.body.clone() });
        }
    }

    /// Adds or replaces a cell.
    ///
    /// ```
    /// use cloakroom::record::{Cell, CellBody, CellKey, Cells, Content};
    /// let cell = |key| Cell::new(CellKey::from_static(key), 3, CellBody::new(Content::Tombstone));
    /// let mut cells: Cells = [cell("shop/cart"), cell("~shop/scan")].into_iter().collect();
    /// cells.insert(cell("shop/total"));
    /// assert_eq!(cells.len(), 3);
    /// ```
    pub fn insert(&mut self, cell: Cell) {
        match self.find(&cell.key) {
            Ok(at) => Arc::make_mut(&mut self.0)[at] = cell,
            Err(at) => Arc::make_mut(&mut self.0).insert(at, cell),
        }
    }

    /// Drops a cell.
    ///
    /// ```
    /// use cloakroom::record::{Cell, CellBody, CellKey, Cells, Content};
    /// let cell = |key| Cell::new(CellKey::from_static(key), 3, CellBody::new(Content::Tombstone));
    /// let mut cells: Cells = [cell("shop/cart"), cell("~shop/scan")].into_iter().collect();
    /// cells.remove("shop/cart");
    /// assert!(cells.get("shop/cart").is_none());
    /// ```
    pub fn remove(&mut self, key: &str) {
        if let Ok(at) = self.find(key) {
            Arc::make_mut(&mut self.0).remove(at);
        }
    }

    /// Drops every cell whose key is not listed.
    ///
    /// ```
    /// use cloakroom::record::{Cell, CellBody, CellKey, Cells, Content};
    /// let cell = |key| Cell::new(CellKey::from_static(key), 3, CellBody::new(Content::Tombstone));
    /// let mut cells: Cells = [cell("shop/cart"), cell("~shop/scan")].into_iter().collect();
    /// cells.retain(&[CellKey::from_static("shop/cart")]);
    /// assert_eq!(cells.len(), 1);
    /// ```
    pub fn retain(&mut self, kept: &[CellKey]) {
        Arc::make_mut(&mut self.0).retain(|cell| kept.contains(&cell.key));
    }

    /// The cells in the order of their keys.
    ///
    /// ```
    /// use cloakroom::record::{Cell, CellBody, CellKey, Cells, Content};
    /// let cell = |key| Cell::new(CellKey::from_static(key), 3, CellBody::new(Content::Tombstone));
    /// let cells: Cells = [cell("shop/cart"), cell("~shop/scan")].into_iter().collect();
    /// assert_eq!(cells.iter().next().map(|cell| cell.key.as_str()), Some("shop/cart"));
    /// ```
    pub fn iter(&self) -> std::slice::Iter<'_, Cell> {
        self.0.iter()
    }

    /// How many cells there are.
    ///
    /// ```
    /// use cloakroom::record::{Cell, CellBody, CellKey, Cells, Content};
    /// let cell = |key| Cell::new(CellKey::from_static(key), 3, CellBody::new(Content::Tombstone));
    /// let cells: Cells = [cell("shop/cart"), cell("~shop/scan")].into_iter().collect();
    /// assert_eq!(cells.len(), 2);
    /// ```
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    ///
    /// ```
    /// assert!(cloakroom::record::Cells::default().is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What a load returns: everything but the on-demand cells it did not name.
    ///
    /// ```
    /// use cloakroom::record::{Cell, CellBody, CellKey, Cells, Content, Want};
    /// let cell = |key| Cell::new(CellKey::from_static(key), 3, CellBody::new(Content::Tombstone));
    /// let cells: Cells = [cell("shop/cart"), cell("~shop/scan")].into_iter().collect();
    /// assert_eq!(cells.wanted(&Want::default()).len(), 1);
    /// assert_eq!(cells.wanted(&Want::with(&["~shop/scan"])).len(), 2);
    /// ```
    #[must_use]
    pub fn wanted(&self, want: &super::Want<'_>) -> Self {
        if self.are_wanted(want) {
            self.clone()
        } else {
            self.0.iter().filter(|cell| want.includes(&cell.key)).cloned().collect()
        }
    }

    /// Whether a load returns all of them.
    pub(crate) fn are_wanted(&self, want: &super::Want<'_>) -> bool {
        self.0.iter().all(|cell| want.includes(&cell.key))
    }

    /// Keys and payload sizes, largest first, for the errors that say what is too large.
    pub(crate) fn sizes(&self) -> Vec<(String, usize)> {
        let size = |cell: &Cell| cell.body.content.payload().map_or(0, |payload| payload.len());
        let mut sizes: Vec<_> = self.iter().map(|cell| (cell.key.to_string(), size(cell))).collect();
        sizes.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        sizes
    }

    fn find(&self, key: &str) -> Result<usize, usize> {
        // Where cells never left the process, their keys are the fields' own: one glance at each address is a fraction of the text
        // comparisons, which all begin with the schema's name.
        if let Some(at) = self.0.iter().position(|cell| std::ptr::eq(cell.key.as_str(), key)) {
            return Ok(at);
        }
        self.0.binary_search_by(|cell| cell.key.as_str().cmp(key))
    }
}

impl FromIterator<Cell> for Cells {
    fn from_iter<I: IntoIterator<Item = Cell>>(cells: I) -> Self {
        let mut cells: Vec<Cell> = cells.into_iter().collect();
        cells.sort_by(|a, b| a.key.cmp(&b.key));
        cells.dedup_by(|later, earlier| later.key == earlier.key);
        Self(Arc::new(cells))
    }
}

impl<'a> IntoIterator for &'a Cells {
    type Item = &'a Cell;
    type IntoIter = std::slice::Iter<'a, Cell>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
