//! What holds for any interleaving of requests, and for any bytes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "properties/corpus.rs"]
mod corpus;
#[path = "../../fuzz/src/everything.rs"]
#[allow(unreachable_pub, reason = "a library where it is at home")]
mod everything;
#[path = "properties/hostile.rs"]
mod hostile;
#[path = "properties/interleaved.rs"]
mod interleaved;
#[path = "properties/model.rs"]
mod model;
#[path = "properties/protocol.rs"]
mod protocol;
#[path = "../../fuzz/src/targets.rs"]
#[allow(unreachable_pub, reason = "a library where it is at home")]
mod targets;

use cloakroom_tests::{allocations, grammar};

#[global_allocator]
static ALLOCATOR: allocations::Counting = allocations::Counting;
