//! The candidates: one application each, with the same routes, the same work and the same answers.

use axum::{Router, body::Body, routing::get};
use cloakroom::{SessionData, SessionLayer, SessionValue, TypedSession};
use http::{Request, header};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::hint::black_box;
use std::{
    sync::Arc,
    task::{Context, Poll},
};
use tower::{Layer, Service};
use tower_sessions::{Session, SessionManagerLayer};

/// What every application keeps in its session.
#[derive(Clone, Default, Serialize, Deserialize, SessionData)]
struct Visit {
    id: u64,
    views: u64,
    since: u64,
    name: Option<String>,
    city: String,
    admin: bool,
    cart: Vec<u32>,
    theme: Theme,
}

#[derive(Clone, Copy, Default, Serialize, Deserialize, SessionValue)]
enum Theme {
    #[default]
    Light,
    Dark,
}

fn filled() -> Visit {
    Visit {
        id: 8_412_553,
        views: 1_000,
        since: 1_767_225_600,
        name: Some("Ada Lovelace".to_owned()),
        city: "Frankfurt (Oder) Ost".to_owned(),
        admin: true,
        cart: vec![4_711, 815, 12, 90_210, 3],
        theme: Theme::Dark,
    }
}

/// What is asked of every application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scenario {
    /// All eight fields of an existing session are read.
    Read,
    /// The same, and one of them is changed.
    Change,
    /// A request without a cookie begins a session with one field.
    New,
    /// A request with a cookie, to a handler that takes no session.
    Untouched,
}

impl Scenario {
    pub(crate) const ALL: [Self; 4] = [Self::Read, Self::Change, Self::New, Self::Untouched];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Change => "one field changed",
            Self::New => "new session",
            Self::Untouched => "untouched",
        }
    }

    fn path(self) -> &'static str {
        match self {
            Self::Read => "/read",
            Self::Change => "/change",
            Self::New => "/new",
            Self::Untouched => "/untouched",
        }
    }
}

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Candidate {
    Bare,
    NoOpLayer,
    Cloakroom,
    /// tower-sessions, as its documentation shows it first.
    KeyPerField,
    /// tower-sessions, with the whole struct as one value.
    OneStruct,
}

impl Candidate {
    pub(crate) const ALL: [Self; 5] = [Self::Bare, Self::NoOpLayer, Self::Cloakroom, Self::KeyPerField, Self::OneStruct];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare router",
            Self::NoOpLayer => "a layer that does nothing",
            Self::Cloakroom => "cloakroom",
            Self::KeyPerField => "tower-sessions, a key per field",
            Self::OneStruct => "tower-sessions, one struct",
        }
    }

    /// A new application with an empty store of its own.
    pub(crate) fn app(self) -> App {
        let router = match self {
            Self::Bare => bare::routes(),
            Self::NoOpLayer => bare::routes().layer(NoOp(Arc::default())),
            Self::Cloakroom => ours::routes().layer(SessionLayer::new(cloakroom::store::MemoryStore::new())),
            Self::KeyPerField => key_per_field::routes().layer(tower_sessions_layer()),
            Self::OneStruct => one_struct::routes().layer(tower_sessions_layer()),
        };
        App { router, cookie: None }
    }
}

/// An application and the cookie of its one visitor.
pub(crate) struct App {
    router: Router,
    cookie: Option<String>,
}

impl App {
    /// Fills the visitor's session.
    pub(crate) async fn sign_up(&mut self) {
        let response = self.answer(Request::get("/fill").body(Body::empty()).expect("a valid request")).await;
        let cookie = response.headers().get(header::SET_COOKIE).and_then(|cookie| cookie.to_str().ok());
        // Without sessions there is a cookie all the same: the browser sends what it has.
        let cookie = cookie.unwrap_or("__Host-id=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA; Path=/");
        self.cookie = cookie.split(';').next().map(str::to_owned);
    }

    /// One request of a scenario.
    pub(crate) fn request(&self, scenario: Scenario) -> Request<Body> {
        let mut request = Request::get(scenario.path());
        if let (Some(cookie), true) = (&self.cookie, scenario != Scenario::New) {
            request = request.header(header::COOKIE, cookie);
        }
        request.body(Body::empty()).expect("a valid request")
    }

    pub(crate) async fn answer(&mut self, request: Request<Body>) -> http::Response<Body> {
        self.router.call(request).await.unwrap_or_else(|never| match never {})
    }
}

/// A layer that does nothing, and holds what layers hold, a pointer to a configuration. Cloning one that
/// holds nothing would cost axum one allocation less.
#[derive(Clone)]
struct NoOp(Arc<()>);

impl<S> Layer<S> for NoOp {
    type Service = NoOpService<S>;

    fn layer(&self, inner: S) -> NoOpService<S> {
        NoOpService { inner, _config: Arc::clone(&self.0) }
    }
}

#[derive(Clone)]
struct NoOpService<S> {
    inner: S,
    _config: Arc<()>,
}

impl<S: Service<R>, R> Service<R> for NoOpService<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: R) -> S::Future {
        self.inner.call(request)
    }
}

/// The same answer everywhere.
const DONE: &str = "done";

async fn untouched() -> &'static str {
    DONE
}

mod bare {
    use super::*;

    pub(super) fn routes() -> Router {
        ["/fill", "/read", "/change", "/new", "/untouched"]
            .into_iter()
            .fold(Router::new(), |router, path| router.route(path, get(untouched)))
    }
}

mod ours {
    use super::*;

    pub(super) fn routes() -> Router {
        Router::new()
            .route("/fill", get(fill))
            .route("/read", get(read))
            .route("/change", get(change))
            .route("/new", get(count))
            .route("/untouched", get(untouched))
    }

    async fn fill(mut session: TypedSession<Visit>) -> &'static str {
        *session = VisitFields::from(filled());
        DONE
    }

    async fn read(session: TypedSession<Visit>) -> &'static str {
        look(&session);
        DONE
    }

    async fn change(mut session: TypedSession<Visit>) -> &'static str {
        look(&session);
        *session.views += 1;
        DONE
    }

    fn look(s: &VisitFields) {
        black_box((&*s.id, &*s.views, &*s.since, &*s.name, &*s.city, &*s.admin, &*s.cart, &*s.theme));
    }

    async fn count(mut session: TypedSession<Visit>) -> &'static str {
        *session.views += 1;
        DONE
    }
}

fn tower_sessions_layer() -> SessionManagerLayer<tower_sessions::MemoryStore> {
    SessionManagerLayer::new(tower_sessions::MemoryStore::default())
}

async fn load<V: DeserializeOwned>(session: &Session, key: &str) -> Option<V> {
    session.get(key).await.expect("a session")
}

async fn store<V: Serialize>(session: &Session, key: &str, value: V) {
    session.insert(key, value).await.expect("a session");
}

mod key_per_field {
    use super::*;

    pub(super) fn routes() -> Router {
        Router::new()
            .route("/fill", get(fill))
            .route("/read", get(read))
            .route("/change", get(change))
            .route("/new", get(count))
            .route("/untouched", get(untouched))
    }

    async fn fill(session: Session) -> &'static str {
        let Visit { id, views, since, name, city, admin, cart, theme } = filled();
        store(&session, "id", id).await;
        store(&session, "views", views).await;
        store(&session, "since", since).await;
        store(&session, "name", name).await;
        store(&session, "city", city).await;
        store(&session, "admin", admin).await;
        store(&session, "cart", cart).await;
        store(&session, "theme", theme).await;
        DONE
    }

    async fn read(session: Session) -> &'static str {
        black_box(load_all(&session).await);
        DONE
    }

    async fn change(session: Session) -> &'static str {
        let visit = black_box(load_all(&session).await);
        store(&session, "views", visit.views + 1).await;
        DONE
    }

    async fn load_all(session: &Session) -> Visit {
        Visit {
            id: load(session, "id").await.unwrap_or_default(),
            views: load(session, "views").await.unwrap_or_default(),
            since: load(session, "since").await.unwrap_or_default(),
            name: load(session, "name").await.unwrap_or_default(),
            city: load(session, "city").await.unwrap_or_default(),
            admin: load(session, "admin").await.unwrap_or_default(),
            cart: load(session, "cart").await.unwrap_or_default(),
            theme: load(session, "theme").await.unwrap_or_default(),
        }
    }

    async fn count(session: Session) -> &'static str {
        let views: u64 = load(&session, "views").await.unwrap_or_default();
        store(&session, "views", views + 1).await;
        DONE
    }
}

mod one_struct {
    use super::*;

    const KEY: &str = "visit";

    pub(super) fn routes() -> Router {
        Router::new()
            .route("/fill", get(fill))
            .route("/read", get(read))
            .route("/change", get(count))
            .route("/new", get(count))
            .route("/untouched", get(untouched))
    }

    async fn fill(session: Session) -> &'static str {
        store(&session, KEY, filled()).await;
        DONE
    }

    async fn read(session: Session) -> &'static str {
        black_box(load::<Visit>(&session, KEY).await.unwrap_or_default());
        DONE
    }

    async fn count(session: Session) -> &'static str {
        let mut visit: Visit = load(&session, KEY).await.unwrap_or_default();
        visit.views += 1;
        store(&session, KEY, visit).await;
        DONE
    }
}
