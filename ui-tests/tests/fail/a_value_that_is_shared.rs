use cloakroom::SessionData;

use std::rc::Rc;

#[derive(SessionData)]
struct Shop {
    cart: Option<Rc<Vec<String>>>,
}

fn main() {}
