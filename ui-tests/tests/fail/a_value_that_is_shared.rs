use cloakroom::{SessionData, TypedSession};

use std::rc::Rc;

#[derive(SessionData)]
struct Shop {
    cart: Option<Rc<Vec<String>>>,
    name: std::rc::Rc<String>,
    note: String,
}

async fn handler(session: TypedSession<Shop>) -> String {
    format!("{} {} {}", session.name.len(), session.cart.as_ref().map_or(0, |cart| cart.len()), session.note)
}

fn main() {
    let _ = handler;
}
