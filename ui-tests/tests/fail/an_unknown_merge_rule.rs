use cloakroom::SessionData;

#[derive(SessionData)]
struct Shop {
    #[session(merge = "ad")]
    views: u64,
    #[session(merge = add)]
    total: u64,
    #[session(merge = "combine")]
    cart: Vec<String>,
    #[session(merge = |_, mine, _| mine)]
    name: String,
}

fn main() {}
