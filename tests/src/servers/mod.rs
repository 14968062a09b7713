//! Real servers that a test starts for itself: on a free loopback port, in a temporary folder, gone when the test is.
//!
//! A server that this machine lacks is a [`Missing`], which [`needs!`](crate::needs) turns into a skipped test that is counted by
//! name; with `CLOAKROOM_REQUIRE_SERVERS` in the environment it fails the test. Everything else that goes wrong while starting fails the test, with the end of the server's log.

mod mysql;
mod postgres;
mod process;
mod proxy;
mod redis;
mod template;
mod tls;

pub use mysql::MySqlServer;
pub use postgres::PostgresServer;
pub use proxy::{Counts, Proxy, Way};
pub use redis::{RedisCluster, RedisSentinel, RedisServer};

use async_trait::async_trait;
use process::Daemon;
use std::{
    fmt,
    fs::OpenOptions,
    io::Write as _,
    net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
    path::PathBuf,
    sync::atomic::{AtomicU16, Ordering},
    time::Duration,
};

/// The database and its user's name, the same on every SQL server.
pub const NAME: &str = "cloakroom";

/// The password of every user of every server.
pub const PASSWORD: &str = "a-cloak-for-tests-9261";

/// How long anything of a server may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server of a test's own, whatever it serves.
#[async_trait]
pub trait Server: Send + Sync {
    #[doc(hidden)]
    fn daemon(&self) -> &Daemon;

    /// How clients reach it, as its ordinary user.
    fn url(&self) -> String;

    /// Where clients connect.
    fn address(&self) -> SocketAddr;

    /// Waits until it serves.
    async fn ready(&self);

    /// How many bytes of log there have been; the difference of two says what something cost.
    async fn written_bytes(&self) -> u64;

    /// All that the engine has on disk, after it has written everything out.
    async fn raw_bytes(&self) -> Vec<u8>;

    /// SIGKILL to all of it, as when the machine loses power.
    fn kill(&self) {
        self.daemon().kill();
    }

    /// An orderly end, which interrupts clients.
    async fn stop(&self) {
        self.daemon().stop().await;
    }

    /// The same server again, on the same port with the same data, after it was killed or stopped.
    async fn start_again(&self) {
        self.daemon().start_again();
        self.ready().await;
    }

    /// An orderly end and a new start.
    async fn restart(&self) {
        self.stop().await;
        self.start_again().await;
    }

    /// From now on it does not answer, though connections stay and new ones are accepted.
    fn pause(&self) {
        self.daemon().pause();
    }

    /// Ends a pause.
    fn resume(&self) {
        self.daemon().resume();
    }
}

/// A server that this machine does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing {
    program: &'static str,
    package: &'static str,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is not installed (Debian: apt-get install {})", self.program, self.package)
    }
}

/// The server that an expression starts; where it is missing, the test that stands here ends as skipped.
///
/// ```no_run
/// # use cloakroom_tests::{needs, servers::RedisServer};
/// async fn a_store_answers() {
///     let redis = needs!(RedisServer::start().await);
///     assert_eq!(redis.command(&["PING"]).await, "PONG");
/// }
/// ```
#[macro_export]
macro_rules! needs {
    ($server:expr) => {
        match $server {
            Ok(server) => server,
            Err(missing) => {
                fn here() {}
                return $crate::servers::skip(&$crate::servers::surroundings(here), &missing);
            }
        }
    };
}

/// The path of the function that a nested function stands in.
#[doc(hidden)]
pub fn surroundings<F>(_: F) -> String {
    let name = std::any::type_name::<F>();
    name.strip_suffix("::here").unwrap_or(name).replace("::{{closure}}", "")
}

/// Says by name that a test cannot run here, where `tests/run` counts it.
///
/// # Panics
/// If `CLOAKROOM_REQUIRE_SERVERS` is set: a runner reports a test that only returns as passed.
pub fn skip(test: &str, why: &dyn fmt::Display) {
    let required = std::env::var_os("CLOAKROOM_REQUIRE_SERVERS").is_some();
    assert!(!required, "{test}: {why}; unset CLOAKROOM_REQUIRE_SERVERS to skip the tests of what is missing");
    eprintln!("skipped: {test}: {why}");
    if let Ok(path) = std::env::var("CLOAKROOM_SKIPPED_TESTS") {
        let mut file =
            OpenOptions::new().append(true).create(true).open(path).expect("the file of skipped tests can be written");
        // In one write, because other tests append at the same time.
        file.write_all(format!("{test}: {why}\n").as_bytes()).expect("the file of skipped tests can be written");
    }
}

/// The first of these programs that is on the PATH or where servers use to be.
fn find(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/sbin", "/usr/local/sbin", "/usr/local/bin", "/usr/local/mysql/bin", "/usr/libexec", "/opt/homebrew/bin"];
    let folders: Vec<PathBuf> = std::env::split_paths(&path).chain(usual.map(PathBuf::from)).collect();
    names.iter().find_map(|name| folders.iter().map(|folder| folder.join(name)).find(|file| file.is_file()))
}

/// A port of the loopback address that nobody else takes while this is alive, whether its server runs or not.
struct Port {
    number: u16,
    // Tests run as processes of their own. The same port of UDP, which no server uses, is a lock that the kernel gives back.
    _lock: UdpSocket,
}

impl Port {
    fn free() -> Self {
        // Below what the kernel gives to clients: a stranger's connection must not have the port when a server comes back.
        const FIRST: u16 = 17_000;
        const COUNT: u16 = 9_000;
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let start = std::process::id() as u16;
        for _ in 0..COUNT {
            let offset = start.wrapping_mul(31).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, FIRST + offset));
            if let Ok(lock) = UdpSocket::bind(address)
                && TcpListener::bind(address).is_ok()
            {
                return Self { number: address.port(), _lock: lock };
            }
        }
        panic!("no port of 127.0.0.1 is free between {FIRST} and {}", FIRST + COUNT);
    }

    fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.number).into()
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.number.fmt(f)
    }
}
