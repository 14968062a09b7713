use cloakroom::SessionData;

#[derive(SessionData)]
struct Nothing;

fn main() {}
