use cloakroom::{SessionData, SessionValue};

#[derive(SessionData)]
#[session(secret)]
struct Vault {
    #[session(secret)]
    token: Option<String>,
}

#[derive(SessionData)]
struct Shop {
    #[session(secret = true)]
    token: Option<String>,
    #[session(secret, secret)]
    pin: u16,
}

#[derive(serde::Serialize, serde::Deserialize, SessionValue)]
struct Address {
    #[session(secret)]
    street: String,
}

fn main() {}
