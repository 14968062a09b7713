//! An owner with very many sessions.

use super::*;
use crate::store::sweeping::AT_ONCE;
use std::{future::poll_fn, task::Poll};

const SESSIONS: i64 = 30_000;

/// A store in which one owner has [`SESSIONS`] sessions of two cells, and a second owner has one.
async fn crowded(folder: &Folder) -> SqliteStore {
    let store = SqliteStore::open(folder.path("sessions.db")).timeout(Duration::from_secs(20)).await.unwrap();
    let header = owned(header(0, 100), 1);
    let (owner, bytes, expires) = (*owner(1).hash.as_bytes(), header.encode(), header.expires().as_millis());
    let fill = move |db: &Connection| {
        let numbers = "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?1)";
        db.execute(
            &format!(
                "{numbers} INSERT INTO cloakroom_record (selector, expires, owner, header)
                 SELECT CAST(printf('%016d', n) AS BLOB), ?2, ?3, ?4 FROM numbers"
            ),
            rusqlite::params![SESSIONS, expires, owner, bytes],
        )?;
        db.execute(
            &format!(
                "{numbers} INSERT INTO cloakroom_cell (selector, key, stamp, body)
                 SELECT CAST(printf('%016d', n) AS BLOB), cell.key, 1, x'00' FROM numbers, (SELECT 'shop/a' AS key UNION SELECT 'shop/b') AS cell"
            ),
            [SESSIONS],
        )
    };
    store.0.writer.write(fill).await.unwrap();
    store.create(&key(1), record(super::owned(super::header(0, 100), 2))).await.unwrap();
    store
}

async fn count(store: &SqliteStore) -> i64 {
    number(store, "SELECT count(*) FROM cloakroom_record").await
}

#[tokio::test]
async fn all_the_sessions_of_an_owner_are_listed_in_pages() {
    let folder = Folder::new();
    let store = crowded(&folder).await;
    let mut listed: Vec<_> =
        store.by_owner(&owner(1).hash).await.unwrap().into_iter().map(|(key, _)| *key.as_bytes()).collect();
    assert_eq!(listed.len() as i64, SESSIONS);
    listed.dedup();
    assert_eq!(listed.len() as i64, SESSIONS, "each once");
    let page = store.read(|db| rows::by_owner(db, &owner(1).hash, None, AT_ONCE)).unwrap();
    assert_eq!(page.found.len(), AT_ONCE);
}

#[tokio::test]
async fn the_sessions_of_an_owner_end_in_batches_and_others_write_between() {
    let folder = Folder::new();
    let store = crowded(&folder).await;
    let (owner, batch) = (owner(1).hash, AT_ONCE as i64);
    let mut ending = store.delete_by_owner(&owner, None);
    // The first batch waits for the writer, and the commit behind it; the second batch would come after that.
    assert!(poll_fn(|context| Poll::Ready(ending.as_mut().poll(context).is_pending())).await);
    assert!(matches!(store.commit(&key(1), &with_a(b"1")).await.unwrap(), CommitOutcome::Committed { .. }));
    drop(ending);
    assert_eq!(count(&store).await, SESSIONS + 1 - batch, "an interrupted call has made progress");
    let kept = Selector::from_bytes(*b"0000000000020000");
    assert_eq!(store.delete_by_owner(&owner, Some(&kept)).await.unwrap() as i64, SESSIONS - batch - 1);
    assert_eq!(count(&store).await, 2);
    assert_eq!(number(&store, "SELECT count(*) FROM cloakroom_cell").await, 3);
    assert_eq!(store.delete_by_owner(&owner, None).await.unwrap(), 1);
    assert_eq!(store.delete_by_owner(&owner, None).await.unwrap(), 0);
}
