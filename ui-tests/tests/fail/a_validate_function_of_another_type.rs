use cloakroom::SessionData;

#[derive(SessionData)]
struct Shop {
    #[session(validate = short)]
    cart: Vec<String>,
    #[session(validate = measure)]
    name: String,
    #[session(validate = both)]
    both: u8,
    #[session(validate = by_value)]
    value: String,
}

fn short(text: &str) -> bool {
    text.len() < 9
}

fn measure(name: &String) -> usize {
    name.len()
}

fn both(a: &u8, b: &u8) -> bool {
    a == b
}

fn by_value(name: String) -> bool {
    name.is_empty()
}

fn main() {}
