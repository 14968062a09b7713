//! Opening a database: its settings, its tables, and what to say when it cannot be.

use super::{Durability, Place};
use crate::store::StoreError;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, TransactionBehavior};
use std::{path::Path, thread, time::Duration};

/// The tables' version, in a table of its own: `user_version` belongs to the application, whose file it may be.
const VERSION: i64 = 1;

const TABLES: &str = "
    CREATE TABLE cloakroom_schema (version INTEGER NOT NULL) STRICT;
    CREATE TABLE cloakroom_record (
        selector BLOB NOT NULL PRIMARY KEY,
        expires INTEGER NOT NULL,
        owner BLOB,
        header BLOB NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX cloakroom_record_by_expires ON cloakroom_record (expires);
    CREATE INDEX cloakroom_record_by_owner ON cloakroom_record (owner) WHERE owner IS NOT NULL;
    CREATE TABLE cloakroom_cell (
        selector BLOB NOT NULL,
        key TEXT NOT NULL,
        stamp INTEGER NOT NULL,
        body BLOB NOT NULL,
        PRIMARY KEY (selector, key)
    ) STRICT, WITHOUT ROWID;
";

/// How long opening waits for a writer of another process. No request waits meanwhile.
const OPEN_PATIENCE: Duration = Duration::from_secs(5);

/// How long a read may hold up its thread, if the limit is not shorter. In WAL mode only a recovery after a crash makes it wait at all.
const READ_PATIENCE: Duration = Duration::from_millis(250);

/// More than there are statements, so that each is prepared once per connection.
const STATEMENTS: usize = 32;

/// The connection that writes, to a database that has its tables.
pub(super) fn writer(place: &Place, durability: Durability) -> Result<Connection, StoreError> {
    check_path(place)?;
    prepared(place, durability).map_err(|error| StoreError::unavailable(format!("{place} cannot be opened: {error}")))
}

/// Names the mistakes that SQLite has one and the same answer to.
fn check_path(place: &Place) -> Result<(), StoreError> {
    let Place::File(path) = place else { return Ok(()) };
    let refuse = |what: String| Err(StoreError::unavailable(format!("{place} cannot be opened: {what}")));
    if path.as_os_str().is_empty() || path == Path::new(":memory:") {
        return refuse("that names no file; give a path, or use SqliteStore::in_memory()".to_owned());
    }
    if path.is_dir() {
        return refuse("that is a folder; give the path of a file in it".to_owned());
    }
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() && !folder.exists() => {
            refuse(format!("the folder {} does not exist; create it first", folder.display()))
        }
        _ => Ok(()),
    }
}

/// Makes the file that is not there yet, for its owner alone. SQLite gives the files beside it the same mode.
#[cfg(unix)]
fn make_private(path: &Path) {
    use std::os::unix::fs::OpenOptionsExt as _;
    // A file that is there keeps its mode, and what else may be wrong SQLite says.
    drop(std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path));
}

#[cfg(not(unix))]
fn make_private(_: &Path) {}

fn prepared(place: &Place, durability: Durability) -> Result<Connection, Refusal> {
    if let Place::File(path) = place {
        make_private(path);
    }
    let mut db = match place {
        // Without URI support, a path is nothing but a path.
        Place::File(path) => Connection::open_with_flags(
            path,
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )?,
        Place::Memory => Connection::open_in_memory()?,
    };
    db.busy_timeout(OPEN_PATIENCE)?;
    db.set_prepared_statement_cache_capacity(STATEMENTS);
    if let Place::File(_) = place {
        use_wal(&db)?;
    }
    db.pragma_update(
        None,
        "synchronous",
        match durability {
            Durability::Process => "NORMAL",
            Durability::Power => "FULL",
        },
    )?;
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    match version(&transaction)? {
        None => {
            transaction.execute_batch(TABLES)?;
            transaction.execute("INSERT INTO cloakroom_schema (version) VALUES (?1)", [VERSION])?;
        }
        Some(VERSION) => {}
        Some(other) => return Err(Refusal::Version(other)),
    }
    transaction.commit()?;
    Ok(db)
}

fn version(db: &Connection) -> rusqlite::Result<Option<i64>> {
    // Asked by a query, since only that notices tables that another connection has just made.
    let tables: i64 =
        db.query_row("SELECT count(*) FROM sqlite_schema WHERE name = 'cloakroom_schema'", [], |row| row.get(0))?;
    if tables == 0 {
        return Ok(None);
    }
    db.query_row("SELECT version FROM cloakroom_schema", [], |row| row.get(0)).optional()
}

fn use_wal(db: &Connection) -> Result<(), Refusal> {
    const TRIES: u32 = 100;
    let mut tried = 0;
    let mode: String = loop {
        tried += 1;
        match db.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0)) {
            // Two connections that change a new file's mode at once are told so immediately, without the usual wait.
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) && tried < TRIES => {
                thread::sleep(Duration::from_millis(10));
            }
            other => break other?,
        }
    };
    if mode.eq_ignore_ascii_case("wal") { Ok(()) } else { Err(Refusal::NoWal) }
}

/// A connection that only reads, beside the writer's.
pub(super) fn reader(path: &Path, limit: Duration) -> rusqlite::Result<Connection> {
    let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    db.busy_timeout(READ_PATIENCE.min(limit))?;
    db.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(db)
}

/// Why a database was not opened.
enum Refusal {
    Sqlite(rusqlite::Error),
    NoWal,
    Version(i64),
}

impl From<rusqlite::Error> for Refusal {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sqlite(error) => match error.sqlite_error_code() {
                Some(ErrorCode::NotADatabase) => write!(f, "{error}; give the path of a SQLite file or of a new one"),
                Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
                    write!(f, "{error}; this process must be able to write the file and its folder")
                }
                _ => error.fmt(f),
            },
            Self::NoWal => f.write_str("it cannot be put into WAL mode there; move it to a local disk"),
            Self::Version(found) => write!(
                f,
                "its session tables have version {found} and this build of cloakroom knows version {VERSION}; upgrade cloakroom, or \
                 give another file"
            ),
        }
    }
}
