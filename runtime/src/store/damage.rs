//! What a store makes of stored bytes that nobody can read.

use crate::record::{Cell, CellBody, CellKey, CodecId, Content, Payload, Shape};

/// Tells of a header nobody can read. It opens no session, so it counts as absent; it stays where it is until its deadline.
pub(super) use crate::events::unreadable as unreadable_header;

/// A body nobody can read becomes a value of codec 0, which does not exist: whoever decodes the field finds it undecodable and
/// resets its schema, as for any other damage, and the bytes stay where they are.
pub(super) fn cell(key: CellKey, stamp: u64, body: &[u8]) -> Cell {
    let body = CellBody::decode(body).unwrap_or_else(|_| {
        let payload = Payload::from(body);
        CellBody::new(Content::Value { codec: CodecId::from_u8(0), shape: Shape::OPAQUE, sealed: false, payload })
    });
    Cell::new(key, stamp, body)
}
