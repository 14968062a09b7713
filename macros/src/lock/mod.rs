//! The schema lock: what a struct stored when its last change was accepted. Everything here is a function of text and of the model;
//! nothing reads a file.

mod compare;
mod read;
mod record;
mod say;
mod spell;
mod write;

pub(crate) use self::{
    compare::{Assertion, compare},
    read::read,
    record::{Record, record},
    spell::spell,
    write::{Piece, write},
};
use std::collections::BTreeMap;

/// What a person types to record a change.
pub(crate) const COMMAND: &str = "SESSION_SCHEMA=accept cargo test";

/// What to type where one of two structs of one name is nobody's business.
pub(crate) const OF_A_TEST: &str = "for a struct of a test: `#[session(lock = off)]`";

/// One lock file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lock {
    pub(crate) name: String,
    pub(crate) version: u32,
    /// By stored name.
    pub(crate) fields: BTreeMap<String, Field>,
    pub(crate) removed: BTreeMap<String, Removed>,
}

/// One stored name in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) merge: String,
    /// The removed fields that it is computed from, by stored name, sorted.
    pub(crate) from: Vec<String>,
    pub(crate) forget_before: Option<u32>,
    /// Oldest first; those that `forget_before` ends are not among them.
    pub(crate) past: Vec<Form>,
    pub(crate) now: Form,
}

impl Field {
    /// Every generation, oldest first.
    pub(crate) fn forms(&self) -> impl Iterator<Item = &Form> {
        self.past.iter().chain([&self.now])
    }

    /// The one in its physical key.
    pub(crate) fn generation(&self) -> Option<u32> {
        (self.forget_before.is_some() || !self.past.is_empty()).then_some(self.now.since)
    }
}

/// One stored name that is out of use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Removed {
    pub(crate) in_version: u32,
    /// Where the field's type had changed before: the version of its last generation, which is part of the physical key.
    pub(crate) generation: Option<u32>,
    pub(crate) shape: Shape,
    pub(crate) ty: String,
    pub(crate) samples: Samples,
}

/// What a field is stored as in one generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Form {
    /// The version in which it began.
    pub(crate) since: u32,
    pub(crate) shape: Shape,
    /// How the type was spelled, for messages: shapes decide.
    pub(crate) ty: String,
    pub(crate) samples: Samples,
}

/// A shape, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Stored self-describing.
    Opaque,
    Hash(u64),
    /// Of a type that was gone before anybody recorded it.
    Unknown,
    /// That of the type with this number, which only the compiler of the user's crate knows.
    Of(usize),
}

/// Encoded values of a generation, as hexadecimal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Samples {
    pub(crate) kept: Vec<String>,
    /// The field, by its place in the struct, whose values of today belong here too.
    pub(crate) fresh: Option<usize>,
}

impl From<Vec<String>> for Samples {
    fn from(kept: Vec<String>) -> Self {
        Self { kept, fresh: None }
    }
}

/// The sum that a lock carries over its own text. Two branches that record different changes write different sums into the same line,
/// which git cannot merge; and a text put together by hand is noticed.
pub(crate) fn sum(text: &str) -> String {
    // FNV-1a, 64 bits, as shapes are: it tells accidents apart, and nobody attacks it.
    let hash =
        text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    format!("{hash:016x}")
}

/// The whole text of a lock that has no holes.
#[cfg(test)]
pub(crate) fn text(lock: &Lock) -> String {
    let (head, body) = write(lock);
    let mut text = String::new();
    for piece in body {
        match piece {
            Piece::Text(more) => text += &more,
            hole => assert_eq!(format!("{hole:?}"), "no hole"),
        }
    }
    format!("{head}sum = \"{}\"\n{text}", sum(&format!("{head}{text}")))
}

#[cfg(test)]
mod tests;
