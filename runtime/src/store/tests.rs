//! What the stores of this crate have in common, each rule run over each of them.

use super::{MemoryStore, SessionStore};
use crate::{Lifetime, record::*};
use std::{sync::Arc, time::Duration};

pub(super) fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

/// Selectors that differ in every byte a store might choose by.
pub(super) fn key(n: u64) -> Selector {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&n.to_be_bytes());
    bytes[8..].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    Selector::from_bytes(bytes)
}

pub(super) fn secret(n: u8) -> SecretHash {
    SecretHash::from_bytes([n; 32])
}

pub(super) fn owner(n: u64) -> Owner {
    let mut hash = [0; 32];
    hash[..8].copy_from_slice(&n.to_be_bytes());
    Owner { schema: "shop".into(), hash: OwnerHash::from_bytes(hash) }
}

/// A header of secret 1.
pub(super) fn header(now: i64, until: i64) -> Header {
    Header::new(secret(1), WrappedKey::from_bytes([9; 32]), at(now), at(until), at(1_000_000))
}

pub(super) fn owned(mut header: Header, n: u64) -> Header {
    header.owner = Some(owner(n));
    header
}

pub(super) fn record(header: Header) -> Record {
    Record::new(header, Cells::default())
}

/// With an idle time of 100 ms.
pub(super) fn presented(n: u8, now: i64) -> Presented {
    let lifetime = Lifetime::new(Duration::from_millis(100), Duration::from_secs(1000)).unwrap();
    Presented::new(secret(n), at(now), lifetime)
}

pub(super) fn patch(now: i64) -> Patch {
    Patch::new(0, at(now))
}

pub(super) fn body(bytes: &[u8]) -> CellBody {
    CellBody::new(Content::Value {
        codec: CodecId::BINCODE,
        shape: Shape::from_u64(5),
        sealed: false,
        payload: Payload::from(bytes),
    })
}

pub(super) fn put(name: &str, bytes: &[u8]) -> Put {
    Put::new(CellKey::from(name), body(bytes))
}

pub(super) fn cells(named: &[&str]) -> Cells {
    named.iter().map(|name| Cell::new(CellKey::from(*name), 1, body(name.as_bytes()))).collect()
}

/// The record, asked for by nobody who could touch it.
pub(super) async fn peek(store: &impl SessionStore, n: u64) -> Option<Record> {
    store.load(&key(n), &presented(250, 0), &Want::default()).await.unwrap().map(Arc::unwrap_or_clone)
}

fn names(record: &Record) -> Vec<&str> {
    record.cells.iter().map(|cell| cell.key.as_str()).collect()
}

/// Enough randomness for a test that must fail the same way twice.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    fn cell(&mut self) -> CellKey {
        CellKey::from(["shop/a", "shop/b", "shop/b@2", "~shop/big", "blog/ü"][self.below(5) as usize])
    }

    pub(super) fn header(&mut self) -> Header {
        let now = self.below(100) as i64;
        let mut header = header(now, now + self.below(100) as i64);
        if self.below(2) == 0 {
            header = owned(header, self.below(3));
        }
        header.persistent = self.below(2) == 0;
        header
    }

    pub(super) fn patch(&mut self) -> Patch {
        let mut patch = Patch::new(self.below(5).saturating_sub(3) as u32, at(self.below(120) as i64));
        patch.loaded_at = (self.below(4) == 0).then(|| at(self.below(120) as i64));
        for _ in 0..self.below(4) {
            let payload = vec![self.below(256) as u8; self.below(40) as usize];
            let body = if self.below(5) == 0 { CellBody::new(Content::Tombstone) } else { body(&payload) };
            patch.puts.push(Put::new(self.cell(), body));
        }
        if self.below(4) == 0 {
            patch.guards.push(Guard { key: self.cell(), stamp: self.below(4) });
        }
        if self.below(6) == 0 {
            patch.wipe_except = Some((0..self.below(3)).map(|_| self.cell()).collect());
        }
        let moved = at(self.below(300) as i64);
        patch.deadlines = match self.below(4) {
            0 => Some(Deadlines::Roll { last_seen: patch.now, idle_until: moved }),
            1 if self.below(4) == 0 => Some(Deadlines::Reset {
                created: patch.now,
                last_seen: patch.now,
                idle_until: moved,
                absolute_until: at(self.below(2_000) as i64),
            }),
            _ => None,
        };
        patch.presented = (self.below(3) == 0).then(|| secret(self.below(4) as u8));
        let (to, wrapped_key) = (secret(self.below(4) as u8), WrappedKey::from_bytes([self.below(256) as u8; 32]));
        patch.rotation = match self.below(8) {
            0 => Some(Rotation::Privilege { to, wrapped_key }),
            1 | 2 => Some(Rotation::Renewal { from: secret(self.below(4) as u8), to, wrapped_key }),
            _ => None,
        };
        patch.owner = match self.below(8) {
            0 => Some(OwnerChange::Set(owner(self.below(3)))),
            1 => Some(OwnerChange::Clear),
            _ => None,
        };
        patch.authenticated_at = (self.below(8) == 0).then(|| (self.below(2) == 0).then_some(patch.now));
        patch.persistent = (self.below(8) == 0).then(|| self.below(2) == 0);
        patch.label = (self.below(8) == 0).then(|| (self.below(2) == 0).then(|| "phone".into()));
        patch
    }
}

macro_rules! every_store {
    ($($rule:ident),* $(,)?) => {
        mod memory {
            $(#[tokio::test]
            async fn $rule() {
                super::$rule(super::MemoryStore::new()).await;
            })*
        }

        #[cfg(feature = "sqlite")]
        mod sqlite_in_memory {
            $(#[tokio::test]
            async fn $rule() {
                super::$rule(crate::store::SqliteStore::in_memory().await.unwrap()).await;
            })*
        }

        #[cfg(feature = "sqlite")]
        mod sqlite_in_a_file {
            $(#[tokio::test]
            async fn $rule() {
                let folder = crate::store::sqlite::tests::Folder::new();
                super::$rule(crate::store::SqliteStore::open(folder.path("sessions.db")).await.unwrap()).await;
            })*
        }
    };
}

every_store!(
    a_create_inserts_only,
    a_commit_on_a_missing_record_is_gone_and_inserts_nothing,
    a_commit_of_another_epoch_or_past_a_deadline_is_gone_and_changes_nothing,
    a_conflict_returns_the_guarded_cells_and_writes_nothing,
    a_commit_stamps_what_it_writes_and_leaves_the_rest,
    a_wipe_keeps_only_what_is_listed_and_what_is_written,
    on_demand_cells_come_only_when_named,
    a_delete_is_idempotent_and_takes_the_cells_along,
    an_owner_finds_exactly_the_sessions_in_its_name,
    a_sweep_takes_what_is_past_its_deadline_up_to_the_limit,
    the_answers_to_any_sequence_of_patches_are_those_of_the_reference,
    many_writers_of_one_record_lose_nothing,
);

async fn a_create_inserts_only(store: impl SessionStore) {
    let first = Record::new(header(0, 100), cells(&["shop/a"]));
    assert_eq!(store.create(&key(1), first).await.unwrap(), CreateOutcome::Created);
    let second = Record::new(owned(header(5, 900), 1), cells(&["shop/b"]));
    assert_eq!(store.create(&key(1), second).await.unwrap(), CreateOutcome::Exists);
    let there = peek(&store, 1).await.unwrap();
    assert_eq!(names(&there), ["shop/a"]);
    assert_eq!((there.header.created, there.header.owner), (at(0), None));
    assert!(store.by_owner(&owner(1).hash).await.unwrap().is_empty());
}

async fn a_commit_on_a_missing_record_is_gone_and_inserts_nothing(store: impl SessionStore) {
    let mut patch = patch(0);
    patch.puts.push(put("shop/a", b"1"));
    patch.owner = Some(OwnerChange::Set(owner(1)));
    assert_eq!(store.commit(&key(1), &patch).await.unwrap(), CommitOutcome::Gone);
    assert!(peek(&store, 1).await.is_none());
    assert!(store.by_owner(&owner(1).hash).await.unwrap().is_empty());
}

async fn a_commit_of_another_epoch_or_past_a_deadline_is_gone_and_changes_nothing(store: impl SessionStore) {
    store.create(&key(1), Record::new(header(0, 100), cells(&["shop/a"]))).await.unwrap();
    for (epoch, now) in [(1, 50), (0, 100)] {
        let mut patch = Patch::new(epoch, at(now));
        patch.puts.push(put("shop/a", b"late"));
        patch.deadlines = Some(Deadlines::Roll { last_seen: at(now), idle_until: at(900) });
        assert_eq!(store.commit(&key(1), &patch).await.unwrap(), CommitOutcome::Gone);
    }
    let there = peek(&store, 1).await.unwrap();
    assert_eq!((there.header.revision, there.header.idle_until), (1, at(100)));
    assert_eq!(there.cells, cells(&["shop/a"]));
}

async fn a_conflict_returns_the_guarded_cells_and_writes_nothing(store: impl SessionStore) {
    store.create(&key(1), Record::new(header(0, 100), cells(&["shop/a", "shop/b", "~shop/c"]))).await.unwrap();
    let mut patch = patch(1);
    patch.puts = vec![put("shop/a", b"mine"), put("shop/d", b"mine")];
    patch.owner = Some(OwnerChange::Set(owner(1)));
    for (name, stamp) in [("shop/a", 1), ("~shop/c", 0), ("shop/none", 0)] {
        patch.guards.push(Guard { key: CellKey::from(name), stamp });
    }
    let CommitOutcome::Conflict { cells: current } = store.commit(&key(1), &patch).await.unwrap() else {
        panic!("no conflict")
    };
    assert_eq!(current.iter().map(|cell| (&*cell.key, cell.stamp)).collect::<Vec<_>>(), [("shop/a", 1), ("~shop/c", 1)]);
    assert_eq!(current[1].body, body(b"~shop/c"));
    let there = peek(&store, 1).await.unwrap();
    assert_eq!((there.header.revision, names(&there)), (1, vec!["shop/a", "shop/b"]));
    assert_eq!(there.cells.get("shop/a").unwrap().body, body(b"shop/a"));
    assert!(store.by_owner(&owner(1).hash).await.unwrap().is_empty());
}

async fn a_commit_stamps_what_it_writes_and_leaves_the_rest(store: impl SessionStore) {
    store.create(&key(1), Record::new(header(0, 100), cells(&["shop/a", "shop/b"]))).await.unwrap();
    let mut patch = patch(1);
    patch.puts = vec![put("shop/b", b"2"), put("shop/c", &[7; 500])];
    let committed = CommitOutcome::Committed { revision: 2, rotated: false };
    assert_eq!(store.commit(&key(1), &patch).await.unwrap(), committed);
    // A patch without cells leaves the revision.
    patch.puts.clear();
    patch.label = Some(Some("phone".into()));
    assert_eq!(store.commit(&key(1), &patch).await.unwrap(), committed);
    let there = peek(&store, 1).await.unwrap();
    assert_eq!(there.header.label.as_deref(), Some("phone"));
    assert_eq!(
        there.cells.iter().map(|cell| (&*cell.key, cell.stamp)).collect::<Vec<_>>(),
        [("shop/a", 1), ("shop/b", 2), ("shop/c", 2)]
    );
    assert_eq!(there.cells.get("shop/c").unwrap().body, body(&[7; 500]));
}

async fn a_wipe_keeps_only_what_is_listed_and_what_is_written(store: impl SessionStore) {
    store.create(&key(1), Record::new(header(0, 100), cells(&["shop/a", "shop/b", "shop/c", "~shop/d"]))).await.unwrap();
    let mut patch = patch(1);
    patch.wipe_except = Some(vec![CellKey::from("shop/b"), CellKey::from("shop/never")]);
    patch.puts = vec![put("shop/c", b"new")];
    store.commit(&key(1), &patch).await.unwrap();
    let there = store.load(&key(1), &presented(1, 1), &Want::with(&["~shop/d"])).await.unwrap().unwrap();
    assert_eq!(there.cells.iter().map(|cell| (&*cell.key, cell.stamp)).collect::<Vec<_>>(), [("shop/b", 1), ("shop/c", 2)]);
}

async fn on_demand_cells_come_only_when_named(store: impl SessionStore) {
    let all = cells(&["a/before", "é/after", "~shop/x", "~shop/y", "~"]);
    store.create(&key(1), Record::new(header(0, 100), all)).await.unwrap();
    assert_eq!(names(&peek(&store, 1).await.unwrap()), ["a/before", "é/after"]);
    let want = ["~shop/y", "~shop/none", "a/before"];
    let there = store.load(&key(1), &presented(1, 1), &Want::with(&want)).await.unwrap().unwrap();
    assert_eq!(names(&there), ["a/before", "~shop/y", "é/after"]);
    assert!(store.load(&key(2), &presented(1, 1), &Want::with(&want)).await.unwrap().is_none());
}

async fn a_delete_is_idempotent_and_takes_the_cells_along(store: impl SessionStore) {
    store.create(&key(1), Record::new(owned(header(0, 100), 1), cells(&["shop/a"]))).await.unwrap();
    store.delete(&key(1)).await.unwrap();
    store.delete(&key(1)).await.unwrap();
    assert!(peek(&store, 1).await.is_none());
    assert!(store.by_owner(&owner(1).hash).await.unwrap().is_empty());
    store.create(&key(1), record(header(0, 100))).await.unwrap();
    assert!(peek(&store, 1).await.unwrap().cells.is_empty());
}

async fn an_owner_finds_exactly_the_sessions_in_its_name(store: impl SessionStore) {
    for n in 0..6 {
        store.create(&key(n), record(owned(header(0, 100), n % 2))).await.unwrap();
    }
    let mut sign_out = patch(1);
    sign_out.owner = Some(OwnerChange::Clear);
    store.commit(&key(0), &sign_out).await.unwrap();
    let mut sign_in = patch(1);
    sign_in.owner = Some(OwnerChange::Set(owner(0)));
    store.commit(&key(1), &sign_in).await.unwrap();
    let mut found = store.by_owner(&owner(0).hash).await.unwrap();
    found.sort_by_key(|(key, _)| *key);
    assert_eq!(found.iter().map(|(key, _)| *key).collect::<Vec<_>>(), [key(1), key(2), key(4)]);
    assert!(found.iter().all(|(_, header)| header.owner == Some(owner(0))));

    assert_eq!(store.delete_by_owner(&owner(0).hash, Some(&key(2))).await.unwrap(), 2);
    assert_eq!(store.by_owner(&owner(0).hash).await.unwrap().len(), 1);
    assert_eq!(store.delete_by_owner(&owner(0).hash, None).await.unwrap(), 1);
    for (n, there) in [true, false, false, true, false, true].into_iter().enumerate() {
        assert_eq!(peek(&store, n as u64).await.is_some(), there, "record {n}");
    }
}

async fn a_sweep_takes_what_is_past_its_deadline_up_to_the_limit(store: impl SessionStore) {
    for n in 0..10 {
        store.create(&key(n), Record::new(header(0, 10 * n as i64 + 10), cells(&["shop/a"]))).await.unwrap();
    }
    assert_eq!(store.sweep(at(50), 0).await.unwrap(), 0);
    assert_eq!(store.sweep(at(50), 2).await.unwrap(), 2);
    assert_eq!(store.sweep(at(50), 100).await.unwrap(), 3);
    assert_eq!(store.sweep(at(50), 100).await.unwrap(), 0);
    for n in 0..10 {
        assert_eq!(peek(&store, n).await.is_some(), n >= 5, "record {n}");
    }
}

async fn the_answers_to_any_sequence_of_patches_are_those_of_the_reference(store: impl SessionStore) {
    for seed in 1..=150 {
        let mut random = Random(seed * 0x2545_f491);
        let mut model = Record::new(random.header(), cells(&["shop/a", "shop/b@2", "~shop/big"]));
        store.create(&key(seed), model.clone()).await.unwrap();
        for step in 0..12 {
            let patch = random.patch();
            let expected = model.apply(&patch);
            assert_eq!(store.commit(&key(seed), &patch).await.unwrap(), expected, "seed {seed}, step {step}: {patch:?}");
            // Nobody's secret, so that no store touches the record.
            let there = store.load(&key(seed), &presented(250, 0), &Want::with(&["~shop/big"])).await.unwrap().unwrap();
            assert_eq!(there.header.encode(), model.header.encode(), "seed {seed}, step {step}: {patch:?}");
            assert_eq!(there.cells, model.cells, "seed {seed}, step {step}: {patch:?}");
            if let Some(owner) = &model.header.owner {
                let found = store.by_owner(&owner.hash).await.unwrap();
                assert!(found.iter().any(|(found, _)| *found == key(seed)), "seed {seed}, step {step}");
            }
        }
        let expires = model.header.expires();
        assert_eq!(store.sweep(expires.minus(Duration::from_millis(1)), 10).await.unwrap(), 0, "seed {seed}");
        assert_eq!(store.sweep(expires, 10).await.unwrap(), 1, "seed {seed}");
    }
}

async fn many_writers_of_one_record_lose_nothing(store: impl SessionStore) {
    let store = Arc::new(store);
    store.create(&key(1), Record::new(header(0, 100), cells(&["shop/sum"]))).await.unwrap();
    let writers: Vec<_> = (0..64u8)
        .map(|writer| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                // Everybody appends to one guarded cell, and writes one of its own.
                loop {
                    let there = store.load(&key(1), &presented(1, 1), &Want::default()).await.unwrap().unwrap();
                    let sum = there.cells.get("shop/sum").unwrap();
                    let mut bytes = sum.body.content.payload().unwrap().to_vec();
                    bytes.push(writer);
                    let mut patch = patch(1);
                    patch.guards.push(Guard { key: sum.key.clone(), stamp: sum.stamp });
                    patch.puts = vec![put("shop/sum", &bytes), put(&format!("shop/{writer}"), &[writer])];
                    if let CommitOutcome::Committed { revision, .. } = store.commit(&key(1), &patch).await.unwrap() {
                        return revision;
                    }
                }
            })
        })
        .collect();
    let mut revisions = Vec::new();
    for writer in writers {
        revisions.push(writer.await.unwrap());
    }
    revisions.sort_unstable();
    assert_eq!(revisions, (2..66).collect::<Vec<_>>());
    let there = peek(&*store, 1).await.unwrap();
    assert_eq!((there.header.revision, there.cells.len()), (65, 65));
    let mut sum = there.cells.get("shop/sum").unwrap().body.content.payload().unwrap()[8..].to_vec();
    sum.sort_unstable();
    assert_eq!(sum, (0..64).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_touch_needs_an_accepted_secret_and_a_living_session_and_returns_what_was_before() {
    let store = MemoryStore::new();
    store.create(&key(1), record(header(0, 100))).await.unwrap();
    // A wrong secret moves nothing.
    store.load(&key(1), &presented(2, 50), &Want::default()).await.unwrap();
    let before = store.load(&key(1), &presented(1, 60), &Want::default()).await.unwrap().unwrap();
    assert_eq!((before.header.idle_until, before.header.last_seen), (at(100), at(0)));
    let after = peek(&store, 1).await.unwrap();
    assert_eq!((after.header.idle_until, after.header.last_seen), (at(160), at(60)));
    // A clock that was set back moves nothing back.
    store.load(&key(1), &presented(1, 10), &Want::default()).await.unwrap();
    assert_eq!(peek(&store, 1).await.unwrap().header.idle_until, at(160));
    // The dead stay dead.
    store.load(&key(1), &presented(1, 160), &Want::default()).await.unwrap();
    assert_eq!(peek(&store, 1).await.unwrap().header.idle_until, at(160));
}
