//! A server that forks after it has served a request. Each of the two processes prints what its next visitors get: the token of a
//! stored session, and a sealed cookie.

use axum::{Router, routing::any};
use cloakroom::{
    SessionData, SessionLayer, TypedSession,
    store::{CookieStore, IntoBackend, MemoryStore},
    testing::TestClient,
};
use cloakroom_tests::site::{COOKIE, keys};

#[derive(SessionData)]
struct Visitor {
    visits: u64,
}

// The process has one thread, so that the child can go on with all of it.
#[cfg(unix)]
#[allow(unsafe_code, reason = "the standard library forks only to start another program")]
unsafe extern "C" {
    safe fn fork() -> i32;
}

/// The cookie of a new session.
async fn begin<B: IntoBackend>(backend: B) -> String {
    let visit = any(async |mut visitor: TypedSession<Visitor>| *visitor.visits += 1);
    let browser = TestClient::new(Router::new().route("/", visit).layer(SessionLayer::new(backend)));
    browser.post("/").await;
    browser.cookie(COOKIE).unwrap_or_default()
}

fn serve() -> std::io::Result<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    Ok(runtime.block_on(async { format!("{} {}", begin(MemoryStore::new()).await, begin(CookieStore::new(keys())).await) }))
}

#[cfg(unix)]
fn main() -> std::io::Result<()> {
    serve()?;
    if fork() < 0 {
        return Err(std::io::Error::last_os_error());
    }
    println!("{}", serve()?);
    Ok(())
}

#[cfg(not(unix))]
fn main() {}
