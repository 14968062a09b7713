//! The second build of the shop of `shop_v1`: a field is new, one is of another type, and one is gone.
//!
//! Arguments: the engine, its addresses. It says where it listens.

use axum::{
    Router,
    extract::Path,
    routing::{get, post},
};
use cloakroom::{SessionData, SessionLayer, SessionValue, TypedSession};
use cloakroom_tests::processes;
use serde::{Deserialize, Serialize};
use std::error::Error;

/// What was a number of cents, and something that the first build knows nothing of.
#[derive(Clone, Debug, Default, Serialize, Deserialize, SessionValue)]
struct Money {
    cents: i64,
    rounded: bool,
}

impl Money {
    fn exactly(cents: u32) -> Self {
        Self { cents: cents.into(), rounded: false }
    }

    fn cents(&self) -> u32 {
        self.cents.try_into().unwrap_or(0)
    }
}

#[derive(SessionData)]
#[session(name = "shop", version = 2, removed(coupon: String, in = 2), lock = off)]
struct Shop {
    user: Option<String>,
    #[session(merge = "add")]
    views: u64,
    #[session(changed(in = 2, from = u32, up = Money::exactly, down = Money::cents))]
    total: Money,
    #[session(since = 2, default = "light".to_owned())]
    theme: String,
}

async fn show(s: TypedSession<Shop>) -> String {
    let how = if s.total.rounded { "rounded" } else { "exact" };
    format!("{} {} {} {how} {}", s.user.as_deref().unwrap_or("nobody"), s.views, s.total.cents, s.theme)
}

async fn price(Path(cents): Path<i64>, mut s: TypedSession<Shop>) {
    *s.total = Money { cents, rounded: true };
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let store = processes::store(std::env::args().skip(1)).await?;
    let app = Router::new()
        .route("/", get(show))
        .route("/view", post(async |mut s: TypedSession<Shop>| *s.views += 1))
        .route("/total/{cents}", post(price))
        .route("/theme/{theme}", post(async |Path(theme): Path<String>, mut s: TypedSession<Shop>| *s.theme = theme))
        .route("/rotate", post(async |mut s: TypedSession<Shop>| s.rotate()))
        .layer(SessionLayer::new(store));
    processes::serve(app).await
}
