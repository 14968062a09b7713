use cloakroom::SessionData;

#[derive(SessionData)]
#[session(name = "a", version = 2)]
struct Changed {
    #[session(owner, changed(in = 2, from = Option<u32>, up = up, forget))]
    user: Option<u64>,
}

#[derive(SessionData)]
#[session(name = "b", version = 2, removed(name: String, in = 2))]
struct Computed {
    #[session(owner, from(name: String, with = of_name))]
    user: Option<u64>,
}

#[derive(SessionData)]
#[session(name = "c")]
struct Expires {
    #[session(owner, ttl = "10m")]
    user: Option<u64>,
}

#[derive(SessionData)]
#[session(name = "d")]
struct Lossy {
    #[session(owner, lossy)]
    user: Option<u64>,
}

#[derive(SessionData)]
#[session(name = "e")]
struct Merged {
    #[session(owner, merge = "max")]
    user: Option<u64>,
}

#[derive(SessionData)]
#[session(name = "f")]
struct Somebody {
    #[session(owner, default = Some(1))]
    user: Option<u64>,
}

fn up(old: Option<u32>) -> Option<u64> {
    old.map(u64::from)
}

fn of_name(name: String) -> Option<u64> {
    name.parse().ok()
}

fn main() {}
