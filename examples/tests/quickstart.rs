//! The quickstart as a visitor meets it: the real program, a real socket, and `kill -9` in between.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

const ADDRESS: &str = "127.0.0.1:3000";

/// The program, killed when the test is done with it, however that comes.
struct Server(Child);

impl Server {
    fn start(folder: &Path) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_quickstart")).current_dir(folder).stdin(Stdio::null()).spawn().unwrap();
        let server = Self(child);
        let patience = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(ADDRESS).is_err() {
            assert!(Instant::now() < patience, "the quickstart does not listen on {ADDRESS}");
            thread::sleep(Duration::from_millis(20));
        }
        server
    }

    fn kill(mut self) {
        // SIGKILL on Unix.
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// One visit: answers the body and the cookie that was set, if one was.
fn visit(path: &str, cookie: Option<&str>) -> (String, Option<String>) {
    let cookie = cookie.map(|cookie| format!("Cookie: {cookie}\r\n")).unwrap_or_default();
    let mut stream = TcpStream::connect(ADDRESS).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {ADDRESS}\r\n{cookie}Connection: close\r\n\r\n").unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    let set = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("set-cookie").then(|| value.split(';').next().unwrap().to_owned())
    });
    (body.to_owned(), set)
}

fn stored_sessions(folder: &Path) -> i64 {
    let db = rusqlite::Connection::open(folder.join("sessions.db")).unwrap();
    db.query_row("SELECT count(*) FROM cloakroom_record", [], |row| row.get(0)).unwrap()
}

/// Says by name that a test could not run; `tests/run` counts what is in that file.
fn skip(test: &str, why: &str) {
    eprintln!("skipped: {test}: {why}");
    if let Ok(path) = std::env::var("CLOAKROOM_SKIPPED_TESTS") {
        writeln!(fs::OpenOptions::new().append(true).create(true).open(path).unwrap(), "{test}: {why}").unwrap();
    }
}

#[test]
fn three_visits_count_and_a_killed_server_remembers_them() {
    if TcpListener::bind(ADDRESS).is_err() {
        return skip("three_visits_count_and_a_killed_server_remembers_them", "another program has port 3000 of this machine");
    }
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());

    let (_, cookie) = visit("/no-such-page", None);
    assert_eq!(cookie, None);
    assert_eq!(stored_sessions(folder.path()), 0, "nothing is stored until a field is written");

    let (first, cookie) = visit("/", None);
    let cookie = cookie.unwrap();
    assert!(cookie.starts_with("__Host-id="), "{cookie}");
    assert_eq!(first, "visit no. 1");
    for expected in ["visit no. 2", "visit no. 3"] {
        let (body, set) = visit("/", Some(&cookie));
        assert_eq!(body, expected);
        assert_eq!(set, None, "the browser has this cookie already");
    }
    assert_eq!(stored_sessions(folder.path()), 1);
    server.kill();

    let server = Server::start(folder.path());
    assert_eq!(visit("/", Some(&cookie)).0, "visit no. 4");
    assert_eq!(visit("/", None).0, "visit no. 1", "a visitor without a cookie is somebody else");
    assert_eq!(stored_sessions(folder.path()), 2);
    server.kill();
}
