//! A struct that has lived a while: every way in which a field can have changed.
#![deny(warnings)]

use cloakroom::{SessionData, SessionValue};
use std::{collections::HashMap, num::TryFromIntError};

#[derive(SessionData)]
#[session(
    name = "shop",
    version = 6,
    removed(coupon: Option<String>, in = 2),
    removed(full_name: String, in = 5),
    removed(age: u8, in = 5, key = "years", since = 3),
    removed(notes: HashMap<String, Foreign>, in = 6, opaque),
    lock = off
)]
struct Shop {
    user: Option<u64>,
    // A chain, of which one step may fail.
    #[session(
        merge = "max",
        changed(in = 2, from = u16, up = u32::from, down = narrow),
        changed(in = 4, from = u32, up = Money::try_new, down = Money::cents)
    )]
    total: Money,
    // Secret, and in two attributes.
    #[session(secret, changed(in = 2, from = String, up = Some, down = Option::<String>::unwrap_or_default_of))]
    #[session(changed(in = 3, from = Option<String>, up = Pin::of, forget))]
    pin: Pin,
    // What the new value borrows as will do.
    #[session(changed(in = 3, from = usize, up = spaces, down = str::len))]
    text: String,
    #[session(opaque, lossy, ttl = "10m", validate = sane, changed(in = 5, from = HashMap<u8, Foreign>, up = Vec::from_iter, forget))]
    pairs: Vec<(u8, Foreign)>,
    #[session(changed(in = 6, from = HashMap<u8, u8>, opaque, up = count, forget))]
    count: usize,
    #[session(forget_before = 4, changed(in = 5, from = u8, up = u16::from, forget))]
    level: u16,
    #[session(since = 5, from(full_name: String, with = first_name), samples = names)]
    first: String,
    #[session(from(full_name: String, age: u8, notes: HashMap<String, Foreign>, with = label), default = "-".to_owned())]
    label: String,
    #[cfg(any())]
    #[session(changed(in = 2, from = Missing, up = missing, forget))]
    gone: Missing,
    #[cfg(all())]
    #[session(changed(in = 2, from = u8, up = u16::from, forget), samples = sizes)]
    size: u16,
}

#[derive(Default, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize, SessionValue)]
struct Money(u8);

impl Money {
    fn try_new(cents: u32) -> Result<Self, TryFromIntError> {
        cents.try_into().map(Self)
    }

    fn cents(&self) -> u32 {
        self.0.into()
    }
}

#[derive(Default, serde::Serialize, serde::Deserialize, SessionValue)]
struct Pin(Option<String>);

impl Pin {
    fn of(text: Option<String>) -> Self {
        Self(text)
    }
}

trait OrDefault {
    fn unwrap_or_default_of(&self) -> String;
}

impl OrDefault for Option<String> {
    fn unwrap_or_default_of(&self) -> String {
        self.clone().unwrap_or_default()
    }
}

// No shape.
#[derive(Default, serde::Serialize, serde::Deserialize)]
struct Foreign;

fn narrow(wide: &u32) -> u16 {
    *wide as u16
}

fn count(pairs: HashMap<u8, u8>) -> usize {
    pairs.len()
}

fn spaces(count: usize) -> String {
    " ".repeat(count)
}

fn sane(pairs: &[(u8, Foreign)]) -> bool {
    pairs.len() < 9
}

fn first_name(full: String) -> String {
    full
}

fn label(full: String, age: u8, notes: HashMap<String, Foreign>) -> Result<String, std::fmt::Error> {
    Ok(format!("{full} {age} {}", notes.len()))
}

#[allow(dead_code)]
fn names() -> Vec<String> {
    vec!["Ada".to_owned()]
}

#[allow(dead_code)]
fn sizes() -> Vec<u16> {
    vec![1]
}

fn main() {
    let shop = ShopFields::from(Shop::initial());
    assert_eq!((shop.user.is_none(), shop.total.0, *shop.size, *shop.level, *shop.count), (true, 0, 0, 0, 0));
    assert_eq!((&**shop.label, &**shop.first, &**shop.text, shop.pairs.len()), ("-", "", "", 0));
    assert_eq!(format!("{:?}", shop.pin.0), "None");
}
