//! Programs of three versions, their requests interleaved in any way, against the oracle.

use crate::{
    oracle::{Effect, LIFETIME, Oracle, REQUESTS, Step, Token, known_keys, steps},
    versions::{Key, Value, Version, v1, v2, v3},
    visitor::set_cookie,
};
use axum::{Extension, Router, body::Body, routing::post};
use cloakroom::{
    Clock, Lifetime, SessionLayer, TypedSession,
    record::{Cell, Cells, CommitOutcome},
    store::{MemoryStore, SessionStore, SqliteStore},
    testing::{ManualClock, Op, Outcome, SpyStore},
};
use cloakroom_tests::site::{COOKIE, record, selector};
use http::{Request, Response, header};
use proptest::{prelude::*, test_runner::TestCaseResult};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};
use tokio::{
    sync::{Mutex, mpsc, oneshot},
    task::JoinHandle,
};
use tower::ServiceExt;

#[derive(Clone, Debug)]
enum Order {
    Look,
    Set(Key, Value),
    Force(Key),
    Clear,
    Destroy,
    Rotate,
}

/// What a running handler is told to do; it answers with what it sees then. It returns when there is nothing more to come.
type Told = (Order, oneshot::Sender<BTreeMap<Key, Value>>);

type Orders = Arc<Mutex<mpsc::Receiver<Told>>>;

async fn obey<V: Version>(Extension(orders): Extension<Orders>, mut session: TypedSession<V>) {
    let mut orders = orders.lock().await;
    while let Some((order, reply)) = orders.recv().await {
        match order {
            Order::Look => {}
            Order::Set(key, value) => V::set(&mut session, key, &value),
            Order::Force(key) => V::force(&mut session, key),
            Order::Clear => session.clear(),
            Order::Destroy => session.destroy(),
            Order::Rotate => session.rotate(),
        }
        reply.send(V::show(&session)).unwrap();
    }
}

/// A request in the hands of its handler.
struct Running {
    orders: mpsc::Sender<Told>,
    response: JoinHandle<Response<Body>>,
}

impl Running {
    fn start(app: &Router, cookie: Option<&str>) -> Self {
        let (orders, receiver) = mpsc::channel::<Told>(1);
        let receiver: Orders = Arc::new(Mutex::new(receiver));
        let mut request = Request::post("/").extension(receiver).body(Body::empty()).unwrap();
        if let Some(cookie) = cookie {
            request.headers_mut().insert(header::COOKIE, format!("{COOKIE}={cookie}").parse().unwrap());
        }
        let app = app.clone();
        Self { orders, response: tokio::spawn(async move { app.oneshot(request).await.unwrap() }) }
    }

    async fn tell(&self, order: Order) -> BTreeMap<Key, Value> {
        let (reply, answer) = oneshot::channel();
        self.orders.send((order, reply)).await.unwrap();
        answer.await.unwrap()
    }

    async fn finish(self) -> Response<Body> {
        drop(self.orders);
        self.response.await.unwrap()
    }
}

/// A store, and one application per version over it.
struct Street<S> {
    store: SpyStore<S>,
    clock: ManualClock,
    apps: [Router; 3],
}

impl<S: SessionStore + Clone> Street<S> {
    fn new(store: S) -> Self {
        // Where cases share a store its sweeps go on from one case into the next: no case may begin before the one before has ended.
        static BEGIN: AtomicU64 = AtomicU64::new(1_800_000_000);
        let begin = BEGIN.fetch_add(1_000_000, Ordering::Relaxed);
        let clock = ManualClock::new(SystemTime::UNIX_EPOCH + Duration::from_secs(begin));
        let store = SpyStore::new(store);
        let lifetime = Lifetime::new(Duration::from_secs(LIFETIME), Duration::from_secs(LIFETIME)).unwrap();
        let layer = || SessionLayer::new(store.clone()).clock(clock.clone()).lifetime(lifetime);
        let apps = [
            Router::new().route("/", post(obey::<v1::Shop>)).layer(layer()),
            Router::new().route("/", post(obey::<v2::Shop>)).layer(layer()),
            Router::new().route("/", post(obey::<v3::Shop>)).layer(layer()),
        ];
        Self { store, clock, apps }
    }

    async fn cells(&self, cookie: &str) -> Option<Cells> {
        record(self.store.inner(), &selector(cookie), self.clock.now().into()).await.map(|record| record.cells)
    }
}

/// The keys of the cells that commits have written.
fn written(log: &[Op]) -> BTreeSet<String> {
    let of = |op: &Op| match op {
        Op::Commit { puts, outcome: Outcome::Done(CommitOutcome::Committed { .. }), .. } => puts.clone(),
        _ => Vec::new(),
    };
    log.iter().flat_map(of).collect()
}

/// Each cell's stamp, and whether it holds a value.
type Layout = BTreeMap<String, (u64, bool)>;

fn layout(cells: &Cells) -> Layout {
    let line = |cell: &Cell| (cell.key.to_string(), (cell.stamp, cell.body.content.payload().is_some()));
    cells.iter().map(line).collect()
}

pub(crate) async fn play<S: SessionStore + Clone>(store: S, steps: Vec<Step>) -> TestCaseResult {
    let street = Street::new(store);
    let mut oracle = Oracle::default();
    let mut running = [const { None::<Running> }; REQUESTS];
    let mut cookie: Option<(String, Token)> = None;
    // A cookie of each session that ever was.
    let mut sessions: BTreeMap<usize, String> = BTreeMap::new();
    for step in steps {
        match step {
            Step::Tick(seconds) => {
                street.clock.advance(Duration::from_secs(seconds));
                oracle.tick(seconds);
            }
            Step::Begin(at, version) => {
                if oracle.version(at).is_some() {
                    continue;
                }
                let app = &street.apps[usize::from(version - 1)];
                let request = Running::start(app, cookie.as_ref().map(|(value, _)| value.as_str()));
                let token = cookie.as_ref().map(|(_, token)| *token);
                prop_assert_eq!(
                    request.tell(Order::Look).await,
                    oracle.begin(at, version, token),
                    "seen by version {}",
                    version
                );
                running[at] = Some(request);
            }
            Step::Finish(at) => {
                let (Some(request), Some(version)) = (running[at].take(), oracle.version(at)) else { continue };
                let mut before = BTreeMap::new();
                for (session, cookie) in &sessions {
                    before.insert(*session, street.cells(cookie).await);
                }
                street.store.take();
                let response = request.finish().await;
                let written = written(&street.store.take());
                let cells_before: BTreeMap<usize, _> =
                    sessions.keys().map(|session| (*session, oracle.cells(*session))).collect();
                let (status, effect) = oracle.finish(at);
                prop_assert_eq!(response.status().as_u16(), status, "status of version {}", version);
                match (set_cookie(&response), effect) {
                    (None, Effect::Nothing) => {}
                    (Some(value), Effect::Clear) if value.is_empty() => cookie = None,
                    (Some(value), Effect::Set(token)) if !value.is_empty() => {
                        sessions.insert(token.session, value.clone());
                        cookie = Some((value, token));
                    }
                    other => prop_assert!(false, "cookie and what the oracle says: {:?}", other),
                }
                for (session, cookie) in &sessions {
                    let (after, expected) = (street.cells(cookie).await, oracle.cells(*session));
                    if after.is_none() && oracle.may_be_swept(*session) {
                        continue;
                    }
                    // Every cell lies where it should, and its stamp says that nobody else has written it.
                    prop_assert_eq!(after.as_ref().map(layout), expected.clone(), "cells after version {}", version);
                    let (Some(Some(before)), Some(after)) = (before.get(session), after) else { continue };
                    let known = known_keys(version);
                    for cell in before.iter().filter(|cell| !known.contains(cell.key.as_str())) {
                        prop_assert_eq!(after.get(&cell.key), Some(cell), "version {} does not know it", version);
                    }
                }
                // What the store was given is what changed, and nothing else.
                let cells_after = cells_before.iter().map(|(session, before)| (before, oracle.cells(*session)));
                let changed = |(before, after): (&Option<Layout>, Option<Layout>)| {
                    let before = before.clone().unwrap_or_default();
                    let changed =
                        after.unwrap_or_default().into_iter().filter(move |(key, cell)| before.get(key) != Some(cell));
                    changed.map(|(key, _)| key).collect::<Vec<_>>()
                };
                let created = matches!(effect, Effect::Set(_)) && cells_before.len() < sessions.len();
                prop_assert!(created || written == cells_after.flat_map(changed).collect::<BTreeSet<_>>(), "{:?}", written);
            }
            Step::Abort(at) => {
                let Some(request) = running[at].take() else { continue };
                request.response.abort();
                prop_assert!(request.response.await.unwrap_err().is_cancelled());
                oracle.abort(at);
            }
            Step::Set(at, ..) | Step::Add(at, _) | Step::Tag(at, _) | Step::Untag(at, _) | Step::Touch(at, _) => {
                let (Some(request), Some((key, value))) = (&running[at], oracle.change(&step)) else { continue };
                let seen = request.tell(Order::Set(key, value.clone())).await;
                prop_assert_eq!(seen.get(&key), Some(&value));
            }
            Step::Force(at, key) => {
                let Some(request) = running[at].as_ref().filter(|_| oracle.version(at).is_some_and(|it| key.is_in(it))) else {
                    continue;
                };
                request.tell(Order::Force(key)).await;
                oracle.force(at, key);
            }
            Step::Clear(at) | Step::Destroy(at) | Step::Rotate(at) => {
                let Some(request) = &running[at] else { continue };
                match step {
                    Step::Clear(_) => (request.tell(Order::Clear).await, oracle.clear(at)),
                    Step::Destroy(_) => (request.tell(Order::Destroy).await, oracle.destroy(at)),
                    _ => (request.tell(Order::Rotate).await, oracle.rotate(at)),
                };
            }
        }
    }
    for request in running.into_iter().flatten() {
        request.response.abort();
        drop(request.response.await);
    }
    Ok(())
}

fn run(case: impl Future<Output = TestCaseResult>) -> TestCaseResult {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(case)
}

proptest! {
    // A failure prints the smallest steps that show it, which is what a test is made of; no file is kept.
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn versions_interleaved_in_any_way_do_what_the_oracle_does_in_memory(steps in steps()) {
        run(play(MemoryStore::new(), steps))?;
    }

    #[test]
    fn versions_interleaved_in_any_way_do_what_the_oracle_does_on_sqlite(steps in steps()) {
        run(async { play(SqliteStore::in_memory().await.unwrap(), steps).await })?;
    }
}
