//! What the tests share: an application to talk to, stores to run it on, and the servers behind them.

pub mod allocations;
pub mod engines;
pub mod events;
pub mod grammar;
pub mod intercept;
pub mod processes;
pub mod servers;
pub mod shop;
pub mod site;
