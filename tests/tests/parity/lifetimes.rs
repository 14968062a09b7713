//! How long sessions live, by a clock that the tests move.

use cloakroom::{
    Lifetime, LifetimeError,
    store::{CookieStore, IntoBackend, MemoryStore, SessionStore, SqliteStore},
    testing::{Op, Operation, SpyStore},
};
use cloakroom_tests::site::{
    Effect, FRESH, Settings, Site, effect, keys, lifetime, max_age, millis, record, seconds, selector, set_cookie, shop,
    watched,
};
use std::time::Duration;

fn limits(idle: u64, absolute: u64) -> Lifetime {
    Lifetime::new(seconds(idle), seconds(absolute)).unwrap()
}

#[tokio::test]
async fn the_absolute_deadline_is_the_same_instant_however_often_the_session_is_used() {
    for site in Site::everywhere(&Settings::lasting(lifetime(seconds(10))).persistent()).await {
        assert_eq!(max_age(&site.browser.post("/visit").await), Some(10), "{}", site.backend);
        let deadline = site.browser.get("/expires").await.text();
        assert_eq!(deadline, site.now().plus(seconds(10)).as_millis().to_string(), "{}", site.backend);
        site.clock.advance(seconds(2));
        site.browser.post("/visit").await;
        assert_eq!(site.browser.get("/expires").await.text(), deadline, "{}", site.backend);
        assert_eq!(max_age(&site.browser.post("/rotate").await), Some(8), "{}", site.backend);
        assert_eq!(site.browser.get("/expires").await.text(), deadline, "{}", site.backend);
    }
}

#[tokio::test]
async fn the_absolute_deadline_in_the_record_does_not_move() {
    let store = MemoryStore::new();
    let site = Site::with(store.clone(), &Settings::lasting(limits(10, 10)));
    site.browser.post("/visit").await;
    let key = selector(&site.token());
    let before = record(&store, &key, site.now()).await.unwrap().header.absolute_until;
    site.clock.advance(seconds(2));
    site.browser.post("/visit").await;
    assert_eq!(record(&store, &key, site.now()).await.unwrap().header.absolute_until, before);
}

#[tokio::test]
async fn a_new_session_is_created_and_last_seen_now_and_lasts_as_configured() {
    let store = MemoryStore::new();
    let site = Site::with(store.clone(), &Settings::lasting(limits(100, 1_000)));
    site.browser.post("/visit").await;
    let header = record(&store, &selector(&site.token()), site.now()).await.unwrap().header;
    assert_eq!((header.created, header.last_seen), (site.now(), site.now()));
    assert_eq!(header.idle_until, site.now().plus(seconds(100)));
    assert_eq!(header.absolute_until, site.now().plus(seconds(1_000)));
}

#[tokio::test]
async fn the_instant_of_creation_is_kept_and_last_seen_moves_without_data() {
    let memory = MemoryStore::new();
    let sqlite = SqliteStore::in_memory().await.unwrap();
    kept_and_moved(memory, 0).await;
    kept_and_moved(sqlite, 1).await;
}

async fn kept_and_moved<S: SessionStore + Clone>(store: S, touches: usize) {
    let spy = SpyStore::new(store.clone());
    let site = Site::with(spy.clone(), &Settings::lasting(limits(100, 1_000)));
    site.browser.post("/visit").await;
    let created = site.browser.get("/created").await.text();
    assert_eq!(created, millis(cloakroom::Clock::now(&site.clock)));
    spy.take();

    site.clock.advance(seconds(20));
    let response = site.browser.get("/created").await;
    assert_eq!(response.text(), created);
    assert_eq!(effect(&response), Effect::Nothing);
    let header = record(&store, &selector(&site.token()), site.now()).await.unwrap().header;
    assert_eq!((header.last_seen, header.idle_until), (site.now(), site.now().plus(seconds(100))));
    assert_eq!(header.revision, 1, "a touch is no write");
    assert_eq!(spy.count(Operation::Load), 1);
    assert_eq!(spy.count(Operation::Commit), touches);
    for op in spy.take() {
        if let Op::Commit { puts, .. } = op {
            assert!(puts.is_empty(), "a touch carries no cells");
        }
    }
}

#[tokio::test]
async fn the_idle_deadline_two_seconds_later_is_later() {
    for site in Site::everywhere(&Settings::lasting(limits(10, 1_000))).await {
        site.browser.post("/visit").await;
        let before: i64 = site.browser.get("/expires").await.text().parse().unwrap();
        site.clock.advance(seconds(2));
        let after: i64 = site.browser.get("/expires").await.text().parse().unwrap();
        assert_eq!(after, before + 2_000, "{}", site.backend);
        // ... and it is no promise only: this is past the first deadline.
        site.clock.advance(seconds(9));
        assert_eq!(site.browser.get("/").await.text(), ":1", "{}", site.backend);
    }
}

#[tokio::test]
async fn a_touch_on_sql_is_written_at_most_once_per_fifth_of_the_idle_time() {
    let spy = SpyStore::new(SqliteStore::in_memory().await.unwrap());
    let site = Site::with(spy.clone(), &Settings::lasting(limits(100, 1_000)));
    site.browser.post("/visit").await;
    spy.take();
    for _ in 0..100 {
        site.clock.advance(seconds(2));
        assert_eq!(site.browser.get("/").await.text(), ":1");
    }
    assert_eq!((spy.count(Operation::Load), spy.count(Operation::Commit)), (100, 10));
}

#[tokio::test]
async fn an_idle_session_is_refused_on_load_by_every_backend() {
    for site in Site::everywhere(&Settings::lasting(limits(10, 1_000))).await {
        site.browser.post("/visit").await;
        site.clock.advance(seconds(10));
        let response = site.browser.get("/").await;
        assert_eq!(response.text(), FRESH, "{}", site.backend);
        assert_eq!(effect(&response), Effect::Clear, "{}", site.backend);
    }
}

#[tokio::test]
async fn a_busy_session_is_refused_past_its_absolute_deadline_by_every_backend() {
    for site in Site::everywhere(&Settings::lasting(limits(10, 30))).await {
        for visit in 1..=10 {
            assert_eq!(site.browser.post("/visit").await.text(), format!(":{visit}"), "{}", site.backend);
            site.clock.advance(seconds(3));
        }
        let response = site.browser.get("/").await;
        assert_eq!(response.text(), FRESH, "{}", site.backend);
        assert_eq!(effect(&response), Effect::Clear, "{}", site.backend);
    }
}

#[tokio::test]
async fn an_expired_session_is_refused_its_cookie_cleared_and_its_record_swept() {
    let store = watched();
    let site = Site::with(store.clone(), &Settings::lasting(lifetime(seconds(60))).persistent());
    site.browser.post("/visit").await;
    let copy = site.token();
    site.clock.advance(seconds(3_600));
    let response = site.present("/", &copy).await;
    assert_eq!(response.text(), FRESH);
    assert_eq!(effect(&response), Effect::Clear, "zero, and never below: {}", set_cookie(&response));
    assert_eq!(store.count(Operation::Commit), 0, "an expired record is not written with a second to live");
    assert_eq!(store.inner().inner().sweep(site.now(), 10).await.unwrap(), 1);
    assert!(store.inner().inner().is_empty());
}

#[tokio::test]
async fn writing_to_an_expired_session_begins_another_one() {
    for site in Site::everywhere(&Settings::lasting(lifetime(seconds(60)))).await {
        site.browser.post("/name/Ada").await;
        let before = site.token();
        let handle = site.browser.get("/handle").await.text();
        site.clock.advance(seconds(60));
        assert_eq!(site.present("/visit", &before).await.text(), ":1", "{}", site.backend);
        site.browser.post("/visit").await;
        assert_ne!(site.browser.get("/handle").await.text(), handle, "{}", site.backend);
    }
}

#[tokio::test]
async fn a_shorter_configuration_shortens_sessions_that_live_already() {
    refused_after_the_change(limits(100, 1_000), limits(10, 1_000), seconds(11)).await;
    refused_after_the_change(limits(100, 1_000), limits(100, 10), seconds(11)).await;
}

#[tokio::test]
async fn a_longer_configuration_does_not_revive_the_dead() {
    refused_after_the_change(limits(10, 1_000), limits(100, 1_000), seconds(11)).await;
    refused_after_the_change(limits(10, 10), limits(100, 1_000), seconds(11)).await;
}

/// A session begun under one lifetime is refused under the other, after that time.
async fn refused_after_the_change(before: Lifetime, after: Lifetime, pause: Duration) {
    async fn check<B: IntoBackend>(backends: [B; 2], before: Lifetime, after: Lifetime, pause: Duration) {
        let [first, second] = backends;
        let old = Site::with(first, &Settings::lasting(before));
        let new = Site::at(old.clock.clone(), second, &Settings::lasting(after), shop());
        old.browser.post("/visit").await;
        assert_eq!(old.browser.get("/").await.text(), ":1", "{}", old.backend);
        old.clock.advance(pause);
        let response = new.present("/", &old.token()).await;
        assert_eq!(response.text(), FRESH, "{} from {before} to {after}", old.backend);
        assert_eq!(effect(&response), Effect::Clear, "{} from {before} to {after}", old.backend);
    }
    let (memory, sqlite) = (MemoryStore::new(), SqliteStore::in_memory().await.unwrap());
    check([memory.clone(), memory], before, after, pause).await;
    check([sqlite.clone(), sqlite], before, after, pause).await;
    check([CookieStore::new(keys()), CookieStore::new(keys())], before, after, pause).await;
}

#[tokio::test]
async fn nine_hundred_milliseconds_are_a_lifetime_and_not_a_browser_session() {
    for site in Site::everywhere(&Settings::lasting(lifetime(Duration::from_millis(900))).persistent()).await {
        assert_eq!(max_age(&site.browser.post("/visit").await), Some(1), "{}", site.backend);
        let copy = site.token();
        site.clock.advance(Duration::from_millis(899));
        assert_eq!(site.present("/", &copy).await.text(), ":1", "{}", site.backend);
        site.clock.advance(Duration::from_millis(1));
        assert_eq!(site.present("/", &copy).await.text(), FRESH, "{}", site.backend);
    }
}

#[test]
fn a_lifetime_of_nothing_is_refused_rather_than_read_as_endless() {
    let second = seconds(1);
    assert_eq!(Lifetime::new(Duration::ZERO, second), Err(LifetimeError::TooShort));
    assert_eq!(Lifetime::new(second, Duration::ZERO), Err(LifetimeError::TooShort));
    assert_eq!(Lifetime::new(second, Duration::from_nanos(1)), Err(LifetimeError::TooShort));
}

#[test]
fn a_lifetime_prints_both_of_its_limits() {
    assert_eq!(limits(1_800, 43_200).to_string(), "idle 1800s, absolute 43200s");
    assert_eq!(Lifetime::default().to_string(), "idle 86400s, absolute 2592000s");
}

#[test]
fn a_lifetime_beyond_what_browsers_keep_is_refused() {
    assert!(Lifetime::new(seconds(1), seconds(34_560_000)).is_ok());
    assert_eq!(Lifetime::new(seconds(1), seconds(34_560_001)), Err(LifetimeError::TooLong(seconds(34_560_001))));
    assert_eq!(Lifetime::new(seconds(1), Duration::MAX), Err(LifetimeError::TooLong(Duration::MAX)));
}

#[test]
fn the_presets_stay_within_the_limits_of_their_source() {
    const HOUR: u64 = 3_600;
    // NIST SP 800-63B-4, sections 2.1.3, 2.2.3 and 2.3.3.
    assert!(Lifetime::nist_aal1().absolute() <= seconds(30 * 24 * HOUR));
    assert!(Lifetime::nist_aal2().absolute() <= seconds(24 * HOUR) && Lifetime::nist_aal2().idle() <= seconds(HOUR));
    assert!(Lifetime::nist_aal3().absolute() <= seconds(12 * HOUR) && Lifetime::nist_aal3().idle() <= seconds(HOUR / 4));
}

#[tokio::test]
async fn a_clock_that_jumps_back_ends_no_session_and_lengthens_no_cookie() {
    for site in Site::everywhere(&Settings::lasting(lifetime(seconds(60))).persistent()).await {
        let start = cloakroom::Clock::now(&site.clock);
        site.browser.post("/visit").await;
        let token = site.token();
        // As far as the skew between two servers may be.
        site.clock.set(start - seconds(240));
        assert_eq!(site.present("/", &token).await.text(), ":1", "{}", site.backend);
        site.clock.set(start + seconds(60));
        assert_eq!(site.present("/", &token).await.text(), FRESH, "{}: no deadline moved", site.backend);
        site.clock.set(std::time::SystemTime::UNIX_EPOCH - seconds(1));
        assert!(site.browser.fork().post("/visit").await.status().is_success(), "{}", site.backend);
    }
}
