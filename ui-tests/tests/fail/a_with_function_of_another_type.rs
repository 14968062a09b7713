use cloakroom::SessionData;

#[derive(SessionData)]
#[session(version = 2, removed(name: String, in = 2), removed(age: u8, in = 2))]
struct Shop {
    #[session(from(name: String, with = length))]
    other_value: String,
    #[session(from(name: String, age: u8, with = swapped))]
    other_order: String,
    #[session(from(name: String, age: u8, with = length))]
    one_argument: usize,
}

fn length(name: String) -> usize {
    name.len()
}

fn swapped(age: u8, name: String) -> String {
    format!("{name} {age}")
}

fn main() {}
