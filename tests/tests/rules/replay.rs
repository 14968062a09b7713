//! Copies, cuts and forgeries: of sealed cookies, of what lies in a store, and of sessions that have ended.

use axum::{Router, routing::any};
use base64ct::{Base64, Base64Url, Base64UrlUnpadded, Encoding};
use cloakroom::{
    CookiePolicy, Lifetime, SessionData, TypedSession,
    record::Header,
    store::{CookieStore, MemoryStore, SessionStore, SqliteStore},
    testing::{ManualClock, TestResponse},
};
use cloakroom_tests::{
    grammar,
    site::{COOKIE, Effect, FRESH, Settings, Site, effect, keys, record, seconds, selector, shop},
};
use std::{collections::BTreeSet, time::SystemTime};

/// A page as for a stranger, and the cookie taken back.
async fn is_refused(site: &Site, value: &str) -> bool {
    let response = site.present("/", value).await;
    grammar::set_cookies(response.headers());
    (response.status().as_u16(), &*response.text(), effect(&response)) == (200, FRESH, Effect::Clear)
}

async fn sealed() -> (Site, Vec<u8>) {
    let site = Site::on(CookieStore::new(keys()));
    site.browser.post("/name/Ada").await;
    let bytes = Base64UrlUnpadded::decode_vec(&site.token()).unwrap();
    (site, bytes)
}

fn text(bytes: &[u8]) -> String {
    Base64UrlUnpadded::encode_string(bytes)
}

#[tokio::test]
async fn a_sealed_cookie_without_any_number_of_its_last_bytes_opens_nothing() {
    let (site, whole) = sealed().await;
    // A tag of 1 to 15 bytes, none at all, and then the content shorter and shorter, down to nothing.
    for dropped in 1..=whole.len() {
        assert!(is_refused(&site, &text(&whole[..whole.len() - dropped])).await, "without its last {dropped} bytes");
    }
    assert!(whole.len() > 40);
    // Cut and filled up again to its length.
    for dropped in 1..=40 {
        for fill in [0, 0xff] {
            let mut filled = whole.clone();
            let cut = filled.len() - dropped;
            filled[cut..].fill(fill);
            assert!(is_refused(&site, &text(&filled)).await || filled == whole, "{dropped} bytes of {fill}");
        }
    }
    assert_eq!(site.present("/", &text(&whole)).await.text(), "Ada:0");
}

#[tokio::test]
async fn a_sealed_cookie_with_any_byte_changed_doubled_or_left_out_opens_nothing() {
    let (site, whole) = sealed().await;
    for at in 0..whole.len() {
        for mask in [0x01, 0x80, 0xff] {
            let mut flipped = whole.clone();
            flipped[at] ^= mask;
            assert!(is_refused(&site, &text(&flipped)).await, "byte {at} changed by {mask:#04x}");
        }
        let without = [&whole[..at], &whole[at + 1..]].concat();
        let doubled = [&whole[..at], &whole[at..=at], &whole[at..]].concat();
        assert!(is_refused(&site, &text(&without)).await, "byte {at} left out");
        assert!(is_refused(&site, &text(&doubled)).await, "byte {at} doubled");
    }
    for more in 1..=16 {
        assert!(is_refused(&site, &text(&[&whole[..], &vec![0; more]].concat())).await, "{more} bytes more");
    }
}

#[tokio::test]
async fn parts_of_two_sealed_cookies_of_one_key_open_nothing_together() {
    let (site, first) = sealed().await;
    let browser = site.browser.fork();
    browser.clear_cookies();
    browser.post("/name/Bob").await;
    let second = Base64UrlUnpadded::decode_vec(&browser.cookie(COOKIE).unwrap()).unwrap();
    assert_eq!(first.len(), second.len());
    for at in 0..=first.len() {
        let spliced = [&first[..at], &second[at..]].concat();
        let own = spliced == first || spliced == second;
        assert_eq!(is_refused(&site, &text(&spliced)).await, !own, "spliced at {at}");
    }
}

#[tokio::test]
async fn sealed_cookies_swapped_between_names_that_share_a_key_open_nothing() {
    // Pairs that read alike where names are joined without their lengths, folded or cut.
    let names = ["__Host-a", "__Host-ab", "__Host-b", "__HOST-a", "__Secure-a", "a", "A"];
    let mut seals = Vec::new();
    for name in names {
        let policy = CookiePolicy::default().name(name).unwrap();
        let site = Site::with(CookieStore::new(keys()), &Settings::cookie(policy));
        site.browser.post("/name/Ada").await;
        seals.push((name, site.browser.cookie(name).unwrap(), site));
    }
    for (at, _, site) in &seals {
        for (sealed_as, value, _) in &seals {
            let response = site.send("/", &[format!("{at}={value}").as_bytes()]).await;
            let opened = response.text() == "Ada:0";
            assert_eq!(opened, at == sealed_as, "sealed as {sealed_as}, presented as {at}");
            assert!(opened || response.set_cookies().iter().all(|line| line.contains("; Max-Age=0;")));
        }
    }
}

#[derive(SessionData)]
#[session(name = "till")]
struct Till {
    name: String,
    views: u64,
}

#[derive(SessionData)]
#[session(name = "shop")]
struct OtherShop {
    name: u64,
    views: String,
}

#[tokio::test]
async fn a_sealed_cookie_of_another_type_shows_its_fields_to_no_struct_but_its_own() {
    let routes = || {
        Router::new()
            .route("/till", any(async |till: TypedSession<Till>| format!("{}:{}", *till.name, *till.views)))
            .route("/other", any(async |other: TypedSession<OtherShop>| format!("{}:{}", *other.name, *other.views)))
    };
    let (site, whole) = sealed().await;
    // Of another name: its cells are not looked at. Of the same name and another shape: they are refused.
    for (uri, fresh) in [("/till", ":0"), ("/other", "0:")] {
        let other = Site::of(CookieStore::new(keys()), &Settings::default(), routes());
        assert_eq!(other.present(uri, &text(&whole)).await.text(), fresh);
    }
    assert_eq!(site.browser.get("/").await.text(), "Ada:0");
}

#[tokio::test]
async fn unsigned_signed_and_otherwise_sealed_values_of_other_libraries_open_nothing() {
    let (sealed, whole) = sealed().await;
    let json = br#"{"shop/name": "admin", "name": "admin", "views": 7}"#;
    let mut values: Vec<String> = vec![
        String::from_utf8(json.to_vec()).unwrap().replace([' ', '"', ','], ""),
        "name=admin&views=7".to_owned(),
        Base64::encode_string(json),
        Base64Url::encode_string(json),
        Base64UrlUnpadded::encode_string(json),
        // Django's signed cookies, with and without compression; Flask's; express'; a token without an algorithm.
        "eyJuYW1lIjoiYWRtaW4ifQ:1qQ8pC:QXJlYWxseWxvbmdzaWduYXR1cmVvZjI3Ynk".to_owned(),
        ".eJyrVspLzE1VslJKTMnNzFOqBQAr7gTz:1qQ8pC:QXJlYWxseWxvbmdzaWduYXR1cmVvZjI3Ynk".to_owned(),
        "eyJuYW1lIjoiYWRtaW4ifQ.YkXWaA.2rX0m3yqzTn0Yz8bqQbZpXv7n1k".to_owned(),
        "s%3Aadmin.2rX0m3yqzTn0Yz8bqQbZpXv7n1k".to_owned(),
        "eyJhbGciOiJub25lIn0.eyJuYW1lIjoiYWRtaW4ifQ.".to_owned(),
        // Ruby's marshalled hash with an HMAC behind it; a Fernet token; an empty value.
        "BAh7BkkiCW5hbWUGOgZFVEkiCmFkbWluBjsAVA==--2fd4e1c67a2d28fced849ee1bb76e7391b93eb12".to_owned(),
        "gAAAAABh0zQ4c2VjcmV0LWJ5dGVzLXRoYXQtb3Blbi1ub3RoaW5n".to_owned(),
        String::new(),
    ];
    // Our own content without a seal, behind the right head and behind that of formats that there are not.
    let content = {
        let session = MemoryStore::new();
        let site = Site::on(session.clone());
        site.browser.post("/name/Ada").await;
        let stored = record(&session, &selector(&site.token()), site.now()).await.unwrap();
        [&[7; 64][..], &stored.header.encode(), b"\x00"].concat()
    };
    for format in [0, 1, 2, 0xff] {
        values.push(text(&[&[format], &whole[1..5], &content[..]].concat()));
        values.push(text(&[&[format], &whole[1..5], &[0; 24], &content[..], &[0; 16]].concat()));
        values.push(text(&[&[format][..], &whole[5..]].concat()));
    }
    values.push(text(&content));
    values.push(text(&whole[..29]));
    // The key's name alone differs, or is missing.
    values.push(text(&[&[1, 0, 0, 0, 0], &whole[5..]].concat()));
    values.push(text(&[&whole[..1], &whole[5..]].concat()));
    let server = Site::on(MemoryStore::new());
    for value in values {
        assert!(is_refused(&sealed, &value).await, "{value}");
        assert!(is_refused(&server, &value).await, "{value}");
    }
}

/// Cookies that a thief can make of a dump: everything that is 32 bytes long, and of everything shorter each joined to a selector.
fn forged(dump: &[Vec<u8>], selector: &[u8; 16]) -> BTreeSet<String> {
    let whole: Vec<u8> = dump.concat();
    let mut cookies: BTreeSet<String> = whole.windows(32).map(text).collect();
    cookies.extend(whole.windows(16).map(|part| text(&[selector, part].concat())));
    for part in dump {
        let hex: String = part.iter().map(|byte| format!("{byte:02x}")).collect();
        cookies.extend([text(part), hex, part.escape_ascii().to_string().replace([';', ' ', '"', '\\'], "")]);
    }
    cookies
}

/// A dump replayed: the answers to each forged cookie. The one secret in it that counts is its hash.
async fn replayed(site: &Site, dump: &[Vec<u8>], token: &str) {
    let own = selector(token);
    let mut tried = 0;
    for cookie in forged(dump, own.as_bytes()) {
        let response = site.present("/", &cookie).await;
        assert!(response.status() == 200 && response.text() == FRESH, "{cookie} opens a session");
        grammar::set_cookies(response.headers());
        tried += 1;
    }
    assert!(tried > 200, "{tried} cookies were tried");
    assert_eq!(site.present("/", token).await.text(), "Ada:0", "the token itself does");
}

/// What a record says about itself, field by field.
fn fields(header: &Header) -> Vec<Vec<u8>> {
    let mut fields = vec![header.secret_hash.as_bytes().to_vec(), header.wrapped_key.as_bytes().to_vec(), header.encode()];
    let half = |bytes: &[u8; 32]| [bytes[..16].to_vec(), bytes[16..].to_vec()];
    fields.extend(half(header.secret_hash.as_bytes()));
    fields.extend(half(header.wrapped_key.as_bytes()));
    fields
}

#[tokio::test]
async fn a_dump_of_the_store_in_memory_replayed_as_cookies_opens_nothing() {
    let store = MemoryStore::new();
    let site = Site::on(store.clone());
    site.browser.post("/name/Ada").await;
    // A rotated session has the hash of an earlier secret too.
    site.browser.post("/rotate").await;
    let token = site.token();
    let key = selector(&token);
    let stored = record(&store, &key, site.now()).await.unwrap();
    let mut dump = vec![key.as_bytes().to_vec(), key.handle().to_string().into_bytes()];
    dump.extend(fields(&stored.header));
    assert!(stored.header.previous.is_some());
    for cell in &stored.cells {
        dump.push(cell.key.as_bytes().to_vec());
        dump.push(cell.body.encode());
    }
    replayed(&site, &dump, &token).await;
}

#[tokio::test]
async fn a_dump_of_a_database_replayed_as_cookies_opens_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessions.db");
    let site = Site::on(SqliteStore::open(&path).await.unwrap());
    site.browser.post("/name/Ada").await;
    let token = site.token();
    let mut dump = vec![selector(&token).handle().to_string().into_bytes()];
    let database = rusqlite::Connection::open(&path).unwrap();
    for (table, columns) in [("cloakroom_record", 4), ("cloakroom_cell", 4)] {
        let mut statement = database.prepare(&format!("SELECT * FROM {table}")).unwrap();
        let mut rows = statement.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            for column in 0..columns {
                match row.get_ref(column).unwrap() {
                    rusqlite::types::ValueRef::Blob(bytes) | rusqlite::types::ValueRef::Text(bytes) => {
                        dump.push(bytes.to_vec())
                    }
                    rusqlite::types::ValueRef::Integer(number) => dump.push(number.to_le_bytes().to_vec()),
                    _ => {}
                }
            }
        }
    }
    assert!(dump.len() > 5, "{dump:?}");
    replayed(&site, &dump, &token).await;
}

/// What came back after a deadline is a stranger: served, and told to forget the cookie.
fn is_anonymous(response: &TestResponse) -> bool {
    (response.status().as_u16(), &*response.text(), effect(response)) == (200, FRESH, Effect::Clear)
}

#[tokio::test]
async fn a_cookie_replayed_after_either_deadline_is_a_stranger_on_every_backend() {
    let lasting = Lifetime::new(seconds(100), seconds(250)).unwrap();
    for site in Site::everywhere(&Settings::lasting(lasting)).await {
        let backend = site.backend;
        site.browser.post("/name/Ada").await;
        let copy = site.token();
        site.clock.advance(seconds(99));
        assert_eq!(site.browser.get("/").await.text(), "Ada:0", "{backend}: a use, which moves the idle deadline");
        let newer = site.token();
        site.clock.advance(seconds(100));
        for late in [&copy, &newer] {
            assert!(is_anonymous(&site.present("/", late).await), "{backend}: idle");
            assert_eq!(site.present("/destroy", late).await.status(), 200, "{backend}");
            let Effect::Set(begun) = effect(&site.present("/visit", late).await) else { panic!("{backend}: a new session") };
            assert_ne!(&begun, late);
            assert_eq!(site.present("/", &begun).await.text(), ":1", "{backend}: with nothing of the old one");
        }
    }
    for site in Site::everywhere(&Settings::lasting(lasting)).await {
        let backend = site.backend;
        site.browser.post("/name/Ada").await;
        let mut copies = BTreeSet::from([site.token()]);
        for _ in 0..4 {
            site.clock.advance(seconds(60));
            assert_eq!(site.browser.get("/").await.text(), "Ada:0", "{backend}");
            copies.insert(site.token());
        }
        site.clock.advance(seconds(10));
        for copy in &copies {
            assert!(
                is_anonymous(&site.present("/", copy).await),
                "{backend}: past the absolute deadline however often it was used"
            );
        }
        site.clock.advance(Lifetime::MAX);
        assert!(is_anonymous(&site.present("/", copies.first().unwrap()).await), "{backend}: a year later");
    }
}

#[tokio::test]
async fn after_signing_out_the_old_cookie_begins_a_session_under_another_id() {
    async fn on<S: SessionStore + Clone>(store: S) {
        let site = Site::of(store.clone(), &Settings::default(), shop());
        site.browser.post("/name/Ada").await;
        let old = site.token();
        assert_eq!(effect(&site.browser.post("/destroy").await), Effect::Clear);
        for _ in 0..2 {
            let Effect::Set(new) = effect(&site.present("/name/Bob", &old).await) else { panic!("a new session") };
            assert_ne!(selector(&new), selector(&old), "the id is not used again");
            assert_eq!(site.present("/", &new).await.text(), "Bob:0");
            assert!(record(&store, &selector(&old), site.now()).await.is_none());
            assert!(is_refused(&site, &old).await);
        }
    }
    on(MemoryStore::new()).await;
    on(SqliteStore::in_memory().await.unwrap()).await;
}

#[tokio::test]
async fn a_seal_last_used_far_ahead_of_this_clock_is_refused() {
    let start = SystemTime::UNIX_EPOCH + seconds(1_800_000_000);
    let at = |time| Site::at(ManualClock::new(time), CookieStore::new(keys()), &Settings::default(), shop());
    let (here, ahead) = (at(start), at(start + seconds(6 * 3600)));
    here.browser.post("/name/Ada").await;
    let begun = here.token();
    let Effect::Set(used) = effect(&ahead.present("/visit", &begun).await) else { panic!("a new seal") };
    assert_eq!(ahead.present("/", &used).await.text(), "Ada:1");
    assert!(is_refused(&here, &used).await, "begun here, and used on a server whose clock is ahead");
    assert_eq!(here.present("/", &begun).await.text(), "Ada:0");
}
