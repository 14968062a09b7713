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
use super::{
    LIMIT, SessionStore, StoreError, StoreIdentity,
    batches::{in_batches, in_pages},
};
use crate::record::{CommitOutcome, CreateOutcome, Header, OwnerHash, Patch, Presented, Record, Selector, Timestamp, Want};
use async_trait::async_trait;
use rusqlite::Connection;
use std::{
    fmt,
    future::IntoFuture,
    path::{Path, PathBuf},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// Sessions in a SQLite database: durable, embedded, nothing to operate (feature `sqlite`).
///
/// Clones are handles of one store; its writing thread ends with the last of them. Several processes of one machine may open
/// the same file, and an application may keep its own tables in it (ours begin with `cloakroom_`); the file is put into WAL
/// mode. It has to lie on a local disk. Open it after a `fork`, not before: the child of one has neither the thread nor SQLite's locks.
///
/// A committed change survives the death of the process at any moment. Whether it also survives a power failure is
/// [`Durability`]'s to say.
///
/// While another process holds the write lock (a backup, `VACUUM`, a transaction left open), sessions are read as ever, and what would
/// be written is answered 503 after [`timeout`](SqliteOpen::timeout), or at once where some thousands wait already. Its
/// futures run on any executor; the store belongs to no runtime, and goes on when the one it was opened on has ended.
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

/// A SQLite store to be: await it, after saying what should be other than usual.
///
/// Made by [`SqliteStore::open`] and [`SqliteStore::in_memory`].
///
/// ```no_run
/// use cloakroom::store::{Durability, SqliteStore};
/// use std::time::Duration;
///
/// # async fn example() -> Result<(), cloakroom::store::StoreError> {
/// let store = SqliteStore::open("sessions.db").durability(Durability::Power).timeout(Duration::from_millis(300)).await?;
/// # let _ = store;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing happens before it is awaited"]
pub struct SqliteOpen(Settings);

#[derive(Clone, Debug)]
struct Settings {
    place: Place,
    durability: Durability,
    limit: Duration,
}

impl SqliteOpen {
    fn new(place: Place) -> Self {
        Self(Settings { place, durability: Durability::default(), limit: LIMIT })
    }

    /// What a commit has survived once it is answered. *Default*: [`Durability::Process`].
    ///
    /// ```no_run
    /// use cloakroom::store::{Durability, SqliteStore};
    ///
    /// # async fn example() -> Result<(), cloakroom::store::StoreError> {
    /// let store = SqliteStore::open("sessions.db").durability(Durability::Power).await?;
    /// # let _ = store;
    /// # Ok(())
    /// # }
    /// ```
    pub fn durability(mut self, durability: Durability) -> Self {
        self.0.durability = durability;
        self
    }

    /// How long one operation may take, the wait for other writers included; then the request is answered 503. *Default*: 800 ms.
    /// Raise it where another process keeps the database's write lock for longer, and sessions should wait for that.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), cloakroom::store::StoreError> {
    /// # use std::time::Duration;
    /// let patient = cloakroom::store::SqliteStore::open("sessions.db").timeout(Duration::from_secs(2)).await?;
    /// # let _ = patient;
    /// # Ok(())
    /// # }
    /// ```
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.0.limit = limit;
        self
    }

    async fn build(self) -> Result<SqliteStore, StoreError> {
        let Settings { place, limit, .. } = self.0.clone();
        let (writer, connection) = Writer::start(self.0).await?;
        let reads = match place {
            Place::File(path) => Reads::Pool { path, limit, idle: Mutex::default() },
            Place::Memory => Reads::Shared(connection),
        };
        Ok(SqliteStore(Arc::new(Inner { reads, writer })))
    }
}

impl IntoFuture for SqliteOpen {
    type Output = Result<SqliteStore, StoreError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.build())
    }
}

/// Where the database lies.
#[derive(Clone, Debug)]
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
    /// A store in a database file, which is created if need be, with its tables.
    ///
    /// Await what this answers; before that, say what should be other than usual. On Unix a new file is made for its owner alone (mode
    /// 0600), as are those that SQLite keeps beside it; a file that is there keeps its mode.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if the folder does not exist, the file is no database or cannot be written, another process holds
    /// its lock for more than 5 s, or a newer version of the library has made its tables.
    ///
    /// ```no_run
    /// use cloakroom::store::{Durability, SqliteStore};
    /// use std::time::Duration;
    ///
    /// # async fn example() -> Result<(), cloakroom::store::StoreError> {
    /// let store = SqliteStore::open("sessions.db").await?;
    /// let careful = SqliteStore::open("orders.db").durability(Durability::Power).timeout(Duration::from_secs(2)).await?;
    /// # let _ = (store, careful);
    /// # Ok(())
    /// # }
    /// ```
    pub fn open(path: impl AsRef<Path>) -> SqliteOpen {
        SqliteOpen::new(Place::File(path.as_ref().to_owned()))
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
    pub fn in_memory() -> SqliteOpen {
        SqliteOpen::new(Place::Memory)
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
    /// Connections that are not in use just now. A read that finds none opens one, so there are never more than threads that read
    /// at once, and none ever waits for another.
    Pool { path: PathBuf, limit: Duration, idle: Mutex<Vec<Connection>> },
    /// The writer's own, since a database in memory has no other. Reads wait for the group that is being written.
    Shared(Arc<Mutex<Connection>>),
}

impl Reads {
    fn with<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
        match self {
            Self::Shared(connection) => read(&connection.lock().unwrap_or_else(PoisonError::into_inner)),
            Self::Pool { path, limit, idle } => {
                let taken = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
                let connection = match taken {
                    Some(connection) => connection,
                    None => schema::reader(path, *limit)?,
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
        in_pages(async |after, limit| self.read(|db| rows::by_owner(db, owner, after, limit))).await
    }

    async fn delete_by_owner(&self, owner: &OwnerHash, except: Option<&Selector>) -> Result<u64, StoreError> {
        let (owner, except) = (*owner, except.copied());
        let delete = |batch| self.0.writer.write(move |db| rows::delete_by_owner(db, &owner, except.as_ref(), batch));
        in_batches(usize::MAX, delete).await.map(|deleted| deleted as u64)
    }

    async fn sweep(&self, now: Timestamp, limit: usize) -> Result<usize, StoreError> {
        in_batches(limit, |batch| self.0.writer.write(move |db| rows::sweep(db, now, batch))).await
    }

    fn identity(&self) -> Option<StoreIdentity> {
        Some(StoreIdentity::of(&self.0))
    }
}

#[cfg(all(test, feature = "memory"))]
#[allow(clippy::unwrap_used, clippy::panic)]
pub(super) mod tests;
