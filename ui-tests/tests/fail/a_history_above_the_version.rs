use cloakroom::SessionData;

#[derive(SessionData)]
#[session(version = 3, removed(coupon: String, in = 4))]
struct Shop {
    #[session(changed(in = 4, from = u8, up = u32::from, forget))]
    views: u32,
    #[session(forget_before = 4)]
    total: u32,
    #[session(since = 4)]
    theme: u8,
    #[session(changed(in = 1, from = u8, up = u32::from, forget))]
    hits: u32,
}

#[derive(SessionData)]
struct Unversioned {
    #[session(changed(in = 2, from = u8, up = u32::from, forget))]
    views: u32,
}

fn main() {}
