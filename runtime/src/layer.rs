//! The tower layer: puts a slot into every request, and settles it before the response's head goes out.

use crate::{
    clock::Clock,
    config::{Config, Renewal, Reuse},
    cookie::{Arrival, CookiePolicy, CookieWriter},
    error::{ErrorContext, ErrorPage, SessionError},
    events,
    hashing::SecretHasher,
    keyring::KeyRing,
    lifetime::Lifetime,
    session::{Answer, Attempt, CookieEffect, Outlook, Sessions, Slot, Turn},
    store::{IntoBackend, ServerSide},
};
use axum_core::{body::Body, response::Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use http_body::Body as HttpBody;
use pin_project_lite::pin_project;
use std::{
    error::Error,
    fmt,
    marker::PhantomData,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};
use tower_layer::Layer;
use tower_service::Service;

/// Sessions for every route below it.
///
/// Add it to a router with `.layer(..)`, after the routes. It costs nothing on routes whose handlers take no session: no cookie is
/// parsed and no store is called.
///
/// A layer inside another one of the same cookie name joins it: the record is loaded once and committed once, by the outer layer,
/// in the outer layer's store and under the inner layer's policy; the event `session.ignored_store` says if the inner layer has another store.
/// Layers with other cookie names belong on different routes.
///
/// Layers beside each other need a cookie name each, unless they have clones of one store: a layer takes a token of another store for a
/// session that has ended, and clears the cookie. The same holds for two applications on one host, whatever their ports.
///
/// # Time limits and retries
/// A middleware that drops a handler half-way, or runs it twice, belongs outside of this layer: add it after the layer. Then what a
/// dropped handler or a failed attempt has changed is dropped with it.
///
/// Where it has to lie inside, the layer cannot tell a handler that was dropped from one that has returned: a status of 408 or 5xx
/// stores nothing, but a fallback with another status would store half of a change. Add the layer once more, below that middleware:
///
/// ```
/// # use axum::{Router, extract::Request, middleware::{Next, from_fn}, response::Response, routing::get};
/// # use cloakroom::{SessionLayer, store::MemoryStore};
/// # async fn or_else_later(request: Request, next: Next) -> Response { next.run(request).await }
/// let sessions = SessionLayer::new(MemoryStore::new());
/// let app: Router = Router::new()
///     .route("/", get(|| async { "home" }))
///     .layer(sessions.clone()) // each run of a handler stores all that it has changed, or nothing
///     .layer(from_fn(or_else_later)) // drops a slow handler and answers instead
///     .layer(sessions);
/// ```
///
/// # Example
/// ```
/// use axum::{Router, routing::get};
/// use cloakroom::{Lifetime, SessionData, SessionLayer, TypedSession, store::MemoryStore};
///
/// #[derive(SessionData)]
/// struct Visitor { visits: u64 }
///
/// async fn home(mut session: TypedSession<Visitor>) -> String {
///     *session.visits += 1;
///     format!("visit no. {}", session.visits)
/// }
///
/// let sessions = SessionLayer::new(MemoryStore::new()).lifetime(Lifetime::nist_aal2());
/// let app: Router = Router::new().route("/", get(home)).layer(sessions);
/// ```
pub struct SessionLayer<Side = ServerSide> {
    config: Arc<Config>,
    side: PhantomData<fn() -> Side>,
}

impl<Side> SessionLayer<Side> {
    /// Sessions in this store.
    ///
    /// Two layers with different stores, and two applications on one host, need different cookie names ([`CookiePolicy::name`]), or each ends the
    /// other's sessions. Clone one store for two layers that are to share their sessions.
    ///
    /// ```
    /// use cloakroom::{SessionLayer, store::MemoryStore};
    /// let sessions = SessionLayer::new(MemoryStore::new());
    /// # let _ = sessions;
    /// ```
    pub fn new<B: IntoBackend<Side = Side>>(backend: B) -> Self {
        Self { config: Arc::new(Config::new(backend.into_backend())), side: PhantomData }
    }

    /// How long sessions live. *Default*: 24 hours idle, 30 days in all.
    ///
    /// ```
    /// # use cloakroom::{Lifetime, SessionLayer, store::MemoryStore};
    /// let sessions = SessionLayer::new(MemoryStore::new()).lifetime(Lifetime::nist_aal3());
    /// # let _ = sessions;
    /// ```
    #[must_use]
    pub fn lifetime(self, lifetime: Lifetime) -> Self {
        self.with(|config| config.lifetime = lifetime)
    }

    /// How long persistent sessions live: those of [`set_persistent(true)`](crate::TypedSession::set_persistent), or of
    /// [`CookiePolicy::persistent`]. *Default*: as other sessions.
    ///
    /// ```
    /// # use cloakroom::{Lifetime, SessionLayer, store::MemoryStore};
    /// # use std::time::Duration;
    /// let month = Duration::from_secs(30 * 24 * 3600);
    /// let sessions = SessionLayer::new(MemoryStore::new()).remember(Lifetime::new(month, 3 * month)?);
    /// # let _ = sessions;
    /// # Ok::<(), cloakroom::LifetimeError>(())
    /// ```
    #[must_use]
    pub fn remember(self, lifetime: Lifetime) -> Self {
        self.with(|config| config.remember = Some(lifetime))
    }

    /// Replaces the token of a session every so often (OWASP Session Management Cheat Sheet, "renewal timeout"). *Default*: never; the
    /// token of a session changes when what it may do does.
    ///
    /// A token that was copied then works for that long, rather than for the session's lifetime. The one before works until
    /// the new one has been presented once, so a response that is lost on its way locks nobody out, and for `grace` after that,
    /// for the requests that were under way. Some seconds are enough; a minute suits slow networks.
    ///
    /// Where nobody presents the new one for as long as a session may be idle, while the one before is in use, its response was lost:
    /// another one takes its place, and the session is renewed again as ever. Who has received it and comes back later finds their
    /// session ended, as after any such absence.
    ///
    /// It costs a write every so often. With a `CookieStore` it does nothing, since old copies work until their deadline there
    /// whatever comes after them; an event says so.
    ///
    /// ```
    /// # use cloakroom::{SessionLayer, store::MemoryStore};
    /// use std::time::Duration;
    /// let sessions = SessionLayer::new(MemoryStore::new()).renew(Duration::from_secs(15 * 60), Duration::from_secs(10));
    /// # let _ = sessions;
    /// ```
    #[must_use]
    pub fn renew(self, every: Duration, grace: Duration) -> Self {
        self.where_records_are_stored("renew").with(|config| config.renewal = Some(Renewal { every, grace }))
    }

    /// Keeps hashes of secrets under a key that the store does not have, bound to the session and to its owner. *Default*: hashes without a key.
    ///
    /// A stolen copy of the store opens no session either way. This is for a thief who can *write* to it. Without it, they put the
    /// hash of a secret of their own into a record, or another owner into their own session, and are that owner. With it, a record opens
    /// for the tokens that were issued for this session and this owner, and for no other. They can still change the fields that
    /// are not `secret`, and all of them in the session that is theirs, put back older states of a record, and end sessions.
    ///
    /// *When*: others can write to the store, or a copy of it may be restored. It costs a hash more per request, and no call of the store
    /// for anonymous sessions. For sessions with an owner, a store that notes the use of a session while it loads it (`MemoryStore`, Redis)
    /// notes it with the response instead, at most once per fifth of the idle time.
    ///
    /// The ring is that of a `CookieStore`, and so is the procedure by which a key is replaced: the active key hashes the secrets of
    /// new tokens, a token of any listed key is accepted, and a session comes under the active key with its next token. Turning this on or off
    /// ends the sessions there are. So does an `owner` field that was an ordinary one before, for those sessions in
    /// which it names an owner: the record does not vouch for that.
    ///
    /// With a `CookieStore` it does nothing, since the whole record is sealed there; an event says so. Of nested layers the keys of the outer one
    /// count, as its store does.
    ///
    /// ```no_run
    /// use cloakroom::{KeyRing, SessionLayer, store::MemoryStore};
    /// let sessions = SessionLayer::new(MemoryStore::new()).keyed(KeyRing::from_env("SESSION_KEYS")?);
    /// # let _ = sessions;
    /// # Ok::<(), cloakroom::KeyRingError>(())
    /// ```
    #[must_use]
    pub fn keyed(self, keys: KeyRing) -> Self {
        let stored = !self.config.backend.is_client_side();
        self.where_records_are_stored("keyed").with(|config| {
            if stored {
                config.hasher = SecretHasher::keyed(&keys);
            }
        })
    }

    /// What becomes of a session when a token that was replaced turns up again. *Default*: [`Reuse::Refuse`].
    ///
    /// ```
    /// # use cloakroom::{Reuse, SessionLayer, store::MemoryStore};
    /// let sessions = SessionLayer::new(MemoryStore::new()).reuse(Reuse::EndSession);
    /// # let _ = sessions;
    /// ```
    #[must_use]
    pub fn reuse(self, reuse: Reuse) -> Self {
        self.where_records_are_stored("reuse").with(|config| config.reuse = reuse)
    }

    /// How many sessions an owner may have at once, at least one (OWASP ASVS 5.0, 7.1.2). *Default*: any number.
    ///
    /// Signing in to one more ends those that were signed in first; [`reauthenticated`](crate::TypedSession::reauthenticated) counts as
    /// signing in. The order is counted in the records and goes by no clock, so the session that signs in now stays, however the
    /// servers' clocks differ. Of sign-ins at the very same time as many stay as are allowed, and all of them may be there for a moment.
    ///
    /// A sign-in looks at the owner's sessions before its commit and after it, and ends at most a hundred of them; the next one goes on. It is
    /// a sign-in all the same where the store fails at that. Sessions that signed in before this was configured count as older than those
    /// after. With a `CookieStore` it does nothing, since there is no list of sessions; an event says so.
    ///
    /// ```
    /// # use cloakroom::{SessionLayer, store::MemoryStore};
    /// let sessions = SessionLayer::new(MemoryStore::new()).max_sessions(5);
    /// # let _ = sessions;
    /// ```
    #[must_use]
    pub fn max_sessions(self, most: usize) -> Self {
        self.where_records_are_stored("max_sessions").with(|config| config.most_sessions = Some(most.max(1)))
    }

    /// The cookie's name and attributes. *Default*: [`CookiePolicy::default`].
    ///
    /// ```
    /// # use cloakroom::{CookiePolicy, SessionLayer, store::MemoryStore};
    /// let sessions = SessionLayer::new(MemoryStore::new()).cookie(CookiePolicy::default().name("__Host-shop")?);
    /// # let _ = sessions;
    /// # Ok::<(), cloakroom::CookiePolicyError>(())
    /// ```
    #[must_use]
    pub fn cookie(self, policy: CookiePolicy) -> Self {
        self.with(|config| {
            config.cookie = CookieWriter::new(&policy);
            config.policy = policy;
        })
    }

    /// Where "now" comes from. *Default*: [`SystemClock`](crate::SystemClock). For tests.
    ///
    /// ```
    /// # use cloakroom::{SessionLayer, SystemClock, store::MemoryStore};
    /// let sessions = SessionLayer::new(MemoryStore::new()).clock(SystemClock);
    /// # let _ = sessions;
    /// ```
    #[must_use]
    pub fn clock(self, clock: impl Clock) -> Self {
        self.with(|config| config.clock = Arc::new(clock))
    }

    /// What a visitor sees when a session cannot be loaded or stored. *Default*: [`SessionError::default_response`].
    ///
    /// The response replaces the handler's. Keep the error's [status](SessionError::status), and `Retry-After` on a 503.
    ///
    /// ```
    /// # use cloakroom::{SessionLayer, store::MemoryStore};
    /// use axum_core::response::IntoResponse;
    /// let sessions = SessionLayer::new(MemoryStore::new())
    ///     .on_error(|error, request| (error.status(), format!("{} needs your session.", request.uri.path())).into_response());
    /// # let _ = sessions;
    /// ```
    #[must_use]
    pub fn on_error(self, hook: impl Fn(&SessionError, &ErrorContext) -> Response + Send + Sync + 'static) -> Self {
        self.with(|config| config.page = ErrorPage::hook(hook))
    }

    /// For which response status changed fields are stored. *Default*: all but 5xx and 408 (a time limit has dropped the handler
    /// half-way).
    ///
    /// It gates field changes that are not saved yet; what it excludes is the event `session.changes_discarded`. A `destroy()`, and the
    /// cookie of what `save()` stored, go out whatever the status. The answer to a `HEAD` request never stores changed fields.
    ///
    /// ```
    /// # use cloakroom::{SessionLayer, store::MemoryStore};
    /// let sessions = SessionLayer::new(MemoryStore::new()).commit_when(|status| status.is_success() || status.is_redirection());
    /// # let _ = sessions;
    /// ```
    #[must_use]
    pub fn commit_when(self, decide: impl Fn(StatusCode) -> bool + Send + Sync + 'static) -> Self {
        self.with(|config| config.commit_when = Arc::new(decide))
    }

    /// Says so where a setting has nothing to act on.
    fn where_records_are_stored(self, setting: &'static str) -> Self {
        if self.config.backend.is_client_side() {
            events::without_effect(setting);
        }
        self
    }

    fn with(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(Arc::make_mut(&mut self.config));
        self
    }
}

impl SessionLayer<ServerSide> {
    /// The sessions of owners, outside of a request: for an administrator's tool, or a message from an identity provider. In a
    /// handler take [`Sessions`] as an argument.
    ///
    /// ```
    /// use cloakroom::{SessionData, SessionLayer, store::MemoryStore};
    ///
    /// #[derive(SessionData)]
    /// struct Shop {
    ///     #[session(owner)]
    ///     user: Option<u64>,
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), cloakroom::SessionError> {
    /// let layer = SessionLayer::new(MemoryStore::new());
    /// let sessions = layer.sessions();
    /// // The account was disabled:
    /// assert_eq!(sessions.revoke_all::<Shop>(&42).await?, 0, "they were not signed in");
    /// # Ok(())
    /// # }
    /// ```
    pub fn sessions(&self) -> Sessions {
        Sessions::outside(Arc::clone(&self.config))
    }
}

impl<Side> Clone for SessionLayer<Side> {
    fn clone(&self) -> Self {
        Self { config: Arc::clone(&self.config), side: PhantomData }
    }
}

impl<Side> fmt::Debug for SessionLayer<Side> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SessionLayer").field(&self.config).finish()
    }
}

impl<S, Side> Layer<S> for SessionLayer<Side> {
    type Service = SessionService<S>;

    fn layer(&self, inner: S) -> SessionService<S> {
        SessionService { inner, config: Arc::clone(&self.config) }
    }
}

/// The service that [`SessionLayer`] makes.
///
/// ```
/// use cloakroom::{SessionLayer, SessionService, store::MemoryStore};
/// use tower_layer::Layer;
///
/// let service: SessionService<axum::Router> = SessionLayer::new(MemoryStore::new()).layer(axum::Router::new());
/// # let _ = service;
/// ```
#[derive(Clone, Debug)]
pub struct SessionService<S> {
    inner: S,
    config: Arc<Config>,
}

impl<S, B, R> Service<Request<B>> for SessionService<S>
where
    S: Service<Request<B>, Response = http::Response<R>>,
    R: HttpBody<Data = Bytes> + Send + 'static,
    R::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        if let Some(outer) = request.extensions().get::<Slot>() {
            let context = self.config.page.context(request.method(), request.uri(), request.headers());
            return match outer.join(&self.config, context.clone()) {
                Ok(()) => {
                    let attempt = Some(Attempt::begin(outer.clone()));
                    ResponseFuture { state: State::Joined { inner: self.inner.call(request), attempt } }
                }
                Err(name) => {
                    let error = SessionError::NestedLayers { outer: name, inner: self.config.cookie.name().to_owned() };
                    events::failed(&error);
                    let response = self.config.page.render(&error, context.as_ref());
                    ResponseFuture { state: State::Refused { response: Some(response) } }
                }
            };
        }
        let slot = Slot::new(Arc::clone(&self.config));
        request.extensions_mut().insert(slot.clone());
        ResponseFuture { state: State::Running { inner: self.inner.call(request), turn: Some(Turn::new(slot)) } }
    }
}

pin_project! {
    /// The response of a [`SessionService`].
    ///
    /// ```
    /// use cloakroom::{ResponseFuture, SessionService};
    /// use http::{Request, Response};
    /// use tower_service::Service;
    ///
    /// /// A middleware around the service can name its future, and need not box it.
    /// fn send<S>(service: &mut SessionService<S>, request: Request<String>) -> ResponseFuture<S::Future>
    /// where
    ///     S: Service<Request<String>, Response = Response<axum_core::body::Body>>,
    /// {
    ///     service.call(request)
    /// }
    /// ```
    pub struct ResponseFuture<F> {
        #[pin]
        state: State<F>,
    }
}

impl<F> fmt::Debug for ResponseFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResponseFuture")
    }
}

type Settling = Pin<Box<dyn Future<Output = (Option<Answer>, Arc<Config>)> + Send>>;

pin_project! {
    #[project = StateProj]
    enum State<F> {
        // The handler is at work.
        Running { #[pin] inner: F, turn: Option<Turn> },
        // The store is at work; the response waits, so that nobody follows a redirect before the data is there.
        Settling { settling: Settling, response: Option<Response<Body>> },
        // An outer layer does the rest.
        Joined { #[pin] inner: F, attempt: Option<Attempt> },
        Refused { response: Option<Response<Body>> },
    }
}

impl<F, R, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<http::Response<R>, E>>,
    R: HttpBody<Data = Bytes> + Send + 'static,
    R::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Output = Result<Response<Body>, E>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            match self.as_mut().project().state.project() {
                StateProj::Joined { inner, attempt } => {
                    let answer = ready!(inner.poll(context));
                    if let (Ok(response), Some(attempt)) = (&answer, attempt.take()) {
                        attempt.end(response.status());
                    }
                    return Poll::Ready(answer.map(|response| response.map(Body::new)));
                }
                StateProj::Refused { response } => return Poll::Ready(Ok(take(response))),
                StateProj::Running { inner, turn } => {
                    let mut response = match ready!(inner.poll(context)) {
                        Ok(response) => response.map(Body::new),
                        // Dropping the turn drops what was not saved.
                        Err(error) => return Poll::Ready(Err(error)),
                    };
                    let Some(turn) = turn.take() else { return Poll::Ready(Ok(response)) };
                    match turn.end(response.status()) {
                        Outlook::Untouched => return Poll::Ready(Ok(response)),
                        Outlook::Settled(answer, config) => {
                            finish(&mut response, answer, &config);
                            return Poll::Ready(Ok(response));
                        }
                        Outlook::Pending(settlement) => {
                            let settling: Settling = Box::pin(settlement.settle());
                            self.as_mut().project().state.set(State::Settling { settling, response: Some(response) });
                        }
                    }
                }
                StateProj::Settling { settling, response } => {
                    let (answer, config) = ready!(settling.as_mut().poll(context));
                    let mut response = take(response);
                    if let Some(answer) = answer {
                        finish(&mut response, answer, &config);
                    }
                    return Poll::Ready(Ok(response));
                }
            }
        }
    }
}

/// A future that is polled again after it was ready has nothing to give; the contract says not to.
fn take(response: &mut Option<Response<Body>>) -> Response<Body> {
    response.take().unwrap_or_default()
}

/// Turns the settled session into headers.
fn finish(response: &mut Response<Body>, answer: Answer, config: &Config) {
    if let Some((error, context)) = &answer.failure {
        *response = config.page.render(error, context.as_ref());
    }
    let headers = response.headers_mut();
    let cookie = match &answer.cookie {
        CookieEffect::Leave => None,
        CookieEffect::Clear => Some(config.cookie.delete()),
        CookieEffect::Set { value, until } => config.cookie.set(value, until.map(|until| config.now().until(until))),
    };
    // RFC 9111, section 4.1: whoever is served from a cache must have sent the same cookie.
    headers.append(header::VARY, HeaderValue::from_static("cookie"));
    if let (CookieEffect::Set { .. }, Arrival::PlainHttp(host)) = (&answer.cookie, &answer.arrival) {
        config.warn_of_plain_http(host);
    }
    let clears_former = answer.clears_former && config.cookie.has_former();
    if cookie.is_some() || clears_former {
        if let Some(cookie) = cookie {
            drop_own_cookies(headers, config.cookie.name());
            headers.append(header::SET_COOKIE, cookie);
        }
        if clears_former {
            // Of the same name perhaps, and yet other cookies: none of these reaches the one above.
            for former in config.cookie.delete_former() {
                headers.append(header::SET_COOKIE, former);
            }
        }
        if !says_no_store(headers) {
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
        }
    } else if answer.personal && !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    }
}

fn says_no_store(headers: &HeaderMap) -> bool {
    headers.get_all(header::CACHE_CONTROL).iter().any(|value| {
        value.as_bytes().split(|byte| *byte == b',').any(|directive| directive.trim_ascii().eq_ignore_ascii_case(b"no-store"))
    })
}

/// A response must not set one cookie twice (RFC 6265, section 4.1.1). A name is what browsers take for it: what is before the first `=`,
/// without the blanks around it, in this very case (RFC 6265bis, section 5.6).
fn drop_own_cookies(headers: &mut HeaderMap, name: &str) {
    let is_ours = |value: &HeaderValue| {
        let pair = value.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
        pair.iter().position(|byte| *byte == b'=').is_some_and(|end| pair[..end].trim_ascii() == name.as_bytes())
    };
    if headers.get_all(header::SET_COOKIE).iter().any(is_ours) {
        let others: Vec<HeaderValue> =
            headers.get_all(header::SET_COOKIE).iter().filter(|value| !is_ours(value)).cloned().collect();
        headers.remove(header::SET_COOKIE);
        for other in others {
            headers.append(header::SET_COOKIE, other);
        }
    }
}
