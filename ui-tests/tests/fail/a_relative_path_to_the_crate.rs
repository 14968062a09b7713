use cloakroom::SessionData;

#[derive(SessionData)]
#[session(crate = cloakroom)]
struct Shop {
    views: u64,
}

#[derive(SessionData)]
#[session(crate = "cloakroom")]
struct Other {
    views: u64,
}

fn main() {}
