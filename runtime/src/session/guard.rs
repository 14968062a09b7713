//! The guard of routes that are for people who are signed in, or have proved it lately.

use super::{extract, slot::Slot, typed::TypedSession};
use crate::{
    clock::{SKEW, Timestamp},
    error::{Denial, SessionError, SessionRejection},
    events,
    schema::HasOwner,
};
use axum_core::extract::{FromRequestParts, OptionalFromRequestParts};
use http::request::Parts;
use std::{
    fmt,
    ops::{Deref, DerefMut},
    time::Duration,
};

/// A session whose owner is signed in, and has proved it within so many minutes: an argument that a handler does not run without.
///
/// It dereferences to the [`TypedSession`]. `SignedIn<Shop>` asks for no time; `SignedIn<Shop, 15>` wants a sign-in, or a
/// [`reauthenticated`](TypedSession::reauthenticated), within the last 15 minutes: for what must not be done with a session that somebody
/// left open (OWASP ASVS 5.0, 7.5.1).
///
/// Who has given a password and not yet a second factor passes neither, if the struct says so: by naming them in a `privilege` field of
/// its own, and in the `owner` only when they are through; or with `#[session(authenticated = path)]`, as below. The first also keeps them
/// out of the owner's list of sessions, and from counting for [`max_sessions`](crate::SessionLayer::max_sessions).
///
/// ```
/// use cloakroom::{SessionData, SignedIn};
///
/// #[derive(SessionData)]
/// #[session(authenticated = has_second_factor)]
/// struct Shop {
///     #[session(owner)]
///     user: Option<u64>,
///     #[session(privilege)]
///     second_factor: bool,
/// }
///
/// fn has_second_factor(session: &ShopFields) -> bool {
///     *session.second_factor
/// }
///
/// async fn orders(session: SignedIn<Shop>) -> String {
///     format!("the orders of {:?}", session.owner())
/// }
///
/// async fn change_password(session: SignedIn<Shop, 15>) {
///     // ...
/// #   drop(session);
/// }
/// ```
///
/// As an argument, `Option<SignedIn<T>>` is `None` where the guard would turn the request away.
///
/// # Errors
/// [`SessionError::Denied`] with the reason, through [`SessionLayer::on_error`](crate::SessionLayer::on_error): there a page of your own, or a
/// redirect to one, takes its place. 401 where nobody is signed in, 403 otherwise; an outage is a 503, as for any session. The 401 goes
/// without `WWW-Authenticate`, since HTTP knows no scheme for forms and cookies.
pub struct SignedIn<T: HasOwner, const MINUTES: u64 = { u64::MAX }>(TypedSession<T>);

impl<T: HasOwner, const MINUTES: u64> SignedIn<T, MINUTES> {
    /// Who it is. `None` only once the handler itself has signed them out.
    ///
    /// ```
    /// # use cloakroom::{SessionData, SignedIn};
    /// # #[derive(SessionData)] struct Shop { #[session(owner)] user: Option<u64> }
    /// async fn orders(session: SignedIn<Shop>) -> String {
    ///     format!("the orders of {:?}", session.owner())
    /// }
    /// ```
    pub fn owner(&self) -> Option<&T::Owner> {
        T::__owner(&self.0)
    }

    /// The session, without the promise.
    ///
    /// ```
    /// # use cloakroom::{SessionData, SignedIn, TypedSession};
    /// # #[derive(SessionData)] struct Shop { #[session(owner)] user: Option<u64> }
    /// async fn sign_out(session: SignedIn<Shop>) {
    ///     let mut session: TypedSession<Shop> = session.into_session();
    ///     session.destroy();
    /// }
    /// ```
    pub fn into_session(self) -> TypedSession<T> {
        self.0
    }

    fn admit(session: TypedSession<T>, now: Timestamp) -> Result<Self, Denial> {
        if T::__owner(&session).is_none() {
            return Err(Denial::SignedOut);
        }
        if !T::__is_complete(&session) {
            return Err(Denial::Unfinished);
        }
        let limit = Duration::from_secs(MINUTES.saturating_mul(60));
        // A clock of another node may be a little ahead; a proof from further ahead is none.
        let is_recent = |at: Timestamp| at <= now.plus(SKEW) && at.until(now) <= limit;
        if MINUTES != u64::MAX && !session.authenticated().is_some_and(is_recent) {
            return Err(Denial::NotRecent { within: MINUTES });
        }
        Ok(Self(session))
    }

    async fn extract<S: Send + Sync>(parts: &mut Parts, state: &S) -> Result<Result<Self, Denial>, SessionRejection> {
        let session = <TypedSession<T> as FromRequestParts<S>>::from_request_parts(parts, state).await?;
        let now = session.slot().lock().config.now();
        Ok(Self::admit(session, now))
    }
}

impl<T: HasOwner, S: Send + Sync, const MINUTES: u64> FromRequestParts<S> for SignedIn<T, MINUTES> {
    type Rejection = SessionRejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, SessionRejection> {
        Self::extract(parts, state).await?.map_err(|denial| {
            let selector = parts.extensions.get::<Slot>().and_then(Slot::selector);
            events::denied(denial.name(), selector.as_ref());
            extract::reject(parts, SessionError::Denied(denial), &extract::page(parts))
        })
    }
}

impl<T: HasOwner, S: Send + Sync, const MINUTES: u64> OptionalFromRequestParts<S> for SignedIn<T, MINUTES> {
    type Rejection = SessionRejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Option<Self>, SessionRejection> {
        Ok(Self::extract(parts, state).await?.ok())
    }
}

impl<T: HasOwner, const MINUTES: u64> Deref for SignedIn<T, MINUTES> {
    type Target = TypedSession<T>;

    fn deref(&self) -> &TypedSession<T> {
        &self.0
    }
}

impl<T: HasOwner, const MINUTES: u64> DerefMut for SignedIn<T, MINUTES> {
    fn deref_mut(&mut self) -> &mut TypedSession<T> {
        &mut self.0
    }
}

impl<T: HasOwner, const MINUTES: u64> fmt::Debug for SignedIn<T, MINUTES> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SignedIn").field(&self.0).finish()
    }
}
