//! What only a database in a file can get wrong.

use super::*;
use crate::{record::*, store::tests::*};
use std::{
    sync::{
        Weak,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

mod many;
mod waiting;

/// A folder of one test, removed afterwards.
pub(in crate::store) struct Folder(PathBuf);

impl Folder {
    pub(in crate::store) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("cloakroom-sqlite-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(in crate::store) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Waits for another thread to get there; how long it takes decides nothing.
fn eventually(mut done: impl FnMut() -> bool) -> bool {
    (0..2_000).any(|_| {
        thread::sleep(Duration::from_millis(5));
        done()
    })
}

async fn sql(store: &SqliteStore, statement: &'static str) {
    store.0.writer.write(move |db| db.execute_batch(statement)).await.unwrap();
}

async fn number(store: &SqliteStore, query: &'static str) -> i64 {
    store.0.writer.write(move |db| db.query_row(query, [], |row| row.get(0))).await.unwrap()
}

fn with_a(bytes: &[u8]) -> Patch {
    let mut patch = patch(1);
    patch.puts.push(put("shop/a", bytes));
    patch
}

#[tokio::test]
async fn a_file_keeps_what_was_committed_when_it_is_opened_again() {
    let folder = Folder::new();
    let path = folder.path("sessions.db");
    for round in 1..4u8 {
        let store = SqliteStore::open(&path).await.unwrap();
        store.create(&key(round.into()), Record::new(header(0, 100), cells(&["shop/a"]))).await.unwrap();
        store.commit(&key(1), &with_a(&[round])).await.unwrap();
        let there = peek(&store, 1).await.unwrap();
        assert_eq!(there.header.revision, u64::from(round) + 1);
        assert_eq!(there.cells.get("shop/a").unwrap().body, body(&[round]));
    }
}

#[tokio::test]
async fn two_handles_opened_apart_see_and_respect_each_other() {
    let folder = Folder::new();
    let path = folder.path("sessions.db");
    let (one, other) = (SqliteStore::open(&path).await.unwrap(), SqliteStore::open(&path).await.unwrap());
    one.create(&key(1), record(owned(header(0, 100), 1))).await.unwrap();
    assert_eq!(other.create(&key(1), record(header(0, 100))).await.unwrap(), CreateOutcome::Exists);
    let tasks: Vec<_> = (0..100u8)
        .map(|n| {
            let store = if n % 2 == 0 { one.clone() } else { other.clone() };
            tokio::spawn(async move { store.commit(&key(1), &with_a(&[n])).await.unwrap() })
        })
        .collect();
    for task in tasks {
        assert!(matches!(task.await.unwrap(), CommitOutcome::Committed { .. }));
    }
    assert_eq!(peek(&one, 1).await.unwrap().header.revision, 101);
    other.delete_by_owner(&owner(1).hash, None).await.unwrap();
    assert_eq!(one.commit(&key(1), &with_a(b"late")).await.unwrap(), CommitOutcome::Gone);
}

#[test]
fn many_that_open_a_new_file_at_once_all_succeed() {
    let folder = Folder::new();
    let path = folder.path("sessions.db");
    thread::scope(|scope| {
        for n in 0..8 {
            let path = &path;
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
                runtime.block_on(async {
                    let store = SqliteStore::open(path).await.unwrap();
                    store.create(&key(n), record(header(0, 100))).await.unwrap();
                });
            });
        }
    });
    let db = Connection::open(&path).unwrap();
    assert_eq!(db.query_row("SELECT count(*) FROM cloakroom_record", [], |row| row.get::<_, i64>(0)).unwrap(), 8);
}

#[tokio::test]
async fn a_commit_writes_the_rows_of_its_cells_and_the_header_whatever_the_session_weighs() {
    let store = SqliteStore::in_memory().await.unwrap();
    let names: Vec<String> = (0..200).map(|n| format!("shop/{n}")).collect();
    let heavy = cells(&names.iter().map(String::as_str).collect::<Vec<_>>());
    store.create(&key(1), Record::new(header(0, 100), heavy)).await.unwrap();
    for (puts, rows) in [(1, 2), (3, 4), (0, 1)] {
        let mut patch = patch(1);
        patch.puts = (0..puts).map(|n| put(&format!("shop/{n}"), b"new")).collect();
        let before = number(&store, "SELECT total_changes()").await;
        store.commit(&key(1), &patch).await.unwrap();
        assert_eq!(number(&store, "SELECT total_changes()").await - before, rows);
    }
    // A conflict and a late commit write nothing.
    let before = number(&store, "SELECT total_changes()").await;
    let mut conflict = with_a(b"mine");
    conflict.guards.push(Guard { key: CellKey::from("shop/0"), stamp: 1 });
    assert!(matches!(store.commit(&key(1), &conflict).await.unwrap(), CommitOutcome::Conflict { .. }));
    assert_eq!(store.commit(&key(1), &patch(100)).await.unwrap(), CommitOutcome::Gone);
    assert_eq!(number(&store, "SELECT total_changes()").await, before);
}

#[tokio::test]
async fn both_indexes_are_used() {
    let store = SqliteStore::in_memory().await.unwrap();
    let plan = async |query: &'static str| {
        let steps = move |db: &Connection| {
            let mut statement = db.prepare(&format!("EXPLAIN QUERY PLAN {query}"))?;
            let rows = statement.query_map([], |row| row.get::<_, String>(3))?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        };
        store.0.writer.write(steps).await.unwrap().join("; ")
    };
    let by_owner = plan(
        "SELECT selector, header FROM cloakroom_record WHERE owner = x'00' AND selector > x'00' ORDER BY selector LIMIT 5",
    )
    .await;
    assert!(by_owner.contains("cloakroom_record_by_owner (owner=? AND selector>?)"), "{by_owner}");
    assert!(!by_owner.contains("TEMP B-TREE"), "it is in order already: {by_owner}");
    let expired = plan("SELECT selector FROM cloakroom_record WHERE expires <= 5 ORDER BY expires LIMIT 5").await;
    assert!(expired.contains("cloakroom_record_by_expires"), "{expired}");
}

#[tokio::test]
async fn a_load_of_a_file_leaves_the_idle_deadline_to_the_commit() {
    let store = SqliteStore::in_memory().await.unwrap();
    store.create(&key(1), record(header(0, 100))).await.unwrap();
    store.load(&key(1), &presented(1, 60), &Want::default()).await.unwrap();
    assert_eq!(peek(&store, 1).await.unwrap().header.idle_until, at(100));
    assert_eq!(store.idle_touch(), crate::store::IdleTouch::AtCommit);
}

#[tokio::test]
async fn what_cannot_be_opened_is_refused_with_what_to_do() {
    let folder = Folder::new();
    let text = folder.path("notes.txt");
    std::fs::write(&text, "x".repeat(5_000)).unwrap();
    for (path, says) in [
        (folder.path("no/such/sessions.db"), "no/such does not exist; create it first"),
        (folder.0.clone(), "that is a folder"),
        (PathBuf::from(":memory:"), "SqliteStore::in_memory()"),
        (PathBuf::new(), "that names no file"),
        (text, "notes.txt cannot be opened: file is not a database"),
    ] {
        let refused = SqliteStore::open(&path).await.unwrap_err();
        assert!(matches!(refused, StoreError::Unavailable(_)));
        assert!(refused.to_string().contains(says), "{refused}");
    }
}

#[tokio::test]
async fn tables_of_a_newer_version_are_refused_and_left_alone() {
    let folder = Folder::new();
    let path = folder.path("sessions.db");
    sql(&SqliteStore::open(&path).await.unwrap(), "UPDATE cloakroom_schema SET version = 7").await;
    let refused = SqliteStore::open(&path).await.unwrap_err().to_string();
    assert!(refused.contains("have version 7") && refused.contains("upgrade cloakroom"), "{refused}");
}

#[tokio::test]
async fn an_application_keeps_its_own_tables_and_version_in_the_file() {
    let folder = Folder::new();
    let path = folder.path("app.db");
    let app = Connection::open(&path).unwrap();
    app.execute_batch("PRAGMA user_version = 42; CREATE TABLE users (id); INSERT INTO users VALUES (1)").unwrap();
    let store = SqliteStore::open(&path).await.unwrap();
    store.create(&key(1), record(header(0, 100))).await.unwrap();
    assert_eq!(app.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0)).unwrap(), 42);
    assert_eq!(app.query_row("SELECT count(*) FROM users", [], |row| row.get::<_, i64>(0)).unwrap(), 1);
}

#[tokio::test]
async fn power_durability_flushes_every_group() {
    let folder = Folder::new();
    for (durability, level) in [(Durability::Process, 1), (Durability::Power, 2)] {
        let store = SqliteStore::open(folder.path("sessions.db")).durability(durability).await.unwrap();
        assert_eq!(number(&store, "PRAGMA synchronous").await, level);
    }
}

#[tokio::test]
async fn an_unreadable_header_counts_as_absent() {
    let store = SqliteStore::in_memory().await.unwrap();
    store.create(&key(1), record(owned(header(0, 100), 1))).await.unwrap();
    sql(&store, "UPDATE cloakroom_record SET header = x'ff00'").await;
    assert!(peek(&store, 1).await.is_none());
    assert_eq!(store.commit(&key(1), &with_a(b"1")).await.unwrap(), CommitOutcome::Gone);
    assert!(store.by_owner(&owner(1).hash).await.unwrap().is_empty());
    // Its row is still there to be deleted or swept.
    assert_eq!(store.create(&key(1), record(header(0, 100))).await.unwrap(), CreateOutcome::Exists);
    assert_eq!(store.sweep(at(100), 10).await.unwrap(), 1);
}

#[tokio::test]
async fn an_unreadable_cell_arrives_as_a_value_of_no_codec_and_stays_as_it_is() {
    let store = SqliteStore::in_memory().await.unwrap();
    store.create(&key(1), Record::new(header(0, 100), cells(&["shop/a", "shop/b"]))).await.unwrap();
    sql(&store, "UPDATE cloakroom_cell SET body = x'ff0102' WHERE key = 'shop/a'").await;
    let there = peek(&store, 1).await.unwrap();
    let damaged = there.cells.get("shop/a").unwrap();
    let Content::Value { codec, payload, .. } = &damaged.body.content else { panic!("a tombstone") };
    assert_eq!((codec.as_u8(), &payload[..], damaged.stamp), (0, &[0xff, 1, 2][..], 1));
    assert_eq!(there.cells.get("shop/b").unwrap().body, body(b"shop/b"));
    assert_eq!(number(&store, "SELECT count(*) FROM cloakroom_cell WHERE body = x'ff0102'").await, 1);
}

#[tokio::test]
async fn a_full_disk_is_unavailable_and_leaves_everything_readable_and_deletable() {
    let folder = Folder::new();
    let store = SqliteStore::open(folder.path("sessions.db")).await.unwrap();
    store.create(&key(1), Record::new(header(0, 100), cells(&["shop/a", "shop/b"]))).await.unwrap();
    let pages = number(&store, "PRAGMA page_count").await;
    assert_eq!(number(&store, "PRAGMA max_page_count = 1").await, pages);
    let mut large = with_a(b"first of two");
    large.puts.push(put("shop/b", &[1; 100_000]));
    let refused = store.commit(&key(1), &large).await;
    let refused = refused.unwrap_err();
    assert!(matches!(refused, StoreError::Unavailable(_)) && refused.to_string().contains("full"), "{refused}");
    let there = peek(&store, 1).await.unwrap();
    assert_eq!(there.header.revision, 1);
    assert_eq!(there.cells.get("shop/a").unwrap().body, body(b"shop/a"));
    assert_eq!(there.cells.get("shop/b").unwrap().body, body(b"shop/b"));
    store.delete(&key(1)).await.unwrap();
    assert!(peek(&store, 1).await.is_none());
}

/// A database with a record, and a table whose constraint fails at the COMMIT and not before.
fn scratch(place: &Place) -> Connection {
    let db = schema::writer(place, Durability::Process).unwrap();
    db.execute_batch(
        "PRAGMA foreign_keys = ON;
         CREATE TABLE parent (id PRIMARY KEY);
         CREATE TABLE child (of REFERENCES parent DEFERRABLE INITIALLY DEFERRED)",
    )
    .unwrap();
    rows::create(&db, &key(1), &Record::new(header(0, 100), cells(&["shop/a"]))).unwrap();
    db
}

/// A job with much time.
fn job<T: Send + 'static>(
    work: impl Fn(&Connection) -> rusqlite::Result<T> + Send + 'static,
) -> (writer::Job, tokio::sync::oneshot::Receiver<Result<T, StoreError>>) {
    writer::job(work, Instant::now() + Duration::from_secs(60))
}

fn revision(db: &Connection) -> u64 {
    rows::load(db, &key(1), &Want::default()).unwrap().unwrap().header.revision
}

#[tokio::test]
async fn a_group_is_one_transaction_that_nobody_sees_before_its_end() {
    let folder = Folder::new();
    let path = folder.path("sessions.db");
    let mut db = scratch(&Place::File(path.clone()));
    let (mut jobs, answers): (Vec<_>, Vec<_>) =
        (0..10u8).map(|n| job(move |db| rows::commit(db, &key(1), &with_a(&[n])))).unzip();
    let elsewhere = path.clone();
    let (look, seen) = job(move |_| Ok(revision(&schema::reader(&elsewhere, LIMIT)?)));
    jobs.push(look);
    writer::settle(&mut db, jobs);
    for (n, answer) in answers.into_iter().enumerate() {
        let committed = CommitOutcome::Committed { revision: n as u64 + 2, rotated: false };
        assert_eq!(answer.await.unwrap().unwrap(), committed);
    }
    assert_eq!(seen.await.unwrap().unwrap(), 1);
    assert_eq!(revision(&schema::reader(&path, LIMIT).unwrap()), 11);
}

#[tokio::test]
async fn a_job_that_fails_half_way_leaves_nothing_and_takes_nobody_of_its_group_along() {
    let mut db = scratch(&Place::Memory);
    let (before, first) = job(|db| rows::commit(db, &key(1), &with_a(b"first")));
    let (failing, failed) = job(|db| {
        rows::commit(db, &key(1), &with_a(b"half"))?;
        db.execute_batch("INSERT INTO no_such_table VALUES (1)")
    });
    let (after, last) = job(|db| rows::commit(db, &key(1), &with_a(b"last")));
    writer::settle(&mut db, vec![before, failing, after]);
    assert_eq!(first.await.unwrap().unwrap(), CommitOutcome::Committed { revision: 2, rotated: false });
    assert!(matches!(failed.await.unwrap(), Err(StoreError::Unavailable(_))));
    assert_eq!(last.await.unwrap().unwrap(), CommitOutcome::Committed { revision: 3, rotated: false });
    assert_eq!(revision(&db), 3);
}

#[tokio::test]
async fn a_group_whose_transaction_cannot_be_committed_is_unavailable_as_a_whole() {
    let mut db = scratch(&Place::Memory);
    let (good, one) = job(|db| rows::commit(db, &key(1), &with_a(b"1")));
    let (bad, other) = job(|db| db.execute_batch("INSERT INTO child VALUES (1)"));
    writer::settle(&mut db, vec![good, bad]);
    assert!(matches!(one.await.unwrap(), Err(StoreError::Unavailable(_))));
    assert!(matches!(other.await.unwrap(), Err(StoreError::Unavailable(_))));
    assert_eq!(revision(&db), 1);
    // The connection is as good as before.
    let (good, one) = job(|db| rows::commit(db, &key(1), &with_a(b"1")));
    writer::settle(&mut db, vec![good]);
    assert_eq!(one.await.unwrap().unwrap(), CommitOutcome::Committed { revision: 2, rotated: false });
}

#[tokio::test]
async fn a_panic_in_a_job_undoes_it_and_takes_no_other_of_its_group_along() {
    let mut db = scratch(&Place::Memory);
    let (before, first) = job(|db| rows::commit(db, &key(1), &with_a(b"first")));
    let (failing, failed) = job(|db| -> rusqlite::Result<()> {
        rows::commit(db, &key(1), &with_a(b"half"))?;
        panic!("on purpose")
    });
    let (after, last) = job(|db| rows::commit(db, &key(1), &with_a(b"last")));
    writer::settle(&mut db, vec![before, failing, after]);
    assert_eq!(first.await.unwrap().unwrap(), CommitOutcome::Committed { revision: 2, rotated: false });
    let refused = failed.await.unwrap().unwrap_err();
    assert!(matches!(refused, StoreError::Unavailable(_)) && refused.to_string().contains("on purpose"), "{refused}");
    assert_eq!(last.await.unwrap().unwrap(), CommitOutcome::Committed { revision: 3, rotated: false });
    assert_eq!(revision(&db), 3);
}

#[tokio::test]
async fn a_job_that_its_caller_has_given_up_is_not_written() {
    let mut db = scratch(&Place::Memory);
    let (given_up, unheard) = job(|db| rows::commit(db, &key(1), &with_a(b"given up")));
    let (wanted, answer) = job(|db| rows::commit(db, &key(1), &with_a(b"wanted")));
    let claim = given_up.claim();
    assert!(claim.take() && !claim.take(), "one has it");
    writer::settle(&mut db, vec![given_up, wanted]);
    assert_eq!(answer.await.unwrap().unwrap(), CommitOutcome::Committed { revision: 2, rotated: false });
    assert!(unheard.await.is_err());
    assert_eq!(rows::load(&db, &key(1), &Want::default()).unwrap().unwrap().cells.get("shop/a").unwrap().body, body(b"wanted"));
}

#[tokio::test]
async fn a_job_that_has_begun_is_the_callers_no_more() {
    let mut db = scratch(&Place::Memory);
    let claim = Arc::new(Mutex::new(None::<Arc<writer::Claim>>));
    let seen = Arc::clone(&claim);
    let (begun, answer) = job(move |_| Ok(seen.lock().unwrap().as_ref().unwrap().take()));
    *claim.lock().unwrap() = Some(begun.claim());
    writer::settle(&mut db, vec![begun]);
    assert!(!answer.await.unwrap().unwrap());
}

#[tokio::test]
async fn an_abandoned_commit_is_executed_whole_and_blocks_nobody() {
    let store = SqliteStore::in_memory().await.unwrap();
    store.create(&key(1), Record::new(header(0, 100), cells(&["shop/a"]))).await.unwrap();
    for n in 0..50u8 {
        let mut patch = with_a(&[n]);
        patch.puts.push(put("shop/b", &[n]));
        let key = key(1);
        let mut commit = store.commit(&key, &patch);
        // Polled once, so the job is queued; then the client is gone, whether or not the writer was quicker.
        let _ = std::future::poll_fn(|context| std::task::Poll::Ready(commit.as_mut().poll(context))).await;
        drop(commit);
    }
    let mut last = patch(1);
    last.label = Some(Some("last".into()));
    store.commit(&key(1), &last).await.unwrap();
    let there = peek(&store, 1).await.unwrap();
    assert_eq!(there.header.revision, 51);
    assert_eq!(there.cells.get("shop/a").unwrap().body, body(&[49]));
    assert_eq!(there.cells.get("shop/b").unwrap().body, body(&[49]));
}

#[tokio::test]
async fn the_writing_thread_ends_with_the_last_handle_and_closes_the_file() {
    let folder = Folder::new();
    let path = folder.path("sessions.db");
    let store = SqliteStore::open(&path).await.unwrap();
    store.create(&key(1), record(header(0, 100))).await.unwrap();
    assert!(peek(&store, 1).await.is_some());
    let clone = store.clone();
    drop(store);
    clone.delete(&key(1)).await.unwrap();
    assert!(folder.path("sessions.db-wal").exists());
    drop(clone);
    // The last connection to close removes the log.
    assert!(eventually(|| !folder.path("sessions.db-wal").exists()));

    let store = SqliteStore::in_memory().await.unwrap();
    let Reads::Shared(connection) = &store.0.reads else { panic!("not in memory") };
    let connection: Weak<_> = Arc::downgrade(connection);
    drop(store);
    assert!(eventually(|| connection.strong_count() == 0));
}

#[tokio::test]
async fn long_expired_records_leave_on_their_own_and_recent_ones_stay() {
    let store = SqliteStore::in_memory().await.unwrap();
    let hour = 3_600_000;
    for n in 0..1_200 {
        store.create(&key(n), Record::new(header(0, 100), cells(&["shop/a"]))).await.unwrap();
    }
    store.create(&key(5_000), record(header(0, 101))).await.unwrap();
    // A load tells the time, and a write wakes the writer; the batches after the first need no write.
    store.load(&key(9_000), &presented(1, 100 + hour), &Want::default()).await.unwrap();
    store.delete(&key(9_000)).await.unwrap();
    let Reads::Shared(connection) = &store.0.reads else { panic!("not in memory") };
    let count = |table: &str| {
        let db = connection.lock().unwrap();
        db.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get::<_, i64>(0)).unwrap()
    };
    assert!(eventually(|| count("cloakroom_record") == 1));
    assert_eq!(count("cloakroom_cell"), 0);
    assert!(peek(&store, 5_000).await.is_some());
}

#[tokio::test]
async fn sweeping_goes_on_after_a_clock_that_ran_ahead_was_set_right() {
    let store = SqliteStore::in_memory().await.unwrap();
    let (hour, year) = (3_600_000, 365 * 86_400_000);
    // The clock is a year ahead, and the writer has heard of it.
    let mut lives = header(year, 2 * year);
    lives.absolute_until = at(2 * year);
    store.create(&key(1), record(lives)).await.unwrap();
    sql(&store, "SELECT 1").await;
    store.create(&key(2), record(header(0, 100))).await.unwrap();
    let mut now = 100 + hour;
    assert!(
        {
            let mut gone = false;
            for _ in 0..2_000 {
                store.load(&key(9), &presented(1, now), &Want::default()).await.unwrap();
                sql(&store, "SELECT 1").await;
                gone = peek(&store, 2).await.is_none();
                if gone {
                    break;
                }
                now += 100_000;
            }
            gone
        },
        "an expired record stays"
    );
    assert!(now < year, "before the clock has caught up");
    assert!(peek(&store, 1).await.is_some());
}

#[cfg(unix)]
#[tokio::test]
async fn a_new_file_is_its_owners_alone_and_an_old_one_keeps_its_mode() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = Folder::new();
    let mode = |name: &str| std::fs::metadata(folder.path(name)).unwrap().permissions().mode() & 0o777;
    let store = SqliteStore::open(folder.path("new.db")).await.unwrap();
    store.create(&key(1), record(header(0, 100))).await.unwrap();
    for name in ["new.db", "new.db-wal", "new.db-shm"] {
        assert_eq!(mode(name), 0o600, "{name}");
    }
    std::fs::write(folder.path("old.db"), "").unwrap();
    std::fs::set_permissions(folder.path("old.db"), std::fs::Permissions::from_mode(0o640)).unwrap();
    let store = SqliteStore::open(folder.path("old.db")).await.unwrap();
    store.create(&key(1), record(header(0, 100))).await.unwrap();
    for name in ["old.db", "old.db-wal", "old.db-shm"] {
        assert_eq!(mode(name), 0o640, "{name}");
    }
}

#[test]
fn a_store_and_its_sweep_outlive_the_runtime_it_was_opened_on() {
    let folder = Folder::new();
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let store = runtime().block_on(async {
        let store = SqliteStore::open(folder.path("sessions.db")).await.unwrap();
        store.create(&key(1), record(header(0, 100))).await.unwrap();
        store
    });
    runtime().block_on(async {
        assert!(peek(&store, 1).await.is_some());
        store.load(&key(9), &presented(1, 86_400_000), &Want::default()).await.unwrap();
        sql(&store, "SELECT 1").await;
        let db = Connection::open(folder.path("sessions.db")).unwrap();
        assert!(eventually(|| {
            db.query_row("SELECT count(*) FROM cloakroom_record", [], |row| row.get::<_, i64>(0)).unwrap() == 0
        }));
    });
}

#[tokio::test]
async fn a_sweep_that_fails_is_tried_again_and_disturbs_no_write() {
    let store = SqliteStore::in_memory().await.unwrap();
    store.create(&key(1), record(header(0, 100))).await.unwrap();
    sql(&store, "CREATE TRIGGER stop BEFORE DELETE ON cloakroom_record BEGIN SELECT RAISE(ABORT, 'no'); END").await;
    let day = 86_400_000;
    for now in [day, 2 * day] {
        store.load(&key(9), &presented(1, now), &Want::default()).await.unwrap();
        let mut lives = header(now, 3 * day);
        lives.absolute_until = at(3 * day);
        assert_eq!(store.create(&key(now as u64), record(lives)).await.unwrap(), CreateOutcome::Created);
    }
    sql(&store, "DROP TRIGGER stop").await;
    store.load(&key(9), &presented(1, 2 * day + 300_000), &Want::default()).await.unwrap();
    sql(&store, "SELECT 1").await;
    let Reads::Shared(connection) = &store.0.reads else { panic!("not in memory") };
    assert!(eventually(|| {
        let db = connection.lock().unwrap();
        db.query_row("SELECT count(*) FROM cloakroom_record", [], |row| row.get::<_, i64>(0)).unwrap() == 2
    }));
}

#[tokio::test]
async fn reads_give_their_connection_back_and_share_it() {
    let folder = Folder::new();
    let store = SqliteStore::open(folder.path("sessions.db")).await.unwrap();
    for _ in 0..20 {
        assert!(peek(&store, 1).await.is_none());
    }
    let Reads::Pool { idle, .. } = &store.0.reads else { panic!("not a file") };
    assert_eq!(idle.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn debug_shows_the_path_and_no_contents() {
    let store = SqliteStore::in_memory().await.unwrap();
    assert_eq!(format!("{store:?}"), "SqliteStore { .. }");
    let folder = Folder::new();
    let store = SqliteStore::open(folder.path("sessions.db")).await.unwrap();
    assert!(format!("{store:?}").starts_with("SqliteStore { path: "));
}
