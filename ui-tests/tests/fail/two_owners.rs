use cloakroom::SessionData;

#[derive(SessionData)]
struct Shop {
    #[session(owner)]
    user: Option<u64>,
    #[session(owner)]
    clerk: Option<u64>,
}

fn main() {}
