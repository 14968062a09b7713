//! One static definition per field, made by the derive.

use super::{
    codec::{CodecError, Encoded},
    coding::Coding,
    field::Field,
    merge::Merge,
    untyped::AnyField,
};
use crate::{
    limits,
    record::{Cells, CodecId, Content, Payload, Shape, Timestamp},
};
use std::{fmt, time::Duration};

/// A schema as the derive describes it.
#[derive(Debug)]
pub struct Schema {
    /// The name, first part of every key.
    pub name: &'static str,
    /// `#[session(version = ..)]`.
    pub version: u32,
    /// The struct, for errors.
    pub type_name: &'static str,
    /// The fields in the order of the struct.
    pub fields: &'static [&'static dyn AnyField],
}

type Check<V> = fn(&V) -> Result<(), String>;

/// Everything about one field that is known at compile time.
pub struct FieldDef<V: 'static> {
    pub(super) schema: &'static str,
    pub(super) name: &'static str,
    pub(super) key: &'static str,
    pub(super) codec: Option<CodecId>,
    pub(super) shape: Shape,
    default: fn() -> V,
    encode: fn(&V, &mut Encoded) -> Result<(), CodecError>,
    decode: fn(CodecId, &[u8]) -> Result<V, CodecError>,
    pub(super) eq: Option<fn(&V, &V) -> bool>,
    pub(super) merge: Merge<V>,
    pub(super) ttl: Option<Duration>,
    validate: Option<Check<V>>,
    lossy: bool,
}

impl<V> FieldDef<V> {
    /// A field. `schema` and `name` are for messages, `key` is the physical key; the coding is that of [`Stored`] or
    /// [`StoredOpaque`], which are asked for by name so that rustc points at the field's type.
    pub const fn new(
        schema: &'static str,
        name: &'static str,
        key: &'static str,
        coding: Coding<V>,
        default: fn() -> V,
    ) -> Self {
        let Coding { codec, shape, encode, decode } = coding;
        Self {
            schema,
            name,
            key,
            codec,
            shape,
            default,
            encode,
            decode,
            eq: None,
            merge: Merge::Last,
            ttl: None,
            validate: None,
            lossy: false,
        }
    }

    /// How values are compared where their bytes differ.
    #[must_use]
    pub const fn eq(mut self, eq: Option<fn(&V, &V) -> bool>) -> Self {
        self.eq = eq;
        self
    }

    /// The rule for concurrent changes.
    #[must_use]
    pub const fn merge(mut self, merge: Merge<V>) -> Self {
        self.merge = merge;
        self
    }

    /// How long a value lives after its last touch.
    #[must_use]
    pub const fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// What a value must satisfy when it is loaded, written or merged.
    #[must_use]
    pub const fn validate(mut self, validate: Check<V>) -> Self {
        self.validate = Some(validate);
        self
    }

    /// A cell that cannot be read costs this field alone.
    #[must_use]
    pub const fn lossy(mut self) -> Self {
        self.lossy = true;
        self
    }

    /// The value where nothing is stored.
    pub fn default(&self) -> V {
        (self.default)()
    }

    /// A field that belongs to no session yet, for `From<Struct>`.
    pub fn unbound(&'static self, value: V) -> Field<V> {
        Field::unbound(self, value)
    }

    /// A value in the encoding of today. Every base is in it, whatever it was stored in.
    pub(super) fn decode(&self, payload: &[u8]) -> Result<V, CodecError> {
        match self.codec {
            Some(codec) => (self.decode)(codec, payload),
            None => Err(CodecError::Decode("no codec is compiled in".to_owned())),
        }
    }

    pub(super) fn encode(&self, value: &V) -> Result<Payload, CodecError> {
        let mut bytes = Encoded::new();
        (self.encode)(value, &mut bytes)?;
        Ok(Payload::from(bytes.as_bytes()))
    }

    fn check(&self, value: &V) -> Result<(), Cause> {
        self.validate.map_or(Ok(()), |validate| validate(value).map_err(Cause::Invalid))
    }

    /// Encodes a value that is about to be written, if it may be.
    pub(super) fn admit(&self, value: &V) -> Result<Payload, Cause> {
        self.check(value)?;
        let payload = self.encode(value)?;
        if payload.len() > limits::CELL { Err(Cause::TooLarge(payload.len())) } else { Ok(payload) }
    }

    pub(super) fn base_value(&self, base: Option<&Payload>) -> Result<V, CodecError> {
        base.map_or_else(|| Ok(self.default()), |payload| self.decode(payload))
    }

    /// The stored value, and the cell's content it was read from; `None` where the field is at its default.
    pub(super) fn read<'a>(&self, cells: &'a Cells, now: Timestamp) -> Result<Option<(V, &'a Content)>, Cause> {
        let Some(content) = cells.get(self.key).and_then(|cell| cell.body.visible(now)) else { return Ok(None) };
        match self.interpret(content) {
            Ok(value) => Ok(Some((value, content))),
            Err(_) if self.lossy => Ok(None),
            Err(cause) => Err(cause),
        }
    }

    fn interpret(&self, content: &Content) -> Result<V, Cause> {
        let Content::Value { codec, shape, sealed: false, payload } = content else { return Err(Cause::Sealed) };
        if *shape != self.shape {
            return Err(Cause::Shape { stored: *shape, expected: self.shape });
        }
        if payload.len() > limits::CELL {
            return Err(Cause::TooLarge(payload.len()));
        }
        let value = (self.decode)(*codec, payload)?;
        self.check(&value)?;
        Ok(value)
    }

    /// A value read from a cell, in the encoding of today, whatever it was stored in.
    pub(super) fn encoding_of_today(&self, value: &V, content: &Content) -> Result<Payload, CodecError> {
        match content {
            Content::Value { codec, payload, .. } if Some(*codec) == self.codec => Ok(payload.clone()),
            _ => self.encode(value),
        }
    }

    pub(super) fn same_value(&self, value: &V, bytes: &Payload, base: Option<&Payload>) -> bool {
        match base {
            Some(base) if base == bytes => true,
            Some(base) => self.eq.is_some_and(|eq| self.decode(base).is_ok_and(|base| eq(value, &base))),
            None => {
                let default = self.default();
                self.eq.is_some_and(|eq| eq(value, &default)) || self.encode(&default).is_ok_and(|default| default == *bytes)
            }
        }
    }
}

/// Why a cell could not become a value, or a value a cell.
#[derive(Clone, Debug)]
pub(crate) enum Cause {
    Codec(CodecError),
    Shape { stored: Shape, expected: Shape },
    Invalid(String),
    TooLarge(usize),
    Sealed,
}

impl From<CodecError> for Cause {
    fn from(error: CodecError) -> Self {
        Self::Codec(error)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Codec(error) => error.fmt(f),
            Self::Shape { stored, expected } => write!(f, "stored with shape {stored:?}, the struct has {expected:?}"),
            Self::Invalid(why) => write!(f, "validation refused it: {why}"),
            Self::TooLarge(size) => write!(f, "{size} bytes are more than the {} a field may have", limits::CELL),
            Self::Sealed => f.write_str("the cell is sealed"),
        }
    }
}

/// A field whose cell could not be read: it resets its schema.
#[derive(Clone, Debug)]
pub struct Undecodable {
    pub(crate) field: &'static str,
    pub(crate) cause: Cause,
}

impl<V> fmt::Debug for FieldDef<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.key)
    }
}
