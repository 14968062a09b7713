//! Random interleavings of requests, against the model.

use crate::model::{Cookie, Effect, KEYS, Key, LIFETIME, Model, Side, Step, Token, Value, steps};
use axum::{Extension, Router, body::Body, routing::post};
use cloakroom::{
    KeyRing, Lifetime, SessionData, SessionLayer, TypedSession,
    store::{CookieStore, IntoBackend, MemoryStore, SqliteStore},
    testing::ManualClock,
};
use cloakroom_tests::site::COOKIE;
use http::{Request, Response, header};
use proptest::{prelude::*, test_runner::TestCaseResult};
use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::{
    sync::{Mutex, mpsc, oneshot},
    task::JoinHandle,
};
use tower::ServiceExt;

#[derive(SessionData)]
struct Data {
    last: i64,
    #[session(merge = "add", secret)]
    sum: i64,
    #[session(merge = "max")]
    top: i64,
    #[session(merge = "union", secret)]
    tags: BTreeSet<u8>,
    #[session(merge = "strict", secret)]
    only: i64,
}

fn values(data: &DataFields) -> [Value; 5] {
    KEYS.map(|key| match key {
        Key::Last => Value::Number(*data.last),
        Key::Sum => Value::Number(*data.sum),
        Key::Top => Value::Number(*data.top),
        Key::Tags => Value::Set(data.tags.clone()),
        Key::Only => Value::Number(*data.only),
    })
}

/// What a running handler is told to do; it answers with what came of it and what it sees then.
type Told = (Step, oneshot::Sender<(u16, [Value; 5])>);

type Orders = Arc<Mutex<mpsc::Receiver<Told>>>;

async fn obey(Extension(orders): Extension<Orders>, mut data: TypedSession<Data>) {
    let mut orders = orders.lock().await;
    while let Some((step, reply)) = orders.recv().await {
        let mut status = 200;
        match step {
            Step::Set(_, Key::Last, to) => *data.last = to,
            Step::Set(_, Key::Sum, to) => *data.sum = to,
            Step::Set(_, Key::Top, to) => *data.top = to,
            Step::Set(_, Key::Only, to) => *data.only = to,
            Step::Add(_, by) => *data.sum += by,
            Step::Tag(_, tag) => drop(data.tags.insert(tag)),
            Step::Untag(_, tag) => drop(data.tags.remove(&tag)),
            Step::Clear(_) => data.clear(),
            Step::Destroy(_) => data.destroy(),
            Step::Rotate(_) => data.rotate(),
            Step::Save(_) => status = data.save().await.map_or_else(|error| error.status().as_u16(), |()| 200),
            Step::Finish(_) => return,
            _ => {}
        }
        reply.send((status, values(&data))).unwrap();
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

    async fn tell(&self, step: Step) -> (u16, [Value; 5]) {
        let (reply, answer) = oneshot::channel();
        self.orders.send((step, reply)).await.unwrap();
        answer.await.unwrap()
    }

    async fn finish(self) -> Response<Body> {
        let (reply, _) = oneshot::channel();
        self.orders.send((Step::Finish(0), reply)).await.unwrap();
        self.response.await.unwrap()
    }
}

/// The value of our cookie in a response; an empty one is a deletion.
fn set_cookie(response: &Response<Body>) -> Option<String> {
    let mut ours = response.headers().get_all(header::SET_COOKIE).iter().map(|line| line.to_str().unwrap());
    let line = ours.next()?;
    assert!(ours.next().is_none(), "one cookie is set twice");
    Some(line.strip_prefix("__Host-id=").unwrap().split(';').next().unwrap().to_owned())
}

/// A cookie value, and what the model knows it by.
type Held = Option<(String, Token)>;

async fn play<B: IntoBackend<Side: 'static>>(side: Side, backend: B, steps: Vec<Step>) -> TestCaseResult {
    let clock = ManualClock::new(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000));
    let lifetime = Lifetime::new(Duration::from_secs(LIFETIME), Duration::from_secs(LIFETIME)).unwrap();
    let layer = SessionLayer::new(backend).clock(clock.clone()).lifetime(lifetime);
    let app = Router::new().route("/", post(obey)).layer(layer);
    let mut model = Model::new(side);
    let mut running = [const { None::<Running> }; crate::model::REQUESTS];
    // What the browser holds: now, and before that.
    let (mut newest, mut older): (Held, Held) = (None, None);
    let mut seen: Vec<(String, Token)> = Vec::new();
    for step in steps {
        match step {
            Step::Tick(seconds) => {
                clock.advance(Duration::from_secs(seconds));
                model.tick(seconds);
            }
            Step::Begin(at, cookie) => {
                let held = if cookie == Cookie::Older { &older } else { &newest };
                let token = held.as_ref().map(|(_, token)| *token);
                // One client that waits for each answer is all that a client-side store promises anything to.
                let busy = model.is_open(at) || (side == Side::Client && !model.is_idle());
                if busy || model.is_undefined(token) {
                    continue;
                }
                let request = Running::start(&app, held.as_ref().map(|(value, _)| value.as_str()));
                prop_assert_eq!(request.tell(step).await, (200, model.begin(at, token)));
                running[at] = Some(request);
            }
            Step::Finish(at) => {
                let Some(request) = running[at].take() else { continue };
                let response = request.finish().await;
                let begins = model.begins(at);
                let (status, effect, token) = model.finish(at);
                let set = set_cookie(&response);
                if begins && set.as_ref().is_some_and(|value| !value.is_empty()) {
                    model.note_begun();
                }
                prop_assert_eq!(response.status().as_u16(), status, "status of request {}", at);
                match effect {
                    Effect::Nothing => prop_assert_eq!(set, None),
                    Effect::Clear => {
                        prop_assert_eq!(set, Some(String::new()));
                        older = newest.take().or(older);
                    }
                    Effect::Set | Effect::NothingOrSet => {
                        prop_assert!(set.is_some() || effect == Effect::NothingOrSet, "no cookie is set");
                        if let (Some(value), Some(token)) = (set, token) {
                            prop_assert!(!value.is_empty());
                            seen.push((value.clone(), token));
                            older = newest.replace((value, token)).or(older);
                        }
                    }
                }
            }
            Step::Save(at) => {
                let Some(request) = &running[at] else { continue };
                let (status, _) = request.tell(step).await;
                prop_assert_eq!(status, model.save(at), "a save of request {}", at);
                if status != 200 {
                    // What a handler answers after a failed save is its own affair.
                    request.response.abort();
                    running[at] = None;
                    model.abort(at);
                }
            }
            Step::Abort(at) => {
                let Some(request) = running[at].take() else { continue };
                request.response.abort();
                prop_assert!(request.response.await.unwrap_err().is_cancelled());
                model.abort(at);
            }
            Step::Set(at, ..)
            | Step::Add(at, _)
            | Step::Tag(at, _)
            | Step::Untag(at, _)
            | Step::Clear(at)
            | Step::Destroy(at)
            | Step::Rotate(at) => {
                let Some(request) = &running[at] else { continue };
                request.tell(step.clone()).await;
                match step {
                    Step::Set(_, key, to) => model.change(at, key, |value| *value = Value::Number(to)),
                    Step::Add(_, by) => model.change(at, Key::Sum, |value| {
                        let Value::Number(number) = value else { return };
                        *number += by;
                    }),
                    Step::Tag(_, tag) => model.change(at, Key::Tags, |value| {
                        let Value::Set(set) = value else { return };
                        set.insert(tag);
                    }),
                    Step::Untag(_, tag) => model.change(at, Key::Tags, |value| {
                        let Value::Set(set) = value else { return };
                        set.remove(&tag);
                    }),
                    Step::Clear(_) => model.clear(at),
                    Step::Destroy(_) => model.destroy(at),
                    _ => model.rotate(at),
                }
            }
        }
    }
    for request in running.into_iter().flatten() {
        request.response.abort();
        drop(request.response.await);
    }
    // Every token ever handed out opens what the model says, or nothing.
    for (value, token) in seen {
        let request = Running::start(&app, Some(&value));
        let found = request.tell(Step::Tick(0)).await;
        prop_assert_eq!(found.1, model.values(token).unwrap_or_else(|| KEYS.map(Key::default)));
        request.response.abort();
    }
    Ok(())
}

fn run(case: impl Future<Output = TestCaseResult>) -> TestCaseResult {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(case)
}

proptest! {
    // A failure prints the smallest steps that show it, which is what a test is made of; no file is kept.
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn requests_interleaved_in_any_way_do_what_the_model_does_in_memory(steps in steps()) {
        run(play(Side::Server, MemoryStore::new(), steps))?;
    }

    #[test]
    fn requests_interleaved_in_any_way_do_what_the_model_does_on_sqlite(steps in steps()) {
        run(async { play(Side::Server, SqliteStore::in_memory().await.unwrap(), steps).await })?;
    }

    #[test]
    fn requests_of_one_client_do_what_the_model_does_in_a_sealed_cookie(steps in steps()) {
        run(play(Side::Client, CookieStore::new(KeyRing::generate().unwrap()), steps))?;
    }
}
