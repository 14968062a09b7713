use cloakroom::{Field, SessionData};

#[derive(SessionData)]
struct Shop {
    views: u64,
    cart: Vec<String>,
}

fn copies<T: Clone>(_: &T) {}

fn main() {
    let session = ShopFields::from(Shop::initial());
    copies(&session.views);
    let _: Field<u64> = session.views.clone();
}
