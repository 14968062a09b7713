//! Shapes: what tells two versions of a type apart before its bytes are read.

use crate::record::Shape;
use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, LinkedList, VecDeque},
    marker::PhantomData,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6},
    num,
    time::{Duration, SystemTime},
};

/// A type that can be a field's value: serde encodes it, this trait gives its shape.
///
/// Derive it beside serde's two derives. A shape is a hash over kinds, field and variant names (or their `key`), order and the
/// shapes inside; never over type or module names. So renaming or moving a type changes nothing, and a changed type is
/// noticed before its bytes are misread.
///
/// ```
/// use cloakroom::SessionValue;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize, SessionValue)]
/// struct Item {
///     article: u32,
///     #[session(key = "qty")] // stored under its old name
///     quantity: u16,
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no shape, so it cannot be stored in a session",
    label = "`SessionValue` is missing here",
    note = "derive it beside serde's derives: `#[derive(serde::Serialize, serde::Deserialize, cloakroom::SessionValue)]`",
    note = "for a type of `uuid`, `chrono` or `time` enable cloakroom's feature of that name",
    note = "for a type of any other crate put `#[session(shape = \"name-1\")]` on the field of the nested type, or `#[session(opaque)]` on the field of the session struct"
)]
pub trait SessionValue {
    /// The shape of this type's encoding.
    const SHAPE: Shape;

    #[doc(hidden)]
    const RECURSIVE: bool = false;
}

/// Builds a shape at compile time. Every part is length-prefixed, so that no two sequences of parts run together.
#[derive(Clone, Copy, Debug)]
pub struct ShapeBuilder(u64);

impl ShapeBuilder {
    /// Begins the shape of a kind, such as `"struct"`.
    pub const fn new(kind: &str) -> Self {
        Self(EMPTY).text(kind)
    }

    /// Adds a name.
    #[must_use]
    pub const fn text(self, text: &str) -> Self {
        let mut this = self.number(text.len() as u64);
        let bytes = text.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            this = this.byte(bytes[at]);
            at += 1;
        }
        this
    }

    /// Adds a number.
    #[must_use]
    pub const fn number(self, number: u64) -> Self {
        let bytes = number.to_le_bytes();
        let mut this = self;
        let mut at = 0;
        while at < 8 {
            this = this.byte(bytes[at]);
            at += 1;
        }
        this
    }

    /// Adds a shape inside.
    #[must_use]
    pub const fn child(self, shape: Shape) -> Self {
        self.number(shape.as_u64())
    }

    /// The finished shape.
    pub const fn finish(self) -> Shape {
        // 0 is the shape of opaque fields.
        Shape::from_u64(if self.0 == 0 { 1 } else { self.0 })
    }

    const fn byte(self, byte: u8) -> Self {
        Self(fnv(self.0, byte))
    }
}

/// The hash of nothing, to begin [`fnv`] with.
pub(super) const EMPTY: u64 = 0xcbf2_9ce4_8422_2325;

/// One more byte into an FNV-1a of 64 bits: simple enough to be const and to be written down, and nobody attacks a shape or a lock.
pub(super) const fn fnv(hash: u64, byte: u8) -> u64 {
    (hash ^ byte as u64).wrapping_mul(0x0000_0100_0000_01b3)
}

const fn leaf(kind: &str) -> Shape {
    ShapeBuilder::new(kind).finish()
}

macro_rules! leaves {
    ($($kind:literal: $($type:ty),+;)*) => {$($(
        impl SessionValue for $type {
            const SHAPE: Shape = leaf($kind);
        }
    )+)*};
}
leaves! {
    "unit": ();
    "bool": bool;
    "char": char;
    "u8": u8, num::NonZeroU8;
    "u16": u16, num::NonZeroU16;
    "u32": u32, num::NonZeroU32;
    // serde sends the machine's word as 64 bits, so both have one shape.
    "u64": u64, usize, num::NonZeroU64, num::NonZeroUsize;
    "u128": u128, num::NonZeroU128;
    "i8": i8, num::NonZeroI8;
    "i16": i16, num::NonZeroI16;
    "i32": i32, num::NonZeroI32;
    "i64": i64, isize, num::NonZeroI64, num::NonZeroIsize;
    "i128": i128, num::NonZeroI128;
    "f32": f32;
    "f64": f64;
    "text": String, Box<str>, std::path::PathBuf;
    "duration": Duration;
    "system-time": SystemTime;
    "ip": IpAddr;
    "ip4": Ipv4Addr;
    "ip6": Ipv6Addr;
    "socket": SocketAddr;
    "socket4": SocketAddrV4;
    "socket6": SocketAddrV6;
}

#[cfg(feature = "uuid")]
leaves! { "uuid": uuid::Uuid; }

#[cfg(feature = "chrono")]
leaves! {
    "chrono-date": chrono::NaiveDate;
    "chrono-time": chrono::NaiveTime;
    "chrono-date-time": chrono::NaiveDateTime;
    "chrono-month": chrono::Month;
    "chrono-weekday": chrono::Weekday;
}
#[cfg(feature = "chrono")]
impl<Z: chrono::TimeZone> SessionValue for chrono::DateTime<Z> {
    const SHAPE: Shape = leaf("chrono-instant");
}

#[cfg(feature = "time")]
leaves! {
    "time-date": time::Date;
    "time-time": time::Time;
    "time-offset": time::UtcOffset;
    "time-date-time": time::PrimitiveDateTime;
    "time-instant": time::OffsetDateTime;
    "time-duration": time::Duration;
    "time-month": time::Month;
    "time-weekday": time::Weekday;
}

macro_rules! transparent {
    ($([$($generics:tt)*] $type:ty;)*) => {$(
        impl<$($generics)*> SessionValue for $type {
            const SHAPE: Shape = T::SHAPE;
            const RECURSIVE: bool = T::RECURSIVE;
        }
    )*};
}
transparent! {
    [T: SessionValue] Box<T>;
    [T: SessionValue] num::Wrapping<T>;
    [T: SessionValue] num::Saturating<T>;
    [T: SessionValue] std::cmp::Reverse<T>;
    [T: SessionValue + ToOwned + ?Sized + 'static] Cow<'static, T>;
}

impl SessionValue for str {
    const SHAPE: Shape = <String as SessionValue>::SHAPE;
}

macro_rules! containers {
    ($($kind:literal: [$($generics:tt)*] $type:ty, $($item:ident)+;)*) => {$(
        impl<$($generics)*> SessionValue for $type {
            const SHAPE: Shape = ShapeBuilder::new($kind)$(.child($item::SHAPE))+.finish();
            const RECURSIVE: bool = false $(|| $item::RECURSIVE)+;
        }
    )*};
}
containers! {
    "option": [T: SessionValue] Option<T>, T;
    "seq": [T: SessionValue] Vec<T>, T;
    "seq": [T: SessionValue] Box<[T]>, T;
    "seq": [T: SessionValue] VecDeque<T>, T;
    "seq": [T: SessionValue] LinkedList<T>, T;
    "set": [T: SessionValue] BTreeSet<T>, T;
    "set": [T: SessionValue, S] HashSet<T, S>, T;
    "map": [K: SessionValue, V: SessionValue] BTreeMap<K, V>, K V;
    "map": [K: SessionValue, V: SessionValue, S] HashMap<K, V, S>, K V;
    "result": [T: SessionValue, E: SessionValue] Result<T, E>, T E;
    "range": [T: SessionValue] std::ops::Range<T>, T;
    "range": [T: SessionValue] std::ops::RangeInclusive<T>, T;
}

impl<T: SessionValue, const N: usize> SessionValue for [T; N] {
    const SHAPE: Shape = ShapeBuilder::new("array").number(N as u64).child(T::SHAPE).finish();
    const RECURSIVE: bool = T::RECURSIVE;
}

macro_rules! tuples {
    ($(($($item:ident)+))*) => {$(
        impl<$($item: SessionValue),+> SessionValue for ($($item,)+) {
            const SHAPE: Shape = ShapeBuilder::new("tuple")$(.child($item::SHAPE))+.finish();
            const RECURSIVE: bool = false $(|| $item::RECURSIVE)+;
        }
    )*};
}
tuples! {
    (A) (A B) (A B C) (A B C D) (A B C D E) (A B C D E F) (A B C D E F G) (A B C D E F G H)
    (A B C D E F G H I) (A B C D E F G H I J) (A B C D E F G H I J K) (A B C D E F G H I J K L)
}

/// Asks at compile time what a type can do, without asking for it.
///
/// `Probe::<V>::EQ` is the inherent constant where `V: PartialEq`, and that of the trait [`NoEq`] elsewhere. It works for concrete
/// types only, which is what the derive has.
#[derive(Debug)]
pub struct Probe<V>(PhantomData<V>);

impl<V: PartialEq> Probe<V> {
    /// The type's equality.
    pub const EQ: Option<fn(&V, &V) -> bool> = Some(V::eq);
}

/// The answer of [`Probe`] for types without equality.
pub trait NoEq<V> {
    /// There is none.
    const EQ: Option<fn(&V, &V) -> bool> = None;
}

impl<V> NoEq<V> for Probe<V> {}
