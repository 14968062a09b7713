//! Destroying and clearing, and what may not happen afterwards.

use axum::{Router, routing::any};
use cloakroom::{
    CookiePolicy, SameSite, SessionData, TypedSession,
    store::{MemoryStore, SessionStore, SqliteStore},
    testing::{Fault, FaultStore, Gate, Operation},
};
use cloakroom_tests::site::{Effect, FRESH, Settings, Shop, Site, effect, record, selector, set_cookie, shop, watched};
use http::StatusCode;

#[tokio::test]
async fn destroying_a_session_sends_a_deletion_cookie_with_a_zero_age_and_the_date_of_1970() {
    for site in Site::everywhere(&Settings::default()).await {
        site.browser.post("/visit").await;
        let response = site.browser.post("/destroy").await;
        let line = set_cookie(&response);
        assert!(line.starts_with("__Host-id=;"), "{}: {line}", site.backend);
        assert!(line.contains("; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT"), "{}: {line}", site.backend);
        assert_eq!(site.browser.cookie("__Host-id"), None, "{}", site.backend);
        assert_eq!(site.browser.get("/").await.text(), FRESH, "{}", site.backend);
    }
}

#[tokio::test]
async fn the_deletion_cookie_repeats_every_attribute() {
    let policy = CookiePolicy::default().name("__Secure-id").unwrap().domain("example.com").unwrap();
    let policy = policy.path("/shop").unwrap().same_site(SameSite::None).unwrap().partitioned().unwrap();
    let site = Site::with(MemoryStore::new(), &Settings::cookie(policy));
    let set = set_cookie(&site.browser.post("/visit").await);
    let (pair, attributes) = set.split_once("; ").unwrap();
    let deleted = set_cookie(&site.send("/destroy", &[pair.as_bytes()]).await);
    assert_eq!(deleted, format!("__Secure-id=; {attributes}; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT"));
    for attribute in ["HttpOnly", "SameSite=None", "Partitioned", "Secure", "Path=/shop", "Domain=example.com"] {
        assert!(attributes.split("; ").any(|sent| sent == attribute), "{attribute} in {attributes}");
    }
}

#[derive(SessionData)]
#[session(name = "library")]
struct Library {
    seen: bool,
}

#[tokio::test]
async fn destroy_removes_the_record_and_clear_keeps_it_with_the_cookie() {
    let store = MemoryStore::new();
    let look = any(async |mut library: TypedSession<Library>| std::mem::replace(&mut *library.seen, true).to_string());
    let site = Site::of(store.clone(), &Settings::default(), shop().route("/library", look));
    site.browser.post("/name/Ada").await;
    site.browser.post("/library").await;
    let (token, key) = (site.token(), selector(&site.token()));

    let response = site.browser.post("/clear").await;
    assert_eq!(effect(&response), Effect::Nothing);
    assert_eq!((site.token(), store.len()), (token, 1));
    assert_eq!(site.browser.get("/").await.text(), FRESH);
    assert_eq!(site.browser.get("/library").await.text(), "true", "cells of other structs stay");

    site.browser.post("/destroy").await;
    assert!(record(&store, &key, site.now()).await.is_none());
    assert!(store.is_empty());
}

#[tokio::test]
async fn clearing_a_loaded_session_is_stored_by_every_backend() {
    for site in Site::everywhere(&Settings::default()).await {
        site.browser.post("/name/Ada").await;
        site.browser.post("/clear").await;
        assert_eq!(site.browser.get("/").await.text(), FRESH, "{}", site.backend);
    }
}

#[tokio::test]
async fn later_writes_of_a_request_that_destroyed_begin_a_new_session() {
    let leave = any(async |mut shop: TypedSession<Shop>| {
        shop.destroy();
        *shop.name = "you are signed out".to_owned();
    });
    let store = MemoryStore::new();
    let site = Site::of(store.clone(), &Settings::default(), shop().route("/leave", leave));
    site.browser.post("/name/Ada").await;
    let before = site.token();
    assert!(matches!(effect(&site.browser.post("/leave").await), Effect::Set(token) if selector(&token) != selector(&before)));
    assert_eq!(site.browser.get("/").await.text(), "you are signed out:0");
    assert_eq!(site.present("/", &before).await.text(), FRESH);
    assert_eq!(store.len(), 1);
}

#[tokio::test]
async fn destroying_a_session_that_nobody_began_sends_and_writes_nothing() {
    let store = watched();
    let site = Site::on(store.clone());
    let response = site.browser.post("/destroy").await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(effect(&response), Effect::Nothing);
    assert_eq!(store.take(), []);
}

#[tokio::test]
async fn destroying_with_a_cookie_that_opens_nothing_clears_it() {
    for site in Site::everywhere(&Settings::default()).await {
        let response = site.present("/destroy", &"A".repeat(43)).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(effect(&response), Effect::Clear, "{}", site.backend);
    }
}

#[tokio::test]
async fn destroy_works_on_every_request_path_whatever_the_path_of_the_cookie() {
    let store = MemoryStore::new();
    let policy = CookiePolicy::default().name("__Secure-id").unwrap().path("/admin").unwrap();
    let site = Site::with(store.clone(), &Settings::cookie(policy));
    let set = set_cookie(&site.browser.post("/visit").await);
    let pair = set.split(';').next().unwrap();
    let response = site.send("/destroy", &[pair.as_bytes()]).await;
    let line = set_cookie(&response);
    assert!(line.contains("; Path=/admin; Max-Age=0;"), "{line}");
    assert!(store.is_empty());
}

#[tokio::test]
async fn a_destroy_goes_out_whatever_the_status() {
    let fail = any(async |mut shop: TypedSession<Shop>| {
        shop.destroy();
        StatusCode::INTERNAL_SERVER_ERROR
    });
    let store = MemoryStore::new();
    let site = Site::of(store.clone(), &Settings::default(), shop().route("/fail", fail));
    site.browser.post("/visit").await;
    assert_eq!(effect(&site.browser.post("/fail").await), Effect::Clear);
    assert!(store.is_empty());
}

#[tokio::test]
async fn a_copy_of_a_destroyed_session_opens_nothing_on_a_server_side_store() {
    for site in Site::on_servers(&Settings::default()).await {
        site.browser.post("/name/Ada").await;
        let copy = site.token();
        site.browser.post("/destroy").await;
        let response = site.present("/", &copy).await;
        assert_eq!(response.text(), FRESH, "{}", site.backend);
        assert_eq!(effect(&response), Effect::Clear, "{}", site.backend);
    }
}

#[tokio::test]
async fn a_slow_request_cannot_bring_back_a_destroyed_session() {
    slow_against_destroy(MemoryStore::new()).await;
    slow_against_destroy(SqliteStore::in_memory().await.unwrap()).await;
}

async fn slow_against_destroy<S: SessionStore + Clone>(store: S) {
    let faults = FaultStore::new(store.clone());
    let site = Site::on(faults.clone());
    site.browser.post("/visit").await;
    let (token, key) = (site.token(), selector(&site.token()));
    let gate = Gate::new();
    faults.next(Operation::Commit, Fault::HoldBefore(gate.clone()));
    let slow = tokio::spawn({
        let tab = site.browser.clone();
        async move { tab.post("/visit").await }
    });
    gate.reached().await;
    assert_eq!(effect(&site.browser.post("/destroy").await), Effect::Clear);
    gate.open();
    let late = slow.await.unwrap();
    assert_eq!(late.status(), StatusCode::CONFLICT, "{}", site.backend);
    assert_eq!(effect(&late), Effect::Nothing, "{}", site.backend);
    assert!(record(&store, &key, site.now()).await.is_none(), "{}", site.backend);
    assert_eq!(site.present("/", &token).await.text(), FRESH, "{}", site.backend);
}

#[tokio::test]
async fn destroying_twice_is_destroying() {
    let twice = any(async |mut shop: TypedSession<Shop>| {
        shop.destroy();
        shop.destroy();
    });
    let store = MemoryStore::new();
    let site = Site::of(store.clone(), &Settings::default(), Router::new().merge(shop()).route("/twice", twice));
    site.browser.post("/visit").await;
    assert_eq!(effect(&site.browser.post("/twice").await), Effect::Clear);
    assert!(store.is_empty());
}
