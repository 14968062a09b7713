//! The rules of one request, through a real router: what is asked of the store, what is answered, what is kept.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod after_the_head;
mod anonymous;
mod answers;
mod caching;
mod changes;
mod cross_site;
mod csrf;
mod data;
mod deadlines;
mod failed_saves;
mod failures;
mod fields;
mod flows;
mod guard;
mod handles;
mod keyed;
mod keys;
mod late_saves;
mod layers;
mod members;
mod names;
mod observing;
mod owner;
mod privilege;
mod readable;
mod reloads;
mod renewal;
mod replay;
mod rotation;
mod round_trips;
mod saves;
mod scopes;
mod secrets;
mod sessions;
mod transport;
