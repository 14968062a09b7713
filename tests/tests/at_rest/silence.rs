//! A whole life of sessions under a subscriber that hears everything, the databases' clients included: nothing that opens a session, and
//! nothing that is secret, is ever said.

use crate::{find, forms};
use axum::{
    Router,
    body::Body,
    extract::Path,
    http::{Request, StatusCode},
    routing::{get, post},
};
use base64ct::{Base64UrlUnpadded, Encoding};
use cloakroom::{
    Clock, HasOwner, Lifetime, Reuse, SessionData, SessionError, SessionLayer, Sessions, SignedIn, TypedSession,
    record::{CellBody, Content, Shape},
    store::{CookieStore, IntoBackend},
    testing::{Fault, ManualClock, Operation, TestClient, TestResponse},
};
use cloakroom_tests::{
    engines::Running,
    site::{COOKIE, keys, seconds, selector},
};
use std::{
    fmt::{self, Write as _},
    sync::{Mutex, Once},
    time::SystemTime,
};
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
    span,
};

static HEARD: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// Hears every crate, every level, every thread.
struct Ear;

impl Ear {
    fn listen() {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| {
            tracing::subscriber::set_global_default(Self).unwrap();
            log::set_logger(&Self).unwrap();
            log::set_max_level(log::LevelFilter::Trace);
        });
    }

    fn hear(line: &str) {
        let mut heard = HEARD.lock().unwrap();
        heard.extend(line.as_bytes());
        heard.push(b'\n');
    }
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = write!(self.0, " {}={value:?}", field.name());
    }
}

impl Subscriber for Ear {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::TRACE)
    }

    fn new_span(&self, span: &span::Attributes<'_>) -> span::Id {
        let mut line = Line(format!("{} {}", span.metadata().target(), span.metadata().name()));
        span.record(&mut line);
        Self::hear(&line.0);
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, values: &span::Record<'_>) {
        let mut line = Line(String::new());
        values.record(&mut line);
        Self::hear(&line.0);
    }

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(event.metadata().target().to_owned());
        event.record(&mut line);
        Self::hear(&line.0);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

impl log::Log for Ear {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        Self::hear(&format!("{} {}", record.target(), record.args()));
    }

    fn flush(&self) {}
}

const PASSWORD: &str = "a-password-that-nobody-may-hear-51ce";
const REFUSED: &str = "a-refused-password-that-nobody-may-hear-77aa";
const PLAIN: &str = "a-plain-value-that-is-not-for-logs-either-08d1";

#[derive(SessionData)]
#[session(authenticated = is_complete)]
struct Account {
    #[session(owner)]
    user: Option<String>,
    #[session(privilege)]
    factor: bool,
    #[session(secret, validate = may_be_stored)]
    password: String,
    name: String,
    #[session(merge = "add")]
    views: u64,
    #[session(keep)]
    theme: String,
}

fn is_complete(account: &AccountFields) -> bool {
    *account.factor
}

fn may_be_stored(password: &str) -> Result<(), String> {
    if password == REFUSED { Err(format!("{password} is too easy to guess")) } else { Ok(()) }
}

type Session = TypedSession<Account>;

fn routes() -> Router {
    Router::new()
        .route("/form", get(async |mut s: Session| s.csrf_token().map(|token| token.as_str().to_owned())))
        .route(
            "/sign-in/{user}/{csrf}",
            post(async |Path((user, csrf)): Path<(String, String)>, mut s: Session| {
                s.verify_csrf(&csrf)?;
                *s.user = Some(user);
                *s.name = PLAIN.to_owned();
                *s.password = PASSWORD.to_owned();
                *s.theme = PLAIN.to_owned();
                s.set_label("a browser");
                s.set_persistent(true);
                Ok::<_, SessionError>(())
            }),
        )
        .route("/factor", post(async |mut s: Session| *s.factor = true))
        .route("/view", post(async |mut s: Session| *s.views += 1))
        .route("/guess", post(async |mut s: Session| *s.password = REFUSED.to_owned()))
        .route("/confirm", post(async |mut s: SignedIn<Account, 15>| s.reauthenticated()))
        .route("/", get(async |s: Session| format!("{:?} {:?} {:?}", s.user, s.password, s.views)))
        .route(
            "/save",
            post(async |mut s: Session| {
                *s.views += 1;
                s.save().await?;
                s.reload().await
            }),
        )
        .route("/sign-out", post(async |mut s: Session| *s.user = None))
        .route("/destroy", post(async |mut s: Session| s.destroy()))
}

fn listing() -> Router {
    async fn others(sessions: Sessions, session: Session) -> Result<String, SessionError> {
        let user = Account::__owner(&session).cloned().unwrap_or_default();
        let list = sessions.list::<Account>(&user).await?;
        sessions.revoke_others(&session).await?;
        sessions.revoke::<Account>(&user, &list[0].handle).await?;
        Ok(format!("{list:?} {sessions:?} {session:?}"))
    }
    Router::new().route("/others", post(others))
}

/// What must not be heard, in every form it may take.
#[derive(Default)]
struct Secrets(Vec<(String, Vec<u8>)>);

impl Secrets {
    fn text(&mut self, what: &str, text: &str) {
        self.0.push((what.to_owned(), text.as_bytes().to_vec()));
    }

    fn bytes(&mut self, what: &str, bytes: &[u8]) {
        for form in forms(bytes) {
            self.0.push((what.to_owned(), form));
        }
        self.0.push((what.to_owned(), format!("{bytes:?}").trim_matches(['[', ']']).as_bytes().to_vec()));
        self.0.push((what.to_owned(), bytes.escape_ascii().to_string().into_bytes()));
    }

    /// A cookie that was handed out.
    fn cookie(&mut self, browser: &TestClient<Router>) {
        let Some(cookie) = browser.cookie(COOKIE) else { return };
        self.text("a cookie", &cookie);
        if cookie.len() == 43 {
            self.bytes("the secret of a token", &Base64UrlUnpadded::decode_vec(&cookie).unwrap()[16..]);
        }
    }

    fn check(&self) {
        let heard = HEARD.lock().unwrap().clone();
        assert!(find(&heard, b"cloakroom"), "this test hears nothing");
        for (what, form) in &self.0 {
            assert!(form.len() >= 16, "{what} may be found by chance");
            if let Some(at) = memchr::memmem::find(&heard, form) {
                let line = heard[..at].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
                panic!("{what} was said: {}", String::from_utf8_lossy(&heard[line..(at + form.len()).min(heard.len())]));
            }
        }
    }
}

async fn ok(response: TestResponse, what: &str) -> String {
    assert_eq!(response.status(), StatusCode::OK, "{what}: {}", response.text());
    response.text()
}

async fn post_with(browser: &TestClient<Router>, uri: &str, cookie: &str) -> StatusCode {
    let stranger = browser.fork();
    stranger.clear_cookies();
    let request = Request::post(uri).header("cookie", cookie).body(Body::empty()).unwrap();
    stranger.send(request).await.status()
}

/// Lives through everything that needs no list of sessions.
async fn live(browser: &TestClient<Router>, clock: &ManualClock, secrets: &mut Secrets) {
    secrets.text("a password", PASSWORD);
    secrets.text("a refused password", REFUSED);
    secrets.text("a field", PLAIN);

    let csrf = ok(browser.get("/form").await, "form").await;
    secrets.text("a CSRF token", &csrf);
    secrets.cookie(browser);
    let anonymous = browser.cookie(COOKIE).unwrap();
    assert_eq!(browser.post(&format!("/sign-in/ada/{}", &csrf[1..])).await.status(), 403);
    ok(browser.post(&format!("/sign-in/ada/{csrf}")).await, "sign in").await;
    secrets.cookie(browser);
    assert_eq!(browser.post("/confirm").await.status(), 403, "the second factor is missing");
    for uri in ["/factor", "/confirm", "/view", "/save"] {
        // The cookie is after the head in one backend.
        let status = browser.post(uri).await.status();
        assert_eq!(status, StatusCode::OK, "{uri}");
        secrets.cookie(browser);
    }
    assert_eq!(browser.post("/guess").await.status(), 500);
    clock.advance(seconds(3_600));
    ok(browser.get("/").await, "a renewal").await;
    secrets.cookie(browser);
    ok(browser.get("/").await, "the renewed token is presented").await;
    clock.advance(seconds(120));
    assert_eq!(browser.post("/confirm").await.status(), 403, "an hour ago");
    for cookie in [
        format!("{COOKIE}={anonymous}"),
        format!("{COOKIE}={}", browser.cookie(COOKIE).unwrap().to_lowercase()),
        format!("{COOKIE}=x{PASSWORD}"),
        format!("{COOKIE}={anonymous}; {COOKIE}={csrf}"),
    ] {
        post_with(browser, "/view", &cookie).await;
    }
}

/// Ends it in every way.
async fn die(browser: &TestClient<Router>, clock: &ManualClock, secrets: &mut Secrets) {
    for end in ["/sign-out", "/destroy"] {
        let csrf = ok(browser.get("/form").await, "form").await;
        secrets.text("a CSRF token", &csrf);
        ok(browser.post(&format!("/sign-in/bob/{csrf}")).await, "sign in").await;
        secrets.cookie(browser);
        ok(browser.post(end).await, end).await;
        secrets.cookie(browser);
    }
    ok(browser.post("/view").await, "a new session").await;
    secrets.cookie(browser);
    clock.advance(seconds(400 * 24 * 3_600));
    ok(browser.get("/").await, "it has expired").await;
}

fn layer<B: IntoBackend>(backend: B, clock: &ManualClock) -> SessionLayer<B::Side> {
    let lifetime = Lifetime::new(seconds(24 * 3_600), seconds(30 * 24 * 3_600)).unwrap();
    SessionLayer::new(backend)
        .clock(clock.clone())
        .lifetime(lifetime)
        .renew(seconds(900), seconds(10))
        .reuse(Reuse::EndSession)
        .max_sessions(3)
}

pub(crate) async fn a_whole_life_is_silent_about_what_opens_it(running: Running) {
    Ear::listen();
    let house = running.house();
    let app = routes().merge(listing()).layer(layer(house.store.clone(), &house.clock));
    let browser = TestClient::new(app).clock(house.clock.clone());
    let mut secrets = Secrets::default();
    live(&browser, &house.clock, &mut secrets).await;

    // What only whoever reads the store could know.
    let token = browser.cookie(COOKIE).unwrap();
    let record = house.record_of(&selector(&token)).await.unwrap();
    let pad = blake3::derive_key("cloakroom 1 session key wrap", &Base64UrlUnpadded::decode_vec(&token).unwrap());
    let key: Vec<u8> = record.header.wrapped_key.as_bytes().iter().zip(pad).map(|(a, b)| a ^ b).collect();
    secrets.bytes("a session key", &key);
    let sealed = &record.cells.get("account/password").unwrap().body;
    secrets.bytes("a sealed payload", sealed.content.payload().unwrap());

    // Failures, with all they have to say.
    for (operation, fault) in [
        (Operation::Load, Fault::Unavailable),
        (Operation::Commit, Fault::Unavailable),
        (Operation::Commit, Fault::UnknownApplied),
    ] {
        house.faults().next(operation, fault);
        assert_eq!(browser.post("/view").await.status(), 503, "{operation:?}");
    }
    let phone = browser.fork();
    phone.clear_cookies();
    let csrf = ok(phone.get("/form").await, "form").await;
    ok(phone.post(&format!("/sign-in/ada/{csrf}")).await, "another device").await;
    secrets.cookie(&phone);
    // What `Debug` says of a list, of what gives it, and of a session.
    Ear::hear(&ok(browser.post("/others").await, "others").await);
    ok(phone.get("/").await, "revoked").await;

    // A seal that does not open, and bytes that are no value.
    let csrf = ok(browser.get("/form").await, "form").await;
    ok(browser.post(&format!("/sign-in/ada/{csrf}")).await, "again").await;
    secrets.cookie(&browser);
    let broken = Content::Value {
        codec: cloakroom::record::CodecId::BINCODE,
        shape: Shape::from_u64(1),
        sealed: false,
        payload: PASSWORD.as_bytes().into(),
    };
    house.plant(&browser, [("account/password", CellBody::new(broken))]).await;
    ok(browser.get("/").await, "unreadable").await;
    die(&browser, &house.clock, &mut secrets).await;
    secrets.check();
}

#[tokio::test]
async fn a_whole_life_in_a_cookie_is_silent_too() {
    Ear::listen();
    let clock = ManualClock::new(SystemTime::UNIX_EPOCH + seconds(1_800_000_000));
    let ring = keys();
    let mut secrets = Secrets::default();
    secrets.bytes("a key of the ring", b"0123456789abcdefghijklmnopqrstuv");
    let debug = format!("{ring:?} {:?}", CookieStore::new(ring.clone()));
    Ear::hear(&debug);
    let browser = TestClient::new(routes().layer(layer(CookieStore::new(ring), &clock))).clock(clock.clone());
    let _ = clock.now();
    live(&browser, &clock, &mut secrets).await;
    die(&browser, &clock, &mut secrets).await;
    secrets.check();
}
