//! A MariaDB or MySQL server of a test's own.

use super::{
    Missing, NAME, PASSWORD, Port, Server,
    process::{Daemon, Launch, User},
    template,
    tls::Identity,
};
use async_trait::async_trait;
use rustix::process::Signal;
use std::{
    io::Read as _,
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};
use tempfile::TempDir;

/// Who may do everything. Not root, of whom an installation makes several.
const ADMINISTRATOR: &str = "administrator";

/// A running MariaDB, or MySQL where that is what is installed, with a database that belongs to an ordinary user.
pub struct MySqlServer {
    daemon: Daemon,
    port: Port,
    tools: Tools,
    tls: Option<Identity>,
}

impl MySqlServer {
    /// One server, with nothing but the defaults.
    pub async fn start() -> Result<Self, Missing> {
        Self::with(&[]).await
    }

    /// A server with these options of its command line besides.
    pub async fn with(options: &[&str]) -> Result<Self, Missing> {
        let tools = Tools::find()?;
        let folder = tools.new_folder().await;
        Ok(Self::launch(tools, folder, None, options).await)
    }

    /// A server that refuses whoever does not speak TLS.
    pub async fn with_tls(options: &[&str]) -> Result<Self, Missing> {
        let tools = Tools::find()?;
        let folder = tools.new_folder().await;
        let identity = Identity::new(folder.path(), tools.user);
        Ok(Self::launch(tools, folder, Some(identity), options).await)
    }

    async fn launch(tools: Tools, folder: TempDir, tls: Option<Identity>, options: &[&str]) -> Self {
        let port = Port::free();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let mut launch =
            Launch { program: tools.server.clone(), args: Vec::new(), user: tools.user, stop: Signal::TERM, end: Signal::KILL };
        launch.push(tools.always(&folder.path().join("data")));
        launch.push([
            format!("--port={port}"),
            "--bind-address=127.0.0.1".to_owned(),
            format!("--socket={}", path("socket")),
            format!("--pid-file={}", path("pid")),
            // Peeking whether the server is ready must not count as a failed login that blocks the host.
            "--skip-name-resolve".to_owned(),
            "--performance-schema=OFF".to_owned(),
            "--innodb-buffer-pool-size=32M".to_owned(),
            // Survives the end of the process, though not that of the machine.
            "--innodb-flush-log-at-trx-commit=2".to_owned(),
            "--innodb-buffer-pool-dump-at-shutdown=OFF".to_owned(),
            "--skip-log-bin".to_owned(),
        ]);
        if tools.flavour == Flavour::MySql {
            launch.push(["--mysqlx=OFF"]);
        }
        if let Some(Identity { ca, certificate, key }) = &tls {
            launch.push([format!("--ssl-ca={}", ca.display()), format!("--ssl-cert={}", certificate.display())]);
            launch.push([format!("--ssl-key={}", key.display()), "--require-secure-transport=ON".to_owned()]);
        }
        launch.push(options);
        let server = Self { daemon: Daemon::start(launch, folder), port, tools, tls };
        server.ready().await;
        server
    }

    /// The certificate that clients of a server with TLS have to trust.
    pub fn ca_file(&self) -> &Path {
        &self.tls.as_ref().expect("the server was started with TLS").ca
    }

    /// Runs SQL as an administrator in the ordinary user's database; rows are lines and columns are separated by tabs.
    pub async fn sql(&self, sql: &str) -> String {
        let mut client = Command::new(&self.tools.client);
        client
            .args(["--no-defaults", "--protocol=tcp", "--host=127.0.0.1", "--batch", "--skip-column-names"])
            .args([
                format!("--port={}", self.port),
                format!("--user={ADMINISTRATOR}"),
                format!("--database={NAME}"),
                format!("--execute={sql}"),
            ])
            .env("MYSQL_PWD", PASSWORD);
        if let Some(identity) = &self.tls {
            client.arg(format!("--ssl-ca={}", identity.ca.display()));
        }
        let output = tokio::process::Command::from(client).output().await.expect("the client starts");
        assert!(output.status.success(), "{}: {sql}: {}", self.tools.client.display(), String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    /// Whether the ordinary user may not write, as on a replica.
    pub async fn set_read_only(&self, read_only: bool) {
        self.sql(&format!("SET GLOBAL read_only = {}", u8::from(read_only))).await;
    }

    /// A number among the server's counters. Asking counts as a question or two.
    pub async fn status(&self, variable: &str) -> u64 {
        let line = self.sql(&format!("SHOW GLOBAL STATUS LIKE '{variable}'")).await;
        let value = line.split('\t').nth(1).and_then(|value| value.parse().ok());
        value.unwrap_or_else(|| panic!("{variable} is no counter of this server: {line:?}"))
    }
}

#[async_trait]
impl Server for MySqlServer {
    fn daemon(&self) -> &Daemon {
        &self.daemon
    }

    /// The ordinary user's database.
    fn url(&self) -> String {
        format!("mysql://{NAME}:{PASSWORD}@{}/{NAME}", self.address())
    }

    fn address(&self) -> SocketAddr {
        self.port.address()
    }

    async fn ready(&self) {
        let address = self.address();
        let greets = || async {
            let greeting = move || {
                let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok()?;
                stream.set_read_timeout(Some(Duration::from_secs(1))).ok()?;
                let mut head = [0; 5];
                stream.read_exact(&mut head).ok()?;
                // After the packet's length and number comes the version of the protocol, or 255 and an error.
                (head[4] == 10).then_some(())
            };
            tokio::task::spawn_blocking(greeting).await.is_ok_and(|it| it.is_some())
        };
        self.daemon.until("it greets clients", greets).await;
    }

    /// How many bytes of redo log there have been; the difference of two says what something cost.
    async fn written_bytes(&self) -> u64 {
        self.status("Innodb_os_log_written").await
    }

    /// All that the engine has on disk, tables and log, after the database's tables were written out.
    async fn raw_bytes(&self) -> Vec<u8> {
        let tables = self.sql("SHOW TABLES").await;
        let tables: Vec<String> = tables.lines().map(|table| format!("`{table}`")).collect();
        if !tables.is_empty() {
            self.sql(&format!("FLUSH TABLES {} FOR EXPORT; UNLOCK TABLES", tables.join(", "))).await;
        }
        template::contents(&self.daemon.folder().join("data"))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Flavour {
    MariaDb,
    MySql,
}

/// The programs of one installation.
#[derive(Clone)]
struct Tools {
    flavour: Flavour,
    server: PathBuf,
    client: PathBuf,
    user: Option<User>,
}

impl Tools {
    fn find() -> Result<Self, Missing> {
        let missing = Missing { program: "mariadbd", package: "mariadb-server" };
        let server = super::find(&["mariadbd", "mysqld"]).ok_or(missing)?;
        let client = super::find(&["mariadb", "mysql"]).ok_or(missing)?;
        let version = template::run(Command::new(&server).args(["--no-defaults", "--version"]), "");
        let flavour = if version.contains("MariaDB") { Flavour::MariaDb } else { Flavour::MySql };
        Ok(Self { flavour, server, client, user: User::instead_of_root(&["mysql", "nobody"]) })
    }

    /// What every run of the server needs; `--no-defaults` counts only as the first.
    fn always(&self, data: &Path) -> Vec<String> {
        let mut args = vec!["--no-defaults".to_owned(), format!("--datadir={}", data.display())];
        if self.flavour == Flavour::MariaDb {
            args.push("--innodb-log-file-size=8M".to_owned());
        }
        args
    }

    /// A folder with an empty database for one server.
    async fn new_folder(&self) -> TempDir {
        // Before the first line an empty server has not read its users, and refuses to change them. Half of the files are those of sys.
        let users = format!(
            "FLUSH PRIVILEGES;\n\
             DROP DATABASE IF EXISTS sys;\n\
             CREATE DATABASE {NAME};\n\
             CREATE USER {NAME}@'%' IDENTIFIED BY '{PASSWORD}';\n\
             GRANT ALL ON {NAME}.* TO {NAME}@'%';\n\
             CREATE USER {ADMINISTRATOR}@'%' IDENTIFIED BY '{PASSWORD}';\n\
             GRANT ALL ON *.* TO {ADMINISTRATOR}@'%' WITH GRANT OPTION;\n"
        );
        let tools = self.clone();
        let version = template::run(Command::new(&self.server).args(["--no-defaults", "--version"]), "");
        let recipe = format!("{version} {} {users}", self.always(Path::new("data")).join(" "));
        let make = move |data: &Path| match tools.flavour {
            Flavour::MariaDb => {
                let install =
                    super::find(&["mariadb-install-db", "mysql_install_db"]).expect("mariadb-install-db is beside mariadbd");
                let mut install = User::command(tools.user, &install);
                install
                    .args(tools.always(data))
                    .args(["--auth-root-authentication-method=normal", "--skip-test-db"])
                    .current_dir("/");
                template::run(&mut install, "");
                let mut bootstrap = User::command(tools.user, &tools.server);
                bootstrap.args(tools.always(data)).arg("--bootstrap").current_dir("/");
                template::run(&mut bootstrap, &users);
            }
            Flavour::MySql => {
                let script = data.with_file_name("users.sql");
                std::fs::write(&script, users).expect("the folder is ours");
                let mut initialize = User::command(tools.user, &tools.server);
                initialize
                    .args(tools.always(data))
                    .arg("--initialize-insecure")
                    .arg(format!("--init-file={}", script.display()));
                template::run(initialize.current_dir("/"), "");
            }
        };
        template::copied("mysql", recipe, self.user, make).await
    }
}
