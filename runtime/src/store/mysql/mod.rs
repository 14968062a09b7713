//! Sessions in MySQL or MariaDB: a row for the header, a row for each cell, and every operation one batch of statements.
//!
//! Both tables are clustered by their primary keys, so a commit changes two rows in place, whatever else the session weighs: 370
//! bytes of redo log for one number in a session of 1, 8 or 64 KiB. With a row per session it was 2.3, 8.5 and 66 KiB, since the
//! engine logs a large value anew as a whole. The header is columns, because a commit must look at it and change it without having
//! read it first, and nobody else may come between. `expires` is computed by the server from both deadlines and stored for its
//! index, which an ordinary commit does not touch.
//!
//! A load is one statement, hence one snapshot: a join that repeats the header with each cell, 150 to 250 bytes, and is still a
//! tenth faster than a union that does not. A commit is one packet of statements from `BEGIN` to `COMMIT`; why it is
//! whole or absent stands in [`statements`]. Values are literals in the text: preparing would save a fifth of a load's time, and
//! cost a round trip per connection and statement, again after each reset and each failover.
//!
//! The protocol answers one request at a time, so connections are exclusive, and those of a pool: it sees without asking the server
//! whether one has died. A connection of our own goes that way once a second and is otherwise passed on directly. It is given back
//! only after a whole answer, without a transaction; any other is closed. What the pool cannot see is a connection that something
//! on the way has forgotten: it is silent. So a read over one that was idle has half of its time for it, and those that are idle
//! for longer than such things remember are closed.

mod access;
mod connect;
mod rows;
mod statements;

pub use self::connect::MySqlConnect;

use self::{
    access::{Access, Answer, Failure, Term},
    statements::{Doomed, Tables},
};
use super::{
    SessionStore, StoreError, StoreIdentity,
    batches::{Page, in_batches, in_pages},
    remote::{Effect, Sweeper},
    sweeping::AT_ONCE,
};
use crate::record::{CommitOutcome, CreateOutcome, Header, OwnerHash, Patch, Presented, Record, Selector, Timestamp, Want};
use async_trait::async_trait;
use mysql_async::Pool;
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// The version of the tables that this build reads and writes.
const VERSION: u64 = 1;

/// How long a step of a sweep or a migration may take: nobody waits for it.
const UNHURRIED: Duration = Duration::from_secs(30);

/// Sessions in MySQL 8.0 or newer, or MariaDB 10.6 or newer (feature `mysql`).
///
/// Clones are handles of one store; its connections and its sweeper end with the last of them. A store in a `static` may outlive the
/// Tokio runtime that it was opened on: it opens new connections on the next one. Any number of processes may use the same tables. A load, a commit, a new session and a logout are one round trip each, and what a commit writes does not depend on
/// what else the session holds.
///
/// Records an hour past their deadline are removed as the store is used, in small batches and about once a minute.
///
/// The sessions of an owner are listed and ended by 500, each time within the [limit](MySqlConnect::timeout) of one operation.
///
/// Values travel as literals in the statements, so whatever shows statements (the slow query log, `SHOW PROCESSLIST`) shows the fields
/// that are not `secret`.
///
/// While the server is away, requests fail at once rather than queue up, and one attempt after the other is made to reach it again,
/// with growing pauses. A commit is as durable as the server makes its transactions (`innodb_flush_log_at_trx_commit`), and
/// survives a failover if the replica that takes over has it: with the asynchronous replication that is the default, the last
/// commits may be lost.
///
/// ```no_run
/// use cloakroom::{SessionLayer, store::MySqlStore};
///
/// # async fn example() -> Result<(), cloakroom::store::StoreError> {
/// let store = MySqlStore::connect("mysql://shop:secret@db.internal/shop").await?;
/// store.migrate().await?;
/// let sessions = SessionLayer::new(store);
/// # let _ = sessions;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct MySqlStore(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    sweeper: Sweeper,
}

struct Shared {
    access: Access,
    tables: Tables,
    place: String,
    /// Whether the tables are known to be those of this build.
    fits: AtomicBool,
    /// A sweep passes over what another one has locked, be it only in looking past the last expired record. So one asked for would not
    /// see what the store's own is about to leave alone.
    sweeping: tokio::sync::Mutex<()>,
}

impl MySqlStore {
    /// Connects to the database that a URL names: `mysql://user:password@host:3306/database`, special characters percent-encoded.
    /// Await it, or [configure it](MySqlConnect) first. One connection is opened, so that mistakes show at once.
    ///
    /// Parameters of the URL are those of [mysql_async](https://docs.rs/mysql_async/0.37/mysql_async/#connection-url-parameters),
    /// and one more:
    /// - `require_ssl=true`: TLS, with the certificate and the host's name verified by what the operating system trusts
    ///   (`SSL_CERT_FILE` is honoured);
    /// - `ssl-ca=/etc/mysql/ca.pem`: TLS, with the certificates in that file trusted instead;
    /// - `socket=/run/mysqld/mysqld.sock`: a Unix socket.
    ///
    /// A proxy between must let several statements through at once (`CLIENT_MULTI_STATEMENTS`), and keep a connection to one server.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if the URL or a setting is not possible, or the server cannot be reached or lets nobody in; it
    /// says what to do, and never the password.
    ///
    /// ```no_run
    /// use cloakroom::store::MySqlStore;
    ///
    /// # async fn example() -> Result<(), cloakroom::store::StoreError> {
    /// let store = MySqlStore::connect("mysql://shop:secret@db.internal/shop?require_ssl=true").connections(16).await?;
    /// # let _ = store;
    /// # Ok(())
    /// # }
    /// ```
    pub fn connect(url: &str) -> MySqlConnect {
        MySqlConnect::to(url)
    }

    /// Uses connections of a pool that the application has (mysql_async 0.37). Await it, or [configure it](MySqlConnect) first.
    ///
    /// Sessions then wait in line with whatever else the pool is for. What its options mean for them:
    /// - `reset_connection`, on by default: costs a round trip whenever a connection comes back. Not when it comes back from
    ///   sessions, which leave nothing that had to be reset.
    /// - `PoolConstraints`: above the minimum, a returned connection is closed at once unless `inactive_connection_ttl` is set, and
    ///   opening one costs half a dozen round trips. Let minimum and maximum be the same.
    /// - `conn_ttl`, `abs_conn_ttl`: one more connection to open, now and then.
    /// - `inactive_connection_ttl`, `tcp_keepalive`: where something on the way forgets silent connections, set both below its time, and
    ///   the minimum to 0. A request over a forgotten one waits in vain.
    /// - `stmt_cache_size`: nothing; sessions prepare no statements.
    /// - `prefer_socket`, on by default: a server that looks local is asked for its Unix socket, which is used instead.
    /// - `setup` and `init`: run per connection, `setup` after each reset too.
    ///
    /// The pool ends with the runtime that it was first used on, and the store with it.
    ///
    /// Its connections must have `autocommit` and a strict `sql_mode`, as is the servers' default. They may have any isolation from `READ COMMITTED` up;
    /// `READ COMMITTED` takes the fewest locks.
    ///
    /// # Errors
    /// As [`connect`](MySqlStore::connect).
    ///
    /// ```no_run
    /// use cloakroom::store::MySqlStore;
    ///
    /// # async fn example(pool: mysql_async::Pool) -> Result<(), cloakroom::store::StoreError> {
    /// let store = MySqlStore::from_pool(pool).table_prefix("shop_sessions_").await?;
    /// # let _ = store;
    /// # Ok(())
    /// # }
    /// ```
    pub fn from_pool(pool: Pool) -> MySqlConnect {
        MySqlConnect::over(pool)
    }

    /// The SQL that makes the tables with that prefix (`cloakroom_` is the usual one), for those who run their own migrations; it is
    /// `sql/mysql.sql` in the crate.
    ///
    /// ```
    /// use cloakroom::store::MySqlStore;
    /// assert!(MySqlStore::schema("shop_").contains("CREATE TABLE IF NOT EXISTS `shop_record`"));
    /// ```
    pub fn schema(prefix: &str) -> String {
        Tables::sql(prefix)
    }

    /// # Errors
    /// If the tables that are there have another version.
    async fn start(access: Access, tables: Tables, place: String) -> Result<Self, StoreError> {
        let shared = Shared { access, tables, place, fits: AtomicBool::new(false), sweeping: tokio::sync::Mutex::default() };
        match shared.found().await {
            Ok(Found::Fitting) => shared.fits.store(true, Ordering::Relaxed),
            Ok(found @ Found::Newer(_)) => return Err(found.refusal()),
            // They may be made, or repaired, before they are used.
            Ok(Found::Nothing | Found::Older(_)) | Err(_) => {}
        }
        let shared = Arc::new(shared);
        let sweeping = Arc::clone(&shared);
        let sweeper = Sweeper::start(shared.place.clone(), move |before, limit| {
            let shared = Arc::clone(&sweeping);
            async move { shared.sweep(before, limit).await }
        });
        Ok(Self(Arc::new(Inner { shared, sweeper })))
    }

    /// Makes the tables where they are not there yet. Any number of instances may do so at once, and again at each start.
    ///
    /// # Errors
    /// [`StoreError`] if this user may not create tables, or a newer version of the library has made them.
    ///
    /// ```no_run
    /// use cloakroom::store::MySqlStore;
    ///
    /// # async fn example() -> Result<(), cloakroom::store::StoreError> {
    /// MySqlStore::connect("mysql://admin:secret@db.internal/shop").await?.migrate().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn migrate(&self) -> Result<(), StoreError> {
        let Shared { access, tables, .. } = &*self.0.shared;
        match self.0.shared.found().await? {
            Found::Fitting => return Ok(()),
            found @ Found::Newer(_) => return Err(found.refusal()),
            Found::Nothing | Found::Older(_) => {}
        }
        let term = Term::from_now(UNHURRIED);
        let mut lease = access.lease(term).await?;
        lease.ask(Effect::Write, term, &tables.make()).await.map_err(Failure::into_error)?;
        lease.keep();
        Ok(())
    }
}

impl fmt::Debug for MySqlStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MySqlStore").field("place", &self.0.shared.place).finish_non_exhaustive()
    }
}

/// What tables there are.
#[derive(Clone, Copy)]
enum Found {
    Nothing,
    Older(u64),
    Fitting,
    Newer(u64),
}

impl Found {
    /// What to say where they cannot be used.
    fn refusal(self) -> StoreError {
        let known = format!("this build of cloakroom knows version {VERSION}");
        StoreError::unavailable(match self {
            Self::Newer(version) => {
                format!(
                    "the session tables have version {version} and {known}; upgrade cloakroom, or give another table prefix"
                )
            }
            Self::Older(version) => {
                format!("the session tables have version {version} and {known}; call MySqlStore::migrate() once")
            }
            Self::Nothing | Self::Fitting => {
                "there are no session tables; call MySqlStore::migrate() once, or run the SQL that MySqlStore::schema() gives"
                    .to_owned()
            }
        })
    }
}

impl Shared {
    async fn found(&self) -> Result<Found, StoreError> {
        let version = match self.access.attempt(Effect::Read, &self.tables.version()).await? {
            Ok(answers) => answers.into_iter().next().and_then(|answer| rows::number::<u64>(answer.rows)),
            Err(refusal) if access::is_missing_table(&refusal) => None,
            Err(refusal) => return Err(access::refused(refusal)),
        };
        Ok(match version {
            None => Found::Nothing,
            Some(VERSION) => Found::Fitting,
            Some(version) if version > VERSION => Found::Newer(version),
            Some(version) => Found::Older(version),
        })
    }

    /// This, once its tables are known to be those of this build: one round trip more before the first operation, unless they were
    /// there when the store was opened.
    async fn ready(&self) -> Result<&Self, StoreError> {
        if !self.fits.load(Ordering::Relaxed) {
            match self.found().await? {
                Found::Fitting => self.fits.store(true, Ordering::Relaxed),
                found => return Err(found.refusal()),
            }
        }
        Ok(self)
    }

    async fn write(&self, batch: &str) -> Result<Vec<Answer>, StoreError> {
        self.access.run(Effect::Write, batch).await
    }

    async fn sweep(&self, now: Timestamp, limit: usize) -> Result<usize, StoreError> {
        let _alone = self.sweeping.lock().await;
        self.ready().await?;
        self.delete_some(&self.tables.expired(now), None, limit, Term::from_now(UNHURRIED)).await.map(|deleted| deleted.len())
    }

    /// Deletes up to so many records in one transaction and answers which; two round trips.
    async fn delete_some(
        &self,
        doomed: &Doomed<'_>,
        after: Option<&Selector>,
        limit: usize,
        term: Term,
    ) -> Result<Vec<Selector>, StoreError> {
        loop {
            let mut lease = self.access.lease(term).await?;
            let deleted = async {
                // What is not committed when the connection is lost is undone.
                let locked = lease.ask(Effect::Read, term, doomed.lock(after, limit).text()).await?;
                let keys = locked.last().map(|answer| rows::selectors(&answer.rows)).unwrap_or_default();
                lease.ask(Effect::Write, term, doomed.delete(&keys).text()).await?;
                Ok(keys)
            };
            match deleted.await {
                Ok(deleted) => {
                    lease.keep();
                    return Ok(deleted);
                }
                Err(Failure::Refused(refusal)) => lease.recover(refusal, term).await.map_err(access::refused)?,
                Err(failure) => return Err(failure.into_error()),
            }
        }
    }
}

#[async_trait]
impl SessionStore for MySqlStore {
    async fn load(&self, key: &Selector, presented: &Presented, want: &Want<'_>) -> Result<Option<Arc<Record>>, StoreError> {
        self.0.sweeper.note(presented.now);
        let shared = self.0.shared.ready().await?;
        let answers = shared.access.run(Effect::Read, &shared.tables.load(key, want)).await?;
        Ok(answers.into_iter().next().and_then(|answer| rows::record(key, answer.rows)).map(Arc::new))
    }

    async fn create(&self, key: &Selector, record: Record) -> Result<CreateOutcome, StoreError> {
        self.0.sweeper.note(record.header.last_seen);
        let shared = self.0.shared.ready().await?;
        match shared.access.attempt(Effect::Write, shared.tables.create(key, &record).text()).await? {
            Ok(_) => Ok(CreateOutcome::Created),
            Err(refusal) if access::is_duplicate(&refusal) => Ok(CreateOutcome::Exists),
            Err(refusal) => Err(access::refused(refusal)),
        }
    }

    async fn commit(&self, key: &Selector, patch: &Patch) -> Result<CommitOutcome, StoreError> {
        let shared = self.0.shared.ready().await?;
        let commit = shared.tables.commit(key, patch);
        let mut answers = shared.write(commit.batch.text()).await?;
        let mut rows = |at: usize| answers.get_mut(at).map(|answer| std::mem::take(&mut answer.rows)).unwrap_or_default();
        let lives = commit.locked.map(|at| rows::number::<u8>(rows(at)));
        let cells = commit.guarded.map(|at| rows::cells(rows(at)));
        Ok(match (answers.get(commit.updated).and_then(|answer| answer.insert_id), lives, cells) {
            (Some(revision), renews, _) => CommitOutcome::Committed {
                revision,
                rotated: patch.rotation.is_some() && renews.is_none_or(|it| it == Some(1)),
            },
            (None, Some(Some(_)), Some(cells)) => CommitOutcome::Conflict { cells },
            (None, ..) => CommitOutcome::Gone,
        })
    }

    async fn delete(&self, key: &Selector) -> Result<(), StoreError> {
        let shared = self.0.shared.ready().await?;
        shared.write(&shared.tables.delete(key)).await.map(drop)
    }

    async fn by_owner(&self, owner: &OwnerHash) -> Result<Vec<(Selector, Header)>, StoreError> {
        let shared = self.0.shared.ready().await?;
        in_pages(async |after, limit| {
            let page = shared.tables.by_owner(owner, after.as_ref(), limit);
            let answers = shared.access.run(Effect::Read, &page).await?;
            let rows = answers.into_iter().next().map(|answer| answer.rows).unwrap_or_default();
            let next = rows.last().filter(|_| rows.len() == limit).and_then(rows::selector);
            Ok(Page { found: rows::headers(rows), next })
        })
        .await
    }

    async fn delete_by_owner(&self, owner: &OwnerHash, except: Option<&Selector>) -> Result<u64, StoreError> {
        let shared = self.0.shared.ready().await?;
        let doomed = shared.tables.owned(owner, except);
        let mut deleted = 0;
        let mut last = None;
        loop {
            // Each batch in its own time: what one has deleted stays deleted, whatever becomes of the next.
            let batch = shared.delete_some(&doomed, last.as_ref(), AT_ONCE, shared.access.term()).await;
            let batch = batch.map_err(|error| error.after(deleted))?;
            deleted += batch.len() as u64;
            if batch.len() < AT_ONCE {
                return Ok(deleted);
            }
            last = batch.last().copied();
        }
    }

    async fn sweep(&self, now: Timestamp, limit: usize) -> Result<usize, StoreError> {
        in_batches(limit, |batch| self.0.shared.sweep(now, batch)).await
    }

    fn identity(&self) -> Option<StoreIdentity> {
        Some(StoreIdentity::of(&self.0))
    }
}
