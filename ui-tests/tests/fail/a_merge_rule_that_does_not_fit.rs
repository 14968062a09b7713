use cloakroom::SessionData;

#[derive(SessionData)]
struct Shop {
    #[session(merge = "add")]
    name: String,
    #[session(merge = "max")]
    price: f64,
    #[session(merge = "union")]
    cart: Vec<String>,
}

fn main() {}
