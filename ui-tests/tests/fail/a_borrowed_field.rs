use cloakroom::SessionData;

#[derive(SessionData)]
struct Shop {
    name: &'static str,
    items: Vec<&'static [u8]>,
}

fn main() {}
