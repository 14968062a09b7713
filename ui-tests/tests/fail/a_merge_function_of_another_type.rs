use cloakroom::SessionData;

#[derive(SessionData)]
struct Shop {
    #[session(merge = join)]
    cart: Vec<String>,
    #[session(merge = self::joined)]
    name: String,
}

fn join(mine: Vec<String>, theirs: Vec<String>) -> Vec<String> {
    [mine, theirs].concat()
}

fn main() {}
