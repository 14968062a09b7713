use cloakroom::SessionData;

#[derive(SessionData)]
struct Shop<T, const N: usize> {
    views: u64,
    item: T,
    bytes: [u8; N],
}

fn handler(session: &mut ShopFields) {
    *session.views += 1;
}

fn main() {}
