//! What is in Set-Cookie, when it is sent, and what in a Cookie header is ours.

use axum::{
    response::{AppendHeaders, IntoResponse},
    routing::any,
};
use cloakroom::{CookiePolicy, CookiePolicyError, SameSite, TypedSession, testing::Operation};
use cloakroom_tests::{
    events::Events,
    site::{COOKIE, Effect, FRESH, Settings, Shop, Site, effect, lifetime, max_age, seconds, set_cookie, shop, show, watched},
};
use http::{StatusCode, header};
use std::time::Duration;

fn site(cookie: CookiePolicy) -> Site {
    Site::with(watched(), &Settings::cookie(cookie))
}

/// The attributes of the cookie that a first write sends.
async fn attributes(cookie: CookiePolicy) -> Vec<String> {
    let line = set_cookie(&site(cookie).browser.post("/visit").await);
    line.split("; ").skip(1).map(str::to_owned).collect()
}

#[tokio::test]
async fn the_first_real_write_sends_the_cookie() {
    for site in Site::everywhere(&Settings::default()).await {
        assert_eq!(effect(&site.browser.get("/").await), Effect::Nothing, "{}", site.backend);
        assert_eq!(effect(&site.browser.post("/same").await), Effect::Nothing, "{}", site.backend);
        assert!(matches!(effect(&site.browser.post("/visit").await), Effect::Set(_)), "{}", site.backend);
    }
}

#[tokio::test]
async fn a_write_to_an_existing_session_reaches_the_store_and_sends_no_cookie() {
    for site in Site::on_servers(&Settings::default()).await {
        site.browser.post("/visit").await;
        let response = site.browser.post("/visit").await;
        assert_eq!(effect(&response), Effect::Nothing, "{}", site.backend);
        assert!(!response.headers().contains_key(header::CACHE_CONTROL), "{}", site.backend);
        assert_eq!(site.browser.get("/").await.text(), ":2", "{}", site.backend);
    }
}

#[tokio::test]
async fn a_persistent_policy_emits_max_age_for_the_remaining_absolute_lifetime_rounded_up() {
    for site in Site::everywhere(&Settings::lasting(lifetime(seconds(60))).persistent()).await {
        assert_eq!(max_age(&site.browser.post("/visit").await), Some(60), "{}", site.backend);
        site.clock.advance(Duration::from_millis(1));
        assert_eq!(max_age(&site.browser.post("/rotate").await), Some(60), "{}", site.backend);
        site.clock.advance(Duration::from_millis(999));
        assert_eq!(max_age(&site.browser.post("/rotate").await), Some(59), "{}", site.backend);
    }
}

#[tokio::test]
async fn one_session_can_be_persistent_under_a_policy_that_is_not() {
    let remember = any(async |mut shop: TypedSession<Shop>| {
        shop.set_persistent(true);
        *shop.views += 1;
    });
    let site = Site::of(watched(), &Settings::lasting(lifetime(seconds(60))), shop().route("/remember", remember));
    assert_eq!(max_age(&site.browser.post("/visit").await), None);
    assert_eq!(max_age(&site.browser.post("/remember").await), Some(60), "the client's copy is stale now");
}

#[tokio::test]
async fn same_site_is_always_emitted_and_none_can_be_chosen() {
    for (same_site, expected) in
        [(SameSite::Strict, "SameSite=Strict"), (SameSite::Lax, "SameSite=Lax"), (SameSite::None, "SameSite=None")]
    {
        let sent = attributes(CookiePolicy::default().same_site(same_site).unwrap()).await;
        assert!(sent.iter().any(|attribute| attribute == expected), "{sent:?}");
    }
    let refused = CookiePolicy::insecure_http().same_site(SameSite::None);
    assert!(matches!(refused, Err(CookiePolicyError::NeedsSecure(_))));
}

#[tokio::test]
async fn the_path_is_emitted_also_on_a_request_elsewhere() {
    let policy = CookiePolicy::default().name("__Secure-id").unwrap().path("/admin").unwrap();
    assert!(attributes(policy).await.iter().any(|attribute| attribute == "Path=/admin"));
    assert!(matches!(CookiePolicy::default().path("/admin"), Err(CookiePolicyError::HostPrefix(_))));
}

#[tokio::test]
async fn the_domain_is_emitted() {
    let policy = CookiePolicy::default().name("__Secure-id").unwrap().domain("example.com").unwrap();
    assert!(attributes(policy).await.iter().any(|attribute| attribute == "Domain=example.com"));
    let without = attributes(CookiePolicy::default()).await;
    assert!(!without.iter().any(|attribute| attribute.starts_with("Domain")), "{without:?}");
    assert!(matches!(CookiePolicy::default().domain("example.com"), Err(CookiePolicyError::HostPrefix(_))));
}

#[tokio::test]
async fn secure_is_emitted_unless_the_policy_says_insecure() {
    let secure = |sent: &[String]| sent.iter().any(|attribute| attribute == "Secure");
    assert!(secure(&attributes(CookiePolicy::default()).await));
    let site = site(CookiePolicy::insecure_http());
    let line = set_cookie(&site.browser.post("/visit").await);
    assert!(!line.contains("Secure") && !line.starts_with(COOKIE), "another name, and no Secure: {line}");
    assert!(line.contains("; HttpOnly"), "{line}");
    assert_eq!(site.browser.clone().plain_http().get("/").await.text(), ":1", "it works over plain http");
}

#[tokio::test]
async fn a_browser_session_cookie_has_neither_max_age_nor_expires() {
    for site in Site::everywhere(&Settings::default()).await {
        let line = set_cookie(&site.browser.post("/visit").await);
        assert!(!line.contains("Max-Age") && !line.contains("Expires"), "{}: {line}", site.backend);
        let attributes: Vec<&str> = line.split("; ").skip(1).collect();
        assert_eq!(attributes, ["HttpOnly", "SameSite=Lax", "Secure", "Path=/"], "{}", site.backend);
    }
}

#[test]
fn bad_cookie_names_are_refused_and_good_ones_accepted() {
    for name in
        ["", "a b", "a;b", "a\r\nb", "a\r", "session\n", "a=b", "a\tb", "a,b", "\u{e9}", "a\0b", "a\u{7f}b", "(a)", "a\"b"]
    {
        let refused = CookiePolicy::default().name(name);
        assert_eq!(refused, Err(CookiePolicyError::Name(name.to_owned())));
        assert!(refused.unwrap_err().to_string().contains("cannot be a cookie name"));
    }
    for name in ["session", "my-session_v2", "__Host-id", "__Secure-id", "a.b", "!#$%&'*+-.^_`|~"] {
        assert!(CookiePolicy::default().name(name).is_ok(), "{name}");
    }
}

#[test]
fn impossible_combinations_of_attributes_are_refused_at_construction() {
    let plain = CookiePolicy::insecure_http;
    assert!(matches!(plain().name("__Host-id"), Err(CookiePolicyError::NeedsSecure(_))));
    assert!(matches!(plain().name("__Secure-id"), Err(CookiePolicyError::NeedsSecure(_))));
    assert!(matches!(plain().same_site(SameSite::None), Err(CookiePolicyError::NeedsSecure(_))));
    assert!(matches!(plain().partitioned(), Err(CookiePolicyError::NeedsSecure(_))));
    for name in ["__Host-id", "__HOST-id", "__host-id"] {
        let policy = CookiePolicy::default().name(name).unwrap();
        assert!(policy.clone().domain("example.com").is_err(), "{name}");
        assert!(policy.path("/admin").is_err(), "{name}");
    }
    let free = CookiePolicy::default().name("__Secure-id").unwrap();
    let long = |length: usize| format!("/{}", "a".repeat(length - 1));
    assert!(free.clone().path(long(1_024)).is_ok());
    assert!(matches!(free.clone().path(long(1_025)), Err(CookiePolicyError::Path(_))));
    for path in ["", "admin", "/a;HttpOnly", "/a\r\nX: 1", "/\u{e9}"] {
        assert!(matches!(free.clone().path(path), Err(CookiePolicyError::Path(_))), "{path:?}");
    }
    for domain in ["", "example.com; Secure", "example.com\r\nX: 1", "exam ple.com"] {
        assert!(matches!(free.clone().domain(domain), Err(CookiePolicyError::Domain(_))), "{domain:?}");
    }
}

/// Cookie values that other parsers unquote, decode or pass on.
const HOSTILE: &[&[u8]] = &[
    br#""abc\015\012X: 1""#,
    b"abc\\015\\012X: 1",
    b"abc%0d%0aX: 1",
    b"abc%0aSet-Cookie: x=1",
    b"\"\"",
    b"a\tb",
    b"a, b",
    b"\xff\xfe\x80",
    b"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\\n",
    b"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA ",
    b"\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"",
];

fn ours(value: &[u8]) -> Vec<u8> {
    [b"__Host-id=", value].concat()
}

#[tokio::test]
async fn a_value_with_line_breaks_quoted_or_encoded_gives_fresh_data() {
    for site in Site::everywhere(&Settings::default()).await {
        for value in HOSTILE {
            let response = site.send("/", &[&ours(value)]).await;
            let shown = String::from_utf8_lossy(value);
            assert_eq!((response.status(), &*response.text()), (StatusCode::OK, FRESH), "{}: {shown}", site.backend);
            assert_eq!(effect(&response), Effect::Clear, "{}: {shown}", site.backend);
        }
    }
}

#[tokio::test]
async fn no_byte_of_a_hostile_cookie_reaches_the_response_or_the_store() {
    let store = watched();
    let site = Site::on(store.clone());
    for value in HOSTILE {
        let response = site.send("/visit", &[&ours(value)]).await;
        let Effect::Set(token) = effect(&response) else { panic!("a new session") };
        assert!(
            token.len() == 43 && token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)),
            "{token}"
        );
        assert_eq!(set_cookie(&response), format!("{COOKIE}={token}; HttpOnly; SameSite=Lax; Secure; Path=/"));
        let names: Vec<&str> = response.headers().keys().map(|name| name.as_str()).collect();
        assert!(!names.contains(&"x"), "{names:?}");
    }
    assert_eq!(store.count(Operation::Load), 0);
}

#[tokio::test]
async fn a_forged_name_is_not_our_cookie() {
    let site = Site::on(watched());
    site.browser.post("/name/Ada").await;
    let token = site.token();
    assert_eq!(site.present("/", &token).await.text(), "Ada:0");
    for name in [
        "%5F%5FHost-id",
        "__HOST-id",
        "__host-id",
        "..Host-id",
        "=__Host-id",
        " __Host-id",
        "\t__Host-id",
        "__Host-id ",
        "__Host-id%20",
        "__Host-idx",
        "x__Host-id",
        "\"__Host-id\"",
        "$Version=1,__Host-id",
    ] {
        let response = site.send("/", &[format!("{name}={token}").as_bytes()]).await;
        assert_eq!(response.text(), FRESH, "{name:?}");
        assert_eq!(effect(&response), Effect::Nothing, "what is not ours is not cleared: {name:?}");
    }
}

#[tokio::test]
async fn a_quoted_value_is_not_unquoted() {
    let site = Site::on(watched());
    site.browser.post("/name/Ada").await;
    let token = site.token();
    for value in [format!("\"{token}\""), format!("{token} "), format!(" {token}"), format!("{token}="), format!("%{token}")] {
        assert_eq!(site.present("/", &value).await.text(), FRESH, "{value:?}");
    }
}

#[tokio::test]
async fn the_cookie_is_found_over_all_cookie_fields() {
    let site = Site::on(watched());
    site.browser.post("/name/Ada").await;
    let cookie = format!("{COOKIE}={}", site.token());
    assert_eq!(site.send("/", &[b"a=1", cookie.as_bytes(), b"b=2"]).await.text(), "Ada:0");
    assert_eq!(site.send("/", &[format!("a=1; {cookie}; b=\"2\"").as_bytes()]).await.text(), "Ada:0");
}

#[tokio::test]
async fn identical_duplicates_count_once() {
    let site = Site::on(watched());
    site.browser.post("/name/Ada").await;
    let cookie = format!("{COOKIE}={}", site.token());
    assert_eq!(site.send("/", &[format!("{cookie}; {cookie}").as_bytes()]).await.text(), "Ada:0");
    assert_eq!(site.send("/", &[cookie.as_bytes(), cookie.as_bytes()]).await.text(), "Ada:0");
}

#[tokio::test]
async fn differing_duplicates_that_both_open_are_ambiguous_and_not_cleared() {
    let site = Site::on(watched());
    site.browser.post("/name/Ada").await;
    let ours = format!("{COOKIE}={}", site.token());
    site.browser.clear_cookies();
    site.browser.post("/name/Bob").await;
    let other = format!("{COOKIE}={}", site.token());
    for fields in [[&ours, &other], [&other, &ours]] {
        let events = Events::capture();
        let response = site.send("/", &[fields[0].as_bytes(), fields[1].as_bytes()]).await;
        assert_eq!((response.status(), &*response.text()), (StatusCode::OK, FRESH));
        assert_eq!(effect(&response), Effect::Nothing);
        let said = events.take();
        assert!(said.len() == 2 && said[0].contains("session.twins") && said[1].contains("why=\"ambiguous\""), "{said:?}");
    }
}

#[tokio::test]
async fn a_response_never_sets_our_cookie_twice() {
    let twice = any(async |mut shop: TypedSession<Shop>| {
        *shop.views += 1;
        ([("set-cookie", "__Host-id=forged; Path=/")], [("x-other", "kept")]).into_response()
    });
    let other = any(async |mut shop: TypedSession<Shop>| {
        *shop.views += 1;
        ([("set-cookie", "theme=dark")], show(&shop)).into_response()
    });
    let routes = shop().route("/twice", twice).route("/other", other);
    let site = Site::of(watched(), &Settings::default(), routes);
    assert!(matches!(effect(&site.browser.fork().post("/twice").await), Effect::Set(value) if value != "forged"));
    let response = site.browser.fork().post("/other").await;
    assert_eq!(response.set_cookies().len(), 2);
    assert!(response.set_cookies().contains(&"theme=dark".to_owned()));
}

/// Of the lines that a handler sets by hand beside our cookie, those that go out.
async fn left_of(lines: &'static [&'static str], path: &str) -> Vec<String> {
    let by_hand = async |mut shop: TypedSession<Shop>| {
        *shop.views += 1;
        AppendHeaders(lines.iter().map(|line| ("set-cookie", *line)).collect::<Vec<_>>())
    };
    let destroyed = async |mut shop: TypedSession<Shop>| {
        shop.destroy();
        AppendHeaders(lines.iter().map(|line| ("set-cookie", *line)).collect::<Vec<_>>())
    };
    let site = Site::of(watched(), &Settings::default(), shop().route("/begin", any(by_hand)).route("/end", any(destroyed)));
    site.browser.post("/visit").await;
    let browser = site.browser.fork();
    if path == "/begin" {
        browser.clear_cookies();
    }
    let response = browser.post(path).await;
    assert_ne!(effect(&response), Effect::Nothing);
    let ours = |line: &String| line.contains("; HttpOnly; SameSite=Lax; Secure; Path=/");
    assert_eq!(response.set_cookies().iter().filter(|line| ours(line)).count(), 1);
    response.set_cookies().into_iter().filter(|line| !ours(line)).collect()
}

#[tokio::test]
async fn a_cookie_of_our_name_set_by_hand_is_replaced_however_it_is_written_and_another_one_is_kept() {
    for path in ["/begin", "/end"] {
        // Browsers take blanks around a name away.
        let same = &[
            "__Host-id=forged",
            " __Host-id=forged",
            "__Host-id =forged; Path=/",
            "\t__Host-id\t= forged",
            "__Host-id=",
            "__Host-id=a=b",
        ];
        assert_eq!(left_of(same, path).await, Vec::<String>::new(), "{path}");
        // They tell names apart by their case, and so do we when we read them.
        let others = &[
            "__host-id=x",
            "__HOST-ID=x",
            "__Host-id2=x",
            "x__Host-id=x",
            "x=__Host-id=y",
            "=__Host-id=x",
            "__Host-id; x=y",
            "%5F%5FHost-id=x",
        ];
        assert_eq!(left_of(others, path).await, others, "{path}");
    }
}

#[tokio::test]
async fn what_carries_our_cookie_is_not_to_be_cached_and_what_read_it_varies_by_it() {
    let public = any(async |shop: TypedSession<Shop>| ([("cache-control", "public, max-age=60")], show(&shop)));
    let writes = any(async |mut shop: TypedSession<Shop>| {
        *shop.views += 1;
        [("cache-control", "public, max-age=60")]
    });
    let site = Site::of(watched(), &Settings::default(), shop().route("/public", public).route("/writes", writes));
    let response = site.browser.post("/writes").await;
    assert_eq!(response.headers()[header::CACHE_CONTROL], "private, no-store");
    assert_eq!(response.headers()[header::VARY], "cookie");
    let response = site.browser.get("/public").await;
    assert_eq!(response.headers()[header::CACHE_CONTROL], "public, max-age=60");
    assert_eq!(response.headers()[header::VARY], "cookie");
}

#[tokio::test]
async fn every_line_that_sets_a_cookie_is_marked_sensitive() {
    for site in Site::everywhere(&Settings::default()).await {
        let response = site.browser.post("/visit").await;
        assert!(response.headers()["set-cookie"].is_sensitive(), "{}", site.backend);
        assert!(!format!("{:?}", response.headers()).contains(&site.token()), "{}", site.backend);
    }
}
