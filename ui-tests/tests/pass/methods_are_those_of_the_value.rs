//! A `Field` has no methods of its own: these names reach the value.
#![deny(warnings)]

use cloakroom::SessionData;
use std::collections::HashMap;

#[derive(Clone, Default, serde::Serialize, serde::Deserialize, cloakroom::SessionValue)]
struct Own {
    n: u8,
}

impl Own {
    fn revert(&mut self) -> u8 {
        1
    }
    fn force(&mut self) -> u8 {
        2
    }
    fn get(&self) -> u8 {
        self.n
    }
    fn set(&mut self, n: u8) {
        self.n = n;
    }
    fn save(&self) -> u8 {
        3
    }
    fn value(&self) -> u8 {
        4
    }
    fn clear(&mut self) -> u8 {
        5
    }
    fn def(&self) -> u8 {
        6
    }
    fn base(&self) -> u8 {
        7
    }
    fn state(&self) -> u8 {
        8
    }
    fn settle(&self, _: ()) -> u8 {
        9
    }
    fn into_inner(&self) -> u8 {
        10
    }
}

#[derive(SessionData)]
struct Shop {
    own: Own,
    map: HashMap<String, u8>,
    notice: Option<String>,
    cart: Vec<u8>,
}

fn main() {
    let mut session = ShopFields::from(Shop::initial());
    session.own.set(0);
    let all = [
        session.own.get(),
        session.own.revert(),
        session.own.force(),
        session.own.save(),
        session.own.value(),
        session.own.clear(),
        session.own.def(),
        session.own.base(),
        session.own.state(),
        session.own.settle(()),
        session.own.into_inner(),
    ];
    assert_eq!(all, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    // `clone()` is the value's, too.
    let copy: Own = session.own.clone();
    assert_eq!(copy.n, 0);
    session.map.insert("k".to_owned(), 1);
    assert_eq!(session.map.get("k"), Some(&1));
    assert_eq!(session.notice.take(), None);
    assert_eq!(session.notice.get_or_insert_with(|| "x".to_owned()).len(), 1);
    session.cart.push(1);
    session.cart.clear();
    assert!(session.cart.first().is_none());
}
