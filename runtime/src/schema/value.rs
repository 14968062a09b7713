//! Shapes: what tells two versions of a type apart before its bytes are read.

use super::layout::{Layout, VariantLayout};
use crate::record::Shape;
use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, LinkedList, VecDeque},
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

    /// Whether `Deserialize` is known to read every value that `Serialize` writes, as that value. Where it is not, each value is read
    /// back before it is stored, and refused if it is another one then.
    ///
    /// *Default*: `false`. The derive says `true` where it is `true` of every member, and `false` where a shape is given by hand.
    const ROUND_TRIPS: bool = false;

    #[doc(hidden)]
    const RECURSIVE: bool = false;

    #[doc(hidden)]
    const LAYOUT: Layout = Layout::Ordered;
}

/// Whether a type that derives [`SessionValue`] is believed to derive serde's two traits as well, which no derive can see. Programs in
/// development find out instead: there each value is read back.
pub const TRUSTS_DERIVES: bool = !cfg!(debug_assertions);

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
    ($known:literal, $($kind:literal: $($type:ty),+;)*) => {$($(
        impl SessionValue for $type {
            const SHAPE: Shape = leaf($kind);
            const ROUND_TRIPS: bool = $known;
        }
    )+)*};
}
leaves! { true,
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

// What the types of other crates do is for them to say, so their values are read back.
#[cfg(feature = "uuid")]
leaves! { false, "uuid": uuid::Uuid; }

#[cfg(feature = "chrono")]
leaves! { false,
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
leaves! { false,
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
            const ROUND_TRIPS: bool = T::ROUND_TRIPS;
            const RECURSIVE: bool = T::RECURSIVE;
            const LAYOUT: Layout = T::LAYOUT;
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
    const ROUND_TRIPS: bool = true;
}

macro_rules! containers {
    ($($kind:literal: [$($generics:tt)*] $type:ty, $($item:ident)+, $layout:expr;)*) => {$(
        impl<$($generics)*> SessionValue for $type {
            const SHAPE: Shape = ShapeBuilder::new($kind)$(.child($item::SHAPE))+.finish();
            const ROUND_TRIPS: bool = true $(&& $item::ROUND_TRIPS)+;
            const RECURSIVE: bool = false $(|| $item::RECURSIVE)+;
            const LAYOUT: Layout = $layout;
        }
    )*};
}
containers! {
    "option": [T: SessionValue] Option<T>, T, T::LAYOUT;
    "seq": [T: SessionValue] Vec<T>, T, Layout::List(&T::LAYOUT);
    "seq": [T: SessionValue] Box<[T]>, T, Layout::List(&T::LAYOUT);
    "seq": [T: SessionValue] VecDeque<T>, T, Layout::List(&T::LAYOUT);
    "seq": [T: SessionValue] LinkedList<T>, T, Layout::List(&T::LAYOUT);
    "set": [T: SessionValue] BTreeSet<T>, T, Layout::List(&T::LAYOUT);
    "set": [T: SessionValue, S] HashSet<T, S>, T, Layout::Unordered(&T::LAYOUT);
    "map": [K: SessionValue, V: SessionValue] BTreeMap<K, V>, K V, Layout::List(&Layout::Parts(&[K::LAYOUT, V::LAYOUT]));
    "map": [K: SessionValue, V: SessionValue, S] HashMap<K, V, S>, K V, Layout::Unordered(&Layout::Parts(&[K::LAYOUT, V::LAYOUT]));
    "result": [T: SessionValue, E: SessionValue] Result<T, E>, T E, Layout::Variants(&[
        VariantLayout { inside: T::LAYOUT, appended: None },
        VariantLayout { inside: E::LAYOUT, appended: None },
    ]);
    "range": [T: SessionValue] std::ops::Range<T>, T, Layout::List(&T::LAYOUT);
    "range": [T: SessionValue] std::ops::RangeInclusive<T>, T, Layout::List(&T::LAYOUT);
}

impl<T: SessionValue, const N: usize> SessionValue for [T; N] {
    const SHAPE: Shape = ShapeBuilder::new("array").number(N as u64).child(T::SHAPE).finish();
    const ROUND_TRIPS: bool = T::ROUND_TRIPS;
    const RECURSIVE: bool = T::RECURSIVE;
    const LAYOUT: Layout = Layout::List(&T::LAYOUT);
}

macro_rules! tuples {
    ($(($($item:ident)+))*) => {$(
        impl<$($item: SessionValue),+> SessionValue for ($($item,)+) {
            const SHAPE: Shape = ShapeBuilder::new("tuple")$(.child($item::SHAPE))+.finish();
            const ROUND_TRIPS: bool = true $(&& $item::ROUND_TRIPS)+;
            const RECURSIVE: bool = false $(|| $item::RECURSIVE)+;
            const LAYOUT: Layout = Layout::Parts(&[$($item::LAYOUT),+]);
        }
    )*};
}
tuples! {
    (A) (A B) (A B C) (A B C D) (A B C D E) (A B C D E F) (A B C D E F G) (A B C D E F G H)
    (A B C D E F G H I) (A B C D E F G H I J) (A B C D E F G H I J K) (A B C D E F G H I J K L)
}
