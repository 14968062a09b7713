//! Typed sessions for axum and tower.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

// The derives name the crate by its public path; inside, that path must lead here too.
extern crate self as cloakroom;

mod clock;
mod config;
mod cookie;
mod error;
mod events;
mod key;
#[cfg(feature = "cookie")]
mod keyring;
mod layer;
mod lifetime;
pub mod limits;
mod random;
pub mod record;
mod schema;
mod session;
pub mod store;
#[cfg(feature = "testing")]
pub mod testing;
mod token;

#[cfg(feature = "cookie")]
pub use self::keyring::{KeyRing, KeyRingError};
pub use self::{
    clock::{Clock, SystemClock},
    cookie::{CookiePolicy, CookiePolicyError, SameSite},
    error::{ErrorContext, SessionError, SessionRejection, TooLarge},
    layer::{ResponseFuture, SessionLayer, SessionService},
    lifetime::{Lifetime, LifetimeError},
    schema::{CodecError, Field, SessionData, SessionValue},
    session::{Change, TypedSession},
    token::{Handle, ParseHandleError},
};
pub use cloakroom_macros::{SessionData, SessionValue};

/// What the derives' output calls. Not for anybody else: it changes without notice.
#[doc(hidden)]
pub mod __private {
    pub use crate::{
        record::Shape,
        schema::{
            AnyField, Coding, Counter, FieldDef, FieldDefault, FieldState, Merge, NoEq, Opener, Placed, PlacedField, Probe,
            Ranked, Rule, Schema, ShapeBuilder, Stored, StoredOpaque, Undecodable, Union, Verdict,
        },
    };
    pub use core;
    pub use std;

    /// `opaque` fields are JSON.
    #[cfg(feature = "json")]
    #[macro_export]
    #[doc(hidden)]
    macro_rules! __opaque_needs_json {
        () => {};
    }
    #[cfg(not(feature = "json"))]
    #[macro_export]
    #[doc(hidden)]
    macro_rules! __opaque_needs_json {
        () => {
            ::core::compile_error!(
                "`#[session(opaque)]` stores JSON: enable the feature, e.g. `cloakroom = { version = \"0.1\", features = [\"json\"] }`"
            );
        };
    }
}
