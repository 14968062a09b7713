use cloakroom::SessionData;

#[derive(SessionData)]
#[session(version = 2)]
struct Shop {
    #[session(since = 3)]
    views: u64,
}

fn main() {}
