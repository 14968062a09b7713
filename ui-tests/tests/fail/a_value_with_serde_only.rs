use cloakroom::SessionData;

#[derive(Default, serde::Serialize, serde::Deserialize)]
struct Item {
    article: u32,
}

#[derive(SessionData)]
struct Shop {
    last: Option<Item>,
}

fn main() {}
