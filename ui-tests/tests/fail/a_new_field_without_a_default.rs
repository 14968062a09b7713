use cloakroom::{SessionData, SessionValue};

#[derive(serde::Serialize, serde::Deserialize, SessionValue)]
enum Theme {
    Light,
    Dark,
}

#[derive(SessionData)]
#[session(version = 2)]
struct Shop {
    views: u64,
    #[session(since = 2)]
    theme: Theme,
}

fn main() {}
