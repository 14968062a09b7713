//! What `#[session(secret)]` keeps from a store, from other sessions and from logs, and what it leaves as it is.

use axum::{
    Router,
    routing::{get, post},
};
use base64ct::{Base64UrlUnpadded, Encoding};
use cloakroom::{
    Field, SessionData, SessionError, SessionLayer, TypedSession, limits,
    record::{CellBody, CodecId, CommitOutcome, Content, Patch, Payload, Rotation, SecretHash, Shape, WrappedKey},
    store::{CookieStore, MemoryStore, SessionStore, SqliteStore},
    testing::TestClient,
};
use cloakroom_tests::{
    events::Events,
    shop::{Browser, House},
    site::{COOKIE, keys, selector},
};
use serde::{Deserialize, Serialize, Serializer};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

/// What nobody may find where it does not belong.
const TOKEN: &str = "ya29.the-token-of-a-mailbox";
const SECOND: &str = "1//the-token-that-renews-it";
const ANSWER: &str = "Rex-the-first-pet";

/// What nonce and tag add.
const SEAL: usize = 24 + 16;

#[derive(SessionData)]
struct Vault {
    shown: String,
    #[session(secret)]
    token: Option<String>,
    #[session(secret)]
    renew: Option<String>,
    #[session(secret, merge = "add")]
    tries: u64,
    #[session(secret, ttl = "10m")]
    code: Option<u32>,
    #[session(secret, opaque)]
    answers: BTreeMap<String, String>,
    #[session(secret, lossy)]
    hint: String,
}

const KEYS: [&str; 7] =
    ["vault/shown", "vault/token", "vault/renew", "vault/tries", "vault/code", "vault/answers", "vault/hint"];

#[derive(SessionData)]
#[session(secret)]
struct Whole {
    pin: Option<u16>,
    note: String,
}

fn show(s: &TypedSession<Vault>) -> String {
    format!("{} {:?} {:?} {} {:?} {:?} {}", s.shown, *s.token, *s.renew, s.tries, *s.code, *s.answers, s.hint)
}

const EMPTY: &str = " None None 0 None {} ";

fn full() -> String {
    format!("in the window Some({TOKEN:?}) Some({SECOND:?}) 1 Some(123456) {{\"pet\": {ANSWER:?}}} a dog")
}

fn routes() -> Router {
    let fill = |mut s: TypedSession<Vault>, mut whole: TypedSession<Whole>| async move {
        *s.shown = "in the window".into();
        *s.token = Some(TOKEN.into());
        *s.renew = Some(SECOND.into());
        *s.tries = 1;
        *s.code = Some(123_456);
        s.answers.insert("pet".into(), ANSWER.into());
        *s.hint = "a dog".into();
        *whole.pin = Some(4711);
    };
    let again = |mut s: TypedSession<Vault>| async move {
        *s.token = Some(TOKEN.into());
        s.answers.insert("pet".into(), ANSWER.into());
        *s.tries += 0;
    };
    Router::new()
        .route("/fill", post(fill))
        .route("/", get(|s: TypedSession<Vault>| async move { show(&s) }))
        .route("/pin", get(|s: TypedSession<Whole>| async move { format!("{:?} {:?}", *s.pin, *s.note) }))
        .route("/again", post(again))
        .route("/force", post(|mut s: TypedSession<Vault>| async move { Field::force(&mut s.token) }))
        .route("/try", post(|mut s: TypedSession<Vault>| async move { *s.tries += 1 }))
        .route("/shown", post(|mut s: TypedSession<Vault>| async move { s.shown.push('!') }))
        .route("/rotate", post(|mut s: TypedSession<Vault>| async move { s.rotate() }))
        .route("/clear", post(|mut s: TypedSession<Vault>| async move { s.clear() }))
        .route("/leave", post(|mut s: TypedSession<Vault>| async move { s.destroy() }))
}

async fn filled<S: SessionStore + Clone>(store: S) -> (House<S>, Browser) {
    let house = House::over(store);
    let browser = house.browser(routes());
    assert_eq!(browser.post("/fill").await.status(), 200);
    house.log();
    (house, browser)
}

async fn cell<S: SessionStore + Clone>(house: &House<S>, browser: &Browser, key: &str) -> CellBody {
    house.record(browser).await.unwrap().cells.get(key).unwrap().body.clone()
}

/// Whether a cell with a value is sealed, and the bytes of its payload.
fn value(body: &CellBody) -> (bool, Vec<u8>) {
    let Content::Value { sealed, payload, .. } = &body.content else { panic!("no value: {body:?}") };
    (*sealed, payload.to_vec())
}

fn altered(mut body: CellBody, alter: impl FnOnce(&mut CodecId, &mut Shape, &mut bool, &mut Vec<u8>)) -> CellBody {
    let Content::Value { codec, shape, sealed, payload } = &mut body.content else { panic!("no value") };
    let mut bytes = payload.to_vec();
    alter(codec, shape, sealed, &mut bytes);
    *payload = Payload::from(&bytes[..]);
    body
}

fn contains(hay: &[u8], needle: &[u8]) -> bool {
    hay.windows(needle.len()).any(|window| window == needle)
}

async fn round_trip<S: SessionStore + Clone>(store: S) {
    let (house, browser) = filled(store).await;
    assert_eq!(browser.get("/").await.text(), full());
    assert_eq!(browser.get("/pin").await.text(), "Some(4711) \"\"");
    let cells = house.record(&browser).await.unwrap().cells;
    for cell in &cells {
        let (sealed, bytes) = value(&cell.body);
        assert_eq!(sealed, &*cell.key != "vault/shown", "{}", cell.key);
        for secret in [TOKEN, SECOND, ANSWER] {
            assert!(!contains(&bytes, secret.as_bytes()), "{} shows {secret}", cell.key);
        }
    }
    assert_eq!(cells.len(), 8, "{cells:?}");
    assert_eq!(value(&cells.get("vault/tries").unwrap().body).1.len(), 1 + SEAL);

    for _ in 0..2 {
        assert_eq!(browser.post("/try").await.status(), 200);
    }
    assert_eq!(browser.get("/").await.text(), full().replace(" 1 ", " 3 "));
}

#[tokio::test]
async fn a_secret_comes_back_and_lies_sealed_in_the_store() {
    round_trip(MemoryStore::new()).await;
    round_trip(SqliteStore::in_memory().await.unwrap()).await;
}

#[tokio::test]
async fn the_files_of_a_database_hold_no_token_no_session_key_and_no_secret_in_the_clear() {
    let folder = tempfile::tempdir().unwrap();
    let (house, browser) = filled(SqliteStore::open(folder.path().join("sessions.db")).await.unwrap()).await;
    let mut tokens = vec![browser.cookie(COOKIE).unwrap()];
    browser.post("/rotate").await;
    browser.post("/force").await;
    tokens.push(browser.cookie(COOKIE).unwrap());
    assert_eq!(browser.get("/").await.text(), full());

    let header = house.record(&browser).await.unwrap().header;
    let mut secrets: Vec<(&str, Vec<u8>)> =
        [TOKEN, SECOND, ANSWER].map(|secret| ("the value of a field", secret.as_bytes().to_vec())).into();
    for token in &tokens {
        let bytes = Base64UrlUnpadded::decode_vec(token).unwrap();
        secrets.push(("a cookie", token.as_bytes().to_vec()));
        secrets.push(("the secret of a token", bytes[16..].to_vec()));
        let pad = blake3::derive_key("cloakroom 1 session key wrap", &bytes);
        let key: [u8; 32] = std::array::from_fn(|at| header.wrapped_key.as_bytes()[at] ^ pad[at]);
        if token == tokens.last().unwrap() {
            secrets.push(("the sub-key", blake3::derive_key("cloakroom 1 secret cells", &key).to_vec()));
            secrets.push(("the session key", key.to_vec()));
        }
    }
    let files: Vec<Vec<u8>> =
        std::fs::read_dir(folder.path()).unwrap().map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect();
    let found = |what: &[u8]| files.iter().any(|file| contains(file, what));
    assert!(found(b"in the window"), "what is not secret is found, so the search finds what is there");
    assert!(found(header.wrapped_key.as_bytes()) && found(selector(&tokens[0]).as_bytes()));
    assert!(files.len() > 1, "the write-ahead log is looked at too");
    for (what, bytes) in secrets {
        assert!(!found(&bytes), "{what} lies in the database");
    }
}

async fn copied<S: SessionStore + Clone>(store: S) {
    let (house, browser) = filled(store).await;
    let thief = house.browser(routes());
    thief.post("/fill").await;
    thief.post("/clear").await;
    let loot = house.record(&browser).await.unwrap().cells;
    for key in ["vault/token", "vault/tries", "vault/answers"] {
        let events = Events::capture();
        house.plant(&thief, [(key, loot.get(key).unwrap().body.clone())]).await;
        assert_eq!(thief.get("/").await.text(), EMPTY, "{key}");
        let said = events.take().join("\n");
        assert_eq!(said.matches("session.undecodable").count(), 1, "{said}");
        assert!(said.contains("its seal does not open"), "{said}");
        thief.post("/shown").await;
        assert_eq!(thief.get("/").await.text(), format!("!{EMPTY}"), "the first write heals it");
        thief.post("/clear").await;
    }
    let all = KEYS.map(|key| (key, loot.get(key).unwrap().body.clone()));
    house.plant(&thief, all).await;
    assert_eq!(thief.get("/").await.text(), EMPTY);
    assert_eq!(browser.get("/").await.text(), full());
}

#[tokio::test]
async fn a_cell_copied_to_another_session_opens_nothing_there() {
    copied(MemoryStore::new()).await;
    copied(SqliteStore::in_memory().await.unwrap()).await;
}

#[tokio::test]
async fn two_secrets_of_one_session_swapped_in_the_store_open_nothing() {
    let (house, browser) = filled(MemoryStore::new()).await;
    let events = Events::capture();
    let (token, renew) = (cell(&house, &browser, "vault/token").await, cell(&house, &browser, "vault/renew").await);
    house.plant(&browser, [("vault/token", renew), ("vault/renew", token)]).await;
    assert_eq!(browser.get("/").await.text(), EMPTY);
    assert_eq!(browser.get("/pin").await.text(), "Some(4711) \"\"", "other schemas load");
    assert_eq!(events.count("session.undecodable"), 1);
}

type Alteration = fn(&mut CodecId, &mut Shape, &mut bool, &mut Vec<u8>);

const CORRUPTIONS: [(&str, Alteration); 9] = [
    ("a byte of the nonce changed", |_, _, _, bytes| bytes[0] ^= 1),
    ("a byte of the ciphertext changed", |_, _, _, bytes| bytes[24] ^= 1),
    ("a byte of the tag changed", |_, _, _, bytes| *bytes.last_mut().unwrap() ^= 1),
    ("truncated", |_, _, _, bytes| bytes.truncate(bytes.len() - 1)),
    ("shorter than a seal", |_, _, _, bytes| bytes.truncate(7)),
    ("another codec", |codec, _, _, _| *codec = CodecId::POSTCARD),
    ("another shape", |_, shape, _, _| *shape = Shape::from_u64(1)),
    ("sealed bytes that claim to be plain", |_, _, sealed, _| *sealed = false),
    ("plain bytes that claim to be sealed", |_, _, _, bytes| *bytes = [&[1, 27], TOKEN.as_bytes()].concat()),
];

#[tokio::test]
async fn a_seal_that_does_not_open_is_a_cell_that_cannot_be_read() {
    for (what, alteration) in CORRUPTIONS {
        let (house, browser) = filled(MemoryStore::new()).await;
        let events = Events::capture();
        let broken = altered(cell(&house, &browser, "vault/token").await, alteration);
        house.plant(&browser, [("vault/token", broken.clone())]).await;
        let response = browser.get("/").await;
        assert_eq!((response.status().as_u16(), response.text().as_str()), (200, EMPTY), "{what}");
        assert_eq!(events.count("session.undecodable"), 1, "{what}");
        assert_eq!(cell(&house, &browser, "vault/token").await, broken, "a read leaves every byte in place: {what}");
        browser.post("/try").await;
        assert_eq!(browser.get("/").await.text(), EMPTY.replace('0', "1"), "the first write heals it: {what}");
        assert_eq!(cell(&house, &browser, "vault/token").await.content, Content::Tombstone);
    }
}

#[tokio::test]
async fn a_lossy_secret_falls_back_alone() {
    let (house, browser) = filled(MemoryStore::new()).await;
    let broken = altered(cell(&house, &browser, "vault/hint").await, |_, _, _, bytes| bytes[30] ^= 1);
    house.plant(&browser, [("vault/hint", broken)]).await;
    assert_eq!(browser.get("/").await.text(), full().trim_end_matches("a dog"));
}

#[tokio::test]
async fn a_rotation_keeps_secrets_readable_and_sealed() {
    let (house, browser) = filled(MemoryStore::new()).await;
    let before = (browser.cookie(COOKIE), cell(&house, &browser, "vault/token").await);
    for _ in 0..2 {
        browser.post("/rotate").await;
        assert_eq!(browser.get("/").await.text(), full());
    }
    assert_ne!(browser.cookie(COOKIE), before.0);
    assert_eq!(cell(&house, &browser, "vault/token").await, before.1, "nothing is sealed again for it");

    let write = |mut s: TypedSession<Vault>| async move {
        s.rotate();
        *s.renew = None;
        s.save().await.unwrap();
        *s.tries += 1;
        s.save().await.unwrap();
        s.reload().await.unwrap();
        assert_eq!((s.token.as_deref(), *s.tries), (Some(TOKEN), 2));
        *s.tries += 1;
    };
    let app = house.browser(routes().route("/write", post(write)));
    app.set_cookie(COOKIE, browser.cookie(COOKIE).unwrap());
    assert_eq!(app.post("/write").await.status(), 200);
    assert_eq!(app.get("/").await.text(), full().replace(&format!("Some({SECOND:?}) 1"), "None 3"));
}

#[tokio::test]
async fn both_secrets_of_a_renewal_open_and_write_the_same_cells() {
    let (house, old) = filled(MemoryStore::new()).await;
    let token = Base64UrlUnpadded::decode_vec(&old.cookie(COOKIE).unwrap()).unwrap();
    let renewed = [&token[..16], &[7; 16]].concat();
    let pad = |token: &[u8]| blake3::derive_key("cloakroom 1 session key wrap", token);
    let hash = |token: &[u8]| SecretHash::from_bytes(blake3::hash(&token[16..]).into());
    let header = house.record(&old).await.unwrap().header;
    let wrapped: [u8; 32] = std::array::from_fn(|at| header.wrapped_key.as_bytes()[at] ^ pad(&token)[at] ^ pad(&renewed)[at]);
    let mut patch = Patch::new(header.epoch, house.now());
    patch.rotation =
        Some(Rotation::Renewal { from: hash(&token), to: hash(&renewed), wrapped_key: WrappedKey::from_bytes(wrapped) });
    let outcome = house.store.commit(&selector(&old.cookie(COOKIE).unwrap()), &patch).await.unwrap();
    assert!(matches!(outcome, CommitOutcome::Committed { rotated: true, .. }), "{outcome:?}");
    let new = house.browser(routes());
    new.set_cookie(COOKIE, Base64UrlUnpadded::encode_string(&renewed));

    assert_eq!(old.get("/").await.text(), full(), "its response may be lost, so the old one still opens");
    old.post("/try").await;
    assert_eq!(new.get("/").await.text(), full().replace(" 1 ", " 2 "));
    new.post("/try").await;
    assert_eq!(new.get("/").await.text(), full().replace(" 1 ", " 3 "));
}

async fn added_up<S: SessionStore + Clone>(store: S) {
    let house = House::over(store);
    let tab = house.browser(routes());
    let second = tab.clone();
    let race = move |mut s: TypedSession<Vault>| async move {
        *s.tries += 10;
        assert_eq!(second.post("/try").await.status(), 200);
        s.save().await.unwrap();
        *s.tries += 100;
        assert_eq!(second.post("/try").await.status(), 200);
        s.reload().await.unwrap();
        assert_eq!(*s.tries, 113);
        assert_eq!(second.post("/try").await.status(), 200);
    };
    let browser = house.browser(routes().route("/race", post(race)));
    browser.post("/fill").await;
    tab.set_cookie(COOKIE, browser.cookie(COOKIE).unwrap());
    let events = Events::capture();
    assert_eq!(browser.post("/race").await.status(), 200);
    assert_eq!(events.count("session.merged"), 2);
    assert_eq!(browser.get("/").await.text(), full().replace(" 1 ", " 114 "));
    assert!(value(&cell(&house, &browser, "vault/tries").await).0);
}

#[tokio::test]
async fn concurrent_changes_of_a_secret_meet_under_its_rule() {
    added_up(MemoryStore::new()).await;
    added_up(SqliteStore::in_memory().await.unwrap()).await;
}

#[tokio::test]
async fn a_secret_that_did_not_change_is_not_written_though_its_seal_would_be_another() {
    let (house, browser) = filled(MemoryStore::new()).await;
    let before = value(&cell(&house, &browser, "vault/token").await).1;
    browser.post("/again").await;
    assert!(house.log().iter().all(|line| !line.contains("puts")), "nothing changed");
    assert_eq!(value(&cell(&house, &browser, "vault/token").await).1, before);
    browser.post("/force").await;
    let after = value(&cell(&house, &browser, "vault/token").await).1;
    assert_ne!(after, before, "the same value, sealed again, is other bytes");
    assert_eq!(after.len(), before.len());
    assert_eq!(browser.get("/").await.text(), full());
}

#[tokio::test]
async fn clearing_and_expiry_are_as_for_any_field() {
    let (house, browser) = filled(MemoryStore::new()).await;
    house.clock.advance(Duration::from_secs(600));
    assert_eq!(browser.get("/").await.text(), full().replace("Some(123456)", "None"));
    browser.post("/clear").await;
    for cell in &house.record(&browser).await.unwrap().cells {
        assert_eq!(cell.body.content == Content::Tombstone, cell.key.starts_with("vault/"), "{}", cell.key);
    }
    assert_eq!(browser.get("/").await.text(), EMPTY);
    browser.post("/fill").await;
    assert_eq!(browser.get("/").await.text(), full());
}

#[derive(SessionData)]
#[session(name = "vault")]
struct Before {
    shown: String,
    token: Option<String>,
    #[session(secret)]
    renew: Option<String>,
}

#[derive(SessionData)]
#[session(name = "vault")]
struct After {
    #[session(secret)]
    shown: String,
    #[session(secret)]
    token: Option<String>,
    renew: Option<String>,
}

#[tokio::test]
async fn a_field_that_becomes_secret_or_stops_being_it_is_read_and_changes_when_it_is_written() {
    let house = House::new();
    let begin = |mut s: TypedSession<Before>| async move {
        *s.shown = "in the window".into();
        *s.token = Some(TOKEN.into());
        *s.renew = Some(SECOND.into());
    };
    let before = house.browser(
        Router::new()
            .route("/begin", post(begin))
            .route("/", get(|s: TypedSession<Before>| async move { format!("{} {:?} {:?}", s.shown, s.token, *s.renew) })),
    );
    let after = house.browser(
        Router::new()
            .route("/", get(|s: TypedSession<After>| async move { format!("{} {:?} {:?}", s.shown, *s.token, s.renew) }))
            .route(
                "/write",
                post(|mut s: TypedSession<After>| async move {
                    *s.token = Some("another".into());
                    *s.renew = None;
                }),
            ),
    );
    before.post("/begin").await;
    after.set_cookie(COOKIE, before.cookie(COOKIE).unwrap());
    let all = format!("in the window Some({TOKEN:?}) Some({SECOND:?})");
    assert_eq!((before.get("/").await.text(), after.get("/").await.text()), (all.clone(), all));
    house.log();
    after.post("/write").await;
    let log = house.log().join("\n");
    assert!(log.contains("vault/token") && log.contains("vault/renew") && !log.contains("vault/shown"), "{log}");
    assert!(value(&cell(&house, &before, "vault/token").await).0, "sealed when it is written");
    assert!(!value(&cell(&house, &before, "vault/renew").await).0, "no longer sealed when it is written");
    assert!(!value(&cell(&house, &before, "vault/shown").await).0, "nobody wrote it");
    let all = "in the window Some(\"another\") None";
    assert_eq!((before.get("/").await.text(), after.get("/").await.text()), (all.to_owned(), all.to_owned()), "and back");
}

#[derive(SessionData)]
#[session(name = "safe")]
struct Plain {
    token: String,
}

#[derive(SessionData)]
#[session(name = "safe")]
struct Sealed {
    #[session(secret)]
    token: String,
}

#[tokio::test]
async fn a_cookie_is_sealed_once_and_secrets_in_it_survive_a_rotation() {
    let set = |token: String| token.repeat(30);
    let routes = Router::new()
        .route("/plain", post(move |mut s: TypedSession<Plain>| async move { *s.token = set("x".into()) }))
        .route("/sealed", post(move |mut s: TypedSession<Sealed>| async move { *s.token = set("x".into()) }))
        .route(
            "/size",
            get(|mut s: TypedSession<Sealed>| async move {
                s.token.push('y');
                s.changes()[0].size.unwrap().to_string()
            }),
        )
        .route("/rotate", post(|mut s: TypedSession<Sealed>| async move { s.rotate() }))
        .route("/", get(|s: TypedSession<Sealed>| async move { s.token.to_string() }));
    let browser = || TestClient::new(routes.clone().layer(SessionLayer::new(CookieStore::new(keys()))));
    let (plain, sealed) = (browser(), browser());
    plain.post("/plain").await;
    sealed.post("/sealed").await;
    let length = |browser: &Browser| browser.cookie(COOKIE).unwrap().len();
    assert_eq!(length(&plain), length(&sealed));
    assert_eq!(sealed.get("/size").await.text(), "32");
    for _ in 0..2 {
        sealed.post("/rotate").await;
        assert_eq!(sealed.get("/").await.text(), "x".repeat(30) + "y");
    }
}

#[tokio::test]
async fn limits_and_the_list_of_changes_count_the_seal() {
    let house = House::new();
    let length_prefix = 5;
    let set = |length: usize| {
        post(move |mut s: TypedSession<Sealed>| async move {
            *s.token = "x".repeat(length);
            match s.save().await {
                Ok(()) => "stored".to_owned(),
                Err(SessionError::TooLarge { sizes, .. }) => format!("{sizes:?}"),
                Err(error) => error.to_string(),
            }
        })
    };
    let most = limits::CELL - SEAL - length_prefix;
    let changes = |mut s: TypedSession<Sealed>| async move {
        *s.token = "seven..".into();
        format!("{:?}", s.changes())
    };
    let browser =
        house.browser(Router::new().route("/most", set(most)).route("/more", set(most + 1)).route("/changes", post(changes)));
    assert_eq!(browser.post("/most").await.text(), "stored");
    assert_eq!(value(&cell(&house, &browser, "safe/token").await).1.len(), limits::CELL);
    assert_eq!(browser.post("/more").await.text(), format!("[(\"safe/token\", {})]", limits::CELL + 1));
    assert_eq!(browser.post("/changes").await.text(), format!("[Change {{ key: \"safe/token\", size: Some({}) }}]", 8 + SEAL));
}

/// Its own words quote it.
#[derive(Clone, Debug, Default, Deserialize)]
struct Talkative(String);

impl Serialize for Talkative {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.is_empty() { "".serialize(serializer) } else { Err(serde::ser::Error::custom(format!("not {self:?}"))) }
    }
}

#[derive(SessionData)]
struct Indiscreet {
    #[session(secret, validate = short)]
    pin: String,
    #[session(secret, opaque)]
    said: Talkative,
    #[session(secret, merge = "strict")]
    only: String,
}

fn short(pin: &str) -> Result<(), String> {
    if pin.len() < 10 { Ok(()) } else { Err(format!("{pin} is too long")) }
}

#[tokio::test]
async fn no_event_no_error_no_debug_and_no_list_of_changes_shows_a_secret() {
    let house = House::new();
    let events = Events::capture();
    let said = Arc::new(Mutex::new(Vec::<String>::new()));
    let layer = {
        let said = Arc::clone(&said);
        house.layer().on_error(move |error, _| {
            said.lock().unwrap().push(format!("{error} {error:?}"));
            error.default_response()
        })
    };
    let hear = {
        let said = Arc::clone(&said);
        move |what: String| said.lock().unwrap().push(what)
    };
    let look = {
        let hear = hear.clone();
        move |mut s: TypedSession<Vault>| async move {
            *s.token = Some(TOKEN.repeat(2));
            hear(format!("{:?} {s:?} {:?} {:?} {:#?}", s.changes(), s.token, s.answers, s.renew));
            s.save().await.unwrap();
        }
    };
    let talk = {
        let hear = hear.clone();
        move |mut s: TypedSession<Indiscreet>| async move {
            *s.said = Talkative(SECOND.into());
            let error = s.save().await.unwrap_err();
            hear(format!("{error} {error:?}"));
            *s.said = Talkative::default();
            *s.pin = TOKEN.into();
            let error = s.save().await.unwrap_err();
            hear(format!("{error} {error:?}"));
        }
    };
    let app = routes()
        .route("/look", post(look))
        .route("/talk", post(talk))
        .route("/long", post(|mut s: TypedSession<Indiscreet>| async move { *s.pin = TOKEN.into() }))
        .route("/quote", post(|mut s: TypedSession<Indiscreet>| async move { *s.said = Talkative(SECOND.into()) }))
        .route("/short", post(|mut s: TypedSession<Indiscreet>| async move { *s.pin = "1234".into() }))
        .route("/only", post(|mut s: TypedSession<Indiscreet>| async move { *s.only = ANSWER.into() }))
        .route("/indiscreet", get(|s: TypedSession<Indiscreet>| async move { s.pin.to_string() }));
    let browser = house.browser_of(app.layer(layer));
    for uri in ["/fill", "/look", "/try", "/rotate", "/talk", "/long", "/quote", "/short", "/only", "/shown"] {
        browser.post(uri).await;
    }
    // What validation refuses at load: planted by a build that had no such rule.
    let token = altered(cell(&house, &browser, "vault/shown").await, |_, _, _, bytes| {
        *bytes = [&[TOKEN.len() as u8], TOKEN.as_bytes()].concat();
    });
    house.plant(&browser, [("indiscreet/pin", token)]).await;
    assert_eq!(browser.get("/indiscreet").await.text(), "");
    browser.post("/clear").await;
    browser.post("/leave").await;

    let mut all = events.take();
    for event in ["created", "loaded", "committed", "rotated", "undecodable", "failed", "destroyed"] {
        assert!(all.iter().any(|line| line.contains(&format!("session.{event}"))), "{event}: {all:#?}");
    }
    all.append(&mut said.lock().unwrap());
    let all = all.join("\n");
    for said in ["indiscreet.pin", "indiscreet.said", "the reason is left out", "<secret>", "validation refused it"] {
        assert!(all.contains(said), "{said}: {all}");
    }
    for secret in [TOKEN, SECOND, ANSWER] {
        assert!(!all.contains(secret), "{secret}: {all}");
    }
}
