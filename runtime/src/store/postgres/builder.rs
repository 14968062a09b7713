//! What can be said about a PostgreSQL store before it connects.

use super::{
    Inner, PostgresStore,
    address::Address,
    clients::{Clients, Given, Own, Pool, Pooled},
    link::Server,
    names::Names,
    rows::Statements,
};
use crate::store::{
    StoreError,
    remote::{LIMIT, Links},
};
use async_trait::async_trait;
use std::{error::Error, fmt, future::IntoFuture, marker::PhantomData, pin::Pin, sync::Arc, time::Duration};
use tokio_postgres::Client;

/// How many connections of our own share the requests, unless the store was told otherwise.
const CONNECTIONS: usize = 4;

/// A PostgreSQL store to be: await it, after saying what should be other than usual.
///
/// Made by [`PostgresStore::connect`], [`PostgresStore::from_client`] and [`PostgresStore::from_pool`].
///
/// ```no_run
/// use cloakroom::store::PostgresStore;
/// use std::time::Duration;
///
/// # async fn example() -> Result<(), cloakroom::store::StoreError> {
/// let store = PostgresStore::connect("postgres://shop@db/shop")
///     .schema("auth")
///     .table_prefix("shop_")
///     .timeout(Duration::from_millis(300))
///     .connections(2)
///     .await?;
/// # let _ = store;
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing happens before it is awaited"]
pub struct PostgresConnect {
    source: Source,
    schema: Option<String>,
    prefix: Option<String>,
    limit: Duration,
    connections: Option<usize>,
}

pub(super) enum Source {
    Address(String),
    Given(Given),
}

impl PostgresConnect {
    pub(super) fn new(source: Source) -> Self {
        Self { source, schema: None, prefix: None, limit: LIMIT, connections: None }
    }

    /// The schema that the tables lie in. *Default*: none named, so the first of the connection's `search_path`, usually `public`.
    /// Name one to keep session tables apart from the application's; [`PostgresStore::migrate`] creates it where it is missing.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), cloakroom::store::StoreError> {
    /// let store = cloakroom::store::PostgresStore::connect("postgres://shop@db/shop").schema("auth").await?;
    /// # let _ = store;
    /// # Ok(())
    /// # }
    /// ```
    pub fn schema(mut self, schema: impl Into<String>) -> Self {
        self.schema = Some(schema.into());
        self
    }

    /// What the names of tables and functions begin with: 1 to 22 letters, digits and underscores. *Default*: `cloakroom_`. Change it
    /// where two applications with sessions of their own share a schema.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), cloakroom::store::StoreError> {
    /// let store = cloakroom::store::PostgresStore::connect("postgres://shop@db/shop").table_prefix("shop_").await?;
    /// # let _ = store;
    /// # Ok(())
    /// # }
    /// ```
    pub fn table_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = Some(prefix.into());
        self
    }

    /// How long one operation may take, the wait for a connection included; then the request is answered 503. *Default*: 800 ms. The
    /// server is told to give up on a statement of a connection of ours a little earlier, so that it does not work for somebody
    /// who is gone. Raise it for a database far away.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), cloakroom::store::StoreError> {
    /// # use std::time::Duration;
    /// let slow = cloakroom::store::PostgresStore::connect("postgres://shop@far-away/shop").timeout(Duration::from_secs(2)).await?;
    /// # let _ = slow;
    /// # Ok(())
    /// # }
    /// ```
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// How many connections the requests share. *Default*: 4. Each carries many requests at once, and the server works on as many
    /// at a time as there are connections: more than it has cores to spare gain nothing. An application's own client or pool
    /// has its own number, so saying one there is an error.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), cloakroom::store::StoreError> {
    /// let store = cloakroom::store::PostgresStore::connect("postgres://shop@db/shop").connections(8).await?;
    /// # let _ = store;
    /// # Ok(())
    /// # }
    /// ```
    pub fn connections(mut self, count: usize) -> Self {
        self.connections = Some(count);
        self
    }

    async fn build(self) -> Result<PostgresStore, StoreError> {
        let names = Names::new(self.schema, self.prefix)?;
        let statements = Arc::new(Statements::new(&names));
        let limit = self.limit;
        if self.connections == Some(0) {
            return Err(StoreError::unavailable("connections(0) leaves none to work with: give 1 or more"));
        }
        let clients = match self.source {
            Source::Address(text) => {
                let address = Address::parse(&text)?;
                let server = || Server::new(address.clone(), Arc::clone(&statements), limit);
                let links = Links::open(server(), self.connections.unwrap_or(CONNECTIONS), limit).await?;
                Clients::Own(Box::new(Own { links, server: server() }))
            }
            Source::Given(_) if self.connections.is_some() => {
                return Err(StoreError::unavailable(
                    "connections(..) is for a store that opens its own: leave it out here, and size the application's pool",
                ));
            }
            Source::Given(given) => Clients::Given { given, breaker: Default::default(), limit },
        };
        Ok(PostgresStore(Arc::new(Inner::new(clients, statements, names))))
    }
}

impl IntoFuture for PostgresConnect {
    type Output = Result<PostgresStore, StoreError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.build())
    }
}

impl fmt::Debug for PostgresConnect {
    /// Without the connection string, which holds a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresConnect")
            .field("schema", &self.schema)
            .field("table_prefix", &self.prefix)
            .field("timeout", &self.limit)
            .field("connections", &self.connections)
            .finish_non_exhaustive()
    }
}

/// A pool as two closures.
pub(super) struct PoolOf<C, G, V> {
    get: G,
    view: V,
    clients: PhantomData<fn() -> C>,
}

impl<C, G, V> PoolOf<C, G, V> {
    pub(super) fn new(get: G, view: V) -> Self {
        Self { get, view, clients: PhantomData }
    }
}

#[async_trait]
impl<C, G, Fut, E, V> Pool for PoolOf<C, G, V>
where
    C: Send + Sync + 'static,
    G: Fn() -> Fut + Send + Sync,
    Fut: Future<Output = Result<C, E>> + Send,
    E: Into<Box<dyn Error + Send + Sync>>,
    V: Fn(&C) -> &Client + Clone + Send + Sync + 'static,
{
    async fn get(&self) -> Result<Arc<dyn Pooled>, StoreError> {
        let client = (self.get)().await.map_err(StoreError::unavailable)?;
        Ok(Arc::new(PooledOf { client, view: self.view.clone() }))
    }
}

struct PooledOf<C, V> {
    client: C,
    view: V,
}

impl<C: Send + Sync, V: Fn(&C) -> &Client + Send + Sync> Pooled for PooledOf<C, V> {
    fn client(&self) -> &Client {
        (self.view)(&self.client)
    }
}
