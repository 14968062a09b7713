//! The keys of the application: they seal cookies, or key the hashes of secrets. Their way is from created over active to retired.

use crate::random;
use base64ct::{Base64UrlUnpadded, Encoding};
use std::{
    fmt,
    fs::File,
    io::{self, Read},
    ops::Deref,
    path::Path,
    sync::Arc,
};
use zeroize::Zeroizing;

const LENGTH: usize = 32;
const TEXT_LENGTH: usize = 43;

/// A ring in a file is no longer than this, in bytes.
const FILE: usize = 16 * 1024;

/// The keys of a `CookieStore` (feature `cookie`), or of [`SessionLayer::keyed`](crate::SessionLayer::keyed): one seals, every one opens. Stores on a server
/// need none unless the layer is `keyed`; there "to seal" is to hash the secret of a new token, and "to open" is to know the hash again.
///
/// | state | seals | opens | a key is in it |
/// |---|---|---|---|
/// | *created* | | yes | until every server knows it |
/// | *active* | yes | yes | as long as you like; a ring has exactly one |
/// | *retired* | | yes | until what it sealed has expired |
/// | gone | | | for good |
///
/// Keys are 32 random bytes; in text, 43 characters of base64url. A ring in text is its keys in any order, separated by commas or line
/// breaks, each behind its state: `active:..,retired:..`; without a state it is the active one. So a ring of one key is that key, and no
/// order of a list decides which key seals (CVE-2025-47278). A seal names its key, so keys are never tried out.
///
/// # Replacing a key
///
/// A server that does not know a key takes what it sealed for a forgery and clears the cookie, so a fleet learns a key before it is used
/// (OWASP ASVS 5.0, 11.2.2 and 13.3.4: keys can be replaced). Each step is a deploy, and each is safe to take back:
///
/// 1. `active:OLD,created:NEW`. Wait until it runs on every server.
/// 2. `retired:OLD,active:NEW`. Wait until it runs on every server, and from then for the longest absolute
///    [`Lifetime`](crate::Lifetime) (30 days by default): the absolute deadline inside a seal never moves, so then nothing sealed with the old key is valid.
/// 3. `active:NEW`. Whatever was sealed with the old key opens nowhere.
///
/// A key that got out is no case for this: put a fresh one in its place at once, which ends all sessions.
///
/// ```no_run
/// use cloakroom::KeyRing;
/// let keys = KeyRing::from_env("SESSION_KEYS")?;
/// # let _ = keys;
///
/// // A key to be put there, once:
/// println!("{}", &*KeyRing::generate()?.to_secret_text());
/// # Ok::<(), cloakroom::KeyRingError>(())
/// ```
#[derive(Clone)]
pub struct KeyRing {
    keys: Arc<Keys>,
}

#[derive(Clone)]
struct Keys {
    active: RingKey,
    others: Vec<(Waiting, RingKey)>,
}

/// The states of a key that opens and does not seal.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Waiting {
    Created,
    Retired,
}

#[derive(Clone)]
pub(crate) struct RingKey {
    id: [u8; 4],
    key: Zeroizing<[u8; LENGTH]>,
}

impl RingKey {
    fn new(key: Zeroizing<[u8; LENGTH]>) -> Result<Self, KeyRingError> {
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

    fn from_slice(bytes: &[u8]) -> Result<Self, KeyRingError> {
        let mut key = Zeroizing::new([0; LENGTH]);
        if bytes.len() != LENGTH {
            return Err(KeyRingError::Length(bytes.len()));
        }
        key.copy_from_slice(bytes);
        Self::new(key)
    }

    fn from_text(text: &str) -> Result<Self, KeyRingError> {
        // A buffer of our own, since what fails half-way is wiped too.
        let mut buffer = Zeroizing::new(vec![0; text.len()]);
        let bytes = Base64UrlUnpadded::decode(text, &mut buffer).map_err(|_| KeyRingError::Text)?;
        Self::from_slice(bytes)
    }

    #[cfg(any(test, feature = "cookie"))]
    pub(crate) fn id(&self) -> [u8; 4] {
        self.id
    }

    /// The sub-key for the hashes of secrets.
    pub(crate) fn for_secrets(&self) -> Zeroizing<[u8; LENGTH]> {
        Zeroizing::new(blake3::derive_key("cloakroom 1 secret hash", &*self.key))
    }

    #[cfg(feature = "cookie")]
    /// The sub-key for one cookie's name, so that a seal means nothing under another.
    pub(crate) fn for_cookie(&self, name: &str) -> Zeroizing<[u8; LENGTH]> {
        let mut hasher = blake3::Hasher::new_derive_key("cloakroom 1 sealed cookie");
        hasher.update(&*self.key);
        hasher.update(name.as_bytes());
        Zeroizing::new(*hasher.finalize().as_bytes())
    }
}

impl KeyRing {
    fn new(active: RingKey) -> Self {
        Self { keys: Arc::new(Keys { active, others: Vec::new() }) }
    }

    /// A ring of one fresh random key. Cookies sealed with it end with the process, unless the key is kept.
    ///
    /// # Errors
    /// If the operating system gives no random bytes.
    ///
    /// ```
    /// use cloakroom::KeyRing;
    /// let text = KeyRing::generate()?.to_secret_text();
    /// assert_eq!(text.len(), 43);
    /// # Ok::<(), cloakroom::KeyRingError>(())
    /// ```
    pub fn generate() -> Result<Self, KeyRingError> {
        let bytes = random::bytes().map_err(|error| KeyRingError::Randomness(error.to_string()))?;
        RingKey::new(Zeroizing::new(bytes)).map(Self::new)
    }

    /// A ring of one key, the active one, of exactly 32 bytes. The bytes you pass are yours to wipe.
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
        RingKey::from_slice(bytes.as_ref()).map(Self::new)
    }

    /// The ring in an environment variable, as text.
    ///
    /// # Errors
    /// If the variable is not set, or the text in it is no ring.
    ///
    /// ```
    /// use cloakroom::KeyRing;
    /// let error = KeyRing::from_env("CLOAKROOM_KEYS_OF_AN_EXAMPLE").unwrap_err();
    /// assert!(error.to_string().contains("CLOAKROOM_KEYS_OF_AN_EXAMPLE"));
    /// ```
    pub fn from_env(variable: &str) -> Result<Self, KeyRingError> {
        let text = std::env::var_os(variable).ok_or_else(|| KeyRingError::Variable(variable.to_owned()))?;
        let text = Zeroizing::new(text.into_encoded_bytes());
        Self::from_utf8(&text).map_err(|error| match error {
            KeyRingError::Empty => KeyRingError::Variable(variable.to_owned()),
            error => KeyRingError::In(variable.to_owned(), Box::new(error)),
        })
    }

    /// The ring in a file, as text.
    ///
    /// On Unix a file that every user of the machine can read, or that its group can change, is refused: `chmod 600` it. Reading by the group is
    /// allowed, since that is how Kubernetes gives a secret to a process that is not root: `defaultMode: 0440` there, `mode: 0400` in a
    /// Docker secret.
    ///
    /// # Errors
    /// If the file cannot be read, is open to others, or its text is no ring.
    ///
    /// ```no_run
    /// use cloakroom::KeyRing;
    /// let keys = KeyRing::from_file("/run/secrets/session-keys")?;
    /// # let _ = keys;
    /// # Ok::<(), cloakroom::KeyRingError>(())
    /// ```
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, KeyRingError> {
        let path = path.as_ref();
        let name = || path.display().to_string();
        let unreadable = |error: io::Error| KeyRingError::File(name(), error.to_string());
        let mut file = File::open(path).map_err(unreadable)?;
        // Asked of the opened file, so that nobody can put another one in its place in between.
        if let Some(mode) = open_to_others(&file).map_err(unreadable)? {
            return Err(KeyRingError::Exposed(name(), mode));
        }
        // Of fixed size: a buffer that grew would leave copies behind.
        let mut text = Zeroizing::new(vec![0; FILE]);
        let mut length = 0;
        loop {
            match file.read(&mut text[length..]) {
                Ok(0) if length == FILE => return Err(KeyRingError::File(name(), format!("it is longer than {FILE} bytes"))),
                Ok(0) => break,
                Ok(more) => length += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(unreadable(error)),
            }
        }
        Self::from_utf8(&text[..length]).map_err(|error| KeyRingError::In(name(), Box::new(error)))
    }

    fn from_utf8(text: &[u8]) -> Result<Self, KeyRingError> {
        std::str::from_utf8(text).map_err(|_| KeyRingError::Text)?.parse()
    }

    /// Adds a *created* key, which opens and does not seal: the next one to seal, made known to every server beforehand.
    ///
    /// # Errors
    /// As [`from_bytes`](KeyRing::from_bytes), and if the ring has it already.
    ///
    /// ```
    /// use cloakroom::KeyRing;
    /// # let next_years_key = *b"0123456789abcdefghijklmnopqrstuv";
    /// let keys = KeyRing::generate()?.created(next_years_key)?;
    /// # let _ = keys;
    /// # Ok::<(), cloakroom::KeyRingError>(())
    /// ```
    pub fn created(self, bytes: impl AsRef<[u8]>) -> Result<Self, KeyRingError> {
        self.with(Waiting::Created, RingKey::from_slice(bytes.as_ref())?)
    }

    /// Adds a *retired* key, which opens and does not seal any more.
    ///
    /// # Errors
    /// As [`from_bytes`](KeyRing::from_bytes), and if the ring has it already.
    ///
    /// ```
    /// use cloakroom::KeyRing;
    /// # let last_years_key = *b"0123456789abcdefghijklmnopqrstuv";
    /// let keys = KeyRing::generate()?.retired(last_years_key)?;
    /// # let _ = keys;
    /// # Ok::<(), cloakroom::KeyRingError>(())
    /// ```
    pub fn retired(self, bytes: impl AsRef<[u8]>) -> Result<Self, KeyRingError> {
        self.with(Waiting::Retired, RingKey::from_slice(bytes.as_ref())?)
    }

    fn with(mut self, state: Waiting, key: RingKey) -> Result<Self, KeyRingError> {
        if self.find(&key.id).is_some() {
            return Err(KeyRingError::Repeated);
        }
        Arc::make_mut(&mut self.keys).others.push((state, key));
        Ok(self)
    }

    /// The ring as text, to be put where secrets are kept. The one way out for key material.
    ///
    /// ```
    /// use cloakroom::KeyRing;
    /// let keys = KeyRing::generate()?.retired(b"0123456789abcdefghijklmnopqrstuv")?;
    /// let text = keys.to_secret_text();
    /// assert!(text.ends_with(",retired:MDEyMzQ1Njc4OWFiY2RlZmdoaWprbG1ub3BxcnN0dXY"));
    ///
    /// let same: KeyRing = text.parse()?;
    /// assert_eq!(*same.to_secret_text(), *text);
    /// # Ok::<(), cloakroom::KeyRingError>(())
    /// ```
    pub fn to_secret_text(&self) -> SecretText {
        // Reserved in full: a text that grew would leave copies behind.
        let mut text = String::with_capacity((1 + self.keys.others.len()) * (",retired:".len() + TEXT_LENGTH));
        let mut push = |state: &str, key: &RingKey| {
            text.push_str(state);
            let mut buffer = Zeroizing::new([0; TEXT_LENGTH]);
            text.push_str(Base64UrlUnpadded::encode(&*key.key, &mut *buffer).unwrap_or_default());
        };
        push("", &self.keys.active);
        for (state, key) in &self.keys.others {
            push(if *state == Waiting::Created { ",created:" } else { ",retired:" }, key);
        }
        SecretText(Zeroizing::new(text))
    }

    pub(crate) fn active(&self) -> &RingKey {
        &self.keys.active
    }

    /// The keys that open and do not seal.
    pub(crate) fn others(&self) -> impl Iterator<Item = &RingKey> {
        self.keys.others.iter().map(|(_, key)| key)
    }

    pub(crate) fn find(&self, id: &[u8]) -> Option<&RingKey> {
        std::iter::once(self.active()).chain(self.others()).find(|key| key.id == *id)
    }
}

/// How a file may be used, if that is by more than its owner and the readers of its group.
#[cfg(unix)]
fn open_to_others(file: &File) -> io::Result<Option<u32>> {
    use std::os::unix::fs::PermissionsExt;
    let mode = file.metadata()?.permissions().mode() & 0o777;
    Ok((mode & 0o027 != 0).then_some(mode))
}

#[cfg(not(unix))]
fn open_to_others(_: &File) -> io::Result<Option<u32>> {
    Ok(None)
}

impl std::str::FromStr for KeyRing {
    type Err = KeyRingError;

    fn from_str(text: &str) -> Result<Self, KeyRingError> {
        let (mut active, mut others) = (None, Vec::new());
        let entries = text.split([',', '\n']).map(str::trim).filter(|entry| !entry.is_empty());
        for (at, entry) in entries.enumerate() {
            let at = at + 1;
            let here = |error| KeyRingError::Key(at, Box::new(error));
            let (state, key) = match entry.split_once(':') {
                None => (None, entry),
                Some(("active", key)) => (None, key),
                Some(("created", key)) => (Some(Waiting::Created), key),
                Some(("retired", key)) => (Some(Waiting::Retired), key),
                Some(_) => return Err(here(KeyRingError::State)),
            };
            let key = RingKey::from_text(key.trim()).map_err(here)?;
            match (state, &active) {
                (Some(state), _) => others.push((at, state, key)),
                (None, None) => active = Some(key),
                (None, Some(_)) => return Err(here(KeyRingError::SecondActive)),
            }
        }
        let none = if others.is_empty() { KeyRingError::Empty } else { KeyRingError::NoActive };
        others.into_iter().try_fold(Self::new(active.ok_or(none)?), |ring, (at, state, key)| {
            ring.with(state, key).map_err(|error| KeyRingError::Key(at, Box::new(error)))
        })
    }
}

/// How many keys are in which state, by their ids, which every sealed cookie shows.
impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = |key: &RingKey| format!("{:08x}", u32::from_be_bytes(key.id));
        let ids = |state: Waiting| -> Vec<String> {
            self.keys.others.iter().filter(|(of, _)| *of == state).map(|(_, key)| id(key)).collect()
        };
        f.debug_struct("KeyRing")
            .field("active", &id(&self.keys.active))
            .field("created", &ids(Waiting::Created))
            .field("retired", &ids(Waiting::Retired))
            .finish()
    }
}

/// Text with keys in it, wiped from memory when it is dropped. It derefs to the text and shows it in no other way.
///
/// ```
/// use cloakroom::KeyRing;
/// let text = KeyRing::generate()?.to_secret_text();
/// assert_eq!(format!("{text:?}"), "SecretText(..)");
/// # Ok::<(), cloakroom::KeyRingError>(())
/// ```
pub struct SecretText(Zeroizing<String>);

impl Deref for SecretText {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(..)")
    }
}

/// Why a key or a ring was refused. No case carries any of a key.
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
    /// A state that is none.
    State,
    /// The ring has this key already, or one of the same id.
    Repeated,
    /// A second key that seals.
    SecondActive,
    /// Keys, but none that seals.
    NoActive,
    /// No key at all.
    Empty,
    /// The key at this place of a list, counted from 1, is refused.
    Key(usize, Box<KeyRingError>),
    /// The environment variable of this name is not set, or empty.
    Variable(String),
    /// This file cannot be read, for that reason.
    File(String, String),
    /// This file is open to others: its permissions, as `chmod` takes them.
    Exposed(String, u32),
    /// What stands in the environment variable of this name, or in this file, is refused.
    In(String, Box<KeyRingError>),
    /// The operating system gave no random bytes.
    Randomness(String),
}

const MAKE_ONE: &str = "make one with `KeyRing::generate()?.to_secret_text()`";
const MARK_IT: &str = "write `created:` before a key that is to seal later, and `retired:` before one that sealed earlier";

impl fmt::Display for KeyRingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length(length) => write!(f, "a key is 32 bytes, not {length}; {MAKE_ONE}"),
            Self::Weak => write!(f, "a key must be random bytes, and this one has hardly any different ones; {MAKE_ONE}"),
            Self::Text => f.write_str(
                "a key in text is 43 characters of base64url without padding; separate several by commas or line breaks",
            ),
            Self::State => {
                f.write_str("what stands before the `:` of a key is its state, which is `active`, `created` or `retired`")
            }
            Self::Repeated => f.write_str(
                "the ring has this key already, or, once in 4,000,000,000 times, another one of the same id; list each key once, or make another",
            ),
            Self::SecondActive => write!(f, "it would be a second active key, and one alone seals; {MARK_IT}"),
            Self::NoActive => f.write_str("no key of the ring seals; write `active:` before the one that shall"),
            Self::Empty => write!(f, "there is no key; {MAKE_ONE}"),
            Self::Key(at, error) => write!(f, "key {at}: {error}"),
            Self::Variable(name) => {
                write!(f, "the environment variable {name} is not set; put the keys there. For a first key, {MAKE_ONE}")
            }
            Self::File(path, reason) => write!(f, "the keys in {path} cannot be read: {reason}"),
            Self::Exposed(path, mode) => {
                write!(f, "{path} holds keys and is open to others (mode {mode:03o}); type `chmod 600 {path}`")
            }
            Self::In(place, error) => write!(f, "{place}: {error}"),
            Self::Randomness(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for KeyRingError {}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn key(fill: u8) -> [u8; LENGTH] {
        std::array::from_fn(|at| at as u8 ^ fill)
    }

    fn text(fill: u8) -> String {
        Base64UrlUnpadded::encode_string(&key(fill))
    }

    fn refused(text: impl AsRef<str>) -> KeyRingError {
        text.as_ref().parse::<KeyRing>().unwrap_err()
    }

    fn states(ring: &KeyRing) -> (Vec<u8>, bool, bool) {
        let id = |fill| KeyRing::from_bytes(key(fill)).unwrap().active().id();
        let sealing = (1..=3).filter(|fill| ring.active().id() == id(*fill)).collect();
        (sealing, ring.find(&id(2)).is_some(), ring.find(&id(3)).is_some())
    }

    #[test]
    fn one_key_seals_and_every_key_opens_whatever_the_order_and_separators_of_the_text() {
        let (a, b, c) = (text(1), text(2), text(3));
        for text in [
            format!("{a},created:{b},retired:{c}"),
            format!("retired:{c}, created: {b} , active: {a}"),
            format!("created:{b}\n{a}\r\n\nretired:{c}\n"),
        ] {
            let ring: KeyRing = text.parse().unwrap();
            assert_eq!(states(&ring), (vec![1], true, true), "{text}");
        }
        let built = KeyRing::from_bytes(key(1)).unwrap().created(key(2)).unwrap().retired(key(3)).unwrap();
        assert_eq!(states(&built), (vec![1], true, true));
        assert_eq!(*built.to_secret_text(), format!("{a},created:{b},retired:{c}"));
        assert_eq!(built.find(&KeyRing::from_bytes(key(4)).unwrap().active().id()).map(RingKey::id), None);
    }

    #[test]
    fn a_text_without_exactly_one_active_key_is_refused_and_told_what_to_write() {
        let (a, b) = (text(1), text(2));
        for empty in ["", " \n", ",,"] {
            assert_eq!(refused(empty), KeyRingError::Empty);
        }
        assert_eq!(refused(format!("created:{a},retired:{b}")), KeyRingError::NoActive);
        for text in [format!("{a},{b}"), format!("active:{a},active:{b}"), format!("{a},active:{b}")] {
            let error = refused(text);
            assert_eq!(error, KeyRingError::Key(2, Box::new(KeyRingError::SecondActive)));
            assert!(error.to_string().contains("`created:`") && error.to_string().contains("`retired:`"));
        }
        for mark in ["Active", "newest", "", "active:active", "created:retired"] {
            let error = refused(format!("{a},{mark}:{b}"));
            assert!(matches!(error, KeyRingError::Key(2, _)), "{mark}: {error}");
        }
    }

    #[test]
    fn a_bad_key_is_named_by_its_place() {
        let error = refused(format!("{},retired:{}", text(1), "AAAA"));
        assert!(error.to_string().starts_with("key 2: a key is 32 bytes, not 3"), "{error}");
        assert!(refused("not base64!").to_string().contains("base64url"));
    }

    #[test]
    fn a_short_long_or_weak_key_is_refused_in_every_state() {
        let ring = || KeyRing::from_bytes(key(1)).unwrap();
        let long = key(2).repeat(2);
        for (bad, why) in [
            (&b""[..], KeyRingError::Length(0)),
            (&long[..31], KeyRingError::Length(31)),
            (&long[..33], KeyRingError::Length(33)),
            (&long, KeyRingError::Length(64)),
            (&[0; 32], KeyRingError::Weak),
            (&[b'a'; 32], KeyRingError::Weak),
            (b"passwordpasswordpasswordpassword", KeyRingError::Weak),
        ] {
            assert_eq!(KeyRing::from_bytes(bad).unwrap_err(), why);
            assert_eq!(ring().created(bad).unwrap_err(), why);
            assert_eq!(ring().retired(bad).unwrap_err(), why);
            let text = Base64UrlUnpadded::encode_string(bad);
            if !text.is_empty() {
                assert_eq!(refused(format!("{},created:{text}", self::text(1))), KeyRingError::Key(2, Box::new(why)));
            }
        }
    }

    #[test]
    fn a_key_of_fifteen_different_bytes_is_weak_and_one_of_sixteen_is_not() {
        let of = |different: u8| KeyRing::from_bytes(std::array::from_fn::<u8, LENGTH, _>(|at| at as u8 % different));
        for different in [1, 7, 8, 15] {
            assert_eq!(of(different).unwrap_err(), KeyRingError::Weak, "{different}");
        }
        assert!(of(16).is_ok());
    }

    #[test]
    fn a_key_listed_twice_is_refused_whatever_its_states() {
        let ring = KeyRing::from_bytes(key(1)).unwrap().retired(key(2)).unwrap();
        for fill in [1, 2] {
            assert_eq!(ring.clone().created(key(fill)).unwrap_err(), KeyRingError::Repeated);
            assert_eq!(ring.clone().retired(key(fill)).unwrap_err(), KeyRingError::Repeated);
        }
        let error = refused(format!("retired:{0},{0}", text(1)));
        assert_eq!(error, KeyRingError::Key(1, Box::new(KeyRingError::Repeated)));
    }

    #[test]
    fn two_keys_that_share_an_id_are_refused() {
        let numbered = |number: u32| {
            let mut key = key(0);
            key[..4].copy_from_slice(&number.to_le_bytes());
            key
        };
        // Found by trying: among some 20,000 keys two share 32 bits.
        let (one, other) = SHARED_ID;
        let ids = [one, other].map(|number| KeyRing::from_bytes(numbered(number)).unwrap().active().id());
        assert_eq!(ids[0], ids[1]);
        let ring = KeyRing::from_bytes(numbered(one)).unwrap();
        assert_eq!(ring.retired(numbered(other)).unwrap_err(), KeyRingError::Repeated);
    }

    const SHARED_ID: (u32, u32) = (17_430, 20_107);

    /// Implemented once for every type, and once more for those that have a default: then nobody can tell which is meant.
    trait Undefaulted<Case> {
        fn compiles() {}
    }
    impl<T> Undefaulted<()> for T {}
    impl<T: Default> Undefaulted<u8> for T {}

    #[test]
    fn there_is_no_default_ring() {
        <KeyRing as Undefaulted<_>>::compiles();
        <RingKey as Undefaulted<_>>::compiles();
    }

    #[test]
    fn neither_debug_nor_an_error_shows_a_key() {
        let ring: KeyRing = format!("{},created:{}", text(1), text(2)).parse().unwrap();
        let shown = format!("{ring:?} {:?}", ring.to_secret_text());
        assert!(shown.starts_with("KeyRing { active: \"") && shown.ends_with("\"], retired: [] } SecretText(..)"), "{shown}");
        for bad in [format!("{}x", text(1)), format!("{0},{0}", text(1)), format!("{}:{}", text(2), text(1))] {
            let error = refused(bad);
            let said = format!("{shown} {error} {error:?}");
            assert!(!said.contains(&text(1)[..8]) && !said.contains(&text(2)[..8]), "{said}");
        }
    }

    #[cfg(unix)]
    mod in_a_file {
        use super::*;
        use std::{
            fs::{self, Permissions},
            os::unix::fs::PermissionsExt,
            path::PathBuf,
        };

        struct Temporary(PathBuf);

        impl Temporary {
            fn new(name: &str, content: &[u8]) -> Self {
                let path = std::env::temp_dir().join(format!("cloakroom-keys-{name}-{}", std::process::id()));
                fs::write(&path, content).unwrap();
                let file = Self(path);
                file.chmod(0o600);
                file
            }

            fn chmod(&self, mode: u32) {
                fs::set_permissions(&self.0, Permissions::from_mode(mode)).unwrap();
            }

            fn read(&self) -> Result<KeyRing, KeyRingError> {
                KeyRing::from_file(&self.0)
            }
        }

        impl Drop for Temporary {
            fn drop(&mut self) {
                let _ = fs::remove_file(&self.0);
            }
        }

        #[test]
        fn a_ring_is_read_as_from_any_text() {
            let file = Temporary::new("lines", format!("active:{}\nretired:{}\n", text(1), text(2)).as_bytes());
            assert_eq!(*file.read().unwrap().to_secret_text(), format!("{},retired:{}", text(1), text(2)));
        }

        #[test]
        fn a_file_that_others_can_use_is_refused_with_what_to_type() {
            let file = Temporary::new("modes", text(1).as_bytes());
            for mode in [0o604, 0o602, 0o644, 0o620, 0o660, 0o666, 0o777] {
                file.chmod(mode);
                let error = file.read().unwrap_err();
                assert_eq!(error, KeyRingError::Exposed(file.0.display().to_string(), mode));
                assert!(error.to_string().contains(&format!("chmod 600 {}", file.0.display())));
            }
            for mode in [0o600, 0o400, 0o440, 0o640] {
                file.chmod(mode);
                assert!(file.read().is_ok(), "{mode:o}");
            }
        }

        #[test]
        fn what_is_no_ring_is_refused_with_the_files_name_and_without_its_content() {
            let missing = KeyRing::from_file("/nowhere/keys").unwrap_err();
            assert!(missing.to_string().contains("/nowhere/keys"), "{missing}");
            for content in [&b""[..], b"\xff\xfe", &[b'A'; FILE], &[b'A'; FILE + 1], b"confidential"] {
                let error = Temporary::new("bad", content).read().unwrap_err();
                let said = format!("{error} {error:?}");
                assert!(said.contains("cloakroom-keys-bad") && !said.contains("confidential"), "{said}");
            }
            let long = Temporary::new("long", format!("{}{}", text(1), " ".repeat(FILE)).as_bytes()).read();
            assert!(matches!(long, Err(KeyRingError::File(..))), "cut off, it would be a ring: {long:?}");
        }
    }
}
