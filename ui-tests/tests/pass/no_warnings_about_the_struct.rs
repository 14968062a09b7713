//! A struct whose fields nobody reads, old types and missing docs: nothing to warn about that is not the user's own.
#![deny(
    warnings,
    missing_docs,
    missing_debug_implementations,
    unused_qualifications,
    unreachable_pub,
    unused_results,
    let_underscore_drop,
    single_use_lifetimes,
    elided_lifetimes_in_paths,
    trivial_casts,
    unused_lifetimes,
    clippy::all,
    clippy::pedantic
)]

use cloakroom::SessionData;

mod old {
    #![allow(deprecated)]
    /// Old.
    #[deprecated]
    #[derive(Debug, Default, serde::Serialize, serde::Deserialize, cloakroom::SessionValue)]
    pub(crate) struct Old {
        pub(crate) n: u8,
    }
}

/// Nobody reads these, and no handler writes them.
#[allow(non_snake_case)]
#[derive(Debug, SessionData)]
struct Visitor {
    visits: u64,
    name: Option<String>,
    #[deprecated(note = "use `visits`")]
    count: u8,
    #[allow(deprecated)]
    old: old::Old,
    camelCase: bool,
}

fn holds<T: SessionData>() {}

fn main() {
    holds::<Visitor>();
}
