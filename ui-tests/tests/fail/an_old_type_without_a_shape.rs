use cloakroom::{SessionData, SessionValue};

#[derive(Default, serde::Serialize, serde::Deserialize)]
struct OldCart {
    items: Vec<u32>,
}

#[derive(Default, serde::Serialize, serde::Deserialize, SessionValue)]
struct Cart {
    items: Vec<u64>,
}

fn grown(old: OldCart) -> Cart {
    Cart { items: old.items.into_iter().map(u64::from).collect() }
}

#[derive(SessionData)]
#[session(version = 2)]
struct Shop {
    #[session(changed(in = 2, from = OldCart, up = grown, forget))]
    cart: Cart,
}

fn main() {}
