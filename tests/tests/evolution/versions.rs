//! One schema in three versions, and the values of its fields without their types.

use cloakroom::{Field, SessionData, SessionValue};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
};

/// The fields of all versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    User,
    Total,
    Level,
    Views,
    Tags,
    Top,
    Only,
    Theme,
    Coupon,
    Name,
    First,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Number(i64),
    /// A price, and a detail that only version 3 knows.
    Price(i64, u8),
    Text(String),
    Set(BTreeSet<u16>),
}

/// A total in hundredths, since version 2.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, SessionValue)]
pub(crate) struct Cents(i64);

fn cents(whole: u32) -> Cents {
    Cents(i64::from(whole) * 100)
}

fn whole(cents: &Cents) -> u32 {
    u32::try_from(cents.0 / 100).unwrap_or(0)
}

/// A total in thousandths, since version 3.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, SessionValue)]
pub(crate) struct Price {
    mills: i64,
    detail: u8,
}

impl Price {
    fn of(cents: Cents) -> Result<Self, Infallible> {
        Ok(Self { mills: cents.0 * 10, detail: 0 })
    }

    fn cents(&self) -> Cents {
        Cents(self.mills / 10)
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, SessionValue)]
pub(crate) struct Level(u8);

fn signed(views: u64) -> i64 {
    views as i64
}

fn unsigned(views: &i64) -> u64 {
    u64::try_from(*views).unwrap_or(0)
}

fn widened(tags: BTreeSet<u8>) -> BTreeSet<u16> {
    tags.into_iter().map(u16::from).collect()
}

fn narrowed(tags: &BTreeSet<u16>) -> BTreeSet<u8> {
    tags.iter().map(|tag| *tag as u8).collect()
}

fn to_u16(number: &u32) -> u16 {
    *number as u16
}

fn to_u32(number: &u64) -> u32 {
    *number as u32
}

pub(crate) fn first_name(full: String) -> String {
    full.split(' ').next().unwrap_or_default().to_owned()
}

pub(crate) mod v1 {
    use std::collections::BTreeSet;

    #[derive(cloakroom::SessionData)]
    #[session(name = "shop")]
    pub(crate) struct Shop {
        pub(super) user: Option<String>,
        pub(super) total: u32,
        pub(super) level: u8,
        #[session(merge = "add", secret)]
        pub(super) views: u64,
        #[session(merge = "union")]
        pub(super) tags: BTreeSet<u8>,
        #[session(merge = "max")]
        pub(super) top: u16,
        #[session(merge = "strict")]
        pub(super) only: u16,
        pub(super) coupon: String,
        pub(super) name: String,
    }
}

pub(crate) mod v2 {
    use super::{Cents, cents, signed, to_u16, unsigned, whole};
    use std::collections::BTreeSet;

    #[derive(cloakroom::SessionData)]
    #[session(name = "shop", version = 2, removed(coupon: String, in = 2))]
    pub(crate) struct Shop {
        pub(super) user: Option<String>,
        #[session(changed(in = 2, from = u32, up = cents, down = whole))]
        pub(super) total: Cents,
        pub(super) level: u8,
        #[session(merge = "add", secret, changed(in = 2, from = u64, up = signed, down = unsigned))]
        pub(super) views: i64,
        #[session(merge = "union")]
        pub(super) tags: BTreeSet<u8>,
        #[session(merge = "max", changed(in = 2, from = u16, up = u32::from, down = to_u16))]
        pub(super) top: u32,
        #[session(merge = "strict", changed(in = 2, from = u16, up = u32::from, down = to_u16))]
        pub(super) only: u32,
        pub(super) name: String,
        #[session(since = 2, default = 7)]
        pub(super) theme: u8,
    }
}

pub(crate) mod v3 {
    use super::{Cents, Level, Price, cents, first_name, narrowed, signed, to_u16, to_u32, unsigned, whole, widened};
    use std::collections::BTreeSet;

    #[derive(cloakroom::SessionData)]
    #[session(name = "shop", version = 3, removed(coupon: String, in = 2), removed(name: String, in = 3))]
    pub(crate) struct Shop {
        pub(super) user: Option<String>,
        #[session(
            changed(in = 2, from = u32, up = cents, down = whole),
            changed(in = 3, from = Cents, up = Price::of, down = Price::cents)
        )]
        pub(super) total: Price,
        #[session(changed(in = 3, from = u8, up = Level, forget))]
        pub(super) level: Level,
        #[session(merge = "add", secret, changed(in = 2, from = u64, up = signed, down = unsigned))]
        pub(super) views: i64,
        #[session(merge = "union", changed(in = 3, from = BTreeSet<u8>, up = widened, down = narrowed))]
        pub(super) tags: BTreeSet<u16>,
        #[session(
            merge = "max",
            changed(in = 2, from = u16, up = u32::from, down = to_u16),
            changed(in = 3, from = u32, up = u64::from, down = to_u32)
        )]
        pub(super) top: u64,
        #[session(merge = "strict", changed(in = 2, from = u16, up = u32::from, down = to_u16))]
        pub(super) only: u32,
        #[session(since = 2, default = 7)]
        pub(super) theme: u8,
        #[session(merge = "max", from(name: String, with = first_name))]
        pub(super) first: String,
    }
}

/// A version of the program, as a test gives it orders.
pub(crate) trait Version: SessionData {
    fn show(fields: &Self::Fields) -> BTreeMap<Key, Value>;
    fn set(fields: &mut Self::Fields, key: Key, value: &Value);
    fn force(fields: &mut Self::Fields, key: Key);
}

macro_rules! version {
    ($version:ident: $($key:ident $field:ident),*) => {
        impl Version for $version::Shop {
            fn show(fields: &$version::ShopFields) -> BTreeMap<Key, Value> {
                BTreeMap::from([$((Key::$key, (*fields.$field).show())),*])
            }

            fn set(fields: &mut $version::ShopFields, key: Key, value: &Value) {
                match key {
                    $(Key::$key => *fields.$field = Shown::of(value),)*
                    other => panic!("{other:?}"),
                }
            }

            fn force(fields: &mut $version::ShopFields, key: Key) {
                match key {
                    $(Key::$key => Field::force(&mut fields.$field),)*
                    other => panic!("{other:?}"),
                }
            }
        }
    };
}
version!(v1: User user, Total total, Level level, Views views, Tags tags, Top top, Only only, Coupon coupon, Name name);
version!(v2: User user, Total total, Level level, Views views, Tags tags, Top top, Only only, Name name, Theme theme);
version!(v3: User user, Total total, Level level, Views views, Tags tags, Top top, Only only, Theme theme, First first);

/// A field's type, seen as a [`Value`].
trait Shown {
    fn show(&self) -> Value;
    fn of(value: &Value) -> Self;
}

macro_rules! shown {
    ($($ty:ty: $this:ident => $show:expr, $pattern:pat => $of:expr;)*) => {$(
        impl Shown for $ty {
            fn show(&self) -> Value {
                let $this = self;
                $show
            }

            fn of(value: &Value) -> Self {
                match value {
                    $pattern => $of,
                    other => panic!("{other:?}"),
                }
            }
        }
    )*};
}
shown! {
    u8: it => Value::Number((*it).into()), Value::Number(number) => (*number).try_into().unwrap();
    u16: it => Value::Number((*it).into()), Value::Number(number) => (*number).try_into().unwrap();
    u32: it => Value::Number((*it).into()), Value::Number(number) => (*number).try_into().unwrap();
    u64: it => Value::Number((*it).try_into().unwrap()), Value::Number(number) => (*number).try_into().unwrap();
    i64: it => Value::Number(*it), Value::Number(number) => *number;
    Cents: it => Value::Number(it.0), Value::Number(number) => Self(*number);
    Price: it => Value::Price(it.mills, it.detail), Value::Price(mills, detail) => Self { mills: *mills, detail: *detail };
    Level: it => Value::Number(it.0.into()), Value::Number(number) => Self((*number).try_into().unwrap());
    String: it => Value::Text(it.clone()), Value::Text(text) => text.clone();
    BTreeSet<u8>: it => Value::Set(it.iter().map(|tag| (*tag).into()).collect()),
        Value::Set(set) => set.iter().map(|tag| (*tag).try_into().unwrap()).collect();
    BTreeSet<u16>: it => Value::Set(it.clone()), Value::Set(set) => set.clone();
}

impl Shown for Option<String> {
    fn show(&self) -> Value {
        Value::Text(self.clone().unwrap_or_default())
    }

    fn of(value: &Value) -> Self {
        Some(String::of(value)).filter(|text| !text.is_empty())
    }
}
