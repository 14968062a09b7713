use cloakroom::SessionData;

#[derive(SessionData)]
struct Shop {
    views: u64,
    cart: Vec<String>,
}

fn handler(mut session: ShopFields) {
    session.vews.clone();
    let _: u64 = session.views;
}

fn main() {
    handler(ShopFields::from(Shop::initial()));
    handler(Shop::initial());
}
