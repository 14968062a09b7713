//! The first build of a shop, which serves the same sessions as `shop_v2`.
//!
//! Arguments: the engine, its addresses. It says where it listens.

use axum::{
    Router,
    extract::Path,
    routing::{get, post},
};
use cloakroom::{SessionData, SessionLayer, TypedSession};
use cloakroom_tests::processes;
use std::error::Error;

#[derive(SessionData)]
#[session(name = "shop", lock = off)]
struct Shop {
    user: Option<String>,
    #[session(merge = "add")]
    views: u64,
    total: u32,
    coupon: String,
}

async fn show(s: TypedSession<Shop>) -> String {
    format!("{} {} {} {}", s.user.as_deref().unwrap_or("nobody"), s.views, s.total, s.coupon)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let store = processes::store(std::env::args().skip(1)).await?;
    let app = Router::new()
        .route("/", get(show))
        .route("/user/{name}", post(async |Path(name): Path<String>, mut s: TypedSession<Shop>| *s.user = Some(name)))
        .route("/view", post(async |mut s: TypedSession<Shop>| *s.views += 1))
        .route("/total/{cents}", post(async |Path(cents): Path<u32>, mut s: TypedSession<Shop>| *s.total = cents))
        .route("/coupon/{code}", post(async |Path(code): Path<String>, mut s: TypedSession<Shop>| *s.coupon = code))
        .route("/rotate", post(async |mut s: TypedSession<Shop>| s.rotate()))
        .layer(SessionLayer::new(store));
    processes::serve(app).await
}
