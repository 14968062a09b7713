use cloakroom::{SessionData, TypedSession};

#[derive(SessionData)]
struct Shop {
    views: u64,
    cart: Vec<String>,
    wishes: Vec<String>,
}

async fn handler(mut session: TypedSession<Shop>) {
    for item in &session.cart {
        *session.views += item.len() as u64;
    }
}

async fn take_all(mut session: TypedSession<Shop>) {
    session.cart.append(&mut session.wishes);
}

fn main() {}
