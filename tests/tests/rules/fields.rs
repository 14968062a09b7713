//! What a field's attributes mean at load, at check-in and at commit.

use crate::data::{Auth, Merging};
use axum::{
    Router,
    extract::Request,
    middleware::{Next, from_fn},
    routing::{get, post},
};
use cloakroom::{
    SessionData, SessionError, TypedSession,
    record::{CellBody, CodecId, Content, Payload, Shape},
};
use cloakroom_tests::{
    events::Events,
    shop::{Browser, House},
    site::{Effect, effect},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex},
    time::Duration,
};

#[derive(SessionData)]
struct Shop {
    #[session(validate = not_too_many)]
    cart: Vec<u32>,
    name: String,
    #[session(lossy, default = 7u32)]
    theme: u32,
    #[session(ttl = "10m")]
    code: Option<u32>,
    #[session(opaque)]
    address: Address,
    prices: HashMap<String, u32>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Address {
    #[default]
    None,
    Street {
        name: String,
        number: u32,
    },
}

fn not_too_many(cart: &[u32]) -> Result<(), String> {
    if cart.len() < 4 { Ok(()) } else { Err(format!("{} things are too many", cart.len())) }
}

fn shop() -> Router {
    Router::new()
        .route(
            "/begin",
            post(|mut s: TypedSession<Shop>, mut auth: TypedSession<Auth>| async move {
                *s.cart = vec![1];
                *s.name = "Ada".into();
                *s.theme = 8;
                *s.address = Address::Street { name: "Main".into(), number: 1 };
                *auth.user = Some(5);
            }),
        )
        .route("/", get(|s: TypedSession<Shop>| async move { format!("{:?} {} {}", s.cart, s.name, s.theme) }))
        .route("/user", get(|s: TypedSession<Auth>| async move { format!("{:?}", s.user) }))
        .route("/rename", post(|mut s: TypedSession<Shop>| async move { *s.name = "Bob".into() }))
        .route("/add", post(|mut s: TypedSession<Shop>| async move { s.cart.push(9) }))
}

async fn begun() -> (House, Browser) {
    let house = House::new();
    let browser = house.browser(shop());
    browser.post("/begin").await;
    house.log();
    (house, browser)
}

async fn cell(house: &House, browser: &Browser, key: &str) -> CellBody {
    house.record(browser).await.unwrap().cells.get(key).unwrap().body.clone()
}

async fn altered(
    house: &House,
    browser: &Browser,
    key: &str,
    alter: impl FnOnce(&mut CodecId, &mut Shape, &mut Vec<u8>),
) -> CellBody {
    let mut body = cell(house, browser, key).await;
    let Content::Value { codec, shape, payload, .. } = &mut body.content else { panic!("{key} holds a value") };
    let mut bytes = payload.to_vec();
    alter(codec, shape, &mut bytes);
    *payload = Payload::from(&bytes[..]);
    body
}

type Alteration = fn(&mut CodecId, &mut Shape, &mut Vec<u8>);

const CORRUPTIONS: [(&str, Alteration); 6] = [
    ("truncated", |_, _, bytes| bytes.truncate(bytes.len() - 1)),
    ("trailing", |_, _, bytes| bytes.push(0)),
    ("garbage", |_, _, bytes| *bytes = vec![0xff; 9]),
    ("unknown codec", |codec, _, _| *codec = CodecId::from_u8(77)),
    ("another shape", |_, shape, _| *shape = Shape::from_u64(1)),
    ("refused by validation", |_, _, bytes| *bytes = vec![4, 1, 2, 3, 4]),
];

#[tokio::test]
async fn a_corrupt_cell_resets_its_schema_for_this_request_and_no_other() {
    for (what, alteration) in CORRUPTIONS {
        let (house, browser) = begun().await;
        let events = Events::capture();
        let corrupt = altered(&house, &browser, "shop/cart", alteration).await;
        house.plant(&browser, [("shop/cart", corrupt)]).await;
        let before = house.record(&browser).await.unwrap().cells;
        let response = browser.get("/").await;
        assert_eq!((response.status().as_u16(), response.text().as_str()), (200, "[]  7"), "{what}");
        assert_eq!(events.count("session.undecodable"), 1, "{what}");
        assert_eq!(effect(&response), Effect::Nothing);
        assert_eq!(browser.get("/user").await.text(), "Some(5)", "other schemas load: {what}");
        assert_eq!(house.record(&browser).await.unwrap().cells, before, "a read leaves every byte in place: {what}");
    }
}

#[tokio::test]
async fn the_first_write_after_a_reset_writes_the_whole_schema_and_heals_it() {
    let (house, browser) = begun().await;
    let corrupt = altered(&house, &browser, "shop/cart", |_, _, bytes| *bytes = vec![0xff]).await;
    house.plant(&browser, [("shop/cart", corrupt)]).await;
    house.log();
    assert_eq!(browser.post("/rename").await.status(), 200);
    let log = house.log();
    assert_eq!(log.len(), 2, "in one commit: {log:?}");
    for key in ["shop/cart", "shop/name", "shop/theme", "shop/address"] {
        assert!(log[1].contains(key), "{key}: {log:?}");
    }
    assert!(!log[1].contains("auth"), "{log:?}");
    let events = Events::capture();
    assert_eq!(browser.get("/").await.text(), "[] Bob 7");
    assert_eq!(events.count("session.undecodable"), 0);
    assert_eq!(browser.get("/user").await.text(), "Some(5)");
}

#[tokio::test]
async fn a_struct_that_one_save_healed_is_not_reset_by_the_next() {
    let (house, corrupted) = begun().await;
    let corrupt = altered(&house, &corrupted, "shop/cart", |_, _, bytes| *bytes = vec![0xff]).await;
    house.plant(&corrupted, [("shop/cart", corrupt)]).await;
    let twice = |mut s: TypedSession<Shop>| async move {
        *s.name = "Bob".into();
        s.save().await.unwrap();
        *s.code = Some(1);
        s.save().await.unwrap();
        s.cart.push(9);
    };
    let show = |s: TypedSession<Shop>| async move { format!("{} {:?} {:?}", *s.name, *s.code, *s.cart) };
    let browser = house.browser(Router::new().route("/twice", post(twice)).route("/", get(show)));
    browser.set_cookie("__Host-id", corrupted.cookie("__Host-id").unwrap());
    assert_eq!(browser.post("/twice").await.status(), 200);
    assert_eq!(browser.get("/").await.text(), "Bob Some(1) [9]");
}

#[tokio::test]
async fn a_write_to_another_schema_leaves_the_corrupt_one_alone() {
    let (house, browser) = begun().await;
    let corrupt = altered(&house, &browser, "shop/cart", |_, _, bytes| *bytes = vec![0xff]).await;
    house.plant(&browser, [("shop/cart", corrupt.clone())]).await;
    let app = house.browser(Router::new().route(
        "/",
        post(|s: TypedSession<Shop>, mut auth: TypedSession<Auth>| async move {
            assert!(s.cart.is_empty());
            *auth.user = Some(6);
        }),
    ));
    app.set_cookie("__Host-id", browser.cookie("__Host-id").unwrap());
    app.post("/").await;
    assert_eq!(cell(&house, &browser, "shop/cart").await, corrupt);
}

#[tokio::test]
async fn setting_the_default_does_not_keep_a_corrupt_schema_from_healing_on_a_real_write() {
    let (house, browser) = begun().await;
    let corrupt = altered(&house, &browser, "shop/cart", |_, _, bytes| *bytes = vec![0xff]).await;
    house.plant(&browser, [("shop/cart", corrupt)]).await;
    browser.post("/add").await;
    assert_eq!(browser.get("/").await.text(), "[9]  7");
    assert_eq!(house.record(&browser).await.unwrap().cells.get("shop/name").unwrap().body.content, Content::Tombstone);
}

#[tokio::test]
async fn a_lossy_field_falls_back_alone() {
    for (what, alteration) in CORRUPTIONS.into_iter().take(5) {
        let (house, browser) = begun().await;
        let corrupt = altered(&house, &browser, "shop/theme", alteration).await;
        house.plant(&browser, [("shop/theme", corrupt.clone())]).await;
        let response = browser.get("/").await;
        assert_eq!(response.text(), "[1] Ada 7", "{what}");
        browser.post("/rename").await;
        assert_eq!(cell(&house, &browser, "shop/theme").await, corrupt, "what nobody wrote stays: {what}");
        assert_eq!(browser.get("/").await.text(), "[1] Bob 7");
    }
}

#[tokio::test]
async fn a_value_that_validation_refuses_is_not_stored_nor_anything_else_of_the_request() {
    let house = House::new();
    let seen = Arc::new(Mutex::new(String::new()));
    let keep = Arc::clone(&seen);
    let layer = house.layer().on_error(move |error, _| {
        *keep.lock().unwrap() = error.to_string();
        error.default_response()
    });
    let overfill = |mut s: TypedSession<Shop>| async move {
        *s.name = "Eve".into();
        s.cart.extend([2, 3, 4]);
    };
    let browser = house.browser_of(shop().route("/overfill", post(overfill)).layer(layer));
    browser.post("/begin").await;
    house.log();
    let response = browser.post("/overfill").await;
    assert_eq!((response.status().as_u16(), effect(&response)), (500, Effect::Nothing));
    assert_eq!(house.log(), ["load -> found r1"]);
    assert!(seen.lock().unwrap().contains("shop.cart"), "{seen:?}");
    assert!(seen.lock().unwrap().contains("4 things are too many"), "{seen:?}");
    assert_eq!(browser.get("/").await.text(), "[1] Ada 8");
}

#[tokio::test]
async fn save_reports_what_validation_refused_and_the_handler_may_mend_it() {
    let mend = |mut s: TypedSession<Shop>| async move {
        s.cart.extend([2, 3, 4]);
        let error = s.save().await.unwrap_err();
        assert!(matches!(&error, SessionError::Invalid { field, .. } if field == "shop.cart"), "{error}");
        s.cart.pop();
        s.save().await.unwrap();
    };
    let (house, browser) = begun().await;
    let app = house.browser(shop().route("/mend", post(mend)));
    app.set_cookie("__Host-id", browser.cookie("__Host-id").unwrap());
    assert_eq!(app.post("/mend").await.status(), 200);
    assert_eq!(browser.get("/").await.text(), "[1, 2, 3] Ada 8");
}

#[tokio::test]
async fn a_ttl_field_falls_back_to_its_default_at_its_deadline_and_a_touch_is_a_write() {
    let house = House::new();
    let routes = shop()
        .route("/code", get(|s: TypedSession<Shop>| async move { format!("{:?}", s.code) }))
        .route("/set", post(|mut s: TypedSession<Shop>| async move { *s.code = Some(42) }))
        .route(
            "/touch",
            post(|mut s: TypedSession<Shop>| async move {
                let _ = &mut *s.code;
            }),
        );
    let browser = house.browser(routes);
    browser.post("/begin").await;
    browser.post("/set").await;
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    assert_eq!(cell(&house, &browser, "shop/code").await.deadline, Some(house.now().plus(minutes(10))));
    house.clock.advance(minutes(10) - Duration::from_millis(1));
    assert_eq!(browser.get("/code").await.text(), "Some(42)", "reading does not move it");
    house.log();
    browser.post("/touch").await;
    assert!(house.log()[1].contains("puts [shop/code]"), "a touch is a write");
    house.clock.advance(minutes(10) - Duration::from_millis(1));
    assert_eq!(browser.get("/code").await.text(), "Some(42)");
    house.clock.advance(Duration::from_millis(1));
    assert_eq!(browser.get("/code").await.text(), "None");
    assert_eq!(browser.get("/").await.text(), "[1] Ada 8", "the others live on");
}

#[tokio::test]
async fn an_opaque_field_takes_any_serde_type_and_describes_itself() {
    let (house, browser) = begun().await;
    let Content::Value { codec, shape, payload, .. } = cell(&house, &browser, "shop/address").await.content else { panic!() };
    assert_eq!((codec, shape), (CodecId::JSON, Shape::OPAQUE));
    assert_eq!(&*payload, br#"{"kind":"Street","name":"Main","number":1}"#);
    let app = house.browser(Router::new().route(
        "/",
        post(|mut s: TypedSession<Shop>| async move {
            let Address::Street { number, .. } = &mut *s.address else { panic!("it was stored") };
            *number += 1;
        }),
    ));
    app.set_cookie("__Host-id", browser.cookie("__Host-id").unwrap());
    assert_eq!(app.post("/").await.status(), 200);
    let Content::Value { payload, .. } = cell(&house, &browser, "shop/address").await.content else { panic!() };
    assert_eq!(&*payload, br#"{"kind":"Street","name":"Main","number":2}"#);
}

#[tokio::test]
async fn an_unordered_map_rebuilt_in_another_order_is_not_a_change() {
    let house = House::new();
    let fill = |mut s: TypedSession<Shop>| async move {
        // A new map has a new order.
        *s.prices = (0..50).map(|at| (format!("item {at}"), at)).collect();
    };
    let browser = house.browser(shop().route("/fill", post(fill)));
    browser.post("/fill").await;
    house.log();
    for _ in 0..5 {
        browser.post("/fill").await;
        assert_eq!(house.log(), ["load -> found r1"]);
    }
}

#[derive(SessionData)]
#[session(name = "unions")]
struct Unions {
    #[session(merge = "union")]
    map: HashMap<String, u8>,
    #[session(merge = "union")]
    set: HashSet<u8>,
    #[session(opaque, merge = "union")]
    opaque: HashMap<String, Vec<u8>>,
}

#[tokio::test]
async fn unions_of_hash_maps_and_sets_keep_additions_and_removals_of_both() {
    let begin = async |mut s: TypedSession<Unions>| {
        s.map.insert("x".into(), 1);
        s.set.insert(1);
        s.opaque.insert("x".into(), vec![1]);
    };
    let minus = |s: &mut TypedSession<Unions>| {
        s.map.remove("x");
        s.set.remove(&1);
        s.opaque.remove("x");
    };
    let plus = |s: &mut TypedSession<Unions>| {
        s.map.insert("y".into(), 2);
        s.set.insert(2);
        s.opaque.insert("y".into(), vec![2]);
    };
    let show = async |s: TypedSession<Unions>| format!("{:?} {:?} {:?}", *s.map, *s.set, *s.opaque);
    type Change = fn(&mut TypedSession<Unions>);
    for (slow, fast) in [(minus as Change, plus as Change), (plus as Change, minus as Change)] {
        let house = House::new();
        let routes = Router::new()
            .route("/begin", post(begin))
            .route("/", get(show))
            .route("/fast", post(move |mut s: TypedSession<Unions>| async move { fast(&mut s) }));
        let browser = house.browser(routes.clone());
        browser.post("/begin").await;
        let other = browser.fork();
        let slow = move |mut s: TypedSession<Unions>| async move {
            other.post("/fast").await;
            slow(&mut s);
        };
        let slow_one = house.browser(routes.route("/slow", post(slow)));
        slow_one.set_cookie("__Host-id", browser.cookie("__Host-id").unwrap());
        assert_eq!(slow_one.post("/slow").await.status(), 200);
        assert_eq!(browser.get("/").await.text(), r#"{"y": 2} {2} {"y": [2]}"#);
    }
}

fn merging() -> Router {
    Router::new()
        .route(
            "/begin",
            post(|mut s: TypedSession<Merging>| async move {
                *s.sum = 10;
                *s.top = 10;
                *s.low = 10;
                *s.tags = ["x", "y"].map(String::from).into();
                *s.only = 1;
                *s.text = "base".into();
                *s.last = 1;
            }),
        )
        .route(
            "/",
            get(|s: TypedSession<Merging>| async move {
                format!("{} {} {} {:?} {} {} {}", s.sum, s.top, s.low, s.tags, s.only, s.text, s.last)
            }),
        )
}

fn change(s: &mut TypedSession<Merging>, up: i64, tag: (&str, &str), mine: &str) {
    *s.sum += up;
    *s.top = (10 + up) as u32;
    *s.low = (10 - up) as u32;
    s.tags.remove(tag.0);
    s.tags.insert(tag.1.into());
    *s.text = mine.into();
    *s.last = up as u32;
}

#[tokio::test]
async fn two_requests_that_change_the_same_fields_merge_by_their_rules() {
    let house = House::new();
    let other = house.browser(
        merging().route("/other", post(|mut s: TypedSession<Merging>| async move { change(&mut s, 5, ("y", "b"), "theirs") })),
    );
    let between = other.clone();
    let handler = move |mut s: TypedSession<Merging>| {
        let between = between.clone();
        async move {
            between.post("/other").await;
            change(&mut s, 3, ("x", "a"), "mine");
        }
    };
    let browser = house.browser(merging().route("/change", post(handler)));
    browser.post("/begin").await;
    other.set_cookie("__Host-id", browser.cookie("__Host-id").unwrap());
    house.log();
    assert_eq!(browser.post("/change").await.status(), 200);
    let log = house.log();
    assert!(log[3].contains("-> conflict [") && log[4].ends_with("-> committed r3"), "{log:?}");
    assert_eq!(log.len(), 5, "one conflict, one retry, no further load: {log:?}");
    assert_eq!(browser.get("/").await.text(), r#"18 15 5 {"a", "b"} 1 base(mine|theirs) 3"#);
}

#[tokio::test]
async fn two_handles_of_one_request_merge_by_the_same_rules() {
    let house = House::new();
    let handler = |mut a: TypedSession<Merging>, mut b: TypedSession<Merging>| async move {
        change(&mut a, 5, ("y", "b"), "theirs");
        change(&mut b, 3, ("x", "a"), "mine");
        drop(a);
        drop(b);
    };
    let browser = house.browser(merging().route("/change", post(handler)));
    browser.post("/begin").await;
    house.log();
    assert_eq!(browser.post("/change").await.status(), 200);
    assert_eq!(house.log().len(), 2);
    assert_eq!(browser.get("/").await.text(), r#"18 15 5 {"a", "b"} 1 base(mine|theirs) 3"#);
}

#[tokio::test]
async fn a_strict_conflict_is_409_names_the_field_and_stores_nothing_of_the_request() {
    let house = House::new();
    let seen = Arc::new(Mutex::new(String::new()));
    let keep = Arc::clone(&seen);
    let layer = house.layer().on_error(move |error, _| {
        *keep.lock().unwrap() = error.to_string();
        error.default_response()
    });
    let set = |to| {
        move |mut s: TypedSession<Merging>| async move {
            *s.only = to;
            *s.last = to;
            *s.sum += i64::from(to);
        }
    };
    let other = house.browser(merging().route("/other", post(set(7))));
    let between = other.clone();
    let handler = move |s: TypedSession<Merging>| {
        let between = between.clone();
        async move {
            between.post("/other").await;
            set(8)(s).await;
        }
    };
    let browser = house.browser_of(merging().route("/change", post(handler)).layer(layer));
    browser.post("/begin").await;
    other.set_cookie("__Host-id", browser.cookie("__Host-id").unwrap());
    let response = browser.post("/change").await;
    assert_eq!((response.status().as_u16(), effect(&response)), (409, Effect::Nothing));
    assert!(seen.lock().unwrap().contains("rules.only"), "{seen:?}");
    assert_eq!(browser.get("/").await.text(), r#"17 10 10 {"x", "y"} 7 base 7"#);
}

#[tokio::test]
async fn a_strict_field_changed_by_two_handles_of_one_request_is_a_conflict_too() {
    let house = House::new();
    let inner = Router::new().route("/in", post(|mut s: TypedSession<Merging>| async move { *s.only = 7 })).layer(from_fn(
        |mut s: TypedSession<Merging>, request: Request, next: Next| async move {
            let response = next.run(request).await;
            *s.only = 8;
            response
        },
    ));
    let browser = house.browser(merging().merge(inner));
    browser.post("/begin").await;
    assert_eq!(browser.post("/in").await.status(), 409);
    assert_eq!(browser.get("/").await.text(), r#"10 10 10 {"x", "y"} 1 base 1"#);
}

#[tokio::test]
async fn a_field_that_was_set_back_by_somebody_else_still_conflicts() {
    // A stamp, not a value, says whether somebody wrote in between.
    let house = House::new();
    let set = |to: u32| post(move |mut s: TypedSession<Merging>| async move { *s.only = to });
    let other = house.browser(merging().route("/seven", set(7)).route("/one", set(1)));
    let between = other.clone();
    let handler = move |mut s: TypedSession<Merging>| {
        let between = between.clone();
        async move {
            between.post("/seven").await;
            between.post("/one").await;
            *s.only = 8;
        }
    };
    let browser = house.browser(merging().route("/change", post(handler)));
    browser.post("/begin").await;
    other.set_cookie("__Host-id", browser.cookie("__Host-id").unwrap());
    assert_eq!(browser.post("/change").await.status(), 409);
}

#[tokio::test]
async fn a_merge_that_validation_refuses_is_an_error_and_stores_nothing() {
    #[derive(SessionData)]
    #[session(name = "guarded")]
    struct Guarded {
        #[session(merge = "add", validate = at_most_ten)]
        sum: u32,
    }
    fn at_most_ten(sum: &u32) -> bool {
        *sum <= 10
    }
    let add = |mut s: TypedSession<Guarded>| async move { *s.sum += 6 };
    let house = House::new();
    let routes = Router::new()
        .route("/one", post(|mut s: TypedSession<Guarded>| async move { *s.sum += 1 }))
        .route("/add", post(add))
        .route("/", get(|s: TypedSession<Guarded>| async move { s.sum.to_string() }));
    let other = house.browser(routes.clone());
    let between = other.clone();
    let slow = move |s: TypedSession<Guarded>| {
        let between = between.clone();
        async move {
            between.post("/add").await;
            add(s).await;
        }
    };
    let browser = house.browser(routes.route("/slow", post(slow)));
    browser.post("/one").await;
    other.set_cookie("__Host-id", browser.cookie("__Host-id").unwrap());
    assert_eq!(browser.post("/slow").await.status(), 500, "7 + 6 is more than ten");
    assert_eq!(browser.get("/").await.text(), "7");
}

#[tokio::test]
async fn a_field_that_could_not_be_read_cannot_lose_a_write_of_somebody_newer() {
    // A cell of a schema that this build does not know is never touched.
    let (house, browser) = begun().await;
    let foreign = CellBody::new(Content::Value {
        codec: CodecId::from_u8(99),
        shape: Shape::from_u64(99),
        sealed: false,
        payload: Payload::from(&b"of another build"[..]),
    });
    house.plant(&browser, [("shop/future", foreign.clone()), ("other/thing", foreign.clone())]).await;
    browser.post("/rename").await;
    assert_eq!(browser.get("/").await.text(), "[1] Bob 8");
    assert_eq!(cell(&house, &browser, "shop/future").await, foreign);
    assert_eq!(cell(&house, &browser, "other/thing").await, foreign);
}
