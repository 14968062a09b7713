#[derive(Default, serde::Serialize, serde::Deserialize)]
struct Price {
    cents: u64,
}

#[derive(serde::Serialize, serde::Deserialize, cloakroom::SessionValue)]
struct Item {
    price: Price,
}

fn main() {}
