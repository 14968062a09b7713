use cloakroom::SessionData;

#[derive(SessionData)]
#[session(version = 3, removed(coupon: String, in = 2), removed(cart: Vec<u32>, in = 3))]
struct Shop {
    coupon: u64,
    cart: Vec<u32>,
}

#[derive(SessionData)]
#[session(version = 3, removed(total: u32, in = 2), removed(other: u8, in = 3, key = "views"))]
struct Renamed {
    #[session(key = "total")]
    sum: u64,
    views: u64,
}

fn main() {}
