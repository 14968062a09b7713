//! Tokens that are replaced in the middle of a session: when, what the one before is worth, and what a copy of it betrays.

use crate::{
    after_the_head::Late,
    members::{AnyHouse, houses},
};
use axum::{
    Router,
    routing::{any, get, post},
};
use cloakroom::{
    Lifetime, Reuse, SessionData, SessionLayer, TypedSession,
    store::{CookieStore, IdleTouch, SessionStore},
    testing::{Fault, Gate, Operation, TestClient},
};
use cloakroom_tests::{
    events::Events,
    shop::{Browser, House},
    site::{COOKIE, Effect, effect, keys, max_age, selector},
};
use http::StatusCode;
use std::{sync::Arc, time::Duration};
use tokio::sync::Notify;

const MINUTE: Duration = Duration::from_secs(60);
const EVERY: Duration = Duration::from_secs(15 * 60);
const GRACE: Duration = Duration::from_secs(10);
const MOMENT: Duration = Duration::from_millis(1);

#[derive(SessionData)]
struct Visitor {
    visits: u64,
    #[session(secret)]
    pin: Option<u32>,
    #[session(privilege)]
    admin: bool,
}

fn routes() -> Router {
    Router::new()
        .route("/", get(async |s: TypedSession<Visitor>| s.visits.to_string()))
        .route("/add", any(async |mut s: TypedSession<Visitor>| *s.visits += 1))
        .route(
            "/pin",
            get(async |s: TypedSession<Visitor>| format!("{:?}", *s.pin))
                .post(async |mut s: TypedSession<Visitor>| *s.pin = Some(4711)),
        )
        .route("/admin", post(async |mut s: TypedSession<Visitor>| *s.admin = !*s.admin))
        .route("/rotate", post(async |mut s: TypedSession<Visitor>| s.rotate()))
        .route("/out", post(async |mut s: TypedSession<Visitor>| s.destroy()))
}

fn layer(house: &AnyHouse) -> SessionLayer {
    house.layer().renew(EVERY, GRACE)
}

async fn begun(house: &AnyHouse) -> Browser {
    begun_under(house, layer(house)).await
}

async fn begun_under(house: &AnyHouse, layer: SessionLayer) -> Browser {
    begun_with(house, layer, Router::new()).await
}

async fn begun_with(house: &AnyHouse, layer: SessionLayer, more: Router) -> Browser {
    let browser = house.browser_of(routes().merge(more).layer(layer));
    browser.post("/add").await;
    house.log();
    browser
}

/// A renewal, and a browser that never received it.
async fn renewed(house: &AnyHouse, browser: &Browser) -> Browser {
    house.clock.advance(EVERY);
    let old = browser.fork();
    let Effect::Set(new) = effect(&browser.get("/").await) else { panic!("a renewal was due") };
    assert_eq!(new[..21], old.cookie(COOKIE).unwrap()[..21], "the selector stays");
    house.log();
    old
}

fn commits(house: &AnyHouse) -> Vec<String> {
    house.log().into_iter().filter(|line| line.starts_with("commit")).collect()
}

#[tokio::test]
async fn a_token_is_replaced_once_it_is_old_enough_and_not_a_moment_before() {
    let events = Events::capture();
    for house in houses().await {
        let browser = begun(&house).await;
        house.clock.advance(EVERY - MOMENT);
        assert_eq!(effect(&browser.get("/").await), Effect::Nothing);
        assert_eq!(commits(&house), [""; 0]);
        house.clock.advance(MOMENT);
        let (old, before) = (browser.fork(), house.record(&browser).await.unwrap());
        events.take();
        let response = browser.get("/").await;
        let Effect::Set(new) = effect(&response) else { panic!("a renewal is due") };
        assert_eq!((response.status().as_u16(), response.text().as_str()), (200, "1"));
        assert_eq!(commits(&house), ["commit renews -> committed r1"], "one commit, and no cells");
        assert_eq!(events.count("session.renewed"), 1);
        assert_eq!(new[..21], old.cookie(COOKIE).unwrap()[..21]);
        let after = house.record(&browser).await.unwrap();
        assert_eq!((after.header.epoch, after.header.absolute_until), (0, before.header.absolute_until));
        assert_eq!(after.cells, before.cells);
        // The next one is due as long after this one.
        assert_eq!(effect(&browser.get("/").await), Effect::Nothing);
        house.clock.advance(EVERY - MOMENT);
        assert_eq!(effect(&browser.get("/").await), Effect::Nothing);
        house.clock.advance(MOMENT);
        assert!(matches!(effect(&browser.get("/").await), Effect::Set(_)));
        assert_eq!(browser.get("/").await.text(), "1");
    }
}

#[tokio::test]
async fn by_default_no_token_is_replaced() {
    for house in houses().await {
        let browser = begun_under(&house, house.layer()).await;
        for _ in 0..20 {
            house.clock.advance(Lifetime::default().idle() - MOMENT);
            assert_eq!(effect(&browser.get("/").await), Effect::Nothing);
        }
    }
}

#[tokio::test]
async fn the_old_token_works_until_the_new_one_was_presented_and_then_for_the_grace() {
    let events = Events::capture();
    for house in houses().await {
        let browser = begun(&house).await;
        let old = renewed(&house, &browser).await;
        // A page and its pictures, for as long as nobody has seen the new token.
        for _ in 0..3 {
            house.clock.advance(MINUTE);
            assert_eq!(old.post("/add").await.status(), 200);
        }
        assert_eq!(browser.get("/").await.text(), "4", "presented, from here on it counts");
        house.clock.advance(GRACE - MOMENT);
        let response = old.post("/add").await;
        assert_eq!(
            (response.status().as_u16(), effect(&response)),
            (200, Effect::Nothing),
            "within the grace it reads and writes"
        );
        assert_eq!(browser.get("/").await.text(), "5");
        house.clock.advance(MOMENT);
        events.take();
        let response = old.get("/").await;
        assert_eq!((response.text().as_str(), effect(&response)), ("0", Effect::Nothing));
        assert!(events.take().iter().any(|line| line.contains(r#"why="stale""#)));
        let response = old.post("/add").await;
        assert_eq!((response.status(), effect(&response)), (StatusCode::CONFLICT, Effect::Nothing));
        assert_eq!(browser.get("/").await.text(), "5");
    }
}

/// The token of a response that never reaches the browser.
async fn lost(browser: &Browser, path: &str) -> Browser {
    let response_lost = browser.fork();
    let Effect::Set(_) = effect(&response_lost.post(path).await) else { panic!("a renewal was due") };
    response_lost
}

async fn assert_dead(browser: &Browser) {
    let response = browser.get("/").await;
    assert_eq!((response.text().as_str(), effect(&response)), ("0", Effect::Nothing), "it opens nothing");
}

/// Uses a session with the old token for as long as one that has received the new one could stay away.
async fn use_the_old(house: &AnyHouse, browser: &Browser) {
    let half = Lifetime::default().idle() / 2;
    house.clock.advance(half);
    assert_eq!(effect(&browser.get("/").await), Effect::Nothing);
    house.clock.advance(half - MOMENT);
    assert_eq!(effect(&browser.get("/").await), Effect::Nothing, "whoever has the new one may still come");
    house.clock.advance(MOMENT);
}

/// F4, R7: the renewal is stored, its response lost, again and again.
#[tokio::test]
async fn a_lost_response_to_a_renewal_locks_nobody_out() {
    for house in houses().await {
        let browser = begun(&house).await;
        house.clock.advance(EVERY);
        let mut unseen = lost(&browser, "/add").await;
        for visits in 3..20 {
            use_the_old(&house, &browser).await;
            let next = lost(&browser, "/add").await;
            assert_dead(&std::mem::replace(&mut unseen, next)).await;
            assert_eq!(browser.get("/").await.text(), visits.to_string(), "the client's own token goes on");
        }
        // At last a response arrives.
        house.clock.advance(EVERY - MOMENT);
        assert_eq!(unseen.get("/").await.text(), "19");
        house.clock.advance(GRACE - MOMENT);
        assert_eq!(browser.get("/").await.text(), "19");
        house.clock.advance(MOMENT);
        assert_dead(&browser).await;
        house.clock.advance(EVERY - GRACE);
        let Effect::Set(_) = effect(&unseen.post("/add").await) else { panic!("from here on it is renewed as ever") };
        assert_eq!(unseen.get("/").await.text(), "20");
    }
}

#[tokio::test]
async fn a_token_that_nobody_presents_is_replaced_after_as_long_as_a_session_may_be_idle() {
    let events = Events::capture();
    for house in houses().await {
        let browser = begun(&house).await;
        let old = renewed(&house, &browser).await;
        use_the_old(&house, &old).await;
        house.log();
        events.take();
        let next = old.fork();
        assert!(matches!(effect(&next.get("/").await), Effect::Set(_)));
        let commits = commits(&house);
        assert!(
            matches!(&commits[..], [one] if one.contains("renews") && one.ends_with("committed r1")),
            "{commits:?}: no cells"
        );
        assert_eq!(events.count("session.renewed"), 1);
        // Who has it is the client, or is not: the time begins anew.
        use_the_old(&house, &old).await;
        assert_eq!(next.get("/").await.text(), "1");
        assert_dead(&browser).await;
    }
}

/// Whoever copied the old token does not outrun its client by renewing it.
#[tokio::test]
async fn who_comes_back_with_the_new_token_in_time_ends_the_old_one() {
    for house in houses().await {
        let browser = begun(&house).await;
        let thief = renewed(&house, &browser).await;
        use_the_old(&house, &thief).await;
        assert_eq!(browser.get("/").await.text(), "1", "a moment before the thief");
        house.clock.advance(GRACE);
        assert_dead(&thief).await;
        assert_eq!(thief.post("/add").await.status(), StatusCode::CONFLICT);
    }
}

#[tokio::test]
async fn a_request_that_renews_and_saves_twice_presents_nothing_of_its_own() {
    for house in houses().await {
        let twice = post(async |mut s: TypedSession<Visitor>| {
            *s.visits += 1;
            s.save().await.unwrap();
            s.reload().await.unwrap();
            *s.visits += 1;
        });
        let browser = begun_with(&house, layer(&house), Router::new().route("/twice", twice)).await;
        house.clock.advance(EVERY);
        for visits in [3, 5, 7] {
            lost(&browser, "/twice").await;
            house.clock.advance(MINUTE + GRACE);
            assert_eq!(browser.get("/").await.text(), visits.to_string(), "the response was lost");
            house.clock.advance(Lifetime::default().idle() / 2);
            browser.get("/").await;
            house.clock.advance(Lifetime::default().idle() / 2);
        }
    }
}

#[tokio::test]
async fn a_write_presents_the_new_token_as_a_read_does() {
    for house in houses().await {
        let browser = begun(&house).await;
        let old = renewed(&house, &browser).await;
        assert_eq!(browser.post("/add").await.status(), 200);
        house.clock.advance(GRACE);
        assert_eq!(old.get("/").await.text(), "0");
        assert_eq!(browser.get("/").await.text(), "2");
    }
}

#[tokio::test]
async fn presenting_a_forged_secret_is_not_presenting_the_new_one() {
    for house in houses().await {
        let browser = begun(&house).await;
        let old = renewed(&house, &browser).await;
        let forged = browser.fork();
        forged.set_cookie(COOKIE, format!("{}{}", &old.cookie(COOKIE).unwrap()[..22], "A".repeat(21)));
        assert_eq!(forged.get("/").await.text(), "0");
        house.clock.advance(GRACE + MINUTE);
        assert_eq!(old.get("/").await.text(), "1");
    }
}

#[tokio::test]
async fn a_renewal_that_fails_is_nobodys_trouble() {
    for house in houses().await {
        for fault in [Fault::Unavailable, Fault::UnknownApplied, Fault::UnknownNotApplied] {
            let events = Events::capture();
            let browser = begun(&house).await;
            house.clock.advance(EVERY);
            house.faults().next(Operation::Commit, fault.clone());
            let response = browser.get("/").await;
            assert_eq!((response.status().as_u16(), response.text().as_str()), (200, "1"), "{fault:?}");
            assert_eq!(effect(&response), Effect::Nothing, "no token that the store may not have");
            assert_eq!(commits(&house).len(), 1, "{fault:?}: nothing is tried again blindly");
            assert_eq!(events.count("session.failed"), 1);
            for _ in 0..3 {
                house.clock.advance(MINUTE);
                assert_eq!(browser.post("/add").await.status(), 200, "{fault:?}: the old token goes on");
            }
            assert_eq!(browser.get("/").await.text(), "4");
            if let Fault::UnknownApplied = fault {
                // Nobody has the token that the store took.
                house.clock.advance(Lifetime::default().idle() / 2);
                browser.get("/").await;
                house.clock.advance(Lifetime::default().idle() / 2);
            } else {
                house.clock.advance(EVERY);
            }
            assert!(matches!(effect(&browser.get("/").await), Effect::Set(_)), "{fault:?}: and is renewed in the end");
            assert_eq!(browser.get("/").await.text(), "4");
        }
    }
}

#[tokio::test]
async fn a_renewal_that_is_gone_leaves_the_response_as_it_is() {
    for house in houses().await {
        let browser = begun(&house).await;
        let key = selector(&browser.cookie(COOKIE).unwrap());
        house.clock.advance(EVERY);
        let gate = cloakroom::testing::Gate::new();
        house.faults().next(Operation::Commit, Fault::HoldBefore(gate.clone()));
        let reader = browser.fork();
        let slow = tokio::spawn(async move { reader.get("/").await });
        tokio::time::timeout(MINUTE, gate.reached()).await.expect("it comes to its commit");
        house.faults().inner().delete(&key).await.unwrap();
        gate.open();
        let response = slow.await.unwrap();
        assert_eq!((response.status().as_u16(), response.text().as_str()), (200, "1"));
        assert_eq!(effect(&response), Effect::Nothing);
        assert!(house.record_of(&key).await.is_none(), "nothing is brought back");
    }
}

#[tokio::test]
async fn with_a_change_it_is_one_commit_and_with_a_new_privilege_it_is_that_one() {
    for house in houses().await {
        let browser = begun(&house).await;
        house.clock.advance(EVERY);
        assert!(matches!(effect(&browser.post("/add").await), Effect::Set(_)));
        assert_eq!(commits(&house), ["commit puts [visitor/visits] renews -> committed r2"]);
        assert_eq!(browser.get("/").await.text(), "2");
        house.clock.advance(EVERY);
        house.log();
        let old = browser.fork();
        assert!(matches!(effect(&browser.post("/admin").await), Effect::Set(_)));
        assert_eq!(commits(&house), ["commit puts [visitor/admin] rotates -> committed r3"]);
        assert_eq!(old.get("/").await.text(), "0", "a new privilege has no grace");
    }
}

#[tokio::test]
async fn a_change_that_fails_with_the_renewal_fails_as_ever() {
    for house in houses().await {
        let browser = begun(&house).await;
        house.clock.advance(EVERY);
        house.faults().next(Operation::Commit, Fault::Unavailable);
        let response = browser.post("/add").await;
        assert_eq!((response.status().as_u16(), effect(&response)), (503, Effect::Nothing));
        assert_eq!(browser.get("/").await.text(), "1");
    }
}

#[tokio::test]
async fn a_new_privilege_kills_the_renewed_token_and_the_one_before_alike() {
    for house in houses().await {
        for path in ["/admin", "/rotate"] {
            let browser = begun(&house).await;
            let old = renewed(&house, &browser).await;
            let new = browser.fork();
            assert!(matches!(effect(&browser.post(path).await), Effect::Set(_)));
            for dead in [old, new] {
                assert_eq!(dead.get("/").await.text(), "0", "{path}");
            }
            assert_eq!(browser.get("/").await.text(), "1", "{path}");
        }
    }
}

#[tokio::test]
async fn a_holder_of_the_old_token_may_gain_a_privilege_and_is_the_only_one_left() {
    for house in houses().await {
        let browser = begun(&house).await;
        let old = renewed(&house, &browser).await;
        let lost = browser;
        assert!(matches!(effect(&old.post("/admin").await), Effect::Set(_)));
        assert_eq!((old.get("/").await.text(), lost.get("/").await.text()), ("1".into(), "0".into()));
    }
}

#[tokio::test]
async fn after_a_rotation_by_the_old_token_secrets_are_sealed_for_the_new_one() {
    for house in houses().await {
        let grow = async |mut s: TypedSession<Visitor>| {
            *s.admin = true;
            s.save().await.unwrap();
            *s.pin = Some(2);
        };
        let browser = begun_with(&house, layer(&house), Router::new().route("/grow", post(grow))).await;
        browser.post("/pin").await;
        let old = renewed(&house, &browser).await;
        assert_eq!(old.post("/grow").await.status(), 200);
        assert_eq!((old.get("/").await.text(), old.get("/pin").await.text()), ("1".into(), "Some(2)".into()));
    }
}

#[tokio::test]
async fn after_the_head_no_token_is_replaced() {
    for house in houses().await {
        let stream = get(async |mut s: TypedSession<Visitor>| {
            Late::body(async move {
                *s.visits += 1;
                s.save().await.unwrap();
                s.visits.to_string()
            })
        });
        let browser = begun_with(&house, layer(&house), Router::new().route("/stream", stream)).await;
        house.clock.advance(EVERY - MOMENT);
        // The head goes out a moment before it is due, and the save comes after.
        let request = http::Request::get("/stream").body(axum::body::Body::empty()).unwrap();
        let gate = cloakroom::testing::Gate::new();
        house.faults().next(Operation::Commit, Fault::HoldBefore(gate.clone()));
        let reader = browser.fork();
        let slow = tokio::spawn(async move { reader.send(request).await });
        tokio::time::timeout(MINUTE, gate.reached()).await.expect("it comes to its commit");
        gate.open();
        let response = slow.await.unwrap();
        assert_eq!((response.text().as_str(), effect(&response)), ("2", Effect::Nothing));
        house.clock.advance(MOMENT);
        assert!(matches!(effect(&browser.get("/").await), Effect::Set(_)), "the next response brings it");
    }
}

#[tokio::test]
async fn a_save_after_the_head_leaves_a_renewal_that_is_due_to_the_next_request() {
    for house in houses().await {
        let clock = house.clock.clone();
        let stream = get(async move |mut s: TypedSession<Visitor>| {
            Late::body(async move {
                clock.advance(EVERY);
                *s.visits += 1;
                s.save().await.unwrap();
                String::new()
            })
        });
        let browser = begun_with(&house, layer(&house), Router::new().route("/stream", stream)).await;
        assert_eq!(effect(&browser.get("/stream").await), Effect::Nothing);
        assert!(commits(&house).iter().all(|line| !line.contains("renews")));
        assert!(matches!(effect(&browser.get("/").await), Effect::Set(_)));
        assert_eq!(browser.get("/").await.text(), "2");
    }
}

#[tokio::test]
async fn a_save_in_the_handler_renews_once_and_the_response_brings_the_token() {
    for house in houses().await {
        let saved = post(async |mut s: TypedSession<Visitor>| {
            *s.visits += 1;
            s.save().await.unwrap();
            *s.visits += 1;
        });
        let browser = begun_with(&house, layer(&house), Router::new().route("/saved", saved)).await;
        house.clock.advance(EVERY);
        assert!(matches!(effect(&browser.post("/saved").await), Effect::Set(_)));
        assert_eq!(
            commits(&house),
            ["commit puts [visitor/visits] renews -> committed r2", "commit puts [visitor/visits] -> committed r3"]
        );
        assert_eq!(browser.get("/").await.text(), "3");
    }
}

#[tokio::test]
async fn a_cookie_that_outlives_the_browser_is_renewed_for_what_is_left_of_its_time() {
    for house in houses().await {
        let remember = post(async |mut s: TypedSession<Visitor>| {
            s.set_persistent(true);
            *s.visits += 1;
        });
        let day = 24 * 60 * MINUTE;
        let layer = layer(&house).remember(Lifetime::new(30 * day, 90 * day).unwrap());
        let browser = begun_with(&house, layer, Router::new().route("/remember", remember)).await;
        assert_eq!(max_age(&browser.post("/remember").await), Some((90 * day).as_secs()));
        assert_eq!(effect(&browser.get("/").await), Effect::Nothing);
        house.clock.advance(day);
        let response = browser.get("/").await;
        assert_eq!(max_age(&response), Some((89 * day).as_secs()));
    }
}

#[tokio::test]
async fn both_tokens_open_the_secret_fields() {
    for house in houses().await {
        let browser = begun(&house).await;
        browser.post("/pin").await;
        let old = renewed(&house, &browser).await;
        assert_eq!(old.get("/pin").await.text(), "Some(4711)", "while the new one is on its way");
        assert_eq!(browser.get("/pin").await.text(), "Some(4711)");
        house.clock.advance(GRACE - MOMENT);
        assert_eq!(old.get("/pin").await.text(), "Some(4711)", "and within the grace");
        // What the old one writes, the new one reads.
        old.post("/pin").await;
        for _ in 0..3 {
            renewed(&house, &browser).await;
            assert_eq!(browser.get("/pin").await.text(), "Some(4711)");
        }
        browser.post("/rotate").await;
        assert_eq!(browser.get("/pin").await.text(), "Some(4711)");
    }
}

#[tokio::test]
async fn the_tokens_of_repeated_renewals_open_the_secret_fields_too() {
    for house in houses().await {
        let browser = begun(&house).await;
        browser.post("/pin").await;
        renewed(&house, &browser.fork()).await;
        for _ in 0..3 {
            use_the_old(&house, &browser).await;
            // In one commit with what it seals, and one that only reads.
            lost(&browser, "/pin").await;
            assert_eq!(browser.get("/pin").await.text(), "Some(4711)");
            use_the_old(&house, &browser).await;
            let reader = browser.fork();
            let response = reader.get("/pin").await;
            assert_eq!(response.text(), "Some(4711)");
            assert!(matches!(effect(&response), Effect::Set(_)));
            assert_eq!(browser.get("/pin").await.text(), "Some(4711)");
        }
        use_the_old(&house, &browser).await;
        let received = lost(&browser, "/add").await;
        assert_eq!(received.get("/pin").await.text(), "Some(4711)");
        assert_eq!(browser.get("/pin").await.text(), "Some(4711)", "within the grace");
        received.post("/pin").await;
        assert_eq!(browser.get("/pin").await.text(), "Some(4711)");
    }
}

#[tokio::test]
async fn a_privilege_gained_with_the_token_of_before_ends_repeated_renewals_too() {
    for house in houses().await {
        let browser = begun(&house).await;
        let old = renewed(&house, &browser).await;
        use_the_old(&house, &old).await;
        let (before, unseen) = (old.fork(), lost(&old, "/add").await);
        use_the_old(&house, &old).await;
        house.log();
        assert!(matches!(effect(&old.post("/admin").await), Effect::Set(_)));
        assert_eq!(commits(&house), ["commit puts [visitor/admin] rotates -> committed r3"], "it is that one");
        for dead in [before, unseen, browser] {
            assert_eq!(dead.get("/").await.text(), "0");
        }
        assert_eq!(old.get("/").await.text(), "2");
    }
}

#[tokio::test]
async fn a_sealed_cookie_is_not_renewed_and_the_layer_says_so_when_it_is_made() {
    let (events, house) = (Events::capture(), House::new());
    let layer = SessionLayer::new(CookieStore::new(keys())).clock(house.clock.clone());
    let layer = layer.renew(EVERY, GRACE).max_sessions(3).reuse(Reuse::EndSession);
    let said: Vec<String> = events.take();
    for setting in ["renew", "max_sessions", "reuse"] {
        let of_it = |line: &&String| line.contains("session.without_effect") && line.contains(&format!("setting={setting:?}"));
        assert_eq!(said.iter().filter(of_it).count(), 1, "{said:?}");
    }
    let browser: Browser = TestClient::new(routes().layer(layer)).clock(house.clock.clone());
    browser.post("/add").await;
    house.clock.advance(EVERY);
    assert_eq!(effect(&browser.get("/").await), Effect::Nothing);
    assert_eq!(events.count("session.renewed"), 0);
}

#[tokio::test]
async fn once_the_client_has_presented_it_the_socket_that_renewed_it_does_so_too() {
    for house in houses().await.into_iter().filter(|house| house.store.idle_touch() == IdleTouch::AtLoad) {
        let (clock, presented) = (house.clock.clone(), Arc::new(Notify::new()));
        let (half, wait) = (Lifetime::default().idle() / 2, Arc::clone(&presented));
        let stream = get(async move |mut s: TypedSession<Visitor>| {
            Late::body(async move {
                wait.notified().await;
                s.reload().await.unwrap();
                clock.advance(half);
                s.reload().await.unwrap();
                s.visits.to_string()
            })
        });
        let browser = begun_with(&house, layer(&house), Router::new().route("/stream", stream)).await;
        house.clock.advance(EVERY);
        let (socket, old) = (browser.clone(), browser.cookie(COOKIE));
        let socket = tokio::spawn(async move { socket.get("/stream").await });
        while browser.cookie(COOKIE) == old {
            tokio::task::yield_now().await;
        }
        assert_eq!(browser.get("/").await.text(), "1");
        presented.notify_one();
        assert_eq!(socket.await.unwrap().text(), "1");
        house.clock.advance(half + MINUTE);
        assert_eq!(browser.get("/").await.text(), "1", "a reload is a use");
    }
}

/// A session whose old token is dead: by a rotation, or by a renewal that was presented. With the time since which it is.
async fn with_a_dead_token(house: &AnyHouse, layer: SessionLayer, way: &str) -> (Browser, Browser) {
    let browser = begun_under(house, layer).await;
    let old = if way == "renewal" {
        let old = renewed(house, &browser).await;
        browser.get("/").await;
        old
    } else {
        let old = browser.fork();
        browser.post("/rotate").await;
        old
    };
    (browser, old)
}

fn said_reused(events: &Events) -> bool {
    let seen = events.take();
    let reused = seen.iter().any(|line| line.contains("session.secret_reused"));
    let stale = seen.iter().any(|line| line.contains(r#"why="stale""#));
    assert!(reused != stale, "it is the one or the other: {seen:?}");
    reused
}

/// CVE-2026-56750.
#[tokio::test]
async fn late_use_of_a_dead_token_is_refused_and_an_event_and_keeps_the_cookie() {
    let events = Events::capture();
    for house in houses().await {
        for way in ["renewal", "rotation"] {
            let (browser, old) = with_a_dead_token(&house, layer(&house), way).await;
            house.clock.advance(MINUTE - MOMENT);
            events.take();
            assert_eq!(old.get("/").await.text(), "0");
            assert!(!said_reused(&events), "{way}: parallel tabs do this");
            house.clock.advance(MOMENT);
            let response = old.get("/").await;
            assert_eq!((response.text().as_str(), effect(&response)), ("0", Effect::Nothing));
            assert!(said_reused(&events), "{way}");
            assert_eq!(browser.get("/").await.text(), "1", "{way}: by default the session goes on");
        }
    }
}

#[tokio::test]
async fn where_it_is_asked_for_late_use_of_a_dead_token_ends_the_session_for_everybody() {
    let events = Events::capture();
    for house in houses().await {
        for way in ["renewal", "rotation"] {
            let (browser, old) = with_a_dead_token(&house, layer(&house).reuse(Reuse::EndSession), way).await;
            let key = selector(&old.cookie(COOKIE).unwrap());
            house.clock.advance(MINUTE - MOMENT);
            old.get("/").await;
            old.post("/add").await;
            assert_eq!(browser.get("/").await.text(), "1", "{way}: not within a minute");
            let forged = browser.fork();
            house.clock.advance(Duration::from_secs(3600) - EVERY);
            forged.set_cookie(COOKIE, format!("{}{}", &old.cookie(COOKIE).unwrap()[..22], "A".repeat(21)));
            events.take();
            forged.get("/").await;
            assert!(!said_reused(&events), "{way}: who guesses a secret is not somebody who had one");
            assert!(house.record_of(&key).await.is_some());
            let response = old.get("/").await;
            assert_eq!((response.status().as_u16(), response.text().as_str()), (200, "0"));
            assert!(said_reused(&events), "{way}");
            assert!(house.record_of(&key).await.is_none(), "{way}");
            let response = browser.get("/").await;
            assert_eq!((response.text().as_str(), effect(&response)), ("0", Effect::Clear), "{way}");
        }
    }
}

#[tokio::test]
async fn a_grace_longer_than_a_minute_is_the_time_before_which_nothing_is_reuse() {
    let events = Events::capture();
    for house in houses().await {
        let layer = house.layer().renew(EVERY, 5 * MINUTE).reuse(Reuse::EndSession);
        let (browser, old) = with_a_dead_token(&house, layer, "renewal").await;
        house.clock.advance(5 * MINUTE - MOMENT);
        assert_eq!(old.get("/").await.text(), "1", "it works within the grace");
        house.clock.advance(MOMENT);
        events.take();
        assert_eq!(old.get("/").await.text(), "0");
        assert!(said_reused(&events));
        assert_eq!(effect(&browser.get("/").await), Effect::Clear);
    }
}

#[tokio::test]
async fn a_session_that_cannot_be_ended_for_reuse_refuses_all_the_same() {
    let events = Events::capture();
    for house in houses().await {
        let (browser, old) = with_a_dead_token(&house, layer(&house).reuse(Reuse::EndSession), "rotation").await;
        house.clock.advance(MINUTE);
        house.faults().next(Operation::Delete, Fault::Unavailable);
        events.take();
        let response = old.get("/").await;
        assert_eq!((response.status().as_u16(), response.text().as_str()), (200, "0"));
        assert!(events.take().iter().any(|line| line.contains("session.failed")));
        assert_eq!(browser.get("/").await.text(), "1");
        old.get("/").await;
        assert_eq!(effect(&browser.get("/").await), Effect::Clear, "the next time it ends");
    }
}

#[tokio::test]
async fn the_pending_token_of_a_lost_response_is_no_reuse_of_the_old_one() {
    let events = Events::capture();
    for house in houses().await {
        let browser = begun_under(&house, layer(&house).reuse(Reuse::EndSession)).await;
        let old = renewed(&house, &browser).await;
        house.clock.advance(3 * MINUTE);
        events.take();
        assert_eq!(old.get("/").await.text(), "1");
        assert_eq!(events.count("session.secret_reused"), 0);
        assert_eq!(browser.get("/").await.text(), "1");
    }
}

#[tokio::test]
async fn without_renewal_no_replaced_token_has_a_grace() {
    let house = House::new();
    let routes = || axum::Router::new().route("/", axum::routing::any(async |mut s: TypedSession<Visitor>| *s.visits += 1));
    let renewing = house.browser_of(routes().layer(house.layer().renew(Duration::from_secs(60), Duration::from_secs(600))));
    renewing.post("/").await;
    let old = renewing.fork();
    house.clock.advance(Duration::from_secs(61));
    renewing.post("/").await;
    renewing.post("/").await;
    assert_eq!(old.post("/").await.status(), 200, "within the grace");
    // The next deploy renews no tokens.
    let plain = house.browser_of(routes().layer(house.layer()));
    for (browser, status) in [(&renewing, 200), (&old, 409)] {
        plain.set_cookie("__Host-id", browser.cookie("__Host-id").unwrap());
        assert_eq!(plain.post("/").await.status(), status);
    }
}

fn remembering(house: &AnyHouse) -> SessionLayer {
    let day = 24 * 60 * MINUTE;
    layer(house).remember(Lifetime::new(30 * day, 90 * day).unwrap())
}

fn remember() -> Router {
    Router::new().route("/remember", post(async |mut s: TypedSession<Visitor>| s.set_persistent(true)))
}

/// What a browser holds after a response, whatever it held before: it opens the session.
async fn opens(browser: &Browser, token: String) -> bool {
    let client = browser.fork();
    client.set_cookie(COOKIE, token);
    client.get("/").await.text() == "1"
}

#[tokio::test]
async fn a_slow_remember_beside_a_renewal_brings_no_dead_token_back() {
    for house in houses().await {
        let browser = begun_with(&house, remembering(&house), remember()).await;
        house.clock.advance(EVERY);
        let slow = browser.fork();
        let gate = Gate::new();
        house.faults().next(Operation::Commit, Fault::HoldBefore(gate.clone()));
        let (late, ()) = tokio::join!(slow.post("/remember"), async {
            gate.reached().await;
            assert!(matches!(effect(&browser.get("/").await), Effect::Set(_)), "the renewal");
            assert_eq!(effect(&browser.get("/").await), Effect::Nothing, "its token is presented");
            gate.open();
        });
        assert_eq!((late.status().as_u16(), effect(&late)), (200, Effect::Nothing), "the browser has a newer token");
        assert!(house.record(&browser).await.unwrap().header.persistent, "and yet it is done");
        house.clock.advance(EVERY);
        let renewed = browser.get("/").await;
        assert_eq!(
            max_age(&renewed),
            Some((90 * 24 * 60 * MINUTE - 2 * EVERY).as_secs()),
            "the cookie comes with the next renewal"
        );
        house.clock.advance(GRACE);
        assert_eq!(browser.get("/").await.text(), "1");
    }
}

#[tokio::test]
async fn a_renewal_beside_a_remember_leaves_the_cookie_to_it() {
    for house in houses().await {
        let browser = begun_with(&house, remembering(&house), remember()).await;
        house.clock.advance(EVERY);
        let slow = browser.fork();
        let gate = Gate::new();
        house.faults().next(Operation::Commit, Fault::HoldBefore(gate.clone()));
        let (late, ()) = tokio::join!(slow.get("/"), async {
            gate.reached().await;
            assert_eq!(max_age(&browser.post("/remember").await), Some((90 * 24 * 60 * MINUTE - EVERY).as_secs()));
            gate.open();
        });
        assert_eq!(effect(&late), Effect::Nothing);
        assert!(opens(&browser, browser.cookie(COOKIE).unwrap()).await);
        house.clock.advance(GRACE + EVERY);
        assert_eq!(browser.get("/").await.text(), "1");
    }
}

#[tokio::test]
async fn a_client_that_never_got_its_renewal_is_remembered_all_the_same() {
    for house in houses().await {
        let browser = begun_with(&house, remembering(&house), remember()).await;
        let received = browser.fork();
        let old = renewed(&house, &received).await;
        // While the other token may be on its way, no response brings the old one back.
        house.clock.advance(MINUTE - MOMENT);
        assert_eq!(effect(&old.post("/remember").await), Effect::Nothing);
        assert!(house.record(&old).await.unwrap().header.persistent);
        let again = begun_with(&house, remembering(&house), remember()).await;
        let received = again.fork();
        let old = renewed(&house, &received).await;
        house.clock.advance(MINUTE);
        let response = old.post("/remember").await;
        let Effect::Set(token) = effect(&response) else { panic!("the client holds this token") };
        assert_eq!(max_age(&response), Some((90 * 24 * 60 * MINUTE - EVERY - MINUTE).as_secs()));
        assert!(opens(&old, token).await);
        // Nothing is taken from a client that has received the other one.
        assert_eq!(received.get("/").await.text(), "1");
    }
}

#[tokio::test]
async fn without_renewals_a_remember_sends_the_token_that_there_is() {
    for house in houses().await {
        let day = 24 * 60 * MINUTE;
        let layer = house.layer().remember(Lifetime::new(30 * day, 90 * day).unwrap());
        let browser = begun_with(&house, layer, remember()).await;
        let before = browser.cookie(COOKIE).unwrap();
        let response = browser.post("/remember").await;
        assert_eq!((effect(&response), max_age(&response)), (Effect::Set(before), Some((90 * day).as_secs())));
    }
}
