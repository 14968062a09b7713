//! Who is signed in: what a change of the owner takes along, what it leaves behind, and that nobody can forget to rotate.

use crate::members::{
    AnyHouse, Library, Members, MembersFields, NOBODY, assert_dead, assert_rotated, deadlines_from, guest, houses, keys,
    member, routes, show,
};
use axum::{
    Router,
    extract::Path,
    response::Redirect,
    routing::{MethodRouter, any, get, post},
};
use cloakroom::{
    Field, Lifetime, SessionData, SessionError, SessionLayer, Sessions, TypedSession,
    record::{CellBody, CodecId, Content, Payload, Record, Shape},
    store::{CookieStore, SessionStore},
    testing::{Fault, Gate, ManualClock, Operation, TestClient},
};
use cloakroom_tests::{
    events::Events,
    shop::{Browser, House},
    site::{COOKIE, Effect, effect, keys as cookie_keys, selector},
};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, time::Duration};

const HOUR: Duration = Duration::from_secs(3600);

fn nothing_more() -> Router {
    Router::new()
}

fn at(path: &str, handler: MethodRouter) -> Router {
    Router::new().route(path, handler)
}

/// A cell that no program of these tests wrote or can read.
fn foreign(keep: bool) -> CellBody {
    let payload = Payload::from(&b"of another program"[..]);
    let mut body =
        CellBody::new(Content::Value { codec: CodecId::from_u8(99), shape: Shape::from_u64(99), sealed: false, payload });
    body.keep = keep;
    body
}

async fn library(browser: &Browser) -> String {
    browser.get("/library").await.text()
}

#[tokio::test]
async fn signing_in_keeps_everything_under_another_token_in_one_atomic_step() {
    let events = Events::capture();
    for house in houses().await {
        let browser = guest(&house, nothing_more()).await;
        let (old, before) = (browser.fork(), house.record(&browser).await.unwrap());
        house.clock.advance(HOUR);
        let response = browser.post("/in/7").await;
        assert_eq!(
            house.log(),
            ["load -> found r1", "commit puts [members/user] resets the deadlines sets the owner rotates -> committed r2"]
        );
        assert_rotated(&old, effect(&response));
        let header = house.record(&browser).await.unwrap().header;
        assert_eq!((header.epoch, header.authenticated_at, header.last_seen), (1, Some(house.now()), house.now()));
        assert_eq!((header.idle_until, header.absolute_until), deadlines_from(house.now()));
        assert_eq!(header.created, before.header.created, "it is the same session");
        let owner = header.owner.unwrap();
        assert_eq!(&*owner.schema, "members");
        let listed = house.faults().inner().by_owner(&owner.hash).await.unwrap();
        assert_eq!(listed.len(), 1, "one record under one key");
        assert_eq!(listed[0].0, selector(&old.cookie(COOKIE).unwrap()));
        assert_eq!(browser.get("/").await.text(), r#"Some(7) false "dark" [1, 2] 10"#);
        assert_eq!(library(&browser).await, r#""de" "Dear""#);
        events.take();
        assert_dead(&old).await;
        assert!(events.take().iter().any(|line| line.contains(r#"why="stale""#)));
        let response = old.post("/cart/3").await;
        assert_eq!((response.status(), effect(&response)), (StatusCode::CONFLICT, Effect::Nothing), "nor does it write");
        assert_eq!(browser.get("/").await.text(), r#"Some(7) false "dark" [1, 2] 10"#);
    }
}

#[tokio::test]
async fn signing_in_without_a_session_is_one_create() {
    for house in houses().await {
        let browser = house.browser(routes());
        let response = browser.post("/in/7").await;
        assert!(matches!(effect(&response), Effect::Set(_)));
        assert_eq!(house.log(), ["create cells [members/user] -> created"]);
        let header = house.record(&browser).await.unwrap().header;
        assert_eq!((header.epoch, header.authenticated_at), (0, Some(house.now())));
        assert_eq!(house.faults().inner().by_owner(&header.owner.unwrap().hash).await.unwrap().len(), 1);
        assert_eq!(browser.get("/").await.text(), r#"Some(7) false "" [] 0"#);
    }
}

/// Every way in which a handler can set a field. None of them rotates by hand.
fn login_paths() -> Vec<(&'static str, MethodRouter)> {
    fn from_the_struct() -> MembersFields {
        Members { user: Some(7), admin: false, theme: String::new(), cart: vec![], views: 0 }.into()
    }
    vec![
        ("assigned", any(async |mut s: TypedSession<Members>| *s.user = Some(7))),
        ("replaced", any(async |mut s: TypedSession<Members>| assert_eq!(s.user.replace(7), None))),
        ("inserted", any(async |mut s: TypedSession<Members>| *s.user.get_or_insert(0) += 7)),
        (
            "swapped",
            any(async |mut s: TypedSession<Members>| {
                let mut user = Some(7);
                std::mem::swap(&mut *s.user, &mut user);
                assert_eq!(user, None);
            }),
        ),
        ("a field of a struct", any(async |mut s: TypedSession<Members>| s.user = from_the_struct().user)),
        ("a whole struct", any(async |mut s: TypedSession<Members>| *s = from_the_struct())),
        (
            "forced",
            any(async |mut s: TypedSession<Members>| {
                *s.user = Some(7);
                Field::force(&mut s.user);
            }),
        ),
        (
            "cleared first",
            any(async |mut s: TypedSession<Members>| {
                s.clear();
                *s.user = Some(7);
            }),
        ),
        (
            "another handle writes, too",
            any(async |mut one: TypedSession<Members>, mut two: TypedSession<Members>| {
                *one.user = Some(7);
                two.cart.push(3);
            }),
        ),
        (
            "two handles",
            any(async |mut one: TypedSession<Members>, mut two: TypedSession<Members>| {
                *one.user = Some(6);
                drop(one);
                *two.user = Some(7);
            }),
        ),
        (
            "saved",
            any(async |mut s: TypedSession<Members>| {
                *s.user = Some(7);
                s.save().await.unwrap();
            }),
        ),
        (
            "saved before",
            any(async |mut s: TypedSession<Members>| {
                s.cart.push(3);
                s.save().await.unwrap();
                *s.user = Some(7);
            }),
        ),
        (
            "saved before and after",
            any(async |mut s: TypedSession<Members>| {
                s.cart.push(3);
                s.save().await.unwrap();
                *s.user = Some(7);
                s.save().await.unwrap();
                s.cart.push(4);
            }),
        ),
        (
            "refreshed",
            any(async |mut s: TypedSession<Members>| {
                *s.user = Some(7);
                s.refresh().unwrap();
            }),
        ),
        (
            "reloaded",
            any(async |mut s: TypedSession<Members>| {
                *s.user = Some(7);
                s.reload().await.unwrap();
            }),
        ),
        ("an option", any(async |s: Option<TypedSession<Members>>| *s.unwrap().user = Some(7))),
        ("a result", any(async |s: Result<TypedSession<Members>, cloakroom::SessionRejection>| *s.unwrap().user = Some(7))),
        (
            "answered with a redirect",
            any(async |mut s: TypedSession<Members>| {
                *s.user = Some(7);
                Redirect::to("/")
            }),
        ),
        (
            "answered with a refusal",
            any(async |mut s: TypedSession<Members>| {
                *s.user = Some(7);
                StatusCode::FORBIDDEN
            }),
        ),
    ]
}

/// CVE-2018-11385, CVE-2023-46733, CVE-2015-8124, CVE-2024-28197: a path that signs in and keeps the token.
#[tokio::test]
async fn every_way_to_sign_in_rotates() {
    for house in houses().await {
        for (path, handler) in login_paths() {
            let browser = guest(&house, at("/path", handler)).await;
            let (old, key) = (browser.fork(), selector(&browser.cookie(COOKIE).unwrap()));
            let response = browser.post("/path").await;
            assert!(!response.status().is_server_error(), "{path}");
            assert_rotated(&old, effect(&response));
            let header = house.record_of(&key).await.unwrap().header;
            assert_eq!((header.epoch, header.owner.is_some()), (1, true), "{path}");
            assert!(browser.get("/").await.text().starts_with("Some(7) "), "{path}");
            assert_dead(&old).await;
            assert_eq!(house.store.count(Operation::Create), 0, "{path}: one record under one key");
            house.log();
        }
    }
}

#[tokio::test]
async fn a_get_signs_in_like_any_other_method() {
    for house in houses().await {
        let browser = guest(&house, at("/link", get(async |mut s: TypedSession<Members>| *s.user = Some(7)))).await;
        let old = browser.fork();
        assert_rotated(&old, effect(&browser.get("/link").await));
        assert_dead(&old).await;
    }
}

#[tokio::test]
async fn signing_out_leaves_what_is_marked_keep_and_what_the_request_wrote_of_every_schema() {
    let out = async |mut s: TypedSession<Members>, mut library: TypedSession<Library>| {
        *s.user = None;
        *s.cart = vec![9];
        *library.draft = "Bye".into();
    };
    for house in houses().await {
        let browser = member(&house, 7, at("/leave", post(out))).await;
        let (old, before) = (browser.fork(), house.record(&browser).await.unwrap().header);
        // Of a newer version of this program, and of another program: this one has never heard of them.
        let planted =
            [("members/palette", true), ("members/history", false), ("other/lang", true), ("other/secret_santa", false)];
        house.plant(&browser, planted.map(|(key, keep)| (key, foreign(keep)))).await;
        house.clock.advance(HOUR);
        let response = browser.post("/leave").await;
        assert_rotated(&old, effect(&response));
        assert_eq!(
            keys(&house, &browser).await,
            ["library/draft", "library/locale", "members/cart", "members/palette", "members/theme", "other/lang"]
        );
        let after = house.record(&browser).await.unwrap();
        assert_eq!(after.cells.get("other/lang").unwrap().body, foreign(true), "byte for byte");
        assert_eq!((after.header.owner, after.header.authenticated_at), (None, None));
        assert_eq!((after.header.epoch, after.header.created), (before.epoch + 1, house.now()));
        assert_eq!((after.header.idle_until, after.header.absolute_until), deadlines_from(house.now()));
        assert_eq!(browser.get("/").await.text(), r#"None false "dark" [9] 0"#);
        assert_eq!(library(&browser).await, r#""de" "Bye""#);
        assert_dead(&old).await;
        let commits: Vec<String> = house.log().into_iter().filter(|line| line.starts_with("commit")).collect();
        assert_eq!(commits.len(), 1, "{commits:?}");
        assert!(commits[0].ends_with("resets the deadlines clears the owner rotates -> committed r4"), "{commits:?}");
        assert!(house.faults().inner().by_owner(&before.owner.unwrap().hash).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn what_a_struct_keeps_stays_also_where_this_process_has_not_met_the_struct() {
    for house in houses().await {
        let browser = member(&house, 7, nothing_more()).await;
        // Another process: it serves the sign-out alone.
        let elsewhere = house.browser(at("/out", post(async |mut s: TypedSession<Members>| *s.user = None)));
        elsewhere.set_cookie(COOKIE, browser.cookie(COOKIE).unwrap());
        let Effect::Set(token) = effect(&elsewhere.post("/out").await) else { panic!("something stays") };
        browser.set_cookie(COOKIE, token);
        assert_eq!(keys(&house, &browser).await, ["library/locale", "members/theme"]);
        assert_eq!(library(&browser).await, r#""de" """#);
    }
}

#[tokio::test]
async fn another_person_who_signs_in_finds_nothing_of_the_one_before() {
    let arrive = async |mut s: TypedSession<Members>| {
        *s.user = Some(8);
        s.cart.push(3);
    };
    for house in houses().await {
        let browser = member(&house, 7, at("/arrive", post(arrive))).await;
        browser.post("/admin/true").await;
        let (old, before) = (browser.fork(), house.record(&browser).await.unwrap().header);
        house.plant(&browser, [("other/lang", foreign(true)), ("other/diary", foreign(false))]).await;
        house.clock.advance(HOUR);
        let response = browser.post("/in/8").await;
        assert_rotated(&old, effect(&response));
        assert_eq!(keys(&house, &browser).await, ["library/locale", "members/theme", "members/user", "other/lang"]);
        assert_eq!(browser.get("/").await.text(), r#"Some(8) false "dark" [] 0"#);
        assert_eq!(library(&browser).await, r#""de" """#);
        let after = house.record(&browser).await.unwrap().header;
        assert_eq!((after.epoch, after.created), (before.epoch + 1, house.now()));
        assert_eq!((after.idle_until, after.absolute_until), deadlines_from(house.now()));
        assert_eq!(after.authenticated_at, Some(house.now()));
        let count = async |owner: Option<cloakroom::record::Owner>| {
            house.faults().inner().by_owner(&owner.unwrap().hash).await.unwrap().len()
        };
        assert_eq!((count(before.owner).await, count(after.owner).await), (0, 1));
        assert_dead(&old).await;
    }
}

/// `theirs` happens to be what the one before had. It is the newcomer's all the same.
#[tokio::test]
async fn what_a_newcomer_writes_is_there_also_where_the_one_before_had_the_same() {
    let arrive = async |mut s: TypedSession<Members>| {
        *s.user = Some(8);
        *s.cart = vec![1, 2];
    };
    for house in houses().await {
        let browser = member(&house, 7, at("/arrive", post(arrive))).await;
        browser.post("/arrive").await;
        assert_eq!(browser.get("/").await.text(), r#"Some(8) false "dark" [1, 2] 0"#);
    }
}

#[tokio::test]
async fn label_and_persistence_were_the_other_ones() {
    let enter = async |mut s: TypedSession<Members>| {
        *s.user = Some(7);
        s.set_label("Firefox of Ann");
        s.set_persistent(true);
    };
    let enter_as_another = async |mut s: TypedSession<Members>| {
        *s.user = Some(8);
        s.set_label("Firefox of Bob");
    };
    for house in houses().await {
        let more = || at("/enter", post(enter)).merge(at("/other", post(enter_as_another)));
        for (path, label) in [("/out", None), ("/in/8", None), ("/other", Some("Firefox of Bob"))] {
            let browser = guest(&house, more()).await;
            let response = browser.post("/enter").await;
            assert!(response.set_cookies()[0].contains("Max-Age="));
            let header = house.record(&browser).await.unwrap().header;
            assert_eq!((header.label.as_deref(), header.persistent), (Some("Firefox of Ann"), true));
            let response = browser.post(path).await;
            assert!(!response.set_cookies()[0].contains("Max-Age="), "{path}");
            let header = house.record(&browser).await.unwrap().header;
            assert_eq!((header.label.as_deref(), header.persistent), (label, false), "{path}");
        }
    }
}

#[tokio::test]
async fn where_nothing_stays_the_session_is_deleted_and_its_cookie_cleared() {
    for house in houses().await {
        let browser = house.browser(routes());
        browser.post("/in/7").await;
        browser.post("/cart/3").await;
        let (old, key) = (browser.fork(), selector(&browser.cookie(COOKIE).unwrap()));
        house.log();
        let response = browser.post("/out").await;
        assert_eq!((response.status().as_u16(), effect(&response)), (200, Effect::Clear));
        assert_eq!(house.log(), ["load -> found r2", "delete -> done"]);
        assert!(house.record_of(&key).await.is_none());
        let response = old.get("/").await;
        assert_eq!((response.text().as_str(), effect(&response)), (NOBODY, Effect::Clear), "the old cookie names nothing");
    }
}

#[tokio::test]
async fn a_field_that_is_set_to_its_default_at_the_sign_out_is_nothing_that_stays() {
    let out = async |mut s: TypedSession<Members>| {
        *s.user = None;
        s.cart.clear();
        *s.admin = false;
    };
    for house in houses().await {
        let browser = house.browser(routes().route("/leave", post(out)));
        browser.post("/in/7").await;
        browser.post("/cart/3").await;
        let key = selector(&browser.cookie(COOKIE).unwrap());
        assert_eq!(effect(&browser.post("/leave").await), Effect::Clear);
        assert!(house.record_of(&key).await.is_none());
    }
}

#[tokio::test]
async fn a_notice_at_the_sign_out_just_works() {
    let out = async |mut s: TypedSession<Members>| {
        *s.user = None;
        *s.theme = "You are signed out.".into();
    };
    for house in houses().await {
        let browser = house.browser(routes().route("/leave", post(out)));
        browser.post("/in/7").await;
        let old = browser.fork();
        assert_rotated(&old, effect(&browser.post("/leave").await));
        assert_eq!(browser.get("/").await.text(), r#"None false "You are signed out." [] 0"#);
    }
}

#[tokio::test]
async fn what_a_merge_rule_adds_to_is_written_with_the_change_of_owner_and_nothing_else_is() {
    let count = |user: Option<u64>| {
        post(async move |mut s: TypedSession<Members>| {
            *s.user = user;
            *s.views += 1;
        })
    };
    for house in houses().await {
        for (user, shown) in [(None, r#"None false "dark" [] 1"#), (Some(8), r#"Some(8) false "dark" [] 1"#)] {
            let browser = member(&house, 7, at("/count", count(user))).await;
            assert_eq!(browser.post("/count").await.status(), 200);
            assert_eq!(browser.get("/").await.text(), shown);
        }
        // A sign-in keeps what is there, so it adds up.
        let browser = guest(&house, at("/count", count(Some(7)))).await;
        browser.post("/count").await;
        assert_eq!(browser.get("/").await.text(), r#"Some(7) false "dark" [1, 2] 11"#);
    }
}

#[tokio::test]
async fn after_a_save_the_handle_holds_nothing_of_the_one_before() {
    let out = async |mut s: TypedSession<Members>| {
        *s.user = None;
        s.save().await.unwrap();
        let saved = show(&s);
        s.cart.push(5);
        saved
    };
    let arrive = async |mut s: TypedSession<Members>| {
        *s.user = Some(8);
        s.save().await.unwrap();
        let saved = show(&s);
        s.cart.push(5);
        *s.views += 1;
        s.save().await.unwrap();
        saved
    };
    for house in houses().await {
        for (handler, saved, later) in [
            (post(out), r#"None false "dark" [] 0"#, r#"None false "dark" [5] 0"#),
            (post(arrive), r#"Some(8) false "dark" [] 0"#, r#"Some(8) false "dark" [5] 1"#),
        ] {
            let browser = member(&house, 7, at("/change", handler)).await;
            let old = browser.fork();
            let response = browser.post("/change").await;
            assert_eq!(response.text(), saved);
            assert_rotated(&old, effect(&response));
            assert_eq!(browser.get("/").await.text(), later);
            assert_eq!(house.record(&browser).await.unwrap().header.epoch, 2);
        }
    }
}

#[tokio::test]
async fn a_struct_that_is_cleared_signs_its_owner_out() {
    for house in houses().await {
        let browser = member(&house, 7, at("/clear", post(async |mut s: TypedSession<Members>| s.clear()))).await;
        let old = browser.fork();
        assert_rotated(&old, effect(&browser.post("/clear").await));
        assert_eq!(browser.get("/").await.text(), NOBODY);
        assert_eq!(keys(&house, &browser).await, ["library/locale"]);
        assert_dead(&old).await;
    }
}

#[tokio::test]
async fn unsaved_changes_of_another_handle_were_the_former_owners_and_are_not_stored() {
    let change = |user: Option<u64>| {
        post(async move |mut one: TypedSession<Members>, mut two: TypedSession<Members>| {
            two.cart.push(99);
            *one.user = user;
            one.save().await.unwrap();
            drop(one);
            drop(two);
        })
    };
    let events = Events::capture();
    for house in houses().await {
        for (user, shown) in [(None, r#"None false "dark" [] 0"#), (Some(8), r#"Some(8) false "dark" [] 0"#)] {
            let browser = member(&house, 7, at("/change", change(user))).await;
            events.take();
            assert_eq!(browser.post("/change").await.status(), 200);
            assert_eq!(events.count("session.changes_lost"), 1);
            assert_eq!(browser.get("/").await.text(), shown);
        }
    }
}

#[tokio::test]
async fn a_handle_of_the_former_owner_hears_that_its_session_is_gone_when_it_saves() {
    let change = async |mut one: TypedSession<Members>, mut two: TypedSession<Members>| {
        two.cart.push(99);
        *one.user = Some(8);
        one.save().await.unwrap();
        let said = two.save().await.unwrap_err();
        assert!(matches!(said, SessionError::Gone), "{said}");
        show(&two)
    };
    for house in houses().await {
        let browser = member(&house, 7, at("/change", post(change))).await;
        assert_eq!(browser.post("/change").await.text(), r#"Some(8) false "dark" [] 0"#, "it begins from the new one");
    }
}

#[tokio::test]
async fn the_same_person_once_more_is_no_change_and_forced_it_is_a_proof() {
    let forced = async |mut s: TypedSession<Members>| {
        *s.user = Some(7);
        Field::force(&mut s.user);
    };
    for house in houses().await {
        let browser = member(&house, 7, at("/forced", post(forced))).await;
        let old = browser.fork();
        assert_eq!(effect(&browser.post("/in/7").await), Effect::Nothing);
        assert_eq!(house.log(), ["load -> found r2"]);
        house.clock.advance(HOUR);
        assert_rotated(&old, effect(&browser.post("/forced").await));
        let header = house.record(&browser).await.unwrap().header;
        assert_eq!((header.epoch, header.authenticated_at), (2, Some(house.now())));
        assert_eq!(browser.get("/").await.text(), r#"Some(7) false "dark" [1, 2] 10"#, "nothing of theirs is lost");
        assert_dead(&old).await;
    }
}

/// F3.
#[tokio::test]
async fn a_sign_in_of_unknown_outcome_hands_out_no_token_and_nobody_is_locked_out() {
    for house in houses().await {
        for fault in [Fault::Unavailable, Fault::UnknownApplied, Fault::UnknownNotApplied] {
            for operation in [Operation::Commit, Operation::Create] {
                let browser =
                    if operation == Operation::Commit { guest(&house, nothing_more()).await } else { house.browser(routes()) };
                house.log();
                house.faults().next(operation, fault.clone());
                let response = browser.post("/in/7").await;
                assert_eq!((response.status().as_u16(), effect(&response)), (503, Effect::Nothing), "{fault:?}");
                assert_eq!(house.store.count(operation), 1, "{fault:?}: nothing is tried again blindly");
                let response = browser.post("/in/7").await;
                assert!(matches!(effect(&response), Effect::Set(_)), "{fault:?} of {operation}");
                assert!(browser.get("/").await.text().starts_with("Some(7) "), "{fault:?} of {operation}");
            }
        }
    }
}

#[tokio::test]
async fn after_a_server_error_nobody_was_signed_in_or_out() {
    let change = |user: Option<u64>| {
        post(async move |mut s: TypedSession<Members>| {
            *s.user = user;
            StatusCode::INTERNAL_SERVER_ERROR
        })
    };
    for house in houses().await {
        let browser = guest(&house, at("/change", change(Some(7)))).await;
        let response = browser.post("/change").await;
        assert_eq!((response.status().as_u16(), effect(&response)), (500, Effect::Nothing));
        assert_eq!(house.log(), ["load -> found r1"]);
        assert_eq!(browser.get("/").await.text(), r#"None false "dark" [1, 2] 10"#);
        for user in [None, Some(8)] {
            let browser = member(&house, 7, at("/change", change(user))).await;
            let response = browser.post("/change").await;
            assert_eq!((response.status().as_u16(), effect(&response)), (500, Effect::Nothing));
            assert_eq!(house.log(), ["load -> found r2"]);
            assert_eq!(browser.get("/").await.text(), r#"Some(7) false "dark" [1, 2] 10"#);
        }
    }
}

#[tokio::test]
async fn a_schema_that_cannot_be_read_signs_nobody_in_and_its_first_write_follows_the_owner_rule() {
    let events = Events::capture();
    for house in houses().await {
        for (write, shown) in [
            ("/cart/5", r#"None false "" [5] 0"#),
            ("/in/8", r#"Some(8) false "" [] 0"#),
            ("/admin/true", r#"None true "" [] 0"#),
        ] {
            let browser = member(&house, 7, nothing_more()).await;
            house.plant(&browser, [("members/views", foreign(false))]).await;
            let (old, before) = (browser.fork(), house.record(&browser).await.unwrap());
            events.take();
            assert_eq!(browser.get("/").await.text(), NOBODY, "half a record signs nobody in");
            assert_eq!(events.count("session.undecodable"), 1);
            assert_eq!(library(&browser).await, r#""de" "Dear""#, "other schemas are read as ever");
            assert_eq!(house.record(&browser).await.unwrap().cells, before.cells, "a mere read leaves every byte in place");
            house.log();
            let response = browser.post(write).await;
            assert_rotated(&old, effect(&response));
            assert_eq!(browser.get("/").await.text(), shown, "{write}");
            assert_eq!(library(&browser).await, r#""de" """#, "{write}: nothing of the one before stays, but what is kept");
            let header = house.record(&browser).await.unwrap().header;
            assert_eq!(header.epoch, before.header.epoch + 1);
            assert_ne!(header.owner, before.header.owner);
            assert!(house.faults().inner().by_owner(&before.header.owner.unwrap().hash).await.unwrap().is_empty());
            assert_dead(&old).await;
        }
    }
}

/// CVE-2024-51996: the name in one place is not compared with the name in the other.
#[tokio::test]
async fn where_header_and_field_name_different_owners_nobody_is_signed_in() {
    let events = Events::capture();
    for house in houses().await {
        let (ann, bob) = (member(&house, 7, nothing_more()).await, member(&house, 8, nothing_more()).await);
        let of_bob = house.record(&bob).await.unwrap().cells.get("members/user").unwrap().body.clone();
        house.plant(&ann, [("members/user", of_bob)]).await;
        events.take();
        assert_eq!(ann.get("/").await.text(), NOBODY);
        assert_eq!(events.count("session.undecodable"), 1);
        let (old, before) = (ann.fork(), house.record(&ann).await.unwrap().header);
        assert_rotated(&old, effect(&ann.post("/cart/5").await));
        assert_eq!(ann.get("/").await.text(), r#"None false "" [5] 0"#, "the first write follows the owner rule");
        assert_eq!(library(&ann).await, r#""de" """#);
        let after = house.record(&ann).await.unwrap().header;
        assert_eq!((after.owner, after.epoch), (None, before.epoch + 1));
        assert_eq!(bob.get("/").await.text(), r#"Some(8) false "dark" [1, 2] 10"#);
    }
}

#[tokio::test]
async fn what_is_kept_is_what_the_program_says_today() {
    #[derive(SessionData)]
    #[session(name = "members")]
    struct Before {
        #[session(owner)]
        user: Option<u64>,
        theme: String,
        #[session(keep)]
        cart: Vec<u32>,
    }
    let begin = async |mut s: TypedSession<Before>| {
        *s.user = Some(7);
        *s.theme = "dark".into();
        s.cart.push(1);
    };
    for house in houses().await {
        for (path, shown) in [("/out", r#"None false "dark" [] 0"#), ("/in/8", r#"Some(8) false "dark" [] 0"#)] {
            let before = house.browser(at("/in", post(begin)));
            before.post("/in").await;
            let after = house.browser(routes());
            after.set_cookie(COOKIE, before.cookie(COOKIE).unwrap());
            after.post(path).await;
            assert_eq!(after.get("/").await.text(), shown, "not what it said when the cell was written");
        }
    }
}

#[tokio::test]
async fn a_secret_that_is_kept_opens_for_the_next_one_and_an_owner_may_be_a_secret() {
    #[derive(SessionData)]
    #[session(name = "vault")]
    struct Vault {
        #[session(owner, secret)]
        user: Option<u64>,
        #[session(keep, secret)]
        hint: String,
        #[session(secret)]
        pin: u32,
    }
    let set = |user: Option<u64>| post(async move |mut s: TypedSession<Vault>| *s.user = user);
    let routes = || {
        Router::new()
            .route("/", get(async |s: TypedSession<Vault>| format!("{:?} {:?} {}", *s.user, *s.hint, *s.pin)))
            .route(
                "/fill",
                post(async |mut s: TypedSession<Vault>| {
                    *s.hint = "a dog".into();
                    *s.pin = 4711;
                }),
            )
            .route("/in/7", set(Some(7)))
            .route("/in/8", set(Some(8)))
            .route("/out", set(None))
            .route("/list", get(async |it: Sessions| it.list::<Vault>(&7).await.unwrap().len().to_string()))
    };
    for house in houses().await {
        let browser = house.browser(routes());
        browser.post("/fill").await;
        for (path, shown, listed) in [
            ("/in/7", r#"Some(7) "a dog" 4711"#, "1"),
            ("/in/8", r#"Some(8) "a dog" 0"#, "0"),
            ("/in/7", r#"Some(7) "a dog" 0"#, "1"),
            ("/out", r#"None "a dog" 0"#, "0"),
        ] {
            let old = browser.fork();
            assert_rotated(&old, effect(&browser.post(path).await));
            assert_eq!(browser.get("/").await.text(), shown, "{path}");
            assert_eq!(browser.get("/list").await.text(), listed, "{path}");
            assert_eq!(old.get("/").await.text(), r#"None "" 0"#, "{path}");
        }
    }
}

#[tokio::test]
async fn a_sign_out_that_leaves_nothing_is_saved_as_well_and_what_comes_after_it_begins_another_session() {
    let out = async |mut s: TypedSession<Members>| {
        *s.user = None;
        s.save().await.unwrap();
        assert!(s.is_new() && show(&s) == NOBODY);
    };
    let out_and_on = async |mut s: TypedSession<Members>| {
        *s.user = None;
        s.save().await.unwrap();
        s.cart.push(5);
    };
    for house in houses().await {
        let browser = house.browser(routes().merge(at("/leave", post(out))).merge(at("/leave-on", post(out_and_on))));
        for (path, shown) in [("/leave", NOBODY), ("/leave-on", r#"None false "" [5] 0"#)] {
            browser.post("/in/7").await;
            let (old, key) = (browser.fork(), selector(&browser.cookie(COOKIE).unwrap()));
            let response = browser.post(path).await;
            assert_eq!(response.status(), 200);
            assert!(house.record_of(&key).await.is_none(), "{path}");
            match effect(&response) {
                Effect::Clear => assert_eq!(path, "/leave"),
                Effect::Set(token) => assert_ne!(selector(&token), key, "{path}: an id is never used again"),
                Effect::Nothing => panic!("{path}: the cookie names nothing"),
            }
            assert_eq!(browser.get("/").await.text(), shown, "{path}");
            assert_eq!(effect(&old.get("/").await), Effect::Clear);
            browser.clear_cookies();
        }
    }
}

/// No session outlives the lifetime after which an old type is forgotten, unless it is stored as of today when its time begins anew.
#[tokio::test]
async fn what_gets_another_lifetime_is_stored_as_of_today() {
    #[derive(SessionData)]
    #[session(name = "old", lock = off)]
    struct First {
        #[session(owner)]
        user: Option<u64>,
        #[session(keep)]
        size: u16,
        count: u16,
    }
    #[derive(SessionData)]
    #[session(name = "old", version = 2, lock = off)]
    struct Second {
        #[session(owner)]
        user: Option<u64>,
        #[session(keep, changed(in = 2, from = u16, up = u32::from, down = narrow))]
        size: u32,
        #[session(changed(in = 2, from = u16, up = u32::from, down = narrow))]
        count: u32,
    }
    #[derive(SessionData)]
    #[session(name = "old", version = 3, lock = off)]
    struct Third {
        #[session(owner)]
        user: Option<u64>,
        #[session(keep, forget_before = 2)]
        size: u32,
        #[session(forget_before = 2)]
        count: u32,
    }
    fn narrow(size: &u32) -> u16 {
        u16::try_from(*size).unwrap_or(u16::MAX)
    }
    let begin = async |mut s: TypedSession<First>| {
        *s.size = 3;
        *s.count = 4;
    };
    let second = || {
        Router::new()
            .route("/in", post(async |mut s: TypedSession<Second>| *s.user = Some(7)))
            .route("/out", post(async |mut s: TypedSession<Second>| *s.user = None))
            .route("/again", post(async |mut s: TypedSession<Second>| s.reauthenticated()))
    };
    let third = get(async |s: TypedSession<Third>| format!("{:?} {} {}", *s.user, s.size, s.count));
    for house in houses().await {
        let in_first = async |mut s: TypedSession<First>| *s.user = Some(7);
        for (paths, shown) in
            [(&["/in"][..], "Some(7) 3 4"), (&["/in-first", "/again"], "Some(7) 3 4"), (&["/in-first", "/out"], "None 3 0")]
        {
            let [first, second, third] = [
                Router::new().route("/begin", post(begin)).route("/in-first", post(in_first)),
                second(),
                at("/", third.clone()),
            ]
            .map(|routes| house.browser(routes));
            first.post("/begin").await;
            let mut token = first.cookie(COOKIE).unwrap();
            for path in paths {
                let program = if *path == "/in-first" { &first } else { &second };
                program.set_cookie(COOKIE, token);
                assert_eq!(program.post(path).await.status(), 200);
                token = program.cookie(COOKIE).unwrap();
            }
            third.set_cookie(COOKIE, token);
            assert_eq!(third.get("/").await.text(), shown, "{paths:?}");
        }
    }
}

#[tokio::test]
async fn a_field_that_becomes_the_owner_keeps_its_sessions_signed_in_and_lists_them_at_their_first_use() {
    #[derive(SessionData)]
    #[session(name = "members")]
    struct Before {
        user: Option<u64>,
        cart: Vec<u32>,
    }
    let begin = async |mut s: TypedSession<Before>| {
        *s.user = Some(7);
        s.cart.push(1);
    };
    for house in houses().await {
        for (method, path) in [("GET", "/"), ("POST", "/cart/2")] {
            let before = house.browser(at("/in", post(begin)));
            before.post("/in").await;
            let list = async |sessions: Sessions, s: TypedSession<Members>| {
                let found = sessions.list::<Members>(&7).await.unwrap();
                format!("{:?} {}", *s.user, found.iter().filter(|it| it.is_current).count())
            };
            let after = house.browser(routes().merge(at("/list", get(list))));
            after.set_cookie(COOKIE, before.cookie(COOKIE).unwrap());
            assert_eq!(house.record(&after).await.unwrap().header.owner, None);
            house.log();
            let request = http::Request::builder().method(method).uri(path).body(axum::body::Body::empty()).unwrap();
            let response = after.send(request).await;
            assert_eq!((response.status().as_u16(), effect(&response)), (200, Effect::Nothing), "nothing changes for them");
            let commits: Vec<String> = house.log().into_iter().filter(|line| line.starts_with("commit")).collect();
            assert_eq!(commits.len(), 1, "{commits:?}");
            assert!(commits[0].contains("sets the owner"), "{commits:?}");
            assert_eq!(after.get("/list").await.text(), "Some(7) 1", "{method}");
            let header = house.record(&after).await.unwrap().header;
            assert_eq!((header.epoch, header.authenticated_at), (0, None), "nobody has proved anything");
            house.log();
            after.get("/").await;
            assert!(!house.log().iter().any(|line| line.starts_with("commit")), "once is enough");
        }
    }
}

#[tokio::test]
async fn a_session_of_before_the_owner_was_one_is_signed_out_and_handed_over_like_any_other() {
    #[derive(SessionData)]
    #[session(name = "members")]
    struct Before {
        user: Option<u64>,
        cart: Vec<u32>,
    }
    let begin = async |mut s: TypedSession<Before>| {
        *s.user = Some(7);
        s.cart.push(1);
    };
    for house in houses().await {
        let before = house.browser(at("/in", post(begin)));
        before.post("/in").await;
        let after = house.browser(routes());
        after.set_cookie(COOKIE, before.cookie(COOKIE).unwrap());
        let old = after.fork();
        // The very first request of the new program signs somebody else in.
        assert_rotated(&old, effect(&after.post("/in/8").await));
        assert_eq!(after.get("/").await.text(), r#"Some(8) false "" [] 0"#, "what was 7's is not 8's");
        assert_dead(&old).await;

        before.clear_cookies();
        before.post("/in").await;
        after.set_cookie(COOKIE, before.cookie(COOKIE).unwrap());
        assert_eq!(effect(&after.post("/out").await), Effect::Clear, "what was 7's does not stay");
    }
}

#[tokio::test]
async fn the_first_use_lists_a_session_also_where_it_rotates() {
    #[derive(SessionData)]
    #[session(name = "members")]
    struct Before {
        user: Option<u64>,
    }
    for house in houses().await {
        for path in ["/admin/true", "/again"] {
            let before = house.browser(at("/in", post(async |mut s: TypedSession<Before>| *s.user = Some(7))));
            before.post("/in").await;
            let after = house.browser(routes());
            after.set_cookie(COOKIE, before.cookie(COOKIE).unwrap());
            assert!(matches!(effect(&after.post(path).await), Effect::Set(_)));
            assert!(house.record(&after).await.unwrap().header.owner.is_some(), "{path}");
        }
    }
}

#[derive(SessionData)]
#[session(name = "staff")]
struct Staff {
    #[session(owner)]
    clerk: Option<String>,
}

#[tokio::test]
async fn two_structs_that_say_who_is_signed_in_are_an_error_that_names_both() {
    for house in houses().await {
        let both = at("/staff", post(async |mut s: TypedSession<Staff>| *s.clerk = Some("ann".into())));
        let browser = member(&house, 7, both).await;
        let response = browser.post("/staff").await;
        assert_eq!((response.status().as_u16(), effect(&response)), (500, Effect::Nothing));
        for name in ["members", "staff", "#[session(owner)]"] {
            assert!(response.text().contains(name), "{}", response.text());
        }
        assert_eq!(browser.get("/").await.text(), r#"Some(7) false "dark" [1, 2] 10"#);
    }
}

#[tokio::test]
async fn a_session_that_another_program_signed_somebody_in_to_is_handed_over() {
    for house in houses().await {
        let browser = member(&house, 7, nothing_more()).await;
        let staff = house.browser(at("/staff", post(async |mut s: TypedSession<Staff>| *s.clerk = Some("ann".into()))));
        staff.set_cookie(COOKIE, browser.cookie(COOKIE).unwrap());
        let old = browser.fork();
        // A struct that got another name is another program, too, and must not lock anybody out.
        assert_rotated(&old, effect(&staff.post("/staff").await));
        let owner = house.record(&staff).await.unwrap().header.owner.unwrap();
        assert_eq!(&*owner.schema, "staff");
        assert_eq!(keys(&house, &staff).await, ["library/locale", "members/theme", "staff/clerk"], "nothing but what is kept");
        assert_dead(&old).await;
    }
}

#[tokio::test]
async fn an_owner_in_a_sealed_cookie_comes_and_goes_by_the_same_rules() {
    let house = House::new();
    let layer = || SessionLayer::new(CookieStore::new(cookie_keys())).clock(house.clock.clone());
    let browser: Browser = TestClient::new(routes().layer(layer())).clock(house.clock.clone());
    browser.post("/fill").await;
    for (path, shown, of_the_library) in [
        ("/in/7", r#"Some(7) false "dark" [1, 2] 10"#, r#""de" "Dear""#),
        ("/in/8", r#"Some(8) false "dark" [] 0"#, r#""de" """#),
        ("/cart/3", r#"Some(8) false "dark" [3] 0"#, r#""de" """#),
        ("/out", r#"None false "dark" [] 0"#, r#""de" """#),
    ] {
        assert!(matches!(effect(&browser.post(path).await), Effect::Set(_)), "{path}");
        assert_eq!(browser.get("/").await.text(), shown, "{path}");
        assert_eq!(library(&browser).await, of_the_library, "{path}");
    }
    browser.clear_cookies();
    browser.post("/in/7").await;
    assert_eq!(effect(&browser.post("/out").await), Effect::Clear);
    assert_eq!(browser.get("/").await.text(), NOBODY);
}

#[tokio::test]
async fn a_response_of_somebody_who_is_signed_in_is_not_for_caches() {
    for house in houses().await {
        let browser = member(&house, 7, nothing_more()).await;
        let response = browser.get("/").await;
        assert_eq!(response.headers()["cache-control"], "private, no-store");
        let response = guest(&house, nothing_more()).await.get("/").await;
        assert!(!response.headers().contains_key("cache-control"));
    }
}

/// OWASP ASVS 5.0, 7.4.1: whoever signs out is signed out, whatever another tab does at the same time.
#[tokio::test]
async fn a_sign_out_wins_over_whatever_another_tab_does_to_the_session_at_the_same_time() {
    let out = async |mut s: TypedSession<Members>| *s.user = None;
    let out_by_save = async |mut s: TypedSession<Members>| {
        *s.user = None;
        s.save().await.unwrap();
        assert_eq!(show(&s), NOBODY);
    };
    let more = || {
        at("/leave", any(out))
            .merge(at("/leave-by-save", any(out_by_save)))
            .merge(at("/end", post(async |mut s: TypedSession<Members>| s.destroy())))
    };
    for house in houses().await {
        for (method, path) in [("POST", "/leave"), ("GET", "/leave"), ("POST", "/leave-by-save")] {
            for meanwhile in ["/admin/true", "/again", "/in/8", "/out", "/end"] {
                let browser = member(&house, 7, more()).await;
                let (tab, key) = (browser.fork(), selector(&browser.cookie(COOKIE).unwrap()));
                let gate = Gate::new();
                house.faults().next(Operation::Commit, Fault::HoldBefore(gate.clone()));
                let request = http::Request::builder().method(method).uri(path).body(axum::body::Body::empty()).unwrap();
                let (response, ()) = tokio::join!(tab.send(request), async {
                    gate.reached().await;
                    assert_eq!(browser.post(meanwhile).await.status(), 200, "{meanwhile}");
                    gate.open();
                });
                let what = format!("{method} {path} beside {meanwhile}");
                assert_eq!((response.status().as_u16(), effect(&response)), (200, Effect::Clear), "{what}");
                assert!(house.record_of(&key).await.is_none(), "{what}");
                for browser in [&browser, &tab] {
                    assert_eq!(browser.get("/").await.text(), NOBODY, "{what}");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_sign_out_that_the_store_does_not_confirm_is_a_503_that_clears_the_cookie() {
    for house in houses().await {
        for fault in [Fault::Unavailable, Fault::UnknownApplied, Fault::UnknownNotApplied] {
            let browser = member(&house, 7, nothing_more()).await;
            house.faults().next(Operation::Commit, fault.clone());
            let response = browser.post("/out").await;
            assert_eq!((response.status().as_u16(), effect(&response)), (503, Effect::Clear), "{fault:?}");
            assert_eq!(house.store.count(Operation::Commit), 1, "{fault:?}: nothing is tried again blindly");
            assert_eq!(browser.get("/").await.text(), NOBODY, "{fault:?}");
            house.log();
            // Where nothing stays it is a deletion, and one is tried twice.
            let browser = house.browser(routes());
            browser.post("/in/7").await;
            house.faults().always(Operation::Delete, fault.clone());
            let response = browser.post("/out").await;
            assert_eq!((response.status().as_u16(), effect(&response)), (503, Effect::Clear), "{fault:?}");
            house.faults().heal();
            assert_eq!(browser.get("/").await.text(), NOBODY, "{fault:?}");
            house.log();
        }
    }
}

#[tokio::test]
async fn a_failed_commit_that_signs_nobody_out_leaves_the_cookie() {
    for house in houses().await {
        for path in ["/in/8", "/again", "/admin/true", "/cart/3"] {
            let browser = member(&house, 7, nothing_more()).await;
            house.faults().next(Operation::Commit, Fault::Unavailable);
            let response = browser.post(path).await;
            assert_eq!((response.status().as_u16(), effect(&response)), (503, Effect::Nothing), "{path}");
            assert_eq!(browser.get("/").await.text(), r#"Some(7) false "dark" [1, 2] 10"#, "{path}");
        }
    }
}

#[tokio::test]
async fn who_signs_in_where_the_former_owners_session_ends_meanwhile_finds_nothing_of_it() {
    for house in houses().await {
        for is_expired in [true, false] {
            let clock = house.clock.clone();
            let arrive = post(async move |mut s: TypedSession<Members>, mut library: TypedSession<Library>| {
                *s.user = Some(8);
                if is_expired {
                    clock.advance(60 * 24 * HOUR);
                }
                s.save().await.unwrap();
                let saved = show(&s);
                s.cart.push(5);
                *s.views += 1;
                let held = library.save().await.map(|()| format!("{:?}", *library.draft));
                assert_eq!(held.unwrap(), r#""""#);
                saved
            });
            let end = post(async |mut s: TypedSession<Members>| s.destroy());
            let browser = member(&house, 7, at("/arrive", arrive).merge(at("/end", end))).await;
            let tab = browser.fork();
            let key = selector(&browser.cookie(COOKIE).unwrap());
            let response = if is_expired {
                browser.post("/arrive").await
            } else {
                let gate = Gate::new();
                house.faults().next(Operation::Commit, Fault::HoldBefore(gate.clone()));
                let (response, ()) = tokio::join!(browser.post("/arrive"), async {
                    gate.reached().await;
                    tab.post("/end").await;
                    gate.open();
                });
                response
            };
            assert_eq!(response.text(), r#"Some(8) false "" [] 0"#, "expired: {is_expired}");
            let Effect::Set(token) = effect(&response) else { panic!("expired: {is_expired}") };
            assert_ne!(selector(&token), key, "it is a session of its own");
            assert_eq!(keys(&house, &browser).await, ["members/cart", "members/user", "members/views"]);
            assert_eq!(browser.get("/").await.text(), r#"Some(8) false "" [5] 1"#, "expired: {is_expired}");
        }
    }
}

/// As above, and the newcomer's change was made on top of what the one before had.
#[tokio::test]
async fn a_counter_begins_anew_with_who_signs_in_where_the_former_owners_session_ends_meanwhile() {
    for house in houses().await {
        for is_expired in [false, true] {
            let clock = house.clock.clone();
            let arrive = post(async move |mut s: TypedSession<Members>| {
                *s.user = Some(8);
                *s.views += 1;
                if is_expired {
                    clock.advance(60 * 24 * HOUR);
                }
                s.save().await.unwrap();
            });
            let end = post(async |mut s: TypedSession<Members>| s.destroy());
            let browser = member(&house, 7, at("/arrive", arrive).merge(at("/end", end))).await;
            let tab = browser.fork();
            if is_expired {
                browser.post("/arrive").await;
            } else {
                let gate = Gate::new();
                house.faults().next(Operation::Commit, Fault::HoldBefore(gate.clone()));
                tokio::join!(browser.post("/arrive"), async {
                    gate.reached().await;
                    tab.post("/end").await;
                    gate.open();
                });
            }
            assert_eq!(browser.get("/").await.text(), r#"Some(8) false "" [] 1"#, "expired: {is_expired}");
        }
    }
}

#[tokio::test]
async fn what_a_handle_checks_in_while_its_session_becomes_somebody_elses_is_not_stored() {
    let events = Events::capture();
    for house in houses().await {
        for (user, shown) in [(None, r#"None false "dark" [] 0"#), (Some(8), r#"Some(8) false "dark" [] 0"#)] {
            let gate = Gate::new();
            let held = gate.clone();
            let change = post(async move |mut one: TypedSession<Members>, mut two: TypedSession<Members>| {
                *one.user = user;
                let meanwhile = async {
                    held.reached().await;
                    two.cart.push(99);
                    *two.views += 1;
                    drop(two);
                    held.open();
                };
                tokio::join!(one.save(), meanwhile).0.unwrap();
                show(&one)
            });
            let browser = member(&house, 7, at("/change", change)).await;
            house.faults().next(Operation::Commit, Fault::HoldBefore(gate));
            events.take();
            let response = browser.post("/change").await;
            assert_eq!((response.status().as_u16(), response.text().as_str()), (200, shown));
            assert!(events.count("session.changes_lost") > 0, "somebody is told");
            assert_eq!(browser.get("/").await.text(), shown);
        }
    }
}

#[derive(SessionData)]
#[session(name = "tally")]
struct Tally {
    #[session(owner)]
    user: Option<u64>,
    #[session(merge = "add")]
    views: u64,
    #[session(merge = "union")]
    tags: BTreeSet<String>,
    #[session(merge = "max")]
    best: u64,
    #[session(keep, merge = "add")]
    visits: u64,
    #[session(keep, merge = "union")]
    seen: BTreeSet<String>,
}

fn tally() -> Router {
    async fn count(mut s: TypedSession<Tally>, user: Option<u64>, item: String, best: u64) {
        *s.user = user;
        *s.views += 1;
        s.tags.insert(item.clone());
        *s.best = best;
        *s.visits += 1;
        s.seen.insert(item);
    }
    Router::new()
        .route("/in/{user}/{item}/{best}", {
            post(async |Path((user, item, best)): Path<(u64, String, u64)>, s: TypedSession<Tally>| {
                count(s, Some(user), item, best).await;
            })
        })
        .route("/out/{item}/{best}", {
            post(async |Path((item, best)): Path<(String, u64)>, s: TypedSession<Tally>| count(s, None, item, best).await)
        })
        .route("/", {
            get(async |s: TypedSession<Tally>| {
                format!("{:?} {} {:?} {} {} {:?}", *s.user, *s.views, *s.tags, *s.best, *s.visits, *s.seen)
            })
        })
}

#[tokio::test]
async fn of_counters_and_sets_only_what_was_added_is_the_newcomers_and_what_is_kept_adds_up() {
    for house in houses().await {
        for (path, shown) in [
            ("/in/8/b/3", r#"Some(8) 1 {"b"} 3 4 {"a", "b"}"#),
            ("/out/b/3", r#"None 1 {"b"} 3 4 {"a", "b"}"#),
            ("/in/7/b/9", r#"Some(7) 4 {"a", "b"} 9 4 {"a", "b"}"#),
        ] {
            let browser = house.browser(tally());
            for _ in 0..3 {
                browser.post("/in/7/a/5").await;
            }
            assert_eq!(browser.get("/").await.text(), r#"Some(7) 3 {"a"} 5 3 {"a"}"#);
            assert_eq!(browser.post(path).await.status(), 200);
            assert_eq!(browser.get("/").await.text(), shown, "{path}");
        }
    }
}

#[tokio::test]
async fn what_another_tab_adds_during_a_change_of_the_owner_goes_and_stays_by_the_same_rule() {
    for house in houses().await {
        for (path, shown) in
            [("/in/8/b/3", r#"Some(8) 1 {"b"} 3 3 {"a", "b", "c"}"#), ("/out/b/3", r#"None 1 {"b"} 3 3 {"a", "b", "c"}"#)]
        {
            let browser = house.browser(tally());
            browser.post("/in/7/a/5").await;
            let tab = browser.fork();
            let gate = Gate::new();
            house.faults().next(Operation::Commit, Fault::HoldBefore(gate.clone()));
            let (response, ()) = tokio::join!(browser.post(path), async {
                gate.reached().await;
                assert_eq!(tab.post("/in/7/c/6").await.status(), 200);
                gate.open();
            });
            assert_eq!(response.status(), 200, "{path}");
            assert_eq!(browser.get("/").await.text(), shown, "{path}");
        }
    }
}

/// What it would be today is too large for a cell, or older programs could not have it.
#[tokio::test]
async fn what_cannot_be_stored_as_of_today_stays_as_it_is_and_stops_no_sign_in() {
    #[derive(Serialize, Deserialize)]
    struct Line {
        #[serde(serialize_with = "something")]
        text: String,
    }
    fn something<S: serde::Serializer>(text: &str, to: S) -> Result<S::Ok, S::Error> {
        if text.is_empty() { Err(serde::ser::Error::custom("nothing is no line")) } else { to.serialize_str(text) }
    }
    #[derive(SessionData)]
    #[session(name = "notes", lock = off)]
    struct First {
        #[session(keep)]
        text: String,
        #[session(keep, opaque)]
        line: Option<Line>,
        #[session(keep)]
        size: u16,
    }
    #[derive(SessionData)]
    #[session(name = "notes", version = 2, lock = off)]
    struct Second {
        #[session(keep, changed(in = 2, from = String, up = doubled, down = halved))]
        text: Vec<u8>,
        #[session(keep, opaque, changed(in = 2, from = Option<Line>, up = length, down = of_length))]
        line: u64,
        #[session(keep, changed(in = 2, from = u16, up = u32::from, down = narrow))]
        size: u32,
    }
    fn doubled(text: String) -> Vec<u8> {
        text.repeat(2).into_bytes()
    }
    fn halved(text: &[u8]) -> String {
        String::from_utf8_lossy(&text[..text.len() / 2]).into_owned()
    }
    fn length(line: Option<Line>) -> u64 {
        line.map_or(0, |line| line.text.len() as u64)
    }
    fn of_length(_: &u64) -> Option<Line> {
        Some(Line { text: String::new() })
    }
    fn narrow(size: &u32) -> u16 {
        u16::try_from(*size).unwrap_or(u16::MAX)
    }
    let begin = async |mut s: TypedSession<First>| {
        *s.text = "x".repeat(200_000);
        *s.line = Some(Line { text: "four".into() });
        *s.size = 3;
    };
    let show_notes = async |s: TypedSession<Second>| format!("{} {} {}", s.text.len(), *s.line, *s.size);
    for house in houses().await {
        let first = house.browser(routes().merge(at("/begin", post(begin))));
        first.post("/begin").await;
        let browser = house.browser(routes().merge(at("/notes", get(show_notes))));
        browser.set_cookie(COOKIE, first.cookie(COOKIE).unwrap());
        assert_eq!(browser.get("/notes").await.text(), "400000 4 3");
        let before = house.record(&browser).await.unwrap().cells;
        for path in ["/in/7", "/again", "/in/8", "/out"] {
            let old = browser.fork();
            let response = browser.post(path).await;
            assert_eq!(response.status(), 200, "{path}");
            assert_rotated(&old, effect(&response));
            assert_eq!(browser.get("/notes").await.text(), "400000 4 3", "{path}");
            let after = house.record(&browser).await.unwrap().cells;
            for key in ["notes/text", "notes/line"] {
                assert_eq!(after.get(key), before.get(key), "{path}: {key}");
            }
            let of_today: Vec<&str> = after.iter().map(|cell| &*cell.key).filter(|key| key.contains('@')).collect();
            assert_eq!(of_today, ["notes/size@2"], "{path}: what can be stored is");
        }
    }
}

/// A request that is held before its commit, until somebody else has done something to the session.
async fn beside(
    house: &AnyHouse,
    browser: &Browser,
    path: &str,
    meanwhile: impl AsyncFnOnce(),
) -> cloakroom::testing::TestResponse {
    let gate = Gate::new();
    house.faults().next(Operation::Commit, Fault::HoldBefore(gate.clone()));
    let (response, ()) = tokio::join!(browser.post(path), async {
        gate.reached().await;
        meanwhile().await;
        gate.open();
    });
    response
}

#[tokio::test]
async fn what_a_sign_out_writes_is_there_also_where_another_tab_was_first() {
    let notice = async |mut s: TypedSession<Members>| {
        *s.user = None;
        *s.theme = "You are signed out.".into();
        *s.views += 1;
    };
    for house in houses().await {
        let browser = member(&house, 7, at("/notice", post(notice))).await;
        let (tab, key) = (browser.fork(), selector(&browser.cookie(COOKIE).unwrap()));
        let response = beside(&house, &tab, "/notice", async || drop(browser.post("/admin/true").await)).await;
        assert!(matches!(effect(&response), Effect::Set(_)), "a session of its own");
        assert_eq!(tab.get("/").await.text(), r#"None false "You are signed out." [] 1"#, "and nothing of the former owner's");
        assert!(house.record_of(&key).await.is_none());
        assert_eq!(browser.get("/").await.text(), NOBODY);
    }
}

#[tokio::test]
async fn a_sign_out_after_the_deadline_clears_the_cookie() {
    for house in houses().await {
        let late = async |mut s: TypedSession<Members>, axum::Extension(clock): axum::Extension<ManualClock>| {
            *s.user = None;
            clock.advance(Lifetime::default().absolute());
        };
        let browser = member(&house, 7, at("/late", post(late)).layer(axum::Extension(house.clock.clone()))).await;
        let response = browser.post("/late").await;
        assert_eq!((response.status().as_u16(), effect(&response)), (200, Effect::Clear));
    }
}

#[tokio::test]
async fn a_struct_that_cannot_be_read_signs_nobody_out_for_good() {
    for house in houses().await {
        let browser = member(&house, 7, nothing_more()).await;
        house.plant(&browser, [("members/views", foreign(false))]).await;
        let (tab, key) = (browser.fork(), selector(&browser.cookie(COOKIE).unwrap()));
        let response = beside(&house, &tab, "/cart/5", async || drop(browser.post("/again").await)).await;
        assert_eq!((response.status().as_u16(), effect(&response)), (409, Effect::Nothing), "a write that came too late");
        assert!(house.record_of(&key).await.is_some());
        house.faults().next(Operation::Commit, Fault::Unavailable);
        let response = browser.post("/cart/6").await;
        assert_eq!((response.status().as_u16(), effect(&response)), (503, Effect::Nothing), "the cookie stays");
        assert!(house.record_of(&key).await.is_some());
    }
}

#[tokio::test]
async fn what_a_sign_out_writes_is_there_also_where_it_was_before() {
    let out = async |mut s: TypedSession<Members>| {
        *s.cart = vec![9];
        *s.user = None;
    };
    for house in houses().await {
        let browser = house.browser(routes().route("/last-wish", post(out)));
        browser.post("/in/7").await;
        browser.post("/cart/9").await;
        browser.post("/last-wish").await;
        assert_eq!(browser.get("/").await.text(), r#"None false "" [9] 0"#);
    }
}

mod dated {
    pub(super) mod before {
        #[derive(cloakroom::SessionData)]
        #[session(name = "dated")]
        pub(crate) struct Dated {
            #[session(owner)]
            pub(crate) user: Option<u64>,
            #[session(keep)]
            pub(crate) theme: u32,
            #[session(ttl = "10m", keep)]
            pub(crate) code: u32,
        }
    }
    pub(super) mod after {
        #[derive(cloakroom::SessionData)]
        #[session(name = "dated", version = 2)]
        pub(crate) struct Dated {
            #[session(owner)]
            pub(crate) user: Option<u64>,
            #[session(keep, changed(in = 2, from = u32, up = wide, forget))]
            pub(crate) theme: u64,
            #[session(ttl = "10m", keep, changed(in = 2, from = u32, up = wide, forget))]
            pub(crate) code: u64,
        }
        fn wide(it: u32) -> u64 {
            it.into()
        }
    }
    pub(super) mod taken_back {
        #[derive(cloakroom::SessionData)]
        #[session(name = "dated", version = 2)]
        pub(crate) struct Dated {
            #[session(owner)]
            pub(crate) user: Option<u64>,
            #[session(changed(in = 2, from = u32, up = wide, forget))]
            pub(crate) theme: u64,
        }
        fn wide(it: u32) -> u64 {
            it.into()
        }
    }
}

/// A browser whose session an older version of the program has written, in front of the newer one.
async fn of_an_older_version(house: &AnyHouse) -> Browser {
    let write = async |mut s: TypedSession<dated::before::Dated>| {
        *s.theme = 1;
        *s.code = 1;
    };
    let before = house.browser(at("/", post(write)));
    before.post("/").await;
    let browser = house.browser(
        Router::new()
            .route("/", get(async |s: TypedSession<dated::after::Dated>| format!("{} {}", *s.theme, *s.code)))
            .route("/theme/{to}", post(async |Path(to): Path<u64>, mut s: TypedSession<dated::after::Dated>| *s.theme = to))
            .route(
                "/in/{user}",
                post(async |Path(user): Path<u64>, mut s: TypedSession<dated::after::Dated>| *s.user = Some(user)),
            ),
    );
    browser.set_cookie(COOKIE, before.cookie(COOKIE).unwrap());
    browser
}

#[tokio::test]
async fn what_a_sign_in_stores_as_of_today_overwrites_no_newer_value() {
    for house in houses().await {
        let browser = of_an_older_version(&house).await;
        let tab = browser.fork();
        let meanwhile = async || assert_eq!(tab.post("/theme/9").await.status(), 200);
        assert_eq!(beside(&house, &browser, "/in/7", meanwhile).await.status(), 200);
        assert_eq!(browser.get("/").await.text(), "9 1");
    }
}

/// It is stored as of today in the commit that hands the session over, and is of the former owner all the same.
#[tokio::test]
async fn what_a_handover_stores_as_of_today_is_still_of_the_former_owner() {
    for house in houses().await {
        let browser = of_an_older_version(&house).await;
        browser.post("/in/7").await;
        let before = house.browser(at("/", post(async |mut s: TypedSession<dated::before::Dated>| *s.theme = 2)));
        before.set_cookie(COOKIE, browser.cookie(COOKIE).unwrap());
        before.post("/").await;
        browser.post("/in/8").await;
        assert_eq!(browser.get("/").await.text(), "2 1", "it is kept");
        let taken_back = house
            .browser(at("/", get(async |s: TypedSession<dated::taken_back::Dated>| format!("{:?} {}", *s.user, *s.theme))));
        taken_back.set_cookie(COOKIE, browser.cookie(COOKIE).unwrap());
        assert_eq!(taken_back.get("/").await.text(), "Some(8) 0", "and believed by no program that does not keep it");
    }
}

#[tokio::test]
async fn a_sign_in_prolongs_nothing_that_was_written_for_ten_minutes() {
    for house in houses().await {
        let browser = of_an_older_version(&house).await;
        house.clock.advance(Duration::from_secs(540));
        browser.post("/in/7").await;
        assert_eq!(browser.get("/").await.text(), "1 1");
        house.clock.advance(Duration::from_secs(120));
        assert_eq!(browser.get("/").await.text(), "1 0");
    }
}

#[derive(SessionData)]
struct Heavy {
    #[session(owner)]
    user: Option<u64>,
    a: String,
    b: String,
    c: String,
    d: String,
}

#[derive(SessionData)]
struct Light {
    text: String,
}

#[tokio::test]
async fn what_a_handover_wipes_does_not_count_for_the_size_of_a_record() {
    let fill = async |mut s: TypedSession<Heavy>| {
        let s = &mut *s;
        *s.user = Some(1);
        for field in [&mut s.a, &mut s.b, &mut s.c, &mut s.d] {
            **field = "x".repeat(260_000);
        }
    };
    let more = async |mut s: TypedSession<Light>| *s.text = "y".repeat(20_000);
    let newcomer = async |mut s: TypedSession<Heavy>, mut light: TypedSession<Light>| {
        *s.user = Some(2);
        *light.text = "y".repeat(20_000);
    };
    for house in houses().await {
        let app = at("/fill", post(fill)).route("/more", post(more)).route("/newcomer", post(newcomer));
        let browser = house.browser(app);
        assert_eq!(browser.post("/fill").await.status(), 200, "1,040,000 bytes are within the limit");
        assert_eq!(browser.post("/more").await.status(), 500, "20,000 more are not");
        assert_eq!(browser.post("/newcomer").await.status(), 200, "they are all that is left");
    }
}

mod cleared {
    pub(super) mod first {
        #[derive(cloakroom::SessionData)]
        #[session(name = "cleared", version = 1)]
        pub(crate) struct Cleared {
            #[session(keep)]
            pub(crate) size: u16,
        }
    }
    pub(super) mod second {
        #[derive(cloakroom::SessionData)]
        #[session(name = "cleared", version = 2)]
        pub(crate) struct Cleared {
            #[session(keep, changed(in = 2, from = u16, up = u32::from, down = narrow))]
            pub(crate) size: u32,
        }
        fn narrow(it: &u32) -> u16 {
            u16::try_from(*it).unwrap_or(u16::MAX)
        }
    }
}

/// A newer program wrote the field in two generations, an older one cleared it, and a third one, which knows nothing of the struct, hands
/// the session over.
#[tokio::test]
async fn a_kept_field_that_was_cleared_stays_so_when_another_program_hands_over() {
    for house in houses().await {
        let newer = house.browser(
            Router::new()
                .route("/", get(async |s: TypedSession<cleared::second::Cleared>| s.size.to_string()))
                .route("/", post(async |mut s: TypedSession<cleared::second::Cleared>| *s.size = 5)),
        );
        newer.post("/").await;
        let older = house.browser(at("/clear", post(async |mut s: TypedSession<cleared::first::Cleared>| s.clear())));
        older.set_cookie(COOKIE, newer.cookie(COOKIE).unwrap());
        older.post("/clear").await;
        assert_eq!(newer.get("/").await.text(), "0");
        let other = house.browser(routes());
        other.set_cookie(COOKIE, newer.cookie(COOKIE).unwrap());
        other.post("/in/1").await;
        other.post("/in/2").await;
        newer.set_cookie(COOKIE, other.cookie(COOKIE).unwrap());
        assert_eq!(newer.get("/").await.text(), "0");
    }
}

#[tokio::test]
async fn a_sign_in_that_lost_its_session_takes_only_what_it_added() {
    let add = async |Path(user): Path<u64>, mut s: TypedSession<Members>| {
        *s.user = Some(user);
        *s.views += 1;
    };
    for house in houses().await {
        let browser = guest(&house, at("/in-and-add/{user}", post(add))).await;
        let tab = browser.fork();
        let response = beside(&house, &tab, "/in-and-add/7", async || drop(browser.post("/in/9").await)).await;
        assert!(matches!(effect(&response), Effect::Set(_)), "a session of its own");
        assert_eq!(tab.get("/").await.text(), r#"Some(7) false "" [] 1"#, "and nothing of what the counter had counted");
        assert_eq!(browser.get("/").await.text(), r#"Some(9) false "dark" [1, 2] 10"#);
        // Also where the session of before expires meanwhile.
        let clock = house.clock.clone();
        let slow = async move |mut s: TypedSession<Members>| {
            clock.advance(Lifetime::default().absolute());
            *s.user = Some(7);
            *s.views += 1;
        };
        let late = guest(&house, at("/slow", post(slow))).await;
        let response = late.post("/slow").await;
        assert!(matches!(effect(&response), Effect::Set(_)));
        assert_eq!(late.get("/").await.text(), r#"Some(7) false "" [] 1"#);
    }
}

#[derive(SessionData)]
struct Vaulted {
    #[session(owner)]
    user: Option<u64>,
    #[session(secret)]
    pin: String,
    #[session(secret, keep)]
    device_key: String,
    #[session(secret, keep)]
    other_key: String,
}

fn vaulted() -> Router {
    type Handle = TypedSession<Vaulted>;
    Router::new()
        .route("/", get(async |s: Handle| format!("{:?} {:?} {:?} {:?}", *s.user, *s.pin, *s.device_key, *s.other_key)))
        .route("/in/{user}", post(async |Path(user): Path<u64>, mut s: Handle| *s.user = Some(user)))
        .route("/pin/{to}", post(async |Path(to): Path<String>, mut s: Handle| *s.pin = to))
        .route("/device/{to}", post(async |Path(to): Path<String>, mut s: Handle| *s.device_key = to))
        .route("/other/{to}", post(async |Path(to): Path<String>, mut s: Handle| *s.other_key = to))
        .route(
            "/in/{user}/device/{to}",
            post(async |Path((user, to)): Path<(u64, String)>, mut s: Handle| {
                *s.user = Some(user);
                *s.device_key = to;
            }),
        )
}

/// An old dump of the database and an old token give away the session key of then.
#[tokio::test]
async fn an_old_dump_and_an_old_token_open_no_secret_of_the_next_owner() {
    for house in houses().await {
        let browser = house.browser(vaulted());
        browser.post("/in/1").await;
        browser.post("/pin/ones").await;
        let (old, dump) = (browser.fork(), house.record(&browser).await.unwrap());
        browser.post("/in/2").await;
        browser.post("/pin/twos").await;
        assert_eq!(browser.get("/").await.text(), r#"Some(2) "twos" "" """#);
        // Today's cells under the header of then: what a thief who has both can read.
        let today = house.record(&browser).await.unwrap();
        let mut forged = Record::new(dump.header.clone(), today.cells.clone());
        forged.header.owner = today.header.owner.clone();
        let elsewhere = House::new();
        elsewhere.clock.set(cloakroom::Clock::now(&house.clock));
        elsewhere.faults().inner().create(&selector(&old.cookie(COOKIE).unwrap()), forged).await.unwrap();
        let thief = elsewhere.browser(vaulted());
        thief.set_cookie(COOKIE, old.cookie(COOKIE).unwrap());
        assert_eq!(thief.get("/").await.text(), r#"None "" "" """#);
    }
}

#[tokio::test]
async fn kept_secrets_go_with_the_session_to_its_next_owner() {
    for house in houses().await {
        let browser = house.browser(vaulted());
        browser.post("/in/1").await;
        browser.post("/device/one").await;
        browser.post("/pin/ones").await;
        for user in 2..5 {
            browser.post(&format!("/in/{user}")).await;
            assert_eq!(browser.get("/").await.text(), format!(r#"Some({user}) "" "one" """#));
        }
        browser.post("/in/5/device/two").await;
        assert_eq!(browser.get("/").await.text(), r#"Some(5) "" "two" """#);
    }
}

#[tokio::test]
async fn a_kept_secret_that_changes_beside_a_handover_is_kept_as_it_is_then() {
    for house in houses().await {
        let browser = house.browser(vaulted());
        browser.post("/in/1").await;
        browser.post("/device/one").await;
        let tab = browser.fork();
        let meanwhile = async || {
            tab.post("/device/two").await;
            tab.post("/other/three").await;
        };
        assert_eq!(beside(&house, &browser, "/in/2", meanwhile).await.status(), 200);
        assert_eq!(browser.get("/").await.text(), r#"Some(2) "" "two" "three""#);
    }
}

#[tokio::test]
async fn a_form_of_a_session_that_a_sign_in_has_left_behind_is_told() {
    let events = Events::capture();
    let form = async |Path(user): Path<u64>, mut s: TypedSession<Members>| {
        *s.user = Some(user);
        s.csrf_token().map(|token| token.as_str().to_owned())
    };
    for house in houses().await {
        let browser = guest(&house, at("/form/{user}", post(form))).await;
        let tab = browser.fork();
        events.take();
        browser.post("/form/1").await;
        assert_eq!(events.count("session.csrf_void"), 0, "it is that of the session after the sign-in");
        tab.set_cookie(COOKIE, browser.cookie(COOKIE).unwrap());
        beside(&house, &tab, "/form/2", async || drop(browser.post("/in/3").await)).await;
        assert_eq!(events.count("session.csrf_void"), 1);
    }
}

#[derive(SessionData)]
struct Locker {
    #[session(secret, keep)]
    key: String,
}

/// The program that hands the session over has never met the struct.
#[tokio::test]
async fn a_kept_secret_of_another_program_is_kept_as_it_is_then() {
    for house in houses().await {
        let locker = Router::new()
            .route("/", get(async |s: TypedSession<Locker>| s.key.to_string()))
            .route("/{to}", post(async |Path(to): Path<String>, mut s: TypedSession<Locker>| *s.key = to));
        let (browser, other) = (member(&house, 1, nothing_more()).await, house.browser(locker));
        other.set_cookie(COOKIE, browser.cookie(COOKIE).unwrap());
        other.post("/one").await;
        let meanwhile = async || assert_eq!(other.post("/two").await.status(), 200);
        assert_eq!(beside(&house, &browser, "/in/2", meanwhile).await.status(), 200);
        other.set_cookie(COOKIE, browser.cookie(COOKIE).unwrap());
        assert_eq!(other.get("/").await.text(), "two");
        browser.post("/out").await;
        other.set_cookie(COOKIE, browser.cookie(COOKIE).unwrap());
        assert_eq!(other.get("/").await.text(), "two");
    }
}
