//! The header of a record: who may open it, until when, and whose it is.

use super::{
    extensions::Extensions,
    patch::{Deadlines, OwnerChange, Patch, Presented, Rotation},
};
use crate::{clock::Timestamp, key::WrappedKey, lifetime::Lifetime, token::SecretHash};
use std::{fmt, sync::Arc, time::Duration};

/// Everything a record holds besides cells. All instants are by the application's clock.
///
/// ```
/// use cloakroom::record::{Header, SecretHash, Timestamp, WrappedKey};
/// let (now, later) = (Timestamp::from_millis(0), Timestamp::from_millis(1));
/// let header = Header::new(SecretHash::from_bytes([1; 32]), WrappedKey::from_bytes([2; 32]), now, later, later);
/// assert!(header.is_open(now) && !header.is_open(later));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Header {
    /// Rises by one with every commit that carries cells. A new record has 1.
    pub revision: u64,
    /// When the session began.
    pub created: Timestamp,
    /// When it was last used, as far as it was recorded.
    pub last_seen: Timestamp,
    /// The idle deadline.
    pub idle_until: Timestamp,
    /// The absolute deadline.
    pub absolute_until: Timestamp,
    /// Hash of the secret that opens the session.
    pub secret_hash: SecretHash,
    /// The session key, for the holder of that secret.
    pub wrapped_key: WrappedKey,
    /// The secret before the last rotation.
    pub previous: Option<Previous>,
    /// How often the session's privilege changed. A commit names the epoch it loaded.
    pub epoch: u32,
    /// Who is signed in.
    pub owner: Option<Owner>,
    /// When that was last proven.
    pub authenticated_at: Option<Timestamp>,
    /// Whether the cookie outlives the browser session.
    pub persistent: bool,
    /// A name for lists of sessions, such as the device.
    pub label: Option<Arc<str>>,
    /// What later builds have added.
    pub extensions: Extensions,
}

/// The secret before the last rotation.
///
/// ```
/// use cloakroom::record::{Previous, PreviousState, SecretHash, Timestamp, WrappedKey};
/// let previous = Previous {
///     secret_hash: SecretHash::from_bytes([1; 32]),
///     wrapped_key: WrappedKey::from_bytes([2; 32]),
///     state: PreviousState::Pending,
///     since: Timestamp::from_millis(0),
/// };
/// assert_eq!(previous.state, PreviousState::Pending);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Previous {
    /// Hash of the old secret.
    pub secret_hash: SecretHash,
    /// The session key under the old secret; zeros where that is revoked.
    pub wrapped_key: WrappedKey,
    /// Whether the new secret has been seen.
    pub state: PreviousState,
    /// Since when it is in that state.
    pub since: Timestamp,
}

/// How far a renewal has come.
///
/// ```
/// use cloakroom::record::PreviousState;
/// assert_ne!(PreviousState::Pending, PreviousState::Superseded);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PreviousState {
    /// The new secret has not been presented: its response may be lost, so the old one stays valid, and a further renewal replaces
    /// the new one.
    Pending,
    /// The new secret has been presented: the old one is valid for the grace, counted from then.
    Superseded,
    /// A change of privilege killed it. It opens nothing; it only tells a late request from a forged one.
    Revoked,
}

/// Whose session it is: a hash, so that a store learns no user id.
///
/// ```
/// use cloakroom::record::{Owner, OwnerHash};
/// let owner = Owner { schema: "shop".into(), hash: OwnerHash::from_bytes([1; 32]) };
/// assert_eq!(&*owner.schema, "shop");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The schema that bears the owner field.
    pub schema: Arc<str>,
    /// Hash of the schema's name and the owner's value.
    pub hash: OwnerHash,
}

/// Hash of an owner; the key of the owner index.
///
/// ```
/// use cloakroom::record::OwnerHash;
/// assert_eq!(OwnerHash::from_bytes([1; 32]).as_bytes(), &[1; 32]);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OwnerHash([u8; 32]);

impl OwnerHash {
    /// The hash of these bytes, as a store kept them.
    ///
    /// ```
    /// use cloakroom::record::{OwnerHash};
    /// assert_eq!(OwnerHash::from_bytes([1; 32]), OwnerHash::from_bytes([1; 32]));
    /// ```
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes to store.
    ///
    /// ```
    /// use cloakroom::record::{OwnerHash};
    /// assert_eq!(OwnerHash::from_bytes([1; 32]).as_bytes(), &[1; 32]);
    /// ```
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for OwnerHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OwnerHash(..)")
    }
}

/// Which of a record's secrets somebody presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Accepted {
    Previous,
    Current,
}

impl Header {
    /// The header of a new session, at revision 1 and epoch 0, in nobody's name.
    ///
    /// ```
    /// use cloakroom::record::{Header, SecretHash, Timestamp, WrappedKey};
    /// let at = Timestamp::from_millis;
    /// let header = Header::new(SecretHash::from_bytes([1; 32]), WrappedKey::from_bytes([2; 32]), at(0), at(10), at(20));
    /// assert_eq!((header.revision, header.epoch), (1, 0));
    /// ```
    pub fn new(
        secret_hash: SecretHash,
        wrapped_key: WrappedKey,
        now: Timestamp,
        idle_until: Timestamp,
        absolute_until: Timestamp,
    ) -> Self {
        Self {
            revision: 1,
            created: now,
            last_seen: now,
            idle_until,
            absolute_until,
            secret_hash,
            wrapped_key,
            previous: None,
            epoch: 0,
            owner: None,
            authenticated_at: None,
            persistent: false,
            label: None,
            extensions: Extensions::default(),
        }
    }

    /// Whether both stored deadlines lie ahead.
    ///
    /// ```
    /// use cloakroom::record::{Header, SecretHash, Timestamp, WrappedKey};
    /// let at = Timestamp::from_millis;
    /// let header = Header::new(SecretHash::from_bytes([1; 32]), WrappedKey::from_bytes([2; 32]), at(0), at(10), at(20));
    /// assert!(header.is_open(at(9)));
    /// assert!(!header.is_open(at(10)));
    /// ```
    pub fn is_open(&self, now: Timestamp) -> bool {
        now < self.expires()
    }

    /// The nearer of both stored deadlines.
    ///
    /// ```
    /// use cloakroom::record::{Header, SecretHash, Timestamp, WrappedKey};
    /// let at = Timestamp::from_millis;
    /// let header = Header::new(SecretHash::from_bytes([1; 32]), WrappedKey::from_bytes([2; 32]), at(0), at(10), at(20));
    /// assert_eq!(header.expires(), at(10));
    /// ```
    pub fn expires(&self) -> Timestamp {
        self.idle_until.min(self.absolute_until)
    }

    /// Both deadlines under a configured lifetime. A shorter one than the session began under shortens it; a longer one
    /// changes nothing.
    pub(crate) fn deadlines(&self, lifetime: &Lifetime) -> (Timestamp, Timestamp) {
        let idle_until = self.idle_until.min(self.last_seen.plus(lifetime.idle()));
        (idle_until, self.absolute_until.min(self.began().plus(lifetime.absolute())))
    }

    /// When the session began, or its owner last changed.
    pub(crate) fn first_created(&self) -> Timestamp {
        self.extensions.created().unwrap_or(self.created)
    }

    /// What the absolute lifetime counts from. Proving who one is starts it anew.
    pub(crate) fn began(&self) -> Timestamp {
        self.authenticated_at.map_or(self.created, |proven| proven.max(self.created))
    }

    /// Which secret a hash belongs to, if it opens the record now.
    pub(crate) fn accepts(&self, presented: &SecretHash, now: Timestamp, grace: Duration) -> Option<Accepted> {
        if self.secret_hash.matches(presented) {
            return Some(Accepted::Current);
        }
        let previous = self.previous.as_ref()?;
        let open = match previous.state {
            PreviousState::Pending => true,
            PreviousState::Superseded => now < previous.since.plus(grace),
            PreviousState::Revoked => false,
        };
        (previous.secret_hash.matches(presented) && open).then_some(Accepted::Previous)
    }

    /// Whether it is the hash of the secret, or of the one before.
    pub(crate) fn knows(&self, hash: &SecretHash) -> bool {
        self.secret_hash.matches(hash) || self.previous.as_ref().is_some_and(|previous| previous.secret_hash.matches(hash))
    }

    /// Whether a secret is the one that was accepted before, longer ago than a client's own requests can be under way.
    pub(crate) fn is_reused(&self, presented: &SecretHash, now: Timestamp, tolerance: Duration) -> bool {
        self.previous.as_ref().is_some_and(|previous| {
            previous.secret_hash.matches(presented)
                && match previous.state {
                    PreviousState::Pending => false,
                    PreviousState::Superseded | PreviousState::Revoked => now >= previous.since.plus(tolerance),
                }
        })
    }

    /// Whether nobody has presented the current secret yet, so that what the client holds may be the one before.
    pub(crate) fn is_awaited(&self) -> bool {
        self.previous.is_some_and(|previous| previous.state == PreviousState::Pending)
    }

    /// Since when the secret of today is the only one, or the one that was to replace it.
    pub(crate) fn renewed(&self) -> Timestamp {
        self.previous.as_ref().map_or(self.created, |previous| previous.since.max(self.created))
    }

    /// Records that the session was used: the conditional touch that a store folds into a load.
    ///
    /// It happens only for somebody who holds an accepted secret, and only while the session lives: who knows just a
    /// selector can neither keep it alive nor revive it. A deadline never moves back. Answers whether anything changed.
    ///
    /// ```
    /// use cloakroom::{Lifetime, record::{Header, Presented, SecretHash, Timestamp, WrappedKey}};
    /// let at = Timestamp::from_millis;
    /// let day = 24 * 3600 * 1000;
    /// let secret = SecretHash::from_bytes([1; 32]);
    /// let mut header = Header::new(secret, WrappedKey::from_bytes([2; 32]), at(0), at(day), at(30 * day));
    ///
    /// assert!(header.touch(&Presented::new(secret, at(1_000), Lifetime::default())));
    /// assert_eq!(header.idle_until, at(1_000 + day));
    /// let forged = SecretHash::from_bytes([9; 32]);
    /// assert!(!header.touch(&Presented::new(forged, at(2_000), Lifetime::default())));
    /// ```
    pub fn touch(&mut self, presented: &Presented) -> bool {
        let lifetime = if self.persistent { presented.remember } else { presented.lifetime };
        let (idle_until, absolute_until) = self.deadlines(&lifetime);
        let Some(accepted) = self.accepts(&presented.secret_hash, presented.now, presented.grace) else { return false };
        if presented.now >= idle_until.min(absolute_until) {
            return false;
        }
        self.roll(presented.now, presented.now.plus(lifetime.idle()));
        if accepted == Accepted::Current {
            self.note_presented(presented.now);
        }
        true
    }

    fn roll(&mut self, last_seen: Timestamp, idle_until: Timestamp) {
        self.last_seen = self.last_seen.max(last_seen);
        self.idle_until = self.idle_until.max(idle_until);
    }

    fn note_presented(&mut self, now: Timestamp) {
        if let Some(previous) = &mut self.previous
            && previous.state == PreviousState::Pending
        {
            previous.state = PreviousState::Superseded;
            previous.since = now;
        }
    }

    /// The header's part of a commit; answers whether the patch's rotation happened.
    pub(super) fn apply(&mut self, patch: &Patch) -> bool {
        match patch.deadlines {
            None => {}
            Some(Deadlines::Roll { last_seen, idle_until }) => self.roll(last_seen, idle_until),
            Some(Deadlines::Reset { created, last_seen, idle_until, absolute_until }) => {
                self.created = created;
                self.last_seen = last_seen;
                self.idle_until = idle_until;
                self.absolute_until = absolute_until;
            }
        }
        if let Some(presented) = &patch.presented
            && self.secret_hash.matches(presented)
        {
            self.note_presented(patch.now);
        }
        match &patch.owner {
            None => {}
            Some(OwnerChange::Set(owner)) => self.owner = Some(owner.clone()),
            Some(OwnerChange::Clear) => self.owner = None,
        }
        if let Some(at) = patch.authenticated_at {
            self.authenticated_at = at;
        }
        if let Some(persistent) = patch.persistent {
            self.persistent = persistent;
        }
        if let Some(label) = &patch.label {
            self.label.clone_from(label);
        }
        if let Some(extensions) = &patch.extensions {
            self.extensions.clone_from(extensions);
        }
        match &patch.rotation {
            None => false,
            Some(Rotation::Privilege { to, wrapped_key }) => {
                self.previous = Some(Previous {
                    secret_hash: self.secret_hash,
                    wrapped_key: WrappedKey::from_bytes([0; 32]),
                    state: PreviousState::Revoked,
                    since: patch.now,
                });
                self.secret_hash = *to;
                self.wrapped_key = *wrapped_key;
                self.epoch = self.epoch.saturating_add(1);
                true
            }
            Some(Rotation::Renewal { from, to, wrapped_key }) => {
                let first = self.secret_hash.matches(from);
                if first {
                    let held = self.previous.filter(|_| self.is_awaited());
                    let (secret_hash, state, since) = (self.secret_hash, PreviousState::Pending, patch.now);
                    let replaced = Previous { secret_hash, wrapped_key: self.wrapped_key, state, since };
                    self.previous = Some(held.map_or(replaced, |held| Previous { since, ..held }));
                    self.secret_hash = *to;
                    self.wrapped_key = *wrapped_key;
                }
                first
            }
        }
    }
}
