//! The owner index: never alive and unlisted, never listed and dead.

use super::{fixture::*, rotation::privilege};
use crate::{
    record::{CommitOutcome, Guard, OwnerChange, Record},
    store::SessionStore,
};

fn owned(n: u8) -> Record {
    let mut record = new_record(&[put("shop/views", b"1")]);
    record.header.owner = Some(owner(n));
    record
}

async fn delete_by_owner(store: &impl SessionStore, n: u8, except: Option<u8>) -> u64 {
    let except = except.map(key);
    let deleted = store.delete_by_owner(&owner(n).hash, except.as_ref()).await;
    deleted.unwrap_or_else(|error| panic!("delete_by_owner failed: {error}"))
}

pub(super) async fn the_owner_index_follows_the_owner<S: SessionStore>(store: S) {
    let mut model = new_record(&[]);
    create(&store, &key(1), &model).await;
    let steps = [
        (Some(OwnerChange::Set(owner(1))), [1, 0]),
        (None, [1, 0]),
        (Some(OwnerChange::Set(owner(1))), [1, 0]),
        (Some(OwnerChange::Set(owner(2))), [0, 1]),
        (Some(OwnerChange::Clear), [0, 0]),
        (Some(OwnerChange::Clear), [0, 0]),
        (Some(OwnerChange::Set(owner(1))), [1, 0]),
    ];
    for (change, listed) in steps {
        let mut patch = patch(1);
        patch.owner = change.clone();
        commit_both(&store, &key(1), &mut model, &patch).await;
        let found = [sessions_of(&store, &owner(1)).await.len(), sessions_of(&store, &owner(2)).await.len()];
        assert_eq!(found, listed, "sessions of both owners after {change:?}");
    }
    delete(&store, &key(1)).await;
    assert!(sessions_of(&store, &owner(1)).await.is_empty(), "a deleted session is still listed");
}

pub(super) async fn an_owner_has_many_sessions<S: SessionStore>(store: S) {
    let mut changed = owned(1);
    for n in 1..=3 {
        create(&store, &key(n), &owned(1)).await;
    }
    create(&store, &key(4), &owned(2)).await;
    create(&store, &key(5), &new_record(&[])).await;
    assert_eq!(sessions_of(&store, &owner(1)).await, [key(1), key(2), key(3)].into());
    assert_eq!(sessions_of(&store, &owner(2)).await, [key(4)].into());
    assert!(sessions_of(&store, &owner(3)).await.is_empty());
    // The list shows the header of now.
    let mut patch = puts(1, &[put("shop/views", b"2")]);
    patch.label = Some(Some("telephone".into()));
    commit_both(&store, &key(2), &mut changed, &patch).await;
    let listed = store.by_owner(&owner(1).hash).await.unwrap_or_else(|error| panic!("by_owner failed: {error}"));
    let found = listed.iter().find(|(listed_key, _)| *listed_key == key(2));
    let (_, header) = found.expect("the session is listed");
    let differences = header_differences(header, &changed.header);
    assert!(differences.is_empty(), "by_owner answers another header than load:{}", differences.concat());
}

pub(super) async fn a_refused_commit_leaves_the_owner_index_alone<S: SessionStore>(store: S) {
    create(&store, &key(1), &owned(1)).await;
    let mut conflict = patch(1);
    conflict.owner = Some(OwnerChange::Set(owner(2)));
    conflict.guards = vec![Guard { key: "shop/views".into(), stamp: 9 }];
    let mut gone = patch(1);
    gone.epoch = 1;
    gone.owner = Some(OwnerChange::Clear);
    for refused in [conflict, gone] {
        let outcome = commit(&store, &key(1), &refused).await;
        assert!(!matches!(outcome, CommitOutcome::Committed { .. }), "{refused:?} should be refused");
        assert_eq!(sessions_of(&store, &owner(1)).await, [key(1)].into());
        assert!(sessions_of(&store, &owner(2)).await.is_empty());
    }
}

pub(super) async fn deleting_by_owner_takes_all_but_the_spared_session<S: SessionStore>(store: S) {
    for n in 1..=4 {
        create(&store, &key(n), &owned(1)).await;
    }
    create(&store, &key(5), &owned(2)).await;
    create(&store, &key(6), &new_record(&[])).await;
    assert_eq!(delete_by_owner(&store, 1, Some(2)).await, 3);
    assert_eq!(sessions_of(&store, &owner(1)).await, [key(2)].into());
    for n in [1, 3, 4] {
        assert_absent(&store, &key(n), "after a revocation").await;
        let late = puts(1, &[put("shop/views", b"2")]);
        assert_eq!(commit(&store, &key(n), &late).await, CommitOutcome::Gone, "a late write to a revoked session");
        assert_absent(&store, &key(n), "after a late write to a revoked session").await;
    }
    assert_stored(&store, &key(2), &owned(1), "the spared session").await;
    // A spared session of somebody else spares nothing.
    assert_eq!(delete_by_owner(&store, 1, Some(5)).await, 1);
    assert_absent(&store, &key(2), "after the last revocation").await;
    assert_eq!(delete_by_owner(&store, 1, None).await, 0);
    assert_stored(&store, &key(5), &owned(2), "another owner's session").await;
    assert_stored(&store, &key(6), &new_record(&[]), "nobody's session").await;
}

pub(super) async fn a_sign_out_wipes_and_leaves_the_index_in_one_commit<S: SessionStore>(store: S) {
    let mut model = owned(1);
    create(&store, &key(1), &model).await;
    let mut sign_out = privilege(0, 1, 2);
    sign_out.owner = Some(OwnerChange::Clear);
    sign_out.authenticated_at = Some(None);
    sign_out.wipe_except = Some(vec![]);
    sign_out.puts.push(put("shop/notice", b"bye"));
    commit_both(&store, &key(1), &mut model, &sign_out).await;
    assert!(sessions_of(&store, &owner(1)).await.is_empty());
    assert_eq!(delete_by_owner(&store, 1, None).await, 0);
    assert_stored(&store, &key(1), &model, "after a revocation of the owner who signed out").await;
}
