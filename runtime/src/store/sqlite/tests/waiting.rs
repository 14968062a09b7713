//! How long a write waits, what its caller is told, and that the writing thread outlives what it meets.

use super::*;
use std::{future::poll_fn, task::Poll};

/// The write lock of a database, as another process holds it during a backup.
struct Held(Connection);

impl Held {
    fn of(path: &Path) -> Self {
        let db = Connection::open(path).unwrap();
        db.execute_batch("BEGIN IMMEDIATE").unwrap();
        Self(db)
    }

    fn release(self) {
        self.0.execute_batch("ROLLBACK").unwrap();
    }
}

fn is_unavailable<T>(outcome: &Result<T, StoreError>) -> bool {
    matches!(outcome, Err(StoreError::Unavailable(_)))
}

/// Until the writer has done what it was asked before, and writes again.
async fn write_again(store: &SqliteStore) {
    for _ in 0..2_000 {
        if store.delete(&key(1_000_000)).await.is_ok() {
            return;
        }
    }
    panic!("the store does not write any more");
}

#[tokio::test]
async fn a_write_behind_another_writers_lock_ends_at_the_limit_and_is_not_made() {
    let folder = Folder::new();
    let path = folder.path("sessions.db");
    let limit = Duration::from_millis(300);
    let store = SqliteStore::open(&path).timeout(limit).await.unwrap();
    store.create(&key(1), record(header(0, 100))).await.unwrap();
    let held = Held::of(&path);
    let asked = Instant::now();
    let refused = store.commit(&key(1), &with_a(b"1")).await;
    let waited = asked.elapsed();
    assert!(is_unavailable(&refused), "{refused:?}");
    assert!(refused.unwrap_err().to_string().contains("another process may hold the write lock"));
    assert!(waited >= limit && waited < Duration::from_secs(3), "{waited:?}");
    assert_eq!(peek(&store, 1).await.unwrap().header.revision, 1, "reading goes on");
    held.release();
    write_again(&store).await;
    assert_eq!(peek(&store, 1).await.unwrap().header.revision, 1, "nor is it made later");
}

#[tokio::test]
async fn a_full_queue_is_said_at_once_and_what_is_in_it_is_written() {
    let folder = Folder::new();
    let path = folder.path("sessions.db");
    let store = SqliteStore::open(&path).timeout(Duration::from_secs(60)).await.unwrap();
    let held = Held::of(&path);
    let keys: Vec<Selector> = (0..(writer::QUEUE + writer::GROUP + 1) as u64).map(key).collect();
    let mut waiting = Vec::new();
    let mut refused = 0;
    for key in &keys {
        let mut create = store.create(key, record(header(0, 100)));
        match poll_fn(|context| Poll::Ready(create.as_mut().poll(context))).await {
            Poll::Pending => waiting.push(create),
            Poll::Ready(outcome) => {
                assert!(is_unavailable(&outcome), "{outcome:?}");
                assert!(outcome.unwrap_err().to_string().contains("4096 writes wait"));
                refused += 1;
            }
        }
    }
    assert!(refused > 0, "the queue has no end");
    assert!(waiting.len() >= writer::QUEUE);
    held.release();
    let count = waiting.len();
    for create in waiting {
        assert_eq!(create.await.unwrap(), CreateOutcome::Created);
    }
    assert_eq!(number(&store, "SELECT count(*) FROM cloakroom_record").await, count as i64);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_caller_was_told_is_what_was_done_however_the_deadline_falls() {
    let folder = Folder::new();
    let path = folder.path("sessions.db");
    let store = SqliteStore::open(&path).timeout(Duration::from_millis(12)).await.unwrap();
    let seed = u64::from(std::process::id());
    println!("seed {seed}");
    let mut random = Random(seed);
    let mut told = [0; 3];
    for round in 0..120 {
        let held = Held::of(&path);
        let pause = Duration::from_micros(random.below(24_000));
        let holder = thread::spawn(move || {
            thread::sleep(pause);
            held.release();
        });
        let created = store.create(&key(round), record(header(0, 100))).await;
        holder.join().unwrap();
        write_again(&store).await;
        let there = peek(&store, round).await.is_some();
        match created {
            Ok(created) => {
                told[0] += 1;
                assert!(created == CreateOutcome::Created && there, "round {round}");
            }
            Err(StoreError::Unavailable(why)) => {
                told[1] += 1;
                assert!(!there, "round {round}: {why}");
            }
            Err(StoreError::OutcomeUnknown(_)) => told[2] += 1,
        }
    }
    assert!(told[0] > 0 && told[1] > 0, "written, not written, unknown: {told:?}");
}

#[tokio::test]
async fn a_read_holds_up_its_thread_for_no_longer_than_the_limit() {
    let folder = Folder::new();
    for (limit, patience) in [(Duration::from_millis(90), 90), (Duration::from_secs(9), 250)] {
        let store = SqliteStore::open(folder.path("sessions.db")).timeout(limit).await.unwrap();
        let asked = store.read(|db| db.query_row("PRAGMA busy_timeout", [], |row| row.get::<_, i64>(0)));
        assert_eq!(asked.unwrap(), patience);
    }
}

/// A subscriber of the application's that panics at every event.
struct Panics;

impl tracing::Subscriber for Panics {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, _: &tracing::Event<'_>) {
        panic!("this subscriber does not like events");
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

/// Has the writing thread of a store, and no other, tell its events to [`Panics`].
async fn panic_at_events(store: &SqliteStore) {
    let set = |_: &Connection| {
        // It holds until the thread ends.
        std::mem::forget(tracing::subscriber::set_default(Panics));
        tracing::callsite::rebuild_interest_cache();
        Ok(())
    };
    store.0.writer.write(set).await.unwrap();
}

#[tokio::test]
async fn a_subscriber_that_panics_fails_the_write_it_met_and_no_later_one() {
    let store = SqliteStore::in_memory().await.unwrap();
    for n in 1..=2 {
        store.create(&key(n), record(header(0, 100))).await.unwrap();
    }
    sql(&store, "UPDATE cloakroom_record SET header = x'ff00' WHERE selector = (SELECT min(selector) FROM cloakroom_record)")
        .await;
    panic_at_events(&store).await;
    for _ in 0..3 {
        let failed = store.commit(&key(1), &with_a(b"1")).await;
        assert!(is_unavailable(&failed), "{failed:?}");
        assert!(failed.unwrap_err().to_string().contains("a panic ended the write, which is undone: this subscriber"));
        assert!(matches!(store.commit(&key(2), &with_a(b"2")).await.unwrap(), CommitOutcome::Committed { .. }));
    }
}

#[tokio::test]
async fn a_panic_at_a_failed_sweep_ends_neither_writing_nor_sweeping() {
    let store = SqliteStore::in_memory().await.unwrap();
    store.create(&key(1), record(header(0, 100))).await.unwrap();
    sql(&store, "CREATE TRIGGER stop BEFORE DELETE ON cloakroom_record BEGIN SELECT RAISE(ABORT, 'no'); END").await;
    panic_at_events(&store).await;
    let day = 86_400_000;
    store.load(&key(9), &presented(1, day), &Want::default()).await.unwrap();
    for _ in 0..3 {
        sql(&store, "SELECT 1").await;
    }
    assert_eq!(number(&store, "SELECT count(*) FROM cloakroom_record").await, 1);
    sql(&store, "DROP TRIGGER stop").await;
    store.load(&key(9), &presented(1, 2 * day), &Want::default()).await.unwrap();
    for _ in 0..2 {
        sql(&store, "SELECT 1").await;
    }
    assert_eq!(number(&store, "SELECT count(*) FROM cloakroom_record").await, 0);
}
