//! What must hold whatever bytes come in: one function per way in, for the fuzzer and for the tests that replay its corpus.

use super::{
    allocations::within,
    everything::{FIELDS, routes},
    grammar,
};
use axum::{Router, body::Body};
use base64ct::{Base64UrlUnpadded, Encoding};
use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305,
    aead::{Aead, Payload as Sealing},
};
use cloakroom::{
    CookiePolicy, Handle, KeyRing, Lifetime, SameSite, SessionLayer,
    record::{
        Cell, CellBody, CellKey, Cells, CodecId, Content, Header, Payload, Presented, Record, SecretHash, Selector, Timestamp,
        Want, WrappedKey,
    },
    store::{CookieStore, MemoryStore, SessionStore},
    testing::{ManualClock, TestClient, TestResponse},
};
use http::{HeaderValue, Method, Request, header};
use std::{
    collections::{BTreeMap, BTreeSet},
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::{Duration, SystemTime},
};

/// Takes any bytes, and panics if something does not hold.
pub type Target = fn(&[u8]);

/// Every target by its name, which is that of its corpus too.
pub const TARGETS: [(&str, Target); 10] = [
    ("cell", cell),
    ("cookie_header", cookie_header),
    ("cookie_policy", cookie_policy),
    ("field", field),
    ("handle", handle),
    ("header", header),
    ("key_ring", key_ring),
    ("record", record),
    ("sealed_cookie", sealed_cookie),
    ("token", token),
];

/// The golden token, ring and sealed cookie of `docs/wire-format.md`, so that its examples are inputs that open.
const TOKEN: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
const RING: &str = "CzBVep_E6Q4zWH2ix-wRNluApcrvFDleg6jN8hc8YYY";
const SEALED: &str = "AXm3hHTAwcLDxMXGx8jJysvMzc7P0NHS09TV1tddGSMS33A_LRZFA1k4e24Mah6Eit63pyxzmM3JsOtL5dbLziEP6GqBCxuoJQla\
                      EjAhtc4k2Jezwsd6Zwv8Bbjq6SWs4YdJOi8POFEG12p0Oy2OnaoPTFtfuxkygrPstxvpGxcMNbLbCQmbr9ou5DS6pESqG-015S9-\
                      hkjjEBUAvxHMNZBIJXHBPQNexNZkzGnjpK6JmwqHNLh9";
const COOKIE: &str = "__Host-id";
const BEGAN: i64 = 1_800_000_000_000;
const HOUR: i64 = 3_600_000;

/// What one request may ask for, whatever came in: the router and the handler need some 10 KiB of it in a debug build.
const A_REQUEST: usize = 64 * 1024;
/// What a field may ask for beyond that: serde reserves at most 1 MiB for a claimed length, and a map of vectors may claim two, of
/// which its buckets make 1.6.
const A_FIELD: usize = 3 * 1024 * 1024;

/// The bytes of a stored cell are refused, or written again to the letter.
pub fn cell(bytes: &[u8]) {
    within(4096 + 4 * bytes.len(), || {
        if let Ok(cell) = CellBody::decode(bytes) {
            assert_eq!(cell.encode(), bytes, "{cell:?}");
        }
    });
}

/// The bytes of a stored header are refused, or written again to the letter.
pub fn header(bytes: &[u8]) {
    within(4096 + 4 * bytes.len(), || {
        if let Ok(header) = Header::decode(bytes) {
            assert_eq!(header.encode(), bytes, "{header:?}");
        }
    });
}

/// A handle is refused, or prints as it was typed.
pub fn handle(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    within(4096 + 4 * bytes.len(), || {
        if let Ok(handle) = text.parse::<Handle>() {
            assert_eq!(handle.to_string(), text);
        }
    });
}

/// Keys in text are refused, or come out as they went in; neither `Debug` nor an error repeats them.
pub fn key_ring(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let keys = |text: &str| -> BTreeSet<String> {
        text.split([',', '\n', ':']).map(str::trim).filter(|word| is_token(word)).map(str::to_owned).collect()
    };
    let written = |ring: &KeyRing| ring.to_secret_text().to_string();
    within(4096 + 512 * bytes.len(), || {
        let shown = match text.parse::<KeyRing>() {
            Ok(ring) => {
                let again = written(&ring);
                assert_eq!(keys(&again), keys(text));
                assert_eq!(again.parse().map(|same| written(&same)).as_ref(), Ok(&again));
                format!("{ring:?}")
            }
            Err(error) => format!("{error} {error:?}"),
        };
        assert!(!keys(text).iter().any(|key| shown.contains(key.as_str())), "{shown}");
    });
}

/// Cookie fields, one per line, over a session in memory.
pub fn cookie_header(bytes: &[u8]) {
    let fields: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    // As many as a server lets through.
    if fields.len() <= 100 && fields.iter().all(|field| HeaderValue::from_bytes(field).is_ok()) {
        in_memory(&fields);
    }
}

/// The value of our cookie over a session in memory.
pub fn token(bytes: &[u8]) {
    let field = [COOKIE.as_bytes(), b"=", bytes].concat();
    if HeaderValue::from_bytes(&field).is_ok() {
        in_memory(&[&field]);
    }
}

/// The value of our cookie where the browser keeps the session: only the one that was sealed opens.
pub fn sealed_cookie(bytes: &[u8]) {
    let field = [COOKIE.as_bytes(), b"=", bytes].concat();
    if HeaderValue::from_bytes(&field).is_err() || bytes.contains(&b';') {
        return;
    }
    let response = within(A_REQUEST + 16 * bytes.len(), || send(&sealed(), Method::GET, "/", &[&field]));
    assert_eq!((response.status().as_u16(), &*response.text()), (200, "0"));
    match effect(&response) {
        // It is six hours old, and sealed again.
        Effect::Set(_) => assert_eq!(bytes, SEALED.as_bytes(), "something else opens"),
        Effect::Clear => assert_ne!(bytes, SEALED.as_bytes(), "the golden cookie stays closed"),
        Effect::Nothing => panic!("neither opened nor refused"),
    }
}

/// The content of a sealed cookie, with a good seal around it: refused, or sealed again to the letter but for the time of its use.
pub fn record(bytes: &[u8]) {
    let value = seal(bytes);
    if value.len() + COOKIE.len() > 4096 {
        return;
    }
    let browser = sealed();
    let with = |method, uri, value: &str| {
        let work = || send(&browser, method, uri, &[format!("{COOKIE}={value}").as_bytes()]);
        within(A_REQUEST + A_FIELD + 256 * bytes.len(), work)
    };
    let response = with(Method::GET, "/", &value);
    assert_eq!(response.status(), 200);
    if let Effect::Set(again) = effect(&response) {
        assert_eq!(without_use(unseal(&again)), without_use(bytes.to_vec()));
    }
    let response = with(Method::POST, "/count", &value);
    match (response.status().as_u16(), effect(&response)) {
        (200, Effect::Set(value)) => assert_eq!(with(Method::GET, "/", &value).text(), response.text()),
        // The number made it outgrow the cookie.
        (500, Effect::Nothing) => assert!(value.len() > 3500),
        other => panic!("{other:?}"),
    }
}

/// A stored field: a number that says which, its codec, its payload. A value, or its schema's defaults; reading and touching store
/// nothing, and the first write heals it.
pub fn field(bytes: &[u8]) {
    let [which, codec, payload @ ..] = bytes else { return };
    let key = FIELDS[usize::from(*which) % FIELDS.len()];
    let mut cells = WORLD.with(|world| world.cells.clone());
    let Some(Content::Value { shape, .. }) = cells.get(key).map(|cell| cell.body.content.clone()) else { panic!("{key}") };
    let payload = Payload::from(payload);
    let body = CellBody::new(Content::Value { codec: CodecId::from_u8(*codec), shape, sealed: false, payload });
    // The newest, so that of a field's generations this one counts.
    cells.insert(Cell::new(CellKey::from_static(key), 2, body));
    let ours = format!("{COOKIE}={TOKEN}");
    with_record(cells.clone(), |world| {
        let asked = A_REQUEST + A_FIELD + 256 * bytes.len();
        let request = |method, uri| within(asked, || send(&world.browser, method, uri, &[ours.as_bytes()]));
        for (method, uri) in [(Method::GET, "/"), (Method::POST, "/touch")] {
            let response = request(method, uri);
            assert_eq!((response.status().as_u16(), effect(&response)), (200, Effect::Nothing), "{uri}");
            assert_eq!(world.record().cells, cells, "{uri} has changed what is stored");
        }
        let written = request(Method::POST, "/count");
        assert_eq!(written.status(), 200);
        assert_eq!(request(Method::GET, "/").text(), written.text());
    });
}

/// Names, attributes and lifetimes that an application might choose: refused, or rendered by the grammar and as they were given.
///
/// The input: a byte of flags, the two lifetimes in 16 bytes, and then name, domain and path, one per line.
pub fn cookie_policy(bytes: &[u8]) {
    let Some((flags, rest)) = bytes.split_first() else { return };
    let Some((idle, rest)) = rest.split_first_chunk::<8>() else { return };
    let Some((absolute, rest)) = rest.split_first_chunk::<8>() else { return };
    let Ok(text) = std::str::from_utf8(rest) else { return };
    let mut lines = text.split('\n');
    let (name, domain, path) = (lines.next().unwrap_or_default(), lines.next(), lines.next());
    let has = |flag: u8| flags & flag != 0;

    let policy = || {
        let policy = if has(1) { CookiePolicy::insecure_http() } else { CookiePolicy::default() };
        let mut policy = policy.name(name)?;
        if let Some(domain) = domain {
            policy = policy.domain(domain)?;
        }
        if let Some(path) = path {
            policy = policy.path(path)?;
        }
        policy = policy.same_site([SameSite::Lax, SameSite::Strict, SameSite::None][usize::from(flags >> 6) % 3])?;
        if has(2) {
            policy = policy.partitioned()?;
        }
        Ok::<_, cloakroom::CookiePolicyError>(if has(4) { policy.persistent() } else { policy })
    };
    let duration = |bytes: [u8; 8]| {
        let number = u64::from_le_bytes(bytes);
        if has(8) { Duration::from_secs(number) } else { Duration::from_nanos(number) }
    };
    let lifetime =
        if has(16) { Lifetime::new(Duration::MAX, Lifetime::MAX) } else { Lifetime::new(duration(*idle), duration(*absolute)) };
    let (Ok(policy), Ok(lifetime)) = (policy(), lifetime) else { return };

    let layer = SessionLayer::new(MemoryStore::new()).cookie(policy).lifetime(lifetime).clock(clock(BEGAN));
    let browser = TestClient::new(routes().layer(layer));
    let response = send(&browser, Method::POST, "/count", &[]);
    let set = one_line(&response);
    let (given, value, attributes) = grammar::set_cookie(&set);
    assert_eq!(given, name);
    assert!(is_token(value), "{set}");
    assert!(attributes.contains(&"HttpOnly") && attributes.contains(&"Secure") != has(1), "{set}");
    assert_eq!(attributes.contains(&"Partitioned"), has(2), "{set}");
    let find = |name: &str| attributes.iter().find_map(|attribute| attribute.strip_prefix(name));
    assert_eq!(find("Path="), Some(path.unwrap_or("/")));
    // A leading dot means nothing to browsers (RFC 6265, section 5.2.3).
    assert_eq!(find("Domain="), domain.map(|domain| domain.strip_prefix('.').unwrap_or(domain)));
    let age = find("Max-Age=").map(|age| age.parse::<u64>().expect("a number"));
    assert_eq!(age.is_some(), has(4));
    assert!(age.is_none_or(|age| (1..=34_560_000).contains(&age)), "{set}");

    let response = send(&browser, Method::POST, "/leave", &[format!("{name}={value}").as_bytes()]);
    let deletion = one_line(&response);
    let (given, value, deleted) = grammar::set_cookie(&deletion);
    assert_eq!((given, value), (name, ""));
    let kept = attributes.iter().filter(|attribute| !attribute.starts_with("Max-Age="));
    assert!(kept.clone().all(|attribute| deleted.contains(attribute)), "{deletion} does not take back {set}");
    assert!(deleted.contains(&"Max-Age=0"), "{deletion}");
}

/// An application on a store in memory, and its one record.
struct World {
    store: MemoryStore,
    browser: TestClient<Router>,
    selector: Selector,
    header: Header,
    cells: Cells,
}

impl World {
    fn new() -> Self {
        let store = MemoryStore::new();
        let browser = TestClient::new(routes().layer(SessionLayer::new(store.clone()).clock(clock(BEGAN))));
        let bytes = Base64UrlUnpadded::decode_vec(TOKEN).expect("the golden token");
        let (selector, secret) = bytes.split_first_chunk::<16>().expect("32 bytes");
        let header = Header::new(
            SecretHash::from_bytes(blake3::hash(secret).into()),
            WrappedKey::from_bytes([7; 32]),
            Timestamp::from_millis(BEGAN),
            Timestamp::from_millis(BEGAN + 24 * HOUR),
            Timestamp::from_millis(BEGAN + 30 * 24 * HOUR),
        );
        let mut world = Self { store, browser, selector: Selector::from_bytes(*selector), header, cells: Cells::default() };
        let filled = one_line(&send(&world.browser, Method::POST, "/begin", &[]));
        let filled = selector_of(grammar::set_cookie(&filled).1);
        world.cells = world.look(&filled).cells.clone();
        now(world.store.delete(&filled)).expect("memory does not fail");
        world
    }

    fn look(&self, key: &Selector) -> Arc<Record> {
        // No secret has this hash, so looking is no use of the session.
        let nobody = Presented::new(SecretHash::from_bytes([0; 32]), Timestamp::from_millis(BEGAN), Lifetime::default());
        now(self.store.load(key, &nobody, &Want::default())).expect("memory does not fail").expect("it is there")
    }

    fn record(&self) -> Arc<Record> {
        self.look(&self.selector)
    }
}

thread_local! {
    static WORLD: World = World::new();
}

/// The world with these cells in the record of [`TOKEN`], and empty again afterwards.
fn with_record(cells: Cells, work: impl FnOnce(&World)) {
    WORLD.with(|world| {
        let created = now(world.store.create(&world.selector, Record::new(world.header.clone(), cells)));
        created.expect("memory does not fail");
        work(world);
        now(world.store.delete(&world.selector)).expect("memory does not fail");
        assert!(world.store.is_empty(), "a record was left behind");
    });
}

/// A read and a write with these Cookie fields: they are our token or open nothing, no byte of them gets into the response, and the
/// store holds no more than what was written.
fn in_memory(fields: &[&[u8]]) {
    let length: usize = fields.iter().map(|field| field.len()).sum();
    let presented = Presentation::of(fields);
    let cells = WORLD.with(|world| world.cells.clone());
    with_record(cells, |world| {
        let request = |method, uri| within(A_REQUEST + 16 * length, || send(&world.browser, method, uri, fields));
        let response = request(Method::GET, "/");
        let (text, reading) = match presented {
            Presentation::Ours => ("1", Effect::Nothing),
            Presentation::Nothing | Presentation::Stale => ("0", Effect::Nothing),
            Presentation::Dead => ("0", Effect::Clear),
        };
        assert_eq!((response.status().as_u16(), &*response.text(), effect(&response)), (200, text, reading));
        assert_eq!(world.store.len(), 1, "a read stores nothing");

        let response = request(Method::POST, "/count");
        assert_eq!(response.status(), 200);
        match (presented, effect(&response)) {
            (Presentation::Ours, Effect::Nothing) => assert_eq!(response.text(), "2"),
            (Presentation::Ours, other) => panic!("{other:?}"),
            (_, Effect::Set(token)) => {
                assert_eq!(response.text(), "1");
                let plain = format!("{COOKIE}={token}; HttpOnly; SameSite=Lax; Secure; Path=/");
                assert!(is_token(&token) && one_line(&response) == plain, "{response:?}");
                let selector = selector_of(&token);
                assert_ne!(selector, world.selector);
                let theirs =
                    |field: &&[u8]| field.windows(20).any(|part| token.as_bytes().windows(20).any(|ours| ours == part));
                assert!(!fields.iter().any(theirs), "part of the token came from outside");
                assert_eq!(world.store.len(), 2);
                now(world.store.delete(&selector)).expect("memory does not fail");
            }
            (_, other) => panic!("{other:?}"),
        }
    });
}

/// What Cookie fields say, told a second time and in other words than the library's.
#[derive(Clone, Copy, Debug)]
enum Presentation {
    /// No cookie of our name, or more than four that differ.
    Nothing,
    /// The token of the record, alone or among others.
    Ours,
    /// Its selector with other secrets only.
    Stale,
    /// No tokens, or of no record.
    Dead,
}

impl Presentation {
    fn of(fields: &[&[u8]]) -> Self {
        let name = b"__Host-id=";
        let mut values = BTreeSet::new();
        for field in fields {
            for at in (0..field.len()).filter(|at| field[*at..].starts_with(name)) {
                if at == 0 || field[..at].ends_with(b";") || field[..at].ends_with(b"; ") {
                    let value = &field[at + name.len()..];
                    values.insert(value.iter().position(|byte| *byte == b';').map_or(value, |end| &value[..end]));
                }
            }
        }
        if values.is_empty() || values.len() > 4 {
            return Self::Nothing;
        }
        // The one that opens, else the one that says most.
        let (tokens, ours) = (values.into_iter().filter_map(bytes_of), bytes_of(TOKEN.as_bytes()));
        let of_the_record: Vec<_> = tokens.filter(|bytes| ours.is_some_and(|ours| bytes[..16] == ours[..16])).collect();
        if of_the_record.iter().any(|bytes| Some(*bytes) == ours) {
            Self::Ours
        } else if of_the_record.is_empty() {
            Self::Dead
        } else {
            Self::Stale
        }
    }
}

/// The 32 bytes of a token by RFC 4648, section 5: 43 digits of six bits, of which the last two bits are nothing.
fn bytes_of(token: &[u8]) -> Option<[u8; 32]> {
    let digit = |byte: &u8| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'-' => Some(62),
        b'_' => Some(63),
        _ => None,
    };
    let digits: Vec<u8> = token.iter().map(digit).collect::<Option<_>>()?;
    let bit = |at: usize| digits[at / 6] >> (5 - at % 6) & 1;
    if digits.len() != 43 || bit(256) != 0 || bit(257) != 0 {
        return None;
    }
    Some(std::array::from_fn(|byte| (0..8).fold(0, |number, at| number << 1 | bit(8 * byte + at))))
}

fn is_token(text: &str) -> bool {
    bytes_of(text.as_bytes()).is_some()
}

fn selector_of(token: &str) -> Selector {
    let bytes = bytes_of(token.as_bytes()).expect("a token");
    Selector::from_bytes(std::array::from_fn(|at| bytes[at]))
}

/// A browser before an application whose sessions are in the cookie, six hours after the golden one was sealed.
fn sealed() -> TestClient<Router> {
    thread_local! {
        static BROWSER: TestClient<Router> = {
            let ring: KeyRing = RING.parse().expect("the golden ring");
            TestClient::new(routes().layer(SessionLayer::new(CookieStore::new(ring)).clock(clock(BEGAN + 6 * HOUR))))
        };
    }
    BROWSER.with(Clone::clone)
}

/// The parts of a seal by the letter of `docs/wire-format.md`: cipher, head and associated data.
fn parts_of_a_seal() -> (XChaCha20Poly1305, Vec<u8>, Vec<u8>) {
    let ring = Base64UrlUnpadded::decode_vec(RING).expect("the golden ring");
    let head = [&[1], &blake3::derive_key("cloakroom 1 key id", &ring)[..4]].concat();
    let key = blake3::derive_key("cloakroom 1 sealed cookie", &[&ring, COOKIE.as_bytes()].concat());
    let associated = [&head, &(COOKIE.len() as u64).to_le_bytes()[..], COOKIE.as_bytes()].concat();
    (XChaCha20Poly1305::new(&key.into()), head, associated)
}

fn seal(content: &[u8]) -> String {
    let (cipher, head, associated) = parts_of_a_seal();
    let nonce = [0xc0; 24];
    let sealed = cipher.encrypt(&nonce.into(), Sealing { msg: content, aad: &associated }).expect("it is short");
    Base64UrlUnpadded::encode_string(&[&head, &nonce[..], &sealed].concat())
}

fn unseal(value: &str) -> Vec<u8> {
    let (cipher, head, associated) = parts_of_a_seal();
    let bytes = Base64UrlUnpadded::decode_vec(value).expect("base64url");
    let rest = bytes.strip_prefix(&head[..]).expect("format and key id");
    let (nonce, sealed) = rest.split_first_chunk::<24>().expect("a nonce");
    cipher.decrypt(&(*nonce).into(), Sealing { msg: sealed, aad: &associated }).expect("its own seal")
}

/// The content of a sealed cookie without last-seen and the idle deadline.
fn without_use(mut content: Vec<u8>) -> Vec<u8> {
    let last_seen = 16 + 16 + 32 + 2 + 8 + 4 + 8;
    content.drain(last_seen..last_seen + 16);
    content
}

/// What a response does to our cookie.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Effect {
    Nothing,
    Set(String),
    Clear,
}

fn effect(response: &TestResponse) -> Effect {
    match &grammar::set_cookies(response.headers())[..] {
        [] => Effect::Nothing,
        [line] => match grammar::set_cookie(line) {
            (COOKIE, "", attributes) if attributes.contains(&"Max-Age=0") => Effect::Clear,
            (COOKIE, value, _) => Effect::Set(value.to_owned()),
            _ => panic!("not our cookie: {line}"),
        },
        lines => panic!("more than one: {lines:?}"),
    }
}

fn one_line(response: &TestResponse) -> String {
    grammar::set_cookies(response.headers()).pop().unwrap_or_else(|| panic!("no cookie: {response:?}"))
}

fn clock(millis: i64) -> ManualClock {
    ManualClock::new(SystemTime::from(Timestamp::from_millis(millis)))
}

/// Sends a request with exactly these Cookie fields, and looks at the answer's other fields.
fn send(browser: &TestClient<Router>, method: Method, uri: &'static str, fields: &[&[u8]]) -> TestResponse {
    let mut request = Request::new(Body::empty());
    *request.method_mut() = method;
    *request.uri_mut() = http::Uri::from_static(uri);
    for field in fields {
        request.headers_mut().append(header::COOKIE, HeaderValue::from_bytes(field).expect("it was asked before"));
    }
    let response = now(browser.fork().send(request));
    let mut others: BTreeMap<&str, &HeaderValue> =
        response.headers().iter().map(|(name, value)| (name.as_str(), value)).collect();
    others.remove("set-cookie");
    for (name, may) in
        [("vary", &["cookie"][..]), ("cache-control", &["private, no-store"]), ("content-type", &["text/plain; charset=utf-8"])]
    {
        assert!(others.remove(name).is_none_or(|value| may.iter().any(|text| value == text)), "{response:?}");
    }
    assert!(others.remove("content-length").is_none_or(|value| value.to_str().is_ok_and(|text| text.parse::<u32>().is_ok())));
    assert!(others.is_empty(), "{others:?}");
    response
}

/// The outcome of what never waits.
fn now<T>(work: impl Future<Output = T>) -> T {
    match pin!(work).as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => panic!("something waited"),
    }
}
