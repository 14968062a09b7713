//! The documented flows, with each commit's response lost on its way and the request made again.

use axum::{
    Router,
    routing::{get, post},
};
use cloakroom::{
    SessionData, SignedIn, TypedSession,
    testing::{Fault, Gate, Operation},
};
use cloakroom_tests::{
    shop::{Browser, House},
    site::COOKIE,
};
use std::collections::BTreeSet;

#[derive(SessionData)]
#[session(name = "account", version = 1)]
struct Account {
    #[session(owner)]
    user: Option<u64>,
    #[session(privilege)]
    second_factor: bool,
    #[session(merge = "union")]
    cart: BTreeSet<u8>,
}

type Session = TypedSession<Account>;

fn account() -> Router {
    Router::new()
        .route("/guest", post(|mut s: Session| async move { _ = s.cart.insert(1) }))
        .route("/sign-in", post(|mut s: Session| async move { *s.user = Some(7) }))
        .route(
            "/remember",
            post(|mut s: Session| async move {
                *s.user = Some(7);
                s.set_persistent(true);
            }),
        )
        .route("/second-factor", post(|mut s: SignedIn<Account>| async move { *s.second_factor = true }))
        .route("/confirm", post(|mut s: SignedIn<Account>| async move { s.reauthenticated() }))
        .route("/sign-out", post(|mut s: Session| async move { s.destroy() }))
        .route("/leave", post(|mut s: Session| async move { *s.user = None }))
        .route("/pay", post(|s: SignedIn<Account, 15>| async move { assert!(*s.second_factor) }))
        .route("/me", get(|s: Session| async move { format!("{:?} {}", s.user, s.second_factor) }))
}

/// A flow: its requests in their order, and what it comes to.
struct Flow {
    steps: &'static [&'static str],
    ends: &'static str,
}

const FLOWS: [Flow; 6] = [
    Flow { steps: &["/guest", "/sign-in"], ends: "Some(7) false" },
    Flow { steps: &["/guest", "/remember"], ends: "Some(7) false" },
    Flow { steps: &["/sign-in", "/second-factor", "/pay"], ends: "Some(7) true" },
    Flow { steps: &["/sign-in", "/second-factor", "/confirm", "/pay"], ends: "Some(7) true" },
    Flow { steps: &["/sign-in", "/second-factor", "/sign-out"], ends: "None false" },
    Flow { steps: &["/guest", "/sign-in", "/leave"], ends: "None false" },
];

/// Sends a request whose client leaves right after the store has done that operation; answers whether it came to that.
async fn cut_after(house: &House, browser: &Browser, path: &str, operation: Operation) -> bool {
    let gate = Gate::new();
    house.faults().next(operation, Fault::HoldAfter(gate.clone()));
    let tab = browser.fork();
    let path = path.to_owned();
    let request = tokio::spawn(async move { tab.post(&path).await });
    let reached = tokio::select! {
        () = gate.reached() => true,
        () = async { while !request.is_finished() { tokio::task::yield_now().await } } => false,
    };
    request.abort();
    drop(request.await);
    gate.open();
    house.faults().heal();
    reached
}

#[tokio::test]
async fn a_flow_whose_response_is_lost_goes_on_with_the_request_made_again() {
    let mut cuts = 0;
    for flow in FLOWS {
        for cut in 0..flow.steps.len() {
            for operation in [Operation::Create, Operation::Commit, Operation::Delete] {
                let house = House::new();
                let browser = house.browser(account());
                for step in &flow.steps[..cut] {
                    assert_eq!(browser.post(step).await.status(), 200, "{step} of {:?}", flow.steps);
                }
                let before = browser.cookie(COOKIE);
                if !cut_after(&house, &browser, flow.steps[cut], operation).await {
                    continue;
                }
                cuts += 1;
                let what = format!("{operation} of {} in {:?} is lost", flow.steps[cut], flow.steps);
                let mut rest = flow.steps[cut..].to_vec();
                let mut again = 0;
                while let Some(step) = rest.first().copied() {
                    match browser.post(step).await.status().as_u16() {
                        200 => _ = rest.remove(0),
                        // The token of the session was lost with the response: the person signs in again, once.
                        401 | 403 => {
                            again += 1;
                            assert_eq!(again, 1, "{what}: signing in again was in vain");
                            rest = flow.steps.to_vec();
                        }
                        status => panic!("{what}: {step} is answered {status}"),
                    }
                }
                assert_eq!(browser.get("/me").await.text(), flow.ends, "{what}");
                // A token from before a change of privilege opens nothing of what came after it.
                if let Some(before) = before.filter(|before| browser.cookie(COOKIE).as_ref() != Some(before)) {
                    let thief = house.browser(account());
                    thief.set_cookie(COOKIE, before);
                    assert_eq!(thief.get("/me").await.text(), "None false", "{what}");
                }
            }
        }
    }
    assert!(cuts >= 12, "only {cuts} responses were lost");
}
