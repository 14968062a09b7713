//! The visit counter over whatever engine its argument names, on as many machines as you like.

use axum::{Router, routing::get};
use cloakroom::{
    SessionData, SessionLayer, TypedSession,
    store::{MySqlStore, PostgresStore, RedisStore, SessionStore, SqliteStore, StoreError},
};
use std::sync::Arc;

#[derive(SessionData)]
struct Visitor {
    #[session(merge = "add")]
    visits: u64, // what two machines count at once is added up
}

async fn home(mut session: TypedSession<Visitor>) -> String {
    *session.visits += 1;
    format!("visit no. {}", session.visits)
}

async fn store(url: &str) -> Result<Arc<dyn SessionStore>, StoreError> {
    Ok(match url.split_once("://").map_or("file", |(scheme, _)| scheme) {
        "redis" | "rediss" => Arc::new(RedisStore::connect(url).await?),
        "postgres" | "postgresql" => {
            let store = PostgresStore::connect(url).await?;
            store.migrate().await?; // makes the tables, once
            Arc::new(store)
        }
        "mysql" => {
            let store = MySqlStore::connect(url).await?;
            store.migrate().await?;
            Arc::new(store)
        }
        _ => Arc::new(SqliteStore::open(url).await?),
    })
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().unwrap_or_else(|| "sessions.db".to_owned());
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let sessions = SessionLayer::new(store(&url).await?);
    let app = Router::new().route("/", get(home)).layer(sessions);
    Ok(axum::serve(tokio::net::TcpListener::bind(address).await?, app).await?)
}
