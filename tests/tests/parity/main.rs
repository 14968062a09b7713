//! What the session libraries before this one did, and what they got wrong: each line of the parity list as a test.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod commits;
mod cookies;
mod endings;
mod lifetimes;
mod loading;
mod redis;
mod sealed;
mod stores;
mod tokens;
