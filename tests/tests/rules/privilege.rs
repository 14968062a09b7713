//! What somebody may do: a change of it is another token, and so is a proof that they are who they were.

use crate::{
    after_the_head::Late,
    members::{Members, NOBODY, assert_dead, assert_rotated, deadlines_from, guest, houses, member, routes},
};
use axum::{
    Router,
    extract::Path,
    routing::{get, post},
};
use cloakroom::{
    Field, Lifetime, SessionData, SessionError, SessionLayer, TypedSession, store::CookieStore, testing::TestClient,
};
use cloakroom_tests::{
    events::Events,
    shop::{Browser, House},
    site::{COOKIE, Effect, effect, keys, selector},
};
use http::StatusCode;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

#[tokio::test]
async fn a_changed_privilege_rotates_in_the_commit_that_changes_it() {
    let events = Events::capture();
    for house in houses().await {
        let browser = member(&house, 7, Router::new()).await;
        let before = house.record(&browser).await.unwrap().header;
        house.clock.advance(HOUR);
        for (path, revision) in [("/admin/true", 3), ("/admin/false", 4)] {
            let old = browser.fork();
            events.take();
            let response = browser.post(path).await;
            assert_rotated(&old, effect(&response));
            let line = format!("commit puts [members/admin] rotates -> committed r{revision}");
            assert_eq!(house.log(), [format!("load -> found r{}", revision - 1), line]);
            assert_eq!(events.count("session.rotated"), 1);
            assert_dead(&old).await;
            house.log();
        }
        let after = house.record(&browser).await.unwrap().header;
        assert_eq!((after.epoch, after.owner), (before.epoch + 2, before.owner));
        assert_eq!(after.authenticated_at, before.authenticated_at, "a right is not a proof");
        assert_eq!((after.created, after.absolute_until), (before.created, before.absolute_until));
        assert_eq!(browser.get("/").await.text(), r#"Some(7) false "dark" [1, 2] 10"#);
    }
}

#[tokio::test]
async fn somebody_without_a_name_has_privileges_that_rotate_too() {
    for house in houses().await {
        let browser = guest(&house, Router::new()).await;
        let old = browser.fork();
        assert_rotated(&old, effect(&browser.post("/admin/true").await));
        assert_dead(&old).await;
        let newcomer = house.browser(routes());
        house.log();
        newcomer.post("/admin/true").await;
        assert_eq!(house.log(), ["create cells [members/admin] -> created"], "what is new has a token of its own anyway");
    }
}

#[tokio::test]
async fn a_privilege_that_stays_what_it_was_rotates_nothing() {
    let there_and_back = async |mut s: TypedSession<Members>| {
        *s.admin = true;
        *s.admin = false;
    };
    let by_two_handles = async |mut one: TypedSession<Members>, mut two: TypedSession<Members>| {
        *one.admin = true;
        drop(one);
        *two.admin = true;
        *two.admin = false;
        drop(two);
    };
    let reverted = async |mut s: TypedSession<Members>| {
        *s.admin = true;
        Field::revert(&mut s.admin);
    };
    let more = || {
        Router::new()
            .route("/there-and-back", post(there_and_back))
            .route("/by-two-handles", post(by_two_handles))
            .route("/reverted", post(reverted))
    };
    for house in houses().await {
        for path in ["/admin/false", "/there-and-back", "/reverted"] {
            let browser = member(&house, 7, more()).await;
            assert_eq!(effect(&browser.post(path).await), Effect::Nothing, "{path}");
            assert_eq!(house.log(), ["load -> found r2"], "{path}");
        }
        // The second handle changed nothing, so what the first said stands.
        let browser = member(&house, 7, more()).await;
        assert!(matches!(effect(&browser.post("/by-two-handles").await), Effect::Set(_)));
        assert!(browser.get("/").await.text().starts_with("Some(7) true "));
    }
}

#[tokio::test]
async fn a_clear_takes_privileges_away_under_another_token() {
    for house in houses().await {
        let clear = post(async |mut s: TypedSession<Members>| {
            let user = *s.user;
            s.clear();
            *s.user = user;
        });
        let browser = member(&house, 7, Router::new().route("/clear", clear)).await;
        browser.post("/admin/true").await;
        let old = browser.fork();
        assert_rotated(&old, effect(&browser.post("/clear").await));
        assert_eq!(browser.get("/").await.text(), r#"Some(7) false "" [] 0"#);
        assert_dead(&old).await;
    }
}

#[tokio::test]
async fn after_a_server_error_no_privilege_has_changed() {
    let change = post(async |mut s: TypedSession<Members>| {
        *s.admin = true;
        StatusCode::INTERNAL_SERVER_ERROR
    });
    for house in houses().await {
        let browser = member(&house, 7, Router::new().route("/change", change.clone())).await;
        assert_eq!(effect(&browser.post("/change").await), Effect::Nothing);
        assert_eq!(browser.get("/").await.text(), r#"Some(7) false "dark" [1, 2] 10"#);
        assert_eq!(house.record(&browser).await.unwrap().header.epoch, 1);
    }
}

#[derive(SessionData)]
#[session(name = "sudo")]
struct Sudo {
    #[session(privilege, ttl = "10m")]
    may: bool,
}

#[tokio::test]
async fn a_privilege_that_runs_out_is_gone_without_a_rotation_and_rotates_when_it_is_given_again() {
    let routes = || {
        Router::new()
            .route("/", get(async |s: TypedSession<Sudo>| s.may.to_string()))
            .route("/{may}", post(async |Path(may): Path<bool>, mut s: TypedSession<Sudo>| *s.may = may))
    };
    for house in houses().await {
        let browser = house.browser(routes());
        browser.post("/true").await;
        let token = browser.cookie(COOKIE);
        house.clock.advance(Duration::from_secs(9 * 60));
        assert_eq!(effect(&browser.post("/true").await), Effect::Nothing, "it is prolonged, and nothing changed");
        house.clock.advance(Duration::from_millis(10 * 60 * 1000 - 1));
        assert_eq!(browser.get("/").await.text(), "true");
        house.clock.advance(Duration::from_millis(1));
        assert_eq!(browser.get("/").await.text(), "false");
        assert_eq!(browser.cookie(COOKIE), token);
        let old = browser.fork();
        assert_rotated(&old, effect(&browser.post("/true").await));
        assert_eq!((browser.get("/").await.text(), old.get("/").await.text()), ("true".into(), "false".into()));
    }
}

/// NIST SP 800-63B-4, 5.2: re-authentication resets both timeouts.
#[tokio::test]
async fn who_proves_again_who_they_are_keeps_everything_under_another_token_and_both_deadlines_start_anew() {
    for house in houses().await {
        let browser = member(&house, 7, Router::new()).await;
        let before = house.record(&browser).await.unwrap();
        house.clock.advance(HOUR);
        let old = browser.fork();
        let response = browser.post("/again").await;
        assert_eq!(house.log(), ["load -> found r2", "commit resets the deadlines rotates -> committed r2"]);
        assert_rotated(&old, effect(&response));
        let after = house.record(&browser).await.unwrap();
        assert_eq!(after.cells, before.cells);
        assert_eq!((after.header.epoch, after.header.owner), (before.header.epoch + 1, before.header.owner));
        assert_eq!((after.header.authenticated_at, after.header.created), (Some(house.now()), before.header.created));
        assert_eq!((after.header.idle_until, after.header.absolute_until), deadlines_from(house.now()));
        assert_dead(&old).await;
    }
}

#[tokio::test]
async fn an_absolute_lifetime_counts_from_the_last_proof() {
    for house in houses().await {
        let browser = member(&house, 7, Router::new()).await;
        let used_for = async |days: u32| {
            for _ in 0..2 * days {
                house.clock.advance(DAY / 2);
                browser.get("/").await;
            }
        };
        used_for(29).await;
        browser.post("/again").await;
        used_for(29).await;
        assert!(browser.get("/").await.text().starts_with("Some(7)"), "58 days after it began");
        used_for(1).await;
        assert_eq!(browser.get("/").await.text(), NOBODY);
    }
    assert_eq!(Lifetime::default().absolute(), 30 * DAY);
}

#[tokio::test]
async fn a_proof_together_with_a_change_is_one_commit() {
    let handler = post(async |mut s: TypedSession<Members>| {
        s.reauthenticated();
        *s.admin = true;
        s.cart.push(3);
    });
    for house in houses().await {
        let browser = member(&house, 7, Router::new().route("/both", handler.clone())).await;
        browser.post("/both").await;
        let [_, commit] = &house.log()[..] else { panic!("one load, one commit") };
        assert!(commit.ends_with("resets the deadlines rotates -> committed r3"), "{commit}");
        assert_eq!(browser.get("/").await.text(), r#"Some(7) true "dark" [1, 2, 3] 10"#);
    }
}

#[tokio::test]
async fn nobody_cannot_prove_who_they_are() {
    for house in houses().await {
        let browser = guest(&house, Router::new()).await;
        let before = house.record(&browser).await.unwrap().header;
        house.clock.advance(HOUR);
        assert_eq!(browser.post("/again").await.status(), 200);
        let after = house.record(&browser).await.unwrap().header;
        assert_eq!((after.owner, after.authenticated_at), (None, None));
        assert_eq!(after.absolute_until, before.absolute_until, "who has proved nothing lives no longer");
        // Without a session there is nothing to begin one with.
        let newcomer = house.browser(routes());
        house.log();
        assert_eq!(effect(&newcomer.post("/again").await), Effect::Nothing);
        assert_eq!(house.log(), [""; 0]);
    }
}

#[tokio::test]
async fn when_it_was_proved_is_known_from_the_sign_in_to_the_sign_out() {
    let when = |s: &TypedSession<Members>| s.authenticated_at().map(cloakroom::record::Timestamp::from);
    for house in houses().await {
        let shown = async move |s: TypedSession<Members>| format!("{:?}", when(&s));
        let during = async move |mut s: TypedSession<Members>| {
            *s.user = Some(7);
            let before = when(&s);
            s.save().await.unwrap();
            format!("{before:?} {:?}", when(&s))
        };
        let more = Router::new().route("/when", get(shown)).route("/during", post(during));
        let browser = guest(&house, more).await;
        assert_eq!(browser.get("/when").await.text(), "None");
        let signed_in = house.now();
        assert_eq!(browser.post("/during").await.text(), format!("None Some({signed_in:?})"));
        house.clock.advance(HOUR);
        browser.post("/cart/3").await;
        browser.post("/admin/true").await;
        assert_eq!(browser.get("/when").await.text(), format!("Some({signed_in:?})"));
        browser.post("/again").await;
        assert_eq!(browser.get("/when").await.text(), format!("Some({:?})", house.now()));
        browser.post("/out").await;
        assert_eq!(browser.get("/when").await.text(), "None");
    }
}

#[tokio::test]
async fn after_the_head_nobody_signs_in_or_out_and_no_privilege_changes() {
    type Change = fn(&mut TypedSession<Members>);
    let changes: [(&str, Change); 5] = [
        ("out", |s| *s.user = None),
        ("another", |s| *s.user = Some(8)),
        ("privilege", |s| *s.admin = true),
        ("proof", |s| s.reauthenticated()),
        ("rotation", |s| s.rotate()),
    ];
    for house in houses().await {
        for (what, change) in changes {
            let stream = get(async move |mut s: TypedSession<Members>| {
                Late::body(async move {
                    s.cart.push(3);
                    change(&mut s);
                    let said = s.save().await.unwrap_err();
                    assert!(matches!(said, SessionError::HeadSent), "{what}: {said}");
                    String::new()
                })
            });
            let browser = member(&house, 7, Router::new().route("/stream", stream)).await;
            let before = house.record(&browser).await.unwrap();
            assert_eq!(browser.get("/stream").await.status(), 200);
            let after = house.record(&browser).await.unwrap();
            assert_eq!(after.cells, before.cells, "{what}: nothing of it is stored");
            assert_eq!((after.header.epoch, after.header.owner), (before.header.epoch, before.header.owner));
            assert!(browser.get("/").await.text().starts_with("Some(7) false "), "{what}: the token works on");
        }
    }
}

#[tokio::test]
async fn in_a_sealed_cookie_a_privilege_and_a_proof_give_another_token() {
    let house = House::new();
    let layer = SessionLayer::new(CookieStore::new(keys())).clock(house.clock.clone());
    let browser: Browser = TestClient::new(routes().layer(layer)).clock(house.clock.clone());
    browser.post("/in/7").await;
    house.clock.advance(29 * DAY / 30);
    for path in ["/admin/true", "/again"] {
        assert!(matches!(effect(&browser.post(path).await), Effect::Set(_)), "{path}");
    }
    assert_eq!(effect(&browser.post("/admin/true").await), Effect::Nothing);
    assert_eq!(browser.get("/").await.text(), r#"Some(7) true "" [] 0"#);
}

/// What a stale tab asks for is as lost as what it writes.
#[tokio::test]
async fn a_stale_tab_that_asks_for_something_of_the_session_hears_that_it_is_gone() {
    type Wish = fn(&mut TypedSession<Members>);
    let wishes: [(&str, Wish); 4] = [
        ("rotate", |s| s.rotate()),
        ("label", |s| s.set_label("Firefox of Ann")),
        ("proof", |s| s.reauthenticated()),
        ("persistent", |s| s.set_persistent(true)),
    ];
    let events = Events::capture();
    for house in houses().await {
        for (what, wish) in wishes {
            let ask = async move |mut s: TypedSession<Members>| {
                wish(&mut s);
                "asked"
            };
            let browser = member(&house, 7, Router::new().route("/ask", get(ask).post(ask))).await;
            let tab = browser.fork();
            browser.post("/admin/true").await;
            let before = house.record(&browser).await.unwrap();
            house.clock.advance(Duration::from_secs(59));
            events.take();
            let response = tab.post("/ask").await;
            assert_eq!((response.status(), effect(&response)), (StatusCode::CONFLICT, Effect::Nothing), "{what}");
            assert_eq!(events.count("session.late_write"), 1, "{what}");
            let response = tab.get("/ask").await;
            assert_eq!((response.status(), effect(&response)), (StatusCode::OK, Effect::Nothing), "{what}");
            assert_eq!(response.text(), "asked", "{what}");
            assert_eq!(events.count("session.late_write"), 1, "{what}");
            let after = house.record(&browser).await.unwrap().header;
            assert_eq!((after.epoch, after.label, after.persistent), (before.header.epoch, None, false), "{what}");
            assert_eq!(after.authenticated_at, before.header.authenticated_at, "{what}");
        }
    }
}

#[tokio::test]
async fn the_event_of_a_rotation_says_why_the_token_was_replaced() {
    let events = Events::capture();
    let forced = async |mut s: TypedSession<Members>| Field::force(&mut s.user);
    for house in houses().await {
        let more = Router::new()
            .route("/rotate", post(async |mut s: TypedSession<Members>| s.rotate()))
            .route("/forced", post(forced))
            .route("/clear", post(async |mut s: TypedSession<Members>| s.clear()));
        let browser = guest(&house, more).await;
        for (path, why) in [
            ("/rotate", "privilege"),
            ("/admin/true", "privilege"),
            ("/again", "privilege"),
            ("/in/7", "sign_in"),
            ("/again", "reauthenticated"),
            ("/forced", "reauthenticated"),
            ("/rotate", "privilege"),
            ("/admin/false", "privilege"),
            ("/in/8", "handover"),
            ("/out", "sign_out"),
            ("/in/8", "sign_in"),
            ("/clear", "sign_out"),
        ] {
            events.take();
            assert!(matches!(effect(&browser.post(path).await), Effect::Set(_)), "{path}");
            let lines = events.take();
            let said: Vec<&String> = lines.iter().filter(|line| line.contains("session.rotated")).collect();
            let [line] = said[..] else { panic!("{path}: {lines:?}") };
            let handle = selector(&browser.cookie(COOKIE).unwrap()).handle();
            assert!(line.contains(&format!(r#"why="{why}" handle={handle}"#)), "{path}: {line}");
        }
    }
}

#[derive(SessionData)]
#[session(name = "rights")]
struct RightsBefore {
    #[session(privilege)]
    admin: bool,
    note: String,
}

#[derive(SessionData)]
#[session(name = "rights")]
struct RightsAfter {
    #[session(privilege)]
    admin: u64,
    note: String,
}

#[tokio::test]
async fn a_struct_that_loses_its_privileges_by_being_healed_rotates() {
    for house in houses().await {
        let before = house.browser(Router::new().route(
            "/",
            post(async |mut s: TypedSession<RightsBefore>| {
                *s.admin = true;
                *s.note = "x".into();
            }),
        ));
        before.post("/").await;
        let after = house.browser(Router::new().route(
            "/",
            post(async |mut s: TypedSession<RightsAfter>| {
                assert_eq!(*s.admin, 0, "it cannot be read");
                *s.note = "y".into();
            }),
        ));
        after.set_cookie(COOKIE, before.cookie(COOKIE).unwrap());
        let response = after.post("/").await;
        assert_rotated(&before, effect(&response));
    }
}

/// What `views` is called is another type, so the struct cannot be read, and who is signed in is not known.
#[derive(SessionData)]
#[session(name = "members")]
struct Unreadable {
    #[session(owner)]
    user: Option<u64>,
    views: String,
}

#[tokio::test]
async fn an_owner_who_cannot_be_read_proves_nothing() {
    for house in houses().await {
        let browser = member(&house, 7, Router::new()).await;
        house.clock.advance(HOUR);
        let before = house.record(&browser).await.unwrap().header;
        let other = house.browser(Router::new().route(
            "/again",
            post(async |mut s: TypedSession<Unreadable>| {
                assert_eq!((*s.user, &**s.views), (None, ""));
                s.reauthenticated();
            }),
        ));
        other.set_cookie(COOKIE, browser.cookie(COOKIE).unwrap());
        assert_eq!(other.post("/again").await.status(), 200);
        let after = house.record(&other).await.unwrap().header;
        assert_eq!((after.authenticated_at, after.absolute_until), (before.authenticated_at, before.absolute_until));
    }
}

#[tokio::test]
async fn exactly_a_minute_after_a_rotation_a_stale_client_begins_anew() {
    for house in houses().await {
        let browser = guest(&house, Router::new()).await;
        let old = browser.fork();
        browser.post("/admin/true").await;
        house.clock.advance(Duration::from_millis(59_999));
        assert_eq!(old.post("/cart/1").await.status(), 409);
        house.clock.advance(Duration::from_millis(1));
        let response = old.post("/cart/1").await;
        assert!(matches!((response.status().as_u16(), effect(&response)), (200, Effect::Set(_))));
    }
}
