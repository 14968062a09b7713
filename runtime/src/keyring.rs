//! The keys that seal cookies.

use crate::random;
use base64ct::{Base64UrlUnpadded, Encoding};
use std::{fmt, sync::Arc};
use zeroize::Zeroizing;

const LENGTH: usize = 32;

/// The keys of a [`CookieStore`](crate::store::CookieStore) (feature `cookie`): the newest seals, every listed one opens.
///
/// Server-side stores need none. Keys are 32 bytes; in text, 43 characters of base64url. To replace a key, list the new one
/// behind the old on every server, then in front of it, and drop the old one once its cookies have expired; a dropped key opens
/// nothing. A seal names its key, so keys are never tried out.
///
/// ```no_run
/// use cloakroom::KeyRing;
/// let keys = KeyRing::from_env("SESSION_KEYS")?;
/// # let _ = keys;
///
/// // A key to be put there, once:
/// println!("{}", KeyRing::generate()?.to_secret_text()[0]);
/// # Ok::<(), cloakroom::KeyRingError>(())
/// ```
#[derive(Clone)]
pub struct KeyRing {
    keys: Arc<[RingKey]>,
}

pub(crate) struct RingKey {
    id: [u8; 4],
    key: Zeroizing<[u8; LENGTH]>,
}

impl RingKey {
    fn new(bytes: [u8; LENGTH]) -> Result<Self, KeyRingError> {
        let key = Zeroizing::new(bytes);
        // A key made of few different bytes was typed or left at zero, not drawn; 32 random bytes have fewer than 16 different
        // values once in 10^15 times.
        let mut seen = [false; 256];
        key.iter().for_each(|byte| seen[usize::from(*byte)] = true);
        if seen.iter().filter(|seen| **seen).count() < 16 {
            return Err(KeyRingError::Weak);
        }
        let mut id = [0; 4];
        id.copy_from_slice(&blake3::derive_key("cloakroom 1 key id", &*key)[..4]);
        Ok(Self { id, key })
    }

    pub(crate) fn id(&self) -> [u8; 4] {
        self.id
    }

    /// The sub-key for one cookie's name, so that a seal means nothing under another.
    pub(crate) fn for_cookie(&self, name: &str) -> [u8; LENGTH] {
        let mut hasher = blake3::Hasher::new_derive_key("cloakroom 1 sealed cookie");
        hasher.update(&*self.key);
        hasher.update(name.as_bytes());
        *hasher.finalize().as_bytes()
    }
}

impl KeyRing {
    /// A ring of one fresh random key. Cookies sealed with it end with the process, unless the key is kept.
    ///
    /// # Errors
    /// If the operating system gives no random bytes.
    ///
    /// ```
    /// use cloakroom::KeyRing;
    /// let text = KeyRing::generate()?.to_secret_text();
    /// assert_eq!(text[0].len(), 43);
    /// # Ok::<(), cloakroom::KeyRingError>(())
    /// ```
    pub fn generate() -> Result<Self, KeyRingError> {
        let bytes = random::bytes().map_err(|error| KeyRingError::Randomness(error.to_string()))?;
        Ok(Self { keys: Arc::new([RingKey::new(bytes)?]) })
    }

    /// A ring of one key of exactly 32 bytes.
    ///
    /// # Errors
    /// If it is not 32 bytes, or made of few different ones.
    ///
    /// ```
    /// use cloakroom::KeyRing;
    /// assert!(KeyRing::from_bytes([0u8; 32]).is_err(), "that is no secret");
    /// assert!(KeyRing::from_bytes("too short").is_err());
    /// ```
    pub fn from_bytes(bytes: impl AsRef<[u8]>) -> Result<Self, KeyRingError> {
        let bytes = bytes.as_ref();
        let key = bytes.try_into().map_err(|_| KeyRingError::Length(bytes.len()))?;
        Ok(Self { keys: Arc::new([RingKey::new(key)?]) })
    }

    /// The ring in an environment variable: keys in base64url, newest first, separated by commas.
    ///
    /// # Errors
    /// If the variable is not set, or a key in it is not one.
    ///
    /// ```
    /// use cloakroom::KeyRing;
    /// let error = KeyRing::from_env("CLOAKROOM_KEYS_OF_AN_EXAMPLE").unwrap_err();
    /// assert!(error.to_string().contains("CLOAKROOM_KEYS_OF_AN_EXAMPLE"));
    /// ```
    pub fn from_env(variable: &str) -> Result<Self, KeyRingError> {
        let text = std::env::var(variable).ok().filter(|text| !text.trim().is_empty()).map(Zeroizing::new);
        let text = text.ok_or_else(|| KeyRingError::Variable(variable.to_owned()))?;
        text.parse().map_err(|error| KeyRingError::InVariable(variable.to_owned(), Box::new(error)))
    }

    /// Adds an older key, which opens and does not seal.
    ///
    /// # Errors
    /// As [`from_bytes`](KeyRing::from_bytes).
    ///
    /// ```
    /// use cloakroom::KeyRing;
    /// # let last_years_key = *b"0123456789abcdefghijklmnopqrstuv";
    /// let keys = KeyRing::generate()?.and_older(last_years_key)?;
    /// # let _ = keys;
    /// # Ok::<(), cloakroom::KeyRingError>(())
    /// ```
    pub fn and_older(self, bytes: impl AsRef<[u8]>) -> Result<Self, KeyRingError> {
        let older = Self::from_bytes(bytes)?;
        let keys = self.keys.iter().chain(&*older.keys).map(RingKey::copy).collect();
        Ok(Self { keys })
    }

    /// The keys as text, newest first, to be put where secrets are kept. The one way out for key material.
    ///
    /// ```
    /// use cloakroom::KeyRing;
    /// let keys = KeyRing::generate()?;
    /// let same: KeyRing = keys.to_secret_text().join(",").parse()?;
    /// assert_eq!(same.to_secret_text(), keys.to_secret_text());
    /// # Ok::<(), cloakroom::KeyRingError>(())
    /// ```
    pub fn to_secret_text(&self) -> Vec<String> {
        self.keys.iter().map(|key| Base64UrlUnpadded::encode_string(&*key.key)).collect()
    }

    pub(crate) fn newest(&self) -> &RingKey {
        // Every constructor puts a key in.
        &self.keys[0]
    }

    pub(crate) fn find(&self, id: &[u8]) -> Option<&RingKey> {
        self.keys.iter().find(|key| key.id == *id)
    }
}

impl RingKey {
    fn copy(&self) -> Self {
        Self { id: self.id, key: self.key.clone() }
    }
}

impl std::str::FromStr for KeyRing {
    type Err = KeyRingError;

    fn from_str(text: &str) -> Result<Self, KeyRingError> {
        let keys = text
            .split(',')
            .enumerate()
            .map(|(at, key)| {
                let parse = || {
                    let bytes = Zeroizing::new(Base64UrlUnpadded::decode_vec(key.trim()).map_err(|_| KeyRingError::Text)?);
                    RingKey::new(bytes[..].try_into().map_err(|_| KeyRingError::Length(bytes.len()))?)
                };
                parse().map_err(|error| KeyRingError::Key(at + 1, Box::new(error)))
            })
            .collect::<Result<Arc<[_]>, _>>()?;
        Ok(Self { keys })
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyRing({} keys)", self.keys.len())
    }
}

/// Why a key was refused.
///
/// ```
/// use cloakroom::{KeyRing, KeyRingError};
/// assert_eq!(KeyRing::from_bytes([0u8; 32]).unwrap_err(), KeyRingError::Weak);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyRingError {
    /// Not 32 bytes, but this many.
    Length(usize),
    /// Few different bytes: typed, or left at zero.
    Weak,
    /// Not base64url.
    Text,
    /// The environment variable of this name is not set, or empty.
    Variable(String),
    /// What stands in the environment variable of this name is refused.
    InVariable(String, Box<KeyRingError>),
    /// The key at this place of a list, counted from 1, is refused.
    Key(usize, Box<KeyRingError>),
    /// The operating system gave no random bytes.
    Randomness(String),
}

const MAKE_ONE: &str = "make one with `KeyRing::generate()?.to_secret_text()`";

impl fmt::Display for KeyRingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length(length) => write!(f, "a key is 32 bytes, not {length}; {MAKE_ONE}"),
            Self::Weak => write!(f, "a key must be random bytes, and this one has hardly any different ones; {MAKE_ONE}"),
            Self::Text => f.write_str(
                "a key in text is 43 characters of base64url without padding; separate several by commas, newest first",
            ),
            Self::Variable(name) => {
                write!(
                    f,
                    "the environment variable {name} is not set; put the keys there, in base64url, newest first, separated by commas. {MAKE_ONE}"
                )
            }
            Self::InVariable(name, error) => write!(f, "{name}: {error}"),
            Self::Key(at, error) => write!(f, "key {at}: {error}"),
            Self::Randomness(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for KeyRingError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(fill: u8) -> String {
        let key: [u8; LENGTH] = std::array::from_fn(|at| at as u8 ^ fill);
        Base64UrlUnpadded::encode_string(&key)
    }

    #[test]
    fn keys_in_text_are_newest_first_and_come_out_as_they_went_in() {
        let ring: KeyRing = format!("{}, {}", text(1), text(2)).parse().unwrap();
        assert_eq!(ring.to_secret_text(), [text(1), text(2)]);
        assert_eq!(ring.newest().id(), text(1).parse::<KeyRing>().unwrap().newest().id());
        assert!(ring.find(&text(2).parse::<KeyRing>().unwrap().newest().id()).is_some());
    }

    #[test]
    fn a_bad_key_is_named_by_its_place() {
        let error = format!("{},{}", text(1), "AAAA").parse::<KeyRing>().unwrap_err();
        assert!(error.to_string().starts_with("key 2: a key is 32 bytes, not 3"), "{error}");
        assert!("not base64!".parse::<KeyRing>().unwrap_err().to_string().contains("base64url"));
    }

    #[test]
    fn a_key_of_few_different_bytes_is_refused() {
        assert_eq!(KeyRing::from_bytes([b'a'; 32]).unwrap_err(), KeyRingError::Weak);
        assert_eq!(KeyRing::from_bytes(*b"passwordpasswordpasswordpassword").unwrap_err(), KeyRingError::Weak);
    }

    #[test]
    fn neither_debug_nor_an_error_shows_a_key() {
        let ring: KeyRing = text(1).parse().unwrap();
        assert_eq!(format!("{ring:?}"), "KeyRing(1 keys)");
        let error = format!("{}x", text(1)).parse::<KeyRing>().unwrap_err();
        assert!(!format!("{error} {error:?}").contains(&text(1)));
    }
}
