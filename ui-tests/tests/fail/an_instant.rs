use cloakroom::SessionData;
use std::time::Instant;

#[derive(SessionData)]
struct Shop {
    started: Option<Instant>,
    last_seen: std::time::Instant,
}

fn main() {}
