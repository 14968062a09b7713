//! Everything a `Field` promises.
#![deny(warnings)]

use cloakroom::{Field, SessionData};
use std::{
    collections::HashMap,
    fmt::{Debug, Display},
    ops::DerefMut,
};

#[derive(SessionData)]
struct Shop {
    views: u64,
    name: String,
    cart: Vec<String>,
    map: HashMap<String, u8>,
    notice: Option<String>,
}

fn displays(_: &impl Display) {}
fn debugs(_: &impl Debug) {}
fn equals<U: ?Sized>(_: &impl PartialEq<U>, _: &U) {}
fn compares<U: ?Sized>(_: &impl PartialOrd<U>, _: &U) {}
fn serializes(_: &impl serde::Serialize) {}
fn derefs<V>(_: &mut impl DerefMut<Target = V>) {}
fn sends(_: &impl Send) {}

fn main() {
    let mut session = ShopFields::from(Shop::initial());
    displays(&session.views);
    debugs(&session.map);
    equals(&session.views, &0_u64);
    equals::<str>(&session.name, "x");
    equals(&session.name, &"x");
    equals(&session.name, &String::new());
    compares(&session.views, &1_u64);
    serializes(&session.cart);
    derefs::<u64>(&mut session.views);
    sends(&session);

    // As a user writes it.
    *session.views += 1;
    assert_eq!(session.views, 1);
    assert!(session.views < 2 && session.views >= 1);
    assert_eq!(format!("{} {:?}", session.views, session.notice), "1 None");
    session.name.push_str("Ada");
    assert!(session.name == "Ada");
    session.cart.extend(["tea".to_owned(), "cup".to_owned()]);
    for item in &session.cart {
        assert_eq!(item.len(), 3);
    }
    for item in &mut session.cart {
        item.push('!');
    }
    assert_eq!(session.cart[0], "tea!");
    let longest: usize = session.cart.iter().map(String::len).max().unwrap_or(0);
    assert_eq!(longest, 4);

    // Two fields in one expression, once the handle is borrowed as a plain struct.
    let s = &mut session;
    for item in &s.cart {
        *s.views += item.len() as u64;
    }
    let (views, cart) = (&mut s.views, &mut s.cart);
    **views += cart.len() as u64;
    std::mem::swap(&mut *s.name, &mut s.cart[0]);

    // The two verbs are associated functions.
    Field::force(&mut session.map);
    Field::revert(&mut session.cart);
    assert!(session.cart.is_empty());
}
