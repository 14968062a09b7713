//! Commits one at a time: when they are refused, what they write, and what they leave alone.

use super::fixture::*;
use crate::{
    record::{CellBody, CommitOutcome, Content, Deadlines, Extensions, Guard, OwnerChange, Rotation, Timestamp},
    store::SessionStore,
};

const UNTOUCHED: &str = "after a refused commit";

pub(super) async fn a_commit_never_creates_a_record<S: SessionStore>(store: S) {
    let mut patch = puts(1, &[put("shop/views", b"1")]);
    patch.owner = Some(OwnerChange::Set(owner(1)));
    patch.deadlines =
        Some(Deadlines::Reset { created: at(1), last_seen: at(1), idle_until: at(HOUR), absolute_until: at(DAY) });
    patch.rotation = Some(Rotation::Privilege { to: secret(2), wrapped_key: wrapped(2) });
    assert_eq!(commit(&store, &key(1), &patch).await, CommitOutcome::Gone, "a commit without a record");
    assert_absent(&store, &key(1), UNTOUCHED).await;
    assert!(sessions_of(&store, &owner(1)).await.is_empty(), "a refused commit is in the owner index");
    patch.guards.push(Guard { key: "shop/views".into(), stamp: 5 });
    assert_eq!(commit(&store, &key(1), &patch).await, CommitOutcome::Gone, "no record is Gone, whatever the guards say");
}

pub(super) async fn a_commit_of_another_epoch_is_gone<S: SessionStore>(store: S) {
    let mut record = new_record(&[put("shop/views", b"1")]);
    record.header.epoch = 2;
    create(&store, &key(1), &record).await;
    for epoch in [0, 1, 3, u32::MAX] {
        let mut patch = puts(1, &[put("shop/views", b"2"), put("shop/cart", b"2")]);
        patch.epoch = epoch;
        patch.label = Some(Some("late".into()));
        patch.guards.push(Guard { key: "shop/views".into(), stamp: 9 });
        assert_eq!(commit(&store, &key(1), &patch).await, CommitOutcome::Gone, "epoch {epoch} against 2");
        assert_stored(&store, &key(1), &record, UNTOUCHED).await;
    }
}

pub(super) async fn a_commit_at_or_past_a_deadline_is_gone<S: SessionStore>(store: S) {
    let mut patch = puts(0, &[put("shop/views", b"2")]);
    let mut records = Vec::new();
    // Both before any late commit: a store that sweeps on its own goes by the latest time it was told.
    for (n, idle_until, absolute_until) in [(1, at(60), at(120)), (2, at(120), at(60))] {
        let mut record = new_record(&[put("shop/views", b"1")]);
        record.header.idle_until = idle_until;
        record.header.absolute_until = absolute_until;
        create(&store, &key(n), &record).await;
        patch.now = Timestamp::from_millis(at(60).as_millis() - 1);
        commit_both(&store, &key(n), &mut record, &patch).await;
        records.push((key(n), record));
    }
    for now in [at(60), at(61), at(DAY * 400)] {
        patch.now = now;
        // A late commit may not help itself to a new deadline either.
        patch.deadlines = Some(Deadlines::Roll { last_seen: now, idle_until: now.plus(seconds(HOUR)) });
        for (key, record) in &records {
            assert_eq!(commit(&store, key, &patch).await, CommitOutcome::Gone, "a commit at {now:?}");
            // The store may drop what is dead, but not change it.
            if let Some(stored) = peek(&store, key).await {
                assert_same(Some(&stored), record, UNTOUCHED);
            }
        }
    }
}

pub(super) async fn a_request_that_loaded_in_time_commits_past_the_idle_deadline<S: SessionStore>(store: S) {
    let mut model = new_record(&[put("shop/views", b"1")]);
    model.header.idle_until = at(60);
    model.header.absolute_until = at(120);
    create(&store, &key(1), &model).await;
    let mut late = puts(90, &[put("shop/views", b"2")]);
    for loaded_at in [at(60), at(61)] {
        late.loaded_at = Some(loaded_at);
        assert_eq!(commit(&store, &key(1), &late).await, CommitOutcome::Gone, "loaded at or past the idle deadline");
    }
    late.loaded_at = Some(at(59));
    late.now = at(120);
    assert_eq!(commit(&store, &key(1), &late).await, CommitOutcome::Gone, "the absolute deadline is judged by now");
    late.now = at(90);
    late.deadlines = Some(Deadlines::Roll { last_seen: at(90), idle_until: at(110) });
    late.guards = vec![Guard { key: "shop/views".into(), stamp: 1 }];
    let outcome = commit_both(&store, &key(1), &mut model, &late).await;
    assert_eq!(outcome, CommitOutcome::Committed { revision: 2, rotated: false });
    // What the store notes, it notes as of now.
    let mut rotation = patch(115);
    rotation.loaded_at = Some(at(109));
    rotation.rotation = Some(Rotation::Privilege { to: secret(2), wrapped_key: wrapped(2) });
    commit_both(&store, &key(1), &mut model, &rotation).await;
}

pub(super) async fn a_commit_can_end_a_session<S: SessionStore>(store: S) {
    let mut record = new_record(&[put("shop/views", b"1")]);
    record.header.owner = Some(owner(1));
    create(&store, &key(1), &record).await;
    let mut ending = patch(1);
    let past = Timestamp::from_millis(0);
    ending.deadlines = Some(Deadlines::Reset { created: at(0), last_seen: at(0), idle_until: past, absolute_until: past });
    let outcome = commit(&store, &key(1), &ending).await;
    assert_eq!(outcome, CommitOutcome::Committed { revision: 1, rotated: false });
    let mut late = puts(1, &[put("shop/views", b"2")]);
    late.loaded_at = Some(at(0));
    assert_eq!(commit(&store, &key(1), &late).await, CommitOutcome::Gone, "a commit to a session that was ended");
    // Its own secret does not revive it.
    for _ in 0..2 {
        if let Some(stored) = load(&store, &key(1), &presented(1, 1), &[]).await {
            assert!(!stored.header.is_open(at(0)), "an ended session is open again: {:?}", stored.header);
        }
    }
    store.sweep(at(DAY), 100).await.expect("sweeping");
    assert_absent(&store, &key(1), "after an ended session was swept").await;
}

pub(super) async fn a_commit_writes_its_cells_and_leaves_the_others<S: SessionStore>(store: S) {
    let mut model = new_record(&[put("shop/a", b"1"), put("shop/b", b"1"), put("shop/c", b"1")]);
    create(&store, &key(1), &model).await;
    let outcome = commit_both(&store, &key(1), &mut model, &puts(1, &[put("shop/b", b"2"), put("shop/d", b"2")])).await;
    assert_eq!(outcome, CommitOutcome::Committed { revision: 2, rotated: false });
    let stamps = ["shop/a", "shop/b", "shop/c", "shop/d", "shop/e"].map(|key| model.cells.stamp(key));
    assert_eq!(stamps, [1, 2, 1, 2, 0]);
    // The same bytes again are a write all the same: what is unchanged is core's business.
    commit_both(&store, &key(1), &mut model, &puts(2, &[put("shop/a", b"1")])).await;
    let large = vec![1; 64 * 1024];
    let mut body = value(&large);
    body.deadline = Some(at(90));
    body.keep = true;
    body.epoch = 0x0102_0304;
    let mut patch = puts(3, &[put("shop/large", &large), put("grüße/名前", b""), tombstone("shop/c")]);
    patch.puts[0].body = body;
    commit_both(&store, &key(1), &mut model, &patch).await;
    commit_both(&store, &key(1), &mut model, &puts(4, &[put("shop/large", b"small again, without deadline")])).await;
}

pub(super) async fn a_commit_without_cells_keeps_the_revision<S: SessionStore>(store: S) {
    let mut model = new_record(&[put("shop/views", b"1")]);
    create(&store, &key(1), &model).await;
    let mut touch = patch(1);
    touch.deadlines = Some(Deadlines::Roll { last_seen: at(1), idle_until: at(HOUR + 1) });
    let mut rename = patch(2);
    rename.label = Some(Some("telephone".into()));
    let mut rotate = patch(3);
    rotate.rotation = Some(Rotation::Privilege { to: secret(2), wrapped_key: wrapped(2) });
    for (patch, rotated) in [(patch(0), false), (touch, false), (rename, false), (rotate, true)] {
        let outcome = commit_both(&store, &key(1), &mut model, &patch).await;
        assert_eq!(outcome, CommitOutcome::Committed { revision: 1, rotated });
    }
}

pub(super) async fn guards_that_hold_let_the_commit_through<S: SessionStore>(store: S) {
    let mut model = new_record(&[put("shop/a", b"1"), put("shop/b", b"1")]);
    create(&store, &key(1), &model).await;
    let mut patch = puts(1, &[put("shop/a", b"2"), put("shop/new", b"2")]);
    patch.guards = vec![Guard { key: "shop/a".into(), stamp: 1 }, Guard { key: "shop/new".into(), stamp: 0 }];
    let outcome = commit_both(&store, &key(1), &mut model, &patch).await;
    assert_eq!(outcome, CommitOutcome::Committed { revision: 2, rotated: false });
    // A guard may stand on a cell that the patch does not write.
    let mut patch = puts(2, &[put("shop/a", b"3")]);
    patch.guards = vec![Guard { key: "shop/b".into(), stamp: 1 }, Guard { key: "shop/none".into(), stamp: 0 }];
    commit_both(&store, &key(1), &mut model, &patch).await;
}

pub(super) async fn a_failed_guard_writes_nothing_and_returns_the_guarded_cells<S: SessionStore>(store: S) {
    let record = new_record(&[put("shop/a", b"1"), put("shop/b", b"1"), put("shop/c", b"1")]);
    create(&store, &key(1), &record).await;
    let guards = |a, none| vec![Guard { key: "shop/a".into(), stamp: a }, Guard { key: "shop/none".into(), stamp: none }];
    for failing in [guards(0, 0), guards(2, 0), guards(u64::from(u32::MAX), 0), guards(1, 1)] {
        let mut patch = puts(1, &[put("shop/a", b"2"), put("shop/c", b"2"), put("shop/none", b"2")]);
        patch.guards = failing;
        patch.guards.push(Guard { key: "shop/b".into(), stamp: 1 });
        patch.wipe_except = Some(vec![]);
        patch.deadlines = Some(Deadlines::Roll { last_seen: at(1), idle_until: at(2 * HOUR) });
        patch.rotation = Some(Rotation::Privilege { to: secret(2), wrapped_key: wrapped(2) });
        patch.owner = Some(OwnerChange::Set(owner(1)));
        patch.authenticated_at = Some(Some(at(1)));
        patch.persistent = Some(true);
        patch.label = Some(Some("late".into()));
        let current = ["shop/a", "shop/b"].map(|key| record.cells.get(key).cloned().expect("the record has it"));
        let expected = CommitOutcome::Conflict { cells: current.to_vec() };
        assert_eq!(commit(&store, &key(1), &patch).await, expected, "guards {:?}", patch.guards);
        assert_stored(&store, &key(1), &record, UNTOUCHED).await;
        assert!(sessions_of(&store, &owner(1)).await.is_empty(), "a refused commit is in the owner index");
    }
}

pub(super) async fn a_tombstone_has_a_stamp_like_a_value<S: SessionStore>(store: S) {
    let mut model = new_record(&[put("shop/views", b"1")]);
    create(&store, &key(1), &model).await;
    commit_both(&store, &key(1), &mut model, &puts(1, &[tombstone("shop/views"), tombstone("shop/never")])).await;
    assert_eq!((model.cells.stamp("shop/views"), model.cells.stamp("shop/never")), (2, 2));
    let mut patch = puts(2, &[put("shop/views", b"2")]);
    for stale in [0, 1] {
        patch.guards = vec![Guard { key: "shop/views".into(), stamp: stale }];
        let outcome = commit_both(&store, &key(1), &mut model, &patch).await;
        let CommitOutcome::Conflict { cells } = outcome else { panic!("stamp {stale} against 2 should conflict") };
        assert_eq!(cells[0].body, CellBody::new(Content::Tombstone));
    }
    patch.guards = vec![Guard { key: "shop/views".into(), stamp: 2 }];
    commit_both(&store, &key(1), &mut model, &patch).await;
    assert_eq!(model.cells.stamp("shop/views"), 3);
}

pub(super) async fn a_wipe_keeps_the_listed_cells_and_then_puts<S: SessionStore>(store: S) {
    let mut model = new_record(&[put("shop/a", b"1"), put("shop/b", b"1"), put("auth/c", b"1"), tombstone("shop/d")]);
    create(&store, &key(1), &model).await;
    let mut patch = puts(1, &[put("shop/b", b"2"), put("shop/new", b"2")]);
    patch.wipe_except = Some(vec!["auth/c".into(), "shop/none".into()]);
    // Guards look at the record before the wipe.
    patch.guards = vec![Guard { key: "shop/a".into(), stamp: 1 }];
    commit_both(&store, &key(1), &mut model, &patch).await;
    let keys: Vec<&str> = model.cells.iter().map(|cell| cell.key.as_str()).collect();
    assert_eq!(keys, ["auth/c", "shop/b", "shop/new"]);
    let mut wipe = crate::record::Patch::new(0, at(2));
    wipe.wipe_except = Some(vec![]);
    let outcome = commit_both(&store, &key(1), &mut model, &wipe).await;
    assert_eq!(outcome, CommitOutcome::Committed { revision: 3, rotated: false }, "a wipe carries cells");
    assert!(model.cells.is_empty());
}

pub(super) async fn rolling_never_moves_a_deadline_back<S: SessionStore>(store: S) {
    let mut model = new_record(&[]);
    create(&store, &key(1), &model).await;
    for (last_seen, idle_until) in [(600, HOUR + 600), (300, HOUR + 300), (900, HOUR), (60, 2 * HOUR)] {
        let mut patch = patch(1);
        patch.deadlines = Some(Deadlines::Roll { last_seen: at(last_seen), idle_until: at(idle_until) });
        commit_both(&store, &key(1), &mut model, &patch).await;
    }
    let header = &model.header;
    assert_eq!((header.last_seen, header.idle_until, header.absolute_until), (at(900), at(2 * HOUR), at(DAY)));
}

pub(super) async fn resetting_sets_the_deadlines_as_given<S: SessionStore>(store: S) {
    let mut model = new_record(&[]);
    create(&store, &key(1), &model).await;
    for (created, idle_until, absolute_until) in [(60, 2 * HOUR, 2 * DAY), (30, 120, 180)] {
        let mut patch = patch(1);
        patch.deadlines = Some(Deadlines::Reset {
            created: at(created),
            last_seen: at(created + 1),
            idle_until: at(idle_until),
            absolute_until: at(absolute_until),
        });
        commit_both(&store, &key(1), &mut model, &patch).await;
    }
    assert_eq!(commit(&store, &key(1), &patch(120)).await, CommitOutcome::Gone, "a deadline that was moved back counts");
}

pub(super) async fn label_persistence_and_proof_are_set_and_cleared<S: SessionStore>(store: S) {
    let mut model = new_record(&[]);
    create(&store, &key(1), &model).await;
    let mut set = patch(1);
    set.label = Some(Some("Anna’s 'telephone'".into()));
    set.persistent = Some(true);
    set.authenticated_at = Some(Some(at(1)));
    let mut extensions = Extensions::default();
    extensions.set(7, Some(b"seven\0"));
    extensions.set(255, Some(&[0xff; 200]));
    set.extensions = Some(extensions);
    let mut clear = patch(2);
    clear.label = Some(None);
    clear.persistent = Some(false);
    clear.authenticated_at = Some(None);
    clear.extensions = Some(Extensions::default());
    for patch in [&set, &patch(1), &clear, &set] {
        commit_both(&store, &key(1), &mut model, patch).await;
    }
    assert!(!model.header.extensions.is_empty());
    assert!(model.header.persistent && model.header.label.is_some() && model.header.authenticated_at == Some(at(1)));
}

pub(super) async fn high_revisions_and_epochs_are_counted_right<S: SessionStore>(store: S) {
    let mut model = new_record(&[put("shop/views", b"1")]);
    model.header.revision = u64::from(u32::MAX);
    model.header.epoch = u32::MAX - 1;
    create(&store, &key(1), &model).await;
    for _ in 0..2 {
        let mut patch = puts(1, &[put("shop/views", b"2")]);
        patch.epoch = model.header.epoch;
        patch.guards = vec![Guard { key: "shop/views".into(), stamp: model.cells.stamp("shop/views") }];
        patch.rotation = Some(Rotation::Privilege { to: secret(2), wrapped_key: wrapped(2) });
        commit_both(&store, &key(1), &mut model, &patch).await;
    }
    assert_eq!((model.header.revision, model.header.epoch), (u64::from(u32::MAX) + 2, u32::MAX));
}
