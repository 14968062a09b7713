use cloakroom::SessionData;

#[derive(SessionData)]
#[session(version = 2)]
struct Shop {
    #[session(changed(from = u32, up = u64::from, forget))]
    since_when: u64,
    #[session(changed(in = 2))]
    from_what: u64,
    #[session(changed)]
    nothing: u64,
    #[session(changed = 2)]
    a_number: u64,
}

fn main() {}
