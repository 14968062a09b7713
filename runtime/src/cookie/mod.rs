//! The cookie: what it may look like, how it is found in a request, how it is written.

mod parse;
mod policy;

pub(crate) use self::parse::{Found, find};
pub use self::policy::{CookiePolicy, CookiePolicyError, SameSite};
pub(crate) use self::policy::{CookieWriter, NAME_AND_VALUE};
