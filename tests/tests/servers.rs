//! The servers that other tests start: they answer, keep what they acknowledged through a kill, and leave nothing behind.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use cloakroom_tests::{
    needs,
    servers::{MySqlServer, PostgresServer, Proxy, RedisCluster, RedisSentinel, RedisServer, Server as _, Way},
};
use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

fn is_open(address: SocketAddr) -> bool {
    TcpStream::connect(address).is_ok()
}

fn contains(haystack: &[u8], needle: &str) -> bool {
    haystack.windows(needle.len()).any(|it| it == needle.as_bytes())
}

#[tokio::test]
async fn redis_keeps_what_it_acknowledged_when_it_is_killed() {
    let redis = needs!(RedisServer::start().await);
    let before = redis.written_bytes().await;
    assert_eq!(redis.command(&["SET", "coat", "a grey one"]).await, "OK");
    redis.kill();
    assert!(!is_open(redis.address()));
    redis.start_again().await;
    assert_eq!(redis.command(&["GET", "coat"]).await, "a grey one");
    assert!(redis.written_bytes().await >= before + 10);
    assert_eq!(redis.calls().await["get"], 1);
    assert!(contains(&redis.raw_bytes().await, "a grey one"));
    redis.restart().await;
    assert_eq!(redis.command(&["GET", "coat"]).await, "a grey one");
    let address = redis.address();
    drop(redis);
    assert!(!is_open(address));
}

#[tokio::test]
async fn postgres_keeps_what_it_committed_when_it_is_killed() {
    let postgres = needs!(PostgresServer::start().await);
    postgres.sql("CREATE TABLE coat (colour text, size int)").await;
    let before = postgres.written_bytes().await;
    postgres.sql("INSERT INTO coat VALUES ('a grey one', 4)").await;
    assert!(postgres.written_bytes().await > before);
    postgres.kill();
    assert!(!is_open(postgres.address()));
    postgres.start_again().await;
    assert_eq!(postgres.sql("SELECT * FROM coat").await, "a grey one\t4");
    assert!(contains(&postgres.raw_bytes().await, "a grey one"));
    postgres.restart().await;
    assert_eq!(postgres.sql("SELECT count(*) FROM coat").await, "1");
    let address = postgres.address();
    drop(postgres);
    assert!(!is_open(address));
}

#[tokio::test]
async fn mysql_keeps_what_it_committed_when_it_is_killed() {
    let mysql = needs!(MySqlServer::start().await);
    mysql.sql("CREATE TABLE coat (colour text, size int)").await;
    let before = mysql.written_bytes().await;
    mysql.sql("INSERT INTO coat VALUES ('a grey one', 4)").await;
    assert!(mysql.written_bytes().await > before);
    mysql.kill();
    assert!(!is_open(mysql.address()));
    mysql.start_again().await;
    assert_eq!(mysql.sql("SELECT * FROM coat").await, "a grey one\t4");
    assert!(contains(&mysql.raw_bytes().await, "a grey one"));
    mysql.restart().await;
    assert_eq!(mysql.sql("SELECT count(*) FROM coat").await, "1");
    let address = mysql.address();
    drop(mysql);
    assert!(!is_open(address));
}

#[tokio::test]
async fn a_replica_of_redis_follows_until_it_is_promoted() {
    let primary = needs!(RedisServer::start().await);
    let replica = needs!(RedisServer::replica_of(&primary).await);
    primary.command(&["SET", "coat", "grey"]).await;
    replica.caught_up_with(&primary).await;
    assert_eq!(replica.command(&["GET", "coat"]).await, "grey");
    assert!(replica.command(&["SET", "coat", "red"]).await.starts_with("-READONLY"));
    replica.promote().await;
    assert_eq!(replica.command(&["SET", "coat", "red"]).await, "OK");
}

#[tokio::test]
async fn sentinel_says_where_the_primary_has_gone() {
    let primary = needs!(RedisServer::start().await);
    let replica = needs!(RedisServer::replica_of(&primary).await);
    let sentinel = needs!(RedisSentinel::start(&primary).await);
    assert_eq!(sentinel.primary().await, primary.address());
    primary.kill();
    sentinel.moved_from(&primary).await;
    assert_eq!(sentinel.primary().await, replica.address());
}

#[tokio::test]
async fn a_cluster_of_redis_takes_commands_for_every_slot() {
    let cluster = needs!(RedisCluster::start().await);
    assert_eq!(cluster.urls().len(), 3);
    for key in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        assert_eq!(cluster.owner_of(key).await.command(&["SET", key, "1"]).await, "OK");
    }
    let moved = cluster.nodes()[0].command(&["GET", "a"]).await;
    assert!(moved.starts_with("-MOVED"), "{moved}");
}

#[tokio::test]
async fn a_replica_in_a_cluster_takes_over() {
    let cluster = needs!(RedisCluster::with_replicas().await);
    let owner = cluster.owner_of("coat").await;
    owner.command(&["SET", "coat", "grey"]).await;
    cluster.replica_of(owner).caught_up_with(owner).await;
    cluster.fail_over(owner).await;
    let heir = cluster.owner_of("coat").await;
    assert_eq!(heir.address(), cluster.replica_of(owner).address());
    assert_eq!(heir.command(&["GET", "coat"]).await, "grey");
}

#[tokio::test]
async fn a_standby_of_postgres_reads_until_it_is_promoted() {
    let primary = needs!(PostgresServer::start().await);
    primary.sql("CREATE TABLE coat (colour text)").await;
    let standby = needs!(PostgresServer::standby_of(&primary).await);
    assert_eq!(standby.sql("SELECT count(*), pg_is_in_recovery() FROM coat").await, "0\tt");
    primary.kill();
    standby.promote().await;
    standby.sql("INSERT INTO coat VALUES ('grey')").await;
}

#[tokio::test]
async fn a_paused_server_is_silent_and_goes_on() {
    let redis = needs!(RedisServer::start().await);
    redis.pause();
    let mut stream = TcpStream::connect(redis.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    stream.write_all(b"PING\r\n").unwrap();
    let mut answer = [0; 7];
    stream.read_exact(&mut answer).unwrap_err();
    redis.resume();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"+PONG\r\n");
}

#[tokio::test]
async fn a_pause_stops_the_children_of_postgres_too() {
    let postgres = needs!(PostgresServer::start().await);
    let asking = postgres.sql("SELECT pg_sleep(0.5), 'awake'");
    let meanwhile = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let start = Instant::now();
        postgres.pause();
        tokio::time::sleep(Duration::from_secs(1)).await;
        postgres.resume();
        start
    };
    let answer = async { (asking.await, Instant::now()) };
    let ((answer, answered), paused) = tokio::join!(answer, meanwhile);
    assert_eq!(answer, "\tawake");
    assert!(answered - paused >= Duration::from_secs(1), "it answered while it was paused");
}

#[tokio::test]
async fn redis_speaks_tls_under_a_certificate_of_its_authority() {
    let redis = needs!(RedisServer::with_tls(&[]).await);
    let cli = |ca: &std::path::Path| {
        let mut cli = Command::new("redis-cli");
        cli.args(["-u", &redis.url(), "--cacert"]).arg(ca).arg("PING");
        String::from_utf8(cli.output().expect("redis-cli comes with redis-server").stdout).unwrap()
    };
    assert_eq!(cli(redis.ca_file()), "PONG\n");
    let stranger = needs!(RedisServer::with_tls(&[]).await);
    assert_eq!(cli(stranger.ca_file()), "");
}

#[tokio::test]
async fn postgres_speaks_only_tls_where_it_was_asked_to() {
    let postgres = needs!(PostgresServer::with_tls(&[]).await);
    assert_eq!(postgres.sql("SELECT DISTINCT type FROM pg_hba_file_rules").await, "hostssl");
    assert_eq!(postgres.sql("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").await, "t");
    assert!(std::fs::read_to_string(postgres.ca_file()).unwrap().starts_with("-----BEGIN CERTIFICATE"));
}

#[tokio::test]
async fn mysql_speaks_only_tls_where_it_was_asked_to() {
    let mysql = needs!(MySqlServer::with_tls(&[]).await);
    assert_eq!(mysql.sql("SELECT @@require_secure_transport").await, "1");
    assert!(mysql.sql("SHOW STATUS LIKE 'Ssl_version'").await.starts_with("Ssl_version\tTLSv1"));
    assert!(std::fs::read_to_string(mysql.ca_file()).unwrap().starts_with("-----BEGIN CERTIFICATE"));
}

/// Set where a test has started itself a second time, to see from outside how it ends.
const INNER: &str = "CLOAKROOM_INNER_TEST";

/// A test of this file as a process of its own.
fn inner(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env(INNER, "1");
    command
}

#[tokio::test]
async fn a_missing_server_skips_the_test_by_name() {
    if std::env::var_os(INNER).is_some() {
        let () = needs!(Err("there is no such server"));
        panic!("the test went on");
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    let status = inner("a_missing_server_skips_the_test_by_name")
        .env("CLOAKROOM_SKIPPED_TESTS", file.path())
        .env_remove("CLOAKROOM_REQUIRE_SERVERS")
        .status()
        .unwrap();
    assert!(status.success());
    let expected = "servers::a_missing_server_skips_the_test_by_name: there is no such server\n";
    assert_eq!(std::fs::read_to_string(file.path()).unwrap(), expected);
}

#[tokio::test]
async fn a_missing_server_is_a_failure_where_servers_are_required() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let output = inner("a_missing_server_skips_the_test_by_name")
        .env("CLOAKROOM_SKIPPED_TESTS", file.path())
        .env("CLOAKROOM_REQUIRE_SERVERS", "1")
        .output()
        .unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("there is no such server; unset CLOAKROOM_REQUIRE_SERVERS"), "{said}");
    assert_eq!(std::fs::read_to_string(file.path()).unwrap(), "", "failed, and not skipped too");
}

#[tokio::test]
async fn the_servers_of_a_test_that_is_killed_go_with_it() {
    let redis = needs!(RedisServer::start().await);
    let postgres = needs!(PostgresServer::start().await);
    let mysql = needs!(MySqlServer::start().await);
    if std::env::var_os(INNER).is_some() {
        postgres.pause();
        println!("victim {} {} {}", redis.address(), postgres.address(), mysql.address());
        std::future::pending::<()>().await;
    }
    drop((redis, postgres, mysql));
    let mut victim = inner("the_servers_of_a_test_that_is_killed_go_with_it").stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(victim.stdout.take().unwrap()).lines();
    let line = lines.map_while(Result::ok).find_map(|line| line.split_once("victim ").map(|(_, it)| it.to_owned())).unwrap();
    let addresses: Vec<SocketAddr> = line.split(' ').map(|it| it.parse().unwrap()).collect();
    assert!(addresses.iter().all(|it| is_open(*it)));
    victim.kill().unwrap();
    victim.wait().unwrap();
    let start = Instant::now();
    while addresses.iter().any(|it| is_open(*it)) {
        assert!(start.elapsed() < Duration::from_secs(10), "a server of {addresses:?} is left");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// One PING on a connection that there is.
fn ping(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.write_all(b"PING\r\n")?;
    stream.read_exact(&mut [0; 7])
}

/// Runs what blocks beside the proxy's tasks.
async fn aside<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(run).await.unwrap()
}

async fn connect(proxy: &Proxy) -> std::io::Result<TcpStream> {
    let address = proxy.address();
    aside(move || {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_millis(300)))?;
        Ok(stream)
    })
    .await
}

#[tokio::test]
async fn a_proxy_counts_bytes_and_round_trips() {
    let redis = needs!(RedisServer::start().await);
    let proxy = Proxy::before(redis.address()).await;
    assert_eq!(proxy.url_like(&redis.url()), format!("redis://{}", proxy.address()));
    let mut stream = connect(&proxy).await.unwrap();
    let start = proxy.counts();
    let mut stream = aside(move || {
        ping(&mut stream).unwrap();
        ping(&mut stream).unwrap();
        stream
    })
    .await;
    let cost = proxy.counts() - start;
    assert_eq!((cost.sent, cost.received, cost.round_trips), (12, 14, 2));
    aside(move || {
        stream.set_nodelay(true).unwrap();
        stream.write_all(b"PI").unwrap();
        std::thread::sleep(Duration::from_millis(50));
        stream.write_all(b"NG\r\nPING\r\n").unwrap();
        stream.read_exact(&mut [0; 14]).unwrap();
    })
    .await;
    let cost = proxy.counts() - start;
    let expected = (24, 28, 3);
    assert_eq!((cost.sent, cost.received, cost.round_trips), expected, "a pipeline in pieces is one round trip");
    assert_eq!(proxy.counts().connections, 1);
}

#[tokio::test]
async fn a_proxy_cuts_refuses_and_stalls() {
    let redis = needs!(RedisServer::start().await);
    let proxy = Proxy::before(redis.address()).await;
    let mut stream = connect(&proxy).await.unwrap();
    stream = aside(move || ping(&mut stream).map(|()| stream)).await.unwrap();
    proxy.refuse().await;
    connect(&proxy).await.unwrap_err();
    stream = aside(move || ping(&mut stream).map(|()| stream)).await.unwrap();
    proxy.cut();
    aside(move || ping(&mut stream)).await.unwrap_err();
    proxy.allow().await;
    proxy.stall();
    let mut stream = connect(&proxy).await.unwrap();
    let (mut stream, silence) = aside(move || (stream.try_clone().unwrap(), ping(&mut stream))).await;
    assert_eq!(silence.unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    proxy.flow();
    aside(move || stream.read_exact(&mut [0; 7])).await.unwrap();
}

#[tokio::test]
async fn a_lost_reply_was_acted_on_and_a_lost_request_was_not() {
    let redis = needs!(RedisServer::start().await);
    let proxy = Proxy::before(redis.address()).await;
    let incr = async |key: &'static str| {
        let mut stream = connect(&proxy).await.unwrap();
        aside(move || {
            stream.write_all(format!("INCR {key}\r\n").as_bytes())?;
            stream.read_exact(&mut [0; 4])
        })
        .await
    };
    proxy.drop_reply_of_next_request();
    incr("applied").await.unwrap_err();
    assert!(proxy.has_struck());
    proxy.drop_next_request_with("unapplied");
    incr("other").await.unwrap();
    assert!(!proxy.has_struck());
    incr("unapplied").await.unwrap_err();
    assert!(proxy.has_struck());
    incr("applied").await.unwrap();
    assert_eq!(redis.command(&["MGET", "applied", "unapplied", "other"]).await, "2\n\n1");
}

#[tokio::test]
async fn a_proxy_cuts_behind_an_exact_byte_of_either_way() {
    let redis = needs!(RedisServer::start().await);
    let proxy = Proxy::before(redis.address()).await;
    let received = async || {
        let mut stream = connect(&proxy).await.unwrap();
        aside(move || {
            stream.write_all(b"INCR n\r\nGET n\r\n").unwrap();
            let mut answers = Vec::new();
            let _ = stream.read_to_end(&mut answers);
            answers
        })
        .await
    };
    // The first answer is of four bytes.
    proxy.cut_after(Way::ToClient, 4);
    assert_eq!(received().await, b":1\r\n");
    proxy.cut_after(Way::ToClient, 6);
    assert_eq!(received().await, b":2\r\n$1");
    proxy.cut_after(Way::ToServer, 7);
    assert_eq!(received().await, b"", "the command is not whole");
    proxy.cut_after(Way::ToServer, 8);
    received().await;
    let began = Instant::now();
    while redis.command(&["GET", "n"]).await != "3" {
        assert!(began.elapsed() < Duration::from_secs(5), "the command was whole");
    }
    proxy.cut_after(Way::ToServer, 100);
    assert!(proxy.cut_no_more() && !proxy.cut_no_more());
}

#[tokio::test]
async fn a_proxy_forgets_the_connections_there_are_and_no_others() {
    let redis = needs!(RedisServer::start().await);
    let proxy = Proxy::before(redis.address()).await;
    let mut old = connect(&proxy).await.unwrap();
    old = aside(move || ping(&mut old).map(|()| old)).await.unwrap();
    proxy.forget();
    let silence = aside(move || ping(&mut old)).await;
    assert_eq!(silence.unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    let mut new = connect(&proxy).await.unwrap();
    aside(move || ping(&mut new)).await.unwrap();
}
