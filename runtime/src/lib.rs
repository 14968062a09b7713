//! Typed sessions for axum and tower.
//!
//! The browser holds a token, the store holds a record, and the handler holds *your struct*. When the handler returns, the fields
//! that changed are stored, in one atomic step, before the response goes out. There are no string keys, no explicit load and
//! no explicit save; a session nobody wrote to does not exist.
//!
//! ```no_run
//! use axum::{Router, routing::get};
//! use cloakroom::{SessionData, SessionLayer, TypedSession, store::MemoryStore};
//!
//! #[derive(SessionData)]
//! struct Visitor {
//!     visits: u64,
//!     name: Option<String>,
//! }
//!
//! async fn home(mut session: TypedSession<Visitor>) -> String {
//!     *session.visits += 1;
//!     format!("visit no. {}", session.visits)
//! }
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let sessions = SessionLayer::new(MemoryStore::new());
//!     let app = Router::new().route("/", get(home)).layer(sessions);
//!     Ok(axum::serve(tokio::net::TcpListener::bind("127.0.0.1:3000").await?, app).await?)
//! }
//! ```
//!
//! # Fields
//!
//! A handler sees a struct with the fields of yours, each behind a [`Field`]: a smart pointer without methods, so that
//! `session.cart.push(item)` and `session.notice.take()` mean what they mean on the value. `&mut` access marks a field touched; a
//! touched field is written if its value changed.
//!
//! **Two fields in one expression** need the struct of fields itself, since both borrows would otherwise go through the handle:
//!
//! ```
//! use cloakroom::{SessionData, TypedSession};
//!
//! #[derive(SessionData)]
//! struct Shop {
//!     cart: Vec<String>,
//!     wishes: Vec<String>,
//! }
//!
//! async fn buy_all(mut session: TypedSession<Shop>) {
//!     let s = &mut *session;
//!     s.cart.append(&mut s.wishes);
//! }
//! ```
//!
//! Attributes on the struct and its fields say the rest: a default, a rule for concurrent changes, a time to live, a check, a seal.
//! They are listed at [`derive@SessionData`]. Structs and enums inside a field derive [`derive@SessionValue`] beside serde's two derives:
//!
//! ```
//! use cloakroom::{SessionData, SessionValue};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(SessionData)]
//! struct Shop {
//!     #[session(merge = "add")]
//!     views: u64, // concurrent requests add up
//!     #[session(default = Theme::Dark)]
//!     theme: Theme,
//!     #[session(ttl = "10m")]
//!     one_time_code: Option<u32>,
//! }
//!
//! #[derive(Serialize, Deserialize, SessionValue)]
//! enum Theme {
//!     Light,
//!     Dark,
//! }
//! ```
//!
//! # Structs that change
//!
//! A field that is added or removed needs no more than a default: stored fields that a program does not know stay as they are, so old
//! and new programs serve the same sessions in any order, through a deploy and back. A field whose *type* changes says how its values
//! get from one type to the other, both ways:
//!
//! ```
//! use cloakroom::{SessionData, SessionValue};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(SessionData)]
//! #[session(version = 2)]
//! struct Shop {
//!     #[session(changed(in = 2, from = u32, up = Money::from_cents, down = Money::cents))]
//!     total: Money,
//! }
//!
//! #[derive(Default, Serialize, Deserialize, SessionValue)]
//! struct Money { cents: i64 }
//!
//! impl Money {
//!     fn from_cents(cents: u32) -> Self {
//!         Self { cents: cents.into() }
//!     }
//!     fn cents(&self) -> u32 {
//!         self.cents.try_into().unwrap_or(0)
//!     }
//! }
//! ```
//!
//! `SESSION_SCHEMA=accept cargo test` writes down what a struct stores, in `session-schema/`, to be committed. From then on a change that
//! stored sessions or older programs cannot live with does not compile, and the error says what to type: see
//! [The schema lock](derive@SessionData#the-schema-lock).
//!
//! # Signing in and out
//!
//! One field says who a session belongs to. Its changes replace the token in the same step, and take everything with them that is not the
//! next one's to have:
//!
//! ```
//! use cloakroom::{SessionData, SessionError, SignedIn, TypedSession};
//!
//! #[derive(SessionData)]
//! struct Shop {
//!     #[session(owner)]
//!     user: Option<u64>,
//!     #[session(privilege)]
//!     is_admin: bool, // a change replaces the token, too
//!     #[session(keep)]
//!     theme: Option<String>, // stays at this browser
//!     cart: Vec<u32>,
//! }
//!
//! async fn sign_in(mut session: TypedSession<Shop>) {
//!     *session.user = Some(42); // the cart stays
//!     session.reauthenticated(); // for whoever was signed in already
//! }
//!
//! async fn sign_out(mut session: TypedSession<Shop>) {
//!     *session.user = None; // the theme stays, and nothing else
//! }
//!
//! async fn change_password(session: SignedIn<Shop, 15>) -> Result<(), SessionError> {
//!     // Runs only for whoever signed in within the last 15 minutes.
//! #   drop(session);
//!     Ok(())
//! }
//! ```
//!
//! [`Sessions`] lists and ends the sessions of an owner. [`TypedSession::csrf_token`] and [`SameOriginLayer`] keep other sites from using them.
//! What is enforced where, and what stays with the application, is in `docs/security.md` in the repository.
//!
//! # Stores
//!
//! | Store | Feature | Choose it for |
//! |---|---|---|
//! | `store::MemoryStore` | `memory` | tests, development, sessions that may end with the process |
//! | `store::SqliteStore` | `sqlite` | one machine: durable, nothing to operate |
//! | `store::RedisStore` | `redis`, `redis-cluster` | many machines and many requests, on the Redis or Valkey you operate |
//! | `store::PostgresStore` | `postgres` | many machines, on the PostgreSQL you operate |
//! | `store::MySqlStore` | `mysql` | many machines, on the MySQL or MariaDB you operate |
//! | `store::CookieStore` | `cookie` | a few small fields and no database; read at the type what it cannot do |
//!
//! Handlers do not name the store. [`store::SessionStore`] is the trait for another one.
//!
//! # Features
//!
//! | Feature | Default | What it adds |
//! |---|---|---|
//! | `bincode` | yes | the default codec |
//! | `postcard` | | the other codec, written where `bincode` is off |
//! | `json` | | `#[session(opaque)]`: fields of any serde type |
//! | `memory`, `cookie` | yes | their stores |
//! | `secret` | with `cookie` | `#[session(secret)]`: fields sealed at rest |
//! | `sqlite` | | its store; needs a C compiler |
//! | `redis`, `postgres`, `mysql` | | their stores, with TLS |
//! | `redis-cluster` | | the store of `redis` for clusters too |
//! | `uuid`, `chrono`, `time` | | these crates' types as fields |
//! | `metrics` | | counters of the events and a histogram of the store's time |
//! | `testing` | | spy store, fault store, manual clock, test client, conformance suites |
//!
//! Features only add; but enabling `bincode` anywhere in the tree makes it the codec that is written.
//!
//! # Events
//!
//! What happens to sessions is told through [`tracing`](https://docs.rs/tracing), with the target `cloakroom`. The field `event` says what: `session.created`,
//! `session.refused` with the reason in `why`, `session.store_error` and so on; `handle` names a session and may be logged, see [`Handle`].
//! No event carries a token, a key or a field's value. All of them, with level, fields and what to do about them, are listed in `docs/operating.md` in the
//! repository; names and fields change only with a minor version.
//!
//! The feature `metrics` counts them and times the store, through the facade [`metrics`](https://docs.rs/metrics), for whichever recorder the
//! application installs before it makes its [`SessionLayer`]:
//!
//! | Metric | Kind, unit | Labels |
//! |---|---|---|
//! | `cloakroom_events_total` | counter | `event`: the name, as above; `why` where the event has that field |
//! | `cloakroom_store_seconds` | histogram, seconds | `operation`: `load`, `create`, `commit`, `delete`, `by_owner` or `delete_by_owner`; `outcome`: `ok`, `unavailable` (certainly not done), `unknown` (perhaps done) or `abandoned` (nobody waited for the answer) |
//!
//! Every label has a handful of values: none depends on what a visitor sends. `CookieStore` has no store to time.
//!
//! # Where to read on
//!
//! - [`TypedSession`]: the verbs of a session, such as `rotate()` at sign-in and `destroy()` at sign-out.
//! - [`SessionLayer`], [`Lifetime`], [`CookiePolicy`]: what can be configured, the defaults, and when to change them.
//! - [`SameOriginLayer`]: refuses what other sites make a browser send, for the whole application.
//! - [`SessionError`]: what can go wrong, and what a visitor sees of it.
//! - `docs/wire-format.md` in the repository: what is stored and sent, byte by byte.

#![forbid(unsafe_code)]
#![warn(missing_docs)]
#![cfg_attr(docsrs, feature(doc_cfg))]

// The derives name the crate by its public path; inside, that path must lead here too.
extern crate self as cloakroom;

mod clock;
mod config;
mod cookie;
mod csrf;
mod error;
mod events;
mod hashing;
mod key;
mod keyring;
mod layer;
mod lifetime;
pub mod limits;
mod random;
pub mod record;
mod schema;
mod seal;
mod session;
pub mod store;
#[cfg(feature = "testing")]
pub mod testing;
mod token;
mod vault;

pub use self::{
    clock::{Clock, SystemClock},
    config::Reuse,
    cookie::{CookiePolicy, CookiePolicyError, SameSite},
    csrf::{CsrfToken, OriginError, SameOriginFuture, SameOriginLayer, SameOriginService},
    error::{Denial, ErrorContext, SessionError, SessionRejection, TooLarge},
    keyring::{KeyRing, KeyRingError, SecretText},
    layer::{ResponseFuture, SessionLayer, SessionService},
    lifetime::{Lifetime, LifetimeError},
    schema::{CodecError, Field, HasOwner, SessionData, SessionValue},
    session::{Change, CsrfHeader, SessionInfo, Sessions, SignedIn, TypedSession},
    token::{Handle, ParseHandleError},
};
pub use cloakroom_macros::{SessionData, SessionValue};

/// What the derives' output calls. Not for anybody else: it changes without notice.
#[doc(hidden)]
pub mod __private {
    pub use crate::{
        record::Shape,
        schema::{
            AnyField, Base, Coding, Compute, Counter, Downgrade, FieldChange, FieldDef, FieldDefault, Kind, Layout, Merge,
            Older, Opener, OwnerField, Part, Past, Placed, PlacedField, Ranked, Rule, Schema, ShapeBuilder, SourceDefault,
            Sources, Stored, StoredOpaque, TRUSTS_DERIVES, Undecodable, Unhashable, Union, Upgrade, Validator, VariantLayout,
            owner_hash,
        },
    };
    pub use core;
    pub use std;
    /// What the tests of a schema lock call.
    pub mod lock {
        pub use crate::schema::lock::{Failed, Part, Recorded, Samples, accept, check, refuse, samples, values};
    }

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

    /// `secret` fields are sealed.
    #[cfg(feature = "secret")]
    #[macro_export]
    #[doc(hidden)]
    macro_rules! __secret_needs_its_feature {
        () => {};
    }
    #[cfg(not(feature = "secret"))]
    #[macro_export]
    #[doc(hidden)]
    macro_rules! __secret_needs_its_feature {
        () => {
            ::core::compile_error!(
                "`#[session(secret)]` seals fields: enable the feature, e.g. `cloakroom = { version = \"0.1\", features = [\"secret\"] }`"
            );
        };
    }
}
