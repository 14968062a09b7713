//! The golden bytes in `docs/wire-format.md`: what the library writes, and what it must read for ever.
//!
//! There is no way to bless them. A change that fails here has changed the format of sessions that are stored already.
#![allow(clippy::unwrap_used, clippy::panic)]

use axum::{Router, routing::get};
use base64ct::{Base64UrlUnpadded, Encoding};
use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305,
    aead::{Aead, Payload as Sealing},
};
use cloakroom::{
    CookiePolicy, KeyRing, Lifetime, SessionData, SessionLayer, SessionValue, TypedSession,
    record::{
        Cell, CellBody, CellKey, Cells, CodecId, Content, Header, Owner, OwnerHash, Payload, Presented, Previous,
        PreviousState, Record, SecretHash, Selector, Shape, Timestamp, Want, WireError, WrappedKey,
    },
    store::{CookieStore, MemoryStore, SessionStore, SqliteStore},
    testing::{ManualClock, TestClient},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::SystemTime,
};

/// Every golden block there must be, and may be: the tests below read all of them.
const BLOCKS: [&str; 35] = [
    "token",
    "token-bytes",
    "secret-hash",
    "keyed-key",
    "keyed-hash",
    "keyed-hash-owned",
    "handle",
    "pad",
    "session-key",
    "wrapped-key",
    "csrf-key",
    "csrf-tag",
    "csrf-token",
    "cell-tombstone",
    "cell-value",
    "cell-full",
    "sealed-key",
    "sealed-associated",
    "cell-sealed",
    "owner-number",
    "owner-text",
    "header-new",
    "header-full",
    "header-superseded",
    "header-revoked",
    "values-bincode",
    "values-postcard",
    "values-json",
    "shapes",
    "ring",
    "ring-key-id",
    "cookie-value",
    "cookie-plain",
    "cookie-plain-next",
    "sqlite",
];

/// The golden blocks of the document by name.
struct Document(BTreeMap<String, String>);

impl Document {
    fn read() -> Self {
        let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/wire-format.md")).unwrap();
        let mut blocks = BTreeMap::new();
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            let Some(info) = line.strip_prefix("```") else { continue };
            let content: String = lines.by_ref().take_while(|line| *line != "```").map(|line| format!("{line}\n")).collect();
            if let Some((_, name)) = info.split_once("golden ") {
                assert!(blocks.insert(name.to_owned(), content).is_none(), "two golden blocks are called {name}");
            }
        }
        Self(blocks)
    }

    fn text(&self, name: &str) -> &str {
        self.0.get(name).unwrap_or_else(|| panic!("docs/wire-format.md has no golden block {name}"))
    }

    /// A block in one line, comments left out.
    fn line(&self, name: &str) -> String {
        self.text(name).lines().map(|line| uncommented(line).trim()).collect()
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        unhex(&self.line(name))
    }

    fn array<const N: usize>(&self, name: &str) -> [u8; N] {
        self.bytes(name).try_into().unwrap()
    }

    /// A block of lines `name = hex`.
    fn table(&self, name: &str) -> Vec<(String, Vec<u8>)> {
        let row = |line: &str| {
            let (name, bytes) = uncommented(line).split_once('=').unwrap();
            (name.trim().to_owned(), unhex(bytes))
        };
        self.text(name).lines().map(row).collect()
    }
}

fn uncommented(line: &str) -> &str {
    line.split('#').next().unwrap_or_default()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes that count up, which are easy to recognise in a dump.
fn counting<const N: usize>(from: u8) -> [u8; N] {
    std::array::from_fn(|at| from + at as u8)
}

const SELECTOR: Selector = Selector::from_bytes([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
const MINUTE: i64 = 60 * 1000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
/// 2027-01-15, 08:00 UTC.
const BEGAN: i64 = 1_800_000_000_000;

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

/// A browser before an application whose clocks stand at that instant.
fn browser<Side: 'static>(layer: SessionLayer<Side>, now: i64) -> TestClient<Router> {
    let clock = ManualClock::new(SystemTime::from(at(now)));
    let app = Router::new()
        .route("/fill", get(fill))
        .route("/tell", get(tell))
        .route("/count", get(count))
        .route("/hide", get(hide))
        .route("/rotate", get(rotate))
        .layer(layer.clock(clock.clone()));
    TestClient::new(app).clock(clock)
}

/// What the browser's cookie holds, and the record it leads to.
async fn token_and_record(browser: &TestClient<Router>, store: &MemoryStore) -> (Vec<u8>, Record) {
    let text = browser.cookie("__Host-id").unwrap();
    assert_eq!(text.len(), 43);
    let token = Base64UrlUnpadded::decode_vec(&text).unwrap();
    let selector = Selector::from_bytes(token[..16].try_into().unwrap());
    let secret_hash = SecretHash::from_bytes(blake3::hash(&token[16..]).into());
    let presented = Presented::new(secret_hash, at(BEGAN), Lifetime::default());
    let record = store.load(&selector, &presented, &Want::default()).await.unwrap().unwrap();
    (token, std::sync::Arc::unwrap_or_clone(record))
}

/// The pad of the document's section on the session key, spelled a second time.
fn pad(token: &[u8]) -> [u8; 32] {
    assert_eq!(token.len(), 32);
    blake3::derive_key("cloakroom 1 session key wrap", token)
}

fn xor(a: [u8; 32], b: [u8; 32]) -> [u8; 32] {
    std::array::from_fn(|i| a[i] ^ b[i])
}

fn new_header(document: &Document) -> Header {
    Header::new(
        SecretHash::from_bytes(document.array("secret-hash")),
        WrappedKey::from_bytes(document.array("wrapped-key")),
        at(BEGAN),
        at(BEGAN + DAY),
        at(BEGAN + 30 * DAY),
    )
}

#[derive(SessionData)]
#[session(name = "golden")]
struct Golden {
    visits: u64,
    name: Option<String>,
    #[session(key = "qty")]
    quantity: i32,
    price: f64,
    tags: Vec<String>,
    theme: Theme,
    address: Option<Address>,
    #[session(opaque)]
    notes: BTreeMap<String, u8>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, SessionValue)]
enum Theme {
    #[default]
    Light,
    Custom {
        red: u8,
        green: u8,
    },
    Named(String),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, SessionValue)]
struct Address {
    street: String,
    #[session(key = "zip")]
    postcode: u32,
}

async fn fill(mut session: TypedSession<Golden>) {
    *session.visits = 300;
    *session.name = Some("Ada".to_owned());
    *session.quantity = -2;
    *session.price = 1.5;
    *session.tags = vec!["a".to_owned(), "bc".to_owned()];
    *session.theme = Theme::Custom { red: 1, green: 255 };
    *session.address = Some(Address { street: "Main".to_owned(), postcode: 70_000 });
    *session.notes = BTreeMap::from([("k".to_owned(), 1)]);
}

async fn tell(session: TypedSession<Golden>) -> String {
    format!(
        "{} {:?} {} {} {:?} {:?} {:?} {:?}",
        session.visits,
        session.name,
        session.quantity,
        session.price,
        session.tags,
        session.theme,
        session.address,
        session.notes
    )
}

const TOLD: &str = r#"300 Some("Ada") -2 1.5 ["a", "bc"] Custom { red: 1, green: 255 } Some(Address { street: "Main", postcode: 70000 }) {"k": 1}"#;

async fn count(mut session: TypedSession<Golden>) -> String {
    *session.visits += 1;
    session.visits.to_string()
}

/// The golden struct of a build in which the visits are secret.
#[derive(SessionData)]
#[session(name = "golden")]
struct Hidden {
    #[session(secret)]
    visits: u64,
}

async fn hide(mut session: TypedSession<Hidden>) {
    *session.visits = 300;
}

async fn rotate(mut session: TypedSession<Golden>) {
    session.rotate();
}

fn shape_of(key: &str) -> Shape {
    match key {
        "golden/visits" => u64::SHAPE,
        "golden/name" => <Option<String>>::SHAPE,
        "golden/qty" => i32::SHAPE,
        "golden/price" => f64::SHAPE,
        "golden/tags" => <Vec<String>>::SHAPE,
        "golden/theme" => Theme::SHAPE,
        "golden/address" => <Option<Address>>::SHAPE,
        "golden/notes" => Shape::OPAQUE,
        other => panic!("no field is stored as {other}"),
    }
}

fn value(codec: CodecId, shape: Shape, payload: &[u8]) -> CellBody {
    CellBody::new(Content::Value { codec, shape, sealed: false, payload: Payload::from(payload) })
}

/// The cells of the golden struct, its shaped fields in that codec.
fn golden_cells(document: &Document, codec: CodecId, block: &str) -> Cells {
    let cells = [(codec, block), (CodecId::JSON, "values-json")].into_iter().flat_map(|(codec, block)| {
        let cell = move |(key, payload): (String, Vec<u8>)| {
            let body = value(codec, shape_of(&key), &payload);
            Cell::new(CellKey::from(key), 1, body)
        };
        document.table(block).into_iter().map(cell)
    });
    cells.collect()
}

#[test]
fn every_golden_block_is_read_by_a_test() {
    let document = Document::read();
    let found: BTreeSet<&str> = document.0.keys().map(String::as_str).collect();
    assert_eq!(found, BTreeSet::from(BLOCKS));
}

#[test]
fn a_token_and_what_is_derived_from_it_have_their_golden_bytes() {
    let document = Document::read();
    let token = document.bytes("token-bytes");
    assert_eq!(token, counting::<32>(0));
    assert_eq!(Base64UrlUnpadded::encode_string(&token), document.line("token"));
    assert_eq!(hex(blake3::hash(&token[16..]).as_bytes()), document.line("secret-hash"));
    assert_eq!(SELECTOR.as_bytes(), &token[..16]);
    assert_eq!(SELECTOR.handle().to_string(), document.line("handle"));
    assert_eq!(document.line("handle").parse(), Ok(SELECTOR.handle()));
    assert_eq!(hex(&pad(&token)), document.line("pad"));
    assert_eq!(document.array("session-key"), counting::<32>(0x20));
    assert_eq!(hex(&xor(pad(&token), document.array("session-key"))), document.line("wrapped-key"));
}

#[tokio::test]
async fn a_new_token_is_stored_as_the_document_says() {
    let store = MemoryStore::new();
    let browser = browser(SessionLayer::new(store.clone()), BEGAN);
    browser.get("/count").await;
    let (token, record) = token_and_record(&browser, &store).await;
    assert_eq!(record.header.secret_hash.as_bytes(), blake3::hash(&token[16..]).as_bytes());
}

#[tokio::test]
async fn a_wrapped_session_key_opens_under_its_token_and_is_wrapped_anew_at_a_rotation() {
    let document = Document::read();
    let store = MemoryStore::new();
    store.create(&SELECTOR, Record::new(new_header(&document), Cells::default())).await.unwrap();
    let browser = browser(SessionLayer::new(store.clone()), BEGAN);
    browser.set_cookie("__Host-id", document.line("token"));
    browser.get("/rotate").await;

    let (token, record) = token_and_record(&browser, &store).await;
    assert_eq!(&token[..16], SELECTOR.as_bytes());
    assert_ne!(token, document.bytes("token-bytes"));
    assert_eq!(xor(*record.header.wrapped_key.as_bytes(), pad(&token)), document.array("session-key"));
    assert_eq!(record.header.epoch, 1);
}

#[test]
fn a_csrf_token_has_its_golden_bytes() {
    let document = Document::read();
    let key = blake3::derive_key("cloakroom 1 csrf token", &document.bytes("session-key"));
    assert_eq!(hex(&key), document.line("csrf-key"));
    let session = [&SELECTOR.as_bytes()[..], &0x0a0b_0c0d_u32.to_le_bytes()].concat();
    let whole = blake3::keyed_hash(&key, &session);
    let tag = &whole.as_bytes()[..16];
    assert_eq!(hex(tag), document.line("csrf-tag"));
    let mask = counting::<16>(0xe0);
    let masked: Vec<u8> = mask.iter().zip(tag).map(|(mask, tag)| mask ^ tag).collect();
    assert_eq!(Base64UrlUnpadded::encode_string(&[&mask[..], &masked].concat()), document.line("csrf-token"));
}

#[test]
fn cells_have_their_golden_bytes() {
    let document = Document::read();
    let mut full = CellBody::new(Content::Value {
        codec: CodecId::JSON,
        shape: Shape::from_u64(0x0102_0304_0506_0708),
        sealed: true,
        payload: Payload::from(&b"{}"[..]),
    });
    full.deadline = Some(at(BEGAN));
    full.keep = true;
    for (name, cell) in [
        ("cell-tombstone", CellBody::new(Content::Tombstone)),
        ("cell-value", value(CodecId::BINCODE, u64::SHAPE, &[7])),
        ("cell-full", full),
    ] {
        assert_eq!(hex(&cell.encode()), hex(&document.bytes(name)), "{name}");
        assert_eq!(CellBody::decode(&document.bytes(name)), Ok(cell), "{name}");
    }
}

#[test]
fn a_kept_cell_names_the_epoch_it_was_written_in() {
    let mut cell = CellBody::new(Content::Tombstone);
    cell.keep = true;
    cell.epoch = 0x0102_0304;
    let bytes = [8, 4, 3, 2, 1];
    assert_eq!(cell.encode(), bytes);
    assert_eq!(CellBody::decode(&bytes), Ok(cell));
    assert_eq!(CellBody::decode(&bytes[..4]), Err(WireError::Truncated));
}

/// The cipher and the associated data of a sealed cell, by the letter of the document.
fn cell_seal(session_key: [u8; 32], selector: &[u8], key: &str, codec: u8, shape: u64) -> (XChaCha20Poly1305, Vec<u8>) {
    let cell_key = blake3::derive_key("cloakroom 1 secret cells", &session_key);
    let length = (key.len() as u64).to_le_bytes();
    let associated = [selector, &length, key.as_bytes(), &[codec], &shape.to_le_bytes()].concat();
    (XChaCha20Poly1305::new(&cell_key.into()), associated)
}

#[tokio::test]
async fn a_sealed_cell_has_its_golden_bytes_and_opens() {
    let document = Document::read();
    let session_key = document.array("session-key");
    let cell_key = blake3::derive_key("cloakroom 1 secret cells", &session_key);
    assert_eq!(hex(&cell_key), document.line("sealed-key"));
    let (cipher, associated) = cell_seal(session_key, SELECTOR.as_bytes(), "golden/visits", 1, u64::SHAPE.as_u64());
    assert_eq!(hex(&associated), hex(&document.bytes("sealed-associated")));
    let nonce: [u8; 24] = counting(0xc0);
    let sealed = cipher.encrypt(&nonce.into(), Sealing { msg: &[7], aad: &associated }).unwrap();
    let payload = [&nonce[..], &sealed].concat();
    let body = CellBody::new(Content::Value {
        codec: CodecId::BINCODE,
        shape: u64::SHAPE,
        sealed: true,
        payload: Payload::from(&payload[..]),
    });
    assert_eq!(hex(&body.encode()), hex(&document.bytes("cell-sealed")));

    let store = MemoryStore::new();
    let cells = [Cell::new(CellKey::from_static("golden/visits"), 1, body)].into_iter().collect();
    store.create(&SELECTOR, Record::new(new_header(&document), cells)).await.unwrap();
    let browser = browser(SessionLayer::new(store), BEGAN);
    browser.set_cookie("__Host-id", document.line("token"));
    assert_eq!(browser.get("/count").await.text(), "8", "the golden cell holds seven visits");
}

#[tokio::test]
async fn a_secret_field_is_sealed_as_the_document_says() {
    let document = Document::read();
    let store = MemoryStore::new();
    let browser = browser(SessionLayer::new(store.clone()), BEGAN);
    browser.get("/hide").await;
    let (token, record) = token_and_record(&browser, &store).await;
    let session_key = xor(*record.header.wrapped_key.as_bytes(), pad(&token));
    let (cipher, associated) = cell_seal(session_key, &token[..16], "golden/visits", 1, u64::SHAPE.as_u64());

    let body = record.cells.get("golden/visits").unwrap().body.encode();
    let (head, payload) = body.split_at(10);
    assert_eq!(head, &document.bytes("cell-sealed")[..10], "flags, codec and shape");
    let (nonce, sealed) = payload.split_first_chunk::<24>().unwrap();
    let plain = cipher.decrypt(&(*nonce).into(), Sealing { msg: sealed, aad: &associated }).unwrap();
    let (_, golden) = document.table("values-bincode").swap_remove(0);
    assert_eq!(hex(&plain), hex(&golden));
}

#[derive(SessionData)]
#[session(name = "shop")]
struct Numbered {
    #[session(owner)]
    user: Option<i32>,
}

#[derive(SessionData)]
#[session(name = "shop")]
struct Named {
    #[session(owner)]
    user: Option<String>,
}

#[tokio::test]
async fn owners_have_their_golden_hashes() {
    let document = Document::read();
    let by_hand = |rest: &[&[u8]]| {
        let material = [&[&4_u64.to_le_bytes()[..], b"shop"], rest].concat().concat();
        hex(&blake3::derive_key("cloakroom 1 owner", &material))
    };
    assert_eq!(by_hand(&[b"+", &42_u128.to_le_bytes()]), document.line("owner-number"));
    assert_eq!(by_hand(&[b"s", &3_u64.to_le_bytes(), b"ann"]), document.line("owner-text"));

    for (routes, golden) in [
        (Router::new().route("/", get(async |mut s: TypedSession<Numbered>| *s.user = Some(42))), "owner-number"),
        (Router::new().route("/", get(async |mut s: TypedSession<Named>| *s.user = Some("ann".to_owned()))), "owner-text"),
    ] {
        let store = MemoryStore::new();
        let clock = ManualClock::new(at(BEGAN).into());
        let browser = TestClient::new(routes.layer(SessionLayer::new(store.clone()).clock(clock.clone()))).clock(clock);
        browser.get("/").await;
        let (_, record) = token_and_record(&browser, &store).await;
        let owner = record.header.owner.unwrap();
        assert_eq!((&*owner.schema, hex(owner.hash.as_bytes())), ("shop", document.line(golden).to_owned()));
    }
}

#[test]
fn headers_have_their_golden_bytes() {
    let document = Document::read();
    let previous = |state| {
        Some(Previous {
            secret_hash: SecretHash::from_bytes(counting(0x40)),
            wrapped_key: WrappedKey::from_bytes(if state == PreviousState::Revoked { [0; 32] } else { counting(0x60) }),
            state,
            since: at(BEGAN + 1000),
        })
    };
    let mut full = new_header(&document);
    full.revision = 0x0102_0304_0506_0708;
    full.epoch = 0x0a0b_0c0d;
    full.last_seen = at(BEGAN + 1);
    full.previous = previous(PreviousState::Pending);
    full.owner = Some(Owner { schema: "shop".into(), hash: OwnerHash::from_bytes(counting(0x80)) });
    full.authenticated_at = Some(at(BEGAN + 2));
    full.persistent = true;
    full.label = Some("Büro".into());
    full.extensions.set(200, Some(b"later"));
    let mut superseded = new_header(&document);
    superseded.previous = previous(PreviousState::Superseded);
    let mut revoked = new_header(&document);
    revoked.previous = previous(PreviousState::Revoked);

    for (name, header) in [
        ("header-new", new_header(&document)),
        ("header-full", full),
        ("header-superseded", superseded),
        ("header-revoked", revoked),
    ] {
        assert_eq!(hex(&header.encode()), hex(&document.bytes(name)), "{name}");
        let read = Header::decode(&document.bytes(name)).unwrap();
        assert_eq!(format!("{read:?}"), format!("{header:?}"), "{name}");
        // Hashes and keys, which `Debug` does not show.
        assert_eq!(hex(&read.encode()), hex(&header.encode()), "{name}");
    }
}

#[test]
fn another_format_or_a_flag_of_the_future_is_refused_and_not_guessed() {
    let document = Document::read();
    let mut header = document.bytes("header-new");
    header[0] = 2;
    assert_eq!(Header::decode(&header).unwrap_err(), WireError::UnknownFormat(2));
    header[0] = 1;
    header[1] = 1 << 1;
    assert_eq!(
        Header::decode(&header).unwrap_err(),
        WireError::BadFlags(1 << 1),
        "superseded, and there is no previous secret"
    );
    assert_eq!(CellBody::decode(&[1 << 4]), Err(WireError::BadFlags(1 << 4)));
}

#[test]
fn a_number_in_more_bytes_than_it_takes_is_refused() {
    let document = Document::read();
    let header = document.bytes("header-full");
    let length = header.windows(5).position(|window| window == b"\x04shop").unwrap();
    for spelling in [&[0x84, 0x00][..], &[0x84, 0x80, 0x00]] {
        let longer = [&header[..length], spelling, &header[length + 1..]].concat();
        assert_eq!(Header::decode(&longer).unwrap_err(), WireError::Overlong);
    }
}

#[test]
fn a_number_that_overflows_its_type_is_refused() {
    let document = Document::read();
    let header = document.bytes("header-full");
    let length = header.windows(5).position(|window| window == b"\x04shop").unwrap();
    // The bit that does not fit would leave the length it is.
    let spelling = [&[0x84][..], &[0x80; 8], &[0x02]].concat();
    let larger = [&header[..length], &spelling, &header[length + 1..]].concat();
    assert_eq!(Header::decode(&larger).unwrap_err(), WireError::Overlong);
}

#[test]
fn flags_that_exclude_each_other_are_refused() {
    let (deadline_flag, sealed, keep) = (2_u8, 4_u8, 8_u8);
    for flags in [sealed, sealed | deadline_flag, sealed | keep, sealed | deadline_flag | keep] {
        let rest = vec![0; if flags & deadline_flag == 0 { 0 } else { 8 } + if flags & keep == 0 { 0 } else { 4 }];
        assert_eq!(CellBody::decode(&[vec![flags], rest].concat()), Err(WireError::BadFlags(flags)), "a sealed nothing");
    }
    let document = Document::read();
    let (previous, superseded, revoked) = (1_u8, 2_u8, 64_u8);
    for (name, states) in [
        ("header-new", [superseded, revoked, superseded | revoked]),
        ("header-superseded", [previous | superseded | revoked; 3]),
    ] {
        for state in states {
            let mut header = document.bytes(name);
            header[1] = state;
            assert_eq!(Header::decode(&header).unwrap_err(), WireError::BadFlags(state), "{name}");
        }
    }
}

#[derive(SessionValue)]
struct Unit;

#[derive(SessionValue)]
#[allow(dead_code)]
struct Metres(u32);

#[derive(SessionValue)]
#[allow(dead_code)]
struct Point(i32, i32);

#[derive(SessionValue)]
#[allow(dead_code)]
struct Tree {
    #[session(recursive)]
    children: Vec<Tree>,
}

#[derive(SessionValue)]
#[allow(dead_code)]
struct Foreign(#[session(shape = "address-1")] std::thread::ThreadId);

#[derive(SessionValue)]
#[session(shape = "whole-1")]
#[allow(dead_code)]
struct Whole(std::thread::ThreadId);

#[test]
fn shapes_have_their_golden_numbers() {
    use std::{
        net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6},
        ops::Range,
        time::{Duration, SystemTime},
    };
    macro_rules! shapes {
        ($($type:ty)*) => { [$((stringify!($type), <$type as SessionValue>::SHAPE)),*] };
    }
    #[rustfmt::skip]
    let shapes = shapes![
        () bool char u8 u16 u32 u64 u128 i8 i16 i32 i64 i128 f32 f64 String Duration SystemTime
        IpAddr Ipv4Addr Ipv6Addr SocketAddr SocketAddrV4 SocketAddrV6
        Option<u8> Vec<u8> BTreeSet<u8> BTreeMap<String, u8> Result<u8, String> Range<u8> [u8; 4] (u8, String)
        Unit Metres Point Address Theme Tree Foreign Whole
    ];
    let written: String = shapes.iter().map(|(name, shape)| format!("{name} = {shape:?}\n")).collect();
    assert_eq!(written, Document::read().text("shapes"));
}

#[derive(Default, Serialize, Deserialize, SessionValue)]
enum Paint {
    #[default]
    Red,
    #[session(appended)]
    Blue(u8),
}

#[tokio::test]
async fn an_appended_variant_has_its_golden_shape() {
    #[derive(SessionData)]
    #[session(name = "wall")]
    struct Wall {
        paint: Option<Paint>,
        plain: Paint,
    }
    let store = MemoryStore::new();
    let set = async |mut s: TypedSession<Wall>| (*s.paint, *s.plain) = (Some(Paint::Red), Paint::Blue(7));
    let browser = TestClient::new(Router::new().route("/", get(set)).layer(SessionLayer::new(store.clone())));
    browser.get("/").await;
    let (_, record) = token_and_record(&browser, &store).await;
    let shape = |key| match &record.cells.get(key).unwrap().body.content {
        Content::Value { shape, .. } => *shape,
        other => panic!("{other:?}"),
    };
    assert_eq!(shape("wall/paint"), <Option<Paint>>::SHAPE, "no appended variant is in it");
    let written = format!("Paint = {:?}\nBlue(7) = {:?}\n", Paint::SHAPE, shape("wall/plain"));
    let document = include_str!("../../docs/wire-format.md");
    assert!(document.contains(&written), "{written}");
}

#[test]
fn types_that_encode_alike_have_one_shape() {
    assert_eq!(<Box<u32>>::SHAPE, u32::SHAPE);
    assert_eq!(<HashMap<String, u8>>::SHAPE, <BTreeMap<String, u8>>::SHAPE);
    assert_eq!(usize::SHAPE, u64::SHAPE);
    assert_ne!(<Vec<u8>>::SHAPE, <BTreeSet<u8>>::SHAPE);
}

#[tokio::test]
async fn values_are_written_as_their_golden_cells() {
    let document = Document::read();
    let store = MemoryStore::new();
    let browser = browser(SessionLayer::new(store.clone()), BEGAN);
    browser.get("/fill").await;
    let (_, record) = token_and_record(&browser, &store).await;

    let show = |cells: &Cells| -> Vec<String> {
        cells.iter().map(|cell| format!("{} {} {}", cell.key, cell.stamp, hex(&cell.body.encode()))).collect()
    };
    assert_eq!(show(&record.cells), show(&golden_cells(&document, CodecId::BINCODE, "values-bincode")));
}

#[tokio::test]
async fn golden_values_are_read_in_either_codec() {
    let document = Document::read();
    for (codec, block) in [(CodecId::BINCODE, "values-bincode"), (CodecId::POSTCARD, "values-postcard")] {
        let store = MemoryStore::new();
        let record = Record::new(new_header(&document), golden_cells(&document, codec, block));
        store.create(&SELECTOR, record).await.unwrap();
        let browser = browser(SessionLayer::new(store), BEGAN);
        browser.set_cookie("__Host-id", document.line("token"));
        assert_eq!(browser.get("/tell").await.text(), TOLD, "{block}");
    }
}

fn seal(ring_key: &[u8], cookie: &str) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(&blake3::derive_key("cloakroom 1 sealed cookie", &[ring_key, cookie.as_bytes()].concat()).into())
}

fn associated(head: &[u8], cookie: &str) -> Vec<u8> {
    [head, &(cookie.len() as u64).to_le_bytes(), cookie.as_bytes()].concat()
}

/// Opens a sealed cookie by the letter of the document, without the library.
fn unsealed(ring_key: &[u8], cookie: &str, sealed: &[u8]) -> Vec<u8> {
    let (head, rest) = sealed.split_at(5);
    let (nonce, sealed) = rest.split_first_chunk::<24>().unwrap();
    assert_eq!(head[0], 1);
    seal(ring_key, cookie).decrypt(&(*nonce).into(), Sealing { msg: sealed, aad: &associated(head, cookie) }).unwrap()
}

#[test]
fn the_golden_cookie_is_the_seal_of_its_golden_content() {
    let document = Document::read();
    let ring = document.line("ring");
    let ring_key = Base64UrlUnpadded::decode_vec(&ring).unwrap();
    assert_eq!(hex(&blake3::derive_key("cloakroom 1 key id", &ring_key)[..4]), document.line("ring-key-id"));
    assert_eq!(*ring.parse::<KeyRing>().unwrap().to_secret_text(), *ring);

    let head = [&[1][..], &document.bytes("ring-key-id")].concat();
    let nonce: [u8; 24] = counting(0xc0);
    let sealing = Sealing { msg: &document.bytes("cookie-plain"), aad: &associated(&head, "__Host-id") };
    let sealed = seal(&ring_key, "__Host-id").encrypt(&nonce.into(), sealing).unwrap();
    assert_eq!(Base64UrlUnpadded::encode_string(&[&head[..], &nonce, &sealed].concat()), document.line("cookie-value"));
}

#[tokio::test]
async fn the_golden_cookie_opens_and_is_sealed_again_as_the_document_says() {
    let document = Document::read();
    let ring = document.line("ring");
    let browser = browser(SessionLayer::new(CookieStore::new(ring.parse().unwrap())), BEGAN + 6 * HOUR);
    browser.set_cookie("__Host-id", document.line("cookie-value"));
    assert_eq!(browser.get("/count").await.text(), "8", "the golden cookie holds seven visits");

    let sealed = Base64UrlUnpadded::decode_vec(&browser.cookie("__Host-id").unwrap()).unwrap();
    assert_eq!(hex(&sealed[1..5]), document.line("ring-key-id"));
    let plain = unsealed(&Base64UrlUnpadded::decode_vec(&ring).unwrap(), "__Host-id", &sealed);
    assert_eq!(hex(&plain), hex(&document.bytes("cookie-plain-next")));
}

#[tokio::test]
async fn a_sealed_record_has_its_cells_sorted_by_key_and_each_of_them_once() {
    let document = Document::read();
    let (ring, plain) = (document.line("ring"), document.bytes("cookie-plain"));
    let ring_key = Base64UrlUnpadded::decode_vec(&ring).unwrap();
    let head = [&[1][..], &document.bytes("ring-key-id")].concat();
    let cell = 27;
    let (before, golden) = plain.split_at(plain.len() - cell);
    let other = [&golden[..1], b"golden/zzzzzz", &golden[14..]].concat();
    let opens = async |cells: &[&[u8]]| {
        let content = [&before[..before.len() - 1], &[cells.len() as u8], &cells.concat()].concat();
        let sealing = Sealing { msg: &content, aad: &associated(&head, "__Host-id") };
        let sealed = seal(&ring_key, "__Host-id").encrypt(&[0xc0; 24].into(), sealing).unwrap();
        let browser = browser(SessionLayer::new(CookieStore::new(ring.parse().unwrap())), BEGAN);
        browser.set_cookie("__Host-id", Base64UrlUnpadded::encode_string(&[&head[..], &[0xc0; 24], &sealed].concat()));
        browser.get("/count").await.text() == "8"
    };
    assert!(opens(&[golden]).await && opens(&[golden, &other]).await);
    assert!(!opens(&[&other, golden]).await, "unsorted");
    assert!(!opens(&[golden, golden]).await, "twice");
}

#[tokio::test]
async fn the_golden_cookie_opens_under_a_retired_key_but_under_no_other_key_name_or_deadline() {
    let document = Document::read();
    let visits = async |ring: String, cookie: &str, now: i64| {
        let policy = CookiePolicy::default().name(cookie).unwrap();
        let browser = browser(SessionLayer::new(CookieStore::new(ring.parse().unwrap())).cookie(policy), now);
        browser.set_cookie(cookie, document.line("cookie-value"));
        browser.get("/count").await.text()
    };
    let ring = document.line("ring");
    let newer = KeyRing::generate().unwrap().to_secret_text().to_owned();
    assert_eq!(visits(format!("{newer},retired:{ring}"), "__Host-id", BEGAN).await, "8");
    assert_eq!(visits(newer, "__Host-id", BEGAN).await, "1");
    assert_eq!(visits(ring.clone(), "__Host-other", BEGAN).await, "1");
    assert_eq!(visits(ring, "__Host-id", BEGAN + DAY).await, "1", "the idle deadline is inside the seal");
}

#[tokio::test]
async fn a_keyed_hash_is_of_the_token_and_the_owner_under_a_key_of_the_ring() {
    let document = Document::read();
    let ring = document.line("ring");
    let key = blake3::derive_key("cloakroom 1 secret hash", &Base64UrlUnpadded::decode_vec(&ring).unwrap());
    assert_eq!(hex(&key), document.line("keyed-key"));
    let token = document.bytes("token-bytes");
    let owned = [&token[..], &counting::<32>(0x80)].concat();
    assert_eq!(hex(blake3::keyed_hash(&key, &token).as_bytes()), document.line("keyed-hash"));
    assert_eq!(hex(blake3::keyed_hash(&key, &owned).as_bytes()), document.line("keyed-hash-owned"));
    // The library reads it: a record under that hash opens for the golden token, as long as the ring has the key.
    let store = MemoryStore::new();
    let mut header = new_header(&document);
    header.secret_hash = SecretHash::from_bytes(document.array("keyed-hash"));
    let visits = CellBody::new(Content::Value {
        codec: CodecId::BINCODE,
        shape: u64::SHAPE,
        sealed: false,
        payload: Payload::from(&[7][..]),
    });
    let cells: Cells = [Cell::new(CellKey::from_static("golden/visits"), 1, visits)].into_iter().collect();
    store.create(&SELECTOR, Record::new(header, cells)).await.unwrap();
    let count = async |keys: Option<String>| {
        let layer = SessionLayer::new(store.clone());
        let browser = browser(keys.map_or(layer.clone(), |keys| layer.keyed(keys.parse().unwrap())), BEGAN);
        browser.set_cookie("__Host-id", document.line("token"));
        browser.get("/count").await.text()
    };
    let newer = KeyRing::generate().unwrap().to_secret_text().to_owned();
    assert_eq!(count(None).await, "1");
    assert_eq!(count(Some(newer.clone())).await, "1");
    assert_eq!(count(Some(ring.clone())).await, "8");
    assert_eq!(count(Some(format!("{newer},retired:{ring}"))).await, "9");
}

/// A database as text: its tables and rows, one statement a line.
fn dump(path: &std::path::Path) -> String {
    let db = rusqlite::Connection::open(path).unwrap();
    let rows = |query: &str| -> Vec<String> {
        let mut statement = db.prepare(query).unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
    };
    let tables = rows("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY rowid");
    let tables = tables.iter().map(|sql| sql.split_whitespace().collect::<Vec<_>>().join(" "));
    let content = [
        "SELECT format('INSERT INTO cloakroom_schema VALUES (%d)', version) FROM cloakroom_schema",
        "SELECT format('INSERT INTO cloakroom_record VALUES (%s, %d, %s, %s)', quote(selector), expires, quote(owner), quote(header))
         FROM cloakroom_record ORDER BY selector",
        "SELECT format('INSERT INTO cloakroom_cell VALUES (%s, %s, %d, %s)', quote(selector), quote(key), stamp, quote(body))
         FROM cloakroom_cell ORDER BY selector, key",
    ];
    tables.chain(content.iter().flat_map(|query| rows(query))).map(|line| line + ";\n").collect()
}

#[tokio::test]
async fn a_sqlite_file_has_its_golden_tables_and_rows() {
    let document = Document::read();
    let folder = tempfile::tempdir().unwrap();
    let owner = OwnerHash::from_bytes(counting(0x80));

    let written = folder.path().join("written.db");
    let store = SqliteStore::open(&written).await.unwrap();
    let mut header = new_header(&document);
    header.owner = Some(Owner { schema: "golden".into(), hash: owner });
    let cells =
        [("golden/name", CellBody::new(Content::Tombstone)), ("golden/visits", value(CodecId::BINCODE, u64::SHAPE, &[7]))];
    let cells = cells.into_iter().map(|(key, body)| Cell::new(CellKey::from_static(key), 1, body)).collect();
    store.create(&SELECTOR, Record::new(header, cells)).await.unwrap();
    assert_eq!(dump(&written), document.text("sqlite"));

    let read = folder.path().join("read.db");
    rusqlite::Connection::open(&read).unwrap().execute_batch(document.text("sqlite")).unwrap();
    let store = SqliteStore::open(&read).await.unwrap();
    let browser = browser(SessionLayer::new(store.clone()), BEGAN + MINUTE);
    browser.set_cookie("__Host-id", document.line("token"));
    assert_eq!(browser.get("/count").await.text(), "8");
    assert_eq!(store.by_owner(&owner).await.unwrap().len(), 1);
}
