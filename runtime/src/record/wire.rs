//! The bytes of a record: written down in `docs/wire-format.md`, frozen by golden tests.
//!
//! All integers are little-endian; lengths and counts inside a whole record are LEB128. Decoding is total: any bytes give a
//! value or a [`WireError`], and nothing is allocated that the input does not hold.

#[cfg(feature = "cookie")]
use super::cell::{Cell, CellKey, Cells};
use super::{
    cell::{CellBody, CodecId, Content, Payload, Shape},
    extensions::Extensions,
    header::{Header, Owner, OwnerHash, Previous, PreviousState},
};
use crate::{clock::Timestamp, key::WrappedKey, token::SecretHash};
use std::fmt;

/// The format this version writes, and the newest it reads.
const FORMAT: u8 = 1;

const VALUE: u8 = 1;
const DEADLINE: u8 = 1 << 1;
const SEALED: u8 = 1 << 2;
const KEEP: u8 = 1 << 3;

const PREVIOUS: u8 = 1;
const SUPERSEDED: u8 = 1 << 1;
const OWNER: u8 = 1 << 2;
const AUTHENTICATED: u8 = 1 << 3;
const PERSISTENT: u8 = 1 << 4;
const LABEL: u8 = 1 << 5;
const REVOKED: u8 = 1 << 6;
const EXTENSIONS: u8 = 1 << 7;

/// Stored bytes that are not what they should be.
///
/// ```
/// use cloakroom::record::{CellBody, WireError};
/// assert_eq!(CellBody::decode(&[]), Err(WireError::Truncated));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WireError {
    /// The bytes end early.
    Truncated,
    /// Bytes are left over.
    Trailing,
    /// A format version that this build does not read.
    UnknownFormat(u8),
    /// A flag that this build does not know, or flags that exclude each other.
    BadFlags(u8),
    /// A name that is not UTF-8.
    BadText,
    /// A number longer than its type, or than it need be.
    Overlong,
    /// Cells that are not in the order of their keys, or share one.
    Unsorted,
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("the stored bytes end early"),
            Self::Trailing => f.write_str("the stored bytes go on past their end"),
            Self::UnknownFormat(format) => write!(f, "stored in format {format}; this build reads format {FORMAT}"),
            Self::BadFlags(flags) => write!(f, "the stored flags {flags:#010b} make no sense to this build"),
            Self::BadText => f.write_str("a stored name is not UTF-8"),
            Self::Overlong => f.write_str("a stored number takes more bytes than it can or need"),
            Self::Unsorted => f.write_str("the stored cells are not in the order of their keys"),
        }
    }
}

impl std::error::Error for WireError {}

impl CellBody {
    /// The bytes of a cell without its key and stamp.
    ///
    /// ```
    /// use cloakroom::record::{CellBody, Content};
    /// assert_eq!(CellBody::new(Content::Tombstone).encode(), [0]);
    /// ```
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(22 + self.content.payload().map_or(0, |payload| payload.len()));
        self.encode_into(&mut out);
        out
    }

    fn encode_into(&self, out: &mut Vec<u8>) {
        let mut flags = 0;
        if self.deadline.is_some() {
            flags |= DEADLINE;
        }
        if self.keep {
            flags |= KEEP;
        }
        if let Content::Value { sealed, .. } = &self.content {
            flags |= VALUE;
            if *sealed {
                flags |= SEALED;
            }
        }
        out.push(flags);
        if let Content::Value { codec, shape, .. } = &self.content {
            out.push(codec.as_u8());
            out.extend(shape.as_u64().to_le_bytes());
        }
        if let Some(deadline) = self.deadline {
            out.extend(deadline.as_millis().to_le_bytes());
        }
        if self.keep {
            out.extend(self.epoch.to_le_bytes());
        }
        if let Content::Value { payload, .. } = &self.content {
            out.extend_from_slice(payload);
        }
    }

    /// The cell of these bytes.
    ///
    /// # Errors
    /// [`WireError`], whatever the bytes are.
    ///
    /// ```
    /// use cloakroom::record::{CellBody, Content, WireError};
    /// assert_eq!(CellBody::decode(&[0]), Ok(CellBody::new(Content::Tombstone)));
    /// assert_eq!(CellBody::decode(&[0, 0]), Err(WireError::Trailing));
    /// ```
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut input = Input(bytes);
        let flags = input.byte()?;
        if flags & !(VALUE | DEADLINE | SEALED | KEEP) != 0 || (flags & SEALED != 0 && flags & VALUE == 0) {
            return Err(WireError::BadFlags(flags));
        }
        let kind =
            if flags & VALUE != 0 { Some((CodecId::from_u8(input.byte()?), Shape::from_u64(input.u64()?))) } else { None };
        let deadline = if flags & DEADLINE != 0 { Some(input.timestamp()?) } else { None };
        let epoch = if flags & KEEP != 0 { u32::from_le_bytes(input.array()?) } else { 0 };
        let content = match kind {
            Some((codec, shape)) => {
                Content::Value { codec, shape, sealed: flags & SEALED != 0, payload: Payload::from(input.rest()) }
            }
            None => Content::Tombstone,
        };
        input.end()?;
        Ok(Self { content, deadline, keep: flags & KEEP != 0, epoch })
    }
}

/// The secrets of a header, which a sealed cookie does without.
fn encode_secrets(header: &Header, out: &mut Vec<u8>) {
    out.extend(header.secret_hash.as_bytes());
    out.extend(header.wrapped_key.as_bytes());
    if let Some(previous) = &header.previous {
        out.extend(previous.secret_hash.as_bytes());
        out.extend(previous.wrapped_key.as_bytes());
        out.extend(previous.since.as_millis().to_le_bytes());
    }
}

impl Header {
    /// The bytes of a header, secrets' hashes included.
    ///
    /// ```
    /// use cloakroom::record::{Header, SecretHash, Timestamp, WrappedKey};
    /// let at = Timestamp::from_millis;
    /// let header = Header::new(SecretHash::from_bytes([1; 32]), WrappedKey::from_bytes([2; 32]), at(0), at(10), at(20));
    /// assert_eq!(header.encode().len(), 110);
    /// ```
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        self.encode_plain(&mut out);
        encode_secrets(self, &mut out);
        out
    }

    fn encode_plain(&self, out: &mut Vec<u8>) {
        let mut flags = 0;
        if let Some(previous) = &self.previous {
            flags |= PREVIOUS;
            flags |= match previous.state {
                PreviousState::Pending => 0,
                PreviousState::Superseded => SUPERSEDED,
                PreviousState::Revoked => REVOKED,
            };
        }
        for (present, flag) in [
            (self.owner.is_some(), OWNER),
            (self.authenticated_at.is_some(), AUTHENTICATED),
            (self.persistent, PERSISTENT),
            (self.label.is_some(), LABEL),
            (!self.extensions.is_empty(), EXTENSIONS),
        ] {
            if present {
                flags |= flag;
            }
        }
        out.push(FORMAT);
        out.push(flags);
        out.extend(self.revision.to_le_bytes());
        out.extend(self.epoch.to_le_bytes());
        for at in [self.created, self.last_seen, self.idle_until, self.absolute_until] {
            out.extend(at.as_millis().to_le_bytes());
        }
        if let Some(owner) = &self.owner {
            out.extend(owner.hash.as_bytes());
            put_text(&owner.schema, out);
        }
        if let Some(at) = self.authenticated_at {
            out.extend(at.as_millis().to_le_bytes());
        }
        if let Some(label) = &self.label {
            put_text(label, out);
        }
        if !self.extensions.is_empty() {
            let parts = self.extensions.encode();
            put_number(parts.len() as u64, out);
            out.extend(parts);
        }
    }

    /// The header of these bytes.
    ///
    /// # Errors
    /// [`WireError`], whatever the bytes are.
    ///
    /// ```
    /// use cloakroom::record::{Header, SecretHash, Timestamp, WrappedKey};
    /// let at = Timestamp::from_millis;
    /// let header = Header::new(SecretHash::from_bytes([1; 32]), WrappedKey::from_bytes([2; 32]), at(0), at(10), at(20));
    /// assert_eq!(Header::decode(&header.encode())?.expires(), header.expires());
    /// # Ok::<(), cloakroom::record::WireError>(())
    /// ```
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut input = Input(bytes);
        let (mut header, flags) = Self::decode_plain(&mut input)?;
        header.secret_hash = SecretHash::from_bytes(input.array()?);
        header.wrapped_key = WrappedKey::from_bytes(input.array()?);
        if flags & PREVIOUS != 0 {
            let state = match flags & (SUPERSEDED | REVOKED) {
                0 => PreviousState::Pending,
                SUPERSEDED => PreviousState::Superseded,
                REVOKED => PreviousState::Revoked,
                _ => return Err(WireError::BadFlags(flags)),
            };
            header.previous = Some(Previous {
                secret_hash: SecretHash::from_bytes(input.array()?),
                wrapped_key: WrappedKey::from_bytes(input.array()?),
                state,
                since: input.timestamp()?,
            });
        }
        input.end()?;
        Ok(header)
    }

    fn decode_plain(input: &mut Input<'_>) -> Result<(Self, u8), WireError> {
        match input.byte()? {
            FORMAT => {}
            other => return Err(WireError::UnknownFormat(other)),
        }
        let flags = input.byte()?;
        // Every flag has its meaning.
        if flags & (SUPERSEDED | REVOKED) != 0 && flags & PREVIOUS == 0 {
            return Err(WireError::BadFlags(flags));
        }
        let revision = input.u64()?;
        let epoch = u32::from_le_bytes(input.array()?);
        let (created, last_seen) = (input.timestamp()?, input.timestamp()?);
        let (idle_until, absolute_until) = (input.timestamp()?, input.timestamp()?);
        let owner = if flags & OWNER != 0 {
            Some(Owner { hash: OwnerHash::from_bytes(input.array()?), schema: input.text()?.into() })
        } else {
            None
        };
        let authenticated_at = if flags & AUTHENTICATED != 0 { Some(input.timestamp()?) } else { None };
        let label = if flags & LABEL != 0 { Some(input.text()?.into()) } else { None };
        let extensions = if flags & EXTENSIONS != 0 {
            let length = usize::try_from(input.number()?).map_err(|_| WireError::Overlong)?;
            let parts = Extensions::decode(input.take(length)?)?;
            // One header, one spelling: where there are none the flag is not set.
            if parts.is_empty() {
                return Err(WireError::BadFlags(flags));
            }
            parts
        } else {
            Extensions::default()
        };
        let header = Self {
            revision,
            created,
            last_seen,
            idle_until,
            absolute_until,
            secret_hash: SecretHash::from_bytes([0; 32]),
            wrapped_key: WrappedKey::from_bytes([0; 32]),
            previous: None,
            epoch,
            owner,
            authenticated_at,
            persistent: flags & PERSISTENT != 0,
            label,
            extensions,
        };
        Ok((header, flags))
    }
}

#[cfg(feature = "cookie")]
/// The bytes of a record as a client-side store seals them: no secret's hash, since the seal itself is the proof.
pub(crate) fn encode_sealed(header: &Header, cells: &Cells) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    // Nor one of an earlier secret: every seal is its own.
    Header { previous: None, ..header.clone() }.encode_plain(&mut out);
    put_number(cells.len() as u64, &mut out);
    let mut body = Vec::new();
    for cell in cells {
        put_text(&cell.key, &mut out);
        put_number(cell.stamp, &mut out);
        body.clear();
        cell.body.encode_into(&mut body);
        put_number(body.len() as u64, &mut out);
        out.extend_from_slice(&body);
    }
    out
}

#[cfg(feature = "cookie")]
/// The record of such bytes.
pub(crate) fn decode_sealed(bytes: &[u8]) -> Result<(Header, Cells), WireError> {
    let mut input = Input(bytes);
    let (header, flags) = Header::decode_plain(&mut input)?;
    if flags & PREVIOUS != 0 {
        return Err(WireError::BadFlags(flags));
    }
    let count = input.number()?;
    let mut cells = Vec::new();
    for _ in 0..count {
        let key = CellKey::from(input.text()?);
        if cells.last().is_some_and(|last: &Cell| last.key >= key) {
            return Err(WireError::Unsorted);
        }
        let stamp = input.number()?;
        let length = usize::try_from(input.number()?).map_err(|_| WireError::Overlong)?;
        cells.push(Cell::new(key, stamp, CellBody::decode(input.take(length)?)?));
    }
    input.end()?;
    Ok((header, cells.into_iter().collect()))
}

pub(super) fn put_number(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn put_text(text: &str, out: &mut Vec<u8>) {
    put_number(text.len() as u64, out);
    out.extend_from_slice(text.as_bytes());
}

/// A cursor that never reads past its end.
pub(super) struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], WireError> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(WireError::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or(WireError::Truncated)?;
        self.0 = rest;
        Ok(*taken)
    }

    pub(super) fn byte(&mut self) -> Result<u8, WireError> {
        Ok(self.array::<1>()?[0])
    }

    fn u64(&mut self) -> Result<u64, WireError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn timestamp(&mut self) -> Result<Timestamp, WireError> {
        Ok(Timestamp::from_millis(i64::from_le_bytes(self.array()?)))
    }

    pub(super) fn number(&mut self) -> Result<u64, WireError> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let part = u64::from(byte & 0x7f);
            // One number, one spelling: what was read is what would be written.
            if (shift == 63 && part > 1) || (shift > 0 && byte == 0) {
                return Err(WireError::Overlong);
            }
            number |= part << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(WireError::Overlong)
    }

    fn text(&mut self) -> Result<&'a str, WireError> {
        let length = usize::try_from(self.number()?).map_err(|_| WireError::Overlong)?;
        std::str::from_utf8(self.take(length)?).map_err(|_| WireError::BadText)
    }

    fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    fn end(&self) -> Result<(), WireError> {
        if self.0.is_empty() { Ok(()) } else { Err(WireError::Trailing) }
    }
}

#[cfg(all(test, feature = "cookie"))]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_record_says_nothing_of_an_earlier_secret() {
        let at = Timestamp::from_millis;
        let header = Header::new(SecretHash::from_bytes([1; 32]), WrappedKey::from_bytes([2; 32]), at(0), at(10), at(20));
        let mut sealed = encode_sealed(&header, &Cells::default());
        assert!(decode_sealed(&sealed).is_ok());
        for flags in [PREVIOUS, PREVIOUS | SUPERSEDED, PREVIOUS | REVOKED] {
            sealed[1] = flags;
            assert_eq!(decode_sealed(&sealed).unwrap_err(), WireError::BadFlags(flags));
        }
    }
}
