//! What the cases are written with: fixed names and instants, verbs that panic with a reason, and a comparison of records.

use crate::{
    lifetime::Lifetime,
    record::{
        Cell, CellBody, CellKey, Cells, CodecId, CommitOutcome, Content, CreateOutcome, Header, Owner, OwnerHash, Patch,
        Payload, Presented, Previous, Put, Record, SecretHash, Selector, Shape, Timestamp, Want, WrappedKey,
    },
    store::{IdleTouch, SessionStore},
};
use std::{collections::BTreeSet, fmt::Debug, future::poll_fn, pin::Pin, task::Poll, time::Duration};

/// The first of January 2100: far enough ahead that no database drops a record of the suite by its own clock.
const START: i64 = 4_102_444_800_000;

pub(crate) const HOUR: i64 = 3_600;
pub(crate) const DAY: i64 = 24 * HOUR;

/// Every on-demand cell that a case writes.
pub(crate) const ON_DEMAND: &[&str] = &["~shop/archive", "~shop/blob"];

/// A secret that no record of the suite has.
const NOBODY: u8 = 255;

/// That many seconds after the start of the suite's time.
pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(START + seconds * 1_000)
}

pub(crate) fn seconds(seconds: i64) -> Duration {
    Duration::from_secs(seconds.unsigned_abs())
}

pub(crate) fn key(n: u8) -> Selector {
    Selector::from_bytes([n; 16])
}

pub(crate) fn secret(n: u8) -> SecretHash {
    SecretHash::from_bytes([n; 32])
}

pub(crate) fn wrapped(n: u8) -> WrappedKey {
    WrappedKey::from_bytes([n; 32])
}

pub(crate) fn owner(n: u8) -> Owner {
    Owner { schema: "shop".into(), hash: OwnerHash::from_bytes([n; 32]) }
}

pub(crate) fn value(payload: &[u8]) -> CellBody {
    let payload = Payload::from(payload);
    CellBody::new(Content::Value { codec: CodecId::BINCODE, shape: Shape::from_u64(u64::MAX - 1), sealed: false, payload })
}

pub(crate) fn put(key: &str, payload: &[u8]) -> Put {
    Put::new(CellKey::from(key), value(payload))
}

pub(crate) fn tombstone(key: &str) -> Put {
    Put::new(CellKey::from(key), CellBody::new(Content::Tombstone))
}

/// An idle hour, an absolute day.
pub(crate) fn lifetime() -> Lifetime {
    Lifetime::new(seconds(HOUR), seconds(DAY)).expect("both limits are sound")
}

/// A record that began at 0 s under secret 1, with an idle hour and an absolute day, and these cells.
pub(crate) fn new_record(puts: &[Put]) -> Record {
    let mut cells = Cells::default();
    cells.put_all(puts, 1);
    Record::new(Header::new(secret(1), wrapped(1), at(0), at(HOUR), at(DAY)), cells)
}

pub(crate) fn patch(seconds: i64) -> Patch {
    Patch::new(0, at(seconds))
}

pub(crate) fn puts(seconds: i64, puts: &[Put]) -> Patch {
    let mut patch = patch(seconds);
    patch.puts = puts.to_vec();
    patch
}

pub(crate) fn presented(secret_number: u8, seconds: i64) -> Presented {
    Presented::new(secret(secret_number), at(seconds), lifetime())
}

/// The record as it lies in the store: the load presents a secret that opens nothing, so that it touches nothing.
pub(crate) async fn peek(store: &impl SessionStore, key: &Selector) -> Option<Record> {
    load(store, key, &presented(NOBODY, 0), ON_DEMAND).await
}

pub(crate) async fn load(store: &impl SessionStore, key: &Selector, presented: &Presented, named: &[&str]) -> Option<Record> {
    let loaded = store.load(key, presented, &Want::with(named)).await.unwrap_or_else(|error| panic!("load failed: {error}"));
    loaded.map(std::sync::Arc::unwrap_or_clone)
}

pub(crate) async fn create(store: &impl SessionStore, key: &Selector, record: &Record) {
    let outcome = store.create(key, record.clone()).await.unwrap_or_else(|error| panic!("create failed: {error}"));
    assert_eq!(outcome, CreateOutcome::Created, "create under a free key");
}

pub(crate) async fn commit(store: &impl SessionStore, key: &Selector, patch: &Patch) -> CommitOutcome {
    let outcome = store.commit(key, patch).await.unwrap_or_else(|error| panic!("commit failed: {error}"));
    sorted(outcome)
}

/// The cells of a conflict in the order of their keys: a store may list them in any.
pub(crate) fn sorted(mut outcome: CommitOutcome) -> CommitOutcome {
    if let CommitOutcome::Conflict { cells } = &mut outcome {
        cells.sort_by(|a, b| a.key.cmp(&b.key));
    }
    outcome
}

pub(crate) async fn delete(store: &impl SessionStore, key: &Selector) {
    store.delete(key).await.unwrap_or_else(|error| panic!("delete failed: {error}"));
}

/// The sessions that the owner index lists, each with the header it lists.
pub(crate) async fn sessions_of(store: &impl SessionStore, owner: &Owner) -> BTreeSet<Selector> {
    let listed = store.by_owner(&owner.hash).await.unwrap_or_else(|error| panic!("by_owner failed: {error}"));
    let keys: BTreeSet<Selector> = listed.iter().map(|(key, _)| *key).collect();
    assert_eq!(keys.len(), listed.len(), "by_owner lists a session twice: {listed:?}");
    keys
}

/// Commits to the store and to the model, expects both to agree, and compares what is stored afterwards.
pub(crate) async fn commit_both(store: &impl SessionStore, key: &Selector, model: &mut Record, patch: &Patch) -> CommitOutcome {
    let expected = sorted(model.apply(patch));
    let outcome = commit(store, key, patch).await;
    assert_eq!(outcome, expected, "outcome of {patch:?}");
    assert_stored(store, key, model, &format!("after {patch:?}")).await;
    outcome
}

/// Loads from the store, which must answer the model as it is, and touches the model if the store touches at load.
pub(crate) async fn load_both(store: &impl SessionStore, key: &Selector, model: &mut Record, presented: &Presented) {
    let before = load(store, key, presented, ON_DEMAND).await;
    assert_same(before.as_ref(), model, "the answer of a load is the record before the touch");
    if store.idle_touch() == IdleTouch::AtLoad {
        model.header.touch(presented);
    }
    assert_stored(store, key, model, &format!("after a load with {presented:?}")).await;
}

pub(crate) async fn assert_stored(store: &impl SessionStore, key: &Selector, expected: &Record, when: &str) {
    assert_same(peek(store, key).await.as_ref(), expected, when);
}

pub(crate) async fn assert_absent(store: &impl SessionStore, key: &Selector, when: &str) {
    let found = peek(store, key).await;
    assert!(found.is_none(), "{when}, no record should be there, but: {found:?}");
}

pub(crate) fn assert_same(stored: Option<&Record>, expected: &Record, when: &str) {
    let Some(stored) = stored else { panic!("{when}: the record is not there; it should be {expected:?}") };
    let mut differences = header_differences(&stored.header, &expected.header);
    for cell in &expected.cells {
        note(&mut differences, &format!("cell {:?}", &*cell.key), &stored.cells.get(&cell.key), &Some(cell));
    }
    let surplus = |cell: &&Cell| expected.cells.get(&cell.key).is_none();
    differences.extend(stored.cells.iter().filter(surplus).map(|cell| format!("\n  {cell:?} should not be there")));
    assert!(differences.is_empty(), "{when}: the stored record is not the expected one:{}", differences.concat());
}

pub(crate) fn header_differences(stored: &Header, expected: &Header) -> Vec<String> {
    let mut differences = Vec::new();
    let out = &mut differences;
    note(out, "revision", &stored.revision, &expected.revision);
    note(out, "created", &stored.created, &expected.created);
    note(out, "last_seen", &stored.last_seen, &expected.last_seen);
    note(out, "idle_until", &stored.idle_until, &expected.idle_until);
    note(out, "absolute_until", &stored.absolute_until, &expected.absolute_until);
    // The secrets of the suite are no secrets: bytes help whoever has to debug a store.
    note(out, "secret_hash", stored.secret_hash.as_bytes(), expected.secret_hash.as_bytes());
    note(out, "wrapped_key", stored.wrapped_key.as_bytes(), expected.wrapped_key.as_bytes());
    let previous = |previous: &Previous| {
        (*previous.secret_hash.as_bytes(), *previous.wrapped_key.as_bytes(), previous.state, previous.since)
    };
    note(out, "previous", &stored.previous.as_ref().map(previous), &expected.previous.as_ref().map(previous));
    note(out, "epoch", &stored.epoch, &expected.epoch);
    note(out, "owner", &stored.owner, &expected.owner);
    note(out, "authenticated_at", &stored.authenticated_at, &expected.authenticated_at);
    note(out, "persistent", &stored.persistent, &expected.persistent);
    note(out, "label", &stored.label, &expected.label);
    note(out, "extensions", &stored.extensions, &expected.extensions);
    if differences.is_empty() {
        // The encoding covers every field there is, also one that this list should ever miss.
        note(&mut differences, "encoded header", &stored.encode(), &expected.encode());
    }
    differences
}

fn note<T: PartialEq + Debug + ?Sized>(differences: &mut Vec<String>, what: &str, stored: &T, expected: &T) {
    if stored != expected {
        differences.push(format!("\n  {what}: stored {stored:?}, expected {expected:?}"));
    }
}

/// Polls all futures in one task, so that the suite needs no runtime and works within any.
pub(crate) async fn join_all<T>(futures: Vec<Pin<Box<dyn Future<Output = T> + Send + '_>>>) -> Vec<T> {
    let mut running: Vec<_> = futures.into_iter().map(|future| (Some(future), None)).collect();
    poll_fn(|context| {
        for (future, output) in &mut running {
            if let Some(pending) = future
                && let Poll::Ready(value) = pending.as_mut().poll(context)
            {
                *output = Some(value);
                *future = None;
            }
        }
        if running.iter().all(|(future, _)| future.is_none()) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    running.into_iter().filter_map(|(_, output)| output).collect()
}

// Without it, a store that never waits would see no interleaving.
pub(crate) use crate::session::yield_now;
