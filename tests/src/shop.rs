//! A store that is watched and disturbed, a clock that stands still, and what it takes to look behind the application's back.

use crate::site::{COOKIE, record, selector};
use axum::{Router, body::Body};
use cloakroom::{
    Clock, SessionLayer,
    record::{CellBody, CellKey, CommitOutcome, Patch, Put, Record, Selector, Timestamp},
    store::{MemoryStore, SessionStore},
    testing::{FaultStore, ManualClock, SpyStore, TestClient, TestResponse},
};
use http::{HeaderValue, Request, header};
use std::time::{Duration, SystemTime};

/// A browser in front of a router.
pub type Browser = TestClient<Router>;

/// A store under observation, and the clock of everything around it.
#[derive(Clone)]
pub struct House<S = MemoryStore> {
    /// The store of every layer.
    pub store: SpyStore<FaultStore<S>>,
    /// The clock of everything.
    pub clock: ManualClock,
}

impl House {
    /// A store in memory.
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
    /// Any store.
    pub fn over(store: S) -> Self {
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        Self { store: SpyStore::new(FaultStore::new(store)), clock: ManualClock::new(start) }
    }

    /// Where faults are scripted.
    pub fn faults(&self) -> &FaultStore<S> {
        self.store.inner()
    }

    /// A layer with the defaults, over the store and the clock.
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

    /// What the clock says.
    pub fn now(&self) -> Timestamp {
        self.clock.now().into()
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
        record(self.faults().inner(), key, self.now()).await
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

/// Sends a request with exactly these Cookie fields.
pub async fn with_cookies(browser: &Browser, uri: &str, fields: &[&[u8]]) -> TestResponse {
    let mut request = Request::post(uri).body(Body::empty()).expect("a request");
    for field in fields {
        request.headers_mut().append(header::COOKIE, HeaderValue::from_bytes(field).expect("a header value"));
    }
    browser.send(request).await
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

    /// Another generator, for a task beside.
    pub fn split(&mut self) -> Self {
        Self(self.below(u64::MAX))
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
