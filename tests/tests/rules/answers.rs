//! Every answer is true: what a save says, what a response waits for, and what becomes of changes that were given up.

use crate::{after_the_head::Late, data::Visitor};
use axum::{
    Router,
    extract::Request,
    middleware::{Next, from_fn},
    response::IntoResponse,
    routing::{any, get, post},
};
use cloakroom::{
    SessionData, SessionError, TypedSession,
    store::SessionStore,
    testing::{Fault, Gate, Operation},
};
use cloakroom_tests::{
    events::Events,
    shop::{Browser, House},
    site::{COOKIE, Effect, effect, selector},
};
use http::StatusCode;
use std::{future::poll_fn, pin::pin, task::Poll, time::Duration};

type Session = TypedSession<Visitor>;

fn visitors() -> Router {
    Router::new()
        .route("/begin", post(|mut s: Session| async move { *s.visits = 10 }))
        .route("/", get(|s: Session| async move { format!("{} {:?} {:?}", s.visits, s.name, s.notice) }))
}

async fn begun(house: &House, routes: Router) -> Browser {
    let browser = house.browser(visitors().merge(routes));
    assert_eq!(browser.post("/begin").await.status(), 200);
    house.log();
    browser
}

/// Polls a future once and no more, as a time limit does whose time has come.
async fn polled_once<F: Future>(future: F) {
    let mut future = pin!(future);
    poll_fn(|context| {
        assert!(future.as_mut().poll(context).is_pending(), "it was to be given up half-way");
        Poll::Ready(())
    })
    .await;
}

/// The session that a browser holds is deleted behind the application's back.
async fn end(house: &House, cookie: &str) {
    house.faults().inner().delete(&selector(cookie)).await.unwrap();
}

/// The token that a request presents.
fn presented(headers: &http::HeaderMap) -> String {
    headers["cookie"].to_str().unwrap().split_once('=').unwrap().1.to_owned()
}

#[tokio::test]
async fn a_save_that_waits_while_another_finds_the_session_ended_says_so() {
    let house = House::new();
    let (gate, inside) = (Gate::new(), house.clone());
    let held = gate.clone();
    let both = move |mut a: Session, mut b: Session, headers: http::HeaderMap| async move {
        *a.visits += 1;
        *b.name = Some("Ada".into());
        let ending = async {
            held.reached().await;
            end(&inside, &presented(&headers)).await;
            held.open();
        };
        let (first, second, ()) = tokio::join!(a.save(), b.save(), ending);
        assert!(matches!(first, Err(SessionError::Gone)));
        assert!(matches!(second, Err(SessionError::Gone)), "nothing of it is stored: {second:?}");
    };
    let browser = begun(&house, Router::new().route("/both", post(both))).await;
    house.faults().next(Operation::Commit, Fault::HoldBefore(gate));
    assert_eq!(browser.post("/both").await.status(), 200);
}

#[tokio::test]
async fn a_save_that_waits_while_the_outcome_of_another_is_unknown_says_so() {
    let house = House::new();
    let gate = Gate::new();
    let held = gate.clone();
    let both = move |mut a: Session, mut b: Session| async move {
        *a.visits += 1;
        let first = a.save();
        let second = async {
            held.reached().await;
            *b.name = Some("Ada".into());
            let waits = b.save();
            held.open();
            waits.await
        };
        let (first, second) = tokio::join!(first, second);
        first.unwrap();
        second
    };
    let browser = begun(&house, Router::new().route("/both", post(both))).await;
    house.faults().next(Operation::Commit, Fault::HoldAfter(gate));
    house.faults().next(Operation::Commit, Fault::UnknownNotApplied);
    assert_eq!(browser.post("/both").await.status(), 503);
    assert_eq!(browser.get("/").await.text(), "11 None None");
    assert_eq!(house.store.count(Operation::Commit), 2);
}

#[tokio::test]
async fn a_save_given_up_while_it_backs_off_leaves_nothing_behind() {
    for status in [StatusCode::INTERNAL_SERVER_ERROR, StatusCode::OK] {
        let house = House::new();
        let other = house.browser(Router::new().route("/plus", post(|mut s: Session| async move { *s.visits += 100 })));
        let between = other.clone();
        let work = move |mut s: Session| {
            let between = between.clone();
            async move {
                *s.visits += 1;
                between.post("/plus").await;
                polled_once(s.save()).await;
                status
            }
        };
        let browser = begun(&house, Router::new().route("/work", post(work))).await;
        other.set_cookie(COOKIE, browser.cookie(COOKIE).unwrap());
        assert_eq!(browser.post("/work").await.status(), status);
        let expected = if status == StatusCode::OK { "111 None None" } else { "110 None None" };
        assert_eq!(browser.get("/").await.text(), expected, "stored once with the response, or not at all");
    }
}

#[tokio::test]
async fn a_reload_that_only_the_body_finishes_does_not_hold_the_head() {
    let house = House::new();
    let gate = Gate::new();
    let held = gate.clone();
    let faults = house.clone();
    let stream = move |mut s: Session, mut other: Session| async move {
        faults.faults().next(Operation::Load, Fault::HoldBefore(gate));
        let mut reload = Box::pin(async move {
            s.reload().await.unwrap();
            s.visits.to_string()
        });
        poll_fn(|context| {
            assert!(reload.as_mut().poll(context).is_pending());
            Poll::Ready(())
        })
        .await;
        *other.visits += 1;
        drop(other);
        Late::body(async move {
            held.open();
            reload.await
        })
    };
    let browser = begun(&house, Router::new().route("/stream", get(stream))).await;
    let response = tokio::time::timeout(Duration::from_secs(20), browser.get("/stream")).await.expect("the head waits");
    assert_eq!(response.text(), "11", "and the reload sees what the response's commit has stored");
}

#[tokio::test]
async fn no_other_handle_takes_the_change_of_a_failed_save_along() {
    let house = House::new();
    let work = |mut a: Session| async move {
        *a.visits += 1;
        assert!(matches!(a.save().await, Err(SessionError::Unavailable(_))));
        a
    };
    let both = move |a: Session, mut b: Session| async move {
        let a = work(a).await;
        *b.visits += 100;
        b.save().await.unwrap();
        *b.visits += 1000;
        drop(b);
        drop(a);
    };
    let browser = begun(&house, Router::new().route("/both", post(both))).await;
    house.faults().next(Operation::Commit, Fault::Unavailable);
    let events = Events::capture();
    assert_eq!(browser.post("/both").await.status(), 200);
    assert_eq!(events.count("session.changes_lost"), 1);
    assert_eq!(browser.get("/").await.text(), "1110 None None");
}

#[derive(SessionData)]
#[session(name = "club")]
struct Club {
    #[session(owner)]
    member: Option<u64>,
    #[session(merge = "union")]
    seen: std::collections::BTreeSet<u8>,
}

fn club() -> Router {
    Router::new()
        .route(
            "/join/{member}",
            post(|axum::extract::Path(member): axum::extract::Path<u64>, mut s: TypedSession<Club>| async move {
                *s.member = Some(member);
            }),
        )
        .route(
            "/see/{what}",
            post(|axum::extract::Path(what): axum::extract::Path<u8>, mut s: TypedSession<Club>| async move {
                s.seen.insert(what);
            }),
        )
        .route("/member", get(|s: TypedSession<Club>| async move { format!("{:?} {:?}", s.member, s.seen) }))
}

#[tokio::test]
async fn after_a_save_that_found_the_session_gone_signing_in_begins_another() {
    let house = House::new();
    let inside = house.clone();
    let again = move |mut s: TypedSession<Club>, headers: http::HeaderMap| async move {
        end(&inside, &presented(&headers)).await;
        s.seen.insert(2);
        assert!(matches!(s.save().await, Err(SessionError::Gone)));
        assert!(s.seen.is_empty(), "what it held is of a session that has ended");
        *s.member = Some(7);
        s.seen.insert(3);
    };
    let browser = house.browser(club().route("/again", post(again)));
    browser.post("/see/1").await;
    let response = browser.post("/again").await;
    assert_eq!(response.status(), 200);
    assert!(matches!(effect(&response), Effect::Set(_)));
    assert_eq!(browser.get("/member").await.text(), "Some(7) {3}");
}

#[tokio::test]
async fn a_slow_request_with_a_dead_cookie_leaves_a_newer_one_alone() {
    let house = House::new();
    let (gate, entered) = (std::sync::Arc::new(tokio::sync::Notify::new()), std::sync::Arc::new(tokio::sync::Notify::new()));
    let (opened, arrived) = (gate.clone(), entered.clone());
    let poll = move |_: TypedSession<Club>| {
        let (opened, arrived) = (opened.clone(), arrived.clone());
        async move {
            arrived.notify_one();
            opened.notified().await;
        }
    };
    let browser = house.browser(club().route("/poll", get(poll)));
    browser.post("/see/1").await;
    end(&house, &browser.cookie(COOKIE).unwrap()).await;
    let tab = browser.fork();
    let waiting = tokio::spawn({
        let tab = tab.clone();
        async move { tab.get("/poll").await }
    });
    entered.notified().await;
    assert!(matches!(effect(&browser.post("/join/1").await), Effect::Set(_)));
    gate.notify_one();
    assert_eq!(effect(&waiting.await.unwrap()), Effect::Nothing, "a deletion names no value");
    // Without anything in between the dead cookie is cleared, and after a long time it is left to the next request.
    assert_eq!(effect(&tab.get("/member").await), Effect::Clear);
}

#[tokio::test]
async fn after_a_lost_sign_in_the_form_is_served_and_signing_in_works() {
    #[derive(serde::Deserialize)]
    struct SignIn {
        csrf: String,
    }
    let sign_in = |mut s: TypedSession<Club>, axum::Form(form): axum::Form<SignIn>| async move {
        s.verify_csrf(&form.csrf)?;
        *s.member = Some(1);
        Ok::<_, SessionError>(())
    };
    let form = |mut s: TypedSession<Club>| async move { s.csrf_token().map(|token| token.as_str().to_owned()) };
    let house = House::new();
    let browser = house.browser(club().route("/sign-in", get(form).post(sign_in)));
    let csrf = browser.get("/sign-in").await.text();
    // A double click: the first answer never arrives.
    let first = browser.fork();
    let send = async |browser: &Browser, csrf: &str| {
        let request = Request::post("/sign-in").header("content-type", "application/x-www-form-urlencoded");
        browser.send(request.body(format!("csrf={csrf}").into()).unwrap()).await
    };
    assert_eq!(send(&first, &csrf).await.status(), 200);
    let shown = browser.get("/sign-in").await;
    assert_eq!((shown.status().as_u16(), effect(&shown)), (200, Effect::Nothing));
    assert_eq!(send(&browser, "forged").await.status(), 403);
    assert_eq!(send(&browser, &csrf).await.status(), 403, "the first form was of the session before");
    assert_eq!(send(&browser, &shown.text()).await.status(), 200);
    assert_eq!(browser.get("/member").await.text(), "Some(1) {}");
    assert_eq!(first.get("/member").await.text(), "Some(1) {}", "and the other one is no worse off");
}

#[derive(SessionData)]
#[session(name = "codes")]
struct Codes {
    #[session(ttl = "10m")]
    code: Option<u32>,
}

#[tokio::test]
async fn taking_a_code_that_is_not_there_is_no_write() {
    let house = House::new();
    let take = |mut s: TypedSession<Codes>| async move { format!("{:?}", s.code.take()) };
    let browser = house.browser(
        Router::new()
            .route("/take", post(take))
            .route("/give", post(|mut s: TypedSession<Codes>| async move { *s.code = Some(7) }))
            .route(
                "/touch",
                post(|mut s: TypedSession<Codes>| async move {
                    let _ = &mut *s.code;
                }),
            ),
    );
    assert_eq!(effect(&browser.post("/take").await), Effect::Nothing);
    assert_eq!(house.log(), [""; 0], "a crawler leaves nothing behind");
    browser.post("/give").await;
    house.log();
    browser.post("/touch").await;
    assert_eq!(house.log(), ["load -> found r1", "commit puts [codes/code] -> committed r2"], "a touch prolongs what is there");
    assert_eq!(browser.post("/take").await.text(), "Some(7)");
    house.log();
    for path in ["/take", "/touch"] {
        browser.post(path).await;
        assert_eq!(house.log().len(), 1, "nothing is there to prolong, in a live session either");
    }
}

#[tokio::test]
async fn head_runs_the_handler_of_get_and_stores_nothing() {
    let house = House::new();
    let read = |mut s: Session| async move { s.notice.take().unwrap_or_default() };
    let routes = Router::new()
        .route("/notice", get(read))
        .route("/leave", post(|mut s: Session| async move { *s.notice = Some("saved".into()) }));
    let browser = begun(&house, routes).await;
    browser.post("/leave").await;
    let head = Request::head("/notice").body(axum::body::Body::empty()).unwrap();
    assert_eq!(browser.send(head).await.status(), 200);
    assert_eq!(browser.get("/notice").await.text(), "saved", "a link checker uses up no notice");
    assert_eq!(browser.get("/notice").await.text(), "");
}

#[tokio::test]
async fn a_time_limit_inside_the_layer_stores_no_half_of_a_change() {
    async fn limit(request: Request, next: Next) -> axum::response::Response {
        let mut running = Box::pin(next.run(request));
        for _ in 0..3 {
            if let Poll::Ready(response) = poll_fn(|context| Poll::Ready(running.as_mut().poll(context))).await {
                return response;
            }
        }
        drop(running);
        StatusCode::REQUEST_TIMEOUT.into_response()
    }
    async fn fallback(request: Request, next: Next) -> axum::response::Response {
        let response = limit(request, next).await;
        if response.status() == StatusCode::REQUEST_TIMEOUT { "later".into_response() } else { response }
    }
    async fn half(mut s: Session) {
        *s.visits += 1;
        std::future::pending::<()>().await;
        *s.name = Some("never".into());
    }
    let house = House::new();
    let routes = Router::new()
        .merge(Router::new().route("/limited", post(half)).layer(from_fn(limit)))
        // Where a limit has to lie inside, the layer once more inside of it tells a dropped handler from one that is done.
        .merge(Router::new().route("/fallback", post(half)).layer(house.layer()).layer(from_fn(fallback)));
    let browser = begun(&house, routes).await;
    let events = Events::capture();
    for (path, status) in [("/limited", 408), ("/fallback", 200)] {
        assert_eq!(browser.post(path).await.status(), status);
        assert_eq!(browser.get("/").await.text(), "10 None None", "{path}");
    }
    assert_eq!(events.count("session.changes_discarded"), 2);
}

#[tokio::test]
async fn a_retry_around_the_inner_layer_stores_the_last_attempt_only() {
    async fn retry(request: Request, mut next: Next) -> axum::response::Response {
        let (parts, _) = request.into_parts();
        let again = || {
            let mut request = Request::new(axum::body::Body::empty());
            *request.method_mut() = parts.method.clone();
            *request.uri_mut() = parts.uri.clone();
            *request.headers_mut() = parts.headers.clone();
            *request.extensions_mut() = parts.extensions.clone();
            request
        };
        let mut first = next.clone();
        let response = {
            std::mem::swap(&mut first, &mut next);
            first.run(again()).await
        };
        if response.status().is_server_error() { next.run(again()).await } else { response }
    }
    let attempts = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
    let flaky = move |mut s: Session| {
        let attempts = attempts.clone();
        async move {
            *s.visits += 1;
            if attempts.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0 {
                StatusCode::BAD_GATEWAY
            } else {
                StatusCode::OK
            }
        }
    };
    let house = House::new();
    let routes = Router::new().route("/flaky", any(flaky)).layer(house.layer()).layer(from_fn(retry));
    let browser = begun(&house, routes).await;
    assert_eq!(browser.post("/flaky").await.status(), 200);
    assert_eq!(browser.get("/").await.text(), "11 None None");
}
