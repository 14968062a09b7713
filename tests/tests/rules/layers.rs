//! Layers that are missing, nested, or share a name they should not.

use crate::data::Visitor;
use axum::{
    Router,
    body::Body,
    extract::Request,
    middleware::{Next, from_fn},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use cloakroom::{
    CookiePolicy, ErrorContext, KeyRing, Lifetime, SessionData, SessionError, SessionLayer, SessionRejection, SessionService,
    TypedSession,
    store::{CookieStore, MemoryStore, SqliteStore},
};
use cloakroom_tests::{
    events::Events,
    shop::House,
    site::{Effect, effect, keys},
};
use http::StatusCode;
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tower::Layer;

async fn add(mut s: TypedSession<Visitor>) {
    *s.visits += 1;
}

async fn show(s: TypedSession<Visitor>) -> String {
    s.visits.to_string()
}

type Seen = Arc<Mutex<Vec<String>>>;

/// A hook that keeps what it was told.
fn recorder() -> (Seen, impl Fn(&SessionError, &ErrorContext) -> Response + Send + Sync + 'static) {
    let seen = Seen::default();
    let keep = Arc::clone(&seen);
    let hook = move |error: &SessionError, context: &ErrorContext| {
        let accept = context.accept.as_ref().map(|accept| String::from_utf8_lossy(accept.as_bytes()).into_owned());
        keep.lock().unwrap().push(format!("{} {} {accept:?}: {error}", context.method, context.uri));
        (error.status(), "a page of ours").into_response()
    };
    (seen, hook)
}

#[tokio::test]
async fn a_missing_layer_names_itself_and_the_fix() {
    let house = House::new();
    let tell = |s: Result<TypedSession<Visitor>, SessionRejection>| async move { s.err().unwrap().to_string() };
    let browser = house.browser_of(Router::new().route("/", get(show)).route("/tell", get(tell)));
    let response = browser.get("/").await;
    assert_eq!(response.status(), 500);
    let text = browser.get("/tell").await.text();
    assert!(text.contains("SessionLayer") && text.contains(".layer(SessionLayer::new("), "{text}");
}

#[tokio::test]
async fn a_layer_on_the_wrong_side_of_a_middleware_that_takes_a_session_is_told_the_order() {
    let house = House::new();
    let seen = Arc::<Mutex<Option<String>>>::default();
    let keep = Arc::clone(&seen);
    let needs = move |s: Result<TypedSession<Visitor>, SessionRejection>, request: Request, next: Next| {
        let keep = Arc::clone(&keep);
        async move {
            if let Err(rejection) = s {
                *keep.lock().unwrap() = Some(rejection.to_string());
                return rejection.into_response();
            }
            next.run(request).await
        }
    };
    // The session layer is inside of the middleware: it was added first.
    let browser = house.browser_of(Router::new().route("/", get(show)).layer(house.layer()).layer(from_fn(needs)));
    assert_eq!(browser.get("/").await.status(), 500);
    let text = seen.lock().unwrap().take().unwrap();
    assert!(text.contains("after any layer that itself takes a session"), "{text}");
}

#[tokio::test]
async fn a_layer_inside_another_of_the_same_cookie_joins_it_and_its_policy_holds() {
    let house = House::new();
    let hour = Lifetime::new(Duration::from_secs(3600), Duration::from_secs(3600)).unwrap();
    let inner = Router::new().route("/in", post(add)).route("/", get(show)).layer(house.layer().lifetime(hour));
    let app = inner
        .layer(from_fn(|mut s: TypedSession<Visitor>, request: Request, next: Next| async move {
            let response = next.run(request).await;
            *s.visits += 10;
            response
        }))
        .layer(house.layer());
    let browser = house.browser_of(app);
    let response = browser.post("/in").await;
    assert_eq!(house.log(), ["create cells [visitor/visits] -> created"]);
    assert!(matches!(effect(&response), Effect::Set(_)));
    let record = house.record(&browser).await.unwrap();
    assert_eq!(record.header.absolute_until, house.now().plus(hour.absolute()), "the inner layer's policy holds");
    house.log();
    browser.post("/in").await;
    assert_eq!(house.log(), ["load -> found r1", "commit guards [visitor/visits r1] puts [visitor/visits] -> committed r2"]);
    assert_eq!(response.headers().get_all("vary").iter().count(), 1, "one layer speaks");
}

#[tokio::test]
async fn a_layer_of_another_cookie_inside_one_is_an_error_that_names_both() {
    let house = House::new();
    let (seen, hook) = recorder();
    let policy = CookiePolicy::default().name("__Host-other").unwrap();
    let app = Router::new().route("/", post(add)).layer(house.layer().cookie(policy).on_error(hook)).layer(house.layer());
    let browser = house.browser_of(app);
    let response = browser.post("/").await;
    assert_eq!(response.status(), 500);
    assert_eq!(house.log(), [""; 0]);
    let seen = seen.lock().unwrap();
    assert!(seen[0].contains("__Host-other") && seen[0].contains("__Host-id"), "{seen:?}");
}

#[tokio::test]
async fn layers_of_other_cookies_on_other_routes_are_sessions_of_their_own() {
    let house = House::new();
    let policy = CookiePolicy::default().name("__Host-other").unwrap();
    let routes = || Router::new().route("/add", post(add)).route("/", get(show));
    let app = Router::new().nest("/a", routes().layer(house.layer())).nest("/b", routes().layer(house.layer().cookie(policy)));
    let browser = house.browser_of(app);
    browser.post("/a/add").await;
    browser.post("/b/add").await;
    browser.post("/b/add").await;
    assert_eq!(browser.get("/a").await.text(), "1");
    assert_eq!(browser.get("/b").await.text(), "2");
}

#[derive(SessionData)]
#[session(name = "visitor")]
struct Impostor {
    visits: String,
}

#[tokio::test]
async fn two_structs_of_one_name_are_an_error_that_names_both() {
    let house = House::new();
    let (seen, hook) = recorder();
    let impostor = |mut s: TypedSession<Impostor>| async move { s.visits.push('x') };
    let app = Router::new().route("/", post(add)).route("/impostor", post(impostor)).layer(house.layer().on_error(hook));
    let browser = house.browser_of(app);
    browser.post("/").await;
    let response = browser.post("/impostor").await;
    assert_eq!((response.status().as_u16(), response.text().as_str()), (500, "a page of ours"));
    let seen = seen.lock().unwrap();
    assert!(seen[0].contains("Visitor") && seen[0].contains("Impostor") && seen[0].contains("name = "), "{seen:?}");
}

#[tokio::test]
async fn the_error_hook_gets_the_error_and_the_request_it_belongs_to() {
    let events = Events::capture();
    let house = House::new();
    let (seen, hook) = recorder();
    let app = Router::new().route("/cart", post(add).get(show)).layer(house.layer().on_error(hook));
    let browser = house.browser_of(app);
    browser.post("/cart").await;
    house.faults().down();
    events.take();
    let request = Request::get("/cart?item=7").header("accept", "application/json").body(Body::empty()).unwrap();
    let response = browser.send(request).await;
    assert_eq!((response.status(), response.text().as_str()), (StatusCode::SERVICE_UNAVAILABLE, "a page of ours"));
    assert_eq!(events.count("session.failed"), 1, "one event per request");
    let seen = seen.lock().unwrap();
    assert!(seen[0].starts_with(r#"GET /cart?item=7 Some("application/json"): "#), "{seen:?}");
    assert_eq!(seen.len(), 1);
}

#[tokio::test]
async fn the_error_hook_answers_for_a_failed_commit_too() {
    let house = House::new();
    let (seen, hook) = recorder();
    let browser = house.browser_of(Router::new().route("/cart", post(add)).layer(house.layer().on_error(hook)));
    house.faults().down();
    let response = browser.post("/cart").await;
    assert_eq!((response.status().as_u16(), response.text().as_str()), (503, "a page of ours"));
    assert_eq!(effect(&response), Effect::Nothing);
    assert!(seen.lock().unwrap()[0].starts_with("POST /cart None: "));
}

#[tokio::test]
async fn a_store_that_is_not_used_because_of_an_outer_layer_is_told_once() {
    let house = House::new();
    let sealed = || CookieStore::new(keys());
    let other_key = || CookieStore::new(KeyRing::generate().unwrap());
    let sqlite = SqliteStore::in_memory().await.unwrap();
    let layer = house.layer();
    // An inner layer over an outer one, and whether its own store is another.
    let cases: [(SessionService<Router>, bool); 7] = [
        (house.layer().layer(visitors().layer(house.layer())), false),
        (layer.clone().layer(visitors().layer(layer)), false),
        (house.layer().layer(visitors().layer(SessionLayer::new(MemoryStore::new()))), true),
        (SessionLayer::new(sqlite.clone()).layer(visitors().layer(SessionLayer::new(sqlite))), false),
        (house.layer().layer(visitors().layer(SessionLayer::new(sealed()))), true),
        (SessionLayer::new(sealed()).layer(visitors().layer(SessionLayer::new(sealed()))), false),
        (SessionLayer::new(sealed()).layer(visitors().layer(SessionLayer::new(other_key()))), true),
    ];
    for (at, (app, differs)) in cases.into_iter().enumerate() {
        let events = Events::capture();
        let browser = house.browser_of(Router::new().fallback_service(app));
        for _ in 0..3 {
            assert_eq!(browser.post("/").await.status(), 200, "case {at}");
        }
        assert_eq!(browser.get("/").await.text(), "3", "case {at}: the outer layer's store is used");
        assert_eq!(events.count("session.ignored_store"), usize::from(differs), "case {at}");
    }
}

fn visitors() -> Router {
    Router::new().route("/", post(add).get(show))
}

#[tokio::test]
async fn a_token_of_another_store_is_unknown_and_the_event_says_what_may_be() {
    let (one, other) = (House::new(), House::new());
    let browser = one.browser(visitors());
    browser.post("/").await;
    let events = Events::capture();
    let stranger = other.browser(visitors());
    stranger.set_cookie("__Host-id", browser.cookie("__Host-id").unwrap());
    stranger.get("/").await;
    let said = events.take();
    assert!(said.iter().any(|line| line.contains("unknown") && line.contains("CookiePolicy::name")), "{said:?}");
}
