use cloakroom::SessionData;

#[derive(SessionData)]
struct Shop {
    #[session(ttl = 600)]
    a: u8,
    #[session(ttl = "10")]
    b: u8,
    #[session(ttl = "10 minutes")]
    c: u8,
    #[session(ttl = "0s")]
    d: u8,
    #[session(ttl = "99999999999999d")]
    e: u8,
}

fn main() {}
