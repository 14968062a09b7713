//! The hash of an owner that goes into a record: of the value as serde sees it, whatever codec stores it.

use crate::record::OwnerHash;
use serde::{
    Serialize, Serializer,
    ser::{
        Error, Impossible, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple, SerializeTupleStruct,
        SerializeTupleVariant,
    },
};
use std::fmt::{self, Display};

/// The hash of an owner: the same for one value whatever codec stores it, however wide its numbers are and however many newtypes are
/// around it, and another one in every schema.
pub(crate) fn hash<I: Serialize + ?Sized>(schema: &str, id: &I) -> Result<OwnerHash, Unhashable> {
    let mut hasher = blake3::Hasher::new_derive_key("cloakroom 1 owner");
    text(&mut hasher, schema);
    id.serialize(Canonical(&mut hasher))?;
    Ok(OwnerHash::from_bytes(*hasher.finalize().as_bytes()))
}

/// A value that cannot name an owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unhashable(String);

impl Display for Unhashable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an owner is named by numbers, text, bytes, or structs and enums of them: {}", self.0)
    }
}

impl std::error::Error for Unhashable {}

impl Error for Unhashable {
    fn custom<T: Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

impl Unhashable {
    fn is(what: &str) -> Self {
        Self(format!("this one holds {what}"))
    }
}

/// Writes a value so that two different ones of a type never read alike: each part begins with what it is, and what has no fixed
/// length with its length.
struct Canonical<'a>(&'a mut blake3::Hasher);

fn text(hasher: &mut blake3::Hasher, text: &str) {
    hasher.update(&(text.len() as u64).to_le_bytes());
    hasher.update(text.as_bytes());
}

impl Canonical<'_> {
    fn unsigned(self, value: u128) {
        self.0.update(b"+").update(&value.to_le_bytes());
    }

    fn signed(self, value: i128) {
        match u128::try_from(value) {
            Ok(value) => self.unsigned(value),
            Err(_) => {
                self.0.update(b"-").update(&value.to_le_bytes());
            }
        }
    }

    fn begin(self) -> Self {
        self.0.update(b"[");
        self
    }

    fn part<V: Serialize + ?Sized>(&mut self, value: &V) -> Result<(), Unhashable> {
        value.serialize(Canonical(self.0))
    }

    fn finish(self) -> Result<(), Unhashable> {
        self.0.update(b"]");
        Ok(())
    }

    fn variant(self, name: &str) -> Self {
        self.0.update(b"v");
        text(self.0, name);
        self
    }
}

macro_rules! numbers {
    ($($method:ident: $type:ty as $as:ident;)*) => {$(
        fn $method(self, value: $type) -> Result<(), Unhashable> {
            self.$as(value.into());
            Ok(())
        }
    )*};
}

impl Serializer for Canonical<'_> {
    type Ok = ();
    type Error = Unhashable;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeMap = Impossible<(), Unhashable>;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

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

    fn serialize_bool(self, value: bool) -> Result<(), Unhashable> {
        self.0.update(if value { b"t" } else { b"f" });
        Ok(())
    }

    fn serialize_f32(self, _: f32) -> Result<(), Unhashable> {
        Err(Unhashable::is("a floating-point number, of which not every one equals itself"))
    }

    fn serialize_f64(self, value: f64) -> Result<(), Unhashable> {
        self.serialize_f32(value as f32)
    }

    fn serialize_char(self, value: char) -> Result<(), Unhashable> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, value: &str) -> Result<(), Unhashable> {
        self.0.update(b"s");
        text(self.0, value);
        Ok(())
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), Unhashable> {
        self.0.update(b"y").update(&(value.len() as u64).to_le_bytes()).update(value);
        Ok(())
    }

    fn serialize_none(self) -> Result<(), Unhashable> {
        self.serialize_unit()
    }

    fn serialize_some<V: Serialize + ?Sized>(self, value: &V) -> Result<(), Unhashable> {
        self.0.update(b"o");
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Unhashable> {
        self.0.update(b"n");
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Unhashable> {
        self.serialize_unit()
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<(), Unhashable> {
        self.variant(variant).serialize_unit()
    }

    fn serialize_newtype_struct<V: Serialize + ?Sized>(self, _: &'static str, value: &V) -> Result<(), Unhashable> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<V: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &V,
    ) -> Result<(), Unhashable> {
        value.serialize(self.variant(variant))
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Self, Unhashable> {
        Ok(self.begin())
    }

    fn serialize_tuple(self, _: usize) -> Result<Self, Unhashable> {
        Ok(self.begin())
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self, Unhashable> {
        Ok(self.begin())
    }

    fn serialize_tuple_variant(self, _: &'static str, _: u32, variant: &'static str, _: usize) -> Result<Self, Unhashable> {
        Ok(self.variant(variant).begin())
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self::SerializeMap, Unhashable> {
        Err(Unhashable::is("a map, whose order means nothing"))
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self, Unhashable> {
        Ok(self.begin())
    }

    fn serialize_struct_variant(self, _: &'static str, _: u32, variant: &'static str, _: usize) -> Result<Self, Unhashable> {
        Ok(self.variant(variant).begin())
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

macro_rules! parts {
    ($($kind:ident::$method:ident($($name:ident: $named:ty)?) $($skip:ident)?;)*) => {$(
        impl $kind for Canonical<'_> {
            type Ok = ();
            type Error = Unhashable;

            fn $method<V: Serialize + ?Sized>(&mut self, $($name: $named,)? value: &V) -> Result<(), Unhashable> {
                self.part(value)
            }

            $(
                // Where one field is left out and where another one is are two values.
                fn $skip(&mut self, _: &'static str) -> Result<(), Unhashable> {
                    self.0.update(b"_");
                    Ok(())
                }
            )?

            fn end(self) -> Result<(), Unhashable> {
                self.finish()
            }
        }
    )*};
}

parts! {
    SerializeSeq::serialize_element();
    SerializeTuple::serialize_element();
    SerializeTupleStruct::serialize_field();
    SerializeTupleVariant::serialize_field();
    SerializeStruct::serialize_field(_key: &'static str) skip_field;
    SerializeStructVariant::serialize_field(_key: &'static str) skip_field;
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn of<I: Serialize>(id: I) -> OwnerHash {
        hash("shop", &id).unwrap()
    }

    #[derive(Serialize)]
    struct UserId(u64);

    #[derive(Serialize)]
    enum Who {
        Guest,
        Staff(u64),
        Customer { shop: u64, number: u64 },
    }

    #[test]
    fn one_value_has_one_hash_whatever_its_type_in_rust() {
        assert_eq!(of(42_u8), of(42_u64));
        assert_eq!(of(42_i32), of(UserId(42)));
        assert_eq!(of(-1_i8), of(-1_i64));
        assert_eq!(of("ann"), of(String::from("ann")));
    }

    #[test]
    fn different_values_have_different_hashes() {
        let hashes = [
            of(0_u8),
            of(1_u8),
            of(-1_i8),
            of(u128::MAX),
            of(false),
            of(()),
            of(Some(())),
            of(""),
            of("0"),
            of("ann"),
            of(["ann", "x"]),
            of(["annx", ""]),
            of([["a"], ["b"]]),
            of((["a", "b"], [0_u8; 0])),
            of(Who::Guest),
            of(Who::Staff(1)),
            of(Who::Customer { shop: 1, number: 2 }),
            of(Who::Customer { shop: 2, number: 1 }),
            hash("shop2", &1_u8).unwrap(),
            hash("sho", &"p").unwrap(),
        ];
        for (at, one) in hashes.iter().enumerate() {
            assert!(hashes[..at].iter().all(|other| other != one), "hash {at} is another one's");
        }
    }

    #[derive(Serialize)]
    struct Either {
        #[serde(skip_serializing_if = "Option::is_none")]
        employee: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        customer: Option<u64>,
    }

    #[test]
    fn what_is_left_out_counts() {
        let employee = of(Either { employee: Some(7), customer: None });
        assert_ne!(employee, of(Either { employee: None, customer: Some(7) }));
        assert_ne!(employee, of(Either { employee: Some(7), customer: Some(7) }));
    }

    #[test]
    fn what_has_no_certain_bytes_is_refused_by_name() {
        for (refused, what) in [(hash("shop", &1.5), "floating-point"), (hash("shop", &HashMap::from([(1, 2)])), "a map")] {
            assert!(refused.unwrap_err().to_string().contains(what));
        }
    }
}
