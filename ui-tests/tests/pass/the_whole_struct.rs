//! Every attribute at once, in a crate that denies every warning.
#![deny(warnings, missing_docs, unreachable_pub, missing_debug_implementations, clippy::all, clippy::pedantic)]

use cloakroom::{SessionData, SessionValue};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashMap};

#[derive(Debug, Default, PartialEq, Serialize, Deserialize, SessionValue)]
enum Lang {
    #[default]
    En,
    #[session(key = "Fr")]
    French { region: Option<u8>, inner: (u8, u16) },
    Other(String),
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Address {
    street: String,
}

fn sane(langs: &[u8]) -> bool {
    langs.len() < 9
}

fn short(text: &str) -> Result<(), &'static str> {
    if text.len() < 9 { Ok(()) } else { Err("too long") }
}

fn join(base: String, mine: String, theirs: String) -> String {
    base + &mine + &theirs
}

/// A shop.
#[derive(SessionData)]
#[session(name = "shop", version = 4)]
struct Shop {
    /// How often.
    #[session(merge = "add")]
    pub views: u64,
    #[session(key = "locale", default = Lang::Other("x".to_owned()), ttl = "10m", lossy, since = 2)]
    language: Lang,
    #[session(opaque)]
    address: Address,
    #[session(validate = sane)]
    bytes: Vec<u8>,
    #[session(validate = short, merge = join)]
    text: String,
    #[session(default = HashMap::<u8, u8>::new(), merge = "union")]
    map: HashMap<u8, u8>,
    #[session(merge = "union")]
    set: BTreeSet<u8>,
    #[session(merge = "max", ttl = "500ms")]
    top: i64,
    #[session(merge = "min")]
    low: Option<char>,
    #[session(merge = "strict")]
    only: (),
    #[session(merge = "last")]
    last: bool,
}

fn main() {
    let shop = Shop::initial();
    assert_eq!(shop.language, Lang::Other("x".to_owned()));
    let mut fields = ShopFields::from(shop);
    *fields.views += 1;
    fields.map.insert(1, 2);
    assert_eq!(fields.views, 1);
    assert_eq!(fields.address.street, "");
    assert_eq!(fields.map.get(&1), Some(&2));
    assert_eq!(Lang::French { region: None, inner: (0, 0) }, Lang::French { region: None, inner: (0, 0) });
}
