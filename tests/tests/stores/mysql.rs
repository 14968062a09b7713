//! Sessions in MySQL or MariaDB.

use cloakroom::{
    record::*,
    store::{MySqlStore, SessionStore, StoreError},
    testing::conformance,
};
use cloakroom_tests::{
    needs,
    servers::{MySqlServer, NAME, PASSWORD, Proxy},
};
use std::sync::atomic::{AtomicU32, Ordering};

/// A store whose tables nobody else has.
async fn fresh(url: &str) -> MySqlStore {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let prefix = format!("fresh_{}_", NEXT.fetch_add(1, Ordering::Relaxed));
    let store = MySqlStore::connect(url).table_prefix(&prefix).await.unwrap();
    store.migrate().await.unwrap();
    store
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_a_server_side_store() {
    let server = needs!(MySqlServer::start().await);
    let url = server.url();
    conformance::server_side(|| fresh(&url)).await;
}
