//! What rows say, whatever is in them.

use super::statements::state;
use crate::{
    record::{
        Cell, CellKey, Extensions, Header, Owner, OwnerHash, Previous, PreviousState, Record, SecretHash, Selector, Timestamp,
        WrappedKey,
    },
    store::damage,
};
use mysql_async::{Row, Value};
use std::{fmt, str::FromStr};

/// The record of a load's rows, each with a cell, or with none if there is none, and the header.
pub(super) fn record(key: &Selector, rows: Vec<Row>) -> Option<Record> {
    let (mut header, mut cells) = (None, Vec::with_capacity(rows.len()));
    for row in rows {
        let mut columns = Columns::of(row);
        cells.extend(columns.cell());
        if header.is_none() {
            header = Some(readable(key, columns.header())?);
        }
    }
    Some(Record::new(header?, cells.into_iter().collect()))
}

/// The cells of rows of name, stamp and body.
pub(super) fn cells(rows: Vec<Row>) -> Vec<Cell> {
    rows.into_iter().filter_map(|row| Columns::of(row).cell()).collect()
}

/// The headers of rows that begin with the selector.
pub(super) fn headers(rows: Vec<Row>) -> Vec<(Selector, Header)> {
    let read = |row| {
        let mut columns = Columns::of(row);
        let key = Selector::from_bytes(columns.array().ok()??);
        Some((key, readable(&key, columns.header())?))
    };
    rows.into_iter().filter_map(read).collect()
}

/// The selector that a row begins with.
pub(super) fn selector(row: &Row) -> Option<Selector> {
    match row.as_ref(0) {
        Some(Value::Bytes(bytes)) => bytes.as_slice().try_into().ok().map(Selector::from_bytes),
        _ => None,
    }
}

/// The selectors that rows begin with.
pub(super) fn selectors(rows: &[Row]) -> Vec<Selector> {
    rows.iter().filter_map(selector).collect()
}

/// The number that is all of an answer.
pub(super) fn number<T: FromStr>(rows: Vec<Row>) -> Option<T> {
    Columns::of(rows.into_iter().next()?).number().ok().flatten()
}

fn readable(key: &Selector, header: Result<Header, Unreadable>) -> Option<Header> {
    header.map_err(|error| damage::unreadable_header(key, error)).ok()
}

/// A column that does not hold what it should.
#[derive(Debug)]
struct Unreadable(&'static str);

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the session's row holds {}", self.0)
    }
}

/// The columns of a row, from the first to the last. In text, which is how a batch is answered, all values are bytes.
struct Columns(std::vec::IntoIter<Option<Value>>);

impl Columns {
    fn of(row: Row) -> Self {
        Self(row.unwrap_raw().into_iter())
    }

    fn bytes(&mut self) -> Option<Vec<u8>> {
        match self.0.next().flatten() {
            Some(Value::Bytes(bytes)) => Some(bytes),
            _ => None,
        }
    }

    fn number<T: FromStr>(&mut self) -> Result<Option<T>, Unreadable> {
        let Some(bytes) = self.bytes() else { return Ok(None) };
        let number = std::str::from_utf8(&bytes).ok().and_then(|text| text.parse().ok());
        number.map(Some).ok_or(Unreadable("a number out of its range"))
    }

    fn array<const N: usize>(&mut self) -> Result<Option<[u8; N]>, Unreadable> {
        let Some(bytes) = self.bytes() else { return Ok(None) };
        bytes.try_into().map(Some).map_err(|_| Unreadable("bytes of another length than they have to have"))
    }

    fn text(&mut self) -> Result<Option<String>, Unreadable> {
        let Some(bytes) = self.bytes() else { return Ok(None) };
        String::from_utf8(bytes).map(Some).map_err(|_| Unreadable("a text that is not UTF-8"))
    }

    fn instant(&mut self) -> Result<Option<Timestamp>, Unreadable> {
        Ok(self.number()?.map(Timestamp::from_millis))
    }

    fn required<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<Option<T>, Unreadable>) -> Result<T, Unreadable> {
        read(self)?.ok_or(Unreadable("NULL where there has to be a value"))
    }

    fn cell(&mut self) -> Option<Cell> {
        let (name, stamp, body) = (self.bytes(), self.number::<u64>().ok().flatten(), self.bytes());
        let name = CellKey::from(&*String::from_utf8_lossy(&name?));
        Some(damage::cell(name, stamp?, &body?))
    }

    fn header(&mut self) -> Result<Header, Unreadable> {
        let revision = self.required(Self::number)?;
        let epoch = self.required(Self::number)?;
        let created = self.required(Self::instant)?;
        let last_seen = self.required(Self::instant)?;
        let idle_until = self.required(Self::instant)?;
        let absolute_until = self.required(Self::instant)?;
        let secret_hash = SecretHash::from_bytes(self.required(Self::array)?);
        let wrapped_key = WrappedKey::from_bytes(self.required(Self::array)?);
        let mut header = Header::new(secret_hash, wrapped_key, created, idle_until, absolute_until);
        (header.revision, header.epoch, header.last_seen) = (revision, epoch, last_seen);
        header.previous = match (self.array()?, self.array()?, self.number::<u8>()?, self.instant()?) {
            (None, None, None, None) => None,
            (Some(secret), Some(key), Some(stored), Some(since)) => Some(Previous {
                secret_hash: SecretHash::from_bytes(secret),
                wrapped_key: WrappedKey::from_bytes(key),
                state: [PreviousState::Pending, PreviousState::Superseded, PreviousState::Revoked]
                    .into_iter()
                    .find(|known| state(*known) == stored)
                    .ok_or(Unreadable("an unknown state of the previous secret"))?,
                since,
            }),
            _ => return Err(Unreadable("half a previous secret")),
        };
        header.owner = match (self.array()?, self.text()?) {
            (None, None) => None,
            (Some(hash), Some(schema)) => Some(Owner { schema: schema.into(), hash: OwnerHash::from_bytes(hash) }),
            _ => return Err(Unreadable("half an owner")),
        };
        header.authenticated_at = self.instant()?;
        header.persistent = self.required(Self::number::<u8>)? != 0;
        header.label = self.text()?.map(Into::into);
        if let Some(parts) = self.bytes() {
            header.extensions = Extensions::decode(&parts).map_err(|_| Unreadable("malformed extensions"))?;
        }
        Ok(header)
    }
}
