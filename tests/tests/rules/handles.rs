//! Several handles of one request, and every verb of a handle.

use crate::data::{Auth, Visitor};
use axum::{
    Router,
    extract::Request,
    http::StatusCode,
    middleware::{Next, from_fn},
    response::Response,
    routing::{get, post},
};
use cloakroom::{Lifetime, SessionError, SessionRejection, TypedSession, testing::Operation};
use cloakroom_tests::{
    events::Events,
    shop::{House, with_cookies},
    site::{Effect, effect},
};
use std::time::Duration;

async fn begin(mut s: TypedSession<Visitor>) {
    *s.visits = 10;
    *s.name = Some("Ada".into());
}

async fn show(s: TypedSession<Visitor>) -> String {
    format!("{} {:?} {:?}", s.visits, s.name, s.notice)
}

fn visitors() -> Router {
    Router::new().route("/begin", post(begin)).route("/", get(show))
}

async fn count_around(mut s: TypedSession<Visitor>, request: Request, next: Next) -> Response {
    *s.visits += 1;
    let response = next.run(request).await;
    *s.visits += 10;
    response
}

#[tokio::test]
async fn a_middleware_that_holds_a_handle_and_the_handler_both_count_in_one_load_and_one_commit() {
    let house = House::new();
    let inner = Router::new()
        .route(
            "/in",
            post(|mut s: TypedSession<Visitor>| async move {
                assert_eq!(s.visits, 10, "a live handle's changes are its own until it is dropped");
                *s.visits += 100;
            }),
        )
        .layer(from_fn(count_around));
    let browser = house.browser(visitors().merge(inner));
    browser.post("/begin").await;
    house.log();
    let response = browser.post("/in").await;
    assert_eq!(response.status(), 200);
    assert_eq!(house.log(), ["load -> found r1", "commit guards [visitor/visits r1] puts [visitor/visits] -> committed r2"]);
    assert_eq!(browser.get("/").await.text(), r#"121 Some("Ada") None"#);
}

#[tokio::test]
async fn two_handles_of_a_session_that_begins_both_count_in_one_create() {
    let house = House::new();
    let inner = Router::new()
        .route("/in", post(|mut s: TypedSession<Visitor>| async move { *s.visits += 100 }))
        .layer(from_fn(count_around));
    let browser = house.browser(visitors().merge(inner));
    browser.post("/in").await;
    assert_eq!(house.log(), ["create cells [visitor/visits] -> created"]);
    assert_eq!(browser.get("/").await.text(), "111 None None");
}

#[tokio::test]
async fn a_later_handle_sees_what_an_earlier_one_left_and_refresh_shows_it_to_a_live_one() {
    async fn look(mut s: TypedSession<Visitor>, request: Request, next: Next) -> Response {
        *s.notice = Some("mine".into());
        let response = next.run(request).await;
        assert_eq!(s.name.as_deref(), Some("Ada"), "a live handle does not see others' changes");
        s.refresh().unwrap();
        assert_eq!(s.name.as_deref(), Some("Bob"));
        assert_eq!(s.notice.as_deref(), Some("mine"), "refresh checks in, it does not throw away");
        response
    }
    let house = House::new();
    let inner = Router::new()
        .route(
            "/in",
            post(|a: TypedSession<Visitor>| async move {
                assert_eq!(*a.notice, None);
                drop(a);
            }),
        )
        .layer(from_fn(|mut s: TypedSession<Visitor>, request: Request, next: Next| async move {
            *s.name = Some("Bob".into());
            drop(s);
            next.run(request).await
        }))
        .layer(from_fn(look));
    let browser = house.browser(visitors().merge(inner));
    browser.post("/begin").await;
    house.log();
    assert_eq!(browser.post("/in").await.status(), 200);
    assert_eq!(house.store.count(Operation::Load), 1);
    assert_eq!(house.store.count(Operation::Commit), 1);
    assert_eq!(browser.get("/").await.text(), r#"10 Some("Bob") Some("mine")"#);
}

#[tokio::test]
async fn destroy_drops_the_changes_of_other_handles_and_says_so() {
    let events = Events::capture();
    let house = House::new();
    let inner = Router::new()
        .route(
            "/out",
            post(|mut s: TypedSession<Visitor>| async move {
                *s.visits += 1;
                s.destroy();
                assert_eq!(s.visits, 0);
                assert_eq!(*s.name, None);
            }),
        )
        .layer(from_fn(count_around))
        .layer(from_fn(|mut s: TypedSession<Visitor>, request: Request, next: Next| async move {
            *s.notice = Some("checked in before".into());
            drop(s);
            next.run(request).await
        }));
    let browser = house.browser(visitors().merge(inner));
    browser.post("/begin").await;
    house.log();
    events.take();
    let response = browser.post("/out").await;
    assert_eq!(response.status(), 200);
    assert_eq!(house.log(), ["load -> found r1", "delete -> done"]);
    assert_eq!(effect(&response), Effect::Clear);
    assert!(events.count("session.changes_lost") >= 2, "one for the change checked in, one for the live handle");
}

#[tokio::test]
async fn a_sign_out_notice_just_works() {
    let house = House::new();
    let out = |mut s: TypedSession<Visitor>| async move {
        s.destroy();
        *s.notice = Some("You are signed out.".into());
    };
    let browser = house.browser(visitors().route("/out", post(out)));
    browser.post("/begin").await;
    let old = browser.cookie("__Host-id").unwrap();
    house.log();
    let response = browser.post("/out").await;
    assert_eq!(house.log(), ["load -> found r1", "delete -> done", "create cells [visitor/notice] -> created"]);
    let Effect::Set(new) = effect(&response) else { panic!("{response:?}") };
    assert_ne!(new[..22], old[..22], "the new session has a selector of its own");
    assert_eq!(browser.get("/").await.text(), r#"0 None Some("You are signed out.")"#);
    let old = with_cookies(&browser, "/begin", &[format!("__Host-id={old}").as_bytes()]).await;
    assert!(matches!(effect(&old), Effect::Set(_)), "the old token begins anew");
}

#[tokio::test]
async fn destroy_of_a_session_that_does_not_exist_asks_nothing_and_clears_nothing() {
    let house = House::new();
    let browser = house.browser(visitors().route(
        "/out",
        post(|mut s: TypedSession<Visitor>| async move {
            *s.visits = 3;
            s.destroy();
        }),
    ));
    let response = browser.post("/out").await;
    assert_eq!(house.log(), [""; 0]);
    assert_eq!(effect(&response), Effect::Nothing);
}

#[tokio::test]
async fn destroying_twice_is_destroying_once() {
    let house = House::new();
    let browser = house.browser(visitors().route(
        "/out",
        post(|mut s: TypedSession<Visitor>, mut t: TypedSession<Visitor>| async move {
            s.destroy();
            t.destroy();
            s.destroy();
        }),
    ));
    browser.post("/begin").await;
    house.log();
    assert_eq!(effect(&browser.post("/out").await), Effect::Clear);
    assert_eq!(house.log(), ["load -> found r1", "delete -> done"]);
}

#[tokio::test]
async fn save_in_the_middle_stores_at_once_and_the_rest_counts_from_there() {
    let house = House::new();
    let inside = house.clone();
    let handler = move |mut s: TypedSession<Visitor>| async move {
        *s.visits += 1;
        s.save().await.unwrap();
        assert_eq!(
            inside.log(),
            ["load -> found r1", "commit guards [visitor/visits r1] puts [visitor/visits] -> committed r2"]
        );
        *s.visits += 1;
        *s.visits -= 1;
        *s.name = Some("Bob".into());
    };
    let browser = house.browser(visitors().route("/save", post(handler)));
    browser.post("/begin").await;
    house.log();
    browser.post("/save").await;
    assert_eq!(house.log(), ["commit puts [visitor/name] -> committed r3"], "what was saved is not written again");
    assert_eq!(browser.get("/").await.text(), r#"11 Some("Bob") None"#);
}

#[tokio::test]
async fn a_counter_saved_twice_counts_twice_and_merges_with_others_in_between() {
    let house = House::new();
    let other = house.browser(visitors().route("/plus", post(|mut s: TypedSession<Visitor>| async move { *s.visits += 1000 })));
    let between = other.clone();
    let handler = move |mut s: TypedSession<Visitor>| {
        let between = between.clone();
        async move {
            *s.visits += 1;
            s.save().await.unwrap();
            between.post("/plus").await;
            *s.visits += 1;
            s.save().await.unwrap();
            *s.visits += 1;
        }
    };
    let browser = house.browser(visitors().route("/save", post(handler)));
    browser.post("/begin").await;
    other.set_cookie("__Host-id", browser.cookie("__Host-id").unwrap());
    assert_eq!(browser.post("/save").await.status(), 200);
    assert_eq!(browser.get("/").await.text(), r#"1013 Some("Ada") None"#);
}

#[tokio::test]
async fn save_begins_a_session_and_its_cookie_goes_out_whatever_the_status() {
    let house = House::new();
    let handler = |mut s: TypedSession<Visitor>| async move {
        *s.visits = 1;
        s.save().await.unwrap();
        assert!(!s.is_new());
        *s.visits = 2;
        StatusCode::INTERNAL_SERVER_ERROR
    };
    let browser = house.browser(visitors().route("/save", post(handler)));
    let response = browser.post("/save").await;
    assert_eq!(response.status(), 500);
    assert_eq!(house.log(), ["create cells [visitor/visits] -> created"]);
    assert!(matches!(effect(&response), Effect::Set(_)));
    assert_eq!(browser.get("/").await.text(), "1 None None", "what was not saved is not stored on a 5xx");
}

#[tokio::test]
async fn a_5xx_stores_no_changed_field_but_a_destroy_goes_out() {
    let house = House::new();
    let fail = |mut s: TypedSession<Visitor>| async move {
        *s.visits += 1;
        StatusCode::BAD_GATEWAY
    };
    let out = |mut s: TypedSession<Visitor>| async move {
        s.destroy();
        *s.notice = Some("not on a 5xx".into());
        StatusCode::INTERNAL_SERVER_ERROR
    };
    let browser = house.browser(visitors().route("/fail", post(fail)).route("/out", post(out)));
    browser.post("/begin").await;
    house.log();
    let response = browser.post("/fail").await;
    assert_eq!((response.status().as_u16(), effect(&response)), (502, Effect::Nothing));
    assert_eq!(house.log(), ["load -> found r1"]);
    let response = browser.post("/out").await;
    assert_eq!((response.status().as_u16(), effect(&response)), (500, Effect::Clear));
    assert_eq!(house.log(), ["load -> found r1", "delete -> done"]);
}

#[tokio::test]
async fn the_cookie_of_a_saved_rotation_goes_out_on_a_5xx() {
    let house = House::new();
    let rotate = |mut s: TypedSession<Visitor>| async move {
        s.rotate();
        s.save().await.unwrap();
        StatusCode::INTERNAL_SERVER_ERROR
    };
    let browser = house.browser(visitors().route("/rotate", post(rotate)));
    browser.post("/begin").await;
    let response = browser.post("/rotate").await;
    assert!(matches!(effect(&response), Effect::Set(_)), "the old secret is dead, so the new one must reach the client");
    assert_eq!(browser.get("/").await.text(), r#"10 Some("Ada") None"#);
}

#[tokio::test]
async fn commit_when_decides_by_the_status() {
    let house = House::new();
    let add = |status: StatusCode| {
        move |mut s: TypedSession<Visitor>| async move {
            *s.visits += 1;
            status
        }
    };
    let routes = visitors()
        .route("/created", post(add(StatusCode::CREATED)))
        .route("/bad", post(add(StatusCode::BAD_REQUEST)))
        .route("/error", post(add(StatusCode::INTERNAL_SERVER_ERROR)));
    let strict = house.browser_of(routes.clone().layer(house.layer().commit_when(|status| status.is_success())));
    strict.post("/begin").await;
    for path in ["/created", "/bad", "/error"] {
        strict.post(path).await;
    }
    assert_eq!(strict.get("/").await.text(), r#"11 Some("Ada") None"#);
    let lenient = house.browser_of(routes.layer(house.layer().commit_when(|_| true)));
    lenient.post("/begin").await;
    for path in ["/created", "/bad", "/error"] {
        lenient.post(path).await;
    }
    assert_eq!(lenient.get("/").await.text(), r#"13 Some("Ada") None"#);
}

#[tokio::test]
async fn by_default_a_4xx_is_stored() {
    let house = House::new();
    let bad = |mut s: TypedSession<Visitor>| async move {
        *s.notice = Some("that was wrong".into());
        StatusCode::UNPROCESSABLE_ENTITY
    };
    let browser = house.browser(visitors().route("/bad", post(bad)));
    assert!(matches!(effect(&browser.post("/bad").await), Effect::Set(_)));
    assert_eq!(browser.get("/").await.text(), r#"0 None Some("that was wrong")"#);
}

#[tokio::test]
async fn clear_writes_tombstones_for_what_is_stored_and_leaves_other_structs_alone() {
    let house = House::new();
    let routes = visitors()
        .route("/auth", post(|mut s: TypedSession<Auth>| async move { *s.user = Some(7) }))
        .route("/user", get(|s: TypedSession<Auth>| async move { format!("{:?}", s.user) }))
        .route(
            "/clear",
            post(|mut s: TypedSession<Visitor>| async move {
                s.clear();
                assert_eq!(s.visits, 0);
                assert_eq!(*s.name, None);
            }),
        );
    let browser = house.browser(routes);
    browser.post("/begin").await;
    browser.post("/auth").await;
    house.log();
    let response = browser.post("/clear").await;
    assert_eq!(effect(&response), Effect::Nothing);
    let log = house.log();
    assert_eq!(log.len(), 2, "{log:?}");
    assert!(log[1].contains("visitor/visits") && log[1].contains("visitor/name"), "{log:?}");
    assert!(!log[1].contains("notice") && !log[1].contains("auth"), "what is not stored needs no tombstone: {log:?}");
    let record = house.record(&browser).await.unwrap();
    assert!(record.cells.get("visitor/visits").unwrap().body.content.payload().is_none());
    assert_eq!(browser.get("/").await.text(), "0 None None");
    assert_eq!(browser.get("/user").await.text(), "Some(7)");
    house.log();
    browser.post("/clear").await;
    assert_eq!(house.log(), ["load -> found r4"].map(|line| line.replace("r4", "r3")), "there is nothing left to clear");
}

#[tokio::test]
async fn a_field_set_after_clear_is_stored_and_the_others_are_cleared() {
    let house = House::new();
    let handler = |mut s: TypedSession<Visitor>| async move {
        s.clear();
        *s.visits = 5;
    };
    let browser = house.browser(visitors().route("/clear", post(handler)));
    browser.post("/begin").await;
    browser.post("/clear").await;
    assert_eq!(browser.get("/").await.text(), "5 None None");
}

#[tokio::test]
async fn reload_shows_what_others_have_stored_and_keeps_unsaved_changes() {
    let house = House::new();
    let other = house.browser(visitors().route(
        "/other",
        post(|mut s: TypedSession<Visitor>| async move {
            *s.visits += 100;
            *s.name = Some("Bob".into());
        }),
    ));
    let between = other.clone();
    let handler = move |mut s: TypedSession<Visitor>| {
        let between = between.clone();
        async move {
            *s.visits += 1;
            *s.notice = Some("mine".into());
            between.post("/other").await;
            assert_eq!(s.visits, 11);
            s.refresh().unwrap();
            assert_eq!(s.visits, 11, "refresh asks nobody");
            s.reload().await.unwrap();
            format!("{} {:?} {:?}", s.visits, s.name, s.notice)
        }
    };
    let browser = house.browser(visitors().route("/reload", post(handler)));
    browser.post("/begin").await;
    other.set_cookie("__Host-id", browser.cookie("__Host-id").unwrap());
    let seen = browser.post("/reload").await.text();
    assert_eq!(seen, r#"111 Some("Bob") Some("mine")"#);
    assert_eq!(browser.get("/").await.text(), seen);
}

#[tokio::test]
async fn reload_of_a_session_that_has_ended_is_gone() {
    let house = House::new();
    let inside = house.clone();
    let handler = move |mut s: TypedSession<Visitor>| async move {
        inside.faults().inner().sweep(inside.now().plus(Duration::from_secs(1 << 40)), 10).await.unwrap();
        assert!(matches!(s.reload().await, Err(SessionError::Gone)));
    };
    let browser = house.browser(visitors().route("/reload", get(handler)));
    browser.post("/begin").await;
    let response = browser.get("/reload").await;
    assert_eq!((response.status().as_u16(), effect(&response)), (200, Effect::Nothing));
}

#[tokio::test]
async fn a_reload_past_the_deadline_is_gone_and_shows_nothing() {
    let house = House::new();
    let clock = house.clock.clone();
    let add = |mut s: TypedSession<Visitor>| async move { *s.visits += 100 };
    let tab = house.browser(visitors().route("/add", post(add)));
    let between = tab.clone();
    let handler = move |mut s: TypedSession<Visitor>| async move {
        between.post("/add").await;
        clock.advance(Lifetime::default().idle());
        assert!(matches!(s.reload().await, Err(SessionError::Gone)));
        assert_eq!(s.visits, 0, "neither what it held nor what the other tab wrote");
    };
    let browser = house.browser(visitors().route("/reload", get(handler)));
    browser.post("/begin").await;
    tab.set_cookie("__Host-id", browser.cookie("__Host-id").unwrap());
    assert_eq!(browser.get("/reload").await.status(), 200);
    assert_eq!(tab.get("/").await.text(), "0 None None");
}

use cloakroom::store::SessionStore as _;

#[tokio::test]
async fn changes_lists_what_would_be_written() {
    let house = House::new();
    let handler = |mut s: TypedSession<Visitor>| async move {
        assert!(s.changes().is_empty());
        *s.visits += 0;
        assert!(s.changes().is_empty(), "touched is not changed");
        *s.name = Some("Bob".into());
        let changes = s.changes();
        assert_eq!((changes.len(), changes[0].key), (1, "visitor/name"));
        assert!(changes[0].size.is_some_and(|size| size > 3));
        cloakroom::Field::revert(&mut s.name);
        assert_eq!(s.name.as_deref(), Some("Ada"));
        assert!(s.changes().is_empty());
        cloakroom::Field::force(&mut s.visits);
        assert_eq!(s.changes()[0].key, "visitor/visits");
    };
    let browser = house.browser(visitors().route("/changes", post(handler)));
    browser.post("/begin").await;
    house.log();
    browser.post("/changes").await;
    let log = house.log();
    assert!(log[1].contains("puts [visitor/visits] -> committed"), "force writes an equal value: {log:?}");
}

#[tokio::test]
async fn changes_lists_a_cleared_field_without_a_size() {
    let house = House::new();
    let handler = |mut s: TypedSession<Visitor>| async move {
        s.clear();
        let changes = s.changes();
        assert!(changes.iter().all(|change| change.size.is_none()));
        let mut keys: Vec<_> = changes.iter().map(|change| change.key).collect();
        keys.sort_unstable();
        assert_eq!(keys, ["visitor/name", "visitor/visits"], "what is not stored is not written");
    };
    let browser = house.browser(visitors().route("/changes", post(handler)));
    browser.post("/begin").await;
    assert_eq!(browser.post("/changes").await.status(), 200);
}

#[tokio::test]
async fn an_optional_session_is_none_without_a_cookie_and_asks_nobody() {
    let house = House::new();
    let option = |s: Option<TypedSession<Visitor>>| async move { s.map_or("none".to_owned(), |s| s.visits.to_string()) };
    let inner = Router::new().route("/begun", post(option)).layer(from_fn(
        |mut s: TypedSession<Visitor>, request: Request, next: Next| async move {
            *s.visits = 3;
            drop(s);
            next.run(request).await
        },
    ));
    let browser = house.browser(visitors().route("/option", get(option)).merge(inner));
    assert_eq!(browser.get("/option").await.text(), "none");
    assert_eq!(house.log(), [""; 0]);
    assert_eq!(browser.post("/begun").await.text(), "3", "this request has begun one");
    assert_eq!(browser.get("/option").await.text(), "3");
}

#[tokio::test]
async fn an_optional_session_is_none_for_a_cookie_that_names_no_live_session() {
    let house = House::new();
    let option = |s: Option<TypedSession<Visitor>>| async move { s.is_some().to_string() };
    let browser = house.browser(visitors().route("/option", get(option)));
    browser.set_cookie("__Host-id", "A".repeat(43));
    let response = browser.get("/option").await;
    assert_eq!((response.text().as_str(), effect(&response)), ("false", Effect::Clear));
}

#[tokio::test]
async fn a_handler_may_take_the_rejection_and_decide() {
    let house = House::new();
    let decide = |s: Result<TypedSession<Visitor>, SessionRejection>| async move {
        match s {
            Ok(s) => format!("{}", s.visits),
            Err(rejection) => {
                assert!(matches!(rejection.error(), SessionError::Unavailable(_)));
                "shop closed".to_owned()
            }
        }
    };
    let browser = house.browser(visitors().route("/decide", post(decide)));
    browser.post("/begin").await;
    assert_eq!(browser.post("/decide").await.text(), "10");
    house.faults().down();
    let response = browser.post("/decide").await;
    assert_eq!((response.status().as_u16(), response.text().as_str()), (200, "shop closed"));
    assert_eq!(effect(&response), Effect::Nothing);
    house.faults().heal();
    assert_eq!(browser.post("/decide").await.text(), "10");
}

#[tokio::test]
async fn a_struct_for_unit_tests_becomes_a_write_when_it_is_assigned_to_a_session() {
    use crate::data::VisitorFields;
    let house = House::new();
    let assign = |mut s: TypedSession<Visitor>| async move {
        *s = VisitorFields::from(Visitor { visits: 10, name: Some("Bob".into()), notice: None });
    };
    let browser = house.browser(visitors().route("/assign", post(assign)));
    browser.post("/begin").await;
    house.log();
    browser.post("/assign").await;
    assert_eq!(browser.get("/").await.text(), r#"10 Some("Bob") None"#);
    assert!(house.log()[1].contains("puts [visitor/name] -> committed"), "only what differs is written");
}

#[tokio::test]
async fn swapped_accessors_are_an_error_and_nothing_is_stored() {
    let house = House::new();
    let swap = |mut s: TypedSession<Visitor>| async move {
        let s = &mut *s;
        std::mem::swap(&mut s.name, &mut s.notice);
    };
    let browser = house.browser(visitors().route("/swap", post(swap)));
    browser.post("/begin").await;
    house.log();
    assert_eq!(browser.post("/swap").await.status(), 500);
    assert_eq!(house.log(), ["load -> found r1"]);
    assert_eq!(browser.get("/").await.text(), r#"10 Some("Ada") None"#);
}

#[tokio::test]
async fn swapped_values_are_two_changes() {
    let house = House::new();
    let swap = |mut s: TypedSession<Visitor>| async move {
        let s = &mut *s;
        std::mem::swap(&mut *s.name, &mut *s.notice);
    };
    let browser = house.browser(visitors().route("/swap", post(swap)));
    browser.post("/begin").await;
    browser.post("/swap").await;
    assert_eq!(browser.get("/").await.text(), r#"10 None Some("Ada")"#);
}

#[tokio::test]
async fn a_session_knows_whether_it_is_new_when_it_began_and_its_public_name() {
    let house = House::new();
    let begin = house.now();
    let meta = |s: TypedSession<Visitor>| async move {
        let millis = |at: std::time::SystemTime| at.duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
        format!("{} {} {}", s.is_new(), millis(s.created_at()), s.handle().is_some())
    };
    let browser = house.browser(visitors().route("/meta", get(meta)));
    assert_eq!(browser.get("/meta").await.text(), format!("true {} false", begin.as_millis()));
    browser.post("/begin").await;
    house.clock.advance(Duration::from_secs(60));
    assert_eq!(browser.get("/meta").await.text(), format!("false {} true", begin.as_millis()));
}

#[tokio::test]
async fn a_label_is_stored_with_the_session_and_never_begins_one() {
    let house = House::new();
    let label = |mut s: TypedSession<Visitor>| async move { s.set_label("Firefox on a laptop") };
    let unlabel = |mut s: TypedSession<Visitor>| async move { s.set_label(None) };
    let long = |mut s: TypedSession<Visitor>| async move { s.set_label("ä".repeat(500).as_str()) };
    let routes = visitors().route("/label", post(label)).route("/unlabel", post(unlabel)).route("/long", post(long));
    let browser = house.browser(routes);
    assert_eq!(effect(&browser.post("/label").await), Effect::Nothing);
    assert_eq!(house.log(), [""; 0]);
    browser.post("/begin").await;
    let response = browser.post("/label").await;
    assert_eq!(effect(&response), Effect::Nothing);
    assert_eq!(house.record(&browser).await.unwrap().header.label.as_deref(), Some("Firefox on a laptop"));
    house.log();
    browser.post("/label").await;
    assert_eq!(house.log(), ["load -> found r1"], "the same label is no change");
    browser.post("/long").await;
    assert_eq!(house.record(&browser).await.unwrap().header.label.unwrap().len(), cloakroom::limits::LABEL);
    browser.post("/unlabel").await;
    assert_eq!(house.record(&browser).await.unwrap().header.label, None);
}

#[tokio::test]
async fn a_label_keeps_no_control_characters() {
    let house = House::new();
    let label = |mut s: TypedSession<Visitor>| async move { s.set_label("a\r\nb\t\u{1b}[31m\u{0}\u{7f}\u{9b}c") };
    let browser = house.browser(visitors().route("/label", post(label)));
    browser.post("/begin").await;
    browser.post("/label").await;
    assert_eq!(house.record(&browser).await.unwrap().header.label.as_deref(), Some("ab[31mc"));
}

#[tokio::test]
async fn two_structs_in_one_cookie_share_the_load_and_the_commit() {
    let house = House::new();
    let both = |mut a: TypedSession<Auth>, mut v: TypedSession<Visitor>| async move {
        *a.user = Some(7);
        *v.visits += 1;
    };
    let browser = house.browser(visitors().route("/both", post(both)));
    browser.post("/begin").await;
    house.log();
    browser.post("/both").await;
    let log = house.log();
    assert_eq!(log.len(), 2, "{log:?}");
    assert!(log[1].contains("auth/user") && log[1].contains("visitor/visits"), "{log:?}");
}
