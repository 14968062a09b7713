//! The token in the cookie, and the names derived from it that are safe to store or log.

use crate::random::{self, RandomError};
use base64ct::{Base64UrlUnpadded, Encoding};
use std::fmt;
use zeroize::{Zeroize, Zeroizing};

/// The public half of a token: the key of the record in a store.
///
/// It says where a record lies and opens nothing. Stores receive only these fixed-size bytes, never text a client sent.
///
/// ```
/// use cloakroom::record::Selector;
/// let selector = Selector::from_bytes([7; 16]);
/// assert_eq!(selector.as_bytes(), &[7; 16]);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Selector([u8; 16]);

impl Selector {
    /// The selector of these bytes, as a store kept them.
    ///
    /// ```
    /// use cloakroom::record::{Selector};
    /// assert_eq!(Selector::from_bytes([7; 16]), Selector::from_bytes([7; 16]));
    /// ```
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes to use as a key.
    ///
    /// ```
    /// use cloakroom::record::{Selector};
    /// assert_eq!(Selector::from_bytes([7; 16]).as_bytes(), &[7; 16]);
    /// ```
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The log-safe name of the session.
    ///
    /// ```
    /// use cloakroom::record::{Selector};
    /// assert_ne!(Selector::from_bytes([7; 16]).handle(), Selector::from_bytes([8; 16]).handle());
    /// ```
    pub fn handle(&self) -> Handle {
        let mut short = [0; 12];
        short.copy_from_slice(&blake3::derive_key("cloakroom 1 session handle", &self.0)[..12]);
        Handle(short)
    }
}

impl fmt::Debug for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Half a token does not belong into a log; the handle names the session just as well.
        write!(f, "Selector({})", self.handle())
    }
}

/// A name of a session that may be logged, shown and compared: a truncated hash of the selector.
///
/// It identifies a session in events and in lists of devices, and can be turned back neither into a selector nor into a
/// token.
///
/// ```
/// use cloakroom::record::Selector;
/// let handle = Selector::from_bytes([7; 16]).handle();
/// assert_eq!(handle.to_string().len(), 16);
/// assert_eq!(handle.to_string().parse(), Ok(handle));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Handle([u8; 12]);

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&Base64UrlUnpadded::encode_string(&self.0))
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Handle({self})")
    }
}

/// A text that is not a [`Handle`].
///
/// ```
/// use cloakroom::Handle;
/// assert!("not a handle".parse::<Handle>().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseHandleError;

impl fmt::Display for ParseHandleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a session handle is 16 characters of base64url, as `handle()` printed it")
    }
}

impl std::error::Error for ParseHandleError {}

impl std::str::FromStr for Handle {
    type Err = ParseHandleError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 12];
        match Base64UrlUnpadded::decode(text, &mut bytes) {
            Ok(decoded) if decoded.len() == 12 => Ok(Self(bytes)),
            _ => Err(ParseHandleError),
        }
    }
}

/// The secret half of a token. It is never stored and never compared; its hash is.
#[derive(Clone)]
pub(crate) struct Secret(Zeroizing<[u8; 16]>);

impl Secret {
    pub(crate) fn generate() -> Result<Self, RandomError> {
        Ok(Self(random::bytes()?.into()))
    }

    #[cfg(feature = "cookie")]
    pub(crate) fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes.into())
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    pub(crate) fn hash(&self) -> SecretHash {
        SecretHash(blake3::hash(&*self.0))
    }
}

/// What a store keeps of a secret: its blake3 hash.
///
/// There is no `PartialEq`: the one comparison is [`matches`](SecretHash::matches), in constant time.
///
/// ```
/// use cloakroom::record::SecretHash;
/// let hash = SecretHash::from_bytes([1; 32]);
/// assert!(hash.matches(&SecretHash::from_bytes([1; 32])));
/// assert!(!hash.matches(&SecretHash::from_bytes([2; 32])));
/// ```
#[derive(Clone, Copy)]
pub struct SecretHash(blake3::Hash);

impl SecretHash {
    /// The hash of these bytes, as a store kept them.
    ///
    /// ```
    /// use cloakroom::record::{SecretHash};
    /// let hash = SecretHash::from_bytes([1; 32]);
    /// # let _ = hash;
    /// ```
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(blake3::Hash::from_bytes(bytes))
    }

    /// The bytes to store.
    ///
    /// ```
    /// use cloakroom::record::{SecretHash};
    /// assert_eq!(SecretHash::from_bytes([1; 32]).as_bytes(), &[1; 32]);
    /// ```
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// Whether both are the hash of one secret, in time that does not depend on where they differ.
    ///
    /// ```
    /// use cloakroom::record::{SecretHash};
    /// assert!(!SecretHash::from_bytes([1; 32]).matches(&SecretHash::from_bytes([2; 32])));
    /// ```
    pub fn matches(&self, other: &Self) -> bool {
        // blake3::Hash documents its equality as constant-time.
        self.0 == other.0
    }
}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash(..)")
    }
}

/// What the cookie carries: selector and secret, 43 characters of base64url.
///
/// No `Display`, no `Serialize`, a redacted `Debug`: the only way out is into a Set-Cookie header.
#[derive(Clone)]
pub(crate) struct Token {
    pub(crate) selector: Selector,
    pub(crate) secret: Secret,
}

impl Token {
    pub(crate) const LENGTH: usize = 43;

    /// The token of 32 bytes: the selector, then the secret.
    pub(crate) fn of(bytes: &[u8; 32]) -> Self {
        let (mut selector, mut secret) = ([0; 16], Secret(Zeroizing::new([0; 16])));
        selector.copy_from_slice(&bytes[..16]);
        secret.0.copy_from_slice(&bytes[16..]);
        Self { selector: Selector(selector), secret }
    }

    /// The token of a cookie value, or `None` if it is not one of ours.
    pub(crate) fn parse(value: &[u8]) -> Option<Self> {
        if value.len() != Self::LENGTH {
            return None;
        }
        let mut bytes = [0; 32];
        // The decoder refuses other alphabets, padding and non-canonical last characters, and runs in constant time.
        let token = match Base64UrlUnpadded::decode(value, &mut bytes) {
            Ok([]) | Err(_) => None,
            Ok(_) => Some(Self::of(&bytes)),
        };
        bytes.zeroize();
        token
    }

    /// The cookie value.
    pub(crate) fn encode(&self) -> String {
        let mut bytes = [0; 32];
        bytes[..16].copy_from_slice(&self.selector.0);
        bytes[16..].copy_from_slice(self.secret.as_bytes());
        let text = Base64UrlUnpadded::encode_string(&bytes);
        bytes.zeroize();
        text
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({}, ..)", self.selector.handle())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{SessionKey, WrappedKey};
    use std::marker::PhantomData;

    /// Knows whether a type has `==`: its own constant goes before the trait's, where its bound holds.
    struct Probe<T>(PhantomData<T>);

    trait Lacks {
        const COMPARES: bool = false;
    }

    impl<T> Lacks for Probe<T> {}

    impl<T: PartialEq> Probe<T> {
        const COMPARES: bool = true;
    }

    #[test]
    fn nothing_that_proves_a_session_can_be_compared_but_in_constant_time() {
        const {
            assert!(Probe::<Selector>::COMPARES, "the probe sees what is there");
            assert!(!Probe::<Secret>::COMPARES && !Probe::<SecretHash>::COMPARES && !Probe::<Token>::COMPARES);
            assert!(!Probe::<SessionKey>::COMPARES && !Probe::<WrappedKey>::COMPARES);
        }
        #[cfg(feature = "cookie")]
        const {
            assert!(!Probe::<crate::keyring::RingKey>::COMPARES && !Probe::<crate::KeyRing>::COMPARES);
        }
    }
}
