use cloakroom::SessionData;

#[derive(SessionData)]
struct Counter(u64);

fn main() {}
