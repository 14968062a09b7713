use cloakroom::SessionData;

#[derive(SessionData)]
#[session(name = "my shop")]
struct Shop {
    #[session(key = "shop/views")]
    views: u64,
    #[session(key = "__total")]
    total: u64,
    #[session(key = "")]
    empty: u64,
    __hidden: u64,
    größe: u64,
    #[session(key = "prix-payé")]
    price: u64,
    #[session(key = name)]
    name: u64,
    #[session(key = "a-key-that-goes-on-and-on-and-on-and-on-and-on-and-on-and-on-and-on")]
    long: u64,
}

fn main() {}
