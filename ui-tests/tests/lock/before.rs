//! What was recorded. See `after.rs` for what became of it.
#![allow(dead_code)]
use cloakroom::{SessionData, SessionValue};
use serde::{Deserialize, Serialize};

#[derive(SessionData)]
struct Added {
    views: u64,
}

#[derive(SessionData)]
struct Removed {
    views: u64,
    cart: Vec<Item>,
}

#[derive(SessionData)]
struct Renamed {
    views: u64,
    cart: Vec<Item>,
}

#[derive(SessionData)]
struct Retyped {
    total: u32,
}

#[derive(SessionData)]
struct RetypedInANewVersion {
    total: u32,
}

#[derive(SessionData)]
struct WrongFrom {
    total: u32,
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
#[session(version = 2, removed(coupon: String, in = 2))]
struct NameTaken {
    views: u64,
}

#[derive(SessionData)]
#[session(version = 2, removed(coupon: String, in = 2))]
struct RemovalForgotten {
    views: u64,
}

#[derive(SessionData)]
struct NothingNew {
    views: u64,
}

#[derive(SessionData)]
#[session(version = 2)]
struct HistoryDeleted {
    #[session(changed(in = 2, from = u32, up = Money::from_cents, down = Money::cents))]
    total: Money,
}

#[derive(SessionData)]
#[session(version = 2)]
struct HistoryForgotten {
    #[session(forget_before = 2)]
    total: Money,
}

#[derive(SessionData)]
struct MergedOtherwise {
    views: u64,
}

#[derive(SessionData)]
struct NoLongerOpaque {
    #[session(opaque)]
    item: Item,
}

#[derive(SessionData)]
struct NotRecorded {
    total: u32,
}

#[derive(SessionData)]
struct Opaque {
    #[session(opaque)]
    item: Item,
}

#[derive(Clone, Default, PartialEq, Serialize, Deserialize, SessionValue)]
struct Item {
    article: u32,
}

#[derive(Clone, PartialEq, Serialize, Deserialize, SessionValue)]
enum Theme {
    Light,
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
