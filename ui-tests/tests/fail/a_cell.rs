use cloakroom::SessionData;

use std::{
    cell::RefCell,
    sync::{Mutex, atomic::AtomicU64},
};

#[derive(SessionData)]
struct Shop {
    cart: RefCell<Vec<String>>,
    names: Option<Mutex<String>>,
    views: AtomicU64,
}

fn main() {}
