//! Sealing bytes: XChaCha20-Poly1305 under a random nonce, for cookies and for the cells of `secret` fields.

use crate::{error::SessionError, random::RandomError};
#[cfg(feature = "secret")]
use chacha20poly1305::{KeyInit, Tag, XChaCha20Poly1305, XNonce, aead::AeadInOut};
use zeroize::Zeroizing;

const NONCE: usize = 24;
const TAG: usize = 16;

/// How much longer sealed bytes are.
pub(crate) const OVERHEAD: usize = NONCE + TAG;

/// Why bytes could not be sealed.
#[derive(Debug)]
pub(crate) enum SealError {
    Randomness(RandomError),
    /// The cipher refused, which it does for more bytes than any limit of ours allows.
    Refused,
}

impl From<RandomError> for SealError {
    fn from(error: RandomError) -> Self {
        Self::Randomness(error)
    }
}

impl SealError {
    /// The error about what was to be sealed.
    pub(crate) fn about(self, what: String) -> SessionError {
        match self {
            Self::Randomness(error) => error.into(),
            Self::Refused => SessionError::Encode { field: what, reason: "sealing failed".to_owned() },
        }
    }
}

/// Appends nonce, ciphertext and tag to what is there already. The nonce is nobody else's business: it is drawn here, and so large that
/// random ones never meet.
#[cfg(feature = "secret")]
pub(crate) fn seal(key: &[u8; 32], plain: &[u8], associated: &[u8], out: &mut Vec<u8>) -> Result<(), SealError> {
    let nonce = XNonce::from(crate::random::bytes::<NONCE>()?);
    out.reserve(OVERHEAD + plain.len());
    out.extend(nonce);
    let start = out.len();
    out.extend(plain);
    let tag = XChaCha20Poly1305::new(key.into())
        .encrypt_inout_detached(&nonce, associated, (&mut out[start..]).into())
        .map_err(|_| SealError::Refused)?;
    out.extend(tag);
    Ok(())
}

/// What was sealed, if nobody changed a bit of it or of what it is associated with.
#[cfg(feature = "secret")]
pub(crate) fn open(key: &[u8; 32], sealed: &[u8], associated: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (nonce, rest) = sealed.split_first_chunk::<NONCE>()?;
    let (sealed, tag) = rest.split_last_chunk::<TAG>()?;
    let mut plain = Zeroizing::new(sealed.to_vec());
    XChaCha20Poly1305::new(key.into())
        .decrypt_inout_detached(&XNonce::from(*nonce), associated, plain.as_mut_slice().into(), &Tag::from(*tag))
        .ok()?;
    Some(plain)
}

// Without the feature the derive refuses `secret` with one error, and cells that another build sealed stay closed.
#[cfg(not(feature = "secret"))]
pub(crate) fn seal(_: &[u8; 32], _: &[u8], _: &[u8], _: &mut Vec<u8>) -> Result<(), SealError> {
    Err(SealError::Refused)
}

#[cfg(not(feature = "secret"))]
pub(crate) fn open(_: &[u8; 32], _: &[u8], _: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    None
}

#[cfg(all(test, feature = "secret"))]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const KEY: [u8; 32] = [7; 32];

    fn sealed(plain: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        seal(&KEY, plain, b"about", &mut out).unwrap();
        out
    }

    #[test]
    fn what_was_sealed_opens_and_two_seals_of_it_differ() {
        for plain in [&b""[..], b"x", &[9; 300]] {
            let sealed = [sealed(plain), sealed(plain)];
            assert_ne!(sealed[0], sealed[1]);
            assert!(sealed.iter().all(|bytes| bytes.len() == plain.len() + OVERHEAD));
            assert!(sealed.iter().all(|bytes| open(&KEY, bytes, b"about").is_some_and(|opened| *opened == plain)));
        }
    }

    #[test]
    fn a_seal_with_a_byte_changed_left_out_or_added_stays_closed() {
        let whole = sealed(b"secret");
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            assert_eq!(open(&KEY, &changed, b"about"), None, "byte {at}");
            assert_eq!(open(&KEY, &whole[..at], b"about"), None, "{at} bytes of it");
        }
        assert_eq!(open(&KEY, &[&whole[..], b"x"].concat(), b"about"), None);
        assert_eq!(open(&KEY, &whole, b"abouT"), None);
        assert_eq!(open(&[8; 32], &whole, b"about"), None);
    }
}
