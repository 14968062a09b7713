//! A small shop on any backend, a browser in front of it, and the eyes to see what went over the wire.

use axum::{Router, body::Body, extract::Path, routing::any};
use base64ct::{Base64UrlUnpadded, Encoding};
use cloakroom::{
    Clock, CookiePolicy, KeyRing, Lifetime, SessionData, SessionLayer, TypedSession,
    record::{Presented, Record, SecretHash, Selector, Timestamp, Want},
    store::{CookieStore, IntoBackend, MemoryStore, SessionStore, SqliteStore},
    testing::{FaultStore, ManualClock, SpyStore, TestClient, TestResponse},
};
use http::{HeaderValue, Request, header};
use std::time::{Duration, SystemTime};

/// The cookie of a layer that was not told otherwise.
pub const COOKIE: &str = "__Host-id";

/// What the shop says to somebody it does not know.
pub const FRESH: &str = ":0";

/// A store that is watched and can be disturbed.
pub type Watched<S = MemoryStore> = SpyStore<FaultStore<S>>;

/// A store in memory that is watched and can be disturbed.
pub fn watched() -> Watched {
    SpyStore::new(FaultStore::new(MemoryStore::new()))
}

/// Keys that are the same in every layer of a test.
pub fn keys() -> KeyRing {
    KeyRing::from_bytes(*b"0123456789abcdefghijklmnopqrstuv").expect("a key for tests")
}

/// So many seconds.
pub const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// A lifetime whose two limits are the same.
pub fn lifetime(length: Duration) -> Lifetime {
    Lifetime::new(length, length).expect("a possible lifetime")
}

/// What the shop keeps of a visitor.
#[derive(SessionData)]
#[session(name = "shop")]
pub struct Shop {
    /// How the visitor wants to be called.
    pub name: String,
    /// How often the visitor came.
    pub views: u64,
}

/// What the shop knows about a visitor, as it answers on every path.
pub fn show(shop: &TypedSession<Shop>) -> String {
    format!("{}:{}", shop.name, shop.views)
}

/// Routes that each do one thing with the session, for every method.
pub fn shop() -> Router {
    Router::new()
        .route("/plain", any(async || "plain"))
        .route("/", any(async |shop: TypedSession<Shop>| show(&shop)))
        .route(
            "/visit",
            any(async |mut shop: TypedSession<Shop>| {
                *shop.views += 1;
                show(&shop)
            }),
        )
        .route(
            "/name/{name}",
            any(async |Path(name): Path<String>, mut shop: TypedSession<Shop>| {
                *shop.name = name;
                show(&shop)
            }),
        )
        .route(
            "/long-name/{length}",
            any(async |Path(length): Path<usize>, mut shop: TypedSession<Shop>| *shop.name = "x".repeat(length)),
        )
        .route("/same", any(async |mut shop: TypedSession<Shop>| *shop.views += 0))
        .route("/rotate", any(async |mut shop: TypedSession<Shop>| shop.rotate()))
        .route("/destroy", any(async |mut shop: TypedSession<Shop>| shop.destroy()))
        .route("/clear", any(async |mut shop: TypedSession<Shop>| shop.clear()))
        .route("/expires", any(async |shop: TypedSession<Shop>| millis(shop.expires_at())))
        .route("/created", any(async |shop: TypedSession<Shop>| millis(shop.created_at())))
        .route("/handle", any(async |shop: TypedSession<Shop>| shop.handle().map_or_else(String::new, |it| it.to_string())))
}

/// An instant as text, in milliseconds since the epoch.
pub fn millis(at: SystemTime) -> String {
    Timestamp::from(at).as_millis().to_string()
}

/// What a test wants of its layer.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// How long its sessions live.
    pub lifetime: Lifetime,
    /// What its cookie looks like.
    pub cookie: CookiePolicy,
}

impl Settings {
    /// Everything as by default but how long sessions live.
    pub fn lasting(lifetime: Lifetime) -> Self {
        Self { lifetime, ..Self::default() }
    }

    /// Everything as by default but the cookie.
    pub fn cookie(cookie: CookiePolicy) -> Self {
        Self { cookie, ..Self::default() }
    }

    /// The same with a cookie that outlives the browser.
    #[must_use]
    pub fn persistent(mut self) -> Self {
        self.cookie = self.cookie.persistent();
        self
    }
}

/// An application, a browser in front of it, and the clock of both.
pub struct Site {
    /// The backend, for messages.
    pub backend: &'static str,
    /// The browser in front of it.
    pub browser: TestClient<Router>,
    /// The clock of all three.
    pub clock: ManualClock,
}

impl Site {
    /// The shop on a backend, everything as by default.
    pub fn on<B: IntoBackend>(backend: B) -> Self {
        Self::with(backend, &Settings::default())
    }

    /// The shop on a backend.
    pub fn with<B: IntoBackend>(backend: B, settings: &Settings) -> Self {
        Self::of(backend, settings, shop())
    }

    /// Any routes on a backend.
    pub fn of<B: IntoBackend>(backend: B, settings: &Settings, routes: Router) -> Self {
        Self::at(ManualClock::new(SystemTime::UNIX_EPOCH + seconds(1_800_000_000)), backend, settings, routes)
    }

    /// Any routes on a backend, under a clock that exists already.
    pub fn at<B: IntoBackend>(clock: ManualClock, backend: B, settings: &Settings, routes: Router) -> Self {
        let layer = SessionLayer::new(backend).clock(clock.clone()).lifetime(settings.lifetime).cookie(settings.cookie.clone());
        let browser = TestClient::new(routes.layer(layer)).clock(clock.clone());
        Self { backend: std::any::type_name::<B>(), browser, clock }
    }

    /// The shop on every server-side store.
    pub async fn on_servers(settings: &Settings) -> Vec<Self> {
        let sqlite = SqliteStore::in_memory().await.expect("a database in memory");
        vec![Self::with(MemoryStore::new(), settings), Self::with(sqlite, settings)]
    }

    /// The shop on every backend.
    pub async fn everywhere(settings: &Settings) -> Vec<Self> {
        let mut sites = Self::on_servers(settings).await;
        sites.push(Self::with(CookieStore::new(keys()), settings));
        sites
    }

    /// What the clock says.
    pub fn now(&self) -> Timestamp {
        self.clock.now().into()
    }

    /// The value of the session's cookie.
    pub fn token(&self) -> String {
        self.browser.cookie(COOKIE).expect("the browser has a session")
    }

    /// Posts with these Cookie fields in place of the browser's own cookies.
    pub async fn send(&self, uri: &str, cookies: &[&[u8]]) -> TestResponse {
        let mut request = Request::post(uri).body(Body::empty()).expect("a request");
        for field in cookies {
            request.headers_mut().append(header::COOKIE, HeaderValue::from_bytes(field).expect("a header value"));
        }
        self.browser.fork().send(request).await
    }

    /// Posts with that value in our cookie, whatever the browser thinks of it.
    pub async fn present(&self, uri: &str, value: &str) -> TestResponse {
        self.send(uri, &[format!("{COOKIE}={value}").as_bytes()]).await
    }
}

/// What a response does to our cookie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It leaves the cookie alone.
    Nothing,
    /// It sets this value.
    Set(String),
    /// It takes the cookie away.
    Clear,
}

/// What a response does to our cookie; more than one Set-Cookie of its name fails the test.
pub fn effect(response: &TestResponse) -> Effect {
    let lines = response.set_cookies();
    let ours: Vec<&str> = lines.iter().filter_map(|line| line.strip_prefix("__Host-id=")).collect();
    match *ours {
        [] => Effect::Nothing,
        [line] if line.contains("; Max-Age=0;") && line.contains("; Expires=Thu, 01 Jan 1970 00:00:00 GMT") => Effect::Clear,
        [line] => Effect::Set(line.split(';').next().unwrap_or_default().to_owned()),
        _ => panic!("one cookie is set twice: {lines:?}"),
    }
}

/// The one Set-Cookie of a response.
pub fn set_cookie(response: &TestResponse) -> String {
    match &response.set_cookies()[..] {
        [line] => line.clone(),
        lines => panic!("one Set-Cookie expected: {lines:?}"),
    }
}

/// The Max-Age of a response's one Set-Cookie.
pub fn max_age(response: &TestResponse) -> Option<u64> {
    let line = set_cookie(response);
    let age = line.split("; ").find_map(|attribute| attribute.strip_prefix("Max-Age="))?;
    Some(age.parse().unwrap_or_else(|_| panic!("{age:?} is no Max-Age: {line}")))
}

/// Where the record of a token lies.
pub fn selector(token: &str) -> Selector {
    let bytes = Base64UrlUnpadded::decode_vec(token).expect("a token is base64url");
    Selector::from_bytes(bytes[..16].try_into().expect("a token has 32 bytes"))
}

/// The record under a key, read behind the application's back.
pub async fn record(store: &impl SessionStore, key: &Selector, now: Timestamp) -> Option<Record> {
    // No secret has this hash, so looking does not count as using the session.
    let nobody = Presented::new(SecretHash::from_bytes([0; 32]), now, Lifetime::default());
    store.load(key, &nobody, &Want::default()).await.expect("the store answers").map(std::sync::Arc::unwrap_or_clone)
}
