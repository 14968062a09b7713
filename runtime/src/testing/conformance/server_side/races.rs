//! Contention: many futures against one record, polled side by side.

use super::{
    fixture::*,
    rotation::{privilege, renewal},
};
use crate::{
    record::{Cell, CommitOutcome, CreateOutcome, Guard, OwnerChange, Selector},
    store::SessionStore,
};
use std::pin::Pin;

const WRITERS: u8 = 16;

/// Runs one future per number side by side; each lets the others begin before it goes on.
async fn race<'a, T, Fut>(numbers: impl IntoIterator<Item = u8>, run: impl Fn(u8) -> Fut) -> Vec<T>
where
    Fut: Future<Output = T> + Send + 'a,
    T: 'a,
{
    let futures = numbers.into_iter().map(|n| Box::pin(run(n)) as Pin<Box<dyn Future<Output = T> + Send + 'a>>).collect();
    join_all(futures).await
}

pub(super) async fn sixteen_writers_of_different_cells_all_survive<S: SessionStore>(store: S) {
    create(&store, &key(1), &new_record(&[])).await;
    let store = &store;
    let outcomes = race(0..WRITERS, |n| async move {
        yield_now().await;
        commit(store, &key(1), &puts(1, &[put(&format!("shop/field_{n}"), &[n])])).await
    })
    .await;
    let mut revisions: Vec<u64> = outcomes
        .iter()
        .map(|outcome| match outcome {
            CommitOutcome::Committed { revision, .. } => *revision,
            other => panic!("different cells never conflict, but: {other:?}"),
        })
        .collect();
    let stored = peek(store, &key(1)).await.expect("the record is there");
    for (n, revision) in (0..WRITERS).zip(&revisions) {
        let field = format!("shop/field_{n}");
        let cell = stored.cells.get(&field).unwrap_or_else(|| panic!("the write of {field} was lost"));
        assert_eq!((cell.stamp, &cell.body), (*revision, &value(&[n])), "{field}");
    }
    revisions.sort_unstable();
    let all: Vec<u64> = (2..2 + u64::from(WRITERS)).collect();
    assert_eq!(revisions, all, "every commit has a revision of its own");
}

fn number(cell: Option<&Cell>) -> u64 {
    let bytes = cell.and_then(|cell| cell.body.content.payload()).map(|payload| <[u8; 8]>::try_from(&payload[..]));
    bytes.map_or(0, |bytes| u64::from_le_bytes(bytes.expect("eight bytes were written")))
}

/// Adds to a counter under a guard and merges on conflict with what the conflict answered, as core does.
async fn add(store: &impl SessionStore, key: &Selector, amount: u64) {
    let loaded = peek(store, key).await.expect("the record is there");
    let mut current = loaded.cells.get("shop/views").cloned();
    // One of all writers wins each round, so the rounds are bounded.
    for _ in 0..=4 * WRITERS {
        yield_now().await;
        let mut patch = puts(1, &[put("shop/views", &(number(current.as_ref()) + amount).to_le_bytes())]);
        let stamp = current.as_ref().map_or(0, |cell| cell.stamp);
        patch.guards.push(Guard { key: "shop/views".into(), stamp });
        match commit(store, key, &patch).await {
            CommitOutcome::Committed { .. } => return,
            CommitOutcome::Conflict { mut cells } => current = cells.pop(),
            CommitOutcome::Gone => panic!("the record is alive, but a commit was answered Gone"),
        }
    }
    panic!("a guarded commit conflicts again and again: does Conflict answer the cells of now?");
}

pub(super) async fn guarded_increments_add_up<S: SessionStore>(store: S) {
    create(&store, &key(1), &new_record(&[put("shop/cart", b"1")])).await;
    let store = &store;
    race(1..=WRITERS, |n| async move { add(store, &key(1), u64::from(n)).await }).await;
    let stored = peek(store, &key(1)).await.expect("the record is there");
    let sum: u64 = (1..=u64::from(WRITERS)).sum();
    assert_eq!(number(stored.cells.get("shop/views")), sum, "the sum of sixteen increments");
    assert_eq!(stored.header.revision, 1 + u64::from(WRITERS), "one revision per increment");
}

pub(super) async fn one_of_many_creates_wins<S: SessionStore>(store: S) {
    let store = &store;
    let record = |n: u8| {
        let mut record = new_record(&[put("shop/views", &[n]), put(&format!("shop/field_{n}"), &[n])]);
        record.header.secret_hash = secret(n);
        record.header.owner = Some(owner(n));
        record
    };
    let outcomes = race(1..=WRITERS, |n| {
        let record = record(n);
        async move {
            yield_now().await;
            store.create(&key(1), record).await.unwrap_or_else(|error| panic!("create failed: {error}"))
        }
    })
    .await;
    let winners: Vec<u8> =
        (1..=WRITERS).zip(&outcomes).filter(|(_, o)| **o == CreateOutcome::Created).map(|(n, _)| n).collect();
    let [winner] = winners[..] else { panic!("one create should win, not {winners:?}") };
    assert_stored(store, &key(1), &record(winner), "the winner's record, whole").await;
    for n in 1..=WRITERS {
        let listed = sessions_of(store, &owner(n)).await.len();
        assert_eq!(listed, usize::from(n == winner), "sessions of creator {n}, where {winner} won");
    }
}

pub(super) async fn a_late_commit_never_resurrects_a_deleted_record<S: SessionStore>(store: S) {
    let record = new_record(&[put("shop/views", b"1")]);
    create(&store, &key(1), &record).await;
    let loaded = peek(&store, &key(1)).await;
    assert_same(loaded.as_ref(), &record, "the slow writer's load");
    delete(&store, &key(1)).await;
    let mut late = puts(1, &[put("shop/views", b"2")]);
    late.guards.push(Guard { key: "shop/views".into(), stamp: 1 });
    let mut sign_in = privilege(0, 1, 2);
    sign_in.owner = Some(OwnerChange::Set(owner(1)));
    for late in [late, puts(1, &[put("shop/cart", b"2")]), patch(1), sign_in, renewal(1, 1, 2)] {
        assert_eq!(commit(&store, &key(1), &late).await, CommitOutcome::Gone, "{late:?} after the deletion");
        assert_absent(&store, &key(1), "after a late commit").await;
    }
    load(&store, &key(1), &presented(1, 1), ON_DEMAND).await;
    assert_absent(&store, &key(1), "after a late touch").await;
    assert!(sessions_of(&store, &owner(1)).await.is_empty(), "a late sign-in is in the owner index");
    // What comes next under this key has nothing of the dead record.
    create(&store, &key(1), &new_record(&[])).await;
    assert_stored(&store, &key(1), &new_record(&[]), "a new record under the same key").await;
}

pub(super) async fn a_delete_among_commits_leaves_nothing<S: SessionStore>(store: S) {
    let mut record = new_record(&[put("shop/views", b"1")]);
    record.header.owner = Some(owner(1));
    create(&store, &key(1), &record).await;
    let store = &store;
    let outcomes = race(0..WRITERS, |n| async move {
        yield_now().await;
        if n == WRITERS / 2 {
            delete(store, &key(1)).await;
            return None;
        }
        let mut patch = puts(1, &[put(&format!("shop/field_{n}"), &[n])]);
        patch.owner = Some(OwnerChange::Set(owner(1)));
        Some(commit(store, &key(1), &patch).await)
    })
    .await;
    for outcome in outcomes.into_iter().flatten() {
        assert!(!matches!(outcome, CommitOutcome::Conflict { .. }), "no guard, no conflict: {outcome:?}");
    }
    assert_absent(store, &key(1), "after a delete among commits").await;
    assert!(sessions_of(store, &owner(1)).await.is_empty(), "the deleted session is still listed");
}

pub(super) async fn one_of_many_privilege_rotations_wins<S: SessionStore>(store: S) {
    create(&store, &key(1), &new_record(&[])).await;
    let store = &store;
    let outcomes = race(2..2 + WRITERS, |n| async move {
        yield_now().await;
        (n, commit(store, &key(1), &privilege(0, 1, n)).await)
    })
    .await;
    let won = |outcome: &CommitOutcome| matches!(outcome, CommitOutcome::Committed { rotated: true, .. });
    let winners: Vec<u8> = outcomes.iter().filter(|(_, outcome)| won(outcome)).map(|(n, _)| *n).collect();
    let [winner] = winners[..] else { panic!("the epoch should let one rotation win, not {winners:?}") };
    assert!(outcomes.iter().all(|(n, outcome)| *n == winner || *outcome == CommitOutcome::Gone), "{outcomes:?}");
    let header = peek(store, &key(1)).await.expect("the record is there").header;
    assert!(header.epoch == 1 && header.secret_hash.matches(&secret(winner)), "the winner's secret is the live one");
}

pub(super) async fn one_of_many_renewals_wins<S: SessionStore>(store: S) {
    create(&store, &key(1), &new_record(&[])).await;
    let store = &store;
    let outcomes = race(2..2 + WRITERS, |n| async move {
        yield_now().await;
        let mut patch = renewal(1, 1, n);
        patch.puts.push(put(&format!("shop/field_{n}"), &[n]));
        (n, commit(store, &key(1), &patch).await)
    })
    .await;
    let won = |outcome: &CommitOutcome| matches!(outcome, CommitOutcome::Committed { rotated: true, .. });
    let winners: Vec<u8> = outcomes.iter().filter(|(_, outcome)| won(outcome)).map(|(n, _)| *n).collect();
    let [winner] = winners[..] else { panic!("one renewal should win, not {winners:?}") };
    let stored = peek(store, &key(1)).await.expect("the record is there");
    assert!(stored.header.secret_hash.matches(&secret(winner)), "the winner's secret is the live one");
    assert!(stored.header.previous.is_some_and(|previous| previous.secret_hash.matches(&secret(1))), "the old one is kept");
    assert_eq!(stored.cells.len(), usize::from(WRITERS), "the losers' cells are written all the same");
}

pub(super) async fn parallel_sign_ins_of_one_owner_are_all_listed<S: SessionStore>(store: S) {
    let store = &store;
    for n in 1..=WRITERS / 2 {
        create(store, &key(n), &new_record(&[])).await;
    }
    race(1..=WRITERS, |n| async move {
        yield_now().await;
        sign_in(store, n).await;
    })
    .await;
    let all = (1..=WRITERS).map(key).collect();
    assert_eq!(sessions_of(store, &owner(1)).await, all, "every sign-in is a session of the owner");
    // What `revoke_others` from the first of them does.
    let deleted = store.delete_by_owner(&owner(1).hash, Some(&key(1))).await;
    assert_eq!(deleted.unwrap_or_else(|error| panic!("delete_by_owner failed: {error}")), u64::from(WRITERS) - 1);
    assert_eq!(sessions_of(store, &owner(1)).await, [key(1)].into());
    for n in 2..=WRITERS {
        assert_absent(store, &key(n), "after it was revoked").await;
    }
}

pub(super) async fn a_sign_in_among_revocations_is_listed_or_gone<S: SessionStore>(store: S) {
    let store = &store;
    for n in 1..=WRITERS / 2 {
        create(store, &key(n), &new_record(&[])).await;
    }
    race(1..=WRITERS + 4, |n| async move {
        // The revocations begin in the middle of the sign-ins.
        for _ in 0..n % 5 {
            yield_now().await;
        }
        if n <= WRITERS {
            sign_in(store, n).await;
        } else if let Err(error) = store.delete_by_owner(&owner(1).hash, None).await {
            panic!("delete_by_owner failed: {error}");
        }
    })
    .await;
    let listed = sessions_of(store, &owner(1)).await;
    for n in 1..=WRITERS {
        let alive = peek(store, &key(n)).await.is_some();
        assert_eq!(alive, listed.contains(&key(n)), "session {n} of the owner is alive: {alive}, listed: {}", !alive);
    }
    for n in (1..=WRITERS).filter(|n| !listed.contains(&key(*n))) {
        let mut late = puts(1, &[put("shop/views", b"2")]);
        late.epoch = 1;
        assert_eq!(commit(store, &key(n), &late).await, CommitOutcome::Gone, "a late write to revoked session {n}");
        assert_absent(store, &key(n), "after a late write to a revoked session").await;
    }
    let deleted = store.delete_by_owner(&owner(1).hash, None).await;
    assert_eq!(deleted.unwrap_or_else(|error| panic!("delete_by_owner failed: {error}")), listed.len() as u64);
    for n in 1..=WRITERS {
        assert_absent(store, &key(n), "after the last revocation").await;
    }
}

/// Signs the owner in: the lower half of the numbers have a session already, the others begin one.
async fn sign_in(store: &impl SessionStore, n: u8) {
    if n <= WRITERS / 2 {
        let mut patch = privilege(0, 1, n);
        patch.owner = Some(OwnerChange::Set(owner(1)));
        let outcome = commit(store, &key(n), &patch).await;
        assert!(matches!(outcome, CommitOutcome::Committed { rotated: true, .. }), "sign-in of session {n}: {outcome:?}");
    } else {
        let mut record = new_record(&[]);
        record.header.owner = Some(owner(1));
        create(store, &key(n), &record).await;
    }
}
