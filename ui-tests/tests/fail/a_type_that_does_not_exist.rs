use cloakroom::SessionData;

#[derive(SessionData)]
struct Shop {
    #[session(merge = "add")]
    views: u46,
    #[session(default = 3)]
    total: Number,
}

#[derive(serde::Serialize, serde::Deserialize, cloakroom::SessionValue)]
struct Item {
    price: Money,
}

fn main() {}
