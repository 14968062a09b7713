//! What a request asks of a store, and what a store answers.

use super::{
    cell::{Cell, CellKey, Put},
    extensions::Extensions,
    header::Owner,
};
use crate::{clock::Timestamp, key::WrappedKey, lifetime::Lifetime, token::SecretHash};
use std::{sync::Arc, time::Duration};

/// What a load presents besides the key: proof, and how to move the idle deadline.
///
/// ```
/// use cloakroom::{Lifetime, record::{Presented, SecretHash, Timestamp}};
/// let presented = Presented::new(SecretHash::from_bytes([1; 32]), Timestamp::from_millis(0), Lifetime::default());
/// assert_eq!(presented.remember, Lifetime::default());
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Presented {
    /// Hash of the secret in the cookie.
    pub secret_hash: SecretHash,
    /// The application's time.
    pub now: Timestamp,
    /// The lifetime of browser-session records.
    pub lifetime: Lifetime,
    /// The lifetime of persistent records.
    pub remember: Lifetime,
    /// How long a superseded secret stays valid.
    pub grace: Duration,
}

impl Presented {
    /// A proof under one lifetime for every record, without grace.
    ///
    /// ```
    /// use cloakroom::{Lifetime, record::{Presented, SecretHash, Timestamp}};
    /// let presented = Presented::new(SecretHash::from_bytes([1; 32]), Timestamp::from_millis(0), Lifetime::default());
    /// assert!(presented.grace.is_zero());
    /// ```
    pub fn new(secret_hash: SecretHash, now: Timestamp, lifetime: Lifetime) -> Self {
        Self { secret_hash, now, lifetime, remember: lifetime, grace: Duration::ZERO }
    }
}

/// Which cells a load returns: all, and of the on-demand ones (`~..`) those named here.
///
/// ```
/// use cloakroom::record::Want;
/// assert!(Want::default().named.is_empty());
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Want<'a> {
    /// The on-demand cells to include.
    pub named: &'a [&'a str],
}

impl<'a> Want<'a> {
    /// Everything, and these on-demand cells.
    ///
    /// ```
    /// use cloakroom::record::{Want};
    /// assert_eq!(Want::with(&["~shop/scan"]).named, ["~shop/scan"]);
    /// ```
    pub const fn with(named: &'a [&'a str]) -> Self {
        Self { named }
    }

    /// Whether a load returns the cell of that key.
    pub(crate) fn includes(&self, key: &CellKey) -> bool {
        !key.is_on_demand() || self.named.contains(&key.as_str())
    }
}

/// `key` must still have this stamp (0: must still be absent), or nothing is written.
///
/// ```
/// use cloakroom::record::{CellKey, Guard};
/// let guard = Guard { key: CellKey::from_static("shop/views"), stamp: 0 };
/// assert_eq!(guard.stamp, 0);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guard {
    /// The physical key.
    pub key: CellKey,
    /// Its stamp as loaded.
    pub stamp: u64,
}

/// How a commit moves the deadlines.
///
/// ```
/// use cloakroom::record::{Deadlines, Timestamp};
/// let now = Timestamp::from_millis(0);
/// let roll = Deadlines::Roll { last_seen: now, idle_until: now };
/// assert!(matches!(roll, Deadlines::Roll { .. }));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deadlines {
    /// The session was used. Never moves anything back.
    Roll {
        /// When.
        last_seen: Timestamp,
        /// The new idle deadline.
        idle_until: Timestamp,
    },
    /// Both deadlines start anew, as given.
    Reset {
        /// When the session counts as begun.
        created: Timestamp,
        /// When it was last used.
        last_seen: Timestamp,
        /// The new idle deadline.
        idle_until: Timestamp,
        /// The new absolute deadline.
        absolute_until: Timestamp,
    },
}

/// Replaces the secret. The selector, and with it the store's key, stays.
///
/// ```
/// use cloakroom::record::{Rotation, SecretHash, WrappedKey};
/// let rotation = Rotation::Privilege { to: SecretHash::from_bytes([1; 32]), wrapped_key: WrappedKey::from_bytes([2; 32]) };
/// assert!(matches!(rotation, Rotation::Privilege { .. }));
/// ```
#[derive(Clone, Debug)]
pub enum Rotation {
    /// Somebody gained or lost privilege: the epoch rises, and every older secret dies at once.
    Privilege {
        /// Hash of the new secret.
        to: SecretHash,
        /// The session key under it.
        wrapped_key: WrappedKey,
    },
    /// A routine renewal: the epoch stays, and the old secret is kept as [`Header::previous`](super::Header::previous).
    /// It happens only if `from` is still the current secret; otherwise the rest of the patch is applied and the answer
    /// says `rotated: false`.
    ///
    /// While the previous secret is [`Pending`](super::PreviousState::Pending), nobody has presented the current one: that one goes
    /// without a trace, and the previous one stays, pending anew since `now`. What the patch presents is noted before.
    Renewal {
        /// Hash of the secret to replace.
        from: SecretHash,
        /// Hash of the new secret.
        to: SecretHash,
        /// The session key under it.
        wrapped_key: WrappedKey,
    },
}

/// What a commit does to the owner.
///
/// ```
/// use cloakroom::record::OwnerChange;
/// assert!(matches!(OwnerChange::Clear, OwnerChange::Clear));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OwnerChange {
    /// Signed in.
    Set(Owner),
    /// Signed out.
    Clear,
}

/// What one request changes in one record, applied whole or not at all.
///
/// ```
/// use cloakroom::record::{CellBody, CellKey, Content, Patch, Put, Timestamp};
/// let mut patch = Patch::new(0, Timestamp::from_millis(0));
/// assert!(!patch.carries_cells());
/// patch.puts.push(Put::new(CellKey::from_static("shop/views"), CellBody::new(Content::Tombstone)));
/// assert!(patch.carries_cells());
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Patch {
    /// The epoch that was loaded; another one means the session is somebody else's now, or nobody's.
    pub epoch: u32,
    /// The application's time. The absolute deadline is checked against it, and the idle deadline too unless `loaded_at` is set.
    pub now: Timestamp,
    /// When the request loaded the session, where the idle deadline may have passed since. The idle deadline is checked against this
    /// instant: a request that loaded the session in time counts as a use, however long it takes.
    pub loaded_at: Option<Timestamp>,
    /// Cells to write.
    pub puts: Vec<Put>,
    /// Cells that must be as they were loaded.
    pub guards: Vec<Guard>,
    /// If set, cells not listed here are dropped before `puts` are written.
    pub wipe_except: Option<Vec<CellKey>>,
    /// New deadlines.
    pub deadlines: Option<Deadlines>,
    /// The secret the request presented, for stores that do not record that at load.
    pub presented: Option<SecretHash>,
    /// A new secret.
    pub rotation: Option<Rotation>,
    /// A new owner.
    pub owner: Option<OwnerChange>,
    /// When the owner was last proven, or that nobody is.
    pub authenticated_at: Option<Option<Timestamp>>,
    /// Whether the cookie outlives the browser session.
    pub persistent: Option<bool>,
    /// A new label, or none.
    pub label: Option<Option<Arc<str>>>,
    /// The header's extensions from now on, all of them.
    pub extensions: Option<Extensions>,
}

impl Patch {
    /// A patch that changes nothing yet.
    ///
    /// ```
    /// use cloakroom::record::{Patch, Timestamp};
    /// let patch = Patch::new(3, Timestamp::from_millis(0));
    /// assert!(patch.puts.is_empty() && patch.rotation.is_none());
    /// ```
    pub fn new(epoch: u32, now: Timestamp) -> Self {
        Self {
            epoch,
            now,
            loaded_at: None,
            puts: Vec::new(),
            guards: Vec::new(),
            wipe_except: None,
            deadlines: None,
            presented: None,
            rotation: None,
            owner: None,
            authenticated_at: None,
            persistent: None,
            label: None,
            extensions: None,
        }
    }

    /// The instant that the idle deadline is checked against.
    ///
    /// ```
    /// use cloakroom::record::{Patch, Timestamp};
    /// let mut patch = Patch::new(0, Timestamp::from_millis(20));
    /// assert_eq!(patch.used_at(), Timestamp::from_millis(20));
    /// patch.loaded_at = Some(Timestamp::from_millis(5));
    /// assert_eq!(patch.used_at(), Timestamp::from_millis(5));
    /// ```
    pub fn used_at(&self) -> Timestamp {
        self.loaded_at.unwrap_or(self.now)
    }

    /// Whether cells change, so that the revision rises.
    ///
    /// ```
    /// use cloakroom::record::{Patch, Timestamp};
    /// let mut patch = Patch::new(0, Timestamp::from_millis(0));
    /// patch.wipe_except = Some(Vec::new());
    /// assert!(patch.carries_cells());
    /// ```
    pub fn carries_cells(&self) -> bool {
        !self.puts.is_empty() || self.wipe_except.is_some()
    }

    /// Whether it changes what a handler sees of the session.
    pub(crate) fn changes_session(&self) -> bool {
        self.carries_cells() || self.persistent.is_some() || self.label.is_some()
    }

    /// Whether there is nothing to ask of a store.
    pub(crate) fn is_empty(&self) -> bool {
        !self.changes_session()
            && self.deadlines.is_none()
            && self.presented.is_none()
            && self.rotation.is_none()
            && self.owner.is_none()
            && self.authenticated_at.is_none()
            && self.extensions.is_none()
    }
}

/// A store's answer to a create.
///
/// ```
/// use cloakroom::record::CreateOutcome;
/// assert_ne!(CreateOutcome::Created, CreateOutcome::Exists);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CreateOutcome {
    /// The record is stored.
    Created,
    /// The key is taken; nothing was written.
    Exists,
}

/// A store's answer to a commit.
///
/// ```
/// use cloakroom::record::CommitOutcome;
/// assert!(!matches!(CommitOutcome::Gone, CommitOutcome::Committed { .. }));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommitOutcome {
    /// Applied, all of it.
    Committed {
        /// The record's revision now, which is the stamp of the cells written.
        revision: u64,
        /// Whether the secret was replaced.
        rotated: bool,
    },
    /// A guard failed and nothing was written.
    Conflict {
        /// The guarded cells as they are now; an absent one is not listed.
        cells: Vec<Cell>,
    },
    /// No such record, past a deadline, or another epoch. Nothing was written.
    Gone,
}
