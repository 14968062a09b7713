//! Every server-side store over its real engine, by name, for tests that hold for all of them.

use crate::{
    servers::{Missing, MySqlServer, PostgresServer, Proxy, RedisCluster, RedisServer, Server},
    shop::House,
};
use cloakroom::store::{MemoryStore, MySqlStore, PostgresStore, RedisStore, SessionStore, SqliteStore};
use std::{str::FromStr, sync::Arc, time::Duration};

/// How long a store waits for an answer unless it is told otherwise.
pub const USUAL: Duration = Duration::from_millis(800);

/// For tests that are about something else than time, and may share their machine.
pub const PATIENT: Duration = Duration::from_secs(20);

/// What the records of a store lie in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// A map of this process.
    Memory,
    /// A database in a file.
    Sqlite,
    /// One server.
    Redis,
    /// Three primaries that share the slots.
    RedisCluster,
    /// One server.
    Postgres,
    /// One server, MariaDB or MySQL.
    MySql,
}

impl Engine {
    /// A fresh store on a fresh server.
    ///
    /// # Errors
    /// If this machine lacks the server.
    pub async fn start(self) -> Result<Running, Missing> {
        let place = Place::start(self).await?;
        let addresses = place.addresses();
        Ok(Running { engine: self, store: self.open(&addresses, PATIENT).await, addresses, place, proxy: None })
    }

    /// The same with a [`Proxy`] between the store and its server, and the store's usual limit for an answer.
    ///
    /// # Errors
    /// If this machine lacks the server.
    pub async fn start_behind_a_proxy(self) -> Result<Running, Missing> {
        let place = Place::start(self).await?;
        let (direct, address) = (place.server().url(), place.server().address());
        let proxy = Proxy::before(address).await;
        let store = self.open(&[proxy.url_like(&direct)], USUAL).await;
        Ok(Running { engine: self, store, addresses: vec![direct], place, proxy: Some(proxy) })
    }

    /// A store over connections of its own.
    pub async fn open(self, addresses: &[String], limit: Duration) -> Arc<dyn SessionStore> {
        let first = || addresses.first().expect("an address").as_str();
        match self {
            Self::Memory => Arc::new(MemoryStore::new()),
            Self::Sqlite => Arc::new(SqliteStore::open(first()).timeout(limit).await.expect("the database opens")),
            Self::Redis => Arc::new(RedisStore::connect(first()).timeout(limit).await.expect("redis answers")),
            Self::RedisCluster => Arc::new(RedisStore::cluster(addresses).timeout(limit).await.expect("the cluster answers")),
            Self::Postgres => {
                let store = PostgresStore::connect(first()).timeout(limit).await.expect("postgres answers");
                store.migrate().await.expect("the tables are made");
                Arc::new(store)
            }
            Self::MySql => {
                let store = MySqlStore::connect(first()).timeout(limit).await.expect("mysql answers");
                store.migrate().await.expect("the tables are made");
                Arc::new(store)
            }
        }
    }
}

impl FromStr for Engine {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        [Self::Sqlite, Self::Redis, Self::RedisCluster, Self::Postgres, Self::MySql]
            .into_iter()
            .find(|engine| format!("{engine:?}") == name)
            .ok_or_else(|| format!("no engine with an address is called {name}"))
    }
}

/// What a store's records lie in, running.
pub enum Place {
    /// Nothing: the store itself holds them.
    Memory,
    /// The folder of its file.
    Sqlite(tempfile::TempDir),
    /// The server.
    Redis(RedisServer),
    /// The cluster.
    RedisCluster(RedisCluster),
    /// The server.
    Postgres(PostgresServer),
    /// The server.
    MySql(MySqlServer),
}

impl Place {
    async fn start(engine: Engine) -> Result<Self, Missing> {
        Ok(match engine {
            Engine::Memory => Self::Memory,
            Engine::Sqlite => Self::Sqlite(tempfile::tempdir().expect("a temporary folder")),
            Engine::Redis => Self::Redis(RedisServer::start().await?),
            Engine::RedisCluster => Self::RedisCluster(RedisCluster::start().await?),
            Engine::Postgres => Self::Postgres(PostgresServer::start().await?),
            Engine::MySql => Self::MySql(MySqlServer::start().await?),
        })
    }

    fn addresses(&self) -> Vec<String> {
        match self {
            Self::Memory => vec![],
            Self::Sqlite(folder) => vec![folder.path().join("sessions.db").display().to_string()],
            Self::Redis(server) => vec![server.url()],
            Self::RedisCluster(cluster) => cluster.urls(),
            Self::Postgres(server) => vec![server.url()],
            Self::MySql(server) => vec![server.url()],
        }
    }

    /// Everything it has written to its disk.
    pub async fn raw_bytes(&self) -> Vec<u8> {
        match self {
            Self::Memory => panic!("nothing of it is on a disk"),
            Self::Sqlite(folder) => {
                let files = std::fs::read_dir(folder.path()).expect("the folder is there");
                files.flat_map(|file| std::fs::read(file.expect("a file").path()).expect("a readable file")).collect()
            }
            Self::RedisCluster(cluster) => {
                let mut all = Vec::new();
                for node in cluster.nodes() {
                    all.extend(node.raw_bytes().await);
                }
                all
            }
            Self::Redis(_) | Self::Postgres(_) | Self::MySql(_) => self.server().raw_bytes().await,
        }
    }

    /// The one server there is.
    pub fn server(&self) -> &dyn Server {
        match self {
            Self::Redis(server) => server,
            Self::Postgres(server) => server,
            Self::MySql(server) => server,
            Self::Memory | Self::Sqlite(_) | Self::RedisCluster(_) => panic!("it is not one server"),
        }
    }
}

/// A store on a server that runs as long as this lives.
pub struct Running {
    /// What it runs on.
    pub engine: Engine,
    /// The store, over connections of its own.
    pub store: Arc<dyn SessionStore>,
    /// What [`Engine::open`] wants.
    pub addresses: Vec<String>,
    /// Where the records lie.
    pub place: Place,
    proxy: Option<Proxy>,
}

impl Running {
    /// What lies between the store and its server.
    pub fn proxy(&self) -> &Proxy {
        self.proxy.as_ref().expect("it was started behind a proxy")
    }

    /// The store under observation.
    pub fn house(&self) -> House<Arc<dyn SessionStore>> {
        House::over(Arc::clone(&self.store))
    }

    /// The same records over connections that nobody else has, as another machine would see them.
    pub async fn another(&self) -> Arc<dyn SessionStore> {
        match self.engine {
            Engine::Memory => Arc::clone(&self.store),
            engine => engine.open(&self.addresses, PATIENT).await,
        }
    }
}

/// One module per engine, and in each of them every test that is listed: a function above that takes a [`Running`].
#[macro_export]
macro_rules! on_engines {
    ([$($module:ident: $engine:ident),* $(,)?] $tests:tt) => {
        $crate::on_engines! { start [$($module: $engine),*] $tests }
    };
    // `start_behind_a_proxy` for stores that reach their server through one.
    ($start:ident [$($module:ident: $engine:ident),* $(,)?] $tests:tt) => {
        $(mod $module {
            $crate::tests_on_engine!($start $engine $tests);
        })*
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! tests_on_engine {
    ($start:ident $engine:ident { $($test:ident)* }) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn $test() {
            super::$test($crate::needs!($crate::engines::Engine::$engine.$start().await)).await;
        })*
    };
}
