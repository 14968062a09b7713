//! What became of `before.rs`: each struct with a change that it does not declare, or that nobody has recorded.
#![allow(dead_code)]
use cloakroom::{SessionData, SessionValue};
use serde::{Deserialize, Serialize};

#[derive(SessionData)]
struct Added {
    theme: Option<Theme>,
    views: u64,
}

#[derive(SessionData)]
struct Removed {
    views: u64,
}

#[derive(SessionData)]
struct Renamed {
    views: u64,
    basket: Vec<Item>,
}

#[derive(SessionData)]
struct Retyped {
    total: Money,
}

#[derive(SessionData)]
#[session(version = 2)]
struct RetypedInANewVersion {
    total: Money,
}

#[derive(SessionData)]
#[session(version = 2)]
struct WrongFrom {
    #[session(changed(in = 2, from = u16, up = Money::from, forget))]
    total: Money,
}

#[derive(SessionData)]
struct NestedMember {
    item: Item,
}

#[derive(SessionData)]
struct NestedVariant {
    themes: Vec<Theme>,
}

#[derive(SessionData)]
#[session(version = 3)]
struct NameTaken {
    coupon: u32,
    views: u64,
}

#[derive(SessionData)]
#[session(version = 2)]
struct RemovalForgotten {
    views: u64,
}

#[derive(SessionData)]
#[session(version = 2)]
struct NothingNew {
    views: u64,
}

#[derive(SessionData)]
#[session(version = 2)]
struct HistoryDeleted {
    total: Money,
}

#[derive(SessionData)]
#[session(version = 2)]
struct HistoryForgotten {
    total: Money,
}

#[derive(SessionData)]
struct MergedOtherwise {
    #[session(merge = "add")]
    views: u64,
}

#[derive(SessionData)]
struct NoLongerOpaque {
    item: Item,
}

#[derive(SessionData)]
#[session(version = 2)]
struct NotRecorded {
    theme: Option<Theme>,
    #[session(changed(in = 2, from = u32, up = Money::from_cents, down = Money::cents))]
    total: Money,
}

#[derive(SessionData)]
struct Opaque {
    #[session(opaque)]
    item: Item,
}

#[derive(Clone, Default, PartialEq, Serialize, Deserialize, SessionValue)]
struct Item {
    article: u32,
    quantity: u16,
}

#[derive(Clone, PartialEq, Serialize, Deserialize, SessionValue)]
enum Theme {
    Light,
    Auto,
    Dark,
}

#[derive(Clone, Default, PartialEq, Serialize, Deserialize, SessionValue)]
struct Money {
    cents: u64,
}

impl Money {
    fn from_cents(cents: u32) -> Self {
        Self { cents: cents.into() }
    }

    fn cents(&self) -> u32 {
        self.cents.try_into().unwrap_or(u32::MAX)
    }
}

impl From<u16> for Money {
    fn from(cents: u16) -> Self {
        Self { cents: cents.into() }
    }
}
