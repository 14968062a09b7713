//! A visit counter whose sessions live in a SQLite file.

use axum::{Router, routing::get};
use cloakroom::{SessionData, SessionLayer, TypedSession, store::SqliteStore};

#[derive(SessionData)]
struct Visitor {
    visits: u64,
    name: Option<String>,
}

async fn home(mut session: TypedSession<Visitor>) -> String {
    *session.visits += 1;
    format!("visit no. {}", session.visits)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let sessions = SessionLayer::new(SqliteStore::open("sessions.db").await?);
    let app = Router::new().route("/", get(home)).layer(sessions);
    Ok(axum::serve(tokio::net::TcpListener::bind("127.0.0.1:3000").await?, app).await?)
}
