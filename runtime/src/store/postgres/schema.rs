//! The tables: the SQL that is shipped, and making them once, and knowing their version.

use super::{failure::Failure, names::Names};
use tokio_postgres::{Client, SimpleQueryMessage};

/// The version of the statements of this build. The tables hold one row for each version that they serve, so that a later build can
/// add what it needs and leave what an earlier one uses.
const VERSION: i64 = 1;

/// What makes them, in the words of the default names.
pub(super) const SQL: &str = include_str!("../../../sql/postgres.sql");

/// Makes what is not there. Several may do so at once: all but the first find everything made.
pub(super) async fn migrate(client: &Client, names: &Names) -> Result<(), Failure> {
    if is_there(client, names).await? {
        return Ok(());
    }
    // One message without BEGIN is one transaction, which leaves nothing behind it where a part of it fails.
    let schema = names.schema().map(make_schema).unwrap_or_default();
    let script = format!("SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0; {schema}{}", names.sql(SQL));
    match client.batch_execute(&script).await.map_err(Failure::from) {
        // What is there already is another migration's doing, or something else of these names.
        Err(failure) if failure.is_duplicate() && is_there(client, names).await? => Ok(()),
        outcome => outcome,
    }
}

/// Whether the tables are there.
///
/// # Errors
/// If they are of a version that this build does not know.
async fn is_there(client: &Client, names: &Names) -> Result<bool, Failure> {
    match check(client, names).await {
        Ok(()) => Ok(true),
        Err(failure) if failure.is_unmigrated() => Ok(false),
        Err(failure) => Err(failure),
    }
}

/// Whether this build can use the tables.
///
/// # Errors
/// If they are not there, or of a version that this build does not know.
pub(super) async fn check(client: &Client, names: &Names) -> Result<(), Failure> {
    let rows = client.simple_query(&names.sql("SELECT version FROM cloakroom_schema")).await?;
    let versions = rows.iter().filter_map(|row| match row {
        SimpleQueryMessage::Row(row) => row.get(0)?.parse::<i64>().ok(),
        _ => None,
    });
    let versions: Vec<i64> = versions.collect();
    if versions.contains(&VERSION) {
        return Ok(());
    }
    let found = versions.iter().max().map_or("no version".to_owned(), |version| format!("version {version}"));
    Err(Failure::of_tables(format!(
        "{names} have {found} and this build of cloakroom knows version {VERSION}; upgrade cloakroom, or give another table prefix and \
         call PostgresStore::migrate() once"
    )))
}

/// `CREATE SCHEMA IF NOT EXISTS` asks for the right to create one even where it exists.
fn make_schema(schema: &str) -> String {
    format!(
        "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = '{schema}') THEN CREATE SCHEMA \"{schema}\"; \
         END IF; END $$; "
    )
}
