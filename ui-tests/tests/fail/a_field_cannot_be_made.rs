use cloakroom::{Field, SessionData};

#[derive(SessionData)]
struct Shop {
    views: u64,
    cart: Vec<String>,
}

fn main() {
    let _ = Field::<u64>::new(1);
    let _: Field<u64> = Default::default();
    let _: Field<u64> = 1.into();
}
