//! The tables: the SQL that is shipped, and making them once whoever asks how often.

use super::{failure::Failure, names::Names};
use crate::store::StoreError;
use tokio_postgres::{Client, SimpleQueryMessage};

/// The tables' version, which they hold in a table of their own.
const VERSION: i64 = 1;

/// What makes them, in the words of the default names.
pub(super) const SQL: &str = include_str!("../../../sql/postgres.sql");

/// Makes what is not there. Several may do so at once: all but the first find everything made.
pub(super) async fn migrate(client: &Client, names: &Names) -> Result<(), StoreError> {
    match version(client, names).await? {
        None => {}
        found => return check(found, names),
    }
    // One message without BEGIN is one transaction, which leaves nothing behind it where a part of it fails.
    let schema = names.schema().map(make_schema).unwrap_or_default();
    let script = format!("SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0; {schema}{}", names.sql(SQL));
    match client.batch_execute(&script).await.map_err(Failure::from) {
        Ok(()) => Ok(()),
        Err(failure) if failure.is_duplicate() => match version(client, names).await? {
            // Not another migration's doing.
            None => Err(failure.into()),
            found => check(found, names),
        },
        Err(failure) => Err(failure.into()),
    }
}

/// `CREATE SCHEMA IF NOT EXISTS` asks for the right to create one even where it exists.
fn make_schema(schema: &str) -> String {
    format!(
        "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = '{schema}') THEN CREATE SCHEMA \"{schema}\"; \
         END IF; END $$; "
    )
}

async fn version(client: &Client, names: &Names) -> Result<Option<i64>, StoreError> {
    let asked = client.simple_query(&names.sql("SELECT max(version) FROM cloakroom_schema")).await.map_err(Failure::from);
    match asked {
        Ok(messages) => Ok(messages.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0)?.parse().ok(),
            _ => None,
        })),
        Err(failure) if failure.is_unmigrated() => Ok(None),
        Err(failure) => Err(failure.into()),
    }
}

fn check(found: Option<i64>, names: &Names) -> Result<(), StoreError> {
    match found {
        Some(VERSION) | None => Ok(()),
        Some(other) => Err(StoreError::unavailable(format!(
            "{names} have version {other} and this build of cloakroom knows version {VERSION}; upgrade cloakroom, or give another \
             table prefix"
        ))),
    }
}
