//! Saves that are under way, or still to come, when the request's turn ends.

use crate::data::Visitor;
use axum::{
    Router,
    routing::{get, post},
};
use cloakroom::{
    SessionError, TypedSession,
    testing::{Fault, Gate, Operation},
};
use cloakroom_tests::{
    events::Events,
    shop::{Browser, House},
    site::{Effect, effect},
};
use std::sync::{Arc, Mutex};
use tokio::{
    sync::{Notify, oneshot},
    task::JoinHandle,
};

fn visitors() -> Router {
    Router::new()
        .route("/begin", post(|mut s: TypedSession<Visitor>| async move { *s.visits = 10 }))
        .route("/out", post(|mut s: TypedSession<Visitor>| async move { s.destroy() }))
        .route("/", get(|s: TypedSession<Visitor>| async move { format!("{} {:?}", s.visits, s.name) }))
}

async fn begun(house: &House, routes: Router) -> Browser {
    let browser = house.browser(routes);
    assert_eq!(browser.post("/begin").await.status(), 200);
    house.log();
    browser
}

type Left<T> = Arc<Mutex<Option<T>>>;

/// A place for what a handler leaves behind.
fn left<T>() -> Left<T> {
    Arc::default()
}

fn leave<T>(place: &Left<T>, it: T) {
    *place.lock().unwrap() = Some(it);
}

fn take<T>(place: &Left<T>) -> T {
    place.lock().unwrap().take().unwrap()
}

#[tokio::test]
async fn after_a_client_went_away_a_task_saves_what_it_holds_and_nothing_half_made() {
    for is_begun in [true, false] {
        let house = House::new();
        let (entered, task) = (Arc::new(Notify::new()), left::<JoinHandle<_>>());
        let (go, gone) = oneshot::channel::<()>();
        let gone = Arc::new(Mutex::new(Some(gone)));
        let (notify, place) = (Arc::clone(&entered), Arc::clone(&task));
        let work = move |mut half_made: TypedSession<Visitor>, mut s: TypedSession<Visitor>| async move {
            *half_made.name = Some("half-made".into());
            drop(half_made);
            *s.visits += 1;
            let gone = take(&gone);
            let saving = tokio::spawn(async move {
                gone.await.unwrap();
                s.save().await
            });
            leave(&place, saving);
            notify.notify_one();
            std::future::pending::<()>().await;
        };
        let browser = house.browser(visitors().route("/work", post(work)));
        if is_begun {
            browser.post("/begin").await;
        }
        let tab = browser.clone();
        let request = tokio::spawn(async move { tab.post("/work").await });
        entered.notified().await;
        request.abort();
        assert!(request.await.unwrap_err().is_cancelled());
        go.send(()).unwrap();
        let saved = take(&task).await.unwrap();
        if is_begun {
            saved.unwrap();
            assert_eq!(browser.get("/").await.text(), "11 None");
        } else {
            assert!(matches!(saved, Err(SessionError::HeadSent)));
            assert!(house.faults().inner().is_empty());
        }
    }
}

#[tokio::test]
async fn a_rotation_after_the_head_is_refused_once_and_later_saves_work_again() {
    let house = House::new();
    let place = left();
    let keep = Arc::clone(&place);
    let socket = move |s: TypedSession<Visitor>| async move { leave(&keep, s) };
    let browser = begun(&house, visitors().route("/socket", get(socket))).await;
    browser.get("/socket").await;
    let mut s = take(&place);
    s.rotate();
    *s.visits += 1;
    assert!(matches!(s.save().await, Err(SessionError::HeadSent)));
    assert_eq!(browser.get("/").await.text(), "10 None");
    s.save().await.unwrap();
    assert_eq!(browser.get("/").await.text(), "11 None");
    *s.visits += 1;
    s.save().await.unwrap();
    assert_eq!(browser.get("/").await.text(), "12 None");
}

/// A route whose handler answers while a task of it waits for the store, which stands at the gate.
fn saving(gate: &Gate, task: &Left<JoinHandle<Result<(), SessionError>>>) -> axum::routing::MethodRouter {
    let (gate, task) = (gate.clone(), Arc::clone(task));
    post(move |mut s: TypedSession<Visitor>| async move {
        *s.visits += 1;
        leave(&task, tokio::spawn(async move { s.save().await }));
        gate.reached().await;
    })
}

#[tokio::test]
async fn a_save_under_way_when_the_handler_returns_is_held_at_head_and_ends_as_the_store_says() {
    for (fault, between, stored) in
        [(Fault::HoldBefore as fn(Gate) -> Fault, "/", true), (Fault::HoldAfter, "/", true), (Fault::HoldBefore, "/out", false)]
    {
        let house = House::new();
        let (gate, task) = (Gate::new(), left());
        let browser = begun(&house, visitors().route("/save", saving(&gate, &task))).await;
        house.faults().next(Operation::Commit, fault(gate.clone()));
        let response = browser.fork().post("/save").await;
        assert_eq!((response.status().as_u16(), effect(&response)), (500, Effect::Nothing));
        if between == "/out" {
            browser.post(between).await;
        }
        gate.open();
        let saved = take(&task).await.unwrap();
        if stored {
            saved.unwrap();
            assert_eq!(browser.get("/").await.text(), "11 None");
        } else {
            assert!(matches!(saved, Err(SessionError::Gone)));
            assert!(house.faults().inner().is_empty());
        }
    }
}

#[tokio::test]
async fn a_save_that_begins_a_session_too_late_for_its_cookie_is_head_sent_and_leaves_no_record() {
    for fault in [Fault::HoldBefore as fn(Gate) -> Fault, Fault::HoldAfter] {
        let house = House::new();
        let (gate, task) = (Gate::new(), left());
        let browser = house.browser(visitors().route("/save", saving(&gate, &task)));
        house.faults().next(Operation::Create, fault(gate.clone()));
        let response = browser.post("/save").await;
        assert_eq!((response.status().as_u16(), effect(&response)), (500, Effect::Nothing));
        gate.open();
        assert!(matches!(take(&task).await.unwrap(), Err(SessionError::HeadSent)));
        assert!(house.faults().inner().is_empty());
    }
}

#[tokio::test]
async fn a_destroy_while_another_handle_saves_leaves_no_record_and_no_cookie() {
    for (operation, expected) in [(Operation::Commit, Effect::Clear), (Operation::Create, Effect::Nothing)] {
        for fault in [Fault::HoldBefore as fn(Gate) -> Fault, Fault::HoldAfter] {
            let house = House::new();
            let gate = Gate::new();
            let held = gate.clone();
            let both = move |mut a: TypedSession<Visitor>, mut b: TypedSession<Visitor>| async move {
                *a.visits += 1;
                let out = async {
                    held.reached().await;
                    b.destroy();
                    held.open();
                };
                // Nothing of what it brought is stored in the end.
                let (saved, ()) = tokio::join!(a.save(), out);
                assert!(matches!(saved, Err(SessionError::Gone)));
            };
            let browser = house.browser(visitors().route("/both", post(both)));
            if operation == Operation::Commit {
                browser.post("/begin").await;
            }
            house.faults().next(operation, fault(gate));
            let response = browser.post("/both").await;
            assert_eq!((response.status().as_u16(), effect(&response)), (200, expected.clone()));
            assert!(house.faults().inner().is_empty());
            assert_eq!(browser.get("/").await.text(), "0 None");
        }
    }
}

#[tokio::test]
async fn a_destroy_during_a_save_after_the_head_leaves_no_record() {
    for fault in [Fault::HoldBefore as fn(Gate) -> Fault, Fault::HoldAfter] {
        let house = House::new();
        let place = left();
        let keep = Arc::clone(&place);
        let socket = move |a: TypedSession<Visitor>, b: TypedSession<Visitor>| async move { leave(&keep, (a, b)) };
        let browser = begun(&house, visitors().route("/socket", get(socket))).await;
        browser.get("/socket").await;
        let (mut a, mut b) = take(&place);
        let gate = Gate::new();
        house.faults().next(Operation::Commit, fault(gate.clone()));
        *a.visits += 1;
        let out = async {
            gate.reached().await;
            b.destroy();
            gate.open();
        };
        let (saved, ()) = tokio::join!(a.save(), out);
        assert!(matches!(saved, Err(SessionError::Gone)));
        assert!(house.faults().inner().is_empty(), "the save carries the destroy out");
        assert_eq!(browser.get("/").await.text(), "0 None");
    }
}

#[tokio::test]
async fn a_handle_dropped_after_the_head_does_not_take_along_what_another_one_failed_to_save() {
    let events = Events::capture();
    let house = House::new();
    let place = left();
    let keep = Arc::clone(&place);
    let socket = move |a: TypedSession<Visitor>, b: TypedSession<Visitor>| async move { leave(&keep, (a, b)) };
    let browser = begun(&house, visitors().route("/socket", get(socket))).await;
    browser.get("/socket").await;
    let (a, mut b) = take(&place);
    *b.visits += 1;
    house.faults().next(Operation::Commit, Fault::Unavailable);
    assert!(matches!(b.save().await, Err(SessionError::Unavailable(_))));
    drop(a);
    b.save().await.unwrap();
    assert_eq!(browser.get("/").await.text(), "11 None");
    *b.visits += 1;
    house.faults().next(Operation::Commit, Fault::Unavailable);
    assert!(b.save().await.is_err());
    assert_eq!(events.count("session.changes_lost"), 0);
    drop(b);
    assert_eq!(events.count("session.changes_lost"), 1, "nobody is left to save them");
}

#[tokio::test]
async fn what_a_503_said_was_lost_is_not_written_by_a_later_save() {
    let house = House::new();
    let place = left();
    let keep = Arc::clone(&place);
    let socket = move |mut a: TypedSession<Visitor>, b: TypedSession<Visitor>| async move {
        *a.visits += 1;
        drop(a);
        leave(&keep, b);
    };
    let browser = begun(&house, visitors().route("/socket", post(socket))).await;
    house.faults().next(Operation::Commit, Fault::Unavailable);
    assert_eq!(browser.post("/socket").await.status(), 503);
    let mut b = take(&place);
    *b.name = Some("Ada".into());
    // Whether the session of a request that failed takes more is not the point here.
    let saved = b.save().await.is_ok();
    assert_eq!(browser.get("/").await.text(), if saved { r#"10 Some("Ada")"# } else { "10 None" });
}

#[tokio::test]
async fn a_late_save_adds_to_what_is_stored_not_to_what_the_request_gave_up() {
    let house = House::new();
    let place = left();
    let keep = Arc::clone(&place);
    let fails = move |mut a: TypedSession<Visitor>, mut b: TypedSession<Visitor>| async move {
        *a.visits += 100;
        drop(a);
        b.refresh().unwrap();
        assert_eq!(b.visits, 110);
        leave(&keep, b);
        axum::http::StatusCode::INTERNAL_SERVER_ERROR
    };
    let browser = begun(&house, visitors().route("/fails", post(fails))).await;
    assert_eq!(browser.post("/fails").await.status(), 500);
    let mut b = take(&place);
    *b.visits += 1;
    b.save().await.unwrap();
    assert_eq!(browser.get("/").await.text(), "11 None");
}
