//! Response headers: what caches are told, and what the cookie looks like.

use crate::{
    data::Visitor,
    members::{self, Members},
};
use axum::{
    Router,
    routing::{get, post},
};
use cloakroom::{
    CookiePolicy, Lifetime, TypedSession,
    record::{Owner, OwnerChange, OwnerHash, Patch},
    store::{SessionStore, SqliteStore},
    testing::TestResponse,
};
use cloakroom_tests::{
    shop::{House, with_cookies},
    site::{Effect, effect, selector},
};
use http::header;
use std::time::Duration;

fn all(response: &TestResponse, name: header::HeaderName) -> Vec<String> {
    response.headers().get_all(name).iter().map(|value| value.to_str().unwrap().to_lowercase()).collect()
}

async fn add(mut s: TypedSession<Visitor>) {
    *s.visits += 1;
}

async fn show(s: TypedSession<Visitor>) -> String {
    s.visits.to_string()
}

fn visitors() -> Router {
    Router::new().route("/", get(show).post(add))
}

#[tokio::test]
async fn any_access_appends_vary_cookie_and_keeps_what_the_application_varies_by() {
    let house = House::new();
    let vary = |_: TypedSession<Visitor>| async { ([(header::VARY, "accept")], "") };
    let option = |_: Option<TypedSession<Visitor>>| async {};
    let browser = house.browser(visitors().route("/vary", get(vary)).route("/option", get(option)));
    assert_eq!(all(&browser.get("/").await, header::VARY), ["cookie"]);
    assert_eq!(all(&browser.get("/option").await, header::VARY), ["cookie"]);
    assert_eq!(all(&browser.post("/").await, header::VARY), ["cookie"]);
    assert_eq!(all(&browser.get("/vary").await, header::VARY), ["accept", "cookie"]);
}

#[tokio::test]
async fn a_response_with_our_cookie_is_private_and_not_stored_whatever_the_application_said_unless_it_said_no_store() {
    let house = House::new();
    let with = |value: &'static str| {
        post(move |mut s: TypedSession<Visitor>| async move {
            *s.visits += 1;
            [(header::CACHE_CONTROL, value)]
        })
    };
    let routes = visitors()
        .route("/public", with("public, max-age=600"))
        .route("/no-store", with("No-Store, max-age=0"))
        .route("/almost", with("max-age=0, no-storefront"));
    for (path, expected) in [
        ("/", "private, no-store"),
        ("/public", "private, no-store"),
        ("/no-store", "no-store, max-age=0"),
        ("/almost", "private, no-store"),
    ] {
        let browser = house.browser(routes.clone());
        let response = browser.post(path).await;
        assert!(matches!(effect(&response), Effect::Set(_)));
        assert_eq!(all(&response, header::CACHE_CONTROL), [expected], "{path}");
    }
}

#[tokio::test]
async fn a_deletion_cookie_is_our_cookie_too() {
    let house = House::new();
    let browser = house.browser(visitors());
    browser.set_cookie("__Host-id", "nonsense");
    let response = browser.get("/").await;
    assert_eq!(effect(&response), Effect::Clear);
    assert_eq!(all(&response, header::CACHE_CONTROL), ["private, no-store"]);
}

#[tokio::test]
async fn a_session_without_owner_and_without_set_cookie_leaves_caching_to_the_application() {
    let house = House::new();
    let browser = house.browser(visitors());
    browser.post("/").await;
    let response = browser.get("/").await;
    assert_eq!(effect(&response), Effect::Nothing);
    assert_eq!(all(&response, header::CACHE_CONTROL), [""; 0]);
}

#[tokio::test]
async fn a_response_of_a_session_with_an_owner_is_private_unless_the_application_set_the_header() {
    let house = House::new();
    let cached = |_: TypedSession<Visitor>| async { [(header::CACHE_CONTROL, "private, max-age=60")] };
    let browser = house.browser(visitors().route("/cached", get(cached)));
    browser.post("/").await;
    let key = selector(&browser.cookie("__Host-id").unwrap());
    let mut patch = Patch::new(0, house.now());
    patch.owner = Some(OwnerChange::Set(Owner { schema: "visitor".into(), hash: OwnerHash::from_bytes([1; 32]) }));
    house.faults().inner().commit(&key, &patch).await.unwrap();
    assert_eq!(all(&browser.get("/").await, header::CACHE_CONTROL), ["private, no-store"]);
    assert_eq!(all(&browser.get("/cached").await, header::CACHE_CONTROL), ["private, max-age=60"]);
}

#[tokio::test]
async fn a_page_of_an_owner_stays_private_if_its_session_ends_meanwhile() {
    // On SQL the commit notes the use, and finds that the session is gone.
    let house = House::over(SqliteStore::in_memory().await.unwrap());
    let inside = house.clone();
    let page = move |s: TypedSession<Members>| async move {
        let far = inside.now().plus(Duration::from_secs(1 << 40));
        assert_eq!(inside.faults().inner().sweep(far, 10).await.unwrap(), 1);
        format!("{:?}", *s.user)
    };
    let browser = house.browser(members::routes().route("/page", get(page)));
    browser.post("/in/7").await;
    house.clock.advance(Lifetime::default().idle() / 2);
    let response = browser.get("/page").await;
    assert_eq!((response.status().as_u16(), response.text().as_str(), effect(&response)), (200, "Some(7)", Effect::Nothing));
    assert_eq!(all(&response, header::CACHE_CONTROL), ["private, no-store"]);
}

#[tokio::test]
async fn our_cookie_is_set_once_even_if_the_application_sets_one_of_that_name() {
    let house = House::new();
    let handler = |mut s: TypedSession<Visitor>| async move {
        *s.visits += 1;
        [(header::SET_COOKIE, "__Host-id=theirs; Path=/; Secure"), (header::CONTENT_LANGUAGE, "en")]
    };
    let others = |mut s: TypedSession<Visitor>| async move {
        *s.visits += 1;
        [(header::SET_COOKIE, "theme=dark")]
    };
    let browser = house.browser(Router::new().route("/", post(handler)).route("/others", post(others)));
    let response = browser.post("/").await;
    assert!(matches!(effect(&response), Effect::Set(value) if value.len() == 43));
    browser.clear_cookies();
    let response = browser.post("/others").await;
    assert_eq!(response.set_cookies().len(), 2, "other cookies stay: {:?}", response.set_cookies());
}

#[tokio::test]
async fn the_cookie_has_every_attribute_and_lasts_as_long_as_the_browser() {
    let house = House::new();
    let browser = house.browser(visitors());
    let set = browser.post("/").await.set_cookies().remove(0);
    for attribute in ["; Secure", "; HttpOnly", "; SameSite=Lax", "; Path=/"] {
        assert!(set.contains(attribute), "{set}");
    }
    for absent in ["Max-Age", "Expires", "Domain"] {
        assert!(!set.contains(absent), "{set}");
    }
    browser.restart();
    assert_eq!(browser.get("/").await.text(), "0");
}

#[tokio::test]
async fn the_deletion_cookie_repeats_the_attributes_of_the_policy() {
    let house = House::new();
    let policy = CookiePolicy::default().name("sid").unwrap().domain("example.org").unwrap().path("/shop").unwrap();
    let app = Router::new().route("/shop", get(show)).layer(house.layer().cookie(policy));
    let browser = house.browser_of(app);
    browser.set_cookie("sid", "nonsense");
    let clear = browser.get("/shop").await.set_cookies().remove(0);
    for attribute in
        ["sid=;", "Max-Age=0", "Expires=Thu, 01 Jan 1970", "Domain=example.org", "Path=/shop", "Secure", "HttpOnly"]
    {
        assert!(clear.contains(attribute), "{attribute}: {clear}");
    }
}

#[tokio::test]
async fn remember_me_sets_max_age_to_the_remaining_absolute_lifetime_rounded_up_and_forgetting_takes_it_away() {
    let house = House::new();
    let hours = |idle: u64, absolute: u64| {
        Lifetime::new(Duration::from_secs(idle * 3600), Duration::from_secs(absolute * 3600)).unwrap()
    };
    let remember = |to| post(move |mut s: TypedSession<Visitor>| async move { s.set_persistent(to) });
    let routes = visitors().route("/remember", remember(true)).route("/forget", remember(false));
    let app = routes.layer(house.layer().lifetime(hours(1, 2)).remember(hours(10, 100)));
    let browser = house.browser_of(app);
    assert_eq!(effect(&browser.post("/remember").await), Effect::Nothing, "it begins no session");
    browser.post("/").await;
    house.clock.advance(Duration::from_millis(1500));
    let response = browser.post("/remember").await;
    let set = response.set_cookies().remove(0);
    assert!(set.ends_with("; Max-Age=359999") || set.contains("; Max-Age=359999;"), "100 h less 1.5 s, rounded up: {set}");
    house.clock.advance(Duration::from_secs(9 * 3600));
    browser.restart();
    assert_eq!(browser.get("/").await.text(), "1", "it survives the browser, under the longer lifetime");
    let response = browser.post("/").await;
    assert_eq!(effect(&response), Effect::Nothing, "Max-Age is never sent again for the idle deadline");
    let record = house.record(&browser).await.unwrap();
    assert!(record.header.persistent);
    house.clock.set(std::time::SystemTime::from(record.header.created) + Duration::from_secs(3600));
    let set = browser.post("/forget").await.set_cookies().remove(0);
    assert!(!set.contains("Max-Age") && !set.contains("Expires"), "{set}");
    assert!(!house.record(&browser).await.unwrap().header.persistent);
}

#[tokio::test]
async fn a_persistent_policy_makes_every_new_session_persistent() {
    let house = House::new();
    let app = visitors().layer(house.layer().cookie(CookiePolicy::default().persistent()));
    let browser = house.browser_of(app);
    let set = browser.post("/").await.set_cookies().remove(0);
    assert!(set.contains(&format!("Max-Age={}", 30 * 24 * 3600)), "{set}");
    browser.restart();
    assert_eq!(browser.get("/").await.text(), "1");
}

#[tokio::test]
async fn the_cookie_is_found_in_any_of_several_cookie_fields() {
    let house = House::new();
    let browser = house.browser(visitors());
    browser.post("/").await;
    let ours = format!("__Host-id={}", browser.cookie("__Host-id").unwrap());
    for fields in [
        vec![&b"a=1"[..], b"b=2", ours.as_bytes()],
        vec![ours.as_bytes(), b"a=1; b=2"],
        vec![b"a=1", format!("{ours}; {ours}").leak().as_bytes(), ours.as_bytes()],
    ] {
        let response = with_cookies(&browser, "/", &fields).await;
        assert_eq!(effect(&response), Effect::Nothing, "the session was found");
    }
    assert_eq!(browser.get("/").await.text(), "4");
}

#[tokio::test]
async fn two_cookies_that_open_sessions_are_ambiguous_and_none_is_cleared() {
    let events = cloakroom_tests::events::Events::capture();
    let house = House::new();
    let probe = |s: TypedSession<Visitor>| async move { s.visits.to_string() };
    let browser = house.browser(visitors().route("/probe", post(probe)));
    browser.post("/").await;
    let other = browser.fork();
    other.clear_cookies();
    other.post("/").await;
    let [ours, others] = [&browser, &other].map(|it| format!("__Host-id={}", it.cookie("__Host-id").unwrap()));
    house.log();
    events.take();
    let response = with_cookies(&browser, "/probe", &[ours.as_bytes(), others.as_bytes()]).await;
    assert_eq!((response.status().as_u16(), response.text().as_str()), (200, "0"));
    assert_eq!(effect(&response), Effect::Nothing);
    assert_eq!(house.log(), ["load -> found r1"; 2]);
    assert!(events.take().iter().any(|line| line.contains("ambiguous")));
}

#[tokio::test]
async fn malformed_and_unknown_cookies_give_defaults_an_event_and_are_cleared() {
    let events = cloakroom_tests::events::Events::capture();
    let house = House::new();
    let browser = house.browser(visitors());
    let long = "A".repeat(8192);
    for (value, why, asked) in [
        ("", "malformed", 0),
        ("short", "malformed", 0),
        ("%41", "malformed", 0),
        (&long, "malformed", 0),
        (&"A".repeat(43), "unknown", 1),
        (&"A".repeat(44), "malformed", 0),
        (&format!("{}=", "A".repeat(43)), "malformed", 0),
        (&format!("\"{}\"", "A".repeat(43)), "malformed", 0),
    ] {
        events.take();
        browser.set_cookie("__Host-id", value);
        let response = browser.get("/").await;
        assert_eq!((response.status().as_u16(), response.text().as_str()), (200, "0"), "{value}");
        assert_eq!(effect(&response), Effect::Clear, "{value}");
        assert_eq!(house.log().len(), asked, "{value}");
        let seen = events.take();
        assert!(seen.iter().any(|line| line.contains(&format!("why={why:?}"))), "{value}: {seen:?}");
        assert!(value.len() < 8 || seen.iter().all(|line| !line.contains(value)), "an event carries no token");
    }
}

#[tokio::test]
async fn an_id_we_did_not_issue_is_never_adopted() {
    let house = House::new();
    let browser = house.browser(visitors());
    let planted = "A".repeat(43);
    browser.set_cookie("__Host-id", &planted);
    let Effect::Set(issued) = effect(&browser.post("/").await) else { panic!("a session begins") };
    assert_ne!(issued[..22], planted[..22]);
    assert!(house.record_of(&selector(&planted)).await.is_none());
}
