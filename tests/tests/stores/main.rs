//! Stores on servers, against servers that each test starts for itself.
#![allow(clippy::unwrap_used, clippy::panic)]

mod mysql;
