//! One static definition per field, made by the derive, and the untyped view of it that the session core works with.

use super::{
    codec::{self, CodecError},
    depth::Shallow,
    field::{Field, FieldChange},
    merge::Merge,
    value::SessionValue,
};
use crate::{
    limits,
    record::{CellBody, Cells, CodecId, Content, Payload, Shape, Timestamp},
};
use serde::{Serialize, de::DeserializeOwned};
use std::{fmt, time::Duration};

/// What a plain field's type must be. Implemented for everything that is; one bound, so that a missing derive is one error.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be stored in a session",
    label = "this type, or one inside it, lacks `Serialize`, `Deserialize` or `SessionValue`",
    note = "for a type of yours write `#[derive(serde::Serialize, serde::Deserialize, cloakroom::SessionValue)]` above it",
    note = "for a type of another crate write `#[session(opaque)]` above the field: any serde type will do, it is stored as JSON"
)]
pub trait Stored: Sized {
    /// In the codec of this build, with the type's shape.
    const CODING: Coding<Self>;
}

#[diagnostic::do_not_recommend]
impl<V: SessionValue + Serialize + DeserializeOwned + Send + 'static> Stored for V {
    const CODING: Coding<V> = {
        assert!(
            codec::WRITTEN.is_some(),
            "cloakroom is built without a codec: enable its feature `bincode` (the default) or `postcard`"
        );
        Coding {
            codec: codec::WRITTEN,
            shape: V::SHAPE,
            encode: if V::RECURSIVE { encode_checked::<V> } else { codec::encode::<V> },
            decode: if V::RECURSIVE { decode_bounded::<V> } else { codec::decode::<V> },
        }
    };
}

/// What an `opaque` field's type must be, as [`Stored`] is for the others.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be stored in a session, not even as `opaque`",
    label = "this type, or one inside it, lacks `Serialize` or `Deserialize`",
    note = "for a type of yours write `#[derive(serde::Serialize, serde::Deserialize)]` above it",
    note = "for a type of another crate look for a feature of it called `serde`"
)]
pub trait StoredOpaque: Sized {
    /// As JSON, without a shape.
    const CODING: Coding<Self>;
}

#[diagnostic::do_not_recommend]
impl<V: Serialize + DeserializeOwned + Send + 'static> StoredOpaque for V {
    const CODING: Coding<V> = Coding {
        codec: Some(CodecId::JSON),
        shape: Shape::OPAQUE,
        encode: encode_json_checked::<V>,
        decode: codec::decode::<V>,
    };
}

/// How a type's values become bytes and come back.
#[derive(Debug)]
pub struct Coding<V> {
    codec: Option<CodecId>,
    shape: Shape,
    encode: fn(&V, &mut Vec<u8>) -> Result<(), CodecError>,
    decode: fn(CodecId, &[u8]) -> Result<V, CodecError>,
}

/// Where a field's value comes from if nothing is stored and no `default = ..` says what it is.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no default value, which a session field needs",
    label = "what is this field in a new session?",
    note = "say it at the field: `#[session(default = ...)]`",
    note = "or implement `Default` for `{Self}`, or make the field an `Option<{Self}>`"
)]
pub trait FieldDefault: Sized {
    /// The value.
    fn field_default() -> Self;
}

#[diagnostic::do_not_recommend]
impl<V: Default> FieldDefault for V {
    fn field_default() -> Self {
        Self::default()
    }
}

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
    schema: &'static str,
    name: &'static str,
    key: &'static str,
    codec: Option<CodecId>,
    shape: Shape,
    default: fn() -> V,
    encode: fn(&V, &mut Vec<u8>) -> Result<(), CodecError>,
    decode: fn(CodecId, &[u8]) -> Result<V, CodecError>,
    eq: Option<fn(&V, &V) -> bool>,
    merge: Merge<V>,
    ttl: Option<Duration>,
    validate: Option<Check<V>>,
    lossy: bool,
}

fn decode_bounded<V: DeserializeOwned>(codec: CodecId, bytes: &[u8]) -> Result<V, CodecError> {
    codec::decode::<Shallow<V>>(codec, bytes).map(|shallow| shallow.0)
}

/// A type that contains itself can be nested deeper than it can be read back: what cannot be read must not be written.
fn encode_checked<V: Serialize + DeserializeOwned>(value: &V, out: &mut Vec<u8>) -> Result<(), CodecError> {
    let start = out.len();
    codec::encode(value, out)?;
    match codec::WRITTEN {
        Some(codec) => decode_bounded::<V>(codec, &out[start..]).map(drop),
        None => Ok(()),
    }
}

/// JSON has no way to write some values (NaN becomes `null`); those must not be written either.
fn encode_json_checked<V: Serialize + DeserializeOwned>(value: &V, out: &mut Vec<u8>) -> Result<(), CodecError> {
    let start = out.len();
    codec::encode_json(value, out)?;
    codec::decode::<V>(CodecId::JSON, &out[start..]).map(drop)
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
        let mut bytes = Vec::with_capacity(64);
        (self.encode)(value, &mut bytes)?;
        Ok(Payload::from(&bytes[..]))
    }

    fn check(&self, value: &V) -> Result<(), Cause> {
        self.validate.map_or(Ok(()), |validate| validate(value).map_err(Cause::Invalid))
    }

    /// Encodes a value that is about to be written, if it may be.
    fn admit(&self, value: &V) -> Result<Payload, Cause> {
        self.check(value)?;
        let payload = self.encode(value)?;
        if payload.len() > limits::CELL { Err(Cause::TooLarge(payload.len())) } else { Ok(payload) }
    }

    fn base_value(&self, base: Option<&Payload>) -> Result<V, CodecError> {
        base.map_or_else(|| Ok(self.default()), |payload| self.decode(payload))
    }

    /// The stored value, and the cell's content it was read from; `None` where the field is at its default.
    fn read<'a>(&self, cells: &'a Cells, now: Timestamp) -> Result<Option<(V, &'a Content)>, Cause> {
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
    fn encoding_of_today(&self, value: &V, content: &Content) -> Result<Payload, CodecError> {
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

/// The untyped view of a [`FieldDef`].
pub trait AnyField: Sync + fmt::Debug {
    #[doc(hidden)]
    fn schema(&self) -> &'static str;
    #[doc(hidden)]
    fn name(&self) -> &'static str;
    /// The physical keys this build knows, newest first.
    #[doc(hidden)]
    fn keys(&self) -> &[&'static str];
    #[doc(hidden)]
    fn rule(&self) -> Rule;
    /// What is stored, in the encoding of today.
    #[doc(hidden)]
    fn stored(&self, cells: &Cells, now: Timestamp) -> Result<Option<Payload>, Undecodable>;
    /// Three-way merge of encoded values; `None` is the default.
    #[doc(hidden)]
    fn merged(&self, base: Option<&Payload>, mine: Option<&Payload>, theirs: Option<&Payload>) -> Result<Payload, Undecodable>;
    /// Whether two encoded values are equal, by bytes or by value.
    #[doc(hidden)]
    fn same(&self, a: Option<&Payload>, b: Option<&Payload>) -> bool;
    /// The cell to write for a value, or for none.
    #[doc(hidden)]
    fn body(&self, payload: Option<&Payload>, now: Timestamp) -> CellBody;
    /// Whether a touch alone is a write.
    #[doc(hidden)]
    fn expires(&self) -> bool;
}

/// A merge rule, as far as the core must know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Not guarded.
    Last,
    /// Guarded; a conflict is an error.
    Strict,
    /// Guarded; a conflict is merged.
    Merge,
}

impl<V> fmt::Debug for FieldDef<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.key)
    }
}

impl<V> AnyField for FieldDef<V> {
    fn schema(&self) -> &'static str {
        self.schema
    }

    fn name(&self) -> &'static str {
        self.name
    }

    fn keys(&self) -> &[&'static str] {
        std::slice::from_ref(&self.key)
    }

    fn rule(&self) -> Rule {
        match self.merge {
            Merge::Last => Rule::Last,
            Merge::Strict => Rule::Strict,
            Merge::Of(_) => Rule::Merge,
        }
    }

    fn stored(&self, cells: &Cells, now: Timestamp) -> Result<Option<Payload>, Undecodable> {
        let read = || match self.read(cells, now)? {
            Some((value, content)) => Ok(Some(self.encoding_of_today(&value, content)?)),
            None => Ok(None),
        };
        read().map_err(|cause| Undecodable { field: self.name, cause })
    }

    fn merged(&self, base: Option<&Payload>, mine: Option<&Payload>, theirs: Option<&Payload>) -> Result<Payload, Undecodable> {
        let merge = || {
            let mine_value = self.base_value(mine)?;
            let merged = match self.merge {
                Merge::Of(merge) => merge(self.base_value(base)?, mine_value, self.base_value(theirs)?),
                Merge::Last | Merge::Strict => mine_value,
            };
            self.admit(&merged)
        };
        merge().map_err(|cause| Undecodable { field: self.name, cause })
    }

    fn same(&self, a: Option<&Payload>, b: Option<&Payload>) -> bool {
        match (a, b) {
            (None, None) => true,
            (Some(value), other) | (other, Some(value)) => {
                other == Some(value) || self.decode(value).is_ok_and(|decoded| self.same_value(&decoded, value, other))
            }
        }
    }

    fn body(&self, payload: Option<&Payload>, now: Timestamp) -> CellBody {
        let (Some(payload), Some(codec)) = (payload, self.codec) else { return CellBody::new(Content::Tombstone) };
        let mut body = CellBody::new(Content::Value { codec, shape: self.shape, sealed: false, payload: payload.clone() });
        body.deadline = self.ttl.map(|ttl| now.plus(ttl));
        body
    }

    fn expires(&self) -> bool {
        self.ttl.is_some()
    }
}

/// The cells a handle is made from.
#[derive(Debug)]
pub struct Opener<'a> {
    cells: Option<&'a Cells>,
    now: Timestamp,
}

impl<'a> Opener<'a> {
    /// From these cells; from none, every field is its default.
    pub(crate) fn new(cells: Option<&'a Cells>, now: Timestamp) -> Self {
        Self { cells, now }
    }

    /// One field.
    ///
    /// # Errors
    /// If its cell cannot be read and the field is not `lossy`.
    pub fn field<V>(&self, def: &'static FieldDef<V>) -> Result<Field<V>, Undecodable> {
        let read = match self.cells {
            Some(cells) => def.read(cells, self.now).map_err(|cause| Undecodable { field: def.name, cause })?,
            None => None,
        };
        Ok(match read {
            Some((value, content)) if def.eq.is_none() && !matches!(def.merge, Merge::Last) => {
                match def.encoding_of_today(&value, content) {
                    Ok(payload) => Field::loaded_from(def, value, payload),
                    Err(_) => Field::loaded(def, value),
                }
            }
            Some((value, _)) => Field::loaded(def, value),
            None => Field::loaded(def, def.default()),
        })
    }
}

/// A field of a handle beside the definition that belongs to its place.
#[derive(Debug)]
pub struct Placed<'a, V: 'static> {
    /// The definition of the place.
    pub def: &'static FieldDef<V>,
    /// What is in it.
    pub field: &'a mut Field<V>,
}

/// The untyped view of a [`Placed`] field.
pub trait PlacedField {
    #[doc(hidden)]
    fn def(&self) -> &'static dyn AnyField;
    /// The field that was swapped into this place, if one was.
    #[doc(hidden)]
    fn intruder(&self) -> Option<&'static dyn AnyField>;
    #[doc(hidden)]
    fn change(&self) -> Option<&FieldChange>;
    #[doc(hidden)]
    fn encode(&self) -> Result<Payload, Undecodable>;
    /// Whether the value held equals that encoded value.
    #[doc(hidden)]
    fn equals(&self, bytes: &Payload, base: Option<&Payload>) -> bool;
    #[doc(hidden)]
    fn clear(&mut self);
    /// The value held is the base from here on.
    #[doc(hidden)]
    fn settle(&mut self);
    /// Whether the value changed without `&mut` access.
    #[cfg(debug_assertions)]
    #[doc(hidden)]
    fn changed_unseen(&self) -> bool;
}

impl<V> PlacedField for Placed<'_, V> {
    fn def(&self) -> &'static dyn AnyField {
        self.def
    }

    fn intruder(&self) -> Option<&'static dyn AnyField> {
        (!std::ptr::eq(self.def, self.field.def())).then(|| super::field::place(self.field))
    }

    fn change(&self) -> Option<&FieldChange> {
        self.field.pending()
    }

    fn encode(&self) -> Result<Payload, Undecodable> {
        self.def.admit(self.field.value()).map_err(|cause| Undecodable { field: self.def.name, cause })
    }

    fn equals(&self, bytes: &Payload, base: Option<&Payload>) -> bool {
        self.def.same_value(self.field.value(), bytes, base)
    }

    fn clear(&mut self) {
        self.field.clear();
    }

    fn settle(&mut self) {
        self.field.settle();
    }

    #[cfg(debug_assertions)]
    fn changed_unseen(&self) -> bool {
        self.field.changed_unseen()
    }
}

/// What a `validate` function may return.
#[diagnostic::on_unimplemented(
    message = "a `validate` function cannot return `{Self}`",
    label = "expected `bool` or `Result<(), E>`",
    note = "write `fn check(value: &V) -> bool` or `fn check(value: &V) -> Result<(), E>` where `E: Display`"
)]
pub trait Verdict {
    /// The verdict, with a reason where there is one.
    #[doc(hidden)]
    fn verdict(self) -> Result<(), String>;
}

impl Verdict for bool {
    fn verdict(self) -> Result<(), String> {
        if self { Ok(()) } else { Err("the check answered false".to_owned()) }
    }
}

impl<E: fmt::Display> Verdict for Result<(), E> {
    fn verdict(self) -> Result<(), String> {
        self.map_err(|error| error.to_string())
    }
}
