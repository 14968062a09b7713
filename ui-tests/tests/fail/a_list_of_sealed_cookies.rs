use cloakroom::{KeyRing, SessionLayer, store::CookieStore};

fn main() {
    let keys = KeyRing::generate().unwrap();
    let layer = SessionLayer::new(CookieStore::new(keys));
    let _sessions = layer.sessions();
}
