use cloakroom::SessionData;

#[derive(SessionData)]
struct Shop {
    views: u64,
    cart: Vec<String>,
}

fn handler(session: ShopFields) {
    *session.views += 1;
}

fn main() {
    handler(ShopFields::from(Shop::initial()));
}
