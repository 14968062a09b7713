//! Sessions in a SQLite file, written by one thread.
//!
//! A record is one row of `cloakroom_record` and one row of `cloakroom_cell` per cell, so a commit writes the cells that
//! changed and the header, whatever else the session weighs. Both tables are `WITHOUT ROWID`: their keys are random or
//! composite, so a rowid would only put a second tree between a selector and its row, and clustering by `(selector, key)`
//! lets one range of neighbouring pages answer a load. The encoded header is the truth; the columns `expires` and `owner`
//! repeat what its two indexes need, and are written by the same statement. The index over owners is partial: most
//! sessions have none.
//!
//! Reads run in place, on the thread that asks: a lookup takes microseconds, less than handing it to another thread. Writes
//! go to a thread of their own, which commits all that is waiting as one transaction.

mod rows;
mod schema;
mod writer;

use self::writer::Writer;
use super::{SessionStore, StoreError, sweeping};
use crate::record::{CommitOutcome, CreateOutcome, Header, OwnerHash, Patch, Presented, Record, Selector, Timestamp, Want};
use async_trait::async_trait;
use rusqlite::Connection;
use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

/// Sessions in a SQLite database: durable, embedded, nothing to operate (feature `sqlite`).
///
/// Clones are handles of one store; its writing thread ends with the last of them. Several processes of one machine may open
/// the same file, and an application may keep its own tables in it (ours begin with `cloakroom_`); the file is put into WAL
/// mode. It has to lie on a local disk.
///
/// A committed change survives the death of the process at any moment. Whether it also survives a power failure is
/// [`Durability`]'s to say.
///
/// Records an hour past their deadline are removed as the store is used, in small batches and about once a minute.
///
/// ```no_run
/// use cloakroom::{SessionLayer, store::SqliteStore};
///
/// # async fn example() -> Result<(), cloakroom::store::StoreError> {
/// let sessions = SessionLayer::new(SqliteStore::open("sessions.db").await?);
/// # let _ = sessions;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct SqliteStore(Arc<Inner>);

struct Inner {
    // Declared, and so dropped, before the writer: its connection closes last and folds the log back into the file.
    reads: Reads,
    writer: Writer,
}

/// What a commit has survived once it is answered.
///
/// ```
/// use cloakroom::store::Durability;
/// assert_eq!(Durability::default(), Durability::Process);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// The end of the process, however it comes. A power failure may undo the last commits, never half a commit
    /// (`synchronous = NORMAL`). The default.
    #[default]
    Process,
    /// A power failure too, for one flush of the disk per group of commits (`synchronous = FULL`). Choose it where the last
    /// second of a session is worth milliseconds per write.
    Power,
}

/// Where the database lies.
#[derive(Clone)]
enum Place {
    File(PathBuf),
    Memory,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "the session database {}", path.display()),
            Self::Memory => f.write_str("the session database in memory"),
        }
    }
}

impl SqliteStore {
    /// Opens a database file, which is created if need be, with its tables.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if the folder does not exist, the file is no database or cannot be written, or a newer
    /// version of the library has made its tables.
    ///
    /// ```no_run
    /// use cloakroom::store::SqliteStore;
    ///
    /// # async fn example() -> Result<(), cloakroom::store::StoreError> {
    /// let store = SqliteStore::open("sessions.db").await?;
    /// # let _ = store;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::open_with(path, Durability::default()).await
    }

    /// [`open`](SqliteStore::open) with a choice of what a commit survives.
    ///
    /// ```no_run
    /// use cloakroom::store::{Durability, SqliteStore};
    ///
    /// # async fn example() -> Result<(), cloakroom::store::StoreError> {
    /// let store = SqliteStore::open_with("sessions.db", Durability::Power).await?;
    /// # let _ = store;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`open`](SqliteStore::open).
    pub async fn open_with(path: impl AsRef<Path>, durability: Durability) -> Result<Self, StoreError> {
        Self::start(Place::File(path.as_ref().to_owned()), durability).await
    }

    /// A database in memory, gone with its last handle: the real engine, for tests.
    ///
    /// ```
    /// use cloakroom::store::SqliteStore;
    ///
    /// # async fn example() -> Result<(), cloakroom::store::StoreError> {
    /// let store = SqliteStore::in_memory().await?;
    /// # let _ = store;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if the system has no memory or no thread to give.
    pub async fn in_memory() -> Result<Self, StoreError> {
        Self::start(Place::Memory, Durability::default()).await
    }

    async fn start(place: Place, durability: Durability) -> Result<Self, StoreError> {
        let (writer, connection) = Writer::start(place.clone(), durability).await?;
        let reads = match place {
            Place::File(path) => Reads::Pool { path, idle: Mutex::default() },
            Place::Memory => Reads::Shared(connection),
        };
        Ok(Self(Arc::new(Inner { reads, writer })))
    }

    fn read<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        self.0.reads.with(read).map_err(StoreError::unavailable)
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("SqliteStore");
        match &self.0.reads {
            Reads::Pool { path, .. } => debug.field("path", path).finish(),
            Reads::Shared(_) => debug.finish_non_exhaustive(),
        }
    }
}

/// Where reads find a connection.
enum Reads {
    /// Connections that nobody uses just now. A read that finds none opens one, so there are never more than threads that read
    /// at once, and none ever waits for another.
    Pool { path: PathBuf, idle: Mutex<Vec<Connection>> },
    /// The writer's own, since a database in memory has no other. Reads wait for the group that is being written.
    Shared(Arc<Mutex<Connection>>),
}

impl Reads {
    fn with<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
        match self {
            Self::Shared(connection) => read(&connection.lock().unwrap_or_else(PoisonError::into_inner)),
            Self::Pool { path, idle } => {
                let taken = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
                let connection = match taken {
                    Some(connection) => connection,
                    None => schema::reader(path)?,
                };
                // A connection that failed is closed instead of kept.
                let answer = read(&connection)?;
                idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
                Ok(answer)
            }
        }
    }
}

#[async_trait]
impl SessionStore for SqliteStore {
    async fn load(&self, key: &Selector, presented: &Presented, want: &Want<'_>) -> Result<Option<Arc<Record>>, StoreError> {
        self.0.writer.note(presented.now);
        Ok(self.read(|db| rows::load(db, key, want))?.map(Arc::new))
    }

    async fn create(&self, key: &Selector, record: Record) -> Result<CreateOutcome, StoreError> {
        self.0.writer.note(record.header.last_seen);
        let key = *key;
        self.0.writer.write(move |db| rows::create(db, &key, &record)).await
    }

    async fn commit(&self, key: &Selector, patch: &Patch) -> Result<CommitOutcome, StoreError> {
        let (key, patch) = (*key, patch.clone());
        self.0.writer.write(move |db| rows::commit(db, &key, &patch)).await
    }

    async fn delete(&self, key: &Selector) -> Result<(), StoreError> {
        let key = *key;
        self.0.writer.write(move |db| rows::delete(db, &key)).await
    }

    async fn by_owner(&self, owner: &OwnerHash) -> Result<Vec<(Selector, Header)>, StoreError> {
        self.read(|db| rows::by_owner(db, owner))
    }

    async fn delete_by_owner(&self, owner: &OwnerHash, except: Option<&Selector>) -> Result<u64, StoreError> {
        let (owner, except) = (*owner, except.copied());
        self.0.writer.write(move |db| rows::delete_by_owner(db, &owner, except.as_ref())).await
    }

    async fn sweep(&self, now: Timestamp, limit: usize) -> Result<usize, StoreError> {
        let mut swept = 0;
        loop {
            let batch = sweeping::AT_ONCE.min(limit - swept);
            let removed = self.0.writer.write(move |db| rows::sweep(db, now, batch)).await?;
            swept += removed;
            if removed < batch || swept == limit {
                return Ok(swept);
            }
        }
    }
}

#[cfg(all(test, feature = "memory"))]
#[allow(clippy::unwrap_used, clippy::panic)]
pub(super) mod tests;
