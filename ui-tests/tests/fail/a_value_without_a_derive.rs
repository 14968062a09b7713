use cloakroom::SessionData;

#[derive(Default)]
struct Item {
    article: u32,
}

#[derive(SessionData)]
struct Shop {
    first: Item,
    cart: Vec<Item>,
}

fn main() {}
