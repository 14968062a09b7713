//! The CSRF token of a session: good for its forms and scripts, through renewals, and for nobody else and no other sign-in.

use crate::members::houses;
use axum::{
    Form, Router,
    body::Body,
    extract::Path,
    routing::{get, post},
};
use cloakroom::{
    CsrfHeader, KeyRing, Lifetime, SessionData, SessionError, SessionLayer, TypedSession,
    store::{CookieStore, MemoryStore, SqliteStore},
    testing::{ManualClock, TestClient, TestResponse},
};
use cloakroom_tests::{
    events::Events,
    shop::House,
    site::{COOKIE, Effect, effect, seconds, selector},
};
use http::Request;
use serde::Deserialize;
use std::time::SystemTime;

#[derive(SessionData)]
struct Bank {
    #[session(owner)]
    user: Option<u64>,
    #[session(merge = "add")]
    transfers: u64,
}

#[derive(Deserialize)]
struct Transfer {
    csrf: String,
}

type Session = TypedSession<Bank>;

fn bank() -> Router {
    Router::new()
        .route("/form", get(async |mut s: Session| s.csrf_token().map(|token| token.as_str().to_owned())))
        .route(
            "/transfer",
            post(async |mut s: Session, Form(Transfer { csrf }): Form<Transfer>| {
                s.verify_csrf(&csrf)?;
                *s.transfers += 1;
                Ok::<_, SessionError>(s.transfers.to_string())
            }),
        )
        .route("/script", post(async |_: CsrfHeader, mut s: Session| *s.transfers += 1))
        .route("/user", get(async |s: Session| format!("{:?}", s.user)))
        .route("/sign-in/{user}", post(async |Path(user): Path<u64>, mut s: Session| *s.user = Some(user)))
        .route(
            "/sign-in-and-form/{user}",
            post(async |Path(user): Path<u64>, mut s: Session| {
                *s.user = Some(user);
                s.csrf_token().map(|token| token.as_str().to_owned())
            }),
        )
        .route("/sign-out", post(async |mut s: Session| *s.user = None))
        .route(
            "/sign-out-and-form",
            post(async |mut s: Session| {
                *s.user = None;
                s.csrf_token().map(|token| token.as_str().to_owned())
            }),
        )
}

type Browser = TestClient<Router>;

/// A browser in front of a bank on each kind of backend, and the clock.
async fn everywhere() -> Vec<(Browser, ManualClock)> {
    let clock = ManualClock::new(SystemTime::UNIX_EPOCH + seconds(1_800_000_000));
    let sqlite = SqliteStore::in_memory().await.unwrap();
    let apps = [
        bank().layer(SessionLayer::new(MemoryStore::new()).clock(clock.clone())),
        bank().layer(SessionLayer::new(sqlite).clock(clock.clone())),
        bank().layer(SessionLayer::new(CookieStore::new(KeyRing::generate().unwrap())).clock(clock.clone())),
    ];
    apps.into_iter().map(|app| (TestClient::new(app).clock(clock.clone()), clock.clone())).collect()
}

async fn form(browser: &Browser) -> String {
    let response = browser.get("/form").await;
    assert_eq!(response.status(), 200);
    response.text()
}

async fn transfer(browser: &Browser, csrf: &str) -> TestResponse {
    let request = Request::post("/transfer").header("content-type", "application/x-www-form-urlencoded");
    browser.send(request.body(Body::from(format!("csrf={csrf}"))).unwrap()).await
}

async fn script(browser: &Browser, tokens: &[&str]) -> u16 {
    let request = tokens.iter().fold(Request::post("/script"), |request, token| request.header("X-CSRF-Token", *token));
    browser.send(request.body(Body::empty()).unwrap()).await.status().as_u16()
}

#[tokio::test]
async fn a_form_is_accepted_with_its_sessions_token_and_refused_without() {
    for (browser, _) in everywhere().await {
        let token = form(&browser).await;
        assert_eq!(transfer(&browser, &token).await.status(), 200);
        assert_ne!(form(&browser).await, token, "every form has another one");
        assert_eq!(transfer(&browser, &token).await.text(), "2", "and the first stays good");
        let longer = format!("{token}A");
        for wrong in ["", "x", &token[1..], &longer, &token.to_lowercase(), &token.to_uppercase()] {
            let refused = transfer(&browser, wrong).await;
            assert_eq!(refused.status(), 403, "{wrong}");
            assert!(refused.text().contains("reload"), "{}", refused.text());
        }
        assert_eq!(transfer(&browser, &token).await.text(), "3", "nothing refused was done");
    }
}

#[tokio::test]
async fn a_script_sends_the_token_in_a_header() {
    for (browser, _) in everywhere().await {
        let token = form(&browser).await;
        assert_eq!(script(&browser, &[&token]).await, 200);
        for wrong in [&[][..], &[""], &["x"], &[&token, &token], &["x", &token]] {
            assert_eq!(script(&browser, wrong).await, 403, "{wrong:?}");
        }
    }
}

#[tokio::test]
async fn another_sessions_token_is_refused_and_so_is_any_where_there_is_no_session() {
    for (browser, _) in everywhere().await {
        let mine = form(&browser).await;
        let other = browser.fork();
        other.clear_cookies();
        assert_eq!(transfer(&other, &mine).await.status(), 403);
        assert_eq!(script(&other, &[&mine]).await, 403);
        let theirs = form(&other).await;
        assert_eq!(transfer(&browser, &theirs).await.status(), 403);
        assert_eq!(transfer(&other, &theirs).await.status(), 200);
    }
}

#[tokio::test]
async fn asking_for_a_token_begins_a_session_once_and_then_writes_nothing() {
    let house = House::new();
    let browser = house.browser(bank());
    let response = browser.get("/form").await;
    assert!(matches!(effect(&response), Effect::Set(_)));
    assert_eq!(house.log(), ["create cells [] -> created"]);
    form(&browser).await;
    assert_eq!(house.log().len(), 1, "a load");
    assert_eq!(house.faults().inner().len(), 1);
}

#[tokio::test]
async fn a_token_dies_at_sign_in_and_at_sign_out() {
    for (browser, _) in everywhere().await {
        let anonymous = form(&browser).await;
        browser.post("/sign-in/1").await;
        assert_eq!(transfer(&browser, &anonymous).await.status(), 403);
        let signed_in = form(&browser).await;
        assert_eq!(transfer(&browser, &signed_in).await.status(), 200);
        browser.post("/sign-in/2").await;
        assert_eq!(transfer(&browser, &signed_in).await.status(), 403, "another owner");
        // Signed out: in a session that goes on with a form of its own, and in none.
        for path in ["/sign-out-and-form", "/sign-out"] {
            browser.post("/sign-in/1").await;
            let signed_in = form(&browser).await;
            assert_eq!(transfer(&browser, &signed_in).await.status(), 200);
            assert_eq!(browser.post(path).await.status(), 200);
            assert_eq!(browser.cookie(COOKIE).is_some(), path == "/sign-out-and-form");
            assert_eq!(transfer(&browser, &signed_in).await.status(), 403, "{path}");
        }
    }
}

#[tokio::test]
async fn a_form_in_the_answer_to_a_sign_in_or_sign_out_works() {
    for (browser, _) in everywhere().await {
        // In a new session, in an old one, for another owner, and when nobody is left.
        for path in
            ["/sign-in-and-form/1", "/sign-out-and-form", "/sign-in-and-form/1", "/sign-in-and-form/2", "/sign-out-and-form"]
        {
            let token = browser.post(path).await.text();
            assert_eq!(token.len(), 43, "{token}");
            assert_eq!(transfer(&browser, &token).await.status(), 200, "{path}");
        }
        assert_eq!(browser.get("/user").await.text(), "None");
    }
}

#[tokio::test]
async fn a_token_survives_a_renewal_under_either_secret() {
    let house = House::new();
    let layer = house.layer().renew(seconds(60), seconds(10));
    let browser = house.browser_of(bank().layer(layer));
    let token = form(&browser).await;
    house.clock.advance(seconds(60));
    let late = browser.fork();
    let renewed = browser.get("/user").await;
    assert!(matches!(effect(&renewed), Effect::Set(_)));
    assert_ne!(browser.cookie(COOKIE), late.cookie(COOKIE));
    assert_eq!(transfer(&late, &token).await.status(), 200, "with the cookie of before");
    assert_eq!(transfer(&browser, &token).await.status(), 200, "with the new one");
    let from_the_old = form(&late).await;
    assert_eq!(transfer(&browser, &from_the_old).await.status(), 200);
    // And through renewals whose responses are lost.
    let half = Lifetime::default().idle() / 2;
    let mut received = browser.fork();
    browser.get("/user").await;
    house.clock.advance(seconds(60));
    for _ in 0..3 {
        received = browser.fork();
        assert!(matches!(effect(&received.get("/user").await), Effect::Set(_)));
        assert_eq!(transfer(&browser, &token).await.status(), 200);
        house.clock.advance(half);
        assert_eq!(transfer(&browser, &token).await.status(), 200);
        house.clock.advance(half);
    }
    assert_eq!(transfer(&browser, &token).await.status(), 200);
    assert_eq!(transfer(&received, &token).await.status(), 403, "nobody presented it in time");
}

#[tokio::test]
async fn a_parallel_tab_of_before_a_sign_in_gets_its_form_and_no_session() {
    let house = House::new();
    let browser = house.browser(bank());
    form(&browser).await;
    let tab = browser.fork();
    browser.post("/sign-in/1").await;
    let shown = tab.get("/form").await;
    assert_eq!((shown.status().as_u16(), effect(&shown)), (200, Effect::Nothing));
    assert_eq!(house.faults().inner().len(), 1);
}

#[tokio::test]
async fn a_refusal_is_an_event_that_shows_no_token() {
    let events = Events::capture();
    let (browser, _) = everywhere().await.swap_remove(0);
    let token = form(&browser).await;
    transfer(&browser, &token[1..]).await;
    let lines = events.take();
    assert!(lines.iter().any(|line| line.contains("session.denied") && line.contains("csrf")), "{lines:?}");
    let secrets = [&token[1..], &browser.cookie(COOKIE).unwrap()];
    assert!(lines.iter().all(|line| secrets.iter().all(|secret| !line.contains(secret))), "{lines:?}");
}

#[tokio::test]
async fn nothing_of_it_lies_in_the_store() {
    let house = House::new();
    let browser = house.browser(bank());
    form(&browser).await;
    let record = house.record_of(&selector(&browser.cookie(COOKIE).unwrap())).await.unwrap();
    assert_eq!(record.cells.iter().count(), 0);
}

#[tokio::test]
async fn a_page_with_a_token_is_for_no_cache_also_where_the_cookie_is_there_already() {
    let page = async |mut s: Session| {
        let token = s.csrf_token()?.as_str().to_owned();
        Ok::<_, SessionError>(([("cache-control", "private, max-age=60")], token))
    };
    let (clock, layer) = (House::new().clock, SessionLayer::new(CookieStore::new(KeyRing::generate().unwrap())));
    let sealed = TestClient::new(bank().layer(layer.clock(clock.clone()))).clock(clock);
    let mut browsers = vec![sealed];
    browsers.extend(houses().await.map(|house| house.browser(bank().route("/page", get(page)))));
    for (at, browser) in browsers.iter().enumerate() {
        form(browser).await;
        // The first use of a session that holds nothing yet gives it its idle time.
        browser.get("/user").await;
        let response = browser.get("/form").await;
        assert_eq!(effect(&response), Effect::Nothing, "{at}");
        assert_eq!(response.headers()["cache-control"], "private, no-store", "{at}");
        let response = browser.get("/user").await;
        assert!(!response.headers().contains_key("cache-control"), "{at}: a page without one is like any other");
    }
    for browser in &browsers[1..] {
        let response = browser.get("/page").await;
        assert_eq!(effect(&response), Effect::Nothing);
        assert_eq!(response.headers()["cache-control"], "private, max-age=60");
    }
}
