//! What the tests share: an application to talk to, stores to run it on, and the servers behind them.

#![allow(clippy::expect_used, clippy::panic, reason = "what goes wrong here fails the test that asked for it")]

pub mod allocations;
pub mod engines;
pub mod events;
pub mod grammar;
pub mod intercept;
pub mod processes;
pub mod servers;
pub mod shop;
pub mod site;
