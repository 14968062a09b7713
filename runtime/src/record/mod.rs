//! One session at rest: a header and a map of cells, and the one place that says what a patch does to them.
//!
//! Stores know these types and nothing of anybody's struct. [`Record::apply`] is the reference semantics of a commit: a store
//! in a database says the same in its own language, and the conformance suite compares.
//!
//! ```
//! use cloakroom::record::{CellBody, Header};
//!
//! /// What an inspection tool does with the two kinds of bytes that a database holds.
//! fn describe(header: &[u8], cell: &[u8]) -> Result<String, cloakroom::record::WireError> {
//!     Ok(format!("revision {}, {:?}", Header::decode(header)?.revision, CellBody::decode(cell)?.content))
//! }
//! # let _ = describe;
//! ```

mod cell;
mod extensions;
mod header;
mod patch;
pub(crate) mod wire;

pub(crate) use self::header::Accepted;
pub use self::{
    cell::{Cell, CellBody, CellKey, Cells, CodecId, Content, Payload, Put, Shape},
    extensions::Extensions,
    header::{Header, Owner, OwnerHash, Previous, PreviousState},
    patch::{CommitOutcome, CreateOutcome, Deadlines, Guard, OwnerChange, Patch, Presented, Rotation, Want},
    wire::WireError,
};
pub use crate::{
    clock::Timestamp,
    key::WrappedKey,
    token::{Handle, SecretHash, Selector},
};

/// One session as a store holds it.
///
/// Cheap to clone: cells are shared until somebody changes them.
///
/// ```
/// use cloakroom::record::{Cells, Header, Record, SecretHash, Timestamp, WrappedKey};
///
/// let now = Timestamp::from_millis(1_000);
/// let record = Record::new(
///     Header::new(SecretHash::from_bytes([1; 32]), WrappedKey::from_bytes([2; 32]), now, now, now),
///     Cells::default(),
/// );
/// assert_eq!(record.header.revision, 1);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Record {
    /// Everything about the session that is not a field of somebody's struct.
    pub header: Header,
    /// The stored fields.
    pub cells: Cells,
}

impl Record {
    /// A record of these parts.
    ///
    /// ```
    /// use cloakroom::record::{Cells, Header, Record, SecretHash, Timestamp, WrappedKey};
    /// let at = Timestamp::from_millis;
    /// let header = Header::new(SecretHash::from_bytes([1; 32]), WrappedKey::from_bytes([2; 32]), at(0), at(10), at(20));
    /// assert!(Record::new(header, Cells::default()).cells.is_empty());
    /// ```
    pub fn new(header: Header, cells: Cells) -> Self {
        Self { header, cells }
    }

    /// Applies a patch, or says why not and changes nothing.
    ///
    /// This is the commit of every store, spelled once: the epoch is the one that was loaded, the idle deadline lies after
    /// [`Patch::used_at`] and the absolute one after `now`, every guard holds; then cells are wiped and put under one new revision, and the header follows.
    ///
    /// ```
    /// use cloakroom::record::{CellBody, CellKey, Cells, CommitOutcome, Content, Header, Patch, Put, Record, SecretHash, Timestamp, WrappedKey};
    /// let at = Timestamp::from_millis;
    /// let header = Header::new(SecretHash::from_bytes([1; 32]), WrappedKey::from_bytes([2; 32]), at(0), at(10), at(20));
    /// let mut record = Record::new(header, Cells::default());
    ///
    /// let mut patch = Patch::new(0, at(5));
    /// patch.puts.push(Put::new(CellKey::from_static("shop/cart"), CellBody::new(Content::Tombstone)));
    /// assert_eq!(record.apply(&patch), CommitOutcome::Committed { revision: 2, rotated: false });
    /// assert_eq!(record.cells.stamp("shop/cart"), 2);
    ///
    /// assert_eq!(record.apply(&Patch::new(1, at(5))), CommitOutcome::Gone, "another epoch");
    /// assert_eq!(record.apply(&Patch::new(0, at(10))), CommitOutcome::Gone, "past the deadline");
    /// ```
    pub fn apply(&mut self, patch: &Patch) -> CommitOutcome {
        let header = &mut self.header;
        let is_open = patch.used_at() < header.idle_until && patch.now < header.absolute_until;
        if header.epoch != patch.epoch || !is_open {
            return CommitOutcome::Gone;
        }
        if !patch.guards.iter().all(|guard| self.cells.stamp(&guard.key) == guard.stamp) {
            let cells = patch.guards.iter().filter_map(|guard| self.cells.get(&guard.key).cloned()).collect();
            return CommitOutcome::Conflict { cells };
        }
        if patch.carries_cells() {
            header.revision = header.revision.saturating_add(1);
            if let Some(kept) = &patch.wipe_except {
                self.cells.retain(kept);
            }
            self.cells.put_all(&patch.puts, header.revision);
        }
        let rotated = header.apply(patch);
        CommitOutcome::Committed { revision: header.revision, rotated }
    }

    /// Brings a request's copy up to date with a commit that its store has made under that revision.
    pub(crate) fn follow(&mut self, patch: &Patch, revision: u64, rotated: bool) {
        self.header.revision = revision;
        if let Some(kept) = &patch.wipe_except {
            self.cells.retain(kept);
        }
        self.cells.put_all(&patch.puts, revision);
        if rotated || patch.rotation.is_none() {
            self.header.apply(patch);
        } else {
            self.header.apply(&Patch { rotation: None, ..patch.clone() });
        }
    }
}
