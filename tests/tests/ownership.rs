//! Whose sessions there are: listed, ended, and never alive unlisted, on every server-side store over its real engine.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use axum::{
    Router,
    body::Body,
    extract::Path,
    routing::{get, post},
};
use cloakroom::{
    Handle, Lifetime, SessionData, SessionInfo, SessionLayer, Sessions, TypedSession,
    record::Timestamp,
    store::{IdleTouch, SessionStore},
    testing::{Fault, Gate, ManualClock, Operation, TestResponse},
};
use cloakroom_tests::{
    engines::{Engine, Running},
    on_engines,
    shop::{Browser, House},
    site::{COOKIE, Effect, effect, selector},
};
use http::{Method, Request, StatusCode};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::task::{JoinHandle, JoinSet};

on_engines! {
    [in_memory: Memory, on_sqlite: Sqlite, on_redis: Redis, on_a_redis_cluster: RedisCluster, on_postgres: Postgres, on_mysql: MySql]
    {
        the_sessions_of_an_owner_are_listed_as_what_they_are_by_one_look_at_the_index
        a_list_follows_who_signs_in_and_out
        a_session_that_expired_is_not_listed_and_cannot_be_ended
        a_session_is_ended_by_its_owner_and_its_handle_together
        all_sessions_of_an_owner_end_and_nobody_elses
        the_other_sessions_of_an_owner_end_and_this_one_goes_on
        one_sign_in_too_many_ends_the_oldest_session
        parallel_sign_ins_leave_as_many_sessions_as_are_allowed
        the_newest_sign_in_stays_whatever_the_clocks_say
        a_new_proof_is_a_sign_in_whatever_the_clocks_say
        a_session_of_another_owner_by_then_is_not_ended_by_its_handle
        a_session_of_another_owner_by_then_makes_no_room
        a_session_that_rotates_beside_its_ending_is_ended
        an_ended_session_takes_no_write_of_a_request_under_way
        a_write_of_a_session_that_was_ended_meanwhile_is_gone
        r7_a_write_of_before_a_renewal_lands
        r8_of_two_sign_ins_in_one_session_each_ends_up_in_one_of_its_own
        r8_of_two_renewals_one_replaces_the_token_and_both_write
        r8_of_two_renewals_of_a_lost_one_one_replaces_it_and_both_write
        r8_a_renewal_of_a_lost_one_that_is_presented_meanwhile_kills_neither
        r8_a_renewal_after_a_new_privilege_is_gone
        r8_a_new_privilege_after_a_renewal_kills_both_tokens
        r9_three_concurrent_sign_ins_are_three_listed_sessions
        r11_a_renewal_paused_across_a_revoke_revives_nothing
        r12_a_sign_in_that_races_a_revoke_is_listed_if_it_is_alive
        r12_a_sign_in_committed_before_the_revoke_is_dead_and_its_late_write_gone
        a_sign_out_takes_along_what_another_request_stored_meanwhile
        a_change_of_owner_merges_and_rotates_once
        a_sign_in_whose_session_is_gone_begins_one_of_its_own
        a_sign_in_with_a_token_of_before_begins_a_session_of_its_own
    }
}

#[derive(SessionData)]
#[session(name = "shop")]
struct Shop {
    #[session(owner)]
    user: Option<String>,
    #[session(privilege)]
    admin: bool,
    #[session(keep)]
    theme: String,
    cart: Vec<u32>,
    x: u32,
    #[session(merge = "add")]
    views: u64,
}

/// What a session shows in which nothing is.
const NOTHING: &str = r#"None "" [] 0"#;

fn routes() -> Router {
    Router::new()
        .route("/", get(async |s: TypedSession<Shop>| format!("{:?} {:?} {:?} {}", s.user.as_deref(), *s.theme, *s.cart, s.x)))
        .route("/handle", get(async |s: TypedSession<Shop>| s.handle().unwrap().to_string()))
        .route(
            "/fill",
            post(async |mut s: TypedSession<Shop>| {
                *s.theme = "dark".into();
                s.cart.push(1);
            }),
        )
        .route("/x/{to}", post(async |Path(to): Path<u32>, mut s: TypedSession<Shop>| *s.x = to))
        .route("/in/{user}", post(async |Path(user): Path<String>, mut s: TypedSession<Shop>| *s.user = Some(user)))
        .route(
            "/in/{user}/on/{label}",
            post(async |Path((user, label)): Path<(String, String)>, mut s: TypedSession<Shop>| {
                *s.user = Some(user);
                s.set_label(&*label);
                s.set_persistent(true);
            }),
        )
        .route("/views", get(async |s: TypedSession<Shop>| s.views.to_string()))
        .route("/views/{by}", post(async |Path(by): Path<u64>, mut s: TypedSession<Shop>| *s.views += by))
        .route(
            "/in/{user}/views/{by}",
            post(async |Path((user, by)): Path<(String, u64)>, mut s: TypedSession<Shop>| {
                *s.user = Some(user);
                *s.views += by;
            }),
        )
        .route("/out", post(async |mut s: TypedSession<Shop>| *s.user = None))
        .route("/end", post(async |mut s: TypedSession<Shop>| s.destroy()))
        .route("/admin", post(async |mut s: TypedSession<Shop>| *s.admin = !*s.admin))
        .route("/rotate", post(async |mut s: TypedSession<Shop>| s.rotate()))
        .route("/again", post(async |mut s: TypedSession<Shop>| s.reauthenticated()))
        .route(
            "/list/{user}",
            get(async |Path(user): Path<String>, sessions: Sessions| {
                let list = sessions.list::<Shop>(&user).await.unwrap();
                let line = |it: SessionInfo| format!("{} {:?} {} {}", it.handle, it.label, it.is_persistent, it.is_current);
                list.into_iter().map(line).collect::<Vec<_>>().join("\n")
            }),
        )
        .route(
            "/revoke/{user}/{handle}",
            post(async |Path((user, handle)): Path<(String, String)>, sessions: Sessions| {
                sessions.revoke::<Shop>(&user, &handle.parse::<Handle>().unwrap()).await.unwrap().to_string()
            }),
        )
        .route(
            "/revoke/{user}",
            post(async |Path(user): Path<String>, sessions: Sessions| {
                sessions.revoke_all::<Shop>(&user).await.unwrap().to_string()
            }),
        )
        .route(
            "/revoke-others",
            post(async |sessions: Sessions, s: TypedSession<Shop>| sessions.revoke_others(&s).await.unwrap().to_string()),
        )
}

type AnyHouse = House<Arc<dyn SessionStore>>;

async fn signed_in(house: &AnyHouse, user: &str) -> Browser {
    signed_in_under(house, house.layer(), user).await
}

async fn signed_in_under(house: &AnyHouse, layer: SessionLayer, user: &str) -> Browser {
    let browser = house.browser_of(routes().layer(layer));
    assert!(matches!(effect(&browser.post(&format!("/in/{user}")).await), Effect::Set(_)));
    house.log();
    browser
}

/// A session in which nobody is signed in.
async fn guest(house: &AnyHouse, layer: SessionLayer) -> Browser {
    let browser = house.browser_of(routes().layer(layer));
    browser.post("/fill").await;
    house.log();
    browser
}

async fn list(house: &AnyHouse, user: &str) -> Vec<SessionInfo> {
    house.layer().sessions().list::<Shop>(&user.to_owned()).await.unwrap()
}

async fn handles(house: &AnyHouse, user: &str) -> BTreeSet<String> {
    list(house, user).await.iter().map(|it| it.handle.to_string()).collect()
}

async fn handle(browser: &Browser) -> String {
    browser.get("/handle").await.text()
}

/// Its next request finds nothing, and clears the cookie.
async fn assert_ended(browser: &Browser) {
    let response = browser.get("/").await;
    assert_eq!((response.status().as_u16(), response.text().as_str()), (200, NOTHING));
    assert_eq!(effect(&response), Effect::Clear);
}

async fn user(browser: &Browser) -> String {
    browser.get("/").await.text().split(' ').next().unwrap().to_owned()
}

fn spawn(method: Method, browser: &Browser, uri: &str) -> JoinHandle<TestResponse> {
    // A fork, so that what a late response does to the cookie is seen there and nowhere else.
    let browser = browser.fork();
    let request = Request::builder().method(method).uri(uri).body(Body::empty()).unwrap();
    tokio::spawn(async move { browser.send(request).await })
}

/// Waits until so many requests stand before a gate.
async fn reached(gate: &Gate, requests: usize) {
    let all = tokio::time::timeout(Duration::from_secs(60), gate.reached_by(requests)).await;
    all.unwrap_or_else(|_| panic!("fewer than {requests} requests came so far"));
}

/// Starts a request that stops in front of that operation.
async fn held(
    house: &AnyHouse,
    operation: Operation,
    method: Method,
    browser: &Browser,
    uri: &str,
) -> (Gate, JoinHandle<TestResponse>) {
    let gate = Gate::new();
    house.faults().next(operation, Fault::HoldBefore(gate.clone()));
    let request = spawn(method, browser, uri);
    reached(&gate, 1).await;
    (gate, request)
}

/// Opens the barrier once all of the requests stand before it, and hears what each is answered.
async fn together(house: &AnyHouse, requests: Vec<JoinHandle<TestResponse>>, gate: &Gate) -> Vec<TestResponse> {
    reached(gate, requests.len()).await;
    gate.open();
    let mut responses = Vec::new();
    for request in requests {
        responses.push(request.await.unwrap());
    }
    house.faults().heal();
    responses
}

/// Before that operation everybody waits for everybody.
fn barrier(house: &AnyHouse, operation: Operation) -> Gate {
    let gate = Gate::new();
    house.faults().always(operation, Fault::HoldBefore(gate.clone()));
    gate
}

async fn the_sessions_of_an_owner_are_listed_as_what_they_are_by_one_look_at_the_index(running: Running) {
    let house = running.house();
    let began = house.clock.clone();
    let first = house.browser(routes());
    first.post("/in/ann/on/laptop").await;
    let signed_in_at = cloakroom::Clock::now(&began);
    house.clock.advance(Duration::from_secs(60));
    let second = signed_in(&house, "ann").await;
    let other = signed_in(&house, "bob").await;
    guest(&house, house.layer()).await;
    let [of_first, of_second] = [&first, &second].map(|it| selector(&it.cookie(COOKIE).unwrap()).handle().to_string());
    assert_eq!(of_second, handle(&second).await);

    house.log();
    let shown = second.get("/list/ann").await.text();
    assert_eq!(
        shown,
        format!("{of_second} None false true\n{of_first} Some(\"laptop\") true false"),
        "the one used last first"
    );
    let log = house.log();
    assert_eq!(log.len(), 2, "one load, one look at the index: {log:?}");
    assert!(log[0].starts_with("load ") && log[1].starts_with("by_owner"), "{log:?}");
    let shown = first.get("/list/ann").await.text();
    assert!(shown.contains(&format!("{of_first} Some(\"laptop\") true true")), "{shown}");
    assert!(shown.contains(&format!("{of_second} None false false")), "{shown}");
    assert!(!other.get("/list/ann").await.text().contains("true true"), "to somebody else none of them is this one");
    assert_eq!(house.browser(routes()).get("/list/ann").await.text().lines().count(), 2);
    assert_eq!(first.get("/list/nobody").await.text(), "");

    let listed = list(&house, "ann").await;
    let laptop = listed.iter().find(|it| it.handle.to_string() == of_first).unwrap();
    let header = house.record(&first).await.unwrap().header;
    assert_eq!((laptop.created_at, laptop.authenticated_at), (signed_in_at, Some(signed_in_at)));
    assert_eq!(Timestamp::from(laptop.last_seen), header.last_seen);
    assert_eq!(Timestamp::from(laptop.expires_at), header.idle_until);
    assert!(!laptop.is_current && listed.iter().all(|it| !it.is_current), "outside of a request none is current");
    // Where a use is noted with every load it is seen here, too.
    if house.store.idle_touch() == IdleTouch::AtLoad {
        house.clock.advance(Duration::from_secs(60));
        first.get("/").await;
        assert_eq!(list(&house, "ann").await[0].handle.to_string(), of_first);
        assert_eq!(Timestamp::from(list(&house, "ann").await[0].last_seen), house.now());
    }
}

async fn a_list_follows_who_signs_in_and_out(running: Running) {
    let house = running.house();
    let browser = guest(&house, house.layer()).await;
    let name = handle(&browser).await;
    for (path, ann, bob) in [
        ("/in/ann", true, false),
        ("/rotate", true, false),
        ("/admin", true, false),
        ("/in/bob", false, true),
        ("/out", false, false),
        ("/in/ann", true, false),
        ("/end", false, false),
    ] {
        assert_eq!(browser.post(path).await.status(), 200);
        assert_eq!(handles(&house, "ann").await.contains(&name), ann, "{path}");
        assert_eq!(handles(&house, "bob").await.contains(&name), bob, "{path}");
        assert!(list(&house, "ann").await.len() + list(&house, "bob").await.len() <= 1, "{path}: one session, one entry");
    }
}

async fn a_session_that_expired_is_not_listed_and_cannot_be_ended(running: Running) {
    let house = running.house();
    let browser = signed_in(&house, "ann").await;
    let name = handle(&browser).await;
    house.clock.advance(Lifetime::default().idle());
    assert!(list(&house, "ann").await.is_empty());
    let sessions = house.layer().sessions();
    assert!(!sessions.revoke::<Shop>(&"ann".to_owned(), &name.parse().unwrap()).await.unwrap());
    // A shorter lifetime than it began under counts, too.
    let browser = signed_in(&house, "ann").await;
    house.clock.advance(Duration::from_secs(60));
    let minute = Lifetime::new(Duration::from_secs(60), Duration::from_secs(3600)).unwrap();
    assert!(house.layer().lifetime(minute).sessions().list::<Shop>(&"ann".to_owned()).await.unwrap().is_empty());
    assert_eq!(user(&browser).await, r#"Some("ann")"#);
}

async fn a_session_is_ended_by_its_owner_and_its_handle_together(running: Running) {
    let house = running.house();
    let (here, there, bob) = (signed_in(&house, "ann").await, signed_in(&house, "ann").await, signed_in(&house, "bob").await);
    let (of_there, of_bob) = (handle(&there).await, handle(&bob).await);
    assert_eq!(here.post(&format!("/revoke/ann/{of_bob}")).await.text(), "false", "it comes from a form");
    assert_eq!(here.post(&format!("/revoke/nobody/{of_there}")).await.text(), "false");
    assert_eq!(user(&bob).await, r#"Some("bob")"#);
    assert_eq!(user(&there).await, r#"Some("ann")"#);
    let response = here.post(&format!("/revoke/ann/{of_there}")).await;
    assert_eq!((response.text().as_str(), effect(&response)), ("true", Effect::Nothing));
    assert_ended(&there).await;
    assert_eq!(here.post(&format!("/revoke/ann/{of_there}")).await.text(), "false", "once is enough");
    assert_eq!(handles(&house, "ann").await, [handle(&here).await].into());
    // One's own, too, whose cookie goes with the answer.
    let response = here.post(&format!("/revoke/ann/{}", handle(&here).await)).await;
    assert_eq!((response.text().as_str(), effect(&response)), ("true", Effect::Clear));
    assert_eq!(here.get("/").await.text(), NOTHING);
    assert_eq!(user(&bob).await, r#"Some("bob")"#);
}

/// ASVS 5.0, 7.4.2 and 7.4.5; CVE-2023-40273 and others: an account is disabled.
async fn all_sessions_of_an_owner_end_and_nobody_elses(running: Running) {
    let house = running.house();
    let anns = [signed_in(&house, "ann").await, signed_in(&house, "ann").await, signed_in(&house, "ann").await];
    let (bob, nobody) = (signed_in(&house, "bob").await, guest(&house, house.layer()).await);
    assert_eq!(house.layer().sessions().revoke_all::<Shop>(&"ann".to_owned()).await.unwrap(), 3);
    for browser in &anns {
        assert_ended(browser).await;
    }
    assert!(list(&house, "ann").await.is_empty());
    assert_eq!(house.layer().sessions().revoke_all::<Shop>(&"ann".to_owned()).await.unwrap(), 0);
    assert_eq!(user(&bob).await, r#"Some("bob")"#);
    assert_eq!(nobody.get("/").await.text(), r#"None "dark" [1] 0"#);
    // From within one of them.
    let response = bob.post("/revoke/bob").await;
    assert_eq!((response.text().as_str(), effect(&response)), ("1", Effect::Clear));
    assert_eq!(bob.get("/").await.text(), NOTHING);
}

/// ASVS 5.0, 7.4.3: a password was changed.
async fn the_other_sessions_of_an_owner_end_and_this_one_goes_on(running: Running) {
    let house = running.house();
    let (here, there, bob) = (signed_in(&house, "ann").await, signed_in(&house, "ann").await, signed_in(&house, "bob").await);
    let response = here.post("/revoke-others").await;
    assert_eq!((response.text().as_str(), effect(&response)), ("1", Effect::Nothing));
    assert_ended(&there).await;
    assert_eq!((user(&here).await, user(&bob).await), (r#"Some("ann")"#.into(), r#"Some("bob")"#.into()));
    assert_eq!(handles(&house, "ann").await, [handle(&here).await].into());
    assert_eq!(here.post("/revoke-others").await.text(), "0");
    let nobody = guest(&house, house.layer()).await;
    assert_eq!(nobody.post("/revoke-others").await.text(), "0");
    assert_eq!(nobody.get("/").await.text(), r#"None "dark" [1] 0"#, "nobody has no others");
}

/// ASVS 5.0, 7.1.2.
async fn one_sign_in_too_many_ends_the_oldest_session(running: Running) {
    let house = running.house();
    let layer = || house.layer().max_sessions(2);
    let mut anns = Vec::new();
    for _ in 0..2 {
        anns.push(signed_in_under(&house, layer(), "ann").await);
        house.clock.advance(Duration::from_secs(60));
    }
    let bob = signed_in_under(&house, layer(), "bob").await;
    // What counts is who signed in first, not who was seen last.
    anns[0].get("/").await;
    let guest = guest(&house, layer()).await;
    guest.post("/in/ann").await;
    assert_eq!(list(&house, "ann").await.len(), 2);
    assert_ended(&anns[0]).await;
    assert_eq!((user(&anns[1]).await, user(&guest).await), (r#"Some("ann")"#.into(), r#"Some("ann")"#.into()));
    // Whoever has proved it since is younger.
    house.clock.advance(Duration::from_secs(60));
    let newest = signed_in_under(&house, layer(), "ann").await;
    assert_ended(&anns[1]).await;
    assert_eq!(handles(&house, "ann").await, [handle(&guest).await, handle(&newest).await].into());
    assert_eq!(user(&bob).await, r#"Some("bob")"#, "somebody else's do not count");
    // Another token, or another right, is not another session.
    for path in ["/rotate", "/admin", "/x/1"] {
        newest.post(path).await;
        assert_eq!(list(&house, "ann").await.len(), 2, "{path}");
    }
    // A hand-over is a sign-in, too.
    house.clock.advance(Duration::from_secs(60));
    bob.post("/in/ann").await;
    assert_eq!(handles(&house, "ann").await, [handle(&newest).await, handle(&bob).await].into());
}

/// All of them have signed in before the first one looks how many there are.
async fn parallel_sign_ins_leave_as_many_sessions_as_are_allowed(running: Running) {
    let house = running.house();
    for (most, at_once) in [(1, 2), (2, 5)] {
        let name = format!("ann-{most}");
        let gate = barrier(&house, Operation::ByOwner);
        let browsers: Vec<Browser> =
            (0..at_once).map(|_| house.browser_of(routes().layer(house.layer().max_sessions(most)))).collect();
        let requests = browsers.iter().map(|browser| spawn(Method::POST, browser, &format!("/in/{name}"))).collect();
        let responses = together(&house, requests, &gate).await;
        let mut alive = 0;
        for (browser, response) in browsers.iter().zip(&responses) {
            let Effect::Set(token) = effect(response) else { panic!("everybody has signed in: {response:?}") };
            browser.set_cookie(COOKIE, token);
            alive += usize::from(user(browser).await == format!("Some({name:?})"));
        }
        assert_eq!((alive, list(&house, &name).await.len()), (most, most), "of {at_once}");
    }
}

/// Another server over the same records, with a clock that is behind.
fn behind(house: &AnyHouse, by: Duration) -> AnyHouse {
    let now = cloakroom::Clock::now(&house.clock);
    House { store: house.store.clone(), clock: ManualClock::new(now - by) }
}

async fn the_newest_sign_in_stays_whatever_the_clocks_say(running: Running) {
    let house = running.house();
    for by in [2, 3_600] {
        let slow = behind(&house, Duration::from_secs(by));
        let first = signed_in_under(&house, house.layer().max_sessions(1), "ann").await;
        let second = signed_in_under(&slow, slow.layer().max_sessions(1), "ann").await;
        assert_eq!(user(&second).await, r#"Some("ann")"#, "{by} s behind");
        assert_ended(&first).await;
        // And the other way round.
        let third = signed_in_under(&house, house.layer().max_sessions(1), "ann").await;
        assert_eq!(user(&third).await, r#"Some("ann")"#, "{by} s ahead");
        assert_ended(&second).await;
        house.layer().sessions().revoke_all::<Shop>(&"ann".to_owned()).await.unwrap();
    }
}

async fn a_new_proof_is_a_sign_in_whatever_the_clocks_say(running: Running) {
    let house = running.house();
    let slow = behind(&house, Duration::from_secs(60));
    let layer = |house: &AnyHouse| house.layer().max_sessions(2);
    let proven = signed_in_under(&slow, layer(&slow), "ann").await;
    let oldest = signed_in_under(&house, layer(&house), "ann").await;
    assert!(matches!(effect(&proven.post("/again").await), Effect::Set(_)));
    let newest = signed_in_under(&house, layer(&house), "ann").await;
    assert_ended(&oldest).await;
    assert_eq!((user(&proven).await, user(&newest).await), (r#"Some("ann")"#.into(), r#"Some("ann")"#.into()));
}

/// Starts to end a session by its handle, and stops once its header has been read.
async fn ending(house: &AnyHouse, browser: &Browser) -> (Gate, JoinHandle<bool>) {
    let (sessions, name) = (house.layer().sessions(), handle(browser).await.parse::<Handle>().unwrap());
    let gate = Gate::new();
    house.faults().next(Operation::ByOwner, Fault::HoldAfter(gate.clone()));
    let ending = tokio::spawn(async move { sessions.revoke::<Shop>(&"ann".to_owned(), &name).await.unwrap() });
    reached(&gate, 1).await;
    (gate, ending)
}

async fn a_session_of_another_owner_by_then_is_not_ended_by_its_handle(running: Running) {
    let house = running.house();
    for (path, shown) in [("/in/bob", r#"Some("bob") "dark" [] 0"#), ("/out", r#"None "dark" [] 0"#)] {
        let browser = signed_in(&house, "ann").await;
        let (gate, ending) = ending(&house, &browser).await;
        // The theme stays, so the record goes on without an owner too.
        browser.post("/fill").await;
        browser.post(path).await;
        gate.open();
        assert!(!ending.await.unwrap(), "{path}");
        assert_eq!(browser.get("/").await.text(), shown, "{path}");
    }
}

async fn a_session_of_another_owner_by_then_makes_no_room(running: Running) {
    let house = running.house();
    let there = signed_in(&house, "ann").await;
    let here = house.browser_of(routes().layer(house.layer().max_sessions(1)));
    let (passed, gate) = (Gate::new(), Gate::new());
    passed.open();
    // The sign-in looks twice: for its place, and for which session is one too many.
    house.faults().next(Operation::ByOwner, Fault::HoldAfter(passed));
    house.faults().next(Operation::ByOwner, Fault::HoldAfter(gate.clone()));
    let signing_in = spawn(Method::POST, &here, "/in/ann");
    reached(&gate, 1).await;
    there.post("/in/bob").await;
    gate.open();
    let Effect::Set(token) = effect(&signing_in.await.unwrap()) else { panic!("ann has signed in") };
    here.set_cookie(COOKIE, token);
    assert_eq!(user(&here).await, r#"Some("ann")"#);
    assert_eq!(user(&there).await, r#"Some("bob")"#, "it is no session of ann's any more");
}

async fn a_session_that_rotates_beside_its_ending_is_ended(running: Running) {
    let house = running.house();
    for path in ["/admin", "/rotate", "/again", "/x/1"] {
        let browser = signed_in(&house, "ann").await;
        let (gate, ending) = ending(&house, &browser).await;
        browser.post(path).await;
        gate.open();
        assert!(ending.await.unwrap(), "{path}");
        assert_ended(&browser).await;
        assert!(list(&house, "ann").await.is_empty(), "{path}");
    }
}

async fn an_ended_session_takes_no_write_of_a_request_under_way(running: Running) {
    let house = running.house();
    let browser = signed_in(&house, "ann").await;
    let (name, key) = (handle(&browser).await, selector(&browser.cookie(COOKIE).unwrap()));
    let (gate, late) = held(&house, Operation::Commit, Method::POST, &browser, "/x/1").await;
    // Without the delete that tidies up: the session is over as it stands.
    house.faults().next(Operation::Delete, Fault::Unavailable);
    let sessions = house.layer().sessions();
    assert!(sessions.revoke::<Shop>(&"ann".to_owned(), &name.parse().unwrap()).await.unwrap());
    gate.open();
    assert_eq!(late.await.unwrap().status(), StatusCode::CONFLICT);
    assert!(list(&house, "ann").await.is_empty());
    assert_ended(&browser).await;
    house.faults().inner().sweep(house.now().plus(Duration::from_secs(3_600)), 100).await.unwrap();
    assert!(house.record_of(&key).await.is_none(), "a sweep takes it");
}

async fn a_write_of_a_session_that_was_ended_meanwhile_is_gone(running: Running) {
    let house = running.house();
    let (here, there) = (signed_in(&house, "ann").await, signed_in(&house, "ann").await);
    let key = selector(&there.cookie(COOKIE).unwrap());
    let (gate, late) = held(&house, Operation::Commit, Method::POST, &there, "/x/1").await;
    assert_eq!(here.post("/revoke-others").await.text(), "1");
    gate.open();
    let late = late.await.unwrap();
    assert_eq!((late.status(), effect(&late)), (StatusCode::CONFLICT, Effect::Nothing));
    assert!(house.record_of(&key).await.is_none());
    assert_eq!(list(&house, "ann").await.len(), 1);
    assert_ended(&there).await;
}

const EVERY: Duration = Duration::from_secs(15 * 60);
const GRACE: Duration = Duration::from_secs(10);
const MOMENT: Duration = Duration::from_millis(1);

fn renewing(house: &AnyHouse) -> SessionLayer {
    house.layer().renew(EVERY, GRACE)
}

async fn r7_a_write_of_before_a_renewal_lands(running: Running) {
    let house = running.house();
    let browser = signed_in_under(&house, renewing(&house), "ann").await;
    house.clock.advance(EVERY - MOMENT);
    let old = browser.fork();
    let (gate, late) = held(&house, Operation::Commit, Method::POST, &browser, "/x/7").await;
    house.clock.advance(MOMENT);
    let Effect::Set(_) = effect(&browser.get("/").await) else { panic!("a renewal was due") };
    gate.open();
    let late = late.await.unwrap();
    assert_eq!((late.status().as_u16(), effect(&late)), (200, Effect::Nothing), "it sends no token of its own");
    assert_eq!(old.get("/").await.text(), r#"Some("ann") "" [] 7"#, "nobody has presented the new one yet");
    assert_eq!(browser.get("/").await.text(), r#"Some("ann") "" [] 7"#);
    house.clock.advance(GRACE - MOMENT);
    assert_eq!(user(&old).await, r#"Some("ann")"#);
    house.clock.advance(MOMENT);
    assert_eq!(old.get("/").await.text(), NOTHING);
    assert_eq!(house.record(&browser).await.unwrap().header.epoch, 0);
    assert_eq!(list(&house, "ann").await.len(), 1, "one record under one key");
}

async fn r8_of_two_sign_ins_in_one_session_each_ends_up_in_one_of_its_own(running: Running) {
    let house = running.house();
    let browser = guest(&house, house.layer()).await;
    let gate = barrier(&house, Operation::Commit);
    let requests = ["/in/ann", "/in/ann"].map(|uri| spawn(Method::POST, &browser, uri)).into();
    let responses = together(&house, requests, &gate).await;
    let mut shown = BTreeSet::new();
    for response in &responses {
        let Effect::Set(token) = effect(response) else { panic!("signing in never fails on a race: {response:?}") };
        let signed_in = browser.fork();
        signed_in.set_cookie(COOKIE, token);
        shown.insert(signed_in.get("/").await.text());
    }
    let [alone, winner] = [r#"Some("ann") "" [] 0"#, r#"Some("ann") "dark" [1] 0"#].map(str::to_owned);
    assert_eq!(shown, [alone, winner].into(), "one keeps what was there, the other one has its own cells");
    assert_eq!(list(&house, "ann").await.len(), 2);
    assert_eq!(browser.get("/").await.text(), NOTHING, "what both held is dead");
}

async fn r8_of_two_renewals_one_replaces_the_token_and_both_write(running: Running) {
    let house = running.house();
    let browser = signed_in_under(&house, renewing(&house), "ann").await;
    house.clock.advance(EVERY);
    one_of_two_renewals_wins(&house, &browser).await;
}

/// A renewal, and who has received its token; the browser has not.
async fn lost_renewal(house: &AnyHouse, browser: &Browser) -> Browser {
    house.clock.advance(EVERY);
    let received = browser.fork();
    let Effect::Set(_) = effect(&received.get("/").await) else { panic!("a renewal was due") };
    received
}

async fn r8_of_two_renewals_of_a_lost_one_one_replaces_it_and_both_write(running: Running) {
    let house = running.house();
    let browser = signed_in_under(&house, renewing(&house), "ann").await;
    let unseen = lost_renewal(&house, &browser).await;
    use_the_old(&house, &browser).await;
    one_of_two_renewals_wins(&house, &browser).await;
    assert_eq!(unseen.get("/").await.text(), NOTHING);
}

async fn r8_a_renewal_of_a_lost_one_that_is_presented_meanwhile_kills_neither(running: Running) {
    let house = running.house();
    let browser = signed_in_under(&house, renewing(&house), "ann").await;
    let late = lost_renewal(&house, &browser).await;
    use_the_old(&house, &browser).await;
    let (gate, slow) = held(&house, Operation::Commit, Method::GET, &browser, "/").await;
    late.post("/x/7").await;
    gate.open();
    let Effect::Set(token) = effect(&slow.await.unwrap()) else { panic!("nobody has renewed the one that was presented") };
    browser.set_cookie(COOKIE, token);
    assert_eq!(late.get("/").await.text(), r#"Some("ann") "" [] 7"#);
    assert_eq!(browser.get("/").await.text(), r#"Some("ann") "" [] 7"#);
}

/// Uses a session with the old token for as long as one that has received the new one could stay away.
async fn use_the_old(house: &AnyHouse, browser: &Browser) {
    let half = Lifetime::default().idle() / 2;
    house.clock.advance(half);
    assert_eq!(effect(&browser.get("/").await), Effect::Nothing);
    house.clock.advance(half);
}

async fn one_of_two_renewals_wins(house: &AnyHouse, browser: &Browser) {
    let gate = barrier(house, Operation::Commit);
    let requests = ["/x/7", "/fill"].map(|uri| spawn(Method::POST, browser, uri)).into();
    let responses = together(house, requests, &gate).await;
    assert!(responses.iter().all(|response| response.status() == 200));
    let tokens: Vec<String> = responses
        .iter()
        .filter_map(|response| match effect(response) {
            Effect::Set(token) => Some(token),
            Effect::Nothing => None,
            Effect::Clear => panic!("nothing is dead"),
        })
        .collect();
    assert_eq!(tokens.len(), 1, "the other one's renewal is nothing");
    assert_eq!(user(browser).await, r#"Some("ann")"#, "the old token waits for the new one");
    browser.set_cookie(COOKIE, tokens[0].clone());
    assert_eq!(browser.get("/").await.text(), r#"Some("ann") "dark" [1] 7"#);
}

async fn r8_a_renewal_after_a_new_privilege_is_gone(running: Running) {
    let house = running.house();
    for (method, uri, status) in [(Method::GET, "/", 200), (Method::POST, "/x/7", 409)] {
        let browser = signed_in_under(&house, renewing(&house), "ann").await;
        house.clock.advance(EVERY);
        let (gate, late) = held(&house, Operation::Commit, method, &browser, uri).await;
        let Effect::Set(_) = effect(&browser.post("/admin").await) else { panic!("a new privilege is a new token") };
        gate.open();
        let late = late.await.unwrap();
        assert_eq!((late.status().as_u16(), effect(&late)), (status, Effect::Nothing), "{uri}");
        assert_eq!(browser.get("/").await.text(), r#"Some("ann") "" [] 0"#);
    }
}

async fn r8_a_new_privilege_after_a_renewal_kills_both_tokens(running: Running) {
    let house = running.house();
    let browser = signed_in_under(&house, renewing(&house), "ann").await;
    house.clock.advance(EVERY - MOMENT);
    let old = browser.fork();
    let (gate, privileged) = held(&house, Operation::Commit, Method::POST, &browser, "/admin").await;
    house.clock.advance(MOMENT);
    let Effect::Set(_) = effect(&browser.get("/").await) else { panic!("a renewal was due") };
    gate.open();
    let Effect::Set(token) = effect(&privileged.await.unwrap()) else { panic!("the epoch is the same, so it wins") };
    for dead in [&old, &browser] {
        assert_eq!(dead.get("/").await.text(), NOTHING);
    }
    browser.set_cookie(COOKIE, token);
    assert_eq!(user(&browser).await, r#"Some("ann")"#);
}

async fn r9_three_concurrent_sign_ins_are_three_listed_sessions(running: Running) {
    let house = running.house();
    let browsers = [house.browser(routes()), house.browser(routes()), guest(&house, house.layer()).await];
    let gate = barrier(&house, Operation::Create);
    house.faults().always(Operation::Commit, Fault::HoldBefore(gate.clone()));
    let requests = browsers.iter().map(|browser| spawn(Method::POST, browser, "/in/ann")).collect();
    let responses = together(&house, requests, &gate).await;
    for (browser, response) in browsers.iter().zip(&responses) {
        let Effect::Set(token) = effect(response) else { panic!("{response:?}") };
        browser.set_cookie(COOKIE, token);
        assert_eq!(user(browser).await, r#"Some("ann")"#);
    }
    assert_eq!(list(&house, "ann").await.len(), 3);
    let [one, two, three] = browsers;
    assert_eq!(three.post("/revoke-others").await.text(), "2");
    assert_eq!(list(&house, "ann").await.len(), 1);
    assert_eq!(user(&three).await, r#"Some("ann")"#);
    assert_ended(&one).await;
    assert_ended(&two).await;
}

async fn r11_a_renewal_paused_across_a_revoke_revives_nothing(running: Running) {
    let house = running.house();
    let browser = signed_in_under(&house, renewing(&house), "ann").await;
    let key = selector(&browser.cookie(COOKIE).unwrap());
    house.clock.advance(EVERY);
    let (gate, slow) = held(&house, Operation::Commit, Method::GET, &browser, "/").await;
    assert_eq!(house.layer().sessions().revoke_all::<Shop>(&"ann".to_owned()).await.unwrap(), 1);
    gate.open();
    let slow = slow.await.unwrap();
    assert_eq!((slow.status().as_u16(), effect(&slow)), (200, Effect::Nothing), "no token of a session that is dead");
    assert!(house.record_of(&key).await.is_none());
    assert!(list(&house, "ann").await.is_empty());
    assert_ended(&browser).await;
}

/// better-auth#11073. Rounds of what nobody can script, since it happens inside of the store.
async fn r12_a_sign_in_that_races_a_revoke_is_listed_if_it_is_alive(running: Running) {
    let house = running.house();
    let rounds = if running.engine == Engine::Memory { 200 } else { 40 };
    let (mut alive, mut dead) = (0, 0);
    for round in 0..rounds {
        let name = format!("ann-{round}");
        // Two that begin, one that goes on, and one that was there before.
        let before = signed_in(&house, &name).await;
        let browsers = [house.browser(routes()), house.browser(routes()), guest(&house, house.layer()).await];
        let mut tasks = JoinSet::new();
        for (at, browser) in browsers.iter().enumerate() {
            let (browser, uri) = (browser.fork(), format!("/in/{name}"));
            tasks.spawn(async move { Some((at, browser.post(&uri).await)) });
        }
        let (sessions, owner) = (house.layer().sessions(), name.clone());
        tasks.spawn(async move {
            sessions.revoke_all::<Shop>(&owner).await.unwrap();
            None
        });
        for (at, response) in tasks.join_all().await.into_iter().flatten() {
            let Effect::Set(token) = effect(&response) else { panic!("{response:?}") };
            browsers[at].set_cookie(COOKIE, token);
        }
        let listed: BTreeSet<String> = handles(&house, &name).await;
        assert_ended(&before).await;
        for browser in &browsers {
            let of_it = selector(&browser.cookie(COOKIE).unwrap()).handle().to_string();
            let is_alive = user(browser).await == format!("Some({name:?})");
            assert_eq!(is_alive, listed.contains(&of_it), "round {round}: alive and unlisted, or listed and dead");
            if is_alive { alive += 1 } else { dead += 1 }
        }
        // Whoever is left can be ended.
        assert_eq!(house.layer().sessions().revoke_all::<Shop>(&name).await.unwrap(), listed.len() as u64);
        assert!(list(&house, &name).await.is_empty());
    }
    println!("r12: {alive} alive, {dead} dead");
}

async fn r12_a_sign_in_committed_before_the_revoke_is_dead_and_its_late_write_gone(running: Running) {
    let house = running.house();
    // The sign-in is committed, its answer not yet out.
    let (browser, gate) = (guest(&house, house.layer()).await, Gate::new());
    house.faults().next(Operation::Commit, Fault::HoldAfter(gate.clone()));
    let early = spawn(Method::POST, &browser, "/in/ann");
    reached(&gate, 1).await;
    assert_eq!(house.layer().sessions().revoke_all::<Shop>(&"ann".to_owned()).await.unwrap(), 1);
    gate.open();
    let Effect::Set(token) = effect(&early.await.unwrap()) else { panic!("the store had accepted it when it answered") };
    browser.set_cookie(COOKIE, token);
    assert_ended(&browser).await;
    // Committed after it, it is alive and listed.
    let browser = guest(&house, house.layer()).await;
    let (gate, late) = held(&house, Operation::Commit, Method::POST, &browser, "/in/ann").await;
    assert_eq!(house.layer().sessions().revoke_all::<Shop>(&"ann".to_owned()).await.unwrap(), 0);
    gate.open();
    let Effect::Set(token) = effect(&late.await.unwrap()) else { panic!("it is signed in") };
    browser.set_cookie(COOKIE, token);
    assert_eq!(user(&browser).await, r#"Some("ann")"#);
    assert_eq!(handles(&house, "ann").await, [handle(&browser).await].into());
}

/// It is wiped by the store, which knows what is there, and not by the request, which knows what was.
async fn a_sign_out_takes_along_what_another_request_stored_meanwhile(running: Running) {
    let house = running.house();
    for (uri, shown) in [("/out", r#"None "dark" [] 0"#), ("/in/bob", r#"Some("bob") "dark" [] 0"#)] {
        let browser = signed_in(&house, "ann").await;
        browser.post("/fill").await;
        let (gate, out) = held(&house, Operation::Commit, Method::POST, &browser, uri).await;
        assert_eq!(browser.post("/x/7").await.status(), 200, "a cell that was not there when the other one looked");
        gate.open();
        let Effect::Set(token) = effect(&out.await.unwrap()) else { panic!("{uri}: something is kept") };
        browser.set_cookie(COOKIE, token);
        assert_eq!(browser.get("/").await.text(), shown);
        house.layer().sessions().revoke_all::<Shop>(&"bob".to_owned()).await.unwrap();
    }
}

async fn a_change_of_owner_merges_and_rotates_once(running: Running) {
    let house = running.house();
    // What was added to a visitor's counter is theirs when they sign in, and not the next one's.
    for (before, views) in [(None, "16"), (Some("/in/bob"), "1")] {
        let browser = guest(&house, house.layer()).await;
        browser.post("/views/10").await;
        if let Some(uri) = before {
            browser.post(uri).await;
        }
        let epoch = house.record(&browser).await.unwrap().header.epoch;
        let (gate, sign_in) = held(&house, Operation::Commit, Method::POST, &browser, "/in/ann/views/1").await;
        assert_eq!(browser.post("/views/5").await.status(), 200);
        gate.open();
        let Effect::Set(token) = effect(&sign_in.await.unwrap()) else { panic!("they are signed in") };
        browser.set_cookie(COOKIE, token);
        assert_eq!((user(&browser).await, browser.get("/views").await.text()), (r#"Some("ann")"#.into(), views.into()));
        assert_eq!(house.record(&browser).await.unwrap().header.epoch, epoch + 1);
    }
}

async fn a_sign_in_whose_session_is_gone_begins_one_of_its_own(running: Running) {
    let house = running.house();
    // R13: it expires between load and commit.
    let (browser, gate) = (guest(&house, house.layer()).await, Gate::new());
    house.faults().next(Operation::Load, Fault::HoldAfter(gate.clone()));
    let late = spawn(Method::POST, &browser, "/in/carol");
    reached(&gate, 1).await;
    house.clock.advance(Lifetime::default().absolute());
    gate.open();
    let Effect::Set(token) = effect(&late.await.unwrap()) else { panic!("signing in never fails on a race") };
    browser.set_cookie(COOKIE, token);
    assert_eq!(browser.get("/").await.text(), r#"Some("carol") "" [] 0"#);
    for meanwhile in ["/end", "/rotate", "/in/bob"] {
        let browser = guest(&house, house.layer()).await;
        let key = selector(&browser.cookie(COOKIE).unwrap());
        let (gate, late) = held(&house, Operation::Commit, Method::POST, &browser, "/in/ann").await;
        browser.post(meanwhile).await;
        let there = house.record_of(&key).await;
        gate.open();
        let late = late.await.unwrap();
        let Effect::Set(token) = effect(&late) else { panic!("{meanwhile}: signing in never fails on a race: {late:?}") };
        assert_eq!(late.status(), 200);
        assert_ne!(selector(&token), key, "a session of its own");
        let signed_in = browser.fork();
        signed_in.set_cookie(COOKIE, token);
        assert_eq!(signed_in.get("/").await.text(), r#"Some("ann") "" [] 0"#, "{meanwhile}: with its own cells");
        assert_eq!(handles(&house, "ann").await, [handle(&signed_in).await].into());
        let after = house.record_of(&key).await;
        assert_eq!(after.map(|it| (it.cells, it.header.epoch)), there.map(|it| (it.cells, it.header.epoch)), "{meanwhile}");
        house.layer().sessions().revoke_all::<Shop>(&"ann".to_owned()).await.unwrap();
    }
    // Who takes over somebody's session takes nothing of it along either.
    let browser = signed_in(&house, "bob").await;
    browser.post("/fill").await;
    let (gate, late) = held(&house, Operation::Commit, Method::POST, &browser, "/in/ann").await;
    house.layer().sessions().revoke_all::<Shop>(&"bob".to_owned()).await.unwrap();
    gate.open();
    let Effect::Set(token) = effect(&late.await.unwrap()) else { panic!("signing in never fails on a race") };
    browser.set_cookie(COOKIE, token);
    assert_eq!(browser.get("/").await.text(), r#"Some("ann") "" [] 0"#);
}

/// A client whose new token was lost (F3, F4), at once and much later; and one whose session expired.
async fn a_sign_in_with_a_token_of_before_begins_a_session_of_its_own(running: Running) {
    let house = running.house();
    for wait in [Duration::ZERO, Duration::from_secs(3600), Lifetime::default().idle()] {
        let browser = guest(&house, house.layer()).await;
        let old = browser.fork();
        browser.post("/rotate").await;
        house.clock.advance(wait);
        let response = old.post("/in/ann").await;
        let Effect::Set(token) = effect(&response) else { panic!("after {wait:?}: {response:?}") };
        assert_ne!(selector(&token), selector(&browser.cookie(COOKIE).unwrap()), "an id is never used again");
        assert_eq!(old.get("/").await.text(), r#"Some("ann") "" [] 0"#);
        assert_eq!(list(&house, "ann").await.len(), 1);
        old.post("/end").await;
    }
}
