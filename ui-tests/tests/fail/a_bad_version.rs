use cloakroom::SessionData;

#[derive(SessionData)]
#[session(version = "2")]
struct Shop {
    #[session(since = 0)]
    views: u64,
    #[session(since = 1.5)]
    total: u64,
}

fn main() {}
