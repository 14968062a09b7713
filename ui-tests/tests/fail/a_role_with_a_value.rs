use cloakroom::SessionData;

#[derive(SessionData)]
#[session(owner)]
struct Shop {
    #[session(owner = true)]
    user: Option<u64>,
    #[session(privilege("admin"))]
    admin: bool,
    #[session(keep = "always")]
    theme: u8,
}

#[derive(cloakroom::SessionValue)]
struct Item {
    #[session(keep)]
    article: u32,
}

fn main() {}
