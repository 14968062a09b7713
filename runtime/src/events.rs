//! Every event the library emits, in one place. None carries a token, a key or a field's value.
//!
//! Events take selectors, and hash them into handles only if somebody listens.

use crate::{csrf::Origin, error::SessionError, record::Selector, schema::Undecodable};
use std::fmt::Display;

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
    tracing::debug!(target: "cloakroom", event = "session.loaded", handle = %session.handle());
}

pub(crate) fn refused(why: Refused, session: Option<&Selector>) {
    match session {
        Some(session) => {
            tracing::info!(target: "cloakroom", event = "session.refused", why = why.name(), handle = %session.handle())
        }
        None => tracing::info!(target: "cloakroom", event = "session.refused", why = why.name()),
    }
}

pub(crate) fn created(session: &Selector) {
    tracing::debug!(target: "cloakroom", event = "session.created", handle = %session.handle());
}

pub(crate) fn committed(session: &Selector, cells: usize) {
    tracing::debug!(target: "cloakroom", event = "session.committed", handle = %session.handle(), cells);
}

pub(crate) fn rotated(session: &Selector) {
    tracing::info!(target: "cloakroom", event = "session.rotated", handle = %session.handle());
}

pub(crate) fn renewed(session: &Selector) {
    tracing::debug!(target: "cloakroom", event = "session.renewed", handle = %session.handle());
}

/// A token that was replaced turned up again, later than its client's own requests can.
pub(crate) fn secret_reused(session: &Selector) {
    tracing::warn!(target: "cloakroom", event = "session.secret_reused", handle = %session.handle(), "somebody has an old copy of this session's cookie");
}

/// Sessions were ended through their owner.
pub(crate) fn revoked(schema: &str, count: u64) {
    tracing::info!(target: "cloakroom", event = "session.revoked", schema, count);
}

/// A guard turned a request away.
pub(crate) fn denied(why: &str, session: Option<&Selector>) {
    match session {
        Some(session) => {
            tracing::info!(target: "cloakroom", event = "session.denied", why, handle = %session.handle())
        }
        None => tracing::info!(target: "cloakroom", event = "session.denied", why),
    }
}

/// A setting of the layer has nothing to act on.
pub(crate) fn without_effect(setting: &'static str) {
    tracing::warn!(target: "cloakroom", event = "session.without_effect", setting, "does nothing where the record is the cookie; use a store on the server's side for it");
}

pub(crate) fn destroyed(session: &Selector) {
    tracing::info!(target: "cloakroom", event = "session.destroyed", handle = %session.handle());
}

pub(crate) fn merged(session: &Selector) {
    tracing::debug!(target: "cloakroom", event = "session.merged", handle = %session.handle());
}

pub(crate) fn late_write(session: Option<&Selector>) {
    match session {
        Some(session) => {
            tracing::warn!(target: "cloakroom", event = "session.late_write", handle = %session.handle(), "the session was gone, so its changes were not stored")
        }
        None => {
            tracing::warn!(target: "cloakroom", event = "session.late_write", "the session was gone, so its changes were not stored")
        }
    }
}

pub(crate) fn undecodable(schema: &str, why: &Undecodable) {
    tracing::warn!(target: "cloakroom", event = "session.undecodable", schema, field = why.field, cause = %why.cause, "this schema starts from its defaults for this request");
}

pub(crate) fn failed(error: &SessionError) {
    tracing::error!(target: "cloakroom", event = "session.failed", error = error as &dyn std::error::Error);
}

/// Changes that nobody will ever see again, and why.
pub(crate) fn lost(schema: &str, why: &dyn Display) {
    tracing::error!(target: "cloakroom", event = "session.changes_lost", schema, "unsaved changes were dropped: {why}");
}

#[cfg(debug_assertions)]
pub(crate) fn unseen_change(schema: &str, field: &str) {
    tracing::error!(target: "cloakroom", event = "session.unseen_change", schema, field, "the field changed without `&mut` access (interior mutability), so the change was not stored");
}

/// A handle lives on after the response's head, as in a socket or a stream.
pub(crate) fn outlived_head(session: Option<&Selector>) {
    match session {
        Some(session) => tracing::debug!(target: "cloakroom", event = "session.outlived_head", handle = %session.handle()),
        None => tracing::debug!(target: "cloakroom", event = "session.outlived_head"),
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
    match origin {
        Some(origin) => {
            tracing::info!(target: "cloakroom", event = "session.cross_site", why = why.name(), origin = %origin)
        }
        None => tracing::info!(target: "cloakroom", event = "session.cross_site", why = why.name()),
    }
}
