//! Servers that die, hang, restart and lose answers, under requests over HTTP: nothing is lost that was acknowledged.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use axum::{
    Router,
    routing::{get, post},
};
use cloakroom::{
    SessionData, TypedSession,
    testing::{Fault, Gate, Operation, TestResponse},
};
use cloakroom_tests::{
    engines::{Engine, Running},
    on_engines,
    servers::Proxy,
    shop::{Browser, House},
    site::{COOKIE, Effect, effect, selector},
};
use http::header;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::task::JoinSet;

on_engines! {
    start_behind_a_proxy [on_redis: Redis, on_postgres: Postgres, on_mysql: MySql]
    {
        f1_a_server_that_is_down_or_silent_is_503_within_a_second_and_runs_no_handler
        f2_a_server_that_dies_before_the_commit_has_nothing_written_and_no_cookie_handed_out
        a_server_that_restarts_between_load_and_commit_loses_nothing
        f3_a_commit_whose_answer_is_lost_is_503_and_applied_once_or_not_at_all
        f3_a_new_session_whose_answer_is_lost_hands_out_no_cookie
        f3_a_rotation_whose_answer_is_lost_hands_out_no_cookie
        f3_a_destroy_whose_answer_is_lost_is_made_again
        f7_a_restart_under_load_loses_no_acknowledged_commit_and_heals_by_itself
        more_requests_than_connections_all_end_in_time_while_the_server_is_silent
        a_server_slower_than_usual_is_waited_for
        f13_clients_that_go_away_during_their_commits_leave_nothing_behind
    }
}

#[derive(SessionData)]
struct Shop {
    #[session(merge = "add")]
    views: u64,
    left: u64,
    right: u64,
}

/// How often a handler ran.
type Runs = Arc<AtomicU64>;

fn routes() -> (Router, Runs) {
    let runs = Runs::default();
    let ran = {
        let runs = Arc::clone(&runs);
        move || _ = runs.fetch_add(1, Ordering::Relaxed)
    };
    let router = Router::new()
        .route("/", get(async |s: TypedSession<Shop>| format!("{} {} {}", s.views, s.left, s.right)))
        .route(
            "/view",
            post(async move |mut s: TypedSession<Shop>| {
                ran();
                *s.views += 1;
                *s.left += 1;
                *s.right = *s.left;
            }),
        )
        .route(
            "/rotate",
            post(async |mut s: TypedSession<Shop>| {
                *s.views += 1;
                *s.left += 1;
                *s.right = *s.left;
                s.rotate();
            }),
        )
        .route("/out", post(async |mut s: TypedSession<Shop>| s.destroy()));
    (router, runs)
}

struct Scene {
    running: Running,
    house: House<Arc<dyn cloakroom::store::SessionStore>>,
    browser: Browser,
    runs: Runs,
}

/// So many that every connection is open and has done all kinds of work.
const BEGUN: u64 = 16;

/// A browser with a session that has seen some views.
async fn begun(running: Running) -> Scene {
    let house = running.house();
    let (router, runs) = routes();
    let browser = house.browser(router);
    for _ in 0..BEGUN {
        let other = house.browser(routes().0);
        for response in
            [browser.post("/view").await, browser.get("/").await, other.post("/view").await, other.post("/out").await]
        {
            assert_eq!(response.status(), 200, "{}", response.text());
        }
    }
    assert_eq!(browser.get("/").await.text(), views(0));
    house.log();
    Scene { running, house, browser, runs }
}

/// What the session shows after so many further views.
fn views(further: u64) -> String {
    let all = BEGUN + further;
    format!("{all} {all} {all}")
}

/// What every request that writes a view has in it, and none that reads one.
fn of_a_view(engine: Engine) -> &'static str {
    match engine {
        // The name of the field, as MySQL is told it.
        Engine::MySql => "7669657773",
        _ => "shop/views",
    }
}

impl Scene {
    /// What the session holds, as soon as the server answers again.
    async fn seen(&self) -> String {
        let began = Instant::now();
        loop {
            let response = self.browser.get("/").await;
            if response.status() == 200 {
                return response.text();
            }
            assert_outage(&response);
            assert!(began.elapsed() < Duration::from_secs(10), "the store does not come back: {}", response.text());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// A request that stops before its commit, in which this happens meanwhile.
    async fn before_the_commit(&self, uri: &str, meanwhile: impl AsyncFnOnce()) -> TestResponse {
        let gate = Gate::new();
        self.house.faults().next(Operation::Commit, Fault::HoldBefore(gate.clone()));
        let request = {
            let (browser, uri) = (self.browser.fork(), uri.to_owned());
            tokio::spawn(async move { browser.post(&uri).await })
        };
        gate.reached().await;
        meanwhile().await;
        gate.open();
        request.await.unwrap()
    }
}

fn assert_outage(response: &TestResponse) {
    assert_eq!(response.status(), 503, "{}", response.text());
    assert!(response.headers().contains_key(header::RETRY_AFTER));
    assert_eq!(effect(response), Effect::Nothing);
}

async fn within(limit: Duration, response: impl Future<Output = TestResponse>) -> TestResponse {
    let began = Instant::now();
    let response = response.await;
    assert!(began.elapsed() < limit, "answered after {:?}", began.elapsed());
    response
}

/// What a request may take at most when one operation of its store does not end by itself.
const ONE_LIMIT: Duration = Duration::from_secs(1);

/// The same for many requests at once, which also wait for a processor.
const IN_A_CROWD: Duration = Duration::from_secs(3);

async fn f1_a_server_that_is_down_or_silent_is_503_within_a_second_and_runs_no_handler(running: Running) {
    let scene = begun(running).await;
    let runs = scene.runs.load(Ordering::Relaxed);
    let proxy = scene.running.proxy();
    proxy.refuse().await;
    proxy.cut();
    for _ in 0..5 {
        assert_outage(&within(ONE_LIMIT, scene.browser.post("/view")).await);
    }
    proxy.allow().await;
    assert_eq!(scene.seen().await, views(0));

    proxy.stall();
    for _ in 0..5 {
        assert_outage(&within(ONE_LIMIT, scene.browser.post("/view")).await);
    }
    assert_eq!(scene.runs.load(Ordering::Relaxed), runs, "no handler ran");
    // Nobody without a cookie notices.
    assert_eq!(within(ONE_LIMIT, scene.house.browser(routes().0).get("/")).await.status(), 200);
    proxy.flow();
    assert_eq!(scene.seen().await, views(0));
    assert_eq!(scene.browser.post("/view").await.status(), 200);
}

async fn f2_a_server_that_dies_before_the_commit_has_nothing_written_and_no_cookie_handed_out(running: Running) {
    let scene = begun(running).await;
    for uri in ["/view", "/rotate"] {
        let response = scene
            .before_the_commit(uri, async || {
                scene.running.proxy().refuse().await;
                scene.running.proxy().cut();
            })
            .await;
        assert_outage(&response);
        let newcomer = scene.house.browser(routes().0);
        assert_outage(&newcomer.post("/view").await);
        scene.running.proxy().allow().await;
        assert_eq!(scene.seen().await, views(0));
    }
}

async fn a_server_that_restarts_between_load_and_commit_loses_nothing(running: Running) {
    let scene = begun(running).await;
    let response = scene.before_the_commit("/view", async || scene.running.place.server().restart().await).await;
    let expected = match response.status().as_u16() {
        200 => views(1),
        _ => {
            assert_outage(&response);
            views(0)
        }
    };
    assert_eq!(scene.seen().await, expected);
    assert_eq!(scene.browser.post("/view").await.status(), 200);
}

async fn f3_a_commit_whose_answer_is_lost_is_503_and_applied_once_or_not_at_all(running: Running) {
    let scene = begun(running).await;
    let proxy = scene.running.proxy();
    let lost =
        scene.before_the_commit("/view", async || proxy.drop_reply_of_next_request_with(of_a_view(scene.running.engine))).await;
    assert!(proxy.has_struck());
    assert_outage(&lost);
    assert_eq!(scene.house.store.count(Operation::Commit), 1, "no blind retry");
    assert_eq!(scene.seen().await, views(1), "the server had done it, once");
    let lost = scene.before_the_commit("/view", async || proxy.drop_next_request_with(of_a_view(scene.running.engine))).await;
    assert_outage(&lost);
    assert_eq!(scene.seen().await, views(1), "the server never heard of it");
    assert_eq!(scene.browser.post("/view").await.status(), 200);
    assert_eq!(scene.seen().await, views(2));
}

async fn f3_a_new_session_whose_answer_is_lost_hands_out_no_cookie(running: Running) {
    let scene = begun(running).await;
    let newcomer = scene.house.browser(routes().0);
    let (proxy, request) = (scene.running.proxy(), of_a_view(scene.running.engine));
    for lose in [
        |proxy: &Proxy, of: &str| proxy.drop_reply_of_next_request_with(of),
        |proxy: &Proxy, of: &str| proxy.drop_next_request_with(of),
    ] {
        lose(proxy, request);
        assert_outage(&newcomer.post("/view").await);
        assert!(proxy.has_struck());
        scene.seen().await;
    }
    assert_eq!(newcomer.post("/view").await.status(), 200);
    assert_eq!(newcomer.get("/").await.text(), "1 1 1");
}

async fn f3_a_rotation_whose_answer_is_lost_hands_out_no_cookie(running: Running) {
    let scene = begun(running).await;
    let lost = scene
        .before_the_commit("/rotate", async || scene.running.proxy().drop_next_request_with(of_a_view(scene.running.engine)))
        .await;
    assert_outage(&lost);
    assert_eq!(scene.seen().await, views(0), "not applied: the token goes on");
    let lost = scene
        .before_the_commit("/rotate", async || {
            scene.running.proxy().drop_reply_of_next_request_with(of_a_view(scene.running.engine))
        })
        .await;
    assert_outage(&lost);
    assert_eq!(scene.seen().await, "0 0 0", "applied: the client signs in again");
}

async fn f3_a_destroy_whose_answer_is_lost_is_made_again(running: Running) {
    let scene = begun(running).await;
    let key = selector(&scene.browser.cookie(COOKIE).unwrap());
    let gate = Gate::new();
    scene.house.faults().next(Operation::Delete, Fault::HoldBefore(gate.clone()));
    let request = {
        let browser = scene.browser.fork();
        tokio::spawn(async move { browser.post("/out").await })
    };
    gate.reached().await;
    scene.running.proxy().drop_reply_of_next_request();
    gate.open();
    let response = request.await.unwrap();
    assert_eq!((response.status().as_u16(), effect(&response)), (200, Effect::Clear));
    assert!(scene.house.record_of(&key).await.is_none());
}

async fn f7_a_restart_under_load_loses_no_acknowledged_commit_and_heals_by_itself(running: Running) {
    let scene = begun(running).await;
    let done = Arc::new(AtomicBool::new(false));
    let mut clients = JoinSet::new();
    for _ in 0..8 {
        let (browser, done) = (scene.browser.fork(), Arc::clone(&done));
        clients.spawn(async move {
            let (mut acknowledged, mut unknown, mut in_a_row) = (0u64, 0u64, 0u32);
            while !done.load(Ordering::Relaxed) {
                let response = within(IN_A_CROWD, browser.post("/view")).await;
                if response.status() == 200 {
                    acknowledged += 1;
                    in_a_row = 0;
                } else {
                    assert_outage(&response);
                    unknown += 1;
                    in_a_row += 1;
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
            (acknowledged, unknown, in_a_row)
        });
    }
    for round in 0..2 {
        tokio::time::sleep(Duration::from_millis(400)).await;
        if round == 0 {
            scene.running.place.server().restart().await;
        } else if scene.running.engine != Engine::Redis {
            // A database is as good as its log; what a Redis promises here is its operator's choice.
            scene.running.place.server().kill();
            scene.running.place.server().start_again().await;
        }
        scene.seen().await;
    }
    tokio::time::sleep(Duration::from_millis(400)).await;
    done.store(true, Ordering::Relaxed);
    let told = clients.join_all().await;
    let (acknowledged, unknown) = told.iter().fold((BEGUN, 0), |sum, told| (sum.0 + told.0, sum.1 + told.1));
    assert!(told.iter().all(|(_, _, in_a_row)| *in_a_row == 0), "at the end everybody is served: {told:?}");
    let seen = scene.seen().await;
    let views: u64 = seen.split(' ').next().unwrap().parse().unwrap();
    println!("{:?}: {acknowledged} acknowledged, {unknown} refused or unknown, {views} stored", scene.running.engine);
    assert!((acknowledged..=acknowledged + unknown).contains(&views), "{acknowledged} acknowledged, {views} stored");
    assert!(acknowledged > 50, "too few to prove anything");
}

async fn more_requests_than_connections_all_end_in_time_while_the_server_is_silent(running: Running) {
    let scene = begun(running).await;
    scene.running.place.server().pause();
    let mut requests = JoinSet::new();
    for _ in 0..200 {
        let browser = scene.browser.fork();
        requests.spawn(async move { within(IN_A_CROWD, browser.post("/view")).await });
    }
    for response in requests.join_all().await {
        assert_outage(&response);
    }
    scene.running.place.server().resume();
    assert_eq!(scene.seen().await, views(0), "loads came first, so nothing was written");
    for _ in 0..20 {
        assert_eq!(scene.browser.post("/view").await.status(), 200);
    }
}

async fn a_server_slower_than_usual_is_waited_for(running: Running) {
    let scene = begun(running).await;
    let gate = Gate::new();
    scene.house.faults().next(Operation::Commit, Fault::HoldBefore(gate.clone()));
    let mut request = {
        let browser = scene.browser.fork();
        tokio::spawn(async move { browser.post("/view").await })
    };
    gate.reached().await;
    scene.running.place.server().pause();
    gate.open();
    // Slow, and not too slow: the commit is sent to a server that answers later than any does, and within the store's limit.
    let early = tokio::time::timeout(Duration::from_millis(100), &mut request).await;
    scene.running.place.server().resume();
    assert!(early.is_err(), "the request did not wait: {early:?}");
    assert_eq!(request.await.unwrap().status(), 200);
    assert_eq!(scene.seen().await, views(1));
}

async fn f13_clients_that_go_away_during_their_commits_leave_nothing_behind(running: Running) {
    let scene = begun(running).await;
    // From not sent to answered: the moments are spread over twice the time that a commit takes here and now.
    let began = Instant::now();
    assert_eq!(scene.browser.post("/view").await.status(), 200);
    let usual = began.elapsed();
    let (mut sent, mut answered, mut stored) = (BEGUN + 1, BEGUN + 1, BEGUN + 1);
    // Batch by batch, until a commit is stored whose client had gone before the answer.
    for round in 0..400u32 {
        let gate = Gate::new();
        scene.house.faults().next(Operation::Commit, Fault::HoldBefore(gate.clone()));
        let request = {
            let browser = scene.browser.fork();
            tokio::spawn(async move { browser.post("/view").await })
        };
        gate.reached().await;
        gate.open();
        tokio::time::sleep(usual * (round % 40) / 20).await;
        request.abort();
        sent += 1;
        answered += u64::from(request.await.is_ok_and(|response| response.status() == 200));
        if round % 40 == 39 {
            let seen = scene.seen().await;
            let numbers: Vec<u64> = seen.split(' ').map(|number| number.parse().unwrap()).collect();
            stored = numbers[0];
            assert!((answered..=sent).contains(&stored) && numbers[1] == numbers[2], "{seen}: {answered} of {sent} answered");
            if stored > answered {
                break;
            }
        }
    }
    assert!(
        stored > answered,
        "no client went away during its commit: {answered} of {sent} were answered, all that are stored"
    );
    for _ in 0..100 {
        assert_eq!(
            within(ONE_LIMIT, scene.browser.post("/view")).await.status(),
            200,
            "no lock and no connection is left behind"
        );
    }
}
