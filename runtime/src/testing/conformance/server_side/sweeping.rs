//! The sweep: expired records go, in batches, and nothing else does.

use super::fixture::*;
use crate::{
    record::{Deadlines, Record, Timestamp},
    store::{IdleTouch, SessionStore},
};

fn until(idle: i64, absolute: i64) -> Record {
    let mut record = new_record(&[put("shop/views", b"1")]);
    record.header.idle_until = at(idle);
    record.header.absolute_until = at(absolute);
    record
}

async fn sweep(store: &impl SessionStore, now: Timestamp, limit: usize) -> usize {
    let swept = store.sweep(now, limit).await.unwrap_or_else(|error| panic!("sweep failed: {error}"));
    assert!(swept <= limit, "a sweep of at most {limit} says it deleted {swept}");
    swept
}

/// Sweeps until nothing is left to sweep, and answers how much that was.
async fn sweep_all(store: &impl SessionStore, now: Timestamp) -> usize {
    let mut total = 0;
    for _ in 0..100 {
        match sweep(store, now, 3).await {
            0 => return total,
            swept => total += swept,
        }
    }
    panic!("after 100 sweeps the store still finds something to delete; it says it deleted {total} records");
}

pub(super) async fn a_sweep_takes_expired_records_only<S: SessionStore>(store: S) {
    let living = [(1, until(61, DAY)), (2, until(DAY, 61)), (3, until(HOUR, DAY))];
    let dead = [(4, until(60, DAY)), (5, until(DAY, 60)), (6, until(59, 59))];
    for (n, record) in living.iter().chain(&dead) {
        create(&store, &key(*n), record).await;
    }
    assert_eq!(sweep(&store, at(1), 100).await, 0, "nothing has expired yet");
    assert_eq!(sweep_all(&store, at(60)).await, dead.len());
    for (n, record) in &living {
        assert_stored(&store, &key(*n), record, "a living record after a sweep").await;
    }
    for (n, _) in &dead {
        assert_absent(&store, &key(*n), "after a sweep past the deadline").await;
    }
}

pub(super) async fn a_sweep_keeps_to_its_limit<S: SessionStore>(store: S) {
    for n in 1..=5 {
        create(&store, &key(n), &until(60, 60)).await;
    }
    let mut left = 5;
    for limit in [0, 2, 1, 2, 2] {
        let swept = sweep(&store, at(61), limit).await;
        assert!(swept > 0 || limit == 0 || left == 0, "a sweep with {left} dead records should make progress");
        left -= swept;
        let mut found = 0;
        for n in 1..=5 {
            found += usize::from(peek(&store, &key(n)).await.is_some());
        }
        assert_eq!(found, left, "records left after a sweep of at most {limit} that says it deleted {swept}");
    }
}

pub(super) async fn a_swept_record_leaves_the_owner_index<S: SessionStore>(store: S) {
    for (n, idle) in [(1, 60), (2, HOUR)] {
        let mut record = until(idle, DAY);
        record.header.owner = Some(owner(1));
        create(&store, &key(n), &record).await;
    }
    sweep_all(&store, at(60)).await;
    assert_eq!(sessions_of(&store, &owner(1)).await, [key(2)].into());
}

pub(super) async fn a_sweep_goes_by_the_deadline_of_now<S: SessionStore>(store: S) {
    let mut rolled = until(60, DAY);
    let mut shortened = until(HOUR, DAY);
    let mut touched = until(60, DAY);
    let mut begun_anew = until(60, DAY);
    create(&store, &key(1), &rolled).await;
    create(&store, &key(2), &shortened).await;
    create(&store, &key(3), &touched).await;
    create(&store, &key(4), &begun_anew).await;
    let mut roll = patch(30);
    roll.deadlines = Some(Deadlines::Roll { last_seen: at(30), idle_until: at(HOUR) });
    commit_both(&store, &key(1), &mut rolled, &roll).await;
    let mut reset = patch(30);
    reset.deadlines = Some(Deadlines::Reset { created: at(0), last_seen: at(30), idle_until: at(50), absolute_until: at(DAY) });
    commit_both(&store, &key(2), &mut shortened, &reset).await;
    load_both(&store, &key(3), &mut touched, &presented(1, 30)).await;
    delete(&store, &key(4)).await;
    begun_anew.header.idle_until = at(HOUR);
    create(&store, &key(4), &begun_anew).await;

    sweep_all(&store, at(60)).await;
    assert_stored(&store, &key(1), &rolled, "a sweep past a deadline that was rolled").await;
    assert_absent(&store, &key(2), "after a sweep past a deadline that was moved back").await;
    match store.idle_touch() {
        IdleTouch::AtLoad => assert_stored(&store, &key(3), &touched, "a sweep past a deadline that a load rolled").await,
        IdleTouch::AtCommit => assert_absent(&store, &key(3), "after a sweep, with no touch at load").await,
    }
    assert_stored(&store, &key(4), &begun_anew, "a sweep past the deadline of a deleted record under the same key").await;
}
