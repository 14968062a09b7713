//! Typed sessions for axum and tower.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod clock;
mod key;
mod lifetime;
mod random;
pub mod record;
pub mod store;
#[cfg(feature = "testing")]
pub mod testing;
mod token;

pub use self::{
    clock::{Clock, SystemClock},
    lifetime::{Lifetime, LifetimeError},
    token::{Handle, ParseHandleError},
};
