use cloakroom::SessionData;

use std::rc::Rc;

#[derive(SessionData)]
struct Shop {
    cart: Rc<Vec<String>>,
    started: Option<std::time::Instant>,
}

fn main() {}
