//! The expansions that the tests of the macros expect are code that compiles.
#![allow(dead_code)]

use cloakroom::{SessionData as _, SessionValue as _};

pub struct Shop {
    pub views: u64,
    pub(crate) language: Lang,
    #[deprecated(note = "gone soon")]
    address: Address,
    r#type: Option<String>,
}

#[derive(serde::Serialize, serde::Deserialize, cloakroom::SessionValue)]
pub(crate) enum Lang {
    En,
}

#[derive(Default, serde::Serialize, serde::Deserialize)]
struct Address;

fn sane(_: &Lang) -> bool {
    true
}

mod my {
    pub(super) fn merge(_: super::Address, mine: super::Address, _: super::Address) -> super::Address {
        mine
    }
}

struct Item<T: Clone, const N: usize>
where
    T: Default,
{
    article: u32,
    quantity: [T; N],
    parts: Vec<Item<T, N>>,
    price: Money,
}

struct Money;

struct Past {
    level: Level,
    top: u64,
    text: Text,
    total: Level,
    first: String,
    both: Option<String>,
}

#[derive(Default, serde::Serialize, serde::Deserialize, cloakroom::SessionValue)]
struct Level(u8);

fn level(number: u8) -> Level {
    Level(number)
}

fn number(level: &Level) -> u8 {
    level.0
}

fn narrow(number: &u32) -> u16 {
    *number as u16
}

struct Half;

trait Narrow<T> {
    fn narrow(wide: &T) -> u32;
}

impl Narrow<u64> for Half {
    fn narrow(wide: &u64) -> u32 {
        *wide as u32
    }
}

#[derive(Default, serde::Serialize, serde::Deserialize)]
struct Notes(Vec<String>);

#[derive(Default, serde::Serialize, serde::Deserialize)]
struct Text(String);

impl TryFrom<Notes> for Text {
    type Error = &'static str;
    fn try_from(notes: Notes) -> Result<Self, &'static str> {
        notes.0.into_iter().next().map(Self).ok_or("there are no notes")
    }
}

impl Text {
    fn notes(&self) -> Notes {
        Notes(vec![self.0.clone()])
    }
}

fn first(name: String) -> String {
    name
}

fn both(name: String, notes: Notes) -> Option<String> {
    (!notes.0.is_empty()).then_some(name)
}

struct Vault {
    token: Option<String>,
    pin: u16,
}

struct Member {
    user: Option<UserId>,
    admin: bool,
    theme: String,
}

#[derive(serde::Serialize, serde::Deserialize, cloakroom::SessionValue)]
struct UserId(u64);

fn is_through(session: &MemberFields) -> bool {
    *session.admin
}

enum Theme {
    Light,
    Night { since: u8 },
    Custom(String),
    Mixed(u8, Box<u16>),
}

include!("../../../macros/goldens/shop.rs");
include!("../../../macros/goldens/past.rs");
include!("../../../macros/goldens/vault.rs");
include!("../../../macros/goldens/member.rs");
include!("../../../macros/goldens/item.rs");
include!("../../../macros/goldens/theme.rs");

fn main() {
    assert_eq!(ShopFields::from(Shop::initial()).views, 0);
    assert_eq!(PastFields::from(Past::initial()).top, 0);
    assert_ne!(Theme::SHAPE, Item::<u8, 1>::SHAPE);
}
