use cloakroom::SessionData;

#[derive(SessionData)]
#[session(version = 2, removed(name: String, in = 2))]
struct Shop {
    #[session(changed(in = 2, from = u32, up = |old| u64::from(old), forget))]
    views: u64,
    #[session(changed(in = 2, from = u32, up = u64::from, down = "narrow"))]
    hits: u64,
    #[session(from(name: String, with = |name: String| name))]
    first: String,
}

fn main() {}
