//! Handlers as an application has them, and their logic under test without a store.
#![deny(warnings)]

use cloakroom::{SessionData, TypedSession};

#[derive(SessionData)]
struct Shop {
    views: u64,
    cart: Vec<String>,
    name: Option<String>,
}

async fn handler(mut session: TypedSession<Shop>) -> String {
    *session.views += 1;
    add(&mut session, "tea");
    let s = &mut *session;
    for item in &s.cart {
        *s.views += item.len() as u64;
    }
    format!("{} {:?}", session.views, session.name)
}

async fn perhaps(session: Option<TypedSession<Shop>>) -> usize {
    session.map_or(0, |session| session.cart.len())
}

fn add(session: &mut ShopFields, item: &str) {
    session.cart.push(item.to_owned());
}

fn main() {
    let mut fields = ShopFields::from(Shop { views: 1, cart: vec![], name: None });
    add(&mut fields, "cup");
    assert_eq!(*fields.cart, ["cup"]);
    fn sends(_: impl Send) {}
    fn all(session: TypedSession<Shop>, other: Option<TypedSession<Shop>>) {
        sends(handler(session));
        sends(perhaps(other));
    }
    let _ = all;
}
