//! The tower layer that refuses requests of other sites before a handler sees them.

use super::{
    origin::{Origin, OriginError},
    source::{self, Refused},
};
use crate::events::{self, Foreign};
use axum_core::{
    body::Body,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body::Body as HttpBody;
use pin_project_lite::pin_project;
use std::{
    error::Error,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tower_layer::Layer;
use tower_service::Service;

/// Refuses requests that another site makes a visitor's browser send, unless they are of a safe method.
///
/// A browser adds the cookies of a site to requests that other sites start: cross-site request forgery. This layer refuses those
/// with 403 before any session is loaded, by what the browser itself says about their source. It needs no state, no token and no change
/// of any form, and looks at every route below it. Add it last, so that it is the outermost:
///
/// ```
/// use axum::{Router, body::Body, http::Request, routing::post};
/// use cloakroom::{SameOriginLayer, SessionData, SessionLayer, TypedSession, store::MemoryStore};
/// use tower::ServiceExt;
///
/// #[derive(SessionData)]
/// struct Account { email: Option<String> }
///
/// async fn change(mut session: TypedSession<Account>, email: String) {
///     *session.email = Some(email);
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let app = Router::new()
///     .route("/email", post(change))
///     .layer(SessionLayer::new(MemoryStore::new()))
///     .layer(SameOriginLayer::new());
///
/// let ours = Request::post("/email").header("sec-fetch-site", "same-origin").body(Body::from("ada@example.com"))?;
/// assert_eq!(app.clone().oneshot(ours).await?.status(), 200);
/// let theirs = Request::post("/email").header("sec-fetch-site", "cross-site").body(Body::from("eve@example.com"))?;
/// assert_eq!(app.oneshot(theirs).await?.status(), 403);
/// # Ok(())
/// # }
/// ```
///
/// # The rules
///
/// They are those of the OWASP CSRF Prevention Cheat Sheet for W3C Fetch Metadata, with the fallback that it calls mandatory and that
/// cannot be turned off here.
///
/// 1. GET, HEAD, OPTIONS and TRACE pass (RFC 9110, section 9.2.1): they must not change anything. A handshake for a **WebSocket** is
///    treated as unsafe though it is a GET, since no other rule keeps other sites from opening one.
/// 2. `Sec-Fetch-Site: same-origin` and `none` (typed by the visitor) pass. `cross-site` is refused, and so is `same-site`: a sibling host
///    may be somebody else's, or taken over. A value that is unknown or repeated counts as none.
/// 3. Without it, `Origin` must name the host and port of the request: those of its target under HTTP/2, else of its `Host`. `null`, several,
///    and whatever is not written as browsers do are refused.
/// 4. Without that too, `Referer` must.
/// 5. Where nothing names the source, a request with a `Cookie` is refused and one without passes, since there is nothing to ride on.
///
/// Origins given to [`trust`](SameOriginLayer::trust) pass wherever `Origin` or `Referer` would decide, and whatever `Sec-Fetch-Site` says.
///
/// # What to know
///
/// - **Clients that are no browsers** and have a session send `Origin: https://` and the host they talk to. Those that
///   authenticate without cookies, for example with a bearer token, need nothing.
/// - **Behind a proxy** that replaces `Host`, the fallback takes every page for another site's: have the proxy pass `Host` on, or
///   [`trust`](SameOriginLayer::trust) the public origin. `X-Forwarded-Host` is not read, since anybody can write it.
/// - **http and https.** Browsers send `Sec-Fetch-Site` only over TLS and to `localhost`, and then your own host over plain http is
///   `cross-site`. The fallback compares hosts and ports, since a service behind a proxy does not know its own scheme: a page of
///   `http://` and your host would pass, and an attacker on the network can write one. It does not pass where the request carries a
///   cookie named `__Host-..` or `__Secure-..`, as the session's is by default: that came over TLS. With another name, use HSTS (RFC 6797).
/// - **Pages with `Referrer-Policy: no-referrer`** make browsers send `Origin: null`. That is refused from a browser that sends no
///   `Sec-Fetch-Site`; `same-origin`, or the browsers' default, is as discreet within a site and does no harm.
/// - **Other credentials** that a browser adds by itself, such as a client certificate or an HTTP password, are protected by rules 2 to 4
///   too. Rule 5 looks at cookies only; it matters to browsers from before 2020, since all later ones send an `Origin` with unsafe requests.
/// - `SameSite`, which the cookie has by default, is a second line and no substitute: to it all subdomains are one site. A [`CsrfToken`]
///   in forms is another that does not depend on headers.
///
/// [`CsrfToken`]: crate::CsrfToken
#[derive(Clone, Debug, Default)]
pub struct SameOriginLayer {
    trusted: Arc<[Origin]>,
}

impl SameOriginLayer {
    /// The layer that trusts nobody but the host itself.
    ///
    /// ```
    /// use axum::{Router, routing::post};
    /// use cloakroom::SameOriginLayer;
    /// let app: Router = Router::new().route("/", post(|| async {})).layer(SameOriginLayer::new());
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets pages of another origin send anything. *Default*: none.
    ///
    /// *When to use it*: an identity provider that posts its answer, a frontend on another host. Such an origin can do whatever the visitor
    /// can, so trust none with contents of others, and none of plain `http` but your own machine's. The port may be left out where it is
    /// the scheme's own.
    ///
    /// # Errors
    /// If it is not an origin, `scheme://host` or `scheme://host:port`: with a path, a pattern, or `null`.
    ///
    /// ```
    /// use cloakroom::SameOriginLayer;
    /// let layer = SameOriginLayer::new().trust("https://accounts.example.com")?.trust("http://localhost:5173")?;
    /// assert!(SameOriginLayer::new().trust("accounts.example.com").is_err());
    /// # let _ = layer;
    /// # Ok::<(), cloakroom::OriginError>(())
    /// ```
    pub fn trust(mut self, origin: impl AsRef<str>) -> Result<Self, OriginError> {
        let new = Origin::typed(origin.as_ref())?;
        self.trusted = self.trusted.iter().cloned().chain([new]).collect();
        Ok(self)
    }
}

impl<S> Layer<S> for SameOriginLayer {
    type Service = SameOriginService<S>;

    fn layer(&self, inner: S) -> SameOriginService<S> {
        SameOriginService { inner, trusted: Arc::clone(&self.trusted) }
    }
}

/// The service that [`SameOriginLayer`] makes.
///
/// ```
/// use cloakroom::{SameOriginLayer, SameOriginService};
/// use tower_layer::Layer;
///
/// let service: SameOriginService<axum::Router> = SameOriginLayer::new().layer(axum::Router::new());
/// # let _ = service;
/// ```
#[derive(Clone, Debug)]
pub struct SameOriginService<S> {
    inner: S,
    trusted: Arc<[Origin]>,
}

impl<S, B, R> Service<Request<B>> for SameOriginService<S>
where
    S: Service<Request<B>, Response = http::Response<R>>,
    R: HttpBody<Data = Bytes> + Send + 'static,
    R::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = SameOriginFuture<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let state = match source::judge(&request, &self.trusted) {
            Ok(()) => State::Passed { inner: self.inner.call(request) },
            Err(refused) => State::Refused { why: refused.told() },
        };
        SameOriginFuture { state }
    }
}

impl Refused {
    /// Says so to whoever watches.
    fn told(self) -> Foreign {
        events::cross_site(self.why, self.origin.as_ref());
        self.why
    }
}

pin_project! {
    /// The response of a [`SameOriginService`].
    ///
    /// ```
    /// use cloakroom::{SameOriginFuture, SameOriginService};
    /// use http::{Request, Response};
    /// use tower_service::Service;
    ///
    /// /// A middleware around the service can name its future, and need not box it.
    /// fn send<S>(service: &mut SameOriginService<S>, request: Request<String>) -> SameOriginFuture<S::Future>
    /// where
    ///     S: Service<Request<String>, Response = Response<axum_core::body::Body>>,
    /// {
    ///     service.call(request)
    /// }
    /// ```
    pub struct SameOriginFuture<F> {
        #[pin]
        state: State<F>,
    }
}

impl<F> fmt::Debug for SameOriginFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SameOriginFuture")
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F> {
        Passed { #[pin] inner: F },
        Refused { why: Foreign },
    }
}

impl<F, R, E> Future for SameOriginFuture<F>
where
    F: Future<Output = Result<http::Response<R>, E>>,
    R: HttpBody<Data = Bytes> + Send + 'static,
    R::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Output = Result<Response<Body>, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProj::Passed { inner } => inner.poll(context).map_ok(|response| response.map(Body::new)),
            StateProj::Refused { why } => Poll::Ready(Ok(refusal(*why))),
        }
    }
}

fn refusal(why: Foreign) -> Response<Body> {
    let text = match why {
        // Mostly not an attack but a client that somebody is writing.
        Foreign::Unnamed => {
            "Refused: nothing says which site this request comes from. Send an `Origin` header with this site's own origin."
        }
        _ => "Refused: this request comes from another site.",
    };
    // Instead of a Vary with four names: what is stored nowhere is served to nobody else.
    (StatusCode::FORBIDDEN, [(header::CACHE_CONTROL, "no-store")], text).into_response()
}
