//! Sessions in PostgreSQL, a row per session and a row per field, written by functions in the database.
//!
//! **Rows.** PostgreSQL writes a changed row anew, and a value beyond 2 KiB as a whole. What one commit of a `u64` adds to the
//! write-ahead log, in bytes (PostgreSQL 15, incompressible cells, no full-page images):
//!
//! | Session | a row per field | one `bytea` per session | `jsonb_set` in one `jsonb` |
//! |---|---|---|---|
//! | 1 KiB, 8 fields | 272 | 112 | 112 |
//! | 8 KiB, 16 fields | 272 | 9,328 | 9,160 |
//! | 64 KiB, 64 fields | 272 | 72,128 | 72,456 |
//!
//! The price is at rest: 1 KiB in 8 fields takes 2.8 KiB, indexes and room for updates included, where one row takes 1.7. That room
//! (`fillfactor`) is what lets a commit that leaves the deadline alone stay on its page and out of all indexes.
//!
//! **Functions.** A commit has to look before it writes, at rows that it does not change: the guards. In one statement it would
//! see them as they were before it waited for the record's lock, and lose an update. In a PL/pgSQL function each statement has a
//! snapshot of its own, and the whole is one statement to everybody else: one round trip, atomic without `BEGIN` and `COMMIT`, and
//! so it can be pipelined with other requests on its connection. The record's row is locked before anything else is looked at, by
//! each operation that touches cells, so nothing else needs a lock, and operations that lock several records lock them in one order
//! or pass over what is locked: there is no cycle to wait in. Under a stricter isolation than `READ COMMITTED`, which an
//! application's client may have, the server refuses what met another commit, and it is made again.
//!
//! **Statements.** Loads and usual commits are prepared when a connection opens; on a client of the application's, or behind a pooler,
//! all are sent unnamed, parse and all, in the same one round trip. A load (p50) takes 1.0 times as long as a prepared `SELECT` of one
//! `bytea` with the same client, 2.3 times where it is parsed; a commit 1.4 and 1.5 times as long as a prepared `UPDATE`.

mod address;
mod builder;
mod clients;
mod failure;
mod link;
mod names;
mod rows;
mod schema;
mod tls;

pub use self::builder::PostgresConnect;
use self::{
    builder::{PoolOf, Source},
    clients::{Clients, Given, Lent},
    failure::Failure,
    names::Names,
    rows::Statements,
};
use super::{
    SessionStore, StoreError, StoreIdentity,
    batches::{in_batches, in_pages},
    remote::{Effect, Sweeper},
};
use crate::record::{CommitOutcome, CreateOutcome, Header, OwnerHash, Patch, Presented, Record, Selector, Timestamp, Want};
use async_trait::async_trait;
use std::{error::Error, fmt, sync::Arc, time::Duration};
use tokio::{sync::OnceCell, time::timeout};
use tokio_postgres::Client;

/// How long making the tables may take.
const MIGRATION_LIMIT: Duration = Duration::from_secs(60);

/// How long removing a batch of expired records may take.
const SWEEP_LIMIT: Duration = Duration::from_secs(30);

/// Sessions in PostgreSQL, for any number of processes (feature `postgres`).
///
/// Clones are handles of one store; its connections, and the task that removes expired records, end with the last of them.
/// Every operation is one round trip and one atomic statement, so a transaction never stays open, whatever becomes of a request.
/// What was acknowledged is as durable as the server makes any commit (`synchronous_commit`).
///
/// Needs PostgreSQL 9.5 or newer, for `ON CONFLICT` and `SKIP LOCKED`, with PL/pgSQL, which is there unless somebody removed it. The
/// tables are made by [`migrate`](PostgresStore::migrate), or by `runtime/sql/postgres.sql` in the repository. The user that the
/// store connects as needs `SELECT`, `INSERT`, `UPDATE` and `DELETE` on them, `USAGE` on their schema and `EXECUTE` on the functions.
///
/// Records an hour past their deadline are removed while the store is used: about once a minute, in batches, and each by one
/// process where there are many.
///
/// # Which client
///
/// | Constructor | Costs per operation | When the server comes back |
/// |---|---|---|
/// | [`connect`](PostgresStore::connect) | one round trip; statements are prepared when a connection opens | reconnects by itself |
/// | [`from_client`](PostgresStore::from_client) | one round trip; the server parses each statement | the application makes a new store |
/// | [`from_pool`](PostgresStore::from_pool) | the same, and whatever the pool does per checkout | as the pool does |
///
/// ```no_run
/// use cloakroom::{SessionLayer, store::PostgresStore};
///
/// # async fn example() -> Result<(), cloakroom::store::StoreError> {
/// let store = PostgresStore::connect("postgres://shop:secret@db/shop?sslmode=verify-full").await?;
/// store.migrate().await?;
/// let sessions = SessionLayer::new(store);
/// # let _ = sessions;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct PostgresStore(Arc<Inner>);

struct Inner {
    // Declared, and so dropped, before what it works with.
    sweeper: Sweeper,
    tables: Arc<Tables>,
}

/// The tables of a store, and how to reach them.
struct Tables {
    clients: Clients,
    statements: Arc<Statements>,
    names: Names,
    /// Set once they were seen to be of a version that this build knows.
    known: OnceCell<()>,
}

impl Inner {
    fn new(clients: Clients, statements: Arc<Statements>, names: Names) -> Self {
        let tables = Arc::new(Tables { clients, statements, names, known: OnceCell::new() });
        let swept = Arc::clone(&tables);
        let sweeper = Sweeper::start(tables.names.to_string(), move |past, limit| {
            let tables = Arc::clone(&swept);
            async move { tables.sweep(past, limit).await }
        });
        Self { sweeper, tables }
    }
}

impl Tables {
    /// Asks for the tables' version, the first time only: one round trip in the life of a store.
    async fn check(&self, lent: &Lent) -> Result<(), Failure> {
        self.known.get_or_try_init(|| schema::check(lent.client(), &self.names)).await.copied()
    }

    /// On a connection of its own, with time of its own: large records take longer than a request may, and nobody's request should
    /// wait behind them.
    async fn sweep(&self, past: Timestamp, limit: usize) -> Result<usize, StoreError> {
        let sweep = async { Ok(rows::sweep(self.clients.patient().await?, &self.statements, past, limit).await?) };
        timeout(SWEEP_LIMIT, sweep).await.unwrap_or_else(|_| {
            Err(StoreError::outcome_unknown(format!("removing expired records took longer than {SWEEP_LIMIT:?}")))
        })
    }
}

impl PostgresStore {
    /// A store with connections of its own, to the server that a connection string of libpq names: a URL or `key=value` pairs.
    ///
    /// Await what this answers; before that, say what should be other than usual. A few connections carry all requests, many at once
    /// each. A lost one is opened again by itself, with growing pauses while the server is away, and until then requests fail at
    /// once. With several hosts, the one that takes writes is used, so that a failover is followed.
    ///
    /// `sslmode` and `sslrootcert` mean what they mean to libpq: `prefer` (the default) and `require` encrypt without knowing whom
    /// they talk to, `verify-ca` and `verify-full` check the certificate, and a root file turns `require` into `verify-ca`. The
    /// roots are the operating system's where no file is named. A server that signed its own certificate cannot be verified:
    /// give it one from an authority, if only your own. Client certificates and `.pgpass` are not supported.
    ///
    /// A connection begins with settings for itself (a time limit for statements, isolation, planning). A pooler such as PgBouncer
    /// refuses them unless told otherwise; then the store does without them and without prepared statements, which is safe in
    /// transaction mode and costs the server some 0.1 ms of parsing per request. Where the pooler is told to ignore `options`
    /// instead, let it track prepared statements as well (PgBouncer 1.21, `max_prepared_statements`).
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if a setting is wrong, the server cannot be reached, or it refuses the user. No error repeats the
    /// password. Tables that are missing, or of a version that this build does not know, are an error of the first operation, so that
    /// [`migrate`](PostgresStore::migrate) can be called.
    ///
    /// ```no_run
    /// use cloakroom::store::PostgresStore;
    ///
    /// # async fn example() -> Result<(), cloakroom::store::StoreError> {
    /// let store = PostgresStore::connect("postgres://shop:secret@primary,standby/shop?sslmode=verify-full").await?;
    /// # let _ = store;
    /// # Ok(())
    /// # }
    /// ```
    pub fn connect(url: impl Into<String>) -> PostgresConnect {
        PostgresConnect::new(Source::Address(url.into()))
    }

    /// A store over a client of tokio-postgres 0.7 that the application has, which goes on using it too: requests are pipelined.
    ///
    /// Its connection is the application's: when it is closed, this store answers 503 until there is a new one over a new client. Nor
    /// are its settings changed, so a statement that waits for a lock waits on the server as long as they say, though the request
    /// does not. Do not begin a transaction by hand on a client that is shared: the store's statements would become part of it.
    ///
    /// ```no_run
    /// use cloakroom::store::PostgresStore;
    /// use std::sync::Arc;
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let (client, connection) = tokio_postgres::connect("host=db user=shop", tokio_postgres::NoTls).await?;
    /// tokio::spawn(connection);
    /// let store = PostgresStore::from_client(Arc::new(client)).await?;
    /// # let _ = store;
    /// # Ok(())
    /// # }
    /// ```
    pub fn from_client(client: Arc<Client>) -> PostgresConnect {
        PostgresConnect::new(Source::Given(Given::Client(client)))
    }

    /// A store over a pool that the application has: `get` takes a client out of it, and `view` finds the client of tokio-postgres 0.7
    /// in what `get` answers, which goes back to the pool when it is dropped.
    ///
    /// Each operation takes a client for itself. What that costs is the pool's to say: of deadpool-postgres, for one,
    /// `RecyclingMethod::Fast` costs nothing, `Verified` a round trip more per checkout, and `Clean` one that also throws away what
    /// the application has prepared. The wait for a client counts against [`timeout`](PostgresConnect::timeout), so a pool that the
    /// rest of the application exhausts takes its sessions along.
    ///
    /// ```no_run
    /// use cloakroom::store::PostgresStore;
    /// # mod deadpool_postgres {
    /// #     #[derive(Clone)] pub struct Pool;
    /// #     pub struct Object(pub tokio_postgres::Client);
    /// #     impl Pool { pub async fn get(&self) -> Result<Object, std::io::Error> { std::future::pending().await } }
    /// #     impl std::ops::Deref for Object { type Target = tokio_postgres::Client; fn deref(&self) -> &Self::Target { &self.0 } }
    /// # }
    ///
    /// # async fn example(pool: deadpool_postgres::Pool) -> Result<(), cloakroom::store::StoreError> {
    /// let get = move || {
    ///     let pool = pool.clone();
    ///     async move { pool.get().await }
    /// };
    /// let store = PostgresStore::from_pool(get, |object: &deadpool_postgres::Object| object).await?;
    /// # let _ = store;
    /// # Ok(())
    /// # }
    /// ```
    pub fn from_pool<C, G, Fut, E, V>(get: G, view: V) -> PostgresConnect
    where
        C: Send + Sync + 'static,
        G: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<C, E>> + Send + 'static,
        E: Into<Box<dyn Error + Send + Sync>> + 'static,
        V: Fn(&C) -> &Client + Clone + Send + Sync + 'static,
    {
        PostgresConnect::new(Source::Given(Given::Pool(Arc::new(PoolOf::new(get, view)))))
    }

    /// Makes the tables and functions where they are missing, in one transaction, and the schema if one was named. Call it at every
    /// start if you like, from as many processes at once: it does nothing where they are there. Its user needs the right to create
    /// them; the one that serves requests does not.
    ///
    /// # Errors
    /// [`StoreError`] if that right is missing, something else of these names is there, or a newer version of the library has made
    /// the tables.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), cloakroom::store::StoreError> {
    /// let store = cloakroom::store::PostgresStore::connect("postgres://shop@db/shop").await?;
    /// store.migrate().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn migrate(&self) -> Result<(), StoreError> {
        let tables = &self.0.tables;
        let migration = async {
            let lent = tables.clients.patient().await?;
            schema::migrate(lent.client(), &tables.names).await?;
            // They are known now. Another operation may have noted it already.
            drop(tables.known.set(()));
            Ok(())
        };
        timeout(MIGRATION_LIMIT, migration).await.unwrap_or_else(|_| {
            Err(StoreError::outcome_unknown(format!(
                "creating the session tables took longer than {MIGRATION_LIMIT:?}; call it again"
            )))
        })
    }

    /// The SQL that [`migrate`](PostgresStore::migrate) runs, for who runs migrations otherwise: `runtime/sql/postgres.sql` with this
    /// store's schema and prefix in its names. It is to run once, as one transaction, and expects the schema to be there.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let store = cloakroom::store::PostgresStore::connect("postgres://shop@db/shop").table_prefix("shop_").await?;
    /// std::fs::write("migrations/0007_sessions.sql", store.migration_sql())?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn migration_sql(&self) -> String {
        self.0.tables.names.sql(schema::SQL)
    }

    async fn run<T, F, Fut>(&self, effect: Effect, operation: F) -> Result<T, StoreError>
    where
        F: Fn(Lent) -> Fut + Send + Sync,
        Fut: Future<Output = Result<T, Failure>> + Send,
        T: Send,
    {
        let (tables, operation) = (&self.0.tables, &operation);
        let checked = move |lent: Lent| async move {
            tables.check(&lent).await?;
            operation(lent).await
        };
        tables.clients.run(effect, checked).await
    }

    fn statements(&self) -> &Statements {
        &self.0.tables.statements
    }
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore").field("tables", &self.0.tables.names.to_string()).finish_non_exhaustive()
    }
}

#[async_trait]
impl SessionStore for PostgresStore {
    async fn load(&self, key: &Selector, presented: &Presented, want: &Want<'_>) -> Result<Option<Arc<Record>>, StoreError> {
        self.0.sweeper.note(presented.now);
        let record = self.run(Effect::Read, |lent| rows::load(lent, self.statements(), key, want)).await?;
        Ok(record.map(Arc::new))
    }

    async fn create(&self, key: &Selector, record: Record) -> Result<CreateOutcome, StoreError> {
        self.0.sweeper.note(record.header.last_seen);
        self.run(Effect::Write, |lent| rows::create(lent, self.statements(), key, &record)).await
    }

    async fn commit(&self, key: &Selector, patch: &Patch) -> Result<CommitOutcome, StoreError> {
        self.run(Effect::Write, |lent| rows::commit(lent, self.statements(), key, patch)).await
    }

    async fn delete(&self, key: &Selector) -> Result<(), StoreError> {
        self.run(Effect::Write, |lent| rows::delete(lent, self.statements(), key)).await
    }

    async fn by_owner(&self, owner: &OwnerHash) -> Result<Vec<(Selector, Header)>, StoreError> {
        in_pages(|after, limit| {
            self.run(Effect::Read, move |lent| rows::by_owner(lent, self.statements(), owner, after, limit))
        })
        .await
    }

    async fn delete_by_owner(&self, owner: &OwnerHash, except: Option<&Selector>) -> Result<u64, StoreError> {
        let delete =
            |batch| self.run(Effect::Write, move |lent| rows::delete_by_owner(lent, self.statements(), owner, except, batch));
        in_batches(usize::MAX, delete).await.map(|deleted| deleted as u64)
    }

    async fn sweep(&self, now: Timestamp, limit: usize) -> Result<usize, StoreError> {
        in_batches(limit, |batch| self.0.tables.sweep(now, batch)).await
    }

    fn identity(&self) -> Option<StoreIdentity> {
        Some(StoreIdentity::of(&self.0))
    }
}
