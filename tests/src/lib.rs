//! What the tests share: an application to talk to, stores to run it on, and the servers behind them.

pub mod engines;
pub mod events;
pub mod processes;
pub mod servers;
pub mod shop;
pub mod site;
