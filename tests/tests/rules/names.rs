//! Cookies that look like ours: other names, other spellings of the value, the name more than once, bytes that no header may have.

use cloakroom::{CookiePolicy, store::CookieStore, testing::TestResponse};
use cloakroom_tests::{
    events::Events,
    grammar,
    site::{COOKIE, Effect, FRESH, Settings, Site, effect, keys, selector, watched},
};
use http::{HeaderValue, StatusCode};

/// The shop on every backend, and somebody it knows.
async fn sites() -> Vec<Site> {
    let sites = Site::everywhere(&Settings::default()).await;
    for site in &sites {
        assert_eq!(site.browser.post("/name/Ada").await.status(), 200);
    }
    sites
}

/// A page as for a stranger, from a response that keeps to the grammar.
fn is_strange(response: &TestResponse) -> bool {
    grammar::set_cookies(response.headers());
    (response.status(), &*response.text()) == (StatusCode::OK, FRESH)
}

/// Spellings that some parser decodes, trims, folds or cuts to `__Host-id`.
const NAMES: [&[u8]; 38] = [
    b"%5F%5FHost-id",
    b"%5f%5fHost-id",
    b"_%5FHost-id",
    b"__Host%2Did",
    b"%255F%255FHost-id",
    b"..Host-id",
    b"._Host-id",
    b"  Host-id",
    b"[_Host-id",
    b"=__Host-id",
    b"==__Host-id",
    b"__HOST-id",
    b"__host-id",
    b"__Host-ID",
    b"__HOST-ID",
    b"__Secure-id",
    b"__Http-id",
    b"__Host-Http-id",
    b" __Host-id",
    b"  __Host-id",
    b"\t__Host-id",
    b"__Host-id ",
    b"__Host-id\t",
    b"__Host -id",
    b"__Host-\tid",
    b"\"__Host-id\"",
    b"\"__Host-id",
    b"'__Host-id'",
    b"\\137\\137Host-id",
    b"\\__Host-id",
    b"__Host-id[]",
    b"__Host-id.x",
    b"__Host-idx",
    b"x__Host-id",
    b"$Version=1,__Host-id",
    b"$Path=/; =__Host-id",
    b"\xef\xbc\xbf_Host-id",
    b"\xc2\xa0__Host-id",
];

#[tokio::test]
async fn no_other_spelling_of_the_name_is_our_cookie_and_none_is_cleared() {
    for site in sites().await {
        let ours = site.token();
        for name in NAMES {
            let pair = [name, b"=", ours.as_bytes()].concat();
            for fields in [&[&pair[..]][..], &[b"a=1", &pair], &[&[b"a=1; ", &pair[..]].concat()]] {
                let shown = format!(
                    "{}: {:?}",
                    site.backend,
                    fields.iter().map(|field| field.escape_ascii().to_string()).collect::<Vec<_>>()
                );
                let response = site.send("/", fields).await;
                assert!(is_strange(&response), "{shown} opens the session");
                assert_eq!(effect(&response), Effect::Nothing, "{shown}");
                // ... and beside the real one it does not count.
                let cookie = format!("{COOKIE}={ours}");
                let beside: Vec<&[u8]> = [cookie.as_bytes()].into_iter().chain(fields.iter().copied()).collect();
                assert_eq!(site.send("/", &beside).await.text(), "Ada:0", "{shown}");
            }
        }
    }
}

#[tokio::test]
async fn a_name_is_matched_to_the_letter_whatever_the_policy_calls_it() {
    for name in ["__Host-shop", "__HOST-shop", "__Secure-shop", "Shop", "s.h-o_p!"] {
        let policy = CookiePolicy::default().name(name).unwrap();
        let site = Site::with(CookieStore::new(keys()), &Settings::cookie(policy));
        site.browser.post("/name/Ada").await;
        let value = site.browser.cookie(name).unwrap();
        let of = async |name: &str| site.send("/", &[format!("{name}={value}").as_bytes()]).await;
        assert_eq!(of(name).await.text(), "Ada:0");
        let variants =
            [name.to_uppercase(), name.to_lowercase(), name.replace('-', "%2D"), name.replace('o', "%6F"), format!("{name}.")];
        for variant in variants.iter().filter(|variant| *variant != name) {
            assert!(is_strange(&of(variant).await), "{variant} is taken for {name}");
        }
    }
}

/// Spellings of a value that some parser takes for that value.
fn spellings(value: &str) -> Vec<Vec<u8>> {
    let (first, rest) = value.split_at(1);
    let octal = format!("\\{:03o}", first.as_bytes()[0]);
    let hex = format!("%{:02X}", first.as_bytes()[0]);
    let mut spellings: Vec<Vec<u8>> = [
        format!("\"{value}\""),
        format!("\"{value}"),
        format!("{value}\""),
        format!("\"\"{value}\"\""),
        format!("'{value}'"),
        format!("\"{octal}{rest}\""),
        format!("{octal}{rest}"),
        format!("\"\\{value}\""),
        format!("{hex}{rest}"),
        format!("\"{hex}{rest}\""),
        format!(" {value}"),
        format!("{value} "),
        format!("\t{value}"),
        format!("{value}\t"),
        format!("={value}"),
        format!("{value}="),
        format!("{value}=="),
        format!("{value},"),
        format!("{value}, {COOKIE}={value}"),
        format!("{first} {rest}"),
        value.to_uppercase(),
        value.to_lowercase(),
        format!("{value}{value}"),
        format!("j:{value}"),
        format!("s:{value}.signature"),
    ]
    .map(String::into_bytes)
    .into();
    spellings.push([b"\xef\xbb\xbf", value.as_bytes()].concat());
    spellings
}

#[tokio::test]
async fn no_other_spelling_of_the_value_opens_the_session_and_each_is_cleared() {
    for site in sites().await {
        let ours = site.token();
        for spelling in spellings(&ours) {
            let field = [COOKIE.as_bytes(), b"=", &spelling].concat();
            let shown = format!("{}: {}", site.backend, spelling.escape_ascii());
            let response = site.send("/", &[&field]).await;
            assert!(is_strange(&response), "{shown}");
            assert_eq!(effect(&response), Effect::Clear, "{shown}");
            let Effect::Set(new) = effect(&site.send("/visit", &[&field]).await) else {
                panic!("a write begins a session: {shown}")
            };
            assert_ne!(new, ours);
            assert_eq!(site.present("/", &new).await.text(), ":1", "{shown}");
        }
    }
}

#[tokio::test]
async fn what_would_end_a_line_is_no_header_and_no_other_byte_reaches_a_response() {
    let sites = sites().await;
    for byte in 0..=255u8 {
        let anywhere: [Vec<u8>; 5] = [
            [&[byte][..], b"__Host-id=x"].concat(),
            [b"__Host", &[byte][..], b"-id=x"].concat(),
            [b"__Host-id", &[byte][..], b"=x"].concat(),
            [b"__Host-id=", &[byte][..], b"Set-Cookie: a=b"].concat(),
            [b"__Host-id=0123456789abcdef", &[byte][..]].concat(),
        ];
        let carried = anywhere.iter().filter(|field| HeaderValue::from_bytes(field).is_ok()).count();
        let control = (byte < 0x20 && byte != b'\t') || byte == 0x7f;
        assert_eq!(carried, if control { 0 } else { anywhere.len() }, "byte {byte:#04x}");
        for site in sites.iter().filter(|_| !control) {
            for field in &anywhere {
                let response = site.send("/visit", &[field]).await;
                let lines = grammar::set_cookies(response.headers());
                let [line] = &lines[..] else { panic!("{}: {lines:?}", field.escape_ascii()) };
                let (name, value, attributes) = grammar::set_cookie(line);
                assert_eq!((name, attributes), (COOKIE, vec!["HttpOnly", "SameSite=Lax", "Secure", "Path=/"]));
                assert!(value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)), "{line}");
                assert!(!value.contains("0123456789abcdef"));
                assert!(!response.headers().values().any(|value| value.as_bytes().windows(8).any(|part| part == b"01234567")));
            }
        }
    }
    for field in ["__Host-id=x\r\nSet-Cookie: a=b", "__Host-id=x\r\n a=b", "__Host-\r\nid=x", "__Host-id=x\0", "\n__Host-id=x"]
    {
        assert!(HeaderValue::from_bytes(field.as_bytes()).is_err(), "{field:?}");
    }
}

#[tokio::test]
async fn duplicates_count_once_and_differing_ones_if_they_open_in_any_fields() {
    for site in sites().await {
        let ours = format!("{COOKIE}={}", site.token());
        let quoted = format!("{COOKIE}=\"{}\"", site.token());
        // Another session's would make both ambiguous: `scopes` has that.
        let (other, empty) = (format!("{COOKIE}={}", "A".repeat(43)), format!("{COOKIE}="));
        // As one field, as one for each, and among others.
        let fields = |cookies: &[&String]| -> Vec<Vec<String>> {
            let list: Vec<String> = cookies.iter().map(|cookie| (*cookie).clone()).collect();
            vec![
                vec![list.join("; ")],
                vec![list.join(";")],
                list.clone(),
                vec![format!("a=1; {}", list[0]), "b=2".to_owned(), format!("{}; c=3", list[1..].join("; "))],
            ]
        };
        let answer = async |fields: Vec<String>| {
            let fields: Vec<&[u8]> = fields.iter().map(String::as_bytes).collect();
            site.send("/", &fields).await
        };
        for same in fields(&[&ours, &ours]).into_iter().chain(fields(&[&ours, &ours, &ours])) {
            assert_eq!(answer(same.clone()).await.text(), "Ada:0", "{same:?}");
        }
        for pair in [[&ours, &other], [&other, &ours], [&ours, &quoted], [&quoted, &ours], [&ours, &empty], [&empty, &ours]] {
            let threes = [fields(&[pair[0], pair[1], pair[0]]), fields(&[pair[0], pair[0], pair[1]])];
            for differing in fields(&pair).into_iter().chain(threes.into_iter().flatten()) {
                let events = Events::capture();
                let response = answer(differing.clone()).await;
                assert_eq!((&*response.text(), effect(&response)), ("Ada:0", Effect::Nothing), "{differing:?}");
                let said = events.take();
                assert!(said.len() == 2 && said[0].contains("session.twins") && said[1].contains("session.loaded"), "{said:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_write_beside_cookies_that_are_not_ours_begins_a_session_with_nothing_of_theirs() {
    let store = watched();
    let site = Site::on(store.clone());
    site.browser.post("/name/Ada").await;
    let ours = site.token();
    store.take();
    for (at, name) in NAMES.iter().enumerate() {
        let field = [name, &b"="[..], ours.as_bytes()].concat();
        let Effect::Set(token) = effect(&site.send("/visit", &[&field]).await) else { panic!("a new session") };
        assert_ne!(selector(&token), selector(&ours));
        assert_eq!(store.inner().inner().len(), at + 2);
    }
    assert_eq!(store.count(cloakroom::testing::Operation::Load), 0, "none of them was looked up");
}
