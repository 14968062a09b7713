//! Idle and absolute deadlines, by the clock that the layer was given.

use crate::data::Visitor;
use axum::{
    Router,
    routing::{get, post},
};
use cloakroom::{
    KeyRing, Lifetime, SessionLayer, TypedSession,
    store::{CookieStore, SessionStore, SqliteStore},
};
use cloakroom_tests::shop::{CookieEffect, Events, House, effect};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const SECOND: Duration = Duration::from_secs(1);
const MILLI: Duration = Duration::from_millis(1);

fn lifetime(idle: u64, absolute: u64) -> Lifetime {
    Lifetime::new(Duration::from_secs(idle), Duration::from_secs(absolute)).unwrap()
}

fn visitors() -> Router {
    Router::new()
        .route("/", get(|s: TypedSession<Visitor>| async move { s.visits.to_string() }))
        .route("/add", post(|mut s: TypedSession<Visitor>| async move { *s.visits += 1 }))
        .route(
            "/expires",
            get(|s: TypedSession<Visitor>| async move {
                s.expires_at().duration_since(UNIX_EPOCH).unwrap().as_millis().to_string()
            }),
        )
}

async fn idle_ends_at_the_boundary(house: House<impl SessionStore + Clone>) {
    let events = Events::capture();
    let browser = house.browser_of(visitors().layer(house.layer().lifetime(lifetime(100, 1000))));
    browser.post("/add").await;
    house.clock.advance(100 * SECOND - MILLI);
    assert_eq!(browser.get("/").await.text(), "1", "a millisecond before the deadline it lives");
    house.clock.advance(100 * SECOND - MILLI);
    assert_eq!(browser.get("/").await.text(), "1", "and every use moves the deadline");
    house.clock.advance(100 * SECOND);
    events.take();
    let response = browser.get("/").await;
    assert_eq!(response.text(), "0", "at the deadline it is over");
    assert_eq!(effect(&response), CookieEffect::Clear);
    assert!(events.take().iter().any(|line| line.contains("expired")));
}

async fn absolute_ends_at_the_boundary(house: House<impl SessionStore + Clone>) {
    let browser = house.browser_of(visitors().layer(house.layer().lifetime(lifetime(100, 250))));
    browser.post("/add").await;
    for _ in 0..2 {
        house.clock.advance(99 * SECOND);
        assert_eq!(browser.get("/").await.text(), "1");
    }
    house.clock.advance(52 * SECOND - MILLI);
    assert_eq!(browser.get("/").await.text(), "1");
    house.clock.advance(MILLI);
    let response = browser.get("/").await;
    assert_eq!((response.text().as_str(), effect(&response)), ("0", CookieEffect::Clear), "however busy it was");
}

#[tokio::test]
async fn idle_ends_at_the_boundary_in_memory() {
    idle_ends_at_the_boundary(House::new()).await;
}

#[tokio::test]
async fn idle_ends_at_the_boundary_on_sqlite() {
    idle_ends_at_the_boundary(House::over(SqliteStore::in_memory().await.unwrap())).await;
}

#[tokio::test]
async fn absolute_ends_at_the_boundary_in_memory() {
    absolute_ends_at_the_boundary(House::new()).await;
}

#[tokio::test]
async fn absolute_ends_at_the_boundary_on_sqlite() {
    absolute_ends_at_the_boundary(House::over(SqliteStore::in_memory().await.unwrap())).await;
}

#[tokio::test]
async fn deadlines_hold_inside_a_sealed_cookie_too() {
    let house = House::new();
    let store = CookieStore::new(KeyRing::generate().unwrap());
    let layer = SessionLayer::new(store).clock(house.clock.clone()).lifetime(lifetime(100, 250));
    let browser = house.browser_of(visitors().layer(layer));
    browser.post("/add").await;
    let first = browser.fork();
    house.clock.advance(99 * SECOND);
    assert!(matches!(effect(&browser.get("/").await), CookieEffect::Set(_)), "use re-seals");
    house.clock.advance(SECOND);
    let response = first.get("/").await;
    assert_eq!((response.text().as_str(), effect(&response)), ("0", CookieEffect::Clear));
    house.clock.advance(98 * SECOND);
    assert_eq!(browser.get("/").await.text(), "1");
    house.clock.advance(52 * SECOND - MILLI);
    assert_eq!(browser.get("/").await.text(), "1");
    house.clock.advance(MILLI);
    assert_eq!(browser.get("/").await.text(), "0", "the absolute deadline was copied unchanged");
}

#[tokio::test]
async fn an_expired_session_that_is_written_begins_anew_under_another_name() {
    let house = House::new();
    let browser = house.browser(visitors());
    browser.post("/add").await;
    let old = browser.cookie("__Host-id").unwrap();
    house.clock.advance(Lifetime::default().idle());
    house.log();
    let CookieEffect::Set(new) = effect(&browser.post("/add").await) else { panic!("a new session") };
    assert_ne!(new[..22], old[..22]);
    assert_eq!(house.log(), ["load -> found r1", "create cells [visitor/visits] -> created"]);
    assert_eq!(browser.get("/").await.text(), "1");
}

#[tokio::test]
async fn a_shorter_configuration_shortens_living_sessions() {
    for (idle, absolute) in [(50, 1000), (1000, 50)] {
        let house = House::new();
        let before = house.browser_of(visitors().layer(house.layer().lifetime(lifetime(1000, 2000))));
        before.post("/add").await;
        let after = house.browser_of(visitors().layer(house.layer().lifetime(lifetime(idle, absolute))));
        after.set_cookie("__Host-id", before.cookie("__Host-id").unwrap());
        house.clock.advance(50 * SECOND - MILLI);
        let record = house.record(&after).await.unwrap();
        assert!(record.header.is_open(house.now()));
        let peek = after.fork();
        assert_eq!(peek.get("/").await.text(), "1");
        house.clock.advance(50 * SECOND);
        let response = after.get("/").await;
        assert_eq!((response.text().as_str(), effect(&response)), ("0", CookieEffect::Clear), "{idle} {absolute}");
    }
}

#[tokio::test]
async fn a_longer_configuration_does_not_revive_the_dead() {
    let house = House::new();
    let before = house.browser_of(visitors().layer(house.layer().lifetime(lifetime(50, 100))));
    before.post("/add").await;
    house.clock.advance(50 * SECOND);
    let after = house.browser_of(visitors().layer(house.layer().lifetime(lifetime(1000, 2000))));
    after.set_cookie("__Host-id", before.cookie("__Host-id").unwrap());
    let response = after.get("/").await;
    assert_eq!((response.text().as_str(), effect(&response)), ("0", CookieEffect::Clear));
}

#[tokio::test]
async fn a_longer_configuration_does_not_stretch_the_absolute_deadline_of_the_living() {
    let house = House::new();
    let before = house.browser_of(visitors().layer(house.layer().lifetime(lifetime(50, 100))));
    before.post("/add").await;
    let after = house.browser_of(visitors().layer(house.layer().lifetime(lifetime(1000, 2000))));
    after.set_cookie("__Host-id", before.cookie("__Host-id").unwrap());
    house.clock.advance(49 * SECOND);
    assert_eq!(after.get("/").await.text(), "1");
    house.clock.advance(51 * SECOND);
    assert_eq!(after.get("/").await.text(), "0");
}

#[tokio::test]
async fn expires_at_is_the_nearer_deadline_as_if_nobody_came_again() {
    let house = House::new();
    let browser = house.browser_of(visitors().layer(house.layer().lifetime(lifetime(100, 250))));
    let start = house.now();
    let expires = || async { browser.get("/expires").await.text().parse::<i64>().unwrap() - start.as_millis() };
    assert_eq!(expires().await, 100_000, "a session that does not exist yet: as if it began now");
    browser.post("/add").await;
    house.clock.advance(90 * SECOND);
    assert_eq!(expires().await, 190_000);
    house.clock.advance(90 * SECOND);
    assert_eq!(expires().await, 250_000);
}

#[tokio::test]
async fn a_clock_that_jumps_never_panics_and_never_moves_a_deadline_back() {
    let house = House::new();
    let browser = house.browser(visitors());
    browser.post("/add").await;
    let (start, deadline) = (SystemTime::from(house.now()), house.record(&browser).await.unwrap().header.idle_until);
    for back in [3600, 86_400, 1_800_000_000, 1_900_000_000] {
        house.clock.set(start.checked_sub(Duration::from_secs(back)).unwrap());
        assert_eq!(browser.get("/").await.text(), "1");
        assert!(house.record(&browser).await.unwrap().header.idle_until >= deadline);
    }
    house.clock.set(start + Duration::from_secs(3600));
    assert_eq!(browser.post("/add").await.status(), 200);
    assert_eq!(browser.get("/").await.text(), "2");
    house.clock.set(start + Duration::from_secs(400 * 86_400));
    assert_eq!(effect(&browser.get("/").await), CookieEffect::Clear);
}

#[tokio::test]
async fn a_request_that_knows_a_selector_but_not_the_secret_does_not_keep_the_session_alive() {
    let house = House::new();
    let browser = house.browser(visitors());
    browser.post("/add").await;
    let before = house.record(&browser).await.unwrap().header.idle_until;
    let token = browser.cookie("__Host-id").unwrap();
    let forged = house.browser(visitors());
    // The secret is the token's second half.
    let last = if token.ends_with('A') { "E" } else { "A" };
    forged.set_cookie("__Host-id", format!("{}{last}", &token[..42]));
    house.clock.advance(3600 * SECOND);
    let response = forged.get("/").await;
    assert_eq!((response.text().as_str(), effect(&response)), ("0", CookieEffect::Nothing));
    assert_eq!(house.record(&browser).await.unwrap().header.idle_until, before);
}
