//! A PostgreSQL server of a test's own.

use super::{
    Missing, NAME, PASSWORD, Port, Server,
    process::{Daemon, Launch, User},
    template,
    tls::Identity,
};
use async_trait::async_trait;
use rustix::process::Signal;
use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};
use tempfile::TempDir;

/// A running PostgreSQL, with a database that belongs to an ordinary user.
///
/// It does not force its files to disk, which is fast and survives the end of the process, however violent, though not the end of the
/// machine; `with(&["fsync=on"])` does.
pub struct PostgresServer {
    daemon: Daemon,
    port: Port,
    tools: Tools,
    tls: Option<Identity>,
}

impl PostgresServer {
    /// One server, with nothing but the defaults.
    pub async fn start() -> Result<Self, Missing> {
        Self::with(&[]).await
    }

    /// A server with these settings besides, each as `name=value`.
    pub async fn with(settings: &[&str]) -> Result<Self, Missing> {
        let tools = Tools::find()?;
        let folder = tools.new_folder().await;
        Ok(Self::launch(tools, folder, None, settings).await)
    }

    /// A server that refuses whoever does not speak TLS.
    pub async fn with_tls(settings: &[&str]) -> Result<Self, Missing> {
        let tools = Tools::find()?;
        let folder = tools.new_folder().await;
        let identity = Identity::new(folder.path(), tools.user);
        let rules = "hostssl all,replication all 127.0.0.1/32 scram-sha-256\n";
        fs::write(folder.path().join("data/pg_hba.conf"), rules).expect("the folder is ours");
        Ok(Self::launch(tools, folder, Some(identity), settings).await)
    }

    /// A read-only hot standby that follows a server.
    pub async fn standby_of(primary: &Self) -> Result<Self, Missing> {
        let tools = Tools::find()?;
        let folder = template::folder(tools.user);
        let mut copy = tools.command("pg_basebackup");
        copy.args(["--checkpoint=fast", "--wal-method=stream", "--no-sync", "--write-recovery-conf", "--no-password"])
            .args(["--host=127.0.0.1", "--username=postgres", "--port", &primary.port.to_string(), "--pgdata"])
            .arg(folder.path().join("data"))
            .env("PGPASSWORD", PASSWORD);
        let mut copy = tokio::process::Command::from(copy);
        let output = copy.output().await.expect("pg_basebackup starts");
        assert!(output.status.success(), "pg_basebackup: {}", String::from_utf8_lossy(&output.stderr));
        Ok(Self::launch(tools, folder, None, &[]).await)
    }

    async fn launch(tools: Tools, folder: TempDir, tls: Option<Identity>, settings: &[&str]) -> Self {
        let port = Port::free();
        let mut launch = Launch {
            program: tools.folder.join("postgres"),
            args: Vec::new(),
            user: tools.user,
            stop: Signal::INT,
            // It takes its shared memory with it, which a kill would leave behind.
            end: Signal::QUIT,
        };
        launch.push(["-D".into(), folder.path().join("data").into_os_string()]);
        let mut set = |setting: String| launch.push(["-c".to_owned(), setting]);
        set(format!("port={port}"));
        for setting in [
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "fsync=off",
            "full_page_writes=off",
            "shared_buffers=32MB",
            "max_wal_size=1GB",
            "password_encryption=scram-sha-256",
        ] {
            set(setting.to_owned());
        }
        if let Some(Identity { ca, certificate, key }) = &tls {
            set("ssl=on".to_owned());
            set(format!("ssl_ca_file={}", ca.display()));
            set(format!("ssl_cert_file={}", certificate.display()));
            set(format!("ssl_key_file={}", key.display()));
        }
        for setting in settings {
            set((*setting).to_owned());
        }
        let server = Self { daemon: Daemon::start(launch, folder), port, tools, tls };
        server.ready().await;
        server
    }

    /// The certificate that clients of a server with TLS have to trust.
    pub fn ca_file(&self) -> &Path {
        &self.tls.as_ref().expect("the server was started with TLS").ca
    }

    /// Runs SQL as the superuser in the ordinary user's database; rows are lines and columns are separated by tabs.
    pub async fn sql(&self, sql: &str) -> String {
        let port = self.port.to_string();
        let mut psql = self.tools.command("psql");
        psql.args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--field-separator=\t", "--set=ON_ERROR_STOP=1"])
            .args(["--host=127.0.0.1", "--username=postgres", "--port", &port, "--dbname", NAME, "--command", sql])
            .env("PGPASSWORD", PASSWORD);
        let output = tokio::process::Command::from(psql).output().await.expect("psql starts");
        assert!(output.status.success(), "psql: {sql}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    /// Makes the standby a server that takes writes.
    pub async fn promote(&self) {
        assert_eq!(self.sql("SELECT pg_promote()").await, "t");
    }

    fn data(&self) -> PathBuf {
        self.daemon.folder().join("data")
    }
}

#[async_trait]
impl Server for PostgresServer {
    fn daemon(&self) -> &Daemon {
        &self.daemon
    }

    /// The ordinary user's database. With TLS it ends in `?sslmode=require`.
    fn url(&self) -> String {
        let query = if self.tls.is_some() { "?sslmode=require" } else { "" };
        format!("postgres://{NAME}:{PASSWORD}@{}/{NAME}{query}", self.address())
    }

    fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Waits for what the server itself says to its own tools in its lock file: that it takes connections.
    async fn ready(&self) {
        let state = self.data().join("postmaster.pid");
        let is_ready = || async {
            let state = fs::read_to_string(&state).unwrap_or_default();
            let mut lines = state.lines();
            lines.next() == self.daemon.id().map(|id| id.to_string()).as_deref() && lines.nth(6).map(str::trim) == Some("ready")
        };
        self.daemon.until("it takes connections", is_ready).await;
    }

    /// How many bytes of write-ahead log there have been; the difference of two says what something cost.
    async fn written_bytes(&self) -> u64 {
        let bytes = self.sql("SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint").await;
        bytes.parse().expect("a number of bytes")
    }

    /// All that the engine has on disk, tables and log, after a checkpoint.
    async fn raw_bytes(&self) -> Vec<u8> {
        self.sql("CHECKPOINT").await;
        template::contents(&self.data())
    }
}

impl Drop for PostgresServer {
    /// What was killed and not started again has left a piece of the kernel's shared memory, of which there are only so many.
    fn drop(&mut self) {
        if self.daemon.id().is_none()
            && let Ok(state) = fs::read_to_string(self.data().join("postmaster.pid"))
            && let Some(segment) = state.lines().nth(6).and_then(|line| line.split_whitespace().nth(1))
        {
            let _ = Command::new("ipcrm").args(["-m", segment]).stderr(Stdio::null()).status();
        }
    }
}

/// The programs of one installation.
#[derive(Clone)]
struct Tools {
    folder: PathBuf,
    user: Option<User>,
}

impl Tools {
    fn find() -> Result<Self, Missing> {
        let missing = Missing { program: "postgres", package: "postgresql" };
        let postgres = super::find(&["postgres"]).or_else(newest_of_debian).ok_or(missing)?;
        // The tools lie beside the program itself, not beside a link to it.
        let postgres = postgres.canonicalize().map_err(|_| missing)?;
        let folder = postgres.parent().ok_or(missing)?.to_owned();
        Ok(Self { folder, user: User::instead_of_root(&["postgres", "nobody"]) })
    }

    fn command(&self, tool: &str) -> Command {
        let mut command = User::command(self.user, &self.folder.join(tool));
        // The tests may run in a folder that the user may not enter.
        command.current_dir("/");
        command
    }

    /// A folder with an empty database for one server.
    async fn new_folder(&self) -> TempDir {
        // Each step by the database to connect to. Two thirds of the files are templates for further databases, which nobody makes.
        let steps = [
            ("template1", format!("ALTER DATABASE postgres RENAME TO {NAME};\n")),
            (
                NAME,
                format!(
                    "UPDATE pg_database SET datistemplate = false;\n\
                     DROP DATABASE template0;\n\
                     DROP DATABASE template1;\n\
                     CREATE ROLE {NAME} LOGIN PASSWORD '{PASSWORD}';\n\
                     ALTER DATABASE {NAME} OWNER TO {NAME};\n"
                ),
            ),
        ];
        let tools = self.clone();
        let version = template::run(self.command("postgres").arg("--version"), "");
        let recipe = format!("{version} {} {steps:?}", self.folder.display());
        let make = move |data: &Path| {
            let password = data.with_file_name("password");
            fs::write(&password, PASSWORD).expect("the folder is ours");
            User::owns(tools.user, &password);
            let mut initdb = tools.command("initdb");
            initdb
                .args([
                    "--auth=scram-sha-256",
                    "--username=postgres",
                    "--encoding=UTF8",
                    "--locale=C",
                    "--wal-segsize=1",
                    "--no-sync",
                ])
                .arg("--pwfile")
                .arg(password)
                .arg("--pgdata")
                .arg(data);
            template::run(&mut initdb, "");
            for (database, sql) in steps {
                let mut postgres = tools.command("postgres");
                postgres.args(["--single", "-c", "fsync=off", "-c", "password_encryption=scram-sha-256"]);
                postgres.arg("-D").arg(data).arg(database);
                let said = template::run(&mut postgres, &sql);
                assert!(!said.contains("ERROR"), "{sql}{said}");
            }
        };
        template::copied("postgres", recipe, self.user, make).await
    }
}

/// Debian has every version in a folder of its own, none of them on the PATH.
fn newest_of_debian() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()).max()?;
    Some(format!("/usr/lib/postgresql/{newest}/bin/postgres").into()).filter(|file: &PathBuf| file.is_file())
}
