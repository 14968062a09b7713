//! The rules of a store in executable form: run the suite over a store of your own, and over ours.
//!
//! [`server_side`] is for everything that implements [`SessionStore`](crate::store::SessionStore). It compares the store with
//! [`Record::apply`](crate::record::Record::apply) and [`Header::touch`](crate::record::Header::touch), case by case and in
//! long pseudo-random runs, and it reports every broken rule at once.
//!
//! `client_side` is for a backend whose record is the cookie.
//!
//! ```
//! use cloakroom::{store::MemoryStore, testing::conformance};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! conformance::server_side(|| async { MemoryStore::new() }).await;
//! # }
//! ```

#[cfg(feature = "cookie")]
mod client_side;
pub(super) mod server_side;

#[cfg(feature = "cookie")]
pub use self::client_side::client_side;
pub use self::server_side::{Case, cases, server_side};
