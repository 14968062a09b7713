use cloakroom::SessionData;

#[derive(SessionData)]
#[session(version = 2, removed(coupon: String, inn = 2))]
struct Shop {
    #[session(changed(in = 2, form = u32, up = u64::from, forget))]
    views: u64,
    #[session(changed{in = 2, from = u32, up = u64::from, forget})]
    hits: u64,
    #[session(changed(in = 2, from = u32, up = u64::from, forgett))]
    total: u64,
}

fn main() {}
