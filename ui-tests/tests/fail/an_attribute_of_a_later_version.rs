use cloakroom::SessionData;

#[derive(SessionData)]
#[session(version = 4, removed(coupon: String, in = 2), lock = off)]
struct Shop {
    #[session(owner)]
    user: Option<u64>,
    #[session(privilege, keep)]
    second_factor: bool,
    #[session(changed(in = 4, from = u32, up = u64::from, forget))]
    total: u64,
}

fn main() {}
