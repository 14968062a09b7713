//! The session of a request: the handle a handler owns, and the state the layer commits.

mod access;
mod candidates;
mod changes;
mod check_in;
mod commands;
mod commit;
mod csrf;
mod extract;
mod flight;
mod guard;
mod outcome;
mod ownership;
mod plan;
mod reply;
mod room;
#[cfg(feature = "cookie")]
mod sealed;
mod sessions;
mod slot;
mod turn;
mod typed;

#[cfg(feature = "testing")]
pub(crate) use self::commit::yield_now;
pub use self::{
    csrf::CsrfHeader,
    guard::SignedIn,
    sessions::{SessionInfo, Sessions},
    typed::{Change, TypedSession},
};
pub(crate) use self::{
    reply::{Answer, CookieEffect},
    slot::Slot,
    turn::{Attempt, Outlook, Turn},
};
