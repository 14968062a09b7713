use cloakroom::SessionData;

#[derive(SessionData)]
#[session(version = 4)]
struct Shop {
    #[session(changed(in = 4, from = u16, up = u32::from, forget), changed(in = 2, from = u8, up = u16::from, forget))]
    views: u32,
    #[session(changed(in = 3, from = u8, up = u16::from, forget), changed(in = 3, from = u16, up = u32::from, forget))]
    hits: u32,
    #[session(since = 3, changed(in = 2, from = u8, up = u32::from, forget))]
    total: u32,
}

fn main() {}
