//! A Secure cookie over plain http: the one warning, what it goes by, and that the cookie itself does not go by anything.

use crate::data::Visitor;
use axum::{
    Router,
    body::Body,
    routing::{get, post},
};
use cloakroom::{CookiePolicy, TypedSession};
use cloakroom_tests::{events::Events, shop::House, site::set_cookie};
use http::Request;

fn routes() -> Router {
    Router::new()
        .route("/", get(|s: TypedSession<Visitor>| async move { s.visits.to_string() }))
        .route("/add", post(|mut s: TypedSession<Visitor>| async move { *s.visits += 1 }))
        .route("/rotate", post(|mut s: TypedSession<Visitor>| async move { s.rotate() }))
}

fn request(method: &str, uri: &str, fields: &[(&str, &str)]) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(Body::empty()).unwrap()
}

/// What was warned of.
fn warnings(events: &Events) -> Vec<String> {
    events.take().into_iter().filter(|line| line.contains("session.plain_http")).collect()
}

/// What a fresh layer warns of when it sets a cookie in answer to this request.
async fn warned(uri: &str, fields: &[(&str, &str)]) -> Vec<String> {
    let events = Events::capture();
    let response = House::new().browser(routes()).send(request("POST", uri, fields)).await;
    assert_eq!(set_cookie(&response).split_once("; ").unwrap().1, "HttpOnly; SameSite=Lax; Secure; Path=/");
    warnings(&events)
}

#[tokio::test]
async fn any_sign_of_plain_http_to_another_host_is_a_warning_that_says_what_to_type() {
    let host = ("host", "shop.lan:3000");
    for (uri, fields) in [
        ("/add", vec![host, ("x-forwarded-proto", "http")]),
        ("/add", vec![host, ("x-forwarded-proto", "HTTP, https")]),
        ("/add", vec![host, ("forwarded", "for=10.0.0.9;Proto=http;by=10.0.0.1, proto=https")]),
        ("/add", vec![host, ("forwarded", "proto=\"http\"")]),
        ("/add", vec![host, ("origin", "http://shop.lan:3000")]),
        ("/add", vec![host, ("origin", "http://SHOP.lan:3000")]),
        ("/add", vec![host, ("referer", "http://shop.lan:3000/cart?id=7")]),
        ("http://shop.lan:3000/add", vec![]),
    ] {
        let warnings = warned(uri, &fields).await;
        let [line] = &warnings[..] else { panic!("{uri} {fields:?}: {warnings:?}") };
        assert!(line.starts_with("WARN ") && line.contains("CookiePolicy::insecure_http()"), "{line}");
        assert!(line.to_lowercase().contains("host=shop.lan:3000"), "{line}");
        assert!(!line.contains("cart"), "{line}");
    }
}

#[tokio::test]
async fn no_sign_of_plain_http_or_one_of_trust_is_no_warning() {
    let (host, plain) = (("host", "shop.example"), ("x-forwarded-proto", "http"));
    for (uri, fields) in [
        ("/add", vec![]),
        ("/add", vec![host]),
        ("/add", vec![plain]),
        ("/add", vec![host, ("x-forwarded-proto", "https")]),
        ("/add", vec![host, ("x-forwarded-proto", "https, http")]),
        ("/add", vec![host, ("x-forwarded-proto", "HTTPS"), ("origin", "http://shop.example")]),
        ("/add", vec![host, ("x-forwarded-proto", "ws")]),
        ("/add", vec![host, ("x-forwarded-proto", "")]),
        ("/add", vec![host, ("forwarded", "proto=https, proto=http")]),
        ("/add", vec![host, ("forwarded", "for=10.0.0.9, proto=http")]),
        ("/add", vec![host, ("origin", "http://other.example")]),
        ("/add", vec![host, ("origin", "http://shop.example:8080")]),
        ("/add", vec![host, ("origin", "null")]),
        ("/add", vec![host, ("origin", "https://shop.example")]),
        ("/add", vec![host, ("referer", "https://shop.example/")]),
        ("/add", vec![("host", "not a host"), plain]),
        ("https://shop.example/add", vec![]),
        // One witness says https: a proxy in between speaks http to the next.
        ("/add", vec![host, plain, ("origin", "https://shop.example")]),
        ("/add", vec![host, plain, ("forwarded", "proto=https")]),
        ("http://shop.example/add", vec![("x-forwarded-proto", "https")]),
        // The browser itself says so.
        ("/add", vec![host, plain, ("sec-fetch-site", "same-origin")]),
        ("/add", vec![host, plain, ("sec-fetch-mode", "cors")]),
        ("/add", vec![host, plain, ("sec-fetch-dest", "document")]),
    ] {
        assert_eq!(warned(uri, &fields).await, Vec::<String>::new(), "{uri} {fields:?}");
    }
}

#[tokio::test]
async fn the_machine_itself_is_never_warned_of_and_what_only_looks_like_it_is() {
    let plain = ("x-forwarded-proto", "http");
    for host in
        ["localhost", "LocalHost:3000", "localhost.", "app.localhost:80", "127.0.0.1:3000", "127.8.9.1", "[::1]:3000", "[::1]"]
    {
        assert_eq!(warned("/add", &[("host", host), plain]).await, Vec::<String>::new(), "{host}");
    }
    for host in [
        "localhost.example",
        "notlocalhost",
        "128.0.0.1",
        "192.168.0.7:3000",
        "10.0.0.1",
        "[::2]",
        "127.0.0.1.example",
        "[fe80::1]",
    ] {
        assert_eq!(warned("/add", &[("host", host), plain]).await.len(), 1, "{host}");
    }
}

const PLAIN: [(&str, &str); 2] = [("host", "shop.lan"), ("x-forwarded-proto", "http")];

#[tokio::test]
async fn the_warning_comes_once_for_each_layer() {
    let events = Events::capture();
    let house = House::new();
    for _ in 0..2 {
        let browser = house.browser(routes());
        for _ in 0..3 {
            browser.fork().send(request("POST", "/add", &PLAIN)).await;
        }
        assert_eq!(warnings(&events).len(), 1);
    }
}

#[tokio::test]
async fn nothing_is_warned_of_without_a_cookie_that_a_browser_would_drop() {
    let events = Events::capture();
    let house = House::new();
    let browser = house.browser(routes());
    browser.send(request("GET", "/", &PLAIN)).await;
    assert_eq!(warnings(&events).len(), 0, "no cookie is set");
    browser.post("/add").await;
    browser.send(request("POST", "/rotate", &PLAIN)).await;
    assert_eq!(warnings(&events).len(), 0, "the cookie came back, so it was not dropped");
    let layer = house.layer().cookie(CookiePolicy::insecure_http());
    house.browser_of(routes().layer(layer)).send(request("POST", "/add", &PLAIN)).await;
    assert_eq!(warnings(&events).len(), 0, "the cookie is not Secure");
    browser.set_cookie("__Host-id", "nonsense");
    browser.send(request("GET", "/", &PLAIN)).await;
    assert_eq!(warnings(&events).len(), 0, "a deletion is no loss");
}
