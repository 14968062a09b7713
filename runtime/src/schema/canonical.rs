//! A value as serde sees it, in bytes that are equal for equal values: what has no order is sorted.
//!
//! Nothing of it is stored. It decides where the stored bytes of two values differ and their type has parts without an order, and
//! whether a value came back from its bytes as itself.

use super::{codec::CodecError, layout::Layout};
use crate::record::Shape;
use serde::{
    Serialize, Serializer,
    ser::{
        Error, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple, SerializeTupleStruct,
        SerializeTupleVariant,
    },
};
use std::{collections::BTreeSet, fmt};
use zeroize::Zeroizing;

/// What kind of format a type shall believe it is written to: many types have a form for people and one for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum For {
    People,
    Programs,
}

/// Whether two values are equal as far as serde sees them.
pub(super) fn same<V: Serialize + ?Sized>(one: &V, other: &V, layout: Layout, readers: For) -> bool {
    match (walk(one, layout, readers), walk(other, layout, readers)) {
        (Ok(one), Ok(other)) => one.bytes == other.bytes,
        // Two values that cannot be written are nothing to compare.
        _ => false,
    }
}

/// The shape of this value: that of its type, and of every appended variant in it.
pub(super) fn shape_of<V: Serialize + ?Sized>(value: &V, shape: Shape, layout: Layout) -> Result<Shape, CodecError> {
    let appended = walk(value, layout, For::Programs)?.appended;
    if appended.is_empty() {
        return Ok(shape);
    }
    let whole = super::ShapeBuilder::new("appended").child(shape);
    Ok(appended.into_iter().fold(whole, super::ShapeBuilder::number).finish())
}

fn walk<V: Serialize + ?Sized>(value: &V, layout: Layout, readers: For) -> Result<Walk, CodecError> {
    let mut walk = Walk { bytes: Zeroizing::default(), appended: BTreeSet::new(), readers };
    value.serialize(At { walk: &mut walk, layout })?;
    Ok(walk)
}

struct Walk {
    bytes: Zeroizing<Vec<u8>>,
    appended: BTreeSet<u64>,
    readers: For,
}

impl Walk {
    fn number(&mut self, number: u64) {
        self.bytes.extend(number.to_le_bytes());
    }

    fn text(&mut self, text: &[u8]) {
        self.number(text.len() as u64);
        self.bytes.extend(text);
    }
}

/// What stands for `None` and for units. Where it is all that is inside of a `Some`, the `Some` is marked: a format may write both alike.
const NOTHING: u8 = b'n';
const SOME: u8 = b'o';

/// One place in a value.
struct At<'w> {
    walk: &'w mut Walk,
    layout: Layout,
}

impl<'w> At<'w> {
    fn tagged(self, tag: u8, bytes: &[u8]) -> Result<(), CodecError> {
        self.walk.bytes.push(tag);
        self.walk.bytes.extend(bytes);
        Ok(())
    }

    fn unsigned(self, number: u128) -> Result<(), CodecError> {
        self.tagged(b'u', &number.to_le_bytes())
    }

    fn signed(self, number: i128) -> Result<(), CodecError> {
        match u128::try_from(number) {
            Ok(number) => self.unsigned(number),
            Err(_) => self.tagged(b'-', &number.to_le_bytes()),
        }
    }

    /// Into a variant, whose name comes before what is in it.
    fn variant(mut self, at: u32, name: &'static str) -> Self {
        let variant = self.layout.variant(at);
        self.walk.appended.extend(variant.appended.map(Shape::as_u64));
        self.walk.bytes.push(b'v');
        self.walk.text(name.as_bytes());
        self.layout = variant.inside;
        self
    }

    /// Into parts that have their places.
    fn parts(self, count: usize, alone: Alone) -> Inside<'w> {
        self.walk.bytes.push(b'(');
        let alone = count == 1 && alone == Alone::IsItsMember;
        Inside { walk: self.walk, layout: self.layout, parts: if alone { Parts::Alone } else { Parts::Placed(0) } }
    }

    /// Into the elements of a sequence or the entries of a map.
    fn elements(self) -> Inside<'w> {
        self.walk.bytes.push(b'[');
        let parts = if self.layout.is_unordered() { Parts::Unordered(Vec::new()) } else { Parts::Placed(0) };
        Inside { walk: self.walk, layout: self.layout, parts }
    }
}

/// What the layout of a single part is to the layout of the whole.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Alone {
    IsItsMember,
    HasAPlace,
}

struct Inside<'w> {
    walk: &'w mut Walk,
    layout: Layout,
    parts: Parts,
}

enum Parts {
    /// The only member of a struct.
    Alone,
    /// The next one has this place.
    Placed(usize),
    /// Where each begins.
    Unordered(Vec<usize>),
}

impl Inside<'_> {
    fn begin(&mut self) -> Layout {
        match &mut self.parts {
            Parts::Alone => self.layout,
            Parts::Placed(at) => {
                *at += 1;
                self.layout.part(*at - 1)
            }
            Parts::Unordered(starts) => {
                starts.push(self.walk.bytes.len());
                self.layout.part(0)
            }
        }
    }

    fn part<V: Serialize + ?Sized>(&mut self, value: &V) -> Result<(), CodecError> {
        let layout = self.begin();
        value.serialize(At { walk: self.walk, layout })
    }

    fn named<V: Serialize + ?Sized>(&mut self, name: &'static str, value: &V) -> Result<(), CodecError> {
        let layout = self.begin();
        self.walk.text(name.as_bytes());
        value.serialize(At { walk: self.walk, layout })
    }

    fn key<V: Serialize + ?Sized>(&mut self, key: &V) -> Result<(), CodecError> {
        let entry = self.begin();
        key.serialize(At { walk: self.walk, layout: entry.part(0) })
    }

    fn value<V: Serialize + ?Sized>(&mut self, value: &V) -> Result<(), CodecError> {
        // All entries are alike.
        let entry = self.layout.part(0);
        value.serialize(At { walk: self.walk, layout: entry.part(1) })
    }

    fn finish(self) -> Result<(), CodecError> {
        if let Parts::Unordered(starts) = &self.parts
            && let Some(&first) = starts.first()
        {
            let elements = Zeroizing::new(self.walk.bytes.split_off(first));
            let ends = starts.iter().skip(1).copied().chain([first + elements.len()]);
            let mut sorted: Vec<&[u8]> =
                starts.iter().zip(ends).map(|(&start, end)| &elements[start - first..end - first]).collect();
            sorted.sort_unstable();
            sorted.iter().for_each(|element| self.walk.bytes.extend_from_slice(element));
        }
        self.walk.bytes.push(b']');
        Ok(())
    }
}

impl Error for CodecError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Encode(message.to_string())
    }
}

macro_rules! numbers {
    ($($method:ident: $int:ty as $how:ident;)*) => {$(
        fn $method(self, value: $int) -> Result<(), CodecError> {
            self.$how(value.into())
        }
    )*};
}

impl<'w> Serializer for At<'w> {
    type Ok = ();
    type Error = CodecError;
    type SerializeSeq = Inside<'w>;
    type SerializeTuple = Inside<'w>;
    type SerializeTupleStruct = Inside<'w>;
    type SerializeTupleVariant = Inside<'w>;
    type SerializeMap = Inside<'w>;
    type SerializeStruct = Inside<'w>;
    type SerializeStructVariant = Inside<'w>;

    numbers! {
        serialize_i8: i8 as signed;
        serialize_i16: i16 as signed;
        serialize_i32: i32 as signed;
        serialize_i64: i64 as signed;
        serialize_i128: i128 as signed;
        serialize_u8: u8 as unsigned;
        serialize_u16: u16 as unsigned;
        serialize_u32: u32 as unsigned;
        serialize_u64: u64 as unsigned;
        serialize_u128: u128 as unsigned;
    }

    fn serialize_bool(self, value: bool) -> Result<(), CodecError> {
        self.tagged(b'b', &[u8::from(value)])
    }

    // Bit by bit: the two zeros are two values, and one that is not a number is itself.
    fn serialize_f32(self, value: f32) -> Result<(), CodecError> {
        self.tagged(b'f', &value.to_bits().to_le_bytes())
    }

    fn serialize_f64(self, value: f64) -> Result<(), CodecError> {
        self.tagged(b'd', &value.to_bits().to_le_bytes())
    }

    fn serialize_char(self, value: char) -> Result<(), CodecError> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, value: &str) -> Result<(), CodecError> {
        self.walk.bytes.push(b's');
        self.walk.text(value.as_bytes());
        Ok(())
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), CodecError> {
        self.walk.bytes.push(b'y');
        self.walk.text(value);
        Ok(())
    }

    fn serialize_none(self) -> Result<(), CodecError> {
        self.tagged(NOTHING, &[])
    }

    fn serialize_some<V: Serialize + ?Sized>(self, value: &V) -> Result<(), CodecError> {
        let At { walk, layout } = self;
        let start = walk.bytes.len();
        value.serialize(At { walk: &mut *walk, layout })?;
        if let Some((&NOTHING, marks)) = walk.bytes[start..].split_last()
            && marks.iter().all(|mark| *mark == SOME)
        {
            walk.bytes.insert(start, SOME);
        }
        Ok(())
    }

    fn serialize_unit(self) -> Result<(), CodecError> {
        self.serialize_none()
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), CodecError> {
        self.serialize_none()
    }

    fn serialize_unit_variant(self, _: &'static str, at: u32, variant: &'static str) -> Result<(), CodecError> {
        _ = self.variant(at, variant);
        Ok(())
    }

    fn serialize_newtype_struct<V: Serialize + ?Sized>(self, _: &'static str, value: &V) -> Result<(), CodecError> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<V: Serialize + ?Sized>(
        self,
        _: &'static str,
        at: u32,
        variant: &'static str,
        value: &V,
    ) -> Result<(), CodecError> {
        value.serialize(self.variant(at, variant))
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Inside<'w>, CodecError> {
        Ok(self.elements())
    }

    fn serialize_tuple(self, count: usize) -> Result<Inside<'w>, CodecError> {
        Ok(self.parts(count, Alone::HasAPlace))
    }

    fn serialize_tuple_struct(self, _: &'static str, count: usize) -> Result<Inside<'w>, CodecError> {
        Ok(self.parts(count, Alone::IsItsMember))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        at: u32,
        variant: &'static str,
        count: usize,
    ) -> Result<Inside<'w>, CodecError> {
        Ok(self.variant(at, variant).parts(count, Alone::IsItsMember))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Inside<'w>, CodecError> {
        Ok(self.elements())
    }

    fn serialize_struct(self, _: &'static str, count: usize) -> Result<Inside<'w>, CodecError> {
        Ok(self.parts(count, Alone::IsItsMember))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        at: u32,
        variant: &'static str,
        count: usize,
    ) -> Result<Inside<'w>, CodecError> {
        Ok(self.variant(at, variant).parts(count, Alone::IsItsMember))
    }

    fn is_human_readable(&self) -> bool {
        self.walk.readers == For::People
    }
}

macro_rules! parts {
    ($($kind:ident::$method:ident as $how:ident($($name:ident: $named:ty)?);)*) => {$(
        impl $kind for Inside<'_> {
            type Ok = ();
            type Error = CodecError;

            fn $method<V: Serialize + ?Sized>(&mut self, $($name: $named,)? value: &V) -> Result<(), CodecError> {
                self.$how($($name,)? value)
            }

            fn end(self) -> Result<(), CodecError> {
                self.finish()
            }
        }
    )*};
}

parts! {
    SerializeSeq::serialize_element as part();
    SerializeTuple::serialize_element as part();
    SerializeTupleStruct::serialize_field as part();
    SerializeTupleVariant::serialize_field as part();
    SerializeStruct::serialize_field as named(name: &'static str);
    SerializeStructVariant::serialize_field as named(name: &'static str);
}

impl SerializeMap for Inside<'_> {
    type Ok = ();
    type Error = CodecError;

    fn serialize_key<V: Serialize + ?Sized>(&mut self, key: &V) -> Result<(), CodecError> {
        self.key(key)
    }

    fn serialize_value<V: Serialize + ?Sized>(&mut self, value: &V) -> Result<(), CodecError> {
        self.value(value)
    }

    fn end(self) -> Result<(), CodecError> {
        self.finish()
    }
}
