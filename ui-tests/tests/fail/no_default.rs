use cloakroom::SessionData;

#[derive(serde::Serialize, serde::Deserialize, cloakroom::SessionValue)]
enum Theme {
    Light,
    Dark,
}

#[derive(SessionData)]
struct Shop {
    theme: Theme,
}

fn main() {}
