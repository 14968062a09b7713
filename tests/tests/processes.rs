//! Several processes with connections of their own serve one session, and one that dies at the worst moment.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use cloakroom::{
    Clock, SystemClock,
    record::{Record, Timestamp},
};
use cloakroom_tests::{
    engines::Running,
    on_engines,
    site::{record, selector},
};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, ChildStdout, Command, Stdio},
};

on_engines! {
    [on_sqlite: Sqlite, on_redis: Redis, on_a_redis_cluster: RedisCluster, on_postgres: Postgres, on_mysql: MySql]
    {
        two_processes_serve_one_session_alternately_and_see_each_others_writes_at_once
        f4_a_process_that_dies_between_store_and_response_leaves_whole_records_only
    }
}

/// A process of the site, killed when the test is done with it.
struct Node {
    child: Child,
    said: BufReader<ChildStdout>,
    address: String,
}

impl Node {
    fn start(manner: &str, running: &Running) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_node"))
            .args([manner, &format!("{:?}", running.engine)])
            .args(&running.addresses)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the node starts");
        let said = BufReader::new(child.stdout.take().unwrap());
        let mut node = Self { child, said, address: String::new() };
        node.address = node.line();
        node
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    fn send(&self, method: &str, path: &str, cookie: Option<&str>) -> TcpStream {
        let cookie = cookie.map(|cookie| format!("Cookie: {cookie}\r\n")).unwrap_or_default();
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\n{cookie}Content-Length: 0\r\nConnection: close\r\n\r\n",
            self.address
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream
    }

    /// Status, body, and the cookie that was set.
    fn ask(&self, method: &str, path: &str, cookie: Option<&str>) -> (u16, String, Option<String>) {
        let mut response = String::new();
        self.send(method, path, cookie).read_to_string(&mut response).unwrap();
        let (head, body) = response.split_once("\r\n\r\n").expect("a response with a head");
        let set = head.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("set-cookie").then(|| value.split(';').next().unwrap().to_owned())
        });
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned(), set)
    }

    fn get(&self, cookie: &str) -> String {
        self.ask("GET", "/", Some(cookie)).1
    }

    fn post(&self, path: &str, cookie: &str) -> u16 {
        self.ask("POST", path, Some(cookie)).0
    }

    /// Has a change stored and dies before it is answered.
    fn die_storing(mut self, path: &str, cookie: Option<&str>) {
        let unanswered = self.send("POST", path, cookie);
        assert_eq!(self.line(), "stored");
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        drop(unanswered);
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn two_processes_serve_one_session_alternately_and_see_each_others_writes_at_once(running: Running) {
    let (one, other) = (Node::start("keep", &running), Node::start("keep", &running));
    let cookie = one.ask("POST", "/view", None).2.expect("a new session");
    for round in 1..=20u64 {
        let (writes, reads) = if round % 2 == 0 { (&one, &other) } else { (&other, &one) };
        assert_eq!(writes.post("/view", &cookie), 200);
        assert_eq!(writes.post(&format!("/name/n{round}"), &cookie), 200);
        assert_eq!(reads.get(&cookie), format!("{} n{round}", round + 1), "round {round}");
    }
    let (_, _, renewed) = one.ask("POST", "/rotate", Some(&cookie));
    let renewed = renewed.expect("a rotation brings a token");
    assert_eq!(other.get(&renewed), "21 n20");
    assert_eq!(other.get(&cookie), "0 ", "the old token is dead on every machine at once");
    assert_eq!(other.post("/out", &renewed), 200);
    assert_eq!(one.get(&renewed), "0 ", "and so is a session that another machine ended");
}

async fn stored(running: &Running, cookie: &str) -> Option<Record> {
    let token = cookie.split_once('=').unwrap().1;
    let store = running.another().await;
    record(&store, &selector(token), Timestamp::from(SystemClock.now())).await
}

async fn f4_a_process_that_dies_between_store_and_response_leaves_whole_records_only(running: Running) {
    let healthy = Node::start("keep", &running);
    let cookie = healthy.ask("POST", "/view", None).2.expect("a new session");

    Node::start("hold", &running).die_storing("/name/durable", Some(&cookie));
    assert_eq!(healthy.get(&cookie), "1 durable", "the change is there");
    assert_eq!(healthy.post("/name/durable", &cookie), 200, "and making it again is harmless");
    Node::start("hold", &running).die_storing("/view", Some(&cookie));
    assert_eq!(healthy.post("/view", &cookie), 200);
    assert_eq!(healthy.get(&cookie), "3 durable", "an increment made again counts again");

    // A new session whose token nobody got: it is whole, and nobody can open it.
    Node::start("hold", &running).die_storing("/view", None);
    assert_eq!(healthy.get(&cookie), "3 durable");

    // A privilege rotation fails closed: the client has the dead token, and signs in again.
    Node::start("hold", &running).die_storing("/rotate", Some(&cookie));
    let record = stored(&running, &cookie).await.expect("the record lives");
    assert_eq!(record.header.epoch, 1);
    assert_eq!(
        healthy.ask("GET", "/", Some(&cookie)),
        (200, "0 ".to_owned(), None),
        "stale: defaults, and the cookie is left alone"
    );

    let cookie = healthy.ask("POST", "/view", None).2.expect("a new session");
    Node::start("hold", &running).die_storing("/out", Some(&cookie));
    assert!(stored(&running, &cookie).await.is_none(), "a destroyed session stays destroyed");
}
