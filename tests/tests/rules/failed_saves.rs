//! A `save()` that fails: what becomes of its changes, of what follows, and of the response.

use crate::data::Visitor;
use axum::{
    Router,
    routing::{get, post},
};
use cloakroom::{
    SessionData, SessionError, TypedSession,
    testing::{Fault, Operation},
};
use cloakroom_tests::{
    events::Events,
    shop::{Browser, House},
    site::{COOKIE, Effect, effect},
};
use http::StatusCode;

fn visitors() -> Router {
    Router::new()
        .route("/begin", post(|mut s: TypedSession<Visitor>| async move { *s.visits = 10 }))
        .route("/", get(|s: TypedSession<Visitor>| async move { format!("{} {:?} {:?}", s.visits, s.name, s.notice) }))
}

async fn begun(house: &House, routes: Router) -> Browser {
    let browser = house.browser(routes);
    assert_eq!(browser.post("/begin").await.status(), 200);
    house.log();
    browser
}

#[derive(SessionData)]
#[session(name = "basket")]
struct Basket {
    name: String,
    #[session(validate = at_most_three)]
    things: Vec<u32>,
}

fn at_most_three(things: &[u32]) -> bool {
    things.len() <= 3
}

fn overfill(s: &mut TypedSession<Basket>) {
    *s.name = "Eve".into();
    s.things.extend([2, 3, 4]);
}

fn baskets() -> Router {
    Router::new()
        .route(
            "/begin",
            post(|mut s: TypedSession<Basket>| async move {
                *s.name = "Ada".into();
                s.things.push(1);
            }),
        )
        .route("/", get(|s: TypedSession<Basket>| async move { format!("{} {:?}", s.name, s.things) }))
}

fn is_invalid(result: Result<(), SessionError>) -> bool {
    matches!(result, Err(SessionError::Invalid { field, .. }) if field == "basket.things")
}

#[tokio::test]
async fn of_a_handle_with_one_refused_value_nothing_is_stored_and_the_handlers_answer_stays() {
    let house = House::new();
    let refuse = |mut s: TypedSession<Basket>| async move {
        overfill(&mut s);
        assert!(is_invalid(s.save().await));
        StatusCode::UNPROCESSABLE_ENTITY
    };
    let browser = begun(&house, baskets().route("/refuse", post(refuse))).await;
    let events = Events::capture();
    let response = browser.post("/refuse").await;
    assert_eq!((response.status().as_u16(), effect(&response)), (422, Effect::Nothing));
    assert_eq!(events.count("session.changes_lost"), 1);
    assert_eq!(house.log(), ["load -> found r1"]);
    assert_eq!(browser.get("/").await.text(), "Ada [1]");
}

#[tokio::test]
async fn once_the_refused_value_is_mended_a_second_save_stores_the_good_one_too() {
    let house = House::new();
    let mend = |mut s: TypedSession<Basket>| async move {
        overfill(&mut s);
        assert!(is_invalid(s.save().await));
        assert!(is_invalid(s.save().await), "it is refused as often as it is tried");
        s.things.pop();
        s.save().await.unwrap();
        StatusCode::INTERNAL_SERVER_ERROR // what is stored is stored, and nothing else would be
    };
    let browser = begun(&house, baskets().route("/mend", post(mend))).await;
    assert_eq!(browser.post("/mend").await.status(), 500);
    assert_eq!(house.store.count(Operation::Commit), 1);
    assert_eq!(browser.get("/").await.text(), "Eve [1, 2, 3]");
}

#[tokio::test]
async fn of_a_handle_dropped_with_a_refused_value_not_even_the_save_of_another_one_stores_anything() {
    let house = House::new();
    let refuse = |mut s: TypedSession<Basket>, mut other: TypedSession<Visitor>| async move {
        overfill(&mut s);
        drop(s);
        *other.visits += 1;
        other.save().await.unwrap();
    };
    let routes = baskets().route("/refuse", post(refuse)).route("/visits", visitors_only());
    let browser = begun(&house, routes).await;
    let response = browser.post("/refuse").await;
    assert_eq!((response.status().as_u16(), effect(&response)), (500, Effect::Nothing));
    assert_eq!(browser.get("/").await.text(), "Ada [1]");
    assert_eq!(browser.get("/visits").await.text(), "1", "the other handle's save is its own");
}

fn visitors_only() -> axum::routing::MethodRouter {
    get(|s: TypedSession<Visitor>| async move { s.visits.to_string() })
}

#[tokio::test]
async fn what_a_save_failed_to_store_is_not_stored_behind_the_handlers_back_but_later_changes_are() {
    let house = House::new();
    let pay = |mut s: TypedSession<Visitor>| async move {
        *s.visits += 1;
        *s.name = Some("Ada".into());
        assert!(matches!(s.save().await, Err(SessionError::Unavailable(_))));
        *s.notice = Some("no charge was made".into());
    };
    let browser = begun(&house, visitors().route("/pay", post(pay))).await;
    house.faults().next(Operation::Commit, Fault::Unavailable);
    let events = Events::capture();
    assert_eq!(browser.post("/pay").await.status(), 200);
    assert_eq!(events.count("session.changes_lost"), 2, "one for each change");
    assert_eq!(browser.get("/").await.text(), r#"10 None Some("no charge was made")"#);
}

#[tokio::test]
async fn a_second_save_stores_what_the_first_one_could_not_and_what_came_since() {
    let house = House::new();
    let pay = |mut s: TypedSession<Visitor>| async move {
        *s.visits += 1;
        assert!(matches!(s.save().await, Err(SessionError::Unavailable(_))));
        *s.notice = Some("paid".into());
        s.save().await.unwrap();
    };
    let browser = begun(&house, visitors().route("/pay", post(pay))).await;
    house.faults().next(Operation::Commit, Fault::Unavailable);
    let events = Events::capture();
    assert_eq!(browser.post("/pay").await.status(), 200);
    assert_eq!(events.count("session.changes_lost"), 0);
    assert_eq!(browser.get("/").await.text(), r#"11 None Some("paid")"#);
}

#[tokio::test]
async fn a_rotation_asked_for_after_a_failed_save_is_carried_out() {
    let house = House::new();
    let rotate = |mut s: TypedSession<Visitor>| async move {
        *s.visits += 1;
        assert!(matches!(s.save().await, Err(SessionError::Unavailable(_))));
        s.rotate();
    };
    let browser = begun(&house, visitors().route("/rotate", post(rotate))).await;
    let (old_tab, old) = (browser.fork(), browser.cookie(COOKIE).unwrap());
    house.faults().next(Operation::Commit, Fault::Unavailable);
    let response = browser.post("/rotate").await;
    assert_eq!(response.status(), 200);
    assert!(matches!(effect(&response), Effect::Set(token) if token != old));
    assert_eq!(browser.get("/").await.text(), "10 None None", "the failed change is not part of it");
    assert_eq!(old_tab.get("/").await.text(), "0 None None");
}

#[tokio::test]
async fn a_rotation_that_a_save_failed_to_carry_out_waits_for_another_save() {
    let house = House::new();
    let rotate = |again: bool| {
        post(move |mut s: TypedSession<Visitor>| async move {
            s.rotate();
            assert!(matches!(s.save().await, Err(SessionError::Unavailable(_))));
            if again {
                s.save().await.unwrap();
            }
        })
    };
    let browser = begun(&house, visitors().route("/once", rotate(false)).route("/twice", rotate(true))).await;
    let events = Events::capture();
    house.faults().next(Operation::Commit, Fault::Unavailable);
    assert_eq!(effect(&browser.post("/once").await), Effect::Nothing);
    assert_eq!(events.count("session.changes_lost"), 1);
    house.faults().next(Operation::Commit, Fault::Unavailable);
    assert!(matches!(effect(&browser.post("/twice").await), Effect::Set(_)));
    assert_eq!(browser.get("/").await.text(), "10 None None");
}

#[tokio::test]
async fn a_destroy_that_saves_fail_to_carry_out_is_carried_out_with_the_response_or_is_a_503() {
    for recovers in [true, false] {
        let house = House::new();
        let store = house.clone();
        let out = move |mut s: TypedSession<Visitor>| async move {
            s.destroy();
            for _ in 0..2 {
                assert!(matches!(s.save().await, Err(SessionError::Unavailable(_))));
            }
            if recovers {
                store.faults().heal();
            }
        };
        let browser = begun(&house, visitors().route("/out", post(out))).await;
        house.faults().always(Operation::Delete, Fault::Unavailable);
        let response = browser.post("/out").await;
        let (status, left) = if recovers { (200, 0) } else { (503, 1) };
        assert_eq!((response.status().as_u16(), effect(&response)), (status, Effect::Clear));
        assert_eq!(response.headers().contains_key("retry-after"), !recovers);
        assert_eq!(house.faults().inner().len(), left);
        assert_eq!(browser.cookie(COOKIE), None);
    }
}

#[tokio::test]
async fn the_cookie_of_a_session_that_was_created_goes_out_though_a_later_save_has_an_unknown_outcome() {
    let begin = |mut s: TypedSession<Visitor>| async move {
        *s.visits = 1;
        s.save().await.unwrap();
        *s.visits = 2;
        assert!(matches!(s.save().await, Err(SessionError::OutcomeUnknown(_))));
    };
    for (fault, stored) in [(Fault::UnknownNotApplied, 1), (Fault::UnknownApplied, 2)] {
        let house = House::new();
        let browser = house.browser(visitors().route("/twice", post(begin)));
        house.faults().next(Operation::Commit, fault);
        let response = browser.post("/twice").await;
        assert_eq!(response.status(), 200);
        assert!(matches!(effect(&response), Effect::Set(_)));
        assert_eq!(browser.get("/").await.text(), format!("{stored} None None"));
        assert_eq!(house.store.count(Operation::Commit), 1, "nothing is written blindly again");
    }
}

#[tokio::test]
async fn after_an_unknown_outcome_nothing_writes_the_change_again() {
    for (fault, stored) in [(Fault::UnknownNotApplied, 10), (Fault::UnknownApplied, 11)] {
        for again in [false, true] {
            let house = House::new();
            let count = move |mut s: TypedSession<Visitor>| async move {
                *s.visits += 1;
                assert!(matches!(s.save().await, Err(SessionError::OutcomeUnknown(_))));
                // Neither another save nor the response's own commit.
                if again {
                    assert!(matches!(s.save().await, Err(SessionError::OutcomeUnknown(_))));
                }
            };
            let browser = begun(&house, visitors().route("/count", post(count))).await;
            house.faults().next(Operation::Commit, fault.clone());
            assert_eq!(browser.post("/count").await.status(), 200);
            assert_eq!(house.store.count(Operation::Commit), 1, "{fault:?}, again: {again}");
            assert_eq!(browser.get("/").await.text(), format!("{stored} None None"));
        }
    }
}

#[tokio::test]
async fn a_session_in_doubt_can_be_destroyed() {
    let out = |mut s: TypedSession<Visitor>| async move {
        *s.visits += 1;
        s.save().await.ok();
        *s.visits += 1;
        assert!(matches!(s.save().await, Err(SessionError::OutcomeUnknown(_))));
        s.destroy();
    };
    for (path, expected) in [("/unused", Effect::Nothing), ("/begin", Effect::Clear)] {
        let house = House::new();
        let browser = house.browser(visitors().route("/out", post(out)).route("/unused", post(|| async {})));
        browser.post(path).await;
        if path == "/begin" {
            house.faults().next(Operation::Commit, Fault::Unavailable);
        }
        house.faults().next(Operation::Commit, Fault::UnknownApplied);
        let response = browser.post("/out").await;
        assert_eq!((response.status().as_u16(), effect(&response)), (200, expected));
        assert!(house.faults().inner().is_empty());
    }
}

#[tokio::test]
async fn a_handler_that_returns_the_librarys_error_answers_an_outage_with_503_and_retry_after() {
    async fn pay(mut s: TypedSession<Visitor>) -> Result<&'static str, SessionError> {
        *s.visits += 1;
        s.save().await?;
        Ok("paid")
    }
    let house = House::new();
    let browser = begun(&house, visitors().route("/pay", post(pay))).await;
    house.faults().next(Operation::Commit, Fault::Unavailable);
    let response = browser.post("/pay").await;
    assert_eq!((response.status().as_u16(), effect(&response)), (503, Effect::Nothing));
    assert!(response.headers().contains_key("retry-after"));
    assert_eq!(browser.get("/").await.text(), "10 None None");
    assert_eq!(browser.post("/pay").await.text(), "paid");
}
