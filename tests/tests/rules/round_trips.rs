//! How often the store is asked, and for what: the budgets that are counts.

use crate::data::{Eight, Visitor};
use axum::{
    Router,
    routing::{get, post},
};
use cloakroom::{TypedSession, store::SqliteStore, testing::Operation};
use cloakroom_tests::shop::{CookieEffect, House, effect};
use http::header;
use std::time::Duration;

fn eight() -> Router {
    Router::new()
        .route(
            "/begin",
            post(|mut s: TypedSession<Eight>| async move {
                *s.a = 1;
                *s.b = "b".repeat(1000);
                *s.c = vec![1, 2, 3];
                *s.d = Some(true);
                s.e.insert(5);
                *s.f = -6;
                *s.g = (7, 'g');
                *s.h = [8; 4];
            }),
        )
        .route("/one", post(|mut s: TypedSession<Eight>| async move { *s.f -= 1 }))
        .route("/read", get(|s: TypedSession<Eight>| async move { format!("{} {} {}", s.a, s.f, s.b.len()) }))
        .route(
            "/touch",
            post(|mut s: TypedSession<Eight>| async move {
                s.c.push(4);
                s.c.pop();
                let same = s.b.clone();
                *s.b = same;
                let _ = &mut *s.e;
            }),
        )
        .route("/untouched", get(|| async { "untouched" }))
        .route("/out", post(|mut s: TypedSession<Eight>| async move { s.destroy() }))
        .route(
            "/sign-in",
            post(|mut s: TypedSession<Eight>| async move {
                *s.a += 1;
                s.rotate();
            }),
        )
}

#[tokio::test]
async fn one_changed_field_of_eight_is_one_load_and_one_commit_with_exactly_one_cell() {
    let house = House::new();
    let browser = house.browser(eight());
    browser.post("/begin").await;
    house.log();
    let response = browser.post("/one").await;
    assert_eq!(house.log(), ["load -> found r1", "commit puts [eight/f] -> committed r2"]);
    assert_eq!(effect(&response), CookieEffect::Nothing);
    assert_eq!(browser.get("/read").await.text(), "1 -7 1000");
}

#[tokio::test]
async fn a_new_session_is_one_create_without_a_load_and_sets_the_cookie() {
    let house = House::new();
    let browser = house.browser(eight());
    let response = browser.post("/one").await;
    assert_eq!(house.log(), ["create cells [eight/f] -> created"], "only what changed is stored");
    assert!(matches!(effect(&response), CookieEffect::Set(_)));
}

#[tokio::test]
async fn a_read_is_one_load_and_writes_nothing() {
    let house = House::new();
    let browser = house.browser(eight());
    browser.post("/begin").await;
    let before = house.record(&browser).await.unwrap();
    house.log();
    let response = browser.get("/read").await;
    assert_eq!(house.log(), ["load -> found r1"]);
    assert_eq!(effect(&response), CookieEffect::Nothing);
    assert_eq!(house.record(&browser).await.unwrap().cells, before.cells);
}

#[tokio::test]
async fn a_route_that_takes_no_session_asks_the_store_nothing_and_its_response_is_untouched() {
    let house = House::new();
    let browser = house.browser(eight());
    browser.post("/begin").await;
    house.log();
    let response = browser.get("/untouched").await;
    assert_eq!(house.log(), [""; 0]);
    for name in [header::VARY, header::SET_COOKIE, header::CACHE_CONTROL] {
        assert!(!response.headers().contains_key(&name), "{name}");
    }
}

#[tokio::test]
async fn an_untouched_route_does_not_even_look_at_a_broken_cookie() {
    let house = House::new();
    let browser = house.browser(eight());
    browser.set_cookie("__Host-id", "not a token");
    let response = browser.get("/untouched").await;
    assert_eq!(effect(&response), CookieEffect::Nothing);
}

#[tokio::test]
async fn without_a_cookie_and_without_a_change_the_store_is_never_asked() {
    let house = House::new();
    let browser = house.browser(eight());
    let response = browser.get("/read").await;
    assert_eq!(response.text(), "0 0 0");
    assert_eq!(house.log(), [""; 0]);
    assert_eq!(effect(&response), CookieEffect::Nothing);
    browser.post("/touch").await;
    assert_eq!(house.log(), [""; 0], "no change, no session");
}

#[tokio::test]
async fn mutable_access_without_a_change_commits_nothing_and_sets_no_cookie() {
    let house = House::new();
    let browser = house.browser(eight());
    browser.post("/begin").await;
    house.log();
    let response = browser.post("/touch").await;
    assert_eq!(house.log(), ["load -> found r1"]);
    assert_eq!(effect(&response), CookieEffect::Nothing);
    assert_eq!(house.record(&browser).await.unwrap().header.revision, 1);
}

#[tokio::test]
async fn set_and_reset_in_one_request_is_an_empty_patch_over_several_handles_too() {
    let reset = |mut s: TypedSession<Visitor>| async move {
        *s.visits += 5;
        *s.name = Some("Eve".into());
        *s.visits -= 5;
        *s.name = Some("Ada".into());
    };
    async fn set_around(
        mut s: TypedSession<Visitor>,
        next: axum::middleware::Next,
        request: axum::extract::Request,
    ) -> axum::response::Response {
        *s.name = Some("Eve".into());
        *s.visits += 1;
        drop(s);
        next.run(request).await
    }
    let house = House::new();
    let ada = |mut s: TypedSession<Visitor>| async move { *s.name = Some("Ada".into()) };
    let reset_inside = |mut s: TypedSession<Visitor>| async move {
        assert_eq!(s.name.as_deref(), Some("Eve"));
        *s.name = Some("Ada".into());
        *s.visits -= 1;
    };
    let wrapped = Router::new().route("/two", post(reset_inside)).layer(axum::middleware::from_fn(
        |s: TypedSession<Visitor>, request: axum::extract::Request, next: axum::middleware::Next| set_around(s, next, request),
    ));
    let browser = house.browser(Router::new().route("/begin", post(ada)).route("/one", post(reset)).merge(wrapped));
    browser.post("/begin").await;
    house.log();
    for path in ["/one", "/two"] {
        let response = browser.post(path).await;
        assert_eq!(response.status(), 200, "{path}");
        assert_eq!(house.log(), ["load -> found r1"], "{path}");
        assert_eq!(effect(&response), CookieEffect::Nothing, "{path}");
    }
}

#[tokio::test]
async fn a_sign_in_is_one_load_and_one_commit_rotation_included() {
    let house = House::new();
    let browser = house.browser(eight());
    browser.post("/begin").await;
    let old = browser.cookie("__Host-id");
    house.log();
    let response = browser.post("/sign-in").await;
    assert_eq!(house.log(), ["load -> found r1", "commit puts [eight/a] rotates -> committed r2"]);
    assert!(matches!(effect(&response), CookieEffect::Set(_)));
    assert_ne!(browser.cookie("__Host-id"), old);
}

#[tokio::test]
async fn a_logout_is_one_load_and_one_delete() {
    let house = House::new();
    let browser = house.browser(eight());
    browser.post("/begin").await;
    house.log();
    let response = browser.post("/out").await;
    assert_eq!(house.log(), ["load -> found r1", "delete -> done"]);
    assert_eq!(effect(&response), CookieEffect::Clear);
    assert!(house.store.inner().inner().is_empty());
}

#[tokio::test]
async fn on_sqlite_a_read_costs_a_write_for_the_idle_deadline_once_per_fifth_of_the_idle_time() {
    let house = House::over(SqliteStore::in_memory().await.unwrap());
    let browser = house.browser(eight());
    browser.post("/begin").await;
    let idle = cloakroom::Lifetime::default().idle();
    let first = house.record(&browser).await.unwrap().header.idle_until;
    house.log();
    house.clock.advance(idle / 5 - Duration::from_millis(1));
    browser.get("/read").await;
    assert_eq!(house.log(), ["load -> found r1"]);
    house.clock.advance(Duration::from_millis(1));
    let response = browser.get("/read").await;
    assert_eq!(house.log(), ["load -> found r1", "commit rolls the idle deadline -> committed r1"]);
    assert_eq!(effect(&response), CookieEffect::Nothing);
    assert_eq!(house.record(&browser).await.unwrap().header.idle_until, first.plus(idle / 5));
    browser.get("/read").await;
    assert_eq!(house.log(), ["load -> found r1"]);
    house.clock.advance(idle / 4);
    browser.post("/one").await;
    assert_eq!(
        house.log(),
        ["load -> found r1", "commit puts [eight/f] rolls the idle deadline -> committed r2"],
        "a write takes the deadline along"
    );
}

#[tokio::test]
async fn in_memory_the_idle_deadline_moves_with_every_load_and_costs_nothing() {
    let house = House::new();
    let browser = house.browser(eight());
    browser.post("/begin").await;
    let first = house.record(&browser).await.unwrap().header.idle_until;
    house.clock.advance(Duration::from_millis(1));
    browser.get("/read").await;
    assert_eq!(house.store.count(Operation::Commit), 0);
    assert_eq!(house.record(&browser).await.unwrap().header.idle_until, first.plus(Duration::from_millis(1)));
}

#[tokio::test]
async fn several_extractions_in_one_request_load_once() {
    let house = House::new();
    let many = |a: TypedSession<Eight>, b: TypedSession<Visitor>, c: Option<TypedSession<Eight>>, d: TypedSession<Eight>| async move {
        format!("{} {} {} {}", a.f, b.visits, c.is_some(), d.f)
    };
    let browser = house.browser(eight().route("/many", get(many)));
    browser.post("/one").await;
    house.log();
    assert_eq!(browser.get("/many").await.text(), "-1 0 true -1");
    assert_eq!(house.log(), ["load -> found r1"]);
}
