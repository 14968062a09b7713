use cloakroom::SessionData;

#[derive(SessionData)]
#[session(version = 4)]
struct Shop {
    #[session(
        changed(in = 2, from = u8, up = widen, down = narrow),
        changed(in = 4, from = u32, up = u64::from, down = halve)
    )]
    views: u64,
}

fn widen(views: u8) -> u16 {
    views.into()
}

fn narrow(views: &u16) -> u8 {
    *views as u8
}

fn halve(views: &u64) -> u32 {
    *views as u32
}

fn main() {}
