use cloakroom::SessionData;

#[derive(SessionData)]
#[session(merge = "add")]
struct Shop {
    #[session(version = 2)]
    views: u64,
    #[session(recursive)]
    theme: u8,
}

#[derive(cloakroom::SessionValue)]
struct Item {
    #[session(ttl = "10m")]
    article: u32,
}

fn main() {}
