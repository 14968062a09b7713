use cloakroom::SessionData;

#[derive(SessionData)]
struct Shop {
    #[session(owner)]
    user: u64,
}

#[derive(SessionData)]
struct Forum {
    #[session(owner)]
    name: String,
}

fn main() {}
