//! One static definition per field, made by the derive.

use super::{
    codec::{CodecError, Encoded},
    coding::Coding,
    field::Field,
    merge::Merge,
    untyped::{AnyField, Opener},
};
use crate::{
    limits,
    record::{CodecId, Content, Payload, Shape},
    seal,
    vault::Vault,
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
    pub(super) secret: bool,
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
            secret: false,
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

    /// Stored sealed, and never shown.
    #[must_use]
    pub const fn secret(mut self) -> Self {
        self.secret = true;
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
        (self.encode)(value, &mut bytes).map_err(|error| match error {
            CodecError::Encode(why) => CodecError::Encode(self.sayable(why)),
            other => other,
        })?;
        Ok(Payload::from(bytes.as_bytes()))
    }

    fn check(&self, value: &V) -> Result<(), Cause> {
        self.validate.map_or(Ok(()), |validate| validate(value).map_err(|why| Cause::Invalid(self.sayable(why))))
    }

    /// What the user's own code says of a value, unless it might quote a secret.
    fn sayable(&self, why: String) -> String {
        if self.secret { "(the reason is left out, since the field is `secret`)".to_owned() } else { why }
    }

    /// What a store is given to keep for an encoded value, in bytes.
    pub(super) fn stored_size(&self, payload: &Payload) -> usize {
        payload.len() + if self.secret { seal::OVERHEAD } else { 0 }
    }

    /// Encodes a value that is about to be written, if it may be.
    pub(super) fn admit(&self, value: &V) -> Result<Payload, Cause> {
        self.check(value)?;
        let payload = self.encode(value)?;
        let size = self.stored_size(&payload);
        if size > limits::CELL { Err(Cause::TooLarge(size)) } else { Ok(payload) }
    }

    pub(super) fn base_value(&self, base: Option<&Payload>) -> Result<V, CodecError> {
        base.map_or_else(|| Ok(self.default()), |payload| self.decode(payload))
    }

    /// The stored value, and the payload it was read from; `None` where the field is at its default.
    pub(super) fn read<'a>(&self, from: &'a Opener<'_>) -> Result<Option<(V, Clear<'a>)>, Cause> {
        let Some(content) = from.content(self.key) else { return Ok(None) };
        match self.interpret(content, from.vault()) {
            Ok(read) => Ok(Some(read)),
            Err(_) if self.lossy => Ok(None),
            Err(cause) => Err(cause),
        }
    }

    /// Sealed or not is the cell's to say, not the field's: a build in which the field becomes `secret`, or stops being it, reads what
    /// the one before has stored, and writes it its own way when it changes. Nobody is signed out by that deploy, or by its rollback.
    /// It means that somebody who may write to the store can put a plain value of theirs where a sealed one was. A seal could
    /// not keep them from it anyway: they can put back what was sealed there before, bury it under a tombstone, and change
    /// every plain field beside it. It promises that nobody reads.
    fn interpret<'a>(&self, content: &'a Content, vault: Option<&Vault<'_>>) -> Result<(V, Clear<'a>), Cause> {
        let Content::Value { codec, shape, sealed, payload } = content else { return Err(Cause::Sealed) };
        if *shape != self.shape {
            return Err(Cause::Shape { stored: *shape, expected: self.shape });
        }
        if payload.len() > limits::CELL {
            return Err(Cause::TooLarge(payload.len()));
        }
        let clear = Clear {
            codec: *codec,
            payload: if *sealed {
                let opened = vault.and_then(|vault| vault.open(self.key, *codec, *shape, payload));
                Bytes::Opened(opened.ok_or(Cause::Sealed)?)
            } else {
                Bytes::Stored(payload)
            },
        };
        let value = (self.decode)(*codec, clear.bytes())?;
        self.check(&value)?;
        Ok((value, clear))
    }

    /// A value read from a cell, in the encoding of today, whatever it was stored in.
    pub(super) fn encoding_of_today(&self, value: &V, read: &Clear<'_>) -> Result<Payload, CodecError> {
        if Some(read.codec) == self.codec { Ok(read.to_payload()) } else { self.encode(value) }
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

/// What a cell holds, in the clear.
pub(super) struct Clear<'a> {
    codec: CodecId,
    payload: Bytes<'a>,
}

enum Bytes<'a> {
    Stored(&'a Payload),
    Opened(Vec<u8>),
}

impl Clear<'_> {
    fn bytes(&self) -> &[u8] {
        match &self.payload {
            Bytes::Stored(payload) => payload,
            Bytes::Opened(bytes) => bytes,
        }
    }

    fn to_payload(&self) -> Payload {
        match &self.payload {
            Bytes::Stored(payload) => Payload::clone(payload),
            Bytes::Opened(bytes) => Payload::from(&bytes[..]),
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
            Self::Sealed if cfg!(feature = "secret") => {
                f.write_str("its seal does not open: it was changed, or made for another session, field or type")
            }
            Self::Sealed => f.write_str("it is sealed, which this build cannot open; enable cloakroom's feature `secret`"),
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
