//! From a request to a handle, and what happens when there is none to be had.

use axum::{
    Router,
    extract::Request,
    middleware::{Next, from_fn},
    response::Response,
    routing::any,
};
use cloakroom::{
    SessionError, SessionLayer, SessionRejection, TypedSession,
    testing::{Fault, Operation, TestClient},
};
use cloakroom_tests::{
    events::Events,
    site::{Effect, FRESH, Settings, Shop, Site, effect, seconds, selector, shop, show, watched},
};
use http::{StatusCode, header};

#[tokio::test]
async fn a_handler_that_takes_the_session_sees_stored_data_on_every_path() {
    let routes = || {
        let read = any(async |shop: TypedSession<Shop>| show(&shop));
        shop()
            .route("/a", read.clone())
            .route("/a/b/c", read.clone())
            .nest("/api", Router::new().route("/", read))
            .fallback(async |shop: TypedSession<Shop>| show(&shop))
    };
    let site = Site::of(watched(), &Settings::default(), routes());
    site.browser.post("/name/Ada").await;
    for path in ["/", "/a", "/a/b/c", "/api", "/nowhere", "/?x=1"] {
        assert_eq!(site.browser.get(path).await.text(), "Ada:0", "{path}");
    }
}

#[tokio::test]
async fn a_handler_that_takes_no_session_costs_no_store_call() {
    let store = watched();
    let site = Site::on(store.clone());
    site.browser.post("/visit").await;
    store.take();
    let response = site.browser.get("/plain").await;
    assert_eq!(response.text(), "plain");
    assert_eq!(store.take(), []);
    assert_eq!(effect(&response), Effect::Nothing);
    assert!(!response.headers().contains_key(header::VARY), "nobody looked at the cookie");
}

#[tokio::test]
async fn paths_that_look_alike_load_by_their_handlers_and_not_by_their_names() {
    let store = watched();
    let routes = shop().route("/app", any(async |shop: TypedSession<Shop>| show(&shop))).route("/ap", any(async || "plain"));
    let site = Site::of(store.clone(), &Settings::default(), routes);
    site.browser.post("/visit").await;
    store.take();
    assert_eq!(site.browser.get("/ap").await.text(), "plain");
    assert_eq!(store.count(Operation::Load), 0);
    assert_eq!(site.browser.get("/app").await.text(), ":1");
    assert_eq!(store.count(Operation::Load), 1);
}

#[tokio::test]
async fn without_a_cookie_there_are_defaults_and_no_store_call() {
    let store = watched();
    let site = Site::on(store.clone());
    let response = site.browser.get("/").await;
    assert_eq!(response.text(), FRESH);
    assert_eq!(effect(&response), Effect::Nothing);
    assert_eq!(store.take(), []);
}

#[tokio::test]
async fn an_unknown_id_gives_defaults_and_is_cleared() {
    for site in Site::on_servers(&Settings::default()).await {
        let events = Events::capture();
        let response = site.present("/", &"A".repeat(43)).await;
        assert_eq!((response.status(), &*response.text()), (StatusCode::OK, FRESH), "{}", site.backend);
        assert_eq!(effect(&response), Effect::Clear, "{}", site.backend);
        let said = events.take();
        assert!(said.len() == 1 && said[0].contains("why=\"unknown\""), "{said:?}");
    }
}

#[tokio::test]
async fn stored_values_are_what_a_handler_gets() {
    for site in Site::everywhere(&Settings::default()).await {
        site.browser.post("/name/Ada").await;
        site.browser.post("/visit").await;
        assert_eq!(site.browser.get("/").await.text(), "Ada:1", "{}", site.backend);
    }
}

#[tokio::test]
async fn one_request_loads_once_however_many_handles_it_takes() {
    let store = watched();
    let both = any(async |first: TypedSession<Shop>, second: TypedSession<Shop>| show(&first) + &show(&second));
    let site = Site::of(store.clone(), &Settings::default(), shop().route("/both", both));
    site.browser.post("/visit").await;
    store.take();
    assert_eq!(site.browser.get("/both").await.text(), ":1:1");
    assert_eq!(store.count(Operation::Load), 1);
}

#[tokio::test]
async fn metadata_can_only_be_asked_of_a_session_that_was_loaded() {
    // There is nothing to call it on: without a session the optional handle is `None`.
    let age = any(async |shop: Option<TypedSession<Shop>>| shop.is_some().to_string());
    let store = watched();
    let site = Site::of(store.clone(), &Settings::default(), shop().route("/age", age));
    assert_eq!(site.browser.get("/age").await.text(), "false");
    assert_eq!(store.take(), [], "no cookie, no question");
    assert_eq!(site.present("/age", &"A".repeat(43)).await.text(), "false");
    site.browser.post("/visit").await;
    assert_eq!(site.browser.get("/age").await.text(), "true");
}

#[tokio::test]
async fn a_missing_layer_is_named_with_its_fix() {
    let routes = Router::new().route(
        "/",
        any(async |shop: Result<TypedSession<Shop>, SessionRejection>| {
            let rejection = shop.expect_err("no layer, no session");
            assert!(matches!(rejection.error(), SessionError::MissingLayer));
            rejection.to_string()
        }),
    );
    let text = TestClient::new(routes).get("/").await.text();
    assert!(text.contains("SessionLayer") && text.contains(".layer("), "{text}");
    let bare = TestClient::new(shop()).get("/").await;
    assert_eq!(bare.status(), StatusCode::INTERNAL_SERVER_ERROR);
}

#[tokio::test]
async fn the_wrong_order_of_layers_is_named_with_its_fix() {
    async fn count(
        shop: Result<TypedSession<Shop>, SessionRejection>,
        request: Request,
        next: Next,
    ) -> Result<Response, String> {
        shop.map_err(|rejection| rejection.to_string())?;
        Ok(next.run(request).await)
    }
    let sessions = SessionLayer::new(watched());
    let right = TestClient::new(shop().layer(from_fn(count)).layer(sessions.clone()));
    assert_eq!(right.get("/").await.text(), FRESH);
    let wrong = TestClient::new(shop().layer(sessions).layer(from_fn(count)));
    let text = wrong.get("/").await.text();
    assert!(text.contains("SessionLayer") && text.contains("after any layer that itself takes a session"), "{text}");
}

#[tokio::test]
async fn there_is_no_session_that_is_not_loaded() {
    let store = watched();
    let routes = shop().route("/maybe", any(async |shop: Option<TypedSession<Shop>>| shop.is_some().to_string())).route(
        "/decide",
        any(async |shop: Result<TypedSession<Shop>, SessionRejection>| match shop {
            Ok(_) => "a session",
            Err(_) => "none",
        }),
    );
    let site = Site::of(store.clone(), &Settings::default(), routes);
    site.browser.post("/visit").await;
    store.inner().down();
    for path in ["/", "/maybe"] {
        assert_eq!(site.browser.get(path).await.status(), StatusCode::SERVICE_UNAVAILABLE, "{path}");
    }
    assert_eq!(site.browser.get("/decide").await.text(), "none");
}

#[tokio::test]
async fn a_store_that_fails_to_load_is_a_503_that_keeps_the_cookie_and_runs_no_handler() {
    let store = watched();
    let site = Site::on(store.clone());
    site.browser.post("/visit").await;
    store.inner().next(Operation::Load, Fault::Unavailable);
    let response = site.browser.post("/visit").await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(response.headers().contains_key(header::RETRY_AFTER));
    assert_eq!(effect(&response), Effect::Nothing);
    assert_eq!(site.browser.get("/").await.text(), ":1", "the handler did not run, and the cookie still opens");
}

#[tokio::test]
async fn a_store_that_fails_to_write_is_a_503_that_keeps_the_cookie() {
    let store = watched();
    let site = Site::on(store.clone());
    store.inner().next(Operation::Create, Fault::Unavailable);
    let response = site.browser.post("/visit").await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(effect(&response), Effect::Nothing, "no cookie for a record that does not exist");
    site.browser.post("/visit").await;
    for fault in [Fault::Unavailable, Fault::UnknownNotApplied] {
        store.inner().next(Operation::Commit, fault);
        let response = site.browser.post("/visit").await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(response.headers().contains_key(header::RETRY_AFTER));
        assert_eq!(effect(&response), Effect::Nothing);
    }
    assert_eq!(site.browser.get("/").await.text(), ":1");
}

#[tokio::test]
async fn an_id_that_we_did_not_issue_is_never_adopted() {
    let store = watched();
    let site = Site::on(store.clone());
    let hostile = [
        "A".repeat(43),
        "../../etc/passwd".to_owned(),
        "x".repeat(5_000),
        "0123456789abcdef0123456789abcdef".to_owned(),
        String::new(),
    ];
    for value in &hostile {
        let response = site.present("/visit", value).await;
        let Effect::Set(token) = effect(&response) else { panic!("{value:?}: a new session gets a cookie") };
        assert_ne!(&token, value);
        assert_eq!(token.len(), 43);
        if value.len() == 43 {
            assert_ne!(selector(&token), selector(value), "not even half of it is used");
        }
    }
    assert_eq!(store.inner().inner().len(), hostile.len());
    assert_eq!(store.count(Operation::Load), 1, "what is no token does not reach the store");
    site.clock.advance(seconds(1));
    assert_eq!(site.present("/", &hostile[0]).await.text(), FRESH);
}
