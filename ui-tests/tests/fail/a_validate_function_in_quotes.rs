use cloakroom::SessionData;

#[derive(SessionData)]
struct Shop {
    #[session(validate = "short")]
    name: String,
    #[session(validate = |name| name.len() < 9)]
    city: String,
    #[session(validate)]
    country: String,
}

fn main() {}
