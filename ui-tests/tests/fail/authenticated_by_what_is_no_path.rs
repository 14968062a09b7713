use cloakroom::SessionData;

#[derive(SessionData)]
#[session(name = "a", authenticated = |session| *session.second_factor)]
struct A {
    #[session(owner)]
    user: Option<u64>,
}

#[derive(SessionData)]
#[session(name = "b", authenticated = "has_second_factor")]
struct B {
    #[session(owner)]
    user: Option<u64>,
}

fn main() {}
