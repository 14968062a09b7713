//! A crate may forbid what it likes: the expansion allows nothing that it could forbid for good reason.
#![forbid(
    unsafe_code,
    dead_code,
    missing_docs,
    missing_debug_implementations,
    non_camel_case_types,
    non_snake_case,
    private_interfaces,
    unnameable_types,
    unreachable_pub,
    unused_imports,
    unused_qualifications
)]

use cloakroom::SessionData;

#[derive(SessionData)]
struct Shop {
    views: u64,
    cart: Vec<String>,
}

fn main() {
    assert_eq!(ShopFields::from(Shop::initial()).views, 0);
}
