//! The process that the test of SQLite's durability kills: it writes pairs of fields as fast as it can and says what is stored.
//!
//! Arguments: the database, then a token per session to go on with (empty: a new session).

use axum::{Router, routing::post};
use cloakroom::{SessionData, SessionLayer, TypedSession, store::SqliteStore, testing::TestClient};
use cloakroom_tests::shop::COOKIE;
use std::io::Write;

#[derive(SessionData)]
struct Pairs {
    left: u64,
    right: u64,
}

async fn write(mut pairs: TypedSession<Pairs>) -> String {
    *pairs.left += 1;
    *pairs.right += 1;
    pairs.left.to_string()
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let store = SqliteStore::open(arguments.next().ok_or("which database?")?).await?;
    let app = Router::new().route("/", post(write)).layer(SessionLayer::new(store));
    let sessions = arguments.enumerate().map(|(at, token)| {
        let browser = TestClient::new(app.clone());
        tokio::spawn(async move {
            if !token.is_empty() {
                browser.set_cookie(COOKIE, &token);
            }
            loop {
                let response = browser.post("/").await;
                if response.status() != 200 {
                    eprintln!("{}: {}", response.status(), response.text());
                    return;
                }
                let mut line = String::new();
                if let Some(token) = browser.cookie(COOKIE).filter(|now| *now != token && !response.set_cookies().is_empty()) {
                    line = format!("token {at} {token}\n");
                }
                line += &format!("stored {at} {}\n", response.text());
                // One write, so that a kill cuts between lines or inside the last one.
                let mut out = std::io::stdout().lock();
                if out.write_all(line.as_bytes()).and_then(|()| out.flush()).is_err() {
                    return;
                }
            }
        })
    });
    for session in sessions.collect::<Vec<_>>() {
        session.await?;
    }
    Ok(())
}
