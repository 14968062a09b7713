//! Processes that serve one site together: what each of them does, and how a test starts and talks to it.

use crate::engines::{Engine, PATIENT, Running};
use axum::Router;
use cloakroom::store::SessionStore;
use std::{
    error::Error,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, ChildStdout, Command, Stdio},
    sync::Arc,
};

/// The store that a process was told by its arguments: the engine, then its addresses.
///
/// # Errors
/// If they name none.
pub async fn store(mut arguments: impl Iterator<Item = String>) -> Result<Arc<dyn SessionStore>, Box<dyn Error>> {
    let engine: Engine = arguments.next().ok_or("which engine?")?.parse()?;
    Ok(engine.open(&arguments.collect::<Vec<_>>(), PATIENT).await)
}

/// Says where it listens and serves there until it is killed.
///
/// # Errors
/// If it cannot listen.
pub async fn serve(app: Router) -> Result<(), Box<dyn Error>> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}

/// A process of the site, killed when the test is done with it.
pub struct Process {
    child: Child,
    said: BufReader<ChildStdout>,
    address: String,
}

impl Process {
    /// Starts a program over the records of a running store; `arguments` come before those that [`store`] takes.
    pub fn start(program: &str, arguments: &[&str], running: &Running) -> Self {
        let mut child = Command::new(program)
            .args(arguments)
            .arg(format!("{:?}", running.engine))
            .args(&running.addresses)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the process starts");
        let said = BufReader::new(child.stdout.take().expect("its output is ours"));
        let mut process = Self { child, said, address: String::new() };
        process.address = process.line();
        process
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.said.read_line(&mut line).expect("a line of text");
        line.trim().to_owned()
    }

    fn send(&self, method: &str, path: &str, cookie: Option<&str>) -> TcpStream {
        let cookie = cookie.map(|cookie| format!("Cookie: {cookie}\r\n")).unwrap_or_default();
        let mut stream = TcpStream::connect(&self.address).expect("it listens");
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\n{cookie}Content-Length: 0\r\nConnection: close\r\n\r\n",
            self.address
        );
        stream.write_all(head.as_bytes()).expect("it takes a request");
        stream
    }

    /// Status, body, and the cookie that was set.
    pub fn ask(&self, method: &str, path: &str, cookie: Option<&str>) -> (u16, String, Option<String>) {
        let mut response = String::new();
        self.send(method, path, cookie).read_to_string(&mut response).expect("a response of text");
        let (head, body) = response.split_once("\r\n\r\n").expect("a response with a head");
        let set = head.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("set-cookie").then(|| value.split(';').next().unwrap_or(value).to_owned())
        });
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        (status, body.to_owned(), set)
    }

    /// What the site shows to the holder of a cookie.
    pub fn get(&self, cookie: &str) -> String {
        self.ask("GET", "/", Some(cookie)).1
    }

    /// The status of a POST.
    pub fn post(&self, path: &str, cookie: &str) -> u16 {
        self.ask("POST", path, Some(cookie)).0
    }

    /// Has a change stored and dies before it is answered.
    pub fn die_storing(mut self, path: &str, cookie: Option<&str>) {
        let unanswered = self.send("POST", path, cookie);
        assert_eq!(self.line(), "stored");
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it ends");
        drop(unanswered);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
