//! Requests that meet: nothing lost, nothing resurrected, on every server-side store over its real engine.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use axum::{
    Router,
    extract::Path,
    routing::{get, post},
};
use cloakroom::{
    SessionData, SessionError, TypedSession,
    store::{SessionStore, SqliteStore},
    testing::{Fault, Gate, Operation, TestResponse},
};
use cloakroom_tests::{
    engines::Running,
    events::Events,
    on_engines,
    shop::{Browser, Dice, House},
    site::{COOKIE, Effect, effect, selector},
};
use http::StatusCode;
use std::{
    collections::BTreeSet,
    io::Read,
    process::{Command, Stdio},
    time::Duration,
};
use tokio::task::{JoinHandle, JoinSet};

// Requests that are truly parallel. Databases are files and servers, as in a deployment.
on_engines! {
    [in_memory: Memory, on_sqlite: Sqlite, on_redis: Redis, on_a_redis_cluster: RedisCluster, on_postgres: Postgres, on_mysql: MySql]
    {
        sixteen_requests_that_each_change_another_field_all_survive
        sixteen_increments_add_up_exactly
        sixty_four_writers_of_one_session_all_count
        r1_two_writers_of_different_fields_both_land
        r2_two_increments_count_once_each_also_when_an_answer_is_lost
        r3_the_later_of_two_writers_wins_whole_and_a_strict_field_has_one_winner
        r4_a_slow_writer_does_not_bring_a_destroyed_session_back
        r5_a_slow_reader_does_not_bring_a_destroyed_session_back
        r6_a_slow_reader_changes_nothing_a_writer_wrote
        r7_a_write_of_the_old_epoch_is_gone
        r8_of_two_rotations_exactly_one_wins
        r11_a_touch_paused_across_a_revoke_revives_nothing
        r13_a_session_that_expires_between_load_and_commit_is_gone
        r14_a_removal_survives_a_union
        r16_the_head_waits_for_the_store_and_a_failure_hands_out_no_cookie
        r17_a_reset_field_does_not_undo_what_another_request_stored
        parallel_first_requests_are_sessions_of_their_own
        parallel_destroys_all_succeed
    }
}

#[derive(SessionData)]
struct Shop {
    #[session(merge = "add")]
    views: u64,
    x: u32,
    y: u32,
    #[session(merge = "strict")]
    only: u32,
    #[session(merge = "union")]
    tags: BTreeSet<String>,
    text: String,
}

#[derive(SessionData)]
struct Sixteen {
    f0: u64,
    f1: u64,
    f2: u64,
    f3: u64,
    f4: u64,
    f5: u64,
    f6: u64,
    f7: u64,
    f8: u64,
    f9: u64,
    f10: u64,
    f11: u64,
    f12: u64,
    f13: u64,
    f14: u64,
    f15: u64,
}

impl SixteenFields {
    fn all(&mut self) -> [&mut cloakroom::Field<u64>; 16] {
        [
            &mut self.f0,
            &mut self.f1,
            &mut self.f2,
            &mut self.f3,
            &mut self.f4,
            &mut self.f5,
            &mut self.f6,
            &mut self.f7,
            &mut self.f8,
            &mut self.f9,
            &mut self.f10,
            &mut self.f11,
            &mut self.f12,
            &mut self.f13,
            &mut self.f14,
            &mut self.f15,
        ]
    }
}

fn routes() -> Router {
    Router::new()
        .route(
            "/begin",
            post(|mut s: TypedSession<Shop>| async move {
                *s.views = 10;
                s.tags.insert("x".into());
            }),
        )
        .route(
            "/",
            get(|s: TypedSession<Shop>| async move {
                format!("{} {} {} {} {:?} {}", s.views, s.x, s.y, s.only, s.tags, s.text)
            }),
        )
        .route("/views/{by}", post(|Path(by): Path<u64>, mut s: TypedSession<Shop>| async move { *s.views += by }))
        .route("/x/{to}", post(|Path(to): Path<u32>, mut s: TypedSession<Shop>| async move { *s.x = to }))
        .route("/y/{to}", post(|Path(to): Path<u32>, mut s: TypedSession<Shop>| async move { *s.y = to }))
        .route(
            "/only/{to}",
            post(|Path(to): Path<u32>, mut s: TypedSession<Shop>| async move {
                *s.only = to;
                *s.x = to;
            }),
        )
        .route("/text/{to}", post(|Path(to): Path<String>, mut s: TypedSession<Shop>| async move { *s.text = to }))
        .route("/plus/{tag}", post(|Path(tag): Path<String>, mut s: TypedSession<Shop>| async move { s.tags.extend([tag]) }))
        .route("/minus/{tag}", post(|Path(tag): Path<String>, mut s: TypedSession<Shop>| async move { s.tags.retain(|kept| *kept != tag) }))
        .route("/out", post(|mut s: TypedSession<Shop>| async move { s.destroy() }))
        .route(
            "/rotate/{to}",
            post(|Path(to): Path<u32>, mut s: TypedSession<Shop>| async move {
                *s.y = to;
                s.rotate();
            }),
        )
        .route(
            "/save/{to}",
            post(|Path(to): Path<u32>, mut s: TypedSession<Shop>| async move {
                *s.x = to;
                match s.save().await {
                    Ok(()) => "saved".to_owned(),
                    Err(error @ SessionError::Gone) => format!("{:?}", error),
                    Err(error) => panic!("{error}"),
                }
            }),
        )
        .route(
            "/field/{at}",
            post(|Path(at): Path<usize>, mut s: TypedSession<Sixteen>| async move { **s.all()[at] = at as u64 + 1 }),
        )
        .route(
            "/fields",
            get(|mut s: TypedSession<Sixteen>| async move { format!("{:?}", s.all().map(|field| **field)) }),
        )
}

async fn begun<S: SessionStore + Clone>(house: &House<S>) -> Browser {
    let browser = house.browser(routes());
    assert_eq!(browser.post("/begin").await.status(), 200);
    house.log();
    browser
}

fn spawn(browser: &Browser, uri: &str) -> JoinHandle<TestResponse> {
    // A fork, so that what a late response does to the cookie is seen there and nowhere else.
    let (browser, uri) = (browser.fork(), uri.to_owned());
    tokio::spawn(async move { browser.post(&uri).await })
}

/// Starts a request that stops in front of its commit.
async fn at_its_commit<S: SessionStore + Clone>(
    house: &House<S>,
    browser: &Browser,
    uri: &str,
) -> (Gate, JoinHandle<TestResponse>) {
    let gate = Gate::new();
    house.faults().next(Operation::Commit, Fault::HoldBefore(gate.clone()));
    let request = spawn(browser, uri);
    gate.reached().await;
    (gate, request)
}

/// Opens a gate once so many requests stand before it.
async fn opens_for(requests: usize, gate: &Gate) {
    let all = tokio::time::timeout(Duration::from_secs(60), gate.reached_by(requests)).await;
    all.unwrap_or_else(|_| panic!("fewer than {requests} requests came to their commit"));
    gate.open();
}

async fn all_at_once(browser: &Browser, uris: impl Iterator<Item = String>) -> Vec<TestResponse> {
    let mut requests = JoinSet::new();
    for uri in uris {
        let browser = browser.fork();
        requests.spawn(async move { browser.post(&uri).await });
    }
    requests.join_all().await
}

async fn sixteen_requests_that_each_change_another_field_all_survive(running: Running) {
    let house = running.house();
    let browser = begun(&house).await;
    // A barrier after the loads: every request has loaded revision 1 before the first one commits.
    let gate = Gate::new();
    house.faults().always(Operation::Commit, Fault::HoldBefore(gate.clone()));
    let opener = opens_for(16, &gate);
    let (responses, ()) = tokio::join!(all_at_once(&browser, (0..16).map(|at| format!("/field/{at}"))), opener);
    assert!(responses.iter().all(|response| response.status() == 200 && effect(response) == Effect::Nothing));
    assert_eq!(browser.get("/fields").await.text(), "[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]");
    assert_eq!(house.record(&browser).await.unwrap().header.revision, 17);
    assert_eq!(house.store.count(Operation::Commit), 16, "different fields never conflict");
}

async fn sixteen_increments_add_up_exactly(running: Running) {
    let house = running.house();
    let browser = begun(&house).await;
    let gate = Gate::new();
    house.faults().always(Operation::Commit, Fault::HoldBefore(gate.clone()));
    let opener = opens_for(16, &gate);
    let (responses, ()) = tokio::join!(all_at_once(&browser, (1..=16).map(|by| format!("/views/{by}"))), opener);
    assert!(responses.iter().all(|response| response.status() == 200));
    assert_eq!(browser.get("/").await.text(), r#"146 0 0 0 {"x"} "#);
    assert_eq!(house.record(&browser).await.unwrap().header.revision, 17);
}

async fn sixty_four_writers_of_one_session_all_count(running: Running) {
    let house = running.house();
    let browser = begun(&house).await;
    let uris = (0..64).map(|at| if at % 4 == 0 { format!("/plus/t{at}") } else { "/views/1".to_owned() });
    let responses = all_at_once(&browser, uris).await;
    for response in &responses {
        assert_eq!(response.status(), 200, "{}", response.text());
        assert_eq!(effect(response), Effect::Nothing);
    }
    let seen = browser.get("/").await.text();
    assert!(seen.starts_with("58 "), "10 and 48 increments: {seen}");
    assert_eq!(seen.matches(r#""t"#).count(), 16, "{seen}");
    assert_eq!(house.record(&browser).await.unwrap().header.revision, 65);
}

async fn r1_two_writers_of_different_fields_both_land(running: Running) {
    let house = running.house();
    for (slow, fast) in [("/x/1", "/y/2"), ("/y/2", "/x/1")] {
        let browser = begun(&house).await;
        let before = house.record(&browser).await.unwrap().header.revision;
        let (gate, a) = at_its_commit(&house, &browser, slow).await;
        assert_eq!(effect(&spawn(&browser, fast).await.unwrap()), Effect::Nothing);
        gate.open();
        let a = a.await.unwrap();
        assert_eq!((a.status().as_u16(), effect(&a)), (200, Effect::Nothing));
        assert_eq!(browser.get("/").await.text(), r#"10 1 2 0 {"x"} "#);
        assert_eq!(house.record(&browser).await.unwrap().header.revision, before + 2);
        let commits: Vec<String> = house.log().into_iter().filter(|line| line.starts_with("commit")).collect();
        assert_eq!(commits.len(), 2, "{commits:?}");
        assert!(commits.iter().all(|line| line.contains("puts [shop/x] ") || line.contains("puts [shop/y] ")), "{commits:?}");
        browser.clear_cookies();
    }
}

async fn r2_two_increments_count_once_each_also_when_an_answer_is_lost(running: Running) {
    let house = running.house();
    let browser = begun(&house).await;
    let (gate, a) = at_its_commit(&house, &browser, "/views/1").await;
    assert_eq!(spawn(&browser, "/views/5").await.unwrap().status(), 200);
    gate.open();
    assert_eq!(a.await.unwrap().status(), 200);
    assert!(browser.get("/").await.text().starts_with("16 "));
    for (fault, expected) in [(Fault::UnknownApplied, "16 "), (Fault::UnknownNotApplied, "15 ")] {
        let browser = begun(&house).await;
        house.faults().next(Operation::Commit, fault);
        assert_eq!(browser.post("/views/1").await.status(), 503, "the error is reported");
        assert_eq!(browser.post("/views/5").await.status(), 200);
        assert!(browser.get("/").await.text().starts_with(expected), "never counted twice");
    }
}

async fn r3_the_later_of_two_writers_wins_whole_and_a_strict_field_has_one_winner(running: Running) {
    let house = running.house();
    let browser = begun(&house).await;
    let (gate, later) = at_its_commit(&house, &browser, "/text/the-later-and-longer-of-both-texts").await;
    assert_eq!(spawn(&browser, "/text/earlier").await.unwrap().status(), 200);
    gate.open();
    assert_eq!(later.await.unwrap().status(), 200);
    assert!(browser.get("/").await.text().ends_with(" the-later-and-longer-of-both-texts"));
    let record = house.record(&browser).await.unwrap();
    assert_eq!((record.header.revision, record.cells.stamp("shop/text")), (3, 3));

    let (gate, loser) = at_its_commit(&house, &browser, "/only/8").await;
    assert_eq!(spawn(&browser, "/only/7").await.unwrap().status(), 200);
    gate.open();
    let loser = loser.await.unwrap();
    assert_eq!((loser.status(), effect(&loser)), (StatusCode::CONFLICT, Effect::Nothing));
    assert!(browser.get("/").await.text().starts_with("10 7 0 7 "), "none of the loser's other fields are applied");
}

async fn r4_a_slow_writer_does_not_bring_a_destroyed_session_back(running: Running) {
    let house = running.house();
    let browser = begun(&house).await;
    let old = browser.fork();
    let key = selector(&old.cookie(COOKIE).unwrap());
    let (gate, slow) = at_its_commit(&house, &browser, "/x/1").await;
    let (save_gate, slow_save) = at_its_commit(&house, &browser, "/save/1").await;
    let out = browser.post("/out").await;
    assert_eq!((out.status().as_u16(), effect(&out)), (200, Effect::Clear));
    for attribute in ["Path=/", "Secure", "HttpOnly", "SameSite=Lax"] {
        assert!(out.set_cookies()[0].contains(attribute));
    }
    gate.open();
    save_gate.open();
    let slow = slow.await.unwrap();
    assert_eq!((slow.status(), effect(&slow)), (StatusCode::CONFLICT, Effect::Nothing));
    let saved = slow_save.await.unwrap();
    assert_eq!((saved.text().as_str(), effect(&saved)), ("Gone", Effect::Nothing));
    assert!(house.record_of(&key).await.is_none());
    let later = old.get("/").await;
    assert_eq!((later.status().as_u16(), effect(&later)), (200, Effect::Clear));
    assert_eq!(later.text(), "0 0 0 0 {} ");
}

async fn r5_a_slow_reader_does_not_bring_a_destroyed_session_back(running: Running) {
    let house = running.house();
    let browser = begun(&house).await;
    let key = selector(&browser.cookie(COOKIE).unwrap());
    // Late enough that the reader would move the idle deadline.
    house.clock.advance(cloakroom::Lifetime::default().idle() / 2);
    let gate = Gate::new();
    house.faults().next(Operation::Load, Fault::HoldAfter(gate.clone()));
    let reader = browser.fork();
    let slow = tokio::spawn(async move { reader.get("/").await });
    gate.reached().await;
    browser.post("/out").await;
    gate.open();
    let slow = slow.await.unwrap();
    assert_eq!((slow.status().as_u16(), slow.text().as_str()), (200, r#"10 0 0 0 {"x"} "#));
    assert_eq!(effect(&slow), Effect::Nothing);
    assert!(house.record_of(&key).await.is_none());
}

async fn r6_a_slow_reader_changes_nothing_a_writer_wrote(running: Running) {
    let house = running.house();
    let browser = begun(&house).await;
    house.clock.advance(cloakroom::Lifetime::default().idle() / 2);
    let gate = Gate::new();
    house.faults().next(Operation::Load, Fault::HoldAfter(gate.clone()));
    let reader = browser.fork();
    let slow = tokio::spawn(async move { reader.get("/").await });
    gate.reached().await;
    house.clock.advance(Duration::from_secs(60));
    browser.post("/x/7").await;
    let written = house.record(&browser).await.unwrap();
    gate.open();
    assert_eq!(slow.await.unwrap().text(), r#"10 0 0 0 {"x"} "#);
    let after = house.record(&browser).await.unwrap();
    assert_eq!(after.cells, written.cells);
    assert_eq!(after.header.revision, 2);
    assert!(after.header.idle_until >= written.header.idle_until, "the later of both deadlines stands");
}

async fn r7_a_write_of_the_old_epoch_is_gone(running: Running) {
    let house = running.house();
    let browser = begun(&house).await;
    let old = browser.fork();
    let (gate, late) = at_its_commit(&house, &browser, "/x/1").await;
    let rotated = browser.post("/rotate/5").await;
    assert!(matches!(effect(&rotated), Effect::Set(_)));
    gate.open();
    let late = late.await.unwrap();
    assert_eq!((late.status(), effect(&late)), (StatusCode::CONFLICT, Effect::Nothing));
    assert_eq!(browser.get("/").await.text(), r#"10 0 5 0 {"x"} "#, "nothing of the late write is stored");
    let stale = old.get("/").await;
    assert_eq!((stale.text().as_str(), effect(&stale)), ("0 0 0 0 {} ", Effect::Nothing));
}

async fn r8_of_two_rotations_exactly_one_wins(running: Running) {
    let house = running.house();
    let browser = begun(&house).await;
    let gate = Gate::new();
    house.faults().always(Operation::Commit, Fault::HoldBefore(gate.clone()));
    let opener = opens_for(2, &gate);
    let (a, b, ()) = tokio::join!(spawn(&browser, "/rotate/1"), spawn(&browser, "/rotate/2"), opener);
    let (a, b) = (a.unwrap(), b.unwrap());
    let (winner, loser, value) = if a.status() == 200 { (a, b, 1) } else { (b, a, 2) };
    let Effect::Set(token) = effect(&winner) else { panic!("the winner gets a token") };
    assert_eq!((loser.status(), effect(&loser)), (StatusCode::CONFLICT, Effect::Nothing), "it does not claim success");
    browser.set_cookie(COOKIE, token);
    assert_eq!(browser.get("/").await.text(), format!(r#"10 0 {value} 0 {{"x"}} "#));
    assert_eq!(house.record(&browser).await.unwrap().header.epoch, 1);
}

async fn r11_a_touch_paused_across_a_revoke_revives_nothing(running: Running) {
    let house = running.house();
    let browser = begun(&house).await;
    let key = selector(&browser.cookie(COOKIE).unwrap());
    house.clock.advance(cloakroom::Lifetime::default().idle() / 2);
    let gate = Gate::new();
    let touches_at_commit = house.store.idle_touch() == cloakroom::store::IdleTouch::AtCommit;
    let (operation, fault) = if touches_at_commit {
        (Operation::Commit, Fault::HoldBefore(gate.clone()))
    } else {
        (Operation::Load, Fault::HoldBefore(gate.clone()))
    };
    house.faults().next(operation, fault);
    let reader = browser.fork();
    let slow = tokio::spawn(async move { reader.get("/").await });
    gate.reached().await;
    house.faults().inner().delete(&key).await.unwrap();
    gate.open();
    let slow = slow.await.unwrap();
    assert_eq!(slow.status(), 200);
    assert!(house.record_of(&key).await.is_none());
    assert_eq!(effect(&browser.get("/").await), Effect::Clear, "refused on the next load");
}

async fn r13_a_session_that_expires_between_load_and_commit_is_gone(running: Running) {
    let house = running.house();
    let browser = begun(&house).await;
    let key = selector(&browser.cookie(COOKIE).unwrap());
    let gate = Gate::new();
    house.faults().next(Operation::Load, Fault::HoldAfter(gate.clone()));
    let late = spawn(&browser, "/x/1");
    gate.reached().await;
    // The request has asked the clock for its load before; it asks again for its commit.
    house.clock.advance(cloakroom::Lifetime::default().absolute());
    gate.open();
    let late = late.await.unwrap();
    assert_ne!(late.status(), 500);
    if let Some(record) = house.record_of(&key).await {
        assert_eq!(record.header.revision, 1, "nothing was written");
        assert!(!record.header.is_open(house.now()));
    }
    assert_eq!((late.status(), effect(&late)), (StatusCode::CONFLICT, Effect::Nothing));
    let next = browser.get("/").await;
    assert_eq!((next.text().as_str(), effect(&next)), ("0 0 0 0 {} ", Effect::Clear));
}

async fn r14_a_removal_survives_a_union(running: Running) {
    let house = running.house();
    for (slow, fast) in [("/minus/x", "/plus/y"), ("/plus/y", "/minus/x")] {
        let browser = begun(&house).await;
        let (gate, a) = at_its_commit(&house, &browser, slow).await;
        assert_eq!(spawn(&browser, fast).await.unwrap().status(), 200);
        gate.open();
        assert_eq!(a.await.unwrap().status(), 200);
        assert_eq!(browser.get("/").await.text(), r#"10 0 0 0 {"y"} "#, "{slow} after {fast}");
    }
}

async fn r16_the_head_waits_for_the_store_and_a_failure_hands_out_no_cookie(running: Running) {
    let house = running.house();
    let browser = begun(&house).await;
    let (gate, mut waiting) = at_its_commit(&house, &browser, "/x/1").await;
    let early = tokio::time::timeout(Duration::from_millis(100), &mut waiting).await;
    assert!(early.is_err(), "answered before the store was: {early:?}");
    gate.open();
    assert_eq!(waiting.await.unwrap().status(), 200);
    assert!(browser.get("/").await.text().starts_with("10 1 "), "who follows a redirect at once sees the data");
    let newcomer = house.browser(routes());
    for fault in [Fault::Unavailable, Fault::UnknownNotApplied, Fault::UnknownApplied] {
        let browser = begun(&house).await;
        house.faults().next(Operation::Create, fault.clone());
        house.faults().next(Operation::Commit, fault);
        let response = newcomer.post("/x/1").await;
        assert_eq!((response.status().as_u16(), effect(&response)), (503, Effect::Nothing));
        let response = browser.post("/rotate/1").await;
        assert_eq!((response.status().as_u16(), effect(&response)), (503, Effect::Nothing));
    }
}

async fn r17_a_reset_field_does_not_undo_what_another_request_stored(running: Running) {
    let house = running.house();
    let browser = begun(&house).await;
    let gate = Gate::new();
    house.faults().next(Operation::Load, Fault::HoldAfter(gate.clone()));
    // It loads x = 0 and sets x = 0: no change, so the 7 of the other stays.
    let slow = spawn(&browser, "/x/0");
    gate.reached().await;
    assert_eq!(spawn(&browser, "/x/7").await.unwrap().status(), 200);
    gate.open();
    assert_eq!(slow.await.unwrap().status(), 200);
    assert!(browser.get("/").await.text().starts_with("10 7 "));
}

async fn parallel_first_requests_are_sessions_of_their_own(running: Running) {
    let house = running.house();
    let newcomer = house.browser(routes());
    let responses = all_at_once(&newcomer, (1..=8).map(|at| format!("/x/{at}"))).await;
    let tokens: BTreeSet<String> = responses
        .iter()
        .map(|response| match effect(response) {
            Effect::Set(token) => token,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(tokens.len(), 8);
}

async fn parallel_destroys_all_succeed(running: Running) {
    let house = running.house();
    let browser = begun(&house).await;
    let responses = all_at_once(&browser, (0..8).map(|_| "/out".to_owned())).await;
    assert!(responses.iter().all(|response| response.status() == 200 && effect(response) == Effect::Clear));
    assert!(house.record(&browser).await.is_none());
}

#[tokio::test]
async fn a_late_write_is_announced_by_an_event() {
    let events = Events::capture();
    let house = House::new();
    let browser = begun(&house).await;
    let (gate, late) = at_its_commit(&house, &browser, "/x/1").await;
    browser.post("/out").await;
    gate.open();
    late.await.unwrap();
    assert_eq!(events.count("session.late_write"), 1);
}

/// F5. As many rounds as the reference asks for; a round takes some 30 ms.
const ROUNDS: u32 = 200;

#[tokio::test]
async fn f5_a_process_killed_at_any_moment_leaves_every_acknowledged_commit_and_no_half_one() {
    const SESSIONS: usize = 3;
    let mut dice = Dice::new("f5");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessions.db");
    let mut tokens = vec![String::new(); SESSIONS];
    let mut stored = [0u64; SESSIONS];
    let mut acknowledged_in_all = 0;
    for round in 0..ROUNDS {
        let mut child = Command::new(env!("CARGO_BIN_EXE_pairs"))
            .arg(&path)
            .args(&tokens)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the writing process starts");
        // The one sleep of these tests: the moment of the kill is what is random here, nothing expires.
        tokio::time::sleep(Duration::from_micros(dice.below(40_000))).await;
        child.kill().unwrap();
        child.wait().unwrap();
        let mut said = String::new();
        child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        let mut acknowledged = stored;
        // Only whole lines count: the last one may have been cut by the kill.
        for line in said.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
            match line.split(' ').collect::<Vec<_>>().as_slice() {
                ["token", at, token] => tokens[at.parse::<usize>().unwrap()] = (*token).to_owned(),
                ["stored", at, value] => {
                    acknowledged[at.parse::<usize>().unwrap()] = value.parse().unwrap();
                    acknowledged_in_all += 1;
                }
                other => panic!("{other:?}"),
            }
        }
        // A second process can open at once, without repair.
        let store = SqliteStore::open(&path).await.unwrap();
        for at in (0..SESSIONS).filter(|at| !tokens[*at].is_empty()) {
            let key = selector(&tokens[at]);
            let record = House::over(store.clone()).record_of(&key).await.expect("an acknowledged session is there");
            let value = |key| record.cells.get(key).unwrap().body.content.payload().unwrap().to_vec();
            assert_eq!(value("pairs/left"), value("pairs/right"), "round {round}: both fields or none");
            stored[at] = record.header.revision;
            assert!(
                (acknowledged[at]..=acknowledged[at] + 1).contains(&stored[at]),
                "round {round}: {} was acknowledged and {} is stored",
                acknowledged[at],
                stored[at]
            );
        }
        drop(store);
        let database = rusqlite::Connection::open(&path).unwrap();
        let check: String = database.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(check, "ok", "round {round}");
    }
    println!("f5: {ROUNDS} rounds, {acknowledged_in_all} acknowledged commits");
    assert!(acknowledged_in_all > u64::from(ROUNDS), "the kills came too early to prove anything");
}
