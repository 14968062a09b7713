use cloakroom::SessionData;

#[derive(SessionData)]
struct Shop {
    views: u64,
    cart: Vec<String>,
}

fn main() {
    let mut session = ShopFields::from(Shop::initial());
    session.views.revert();
    session.cart.force();
    session.views.changed();
    session.views.set(1);
}
