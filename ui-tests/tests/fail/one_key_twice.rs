use cloakroom::SessionData;

#[derive(SessionData)]
struct Shop {
    views: u64,
    #[session(key = "views")]
    visits: u64,
}

fn main() {}
