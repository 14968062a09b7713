use cloakroom::{SessionData, TypedSession};

#[derive(SessionData)]
struct Visitor {
    visits: u64,
}

async fn home(session: TypedSession<Visitor>) -> String {
    *session.visits += 1;
    session.visits.to_string()
}

fn main() {}
