use cloakroom::SessionData;

#[derive(SessionData)]
struct Shop {
    views: u64,
    cart: Vec<String>,
}

fn main() {
    let mut session = ShopFields::from(Shop::initial());
    session.views = 1;
    session.cart = vec![];
    session.views += 1;
}
