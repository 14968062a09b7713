//! Creating, loading and deleting: what goes in comes out, and nothing else does.

use super::fixture::*;
use crate::{
    record::{
        Cell, CellBody, CellKey, CodecId, CommitOutcome, Content, CreateOutcome, Guard, Payload, Previous, PreviousState,
        Shape, Timestamp, Want,
    },
    store::SessionStore,
};

pub(super) async fn a_record_comes_back_as_it_was_created<S: SessionStore>(store: S) {
    let large: Vec<u8> = (0..64 * 1024u32).map(|n| (n % 251) as u8).collect();
    let mut record = new_record(&[
        put("shop/empty", b""),
        put("shop/small", b"\0\xff\n'\"\\"),
        put("shop/just inline", &[7; 22]),
        put("shop/just shared", &[7; 23]),
        put("shop/large", &large),
        put("shop/total@4", b"9"),
        put("grüße/名前", b"utf-8"),
        put("~shop/blob", b"on demand"),
        tombstone("shop/cleared"),
    ]);
    record.header.revision = 9;
    let mut body = CellBody::new(Content::Value {
        codec: CodecId::from_u8(200),
        shape: Shape::from_u64(u64::MAX),
        sealed: true,
        payload: Payload::from(&b"sealed"[..]),
    });
    body.deadline = Some(Timestamp::from_millis(-1));
    body.keep = true;
    body.epoch = 0x0102_0304;
    record.cells.insert(Cell::new(CellKey::from("shop/code"), 7, body));
    let mut cleared = CellBody::new(Content::Tombstone);
    cleared.deadline = Some(at(60));
    cleared.keep = true;
    cleared.epoch = 7;
    record.cells.insert(Cell::new(CellKey::from("shop/kept tombstone"), 9, cleared));
    create(&store, &key(1), &record).await;
    assert_stored(&store, &key(1), &record, "after create").await;

    let bare = new_record(&[]);
    create(&store, &key(2), &bare).await;
    assert_stored(&store, &key(2), &bare, "after create without cells").await;
}

pub(super) async fn every_field_of_a_header_comes_back<S: SessionStore>(store: S) {
    for (n, state) in [(1, PreviousState::Pending), (2, PreviousState::Superseded)] {
        let mut record = new_record(&[]);
        let header = &mut record.header;
        header.revision = 3;
        header.created = Timestamp::from_millis(-5);
        header.last_seen = Timestamp::from_millis(-4);
        header.previous = Some(Previous { secret_hash: secret(7), wrapped_key: wrapped(8), state, since: at(-1) });
        header.epoch = 2;
        header.owner = Some(owner(n));
        header.authenticated_at = Some(at(-2));
        header.persistent = true;
        header.label = Some("Anna’s telephone".into());
        header.extensions.set(200, Some(b"of a later build"));
        create(&store, &key(n), &record).await;
        assert_stored(&store, &key(n), &record, "after create").await;
        let listed = store.by_owner(&owner(n).hash).await.unwrap_or_else(|error| panic!("by_owner failed: {error}"));
        let [(listed_key, header)] = &*listed else { panic!("by_owner should list one session, not {listed:?}") };
        assert_eq!(*listed_key, key(n));
        let differences = header_differences(header, &record.header);
        assert!(differences.is_empty(), "by_owner answers another header:{}", differences.concat());
    }
}

pub(super) async fn an_unknown_key_is_absent<S: SessionStore>(store: S) {
    assert_absent(&store, &key(1), "in an empty store").await;
    create(&store, &key(1), &new_record(&[])).await;
    assert_absent(&store, &key(2), "under another key").await;
}

pub(super) async fn create_never_replaces_a_record<S: SessionStore>(store: S) {
    let mut record = new_record(&[put("shop/views", b"1")]);
    record.header.owner = Some(owner(1));
    create(&store, &key(1), &record).await;
    let mut other = new_record(&[put("shop/views", b"2"), put("shop/cart", b"2")]);
    other.header.secret_hash = secret(2);
    other.header.owner = Some(owner(2));
    let outcome = store.create(&key(1), other).await.unwrap_or_else(|error| panic!("a taken key is no error, but: {error}"));
    assert_eq!(outcome, CreateOutcome::Exists);
    assert_stored(&store, &key(1), &record, "after a create under a taken key").await;
    assert_eq!(sessions_of(&store, &owner(1)).await, [key(1)].into());
    assert!(sessions_of(&store, &owner(2)).await.is_empty(), "the refused record is in the owner index");
}

pub(super) async fn deleting_is_idempotent_and_frees_the_key<S: SessionStore>(store: S) {
    delete(&store, &key(1)).await;
    create(&store, &key(1), &new_record(&[put("shop/views", b"1"), put("~shop/blob", b"1")])).await;
    delete(&store, &key(1)).await;
    assert_absent(&store, &key(1), "after delete").await;
    delete(&store, &key(1)).await;
    let fresh = new_record(&[put("shop/cart", b"2")]);
    create(&store, &key(1), &fresh).await;
    assert_stored(&store, &key(1), &fresh, "after delete and create, nothing of the old record").await;
}

pub(super) async fn records_do_not_touch_each_other<S: SessionStore>(store: S) {
    let mut records = [new_record(&[put("shop/views", b"1")]), new_record(&[put("shop/views", b"2")])];
    create(&store, &key(1), &records[0]).await;
    create(&store, &key(2), &records[1]).await;
    commit_both(&store, &key(1), &mut records[0], &puts(1, &[put("shop/views", b"3"), put("shop/cart", b"3")])).await;
    assert_stored(&store, &key(2), &records[1], "after a commit to another record").await;
    delete(&store, &key(1)).await;
    assert_stored(&store, &key(2), &records[1], "after the deletion of another record").await;
}

pub(super) async fn on_demand_cells_come_when_named_and_commit_like_any_other<S: SessionStore>(store: S) {
    let mut model = new_record(&[put("shop/views", b"1"), put("~shop/archive", b"1"), put("~shop/blob", b"1")]);
    create(&store, &key(1), &model).await;
    for named in [&[][..], &["~shop/blob"], &["~shop/blob", "~shop/archive"], &["~shop/none", "shop/none"]] {
        let mut expected = model.clone();
        expected.cells = expected.cells.wanted(&Want::with(named));
        let loaded = load(&store, &key(1), &presented(9, 0), named).await;
        assert_same(loaded.as_ref(), &expected, &format!("a load that names {named:?}"));
    }
    let mut guarded = puts(1, &[put("~shop/blob", b"2")]);
    guarded.guards.push(Guard { key: "~shop/blob".into(), stamp: 1 });
    commit_both(&store, &key(1), &mut model, &guarded).await;
    let conflict = commit_both(&store, &key(1), &mut model, &guarded).await;
    assert!(matches!(conflict, CommitOutcome::Conflict { .. }));
    let mut wipe = patch(2);
    wipe.wipe_except = Some(vec!["~shop/archive".into()]);
    commit_both(&store, &key(1), &mut model, &wipe).await;
}

pub(super) async fn clones_share_their_records<S: SessionStore + Clone>(store: S) {
    let other = store.clone();
    let mut model = new_record(&[]);
    create(&store, &key(1), &model).await;
    commit_both(&other, &key(1), &mut model, &puts(1, &[put("shop/views", b"1")])).await;
    drop(other);
    assert_stored(&store, &key(1), &model, "after a commit through a clone that is gone").await;
    let other = store.clone();
    drop(store);
    assert_stored(&other, &key(1), &model, "after the store it was cloned from is gone").await;
}
