//! A store that is down, silent or unsure: what is answered, and what becomes of the cookie.

use crate::data::Visitor;
use async_trait::async_trait;
use axum::{
    Router,
    routing::{get, post},
};
use cloakroom::{
    SessionData, SessionError, TypedSession, limits,
    record::{CellBody, Content, CreateOutcome, Payload, Record, Selector},
    store::{MemoryStore, SessionStore, StoreError},
    testing::{Fault, Operation},
};
use cloakroom_tests::{
    events::Events,
    intercept::{Intercept, Intercepted},
    shop::{Browser, House},
    site::{Effect, effect},
};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

async fn add(mut s: TypedSession<Visitor>) {
    *s.visits += 1;
}

fn visitors() -> Router {
    Router::new()
        .route("/", get(|s: TypedSession<Visitor>| async move { s.visits.to_string() }))
        .route("/add", post(add))
        .route("/out", post(|mut s: TypedSession<Visitor>| async move { s.destroy() }))
        .route(
            "/rotate",
            post(|mut s: TypedSession<Visitor>| async move {
                *s.visits += 1;
                s.rotate();
            }),
        )
        .route("/option", get(|s: Option<TypedSession<Visitor>>| async move { s.is_some().to_string() }))
}

async fn begun() -> (House, Browser) {
    let house = House::new();
    let browser = house.browser(visitors());
    browser.post("/add").await;
    house.log();
    (house, browser)
}

#[tokio::test]
async fn a_store_that_is_down_at_load_is_503_with_retry_after_and_the_handler_is_not_run() {
    let events = Events::capture();
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&runs);
    let handler = move |_: TypedSession<Visitor>| async move { counted.fetch_add(1, Ordering::Relaxed) };
    let house = House::new();
    let browser = house.browser(visitors().route("/counted", get(|s| async move { handler(s).await.to_string() })));
    browser.post("/add").await;
    let token = browser.cookie("__Host-id").unwrap();
    house.faults().down();
    house.log();
    for path in ["/counted", "/", "/option"] {
        events.take();
        let response = browser.get(path).await;
        assert_eq!(response.status(), 503, "{path}");
        assert!(response.headers().contains_key("retry-after"));
        assert_eq!(effect(&response), Effect::Nothing);
        assert_eq!(house.log(), ["load -> unavailable"]);
        let seen = events.take();
        assert_eq!(seen.iter().filter(|line| line.contains("session.failed")).count(), 1, "{seen:?}");
        assert!(seen.iter().all(|line| !line.contains(&token)));
    }
    assert_eq!(runs.load(Ordering::Relaxed), 0);
    house.faults().heal();
    assert_eq!(browser.get("/").await.text(), "1", "the same cookie loads the same data");
}

#[tokio::test]
async fn without_a_cookie_a_store_that_is_down_is_not_even_noticed() {
    let house = House::new();
    let browser = house.browser(visitors());
    house.faults().down();
    for path in ["/", "/option"] {
        assert_eq!(browser.get(path).await.status(), 200);
    }
    assert_eq!(house.log(), [""; 0]);
}

#[tokio::test]
async fn an_outage_at_commit_is_503_nothing_is_written_and_the_cookie_stays() {
    let (house, browser) = begun().await;
    house.faults().next(Operation::Commit, Fault::Unavailable);
    let response = browser.post("/add").await;
    assert_eq!(response.status(), 503);
    assert!(response.headers().contains_key("retry-after"));
    assert_eq!(effect(&response), Effect::Nothing);
    assert_eq!(browser.get("/").await.text(), "1");
}

#[tokio::test]
async fn an_outage_at_create_leaves_no_cookie_for_a_record_that_does_not_exist() {
    for fault in [Fault::Unavailable, Fault::UnknownApplied, Fault::UnknownNotApplied] {
        let house = House::new();
        let browser = house.browser(visitors());
        house.faults().next(Operation::Create, fault);
        let response = browser.post("/add").await;
        assert_eq!((response.status().as_u16(), effect(&response)), (503, Effect::Nothing));
        assert_eq!(house.store.count(Operation::Create), 1, "nothing is tried again blindly");
        assert_eq!(browser.post("/add").await.status(), 200);
        assert_eq!(browser.get("/").await.text(), "1");
    }
}

#[tokio::test]
async fn an_unknown_outcome_is_503_without_a_blind_retry() {
    for (fault, after) in [(Fault::UnknownApplied, "2"), (Fault::UnknownNotApplied, "1")] {
        let (house, browser) = begun().await;
        house.faults().next(Operation::Commit, fault);
        let response = browser.post("/add").await;
        assert_eq!((response.status().as_u16(), effect(&response)), (503, Effect::Nothing));
        assert!(response.headers().contains_key("retry-after"));
        assert_eq!(house.store.count(Operation::Commit), 1);
        assert_eq!(browser.get("/").await.text(), after);
    }
}

#[tokio::test]
async fn a_rotation_of_unknown_outcome_hands_out_no_token() {
    for fault in [Fault::UnknownApplied, Fault::UnknownNotApplied] {
        let (house, browser) = begun().await;
        house.faults().next(Operation::Commit, fault);
        let response = browser.post("/rotate").await;
        assert_eq!((response.status().as_u16(), effect(&response)), (503, Effect::Nothing));
    }
}

#[tokio::test]
async fn a_destroy_is_tried_again_once_and_then_is_a_503_that_clears_the_cookie_all_the_same() {
    let (house, browser) = begun().await;
    house.faults().next(Operation::Delete, Fault::UnknownNotApplied);
    let response = browser.post("/out").await;
    assert_eq!((response.status().as_u16(), effect(&response)), (200, Effect::Clear));
    assert_eq!(house.log(), ["load -> found r1", "delete -> outcome unknown", "delete -> done"]);
    for fault in [Fault::Unavailable, Fault::UnknownApplied, Fault::UnknownNotApplied] {
        let (house, browser) = begun().await;
        house.faults().always(Operation::Delete, fault);
        let response = browser.post("/out").await;
        assert_eq!((response.status().as_u16(), effect(&response)), (503, Effect::Clear));
        assert!(response.headers().contains_key("retry-after"));
    }
}

#[tokio::test]
async fn an_unknown_deletion_stays_unknown_if_the_second_attempt_fails() {
    let house = House::new();
    let out = |mut s: TypedSession<Visitor>| async move {
        s.destroy();
        let error = s.save().await.unwrap_err();
        assert!(matches!(error, SessionError::OutcomeUnknown(_)), "{error}");
    };
    let browser = house.browser(visitors().route("/leave", post(out)));
    browser.post("/add").await;
    house.faults().next(Operation::Delete, Fault::UnknownNotApplied);
    house.faults().next(Operation::Delete, Fault::Unavailable);
    house.log();
    let response = browser.post("/leave").await;
    assert_eq!((response.status().as_u16(), effect(&response)), (200, Effect::Clear), "the response tries once more");
    assert_eq!(house.log()[1..], ["delete -> outcome unknown", "delete -> unavailable", "delete -> done"]);
}

#[tokio::test]
async fn a_failed_destroy_begins_no_new_session_for_its_notice() {
    let house = House::new();
    let out = |mut s: TypedSession<Visitor>| async move {
        s.destroy();
        *s.notice = Some("bye".into());
    };
    let browser = house.browser(visitors().route("/bye", post(out)));
    browser.post("/add").await;
    house.faults().always(Operation::Delete, Fault::Unavailable);
    house.log();
    let response = browser.post("/bye").await;
    assert_eq!((response.status().as_u16(), effect(&response)), (503, Effect::Clear));
    assert_eq!(house.store.count(Operation::Create), 0);
}

#[tokio::test]
async fn save_reports_what_the_store_said_and_the_handler_goes_on() {
    let house = House::new();
    let handler = |mut s: TypedSession<Visitor>| async move {
        *s.visits += 1;
        let error = s.save().await.unwrap_err();
        assert!(matches!(error, SessionError::Unavailable(_)), "{error}");
        "no charge was made"
    };
    let browser = house.browser(visitors().route("/pay", post(handler)));
    browser.post("/add").await;
    house.faults().next(Operation::Commit, Fault::Unavailable);
    let response = browser.post("/pay").await;
    assert_eq!((response.status().as_u16(), response.text().as_str()), (200, "no charge was made"));
    assert_eq!(browser.get("/").await.text(), "1");
}

/// The first record of a store finds its place taken.
#[derive(Default)]
struct Collides(AtomicUsize);

#[async_trait]
impl Intercept for Collides {
    async fn create(&self, store: &MemoryStore, key: &Selector, record: Record) -> Result<CreateOutcome, StoreError> {
        if self.0.fetch_add(1, Ordering::Relaxed) == 0 { Ok(CreateOutcome::Exists) } else { store.create(key, record).await }
    }
}

#[tokio::test]
async fn a_taken_selector_is_tried_again_with_another_token() {
    // The CSRF token of a form is of a token that is drawn before the record is made.
    let form = |mut s: TypedSession<Visitor>| async move {
        *s.visits += 1;
        s.csrf_token().map(drop)
    };
    for path in ["/add", "/form"] {
        let house = House::over(Intercepted::by(Collides::default()));
        let browser = house.browser(visitors().route("/form", post(form)));
        assert_eq!(browser.post(path).await.status(), 200, "{path}");
        let handles: Vec<String> =
            house.store.take().iter().map(|op| op.to_string().split(' ').nth(1).unwrap().to_owned()).collect();
        assert_eq!(handles.len(), 2, "{path}");
        assert_ne!(handles[0], handles[1], "{path}");
        assert_eq!(browser.get("/").await.text(), "1", "{path}");
    }
}

#[tokio::test]
async fn a_full_store_is_a_503_for_newcomers_only_and_evicts_nobody_with_an_owner() {
    use cloakroom::record::*;
    let house = House::over(MemoryStore::with_capacity(1));
    let browser = house.browser(visitors());
    browser.post("/add").await;
    let mut patch = Patch::new(0, house.now());
    patch.owner = Some(OwnerChange::Set(Owner { schema: "visitor".into(), hash: OwnerHash::from_bytes([1; 32]) }));
    let key = cloakroom_tests::site::selector(&browser.cookie("__Host-id").unwrap());
    house.faults().inner().commit(&key, &patch).await.unwrap();
    let newcomer = house.browser(visitors());
    let response = newcomer.post("/add").await;
    assert_eq!((response.status().as_u16(), effect(&response)), (503, Effect::Nothing));
    assert_eq!(browser.get("/").await.text(), "1");
}

#[tokio::test]
async fn a_field_over_the_limit_is_named_with_its_size_before_anything_is_sent() {
    let house = House::new();
    let seen = Arc::new(std::sync::Mutex::new(String::new()));
    let keep = Arc::clone(&seen);
    let layer = house.layer().on_error(move |error, _| {
        *keep.lock().unwrap() = error.to_string();
        error.default_response()
    });
    let fill = |by: isize| {
        post(move |mut s: TypedSession<Visitor>| async move {
            // Option and length take six bytes here.
            *s.name = Some("x".repeat((cloakroom::limits::CELL as isize - 6 + by) as usize));
        })
    };
    let browser = house.browser_of(visitors().route("/at", fill(0)).route("/over", fill(1)).layer(layer));
    browser.post("/add").await;
    assert_eq!(browser.post("/at").await.status(), 200);
    house.log();
    let response = browser.post("/over").await;
    assert_eq!((response.status().as_u16(), effect(&response)), (500, Effect::Nothing));
    assert_eq!(house.log(), ["load -> found r2"]);
    let seen = seen.lock().unwrap();
    assert!(seen.contains("visitor/name") && seen.contains(&(cloakroom::limits::CELL + 1).to_string()), "{seen}");
}

#[tokio::test]
async fn a_record_at_the_limit_is_stored_and_one_byte_more_is_refused_with_the_size_of_every_field() {
    #[derive(SessionData)]
    #[session(name = "full")]
    struct Full {
        a: String,
        b: String,
        c: String,
        d: String,
        e: String,
    }
    // Keys have six bytes, and the lengths of long texts five.
    const LONG: usize = cloakroom::limits::CELL - 5;
    const LAST: usize = cloakroom::limits::RECORD - 5 * 6 - 4 * 200_000 - 5 - 5 * 4;
    let fill = |last: usize| {
        post(move |mut s: TypedSession<Full>| async move {
            let s = &mut *s;
            for field in [&mut s.a, &mut s.b, &mut s.c, &mut s.d] {
                **field = "x".repeat(200_000);
            }
            *s.e = "x".repeat(last);
        })
    };
    const { assert!(LAST <= LONG) };
    let house = House::new();
    let seen = Arc::new(std::sync::Mutex::new(String::new()));
    let keep = Arc::clone(&seen);
    let layer = house.layer().on_error(move |error, _| {
        *keep.lock().unwrap() = error.to_string();
        error.default_response()
    });
    let browser = house.browser_of(Router::new().route("/at", fill(LAST)).route("/over", fill(LAST + 1)).layer(layer));
    assert_eq!(browser.post("/over").await.status(), 500);
    assert_eq!(house.log(), [""; 0], "before any I/O");
    for key in ["full/a", "full/b", "full/c", "full/d", "full/e"] {
        assert!(seen.lock().unwrap().contains(key), "{key}: {seen:?}");
    }
    assert_eq!(browser.post("/at").await.status(), 200);
    house.log();
    let response = browser.post("/over").await;
    assert_eq!((response.status().as_u16(), effect(&response)), (500, Effect::Nothing));
    assert_eq!(house.log(), ["load -> found r1"]);
}

#[tokio::test]
async fn a_write_that_lost_its_session_is_409_but_get_and_head_keep_their_response() {
    for method in ["GET", "HEAD", "POST", "PUT", "DELETE"] {
        let events = Events::capture();
        let house = House::new();
        let inside = house.clone();
        let handler = move |mut s: TypedSession<Visitor>| {
            let inside = inside.clone();
            async move {
                *s.visits += 1;
                let far = inside.now().plus(std::time::Duration::from_secs(1 << 40));
                inside.faults().inner().sweep(far, 10).await.unwrap();
                ([("x-ours", "yes")], "answer")
            }
        };
        let browser = house.browser(visitors().route("/lost", axum::routing::any(handler)));
        browser.post("/add").await;
        events.take();
        let request = http::Request::builder().method(method).uri("/lost").body(axum::body::Body::empty()).unwrap();
        let response = browser.send(request).await;
        let keeps = ["GET", "HEAD"].contains(&method);
        assert_eq!(response.status().as_u16(), if keeps { 200 } else { 409 }, "{method}");
        assert_eq!(response.headers().contains_key("x-ours"), keeps);
        assert_eq!(effect(&response), Effect::Nothing);
        // HEAD is safe: its changes are not to be stored anyway.
        assert_eq!(events.count("session.late_write"), usize::from(method != "HEAD"), "{method}");
        assert!(house.faults().inner().is_empty());
        assert_eq!(effect(&browser.get("/").await), Effect::Clear, "the next load clears what is really dead");
    }
}

#[tokio::test]
async fn a_cell_that_is_too_large_to_read_is_not_decoded() {
    #[derive(SessionData)]
    #[session(name = "texts")]
    struct Texts {
        text: String,
    }
    let house = House::new();
    let routes = get(async |s: TypedSession<Texts>| s.text.len().to_string())
        .post(async |mut s: TypedSession<Texts>| *s.text = "x".into());
    let browser = house.browser(Router::new().route("/", routes));
    browser.post("/").await;
    let stored = house.record(&browser).await.unwrap().cells.get("texts/text").unwrap().body.content.clone();
    let Content::Value { codec, shape, .. } = stored else { panic!("it holds a text") };
    // A length of 32 bits after its mark, and so many bytes: of both cells a text.
    let mark = 5;
    for (size, seen) in [(limits::CELL, limits::CELL - mark), (limits::CELL + 1, 0)] {
        let length = size - mark;
        let payload = [&[252][..], &u32::try_from(length).unwrap().to_le_bytes(), &vec![b'x'; length]].concat();
        let content = Content::Value { codec, shape, sealed: false, payload: Payload::from(&payload[..]) };
        house.plant(&browser, [("texts/text", CellBody::new(content))]).await;
        let response = browser.get("/").await;
        assert_eq!((response.status().as_u16(), response.text()), (200, seen.to_string()), "{size} bytes");
    }
}
