use cloakroom::SessionData;

#[derive(SessionData)]
struct Shop {
    #[session(default)]
    views: u64,
    #[session(default =)]
    other: u64,
}

fn main() {}
