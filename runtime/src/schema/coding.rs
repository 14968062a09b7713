//! What a field's type must be, and how its values become bytes and come back.

use super::{
    canonical::{self, For},
    codec::{self, CodecError, Encoded, Residue},
    def::{Cause, Clear, reveal},
    depth::Shallow,
    layout::Layout,
    value::SessionValue,
};
use crate::{
    record::{CodecId, Content, Payload, Shape},
    vault::Vault,
};
use serde::{Serialize, de::DeserializeOwned};
use std::fmt;

/// What a plain field's type must be. Implemented for everything that is; one bound, so that a missing derive is one error.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be stored in a session",
    label = "this type, or one inside it, lacks `Serialize`, `Deserialize` or `SessionValue`",
    note = "for a type of yours write `#[derive(serde::Serialize, serde::Deserialize, cloakroom::SessionValue)]` above it (serde's feature `derive`)",
    note = "for a type of `uuid`, `chrono` or `time` enable cloakroom's feature of that name",
    note = "for a type of any other crate write `#[session(opaque)]` above the field (cloakroom's feature `json`)"
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
            encode: codec::encode::<V>,
            decode: if V::RECURSIVE { decode_bounded::<V> } else { codec::decode::<V> },
            came_back: if V::ROUND_TRIPS { None } else { Some(came_back::<V>) },
            same: if V::LAYOUT.is_ordered() { None } else { Some(same::<V>) },
            shape_of: if V::LAYOUT.appends() { Some(shape_of::<V>) } else { None },
        }
    };
}

/// What an `opaque` field's type must be, as [`Stored`] is for the others.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be stored in a session, not even as `opaque`",
    label = "this type, or one inside it, lacks `Serialize` or `Deserialize`",
    note = "for a type of yours write `#[derive(serde::Serialize, serde::Deserialize)]` above it (serde's feature `derive`)",
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
        encode: codec::encode_json::<V>,
        decode: codec::decode::<V>,
        came_back: Some(came_back_from_json::<V>),
        // Of a type without a shape nothing says what has no order in it.
        same: None,
        shape_of: None,
    };
}

/// Whether a value, its bytes, and what was read from them are one.
type CameBack<V> = fn(&V, &[u8], &V) -> bool;

/// The shape of one value.
type ShapeOf<V> = fn(&V) -> Result<Shape, CodecError>;

/// How a type's values become bytes and come back.
pub struct Coding<V> {
    pub(super) codec: Option<CodecId>,
    pub(super) shape: Shape,
    pub(super) encode: fn(&V, &mut Encoded) -> Result<(), CodecError>,
    pub(super) decode: fn(CodecId, &[u8]) -> Result<V, CodecError>,
    /// Whether a value is the one that was read back from its bytes; absent where the type is known to come back.
    came_back: Option<CameBack<V>>,
    /// Whether two values are equal though their bytes differ, which only an unordered type can be.
    same: Option<fn(&V, &V) -> bool>,
    /// The shape of one value, where the type has appended variants.
    shape_of: Option<ShapeOf<V>>,
}

impl<V> Clone for Coding<V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<V> Copy for Coding<V> {}

impl<V> fmt::Debug for Coding<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Coding").field("codec", &self.codec).field("shape", &self.shape).finish_non_exhaustive()
    }
}

impl<V> Coding<V> {
    /// The shape its cells carry, unless a value holds an appended variant.
    pub const fn shape(&self) -> Shape {
        self.shape
    }

    /// Whether the bytes of equal values are known to be equal, and to become an equal value.
    pub(super) fn is_certain(&self) -> bool {
        self.came_back.is_none()
    }

    /// Whether a value is the one that its bytes became.
    pub(super) fn is_read_as(&self, value: &V, payload: &[u8], read: &V) -> bool {
        self.came_back.is_none_or(|came_back| came_back(value, payload, read))
    }

    pub(super) fn encoded(&self, value: &V, residue: Residue) -> Result<Payload, CodecError> {
        let mut bytes = Encoded::new(residue);
        (self.encode)(value, &mut bytes)?;
        Ok(residue.payload(bytes.as_bytes()))
    }

    /// A value in the encoding of today.
    pub(super) fn decoded(&self, payload: &[u8]) -> Result<V, CodecError> {
        match self.codec {
            Some(codec) => (self.decode)(codec, payload),
            None => Err(CodecError::Decode("no codec is compiled in".to_owned())),
        }
    }

    /// What a cell holds.
    // Inlined, since every field of every request comes through here: a call costs a read some five percent.
    #[inline]
    pub(super) fn read<'a>(&self, key: &str, content: &'a Content, vault: Option<&Vault<'_>>) -> Result<(V, Clear<'a>), Cause> {
        let expected = |shape: Shape| shape == self.shape || self.shape_of.is_some();
        let clear = reveal(key, content, self.shape, expected, vault)?;
        let value = (self.decode)(clear.codec(), clear.bytes())?;
        if clear.shape() != self.shape && self.shape_of(&value)? != clear.shape() {
            return Err(Cause::Shape { stored: clear.shape(), expected: self.shape });
        }
        Ok((value, clear))
    }

    /// The shape for the cell of this value.
    pub(super) fn shape_of(&self, value: &V) -> Result<Shape, CodecError> {
        self.shape_of.map_or(Ok(self.shape), |shape_of| shape_of(value))
    }

    /// The shape for the cell of an encoded value.
    pub(super) fn shape_of_encoded(&self, payload: &[u8]) -> Result<Shape, CodecError> {
        match self.shape_of {
            Some(shape_of) => shape_of(&self.decoded(payload)?),
            None => Ok(self.shape),
        }
    }

    /// Whether two encoded values are equal. The bytes decide; where they differ, and the type has parts without an order, the
    /// values without regard to that order do.
    pub(super) fn is_same(&self, one: &[u8], other: &[u8]) -> bool {
        one == other
            || self.same.is_some_and(|same| {
                self.decoded(one).is_ok_and(|one| self.decoded(other).is_ok_and(|other| same(&one, &other)))
            })
    }

    /// Refuses a value whose bytes no later request could read as this value; `further` is asked about the value that they become.
    pub(super) fn prove(&self, value: &V, payload: &[u8], further: impl FnOnce(&V) -> Result<(), String>) -> Result<(), Cause> {
        let Some(codec) = self.codec.filter(|_| !self.is_certain()) else { return Ok(()) };
        let lost = |why: String| Cause::Irreversible { codec, why };
        let read = (self.decode)(codec, payload).map_err(|error| lost(error.to_string()))?;
        if !self.is_read_as(value, payload, &read) {
            return Err(lost("it would be read as another value".to_owned()));
        }
        further(&read).map_err(lost)
    }
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

fn decode_bounded<V: DeserializeOwned>(codec: CodecId, bytes: &[u8]) -> Result<V, CodecError> {
    codec::decode::<Shallow<V>>(codec, bytes).map(|shallow| shallow.0)
}

/// Most values have the same bytes again. Where the order of a hash map is another one, the values decide: all that serde shows as a
/// sequence or a map may be one.
fn came_back<V: Serialize>(value: &V, bytes: &[u8], read: &V) -> bool {
    let mut again = Encoded::new(Residue::Wiped);
    codec::encode(read, &mut again).is_ok_and(|()| again.as_bytes() == bytes)
        || canonical::same(value, read, Layout::Unknown, For::Programs)
}

/// In JSON two values may have the same bytes, as `None` and `Some(None)` have, so the values decide.
fn came_back_from_json<V: Serialize>(value: &V, _: &[u8], read: &V) -> bool {
    canonical::same(value, read, Layout::Unknown, For::People)
}

fn same<V: Serialize + SessionValue>(one: &V, other: &V) -> bool {
    canonical::same(one, other, V::LAYOUT, For::Programs)
}

fn shape_of<V: Serialize + SessionValue>(value: &V) -> Result<Shape, CodecError> {
    canonical::shape_of(value, V::SHAPE, V::LAYOUT)
}
