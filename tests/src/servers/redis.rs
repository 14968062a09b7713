//! Redis or Valkey servers of a test's own: one, one that follows another, Sentinel, and a cluster.

use super::{
    Missing, PATIENCE, Port, Server,
    process::{Daemon, Launch},
    template,
    tls::Identity,
};
use async_trait::async_trait;
use rustix::process::Signal;
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    io::{self, BufRead, BufReader, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

/// A running Redis, which keeps what it acknowledged when it is killed.
pub struct RedisServer {
    daemon: Daemon,
    port: Port,
    tls: Option<(Port, Identity)>,
    /// Where the nodes of a cluster talk to each other.
    bus: Option<Port>,
}

impl RedisServer {
    /// One server, with nothing but the defaults.
    pub async fn start() -> Result<Self, Missing> {
        Self::with(&[]).await
    }

    /// A server with these options of its command line besides.
    pub async fn with(options: &[&str]) -> Result<Self, Missing> {
        let server = Self::launch(Kind::Plain, options)?;
        server.ready().await;
        Ok(server)
    }

    /// A server whose URL wants TLS. Its plain port serves only this module.
    pub async fn with_tls(options: &[&str]) -> Result<Self, Missing> {
        let server = Self::launch(Kind::Tls, options)?;
        server.ready().await;
        Ok(server)
    }

    /// A server that follows another one, and has caught up.
    pub async fn replica_of(primary: &Self) -> Result<Self, Missing> {
        let server = Self::with(&["--replicaof", "127.0.0.1", &primary.port.to_string()]).await?;
        server.daemon.until("it follows its primary", || async { server.info("master_link_status").await == "up" }).await;
        Ok(server)
    }

    fn launch(kind: Kind, options: &[&str]) -> Result<Self, Missing> {
        let missing = Missing { program: "redis-server", package: "redis-server" };
        let program = super::find(&["redis-server", "valkey-server"]).ok_or(missing)?;
        let folder = template::folder(None);
        let port = Port::free();
        let mut launch = Launch { program, args: Vec::new(), user: None, stop: Signal::TERM, end: Signal::KILL };
        if kind == Kind::Sentinel {
            let file = folder.path().join("sentinel.conf");
            fs::write(&file, options.join("\n")).expect("the folder is ours");
            launch.push([file.into_os_string(), "--sentinel".into()]);
        }
        launch.push(["--port", &port.to_string(), "--bind", "127.0.0.1"]);
        launch.push(["--dir".into(), folder.path().as_os_str().to_owned()]);
        if kind != Kind::Sentinel {
            // A write reaches the log before its reply leaves. The kernel's memory survives the end of the process.
            launch.push(["--appendonly", "yes", "--appendfsync", "no", "--save", "", "--auto-aof-rewrite-percentage", "0"]);
            // What a test looks for in the file must be there as it is.
            launch.push(["--rdbcompression", "no", "--repl-diskless-sync-delay", "0"]);
        }
        let tls = (kind == Kind::Tls).then(|| (Port::free(), Identity::new(folder.path(), None)));
        if let Some((port, Identity { ca, certificate, key })) = &tls {
            launch.push(["--tls-port", &port.to_string(), "--tls-auth-clients", "no"]);
            for (option, file) in [("--tls-ca-cert-file", ca), ("--tls-cert-file", certificate), ("--tls-key-file", key)] {
                launch.push([option.into(), file.as_os_str().to_owned()]);
            }
        }
        let bus = (kind == Kind::Node).then(Port::free);
        if let Some(bus) = &bus {
            launch.push(["--cluster-enabled", "yes", "--cluster-port", &bus.to_string(), "--cluster-node-timeout", "1500"]);
            // A replica takes over however long it has not heard of its primary.
            launch.push(["--cluster-replica-validity-factor", "0"]);
        }
        if kind != Kind::Sentinel {
            launch.push(options);
        }
        Ok(Self { daemon: Daemon::start(launch, folder), port, tls, bus })
    }

    /// The certificate that clients of a server with TLS have to trust.
    pub fn ca_file(&self) -> &Path {
        &self.tls.as_ref().expect("the server was started with TLS").1.ca
    }

    /// Runs a command on a connection of its own. Arrays are one line per element, an absent value is empty, and an error begins with
    /// a minus.
    pub async fn command(&self, command: &[&str]) -> String {
        self.call(command).await.unwrap_or_else(|error| panic!("{command:?}: {error}"))
    }

    async fn call(&self, command: &[&str]) -> io::Result<String> {
        let address = self.port.address();
        let command: Vec<String> = command.iter().map(|it| (*it).to_owned()).collect();
        tokio::task::spawn_blocking(move || call(address, &command)).await.map_err(io::Error::other)?
    }

    /// Runs many commands, each a line of words, on one connection without waiting for each answer. The answers are as those of
    /// [`command`](Self::command).
    pub async fn commands(&self, commands: &Arc<[String]>) -> Vec<String> {
        let (address, commands) = (self.port.address(), Arc::clone(commands));
        let send = move || calls(address, commands.iter().map(|line| line.split(' ')));
        tokio::task::spawn_blocking(send).await.expect("nothing panics").unwrap_or_else(|error| panic!("{error}"))
    }

    /// One line of `INFO everything`, such as `used_memory` or `total_net_input_bytes`; empty where there is none of that name.
    pub async fn info(&self, name: &str) -> String {
        let info = self.command(&["INFO", "everything"]).await;
        let value = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        value.unwrap_or_default().trim_end().to_owned()
    }

    /// One number of `INFO everything`.
    pub async fn counter(&self, name: &str) -> u64 {
        let value = self.info(name).await;
        value.parse().unwrap_or_else(|_| panic!("{name} is no number of this server: {value:?}"))
    }

    /// How often each command has run, by its name in lower case; those that scripts call count too.
    pub async fn calls(&self) -> BTreeMap<String, u64> {
        let stats = self.command(&["INFO", "commandstats"]).await;
        let call = |line: &str| {
            let (name, numbers) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
            Some((name.to_owned(), numbers.split(',').next()?.parse().ok()?))
        };
        stats.lines().filter_map(call).collect()
    }

    /// Waits until this replica has all that its primary has written by now. `WAIT` would know only of writes of its own connection.
    pub async fn caught_up_with(&self, primary: &Self) {
        let written = primary.counter("master_repl_offset").await;
        self.daemon.until("it has caught up", || async { self.counter("slave_repl_offset").await >= written }).await;
    }

    /// Makes a replica a server that takes writes.
    pub async fn promote(&self) {
        assert_eq!(self.command(&["REPLICAOF", "NO", "ONE"]).await, "OK");
    }
}

#[async_trait]
impl Server for RedisServer {
    fn daemon(&self) -> &Daemon {
        &self.daemon
    }

    /// `redis://127.0.0.1:port`, or `rediss://` with TLS.
    fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "rediss" } else { "redis" };
        format!("{scheme}://{}", self.address())
    }

    /// Where clients connect.
    fn address(&self) -> SocketAddr {
        self.tls.as_ref().map_or(&self.port, |(port, _)| port).address()
    }

    async fn ready(&self) {
        let answers = || async {
            let answer = self.call(&["PING"]).await;
            answer.is_ok_and(|answer| answer == "PONG" || answer.starts_with("-NOAUTH"))
        };
        self.daemon.until("it answers", answers).await;
    }

    /// How many bytes of log there have been; the difference of two says what something cost.
    async fn written_bytes(&self) -> u64 {
        self.counter("aof_current_size").await
    }

    /// All that the engine has on disk, snapshot and log, after a snapshot was taken.
    async fn raw_bytes(&self) -> Vec<u8> {
        assert_eq!(self.command(&["SAVE"]).await, "OK");
        template::contents(self.daemon.folder())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    Tls,
    Node,
    Sentinel,
}

/// A running Sentinel, which alone decides that a primary is down.
pub struct RedisSentinel(RedisServer);

impl RedisSentinel {
    /// The name under which it knows the primary.
    pub const SERVICE: &str = "cloakroom";

    /// A Sentinel that watches a primary and knows its replicas.
    pub async fn start(primary: &RedisServer) -> Result<Self, Missing> {
        let service = Self::SERVICE;
        let options = [
            format!("sentinel monitor {service} 127.0.0.1 {} 1", primary.port),
            format!("sentinel down-after-milliseconds {service} 500"),
            format!("sentinel failover-timeout {service} 5000"),
        ];
        let server = RedisServer::launch(Kind::Sentinel, &options.each_ref().map(String::as_str))?;
        server.ready().await;
        let sentinel = Self(server);
        let replicas = primary.counter("connected_slaves").await;
        let known = format!("slaves={replicas},");
        let is_known = || async { sentinel.0.info("master0").await.contains(&known) };
        sentinel.0.daemon.until("it knows the replicas", is_known).await;
        Ok(sentinel)
    }

    /// Its own URL, not the primary's.
    pub fn url(&self) -> String {
        self.0.url()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.0.address()
    }

    /// Where it says the primary is.
    pub async fn primary(&self) -> SocketAddr {
        let answer = self.0.command(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", Self::SERVICE]).await;
        answer.replace('\n', ":").parse().unwrap_or_else(|_| panic!("no address of a primary: {answer:?}"))
    }

    /// Waits until it sends clients to another server than that.
    pub async fn moved_from(&self, primary: &RedisServer) {
        self.0.daemon.until("another primary", || async { self.primary().await != primary.address() }).await;
    }

    /// Its answer to a command, as text.
    pub async fn command(&self, command: &[&str]) -> String {
        self.0.command(command).await
    }
}

/// A running cluster: three primaries, which share all slots, and perhaps a replica of each.
pub struct RedisCluster {
    nodes: Vec<RedisServer>,
}

impl RedisCluster {
    const PRIMARIES: usize = 3;
    const SLOTS: usize = 16_384;

    /// Three primaries that share the slots.
    pub async fn start() -> Result<Self, Missing> {
        Self::of(Self::PRIMARIES).await
    }

    /// Three primaries with a replica each, which takes over within a few seconds.
    pub async fn with_replicas() -> Result<Self, Missing> {
        Self::of(2 * Self::PRIMARIES).await
    }

    async fn of(count: usize) -> Result<Self, Missing> {
        let nodes = (0..count).map(|_| RedisServer::launch(Kind::Node, &[])).collect::<Result<Vec<_>, _>>()?;
        let cluster = Self { nodes };
        let first = &cluster.nodes[0];
        for (i, node) in cluster.nodes.iter().enumerate() {
            node.ready().await;
            // Different from the start, so that nobody has to give way to somebody else.
            assert_eq!(node.command(&["CLUSTER", "SET-CONFIG-EPOCH", &(i + 1).to_string()]).await, "OK");
            if i < Self::PRIMARIES {
                let slots = [i, i + 1].map(|i| i * Self::SLOTS / Self::PRIMARIES);
                let (from, to) = (slots[0].to_string(), (slots[1] - 1).to_string());
                assert_eq!(node.command(&["CLUSTER", "ADDSLOTSRANGE", &from, &to]).await, "OK");
            }
            if i > 0 {
                let [port, bus] = [Some(&first.port), first.bus.as_ref()].map(|it| it.map(Port::to_string).unwrap_or_default());
                assert_eq!(node.command(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus]).await, "OK");
            }
        }
        for (i, replica) in cluster.nodes.iter().enumerate().skip(Self::PRIMARIES) {
            let primary = cluster.nodes[i - Self::PRIMARIES].command(&["CLUSTER", "MYID"]).await;
            let follows = || async { replica.command(&["CLUSTER", "REPLICATE", &primary]).await == "OK" };
            replica.daemon.until("it knows its primary", follows).await;
        }
        cluster.agreed(&cluster.nodes.iter().collect::<Vec<_>>()).await;
        for replica in &cluster.nodes[Self::PRIMARIES..] {
            replica.daemon.until("it follows its primary", || async { replica.info("master_link_status").await == "up" }).await;
        }
        Ok(cluster)
    }

    /// Waits until these nodes take commands for all slots and tell clients the same about them.
    async fn agreed(&self, nodes: &[&RedisServer]) {
        let views = || async {
            let mut first = None;
            for node in nodes {
                if !node.command(&["CLUSTER", "INFO"]).await.starts_with("cluster_state:ok") {
                    return false;
                }
                let view = roles(&node.command(&["CLUSTER", "NODES"]).await);
                if view.len() != self.nodes.len() || *first.get_or_insert_with(|| view.clone()) != view {
                    return false;
                }
            }
            true
        };
        nodes[0].daemon.until("the cluster agrees", views).await;
    }

    /// All nodes, the primaries first.
    pub fn nodes(&self) -> &[RedisServer] {
        &self.nodes
    }

    /// The URLs of all nodes, the primaries' first.
    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(RedisServer::url).collect()
    }

    /// The node that serves a key.
    pub async fn owner_of(&self, key: &str) -> &RedisServer {
        let node = self.nodes.iter().find(|node| node.daemon.id().is_some()).expect("a node runs");
        let answer = node.command(&["GET", key]).await;
        match answer.strip_prefix("-MOVED ").and_then(|moved| moved.split(' ').nth(1)) {
            Some(address) => self.nodes.iter().find(|node| node.address().to_string() == address).expect("a node of ours"),
            None => node,
        }
    }

    /// The node that was made the replica of one of the first three.
    pub fn replica_of(&self, primary: &RedisServer) -> &RedisServer {
        let primary = self.nodes.iter().position(|node| node.address() == primary.address()).expect("a node of ours");
        self.nodes.get(primary + Self::PRIMARIES).expect("the cluster was started with replicas")
    }

    /// SIGKILL to a primary, and no return before its replica has taken over and everybody knows.
    pub async fn fail_over(&self, primary: &RedisServer) {
        let id = primary.command(&["CLUSTER", "MYID"]).await;
        primary.kill();
        let living: Vec<&RedisServer> = self.nodes.iter().filter(|node| node.daemon.id().is_some()).collect();
        let start = Instant::now();
        loop {
            let nodes = living[0].command(&["CLUSTER", "NODES"]).await;
            // A primary that lost its slots has no more fields after the state of its link.
            if nodes.lines().any(|line| line.starts_with(&id) && line.contains("fail") && line.split(' ').count() == 8) {
                break;
            }
            assert!(start.elapsed() < PATIENCE, "nobody took over from {id}:\n{nodes}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.agreed(&living).await;
    }
}

/// Of every node in the answer to `CLUSTER NODES`: its id, its role, whom it follows, its slots.
fn roles(nodes: &str) -> Vec<String> {
    let role = |line: &str| {
        let fields: Vec<&str> = line.split(' ').collect();
        let role = fields[2].trim_start_matches("myself,");
        format!("{} {role} {} {}", fields[0], fields[3], fields[8..].join(" "))
    };
    let mut roles: Vec<String> = nodes.lines().filter(|line| line.split(' ').count() >= 8).map(role).collect();
    roles.sort();
    roles
}

/// One command and its answer, by hand: the servers are tested with clients, not with themselves.
fn call(address: SocketAddr, command: &[String]) -> io::Result<String> {
    Ok(calls(address, [command.iter().map(String::as_str)])?.concat())
}

fn calls<'a>(
    address: SocketAddr,
    commands: impl IntoIterator<Item = impl Iterator<Item = &'a str> + Clone>,
) -> io::Result<Vec<String>> {
    let patience = Duration::from_secs(5);
    let mut stream = TcpStream::connect_timeout(&address, patience)?;
    stream.set_read_timeout(Some(patience))?;
    let (mut request, mut count) = (String::new(), 0);
    for command in commands {
        let _ = write!(request, "*{}\r\n", command.clone().count());
        for word in command {
            let _ = write!(request, "${}\r\n{word}\r\n", word.len());
        }
        count += 1;
    }
    // The server keeps the answers until they are read.
    stream.write_all(request.as_bytes())?;
    let mut answers = BufReader::new(stream);
    (0..count).map(|_| answer(&mut answers)).collect()
}

fn answer(from: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    from.read_line(&mut line)?;
    let line = line.trim_end();
    let length =
        || line.get(1..).and_then(|it| it.parse::<i64>().ok()).ok_or_else(|| io::Error::other(format!("no answer: {line:?}")));
    match line.bytes().next() {
        Some(b'+' | b':') => Ok(line[1..].to_owned()),
        Some(b'-') => Ok(line.to_owned()),
        Some(b'$') => {
            let Ok(length) = usize::try_from(length()?) else { return Ok(String::new()) };
            let mut value = vec![0; length + 2];
            from.read_exact(&mut value)?;
            value.truncate(length);
            Ok(String::from_utf8_lossy(&value).into_owned())
        }
        Some(b'*') => (0..length()?).map(|_| answer(from)).collect::<io::Result<Vec<_>>>().map(|them| them.join("\n")),
        _ => Err(io::Error::other(format!("no answer: {line:?}"))),
    }
}
