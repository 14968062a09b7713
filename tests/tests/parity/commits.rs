//! What a request writes, what it may not lose, and what is stored that cannot be read.

use axum::{extract::Path, routing::any};
use chrono::{DateTime, NaiveDate, Utc};
use cloakroom::{
    SessionData, SessionError, SessionLayer, SessionValue, TooLarge, TypedSession, limits,
    record::{CellBody, CellKey, CodecId, Content, Patch, Payload, Put, Shape},
    store::{CookieStore, IntoBackend, MemoryStore, SessionStore, SqliteStore},
    testing::{Fault, FaultStore, Gate, Op, Operation, TestClient},
};
use cloakroom_tests::{
    events::Events,
    site::{Effect, FRESH, Settings, Shop, Site, effect, keys, record, seconds, selector, shop, watched},
};
use http::StatusCode;
use serde::{Deserialize, Serialize, Serializer, ser::Error as _};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

#[tokio::test]
async fn two_requests_that_change_different_fields_keep_both() {
    overlapping(MemoryStore::new()).await;
    overlapping(SqliteStore::in_memory().await.unwrap()).await;
}

async fn overlapping<S: SessionStore + Clone>(store: S) {
    let faults = FaultStore::new(store);
    let site = Site::on(faults.clone());
    site.browser.post("/visit").await;
    let gate = Gate::new();
    faults.next(Operation::Commit, Fault::HoldBefore(gate.clone()));
    let slow = tokio::spawn({
        let tab = site.browser.clone();
        async move { tab.post("/name/Ada").await }
    });
    gate.reached().await;
    assert_eq!(site.browser.post("/visit").await.text(), ":2");
    gate.open();
    assert_eq!(slow.await.unwrap().text(), "Ada:1", "it had loaded before");
    assert_eq!(site.browser.get("/").await.text(), "Ada:2", "{}", site.backend);
}

#[tokio::test]
async fn reading_neither_writes_the_record_nor_sends_the_cookie() {
    let store = watched();
    let site = Site::with(store.clone(), &Settings::default().persistent());
    site.browser.post("/name/Ada").await;
    let before = record(store.inner().inner(), &selector(&site.token()), site.now()).await.unwrap();
    store.take();
    for path in ["/", "/handle", "/expires", "/same"] {
        site.clock.advance(seconds(3_600));
        assert_eq!(effect(&site.browser.get(path).await), Effect::Nothing, "{path}");
        let log = store.take();
        assert!(matches!(&log[..], [Op::Load { .. }]), "{path}: {log:?}");
    }
    let after = record(store.inner().inner(), &selector(&site.token()), site.now()).await.unwrap();
    assert_eq!((after.header.revision, &after.cells), (before.header.revision, &before.cells));
}

#[tokio::test]
async fn one_changed_field_is_one_cell() {
    let store = watched();
    let site = Site::on(store.clone());
    site.browser.post("/name/Ada").await;
    site.browser.post("/visit").await;
    store.take();
    site.browser.post("/visit").await;
    let log = store.take();
    assert!(matches!(&log[..], [Op::Load { .. }, Op::Commit { puts, .. }] if puts == &["shop/views"]), "{log:?}");
}

#[derive(SessionData)]
#[session(name = "library")]
struct Library {
    seen: u32,
}

#[tokio::test]
async fn malformed_stored_bytes_reset_their_schema_and_are_never_an_error() {
    malformed(MemoryStore::new()).await;
    malformed(SqliteStore::in_memory().await.unwrap()).await;
}

async fn malformed<S: SessionStore + Clone>(store: S) {
    let library = any(async |mut library: TypedSession<Library>| {
        *library.seen += 1;
        library.seen.to_string()
    });
    let whole = record_of_a_visit().await;
    let Content::Value { codec, shape, .. } = whole else { panic!("a value") };
    let cell = |codec, shape, sealed, payload: &[u8]| Content::Value { codec, shape, sealed, payload: Payload::from(payload) };
    let bad = [
        cell(codec, shape, false, b"not json"),
        cell(codec, shape, false, b"[1]"),
        cell(codec, shape, false, b"null"),
        cell(codec, shape, false, b""),
        cell(codec, shape, false, &[0xfd]),
        cell(codec, shape, false, &[0xff; 300_000]),
        cell(codec, shape, true, b"\x01"),
        cell(codec, Shape::from_u64(1), false, b"\x01"),
        cell(CodecId::from_u8(77), shape, false, b"\x01"),
        cell(CodecId::JSON, shape, false, b"{\"a\":"),
    ];
    for (number, content) in bad.into_iter().enumerate() {
        let site = Site::of(store.clone(), &Settings::default(), shop().route("/library", library.clone()));
        site.browser.post("/name/Ada").await;
        site.browser.post("/library").await;
        let key = selector(&site.token());
        let mut patch = Patch::new(0, site.now());
        patch.puts.push(Put::new(CellKey::from_static("shop/views"), CellBody::new(content.clone())));
        store.commit(&key, &patch).await.unwrap();

        let events = Events::capture();
        let response = site.browser.get("/").await;
        let about = format!("{} with malformed cell {number}", site.backend);
        assert_eq!(
            (response.status(), &*response.text()),
            (StatusCode::OK, FRESH),
            "{about}: all of the schema, not half of it"
        );
        assert_eq!(effect(&response), Effect::Nothing, "{about}");
        let said = events.take();
        assert_eq!(said.iter().filter(|line| line.contains("session.undecodable")).count(), 1, "{about}: {said:?}");
        let stored = record(&store, &key, site.now()).await.unwrap();
        assert_eq!(stored.cells.get("shop/views").unwrap().body.content, content, "{about}: a read changes nothing");

        assert_eq!(site.browser.post("/library").await.text(), "2", "{about}: other structs load");
        assert_eq!(site.browser.post("/visit").await.text(), ":1", "{about}");
        assert_eq!(site.browser.get("/").await.text(), ":1", "{about}: the first write has healed it");
    }
}

/// What a visit stores.
async fn record_of_a_visit() -> Content {
    let store = MemoryStore::new();
    let site = Site::on(store.clone());
    site.browser.post("/visit").await;
    let record = record(&store, &selector(&site.token()), site.now()).await.unwrap();
    record.cells.get("shop/views").unwrap().body.content.clone()
}

#[derive(Default, Deserialize)]
struct Unspeakable;

impl Serialize for Unspeakable {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(S::Error::custom("no words for it"))
    }
}

#[derive(SessionData)]
#[session(name = "diary")]
struct Diary {
    page: u32,
    #[session(opaque)]
    secret: Unspeakable,
}

#[tokio::test]
async fn a_value_that_cannot_be_encoded_is_an_error_before_the_head_and_stores_nothing() {
    unspeakable(MemoryStore::new()).await;
    unspeakable(SqliteStore::in_memory().await.unwrap()).await;
    unspeakable(CookieStore::new(keys())).await;
}

async fn unspeakable<B: IntoBackend>(backend: B) {
    let seen = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&seen);
    let layer = SessionLayer::new(backend).on_error(move |error, _| {
        assert!(
            matches!(error, SessionError::Encode { field, reason } if field == "diary.secret" && !reason.is_empty()),
            "{error}"
        );
        count.fetch_add(1, Ordering::Relaxed);
        error.default_response()
    });
    let routes = shop()
        .route(
            "/write",
            any(async |mut diary: TypedSession<Diary>| {
                *diary.page += 1;
                *diary.secret = Unspeakable;
                "written"
            }),
        )
        .route(
            "/save",
            any(async |mut diary: TypedSession<Diary>| {
                *diary.secret = Unspeakable;
                matches!(diary.save().await, Err(SessionError::Encode { .. })).to_string()
            }),
        )
        .route("/page", any(async |diary: TypedSession<Diary>| diary.page.to_string()));
    let browser = TestClient::new(routes.layer(layer));
    let response = browser.post("/write").await;
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert!(!response.text().contains("written"));
    assert_eq!(effect(&response), Effect::Nothing);
    assert_eq!(seen.load(Ordering::Relaxed), 1);
    browser.post("/visit").await;
    browser.post("/write").await;
    assert_eq!(browser.get("/page").await.text(), "0", "nothing of the request is stored");
}

#[tokio::test]
async fn a_5xx_stores_nothing_unsaved_and_a_deliberate_4xx_does() {
    let answer = any(async |Path(status): Path<u16>, mut shop: TypedSession<Shop>| {
        *shop.views += 1;
        StatusCode::from_u16(status).expect("a status")
    });
    let site = Site::of(watched(), &Settings::default(), shop().route("/answer/{status}", answer));
    site.browser.post("/visit").await;
    for (status, views) in [(500, 1), (404, 2), (503, 2), (303, 3)] {
        assert_eq!(site.browser.post(&format!("/answer/{status}")).await.status().as_u16(), status);
        assert_eq!(site.browser.get("/").await.text(), format!(":{views}"), "after {status}");
    }
}

#[derive(SessionData)]
#[session(name = "heavy")]
struct Heavy {
    first: String,
    second: String,
    third: String,
    fourth: String,
    fifth: String,
}

#[tokio::test]
async fn a_session_over_the_limit_is_refused_with_its_sizes_and_stays_as_it_was() {
    const SIZE: usize = 250_000;
    let load = any(async |Path(which): Path<usize>, mut heavy: TypedSession<Heavy>| {
        let heavy = &mut *heavy;
        let fields = [&mut heavy.first, &mut heavy.second, &mut heavy.third, &mut heavy.fourth, &mut heavy.fifth];
        for field in fields.into_iter().skip(which).take(1) {
            **field = "x".repeat(SIZE);
        }
    });
    let sizes = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&sizes);
    let store = watched();
    let layer = SessionLayer::new(store.clone()).on_error(move |error, _| {
        let SessionError::TooLarge { what: TooLarge::Record, limit: limits::RECORD, sizes } = error else { panic!("{error}") };
        assert!(sizes.iter().all(|(key, size)| key.starts_with("heavy/") && *size >= SIZE), "{sizes:?}");
        seen.store(sizes.len(), Ordering::Relaxed);
        error.default_response()
    });
    let browser = TestClient::new(shop().route("/load/{which}", load).layer(layer));
    for which in 0..4 {
        assert_eq!(browser.post(&format!("/load/{which}")).await.status(), StatusCode::OK);
    }
    let commits = store.count(Operation::Commit);
    let response = browser.post("/load/4").await;
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(effect(&response), Effect::Nothing);
    assert_eq!(sizes.load(Ordering::Relaxed), 5);
    assert_eq!(store.count(Operation::Commit), commits, "the store was not even asked");
    assert_eq!(browser.post("/load/0").await.status(), StatusCode::OK, "what was there is there");
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, SessionValue)]
enum Delivery {
    #[default]
    None,
    Pickup(u8),
    Parcel {
        street: String,
        days: (u8, u8),
    },
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Foreign {
    anything: BTreeMap<String, f64>,
}

#[derive(SessionData)]
#[session(name = "types")]
struct Types {
    pair: (u32, String),
    by_number: BTreeMap<i64, Vec<u8>>,
    by_name: HashMap<String, Option<bool>>,
    set: BTreeSet<char>,
    large: u128,
    small: i8,
    float: f64,
    maybe: Option<u8>,
    unit: (),
    array: [u16; 3],
    wait: Duration,
    #[session(default = DateTime::UNIX_EPOCH)]
    instant: DateTime<Utc>,
    day: Option<NaiveDate>,
    uuid: uuid::Uuid,
    delivery: Delivery,
    #[session(opaque)]
    foreign: Foreign,
}

macro_rules! filled {
    ($types:ident, $each:ident) => {{
        $each!($types.pair, (7, "sieben".to_owned()));
        $each!($types.by_number, BTreeMap::from([(-1, vec![0, 255]), (i64::MAX, vec![])]));
        $each!($types.by_name, HashMap::from([("a".to_owned(), Some(true)), ("\u{1f600}".to_owned(), None)]));
        $each!($types.set, BTreeSet::from(['\0', '\u{10ffff}']));
        $each!($types.large, u128::MAX);
        $each!($types.small, i8::MIN);
        $each!($types.float, -0.1);
        $each!($types.maybe, Some(0));
        $each!($types.array, [1, 2, 65_535]);
        $each!($types.wait, Duration::new(3, 999_999_999));
        $each!($types.instant, DateTime::from_timestamp(1_800_000_000, 5).unwrap());
        $each!($types.day, NaiveDate::from_ymd_opt(2024, 2, 29));
        $each!($types.uuid, uuid::Uuid::from_u128(42));
        $each!($types.delivery, Delivery::Parcel { street: "Hauptstr. 1".to_owned(), days: (1, 3) });
        $each!($types.foreign, Foreign { anything: BTreeMap::from([("price".to_owned(), 3.5)]) });
    }};
}

#[tokio::test]
async fn every_typed_field_comes_back_as_the_type_it_was() {
    every_type(MemoryStore::new()).await;
    every_type(SqliteStore::in_memory().await.unwrap()).await;
    every_type(CookieStore::new(keys())).await;
}

async fn every_type<B: IntoBackend>(backend: B) {
    let write = any(async |mut types: TypedSession<Types>| {
        macro_rules! set {
            ($place:expr, $value:expr) => {
                *$place = $value
            };
        }
        filled!(types, set);
    });
    let compare = any(async |types: TypedSession<Types>| {
        macro_rules! same {
            ($place:expr, $value:expr) => {
                assert_eq!(*$place, $value)
            };
        }
        filled!(types, same);
        let () = *types.unit;
    });
    let site = Site::of(backend, &Settings::default(), shop().route("/write", write).route("/compare", compare));
    assert_eq!(site.browser.post("/write").await.status(), StatusCode::OK, "{}", site.backend);
    assert_eq!(site.browser.post("/compare").await.status(), StatusCode::OK, "{}", site.backend);
}
