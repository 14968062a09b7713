//! A process of a site that runs on several machines: a small shop over the store that its arguments name.
//!
//! Arguments: `keep` or `hold`, the engine, its addresses. It says where it listens. One that holds says `stored` once a change is
//! in the store, and then answers nothing any more, so that it can be killed between both.

use axum::{
    Router,
    extract::Path,
    routing::{get, post},
};
use cloakroom::{
    SessionData, SessionLayer, TypedSession,
    testing::{Fault, FaultStore, Gate, Operation},
};
use cloakroom_tests::processes;
use std::error::Error;

#[derive(SessionData)]
struct Shop {
    #[session(owner)]
    user: Option<String>,
    #[session(merge = "add")]
    views: u64,
    name: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let manner = arguments.next().ok_or("keep or hold?")?;
    let store = FaultStore::new(processes::store(arguments).await?);
    if manner == "hold" {
        let gate = Gate::new();
        for operation in [Operation::Create, Operation::Commit, Operation::Delete] {
            store.always(operation, Fault::HoldAfter(gate.clone()));
        }
        tokio::spawn(async move {
            gate.reached().await;
            println!("stored");
        });
    }
    let app = Router::new()
        .route("/", get(async |s: TypedSession<Shop>| format!("{} {}", s.views, s.name)))
        .route("/view", post(async |mut s: TypedSession<Shop>| *s.views += 1))
        .route("/name/{name}", post(async |Path(name): Path<String>, mut s: TypedSession<Shop>| *s.name = name))
        .route(
            "/in/{user}",
            post(async |Path(user): Path<String>, mut s: TypedSession<Shop>| {
                *s.user = Some(user);
                *s.views += 1;
                *s.name = "new".into();
            }),
        )
        .route("/rotate", post(async |mut s: TypedSession<Shop>| s.rotate()))
        .route("/out", post(async |mut s: TypedSession<Shop>| s.destroy()))
        .layer(SessionLayer::new(store));
    processes::serve(app).await
}
