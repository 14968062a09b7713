//! The stores that need no server, under the same suites as the others.

use cloakroom::{
    KeyRing,
    store::{CookieStore, MemoryStore, SqliteStore},
    testing::conformance,
};
use cloakroom_tests::site::keys;
use std::time::Duration;

#[tokio::test]
async fn memory_keeps_every_rule_of_a_store() {
    conformance::server_side(async || MemoryStore::new()).await;
}

#[tokio::test]
async fn sqlite_in_a_file_keeps_every_rule_of_a_store() {
    let folder = tempfile::tempdir().unwrap();
    let mut count = 0;
    conformance::server_side(|| {
        count += 1;
        let path = folder.path().join(format!("{count}.db"));
        async move { SqliteStore::open(path).timeout(Duration::from_secs(20)).await.unwrap() }
    })
    .await;
}

#[tokio::test]
async fn sqlite_in_memory_keeps_every_rule_of_a_store() {
    conformance::server_side(async || SqliteStore::in_memory().await.unwrap()).await;
}

#[tokio::test]
async fn sealed_cookies_keep_every_rule_of_a_client_side_store() {
    let stranger = || KeyRing::from_bytes(*b"vutsrqponmlkjihgfedcba9876543210").unwrap();
    conformance::client_side(|| (CookieStore::new(keys()), CookieStore::new(stranger()))).await;
}
