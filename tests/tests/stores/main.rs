//! Every store on a server, against real servers that the tests start for themselves.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod embedded;
mod mysql;
mod owners;
mod postgres;
mod redis;
