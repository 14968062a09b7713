//! A browser that meets whichever version of the program is running.

use axum::{Extension, Router, body::Body, routing::post};
use cloakroom::{
    SessionData, SessionLayer, TypedSession,
    record::Record,
    store::{CookieStore, IntoBackend, MemoryStore, SessionStore, SqliteStore},
    testing::ManualClock,
};
use cloakroom_tests::site::{COOKIE, keys, record, selector};
use http::{Request, Response, header};
use std::{
    cell::RefCell,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};
use tower::ServiceExt;

/// One browser, and the store that every version of the program shares.
pub(crate) struct Visitor<B> {
    pub(crate) backend: B,
    pub(crate) clock: ManualClock,
    cookie: RefCell<Option<String>>,
}

/// What a handler does, once.
type Act<T> = Arc<Mutex<Option<Box<dyn FnOnce(&mut TypedSession<T>) + Send>>>>;

async fn act<T: SessionData>(Extension(act): Extension<Act<T>>, mut session: TypedSession<T>) {
    let act = act.lock().unwrap().take().unwrap();
    act(&mut session);
}

impl<B: IntoBackend + Clone> Visitor<B> {
    pub(crate) fn new(backend: B) -> Self {
        let clock = ManualClock::new(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000));
        Self { backend, clock, cookie: RefCell::default() }
    }

    /// A request to the version of the program whose struct this is; it answers what the handler made of it.
    pub(crate) async fn meets<T: SessionData, R: Send + 'static>(
        &self,
        handler: impl FnOnce(&mut TypedSession<T>) -> R + Send + 'static,
    ) -> R {
        let (status, answer) = self.tries(handler).await;
        assert_eq!(status, 200);
        answer
    }

    /// The same, whatever the answer's status is.
    pub(crate) async fn tries<T: SessionData, R: Send + 'static>(
        &self,
        handler: impl FnOnce(&mut TypedSession<T>) -> R + Send + 'static,
    ) -> (u16, R) {
        let layer = SessionLayer::new(self.backend.clone()).clock(self.clock.clone());
        let app = Router::new().route("/", post(act::<T>)).layer(layer);
        let answer: Arc<Mutex<Option<R>>> = Arc::default();
        let kept = Arc::clone(&answer);
        let handler: Act<T> = Arc::new(Mutex::new(Some(Box::new(move |session: &mut TypedSession<T>| {
            *kept.lock().unwrap() = Some(handler(session));
        }))));
        let mut request = Request::post("/").extension(handler).body(Body::empty()).unwrap();
        if let Some(cookie) = &*self.cookie.borrow() {
            request.headers_mut().insert(header::COOKIE, format!("{COOKIE}={cookie}").parse().unwrap());
        }
        let response = app.oneshot(request).await.unwrap();
        if let Some(cookie) = set_cookie(&response) {
            self.cookie.replace(Some(cookie).filter(|cookie| !cookie.is_empty()));
        }
        (response.status().as_u16(), answer.lock().unwrap().take().unwrap())
    }

    /// Another tab of the browser.
    pub(crate) fn tab(&self) -> Self {
        Self { backend: self.backend.clone(), clock: self.clock.clone(), cookie: self.cookie.clone() }
    }

    /// A whole request, while the handler of another one, which cannot wait, is running.
    pub(crate) fn meanwhile<T: SessionData>(self, handler: impl FnOnce(&mut TypedSession<T>) + Send + 'static)
    where
        B: Send + 'static,
    {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        std::thread::spawn(move || runtime.block_on(self.meets(handler))).join().unwrap();
    }

    pub(crate) fn token(&self) -> String {
        self.cookie.borrow().clone().unwrap()
    }
}

impl<B: SessionStore + Clone> Visitor<B> {
    /// What the store holds.
    pub(crate) async fn record(&self) -> Record {
        use cloakroom::Clock;
        record(&self.backend, &selector(&self.token()), self.clock.now().into()).await.unwrap()
    }

    /// The cells' keys and stamps, with a `-` for a tombstone.
    pub(crate) async fn cells(&self) -> String {
        let line = |cell: &cloakroom::record::Cell| {
            let mark = if cell.body.content.payload().is_some() { "" } else { "-" };
            format!("{}{mark} {}", cell.key, cell.stamp)
        };
        self.record().await.cells.iter().map(line).collect::<Vec<_>>().join(", ")
    }
}

/// The value of our cookie in a response; an empty one is a deletion.
pub(crate) fn set_cookie(response: &Response<Body>) -> Option<String> {
    let mut ours = response.headers().get_all(header::SET_COOKIE).iter().map(|line| line.to_str().unwrap());
    let line = ours.next()?;
    assert!(ours.next().is_none(), "one cookie is set twice");
    Some(line.strip_prefix("__Host-id=").unwrap().split(';').next().unwrap().to_owned())
}

pub(crate) fn in_memory() -> MemoryStore {
    MemoryStore::new()
}

pub(crate) async fn on_sqlite() -> SqliteStore {
    SqliteStore::in_memory().await.unwrap()
}

pub(crate) fn in_a_cookie() -> CookieStore {
    CookieStore::new(keys())
}

/// The listed tests, which take a [`Visitor`], on every backend; another store is another line.
macro_rules! on_backends {
    ($($test:ident)*) => {
        mod in_memory {
            $(#[tokio::test]
            async fn $test() {
                super::$test(crate::visitor::Visitor::new(crate::visitor::in_memory())).await;
            })*
        }
        mod on_sqlite {
            $(#[tokio::test]
            async fn $test() {
                super::$test(crate::visitor::Visitor::new(crate::visitor::on_sqlite().await)).await;
            })*
        }
        mod in_a_cookie {
            $(#[tokio::test]
            async fn $test() {
                super::$test(crate::visitor::Visitor::new(crate::visitor::in_a_cookie())).await;
            })*
        }
    };
}
pub(crate) use on_backends;
