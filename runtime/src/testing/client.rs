//! A client that drives a service in process and keeps its cookies like a browser in the small.

use super::lock;
use crate::clock::{Clock, SystemClock};
use axum_core::body::Body;
use bytes::{BufMut, Bytes, BytesMut};
use cookie::Cookie;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use std::{
    fmt,
    future::poll_fn,
    pin::pin,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};
use tower_service::Service;

/// A browser in the small: sends requests to a service in the same process and keeps the cookies of its answers.
///
/// It follows what a browser does with one host: a cookie is known by name and path, is sent where its path matches, ends
/// with Max-Age or Expires, and is deleted by a date in the past; a `__Host-` or `__Secure-` name without the attributes it
/// promises is refused. `Domain` is ignored, there being one host. `Secure` is ignored too, unless
/// [`plain_http`](TestClient::plain_http) says otherwise. A request that brings its own Cookie field is sent as it is.
///
/// A clone is another tab of the same browser: it shares the cookies. A [`fork`](TestClient::fork) is another browser that
/// starts with a copy of them.
///
/// ```
/// use axum::{Router, http::HeaderMap, routing::get};
/// use cloakroom::testing::TestClient;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let app = Router::new()
///     .route("/hello", get(|| async { ([("set-cookie", "name=Ada; Path=/")], "hello") }))
///     .route("/again", get(|headers: HeaderMap| async move { format!("{:?}", headers["cookie"]) }));
/// let browser = TestClient::new(app);
///
/// assert_eq!(browser.get("/hello").await.text(), "hello");
/// assert_eq!(browser.cookie("name").as_deref(), Some("Ada"));
/// assert_eq!(browser.get("/again").await.text(), "\"name=Ada\"");
/// # }
/// ```
#[derive(Clone)]
pub struct TestClient<S> {
    app: S,
    jar: Arc<Mutex<Vec<Kept>>>,
    clock: Arc<dyn Clock>,
    transport: Transport,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transport {
    /// `Secure` cookies are kept and sent.
    Any,
    /// `Secure` cookies are neither kept nor sent.
    PlainHttp,
}

/// A cookie in the jar.
#[derive(Clone)]
struct Kept {
    name: String,
    value: String,
    path: String,
    /// `None` lasts until the browser is closed.
    expires: Option<SystemTime>,
    protection: Protection,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Protection {
    None,
    Secure,
}

impl<S> TestClient<S> {
    /// A browser without cookies in front of that service, such as an `axum::Router`. It goes by the system's clock.
    pub fn new(app: S) -> Self {
        Self { app, jar: Arc::default(), clock: Arc::new(SystemClock), transport: Transport::Any }
    }

    /// Lets cookies expire by that clock: give it the clock of the layer.
    ///
    /// ```
    /// use axum::{Router, routing::get};
    /// use cloakroom::testing::{ManualClock, TestClient};
    /// use std::time::{Duration, SystemTime};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let clock = ManualClock::new(SystemTime::UNIX_EPOCH);
    /// let app = Router::new().route("/", get(|| async { [("set-cookie", "a=1; Max-Age=60")] }));
    /// let browser = TestClient::new(app).clock(clock.clone());
    /// browser.get("/").await;
    /// clock.advance(Duration::from_secs(60));
    /// assert_eq!(browser.cookie("a"), None);
    /// # }
    /// ```
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Behaves as over plain http: `Secure` cookies are neither kept nor sent. *When to change it*: to see what users of a
    /// deployment without TLS would see.
    ///
    /// ```
    /// use axum::{Router, routing::get};
    /// use cloakroom::testing::TestClient;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let app = Router::new().route("/", get(|| async { [("set-cookie", "a=1; Secure")] }));
    /// let browser = TestClient::new(app).plain_http();
    /// browser.get("/").await;
    /// assert_eq!(browser.cookie("a"), None);
    /// # }
    /// ```
    #[must_use]
    pub fn plain_http(mut self) -> Self {
        self.transport = Transport::PlainHttp;
        self
    }

    /// Another browser with a copy of the cookies; from here on each goes its own way. This is also how to replay a token
    /// that was copied before it was rotated.
    ///
    /// ```
    /// use cloakroom::testing::TestClient;
    /// let browser = TestClient::new(axum::Router::<()>::new());
    /// browser.set_cookie("a", "1");
    /// let thief = browser.fork();
    /// browser.clear_cookies();
    /// assert_eq!(thief.cookie("a").as_deref(), Some("1"));
    /// ```
    #[must_use]
    pub fn fork(&self) -> Self
    where
        S: Clone,
    {
        let jar = Arc::new(Mutex::new(lock(&self.jar).clone()));
        Self { jar, ..self.clone() }
    }

    /// The value of a cookie that is alive now. Of several with that name, the one with the longest path.
    pub fn cookie(&self, name: &str) -> Option<String> {
        let now = self.clock.now();
        let jar = lock(&self.jar);
        let named = jar.iter().filter(|kept| kept.name == name && kept.is_alive(now));
        named.max_by_key(|kept| kept.path.len()).map(|kept| kept.value.clone())
    }

    /// Puts a cookie into the jar, for every path and until the browser is closed, in place of all others of that name.
    pub fn set_cookie(&self, name: impl Into<String>, value: impl Into<String>) {
        let (name, value) = (name.into(), value.into());
        let mut jar = lock(&self.jar);
        jar.retain(|kept| kept.name != name);
        jar.push(Kept { name, value, path: "/".to_owned(), expires: None, protection: Protection::None });
    }

    /// Forgets every cookie.
    pub fn clear_cookies(&self) {
        lock(&self.jar).clear();
    }

    /// Closes the browser and opens it again: cookies without Max-Age or Expires are gone.
    ///
    /// ```
    /// use cloakroom::testing::TestClient;
    /// let browser = TestClient::new(axum::Router::<()>::new());
    /// browser.set_cookie("a", "1");
    /// browser.restart();
    /// assert_eq!(browser.cookie("a"), None);
    /// ```
    pub fn restart(&self) {
        lock(&self.jar).retain(|kept| kept.expires.is_some());
    }

    /// The Cookie field for a request to that path: longer paths first, then older cookies, as RFC 6265 section 5.4 has it.
    fn cookie_header(&self, path: &str) -> Option<String> {
        let now = self.clock.now();
        let jar = lock(&self.jar);
        let reachable = |kept: &&Kept| kept.protection == Protection::None || self.transport == Transport::Any;
        let mut sent: Vec<&Kept> =
            jar.iter().filter(|kept| kept.is_alive(now) && matches(path, &kept.path)).filter(reachable).collect();
        sent.sort_by_key(|kept| std::cmp::Reverse(kept.path.len()));
        let pairs: Vec<String> = sent.iter().map(|kept| format!("{}={}", kept.name, kept.value)).collect();
        (!pairs.is_empty()).then(|| pairs.join("; "))
    }

    fn keep(&self, set_cookie: &str, request_path: &str) {
        let Ok(parsed) = Cookie::parse(set_cookie) else { return };
        let protection = if parsed.secure() == Some(true) { Protection::Secure } else { Protection::None };
        if !prefix_holds(&parsed, protection) || (protection == Protection::Secure && self.transport == Transport::PlainHttp) {
            return;
        }
        let now = self.clock.now();
        let path = match parsed.path() {
            Some(path) if path.starts_with('/') => path.to_owned(),
            _ => default_path(request_path).to_owned(),
        };
        let expires = match (parsed.max_age(), parsed.expires_datetime()) {
            (Some(age), _) => Some(after(now, age.whole_seconds())),
            (None, Some(date)) => Some(after(SystemTime::UNIX_EPOCH, date.unix_timestamp())),
            (None, None) => None,
        };
        let new = Kept { name: parsed.name().to_owned(), value: parsed.value().to_owned(), path, expires, protection };
        let mut jar = lock(&self.jar);
        jar.retain(Kept::lives_at(now));
        match jar.iter_mut().find(|kept| kept.name == new.name && kept.path == new.path) {
            // In place, because a replaced cookie keeps its age in the order of sending.
            Some(old) => *old = new,
            None => jar.push(new),
        }
        jar.retain(Kept::lives_at(now));
    }
}

impl<S, B> TestClient<S>
where
    S: Service<Request<Body>, Response = Response<B>> + Clone,
    S::Error: fmt::Debug,
    B: http_body::Body,
    B::Error: fmt::Debug,
{
    /// Sends a GET without a body.
    ///
    /// # Panics
    /// As [`send`](TestClient::send).
    pub async fn get(&self, uri: &str) -> TestResponse {
        self.send(request(Method::GET, uri)).await
    }

    /// Sends a POST without a body.
    ///
    /// # Panics
    /// As [`send`](TestClient::send).
    pub async fn post(&self, uri: &str) -> TestResponse {
        self.send(request(Method::POST, uri)).await
    }

    /// Sends any request, with the cookies that belong to its path unless it brings its own Cookie field, and returns when the
    /// whole answer is there.
    ///
    /// ```
    /// use axum::{Router, body::Body, http::Request, routing::put};
    /// use cloakroom::testing::TestClient;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), axum::http::Error> {
    /// let browser = TestClient::new(Router::new().route("/name", put(|name: String| async move { name })));
    /// let request = Request::put("/name").body(Body::from("Ada"))?;
    /// assert_eq!(browser.send(request).await.text(), "Ada");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Panics
    /// If the service or the body of its answer fails: a service that answers at all answers with a status.
    #[allow(clippy::panic)] // Part of the testing kit: the panic is the test's failure.
    pub async fn send(&self, mut request: Request<Body>) -> TestResponse {
        let path = request.uri().path().to_owned();
        let what = format!("{} {}", request.method(), request.uri());
        if !request.headers().contains_key(header::COOKIE)
            && let Some(cookies) = self.cookie_header(&path)
        {
            match HeaderValue::from_str(&cookies) {
                Ok(value) => request.headers_mut().insert(header::COOKIE, value),
                Err(_) => panic!("{what}: a cookie in the jar cannot stand in a header: {cookies:?}"),
            };
        }
        let mut app = self.app.clone();
        if let Err(error) = poll_fn(|context| app.poll_ready(context)).await {
            panic!("{what}: the service is not ready: {error:?}");
        }
        let response = match app.call(request).await {
            Ok(response) => response,
            Err(error) => panic!("{what}: the service failed instead of answering: {error:?}"),
        };
        let (parts, body) = response.into_parts();
        for value in parts.headers.get_all(header::SET_COOKIE) {
            self.keep(&String::from_utf8_lossy(value.as_bytes()), &path);
        }
        match collect(body).await {
            Ok(body) => TestResponse { status: parts.status, headers: parts.headers, body },
            Err(error) => panic!("{what}: the body of the answer failed: {error:?}"),
        }
    }
}

impl<S> fmt::Debug for TestClient<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = lock(&self.jar).iter().map(|kept| kept.name.clone()).collect();
        f.debug_struct("TestClient").field("cookies", &names).finish_non_exhaustive()
    }
}

impl Kept {
    fn is_alive(&self, now: SystemTime) -> bool {
        self.expires.is_none_or(|expires| now < expires)
    }

    fn lives_at(now: SystemTime) -> impl Fn(&Self) -> bool {
        move |kept| kept.is_alive(now)
    }
}

#[allow(clippy::panic)] // Part of the testing kit: the panic is the test's failure.
fn request(method: Method, uri: &str) -> Request<Body> {
    match Request::builder().method(method).uri(uri).body(Body::empty()) {
        Ok(request) => request,
        Err(error) => panic!("`{uri}` is not a request target ({error}); write a path such as \"/cart?item=7\""),
    }
}

async fn collect<B: http_body::Body>(body: B) -> Result<Bytes, B::Error> {
    let mut body = pin!(body);
    let mut collected = BytesMut::new();
    while let Some(frame) = poll_fn(|context| body.as_mut().poll_frame(context)).await {
        if let Ok(data) = frame?.into_data() {
            collected.put(data);
        }
    }
    Ok(collected.freeze())
}

/// RFC 6265bis, section 4.1.3: what a cookie's name promises must hold, or browsers drop the cookie.
fn prefix_holds(cookie: &Cookie<'_>, protection: Protection) -> bool {
    let name = cookie.name().to_ascii_lowercase();
    let secure = protection == Protection::Secure;
    if name.starts_with("__host-") {
        secure && cookie.path() == Some("/") && cookie.domain().is_none()
    } else {
        secure || !name.starts_with("__secure-")
    }
}

/// RFC 6265, section 5.1.4: the directory of the request.
fn default_path(request_path: &str) -> &str {
    match request_path.rfind('/') {
        None | Some(0) => "/",
        Some(last) => &request_path[..last],
    }
}

/// RFC 6265, section 5.1.4: the same path, or one below it.
fn matches(request_path: &str, cookie_path: &str) -> bool {
    request_path
        .strip_prefix(cookie_path)
        .is_some_and(|rest| rest.is_empty() || cookie_path.ends_with('/') || rest.starts_with('/'))
}

fn after(start: SystemTime, seconds: i64) -> SystemTime {
    let distance = Duration::from_secs(seconds.unsigned_abs());
    let moved = if seconds < 0 { start.checked_sub(distance) } else { start.checked_add(distance) };
    moved.unwrap_or(start)
}

/// An answer, with its whole body.
///
/// ```
/// use axum::{Router, http::StatusCode, routing::get};
/// use cloakroom::testing::TestClient;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let app = Router::new().route("/", get(|| async { (StatusCode::CREATED, [("set-cookie", "a=1; Path=/")], "made") }));
/// let response = TestClient::new(app).get("/").await;
/// assert_eq!(response.status(), StatusCode::CREATED);
/// assert_eq!(response.headers()["content-type"], "text/plain; charset=utf-8");
/// assert_eq!(response.set_cookies(), ["a=1; Path=/"]);
/// assert_eq!(response.text(), "made");
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct TestResponse {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl TestResponse {
    /// The status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The header fields.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Every Set-Cookie field as it was sent, in order.
    pub fn set_cookies(&self) -> Vec<String> {
        let fields = self.headers.get_all(header::SET_COOKIE).iter();
        fields.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect()
    }

    /// The body as text; what is not UTF-8 in it is replaced by U+FFFD.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as it was sent.
    pub fn bytes(&self) -> &Bytes {
        &self.body
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::testing::ManualClock;
    use std::convert::Infallible;

    /// Answers with the Set-Cookie fields of the request's `x-set` fields and, as the body, with the cookies received.
    #[derive(Clone)]
    struct Echo;

    impl Service<Request<Body>> for Echo {
        type Response = Response<Body>;
        type Error = Infallible;
        type Future = std::future::Ready<Result<Response<Body>, Infallible>>;

        fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Infallible>> {
            std::task::Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: Request<Body>) -> Self::Future {
            let received: Vec<&str> =
                request.headers().get_all(header::COOKIE).iter().map(|value| value.to_str().unwrap()).collect();
            let mut response = Response::new(Body::from(received.join(" | ")));
            for value in request.headers().get_all("x-set") {
                response.headers_mut().append(header::SET_COOKIE, value.clone());
            }
            std::future::ready(Ok(response))
        }
    }

    async fn set(browser: &TestClient<Echo>, uri: &str, cookies: &[&str]) {
        let mut builder = Request::get(uri);
        for cookie in cookies {
            builder = builder.header("x-set", *cookie);
        }
        browser.send(builder.body(Body::empty()).unwrap()).await;
    }

    fn browser() -> (TestClient<Echo>, ManualClock) {
        let clock = ManualClock::new(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000));
        (TestClient::new(Echo).clock(clock.clone()), clock)
    }

    #[tokio::test]
    async fn cookies_are_sent_where_their_path_matches_longest_first() {
        let (browser, _) = browser();
        set(&browser, "/shop/cart", &["root=1; Path=/", "shop=2; Path=/shop", "here=3", "root=4; Path=/shop/"]).await;
        assert_eq!(browser.get("/").await.text(), "root=1");
        assert_eq!(browser.get("/shop").await.text(), "shop=2; here=3; root=1");
        assert_eq!(browser.get("/shop/x").await.text(), "root=4; shop=2; here=3; root=1");
        assert_eq!(browser.get("/shopping").await.text(), "root=1");
        assert_eq!(browser.cookie("root").as_deref(), Some("4"));
    }

    #[tokio::test]
    async fn cookies_end_by_the_given_clock() {
        let (browser, clock) = browser();
        set(
            &browser,
            "/",
            &[
                "age=1; Max-Age=60; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
                "both=1",
                "date=1; Expires=Fri, 15 Jan 2027 08:01:00 GMT",
            ],
        )
        .await;
        assert_eq!(browser.get("/").await.text(), "age=1; both=1; date=1");
        clock.advance(Duration::from_secs(59));
        assert_eq!(browser.get("/").await.text(), "age=1; both=1; date=1");
        clock.advance(Duration::from_secs(1));
        assert_eq!(browser.get("/").await.text(), "both=1");
    }

    #[tokio::test]
    async fn a_past_date_or_a_zero_age_deletes_only_the_cookie_of_the_same_path() {
        let (browser, _) = browser();
        set(&browser, "/", &["a=1; Path=/", "b=1; Path=/"]).await;
        set(&browser, "/", &["a=; Path=/elsewhere; Max-Age=0"]).await;
        assert_eq!(browser.cookie("a").as_deref(), Some("1"));
        set(&browser, "/", &["a=; Path=/; Max-Age=0", "b=; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT"]).await;
        assert_eq!((browser.cookie("a"), browser.cookie("b")), (None, None));
    }

    #[tokio::test]
    async fn a_name_that_promises_too_much_is_refused_as_browsers_do() {
        let (browser, _) = browser();
        set(
            &browser,
            "/",
            &["__Host-a=1; Path=/", "__Host-b=1; Secure; Path=/x", "__Secure-c=1", "__Host-d=1; Secure; Path=/"],
        )
        .await;
        assert_eq!(browser.get("/").await.text(), "__Host-d=1");
    }

    #[tokio::test]
    async fn secure_cookies_stay_at_home_on_plain_http_only() {
        let (browser, _) = browser();
        set(&browser, "/", &["a=1; Secure; Path=/"]).await;
        assert_eq!(browser.get("/").await.text(), "a=1");
        assert_eq!(browser.clone().plain_http().get("/").await.text(), "");
        let plain = TestClient::new(Echo).plain_http();
        set(&plain, "/", &["a=1; Secure; Path=/"]).await;
        assert_eq!(plain.cookie("a"), None);
    }

    #[tokio::test]
    async fn tabs_share_the_cookies_and_forks_copy_them() {
        let (browser, _) = browser();
        let (tab, fork) = (browser.clone(), browser.fork());
        browser.set_cookie("a", "1");
        assert_eq!(tab.cookie("a").as_deref(), Some("1"));
        assert_eq!(fork.cookie("a"), None);
        tab.clear_cookies();
        assert_eq!(browser.cookie("a"), None);
    }

    #[tokio::test]
    async fn a_restart_forgets_browser_session_cookies_only() {
        let (browser, _) = browser();
        set(&browser, "/", &["short=1; Path=/", "long=1; Path=/; Max-Age=60"]).await;
        browser.restart();
        assert_eq!(browser.get("/").await.text(), "long=1");
    }

    #[tokio::test]
    async fn a_request_with_its_own_cookie_fields_is_sent_as_it_is() {
        let (browser, _) = browser();
        browser.set_cookie("a", "1");
        let request = Request::get("/").header("cookie", "a=2").header("cookie", "a=3").body(Body::empty()).unwrap();
        assert_eq!(browser.send(request).await.text(), "a=2 | a=3");
    }

    #[tokio::test]
    async fn tabs_of_a_browser_run_in_tasks_of_their_own() {
        let browser = TestClient::new(axum::Router::<()>::new().route("/", axum::routing::get(|| async { "here" })));
        let tabs: Vec<_> = (0..4).map(|_| browser.clone()).map(|tab| tokio::spawn(async move { tab.get("/").await })).collect();
        for tab in tabs {
            assert_eq!(tab.await.unwrap().text(), "here");
        }
    }

    #[tokio::test]
    #[should_panic(expected = "`no path` is not a request target")]
    async fn a_request_target_that_is_none_is_named() {
        browser().0.get("no path").await;
    }

    #[test]
    fn debug_shows_names_and_no_values() {
        let (browser, _) = browser();
        browser.set_cookie("id", "token");
        assert!(!format!("{browser:?}").contains("token"));
    }
}
