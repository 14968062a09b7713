//! What can go wrong with a session, and what the browser is told.

use crate::store::StoreError;
use axum_core::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, Method, StatusCode, Uri, header};
use std::{error::Error, fmt, sync::Arc};

/// What went wrong with a session.
///
/// Each case has a [status](SessionError::status) that it is answered with unless
/// [`SessionLayer::on_error`](crate::SessionLayer::on_error) says otherwise. No case carries a token or a field's value.
///
/// ```
/// use cloakroom::SessionError;
/// assert_eq!(SessionError::Gone.status(), 409);
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum SessionError {
    /// The store did not answer, or could not do it; nothing was written. 503 with `Retry-After`; the cookie is kept.
    Unavailable(StoreError),
    /// The store may or may not have written. Nothing is retried blindly. 503 with `Retry-After`.
    OutcomeUnknown(StoreError),
    /// Other requests kept changing the same fields until the deadline for retries passed. 503 with `Retry-After`.
    Contended,
    /// A `merge = "strict"` field was changed by another request; nothing of this one was stored. 409.
    Conflict {
        /// The field, as `schema.field`.
        field: String,
    },
    /// The session ended, or its privilege changed, while this request worked on it; nothing was stored. 409.
    Gone,
    /// Something is larger than it may be; nothing was stored. 500.
    TooLarge {
        /// What is too large.
        what: TooLarge,
        /// The most it may be, in bytes.
        limit: usize,
        /// The fields by size, largest first: physical key and bytes.
        sizes: Vec<(String, usize)>,
    },
    /// A field's value could not be encoded. 500.
    Encode {
        /// The field, as `schema.field`.
        field: String,
        /// What the codec said; of a `secret` field, nothing that could quote it.
        reason: String,
    },
    /// A field's `validate` function refused the value; nothing was stored. 500.
    Invalid {
        /// The field, as `schema.field`.
        field: String,
        /// What the function said; nothing of it where the field is `secret`.
        reason: String,
    },
    /// One accessor was swapped into another's place, as with `mem::swap(&mut s.a, &mut s.b)`. Swap the values,
    /// `mem::swap(&mut *s.a, &mut *s.b)`. 500.
    Swapped {
        /// The place, as `schema.field`.
        place: String,
        /// The field found there.
        found: String,
    },
    /// The response's head is gone, and this needs a cookie. A session that a socket or a stream is to write to must exist before:
    /// call `save().await` in the handler. 500.
    HeadSent,
    /// A handle with unsaved changes outlived the handler, so they would be lost: it was moved into a stream or a task. Call
    /// `save().await` before, or change fields inside and `save()` there. `&mut *session` counts as a change. 500.
    HeldAtHead,
    /// Two structs use one schema name under one layer. Give one of them another `#[session(name = "..")]`. 500.
    SchemaClash {
        /// The name.
        name: &'static str,
        /// The struct that used it first.
        first: &'static str,
        /// The struct that used it next.
        second: &'static str,
    },
    /// Two structs of one session say who it belongs to. One of them may: a session has one owner. 500.
    OwnerTaken {
        /// The schema whose owner it is.
        first: String,
        /// The schema that would be the second.
        second: String,
    },
    /// A list of sessions was asked for where each is its cookie: a `CookieStore` does not know them. 500.
    NoSessionList,
    /// A guard turned the request away. 401 or 403, as [`Denial`] says.
    Denied(Denial),
    /// The request does not carry the session's CSRF token. 403.
    CsrfRefused,
    /// The handler takes a session, and no [`SessionLayer`](crate::SessionLayer) is around it. 500.
    MissingLayer,
    /// A session layer lies inside one of another cookie name. Use one name, or put them on different routes. 500.
    NestedLayers {
        /// The outer layer's cookie.
        outer: String,
        /// The inner layer's.
        inner: String,
    },
    /// The operating system gave no random bytes for a token. 503.
    Randomness(String),
}

/// What is too large.
///
/// ```
/// use cloakroom::TooLarge;
/// assert_eq!(TooLarge::Cookie.to_string(), "the cookie");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TooLarge {
    /// One field: [`limits::CELL`](crate::limits::CELL).
    Field,
    /// The whole record: [`limits::RECORD`](crate::limits::RECORD).
    Record,
    /// Name and value of the cookie: 4,096 bytes (RFC 6265bis, section 5.6).
    Cookie,
}

/// Why a guard turned a request away.
///
/// ```
/// use axum_core::response::{IntoResponse, Response};
/// use cloakroom::{Denial, SessionError, SessionLayer, store::MemoryStore};
/// use http::{StatusCode, header};
///
/// // A page for everybody who has to do something first.
/// let sessions = SessionLayer::new(MemoryStore::new()).on_error(|error, _| {
///     let page = match error {
///         SessionError::Denied(Denial::SignedOut) => "/sign-in",
///         SessionError::Denied(Denial::Unfinished) => "/second-factor",
///         SessionError::Denied(Denial::NotRecent { .. }) => "/confirm-password",
///         error => return error.default_response(),
///     };
///     (StatusCode::SEE_OTHER, [(header::LOCATION, page)]).into_response()
/// });
/// # let _ = sessions;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Denial {
    /// Nobody is signed in: 401.
    SignedOut,
    /// Somebody is the owner, and `#[session(authenticated = ..)]` says that they have yet to prove it: 403.
    Unfinished,
    /// They proved who they are longer ago than the guard allows, or nobody knows when: 403.
    NotRecent {
        /// Minutes.
        within: u64,
    },
}

impl Denial {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::SignedOut => "signed_out",
            Self::Unfinished => "unfinished",
            Self::NotRecent { .. } => "not_recent",
        }
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SignedOut => f.write_str("nobody is signed in"),
            Self::Unfinished => f.write_str("signing in is not finished"),
            Self::NotRecent { within } => write!(f, "whoever is signed in has not proved it within the last {within} minutes"),
        }
    }
}

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Field => "the field",
            Self::Record => "the session",
            Self::Cookie => "the cookie",
        })
    }
}

impl SessionError {
    /// The status this is answered with by default.
    ///
    /// ```
    /// use cloakroom::{SessionError, store::StoreError};
    /// let error = SessionError::from(StoreError::unavailable("connection refused"));
    /// assert_eq!(error.status(), 503);
    /// ```
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Unavailable(_) | Self::OutcomeUnknown(_) | Self::Contended | Self::Randomness(_) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Conflict { .. } | Self::Gone => StatusCode::CONFLICT,
            Self::Denied(Denial::SignedOut) => StatusCode::UNAUTHORIZED,
            Self::Denied(Denial::Unfinished | Denial::NotRecent { .. }) | Self::CsrfRefused => StatusCode::FORBIDDEN,
            Self::TooLarge { .. }
            | Self::Encode { .. }
            | Self::Invalid { .. }
            | Self::Swapped { .. }
            | Self::HeadSent
            | Self::HeldAtHead
            | Self::SchemaClash { .. }
            | Self::OwnerTaken { .. }
            | Self::NoSessionList
            | Self::MissingLayer
            | Self::NestedLayers { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The response without a hook: the status, a short text, and `Retry-After` where trying again helps. Only mistakes in how layers
    /// and schemas are put together say more.
    ///
    /// ```
    /// use cloakroom::{SessionError, store::StoreError};
    /// let error = SessionError::from(StoreError::unavailable("connection refused"));
    /// assert_eq!(error.default_response().headers()["retry-after"], "1");
    /// ```
    pub fn default_response(&self) -> Response {
        let status = self.status();
        // How the application is put together is no secret, and whoever put it together is the one to see it.
        if let Self::MissingLayer
        | Self::NestedLayers { .. }
        | Self::SchemaClash { .. }
        | Self::OwnerTaken { .. }
        | Self::NoSessionList = self
        {
            return (status, self.to_string()).into_response();
        }
        let text = match status {
            StatusCode::SERVICE_UNAVAILABLE => "The service is briefly unavailable. Please try again.",
            _ if matches!(self, Self::CsrfRefused) => "This page is out of date. Please reload it and try again.",
            StatusCode::UNAUTHORIZED => "Please sign in.",
            StatusCode::FORBIDDEN => "Please confirm that it is you: sign in again.",
            StatusCode::CONFLICT => "Your session changed in the meantime. Please reload the page and try again.",
            _ => "Something went wrong on our side.",
        };
        let mut response = (status, text).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// So that `session.save().await?` works in a handler that returns `Result<_, SessionError>`. It is the
/// [default response](SessionError::default_response): an error the handler returns itself does not go through
/// [`SessionLayer::on_error`](crate::SessionLayer::on_error).
impl IntoResponse for SessionError {
    fn into_response(self) -> Response {
        self.default_response()
    }
}

impl From<StoreError> for SessionError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(_) => Self::Unavailable(error),
            StoreError::OutcomeUnknown(_) => Self::OutcomeUnknown(error),
        }
    }
}

impl From<crate::random::RandomError> for SessionError {
    fn from(error: crate::random::RandomError) -> Self {
        Self::Randomness(error.to_string())
    }
}

impl fmt::Display for SessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable(error) | Self::OutcomeUnknown(error) => error.fmt(f),
            Self::Contended => f.write_str("other requests kept changing the same session fields; try again"),
            Self::Conflict { field } => {
                write!(f, "`{field}` is `merge = \"strict\"`, and another request changed it first; nothing was stored")
            }
            Self::Gone => f.write_str("the session ended, or its privilege changed, during the request; nothing was stored"),
            Self::TooLarge { what, limit, sizes } => {
                write!(f, "{what} would be larger than {limit} bytes, so nothing was stored. Largest cells:")?;
                for (at, (key, size)) in sizes.iter().take(8).enumerate() {
                    write!(f, "{} {key} {size} bytes", if at == 0 { "" } else { "," })?;
                }
                f.write_str(match what {
                    TooLarge::Cookie => ". Store less, or use a store on the server's side",
                    TooLarge::Field | TooLarge::Record => ". Keep large things in a table of their own, and their keys in the session",
                })
            }
            Self::Encode { field, reason } => write!(f, "`{field}` could not be stored: {reason}"),
            Self::Invalid { field, reason } => write!(f, "`{field}` was not stored: {reason}"),
            Self::Swapped { place, found } => write!(
                f,
                "`{found}` was swapped into the place of `{place}`; swap the values instead: `mem::swap(&mut *s.a, &mut *s.b)`"
            ),
            Self::HeadSent => f.write_str(
                "the response's head is already sent and this change needs a cookie; call `session.save().await` in the handler first",
            ),
            Self::HeldAtHead => f.write_str(
                "a session handle with unsaved changes outlived the handler, so they would be lost; call `session.save().await` before moving it into a stream or task",
            ),
            Self::SchemaClash { name, first, second } => write!(
                f,
                "`{first}` and `{second}` are both the schema \"{name}\"; give one another name: `#[session(name = \"..\")]`"
            ),
            Self::OwnerTaken { first, second } => write!(
                f,
                "`{first}` says who this session belongs to, and `{second}` does so, too; leave `#[session(owner)]` to one of them, or give them sessions with cookies of their own"
            ),
            Self::NoSessionList => f.write_str(
                "nobody knows which sessions there are when each is its cookie; to list and end them use a store on the server's side",
            ),
            Self::Denied(denial) => denial.fmt(f),
            Self::CsrfRefused => f.write_str(
                "the request does not carry this session's CSRF token: it is from before a sign-in or sign-out, or another site sent it",
            ),
            Self::MissingLayer => f.write_str(
                "no SessionLayer around this handler; add `.layer(SessionLayer::new(store))` to the router, after (below) the routes and after any layer that itself takes a session",
            ),
            Self::NestedLayers { outer, inner } => write!(
                f,
                "a SessionLayer with cookie `{inner}` lies inside one with cookie `{outer}`; give both one name, or put them on different routes"
            ),
            Self::Randomness(reason) => f.write_str(reason),
        }
    }
}

impl Error for SessionError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Unavailable(error) | Self::OutcomeUnknown(error) => Some(error),
            _ => None,
        }
    }
}

/// The request that an error belongs to, for [`SessionLayer::on_error`](crate::SessionLayer::on_error).
///
/// ```
/// use cloakroom::ErrorContext;
/// use axum_core::response::{IntoResponse, Response};
///
/// fn page(context: &ErrorContext) -> Response {
///     let wants_json = context.accept.as_ref().is_some_and(|accept| accept.as_bytes().starts_with(b"application/json"));
///     if wants_json { "{\"error\":\"session\"}".into_response() } else { "Sorry.".into_response() }
/// }
/// # let _ = page;
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ErrorContext {
    /// The request's method.
    pub method: Method,
    /// The request's URI.
    pub uri: Uri,
    /// The request's `Accept` header.
    pub accept: Option<HeaderValue>,
}

impl ErrorContext {
    fn new(method: &Method, uri: &Uri, headers: &http::HeaderMap) -> Self {
        Self { method: method.clone(), uri: uri.clone(), accept: headers.get(header::ACCEPT).cloned() }
    }
}

/// How an error becomes a response: `on_error`, or the default.
#[derive(Clone, Default)]
pub(crate) struct ErrorPage(Option<Arc<ErrorHook>>);

type ErrorHook = dyn Fn(&SessionError, &ErrorContext) -> Response + Send + Sync;

impl ErrorPage {
    pub(crate) fn hook(hook: impl Fn(&SessionError, &ErrorContext) -> Response + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(hook)))
    }

    /// What the hook will want to know of a request; nothing is copied where there is no hook.
    pub(crate) fn context(&self, method: &Method, uri: &Uri, headers: &http::HeaderMap) -> Option<ErrorContext> {
        self.0.is_some().then(|| ErrorContext::new(method, uri, headers))
    }

    pub(crate) fn render(&self, error: &SessionError, context: Option<&ErrorContext>) -> Response<Body> {
        match (&self.0, context) {
            (Some(hook), Some(context)) => hook(error, context),
            _ => error.default_response(),
        }
    }
}

impl fmt::Debug for ErrorPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "hook" } else { "default" })
    }
}

/// Why a handler that takes a session was not run.
///
/// Take `Result<TypedSession<T>, SessionRejection>` to decide in the handler; as a response it is what
/// [`SessionLayer::on_error`](crate::SessionLayer::on_error) makes of the [error](SessionRejection::error).
///
/// ```
/// use cloakroom::{SessionData, SessionRejection, TypedSession};
/// # #[derive(SessionData)] struct Visitor { visits: u64 }
/// async fn home(session: Result<TypedSession<Visitor>, SessionRejection>) -> String {
///     match session {
///         Ok(session) => format!("visit no. {}", session.visits),
///         Err(rejection) => format!("no session today: {}", rejection.error()),
///     }
/// }
/// ```
#[derive(Clone, Debug)]
pub struct SessionRejection {
    error: Arc<SessionError>,
    context: Option<ErrorContext>,
    page: ErrorPage,
}

impl SessionRejection {
    pub(crate) fn new(error: Arc<SessionError>, context: Option<ErrorContext>, page: ErrorPage) -> Self {
        Self { error, context, page }
    }

    /// What went wrong.
    ///
    /// ```
    /// use cloakroom::{SessionError, SessionRejection};
    /// fn is_an_outage(rejection: &SessionRejection) -> bool {
    ///     matches!(rejection.error(), SessionError::Unavailable(_))
    /// }
    /// ```
    pub fn error(&self) -> &SessionError {
        &self.error
    }
}

impl fmt::Display for SessionRejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl Error for SessionRejection {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.error)
    }
}

impl IntoResponse for SessionRejection {
    fn into_response(self) -> Response {
        self.page.render(&self.error, self.context.as_ref())
    }
}
