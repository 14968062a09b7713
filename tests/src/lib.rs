//! What the tests share: an application to talk to, and stores to run it on.

pub mod events;
pub mod shop;
pub mod site;
