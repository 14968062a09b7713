//! The structs of the tests.

use cloakroom::SessionData;
use std::collections::BTreeSet;

#[derive(SessionData)]
pub(crate) struct Visitor {
    #[session(merge = "add")]
    pub(crate) visits: u64,
    pub(crate) name: Option<String>,
    pub(crate) notice: Option<String>,
}

#[derive(SessionData)]
pub(crate) struct Eight {
    pub(crate) a: u64,
    pub(crate) b: String,
    pub(crate) c: Vec<u32>,
    pub(crate) d: Option<bool>,
    pub(crate) e: BTreeSet<u8>,
    pub(crate) f: i16,
    pub(crate) g: (u8, char),
    pub(crate) h: [u8; 4],
}

/// A second struct in the same cookie.
#[derive(SessionData)]
pub(crate) struct Auth {
    pub(crate) user: Option<u64>,
}

#[derive(SessionData)]
#[session(name = "rules")]
pub(crate) struct Merging {
    #[session(merge = "add")]
    pub(crate) sum: i64,
    #[session(merge = "max")]
    pub(crate) top: u32,
    #[session(merge = "min", default = 100u32)]
    pub(crate) low: u32,
    #[session(merge = "union")]
    pub(crate) tags: BTreeSet<String>,
    #[session(merge = "strict")]
    pub(crate) only: u32,
    #[session(merge = joined)]
    pub(crate) text: String,
    pub(crate) last: u32,
}

fn joined(base: String, mine: String, theirs: String) -> String {
    format!("{base}({mine}|{theirs})")
}
