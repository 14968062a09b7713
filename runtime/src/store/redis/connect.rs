//! Where a store's server is, and all there is to say before connecting to it.

#[cfg(feature = "redis-cluster")]
use super::cluster::Cluster;
use super::{
    Inner, RedisStore,
    client::{Client, Connection},
    node::{Node, Place},
};
use crate::store::{
    StoreError,
    remote::{LIMIT, Links},
};
use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, TlsMode};
use std::{fmt, pin::Pin, sync::Arc, time::Duration};

/// One connection carries all requests: the server executes one command at a time and answers in order.
const CONNECTIONS: usize = 1;

const SCHEMES: &str = "redis://host:6379/0, rediss:// for TLS, or redis+unix:///path/to/socket";

/// A [`RedisStore`] about to connect: set what should differ from the defaults, then await it.
///
/// ```no_run
/// use cloakroom::store::RedisStore;
/// use std::time::Duration;
///
/// # async fn example() -> Result<(), cloakroom::store::StoreError> {
/// let store = RedisStore::connect("redis://127.0.0.1").prefix("shop:").timeout(Duration::from_millis(300)).await?;
/// # let _ = store;
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing is connected before this is awaited"]
pub struct RedisConnect {
    target: Result<Target, StoreError>,
    prefix: String,
    limit: Duration,
}

/// What a store is to talk to.
pub(super) enum Target {
    Place(Place),
    Given(Box<dyn Connection>),
    #[cfg(feature = "redis-cluster")]
    Cluster(Vec<ConnectionInfo>),
    #[cfg(feature = "redis-cluster")]
    GivenCluster(redis::cluster_async::ClusterConnection),
}

impl RedisConnect {
    pub(super) fn to(target: Result<Target, StoreError>) -> Self {
        Self { target, prefix: "cloakroom:".to_owned(), limit: LIMIT }
    }

    /// What the name of every key begins with. *Default*: `cloakroom:`.
    ///
    /// *When to change*: when several applications share a database. Stores with different prefixes do not see each other.
    /// At most 200 bytes, at least one; braces would change a cluster's slots, so they are refused, and so is white space.
    ///
    /// ```no_run
    /// use cloakroom::store::RedisStore;
    /// # async fn example() -> Result<(), cloakroom::store::StoreError> {
    /// let store = RedisStore::connect("redis://127.0.0.1").prefix(format!("{}:", "shop")).await?;
    /// # let _ = store;
    /// # Ok(())
    /// # }
    /// ```
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// How long one operation may take before it is given up and the request is answered 503. *Default*: 800 ms.
    ///
    /// *When to change*: lower it where the server is near and nobody should wait; raise it where the way is long.
    ///
    /// ```no_run
    /// use cloakroom::store::RedisStore;
    /// use std::time::Duration;
    /// # async fn example() -> Result<(), cloakroom::store::StoreError> {
    /// let store = RedisStore::connect("redis://127.0.0.1").timeout(Duration::from_millis(300)).await?;
    /// # let _ = store;
    /// # Ok(())
    /// # }
    /// ```
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    async fn open(self) -> Result<RedisStore, StoreError> {
        let Self { target, prefix, limit } = self;
        let target = target?;
        check_prefix(&prefix)?;
        if limit.is_zero() {
            return Err(StoreError::unavailable("a timeout of zero leaves no time for anything; give some milliseconds"));
        }
        let server = target.to_string();
        let client = match target {
            Target::Place(place) => Client::Node(Links::open(Node::new(place)?, CONNECTIONS, limit).await?),
            Target::Given(connection) => Client::Given { connection, limit },
            #[cfg(feature = "redis-cluster")]
            Target::Cluster(nodes) => Client::Cluster(Cluster::open(nodes, limit).await?),
            #[cfg(feature = "redis-cluster")]
            Target::GivenCluster(connection) => Client::Cluster(Cluster::over(connection, limit)),
        };
        let store = RedisStore(Arc::new(Inner { client, prefix, server }));
        store.probe().await?;
        Ok(store)
    }
}

impl IntoFuture for RedisConnect {
    type Output = Result<RedisStore, StoreError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.open())
    }
}

impl fmt::Debug for RedisConnect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("RedisConnect");
        if let Ok(target) = &self.target {
            debug.field("server", &format_args!("{target}"));
        }
        debug.field("prefix", &self.prefix).field("timeout", &self.limit).finish()
    }
}

/// Without any credential.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Place(Place::Server(info)) => info.addr().fmt(f),
            Self::Place(Place::Sentinels { sentinels, service, .. }) => {
                write!(f, "{service} of the sentinels ")?;
                addresses(sentinels, f)
            }
            Self::Given(_) => f.write_str("a connection of the application"),
            #[cfg(feature = "redis-cluster")]
            Self::Cluster(nodes) => {
                f.write_str("the cluster of ")?;
                addresses(nodes, f)
            }
            #[cfg(feature = "redis-cluster")]
            Self::GivenCluster(_) => f.write_str("a cluster of the application"),
        }
    }
}

fn addresses(servers: &[ConnectionInfo], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (i, server) in servers.iter().enumerate() {
        let separator = if i == 0 { "" } else { ", " };
        write!(f, "{separator}{}", server.addr())?;
    }
    Ok(())
}

fn check_prefix(prefix: &str) -> Result<(), StoreError> {
    const LONGEST: usize = 200;
    let why = if prefix.is_empty() {
        "is empty, so the sessions would stand among all other keys"
    } else if prefix.len() > LONGEST {
        "is longer than 200 bytes"
    } else if prefix.contains(['{', '}']) {
        "has a brace, which would decide the slots of a cluster"
    } else if prefix.contains(|it: char| it.is_whitespace() || it.is_control()) {
        "has white space or a control character"
    } else {
        return Ok(());
    };
    Err(StoreError::unavailable(format!("the prefix {prefix:?} {why}; give one like \"shop:\"")))
}

/// The server of a URL. Whatever is wrong with it, no error repeats it: it may hold a password.
pub(super) fn server(url: &str) -> Result<ConnectionInfo, StoreError> {
    let wrong =
        |why: &dyn fmt::Display| StoreError::unavailable(format!("the address of a Redis server {why}; give {SCHEMES}"));
    let Some((scheme, rest)) = url.split_once("://") else { return Err(wrong(&"has no scheme")) };
    if !["redis", "rediss", "valkey", "valkeys", "redis+unix", "valkey+unix", "unix"].contains(&scheme) {
        return Err(wrong(&format_args!("begins with {scheme}://")));
    }
    if rest.contains('#') {
        // It would turn the verification of certificates off.
        return Err(wrong(&"has a part after a '#', which means nothing here (a '#' in a password is written %23)"));
    }
    url.into_connection_info().map_err(|error| wrong(&format_args!("is not one ({})", error.category())))
}

/// The servers of several URLs, which must agree on all but the host and the port.
pub(super) fn servers<U: AsRef<str>>(urls: impl IntoIterator<Item = U>) -> Result<Vec<ConnectionInfo>, StoreError> {
    let servers: Vec<ConnectionInfo> = urls.into_iter().map(|url| server(url.as_ref())).collect::<Result<_, _>>()?;
    let Some(first) = servers.first() else {
        return Err(StoreError::unavailable(format!("there is no address of a server; give at least one: {SCHEMES}")));
    };
    let common = |info: &ConnectionInfo| {
        let settings = info.redis_settings();
        (tls(info).is_some(), settings.db(), settings.username().map(str::to_owned), settings.password().map(str::to_owned))
    };
    if servers.iter().any(|server| common(server) != common(first)) {
        return Err(StoreError::unavailable("the addresses of one store may differ only in host and port"));
    }
    if servers.iter().any(|server| matches!(server.addr(), ConnectionAddr::Unix(_))) {
        return Err(StoreError::unavailable(
            "sentinels and clusters are not reached through sockets; give redis:// or rediss://",
        ));
    }
    Ok(servers)
}

pub(super) fn tls(info: &ConnectionInfo) -> Option<TlsMode> {
    matches!(info.addr(), ConnectionAddr::TcpTls { .. }).then_some(TlsMode::Secure)
}

/// Sentinels are asked without the credentials, which are the server's.
pub(super) fn sentinels(servers: Vec<ConnectionInfo>, service: &str) -> Option<Place> {
    let first = servers.first()?;
    let (settings, tls) = (first.redis_settings().clone(), tls(first));
    let sentinels = servers.into_iter().map(|server| server.set_redis_settings(Default::default())).collect();
    Some(Place::Sentinels { sentinels, service: service.to_owned(), settings, tls })
}
