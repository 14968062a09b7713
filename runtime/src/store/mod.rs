//! Where records live: the one trait for a server-side backend, and the stores that come with the library.
//!
//! ```
//! use cloakroom::{SessionLayer, store::MemoryStore};
//! let sessions = SessionLayer::new(MemoryStore::new());
//! # let _ = sessions;
//! ```

use crate::record::{CommitOutcome, CreateOutcome, Header, OwnerHash, Patch, Presented, Record, Selector, Timestamp, Want};
use async_trait::async_trait;
use std::{error::Error, fmt, sync::Arc};

mod backend;
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
mod batches;
#[cfg(feature = "cookie")]
mod cookie;
#[cfg(any(feature = "sqlite", feature = "_server"))]
mod damage;
#[cfg(feature = "memory")]
mod memory;
#[cfg(feature = "mysql")]
mod mysql;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "redis")]
mod redis;
#[cfg(feature = "_server")]
mod remote;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(any(feature = "sqlite", feature = "_server"))]
mod sweeping;
#[cfg(all(test, feature = "memory"))]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests;

pub(crate) use self::backend::{Backend, ServerStore};
pub use self::backend::{ClientSide, IntoBackend, ServerSide};
#[cfg(feature = "cookie")]
pub use self::cookie::CookieStore;
#[cfg(feature = "memory")]
pub use self::memory::MemoryStore;
#[cfg(feature = "mysql")]
pub use self::mysql::{MySqlConnect, MySqlStore};
#[cfg(feature = "postgres")]
pub use self::postgres::{PostgresConnect, PostgresStore};
#[cfg(feature = "redis")]
pub use self::redis::{RedisConnect, RedisStore};
#[cfg(feature = "sqlite")]
pub use self::sqlite::{Durability, SqliteOpen, SqliteStore};

/// A store on the server's side.
///
/// Implement it to add a backend, and run `cloakroom::testing::conformance::server_side` over it: the suite is the
/// specification in executable form. [`Record::apply`] and [`Header::touch`] say what a commit and a touch do.
///
/// A store knows records and patches, never anybody's struct. It compares instants only with those it is given, never
/// with a clock of its own.
///
/// ```
/// use cloakroom::{Lifetime, record::*, store::{MemoryStore, SessionStore}};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), cloakroom::store::StoreError> {
/// let store = MemoryStore::new();
/// let (key, secret, owner) = (Selector::from_bytes([7; 16]), SecretHash::from_bytes([1; 32]), OwnerHash::from_bytes([2; 32]));
/// let (at, day) = (Timestamp::from_millis, 24 * 3600 * 1000);
/// let header = Header::new(secret, WrappedKey::from_bytes([3; 32]), at(0), at(day), at(30 * day));
/// let record = Record::new(header, Cells::default());
///
/// assert_eq!(store.create(&key, record.clone()).await?, CreateOutcome::Created);
/// assert_eq!(store.create(&key, record).await?, CreateOutcome::Exists);
///
/// let mut patch = Patch::new(0, at(1));
/// patch.puts.push(Put::new(CellKey::from_static("shop/cart"), CellBody::new(Content::Tombstone)));
/// patch.owner = Some(OwnerChange::Set(Owner { schema: "shop".into(), hash: owner }));
/// assert_eq!(store.commit(&key, &patch).await?, CommitOutcome::Committed { revision: 2, rotated: false });
///
/// let presented = Presented::new(secret, at(2), Lifetime::default());
/// let loaded = store.load(&key, &presented, &Want::default()).await?;
/// assert_eq!(loaded.map(|record| record.cells.stamp("shop/cart")), Some(2));
///
/// assert_eq!(store.by_owner(&owner).await?.len(), 1);
/// assert_eq!(store.delete_by_owner(&owner, Some(&key)).await?, 0, "all but this one");
/// store.delete(&key).await?;
/// assert_eq!(store.sweep(at(30 * day), 100).await?, 0, "nothing is left");
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait SessionStore: Send + Sync + 'static {
    /// The record under that key, whatever secret was presented: the caller checks it.
    ///
    /// Where [`idle_touch`](SessionStore::idle_touch) says so, the same round trip touches the record as [`Header::touch`]
    /// describes; the answer is the record as it was before.
    ///
    /// # Errors
    /// [`StoreError`]; a record that is not there is no error.
    async fn load(&self, key: &Selector, presented: &Presented, want: &Want<'_>) -> Result<Option<Arc<Record>>, StoreError>;

    /// Stores a new record. Inserts only: a taken key is [`CreateOutcome::Exists`], and nothing changes.
    ///
    /// # Errors
    /// [`StoreError`]; a full store is [`StoreError::Unavailable`].
    async fn create(&self, key: &Selector, record: Record) -> Result<CreateOutcome, StoreError>;

    /// Applies a patch in one atomic step, as [`Record::apply`] does. Never inserts a record.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn commit(&self, key: &Selector, patch: &Patch) -> Result<CommitOutcome, StoreError>;

    /// Deletes a record. Idempotent.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn delete(&self, key: &Selector) -> Result<(), StoreError>;

    /// The sessions of an owner, in any order, without a scan of the store. May include expired ones.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn by_owner(&self, owner: &OwnerHash) -> Result<Vec<(Selector, Header)>, StoreError>;

    /// Deletes the sessions of an owner, save one; answers how many.
    ///
    /// An owner may have very many, so a store may take several steps, each atomic. Where one fails, the steps before it stay, and a
    /// repeated call goes on with the rest.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn delete_by_owner(&self, owner: &OwnerHash, except: Option<&Selector>) -> Result<u64, StoreError>;

    /// Deletes up to `limit` records past a stored deadline; answers how many.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn sweep(&self, now: Timestamp, limit: usize) -> Result<usize, StoreError>;

    /// Where this store records that a session was used. *Default*: [`IdleTouch::AtCommit`].
    ///
    /// ```
    /// use cloakroom::store::{IdleTouch, MemoryStore, SessionStore};
    /// assert_eq!(MemoryStore::new().idle_touch(), IdleTouch::AtLoad);
    /// ```
    fn idle_touch(&self) -> IdleTouch {
        IdleTouch::AtCommit
    }

    /// What tells this store from the others of the process: the same for a store and its clones. *Default*: not known.
    ///
    /// A layer whose store is not used, because it lies inside a layer of another store, knows it by this.
    ///
    /// ```
    /// use cloakroom::store::{MemoryStore, SessionStore};
    /// let store = MemoryStore::new();
    /// assert_eq!(store.identity(), store.clone().identity());
    /// assert_ne!(store.identity(), MemoryStore::new().identity());
    /// ```
    fn identity(&self) -> Option<StoreIdentity> {
        None
    }
}

/// What tells the stores of a process apart: where the state lies that a store shares with its clones.
///
/// ```
/// use cloakroom::store::StoreIdentity;
/// use std::sync::Arc;
/// let (one, other) = (Arc::new(1), Arc::new(1));
/// assert_eq!(StoreIdentity::of(&one), StoreIdentity::of(&one.clone()));
/// assert_ne!(StoreIdentity::of(&one), StoreIdentity::of(&other));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreIdentity(usize);

impl StoreIdentity {
    /// Of the state that all clones of a store share.
    ///
    /// ```
    /// # use cloakroom::store::StoreIdentity;
    /// let identity = StoreIdentity::of(&std::sync::Arc::new(String::new()));
    /// # let _ = identity;
    /// ```
    pub fn of<T>(shared: &Arc<T>) -> Self {
        Self(Arc::as_ptr(shared).addr())
    }
}

/// Where a store records that a session was used.
///
/// ```
/// use cloakroom::store::{IdleTouch, MemoryStore, SessionStore};
/// assert_eq!(MemoryStore::new().idle_touch(), IdleTouch::AtLoad);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdleTouch {
    /// Every load does it on its way, at no cost.
    AtLoad,
    /// It costs a write, so the layer asks for one after the handler, at most once per fifth of the idle time.
    AtCommit,
}

#[async_trait]
impl<S: SessionStore + ?Sized> SessionStore for Arc<S> {
    async fn load(&self, key: &Selector, presented: &Presented, want: &Want<'_>) -> Result<Option<Arc<Record>>, StoreError> {
        (**self).load(key, presented, want).await
    }
    async fn create(&self, key: &Selector, record: Record) -> Result<CreateOutcome, StoreError> {
        (**self).create(key, record).await
    }
    async fn commit(&self, key: &Selector, patch: &Patch) -> Result<CommitOutcome, StoreError> {
        (**self).commit(key, patch).await
    }
    async fn delete(&self, key: &Selector) -> Result<(), StoreError> {
        (**self).delete(key).await
    }
    async fn by_owner(&self, owner: &OwnerHash) -> Result<Vec<(Selector, Header)>, StoreError> {
        (**self).by_owner(owner).await
    }
    async fn delete_by_owner(&self, owner: &OwnerHash, except: Option<&Selector>) -> Result<u64, StoreError> {
        (**self).delete_by_owner(owner, except).await
    }
    async fn sweep(&self, now: Timestamp, limit: usize) -> Result<usize, StoreError> {
        (**self).sweep(now, limit).await
    }
    fn idle_touch(&self) -> IdleTouch {
        (**self).idle_touch()
    }
    fn identity(&self) -> Option<StoreIdentity> {
        (**self).identity()
    }
}

/// How long one operation may take before the request is answered 503, unless the store was told otherwise.
#[cfg(any(feature = "sqlite", feature = "_server"))]
const LIMIT: std::time::Duration = std::time::Duration::from_millis(800);

type Cause = Box<dyn Error + Send + Sync>;

/// A store could not do what it was asked.
///
/// The two cases differ in what the caller may do next: after [`Unavailable`](StoreError::Unavailable) nothing has
/// happened; after [`OutcomeUnknown`](StoreError::OutcomeUnknown) it may have, so nothing is retried blindly.
///
/// ```
/// use cloakroom::store::StoreError;
/// let error = StoreError::unavailable("connection refused");
/// assert_eq!(error.to_string(), "the session store is unavailable: connection refused");
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum StoreError {
    /// Certainly not applied.
    Unavailable(Cause),
    /// Sent, and the answer was lost.
    OutcomeUnknown(Cause),
}

impl StoreError {
    /// The operation did not happen, for this reason.
    ///
    /// ```
    /// use cloakroom::store::StoreError;
    /// assert!(matches!(StoreError::unavailable("connection refused"), StoreError::Unavailable(_)));
    /// ```
    pub fn unavailable(cause: impl Into<Cause>) -> Self {
        Self::Unavailable(cause.into())
    }

    /// The operation may have happened; this is why nobody knows.
    ///
    /// ```
    /// use cloakroom::store::StoreError;
    /// let error = StoreError::outcome_unknown("timed out after sending");
    /// assert_eq!(error.to_string(), "the session store did not say whether it wrote: timed out after sending");
    /// ```
    pub fn outcome_unknown(cause: impl Into<Cause>) -> Self {
        Self::OutcomeUnknown(cause.into())
    }

    /// The same failure, of an operation in several steps that has removed so many sessions before it: then something has happened.
    #[cfg(any(feature = "sqlite", feature = "_server"))]
    fn after(self, removed: u64) -> Self {
        if removed == 0 {
            return self;
        }
        Self::outcome_unknown(format!("{removed} sessions were removed, and then: {self}; call it again for the rest"))
    }

    /// What is known of the operation, in a word for events.
    pub(crate) fn outcome(&self) -> &'static str {
        match self {
            Self::Unavailable(_) => "unavailable",
            Self::OutcomeUnknown(_) => "unknown",
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable(cause) => write!(f, "the session store is unavailable: {cause}"),
            Self::OutcomeUnknown(cause) => write!(f, "the session store did not say whether it wrote: {cause}"),
        }
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Unavailable(cause) | Self::OutcomeUnknown(cause) => Some(&**cause),
        }
    }
}
