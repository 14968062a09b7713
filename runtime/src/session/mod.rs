//! The session of a request: the handle a handler owns, and the state the layer commits.

mod commit;
mod extract;
mod flight;
mod slot;
mod typed;

pub use self::typed::{Change, TypedSession};
pub(crate) use self::{
    commit::Outlook,
    slot::{Answer, CookieEffect, Slot, sizes},
};
