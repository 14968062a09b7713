//! Visitors without a session, however many and whatever they claim, and what one request must never learn of another.

use crate::data::Visitor;
use axum::{
    Router,
    routing::{any, get, post},
};
use base64ct::{Base64UrlUnpadded, Encoding};
use cloakroom::{
    CookiePolicy, Lifetime, SessionData, SessionLayer, TypedSession,
    store::{CookieStore, MemoryStore, SessionStore, SqliteStore},
    testing::{Operation, TestClient},
};
use cloakroom_tests::{
    grammar,
    shop::{Browser, Dice, House},
    site::{COOKIE, Effect, FRESH, Settings, Shop, Site, effect, keys, record, seconds, selector, set_cookie, shop, watched},
};
use http::{HeaderValue, Method, Request, header};
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::sync::Barrier;
use tracing::{Event, Metadata, Subscriber, span};

/// A token as it might be ours.
fn random_token(dice: &mut Dice) -> String {
    let bytes: [u8; 32] = std::array::from_fn(|_| dice.below(256) as u8);
    Base64UrlUnpadded::encode_string(&bytes)
}

#[test]
fn a_hundred_thousand_visitors_without_a_session_leave_no_record() {
    const VISITORS: usize = 100_000;
    const THREADS: usize = 4;
    let store = MemoryStore::new();
    let site = Site::on(store.clone());
    let uris = ["/", "/same", "/handle", "/expires", "/created", "/rotate", "/clear", "/destroy", "/plain", "/"];
    let visit = async |thread: usize| {
        let mut dice = Dice::new("anonymous visitors");
        for number in 0..VISITORS / THREADS {
            let (uri, claims) = (uris[(number + thread) % uris.len()], dice.below(2) == 0);
            let mut request = Request::new(axum::body::Body::empty());
            *request.method_mut() = if dice.below(2) == 0 { Method::GET } else { Method::POST };
            *request.uri_mut() = http::Uri::from_static(uri);
            if claims {
                let cookie = format!("{COOKIE}={}", random_token(&mut dice));
                request.headers_mut().insert(header::COOKIE, HeaderValue::try_from(cookie).unwrap());
            }
            let response = site.browser.send(request).await;
            assert_eq!(response.status(), 200, "{uri}");
            let cleared = if claims && uri != "/plain" { Effect::Clear } else { Effect::Nothing };
            assert_eq!(effect(&response), cleared, "{uri}");
            assert!(store.is_empty(), "{uri} has left a record");
        }
    };
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            scope.spawn(move || tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(visit(thread)));
        }
    });
    assert!(store.is_empty());
}

#[tokio::test]
async fn an_id_of_the_visitors_own_making_is_not_the_one_of_the_session_it_begins() {
    async fn on<S: SessionStore + Clone>(store: S, dice: &mut Dice) {
        let site = Site::on(store.clone());
        for _ in 0..50 {
            let claimed = random_token(dice);
            let Effect::Set(token) = effect(&site.present("/visit", &claimed).await) else { panic!("a new session") };
            assert_ne!(selector(&token), selector(&claimed));
            assert_ne!(token[22..], claimed[22..]);
            assert!(record(&store, &selector(&claimed), site.now()).await.is_none(), "no such key is in the store");
            assert!(record(&store, &selector(&token), site.now()).await.is_some());
            assert_eq!(site.present("/", &claimed).await.text(), FRESH);
        }
    }
    let mut dice = Dice::new("claimed ids");
    on(MemoryStore::new(), &mut dice).await;
    on(SqliteStore::in_memory().await.unwrap(), &mut dice).await;
}

#[tokio::test]
async fn signing_out_without_a_session_writes_nothing_whatever_the_cookie_claims() {
    let mut dice = Dice::new("sign-outs");
    let store = watched();
    let site = Site::on(store.clone());
    assert_eq!(effect(&site.browser.post("/destroy").await), Effect::Nothing);
    assert_eq!(store.take(), []);
    for _ in 0..20 {
        assert_eq!(effect(&site.present("/destroy", &random_token(&mut dice)).await), Effect::Clear);
    }
    let asked = [Operation::Create, Operation::Commit, Operation::Delete].map(|operation| store.count(operation));
    assert_eq!((asked, store.inner().inner().len()), ([0; 3], 0));
}

#[tokio::test]
async fn the_longest_lifetimes_and_the_ends_of_time_are_no_panic_and_no_endless_cookie() {
    let ages = [
        Duration::MAX,
        Duration::from_secs(u64::MAX),
        Duration::from_millis(u64::MAX),
        Duration::from_nanos(u64::MAX),
        Lifetime::MAX,
    ];
    for idle in ages {
        for absolute in ages {
            let Ok(lasting) = Lifetime::new(idle, absolute) else {
                assert!(absolute > Lifetime::MAX);
                continue;
            };
            for site in Site::everywhere(&Settings::lasting(lasting).persistent()).await {
                for instant in [
                    SystemTime::UNIX_EPOCH,
                    SystemTime::UNIX_EPOCH - Duration::from_secs(i64::MAX as u64 / 2000),
                    SystemTime::UNIX_EPOCH + Duration::from_secs(i64::MAX as u64 / 2000),
                    SystemTime::UNIX_EPOCH + Duration::from_millis(i64::MAX as u64 - 1),
                    SystemTime::UNIX_EPOCH + Duration::from_secs(i64::MAX as u64),
                ] {
                    site.clock.set(instant);
                    let response = site.browser.fork().post("/visit").await;
                    assert_eq!(response.status(), 200, "{} at {instant:?}", site.backend);
                    for line in grammar::set_cookies(response.headers()) {
                        let age =
                            grammar::set_cookie(&line).2.into_iter().find_map(|attribute| attribute.strip_prefix("Max-Age="));
                        assert!(age.unwrap().parse::<u64>().unwrap() <= 34_560_000, "{line}");
                        let pair = line.split(';').next().unwrap();
                        assert_eq!(site.send("/visit", &[pair.as_bytes()]).await.status(), 200);
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn a_setting_of_one_layer_is_no_setting_of_another_made_from_it() {
    let store = MemoryStore::new();
    let house = House::over(store.clone());
    let base = SessionLayer::new(store).clock(house.clock.clone());
    let other = base
        .clone()
        .lifetime(Lifetime::new(seconds(60), seconds(60)).unwrap())
        .cookie(CookiePolicy::default().name("__Secure-other").unwrap().persistent());
    let (plain, changed) = (house.browser_of(shop().layer(base)), house.browser_of(shop().layer(other)));
    assert_eq!(set_cookie(&plain.post("/visit").await).split_once('=').unwrap().0, COOKIE);
    let line = set_cookie(&changed.post("/visit").await);
    assert!(line.starts_with("__Secure-other=") && line.ends_with("; Max-Age=60"), "{line}");
    house.clock.advance(seconds(60));
    assert_eq!(plain.get("/").await.text(), ":1");
    assert_eq!(changed.get("/").await.text(), FRESH);
}

#[tokio::test]
async fn the_attributes_of_the_cookie_do_not_depend_on_what_the_request_says_of_its_transport() {
    for site in Site::everywhere(&Settings::default()).await {
        let mut lines = Vec::new();
        for uri in ["/visit", "http://shop.example/visit", "https://shop.example/visit", "http://localhost/visit"] {
            for (name, value) in [
                ("host", "shop.example"),
                ("host", "localhost"),
                ("x-forwarded-proto", "http"),
                ("x-forwarded-proto", "https"),
                ("forwarded", "proto=http"),
                ("x-forwarded-ssl", "off"),
                ("user-agent", "Mozilla/5.0 (iPhone; CPU iPhone OS 12_0 like Mac OS X)"),
            ] {
                let request = Request::post(uri).header(name, value).body(axum::body::Body::empty()).unwrap();
                let line = set_cookie(&site.browser.fork().send(request).await);
                lines.push(line.split_once(';').unwrap().1.to_owned());
            }
        }
        assert!(lines.iter().all(|attributes| attributes == " HttpOnly; SameSite=Lax; Secure; Path=/"), "{lines:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_are_served_at_once_never_see_each_others_sessions() {
    const VISITORS: usize = 16;
    for round in 0..3 {
        let together = Arc::new(Barrier::new(VISITORS));
        let meet = {
            let together = Arc::clone(&together);
            any(async move |mut shop: TypedSession<Shop>| {
                let before = shop.name.clone();
                together.wait().await;
                *shop.views += 1;
                together.wait().await;
                format!("{before} {} {}", *shop.name, *shop.views)
            })
        };
        let site = match round {
            0 => Site::of(MemoryStore::new(), &Settings::default(), shop().route("/meet", meet)),
            1 => Site::of(SqliteStore::in_memory().await.unwrap(), &Settings::default(), shop().route("/meet", meet)),
            _ => Site::of(CookieStore::new(keys()), &Settings::default(), shop().route("/meet", meet)),
        };
        let mut visitors: Vec<(String, Browser)> = Vec::new();
        for number in 0..VISITORS {
            let browser = site.browser.fork();
            // Every other one is a stranger.
            let name = if number % 2 == 0 { format!("visitor-{number}") } else { String::new() };
            if !name.is_empty() {
                browser.post(&format!("/name/{name}")).await;
            }
            visitors.push((name, browser));
        }
        let requests: Vec<_> = visitors
            .iter()
            .map(|(name, browser)| {
                let (name, browser) = (name.clone(), browser.clone());
                tokio::spawn(async move { (name, browser.post("/meet").await.text()) })
            })
            .collect();
        for request in requests {
            let (name, seen) = request.await.unwrap();
            assert_eq!(seen, format!("{name} {name} 1"));
        }
        for (name, browser) in &visitors {
            assert_eq!(browser.get("/").await.text(), format!("{name}:1"), "{}", site.backend);
        }
    }
}

/// Panics at the event of that name.
struct Bomb(&'static str);

impl Subscriber for Bomb {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "cloakroom"
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        struct Look<'a>(&'a str);
        impl tracing::field::Visit for Look<'_> {
            fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
                assert!(field.name() != "event" || format!("{value:?}") != format!("{:?}", self.0), "the subscriber has a bug");
            }
        }
        event.record(&mut Look(self.0));
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

#[test]
fn a_subscriber_that_panics_at_the_end_of_a_session_leaves_no_record_of_it() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let store = MemoryStore::new();
    let site = Site::on(store.clone());
    runtime.block_on(site.browser.post("/name/Ada"));
    let token = site.token();
    let crash = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        tracing::subscriber::with_default(Bomb("session.destroyed"), || runtime.block_on(site.browser.post("/destroy")))
    }));
    assert!(crash.is_err(), "the subscriber was asked");
    assert!(store.is_empty());
    let response = runtime.block_on(site.present("/", &token));
    assert_eq!((response.status().as_u16(), response.text().as_str()), (200, FRESH));
}

#[derive(SessionData)]
struct Checked {
    #[session(validate = even)]
    number: u64,
    note: String,
}

fn even(number: &u64) -> bool {
    number.is_multiple_of(2)
}

/// The same struct in a program that does not check.
mod unchecked {
    use cloakroom::SessionData;

    #[derive(SessionData)]
    #[session(name = "checked")]
    pub(super) struct Unchecked {
        pub(super) number: u64,
        pub(super) note: String,
    }
}

#[tokio::test]
async fn a_stored_value_is_validated_on_every_way_to_a_handler() {
    let show = |s: &TypedSession<Checked>| format!("{}{}", *s.number, *s.note);
    let store = MemoryStore::new();
    let house = House::over(store);
    let writer = house.browser(Router::new().route(
        "/{number}",
        post(async |axum::extract::Path(number): axum::extract::Path<u64>, mut s: TypedSession<unchecked::Unchecked>| {
            (*s.number, *s.note) = (number, "!".to_owned());
        }),
    ));
    let tab = writer.clone();
    let reload = async move |mut s: TypedSession<Checked>| {
        let before = show(&s);
        tab.post("/7").await;
        s.reload().await.unwrap();
        let reloaded = show(&s);
        s.refresh().unwrap();
        format!("{before} {reloaded} {}", show(&s))
    };
    let routes = Router::new()
        .route("/", get(async move |s: TypedSession<Checked>| show(&s)))
        .route("/option", get(async move |s: Option<TypedSession<Checked>>| s.as_ref().map(show).unwrap_or_default()))
        .route(
            "/result",
            get(async move |s: Result<TypedSession<Checked>, cloakroom::SessionRejection>| {
                s.as_ref().map(show).unwrap_or_default()
            }),
        )
        .route("/beside", get(async move |_: TypedSession<Visitor>, s: TypedSession<Checked>| show(&s)))
        .route("/reload", get(reload));
    let reader: TestClient<Router> = house.browser(routes);
    for number in ["/2", "/7"] {
        writer.post(number).await;
        reader.set_cookie(COOKIE, writer.cookie(COOKIE).unwrap());
        let seen = if number == "/2" { "2!" } else { "0" };
        for way in ["/", "/option", "/result", "/beside"] {
            assert_eq!(reader.get(way).await.text(), seen, "{number} on the way of {way}");
        }
    }
    writer.post("/2").await;
    assert_eq!(reader.get("/reload").await.text(), "2! 0 0");
}
