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

struct Vault {
    token: Option<String>,
    pin: u16,
}

enum Theme {
    Light,
    Night { since: u8 },
    Custom(String),
    Mixed(u8, Box<u16>),
}

include!("../../../macros/goldens/shop.rs");
include!("../../../macros/goldens/vault.rs");
include!("../../../macros/goldens/item.rs");
include!("../../../macros/goldens/theme.rs");

fn main() {
    assert_eq!(ShopFields::from(Shop::initial()).views, 0);
    assert_ne!(Theme::SHAPE, Item::<u8, 1>::SHAPE);
}
