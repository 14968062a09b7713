use cloakroom::SessionData;

#[derive(SessionData)]
struct Shop {
    started: Option<std::time::Instant>,
}

fn main() {}
