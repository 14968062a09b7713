//! What other sites make a browser send, through a real router: every mix of what its headers say, against an oracle.

use crate::data::Visitor;
use axum::{
    Router,
    body::Body,
    routing::{any, get, post},
};
use cloakroom::{SameOriginLayer, TypedSession, testing::TestResponse};
use cloakroom_tests::{
    events::Events,
    shop::{Browser, House},
};
use http::{HeaderValue, Request, header};

async fn add(mut s: TypedSession<Visitor>) -> String {
    *s.visits += 1;
    s.visits.to_string()
}

/// The shop at `shop.example`, to which `https://accounts.example` may post.
fn shop(house: &House) -> Browser {
    let guard = SameOriginLayer::new().trust("https://accounts.example").unwrap();
    house.browser_of(Router::new().route("/", any(add)).layer(house.layer()).layer(guard))
}

/// Sends these header fields and no others.
async fn send(browser: &Browser, method: &str, uri: &str, fields: &[(&str, &str)]) -> TestResponse {
    let mut request = Request::builder().method(method).uri(uri).body(Body::empty()).unwrap();
    for (name, value) in fields {
        let name = header::HeaderName::from_bytes(name.as_bytes()).unwrap();
        request.headers_mut().append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    browser.send(request).await
}

/// What a field that names an origin comes to.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Names {
    Nothing,
    /// The shop over https.
    Own,
    /// The shop's host over http.
    Plain,
    Trusted,
    Other,
}

/// One way to say something: the fields as sent, and what the oracle makes of them.
type Says<T> = (&'static [&'static str], T);

const METHODS: [(&str, bool); 9] = [
    ("GET", true),
    ("HEAD", true),
    ("OPTIONS", true),
    ("TRACE", true),
    ("POST", false),
    ("PUT", false),
    ("PATCH", false),
    ("DELETE", false),
    ("PURGE", false),
];

const UPGRADES: [Says<bool>; 3] = [(&[], false), (&["h2c"], false), (&["WebSocket"], true)];

/// `None`: the browser said nothing that counts.
const SITES: [Says<Option<&str>>; 8] = [
    (&[], None),
    (&["same-origin"], Some("own")),
    (&["none"], Some("own")),
    (&["same-site"], Some("same-site")),
    (&["cross-site"], Some("cross-site")),
    (&["SAME-ORIGIN"], None),
    (&["of-the-future"], None),
    (&["same-origin", "same-origin"], None),
];

const ORIGINS: [Says<Names>; 11] = [
    (&[], Names::Nothing),
    (&["https://shop.example"], Names::Own),
    (&["https://Shop.Example:443"], Names::Own),
    (&["http://shop.example"], Names::Plain),
    (&["https://accounts.example"], Names::Trusted),
    (&["https://evil.example"], Names::Other),
    (&["https://blog.shop.example"], Names::Other),
    (&["https://shop.example:8443"], Names::Other),
    (&["null"], Names::Other),
    (&["https://shop.example/"], Names::Other),
    (&["https://shop.example", "https://shop.example"], Names::Other),
];

const REFERERS: [Says<Names>; 6] = [
    (&[], Names::Nothing),
    (&["https://shop.example/cart?item=7"], Names::Own),
    (&["http://shop.example/"], Names::Plain),
    (&["https://accounts.example/sign-in"], Names::Trusted),
    (&["https://evil.example/https://shop.example/"], Names::Other),
    (&["about:blank"], Names::Other),
];

/// Whether a cookie shows that the request came over TLS.
const COOKIES: [Says<Option<bool>>; 3] = [(&[], None), (&["a=1"], Some(false)), (&["a=1; __Host-id=x"], Some(true))];

/// Why the request is refused, by the rules as the documentation of the layer has them.
fn oracle(
    safe: bool,
    socket: bool,
    site: Option<&'static str>,
    origin: Names,
    referer: Names,
    tls: Option<bool>,
) -> Option<&'static str> {
    if safe && !socket {
        return None;
    }
    if let Some(site) = site {
        return (site != "own" && origin != Names::Trusted).then_some(site);
    }
    let (source, field) = if origin == Names::Nothing { (referer, "referer") } else { (origin, "origin") };
    match source {
        Names::Own | Names::Trusted => None,
        Names::Plain => (tls == Some(true)).then_some(field),
        Names::Other => Some(field),
        Names::Nothing => tls.is_some().then_some("unnamed"),
    }
}

#[tokio::test]
async fn every_mix_of_headers_is_judged_as_the_rules_say() {
    let events = Events::capture();
    let house = House::new();
    let app = Router::new()
        .route("/", any(async || "reached"))
        .layer(SameOriginLayer::new().trust("https://accounts.example").unwrap());
    let browser = house.browser_of(app);
    let mut judged = [0_usize; 2];
    for (method, safe) in METHODS {
        for (upgrade, socket) in UPGRADES {
            for (sites, site) in SITES {
                for (origins, origin) in ORIGINS {
                    for (referers, referer) in REFERERS {
                        for (cookies, tls) in COOKIES {
                            let mut fields = vec![("host", "shop.example")];
                            for (name, values) in [
                                ("upgrade", upgrade),
                                ("sec-fetch-site", sites),
                                ("origin", origins),
                                ("referer", referers),
                                ("cookie", cookies),
                            ] {
                                fields.extend(values.iter().map(|value| (name, *value)));
                            }
                            let response = send(&browser, method, "/", &fields).await;
                            let expected = oracle(safe, socket, site, origin, referer, tls);
                            let told = events.take();
                            match expected {
                                None => {
                                    assert_eq!(response.status(), 200, "{method} {fields:?}");
                                    assert_eq!(told, [""; 0], "{method} {fields:?}");
                                }
                                Some(why) => {
                                    assert_eq!(response.status(), 403, "{method} {fields:?}");
                                    assert!(!response.text().contains("reached"));
                                    assert_eq!(response.headers()["cache-control"], "no-store");
                                    let said = format!("INFO event=\"session.cross_site\" why={why:?}");
                                    assert!(matches!(&told[..], [line] if line.starts_with(&said)), "{why}: {told:?}");
                                }
                            }
                            judged[usize::from(expected.is_some())] += 1;
                        }
                    }
                }
            }
        }
    }
    assert_eq!(judged.iter().sum::<usize>(), 9 * 3 * 8 * 11 * 6 * 3);
    assert!(judged.iter().all(|count| *count > 10_000), "passed and refused: {judged:?}");
}

#[tokio::test]
async fn a_refused_request_reaches_no_session_and_no_store() {
    let house = House::new();
    let browser = shop(&house);
    let own = [("host", "shop.example"), ("sec-fetch-site", "same-origin")];
    assert_eq!(send(&browser, "POST", "/", &own).await.text(), "1");
    house.log();
    let evil = [("host", "shop.example"), ("sec-fetch-site", "cross-site"), ("origin", "https://evil.example")];
    let response = send(&browser, "POST", "/", &evil).await;
    assert_eq!(response.status(), 403);
    assert_eq!((house.log(), response.set_cookies()), (vec![], vec![]));
    assert_eq!(send(&browser, "POST", "/", &own).await.text(), "2", "the session is as it was");
}

#[tokio::test]
async fn a_trusted_origin_and_nobody_else_may_post_across_sites() {
    let house = House::new();
    let browser = shop(&house);
    let from = |origin| [("host", "shop.example"), ("sec-fetch-site", "cross-site"), ("origin", origin)];
    assert_eq!(send(&browser, "POST", "/", &from("https://accounts.example")).await.text(), "1");
    for origin in ["http://accounts.example", "https://accounts.example:8443", "https://x.accounts.example", "null"] {
        assert_eq!(send(&browser, "POST", "/", &from(origin)).await.status(), 403, "{origin}");
    }
}

#[tokio::test]
async fn under_http_2_the_target_names_the_host() {
    let house = House::new();
    let browser = shop(&house);
    let from = |origin| [("origin", origin), ("cookie", "a=1")];
    assert_eq!(send(&browser, "POST", "https://shop.example/", &from("https://shop.example")).await.text(), "1");
    assert_eq!(send(&browser, "POST", "https://shop.example:443/", &from("https://shop.example")).await.text(), "1");
    assert_eq!(send(&browser, "POST", "https://shop.example/", &from("https://evil.example")).await.status(), 403);
}

#[tokio::test]
async fn a_nested_router_may_be_guarded_alone() {
    let house = House::new();
    let guarded = Router::new().route("/", post(add)).layer(SameOriginLayer::new());
    let routes = Router::new().nest("/account", guarded).route("/open", post(add)).route("/page", get(add));
    let browser = house.browser(routes);
    let evil = [("host", "shop.example"), ("sec-fetch-site", "cross-site")];
    assert_eq!(send(&browser, "POST", "/account", &evil).await.status(), 403);
    assert_eq!(send(&browser, "POST", "/open", &evil).await.status(), 200);
    let own = [("origin", "https://shop.example"), ("cookie", "a=1")];
    assert_eq!(send(&browser, "POST", "https://shop.example/account", &own).await.status(), 200);
}

#[tokio::test]
async fn an_event_tells_the_origin_in_its_canonical_form_and_nothing_else_of_the_request() {
    let events = Events::capture();
    let house = House::new();
    let browser = shop(&house);
    let tell = async |fields: &[(&str, &str)]| {
        send(&browser, "POST", "/?q=needle", &[&[("host", "shop.example"), ("cookie", "c=needle")], fields].concat()).await;
        let told = events.take();
        assert!(told.iter().all(|line| !line.to_lowercase().contains("needle")), "{told:?}");
        told.concat()
    };
    let known = "INFO event=\"session.cross_site\" why=\"origin\" origin=https://evil.example";
    assert_eq!(tell(&[("origin", "HTTPS://Evil.Example:443")]).await, known);
    let known = "INFO event=\"session.cross_site\" why=\"referer\" origin=https://evil.example:8443";
    assert_eq!(tell(&[("referer", "https://evil.example:8443/needle?needle#needle")]).await, known);
    let long = format!("https://{}.example", "needle".repeat(1000));
    let injected = "https://evil.example\u{85}needle";
    for origin in ["null", "https://evil.example/needle", "needle", &long, injected, "https://needle@evil.example"] {
        assert_eq!(tell(&[("origin", origin)]).await, "INFO event=\"session.cross_site\" why=\"origin\"", "{origin}");
    }
    assert_eq!(tell(&[]).await, "INFO event=\"session.cross_site\" why=\"unnamed\"");
}

#[tokio::test]
async fn a_client_that_says_nothing_is_told_what_to_send() {
    let house = House::new();
    let browser = shop(&house);
    let text = send(&browser, "POST", "/", &[("host", "shop.example"), ("cookie", "a=1")]).await.text();
    assert!(text.contains("Send an `Origin` header"), "{text}");
    let fields = [("host", "shop.example"), ("cookie", "a=1"), ("origin", "https://shop.example")];
    assert_eq!(send(&browser, "POST", "/", &fields).await.status(), 200);
}
