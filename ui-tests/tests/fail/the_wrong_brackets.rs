use cloakroom::SessionData;

#[derive(SessionData)]
struct Shop {
    #[session[merge = "add"]]
    views: u64,
    #[session]
    theme: u8,
    #[session = "add"]
    count: u8,
    #[session(merge: "add")]
    total: u8,
    #[session(merge("add"))]
    sum: u8,
    #[session("add")]
    last: u8,
    #[session(merge = "add" lossy)]
    first: u8,
}

fn main() {}
