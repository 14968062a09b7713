//! The list of somebody's sessions, from within a request: what it knows, what an outage does to it, and what it says of itself.

use crate::members::{Members, houses, member, routes};
use axum::{
    Router,
    extract::Path,
    routing::{get, post},
};
use cloakroom::{
    Handle, SessionData, SessionError, Sessions, TypedSession,
    store::SessionStore,
    testing::{Fault, Operation},
};
use cloakroom_tests::{
    events::Events,
    site::{COOKIE, Effect, effect, selector},
};

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
            (Operation::Delete, "POST", format!("/revoke/7/{name}")),
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
        for operation in [Operation::ByOwner, Operation::Delete] {
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
