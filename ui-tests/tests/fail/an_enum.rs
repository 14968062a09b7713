use cloakroom::SessionData;

#[derive(SessionData)]
enum State {
    In,
    Out,
}

fn handler(session: StateFields) {
    drop(session);
}

fn main() {}
