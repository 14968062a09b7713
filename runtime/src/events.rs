//! Every event the library emits, in one place. None carries a token, a key or a field's value.

use crate::{error::SessionError, record::Handle, schema::Undecodable};
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

pub(crate) fn loaded(handle: Handle) {
    tracing::debug!(target: "cloakroom", event = "session.loaded", %handle);
}

pub(crate) fn refused(why: Refused, handle: Option<Handle>) {
    match handle {
        Some(handle) => tracing::info!(target: "cloakroom", event = "session.refused", why = why.name(), %handle),
        None => tracing::info!(target: "cloakroom", event = "session.refused", why = why.name()),
    }
}

pub(crate) fn created(handle: Handle) {
    tracing::debug!(target: "cloakroom", event = "session.created", %handle);
}

pub(crate) fn committed(handle: Handle, cells: usize) {
    tracing::debug!(target: "cloakroom", event = "session.committed", %handle, cells);
}

pub(crate) fn rotated(handle: Handle) {
    tracing::info!(target: "cloakroom", event = "session.rotated", %handle);
}

pub(crate) fn destroyed(handle: Handle) {
    tracing::info!(target: "cloakroom", event = "session.destroyed", %handle);
}

pub(crate) fn merged(handle: Handle) {
    tracing::debug!(target: "cloakroom", event = "session.merged", %handle);
}

pub(crate) fn late_write(handle: Option<Handle>) {
    match handle {
        Some(handle) => {
            tracing::warn!(target: "cloakroom", event = "session.late_write", %handle, "the session was gone, so its changes were not stored")
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
pub(crate) fn outlived_head(handle: Option<Handle>) {
    match handle {
        Some(handle) => tracing::debug!(target: "cloakroom", event = "session.outlived_head", %handle),
        None => tracing::debug!(target: "cloakroom", event = "session.outlived_head"),
    }
}
