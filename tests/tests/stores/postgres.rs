//! PostgreSQL: the rules of a store, what an operation costs, contention, and everything that can happen to a server.

use cloakroom::{
    Lifetime,
    record::{
        CellBody, CellKey, Cells, CodecId, CommitOutcome, Content, CreateOutcome, Deadlines, Guard, Header, Owner, OwnerChange,
        OwnerHash, Patch, Payload, Presented, Put, Record, SecretHash, Selector, Shape, Timestamp, Want, WrappedKey,
    },
    store::{PostgresBuilder, PostgresStore, SessionStore, StoreError},
    testing::conformance,
};
use cloakroom_tests::{
    needs,
    servers::{PASSWORD, PostgresServer, Proxy},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};
use tokio_postgres::{Client, NoTls};

/// A store with tables of its own, made.
async fn store(server: &PostgresServer) -> PostgresStore {
    let store = PostgresStore::connect(server.url()).await.unwrap();
    store.migrate().await.unwrap();
    store
}

/// For what is not about deadlines, on a machine that may be busy.
fn patient(store: PostgresBuilder) -> PostgresBuilder {
    store.timeout(Duration::from_secs(10))
}

/// A new prefix each time.
fn fresh_prefix() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("t{}_", NEXT.fetch_add(1, Ordering::Relaxed))
}

async fn client(server: &PostgresServer) -> Arc<Client> {
    let (client, connection) = tokio_postgres::connect(&server.url(), NoTls).await.unwrap();
    tokio::spawn(connection);
    Arc::new(client)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_with_connections_of_its_own_keeps_the_rules() {
    let server = needs!(PostgresServer::start().await);
    conformance::server_side(async || {
        let store = patient(PostgresStore::connect(server.url())).schema("auth").table_prefix(fresh_prefix()).await.unwrap();
        store.migrate().await.unwrap();
        store
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_over_the_applications_client_keeps_the_rules() {
    let server = needs!(PostgresServer::start().await);
    let client = client(&server).await;
    conformance::server_side(async || {
        let store = patient(PostgresStore::from_client(Arc::clone(&client))).table_prefix(fresh_prefix()).await.unwrap();
        store.migrate().await.unwrap();
        store
    })
    .await;
}
