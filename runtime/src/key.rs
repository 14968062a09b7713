//! The per-session key, and how it lies in a record.

use crate::token::{Secret, Selector};
use std::fmt;
use zeroize::{Zeroize, Zeroizing};

/// The key that belongs to one session and one owner: made with the record, replaced with the owner, never stored in the clear.
///
/// It seals `secret` fields and yields the CSRF token.
#[derive(Clone)]
pub(crate) struct SessionKey(Zeroizing<[u8; 32]>);

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionKey(..)")
    }
}

impl SessionKey {
    pub(crate) fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes.into())
    }

    /// The key as stored for the holder of one secret.
    ///
    /// The wrap is a XOR with a pad derived from the secret, and that suffices: a pad is used once, because a secret is random,
    /// belongs to one record (the selector is hashed in) and wraps one key: where the record gets another key, it gets another
    /// secret with it. Wrapping the same key again under another secret uses another pad. There is no integrity to lose: a wrong pad, or a
    /// changed wrap, gives a wrong key, which the authentication of every sealed cell refuses.
    pub(crate) fn wrap(&self, selector: &Selector, secret: &Secret) -> WrappedKey {
        WrappedKey(xor(&self.0, &pad(selector, secret)))
    }

    /// The sub-key for one purpose.
    pub(crate) fn derive(&self, purpose: &str) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(blake3::derive_key(purpose, &*self.0))
    }
}

/// A session key under the pad of one secret: opens only with the token of the browser.
///
/// ```
/// use cloakroom::record::WrappedKey;
/// assert_eq!(WrappedKey::from_bytes([3; 32]).as_bytes(), &[3; 32]);
/// ```
#[derive(Clone, Copy)]
pub struct WrappedKey([u8; 32]);

impl WrappedKey {
    /// The wrapped key of these bytes, as a store kept them.
    ///
    /// ```
    /// use cloakroom::record::WrappedKey;
    /// const NONE: WrappedKey = WrappedKey::from_bytes([0; 32]);
    /// # let _ = NONE;
    /// ```
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes to store.
    ///
    /// ```
    /// use cloakroom::record::WrappedKey;
    /// assert_eq!(WrappedKey::from_bytes([3; 32]).as_bytes().len(), 32);
    /// ```
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    pub(crate) fn unwrap_with(&self, selector: &Selector, secret: &Secret) -> SessionKey {
        SessionKey(xor(&self.0, &pad(selector, secret)).into())
    }
}

impl fmt::Debug for WrappedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WrappedKey(..)")
    }
}

/// Whoever has it and the store has the key, so it is wiped like one.
fn pad(selector: &Selector, secret: &Secret) -> Zeroizing<[u8; 32]> {
    let mut material = [0; 32];
    material[..16].copy_from_slice(selector.as_bytes());
    material[16..].copy_from_slice(secret.as_bytes());
    // derive_key is a mode of its own in blake3, so the pad and the stored hash of the same secret are independent.
    let pad = Zeroizing::new(blake3::derive_key("cloakroom 1 session key wrap", &material));
    material.zeroize();
    pad
}

fn xor(a: &[u8; 32], b: &[u8; 32]) -> [u8; 32] {
    std::array::from_fn(|i| a[i] ^ b[i])
}
