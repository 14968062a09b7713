//! A process that opens a Redis store, uses it, and says what came of it: certificates come from a process's environment.
//!
//! Argument: the server's address.

use cloakroom::{
    record::{Cells, Header, Record, SecretHash, Selector, Timestamp, WrappedKey},
    store::{RedisStore, SessionStore, StoreError},
};

async fn open(url: &str) -> Result<(), StoreError> {
    let store = RedisStore::connect(url).await?;
    let at = Timestamp::from_millis;
    let header = Header::new(SecretHash::from_bytes([1; 32]), WrappedKey::from_bytes([2; 32]), at(0), at(1_000), at(1_000));
    let created = store.create(&Selector::from_bytes([7; 16]), Record::new(header, Cells::default())).await?;
    println!("opened: {created:?}");
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).ok_or("which server?")?;
    if let Err(error) = open(&url).await {
        println!("refused: {error}");
    }
    Ok(())
}
