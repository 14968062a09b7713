use cloakroom::SessionData;

#[derive(SessionData)]
struct Shop {
    #[session(default = "guest")]
    name: String,
    #[session(default = 1.5)]
    views: u64,
}

fn main() {}
