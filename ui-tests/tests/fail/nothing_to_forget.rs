use cloakroom::SessionData;

#[derive(SessionData)]
#[session(version = 5)]
struct Shop {
    #[session(
        changed(in = 3, from = u16, up = u32::from, forget),
        changed(in = 5, from = u32, up = u64::from, forget),
        forget_before = 4
    )]
    views: u64,
    #[session(since = 2, forget_before = 2)]
    hits: u64,
    #[session(forget_before = 1)]
    total: u64,
}

fn main() {}
