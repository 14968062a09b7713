//! What every store on a server has in common: connections that come back, deadlines, TLS, and a sweep beside the requests.

mod breaker;
mod effect;
#[cfg(any(feature = "redis", feature = "postgres"))]
mod links;
#[cfg(any(feature = "postgres", feature = "mysql"))]
mod sweeper;
pub(super) mod tls;

#[cfg(any(feature = "redis", feature = "postgres"))]
pub(super) use self::links::{Engine, Links, Verdict};
#[cfg(any(feature = "postgres", feature = "mysql"))]
pub(super) use self::sweeper::Sweeper;
pub(super) use self::{breaker::Breaker, effect::Effect};
pub(super) use super::LIMIT;
use std::time::Duration;

/// How long opening a connection may take. Requests wait for it no longer than their own limit.
pub(super) const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// How long a connection may be silent before the kernel asks whether its peer is still there. A balancer that forgets connections which
/// it takes for idle waits longer.
pub(super) const KEEPALIVE: Duration = Duration::from_secs(30);

/// How long what was sent may stay without a sign that it arrived before the kernel ends the connection.
#[cfg(any(feature = "redis", feature = "postgres"))]
#[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "other systems have no such setting"))]
pub(super) const UNSENT: Duration = Duration::from_secs(10);
