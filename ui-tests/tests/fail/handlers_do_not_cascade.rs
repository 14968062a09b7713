use cloakroom::SessionData;

#[derive(SessionData)]
struct Shop {
    #[session(mrege = "add")]
    views: u64,
    cart: Vec<String>,
}

fn handler(mut session: ShopFields) {
    *session.views += 1;
    session.cart.push("tea".to_owned());
}

fn holds<T: SessionData>() -> T {
    T::initial()
}

fn main() {
    handler(ShopFields::from(holds::<Shop>()));
}
