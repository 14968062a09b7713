//! The session of a request: the handle a handler owns, and the state the layer commits.

mod commit;
mod extract;
mod flight;
#[cfg(feature = "cookie")]
mod sealed;
mod slot;
mod typed;

#[cfg(feature = "cookie")]
pub(crate) use self::slot::sizes;
pub use self::typed::{Change, TypedSession};
pub(crate) use self::{
    commit::Outlook,
    slot::{Answer, CookieEffect, Slot},
};
