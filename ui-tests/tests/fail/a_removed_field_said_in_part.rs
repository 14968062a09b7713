use cloakroom::SessionData;

#[derive(SessionData)]
#[session(version = 2, removed(coupon: String), removed(cart, in = 2), removed(in = 2), removed(a: u8, b: u8, in = 2))]
struct Shop {
    views: u64,
}

#[derive(SessionData)]
#[session(version = 2, removed(coupon: String, in = 2), removed(coupon: String, in = 2))]
struct Twice {
    views: u64,
}

fn main() {}
