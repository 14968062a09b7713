//! Binaries of different schema versions serve the same sessions, in any order, and lose nothing that was not declared lost.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod alternation;
mod appended;
mod attributes;
mod engines;
mod interleaved;
mod kept;
mod oracle;
mod sources;
mod versions;
mod visitor;
mod walk;
