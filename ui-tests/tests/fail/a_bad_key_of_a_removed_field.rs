use cloakroom::SessionData;

#[derive(SessionData)]
#[session(
    version = 2,
    removed(a: u8, in = 2, key = "a/b"),
    removed(b: u8, in = 2, key = "total@2"),
    removed(__c: u8, in = 2),
    lock = "shop/lock"
)]
struct Shop {
    views: u64,
}

fn main() {}
