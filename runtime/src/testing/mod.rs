//! What it takes to test an application that uses sessions, or a store of one's own (feature `testing`).
//!
//! | You want to | Use |
//! |---|---|
//! | drive an app like a browser that keeps its cookies, without a socket | [`TestClient`] |
//! | let an hour pass, or a year, without waiting | [`ManualClock`] |
//! | know exactly what a request asked of the store | [`SpyStore`] and its log of [`Op`]s |
//! | see what the app does while the store is down, slow or silent | [`FaultStore`], [`Fault`] and [`Gate`] |
//! | prove that a store of your own keeps the rules | [`conformance::server_side`] |
//! | prove the same of sessions that the browser keeps | `conformance::client_side` (feature `cookie`) |
//!
//! Nothing here needs a particular async runtime, and nothing here sleeps: time is a value, and an operation that is held
//! back waits at a [`Gate`] until the test opens it.
//!
//! Wrappers nest, so a store can be watched and disturbed at once: in `SpyStore::new(FaultStore::new(store))` the log shows
//! also what the script refused; the other way round it shows only what reached the store.
//!
//! A handler, its session and the clock in one test:
//!
//! ```
//! use axum::{Router, routing::get};
//! use cloakroom::{SessionData, SessionLayer, TypedSession, store::MemoryStore};
//! use cloakroom::testing::{ManualClock, Operation, SpyStore, TestClient};
//! use std::time::{Duration, SystemTime};
//!
//! #[derive(SessionData)]
//! struct Visitor { visits: u64 }
//!
//! async fn home(mut session: TypedSession<Visitor>) -> String {
//!     *session.visits += 1;
//!     session.visits.to_string()
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let clock = ManualClock::new(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000));
//! let spy = SpyStore::new(MemoryStore::new());
//! let app = Router::new().route("/", get(home)).layer(SessionLayer::new(spy.clone()).clock(clock.clone()));
//! let browser = TestClient::new(app).clock(clock.clone());
//!
//! assert_eq!(browser.get("/").await.text(), "1");
//! assert_eq!(browser.get("/").await.text(), "2");
//! assert_eq!(spy.count(Operation::Create), 1);
//! assert_eq!(spy.count(Operation::Commit), 1);
//!
//! clock.advance(Duration::from_secs(25 * 3600)); // past the idle limit
//! assert_eq!(browser.get("/").await.text(), "1");
//! # }
//! ```

mod client;
mod clock;
pub mod conformance;
mod fault;
mod operation;
#[cfg(test)]
mod reference;
mod spy;

pub use self::{
    client::{TestClient, TestResponse},
    clock::ManualClock,
    fault::{Fault, FaultStore, Gate},
    operation::Operation,
    spy::{Loaded, Op, Outcome, RotationKind, SpyStore},
};

/// The value of a mutex, also after a test panicked while it held the lock: a kit for tests must not hide the first failure
/// behind a second one.
fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
