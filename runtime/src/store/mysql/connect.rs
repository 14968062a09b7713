//! Connecting: what may be configured, and what a connection is told before its first use.

use super::{MySqlStore, access::Access, statements::Tables};
use crate::store::{
    StoreError,
    remote::{KEEPALIVE, LIMIT, tls},
};
use mysql_async::{Opts, OptsBuilder, Pool, PoolConstraints, SslOpts};
use std::{
    fmt,
    future::{Future, IntoFuture},
    pin::Pin,
    time::Duration,
};

/// How many connections are opened at most.
const CONNECTIONS: usize = 16;

/// How long a connection is kept that no request uses, unless the URL says otherwise. Balancers and address translators forget
/// silent connections after a minute at the earliest, and tell neither side.
const IDLE: Duration = Duration::from_secs(30);

/// What [`MySqlStore::connect`] answers: await it, or configure it first.
///
/// ```no_run
/// use cloakroom::store::MySqlStore;
/// use std::time::Duration;
///
/// # async fn example() -> Result<(), cloakroom::store::StoreError> {
/// let store = MySqlStore::connect("mysql://shop:secret@db.internal/shop")
///     .timeout(Duration::from_millis(300))
///     .connections(16)
///     .await?;
/// # let _ = store;
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing is connected before this is awaited"]
pub struct MySqlConnect {
    source: Source,
    limit: Duration,
    connections: Option<usize>,
    tables: Result<Tables, String>,
}

enum Source {
    Url(String),
    Pool(Pool),
}

impl MySqlConnect {
    pub(super) fn to(url: &str) -> Self {
        Self::of(Source::Url(url.to_owned()))
    }

    pub(super) fn over(pool: Pool) -> Self {
        Self::of(Source::Pool(pool))
    }

    fn of(source: Source) -> Self {
        Self { source, limit: LIMIT, connections: None, tables: Ok(Tables::default()) }
    }

    /// How long one operation may take, waiting for a connection included, before the request is answered 503. *Default*: 800 ms.
    /// Raise it where the server is far away.
    ///
    /// ```no_run
    /// # use cloakroom::store::MySqlStore;
    /// # async fn example() -> Result<(), cloakroom::store::StoreError> {
    /// let store = MySqlStore::connect("mysql://localhost/shop").timeout(std::time::Duration::from_secs(2)).await?;
    /// # let _ = store;
    /// # Ok(())
    /// # }
    /// ```
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// How many connections there are at most; each is opened when it is first needed. *Default*: 16. A connection carries one
    /// request at a time, so raise it where requests are told that all were busy, and lower it where many processes share a
    /// server, whose `max_connections` counts them all. An application's own pool has its own number, so saying one there is an
    /// error.
    ///
    /// ```no_run
    /// # use cloakroom::store::MySqlStore;
    /// # async fn example() -> Result<(), cloakroom::store::StoreError> {
    /// let store = MySqlStore::connect("mysql://localhost/shop").connections(32).await?;
    /// # let _ = store;
    /// # Ok(())
    /// # }
    /// ```
    pub fn connections(mut self, most: usize) -> Self {
        self.connections = Some(most);
        self
    }

    /// What the tables' names begin with. *Default*: `cloakroom_`. Set it to keep the sessions of two applications apart in one
    /// database.
    ///
    /// ```no_run
    /// # use cloakroom::store::MySqlStore;
    /// # async fn example() -> Result<(), cloakroom::store::StoreError> {
    /// let store = MySqlStore::connect("mysql://localhost/shop").table_prefix("admin_sessions_").await?;
    /// # let _ = store;
    /// # Ok(())
    /// # }
    /// ```
    pub fn table_prefix(mut self, prefix: &str) -> Self {
        self.tables = Tables::with_prefix(prefix);
        self
    }
}

impl fmt::Debug for MySqlConnect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the URL, which holds a password.
        f.debug_struct("MySqlConnect").field("timeout", &self.limit).finish_non_exhaustive()
    }
}

impl IntoFuture for MySqlConnect {
    type Output = Result<MySqlStore, StoreError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let tables = self.tables.map_err(StoreError::unavailable)?;
            let (access, place) = match (self.source, self.connections) {
                (_, Some(0)) => return Err(StoreError::unavailable("connections(0) leaves none to work with: give 1 or more")),
                (Source::Url(url), connections) => {
                    let connections = connections.unwrap_or(CONNECTIONS);
                    let opts = options(&url, connections, self.limit).await?;
                    let place = format!("the session database at {}:{}", opts.ip_or_hostname(), opts.tcp_port());
                    (Access::own(opts, connections, self.limit), place)
                }
                (Source::Pool(pool), None) => {
                    (Access::of_application(pool, self.limit), "the session database of the application's pool".to_owned())
                }
                (Source::Pool(_), Some(_)) => {
                    return Err(StoreError::unavailable(
                        "connections(..) is for a store that opens its own: leave it out here, and size the application's pool",
                    ));
                }
            };
            access.check().await?;
            MySqlStore::start(access, tables, place).await
        })
    }
}

/// The parameter of a URL that names a file of trusted certificates, called as in the clients of the server itself.
const CA: &str = "ssl-ca";

async fn options(url: &str, connections: usize, limit: Duration) -> Result<Opts, StoreError> {
    let (url, ca) = without_ca(url);
    let refuse = |what: String| StoreError::unavailable(format!("{what}; give mysql://user:password@host:3306/database"));
    let opts = Opts::from_url(&url).map_err(|error| refuse(error.to_string()))?;
    if opts.db_name().is_none_or(str::is_empty) {
        return Err(refuse("the URL names no database".to_owned()));
    }
    let mut pool = opts.pool_opts().clone().with_reset_connection(false);
    if let Some(none_to_all) = PoolConstraints::new(0, connections) {
        pool = pool.with_constraints(none_to_all);
    }
    if !url.contains("inactive_connection_ttl=") {
        pool = pool.with_inactive_connection_ttl(IDLE).with_ttl_check_interval(IDLE / 4);
    }
    let keepalive = opts.tcp_keepalive().unwrap_or(KEEPALIVE);
    let ssl = match (opts.ssl_opts().cloned(), ca) {
        (None, None) => None,
        (ssl, ca) => Some(trusting(ssl.unwrap_or_default(), ca).await?),
    };
    let mut builder =
        OptsBuilder::from_opts(opts).pool_opts(pool).ssl_opts(ssl).stmt_cache_size(0).setup(vec![settings(limit)]);
    builder = builder.tcp_keepalive(Some(keepalive));
    // By default, a server that looks local is asked for its socket, and whatever listens there is used instead.
    if !url.contains("prefer_socket=") {
        builder = builder.prefer_socket(false);
    }
    Ok(builder.into())
}

/// What each connection is told. The server gives up a wait for a lock about when we do, though not before a second. READ COMMITTED
/// locks rows and no gaps between them, so that sessions do not get into each other's way.
fn settings(limit: Duration) -> String {
    format!(
        "SET SESSION autocommit = 1, sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', innodb_lock_wait_timeout = {}; \
         SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
        limit.as_secs().max(1)
    )
}

/// A URL without our own parameter, which the client does not know.
fn without_ca(url: &str) -> (String, Option<String>) {
    let Some((place, query)) = url.split_once('?') else { return (url.to_owned(), None) };
    let (mut ca, mut rest) = (None, Vec::new());
    for parameter in query.split('&') {
        match parameter.split_once('=') {
            Some((CA, path)) => ca = Some(path.to_owned()),
            _ => rest.push(parameter),
        }
    }
    let url = if rest.is_empty() { place.to_owned() } else { format!("{place}?{}", rest.join("&")) };
    (url, ca)
}

/// TLS that trusts a file's certificates, or else those of the operating system.
async fn trusting(ssl: SslOpts, ca: Option<String>) -> Result<SslOpts, StoreError> {
    tls::provide_for_clients();
    let roots = tokio::task::spawn_blocking(move || tls::roots(ca.as_deref())).await.map_err(StoreError::unavailable)??;
    let roots = roots.into_iter().map(|root| root.to_vec().into()).collect();
    Ok(ssl.with_root_certs(roots).with_disable_built_in_roots(true))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    async fn options_of(parameters: &str) -> Opts {
        options(&format!("mysql://shop@localhost/shop{parameters}"), 16, LIMIT).await.unwrap()
    }

    #[tokio::test]
    async fn a_connection_that_no_request_uses_is_closed_and_others_are_kept_alive() {
        let opts = options_of("").await;
        let pool = opts.pool_opts();
        assert_eq!((pool.constraints().min(), pool.constraints().max()), (0, 16));
        assert_eq!((pool.inactive_connection_ttl(), opts.tcp_keepalive()), (IDLE, Some(KEEPALIVE)));
        assert!(pool.ttl_check_interval() < IDLE);
    }

    #[tokio::test]
    async fn a_url_may_say_otherwise() {
        let opts = options_of("?inactive_connection_ttl=90&ttl_check_interval=7&tcp_keepalive=5000").await;
        let pool = opts.pool_opts();
        assert_eq!(
            (pool.inactive_connection_ttl(), pool.ttl_check_interval()),
            (Duration::from_secs(90), Duration::from_secs(7))
        );
        assert_eq!(opts.tcp_keepalive(), Some(Duration::from_secs(5)));
    }
}
