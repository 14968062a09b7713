use cloakroom::SessionData;

#[derive(SessionData)]
#[session(version = 2, removed(name: &'static str, in = 2))]
struct Shop {
    #[session(changed(in = 2, from = Option<Option<u8>>, up = flat, forget))]
    size: u8,
    #[session(changed(in = 2, from = 8, up = flat, forget))]
    weight: u8,
}

fn main() {}
