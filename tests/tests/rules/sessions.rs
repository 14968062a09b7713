//! The list of somebody's sessions, from within a request: what it knows, what an outage does to it, and what it says of itself.

use crate::members::{AnyHouse, Members, NOBODY, guest, houses, member, routes};
use async_trait::async_trait;
use axum::{
    Router,
    extract::Path,
    routing::{get, post},
};
use cloakroom::{
    Handle, SessionData, SessionError, Sessions, TypedSession,
    record::{Header, OwnerHash, Selector},
    store::{MemoryStore, SessionStore, StoreError},
    testing::{Fault, Gate, Op, Operation},
};
use cloakroom_tests::{
    events::Events,
    intercept::{Intercept, Intercepted},
    shop::{Browser, House},
    site::{COOKIE, Effect, effect, selector},
};
use http::StatusCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::{sync::Barrier, task::JoinSet};

fn lists() -> Router {
    Router::new()
        .route(
            "/list/{user}",
            get(async |Path(user): Path<u64>, sessions: Sessions| {
                Ok::<_, SessionError>(sessions.list::<Members>(&user).await?.len().to_string())
            }),
        )
        .route(
            "/revoke/{user}",
            post(async |Path(user): Path<u64>, sessions: Sessions| {
                Ok::<_, SessionError>(sessions.revoke_all::<Members>(&user).await?.to_string())
            }),
        )
        .route(
            "/revoke/{user}/{handle}",
            post(async |Path((user, handle)): Path<(u64, String)>, sessions: Sessions| {
                let handle: Handle = handle.parse().map_err(|_| SessionError::Gone)?;
                Ok::<_, SessionError>(sessions.revoke::<Members>(&user, &handle).await?.to_string())
            }),
        )
        .route(
            "/reset/{user}",
            // A new password: signed in here, and nowhere else.
            post(async |Path(user): Path<u64>, sessions: Sessions, mut s: TypedSession<Members>| {
                *s.user = Some(user);
                s.save().await?;
                Ok::<_, SessionError>(sessions.revoke_others(&s).await?.to_string())
            }),
        )
        .route("/others", post(async |sessions: Sessions, s: TypedSession<Members>| others(&sessions, &s).await))
        .route(
            "/others/{user}",
            post(async |Path(user): Path<u64>, sessions: Sessions, mut s: TypedSession<Members>| {
                *s.user = Some(user);
                others(&sessions, &s).await
            }),
        )
        .route(
            "/others/of-nobody",
            post(async |sessions: Sessions, mut s: TypedSession<Members>| {
                *s.user = None;
                others(&sessions, &s).await
            }),
        )
}

async fn others(sessions: &Sessions, session: &TypedSession<Members>) -> Result<String, SessionError> {
    Ok(sessions.revoke_others(session).await?.to_string())
}

#[tokio::test]
async fn an_outage_is_a_503_wherever_it_strikes_and_ends_nothing() {
    for house in houses().await {
        let browser = member(&house, 7, lists()).await;
        let name = selector(&browser.cookie(COOKIE).unwrap()).handle();
        for (operation, method, uri) in [
            (Operation::Load, "GET", "/list/7".to_owned()),
            (Operation::ByOwner, "GET", "/list/7".to_owned()),
            (Operation::ByOwner, "POST", format!("/revoke/7/{name}")),
            (Operation::Commit, "POST", format!("/revoke/7/{name}")),
            (Operation::DeleteByOwner, "POST", "/revoke/7".to_owned()),
        ] {
            house.faults().next(operation, Fault::Unavailable);
            let request = http::Request::builder().method(method).uri(&uri).body(axum::body::Body::empty()).unwrap();
            let response = browser.send(request).await;
            assert_eq!((response.status().as_u16(), effect(&response)), (503, Effect::Nothing), "{operation} of {uri}");
            assert_eq!(browser.get("/list/7").await.text(), "1", "{operation} of {uri}");
        }
    }
}

#[tokio::test]
async fn a_sign_in_whose_older_sessions_cannot_be_counted_is_a_sign_in() {
    let events = Events::capture();
    for house in houses().await {
        // Where it cannot be counted the sign-in has no place among the others. Where it cannot be ended the next sign-in does it.
        for operation in [Operation::ByOwner, Operation::Commit] {
            let [first, second] = [(); 2].map(|()| house.browser_of(routes().layer(house.layer().max_sessions(1))));
            first.post("/in/7").await;
            house.clock.advance(std::time::Duration::from_secs(1));
            events.take();
            house.faults().next(operation, Fault::Unavailable);
            let response = second.post("/in/7").await;
            assert_eq!(response.status(), 200);
            assert!(matches!(effect(&response), Effect::Set(_)), "{operation}");
            assert_eq!(events.count("session.failed"), 1, "{operation}");
            assert!(first.get("/").await.text().starts_with("Some(7)"), "{operation}: the next sign-in ends it");
            assert!(second.get("/").await.text().starts_with("Some(7)"), "{operation}");
            first.post("/out").await;
            second.post("/out").await;
        }
    }
}

#[tokio::test]
async fn who_signs_in_with_a_new_password_ends_the_other_sessions_in_the_same_request() {
    for house in houses().await {
        let there = member(&house, 7, Router::new()).await;
        let here = house.browser(routes().merge(lists()));
        let response = here.post("/reset/7").await;
        assert_eq!(response.text(), "1");
        assert!(matches!(effect(&response), Effect::Set(_)));
        assert!(here.get("/").await.text().starts_with("Some(7)"));
        assert_eq!(effect(&there.get("/").await), Effect::Clear);
    }
}

#[tokio::test]
async fn ending_sessions_is_one_event_with_their_number_and_ending_none_is_none() {
    let events = Events::capture();
    for house in houses().await {
        let browser = member(&house, 7, lists()).await;
        member(&house, 7, lists()).await;
        events.take();
        assert_eq!(browser.post("/revoke/8").await.text(), "0");
        assert_eq!(events.count("session.revoked"), 0);
        assert_eq!(browser.post("/revoke/7").await.text(), "2");
        let said: Vec<String> = events.take().into_iter().filter(|line| line.contains("session.revoked")).collect();
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].contains("count=2") && said[0].contains(r#"schema="members""#), "{said:?}");
    }
}

#[tokio::test]
async fn what_is_no_handle_is_refused_before_the_store_is_asked() {
    for house in houses().await {
        let browser = member(&house, 7, lists()).await;
        let token = browser.cookie(COOKIE).unwrap();
        for text in ["x", "0123456789abcde", "0123456789abcdefg", "0123456789abcde%2F", &token] {
            house.log();
            assert_eq!(browser.post(&format!("/revoke/7/{text}")).await.status(), 409, "{text}");
            assert!(!house.log().iter().any(|line| line.starts_with("by_owner")), "{text}");
        }
        assert!(browser.get("/").await.text().starts_with("Some(7)"));
        let _: &dyn SessionStore = house.faults().inner();
    }
}

#[tokio::test]
async fn whose_other_sessions_end_is_what_the_owner_field_says_stored_or_not_yet() {
    for house in houses().await {
        let [here, of_seven] = [member(&house, 7, lists()).await, member(&house, 7, lists()).await];
        let of_one = [member(&house, 1, lists()).await, member(&house, 1, lists()).await];
        assert_eq!(here.post("/others/of-nobody").await.text(), "0", "nobody has others");
        here.post("/in/7").await;
        assert_eq!(here.post("/others/1").await.text(), "2");
        for gone in &of_one {
            assert_eq!(effect(&gone.get("/").await), Effect::Clear);
        }
        assert!(here.get("/").await.text().starts_with("Some(1)"));
        assert!(of_seven.get("/").await.text().starts_with("Some(7)"), "it is not the former owner's that end");
        // In a browser that had no session, too.
        let newcomer = house.browser(routes().merge(lists()));
        assert_eq!(newcomer.post("/others/1").await.text(), "1");
        assert_eq!(effect(&here.get("/").await), Effect::Clear);
        assert!(newcomer.get("/").await.text().starts_with("Some(1)"));
    }
}

#[tokio::test]
async fn a_session_that_no_index_knows_yet_ends_the_others_of_its_owner_and_not_itself() {
    #[derive(SessionData)]
    #[session(name = "members")]
    struct Before {
        user: Option<u64>,
    }
    for house in houses().await {
        let there = member(&house, 1, lists()).await;
        let before = house.browser(Router::new().route("/in", post(async |mut s: TypedSession<Before>| *s.user = Some(1))));
        before.post("/in").await;
        let here = house.browser(routes().merge(lists()));
        here.set_cookie(COOKIE, before.cookie(COOKIE).unwrap());
        assert_eq!(house.record(&here).await.unwrap().header.owner, None);
        assert_eq!(here.post("/others").await.text(), "1");
        assert_eq!(effect(&there.get("/").await), Effect::Clear);
        assert!(here.get("/").await.text().starts_with("Some(1)"));
        assert_eq!(here.get("/list/1").await.text(), "1");
    }
}

#[tokio::test]
async fn the_event_of_one_session_that_was_ended_names_it() {
    let events = Events::capture();
    for house in houses().await {
        let browser = member(&house, 7, lists()).await;
        let name = selector(&member(&house, 7, lists()).await.cookie(COOKIE).unwrap()).handle();
        member(&house, 7, lists()).await;
        let said = || -> Vec<String> { events.take().into_iter().filter(|line| line.contains("session.revoked")).collect() };
        said();
        assert_eq!(browser.post(&format!("/revoke/7/{name}")).await.text(), "true");
        let lines = said();
        assert!(
            matches!(&lines[..], [line] if line.contains("count=1") && line.contains(&format!("handle={name}"))),
            "{lines:?}"
        );
        assert_eq!(browser.post("/others").await.text(), "1");
        let lines = said();
        assert!(matches!(&lines[..], [line] if line.contains("count=1") && !line.contains("handle=")), "{lines:?}");
    }
}

/// Two sign-ins look at their owner's sessions at the same time, each in another order, as a server may answer.
struct Shuffled {
    looks: AtomicUsize,
    both: Barrier,
}

#[async_trait]
impl Intercept for Shuffled {
    async fn by_owner(&self, store: &MemoryStore, owner: &OwnerHash) -> Result<Vec<(Selector, Header)>, StoreError> {
        self.both.wait().await;
        let mut all = store.by_owner(owner).await?;
        self.both.wait().await;
        all.sort_by_key(|(key, _)| *key);
        if self.looks.fetch_add(1, Ordering::Relaxed) % 2 == 1 {
            all.reverse();
        }
        Ok(all)
    }
}

#[tokio::test]
async fn of_two_sign_ins_of_one_instant_both_nodes_end_the_same_one() {
    let house = House::over(Intercepted::by(Shuffled { looks: AtomicUsize::new(0), both: Barrier::new(2) }));
    let mut tasks = JoinSet::new();
    for _ in 0..2 {
        let browser = house.browser_of(routes().layer(house.layer().max_sessions(1)));
        tasks.spawn(async move { browser.post("/in/7").await.status() });
    }
    tasks.join_all().await;
    assert_eq!(house.faults().inner().store().len(), 1, "one of them is left");
}

#[tokio::test]
async fn a_bounded_sign_in_looks_before_its_commit_and_after_it() {
    let asked = |house: &AnyHouse| -> Vec<Operation> { house.store.take().iter().map(Op::operation).collect() };
    for house in houses().await {
        let [free, bounded] =
            [house.layer(), house.layer().max_sessions(2)].map(|layer| house.browser_of(routes().layer(layer)));
        free.post("/in/7").await;
        assert_eq!(asked(&house), [Operation::Create], "without a bound nothing is asked");
        bounded.post("/in/7").await;
        assert_eq!(asked(&house), [Operation::ByOwner, Operation::Create, Operation::ByOwner]);
        bounded.post("/again").await;
        assert_eq!(asked(&house), [Operation::Load, Operation::ByOwner, Operation::Commit, Operation::ByOwner]);
        for path in ["/admin/true", "/cart/1"] {
            bounded.post(path).await;
            assert_eq!(asked(&house), [Operation::Load, Operation::Commit], "{path} is no sign-in");
        }
    }
}

#[tokio::test]
async fn one_sign_in_ends_a_hundred_sessions_and_the_next_one_goes_on() {
    let events = Events::capture();
    for house in houses().await {
        let free = house.browser(routes());
        for _ in 0..150 {
            free.clear_cookies();
            free.post("/in/7").await;
        }
        let sessions = house.layer().sessions();
        for (left, ended) in [(51, 100), (1, 51)] {
            events.take();
            let browser = house.browser_of(routes().layer(house.layer().max_sessions(1)));
            browser.post("/in/7").await;
            assert_eq!(sessions.list::<Members>(&7).await.unwrap().len(), left);
            assert!(events.take().iter().any(|line| line.contains(&format!("count={ended}"))));
            assert!(browser.get("/").await.text().starts_with("Some(7)"));
        }
    }
}

#[tokio::test]
async fn what_a_sign_in_has_ended_is_told_where_a_later_ending_fails() {
    let events = Events::capture();
    for house in houses().await {
        for _ in 0..3 {
            house.browser(routes()).post("/in/7").await;
        }
        let (passed, browser) = (Gate::new(), house.browser_of(routes().layer(house.layer().max_sessions(1))));
        passed.open();
        house.faults().next(Operation::Commit, Fault::HoldBefore(passed));
        house.faults().next(Operation::Commit, Fault::Unavailable);
        events.take();
        assert_eq!(browser.post("/in/7").await.status(), 200);
        let lines = events.take();
        assert!(lines.iter().any(|line| line.contains("session.revoked") && line.contains("count=1")), "{lines:?}");
        assert!(lines.iter().any(|line| line.contains("session.failed")), "{lines:?}");
        assert_eq!(house.layer().sessions().list::<Members>(&7).await.unwrap().len(), 3);
    }
}

type Left = Result<&'static str, SessionError>;

/// Handlers that end every session of 7, their own among them, and write on either side of that.
fn leaving() -> Router {
    Router::new()
        .route(
            "/leave/after-a-write",
            post(async |sessions: Sessions, mut s: TypedSession<Members>| -> Left {
                s.cart.push(3);
                drop(s);
                sessions.revoke_all::<Members>(&7).await?;
                Ok("left")
            }),
        )
        .route(
            "/leave/after-a-save",
            post(async |sessions: Sessions, mut s: TypedSession<Members>| -> Left {
                s.cart.push(3);
                s.save().await?;
                sessions.revoke_all::<Members>(&7).await?;
                Ok("left")
            }),
        )
        .route(
            "/leave/around-a-write",
            post(async |sessions: Sessions, mut s: TypedSession<Members>| -> Left {
                s.cart.push(3);
                sessions.revoke_all::<Members>(&7).await?;
                Ok("left")
            }),
        )
        .route(
            "/leave/before-signing-out",
            post(async |sessions: Sessions, mut s: TypedSession<Members>| -> Left {
                sessions.revoke_all::<Members>(&7).await?;
                *s.user = None;
                Ok("left")
            }),
        )
        .route(
            "/leave/and-others",
            post(async |sessions: Sessions, mut s: TypedSession<Members>| -> Left {
                s.cart.push(3);
                sessions.revoke_others(&s).await?;
                sessions.revoke_all::<Members>(&7).await?;
                assert_eq!(sessions.revoke_others(&s).await?, 0);
                Ok("left")
            }),
        )
        .route(
            "/leave/by-handle",
            post(async |sessions: Sessions, mut s: TypedSession<Members>| -> Left {
                s.cart.push(3);
                let own = s.handle().ok_or(SessionError::Gone)?;
                assert!(sessions.revoke::<Members>(&7, &own).await?);
                Ok("left")
            }),
        )
        .route(
            "/leave/with-an-error",
            post(async |sessions: Sessions, mut s: TypedSession<Members>| {
                s.cart.push(3);
                let ended = sessions.revoke_all::<Members>(&7).await;
                (StatusCode::INTERNAL_SERVER_ERROR, if ended.is_ok() { "left" } else { "stayed" })
            }),
        )
        .route(
            "/leave/to/{user}",
            post(async |Path(user): Path<u64>, sessions: Sessions, mut s: TypedSession<Members>| -> Left {
                *s.user = Some(user);
                drop(s);
                sessions.revoke_all::<Members>(&7).await?;
                Ok("left")
            }),
        )
}

#[tokio::test]
async fn a_request_that_ends_its_own_session_leaves_it_as_by_destroy() {
    let paths =
        ["after-a-write", "after-a-save", "around-a-write", "before-signing-out", "and-others", "by-handle", "with-an-error"];
    for house in houses().await {
        for path in paths {
            let browser = member(&house, 7, leaving()).await;
            let key = selector(&browser.cookie(COOKIE).unwrap());
            let response = browser.post(&format!("/leave/{path}")).await;
            assert_eq!((response.text().as_str(), effect(&response)), ("left", Effect::Clear), "{path}");
            assert!(response.status() == 200 || path == "with-an-error", "{path}: {}", response.status());
            assert!(house.record_of(&key).await.is_none(), "{path}");
            assert_eq!(browser.get("/").await.text(), NOBODY, "{path}");
        }
    }
}

#[tokio::test]
async fn an_owner_who_signs_in_beside_the_end_of_another_is_signed_in() {
    for house in houses().await {
        let browser = member(&house, 7, leaving()).await;
        let response = browser.post("/leave/to/8").await;
        assert_eq!((response.status().as_u16(), response.text().as_str()), (200, "left"));
        assert!(matches!(effect(&response), Effect::Set(_)));
        assert!(browser.get("/").await.text().starts_with("Some(8)"));
    }
}

#[tokio::test]
async fn a_request_that_ends_the_sessions_of_others_keeps_its_own() {
    for house in houses().await {
        let there = member(&house, 7, Router::new()).await;
        for here in [member(&house, 8, leaving()).await, guest(&house, leaving()).await] {
            let response = here.post("/leave/around-a-write").await;
            assert_eq!((response.status().as_u16(), effect(&response)), (200, Effect::Nothing));
            assert!(here.get("/").await.text().contains("[1, 2, 3]"));
        }
        assert_eq!(effect(&there.get("/").await), Effect::Clear);
    }
}

#[tokio::test]
async fn the_place_of_a_sign_in_goes_with_its_owner() {
    let place = async |house: &AnyHouse, browser: &Browser| {
        house.record(browser).await.unwrap().header.extensions.get(1).map(<[u8]>::to_vec)
    };
    for house in houses().await {
        let bounded = house.browser_of(routes().layer(house.layer().max_sessions(2)));
        bounded.post("/in/7").await;
        assert_eq!(place(&house, &bounded).await, Some(1_u64.to_le_bytes().to_vec()));
        bounded.post("/again").await;
        assert_eq!(place(&house, &bounded).await, Some(2_u64.to_le_bytes().to_vec()));
        bounded.post("/admin/true").await;
        assert_eq!(place(&house, &bounded).await, Some(2_u64.to_le_bytes().to_vec()));
        let free = house.browser(routes());
        free.set_cookie(COOKIE, bounded.cookie(COOKIE).unwrap());
        free.post("/in/8").await;
        assert_eq!(place(&house, &free).await, None);
    }
}
