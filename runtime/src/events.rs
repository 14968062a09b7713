//! Every event the library emits, in one place. None carries a token, a key or a field's value.
//!
//! Events take selectors, and hash them into handles only if somebody listens.

use crate::{
    csrf::{Origin, is_safe},
    error::SessionError,
    record::Selector,
    schema::Undecodable,
    store::StoreError,
};
use http::{Method, uri::Authority};
use std::{error::Error, fmt::Display};
use tracing::field;

/// Tells whoever traces, and whoever counts: `emit!(level, "name", { fields }, "message")`. A field `why` comes first and is counted by.
macro_rules! emit {
    ($level:ident, $event:literal, { why = $why:expr $(, $field:ident = $value:expr)* } $(, $message:literal)?) => {
        tracing::$level!(target: "cloakroom", event = $event, why = $why, $($field = $value,)* $($message)?);
        #[cfg(feature = "metrics")]
        metrics::counter!(measured::EVENTS, "event" => $event, "why" => $why).increment(1);
    };
    ($level:ident, $event:literal, { $($field:ident = $value:expr),* } $(, $message:literal)?) => {
        tracing::$level!(target: "cloakroom", event = $event, $($field = $value,)* $($message)?);
        #[cfg(feature = "metrics")]
        metrics::counter!(measured::EVENTS, "event" => $event).increment(1);
    };
}

/// Why a cookie of ours gave no session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Malformed,
    Ambiguous,
    Unknown,
    Expired,
    Stale,
}

impl Refused {
    fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Ambiguous => "ambiguous",
            Self::Unknown => "unknown",
            Self::Expired => "expired",
            Self::Stale => "stale",
        }
    }
}

pub(crate) fn loaded(session: &Selector) {
    emit!(debug, "session.loaded", { handle = field::display(session.handle()) });
}

pub(crate) fn refused(why: Refused, session: Option<&Selector>) {
    let handle = session.map(|session| field::display(session.handle()));
    if why == Refused::Unknown {
        emit!(
            info,
            "session.refused",
            { why = why.name(), handle = handle },
            "the store has no such session: it has ended, or another application or layer on this host uses a cookie of the same name; give each a `CookiePolicy::name` of its own"
        );
        return;
    }
    emit!(info, "session.refused", { why = why.name(), handle = handle });
}

/// A request shows several cookies of our name.
pub(crate) fn twins(values: usize, named: bool) {
    let advice = if named {
        ""
    } else {
        "; if the cookie's path or domain was changed, name the former policy with `CookiePolicy::formerly`"
    };
    emit!(info, "session.twins", { values = values, advice = advice });
}

pub(crate) fn created(session: &Selector, method: &Method) {
    emit!(debug, "session.created", { handle = field::display(session.handle()), safe = is_safe(method) });
}

pub(crate) fn committed(session: &Selector, cells: usize, method: &Method) {
    emit!(debug, "session.committed", { handle = field::display(session.handle()), cells = cells, safe = is_safe(method) });
}

/// After a change of privilege: the old token is dead.
pub(crate) fn rotated(why: &'static str, session: &Selector) {
    emit!(info, "session.rotated", { why = why, handle = field::display(session.handle()) });
}

/// In the middle of its life: the old token works until the new one has been presented, and for the grace.
pub(crate) fn renewed(session: &Selector) {
    emit!(debug, "session.renewed", { handle = field::display(session.handle()) });
}

/// A guard turned a request away.
pub(crate) fn denied(why: &'static str, session: Option<&Selector>) {
    emit!(info, "session.denied", { why = why, handle = session.map(|session| field::display(session.handle())) });
}

/// A setting of the layer has nothing to act on.
pub(crate) fn without_effect(setting: &'static str) {
    emit!(
        warn,
        "session.without_effect",
        { setting = setting },
        "does nothing where the record is the cookie; use a store on the server's side for it"
    );
}

pub(crate) fn destroyed(session: &Selector) {
    emit!(info, "session.destroyed", { handle = field::display(session.handle()) });
}

/// Of the owner nothing is told but the struct that bears him.
pub(crate) fn revoked(owner_schema: &str, count: u64, only: Option<&Selector>) {
    let handle = only.map(|session| field::display(session.handle()));
    emit!(info, "session.revoked", { schema = owner_schema, count = count, handle = handle });
}

/// Somebody presents a secret that was replaced, and whose replacement is in use: one of the two has a copy.
pub(crate) fn secret_reused(session: &Selector) {
    emit!(warn, "session.secret_reused", { handle = field::display(session.handle()) });
}

pub(crate) fn merged(session: &Selector) {
    emit!(debug, "session.merged", { handle = field::display(session.handle()) });
}

pub(crate) fn late_write(session: Option<&Selector>) {
    emit!(
        warn,
        "session.late_write",
        { handle = session.map(|session| field::display(session.handle())) },
        "the session was gone, so its changes were not stored"
    );
}

pub(crate) fn undecodable(schema: &str, why: &Undecodable) {
    emit!(warn, "session.undecodable", { schema = schema, field = why.field, cause = field::display(&why.cause) },
        "this schema starts from its defaults for this request");
}

/// A header opens no session if nobody can read it, so it counts as absent.
#[cfg(any(feature = "sqlite", feature = "_server"))]
pub(crate) fn unreadable(session: &Selector, error: impl Display) {
    emit!(warn, "session.unreadable", { handle = field::display(session.handle()), error = field::display(error) },
        "the stored header of a session is unreadable; it counts as absent");
}

/// One operation of the store that failed, whatever the visitor sees of it.
pub(crate) fn store_error(operation: &'static str, error: &StoreError) {
    emit!(warn, "session.store_error", { operation = operation, outcome = error.outcome(), error = error as &dyn Error });
}

#[cfg(any(feature = "sqlite", feature = "_server"))]
pub(crate) fn sweep_failed(store: &dyn Display, error: impl Display) {
    emit!(warn, "session.sweep_failed", { store = field::display(store), error = field::display(error) },
        "expired records could not be removed; trying again later");
}

pub(crate) fn failed(error: &SessionError) {
    emit!(error, "session.failed", { error = error as &dyn Error });
}

/// Changes that nobody will ever see again, and why.
pub(crate) fn lost(schema: &str, why: &dyn Display) {
    emit!(error, "session.changes_lost", { schema = schema }, "unsaved changes were dropped: {why}");
}

/// Changes that the response's commit does not take, since the handler's outcome is none to store: a status, a cancelled or a
/// panicking handler, an error that the response tells, or a `HEAD` request.
pub(crate) fn discarded(why: &'static str, schema: &str) {
    emit!(debug, "session.changes_discarded", { why = why, schema = schema });
}

/// A sign-in begins a session of its own, and the response may hold a form.
pub(crate) fn csrf_void(session: &Selector) {
    emit!(
        warn,
        "session.csrf_void",
        { handle = field::display(session.handle()) },
        "a CSRF token that this request handed out is void: its session is gone, and the sign-in begins another; save the sign-in before asking for the token"
    );
}

#[cfg(debug_assertions)]
pub(crate) fn unseen_change(schema: &str, field: &str) {
    emit!(error, "session.unseen_change", { schema = schema, field = field },
        "the field changed without `&mut` access (interior mutability), so the change was not stored");
}

/// A handle lives on after the response's head, as in a socket or a stream.
pub(crate) fn outlived_head(session: Option<&Selector>) {
    emit!(debug, "session.outlived_head", { handle = session.map(|session| field::display(session.handle())) });
}

/// A layer lies inside one of the same cookie and of another store.
pub(crate) fn ignored_store(cookie: &str) {
    emit!(
        warn,
        "session.ignored_store",
        { cookie = cookie },
        "a SessionLayer lies inside another one of the same cookie name, so its own store is not used: give both layers clones of one store, or put the inner one on routes of its own with another `CookiePolicy::name`"
    );
}

pub(crate) fn plain_http(host: &Authority) {
    emit!(
        warn,
        "session.plain_http",
        { host = field::display(host) },
        "a Secure cookie was sent over plain http, where browsers drop it, so that each request begins a new session: serve this host over TLS, or, for development on a LAN, use `.cookie(CookiePolicy::insecure_http())`"
    );
}

/// What is counted and timed, under the feature `metrics`.
#[cfg(feature = "metrics")]
pub(crate) mod measured {
    use metrics::{Unit, describe_counter, describe_histogram, histogram};
    use std::time::Duration;

    pub(super) const EVENTS: &str = "cloakroom_events_total";
    const STORE: &str = "cloakroom_store_seconds";

    /// Gives a recorder that is there already the units and what stands for what.
    pub(crate) fn describe() {
        describe_counter!(EVENTS, Unit::Count, "What happened to sessions, by event and, where it has one, its reason.");
        describe_histogram!(STORE, Unit::Seconds, "How long the session store took, by operation and outcome.");
    }

    /// One operation of the store has ended so, after that time.
    pub(crate) fn store_answered(operation: &'static str, outcome: &'static str, took: Duration) {
        histogram!(STORE, "operation" => operation, "outcome" => outcome).record(took);
    }
}

/// Why a request counts as another site's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Foreign {
    CrossSite,
    SameSite,
    Origin,
    Referer,
    Unnamed,
}

impl Foreign {
    fn name(self) -> &'static str {
        match self {
            Self::CrossSite => "cross-site",
            Self::SameSite => "same-site",
            Self::Origin => "origin",
            Self::Referer => "referer",
            Self::Unnamed => "unnamed",
        }
    }
}

/// The origin is the one thing of the request that is told: short, of a few plain characters, and what an operator would have to trust.
pub(crate) fn cross_site(why: Foreign, origin: Option<&Origin>) {
    emit!(info, "session.cross_site", { why = why.name(), origin = origin.map(field::display) });
}
