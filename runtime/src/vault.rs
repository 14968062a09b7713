//! The cells of `secret` fields: sealed under their session's key, which only the browser's token unwraps.

use crate::{
    key::WrappedKey,
    record::{CodecId, Content, Payload, Put, Shape},
    seal::{self, SealError},
    token::Token,
};
use std::{cell::OnceCell, fmt};
use zeroize::Zeroizing;

/// Seals and opens the `secret` cells of one session.
///
/// It unwraps the session key when the first such cell asks, so that sessions without one pay nothing, and lives no longer than
/// one load, check-in or commit: while a handler waits, no key lies in memory.
pub(crate) struct Vault<'a> {
    token: &'a Token,
    wrapped: &'a WrappedKey,
    key: OnceCell<Zeroizing<[u8; 32]>>,
}

impl<'a> Vault<'a> {
    pub(crate) fn new(token: &'a Token, wrapped: &'a WrappedKey) -> Self {
        Self { token, wrapped, key: OnceCell::new() }
    }

    /// Seals a cell that is about to be written. A tombstone tells nobody more than its absence would.
    pub(crate) fn seal(&self, put: &mut Put) -> Result<(), SealError> {
        if let Content::Value { codec, shape, sealed: sealed @ false, payload } = &mut put.body.content {
            let mut bytes = Vec::with_capacity(seal::OVERHEAD + payload.len());
            seal::seal(self.key(), payload, &self.associated(&put.key, *codec, *shape), &mut bytes)?;
            *payload = Payload::from(&bytes[..]);
            *sealed = true;
        }
        Ok(())
    }

    /// The payload of a sealed cell in the clear; `None` if it was sealed for another session, field, codec or shape, or changed.
    pub(crate) fn open(&self, key: &str, codec: CodecId, shape: Shape, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        seal::open(self.key(), sealed, &self.associated(key, codec, shape))
    }

    /// A sub-key of the session key, so that what else is derived from that, in whatever algorithm, never shares a key with the cipher.
    fn key(&self) -> &[u8; 32] {
        self.key.get_or_init(|| {
            let session_key = self.wrapped.unwrap_with(&self.token.selector, &self.token.secret);
            session_key.derive("cloakroom 1 secret cells")
        })
    }

    /// What a seal vouches for besides the payload. Of fixed length but for one part, whose length goes before it: no two cells read alike.
    fn associated(&self, key: &str, codec: CodecId, shape: Shape) -> Vec<u8> {
        let mut data = Vec::with_capacity(16 + 8 + key.len() + 1 + 8);
        data.extend(self.token.selector.as_bytes());
        data.extend((key.len() as u64).to_le_bytes());
        data.extend(key.as_bytes());
        data.push(codec.as_u8());
        data.extend(shape.as_u64().to_le_bytes());
        data
    }
}

impl fmt::Debug for Vault<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Vault(..)")
    }
}
