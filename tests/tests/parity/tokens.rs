//! Tokens, their rotation, and the name of a session that may be logged.

use axum::{body::Body, routing::any};
use base64ct::{Base64UrlUnpadded, Encoding};
use cloakroom::{
    SessionError, TypedSession,
    record::Record,
    store::{MemoryStore, SessionStore},
    testing::{Op, Operation, RotationKind},
};
use cloakroom_tests::{
    events::Events,
    site::{COOKIE, Effect, FRESH, Settings, Shop, Site, effect, record, selector, shop, show, watched},
};
use http::Request;
use std::collections::HashSet;

async fn the_record(site: &Site, store: &impl SessionStore) -> Record {
    record(store, &selector(&site.token()), site.now()).await.expect("the session is stored")
}

#[tokio::test]
async fn a_token_is_43_characters_of_base64url_and_never_the_same() {
    let site = Site::on(watched());
    let mut seen = HashSet::new();
    for _ in 0..200 {
        let Effect::Set(token) = effect(&site.browser.fork().post("/visit").await) else { panic!("a new session") };
        assert_eq!(token.len(), 43);
        assert!(token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)), "{token}");
        assert!(seen.insert(token[..21].to_owned()), "a selector came twice");
        assert!(seen.insert(token[22..].to_owned()), "a secret came twice");
    }
}

#[tokio::test]
async fn after_a_rotation_the_client_holds_another_token_and_the_old_one_is_dead_at_once() {
    for site in Site::on_servers(&Settings::default()).await {
        site.browser.post("/name/Ada").await;
        let old = site.token();
        assert!(matches!(effect(&site.browser.post("/rotate").await), Effect::Set(_)), "{}", site.backend);
        let new = site.token();
        assert_eq!(selector(&old), selector(&new), "the store's key stays");
        assert_ne!(old, new);
        assert_eq!(site.browser.get("/").await.text(), "Ada:0", "{}", site.backend);
        let response = site.present("/", &old).await;
        assert_eq!(response.text(), FRESH, "{}", site.backend);
        assert_eq!(effect(&response), Effect::Nothing, "it could erase the newer token: {}", site.backend);
    }
}

#[tokio::test]
async fn after_a_rotation_there_is_one_record_under_the_same_key() {
    let store = watched();
    let site = Site::on(store.clone());
    site.browser.post("/name/Ada").await;
    let (memory, before) = (store.inner().inner(), the_record(&site, store.inner().inner()).await);
    store.take();
    site.browser.post("/rotate").await;
    let after = the_record(&site, memory).await;
    assert_eq!(memory.len(), 1);
    assert!(!after.header.secret_hash.matches(&before.header.secret_hash));
    assert_eq!(after.header.epoch, before.header.epoch + 1);
    let log = store.take();
    assert!(
        matches!(&log[..], [Op::Load { .. }, Op::Commit { rotation: Some(RotationKind::Privilege), .. }]),
        "one atomic step: {log:?}"
    );
}

#[tokio::test]
async fn a_rotation_stores_the_changes_of_its_request_in_the_same_step() {
    let sign_in = any(async |mut shop: TypedSession<Shop>| {
        *shop.name = "Ada".to_owned();
        shop.rotate();
    });
    let store = watched();
    let site = Site::of(store.clone(), &Settings::default(), shop().route("/sign-in", sign_in));
    site.browser.post("/visit").await;
    store.take();
    site.browser.post("/sign-in").await;
    assert_eq!(store.count(Operation::Commit), 1);
    assert_eq!(site.browser.get("/").await.text(), "Ada:1");
}

#[tokio::test]
async fn rotating_and_destroying_in_one_request_leaves_no_record_and_no_way_in() {
    let leave = any(async |mut shop: TypedSession<Shop>| {
        shop.rotate();
        shop.destroy();
    });
    let saved = any(async |mut shop: TypedSession<Shop>| -> Result<(), String> {
        shop.rotate();
        shop.save().await.map_err(|error| error.to_string())?;
        shop.destroy();
        Ok(())
    });
    for path in ["/leave", "/saved"] {
        let store = MemoryStore::new();
        let routes = shop().route("/leave", leave.clone()).route("/saved", saved.clone());
        let site = Site::of(store.clone(), &Settings::default(), routes);
        site.browser.post("/name/Ada").await;
        let old = site.token();
        assert_eq!(effect(&site.browser.post(path).await), Effect::Clear, "{path}");
        assert!(store.is_empty(), "{path}: a record survived");
        assert_eq!(site.present("/", &old).await.text(), FRESH, "{path}");
        assert_eq!(effect(&site.present("/", &old).await), Effect::Clear, "{path}: it is unknown now");
    }
}

#[tokio::test]
async fn rotating_twice_leaves_one_record_and_one_token_that_opens_it() {
    let twice = any(async |mut shop: TypedSession<Shop>| {
        shop.rotate();
        shop.rotate();
    });
    let apart = any(async |mut shop: TypedSession<Shop>| -> Result<(), String> {
        shop.rotate();
        shop.save().await.map_err(|error| error.to_string())?;
        shop.rotate();
        Ok(())
    });
    for path in ["/twice", "/apart"] {
        let store = MemoryStore::new();
        let routes = shop().route("/twice", twice.clone()).route("/apart", apart.clone());
        let site = Site::of(store.clone(), &Settings::default(), routes);
        site.browser.post("/name/Ada").await;
        let old = site.token();
        assert!(matches!(effect(&site.browser.post(path).await), Effect::Set(_)), "{path}");
        assert_eq!(store.len(), 1, "{path}");
        assert_eq!(site.browser.get("/").await.text(), "Ada:0", "{path}");
        assert_eq!(site.present("/", &old).await.text(), FRESH, "{path}");
    }
}

#[tokio::test]
async fn rotating_before_anything_is_read_loses_nothing() {
    for site in Site::everywhere(&Settings::default()).await {
        site.browser.post("/name/Ada").await;
        site.browser.post("/visit").await;
        site.browser.post("/rotate").await;
        assert_eq!(site.browser.get("/").await.text(), "Ada:1", "{}", site.backend);
    }
}

#[tokio::test]
async fn rotating_a_session_that_does_not_exist_creates_none() {
    for site in Site::everywhere(&Settings::default()).await {
        assert_eq!(effect(&site.browser.post("/rotate").await), Effect::Nothing, "{}", site.backend);
    }
}

#[tokio::test]
async fn the_handle_can_be_logged_and_the_token_cannot_be_read() {
    let inside = any(async |mut shop: TypedSession<Shop>| {
        *shop.views += 1;
        let shown = format!("{:?} {}", shop, show(&shop));
        shop.save().await.expect("the store works");
        format!("{shown} {shop:?} {}", shop.handle().expect("it exists now"))
    });
    let events = Events::capture();
    let store = watched();
    let site = Site::of(store.clone(), &Settings::default(), shop().route("/inside", inside));
    let shown = site.browser.post("/inside").await.text();
    let mut said = events.take().join("\n");
    said.extend(store.log().iter().map(|op| format!("\n{op} {op:?}")));
    said += &format!("\n{:?} {:?}", the_record(&site, store.inner().inner()).await, SessionError::Gone);
    let handle = site.browser.get("/handle").await.text();
    assert!(shown.ends_with(&handle) && handle.len() == 16);
    assert!(said.contains(&handle), "events name the session: {said}");
    let token = site.token();
    for half in [&token[..20], &token[23..]] {
        assert!(!shown.contains(half) && !said.contains(half), "part of the token is readable:\n{shown}\n{said}");
    }
}

#[tokio::test]
async fn a_store_holds_no_part_of_a_token_that_opens_it() {
    let store = MemoryStore::new();
    let site = Site::on(store.clone());
    site.browser.post("/visit").await;
    let token = Base64UrlUnpadded::decode_vec(&site.token()).unwrap();
    let header = the_record(&site, &store).await.header;
    assert_ne!(header.secret_hash.as_bytes()[..16], token[16..], "a hash, not the secret");
    assert_ne!(header.wrapped_key.as_bytes()[..16], token[16..]);
}

#[tokio::test]
async fn a_token_anywhere_but_in_its_cookie_opens_nothing_and_is_not_looked_up() {
    let store = watched();
    let site = Site::on(store.clone());
    site.browser.post("/name/Ada").await;
    let token = site.token();
    let stranger = site.browser.fork();
    stranger.clear_cookies();
    store.take();
    for uri in [
        format!("/?{COOKIE}={token}"),
        format!("/?session={token}&id={token}&token={token}"),
        format!("/?;jsessionid={token}"),
        format!("/#{COOKIE}={token}"),
        format!("/?token={token}"),
    ] {
        assert_eq!(stranger.get(&uri).await.text(), FRESH, "{uri}");
    }
    let in_the_path = stranger.get(&format!("/handle;{COOKIE}={token}")).await.text();
    assert!(!in_the_path.contains("Ada"), "{in_the_path}");
    for (name, value) in [
        ("authorization", format!("Bearer {token}")),
        ("authorization", token.clone()),
        ("cookie2", format!("{COOKIE}={token}")),
        ("set-cookie", format!("{COOKIE}={token}")),
        ("x-session", token.clone()),
        ("x-session-id", token.clone()),
        ("x-auth-token", token.clone()),
        (COOKIE, token.clone()),
        ("referer", format!("https://shop.example/?{COOKIE}={token}")),
    ] {
        let request = Request::post("/").header(name, value).body(Body::from(format!("{COOKIE}={token}"))).unwrap();
        let response = stranger.send(request).await;
        assert_eq!((response.text().as_str(), effect(&response)), (FRESH, Effect::Nothing), "{name}");
    }
    let form = Request::post("/").header("content-type", "application/x-www-form-urlencoded");
    let form = form.body(Body::from(format!("{COOKIE}={token}"))).unwrap();
    assert_eq!(stranger.send(form).await.text(), FRESH);
    assert_eq!(store.take(), [], "no store was asked");
    assert_eq!(site.present("/", &token).await.text(), "Ada:0");
    assert_eq!(site.browser.get("/").await.text(), "Ada:0");
}
