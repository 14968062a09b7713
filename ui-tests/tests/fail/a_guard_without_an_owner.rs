use cloakroom::{SessionData, SessionError, Sessions, SignedIn};

#[derive(SessionData)]
struct Shop {
    cart: Vec<u32>,
}

async fn orders(session: SignedIn<Shop>) {
    drop(session);
}

async fn devices(sessions: Sessions) -> Result<usize, SessionError> {
    Ok(sessions.list::<Shop>(&7).await?.len())
}

fn main() {}
