//! Connections to one server, or to whichever one Sentinel names, opened with our own deadlines and certificates.

use crate::store::{
    StoreError,
    remote::{Engine, KEEPALIVE, Verdict, tls},
};
use async_trait::async_trait;
use redis::{
    AsyncConnectionConfig, ConnectionAddr, ConnectionInfo, ErrorKind, RedisConnectionInfo, RedisError, RedisResult,
    ServerErrorKind, TlsMode,
    aio::MultiplexedConnection,
    io::tcp::{
        TcpSettings,
        socket2::{SockRef, TcpKeepalive},
    },
    sentinel::{Sentinel, SentinelNodeConnectionInfo},
};
use rustls::{ClientConfig, pki_types::ServerName};
use std::{io, sync::Arc};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::JoinHandle,
};
use tokio_rustls::TlsConnector;

/// Where the server is.
pub(super) enum Place {
    Server(Box<ConnectionInfo>),
    /// Asked anew for every connection, so that a failover is followed.
    Sentinels {
        sentinels: Vec<ConnectionInfo>,
        service: String,
        settings: RedisConnectionInfo,
        tls: Option<TlsMode>,
    },
}

pub(super) struct Node {
    place: Place,
    tls: Option<Arc<ClientConfig>>,
}

/// A connection, and the task that drives it.
#[derive(Clone)]
pub(super) struct Link {
    pub(super) connection: MultiplexedConnection,
    driver: Arc<Driver>,
}

/// A task that ends with the last handle, also while a server that hangs owes an answer.
pub(super) struct Driver(pub(super) JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Node {
    /// # Errors
    /// [`StoreError::Unavailable`] if TLS is wanted and the system has no certificates.
    pub(super) fn new(place: Place) -> Result<Self, StoreError> {
        let wants_tls = match &place {
            Place::Server(info) => matches!(info.addr(), ConnectionAddr::TcpTls { .. }),
            Place::Sentinels { tls, .. } => tls.is_some(),
        };
        if wants_tls && matches!(place, Place::Sentinels { .. }) {
            tls::provide_for_clients();
        }
        Ok(Self { tls: wants_tls.then(tls_config).transpose()?, place })
    }

    async fn open(&self) -> RedisResult<Link> {
        match &self.place {
            Place::Server(info) => self.open_at(info).await,
            Place::Sentinels { sentinels, service, settings, tls } => {
                let server = SentinelNodeConnectionInfo::default().set_redis_connection_info(settings.clone());
                let server = if let Some(mode) = tls { server.set_tls_mode(*mode) } else { server };
                let client = Sentinel::build(sentinels.clone())?.async_master_for(service, Some(&server)).await?;
                self.open_at(client.get_connection_info()).await
            }
        }
    }

    async fn open_at(&self, info: &ConnectionInfo) -> RedisResult<Link> {
        match (info.addr(), &self.tls) {
            (ConnectionAddr::Tcp(host, port), _) => start(info, connect(host, *port).await?).await,
            (ConnectionAddr::TcpTls { host, port, .. }, Some(tls)) => {
                let name = ServerName::try_from(host.clone()).map_err(io::Error::other)?;
                let stream = connect(host, *port).await?;
                start(info, TlsConnector::from(Arc::clone(tls)).connect(name, stream).await?).await
            }
            #[cfg(unix)]
            (ConnectionAddr::Unix(path), _) => start(info, tokio::net::UnixStream::connect(path).await?).await,
            _ => Err((ErrorKind::InvalidClientConfig, "this kind of address is not supported here").into()),
        }
    }
}

fn tls_config() -> Result<Arc<ClientConfig>, StoreError> {
    let config = ClientConfig::builder_with_provider(tls::provider())
        .with_safe_default_protocol_versions()
        .map_err(StoreError::unavailable)?;
    Ok(Arc::new(config.with_root_certificates(tls::root_store(None)?).with_no_client_auth()))
}

async fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((host, port)).await?;
    let (socket, settings) = (SockRef::from(&stream), tcp_settings());
    socket.set_tcp_nodelay(settings.nodelay())?;
    if let Some(keepalive) = settings.keepalive() {
        socket.set_tcp_keepalive(keepalive)?;
    }
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(settings.user_timeout())?;
    Ok(stream)
}

/// What every connection over TCP is told: not to wait for more to send, to show a balancer in good time that it is in use, and to end
/// when what it sent does not arrive.
pub(super) fn tcp_settings() -> TcpSettings {
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE);
    let settings = TcpSettings::default().set_nodelay(true).set_keepalive(keepalive);
    #[cfg(target_os = "linux")]
    let settings = settings.set_user_timeout(crate::store::remote::UNSENT);
    settings
}

/// Authenticates, selects the database, and sets the task going.
async fn start<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(info: &ConnectionInfo, stream: S) -> RedisResult<Link> {
    // Deadlines are kept where the connections are.
    let config = AsyncConnectionConfig::new().set_response_timeout(None).set_connection_timeout(None);
    let (connection, driver) = MultiplexedConnection::new_with_config(info.redis_settings(), stream, config).await?;
    let mut link = Link { connection, driver: Arc::new(Driver(tokio::spawn(driver))) };
    // A server that wants a password, or is still loading, says so only when it is asked for something.
    redis::cmd("PING").query_async::<()>(&mut link.connection).await?;
    Ok(link)
}

#[async_trait]
impl Engine for Node {
    type Connection = Link;
    type Error = RedisError;

    async fn connect(&self) -> Result<Link, StoreError> {
        self.open().await.map_err(StoreError::unavailable)
    }

    fn is_closed(link: &Link) -> bool {
        link.driver.0.is_finished()
    }

    async fn probe(link: &Link) -> RedisResult<()> {
        redis::cmd("PING").query_async(&mut link.connection.clone()).await
    }

    fn verdict(error: &RedisError) -> Verdict {
        verdict(error)
    }
}

/// What an error of the client says of an operation.
pub(super) fn verdict(error: &RedisError) -> Verdict {
    match error.kind() {
        ErrorKind::Server(
            ServerErrorKind::ReadOnly
            | ServerErrorKind::BusyLoading
            | ServerErrorKind::MasterDown
            | ServerErrorKind::ClusterDown
            | ServerErrorKind::TryAgain
            | ServerErrorKind::Moved
            | ServerErrorKind::Ask,
        )
        | ErrorKind::AuthenticationFailed
        | ErrorKind::ClusterConnectionNotFound
        | ErrorKind::MasterNameNotFoundBySentinel
        | ErrorKind::NoValidReplicasFoundBySentinel => Verdict::Unfit,
        // Up to version 6, a script's error hides the code of the command that failed in it.
        ErrorKind::Server(_) | ErrorKind::Extension
            if error.code() == Some("NOAUTH") || error.detail().is_some_and(|detail| detail.contains("-READONLY")) =>
        {
            Verdict::Unfit
        }
        ErrorKind::Server(_) | ErrorKind::Extension | ErrorKind::InvalidClientConfig | ErrorKind::Client => Verdict::Refused,
        _ => Verdict::Broken,
    }
}
