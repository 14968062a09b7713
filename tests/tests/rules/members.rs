//! A shop with people who sign in, and a library that keeps its own struct in the same session.

use axum::{
    Router,
    extract::Path,
    routing::{get, post},
};
use cloakroom::{
    Lifetime, SessionData, TypedSession,
    record::Timestamp,
    store::{MemoryStore, SessionStore, SqliteStore},
};
use cloakroom_tests::{
    shop::{Browser, House},
    site::{COOKIE, Effect, effect},
};
use std::sync::Arc;

#[derive(SessionData)]
#[session(name = "members")]
pub(crate) struct Members {
    #[session(owner)]
    pub(crate) user: Option<u64>,
    #[session(privilege)]
    pub(crate) admin: bool,
    #[session(keep)]
    pub(crate) theme: String,
    pub(crate) cart: Vec<u32>,
    #[session(merge = "add")]
    pub(crate) views: u64,
}

/// It knows nothing of who is signed in.
#[derive(SessionData)]
#[session(name = "library")]
pub(crate) struct Library {
    #[session(keep)]
    pub(crate) locale: String,
    pub(crate) draft: String,
}

pub(crate) fn show(members: &TypedSession<Members>) -> String {
    let m = members;
    format!("{:?} {} {:?} {:?} {}", *m.user, m.admin, *m.theme, *m.cart, m.views)
}

/// What [`show`] says of nobody.
pub(crate) const NOBODY: &str = r#"None false "" [] 0"#;

pub(crate) fn routes() -> Router {
    Router::new()
        .route("/", get(async |members: TypedSession<Members>| show(&members)))
        .route("/library", get(async |it: TypedSession<Library>| format!("{:?} {:?}", *it.locale, *it.draft)))
        .route(
            "/fill",
            post(async |mut members: TypedSession<Members>, mut library: TypedSession<Library>| {
                *members.theme = "dark".into();
                *members.cart = vec![1, 2];
                *members.views = 10;
                *library.locale = "de".into();
                *library.draft = "Dear".into();
            }),
        )
        .route("/cart/{item}", post(async |Path(item): Path<u32>, mut s: TypedSession<Members>| s.cart.push(item)))
        .route("/in/{user}", post(async |Path(user): Path<u64>, mut s: TypedSession<Members>| *s.user = Some(user)))
        .route("/out", post(async |mut s: TypedSession<Members>| *s.user = None))
        .route("/admin/{may}", post(async |Path(may): Path<bool>, mut s: TypedSession<Members>| *s.admin = may))
        .route("/again", post(async |mut s: TypedSession<Members>| s.reauthenticated()))
}

/// The rules hold for a store that touches at load, and for one that does so at commit.
pub(crate) async fn houses() -> [House<Arc<dyn SessionStore>>; 2] {
    let sqlite = SqliteStore::in_memory().await.unwrap();
    [House::over(Arc::new(MemoryStore::new()) as Arc<dyn SessionStore>), House::over(Arc::new(sqlite))]
}

pub(crate) type AnyHouse = House<Arc<dyn SessionStore>>;

/// A browser whose session holds something of everything, and in which nobody is signed in.
pub(crate) async fn guest(house: &AnyHouse, more: Router) -> Browser {
    let browser = house.browser(routes().merge(more));
    assert_eq!(browser.post("/fill").await.status(), 200);
    house.log();
    browser
}

/// ... and in which somebody is.
pub(crate) async fn member(house: &AnyHouse, user: u64, more: Router) -> Browser {
    let browser = guest(house, more).await;
    assert_eq!(browser.post(&format!("/in/{user}")).await.status(), 200);
    house.log();
    browser
}

/// The keys under which a browser's session holds a value.
pub(crate) async fn keys(house: &AnyHouse, browser: &Browser) -> Vec<String> {
    let record = house.record(browser).await.unwrap();
    let mut keys: Vec<String> =
        record.cells.iter().filter(|cell| cell.body.content.payload().is_some()).map(|cell| cell.key.to_string()).collect();
    keys.sort();
    keys
}

/// Who signs in to nothing else afterwards: their old token is worth nothing, and says nothing.
pub(crate) async fn assert_dead(old: &Browser) {
    let response = old.get("/").await;
    assert_eq!((response.status().as_u16(), response.text().as_str()), (200, NOBODY));
    assert_eq!(effect(&response), Effect::Nothing, "a wrong secret on a live selector never clears the cookie");
}

/// The token that a response hands out: another secret, and the same place in the store.
#[track_caller]
pub(crate) fn assert_rotated(old: &Browser, effect: Effect) -> String {
    let (before, Effect::Set(after)) = (old.cookie(COOKIE).unwrap(), effect) else { panic!("no token is handed out") };
    assert_eq!(before[..21], after[..21], "the selector stays");
    assert_ne!(before, after);
    after
}

/// Both deadlines as they are set at some instant.
pub(crate) fn deadlines_from(at: Timestamp) -> (Timestamp, Timestamp) {
    let lifetime = Lifetime::default();
    (at.plus(lifetime.idle()), at.plus(lifetime.absolute()))
}
