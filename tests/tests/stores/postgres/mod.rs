//! PostgreSQL: what its tests share, and the rules of a store over every kind of client.

mod connecting;
mod contention;
mod costs;
mod faults;
mod tables;

use cloakroom::{
    Lifetime,
    record::{
        CellBody, CellKey, Cells, CodecId, CommitOutcome, Content, CreateOutcome, Header, Owner, OwnerHash, Patch, Payload,
        Presented, Put, Record, SecretHash, Selector, Shape, Timestamp, Want, WrappedKey,
    },
    store::{PostgresConnect, PostgresStore, SessionStore, StoreError},
    testing::conformance,
};
use cloakroom_tests::{
    needs,
    servers::{PostgresServer, Server as _},
};
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};
use tokio_postgres::{Client, NoTls};

const HOUR: i64 = 3_600_000;

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn key(n: u64) -> Selector {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&n.to_be_bytes());
    Selector::from_bytes(bytes)
}

fn body(payload: &[u8]) -> CellBody {
    let payload = Payload::from(payload);
    CellBody::new(Content::Value { codec: CodecId::BINCODE, shape: Shape::from_u64(7), sealed: false, payload })
}

fn put(key: &str, payload: &[u8]) -> Put {
    Put::new(CellKey::from(key), body(payload))
}

/// A record from instant 0 with an idle and an absolute day.
fn record(puts: &[Put]) -> Record {
    let mut cells = Cells::default();
    cells.put_all(puts, 1);
    let (secret, wrapped) = (SecretHash::from_bytes([1; 32]), WrappedKey::from_bytes([2; 32]));
    Record::new(Header::new(secret, wrapped, at(0), at(24 * HOUR), at(24 * HOUR)), cells)
}

/// That many cells of that many bytes each.
fn weighing(cells: usize, bytes: usize) -> Record {
    let puts: Vec<Put> = (0..cells).map(|n| put(&format!("shop/field_{n}"), &noise(n as u64 + 1, bytes))).collect();
    record(&puts)
}

/// Bytes that nothing compresses.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..length).map(|_| next()).collect()
}

fn patch(puts: &[Put]) -> Patch {
    let mut patch = Patch::new(0, at(1));
    patch.puts = puts.to_vec();
    patch
}

async fn load(store: &PostgresStore, key: &Selector) -> Result<Option<Arc<Record>>, StoreError> {
    store.load(key, &Presented::new(SecretHash::from_bytes([1; 32]), at(1), Lifetime::default()), &Want::default()).await
}

async fn create(store: &PostgresStore, key: &Selector, record: &Record) {
    assert_eq!(store.create(key, record.clone()).await.unwrap(), CreateOutcome::Created);
}

fn is_committed(outcome: &CommitOutcome) -> bool {
    matches!(outcome, CommitOutcome::Committed { .. })
}

/// For what is not about deadlines, on a machine that may be busy.
fn patient(store: PostgresConnect) -> PostgresConnect {
    store.timeout(Duration::from_secs(10))
}

async fn made(store: PostgresConnect) -> PostgresStore {
    let store = store.await.unwrap();
    store.migrate().await.unwrap();
    store
}

/// A store with connections and tables of its own.
async fn store(server: &PostgresServer) -> PostgresStore {
    made(patient(PostgresStore::connect(server.url()))).await
}

async fn client(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// Until it holds, or the test fails.
async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < Duration::from_secs(20), "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A new prefix each time.
fn fresh_prefix() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("t{}_", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A client that goes back where it came from.
struct Borrowed(Option<Client>, Arc<Mutex<Vec<Client>>>);

impl Drop for Borrowed {
    fn drop(&mut self) {
        self.1.lock().unwrap().extend(self.0.take());
    }
}

/// A store over a pool of the application's, in the small.
fn pooled(url: String) -> PostgresConnect {
    let idle = Arc::<Mutex<Vec<Client>>>::default();
    let get = move || {
        let (idle, url) = (Arc::clone(&idle), url.clone());
        async move {
            let taken = idle.lock().unwrap().pop().filter(|client| !client.is_closed());
            let client = match taken {
                Some(client) => client,
                None => {
                    let (client, connection) = tokio_postgres::connect(&url, NoTls).await?;
                    tokio::spawn(connection);
                    client
                }
            };
            Ok::<_, tokio_postgres::Error>(Borrowed(Some(client), idle))
        }
    };
    PostgresStore::from_pool(get, |borrowed: &Borrowed| borrowed.0.as_ref().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_with_connections_of_its_own_keeps_the_rules() {
    let server = needs!(PostgresServer::start().await);
    conformance::server_side(async || {
        made(patient(PostgresStore::connect(server.url()).schema("auth").connections(2)).table_prefix(fresh_prefix())).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_over_the_applications_client_keeps_the_rules() {
    let server = needs!(PostgresServer::start().await);
    let client = Arc::new(client(&server.url()).await);
    conformance::server_side(async || {
        made(patient(PostgresStore::from_client(Arc::clone(&client)).table_prefix(fresh_prefix()))).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_over_a_pool_keeps_the_rules_even_where_every_transaction_is_serializable() {
    let server = needs!(PostgresServer::start().await);
    server.sql("ALTER DATABASE cloakroom SET default_transaction_isolation = 'serializable'").await;
    conformance::server_side(async || made(patient(pooled(server.url()).table_prefix(fresh_prefix()))).await).await;
}
