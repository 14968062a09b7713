//! Sessions in the browser: the whole record, sealed, is the cookie.

use crate::{
    clock::SKEW,
    cookie::NAME_AND_VALUE,
    error::{SessionError, TooLarge},
    keyring::KeyRing,
    record::{Record, Selector, Timestamp, WrappedKey, wire},
    seal,
    token::{Secret, Token},
};
use base64ct::{Base64UrlUnpadded, Encoding};
use zeroize::Zeroizing;
/// The format of a sealed cookie.
const FORMAT: u8 = 1;
const KEY_ID: usize = 4;
const HEAD: usize = 1 + KEY_ID;

/// Keeps each session in its own cookie, sealed with XChaCha20-Poly1305 (feature `cookie`). No database, and nothing to clean up.
///
/// Choose it knowing what it cannot do, since nobody but the browser has the record:
/// - **Logout does not end copies.** A copied cookie replays until its deadline, also after `destroy()` and `rotate()`. There is no
///   list of sessions and no revoking.
/// - **Parallel responses: the last one wins**, for the whole record. Merge rules act within one request only.
/// - **4,096 bytes**, name included, is all a browser keeps. More is an error that lists the fields by size.
/// - After the response's head nothing can be saved.
///
/// Deadlines are inside the seal and checked on every open, whatever the cookie's own attributes say; the absolute one is
/// copied unchanged when a cookie is sealed again. Seals are bound to the cookie's name.
///
/// ```no_run
/// use cloakroom::{KeyRing, SessionLayer, store::CookieStore};
///
/// let keys = KeyRing::from_env("SESSION_KEYS")?;
/// let sessions = SessionLayer::new(CookieStore::new(keys));
/// # let _ = sessions;
/// # Ok::<(), cloakroom::KeyRingError>(())
/// ```
#[derive(Clone, Debug)]
pub struct CookieStore {
    keys: KeyRing,
}

impl CookieStore {
    /// Sealed with the active key of the ring, opened with any of it.
    ///
    /// ```
    /// use cloakroom::{KeyRing, store::CookieStore};
    /// let store = CookieStore::new(KeyRing::generate()?);
    /// # let _ = store;
    /// # Ok::<(), cloakroom::KeyRingError>(())
    /// ```
    pub fn new(keys: KeyRing) -> Self {
        Self { keys }
    }

    /// Whether what one seals is what the other seals.
    pub(crate) fn seals_like(&self, other: &Self) -> bool {
        self.keys.active().id() == other.keys.active().id()
    }

    /// The cookie value of a record.
    pub(crate) fn seal(&self, cookie: &str, token: &Token, record: &Record) -> Result<String, SessionError> {
        let key = self.keys.active();
        let mut bytes = Vec::with_capacity(1024);
        bytes.push(FORMAT);
        bytes.extend(key.id());
        let associated = associated(&bytes, cookie);
        let cells = Zeroizing::new(wire::encode_sealed(&record.header, &record.cells));
        let mut plain = Zeroizing::new(Vec::with_capacity(64 + cells.len()));
        plain.extend(token.selector.as_bytes());
        plain.extend(token.secret.as_bytes());
        plain.extend(record.header.wrapped_key.as_bytes());
        plain.extend(&cells[..]);
        seal::seal(&key.for_cookie(cookie), &plain, &associated, &mut bytes)
            .map_err(|error| error.about("the cookie".to_owned()))?;
        let value = Base64UrlUnpadded::encode_string(&bytes);
        if cookie.len() + value.len() > NAME_AND_VALUE {
            return Err(SessionError::TooLarge { what: TooLarge::Cookie, limit: NAME_AND_VALUE, sizes: record.cells.sizes() });
        }
        Ok(value)
    }

    /// The record of a cookie value. Whatever is wrong with it, the answer is the same.
    pub(crate) fn open(&self, cookie: &str, value: &[u8], now: Timestamp) -> Option<(Token, Record)> {
        if value.len() > NAME_AND_VALUE {
            return None;
        }
        let mut buffer = vec![0; value.len()];
        let bytes = Base64UrlUnpadded::decode(value, &mut buffer).ok()?;
        let (head, sealed) = bytes.split_at_checked(HEAD)?;
        if head[0] != FORMAT {
            return None;
        }
        // The id says which key: nothing is tried out.
        let key = self.keys.find(&head[1..])?;
        let plain = seal::open(&key.for_cookie(cookie), sealed, &associated(head, cookie))?;
        // Only authenticated bytes come this far.
        let (selector, rest) = plain.split_first_chunk::<16>()?;
        let (secret, rest) = rest.split_first_chunk::<16>()?;
        let (wrapped_key, rest) = rest.split_first_chunk::<32>()?;
        let (mut header, cells) = wire::decode_sealed(rest).ok()?;
        let token = Token { selector: Selector::from_bytes(*selector), secret: Secret::from_bytes(*secret) };
        header.secret_hash = token.secret.hash();
        header.wrapped_key = WrappedKey::from_bytes(*wrapped_key);
        // A date ahead of every clock we trust would stretch the idle deadline.
        if header.last_seen > now.plus(SKEW) || header.created > now.plus(SKEW) {
            return None;
        }
        Some((token, Record::new(header, cells)))
    }
}

/// What the seal vouches for besides its content, length-prefixed so that no two inputs read alike.
fn associated(head: &[u8], cookie: &str) -> Vec<u8> {
    let mut data = Vec::with_capacity(head.len() + 8 + cookie.len());
    data.extend(head);
    data.extend((cookie.len() as u64).to_le_bytes());
    data.extend(cookie.as_bytes());
    data
}
