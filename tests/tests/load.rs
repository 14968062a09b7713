//! Sixty-four clients at once against each server-side store, and an oracle: what was acknowledged is stored.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use axum::{
    Router,
    extract::Path,
    response::IntoResponse,
    routing::{get, post},
};
use cloakroom::{SessionData, SessionLayer, TypedSession, testing::TestClient};
use cloakroom_tests::{engines::Running, on_engines, shop::Dice, site::COOKIE};
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{sync::Mutex, task::JoinSet};

const CLIENTS: u32 = 64;
const SESSIONS: u64 = 1_000;
/// So few that most of these writes meet another one.
const POPULAR: u64 = 8;

/// One load at a time, also where all tests share a process.
static ALONE: Mutex<()> = Mutex::const_new(());

on_engines! {
    [in_memory: Memory, on_sqlite: Sqlite, on_redis: Redis, on_a_redis_cluster: RedisCluster, on_postgres: Postgres, on_mysql: MySql]
    {
        every_acknowledged_write_of_sixty_four_clients_is_in_the_store_afterwards
    }
}

/// As many seconds as the requirement says, unless somebody is in a hurry.
fn seconds() -> Duration {
    let asked = std::env::var("CLOAKROOM_TEST_LOAD_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(asked.unwrap_or(20))
}

#[derive(SessionData)]
struct Visited {
    #[session(merge = "add")]
    views: u64,
    /// The last number of each client, by a rule of our own.
    #[session(merge = latest)]
    seen: BTreeMap<u32, u64>,
    /// What two fields always say together.
    left: u64,
    right: u64,
    ballast: String,
}

fn latest(_: BTreeMap<u32, u64>, mine: BTreeMap<u32, u64>, theirs: BTreeMap<u32, u64>) -> BTreeMap<u32, u64> {
    let mut all = theirs;
    for (client, number) in mine {
        let known = all.entry(client).or_default();
        *known = (*known).max(number);
    }
    all
}

fn routes() -> Router {
    Router::new()
        .route("/begin", post(async |mut s: TypedSession<Visited>| *s.ballast = "x".repeat(1_000)))
        .route("/view", post(async |mut s: TypedSession<Visited>| *s.views += 1))
        .route(
            "/seen/{client}/{number}",
            post(async |Path((client, number)): Path<(u32, u64)>, mut s: TypedSession<Visited>| {
                s.seen.insert(client, number);
            }),
        )
        .route(
            "/both/{number}",
            post(async |Path(number): Path<u64>, mut s: TypedSession<Visited>| {
                *s.left = number;
                *s.right = number;
            }),
        )
        .route(
            "/",
            get(async |s: TypedSession<Visited>| {
                assert_eq!(*s.left, *s.right, "both or none");
                serde_json::to_string(&(*s.views, &*s.seen)).unwrap()
            }),
        )
}

/// What one client was told.
#[derive(Default)]
struct Told {
    client: u32,
    requests: u64,
    failed: u64,
    /// Acknowledged increments per session, and those whose outcome nobody knows.
    views: BTreeMap<usize, (u64, u64)>,
    /// The last acknowledged number per session.
    seen: BTreeMap<usize, u64>,
}

async fn every_acknowledged_write_of_sixty_four_clients_is_in_the_store_afterwards(running: Running) {
    let _alone = ALONE.lock().await;
    let sessions = SessionLayer::new(Arc::clone(&running.store)).on_error(|error, _| {
        println!("failed: {error}");
        error.status().into_response()
    });
    let app = routes().layer(sessions);
    let mut begun = JoinSet::new();
    for _ in 0..8 {
        let app = app.clone();
        begun.spawn(async move {
            let mut tokens = Vec::new();
            for _ in 0..SESSIONS / 8 {
                let browser = TestClient::new(app.clone());
                assert_eq!(browser.post("/begin").await.status(), 200);
                tokens.push(browser.cookie(COOKIE).expect("a new session has a token"));
            }
            tokens
        });
    }
    let tokens: Arc<[String]> = begun.join_all().await.concat().into();
    let until = Instant::now() + seconds();
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        clients.spawn(client(number, app.clone(), Arc::clone(&tokens), until));
    }
    let told = clients.join_all().await;
    let requests: u64 = told.iter().map(|told| told.requests).sum();
    let failed: u64 = told.iter().map(|told| told.failed).sum();
    println!("{:?}: {requests} requests in {:?}, {failed} of them failed", running.engine, seconds());
    assert!(requests > 10 * u64::from(CLIENTS), "too few requests to prove anything");
    assert!(failed * 100 <= requests, "{failed} of {requests} requests failed on a healthy server");

    // What the store says now, over connections that had no part in it.
    let app = routes().layer(SessionLayer::new(running.another().await));
    for (at, token) in tokens.iter().enumerate() {
        let browser = TestClient::new(app.clone());
        browser.set_cookie(COOKIE, token);
        let response = browser.get("/").await;
        assert_eq!(response.status(), 200, "{}", response.text());
        let (views, seen): (u64, BTreeMap<u32, u64>) = serde_json::from_str(&response.text()).unwrap();
        let (sure, perhaps) =
            told.iter().filter_map(|told| told.views.get(&at)).fold((0, 0), |sum, of| (sum.0 + of.0, sum.1 + of.1));
        assert!((sure..=sure + perhaps).contains(&views), "session {at}: {sure} increments acknowledged, {views} stored");
        for told in &told {
            let client = told.client;
            let stored = seen.get(&client).copied().unwrap_or(0);
            let acknowledged = told.seen.get(&at).copied().unwrap_or(0);
            assert!(stored >= acknowledged, "session {at}, client {client}: {acknowledged} acknowledged, {stored} stored");
        }
    }
}

async fn client(number: u32, app: Router, tokens: Arc<[String]>, until: Instant) -> Told {
    let mut dice = Dice::new(&format!("client {number}"));
    let mut told = Told { client: number, ..Told::default() };
    while Instant::now() < until {
        let range = if dice.below(4) == 0 { POPULAR } else { tokens.len() as u64 };
        let at = dice.below(range) as usize;
        let browser = TestClient::new(app.clone());
        browser.set_cookie(COOKIE, &tokens[at]);
        told.requests += 1;
        let count = told.requests;
        let what = dice.below(6);
        let status = match what {
            0 => browser.post("/view").await,
            1 => browser.post(&format!("/seen/{number}/{count}")).await,
            2 => browser.post(&format!("/both/{count}")).await,
            _ => browser.get("/").await,
        }
        .status();
        match (what, status.is_success()) {
            (0, true) => told.views.entry(at).or_default().0 += 1,
            (0, false) => told.views.entry(at).or_default().1 += 1,
            (1, true) => drop(told.seen.insert(at, count)),
            _ => {}
        }
        assert!(status.is_success() || status == 503, "{status}");
        told.failed += u64::from(!status.is_success());
    }
    told
}
