//! A store that is watched and disturbed, a clock that stands still, and what it takes to look behind the application's back.

use axum::Router;
use cloakroom::{
    SessionLayer,
    record::{CellBody, CellKey, CommitOutcome, Patch, Presented, Put, Record, SecretHash, Selector, Timestamp, Want},
    store::{MemoryStore, SessionStore},
    testing::{FaultStore, ManualClock, SpyStore, TestClient, TestResponse},
};
use http::{HeaderValue, Request, header};
use std::{
    fmt::{self, Write as _},
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

/// The cookie of a layer that was not told otherwise.
pub const COOKIE: &str = "__Host-id";

/// A browser in front of a router.
pub type Browser = TestClient<Router>;

/// A store under observation, and the clock of everything around it.
#[derive(Clone)]
pub struct House<S = MemoryStore> {
    pub store: SpyStore<FaultStore<S>>,
    pub clock: ManualClock,
}

impl House {
    pub fn new() -> Self {
        Self::over(MemoryStore::new())
    }
}

impl Default for House {
    fn default() -> Self {
        Self::new()
    }
}

impl<S: SessionStore + Clone> House<S> {
    pub fn over(store: S) -> Self {
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        Self { store: SpyStore::new(FaultStore::new(store)), clock: ManualClock::new(start) }
    }

    /// Where faults are scripted.
    pub fn faults(&self) -> &FaultStore<S> {
        self.store.inner()
    }

    pub fn layer(&self) -> SessionLayer {
        SessionLayer::new(self.store.clone()).clock(self.clock.clone())
    }

    /// A browser without cookies, in front of these routes under a default layer.
    pub fn browser(&self, routes: Router) -> Browser {
        self.browser_of(routes.layer(self.layer()))
    }

    /// A browser without cookies, in front of a router that has its layers.
    pub fn browser_of(&self, app: Router) -> Browser {
        TestClient::new(app).clock(self.clock.clone())
    }

    pub fn now(&self) -> Timestamp {
        cloakroom::Clock::now(&self.clock).into()
    }

    /// What was asked of the store since the last call, one line each, without the sessions' names.
    pub fn log(&self) -> Vec<String> {
        let without_name = |line: String| match line.split(' ').collect::<Vec<_>>().as_slice() {
            [verb, _, rest @ ..] => format!("{verb} {}", rest.join(" ")),
            _ => line,
        };
        self.store.take().into_iter().map(|op| without_name(op.to_string())).collect()
    }

    /// The record that a browser's cookie names, read behind the application's back.
    pub async fn record(&self, browser: &Browser) -> Option<Record> {
        self.record_of(&selector(&browser.cookie(COOKIE)?)).await
    }

    /// The record of that key.
    pub async fn record_of(&self, key: &Selector) -> Option<Record> {
        // No secret has this hash, so looking does not count as using the session.
        let nobody = Presented::new(SecretHash::from_bytes([0; 32]), self.now(), cloakroom::Lifetime::default());
        self.faults().inner().load(key, &nobody, &Want::default()).await.expect("the store answers")
    }

    /// Writes cells into a browser's record behind the application's back.
    pub async fn plant(&self, browser: &Browser, cells: impl IntoIterator<Item = (&'static str, CellBody)>) {
        let key = selector(&browser.cookie(COOKIE).expect("the browser has a session"));
        let mut patch = Patch::new(self.record_of(&key).await.expect("it is alive").header.epoch, self.now());
        patch.puts = cells.into_iter().map(|(key, body)| Put::new(CellKey::from_static(key), body)).collect();
        let outcome = self.faults().inner().commit(&key, &patch).await.expect("the store answers");
        assert!(matches!(outcome, CommitOutcome::Committed { .. }), "{outcome:?}");
    }
}

/// Where the record of a token lies.
pub fn selector(token: &str) -> Selector {
    let mut bytes = Vec::new();
    let (mut held, mut bits) = (0u32, 0);
    for character in token.bytes() {
        let value = match character {
            b'A'..=b'Z' => character - b'A',
            b'a'..=b'z' => character - b'a' + 26,
            b'0'..=b'9' => character - b'0' + 52,
            b'-' => 62,
            b'_' => 63,
            other => panic!("{other} is not base64url"),
        };
        held = held << 6 | u32::from(value);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((held >> bits) as u8);
        }
    }
    Selector::from_bytes(bytes[..16].try_into().expect("a token has 32 bytes"))
}

/// Sends a request with exactly these Cookie fields.
pub async fn with_cookies(browser: &Browser, uri: &str, fields: &[&[u8]]) -> TestResponse {
    let mut request = Request::post(uri).body(axum::body::Body::empty()).expect("a request");
    for field in fields {
        request.headers_mut().append(header::COOKIE, HeaderValue::from_bytes(field).expect("a header value"));
    }
    browser.send(request).await
}

/// What a response does to our cookie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CookieEffect {
    Nothing,
    Set(String),
    Clear,
}

/// What a response does to our cookie; more than one Set-Cookie of our name fails the test.
pub fn effect(response: &TestResponse) -> CookieEffect {
    let ours: Vec<String> =
        response.set_cookies().into_iter().filter_map(|line| Some(line.strip_prefix("__Host-id=")?.to_owned())).collect();
    assert!(ours.len() < 2, "one cookie is set twice: {ours:?}");
    match ours.first() {
        None => CookieEffect::Nothing,
        Some(line) if line.contains("Max-Age=0") => CookieEffect::Clear,
        Some(line) => CookieEffect::Set(line.split(';').next().unwrap_or_default().to_owned()),
    }
}

/// Every event of the library on this thread while it is alive.
pub struct Events {
    lines: Arc<Mutex<Vec<String>>>,
    _guard: tracing::subscriber::DefaultGuard,
}

impl Events {
    pub fn capture() -> Self {
        let lines = Arc::<Mutex<Vec<String>>>::default();
        let subscriber = Listener { lines: Arc::clone(&lines) };
        Self { lines, _guard: tracing::subscriber::set_default(subscriber) }
    }

    /// What was said since the last call.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.lines.lock().expect("no test panics here"))
    }

    /// How many events of that name were seen since the last call.
    pub fn count(&self, name: &str) -> usize {
        let name = format!("event={name:?}");
        self.take().iter().filter(|line| line.contains(&name)).count()
    }
}

struct Listener {
    lines: Arc<Mutex<Vec<String>>>,
}

impl tracing::Subscriber for Listener {
    fn register_callsite(&self, _: &'static tracing::Metadata<'static>) -> tracing::subscriber::Interest {
        // Tests run in parallel, each with a subscriber of its own, so nobody may answer for all of them.
        tracing::subscriber::Interest::sometimes()
    }

    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target() == "cloakroom"
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        self.lines.lock().expect("no test panics here").push(line.0);
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

struct Line(String);

impl tracing::field::Visit for Line {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn fmt::Debug) {
        let _ = write!(self.0, " {}={value:?}", field.name());
    }
}

/// A generator of numbers for what may be random in a test, from a seed that is printed.
pub struct Dice(u64);

impl Dice {
    /// From `CLOAKROOM_TEST_SEED`, or from the time.
    pub fn new(what: &str) -> Self {
        let by_time = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(1, |since| since.as_nanos() as u64);
        let seed = std::env::var("CLOAKROOM_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(by_time);
        println!("{what}: CLOAKROOM_TEST_SEED={seed}");
        Self(seed)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        // splitmix64: every seed is a good one.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}
