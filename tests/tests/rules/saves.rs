//! Saves in the middle of a request: several at once, given up half-way, around a rotation or a destroy.

use crate::data::Visitor;
use async_trait::async_trait;
use axum::{
    Router,
    routing::{get, post},
};
use cloakroom::{
    SessionData, SessionError, TypedSession,
    record::{CommitOutcome, Patch, Selector},
    store::{MemoryStore, SessionStore, SqliteStore, StoreError},
    testing::{Fault, Gate, Op, Operation, Outcome},
};
use cloakroom_tests::{
    events::Events,
    intercept::{Intercept, Intercepted},
    shop::{Browser, House},
    site::{Effect, effect},
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::time::timeout;

fn visitors() -> Router {
    Router::new()
        .route(
            "/begin",
            post(|mut s: TypedSession<Visitor>| async move {
                *s.visits = 10;
                *s.name = Some("Ada".into());
            }),
        )
        .route("/", get(|s: TypedSession<Visitor>| async move { format!("{} {:?} {:?}", s.visits, s.name, s.notice) }))
}

async fn begun(house: &House<impl SessionStore + Clone>, routes: Router) -> Browser {
    let browser = house.browser(routes);
    browser.post("/begin").await;
    house.log();
    browser
}

#[tokio::test]
async fn two_handles_saved_at_once_both_count() {
    let house = House::new();
    let both = |mut a: TypedSession<Visitor>, mut b: TypedSession<Visitor>| async move {
        *a.visits += 1;
        *b.visits += 100;
        *b.name = Some("Bob".into());
        let (first, second) = tokio::join!(a.save(), b.save());
        first.unwrap();
        second.unwrap();
    };
    let browser = begun(&house, visitors().route("/both", post(both))).await;
    assert_eq!(browser.post("/both").await.status(), 200);
    assert_eq!(browser.get("/").await.text(), r#"111 Some("Bob") None"#);
}

#[tokio::test]
async fn two_handles_of_a_new_session_saved_at_once_make_one_session() {
    let house = House::new();
    let both = |mut a: TypedSession<Visitor>, mut b: TypedSession<Visitor>| async move {
        *a.visits += 1;
        *b.visits += 100;
        let (first, second) = tokio::join!(a.save(), b.save());
        first.unwrap();
        second.unwrap();
    };
    let browser = house.browser(visitors().route("/both", post(both)));
    assert!(matches!(effect(&browser.post("/both").await), Effect::Set(_)));
    assert_eq!(house.store.count(Operation::Create), 1);
    assert_eq!(house.faults().inner().len(), 1);
    assert_eq!(browser.get("/").await.text(), "101 None None");
}

#[tokio::test]
async fn a_save_given_up_half_way_is_never_stored_twice_and_never_confirmed() {
    for (fault, stored) in [(Fault::HoldBefore as fn(Gate) -> Fault, 10), (Fault::HoldAfter, 11)] {
        let house = House::new();
        let gate = Gate::new();
        let reached = gate.clone();
        let give_up = move |mut s: TypedSession<Visitor>| {
            let reached = reached.clone();
            async move {
                *s.visits += 1;
                tokio::select! {
                    _ = s.save() => panic!("the store does not answer"),
                    () = reached.reached() => {}
                }
            }
        };
        let browser = begun(&house, visitors().route("/give-up", post(give_up))).await;
        house.faults().next(Operation::Commit, fault(gate.clone()));
        let response = browser.post("/give-up").await;
        assert_eq!(
            (response.status().as_u16(), effect(&response)),
            (503, Effect::Nothing),
            "nobody knows whether it is stored"
        );
        assert_eq!(house.store.count(Operation::Commit), 1, "what may be stored is not stored again");
        gate.open();
        assert_eq!(browser.get("/").await.text(), format!(r#"{stored} Some("Ada") None"#));
    }
}

#[tokio::test]
async fn what_is_written_after_a_saved_rotation_belongs_to_the_new_epoch() {
    let house = House::new();
    let rotate = |mut s: TypedSession<Visitor>| async move {
        s.rotate();
        s.save().await.unwrap();
        *s.visits += 1;
    };
    let browser = begun(&house, visitors().route("/rotate", post(rotate))).await;
    let response = browser.post("/rotate").await;
    assert_eq!(response.status(), 200);
    assert!(matches!(effect(&response), Effect::Set(_)));
    assert_eq!(browser.get("/").await.text(), r#"11 Some("Ada") None"#);
}

#[tokio::test]
async fn a_rotation_that_was_saved_is_not_made_again() {
    let house = House::new();
    let rotate = |mut s: TypedSession<Visitor>| async move {
        s.rotate();
        s.save().await.unwrap();
        *s.visits += 1;
        s.save().await.unwrap();
        *s.visits += 1;
    };
    let browser = begun(&house, visitors().route("/rotate", post(rotate))).await;
    let before = house.record(&browser).await.unwrap().header.epoch;
    assert_eq!(browser.post("/rotate").await.status(), 200);
    assert_eq!(house.store.count(Operation::Commit), 3);
    assert_eq!(house.record(&browser).await.unwrap().header.epoch, before + 1);
}

#[tokio::test]
async fn a_saved_destroy_is_done_and_what_follows_begins_anew() {
    let house = House::new();
    let inside = house.clone();
    let out = move |mut s: TypedSession<Visitor>| async move {
        s.destroy();
        s.save().await.unwrap();
        assert!(inside.faults().inner().is_empty());
        assert!(s.is_new());
        *s.notice = Some("bye".into());
    };
    let browser = begun(&house, visitors().route("/out", post(out))).await;
    assert!(matches!(effect(&browser.post("/out").await), Effect::Set(_)));
    assert_eq!(browser.get("/").await.text(), r#"0 None Some("bye")"#);
}

#[tokio::test]
async fn a_handle_that_outlives_the_head_is_announced() {
    let events = Events::capture();
    let house = House::new();
    let kept = Arc::new(Mutex::new(None));
    let keep = Arc::clone(&kept);
    let socket = move |s: TypedSession<Visitor>| async move { *keep.lock().unwrap() = Some(s) };
    let browser = begun(&house, visitors().route("/socket", get(socket))).await;
    browser.get("/").await;
    assert_eq!(events.count("session.outlived_head"), 0);
    assert_eq!(browser.get("/socket").await.status(), 200);
    assert_eq!(events.count("session.outlived_head"), 1);
}

#[tokio::test]
async fn a_value_that_cannot_be_encoded_is_an_error_that_names_its_field_and_nothing_is_stored() {
    #[derive(SessionData)]
    #[session(name = "maps")]
    struct Maps {
        other: u32,
        #[session(opaque)]
        by_pair: BTreeMap<(u8, u8), u8>,
    }
    let house = House::new();
    let write = |mut s: TypedSession<Maps>| async move {
        *s.other = 1;
        s.by_pair.insert((1, 2), 3);
        let error = s.save().await.unwrap_err();
        assert!(matches!(&error, SessionError::Encode { field, .. } if field == "maps.by_pair"), "{error}");
        s.by_pair.insert((3, 4), 5);
    };
    let browser = house.browser(Router::new().route("/", post(write)));
    let response = browser.post("/").await;
    assert_eq!((response.status().as_u16(), effect(&response)), (500, Effect::Nothing));
    assert_eq!(house.log(), [""; 0]);
}

#[tokio::test]
async fn a_reader_too_is_told_of_an_unknown_outcome() {
    let house = House::new();
    let add = |mut s: TypedSession<Visitor>| async move { *s.visits += 1 };
    let browser = begun(&house, visitors().route("/add", get(add))).await;
    for fault in [Fault::Unavailable, Fault::UnknownApplied] {
        house.faults().next(Operation::Commit, fault);
        assert_eq!(browser.get("/add").await.status(), 503, "only what is gone is kept from a reader");
    }
}

/// Another request always commits first.
struct Contended;

#[async_trait]
impl Intercept for Contended {
    async fn commit(&self, store: &MemoryStore, key: &Selector, patch: &Patch) -> Result<CommitOutcome, StoreError> {
        let mut first = Patch::new(patch.epoch, patch.now);
        first.puts.clone_from(&patch.puts);
        store.commit(key, &first).await?;
        store.commit(key, patch).await
    }
}

#[tokio::test]
async fn a_store_that_only_ever_conflicts_is_a_503_after_a_while() {
    let house = House::over(Intercepted::by(Contended));
    let add = |mut s: TypedSession<Visitor>| async move { *s.visits += 1 };
    let browser = begun(&house, visitors().route("/add", post(add))).await;
    let response = timeout(Duration::from_secs(20), browser.post("/add")).await.expect("the request ends");
    assert_eq!((response.status().as_u16(), effect(&response)), (503, Effect::Nothing));
    assert!(response.headers().contains_key("retry-after"));
    let conflicts = house
        .store
        .take()
        .into_iter()
        .filter(|op| matches!(op, Op::Commit { outcome: Outcome::Done(CommitOutcome::Conflict { .. }), .. }));
    assert!(conflicts.count() > 3, "it was tried again");
}

async fn damaged(damage: &str) -> (tempfile::TempDir, House<SqliteStore>, Browser) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessions.db");
    let house = House::over(SqliteStore::open(&path).await.unwrap());
    let browser = begun(&house, visitors()).await;
    rusqlite::Connection::open(&path).unwrap().execute_batch(damage).unwrap();
    (folder, house, browser)
}

#[tokio::test]
async fn a_header_that_cannot_be_read_counts_as_unknown_with_an_event_of_its_own() {
    for damage in ["x''", "x'ff'", "substr(header, 1, 40)", "CAST(header || x'00' AS BLOB)", "zeroblob(150)"] {
        let (_folder, _house, browser) = damaged(&format!("UPDATE cloakroom_record SET header = {damage}")).await;
        let events = Events::capture();
        let response = browser.get("/").await;
        assert_eq!((response.status().as_u16(), response.text().as_str()), (200, "0 None None"), "{damage}");
        assert_eq!(effect(&response), Effect::Clear, "{damage}");
        let seen = events.take();
        assert!(seen.iter().any(|line| line.contains("header") && line.starts_with("WARN")), "{seen:?}");
        assert!(seen.iter().any(|line| line.contains(r#"why="unknown""#)), "{seen:?}");
        assert_eq!(browser.post("/begin").await.status(), 200, "never a permanent error");
        assert_eq!(browser.get("/").await.text(), r#"10 Some("Ada") None"#);
    }
}

#[tokio::test]
async fn a_cell_that_cannot_be_read_at_all_resets_its_schema_and_the_next_write_heals_it() {
    for damage in ["x''", "x'ff'", "zeroblob(3)", "CAST(body || x'00' AS BLOB)"] {
        let (_folder, house, browser) =
            damaged(&format!("UPDATE cloakroom_cell SET body = {damage} WHERE key = 'visitor/visits'")).await;
        let events = Events::capture();
        let response = browser.get("/").await;
        assert_eq!((response.status().as_u16(), response.text().as_str()), (200, "0 None None"), "{damage}");
        assert_eq!(events.count("session.undecodable"), 1, "{damage}");
        assert_eq!(house.store.count(Operation::Commit), 0);
        assert_eq!(browser.post("/begin").await.status(), 200);
        assert_eq!(browser.get("/").await.text(), r#"10 Some("Ada") None"#);
        assert_eq!(events.count("session.undecodable"), 1, "the load of the healing write is the last to see it");
    }
}

#[tokio::test]
async fn clear_heals_a_struct_that_could_not_be_read() {
    let (_folder, house, damaged) = damaged("UPDATE cloakroom_cell SET body = x'ff' WHERE key = 'visitor/visits'").await;
    let clear = |mut s: TypedSession<Visitor>| async move { s.clear() };
    let browser = house.browser(visitors().route("/clear", post(clear)));
    browser.set_cookie("__Host-id", damaged.cookie("__Host-id").unwrap());
    assert_eq!(browser.post("/clear").await.status(), 200);
    let record = house.record(&browser).await.unwrap();
    assert!(record.cells.iter().all(|cell| cell.body.content.payload().is_none()), "{:?}", record.cells);
    let events = Events::capture();
    assert_eq!(browser.get("/").await.text(), "0 None None");
    assert_eq!(events.count("session.undecodable"), 0);
}
