//! What every store on a server has in common: connections that come back, deadlines, and a sweep beside the requests.

mod breaker;
mod links;
mod sweeper;

pub(super) use self::{
    breaker::Breaker,
    links::{Effect, Engine, Links, Verdict},
    sweeper::Sweeper,
};
use std::time::Duration;

/// How long one operation may take before the request is answered 503, unless the store was told otherwise.
pub(super) const LIMIT: Duration = Duration::from_millis(800);

/// How long opening a connection may take. Requests wait for it no longer than their own limit.
pub(super) const CONNECT_LIMIT: Duration = Duration::from_secs(5);
