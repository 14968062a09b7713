//! The conditional touch at load: it happens for whoever holds an accepted secret, never for the dead, never backwards.
//!
//! A store that touches at commit must not change anything at load; the same cases check that.

use super::fixture::*;
use crate::{
    lifetime::Lifetime,
    record::{Previous, PreviousState, Record, Timestamp},
    store::{IdleTouch, SessionStore},
};

pub(super) async fn a_load_with_the_secret_rolls_the_idle_deadline_and_answers_the_record_before<S: SessionStore>(store: S) {
    let mut model = new_record(&[put("shop/views", b"1"), put("~shop/blob", b"1")]);
    create(&store, &key(1), &model).await;
    load_both(&store, &key(1), &mut model, &presented(1, 600)).await;
    let rolled = (model.header.last_seen, model.header.idle_until);
    match store.idle_touch() {
        IdleTouch::AtLoad => assert_eq!(rolled, (at(600), at(600 + HOUR))),
        IdleTouch::AtCommit => assert_eq!(rolled, (at(0), at(HOUR))),
    }
    load_both(&store, &key(1), &mut model, &presented(1, 1200)).await;
}

pub(super) async fn a_load_with_another_secret_changes_nothing<S: SessionStore>(store: S) {
    let record = new_record(&[put("shop/views", b"1")]);
    create(&store, &key(1), &record).await;
    // The caller tells a stale token from an unknown one, so the record is answered all the same.
    let answer = load(&store, &key(1), &presented(2, 600), ON_DEMAND).await;
    assert_same(answer.as_ref(), &record, "a load with another secret");
    assert_stored(&store, &key(1), &record, "after a load with another secret").await;
}

/// Loads when the session is dead: the store may have dropped it, but must not have changed it.
async fn assert_stays_dead(store: &impl SessionStore, n: u8, record: &Record, when: Timestamp, lifetime: Lifetime) {
    let mut late = presented(1, 0);
    late.now = when;
    late.lifetime = lifetime;
    for _ in 0..2 {
        let answer = load(store, &key(n), &late, ON_DEMAND).await;
        for (seen, stored) in [("the answer of", answer), ("the record after", peek(store, &key(n)).await)] {
            if let Some(stored) = stored {
                assert_same(Some(&stored), record, &format!("{seen} a load at {when:?} under {lifetime}"));
            }
        }
    }
}

pub(super) async fn a_load_at_or_past_a_deadline_revives_nothing<S: SessionStore>(store: S) {
    for (n, idle, absolute, when) in [(1, 60, 120, 60), (2, 60, 120, 61), (3, 120, 60, 60), (4, 60, 120, 400 * DAY)] {
        let mut record = new_record(&[put("shop/views", b"1")]);
        record.header.idle_until = at(idle);
        record.header.absolute_until = at(absolute);
        create(&store, &key(n), &record).await;
        assert_stays_dead(&store, n, &record, at(when), lifetime()).await;
    }
}

pub(super) async fn a_load_under_a_shorter_lifetime_revives_nothing<S: SessionStore>(store: S) {
    let short_idle = Lifetime::new(seconds(60), seconds(DAY)).expect("a sound lifetime");
    let short_absolute = Lifetime::new(seconds(HOUR), seconds(60)).expect("a sound lifetime");
    for (n, lifetime) in [(1, short_idle), (2, short_absolute)] {
        let mut record = new_record(&[]);
        create(&store, &key(n), &record).await;
        assert_stays_dead(&store, n, &record, at(60), lifetime).await;
        let mut early = presented(1, 0);
        early.now = Timestamp::from_millis(at(60).as_millis() - 1);
        early.lifetime = lifetime;
        // No deadline of the record itself has passed, so no store may have dropped it.
        load_both(&store, &key(n), &mut record, &early).await;
    }
    // Proving who one is starts the absolute lifetime anew.
    let mut proven = new_record(&[]);
    proven.header.authenticated_at = Some(at(30));
    create(&store, &key(3), &proven).await;
    let mut later = presented(1, 80);
    later.lifetime = short_absolute;
    load_both(&store, &key(3), &mut proven, &later).await;
    assert_eq!(proven.header.last_seen == at(80), store.idle_touch() == IdleTouch::AtLoad);
}

pub(super) async fn a_load_never_moves_a_deadline_back<S: SessionStore>(store: S) {
    let mut model = new_record(&[]);
    create(&store, &key(1), &model).await;
    load_both(&store, &key(1), &mut model, &presented(1, 600)).await;
    let furthest = (model.header.last_seen, model.header.idle_until);
    // The clock jumped back: by minutes, then to before the epoch.
    let mut jumped = presented(1, 300);
    load_both(&store, &key(1), &mut model, &jumped).await;
    jumped.now = Timestamp::from_millis(-1);
    load_both(&store, &key(1), &mut model, &jumped).await;
    // A shorter lifetime is configured.
    let mut shorter = presented(1, 601);
    shorter.lifetime = Lifetime::new(seconds(900), seconds(DAY)).expect("a sound lifetime");
    load_both(&store, &key(1), &mut model, &shorter).await;
    assert!((model.header.last_seen, model.header.idle_until) >= furthest);
}

pub(super) async fn persistent_records_roll_by_their_own_lifetime<S: SessionStore>(store: S) {
    let mut model = new_record(&[]);
    model.header.persistent = true;
    create(&store, &key(1), &model).await;
    let mut later = presented(1, 600);
    later.remember = Lifetime::new(seconds(5 * HOUR), seconds(10 * DAY)).expect("a sound lifetime");
    load_both(&store, &key(1), &mut model, &later).await;
    if store.idle_touch() == IdleTouch::AtLoad {
        assert_eq!(model.header.idle_until, at(600 + 5 * HOUR));
    }
    let mut browser_session = new_record(&[]);
    create(&store, &key(2), &browser_session).await;
    load_both(&store, &key(2), &mut browser_session, &later).await;
}

pub(super) async fn the_secret_before_a_renewal_keeps_the_session_alive_for_the_grace<S: SessionStore>(store: S) {
    for (n, state, when) in [
        (1, PreviousState::Pending, 1_000),
        (2, PreviousState::Superseded, 129),
        (3, PreviousState::Superseded, 130),
        (4, PreviousState::Superseded, 1_000),
    ] {
        let mut model = new_record(&[]);
        model.header.previous = Some(Previous { secret_hash: secret(7), wrapped_key: wrapped(7), state, since: at(100) });
        create(&store, &key(n), &model).await;
        let mut old = presented(7, when);
        old.grace = seconds(30);
        load_both(&store, &key(n), &mut model, &old).await;
        let accepted = state == PreviousState::Pending || when < 130;
        let touched = model.header.last_seen == at(when);
        assert_eq!(touched, accepted && store.idle_touch() == IdleTouch::AtLoad, "{state:?} at {when} s");
    }
}

pub(super) async fn loading_with_the_renewed_secret_supersedes_the_old_one_once<S: SessionStore>(store: S) {
    let mut model = new_record(&[]);
    let previous = Previous { secret_hash: secret(7), wrapped_key: wrapped(7), state: PreviousState::Pending, since: at(1) };
    model.header.previous = Some(previous);
    create(&store, &key(1), &model).await;
    // The old secret does not supersede itself; the new one does, and only its first use counts.
    for (secret_number, when) in [(7, 10), (1, 20), (1, 30), (7, 31)] {
        let mut presented = presented(secret_number, when);
        presented.grace = seconds(60);
        load_both(&store, &key(1), &mut model, &presented).await;
    }
    if store.idle_touch() == IdleTouch::AtLoad {
        let previous = model.header.previous.expect("a touch drops no secret");
        assert_eq!((previous.state, previous.since), (PreviousState::Superseded, at(20)));
    }
}
