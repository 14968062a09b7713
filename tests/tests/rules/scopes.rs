//! Several cookies of ours in one request, and cookies of an earlier policy: other paths, domains and names.

use axum::{Router, body::Body, extract::Request, routing::any};
use cloakroom::{
    CookiePolicy, CookiePolicyError, Reuse, SessionLayer, TypedSession,
    store::{CookieStore, IntoBackend, MemoryStore},
    testing::{Fault, ManualClock, Operation, TestClient, TestResponse},
};
use cloakroom_tests::{
    events::Events,
    grammar,
    site::{COOKIE, Effect, FRESH, Settings, Shop, Site, effect, keys, seconds, shop, show, watched},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::SystemTime,
};
use tower::ServiceExt;

/// The value of the cookie that a new visitor of that name gets.
async fn begun(site: &Site, name: &str) -> String {
    let browser = site.browser.fork();
    browser.clear_cookies();
    assert_eq!(browser.post(&format!("/name/{name}")).await.status(), 200);
    browser.cookie(COOKIE).unwrap()
}

/// Asks with these values of our cookie in one Cookie field, in that order.
async fn ask(site: &Site, uri: &str, values: &[&str]) -> TestResponse {
    let field = values.iter().map(|value| format!("{COOKIE}={value}")).collect::<Vec<_>>().join("; ");
    site.send(uri, &[field.as_bytes()]).await
}

const UNKNOWN: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

#[tokio::test]
async fn of_several_cookies_the_one_that_opens_a_session_is_taken() {
    for site in Site::everywhere(&Settings::default()).await {
        let (ours, ended) = (begun(&site, "Ada").await, begun(&site, "Bob").await);
        site.present("/destroy", &ended).await;
        let dead = if ours.len() == UNKNOWN.len() { ended } else { "AQ".to_owned() };
        for values in [
            vec![&*ours, UNKNOWN],
            vec![UNKNOWN, &ours],
            vec!["", &ours],
            vec![&dead, "malformed", &ours],
            vec![&dead, UNKNOWN, "malformed", &ours],
            vec![&ours, &dead, UNKNOWN, ""],
        ] {
            let response = ask(&site, "/", &values).await;
            assert_eq!((&*response.text(), effect(&response)), ("Ada:0", Effect::Nothing), "{}: {values:?}", site.backend);
        }
    }
}

#[tokio::test]
async fn two_cookies_that_open_sessions_are_refused_and_neither_is_cleared() {
    for site in Site::everywhere(&Settings::default()).await {
        let (ada, bob) = (begun(&site, "Ada").await, begun(&site, "Bob").await);
        for values in [vec![&*ada, &bob], vec![&bob, &ada], vec![UNKNOWN, &ada, "x", &bob]] {
            let events = Events::capture();
            let response = ask(&site, "/", &values).await;
            assert_eq!((&*response.text(), effect(&response)), (FRESH, Effect::Nothing), "{}: {values:?}", site.backend);
            assert!(events.take().iter().any(|said| said.contains("why=\"ambiguous\"")), "{}", site.backend);
        }
        for (token, name) in [(&ada, "Ada:0"), (&bob, "Bob:0")] {
            assert_eq!(site.present("/", token).await.text(), name, "{}: nothing became of it", site.backend);
        }
    }
}

#[tokio::test]
async fn several_cookies_that_open_nothing_are_cleared_like_one() {
    for site in Site::everywhere(&Settings::default()).await {
        for values in [[UNKNOWN, "x"], ["x", UNKNOWN], ["", "x"]] {
            let response = ask(&site, "/", &values).await;
            assert_eq!((&*response.text(), effect(&response)), (FRESH, Effect::Clear), "{}: {values:?}", site.backend);
            let Effect::Set(new) = effect(&ask(&site, "/visit", &values).await) else { panic!("a new session") };
            assert_eq!(site.present("/", &new).await.text(), ":1", "{}", site.backend);
        }
    }
}

#[tokio::test]
async fn each_of_up_to_four_cookies_costs_a_load_and_five_cost_none() {
    let store = watched();
    let site = Site::on(store.clone());
    let ours = begun(&site, "Ada").await;
    let unknown: Vec<String> = ["B", "C", "D", "E"].map(|letter| letter.repeat(42) + "A").into();
    let mut values: Vec<&str> = unknown.iter().map(String::as_str).collect();
    values.insert(3, &ours);
    for (count, loads, text) in [(4, 4, "Ada:0"), (5, 0, FRESH)] {
        store.take();
        let events = Events::capture();
        let response = ask(&site, "/", &values[..count]).await;
        assert_eq!((&*response.text(), effect(&response)), (text, Effect::Nothing));
        assert_eq!(store.count(Operation::Load), loads);
        assert_eq!(events.take().iter().any(|said| said.contains("why=\"ambiguous\"")), count == 5);
    }
    store.take();
    ask(&site, "/", &[&ours, &ours]).await;
    assert_eq!(store.count(Operation::Load), 1, "one value costs one load");
}

#[tokio::test]
async fn a_store_that_answers_for_one_of_two_cookies_only_is_unavailable() {
    let store = watched();
    let site = Site::on(store.clone());
    let ours = begun(&site, "Ada").await;
    store.inner().next(Operation::Load, Fault::Unavailable);
    let response = ask(&site, "/", &[UNKNOWN, &ours]).await;
    assert_eq!((response.status().as_u16(), effect(&response)), (503, Effect::Nothing));
    assert_eq!(ask(&site, "/", &[UNKNOWN, &ours]).await.text(), "Ada:0");
}

#[tokio::test]
async fn of_two_cookies_of_one_session_the_newer_one_counts() {
    let sealed = Site::on(CookieStore::new(keys()));
    let old = begun(&sealed, "Ada").await;
    let Effect::Set(new) = effect(&sealed.present("/visit", &old).await) else { panic!("a new seal") };
    for values in [[&*old, &new], [&new, &old]] {
        assert_eq!(ask(&sealed, "/", &values).await.text(), "Ada:1");
    }
    // After a renewal the token before it opens the session, too, until the new one has been presented.
    let clock = ManualClock::new(SystemTime::UNIX_EPOCH + seconds(1_800_000_000));
    let layer = SessionLayer::new(MemoryStore::new()).clock(clock.clone()).renew(seconds(60), seconds(600));
    let site = Site { backend: "memory", browser: TestClient::new(shop().layer(layer)).clock(clock.clone()), clock };
    let old = begun(&site, "Ada").await;
    site.clock.advance(seconds(61));
    let Effect::Set(new) = effect(&site.present("/", &old).await) else { panic!("a renewal") };
    for values in [[&*old, &new], [&new, &old]] {
        assert_eq!(ask(&site, "/visit", &values).await.status(), 200);
    }
    assert_eq!(site.present("/", &new).await.text(), "Ada:2");
}

#[tokio::test]
async fn a_replaced_token_beside_its_successor_ends_no_session() {
    let clock = ManualClock::new(SystemTime::UNIX_EPOCH + seconds(1_800_000_000));
    let layer = SessionLayer::new(MemoryStore::new()).clock(clock.clone()).reuse(Reuse::EndSession);
    let site = Site { backend: "memory", browser: TestClient::new(shop().layer(layer)).clock(clock.clone()), clock };
    let old = begun(&site, "Ada").await;
    let Effect::Set(new) = effect(&site.present("/rotate", &old).await) else { panic!("a rotation") };
    site.clock.advance(seconds(3600));
    for values in [[&*old, &new], [&new, &old]] {
        assert_eq!(ask(&site, "/", &values).await.text(), "Ada:0");
    }
    // Alone it is a copy.
    site.present("/", &old).await;
    assert_eq!(site.present("/", &new).await.text(), FRESH);
}

/// An application before and after a deploy that changes its cookie, and a browser that keeps its cookies through it.
struct Deploy {
    browser: TestClient<Router>,
    deployed: Arc<AtomicBool>,
}

impl Deploy {
    fn new<B: IntoBackend + Clone>(backend: &B, before: CookiePolicy, after: CookiePolicy) -> Self {
        let app =
            |policy| Router::new().nest("/shop", shop()).merge(shop()).layer(SessionLayer::new(backend.clone()).cookie(policy));
        let (before, after) = (app(before), app(after));
        let deployed = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&deployed);
        let switch = Router::new().fallback(move |request: Request<Body>| {
            let app = if flag.load(Ordering::Relaxed) { after.clone() } else { before.clone() };
            app.oneshot(request)
        });
        Self { browser: TestClient::new(switch), deployed }
    }

    fn deploy(&self) {
        self.deployed.store(true, Ordering::Relaxed);
    }

    async fn text(&self, uri: &str) -> String {
        self.browser.get(uri).await.text()
    }
}

fn named(name: &str) -> CookiePolicy {
    CookiePolicy::default().name(name).unwrap()
}

fn at(path: &str) -> CookiePolicy {
    named("__Secure-id").path(path).unwrap()
}

async fn walk_to_another_path<B: IntoBackend + Clone>(backend: B) {
    let site = Deploy::new(&backend, at("/shop"), at("/").formerly(at("/shop")).unwrap());
    site.browser.post("/shop/name/Ada").await;
    site.deploy();
    assert_eq!(site.text("/shop").await, "Ada:0", "the old cookie opens the session");
    // Outside of the old path the browser has none, so a session begins, and then there are two.
    assert_eq!(site.browser.post("/name/Bob").await.status(), 200);
    let refused = site.browser.get("/shop").await;
    assert_eq!(refused.text(), FRESH, "which of them is not known");
    let [cleared] = &refused.set_cookies()[..] else { panic!("{:?}", refused.set_cookies()) };
    assert!(cleared.starts_with("__Secure-id=;") && cleared.contains("; Path=/shop;") && cleared.contains("; Max-Age=0;"));
    assert_eq!(site.text("/shop").await, "Bob:0", "the session of the present path is the one");
    assert_eq!(site.text("/").await, "Bob:0");
}

#[tokio::test]
async fn after_a_change_of_the_path_visitors_are_not_locked_out() {
    walk_to_another_path(MemoryStore::new()).await;
    walk_to_another_path(CookieStore::new(keys())).await;
}

#[tokio::test]
async fn a_session_whose_token_is_replaced_leaves_its_former_path() {
    for write in ["/shop/rotate", "/shop/destroy"] {
        let site = Deploy::new(&MemoryStore::new(), at("/shop"), at("/").formerly(at("/shop")).unwrap());
        site.browser.post("/shop/name/Ada").await;
        site.deploy();
        let lines = site.browser.post(write).await.set_cookies();
        assert_eq!(lines.len(), 2, "{lines:?}");
        let cleared = |line: &String| line.contains("; Path=/shop;") && line.contains("; Max-Age=0;");
        assert!(!cleared(&lines[0]) && lines[0].contains("; Path=/") && cleared(&lines[1]), "{lines:?}");
        let after = if write.ends_with("rotate") { "Ada:0" } else { FRESH };
        for uri in ["/shop", "/"] {
            assert_eq!(site.text(uri).await, after, "{write} then {uri}");
        }
    }
}

#[tokio::test]
async fn a_live_session_of_a_former_path_moves_to_the_present_one() {
    let store = MemoryStore::new();
    let site = Deploy::new(&store, at("/shop"), at("/").formerly(at("/shop")).unwrap());
    site.deploy();
    site.browser.post("/name/Bob").await;
    let dead = site.browser.cookie("__Secure-id").unwrap();
    site.browser.post("/destroy").await;
    site.deployed.store(false, Ordering::Relaxed);
    site.browser.post("/shop/name/Ada").await;
    site.deploy();
    // The dead cookie of the present path comes beside the live one of the former path.
    let live = site.browser.cookie("__Secure-id").unwrap();
    let request = Request::get("/shop").header("cookie", format!("__Secure-id={dead}; __Secure-id={live}"));
    let response = site.browser.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(response.text(), "Ada:0");
    let lines = response.set_cookies();
    assert_eq!(lines[0], format!("__Secure-id={live}; HttpOnly; SameSite=Lax; Secure; Path=/"));
    assert!(lines[1].contains("; Path=/shop; Max-Age=0;") && lines.len() == 2, "{lines:?}");
    assert_eq!(response.headers()["cache-control"], "private, no-store");
    for uri in ["/shop", "/"] {
        assert_eq!(site.text(uri).await, "Ada:0");
    }
}

async fn walk_to_another_name<B: IntoBackend + Clone>(backend: B) {
    let site = Deploy::new(&backend, named("__Host-till"), named("__Host-shop").formerly(named("__Host-till")).unwrap());
    site.browser.post("/name/Ada").await;
    let old = site.browser.cookie("__Host-till").unwrap();
    site.deploy();
    let response = site.browser.get("/").await;
    assert_eq!(response.text(), "Ada:0", "the session goes on");
    let lines = response.set_cookies();
    assert!(lines.len() == 2 && lines[0].starts_with("__Host-shop=") && lines[1].starts_with("__Host-till=; "), "{lines:?}");
    grammar::set_cookies(response.headers());
    assert_eq!(site.browser.cookie("__Host-till"), None);
    assert!(site.browser.get("/").await.set_cookies().is_empty(), "once");
    site.browser.post("/visit").await;
    assert_eq!(site.text("/").await, "Ada:1");
    // The old cookie that comes back from somewhere does not compete with the session of the present name.
    site.browser.post("/rotate").await;
    let both = format!("__Host-till={old}; __Host-shop={}", site.browser.cookie("__Host-shop").unwrap());
    let request = Request::get("/").header("cookie", both).body(Body::empty()).unwrap();
    assert_eq!(site.browser.send(request).await.text(), "Ada:1");
}

#[tokio::test]
async fn a_session_goes_on_under_a_new_name_on_either_kind_of_store() {
    walk_to_another_name(MemoryStore::new()).await;
    walk_to_another_name(CookieStore::new(keys())).await;
}

#[tokio::test]
async fn a_slow_request_leaves_the_move_to_another_name_to_the_next_one() {
    let store = MemoryStore::new();
    let clock = ManualClock::new(SystemTime::UNIX_EPOCH + seconds(1_800_000_000));
    let before = Site::at(clock.clone(), store.clone(), &Settings::cookie(named("till")), shop());
    before.browser.post("/name/Ada").await;
    let cookie = format!("till={}", before.browser.cookie("till").unwrap());
    let meanwhile = clock.clone();
    let slow = any(async move |shop: TypedSession<Shop>| {
        meanwhile.advance(seconds(6));
        show(&shop)
    });
    let settings = Settings::cookie(named(COOKIE).formerly(named("till")).unwrap());
    let site = Site::at(clock, store, &settings, shop().route("/slow", slow));
    for (uri, lines) in [("/slow", 0), ("/", 2)] {
        let response = site.send(uri, &[cookie.as_bytes()]).await;
        assert_eq!((&*response.text(), response.set_cookies().len()), ("Ada:0", lines), "{uri}");
    }
}

#[tokio::test]
async fn a_former_name_is_looked_at_only_where_the_present_one_opens_nothing() {
    let store = watched();
    let (before, after) = (named("till"), named(COOKIE).formerly(named("till")).unwrap());
    let site = Site::with(store.clone(), &Settings::cookie(after));
    let ada = begun(&site, "Ada").await;
    let planted = Site::with(store.clone(), &Settings::cookie(before)).browser;
    planted.post("/name/Eve").await;
    let planted = planted.cookie("till").unwrap();
    let ask = async |cookies: String| {
        store.take();
        let response = site.send("/", &[cookies.as_bytes()]).await;
        let names: Vec<String> = response.set_cookies().iter().map(|line| line.split('=').next().unwrap().to_owned()).collect();
        (response.text(), names.join(" "), store.count(Operation::Load))
    };
    let answer = |text: &str, names: &str, loads| (text.to_owned(), names.to_owned(), loads);
    assert_eq!(ask(format!("{COOKIE}={ada}; till={planted}")).await, answer("Ada:0", "__Host-id till", 1));
    assert_eq!(ask(format!("{COOKIE}={UNKNOWN}; till={planted}")).await, answer("Eve:0", "__Host-id till", 2));
    assert_eq!(ask(format!("{COOKIE}={UNKNOWN}; till={UNKNOWN}")).await, answer(FRESH, "__Host-id till", 2));
    assert_eq!(ask(format!("till={planted}")).await, answer("Eve:0", "__Host-id till", 1));
    assert_eq!(ask(format!("till={UNKNOWN}")).await, answer(FRESH, "__Host-id till", 1));
    assert_eq!(ask(format!("{COOKIE}={ada}")).await, answer("Ada:0", "", 1));
    // A token that was replaced has a successor, which a former cookie must not take the place of.
    site.present("/rotate", &ada).await;
    assert_eq!(ask(format!("{COOKIE}={ada}; till={planted}")).await, answer(FRESH, "", 1));
}

#[tokio::test]
async fn two_sessions_under_a_former_name_are_refused_and_neither_is_cleared() {
    for former in [named("till"), named("till").path("/shop").unwrap()] {
        let store = MemoryStore::new();
        let site = Site::with(store.clone(), &Settings::cookie(named(COOKIE).formerly(former).unwrap()));
        let (ada, bob) = (begun(&site, "Ada").await, begun(&site, "Bob").await);
        let response = site.send("/", &[format!("till={ada}; till={bob}").as_bytes()]).await;
        assert_eq!((&*response.text(), response.set_cookies().len()), (FRESH, 0));
        let response = site.send("/visit", &[format!("till={ada}; till={bob}").as_bytes()]).await;
        assert_eq!(response.set_cookies().len(), 2, "a session of its own, and no cookie of before");
    }
}

#[tokio::test]
async fn a_sealed_cookie_that_fits_under_the_former_name_only_stays_there() {
    let long = format!("__Host-{}", "n".repeat(200));
    let after = named(&long).formerly(named("__Host-a")).unwrap();
    let site = Deploy::new(&CookieStore::new(keys()), named("__Host-a"), after);
    site.browser.post("/long-name/2850").await;
    site.deploy();
    let events = Events::capture();
    let response = site.browser.get("/").await;
    assert_eq!(response.text(), format!("{}:0", "x".repeat(2850)));
    assert!(response.set_cookies().is_empty(), "{:?}", response.set_cookies());
    assert_eq!(events.count("session.failed"), 1);
}

#[test]
fn a_former_policy_that_means_the_present_cookie_is_refused() {
    let refused = |policy: Result<CookiePolicy, CookiePolicyError>| {
        assert!(matches!(&policy, Err(CookiePolicyError::Former(_))), "{policy:?}");
        assert!(policy.unwrap_err().to_string().contains("as it was before the change"));
    };
    let shared = |domain: &str| named("__Secure-id").domain(domain).unwrap();
    refused(CookiePolicy::default().formerly(CookiePolicy::default()));
    refused(at("/").persistent().formerly(at("/")));
    refused(shared("example.com").formerly(shared(".Example.com")));
    refused(named("a").formerly(named("b")).unwrap().name("b"));
    refused(named("a").formerly(named("b").formerly(named("a")).unwrap()));
    for (one, other) in [
        (at("/"), at("/shop")),
        (shared("example.com"), at("/")),
        (shared("example.com"), shared("shop.example.com")),
        (CookiePolicy::default().partitioned().unwrap(), CookiePolicy::default()),
        (named("__Host-ID"), named("__Host-id")),
    ] {
        assert!(one.clone().formerly(other.clone()).is_ok() && other.formerly(one).is_ok());
    }
}

#[tokio::test]
async fn every_former_policy_is_cleared_once_with_its_own_attributes() {
    let partitioned = named("__Secure-id").partitioned().unwrap();
    let shared = named("__Secure-id").domain("example.com").unwrap().path("/shop").unwrap();
    let chain = at("/shop").formerly(shared).unwrap().formerly(CookiePolicy::insecure_http()).unwrap();
    let policy = at("/").formerly(chain).unwrap().formerly(partitioned).unwrap().formerly(at("/shop")).unwrap();
    let site = Site::with(MemoryStore::new(), &Settings::cookie(policy).persistent());
    let response = site.send("/", &[b"__Secure-id=x"]).await;
    let lines: Vec<String> = response.set_cookies();
    let gone = "Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT";
    assert_eq!(
        lines,
        [
            format!("__Secure-id=; HttpOnly; SameSite=Lax; Secure; Path=/; {gone}"),
            format!("__Secure-id=; HttpOnly; SameSite=Lax; Secure; Path=/shop; {gone}"),
            format!("__Secure-id=; HttpOnly; SameSite=Lax; Secure; Path=/shop; Domain=example.com; {gone}"),
            format!("cloakroom-dev=; HttpOnly; SameSite=Lax; Path=/; {gone}"),
            format!("__Secure-id=; HttpOnly; SameSite=Lax; Partitioned; Secure; Path=/; {gone}"),
        ]
    );
    assert!(site.send("/plain", &[b"__Secure-id=x"]).await.set_cookies().is_empty(), "no session was asked for");
    let visit = site.send("/visit", &[]).await;
    assert_eq!(visit.set_cookies().len(), 1, "a client without a cookie has none to clear");
}
