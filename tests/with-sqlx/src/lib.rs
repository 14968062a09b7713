//! Sessions in one SQLite file, the application's own tables by sqlx in another.

use cloakroom::{SessionLayer, store::SqliteStore};
use sqlx::sqlite::SqlitePool;

/// Opens both, as an application would.
///
/// # Errors
/// If either file cannot be opened.
pub async fn open() -> Result<(SessionLayer, SqlitePool), Box<dyn std::error::Error>> {
    let sessions = SessionLayer::new(SqliteStore::open("sessions.db").await?);
    Ok((sessions, SqlitePool::connect("sqlite://app.db").await?))
}
