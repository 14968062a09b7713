//! Sessions in PostgreSQL.

mod address;
mod builder;
mod clients;
mod failure;
mod link;
mod names;
mod rows;
mod schema;
mod tls;

pub use self::builder::PostgresBuilder;
use self::{
    builder::{PoolOf, Source},
    clients::{Clients, Given, Lent},
    names::Names,
    rows::Statements,
};
use super::{
    SessionStore, StoreError,
    remote::{Effect, Sweeper},
    sweeping,
};
use crate::record::{CommitOutcome, CreateOutcome, Header, OwnerHash, Patch, Presented, Record, Selector, Timestamp, Want};
use async_trait::async_trait;
use std::{error::Error, fmt, sync::Arc, time::Duration};
use tokio::time::timeout;
use tokio_postgres::Client;

/// How long making the tables may take.
const MIGRATION_LIMIT: Duration = Duration::from_secs(60);

/// Sessions in PostgreSQL (feature `postgres`).
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
}

impl Inner {
    fn new(clients: Clients, statements: Arc<Statements>, names: Names) -> Self {
        let tables = Arc::new(Tables { clients, statements, names });
        let swept = Arc::clone(&tables);
        let sweeper = Sweeper::start(tables.names.to_string(), move |past, limit| {
            let tables = Arc::clone(&swept);
            async move { tables.sweep(past, limit).await }
        });
        Self { sweeper, tables }
    }
}

impl Tables {
    async fn sweep(&self, past: Timestamp, limit: usize) -> Result<usize, StoreError> {
        self.clients.run(Effect::Write, |lent| rows::sweep(lent, &self.statements, past, limit)).await
    }
}

impl PostgresStore {
    /// Connects to a server.
    pub fn connect(url: impl Into<String>) -> PostgresBuilder {
        PostgresBuilder::new(Source::Address(url.into()))
    }

    /// A store over a client that the application has.
    pub fn from_client(client: Arc<Client>) -> PostgresBuilder {
        PostgresBuilder::new(Source::Given(Given::Client(client)))
    }

    /// A store over a pool that the application has.
    pub fn from_pool<C, G, Fut, E, V>(get: G, view: V) -> PostgresBuilder
    where
        C: Send + Sync + 'static,
        G: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<C, E>> + Send + 'static,
        E: Into<Box<dyn Error + Send + Sync>> + 'static,
        V: Fn(&C) -> &Client + Clone + Send + Sync + 'static,
    {
        PostgresBuilder::new(Source::Given(Given::Pool(Arc::new(PoolOf::new(get, view)))))
    }

    /// Creates the tables.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn migrate(&self) -> Result<(), StoreError> {
        let tables = &self.0.tables;
        let migration = async {
            let lent = tables.clients.patient().await?;
            schema::migrate(lent.client(), &tables.names).await
        };
        timeout(MIGRATION_LIMIT, migration).await.unwrap_or_else(|_| {
            Err(StoreError::outcome_unknown(format!(
                "creating the session tables took longer than {MIGRATION_LIMIT:?}; call it again"
            )))
        })
    }

    /// The SQL.
    pub fn migration_sql(&self) -> String {
        self.0.tables.names.sql(schema::SQL)
    }

    async fn run<T, F, Fut>(&self, effect: Effect, operation: F) -> Result<T, StoreError>
    where
        F: Fn(Lent) -> Fut + Send + Sync,
        Fut: Future<Output = Result<T, failure::Failure>> + Send,
        T: Send,
    {
        self.0.tables.clients.run(effect, operation).await
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
        self.0.sweeper.note(patch.now);
        self.run(Effect::Write, |lent| rows::commit(lent, self.statements(), key, patch)).await
    }

    async fn delete(&self, key: &Selector) -> Result<(), StoreError> {
        self.run(Effect::Write, |lent| rows::delete(lent, self.statements(), key)).await
    }

    async fn by_owner(&self, owner: &OwnerHash) -> Result<Vec<(Selector, Header)>, StoreError> {
        self.run(Effect::Read, |lent| rows::by_owner(lent, self.statements(), owner)).await
    }

    async fn delete_by_owner(&self, owner: &OwnerHash, except: Option<&Selector>) -> Result<u64, StoreError> {
        self.run(Effect::Write, |lent| rows::delete_by_owner(lent, self.statements(), owner, except)).await
    }

    async fn sweep(&self, now: Timestamp, limit: usize) -> Result<usize, StoreError> {
        let mut swept = 0;
        loop {
            let batch = sweeping::AT_ONCE.min(limit - swept);
            let removed = self.0.tables.sweep(now, batch).await?;
            swept += removed;
            if removed < batch || swept == limit {
                return Ok(swept);
            }
        }
    }
}
