//! The stores themselves, without a layer.

use cloakroom::{
    Lifetime,
    record::{
        CellBody, CellKey, Cells, CodecId, CommitOutcome, Content, CreateOutcome, Header, Patch, Payload, Presented, Put,
        Record, SecretHash, Selector, Shape, Timestamp, Want, WrappedKey,
    },
    store::{MemoryStore, SessionStore, SqliteStore},
};
use cloakroom_tests::site::{FRESH, Settings, Site, lifetime, seconds};
use std::sync::Arc;

const KEY: Selector = Selector::from_bytes([7; 16]);
const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

async fn stores() -> Vec<Arc<dyn SessionStore>> {
    vec![Arc::new(MemoryStore::new()), Arc::new(SqliteStore::in_memory().await.unwrap())]
}

fn secret() -> SecretHash {
    SecretHash::from_bytes([1; 32])
}

fn new_record() -> Record {
    let until = NOW.plus(seconds(3_600));
    Record::new(Header::new(secret(), WrappedKey::from_bytes([2; 32]), NOW, until, until), Cells::default())
}

fn value(bytes: &[u8]) -> CellBody {
    CellBody::new(Content::Value {
        codec: CodecId::BINCODE,
        shape: Shape::from_u64(42),
        sealed: false,
        payload: Payload::from(bytes),
    })
}

async fn load(store: &dyn SessionStore) -> Option<Record> {
    let presented = Presented::new(secret(), NOW, Lifetime::default());
    store.load(&KEY, &presented, &Want::default()).await.unwrap().map(Arc::unwrap_or_clone)
}

#[tokio::test]
async fn what_was_committed_is_read_back_unchanged_and_answered_with_a_revision() {
    for store in stores().await {
        assert_eq!(store.create(&KEY, new_record()).await.unwrap(), CreateOutcome::Created);
        let mut patch = Patch::new(0, NOW);
        patch.puts.push(Put::new(CellKey::from_static("shop/a"), value(b"")));
        patch.puts.push(Put::new(CellKey::from_static("shop/b"), value(&[0, 1, 255, b'"', b'\'', b'\n'])));
        patch.puts.push(Put::new(CellKey::from_static("shop/c"), value(&[9; 5_000])));
        let outcome = store.commit(&KEY, &patch).await.unwrap();
        assert_eq!(outcome, CommitOutcome::Committed { revision: 2, rotated: false });
        let read = load(&*store).await.unwrap();
        for put in &patch.puts {
            let cell = read.cells.get(&put.key).unwrap();
            assert_eq!((cell.stamp, &cell.body), (2, &put.body));
        }
        assert_eq!(read.cells.len(), 3);
    }
}

#[tokio::test]
async fn a_removed_record_is_absent_and_removing_a_missing_one_succeeds() {
    for store in stores().await {
        store.create(&KEY, new_record()).await.unwrap();
        for _ in 0..2 {
            store.delete(&KEY).await.unwrap();
            assert!(load(&*store).await.is_none());
        }
    }
}

#[tokio::test]
async fn a_rewrite_keeps_one_record_and_it_stays_readable() {
    let store = MemoryStore::new();
    let site = Site::on(store.clone());
    for visit in 1..=20 {
        site.clock.advance(seconds(3_600));
        assert_eq!(site.browser.post("/visit").await.text(), format!(":{visit}"));
        assert_eq!(store.len(), 1);
    }
}

#[tokio::test]
async fn a_record_is_readable_one_second_before_its_deadline_and_gone_one_second_after() {
    for site in Site::everywhere(&Settings::lasting(lifetime(seconds(60)))).await {
        site.browser.post("/visit").await;
        let copy = site.token();
        site.clock.advance(seconds(59));
        assert_eq!(site.present("/", &copy).await.text(), ":1", "{}", site.backend);
        site.clock.advance(seconds(2));
        assert_eq!(site.present("/", &copy).await.text(), FRESH, "{}", site.backend);
    }
}

#[tokio::test]
async fn a_memory_store_never_grows_beyond_its_bound() {
    let store = MemoryStore::with_capacity(10);
    let site = Site::on(store.clone());
    for _ in 0..100 {
        let visitor = site.browser.fork();
        assert_eq!(visitor.post("/visit").await.text(), ":1");
        assert_eq!(visitor.post("/visit").await.text(), ":2", "the newest session is there");
        assert!(store.len() <= 10);
    }
}
