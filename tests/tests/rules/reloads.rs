//! What this request changed meets what others have stored in the meantime, at a reload or a commit.

use crate::data::{Merging, Visitor};
use axum::{
    Router,
    routing::{get, post},
};
use cloakroom::{
    SessionData, SessionError, TypedSession,
    record::{CellBody, CodecId, Content, Payload, Shape},
};
use cloakroom_tests::{
    events::Events,
    shop::{Browser, House},
    site::{COOKIE, Effect, effect},
};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// A browser that has begun a session, in front of the shared routes and those that a second tab of it takes part in.
async fn with_tab(house: &House, shared: Router, routes: impl FnOnce(Browser) -> Router) -> Browser {
    let tab = house.browser(shared.clone());
    let browser = house.browser(shared.merge(routes(tab.clone())));
    assert_eq!(browser.post("/begin").await.status(), 200);
    tab.set_cookie(COOKIE, browser.cookie(COOKIE).unwrap());
    house.log();
    browser
}

fn is_conflict(result: Result<(), SessionError>, name: &str) -> bool {
    matches!(result, Err(SessionError::Conflict { field }) if field == name)
}

#[tokio::test]
async fn a_reload_gives_up_a_strict_field_that_another_request_changed_and_the_rest_is_stored() {
    #[derive(SessionData)]
    #[session(name = "stock")]
    struct Stock {
        #[session(merge = "strict")]
        first: u32,
        #[session(merge = "strict")]
        second: u32,
        #[session(merge = "strict")]
        mine_alone: u32,
        #[session(merge = "add")]
        sum: u32,
        note: String,
    }
    let show = |s: &TypedSession<Stock>| format!("{} {} {} {} {}", s.first, s.second, s.mine_alone, s.sum, s.note);
    let set = |to: u32| {
        post(move |mut s: TypedSession<Stock>| async move {
            (*s.first, *s.second) = (to, to);
            *s.sum += to;
        })
    };
    let house = House::new();
    let shared = Router::new()
        .route("/begin", set(1))
        .route("/seven", set(7))
        .route("/", get(move |s: TypedSession<Stock>| async move { show(&s) }));
    let browser = with_tab(&house, shared, |tab| {
        let reload = move |mut s: TypedSession<Stock>| async move {
            (*s.first, *s.second, *s.mine_alone) = (8, 8, 8);
            *s.sum += 100;
            *s.note = "mine".into();
            tab.post("/seven").await;
            assert!(is_conflict(s.reload().await, "stock.first"));
            assert_eq!(show(&s), "7 7 8 108 mine", "theirs where it was refused, merged and mine elsewhere");
            s.reload().await.unwrap();
            *s.second += 1;
            s.save().await.unwrap();
            *s.first += 2;
        };
        Router::new().route("/reload", post(reload))
    })
    .await;
    assert_eq!(browser.post("/reload").await.status(), 200);
    assert_eq!(browser.get("/").await.text(), "9 8 8 108 mine");
}

#[tokio::test]
async fn a_reload_whose_merge_is_refused_by_validation_overwrites_nobody() {
    #[derive(SessionData)]
    #[session(name = "guarded")]
    struct Guarded {
        #[session(merge = "add", validate = at_most_ten)]
        sum: u32,
        note: String,
    }
    fn at_most_ten(sum: &u32) -> bool {
        *sum <= 10
    }
    let add = |mut s: TypedSession<Guarded>| async move {
        *s.sum += 6;
        *s.note = "theirs".into();
    };
    let house = House::new();
    let shared = Router::new()
        .route("/begin", post(|mut s: TypedSession<Guarded>| async move { *s.sum = 1 }))
        .route("/add", post(add))
        .route("/", get(|s: TypedSession<Guarded>| async move { format!("{} {}", s.sum, s.note) }));
    let browser = with_tab(&house, shared, |tab| {
        let reload = move |mut s: TypedSession<Guarded>| async move {
            *s.sum += 6;
            *s.note = "mine".into();
            tab.post("/add").await;
            for _ in 0..2 {
                let error = s.reload().await.unwrap_err();
                assert!(matches!(&error, SessionError::Invalid { field, .. } if field == "guarded.sum"), "{error}");
            }
        };
        Router::new().route("/reload", post(reload))
    })
    .await;
    let response = browser.post("/reload").await;
    assert_eq!((response.status().as_u16(), effect(&response)), (500, Effect::Nothing), "7 + 6 is more than ten");
    assert_eq!(browser.get("/").await.text(), "7 theirs");
}

fn unreadable() -> CellBody {
    CellBody::new(Content::Value {
        codec: CodecId::from_u8(99),
        shape: Shape::from_u64(99),
        sealed: false,
        payload: Payload::from(&b"of nobody"[..]),
    })
}

fn two_structs() -> Router {
    let show = |s: TypedSession<Merging>, v: TypedSession<Visitor>| async move {
        format!("{} {} {} {:?} {}", s.sum, s.only, s.text, s.last, v.visits)
    };
    Router::new()
        .route(
            "/begin",
            post(|mut s: TypedSession<Merging>, mut v: TypedSession<Visitor>| async move {
                (*s.sum, *s.only, *s.last) = (10, 1, 1);
                *s.text = "old".into();
                *v.visits = 1;
            }),
        )
        .route(
            "/heal",
            post(|mut s: TypedSession<Merging>| async move {
                *s.sum += 5;
                *s.only = 3;
                *s.last = 3;
            }),
        )
        .route("/visit", post(|mut v: TypedSession<Visitor>| async move { *v.visits += 10 }))
        .route("/", get(show))
}

#[tokio::test]
async fn a_struct_that_another_request_heals_meanwhile_keeps_what_the_healer_wrote() {
    for reloads in [false, true] {
        let house = House::new();
        let browser = with_tab(&house, two_structs(), |tab| {
            let late = move |mut s: TypedSession<Merging>| async move {
                assert_eq!(s.sum, 0, "the struct is reset");
                tab.post("/heal").await;
                *s.sum += 2;
                *s.text = "new".into();
                if reloads {
                    s.reload().await.unwrap();
                    assert_eq!((*s.sum, *s.last), (7, 3));
                }
            };
            Router::new().route("/late", post(late))
        })
        .await;
        house.plant(&browser, [("rules/text", unreadable())]).await;
        assert_eq!(browser.post("/late").await.status(), 200);
        let events = Events::capture();
        assert_eq!(browser.get("/").await.text(), "7 3 (new|) 3 1", "every rule meets what the healer left");
        assert_eq!(events.count("session.undecodable"), 0);
    }
}

#[tokio::test]
async fn a_conflict_on_another_struct_leaves_a_corrupt_one_to_be_healed_by_a_later_write() {
    let house = House::new();
    let browser = with_tab(&house, two_structs(), |tab| {
        let both = move |mut s: TypedSession<Merging>, mut v: TypedSession<Visitor>| async move {
            tab.post("/visit").await;
            *v.visits += 100;
            v.save().await.unwrap();
            assert_eq!(s.sum, 0);
            *s.last = 9;
        };
        Router::new().route("/both", post(both))
    })
    .await;
    house.plant(&browser, [("rules/text", unreadable())]).await;
    assert_eq!(browser.post("/both").await.status(), 200);
    let events = Events::capture();
    assert_eq!(browser.get("/").await.text(), "0 0  9 111", "healed as a whole, and the other struct merged");
    assert_eq!(events.count("session.undecodable"), 0);
}

#[tokio::test]
async fn a_merge_overwrites_nothing_that_it_cannot_read() {
    let house = House::new();
    let begin = |mut s: TypedSession<Merging>| async move { *s.last = 1 };
    let shared = Router::new().route("/begin", post(begin));
    let another_program = house.clone();
    let browser = with_tab(&house, shared, |tab| {
        let add = move |mut s: TypedSession<Merging>| async move {
            assert_eq!(s.sum, 0);
            another_program.plant(&tab, [("rules/sum", unreadable())]).await;
            *s.sum += 1;
        };
        Router::new().route("/add", post(add))
    })
    .await;
    let response = browser.post("/add").await;
    assert_eq!((response.status().as_u16(), effect(&response)), (409, Effect::Nothing));
    let record = house.record(&browser).await.unwrap();
    assert_eq!(record.cells.get("rules/sum").unwrap().body, unreadable());
}

#[tokio::test]
async fn one_request_alone_never_conflicts_on_an_unordered_map_that_cannot_be_compared() {
    #[derive(Default, Serialize, Deserialize)]
    struct Incomparable(u32);

    #[derive(SessionData)]
    #[session(name = "maps")]
    struct Maps {
        #[session(opaque, merge = "strict")]
        map: HashMap<u32, Incomparable>,
        other: u32,
    }
    let house = House::new();
    // So many entries that two maps of them are hardly ever in the same order.
    let shared = Router::new()
        .route(
            "/begin",
            post(|mut s: TypedSession<Maps>| async move { s.map.extend((0..30).map(|at| (at, Incomparable(at)))) }),
        )
        .route("/other", post(|mut s: TypedSession<Maps>| async move { *s.other += 1 }))
        .route("/", get(|s: TypedSession<Maps>| async move { format!("{} {}", s.map.len(), s.other) }));
    let browser = with_tab(&house, shared, |tab| {
        let change = move |mut s: TypedSession<Maps>| async move {
            s.map.insert(30, Incomparable(30));
            s.save().await.unwrap();
            tab.post("/other").await;
            s.map.insert(31, Incomparable(31));
            s.save().await.unwrap();
            s.map.insert(32, Incomparable(32));
            s.reload().await.unwrap();
            s.map.insert(33, Incomparable(33));
            s.refresh().unwrap();
            s.map.insert(34, Incomparable(34));
            cloakroom::Field::revert(&mut s.map);
            s.map.insert(34, Incomparable(34));
            drop(s);
        };
        let after_another_field = |mut s: TypedSession<Maps>| async move {
            *s.other += 1;
            s.save().await.unwrap();
            s.map.insert(35, Incomparable(35));
        };
        Router::new().route("/change", post(change)).route("/after-another-field", post(after_another_field))
    })
    .await;
    assert_eq!(browser.post("/change").await.status(), 200);
    assert_eq!(browser.get("/").await.text(), "35 1");
    assert_eq!(browser.post("/after-another-field").await.status(), 200);
    assert_eq!(browser.get("/").await.text(), "36 2");
}

#[tokio::test]
async fn a_reload_by_one_handle_does_not_hide_from_another_one_what_it_has_not_seen() {
    let house = House::new();
    let browser = with_tab(&house, two_structs(), |tab| {
        let both = move |mut a: TypedSession<Visitor>, mut b: TypedSession<Visitor>| async move {
            tab.post("/visit").await;
            *a.name = Some("Ada".into());
            a.save().await.unwrap();
            b.refresh().unwrap();
            assert_eq!(b.visits, 1, "nobody has asked the store");
            a.reload().await.unwrap();
            assert_eq!(a.visits, 11);
            *b.visits += 100;
        };
        Router::new().route("/both", post(both))
    })
    .await;
    assert_eq!(browser.post("/both").await.status(), 200);
    assert_eq!(browser.get("/").await.text(), "10 1 old 1 111");
}
