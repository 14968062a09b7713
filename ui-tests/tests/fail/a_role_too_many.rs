use cloakroom::SessionData;

#[derive(SessionData)]
#[session(name = "a")]
struct Kept {
    #[session(owner, keep)]
    user: Option<u64>,
}

#[derive(SessionData)]
#[session(name = "b")]
struct Privileged {
    #[session(owner, privilege)]
    user: Option<u64>,
}

#[derive(SessionData)]
#[session(name = "c")]
struct KeptPrivilege {
    #[session(owner)]
    user: Option<u64>,
    #[session(privilege, keep)]
    admin: bool,
}

fn main() {}
