//! The rules of one request, through a real router: what is asked of the store, what is answered, what is kept.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod after_the_head;
mod caching;
mod data;
mod deadlines;
mod failures;
mod fields;
mod handles;
mod layers;
mod rotation;
mod round_trips;
