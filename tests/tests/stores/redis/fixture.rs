//! What the tests of Redis share: names, records and patches.

use cloakroom::{
    Lifetime,
    record::*,
    store::{RedisStore, SessionStore},
};
use cloakroom_tests::servers::{RedisServer, Server as _};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

/// Far from any clock of the machine, so that nothing goes by it.
pub(super) const NOW: Timestamp = Timestamp::from_millis(4_102_444_800_000);
pub(super) const HOUR: Duration = Duration::from_secs(3_600);

/// A prefix that nobody else has.
pub(super) fn fresh() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("test-{}:", NEXT.fetch_add(1, Ordering::Relaxed))
}

pub(super) async fn store(server: &RedisServer) -> RedisStore {
    RedisStore::connect(server.url()).await.unwrap()
}

pub(super) fn key(n: u8) -> Selector {
    Selector::from_bytes([n; 16])
}

/// The name of the key of [`key`]`(1)`.
pub(super) const FIRST: &str = "cloakroom:{AQEBAQEBAQEBAQEBAQEBAQ}";

pub(super) fn secret() -> SecretHash {
    SecretHash::from_bytes([0xa1; 32])
}

pub(super) fn owner(n: u8) -> Owner {
    Owner { schema: "shop".into(), hash: OwnerHash::from_bytes([n; 32]) }
}

pub(super) fn value(bytes: &[u8]) -> CellBody {
    let payload = Payload::from(bytes);
    CellBody::new(Content::Value { codec: CodecId::BINCODE, shape: Shape::from_u64(42), sealed: false, payload })
}

pub(super) fn put(name: &str, bytes: &[u8]) -> Put {
    Put::new(CellKey::from(name), value(bytes))
}

/// A session of an idle hour and an absolute day with these cells.
pub(super) fn record(puts: &[Put]) -> Record {
    let mut cells = Cells::default();
    cells.put_all(puts, 1);
    Record::new(Header::new(secret(), WrappedKey::from_bytes([0xb2; 32]), NOW, NOW.plus(HOUR), NOW.plus(24 * HOUR)), cells)
}

/// A session of that many cells of that many bytes.
pub(super) fn heavy(count: usize, bytes: usize) -> Record {
    let puts: Vec<Put> = (0..count).map(|n| put(&format!("shop/cell-{n}"), &vec![7; bytes])).collect();
    record(&puts)
}

pub(super) fn patch(puts: &[Put]) -> Patch {
    let mut patch = Patch::new(0, NOW);
    patch.puts = puts.to_vec();
    patch
}

pub(super) fn sign_in(n: u8) -> Patch {
    let mut patch = patch(&[]);
    patch.owner = Some(OwnerChange::Set(owner(n)));
    patch
}

pub(super) fn presented() -> Presented {
    let lifetime = Lifetime::new(HOUR, 24 * HOUR).unwrap();
    Presented::new(secret(), NOW.plus(Duration::from_secs(1)), lifetime)
}

pub(super) async fn load(store: &impl SessionStore, n: u8) -> Option<Record> {
    store.load(&key(n), &presented(), &Want::default()).await.unwrap().map(Arc::unwrap_or_clone)
}

/// The stored record, untouched: nobody's secret was presented.
pub(super) async fn peek(store: &impl SessionStore, n: u8) -> Option<Record> {
    let mut presented = presented();
    presented.secret_hash = SecretHash::from_bytes([0xff; 32]);
    store.load(&key(n), &presented, &Want::default()).await.unwrap().map(Arc::unwrap_or_clone)
}

pub(super) fn committed(outcome: CommitOutcome) -> u64 {
    let CommitOutcome::Committed { revision, .. } = outcome else { panic!("{outcome:?}") };
    revision
}

/// Tries until it works; a server needs a moment to come back.
pub(super) async fn eventually<T>(mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
    for _ in 0..500 {
        if let Some(answer) = attempt().await {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it never worked again");
}
