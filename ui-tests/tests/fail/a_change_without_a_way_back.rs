use cloakroom::SessionData;

#[derive(SessionData)]
#[session(version = 2)]
struct Shop {
    #[session(changed(in = 2, from = u32, up = u64::from))]
    neither: u64,
    #[session(changed(in = 2, from = u32, up = u64::from, down = narrow, forget))]
    both: u64,
}

fn narrow(wide: &u64) -> u32 {
    *wide as u32
}

fn main() {}
