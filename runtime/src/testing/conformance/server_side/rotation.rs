//! Rotations: a privilege rotation kills what came before it, a renewal does not.

use super::fixture::*;
use crate::{
    record::{CommitOutcome, Patch, Previous, PreviousState, Rotation},
    store::SessionStore,
};

pub(super) fn privilege(epoch: u32, seconds: i64, to: u8) -> Patch {
    let mut patch = Patch::new(epoch, at(seconds));
    patch.rotation = Some(Rotation::Privilege { to: secret(to), wrapped_key: wrapped(to) });
    patch
}

pub(super) fn renewal(seconds: i64, from: u8, to: u8) -> Patch {
    let mut patch = patch(seconds);
    patch.rotation = Some(Rotation::Renewal { from: secret(from), to: secret(to), wrapped_key: wrapped(to) });
    patch
}

pub(super) async fn a_privilege_rotation_raises_the_epoch_and_revokes_the_old_secrets<S: SessionStore>(store: S) {
    let mut model = new_record(&[put("shop/views", b"1")]);
    let previous = Previous { secret_hash: secret(7), wrapped_key: wrapped(7), state: PreviousState::Pending, since: at(0) };
    model.header.previous = Some(previous);
    create(&store, &key(1), &model).await;
    let outcome = commit_both(&store, &key(1), &mut model, &privilege(0, 1, 2)).await;
    assert_eq!(outcome, CommitOutcome::Committed { revision: 1, rotated: true });
    let header = &model.header;
    assert!(header.secret_hash.matches(&secret(2)) && header.epoch == 1);
    // Remembered, so that a late request is told from a forged one, without anything that could be opened.
    let revoked = header.previous.expect("the revoked secret is remembered");
    assert!(revoked.secret_hash.matches(&secret(1)) && *revoked.wrapped_key.as_bytes() == [0; 32]);
    assert_eq!((revoked.state, revoked.since), (PreviousState::Revoked, at(1)));
    // Nobody who holds an old secret keeps the session alive.
    for old in [1, 7] {
        load_both(&store, &key(1), &mut model, &presented(old, 60)).await;
        assert_eq!(model.header.last_seen, at(0));
    }
}

pub(super) async fn a_write_from_before_a_privilege_rotation_is_gone<S: SessionStore>(store: S) {
    let mut model = new_record(&[put("shop/views", b"1")]);
    create(&store, &key(1), &model).await;
    commit_both(&store, &key(1), &mut model, &privilege(0, 1, 2)).await;
    for late in [puts(2, &[put("shop/views", b"2")]), privilege(0, 2, 3), renewal(2, 1, 3), renewal(2, 2, 3), patch(2)] {
        let outcome = commit_both(&store, &key(1), &mut model, &late).await;
        assert_eq!(outcome, CommitOutcome::Gone);
    }
}

pub(super) async fn a_renewal_keeps_the_epoch_and_the_old_secret<S: SessionStore>(store: S) {
    let mut model = new_record(&[put("shop/views", b"1")]);
    create(&store, &key(1), &model).await;
    let outcome = commit_both(&store, &key(1), &mut model, &renewal(5, 1, 2)).await;
    assert_eq!(outcome, CommitOutcome::Committed { revision: 1, rotated: true });
    let header = &model.header;
    let previous = header.previous.expect("the old secret is kept");
    assert!(header.secret_hash.matches(&secret(2)) && header.epoch == 0);
    assert!(previous.secret_hash.matches(&secret(1)) && previous.wrapped_key.as_bytes() == wrapped(1).as_bytes());
    assert_eq!((previous.state, previous.since), (PreviousState::Pending, at(5)));
    // A write that loaded before the renewal lands.
    let late = puts(6, &[put("shop/views", b"2")]);
    assert!(matches!(commit_both(&store, &key(1), &mut model, &late).await, CommitOutcome::Committed { .. }));
    // Once it has been presented, the next renewal keeps the secret before it, and that one only.
    let mut next = renewal(7, 2, 3);
    next.presented = Some(secret(2));
    commit_both(&store, &key(1), &mut model, &next).await;
    assert!(model.header.previous.is_some_and(|previous| previous.secret_hash.matches(&secret(2))));
}

pub(super) async fn the_second_of_two_renewals_writes_its_cells_only<S: SessionStore>(store: S) {
    let mut model = new_record(&[]);
    create(&store, &key(1), &model).await;
    commit_both(&store, &key(1), &mut model, &renewal(1, 1, 2)).await;
    let mut second = renewal(2, 1, 3);
    second.puts.push(put("shop/views", b"1"));
    second.label = Some(Some("second".into()));
    let outcome = commit_both(&store, &key(1), &mut model, &second).await;
    assert_eq!(outcome, CommitOutcome::Committed { revision: 2, rotated: false });
    assert!(model.header.secret_hash.matches(&secret(2)));
}

pub(super) async fn a_commit_that_presents_the_renewed_secret_supersedes_the_old_one_once<S: SessionStore>(store: S) {
    let mut model = new_record(&[]);
    create(&store, &key(1), &model).await;
    commit_both(&store, &key(1), &mut model, &renewal(1, 1, 2)).await;
    for (secret_number, when, expected) in [
        (1, 2, (PreviousState::Pending, at(1))),
        (9, 3, (PreviousState::Pending, at(1))),
        (2, 4, (PreviousState::Superseded, at(4))),
        (2, 5, (PreviousState::Superseded, at(4))),
    ] {
        let mut patch = patch(when);
        patch.presented = Some(secret(secret_number));
        commit_both(&store, &key(1), &mut model, &patch).await;
        let previous = model.header.previous.expect("presenting drops no secret");
        assert_eq!((previous.state, previous.since), expected);
    }
    // One commit may present the current secret and replace it: what it presents is judged before it rotates.
    let mut again = renewal(6, 2, 3);
    again.presented = Some(secret(2));
    commit_both(&store, &key(1), &mut model, &again).await;
    assert!(model.header.previous.is_some_and(|previous| previous.state == PreviousState::Pending));
}

pub(super) async fn a_renewal_of_a_secret_that_nobody_presented_keeps_the_one_before<S: SessionStore>(store: S) {
    let mut model = new_record(&[]);
    create(&store, &key(1), &model).await;
    commit_both(&store, &key(1), &mut model, &renewal(1, 1, 2)).await;
    for (seconds, from, to) in [(5, 2, 3), (9, 3, 4)] {
        let mut again = renewal(seconds, from, to);
        // Who holds the secret before, or a forged one, has not presented the current one.
        again.presented = (seconds == 9).then(|| secret(1));
        let outcome = commit_both(&store, &key(1), &mut model, &again).await;
        assert_eq!(outcome, CommitOutcome::Committed { revision: 1, rotated: true });
        let previous = model.header.previous.expect("the secret before is kept");
        assert!(model.header.secret_hash.matches(&secret(to)) && previous.secret_hash.matches(&secret(1)));
        assert_eq!(previous.wrapped_key.as_bytes(), wrapped(1).as_bytes());
        assert_eq!((previous.state, previous.since), (PreviousState::Pending, at(seconds)));
    }
    // What was replaced unseen opens nothing, and nothing can be renewed from it.
    for dead in [2, 3] {
        load_both(&store, &key(1), &mut model, &presented(dead, 60)).await;
        assert_eq!(model.header.last_seen, at(0));
        let outcome = commit_both(&store, &key(1), &mut model, &renewal(60, dead, 5)).await;
        assert_eq!(outcome, CommitOutcome::Committed { revision: 1, rotated: false });
    }
    // The one before goes once the current one is presented and renewed, in one commit too.
    let mut seen = renewal(70, 4, 5);
    seen.presented = Some(secret(4));
    commit_both(&store, &key(1), &mut model, &seen).await;
    assert!(model.header.previous.is_some_and(|previous| previous.secret_hash.matches(&secret(4))));
    // A change of privilege ends it all the same.
    commit_both(&store, &key(1), &mut model, &privilege(0, 80, 6)).await;
    assert!(model.header.previous.is_some_and(|previous| previous.secret_hash.matches(&secret(5))));
}
