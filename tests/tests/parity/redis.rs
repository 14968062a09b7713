//! The store on Redis, on a real server.

use base64ct::{Base64UrlUnpadded, Encoding};
use cloakroom::{
    Lifetime,
    record::{
        CellBody, CellKey, Cells, CommitOutcome, Content, CreateOutcome, Header, Patch, Presented, Put, Record, SecretHash,
        Selector, Timestamp, Want, WrappedKey,
    },
    store::{RedisStore, SessionStore, StoreError},
};
use cloakroom_tests::{
    needs,
    servers::{RedisServer, Server as _},
    site::{Site, record, seconds, selector},
};
use std::time::Duration;

const KEY: Selector = Selector::from_bytes([7; 16]);
const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
const HOUR: Duration = seconds(3_600);

/// A session whose browser forgets it when it closes, for an idle hour.
fn new_record() -> Record {
    let header = Header::new(secret(), WrappedKey::from_bytes([2; 32]), NOW, NOW.plus(HOUR), NOW.plus(24 * HOUR));
    Record::new(header, Cells::default())
}

fn secret() -> SecretHash {
    SecretHash::from_bytes([1; 32])
}

fn write(name: &'static str) -> Patch {
    let mut patch = Patch::new(0, NOW);
    patch.puts.push(Put::new(CellKey::from_static(name), CellBody::new(Content::Tombstone)));
    patch
}

async fn load(store: &RedisStore, now: Timestamp) -> Option<Record> {
    let presented = Presented::new(secret(), now, Lifetime::default());
    store.load(&KEY, &presented, &Want::default()).await.unwrap().map(std::sync::Arc::unwrap_or_clone)
}

#[tokio::test]
async fn the_prefix_starts_every_key_and_the_rest_comes_from_the_selector() {
    let server = needs!(RedisServer::start().await);
    let store = RedisStore::connect(server.url()).prefix("prefix_").await.unwrap();
    let site = Site::on(store);
    site.browser.post("/name/Ada").await;
    let token = site.token();
    let name = Base64UrlUnpadded::encode_string(selector(&token).as_bytes());
    let key = format!("prefix_{{{name}}}");
    assert_eq!(server.command(&["KEYS", "*"]).await, key);
    // One field of it can be written, without the others.
    let before = server.command(&["HGET", &key, "shop/name"]).await;
    site.browser.post("/visit").await;
    assert_eq!(server.command(&["HGET", &key, "shop/name"]).await, before);
}

#[tokio::test]
async fn a_prefix_that_was_computed_names_the_keys() {
    let server = needs!(RedisServer::start().await);
    let tenant = 7;
    let store = RedisStore::connect(server.url()).prefix(format!("tenant-{tenant}:")).await.unwrap();
    assert_eq!(store.create(&KEY, new_record()).await.unwrap(), CreateOutcome::Created);
    assert_eq!(server.command(&["KEYS", "*"]).await, "tenant-7:{BwcHBwcHBwcHBwcHBwcHBw}");
}

#[tokio::test]
async fn what_was_written_under_the_default_prefix_is_read_back() {
    let server = needs!(RedisServer::start().await);
    let store = RedisStore::connect(server.url()).await.unwrap();
    let site = Site::on(store.clone());
    site.browser.post("/name/Ada").await;
    assert_eq!(site.browser.post("/visit").await.text(), "Ada:1");
    assert!(server.command(&["KEYS", "*"]).await.starts_with("cloakroom:{"));
    let stored = record(&store, &selector(&site.token()), site.now()).await.unwrap();
    assert_eq!(stored.cells.len(), 2);
}

#[tokio::test]
async fn a_browser_session_expires_in_the_server_an_hour_after_its_deadline_and_by_the_clock_before() {
    let server = needs!(RedisServer::start().await);
    let store = RedisStore::connect(server.url()).await.unwrap();
    assert_eq!(store.create(&KEY, new_record()).await.unwrap(), CreateOutcome::Created);
    let left: u64 = server.command(&["TTL", "cloakroom:{BwcHBwcHBwcHBwcHBwcHBw}"]).await.parse().unwrap();
    assert!((2 * 3_600 - 60..=2 * 3_600).contains(&left), "{left} seconds");
    // The header against the clock is the truth: there is no write past the deadline, though the key is there.
    assert!(!load(&store, NOW.plus(HOUR)).await.unwrap().header.is_open(NOW.plus(HOUR)));
    let mut late = write("shop/a");
    late.now = NOW.plus(HOUR);
    assert_eq!(store.commit(&KEY, &late).await.unwrap(), CommitOutcome::Gone);
}

#[tokio::test]
async fn a_removed_record_is_absent() {
    let server = needs!(RedisServer::start().await);
    let store = RedisStore::connect(server.url()).await.unwrap();
    assert_eq!(store.create(&KEY, new_record()).await.unwrap(), CreateOutcome::Created);
    store.delete(&KEY).await.unwrap();
    assert!(load(&store, NOW).await.is_none());
    assert_eq!(store.commit(&KEY, &write("shop/a")).await.unwrap(), CommitOutcome::Gone);
    store.delete(&KEY).await.unwrap();
    assert_eq!(server.command(&["DBSIZE"]).await, "0");
}

#[tokio::test]
async fn an_unknown_key_is_absent_and_no_error() {
    let server = needs!(RedisServer::start().await);
    let store = RedisStore::connect(server.url()).await.unwrap();
    assert!(load(&store, NOW).await.is_none());
}

#[tokio::test]
async fn there_is_no_store_without_a_connection() {
    // Every constructor takes an address or a connection, and an address where nobody answers gives no store.
    let refused = RedisStore::connect("redis://127.0.0.1:1").await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
}

#[tokio::test]
async fn a_url_makes_a_store_that_closes_its_connection_and_a_client_of_the_application_another() {
    let server = needs!(RedisServer::start().await);
    let ours = RedisStore::connect(server.url()).await.unwrap();
    assert_eq!(ours.create(&KEY, new_record()).await.unwrap(), CreateOutcome::Created);
    let client = redis::Client::open(server.url()).unwrap();
    let connection = client.get_multiplexed_async_connection().await.unwrap();
    let theirs = RedisStore::from_connection(connection.clone()).await.unwrap();
    assert!(load(&theirs, NOW).await.is_some(), "both see the same sessions");
    // The store's, the client's and the one that asks. Connections of the start may take a moment to close.
    connections_become(&server, 3).await;
    drop((ours, theirs));
    connections_become(&server, 2).await;
    drop(connection);
}

/// Waits until the server counts so many connections, the one that asks among them.
async fn connections_become(server: &RedisServer, expected: u64) {
    let mut count = 0;
    for _ in 0..500 {
        count = server.counter("connected_clients").await;
        if count == expected {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("there are {count} connections and not {expected}");
}
