use cloakroom::SessionData;

#[derive(SessionData)]
#[session(nmae = "shop")]
struct Shop {
    #[session(mrege = "add")]
    views: u64,
    #[session(colour = "red")]
    theme: u8,
}

fn main() {}
