use cloakroom::{SessionData, SessionValue, TypedSession};
use serde::{Deserialize, Serialize};

#[derive(Default, Serialize, Deserialize, SessionValue)]
enum Role {
    #[default]
    Guest,
    Admin,
}

#[derive(SessionData)]
struct Shop {
    role: Role,
}

async fn handler(session: TypedSession<Shop>) -> bool {
    match session.role {
        Role::Admin => true,
        Role::Guest => false,
    }
}

fn main() {
    let _ = handler;
}
