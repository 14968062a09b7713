use cloakroom::SessionData;

#[derive(SessionData)]
#[session(name = "a", authenticated = of_the_struct)]
struct A {
    #[session(owner)]
    user: Option<u64>,
}

fn of_the_struct(session: &A) -> bool {
    session.user.is_some()
}

#[derive(SessionData)]
#[session(name = "b", authenticated = a_number)]
struct B {
    #[session(owner)]
    user: Option<u64>,
}

fn a_number(session: &BFields) -> u64 {
    session.user.unwrap_or(0)
}

#[derive(SessionData)]
#[session(name = "c", authenticated = missing)]
struct C {
    #[session(owner)]
    user: Option<u64>,
}

fn main() {}
