//! A shop in the small: nested values, rules for fields, signing in and out, and a test in which ten minutes pass.

use axum::{Router, extract::Path, routing::post};
use cloakroom::{SessionData, SessionError, SessionLayer, SessionValue, SignedIn, TypedSession, store::MemoryStore};
use serde::{Deserialize, Serialize};

#[derive(SessionData)]
struct Shop {
    #[session(owner)]
    user: Option<String>, // who is signed in: a change rotates the token, and ends what was another's
    #[session(merge = "add")]
    views: u64, // what parallel requests add is added up
    #[session(default = "EUR".to_owned(), keep)]
    currency: String, // stays at this browser, whoever signs in
    #[session(ttl = "10m")]
    code: Option<u32>, // lives for ten minutes after it was last touched
    cart: Vec<Item>,
    notice: Option<String>,
}

/// What lies inside a field derives `SessionValue` beside serde's two.
#[derive(Serialize, Deserialize, SessionValue)]
struct Item {
    article: u32,
    count: u32,
}

async fn view(Path(article): Path<u32>, mut session: TypedSession<Shop>) {
    *session.views += 1;
    session.cart.push(Item { article, count: 1 });
}

async fn send_code(mut session: TypedSession<Shop>) {
    *session.code = Some(271_828); // in earnest random, and mailed
}

async fn sign_in(Path((user, code)): Path<(String, u32)>, mut session: TypedSession<Shop>) -> &'static str {
    if session.code.take() != Some(code) {
        return "That code is wrong or too old.";
    }
    *session.user = Some(user); // another token: who knew the one before does not get in with it
    "Welcome."
}

async fn order(mut session: SignedIn<Shop>) -> Result<String, SessionError> {
    let items = std::mem::take(&mut *session.cart);
    // What cannot be undone waits until the change is stored; otherwise the layer stores it after the handler.
    session.save().await?;
    let pieces: u32 = items.iter().map(|item| item.count).sum();
    Ok(format!("{pieces} pieces are on their way, to be paid in {}", session.currency))
}

async fn sign_out(mut session: TypedSession<Shop>) {
    *session.user = None; // the cart, the views and the token go with the owner
    *session.notice = Some("You are signed out.".to_owned());
}

async fn home(mut session: TypedSession<Shop>) -> String {
    let notice = session.notice.take().unwrap_or_default();
    let user = session.user.as_deref().unwrap_or("guest");
    format!("{notice} Hello, {user}: {} views, {} in your cart", session.views, session.cart.len())
}

fn app(sessions: SessionLayer) -> Router {
    Router::new()
        .route("/", axum::routing::get(home))
        .route("/view/{article}", post(view))
        .route("/code", post(send_code))
        .route("/sign-in/{user}/{code}", post(sign_in))
        .route("/order", post(order))
        .route("/sign-out", post(sign_out))
        .layer(sessions)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let app = app(SessionLayer::new(MemoryStore::new()));
    Ok(axum::serve(tokio::net::TcpListener::bind("127.0.0.1:3000").await?, app).await?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cloakroom::testing::{ManualClock, TestClient};
    use std::time::{Duration, SystemTime};

    #[tokio::test]
    async fn a_code_is_good_for_ten_minutes_and_nothing_outlives_the_sign_out() {
        let clock = ManualClock::new(SystemTime::now());
        let sessions = SessionLayer::new(MemoryStore::new()).clock(clock.clone());
        let browser = TestClient::new(app(sessions)).clock(clock.clone());

        browser.post("/view/7").await;
        assert_eq!(browser.post("/order").await.status(), 401);
        browser.post("/code").await;
        clock.advance(Duration::from_secs(601));
        assert_eq!(browser.post("/sign-in/ada/271828").await.text(), "That code is wrong or too old.");

        browser.post("/code").await;
        assert_eq!(browser.post("/sign-in/ada/271828").await.text(), "Welcome.");
        assert_eq!(browser.get("/").await.text(), " Hello, ada: 1 views, 1 in your cart");
        assert_eq!(browser.post("/order").await.text(), "1 pieces are on their way, to be paid in EUR");

        browser.post("/sign-out").await;
        assert_eq!(browser.get("/").await.text(), "You are signed out. Hello, guest: 0 views, 0 in your cart");
        assert_eq!(browser.get("/").await.text(), " Hello, guest: 0 views, 0 in your cart");
    }
}
