use cloakroom::SessionData;

#[derive(SessionData)]
#[session(version = 2, removed(full_name: String, in = 2))]
struct Shop {
    views: u64,
    #[session(from(views: u64, with = spelled))]
    of_a_field: String,
    #[session(from(ful_name: String, with = first))]
    misspelled: String,
    #[session(from(full_name: Option<String>, with = first))]
    of_another_type: String,
    #[session(from(full_name: String))]
    by_nothing: String,
}

fn spelled(views: u64) -> String {
    views.to_string()
}

fn first(name: String) -> String {
    name
}

fn main() {}
