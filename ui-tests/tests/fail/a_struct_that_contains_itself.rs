use cloakroom::SessionData;

#[derive(SessionData)]
struct Shop {
    parent: Option<Box<Shop>>,
    other: Vec<Self>,
}

fn main() {}
