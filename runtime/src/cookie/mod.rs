//! The cookie: what it may look like, how it is found in a request, how it is written.

mod parse;
mod policy;
mod transport;

pub(crate) use self::parse::{Found, MOST, find};
pub(crate) use self::policy::CookieWriter;
#[cfg(feature = "cookie")]
pub(crate) use self::policy::NAME_AND_VALUE;
pub use self::policy::{CookiePolicy, CookiePolicyError, SameSite};
pub(crate) use self::transport::{Arrival, is_loopback};
