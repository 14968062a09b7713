use cloakroom::SessionData;

#[derive(Default)]
struct Address {
    street: String,
}

#[derive(SessionData)]
struct Shop {
    #[session(opaque)]
    address: Address,
}

fn main() {}
