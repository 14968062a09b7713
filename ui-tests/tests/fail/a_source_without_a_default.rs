use cloakroom::{SessionData, SessionValue};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, SessionValue)]
enum Title {
    Dame,
    Sir,
}

#[derive(SessionData)]
#[session(version = 2, removed(title: Title, in = 2), removed(name: String, in = 2))]
struct Shop {
    #[session(from(title: Title, with = alone))]
    only_one: String,
    #[session(from(title: Title, name: String, with = both))]
    one_of_two: String,
}

fn alone(_: Title) -> String {
    String::new()
}

fn both(_: Title, name: String) -> String {
    name
}

fn main() {}
