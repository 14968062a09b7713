use cloakroom::{SessionData, Sessions, SignedIn};

#[derive(SessionData)]
struct Shop {
    cart: Vec<u32>,
}

async fn orders(_: SignedIn<Shop>) {}

fn devices(sessions: Sessions) {
    let _list = sessions.list::<Shop>(&7);
}

fn main() {}
