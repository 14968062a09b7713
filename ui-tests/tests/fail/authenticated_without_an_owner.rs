use cloakroom::SessionData;

#[derive(SessionData)]
#[session(authenticated = has_second_factor)]
struct Shop {
    #[session(privilege)]
    second_factor: bool,
}

fn has_second_factor(session: &ShopFields) -> bool {
    *session.second_factor
}

fn main() {}
