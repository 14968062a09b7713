//! Sessions that live in the cookie itself.

use axum::{Router, routing::any};
use base64ct::{Base64UrlUnpadded, Encoding};
use cloakroom::{
    CookiePolicy, KeyRing, KeyRingError, SessionData, SessionError, SessionLayer, TooLarge, TypedSession,
    store::CookieStore,
    testing::{ManualClock, TestClient},
};
use cloakroom_tests::{
    events::Events,
    site::{COOKIE, Effect, FRESH, Settings, Site, effect, keys, lifetime, max_age, seconds, set_cookie, shop},
};
use http::StatusCode;
use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

fn site(settings: &Settings) -> Site {
    Site::with(CookieStore::new(keys()), settings)
}

#[tokio::test]
async fn a_sealed_value_opens_to_the_same_fields_within_its_lifetime() {
    let site = site(&Settings::lasting(lifetime(seconds(60))));
    site.browser.post("/name/Ada").await;
    site.browser.post("/visit").await;
    site.clock.advance(seconds(59));
    assert_eq!(site.browser.get("/").await.text(), "Ada:1");
}

#[tokio::test]
async fn a_browser_session_seal_opens_and_is_bounded_by_the_deadline_inside() {
    let site = site(&Settings::lasting(lifetime(seconds(60))));
    let response = site.browser.post("/visit").await;
    assert!(!set_cookie(&response).contains("Max-Age"));
    let copy = site.token();
    site.clock.advance(seconds(59));
    assert_eq!(site.present("/", &copy).await.text(), ":1");
    site.clock.advance(seconds(1));
    assert_eq!(site.present("/", &copy).await.text(), FRESH);
}

#[tokio::test]
async fn destroying_a_sealed_session_that_does_not_exist_does_nothing() {
    let response = site(&Settings::default()).browser.post("/destroy").await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(effect(&response), Effect::Nothing);
}

#[tokio::test]
async fn garbage_and_unsealed_values_give_fresh_data_and_clear_the_cookie() {
    let site = site(&Settings::default());
    let unsealed = Base64UrlUnpadded::encode_string(br#"{"name": "admin", "views": 7}"#);
    for value in ["", "x", "not a seal", "{}", &unsealed, &"A".repeat(43), &"A".repeat(5_000)] {
        let events = Events::capture();
        let response = site.present("/", value).await;
        assert_eq!((response.status(), &*response.text()), (StatusCode::OK, FRESH), "{value}");
        assert_eq!(effect(&response), Effect::Clear, "{value}");
        let said = events.take();
        assert!(said.len() == 1 && said[0].contains("why=\"malformed\""), "{value}: {said:?}");
    }
}

#[tokio::test]
async fn a_cookie_over_4096_bytes_is_an_error_that_lists_the_fields_and_sends_nothing() {
    let refusals = Arc::<Mutex<Vec<(TooLarge, usize, Vec<(String, usize)>)>>>::default();
    let seen = Arc::clone(&refusals);
    let layer = SessionLayer::new(CookieStore::new(keys())).on_error(move |error, _| {
        if let SessionError::TooLarge { what, limit, sizes } = error {
            seen.lock().unwrap().push((*what, *limit, sizes.clone()));
        }
        error.default_response()
    });
    let app = shop().layer(layer);
    let (mut largest, mut refused) = (0, None);
    for length in 2_800..3_100 {
        let response = TestClient::new(app.clone()).post(&format!("/long-name/{length}")).await;
        if response.status() == StatusCode::OK {
            let line = set_cookie(&response);
            let (name, rest) = line.split_once('=').unwrap();
            largest = name.len() + rest.split(';').next().unwrap().len();
            assert!(refused.is_none(), "{length} bytes fit, and fewer did not");
        } else {
            assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
            assert!(response.set_cookies().is_empty());
            refused.get_or_insert(length);
        }
    }
    assert!((4_093..=4_096).contains(&largest), "the largest cookie has {largest} bytes");
    let refused = refused.expect("some name is too long");
    let (what, limit, sizes) = refusals.lock().unwrap()[0].clone();
    assert_eq!((what, limit), (TooLarge::Cookie, 4_096));
    assert_eq!(sizes[0].0, "shop/name");
    assert!((refused..refused + 10).contains(&sizes[0].1), "{sizes:?}");
}

#[tokio::test]
async fn a_session_that_has_outgrown_its_cookie_keeps_the_last_one_that_fitted() {
    let site = site(&Settings::default());
    site.browser.post("/name/Ada").await;
    let response = site.browser.post("/long-name/8000").await;
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(effect(&response), Effect::Nothing);
    assert_eq!(site.browser.get("/").await.text(), "Ada:0");
}

#[tokio::test]
async fn a_small_value_round_trips() {
    let site = site(&Settings::default());
    site.browser.post("/name/Ada").await;
    assert_eq!(site.browser.get("/").await.text(), "Ada:0");
}

#[tokio::test]
async fn a_seal_shows_nothing_of_the_data_and_a_null_key_is_refused() {
    let site = site(&Settings::default());
    site.browser.post("/name/confidential").await;
    let bytes = Base64UrlUnpadded::decode_vec(&site.token()).unwrap();
    assert!(!bytes.windows(12).any(|window| window == b"confidential"));
    assert_eq!(KeyRing::from_bytes([0; 32]).unwrap_err(), KeyRingError::Weak);
    assert_eq!(KeyRing::from_bytes([]).unwrap_err(), KeyRingError::Length(0));
}

#[tokio::test]
async fn seal_and_open_are_inverse_at_every_length() {
    for length in [0, 1, 15, 16, 17, 22, 23, 63, 64, 65, 1_000, 2_700] {
        let site = site(&Settings::default());
        site.browser.post("/visit").await;
        site.browser.post(&format!("/long-name/{length}")).await;
        assert_eq!(site.browser.get("/").await.text(), format!("{}:1", "x".repeat(length)));
    }
}

/// Where the nonce lies in a sealed cookie: behind the format byte and the key's id.
const NONCE: std::ops::Range<usize> = 5..29;

#[tokio::test]
async fn seals_of_equal_data_differ_and_no_nonce_comes_twice() {
    let site = site(&Settings::default());
    let mut nonces = HashSet::new();
    let mut seals = HashSet::new();
    for _ in 0..200 {
        let Effect::Set(value) = effect(&site.browser.fork().post("/visit").await) else { panic!("a new session") };
        let bytes = Base64UrlUnpadded::decode_vec(&value).unwrap();
        assert!(nonces.insert(bytes[NONCE].to_vec()), "a nonce came twice");
        assert!(seals.insert(bytes[NONCE.end..].to_vec()), "two seals are the same");
    }
    for position in 0..NONCE.len() {
        let values: HashSet<u8> = nonces.iter().map(|nonce| nonce[position]).collect();
        assert!(values.len() > 50, "byte {position} of the nonce is hardly random");
    }
}

#[tokio::test]
async fn a_seal_cut_at_any_length_is_malformed_and_never_a_panic() {
    let site = site(&Settings::default());
    site.browser.post("/name/Ada").await;
    let whole = site.token();
    for length in 0..whole.len() {
        let response = site.present("/", &whole[..length]).await;
        assert_eq!((response.status(), &*response.text()), (StatusCode::OK, FRESH), "cut to {length}");
        assert_eq!(effect(&response), Effect::Clear, "cut to {length}");
    }
    assert_eq!(site.present("/", &whole).await.text(), "Ada:0");
}

#[tokio::test]
async fn a_seal_with_any_character_changed_gives_fresh_data_and_a_deletion_cookie() {
    let site = site(&Settings::default());
    site.browser.post("/name/Ada").await;
    let whole = site.token();
    for at in 0..whole.len() {
        let other = if &whole[at..=at] == "A" { "B" } else { "A" };
        let forged = format!("{}{other}{}", &whole[..at], &whole[at + 1..]);
        let events = Events::capture();
        let response = site.present("/", &forged).await;
        assert!(matches!(&events.take()[..], [one] if one.contains("why=\"malformed\"")), "changed at {at}");
        assert_eq!((response.status(), &*response.text()), (StatusCode::OK, FRESH), "changed at {at}");
        assert_eq!(effect(&response), Effect::Clear, "changed at {at}");
    }
    for more in ["A", "AAAA", "=", "."] {
        assert_eq!(site.present("/", &format!("{whole}{more}")).await.text(), FRESH);
    }
}

#[tokio::test]
async fn a_wrong_key_opens_nothing_and_is_fresh_data_at_the_request() {
    let site = site(&Settings::default());
    site.browser.post("/name/Ada").await;
    let other = Site::on(CookieStore::new(KeyRing::generate().unwrap()));
    let response = other.present("/", &site.token()).await;
    assert_eq!((response.status(), &*response.text()), (StatusCode::OK, FRESH));
    assert_eq!(effect(&response), Effect::Clear);
}

#[tokio::test]
async fn a_seal_means_nothing_under_another_cookie_name() {
    let site = site(&Settings::default());
    site.browser.post("/name/Ada").await;
    let cookie = CookiePolicy::default().name("__Host-other").unwrap();
    let other = Site::with(CookieStore::new(keys()), &Settings::cookie(cookie));
    let response = other.send("/", &[format!("__Host-other={}", site.token()).as_bytes()]).await;
    assert_eq!(response.text(), FRESH);
}

#[tokio::test]
async fn a_sealed_value_survives_two_requests() {
    let site = site(&Settings::default());
    for visit in 1..=3 {
        assert_eq!(site.browser.post("/visit").await.text(), format!(":{visit}"));
    }
}

#[tokio::test]
async fn a_sealed_session_cannot_be_kept_alive_by_replay() {
    let site = site(&Settings::lasting(lifetime(seconds(10))).persistent());
    assert_eq!(max_age(&site.browser.post("/visit").await), Some(10));
    let mut copies = vec![site.token()];
    for second in 1..10 {
        site.clock.advance(seconds(1));
        // Each response seals anew; none may move the deadline.
        let newest = copies.last().unwrap().clone();
        let response = site.present("/visit", &newest).await;
        assert_eq!(response.text(), format!(":{}", second + 1));
        assert_eq!(max_age(&response), Some(10 - second));
        let Effect::Set(value) = effect(&response) else { panic!("sealed anew") };
        copies.push(value);
    }
    site.clock.advance(Duration::from_millis(999));
    assert_eq!(site.present("/", copies.last().unwrap()).await.text(), ":10");
    site.clock.advance(Duration::from_millis(1));
    for (at, copy) in copies.iter().enumerate() {
        let response = site.present("/visit", copy).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.text(), ":1", "copy {at} was taken for a session past its deadline");
        assert_ne!(effect(&response), Effect::Nothing);
    }
}

#[tokio::test]
async fn rotating_a_sealed_session_does_not_move_its_deadline() {
    let site = site(&Settings::lasting(lifetime(seconds(10))));
    site.browser.post("/visit").await;
    for _ in 0..9 {
        site.clock.advance(seconds(1));
        site.browser.post("/rotate").await;
    }
    assert_eq!(site.browser.get("/").await.text(), ":1");
    site.clock.advance(seconds(1));
    assert_eq!(site.browser.get("/").await.text(), FRESH);
}

#[tokio::test]
async fn a_copy_of_a_destroyed_sealed_session_replays_until_its_deadline_and_no_longer() {
    let site = site(&Settings::lasting(lifetime(seconds(60))));
    site.browser.post("/name/Ada").await;
    let copy = site.token();
    assert_eq!(effect(&site.browser.post("/destroy").await), Effect::Clear);
    assert_eq!(site.browser.get("/").await.text(), FRESH);
    site.clock.advance(seconds(59));
    assert_eq!(site.present("/", &copy).await.text(), "Ada:0", "documented: nobody keeps a list");
    site.clock.advance(seconds(1));
    assert_eq!(site.present("/", &copy).await.text(), FRESH);
}

#[tokio::test]
async fn rotating_a_sealed_session_gives_it_another_id_and_keeps_its_data() {
    let site = site(&Settings::default());
    site.browser.post("/name/Ada").await;
    let (id, copy) = (site.browser.get("/handle").await.text(), site.token());
    assert!(matches!(effect(&site.browser.post("/rotate").await), Effect::Set(_)));
    assert_ne!(site.browser.get("/handle").await.text(), id);
    assert_eq!(site.browser.get("/").await.text(), "Ada:0");
    assert_eq!(site.present("/", &copy).await.text(), "Ada:0", "documented: old copies replay until their deadline");
}

#[tokio::test]
async fn of_parallel_responses_of_a_sealed_session_the_last_wins_as_a_whole() {
    let site = site(&Settings::default());
    site.browser.post("/visit").await;
    let start = site.token();
    let Effect::Set(named) = effect(&site.present("/name/Ada", &start).await) else { panic!("sealed") };
    let Effect::Set(visited) = effect(&site.present("/visit", &start).await) else { panic!("sealed") };
    assert_eq!(site.present("/", &named).await.text(), "Ada:1");
    assert_eq!(site.present("/", &visited).await.text(), ":2");
}

#[tokio::test]
async fn a_sealed_session_in_use_is_sealed_again_once_per_fifth_of_the_idle_time() {
    let lasting = cloakroom::Lifetime::new(seconds(100), seconds(1_000)).unwrap();
    let site = site(&Settings::lasting(lasting));
    site.browser.post("/visit").await;
    let mut seals = 0;
    for _ in 0..100 {
        site.clock.advance(seconds(2));
        seals += usize::from(effect(&site.browser.get("/").await) != Effect::Nothing);
    }
    assert_eq!(seals, 10);
    assert_eq!(site.browser.get("/").await.text(), ":1");
}

#[derive(SessionData)]
struct Small {
    flag: bool,
}

#[tokio::test]
async fn a_seal_from_a_clock_far_ahead_is_refused() {
    let now = SystemTime::UNIX_EPOCH + seconds(1_800_000_000);
    let routes = || Router::new().route("/", any(async |mut small: TypedSession<Small>| *small.flag = true));
    let at = |time| Site::at(ManualClock::new(time), CookieStore::new(keys()), &Settings::default(), routes());
    let (here, ahead) = (at(now), at(now + seconds(3_600)));
    ahead.browser.post("/").await;
    let value = ahead.browser.cookie(COOKIE).unwrap();
    assert!(matches!(effect(&here.present("/", &value).await), Effect::Set(other) if other != value));
}
