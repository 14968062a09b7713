use cloakroom::{
    SessionLayer,
    store::{MemoryStore, StoreError},
};

/// As the constructors of the stores on a disk or behind a network are.
async fn open(_: &str) -> Result<MemoryStore, StoreError> {
    Ok(MemoryStore::new())
}

async fn forgotten() {
    let _ = SessionLayer::new(open("sessions.db"));
}

async fn unhandled() {
    let _ = SessionLayer::new(open("sessions.db").await);
}

fn main() {}
