//! What a field's type must be, and how its values become bytes and come back.

use super::{
    codec::{self, CodecError, Encoded},
    depth::Shallow,
    value::SessionValue,
};
use crate::record::{CodecId, Shape};
use serde::{Serialize, de::DeserializeOwned};

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
            encode: if V::RECURSIVE { encode_checked::<V> } else { codec::encode::<V> },
            decode: if V::RECURSIVE { decode_bounded::<V> } else { codec::decode::<V> },
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
        encode: encode_json_checked::<V>,
        decode: codec::decode::<V>,
    };
}

/// How a type's values become bytes and come back.
#[derive(Debug)]
pub struct Coding<V> {
    pub(super) codec: Option<CodecId>,
    pub(super) shape: Shape,
    pub(super) encode: fn(&V, &mut Encoded) -> Result<(), CodecError>,
    pub(super) decode: fn(CodecId, &[u8]) -> Result<V, CodecError>,
}

impl<V> Coding<V> {
    /// The shape its cells carry.
    pub const fn shape(&self) -> Shape {
        self.shape
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

/// A type that contains itself can be nested deeper than it can be read back: what cannot be read must not be written.
fn encode_checked<V: Serialize + DeserializeOwned>(value: &V, out: &mut Encoded) -> Result<(), CodecError> {
    codec::encode(value, out)?;
    match codec::WRITTEN {
        Some(codec) => decode_bounded::<V>(codec, out.as_bytes()).map(drop),
        None => Ok(()),
    }
}

/// JSON has no way to write some values (NaN becomes `null`); those must not be written either.
fn encode_json_checked<V: Serialize + DeserializeOwned>(value: &V, out: &mut Encoded) -> Result<(), CodecError> {
    codec::encode_json(value, out)?;
    codec::decode::<V>(CodecId::JSON, out.as_bytes()).map(drop)
}
