use cloakroom::SessionData;

#[derive(SessionData)]
struct Shop {
    #[session(owner)]
    user: Option<u64>,
    #[session(privilege, keep)]
    second_factor: bool,
}

fn main() {}
