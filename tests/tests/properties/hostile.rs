//! Any bytes, anywhere bytes come from: a typed refusal or a value, never a panic, and no more memory than the input deserves.

use super::{
    allocations::asked,
    everything::{FIELDS, routes},
};
use axum::body::Body;
use cloakroom::{
    KeyRing, SessionLayer,
    record::{
        Cell, CellBody, CodecId, Content, Header, Owner, OwnerHash, Payload, Previous, PreviousState, SecretHash, Shape,
        Timestamp, WrappedKey,
    },
    store::{CookieStore, MemoryStore},
    testing::{Operation, TestClient},
};
use cloakroom_tests::{
    shop::{Browser, House, with_cookies},
    site::{COOKIE, Effect, effect, selector},
};
use http::{HeaderValue, Request, header};
use proptest::{collection::vec, prelude::*, sample::Index, test_runner::TestCaseResult};

/// What a request may ask for, whatever came in: the router and the handler need some 10 KiB of it in a debug build.
const A_REQUEST: usize = 64 * 1024;

fn run(case: impl Future<Output = TestCaseResult>) -> TestCaseResult {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(case)
}

/// Bytes that may stand in a header.
fn field_bytes() -> impl Strategy<Value = Vec<u8>> {
    let anything = vec(any::<u8>(), 0..300);
    let like_ours = vec(
        prop_oneof![
            Just(b"__Host-id=".to_vec()),
            Just(b"; ".to_vec()),
            Just(b"=".to_vec()),
            Just(b"%5F%5FHost-id=".to_vec()),
            Just("A".repeat(43).into_bytes()),
            vec(any::<u8>(), 0..50),
        ],
        0..12,
    )
    .prop_map(|parts| parts.concat());
    let long = (any::<u8>(), 4000..9000usize).prop_map(|(byte, length)| [&b"__Host-id="[..], &vec![byte; length]].concat());
    prop_oneof![3 => anything, 5 => like_ours, 1 => long].prop_map(|bytes| {
        bytes.into_iter().map(|byte| if HeaderValue::from_bytes(&[byte]).is_ok() { byte } else { b'~' }).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_cookie_header_gives_defaults_a_well_formed_answer_and_at_most_one_load(fields in vec(field_bytes(), 0..4)) {
        run(async {
            let house = House::new();
            let browser = house.browser(routes());
            let fields: Vec<&[u8]> = fields.iter().map(Vec::as_slice).collect();
            let length: usize = fields.iter().map(|field| field.len()).sum();
            let before = asked();
            let response = with_cookies(&browser, "/", &fields).await;
            let after = asked();
            prop_assert_eq!((response.status().as_u16(), response.text()), (200, "0".to_owned()));
            prop_assert!(!matches!(effect(&response), Effect::Set(_)));
            prop_assert!(house.store.take().len() < 2);
            prop_assert!(after - before < A_REQUEST + 16 * length, "{} bytes for {length}", after - before);
            Ok(())
        })?;
    }

    #[test]
    fn a_token_that_is_not_quite_ours_opens_nothing(at in any::<Index>(), with in "[-_A-Za-z0-9 =%.]", keep in 0..=43usize) {
        run(async {
            let house = House::new();
            let browser = house.browser(routes());
            browser.post("/begin").await;
            let token = browser.cookie(COOKIE).unwrap();
            let mut altered = token.clone();
            let at = at.index(token.len());
            altered.replace_range(at..=at, &with);
            altered.truncate(keep);
            let other = house.browser(routes());
            other.set_cookie(COOKIE, &altered);
            let response = other.get("/").await;
            prop_assert_eq!(response.status().as_u16(), 200);
            prop_assert_eq!(response.text() == "1", altered == token);
            prop_assert_eq!(browser.get("/").await.text(), "1");
            Ok(())
        })?;
    }

    #[test]
    fn any_text_of_a_sealed_cookie_gives_defaults_and_is_cleared(value in "[-_A-Za-z0-9=%]{0,4200}") {
        run(async {
            let app = routes().layer(SessionLayer::new(CookieStore::new(KeyRing::generate().unwrap())));
            let browser: Browser = TestClient::new(app);
            browser.set_cookie(COOKIE, &value);
            let before = asked();
            let response = browser.get("/").await;
            prop_assert!(asked() - before < A_REQUEST + 16 * value.len());
            prop_assert_eq!((response.status().as_u16(), response.text()), (200, "0".to_owned()));
            prop_assert_eq!(effect(&response), Effect::Clear);
            Ok(())
        })?;
    }

    #[test]
    fn a_sealed_cookie_that_was_altered_cut_or_extended_opens_nothing(at in any::<Index>(), with in "[-_A-Za-z0-9]", length in any::<Index>()) {
        run(async {
            let app = routes().layer(SessionLayer::new(CookieStore::new(KeyRing::generate().unwrap())));
            let browser: Browser = TestClient::new(app);
            browser.post("/begin").await;
            let sealed = browser.cookie(COOKIE).unwrap();
            let mut altered = sealed.clone();
            let at = at.index(sealed.len());
            altered.replace_range(at..=at, &with);
            for value in [altered, sealed[..length.index(sealed.len())].to_owned(), format!("{sealed}{with}")] {
                browser.set_cookie(COOKIE, &value);
                let response = browser.get("/").await;
                prop_assert_eq!(response.status().as_u16(), 200);
                prop_assert_eq!(response.text() == "1", value == sealed);
            }
            Ok(())
        })?;
    }

    #[test]
    fn any_bytes_of_a_cell_or_a_header_are_refused_or_read_and_what_was_read_is_written_alike(bytes in vec(any::<u8>(), 0..400)) {
        let before = asked();
        let (cell, header) = (CellBody::decode(&bytes), Header::decode(&bytes));
        prop_assert!(asked() - before < 4096 + 4 * bytes.len());
        if let Ok(cell) = cell {
            prop_assert_eq!(cell.encode(), &bytes[..]);
        }
        if let Ok(header) = header {
            prop_assert_eq!(header.encode(), &bytes[..]);
        }
    }

    #[test]
    fn a_header_that_was_altered_or_cut_is_refused_or_read(header in headers(), at in any::<Index>(), with in any::<u8>(), length in any::<Index>()) {
        let encoded = header.encode();
        prop_assert_eq!(Header::decode(&encoded).unwrap().encode(), &encoded[..]);
        prop_assert!(Header::decode(&encoded[..length.index(encoded.len())]).is_err(), "cut short");
        prop_assert!(Header::decode(&[&encoded[..], &[with]].concat()).is_err(), "extended");
        let mut altered = encoded.clone();
        altered[at.index(encoded.len())] = with;
        let before = asked();
        drop(Header::decode(&altered));
        prop_assert!(asked() - before < 4096 + 4 * altered.len());
    }

    #[test]
    fn a_cell_is_read_as_it_was_written(body in bodies()) {
        prop_assert_eq!(CellBody::decode(&body.encode()).unwrap(), body);
    }

    #[test]
    fn any_stored_field_is_a_value_or_resets_its_schema(
        field in 0..FIELDS.len(),
        payload in payloads(),
        codec in prop_oneof![6 => 1..4u8, 1 => any::<u8>()],
        shape in prop_oneof![8 => Just(None), 1 => any::<u64>().prop_map(Some)],
        sealed in prop::bool::weighted(0.05),
    ) {
        run(async {
            let house = House::new();
            let browser = house.browser(routes());
            browser.post("/begin").await;
            let record = house.record(&browser).await.unwrap();
            let Content::Value { shape: expected, .. } = record.cells.get(FIELDS[field]).unwrap().body.content else { panic!() };
            let content = Content::Value {
                codec: CodecId::from_u8(codec),
                shape: shape.map_or(expected, Shape::from_u64),
                sealed,
                payload: Payload::from(&payload[..]),
            };
            house.plant(&browser, [(FIELDS[field], CellBody::new(content))]).await;
            let before = asked();
            let response = browser.get("/").await;
            let asked = asked() - before;
            prop_assert_eq!(response.status().as_u16(), 200);
            prop_assert_eq!(effect(&response), Effect::Nothing);
            prop_assert!(asked < DECODED + 256 * payload.len(), "{asked} bytes for {} of {}", payload.len(), FIELDS[field]);
            prop_assert_eq!(house.store.count(Operation::Commit), 0, "a read writes nothing");
            prop_assert_eq!(browser.post("/begin").await.status().as_u16(), 200, "the next write heals it");
            prop_assert_eq!(browser.get("/").await.text(), "1");
            Ok(())
        })?;
    }
}

/// What one field may ask for beyond its request, whatever its bytes claim: serde reserves at most 1 MiB for a claimed length,
/// and a map of vectors may claim two, of which its buckets make 1.6.
const DECODED: usize = A_REQUEST + 3 * 1024 * 1024;

/// Payloads of every kind: noise, small numbers (which are lengths and tags), huge lengths, text and JSON.
fn payloads() -> impl Strategy<Value = Vec<u8>> {
    let huge = (prop_oneof![Just(251u8), Just(252), Just(253), Just(254), Just(255)], vec(any::<u8>(), 0..20))
        .prop_map(|(tag, rest)| [vec![tag, 255, 255, 255, 127, 255, 255, 255, 127], rest].concat());
    let json = r#"[\[\]{}:,"0-9a-z\\. ]{0,200}"#.prop_map(String::into_bytes);
    let nested =
        (prop_oneof![Just("["), Just("{\"a\":")], 0..5000usize).prop_map(|(open, depth)| open.repeat(depth).into_bytes());
    prop_oneof![
        4 => vec(any::<u8>(), 0..300),
        4 => vec(0..6u8, 0..300),
        3 => huge,
        1 => vec(any::<u8>(), 0..9000),
        2 => json,
        1 => nested,
    ]
}

fn headers() -> impl Strategy<Value = Header> {
    let millis = || any::<i64>().prop_map(Timestamp::from_millis);
    let state = prop_oneof![Just(PreviousState::Pending), Just(PreviousState::Superseded), Just(PreviousState::Revoked)];
    let previous = (any::<[u8; 32]>(), any::<[u8; 32]>(), state, millis()).prop_map(|(hash, key, state, since)| Previous {
        secret_hash: SecretHash::from_bytes(hash),
        wrapped_key: WrappedKey::from_bytes(key),
        state,
        since,
    });
    let owner = (any::<[u8; 32]>(), "\\PC{0,20}")
        .prop_map(|(hash, schema)| Owner { schema: schema.into(), hash: OwnerHash::from_bytes(hash) });
    let times = (millis(), millis(), millis(), millis());
    let options =
        (prop::option::of(previous), prop::option::of(owner), prop::option::of(millis()), prop::option::of("\\PC{0,40}"));
    (times, options, any::<(u64, u32, bool, [u8; 32])>()).prop_map(|(times, options, (revision, epoch, persistent, hash))| {
        let mut header = Header::new(SecretHash::from_bytes(hash), WrappedKey::from_bytes([1; 32]), times.0, times.1, times.2);
        header.last_seen = times.3;
        (header.revision, header.epoch, header.persistent) = (revision, epoch, persistent);
        (header.previous, header.owner, header.authenticated_at) = (options.0, options.1, options.2);
        header.label = options.3.map(Into::into);
        header
    })
}

fn bodies() -> impl Strategy<Value = CellBody> {
    let value =
        (any::<u8>(), any::<u64>(), any::<bool>(), vec(any::<u8>(), 0..100)).prop_map(|(codec, shape, sealed, payload)| {
            Content::Value {
                codec: CodecId::from_u8(codec),
                shape: Shape::from_u64(shape),
                sealed,
                payload: Payload::from(&payload[..]),
            }
        });
    let content = prop_oneof![1 => Just(Content::Tombstone), 4 => value];
    (content, prop::option::of(any::<i64>()), prop::option::of(any::<u32>())).prop_map(|(content, deadline, kept_in)| {
        let mut body = CellBody::new(content);
        body.deadline = deadline.map(Timestamp::from_millis);
        body.keep = kept_in.is_some();
        body.epoch = kept_in.unwrap_or(0);
        body
    })
}

/// What `/deep` says, and what reading it asked for, once that payload lies in that field.
async fn read_deeply(key: &'static str, codec: CodecId, payload: &[u8]) -> (String, usize) {
    let house = House::over(MemoryStore::new());
    let browser = house.browser(routes());
    browser.post("/deep").await;
    assert_eq!(browser.get("/deep").await.text(), "true 1");
    let record = house.record_of(&selector(&browser.cookie(COOKIE).unwrap())).await.unwrap();
    let cell: &Cell = record.cells.get(key).unwrap();
    let Content::Value { shape, .. } = cell.body.content else { panic!() };
    let payload = Payload::from(payload);
    house.plant(&browser, [(key, CellBody::new(Content::Value { codec, shape, sealed: false, payload }))]).await;
    let before = asked();
    let response = browser.get("/deep").await;
    assert_eq!(response.status(), 200);
    (response.text(), asked() - before)
}

#[tokio::test]
async fn a_cell_that_claims_to_be_nested_very_deeply_is_refused_without_a_stack_overflow() {
    for codec in [CodecId::BINCODE, CodecId::POSTCARD] {
        // A one says that there is a next link.
        let (text, _) = read_deeply("deep/chain", codec, &vec![1; cloakroom::limits::CELL]).await;
        assert_eq!(text, "false 0");
    }
}

#[tokio::test]
async fn a_cell_whose_every_level_claims_to_be_large_asks_for_no_more_than_one() {
    // The largest number of two bytes, on every level.
    for (codec, length) in [(CodecId::BINCODE, &[0xfb, 0xff, 0xff][..]), (CodecId::POSTCARD, &[0xff, 0xff, 0x03])] {
        let (text, asked) = read_deeply("deep/tree", codec, &length.repeat(200)).await;
        assert_eq!(text, "false 0");
        assert!(asked < DECODED, "{asked} bytes for a cell of 600");
    }
}

#[tokio::test]
async fn a_request_with_eight_kilobytes_of_cookies_is_answered_like_any_other() {
    let house = House::new();
    let browser = house.browser(routes());
    browser.post("/begin").await;
    let ours = format!("{COOKIE}={}", browser.cookie(COOKIE).unwrap());
    let others = (0..1500).map(|at| format!("a{at}=b; ")).collect::<String>() + &ours;
    let request = Request::get("/").header(header::COOKIE, others).body(Body::empty()).unwrap();
    assert_eq!(browser.send(request).await.text(), "1");
}
