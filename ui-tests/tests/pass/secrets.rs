//! A field is secret, or a whole struct is, together with every other attribute.
#![deny(warnings)]

use cloakroom::SessionData;
use std::collections::BTreeMap;

#[derive(SessionData)]
struct Shop {
    cart: Vec<u32>,
    #[session(secret, key = "mail", since = 1, lossy, validate = not_empty)]
    mail_token: Option<String>,
    #[session(secret, merge = "add", default = 3)]
    tries: u32,
    #[session(secret, opaque, ttl = "10m")]
    answers: BTreeMap<String, Answer>,
    #[cfg(any())]
    #[session(secret)]
    gone: Missing,
}

#[derive(SessionData)]
#[session(secret)]
struct Vault {
    pin: Option<u16>,
    #[session(opaque)]
    notes: Vec<Answer>,
}

// Neither `Debug` nor a shape.
#[derive(Clone, serde::Serialize, serde::Deserialize)]
struct Answer(String);

fn not_empty(token: &Option<String>) -> bool {
    token.as_ref().is_none_or(|token| !token.is_empty())
}

fn main() {
    let mut shop = ShopFields::from(Shop::initial());
    *shop.mail_token = Some("t0ps3cret".to_owned());
    shop.cart.push(1);
    assert_eq!(format!("{:?} {:?} {:?}", shop.cart, shop.mail_token, shop.tries), "[1] <secret> <secret>");
    assert_eq!(shop.mail_token.as_deref(), Some("t0ps3cret"));
    assert_eq!(shop.tries.to_string(), "3", "shown on purpose");
    shop.answers.insert("pet".to_owned(), Answer("Rex".to_owned()));

    let vault = VaultFields::from(Vault { pin: Some(1234), notes: vec![Answer("x".to_owned())] });
    assert_eq!(format!("{:?}", vault.pin), "<secret>");
    assert_eq!(vault.notes[0].0, "x");
}
