//! The client-side suite: what a sealed record owes its visitor, seen from the browser.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a broken rule is a panic that names it")]

use super::server_side::verdict;
use crate::{
    CookiePolicy, Lifetime, SessionData, SessionLayer, SessionService, TypedSession,
    store::{ClientSide, IntoBackend},
    testing::{ManualClock, TestClient},
};
use axum_core::{
    body::Body,
    extract::FromRequestParts,
    response::{IntoResponse, Response},
};
use http::{Request, StatusCode, header};
use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, SystemTime},
};
use tower_layer::Layer;
use tower_service::Service;

#[derive(SessionData)]
#[session(name = "suite")]
struct Suite {
    #[session(merge = "add")]
    visits: u64,
    note: String,
}

/// An application of a few verbs, without a router.
#[derive(Clone)]
struct App;

impl Service<Request<Body>> for App {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(async move {
            let (mut parts, _) = request.into_parts();
            let path = parts.uri.path().to_owned();
            let mut session = match TypedSession::<Suite>::from_request_parts(&mut parts, &()).await {
                Ok(session) => session,
                Err(rejection) => return Ok(rejection.into_response()),
            };
            match path.split_once('/').map_or("", |(_, verb)| verb) {
                "visit" => *session.visits += 1,
                "visit-twice" => {
                    let mut other = TypedSession::<Suite>::from_request_parts(&mut parts, &()).await.unwrap();
                    *session.visits += 1;
                    *other.visits += 1;
                }
                "touch" => *session.visits += 0,
                "large" => *session.note = "x".repeat(4000),
                "note" => *session.note = "noted".to_owned(),
                "rotate" => session.rotate(),
                "destroy" => session.destroy(),
                "fail" => {
                    *session.visits += 1;
                    return Ok(StatusCode::INTERNAL_SERVER_ERROR.into_response());
                }
                _ => {}
            }
            let handle = session.handle().map_or_else(|| "none".to_owned(), |handle| handle.to_string());
            Ok(format!("{} {} {handle}", session.visits, session.note).into_response())
        })
    }
}

type Client = TestClient<SessionService<App>>;

const COOKIE: &str = "__Host-id";

struct Fixture<B> {
    backend: B,
    other: B,
    clock: ManualClock,
}

impl<B: IntoBackend<Side = ClientSide> + Clone> Fixture<B> {
    fn layer(&self) -> SessionLayer<ClientSide> {
        SessionLayer::new(self.backend.clone()).clock(self.clock.clone())
    }

    fn client(&self) -> Client {
        self.behind(self.layer())
    }

    fn behind(&self, layer: SessionLayer<ClientSide>) -> Client {
        TestClient::new(layer.layer(App)).clock(self.clock.clone())
    }

    /// A client that has visited once, and its cookie.
    async fn visited(&self) -> (Client, String) {
        let client = self.client();
        client.get("/visit").await;
        let cookie = client.cookie(COOKIE).expect("the first change sets the cookie");
        (client, cookie)
    }

    /// What a fresh browser with just that cookie sees.
    async fn sees(&self, cookie: &str) -> String {
        let client = self.client();
        client.set_cookie(COOKIE, cookie);
        client.get("/").await.text()
    }

    /// Checks that a cookie value opens nothing, and is taken away.
    async fn refuses(&self, cookie: &str) {
        let client = self.client();
        client.set_cookie(COOKIE, cookie);
        let response = client.get("/").await;
        assert_eq!((response.status(), &*response.text()), (StatusCode::OK, "0  none"), "for {cookie:?}");
        assert!(response.set_cookies()[0].contains("Max-Age=0"), "{:?}", response.set_cookies());
    }
}

macro_rules! cases {
    ($($name:ident)*) => {
        async fn run_all<B: IntoBackend<Side = ClientSide> + Clone>(fixture: impl Fn() -> Fixture<B>) -> Vec<String> {
            let mut failures = Vec::new();
            $(
                if let Err(message) = verdict($name(fixture())).await {
                    failures.push(format!("\n- {}: {message}", stringify!($name)));
                }
            )*
            failures
        }
    };
}

cases! {
    what_was_written_is_read_back
    a_read_sets_no_cookie
    a_touch_without_a_change_sets_no_cookie
    two_seals_of_equal_data_differ
    any_changed_character_is_refused
    a_value_cut_at_any_length_is_refused
    what_is_not_a_seal_is_refused
    a_seal_means_nothing_under_another_cookie_name
    a_seal_of_other_keys_is_refused
    the_absolute_deadline_is_inside_and_survives_sealing_again
    the_idle_deadline_is_inside_and_rolls_at_most_each_fifth
    a_shorter_lifetime_shortens_living_sessions
    a_value_from_far_ahead_is_refused
    a_value_too_large_for_a_cookie_is_an_error_and_changes_nothing
    the_last_of_parallel_responses_wins
    merge_rules_act_within_one_request
    destroy_takes_the_cookie_away
    rotate_makes_a_new_session_with_the_same_fields
    a_failed_request_changes_nothing
}

/// Runs every case over a client-side backend and reports all that fail.
///
/// `make` answers two backends of the same kind with *different* keys; it is called once per case.
///
/// ```
/// use cloakroom::{KeyRing, store::CookieStore, testing::conformance};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let store = || CookieStore::new(KeyRing::generate().unwrap());
/// conformance::client_side(|| (store(), store())).await;
/// # }
/// ```
///
/// # Panics
/// If the backend breaks a rule: the message names each broken rule and what was seen.
pub async fn client_side<B: IntoBackend<Side = ClientSide> + Clone>(make: impl Fn() -> (B, B)) {
    let failures = run_all(|| {
        let (backend, other) = make();
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(4_102_444_800);
        Fixture { backend, other, clock: ManualClock::new(start) }
    })
    .await;
    assert!(
        failures.is_empty(),
        "the backend breaks {} of the rules of a client-side backend:{}",
        failures.len(),
        failures.concat()
    );
}

async fn what_was_written_is_read_back<B: IntoBackend<Side = ClientSide> + Clone>(fixture: Fixture<B>) {
    let (client, _) = fixture.visited().await;
    client.get("/note").await;
    client.get("/visit").await;
    assert!(client.get("/").await.text().starts_with("2 noted "));
}

async fn a_read_sets_no_cookie<B: IntoBackend<Side = ClientSide> + Clone>(fixture: Fixture<B>) {
    assert!(fixture.client().get("/").await.set_cookies().is_empty());
    let (client, _) = fixture.visited().await;
    assert!(client.get("/").await.set_cookies().is_empty());
}

async fn a_touch_without_a_change_sets_no_cookie<B: IntoBackend<Side = ClientSide> + Clone>(fixture: Fixture<B>) {
    let (client, _) = fixture.visited().await;
    assert!(client.get("/touch").await.set_cookies().is_empty());
}

async fn two_seals_of_equal_data_differ<B: IntoBackend<Side = ClientSide> + Clone>(fixture: Fixture<B>) {
    let (_, first) = fixture.visited().await;
    let (_, second) = fixture.visited().await;
    assert_ne!(first, second);
}

async fn any_changed_character_is_refused<B: IntoBackend<Side = ClientSide> + Clone>(fixture: Fixture<B>) {
    let (_, cookie) = fixture.visited().await;
    for at in 0..cookie.len() {
        let mut changed = cookie.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        fixture.refuses(&String::from_utf8(changed).unwrap()).await;
    }
}

async fn a_value_cut_at_any_length_is_refused<B: IntoBackend<Side = ClientSide> + Clone>(fixture: Fixture<B>) {
    let (_, cookie) = fixture.visited().await;
    for length in 0..cookie.len() {
        fixture.refuses(&cookie[..length]).await;
    }
    fixture.refuses(&format!("{cookie}A")).await;
    fixture.refuses(&format!("{cookie}AAAA")).await;
}

async fn what_is_not_a_seal_is_refused<B: IntoBackend<Side = ClientSide> + Clone>(fixture: Fixture<B>) {
    for value in ["x", "AAAA", "{\"visits\":1}", "eyJ2aXNpdHMiOjF9.YvoU6A.pXp4RMpVTs", &"A".repeat(43), &"A".repeat(4000)] {
        fixture.refuses(value).await;
    }
}

async fn a_seal_means_nothing_under_another_cookie_name<B: IntoBackend<Side = ClientSide> + Clone>(fixture: Fixture<B>) {
    let (_, cookie) = fixture.visited().await;
    let other = fixture.behind(fixture.layer().cookie(CookiePolicy::default().name("__Host-other").unwrap()));
    other.set_cookie("__Host-other", &cookie);
    assert_eq!(other.get("/").await.text(), "0  none");
}

async fn a_seal_of_other_keys_is_refused<B: IntoBackend<Side = ClientSide> + Clone>(fixture: Fixture<B>) {
    let stranger = Fixture { backend: fixture.other.clone(), other: fixture.other.clone(), clock: fixture.clock.clone() };
    let (_, cookie) = stranger.visited().await;
    fixture.refuses(&cookie).await;
}

async fn the_absolute_deadline_is_inside_and_survives_sealing_again<B: IntoBackend<Side = ClientSide> + Clone>(
    fixture: Fixture<B>,
) {
    let (client, _) = fixture.visited().await;
    // Sealed again every twelve hours, for as long as it lives.
    for _ in 0..59 {
        fixture.clock.advance(Duration::from_secs(12 * 3600));
        client.get("/visit").await;
    }
    let newest = client.cookie(COOKIE).unwrap();
    fixture.clock.advance(Duration::from_secs(12 * 3600 - 1));
    assert!(fixture.sees(&newest).await.starts_with("60 "));
    fixture.clock.advance(Duration::from_secs(1));
    fixture.refuses(&newest).await;
}

async fn the_idle_deadline_is_inside_and_rolls_at_most_each_fifth<B: IntoBackend<Side = ClientSide> + Clone>(
    fixture: Fixture<B>,
) {
    let (client, first) = fixture.visited().await;
    let fifth = Duration::from_secs(24 * 3600 / 5);
    fixture.clock.advance(fifth - Duration::from_secs(1));
    assert!(client.get("/").await.set_cookies().is_empty());
    fixture.clock.advance(Duration::from_secs(1));
    assert_eq!(client.get("/").await.set_cookies().len(), 1);
    fixture.clock.advance(Duration::from_secs(24 * 3600) - fifth);
    fixture.refuses(&first).await;
    assert!(client.get("/").await.text().starts_with("1 "));
}

async fn a_shorter_lifetime_shortens_living_sessions<B: IntoBackend<Side = ClientSide> + Clone>(fixture: Fixture<B>) {
    let (_, cookie) = fixture.visited().await;
    fixture.clock.advance(Duration::from_secs(16 * 60));
    let strict = fixture.behind(fixture.layer().lifetime(Lifetime::nist_aal3()));
    strict.set_cookie(COOKIE, &cookie);
    assert_eq!(strict.get("/").await.text(), "0  none");
    assert!(fixture.sees(&cookie).await.starts_with("1 "));
}

async fn a_value_from_far_ahead_is_refused<B: IntoBackend<Side = ClientSide> + Clone>(fixture: Fixture<B>) {
    let now = crate::Clock::now(&fixture.clock);
    let (_, cookie) = fixture.visited().await;
    fixture.clock.set(now - Duration::from_secs(60));
    assert!(fixture.sees(&cookie).await.starts_with("1 "), "another server's clock may be a little ahead");
    fixture.clock.set(now - Duration::from_secs(3600));
    fixture.refuses(&cookie).await;
}

async fn a_value_too_large_for_a_cookie_is_an_error_and_changes_nothing<B: IntoBackend<Side = ClientSide> + Clone>(
    fixture: Fixture<B>,
) {
    let client = fixture.behind(fixture.layer().on_error(|error, _| (error.status(), error.to_string()).into_response()));
    client.get("/visit").await;
    let response = client.get("/large").await;
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert!(response.set_cookies().is_empty());
    assert!(response.text().contains("4096") && response.text().contains("suite/note"), "{}", response.text());
    assert!(client.get("/").await.text().starts_with("1  "));
}

async fn the_last_of_parallel_responses_wins<B: IntoBackend<Side = ClientSide> + Clone>(fixture: Fixture<B>) {
    let (client, cookie) = fixture.visited().await;
    client.get("/visit").await;
    // A response that was made from the older copy, and arrives later.
    client.set_cookie(COOKIE, &cookie);
    client.get("/note").await;
    assert!(client.get("/").await.text().starts_with("1 noted "));
}

async fn merge_rules_act_within_one_request<B: IntoBackend<Side = ClientSide> + Clone>(fixture: Fixture<B>) {
    let (client, _) = fixture.visited().await;
    client.get("/visit-twice").await;
    assert!(client.get("/").await.text().starts_with("3 "));
}

async fn destroy_takes_the_cookie_away<B: IntoBackend<Side = ClientSide> + Clone>(fixture: Fixture<B>) {
    let (client, _) = fixture.visited().await;
    let response = client.get("/destroy").await;
    assert!(response.set_cookies()[0].contains("Max-Age=0"));
    assert_eq!(client.cookie(COOKIE), None);
    assert_eq!(client.get("/").await.text(), "0  none");
}

async fn rotate_makes_a_new_session_with_the_same_fields<B: IntoBackend<Side = ClientSide> + Clone>(fixture: Fixture<B>) {
    let (client, old) = fixture.visited().await;
    client.get("/rotate").await;
    let (before, after) = (fixture.sees(&old).await, client.get("/").await.text());
    assert!(before.starts_with("1 ") && after.starts_with("1 "));
    assert_ne!(before, after, "the handles differ");
}

async fn a_failed_request_changes_nothing<B: IntoBackend<Side = ClientSide> + Clone>(fixture: Fixture<B>) {
    let (client, cookie) = fixture.visited().await;
    let response = client.get("/fail").await;
    assert!(!response.headers().contains_key(header::SET_COOKIE));
    assert_eq!(client.cookie(COOKIE), Some(cookie));
}

#[cfg(test)]
mod tests {
    use super::client_side;
    use crate::{KeyRing, store::CookieStore};

    #[tokio::test]
    async fn the_cookie_store_passes() {
        client_side(|| (CookieStore::new(KeyRing::generate().unwrap()), CookieStore::new(KeyRing::generate().unwrap()))).await;
    }

    #[tokio::test]
    #[should_panic(expected = "a_seal_of_other_keys_is_refused")]
    async fn a_backend_that_opens_foreign_seals_fails() {
        let store = CookieStore::new(KeyRing::generate().unwrap());
        client_side(|| (store.clone(), store.clone())).await;
    }
}
