use cloakroom::SessionData;

#[derive(SessionData)]
struct Shop {
    choice: Option<Option<bool>>,
}

fn main() {}
