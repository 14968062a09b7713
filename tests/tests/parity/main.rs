//! What the session libraries before this one did, and what they got wrong: each line of the parity list as a test.

mod commits;
mod cookies;
mod endings;
mod lifetimes;
mod loading;
mod redis;
mod sealed;
mod stores;
mod tokens;
