//! How long sessions live, by a clock that the tests move.

use axum::{
    Router,
    extract::Path,
    routing::{any, post},
};
use cloakroom::{
    Lifetime, LifetimeError, SessionData, SessionLayer, TypedSession,
    store::{CookieStore, IntoBackend, MemoryStore, SessionStore, SqliteStore},
    testing::{ManualClock, Op, Operation, SpyStore, TestClient},
};
use cloakroom_tests::site::{
    COOKIE, Effect, FRESH, Settings, Shop, Site, effect, keys, lifetime, max_age, millis, record, seconds, selector,
    set_cookie, shop, watched,
};
use std::time::{Duration, SystemTime};

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

/// The shop, with handlers that take their time.
fn slow_shop(clock: &ManualClock) -> Router {
    let (writes, reads) = (clock.clone(), clock.clone());
    shop()
        .route(
            "/slow/{seconds}",
            post(async move |Path(length): Path<u64>, mut s: TypedSession<Shop>| {
                writes.advance(seconds(length));
                *s.views += 1;
            })
            .get(async move |Path(length): Path<u64>, s: TypedSession<Shop>| {
                reads.advance(seconds(length));
                s.views.to_string()
            }),
        )
        .route("/remember", any(async |mut s: TypedSession<Shop>| s.set_persistent(true)))
        .route("/forget", any(async |mut s: TypedSession<Shop>| s.set_persistent(false)))
        .route("/form", any(async |mut s: TypedSession<Shop>| s.csrf_token().map(|token| token.as_str().to_owned())))
}

/// Sites whose shop takes its time, on every backend.
async fn slow_sites(lifetime: Lifetime, remember: Lifetime) -> Vec<Site> {
    fn site<B: IntoBackend>(backend: B, lifetime: Lifetime, remember: Lifetime) -> Site {
        let clock = ManualClock::new(SystemTime::UNIX_EPOCH + seconds(1_800_000_000));
        let layer = SessionLayer::new(backend).clock(clock.clone()).lifetime(lifetime).remember(remember);
        let browser = TestClient::new(slow_shop(&clock).layer(layer)).clock(clock.clone());
        Site { backend: std::any::type_name::<B>(), browser, clock }
    }
    let sqlite = SqliteStore::in_memory().await.unwrap();
    vec![
        site(MemoryStore::new(), lifetime, remember),
        site(sqlite, lifetime, remember),
        site(CookieStore::new(keys()), lifetime, remember),
    ]
}

#[tokio::test]
async fn a_request_longer_than_the_idle_time_keeps_its_changes() {
    for site in slow_sites(limits(900, 86_400), limits(900, 86_400)).await {
        site.browser.post("/visit").await;
        // It comes right before the idle deadline, and takes longer than the idle time.
        site.clock.advance(Duration::from_millis(899_999));
        assert_eq!(site.browser.post("/slow/1200").await.status(), 200, "{}", site.backend);
        assert_eq!(site.browser.get("/").await.text(), ":2", "{}", site.backend);
        // It was a use as of its end.
        site.clock.advance(Duration::from_millis(899_999));
        assert_eq!(site.browser.get("/").await.text(), ":2", "{}", site.backend);
        site.clock.advance(seconds(900));
        assert_eq!(site.browser.post("/slow/0").await.status(), 200, "{}", site.backend);
        assert_eq!(site.browser.get("/").await.text(), ":1", "{}: one that comes too late begins anew", site.backend);
    }
}

#[tokio::test]
async fn no_request_writes_past_the_absolute_deadline() {
    for site in slow_sites(limits(900, 1_000), limits(900, 1_000)).await {
        site.browser.post("/visit").await;
        site.clock.advance(seconds(800));
        assert_eq!(site.browser.post("/slow/200").await.status(), 409, "{}", site.backend);
        assert_eq!(site.browser.get("/").await.text(), FRESH, "{}", site.backend);
    }
}

/// A deploy has shortened the lifetime, and a slow request of before the new deadline writes after it.
#[tokio::test]
async fn a_write_past_todays_absolute_deadline_is_gone_whatever_is_stored() {
    let store = MemoryStore::new();
    let before = Site::with(store.clone(), &Settings::lasting(limits(86_400, 864_000)));
    let routes = slow_shop(&before.clock);
    let after = Site::at(before.clock.clone(), store.clone(), &Settings::lasting(limits(86_400, 600)), routes);
    before.browser.post("/visit").await;
    after.browser.set_cookie(COOKIE, before.token());
    before.clock.advance(seconds(540));
    assert_eq!(after.browser.post("/slow/120").await.status(), 409);
    assert_eq!(record(&store, &selector(&before.token()), before.now()).await.unwrap().header.revision, 1);
}

#[tokio::test]
async fn a_read_counts_as_a_use_of_when_it_came() {
    let store = SqliteStore::in_memory().await.unwrap();
    let clock = ManualClock::new(SystemTime::UNIX_EPOCH + seconds(1_800_000_000));
    let site = Site::at(clock.clone(), store.clone(), &Settings::lasting(limits(900, 86_400)), slow_shop(&clock));
    site.browser.post("/visit").await;
    site.clock.advance(seconds(450));
    let came = site.now();
    site.browser.get("/slow/1200").await;
    let header = record(&store, &selector(&site.token()), site.now()).await.unwrap().header;
    assert_eq!((header.last_seen, header.idle_until), (came, came.plus(seconds(900))), "a long poll prolongs nothing");
}

/// What a countdown in a page is fed with.
#[tokio::test]
async fn what_is_said_of_the_end_of_a_session_is_its_end() {
    for site in slow_sites(limits(100, 86_400), limits(100, 86_400)).await {
        site.browser.post("/visit").await;
        for pause in [0, 19, 1, 30, 5, 14] {
            site.clock.advance(seconds(pause));
            let said: i64 = site.browser.get("/expires").await.text().parse().unwrap();
            let left = u64::try_from(said - site.now().as_millis()).unwrap();
            assert!((80_000..=100_000).contains(&left), "{}: {left} after {pause}", site.backend);
            for (end, text) in [(left, FRESH), (left - 1, ":1")] {
                let (now, ahead) = (cloakroom::Clock::now(&site.clock), site.browser.fork());
                site.clock.set(now + Duration::from_millis(end));
                // A look that counts as no use: whatever it finds, the test goes on from before it.
                if text == FRESH {
                    assert_eq!(ahead.get("/").await.text(), text, "{}: {left} after {pause}", site.backend);
                }
                site.clock.set(now);
            }
        }
        let said: i64 = site.browser.get("/expires").await.text().parse().unwrap();
        site.clock.advance(Duration::from_millis(u64::try_from(said - site.now().as_millis() - 1).unwrap()));
        assert_eq!(site.browser.get("/").await.text(), ":1", "{}: a moment before it lives", site.backend);
    }
}

#[tokio::test]
async fn the_list_says_the_same_end_as_the_session_and_the_store() {
    async fn check<S: SessionStore + Clone>(store: S) {
        #[derive(SessionData)]
        struct Account {
            #[session(owner)]
            user: Option<u64>,
        }
        let clock = ManualClock::new(SystemTime::UNIX_EPOCH + seconds(1_800_000_000));
        let layer = SessionLayer::new(store.clone()).clock(clock.clone()).lifetime(limits(100, 86_400));
        let routes = Router::new()
            .route("/in", post(async |mut s: TypedSession<Account>| *s.user = Some(1)))
            .route("/expires", any(async |s: TypedSession<Account>| millis(s.expires_at())));
        let sessions = layer.sessions();
        let browser = TestClient::new(routes.layer(layer)).clock(clock.clone());
        browser.post("/in").await;
        for pause in [0, 19, 1, 30, 5, 14] {
            clock.advance(seconds(pause));
            let said = browser.get("/expires").await.text();
            let listed = sessions.list::<Account>(&1).await.unwrap().remove(0).expires_at;
            let key = selector(&browser.cookie(COOKIE).unwrap());
            let stored = record(&store, &key, cloakroom::Clock::now(&clock).into()).await.unwrap().header.expires();
            assert_eq!((said, millis(listed)), (stored.as_millis().to_string(), stored.as_millis().to_string()));
        }
    }
    check(MemoryStore::new()).await;
    check(SqliteStore::in_memory().await.unwrap()).await;
}

const DAY: u64 = 86_400;

/// Browser sessions for 30 days, remembered ones for 90.
async fn remembering() -> Vec<Site> {
    slow_sites(limits(10 * DAY, 30 * DAY), limits(80 * DAY, 90 * DAY)).await
}

/// The days until the absolute deadline, found by using the session twice a day.
async fn days_left(site: &Site) -> u64 {
    let mut half_days = 0;
    while site.browser.get("/").await.text() != FRESH {
        site.clock.advance(seconds(DAY / 2));
        half_days += 1;
    }
    half_days / 2
}

#[tokio::test]
async fn unticking_remember_me_ends_no_session_at_once() {
    // After so many days, and then how many are left: a browser session from then on, and never more than there was.
    for (day, left) in [(0, 30), (10, 30), (29, 30), (30, 30), (40, 30), (59, 30), (75, 15), (89, 1)] {
        for site in remembering().await {
            site.browser.post("/visit").await;
            assert_eq!(max_age(&site.browser.post("/remember").await), Some(90 * DAY), "{}", site.backend);
            let created = site.browser.get("/created").await.text();
            for _ in 0..day {
                site.clock.advance(seconds(DAY));
                site.browser.get("/").await;
            }
            let response = site.browser.post("/forget").await;
            assert_eq!((response.status().as_u16(), max_age(&response)), (200, None), "{} day {day}", site.backend);
            assert_eq!(
                site.browser.get("/created").await.text(),
                created,
                "{} day {day}: it began when it began",
                site.backend
            );
            assert_eq!(days_left(&site).await, left, "{} day {day}", site.backend);
        }
    }
}

#[tokio::test]
async fn ticking_and_unticking_remember_me_makes_no_session_last_longer() {
    for site in remembering().await {
        site.browser.post("/visit").await;
        site.browser.post("/remember").await;
        for _ in 0..80 {
            site.clock.advance(seconds(DAY));
            site.browser.post("/forget").await;
            site.browser.post("/remember").await;
        }
        assert_eq!(days_left(&site).await, 10, "{}", site.backend);
    }
}

#[tokio::test]
async fn ticking_remember_me_counts_from_the_begin_of_the_session() {
    for site in remembering().await {
        site.browser.post("/visit").await;
        for _ in 0..20 {
            site.clock.advance(seconds(DAY));
            site.browser.get("/").await;
        }
        assert_eq!(max_age(&site.browser.post("/remember").await), Some(70 * DAY), "{}", site.backend);
        assert_eq!(days_left(&site).await, 70, "{}", site.backend);
    }
}

#[tokio::test]
async fn a_session_that_holds_nothing_yet_lives_for_an_hour() {
    let hour = Lifetime::EMPTY_IDLE;
    for site in slow_sites(Lifetime::default(), Lifetime::default()).await {
        site.browser.get("/form").await;
        let copy = site.token();
        assert_eq!(site.browser.get("/form").await.status(), 200);
        // The copy in the first response, which never came back.
        let unseen = slow_sites(Lifetime::default(), Lifetime::default())
            .await
            .into_iter()
            .find(|other| other.backend == site.backend)
            .unwrap();
        unseen.browser.get("/form").await;
        let token = unseen.token();
        unseen.clock.advance(hour);
        assert_eq!(effect(&unseen.present("/", &token).await), Effect::Clear, "{}", site.backend);
        // Once it comes back it lives as long as any other.
        site.clock.advance(hour);
        site.browser.post("/visit").await;
        assert_eq!(selector_part(&site.token()), selector_part(&copy), "{}", site.backend);
        site.clock.advance(Lifetime::default().idle() / 5 * 4 - Duration::from_millis(1));
        assert_eq!(site.browser.get("/").await.text(), ":1", "{}", site.backend);
    }
}

/// What names the session in a token of a server-side store; of a sealed cookie nothing can be seen.
fn selector_part(token: &str) -> &str {
    if token.len() == 43 { &token[..21] } else { "" }
}

#[tokio::test]
async fn the_first_value_gives_a_session_its_whole_lifetime() {
    for site in slow_sites(Lifetime::default(), Lifetime::default()).await {
        site.browser.get("/form").await;
        site.clock.advance(Lifetime::EMPTY_IDLE - Duration::from_millis(1));
        site.browser.post("/visit").await;
        site.clock.advance(Lifetime::default().idle() - Duration::from_millis(1));
        assert_eq!(site.browser.get("/").await.text(), ":1", "{}", site.backend);
    }
    // Never longer than the layer's.
    for site in slow_sites(limits(60, 86_400), limits(60, 86_400)).await {
        site.browser.get("/form").await;
        let token = site.token();
        site.clock.advance(seconds(60));
        assert_eq!(effect(&site.present("/", &token).await), Effect::Clear, "{}", site.backend);
    }
}

/// A crawler reads a page with a form once a minute, and never brings a cookie back.
#[tokio::test]
async fn a_thousand_views_of_a_form_push_no_cart_out_of_a_small_store() {
    let store = MemoryStore::with_capacity(100);
    let clock = ManualClock::new(SystemTime::UNIX_EPOCH + seconds(1_800_000_000));
    let site = Site::at(clock.clone(), store.clone(), &Settings::default(), slow_shop(&clock));
    let carts: Vec<_> = (0..40).map(|_| site.browser.fork()).collect();
    for cart in &carts {
        cart.post("/visit").await;
    }
    for _ in 0..1_000 {
        site.clock.advance(seconds(60));
        assert_eq!(site.browser.fork().get("/form").await.status(), 200);
    }
    for cart in &carts {
        assert_eq!(cart.get("/").await.text(), ":1");
    }
    assert!(store.len() <= 100);
}
