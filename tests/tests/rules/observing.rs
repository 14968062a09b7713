//! What an operator is told of sessions: events and what they are counted as, and how long the store takes.

use crate::data::Visitor;
use axum::{
    Router,
    routing::{get, post},
};
use cloakroom::{
    KeyRing, SessionLayer, TypedSession,
    store::CookieStore,
    testing::{Fault, Gate, Operation},
};
use cloakroom_tests::{
    events::Events,
    shop::{House, with_cookies},
};
use metrics::{
    Counter, CounterFn, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
    set_default_local_recorder,
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

/// Counters by name and labels, the values of histograms, and units.
#[derive(Default)]
struct Measures {
    counters: Mutex<BTreeMap<String, u64>>,
    times: Mutex<BTreeMap<String, Vec<f64>>>,
    units: Mutex<BTreeMap<String, Unit>>,
}

/// Where values of one name and set of labels go.
struct Cell(&'static Measures, String);

impl CounterFn for Cell {
    fn increment(&self, value: u64) {
        *self.0.counters.lock().unwrap().entry(self.1.clone()).or_default() += value;
    }

    fn absolute(&self, _: u64) {
        panic!("a counter that is set loses counts");
    }
}

impl HistogramFn for Cell {
    fn record(&self, value: f64) {
        self.0.times.lock().unwrap().entry(self.1.clone()).or_default().push(value);
    }
}

/// The recorder of one test. It outlives the test, which ends its process.
struct Ours(&'static Measures);

impl Ours {
    fn cell(&self, key: &Key) -> Arc<Cell> {
        let labels: Vec<String> = key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        Arc::new(Cell(self.0, format!("{} {}", key.name(), labels.join(" "))))
    }
}

impl Recorder for Ours {
    fn describe_counter(&self, name: KeyName, unit: Option<Unit>, text: SharedString) {
        assert!(!text.is_empty());
        self.0.units.lock().unwrap().insert(name.as_str().to_owned(), unit.unwrap());
    }

    fn describe_gauge(&self, name: KeyName, _: Option<Unit>, _: SharedString) {
        panic!("{} is no metric of ours", name.as_str());
    }

    fn describe_histogram(&self, name: KeyName, unit: Option<Unit>, text: SharedString) {
        self.describe_counter(name, unit, text);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.cell(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        panic!("{key} is no metric of ours");
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.cell(key))
    }
}

impl Measures {
    fn new() -> &'static Self {
        Box::leak(Box::default())
    }

    fn counters(&self) -> BTreeMap<String, u64> {
        self.counters.lock().unwrap().clone()
    }

    /// How often each operation ended in which way since the last call.
    fn operations(&self) -> BTreeMap<String, usize> {
        let times = std::mem::take(&mut *self.times.lock().unwrap());
        let counted = times.into_iter().map(|(name, values)| {
            assert!(values.iter().all(|seconds| (0.0..60.0).contains(seconds)), "{name}: {values:?}");
            (name.strip_prefix("cloakroom_store_seconds ").unwrap().to_owned(), values.len())
        });
        counted.collect()
    }
}

fn operations<const N: usize>(expected: [(&str, usize); N]) -> BTreeMap<String, usize> {
    expected.map(|(labels, count)| (labels.to_owned(), count)).into()
}

fn routes() -> Router {
    Router::new()
        .route("/", get(|s: TypedSession<Visitor>| async move { s.visits.to_string() }).post(async || "plain"))
        .route("/add", post(|mut s: TypedSession<Visitor>| async move { *s.visits += 1 }))
        .route("/look", post(|s: TypedSession<Visitor>| async move { s.visits.to_string() }))
        .route("/rotate", post(|mut s: TypedSession<Visitor>| async move { s.rotate() }))
        .route("/out", post(|mut s: TypedSession<Visitor>| async move { s.destroy() }))
}

/// Lives a session from its beginning over everything that may happen to it to its end.
async fn live_a_life(house: &House) {
    let browser = house.browser(routes());
    browser.post("/add").await;
    browser.post("/add").await;
    browser.get("/").await;
    let old = browser.fork();
    browser.post("/rotate").await;
    old.get("/").await;
    for field in [&b"__Host-id=x"[..], b"__Host-id=1; __Host-id=2; __Host-id=3; __Host-id=4; __Host-id=5"] {
        with_cookies(&browser.fork(), "/look", &[field]).await;
    }
    let gone = browser.fork();
    browser.post("/out").await;
    gone.get("/").await;
    browser.post("/add").await;
    house.faults().down();
    browser.post("/add").await;
    house.faults().heal();
    house.clock.advance(Duration::from_secs(25 * 3600));
    browser.get("/").await;
}

#[tokio::test]
async fn whatever_is_told_is_counted_by_event_and_reason() {
    let measures = Measures::new();
    let recorder = Ours(measures);
    let _guard = set_default_local_recorder(&recorder);
    let events = Events::capture();
    live_a_life(&House::new()).await;
    let mut told = BTreeMap::<String, u64>::new();
    for line in events.take() {
        let field = |name: &str| line.split(&format!(" {name}=\"")).nth(1).map(|rest| rest.split('"').next().unwrap());
        let mut labels = format!("cloakroom_events_total event={}", field("event").unwrap());
        if let Some(why) = field("why") {
            labels += &format!(" why={why}");
        }
        *told.entry(labels).or_default() += 1;
    }
    assert_eq!(told, measures.counters());
    assert_eq!(told["cloakroom_events_total event=session.rotated why=privilege"], 1);
    for lived in ["created", "loaded", "committed", "destroyed", "store_error", "failed"] {
        assert!(told.contains_key(&format!("cloakroom_events_total event=session.{lived}")), "{lived} in {told:#?}");
    }
    for why in ["malformed", "ambiguous", "unknown", "expired", "stale"] {
        assert_eq!(told[&format!("cloakroom_events_total event=session.refused why={why}")], 1);
    }
}

#[tokio::test]
async fn every_operation_of_the_store_is_timed_by_its_name_and_outcome() {
    let measures = Measures::new();
    let recorder = Ours(measures);
    let _guard = set_default_local_recorder(&recorder);
    let house = House::new();
    let browser = house.browser(routes());
    browser.post("/add").await;
    assert_eq!(measures.operations(), operations([("operation=create outcome=ok", 1)]));
    browser.post("/").await;
    assert_eq!(measures.operations(), operations([]), "nobody asked for the session");
    browser.post("/add").await;
    assert_eq!(measures.operations(), operations([("operation=commit outcome=ok", 1), ("operation=load outcome=ok", 1)]));
    for (fault, outcome) in [(Fault::Unavailable, "unavailable"), (Fault::UnknownApplied, "unknown")] {
        house.faults().next(Operation::Commit, fault);
        browser.post("/add").await;
        let commit = format!("operation=commit outcome={outcome}");
        assert_eq!(measures.operations(), operations([(&commit, 1), ("operation=load outcome=ok", 1)]));
    }
    house.faults().next(Operation::Delete, Fault::Unavailable);
    browser.post("/out").await;
    let retried = [("operation=delete outcome=ok", 1), ("operation=delete outcome=unavailable", 1)];
    let [ok, unavailable] = retried;
    assert_eq!(measures.operations(), operations([ok, unavailable, ("operation=load outcome=ok", 1)]));
}

#[tokio::test]
async fn an_operation_that_nobody_waits_for_any_more_is_timed_as_abandoned() {
    let measures = Measures::new();
    let recorder = Ours(measures);
    let _guard = set_default_local_recorder(&recorder);
    let house = House::new();
    let browser = house.browser(routes());
    browser.post("/add").await;
    measures.operations();
    let gate = Gate::new();
    house.faults().next(Operation::Load, Fault::HoldBefore(gate.clone()));
    tokio::select! {
        _ = browser.get("/") => panic!("the store holds it"),
        () = gate.reached() => {}
    }
    assert_eq!(measures.operations(), operations([("operation=load outcome=abandoned", 1)]));
}

#[tokio::test]
async fn units_are_described_to_a_recorder_that_is_there_when_the_layer_is_made() {
    let measures = Measures::new();
    let recorder = Ours(measures);
    let _guard = set_default_local_recorder(&recorder);
    let _layer = SessionLayer::new(CookieStore::new(KeyRing::generate().unwrap()));
    let units = measures.units.lock().unwrap().clone();
    let expected = [("cloakroom_events_total", Unit::Count), ("cloakroom_store_seconds", Unit::Seconds)];
    assert_eq!(units, expected.map(|(name, unit)| (name.to_owned(), unit)).into());
}

#[tokio::test]
async fn an_error_of_the_store_is_told_with_its_operation_and_whether_the_outcome_is_known() {
    let events = Events::capture();
    let house = House::new();
    let browser = house.browser(routes());
    browser.post("/add").await;
    for (operation, path, fault, outcome) in [
        (Operation::Load, "/add", Fault::Unavailable, "unavailable"),
        (Operation::Commit, "/add", Fault::Unavailable, "unavailable"),
        (Operation::Commit, "/add", Fault::UnknownNotApplied, "unknown"),
        (Operation::Delete, "/out", Fault::UnknownApplied, "unknown"),
    ] {
        let token = browser.cookie("__Host-id").unwrap();
        events.take();
        house.faults().next(operation, fault);
        browser.post(path).await;
        let told = events.take();
        let wanted = format!("WARN event=\"session.store_error\" operation=\"{operation}\" outcome=\"{outcome}\" error=");
        assert_eq!(told.iter().filter(|line| line.starts_with(&wanted)).count(), 1, "{wanted} in {told:#?}");
        assert!(told.iter().all(|line| !line.contains(&token[..20])));
    }
    assert_eq!(browser.cookie("__Host-id"), None);
    house.faults().next(Operation::Create, Fault::Unavailable);
    browser.post("/add").await;
    assert!(events.take().iter().any(|line| line.contains("session.store_error\" operation=\"create\"")));
}

#[tokio::test]
async fn a_write_by_a_request_that_promised_none_is_told_apart() {
    let events = Events::capture();
    let count = async |mut s: TypedSession<Visitor>| *s.visits += 1;
    let browser = House::new().browser(Router::new().route("/", get(count).post(count)));
    let told = |event: &str| -> Vec<bool> {
        let lines = events.take();
        lines.iter().filter(|line| line.contains(event)).map(|line| line.contains("safe=true")).collect()
    };
    browser.get("/").await;
    assert_eq!(told("session.created"), [true]);
    browser.get("/").await;
    browser.post("/").await;
    assert_eq!(told("session.committed"), [true, false]);
    browser.clear_cookies();
    browser.post("/").await;
    assert_eq!(told("session.created"), [false]);
}
