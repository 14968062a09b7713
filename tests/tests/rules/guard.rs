//! The guard: who is signed in, who is through, who has proved it lately, and what the others are told.

use crate::members::{Members, houses, member};
use axum::{
    Router,
    http::StatusCode,
    response::{IntoResponse, Redirect},
    routing::{get, post},
};
use cloakroom::{
    Denial, SessionData, SessionError, SessionLayer, SessionRejection, Sessions, SignedIn, TypedSession,
    store::{CookieStore, SessionStore},
    testing::{Fault, Operation, TestClient},
};
use cloakroom_tests::{
    events::Events,
    shop::{Browser, House},
    site::{COOKIE, Effect, effect, keys, seconds},
};
use std::{sync::Arc, time::Duration};

const MINUTE: Duration = Duration::from_secs(60);
const MOMENT: Duration = Duration::from_millis(1);

#[derive(SessionData)]
#[session(name = "bank", authenticated = is_through)]
struct Bank {
    #[session(owner)]
    user: Option<u64>,
    #[session(privilege)]
    second_factor: bool,
    visits: u64,
}

fn is_through(session: &BankFields) -> bool {
    *session.second_factor
}

fn routes() -> Router {
    Router::new()
        .route("/password", post(async |mut s: TypedSession<Bank>| *s.user = Some(7)))
        .route("/code", post(async |mut s: TypedSession<Bank>| *s.second_factor = true))
        .route("/again", post(async |mut s: TypedSession<Bank>| s.reauthenticated()))
        .route("/visit", post(async |mut s: TypedSession<Bank>| *s.visits += 1))
        .route(
            "/account",
            get(async |s: SignedIn<Bank>| format!("{:?}", s.owner())).post(async |mut s: SignedIn<Bank>| *s.visits += 1),
        )
        .route("/transfer", get(async |s: SignedIn<Bank, 5>| format!("{:?}", s.owner())))
        .route("/now", get(async |s: SignedIn<Bank, 0>| format!("{:?}", s.owner())))
        .route("/maybe", get(async |s: Option<SignedIn<Bank, 5>>| s.is_some().to_string()))
        .route(
            "/result",
            get(async |s: Result<SignedIn<Bank, 5>, SessionRejection>| match s {
                Ok(_) => "through".to_owned(),
                Err(rejection) => format!("{:?}", rejection.error()),
            }),
        )
}

async fn through(house: &House, more: Router) -> Browser {
    let browser = house.browser(routes().merge(more));
    browser.post("/password").await;
    browser.post("/code").await;
    house.log();
    browser
}

async fn status(browser: &Browser, path: &str) -> u16 {
    let response = browser.get(path).await;
    assert_eq!(effect(&response), Effect::Nothing, "a guard changes nothing");
    response.status().as_u16()
}

#[tokio::test]
async fn nobody_is_401_and_the_store_is_not_asked_without_a_cookie() {
    let (events, house) = (Events::capture(), House::new());
    let browser = house.browser(routes());
    for path in ["/account", "/transfer"] {
        let response = browser.get(path).await;
        assert_eq!((response.status().as_u16(), effect(&response)), (401, Effect::Nothing));
        assert_eq!(response.text(), "Please sign in.");
        let seen = events.take();
        assert!(seen.iter().any(|line| line.contains("session.denied") && line.contains(r#"why="signed_out""#)), "{seen:?}");
    }
    assert_eq!(house.log(), [""; 0]);
    browser.post("/visit").await;
    assert_eq!(status(&browser, "/account").await, 401, "a session alone is nobody");
}

/// GHSA-xg6x-h9c9-2m83; ASVS 4.0.3, 3.7.1: half a sign-in passes nowhere, and what it is denied is not to be had later either.
#[tokio::test]
async fn who_lacks_the_second_factor_is_the_owner_and_passes_no_guard() {
    let (events, house) = (Events::capture(), House::new());
    let browser = house.browser(routes());
    browser.post("/password").await;
    for path in ["/account", "/transfer", "/now"] {
        events.take();
        let response = browser.get(path).await;
        assert_eq!((response.status().as_u16(), effect(&response)), (403, Effect::Nothing), "{path}");
        let seen = events.take();
        assert!(seen.iter().any(|line| line.contains("session.denied") && line.contains(r#"why="unfinished""#)), "{seen:?}");
    }
    assert_eq!(browser.get("/maybe").await.text(), "false");
    assert_eq!(browser.get("/result").await.text(), "Denied(Unfinished)");
    browser.post("/again").await;
    assert_eq!(status(&browser, "/account").await, 403, "the password once more is not a second factor");
    let old = browser.fork();
    browser.post("/code").await;
    assert_eq!(status(&browser, "/account").await, 200);
    assert_eq!(browser.get("/transfer").await.text(), "Some(7)");
    assert_eq!(status(&old, "/account").await, 401, "the token of the time before is worth nothing");
}

#[tokio::test]
async fn within_n_minutes_means_up_to_the_last_millisecond_of_them() {
    let (events, house) = (Events::capture(), House::new());
    let browser = through(&house, Router::new()).await;
    assert_eq!(status(&browser, "/now").await, 200);
    house.clock.advance(5 * MINUTE);
    assert_eq!(status(&browser, "/transfer").await, 200);
    house.clock.advance(MOMENT);
    events.take();
    let response = browser.get("/transfer").await;
    assert_eq!((response.status().as_u16(), effect(&response)), (403, Effect::Nothing));
    let seen = events.take();
    assert!(seen.iter().any(|line| line.contains("session.denied") && line.contains(r#"why="not_recent""#)), "{seen:?}");
    assert!(seen.iter().any(|line| line.contains("session.denied") && line.contains("handle=")), "{seen:?}");
    assert_eq!(status(&browser, "/now").await, 403);
    assert_eq!(status(&browser, "/account").await, 200, "it asks for no time");
    assert_eq!(browser.get("/maybe").await.text(), "false");
    assert_eq!(browser.get("/result").await.text(), "Denied(NotRecent { within: 5 })");
    browser.post("/visit").await;
    assert_eq!(status(&browser, "/transfer").await, 403, "use is no proof");
    browser.post("/again").await;
    assert_eq!(status(&browser, "/transfer").await, 200);
    assert_eq!(browser.get("/maybe").await.text(), "true");
    assert_eq!(browser.get("/result").await.text(), "through");
}

#[tokio::test]
async fn a_request_that_is_denied_writes_nothing() {
    let house = House::new();
    let browser = house.browser(routes());
    browser.post("/visit").await;
    house.log();
    let response = browser.post("/account").await;
    assert_eq!((response.status().as_u16(), effect(&response)), (401, Effect::Nothing));
    assert_eq!(house.log(), ["load -> found r1"]);
}

#[tokio::test]
async fn a_guarded_session_is_written_to_like_any_other() {
    let house = House::new();
    let out = async |s: SignedIn<Bank>| {
        let mut session = s.into_session();
        *session.user = None;
    };
    let still = async |mut s: SignedIn<Bank>| {
        *s.user = None;
        s.owner().is_none().to_string()
    };
    let browser = through(&house, Router::new().route("/out", post(out)).route("/still", post(still))).await;
    assert_eq!(browser.post("/account").await.status(), 200);
    assert_eq!(house.log()[1], "commit puts [bank/visits] -> committed r3");
    assert_eq!(effect(&browser.post("/out").await), Effect::Clear);
    assert_eq!(status(&browser, "/account").await, 401);
    let browser = through(&house, Router::new().route("/still", post(still))).await;
    assert_eq!(browser.post("/still").await.text(), "true");
}

#[tokio::test]
async fn the_error_hook_sees_why_and_where_and_answers_with_a_page_of_its_own() {
    let house = House::new();
    let layer = house.layer().on_error(|error, request| match error {
        SessionError::Denied(Denial::NotRecent { within }) => format!("confirm, {within}").into_response(),
        SessionError::Denied(_) => Redirect::to(&format!("/sign-in?next={}", request.uri.path())).into_response(),
        other => other.default_response(),
    });
    let browser = house.browser_of(routes().layer(layer));
    let response = browser.get("/account").await;
    assert_eq!(
        (response.status().as_u16(), &response.headers()["location"]),
        (303, &"/sign-in?next=/account".parse().unwrap())
    );
    browser.post("/password").await;
    assert_eq!(browser.get("/transfer").await.status(), 303);
    browser.post("/code").await;
    house.clock.advance(6 * MINUTE);
    let response = browser.get("/transfer").await;
    assert_eq!((response.status().as_u16(), response.text().as_str()), (200, "confirm, 5"));
}

#[tokio::test]
async fn an_outage_is_not_a_denial() {
    let house = House::new();
    let browser = through(&house, Router::new()).await;
    for path in ["/account", "/transfer", "/maybe"] {
        house.faults().next(Operation::Load, Fault::Unavailable);
        let response = browser.get(path).await;
        assert_eq!((response.status().as_u16(), effect(&response)), (503, Effect::Nothing), "{path}");
        assert!(response.headers().contains_key("retry-after"));
    }
    house.faults().next(Operation::Load, Fault::Unavailable);
    assert!(browser.get("/result").await.text().starts_with("Unavailable"));
    assert_eq!(status(&browser, "/transfer").await, 200);
}

#[tokio::test]
async fn a_session_that_no_program_signed_in_with_a_time_passes_only_where_none_is_asked_for() {
    #[derive(SessionData)]
    #[session(name = "bank")]
    struct Before {
        user: Option<u64>,
        second_factor: bool,
    }
    let house = House::new();
    let begin = async |mut s: TypedSession<Before>| {
        *s.user = Some(7);
        *s.second_factor = true;
    };
    let before = house.browser(Router::new().route("/in", post(begin)));
    before.post("/in").await;
    let browser = house.browser(routes());
    browser.set_cookie(COOKIE, before.cookie(COOKIE).unwrap());
    for _ in 0..2 {
        assert_eq!(status(&browser, "/account").await, 200);
        assert_eq!(status(&browser, "/transfer").await, 403);
    }
    browser.post("/again").await;
    assert_eq!(status(&browser, "/transfer").await, 200);
}

#[tokio::test]
async fn a_guard_for_an_owner_whose_record_is_half_unreadable_is_401() {
    use cloakroom::record::{CellBody, CodecId, Content, Payload, Shape};
    let house = House::new();
    let browser = through(&house, Router::new()).await;
    let payload = Payload::from(&b"?"[..]);
    let content = Content::Value { codec: CodecId::from_u8(99), shape: Shape::from_u64(99), sealed: false, payload };
    house.plant(&browser, [("bank/visits", CellBody::new(content))]).await;
    assert_eq!(status(&browser, "/account").await, 401);
}

#[tokio::test]
async fn a_guard_works_where_the_session_is_its_cookie() {
    let house = House::new();
    let layer = SessionLayer::new(CookieStore::new(keys())).clock(house.clock.clone());
    let app = routes().route("/sessions", get(async |_: Sessions| ())).layer(layer);
    let browser: Browser = TestClient::new(app).clock(house.clock.clone());
    assert_eq!(status(&browser, "/account").await, 401);
    browser.post("/password").await;
    assert_eq!(status(&browser, "/account").await, 403);
    browser.post("/code").await;
    assert_eq!(status(&browser, "/transfer").await, 200);
    house.clock.advance(5 * MINUTE + MOMENT);
    assert_eq!(status(&browser, "/transfer").await, 403);
    browser.post("/again").await;
    assert_eq!(status(&browser, "/transfer").await, 200);
    let response = browser.get("/sessions").await;
    assert_eq!(response.status(), 500, "nobody knows of them");
    assert!(response.text().contains("store on the server's side"), "{}", response.text());
}

#[tokio::test]
async fn the_guard_is_the_same_on_every_kind_of_store() {
    for house in crate::members::houses().await {
        let _: &Arc<dyn SessionStore> = house.faults().inner();
        let browser = house.browser(routes());
        assert_eq!(status(&browser, "/account").await, 401);
        browser.post("/password").await;
        assert_eq!(status(&browser, "/account").await, 403);
        browser.post("/code").await;
        house.clock.advance(5 * MINUTE);
        assert_eq!(status(&browser, "/transfer").await, 200);
        house.clock.advance(MOMENT);
        assert_eq!(status(&browser, "/transfer").await, 403);
    }
}

#[derive(SessionData)]
#[session(name = "club")]
struct Club {
    #[session(owner, validate = is_welcome)]
    user: Option<u64>,
}

fn is_welcome(user: &Option<u64>) -> bool {
    *user != Some(9)
}

#[tokio::test]
async fn a_proof_beside_an_owner_who_was_dropped_or_refused_is_not_the_former_owners() {
    let change = |user: Option<u64>| {
        post(async move |mut s: TypedSession<Club>| {
            *s.user = user;
            s.reauthenticated();
            StatusCode::INTERNAL_SERVER_ERROR
        })
    };
    let refused_at_the_end = async |mut s: TypedSession<Club>| {
        s.reauthenticated();
        *s.user = Some(9);
    };
    let refused_by_save = async |mut s: TypedSession<Club>| {
        *s.user = Some(9);
        s.reauthenticated();
        assert!(matches!(s.save().await.unwrap_err(), SessionError::Invalid { .. }));
        StatusCode::FORBIDDEN
    };
    let refused_by_refresh = async |mut s: TypedSession<Club>| {
        s.reauthenticated();
        *s.user = Some(9);
        assert!(matches!(s.refresh().unwrap_err(), SessionError::Invalid { .. }));
    };
    let refused_by_the_store = async |mut s: TypedSession<Club>| {
        *s.user = Some(8);
        s.reauthenticated();
        assert!(matches!(s.save().await.unwrap_err(), SessionError::Unavailable(_)));
    };
    let of_two_handles = async |mut one: TypedSession<Club>, mut two: TypedSession<Club>| {
        *one.user = Some(9);
        drop(one);
        two.reauthenticated();
    };
    let routes = || {
        Router::new()
            .route("/in", post(async |mut s: TypedSession<Club>| *s.user = Some(7)))
            .route("/again", post(async |mut s: TypedSession<Club>| s.reauthenticated()))
            .route("/fresh", get(async |s: SignedIn<Club, 15>| format!("{:?}", s.owner())))
            .route("/another", change(Some(8)))
            .route("/nobody", change(None))
            .route("/at-the-end", post(refused_at_the_end))
            .route("/by-save", post(refused_by_save))
            .route("/by-refresh", post(refused_by_refresh))
            .route("/by-the-store", post(refused_by_the_store))
            .route("/of-two-handles", post(of_two_handles))
    };
    for house in houses().await {
        for (path, answer) in [
            ("/another", 500),
            ("/nobody", 500),
            ("/at-the-end", 500),
            ("/by-save", 403),
            ("/by-refresh", 200),
            ("/by-the-store", 200),
            ("/of-two-handles", 500),
        ] {
            let browser = house.browser(routes());
            browser.post("/in").await;
            house.clock.advance(60 * MINUTE);
            let before = house.record(&browser).await.unwrap().header;
            if path == "/by-the-store" {
                house.faults().next(Operation::Commit, Fault::Unavailable);
            }
            let response = browser.post(path).await;
            assert_eq!((response.status().as_u16(), effect(&response)), (answer, Effect::Nothing), "{path}");
            assert_eq!(status(&browser, "/fresh").await, 403, "{path}");
            let after = house.record(&browser).await.unwrap().header;
            assert_eq!((after.authenticated_at, after.epoch), (before.authenticated_at, before.epoch), "{path}");
            assert_eq!(after.owner, before.owner, "{path}");
            browser.post("/again").await;
            assert_eq!(browser.get("/fresh").await.text(), "Some(7)", "{path}");
        }
    }
}

#[tokio::test]
async fn a_proof_from_further_ahead_than_clocks_may_differ_is_none() {
    let fresh = || {
        Router::new()
            .route("/fresh", get(async |s: SignedIn<Members, 15>| format!("{:?}", s.owner())))
            .route("/now", get(async |s: SignedIn<Members, 0>| format!("{:?}", s.owner())))
    };
    for house in houses().await {
        let browser = member(&house, 7, fresh()).await;
        let proved = std::time::SystemTime::from(house.now());
        for (ahead, answer) in [(seconds(20 * 3600), 403), (5 * MINUTE + MOMENT, 403), (5 * MINUTE, 200), (MINUTE, 200)] {
            house.clock.set(proved - ahead);
            assert_eq!(status(&browser, "/fresh").await, answer, "{ahead:?} ahead");
            assert_eq!(status(&browser, "/now").await, answer, "{ahead:?} ahead");
        }
        house.clock.set(proved + 15 * MINUTE);
        assert_eq!(status(&browser, "/fresh").await, 200);
    }
}
