use cloakroom::SessionData;

#[derive(SessionData)]
struct Shop {
    #[session(merge = "add")]
    #[session(merge = "max")]
    views: u64,
    #[session(lossy, lossy)]
    total: u64,
}

fn main() {}
