//! Rotated tokens, and what an old one is still worth.

use crate::data::Visitor;
use axum::{
    Router,
    routing::{get, post},
};
use cloakroom::{KeyRing, SessionLayer, TypedSession, store::CookieStore};
use cloakroom_tests::shop::{CookieEffect, Events, House, effect};
use http::StatusCode;
use std::time::Duration;

fn visitors() -> Router {
    let add = |mut s: TypedSession<Visitor>| async move {
        *s.visits += 1;
        s.visits.to_string()
    };
    Router::new()
        .route("/", get(|s: TypedSession<Visitor>| async move { s.visits.to_string() }))
        .route("/add", post(add).get(add))
        .route("/rotate", post(|mut s: TypedSession<Visitor>| async move { s.rotate() }))
        .route("/option", get(|s: Option<TypedSession<Visitor>>| async move { s.is_some().to_string() }))
}

#[tokio::test]
async fn a_rotation_keeps_the_record_under_its_key_and_kills_the_old_secret_at_once() {
    let events = Events::capture();
    let house = House::new();
    let browser = house.browser(visitors());
    browser.post("/add").await;
    let old = browser.fork();
    let CookieEffect::Set(new) = effect(&browser.post("/rotate").await) else { panic!("a rotation hands out its token") };
    assert_eq!(house.faults().inner().len(), 1);
    assert_eq!(new[..21], old.cookie("__Host-id").unwrap()[..21], "the selector stays, so the store key does");
    assert_ne!(Some(new), old.cookie("__Host-id"));
    assert_eq!(house.record(&browser).await.unwrap().header.epoch, 1);
    assert_eq!(browser.get("/").await.text(), "1");
    events.take();
    let response = old.get("/").await;
    assert_eq!((response.status().as_u16(), response.text().as_str(), effect(&response)), (200, "0", CookieEffect::Nothing));
    assert!(events.take().iter().any(|line| line.contains(r#"why="stale""#)));
    assert_eq!(old.get("/option").await.text(), "false");
}

#[tokio::test]
async fn a_stale_write_within_a_minute_is_gone_and_later_begins_a_new_session() {
    let house = House::new();
    let browser = house.browser(visitors());
    browser.post("/add").await;
    let old = browser.fork();
    browser.post("/rotate").await;
    for wait in [0, 59] {
        house.clock.advance(Duration::from_secs(wait));
        house.log();
        let response = old.post("/add").await;
        assert_eq!((response.status(), effect(&response)), (StatusCode::CONFLICT, CookieEffect::Nothing), "after {wait} s");
        let response = old.get("/add").await;
        assert_eq!((response.status().as_u16(), response.text().as_str()), (200, "1"), "a GET keeps its response");
        assert_eq!(effect(&response), CookieEffect::Nothing);
        assert_eq!(house.log(), ["load -> found r1", "load -> found r1"], "nothing is written");
    }
    house.clock.advance(Duration::from_secs(2));
    let response = old.post("/add").await;
    assert_eq!(response.status(), 200);
    assert!(matches!(effect(&response), CookieEffect::Set(_)), "a client that lost its new token is not locked out");
    assert_eq!(old.get("/").await.text(), "1");
    assert_eq!(browser.get("/").await.text(), "1");
    assert_eq!(house.faults().inner().len(), 2);
}

#[tokio::test]
async fn a_stale_cookie_is_never_cleared_however_late() {
    let house = House::new();
    let browser = house.browser(visitors());
    browser.post("/add").await;
    let old = browser.fork();
    browser.post("/rotate").await;
    for _ in 0..3 {
        house.clock.advance(Duration::from_secs(3600));
        assert_eq!(effect(&old.get("/").await), CookieEffect::Nothing);
        browser.get("/").await;
    }
}

#[tokio::test]
async fn a_rotation_alone_is_one_commit_without_cells() {
    let house = House::new();
    let browser = house.browser(visitors());
    browser.post("/add").await;
    house.log();
    browser.post("/rotate").await;
    assert_eq!(house.log(), ["load -> found r1", "commit rotates -> committed r1"]);
}

#[tokio::test]
async fn rotating_a_session_that_does_not_exist_does_nothing() {
    let house = House::new();
    let browser = house.browser(visitors());
    assert_eq!(effect(&browser.post("/rotate").await), CookieEffect::Nothing);
    assert_eq!(house.log(), [""; 0]);
}

#[tokio::test]
async fn a_rotation_of_a_sealed_cookie_gives_a_new_one_and_old_copies_replay_until_their_deadline() {
    let house = House::new();
    let layer = SessionLayer::new(CookieStore::new(KeyRing::generate().unwrap())).clock(house.clock.clone());
    let browser = house.browser_of(visitors().layer(layer));
    browser.post("/add").await;
    let old = browser.fork();
    assert!(matches!(effect(&browser.post("/rotate").await), CookieEffect::Set(_)));
    browser.post("/add").await;
    assert_eq!(browser.get("/").await.text(), "2");
    assert_eq!(old.get("/").await.text(), "1");
    house.clock.advance(cloakroom::Lifetime::default().idle());
    assert_eq!(effect(&old.get("/").await), CookieEffect::Clear);
}
