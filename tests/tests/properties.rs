//! What holds for any interleaving of requests, and for any bytes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "properties/hostile.rs"]
mod hostile;
#[path = "properties/interleaved.rs"]
mod interleaved;
#[path = "properties/model.rs"]
mod model;
