//! Work that goes on after the response's head, and requests that end before their time.

use crate::data::Visitor;
use axum::{
    Router,
    body::{Body, Bytes},
    extract::Request,
    middleware::{Next, from_fn},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use cloakroom::{
    KeyRing, SessionData, SessionError, SessionLayer, TypedSession,
    store::CookieStore,
    testing::{Fault, Gate, Operation},
};
use cloakroom_tests::{
    events::Events,
    shop::House,
    site::{Effect, effect},
};
use std::{
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, ready},
};
use tokio::sync::oneshot;

async fn begin(mut s: TypedSession<Visitor>) {
    *s.visits = 10;
}

async fn show(s: TypedSession<Visitor>) -> String {
    s.visits.to_string()
}

fn visitors() -> Router {
    Router::new().route("/begin", post(begin)).route("/", get(show))
}

/// A body of one chunk, made by a future while it is read: what a stream of a real application does.
pub(crate) struct Late(Pin<Box<dyn Future<Output = String> + Send>>, bool);

impl Late {
    pub(crate) fn body(work: impl Future<Output = String> + Send + 'static) -> Body {
        Body::new(Self(Box::pin(work), false))
    }
}

impl http_body::Body for Late {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        if self.1 {
            return Poll::Ready(None);
        }
        let text = ready!(self.0.as_mut().poll(context));
        self.1 = true;
        Poll::Ready(Some(Ok(http_body::Frame::data(text.into()))))
    }
}

#[tokio::test]
async fn a_stream_saves_to_a_session_whose_token_the_client_holds() {
    let house = House::new();
    let stream = |mut s: TypedSession<Visitor>| async move {
        Late::body(async move {
            *s.visits += 1;
            s.save().await.unwrap();
            *s.visits += 1;
            s.save().await.unwrap();
            s.visits.to_string()
        })
    };
    let browser = house.browser(visitors().route("/stream", get(stream)));
    browser.post("/begin").await;
    house.log();
    let response = browser.get("/stream").await;
    assert_eq!(response.text(), "12");
    assert_eq!(effect(&response), Effect::Nothing);
    assert_eq!(house.store.count(Operation::Commit), 2);
    assert_eq!(browser.get("/").await.text(), "12");
}

#[tokio::test]
async fn a_spawned_task_saves_after_the_head_and_merges_with_others() {
    let house = House::new();
    let (go, gone) = oneshot::channel::<()>();
    let (done, finished) = oneshot::channel();
    let channels = Arc::new(Mutex::new(Some((gone, done))));
    let spawn = move |mut s: TypedSession<Visitor>| async move {
        let (gone, done) = channels.lock().unwrap().take().unwrap();
        tokio::spawn(async move {
            gone.await.unwrap();
            *s.visits += 1;
            done.send(s.save().await).unwrap();
        });
    };
    let add = |mut s: TypedSession<Visitor>| async move { *s.visits += 100 };
    let browser = house.browser(visitors().route("/spawn", post(spawn)).route("/add", post(add)));
    browser.post("/begin").await;
    assert_eq!(browser.post("/spawn").await.status(), 200);
    browser.post("/add").await;
    go.send(()).unwrap();
    finished.await.unwrap().unwrap();
    assert_eq!(browser.get("/").await.text(), "111");
}

#[tokio::test]
async fn a_new_session_after_the_head_is_head_sent_and_nothing_of_it_is_stored() {
    let house = House::new();
    let stream = |mut s: TypedSession<Visitor>| async move {
        Late::body(async move {
            *s.visits += 1;
            let error = s.save().await.unwrap_err();
            assert!(matches!(error, SessionError::HeadSent), "{error}");
            cloakroom::Field::revert(&mut s.visits);
            error.to_string()
        })
    };
    let browser = house.browser(visitors().route("/stream", get(stream)));
    let response = browser.get("/stream").await;
    assert!(response.text().contains("save().await"), "the message says what to do: {}", response.text());
    assert_eq!(house.log(), [""; 0]);
    assert_eq!(browser.get("/").await.text(), "0");
}

#[tokio::test]
async fn a_rotation_after_the_head_is_head_sent_and_the_token_stays() {
    let house = House::new();
    let stream = |mut s: TypedSession<Visitor>| async move {
        Late::body(async move {
            *s.visits += 1;
            s.rotate();
            assert!(matches!(s.save().await, Err(SessionError::HeadSent)));
            String::new()
        })
    };
    let browser = house.browser(visitors().route("/stream", get(stream)));
    browser.post("/begin").await;
    house.log();
    browser.get("/stream").await;
    assert_eq!(house.log(), ["load -> found r1"]);
    assert_eq!(browser.get("/").await.text(), "10", "nothing of the patch is stored, and the old token works");
}

#[tokio::test]
async fn after_the_head_no_session_becomes_persistent() {
    let house = House::new();
    let stream = |mut s: TypedSession<Visitor>| async move {
        Late::body(async move {
            *s.visits += 1;
            s.set_persistent(true);
            assert!(matches!(s.save().await, Err(SessionError::HeadSent)));
            String::new()
        })
    };
    let browser = house.browser(visitors().route("/stream", get(stream)));
    browser.post("/begin").await;
    house.log();
    browser.get("/stream").await;
    assert_eq!(house.log(), ["load -> found r1"], "the client's cookie would not say so");
    assert_eq!(browser.get("/").await.text(), "10");
}

#[tokio::test]
async fn unsaved_changes_dropped_after_the_head_are_a_loud_event() {
    let events = Events::capture();
    let house = House::new();
    let stream = |mut s: TypedSession<Visitor>| async move {
        Late::body(async move {
            *s.visits += 1;
            drop(s);
            String::new()
        })
    };
    let browser = house.browser(visitors().route("/stream", get(stream)));
    browser.post("/begin").await;
    events.take();
    browser.get("/stream").await;
    let seen = events.take();
    assert!(
        seen.iter().any(|line| line.starts_with("ERROR") && line.contains("session.changes_lost") && line.contains("save()")),
        "{seen:?}"
    );
    assert_eq!(browser.get("/").await.text(), "10");
}

#[derive(SessionData)]
#[session(name = "picky")]
struct Picky {
    #[session(validate = at_most_three)]
    few: u8,
}

fn at_most_three(few: &u8) -> bool {
    *few <= 3
}

#[tokio::test]
async fn a_destroy_or_a_refused_change_dropped_after_the_head_is_as_loud() {
    let house = House::new();
    let destroy = |mut s: TypedSession<Visitor>| async move {
        Late::body(async move {
            s.destroy();
            String::new()
        })
    };
    let refused = |mut s: TypedSession<Picky>| async move {
        Late::body(async move {
            *s.few = 4;
            String::new()
        })
    };
    let browser = house.browser(visitors().route("/destroy", get(destroy)).route("/refused", get(refused)));
    browser.post("/begin").await;
    let events = Events::capture();
    browser.get("/destroy").await;
    assert_eq!(events.count("session.changes_lost"), 1);
    browser.get("/refused").await;
    assert_eq!(events.count("session.failed"), 1);
    drop(events);
    assert_eq!(browser.get("/").await.text(), "10", "neither was carried out");
}

#[tokio::test]
async fn a_label_dropped_after_the_head_is_as_loud() {
    let house = House::new();
    let stream = |mut s: TypedSession<Visitor>| async move {
        Late::body(async move {
            s.set_label("too late");
            String::new()
        })
    };
    let browser = house.browser(visitors().route("/stream", get(stream)));
    browser.post("/begin").await;
    let events = Events::capture();
    browser.get("/stream").await;
    assert_eq!(events.count("session.changes_lost"), 1);
    assert_eq!(house.record(&browser).await.unwrap().header.label, None);
}

#[tokio::test]
async fn a_handle_without_changes_may_outlive_the_head_silently_saved_ones_too() {
    let events = Events::capture();
    let house = House::new();
    let stream = |mut s: TypedSession<Visitor>| async move {
        *s.visits += 1;
        s.save().await.unwrap();
        Late::body(async move { s.visits.to_string() })
    };
    let browser = house.browser(visitors().route("/stream", get(stream)));
    let response = browser.get("/stream").await;
    assert_eq!((response.status().as_u16(), response.text().as_str()), (200, "1"));
    assert!(matches!(effect(&response), Effect::Set(_)));
    assert!(events.take().iter().all(|line| !line.starts_with("ERROR")));
}

#[tokio::test]
async fn a_session_saved_in_the_handler_takes_more_from_its_stream() {
    let house = House::new();
    let stream = |mut s: TypedSession<Visitor>| async move {
        *s.visits += 1;
        s.save().await.unwrap();
        Late::body(async move {
            *s.visits += 1;
            s.save().await.unwrap();
            String::new()
        })
    };
    let browser = house.browser(visitors().route("/stream", get(stream)));
    browser.get("/stream").await;
    assert_eq!(browser.get("/").await.text(), "2");
}

#[tokio::test]
async fn a_handle_with_unsaved_changes_moved_into_a_stream_is_held_at_head() {
    let house = House::new();
    let stream = |mut s: TypedSession<Visitor>| async move {
        *s.visits += 1;
        Late::body(async move { s.visits.to_string() })
    };
    let browser = house.browser_of(visitors().route("/stream", get(stream)).layer(house.layer().on_error(|error, _| {
        assert!(matches!(error, SessionError::HeldAtHead));
        (error.status(), error.to_string()).into_response()
    })));
    for begun in [false, true] {
        if begun {
            browser.post("/begin").await;
        }
        let response = browser.get("/stream").await;
        assert_eq!(response.status(), 500);
        assert!(response.text().contains("save().await"), "{}", response.text());
        assert_eq!(effect(&response), Effect::Nothing);
        assert_eq!(browser.get("/").await.text(), if begun { "10" } else { "0" });
    }
}

#[tokio::test]
async fn a_session_destroyed_or_rotated_meanwhile_refuses_a_late_save() {
    for (path, left) in [("/out", 0), ("/rotate", 1)] {
        let house = House::new();
        let (go, gone) = oneshot::channel::<()>();
        let (done, finished) = oneshot::channel();
        let channels = Arc::new(Mutex::new(Some((gone, done))));
        let spawn = move |mut s: TypedSession<Visitor>| async move {
            let (gone, done) = channels.lock().unwrap().take().unwrap();
            tokio::spawn(async move {
                gone.await.unwrap();
                *s.visits += 1;
                done.send(s.save().await).unwrap();
            });
        };
        let out = |mut s: TypedSession<Visitor>| async move { s.destroy() };
        let rotate = |mut s: TypedSession<Visitor>| async move { s.rotate() };
        let routes = visitors().route("/spawn", post(spawn)).route("/out", post(out)).route("/rotate", post(rotate));
        let browser = house.browser(routes);
        browser.post("/begin").await;
        browser.post("/spawn").await;
        browser.post(path).await;
        go.send(()).unwrap();
        assert!(matches!(finished.await.unwrap(), Err(SessionError::Gone)), "{path}");
        assert_eq!(house.faults().inner().len(), left);
        assert_eq!(browser.get("/").await.text(), if left == 0 { "0" } else { "10" });
    }
}

#[tokio::test]
async fn a_socket_lives_on_one_handle_reloads_and_saves_until_its_session_expires() {
    let house = House::new();
    let clock = house.clock.clone();
    let (ask, mut asked) = tokio::sync::mpsc::channel::<oneshot::Sender<Result<u64, SessionError>>>(1);
    let handle = Arc::new(Mutex::new(None));
    let keep = Arc::clone(&handle);
    let socket = move |s: TypedSession<Visitor>| async move { *keep.lock().unwrap() = Some(s) };
    let add = |mut s: TypedSession<Visitor>| async move { *s.visits += 100 };
    let browser = house.browser(visitors().route("/socket", get(socket)).route("/add", post(add)));
    browser.post("/begin").await;
    browser.get("/socket").await;
    let mut s = handle.lock().unwrap().take().unwrap();
    let task = tokio::spawn(async move {
        while let Some(reply) = asked.recv().await {
            let outcome = async {
                s.reload().await?;
                *s.visits += 1;
                s.save().await?;
                Ok(*s.visits)
            };
            let outcome = outcome.await;
            if outcome.is_err() {
                cloakroom::Field::revert(&mut s.visits);
            }
            reply.send(outcome).unwrap();
        }
    });
    let message = || async {
        let (reply, answer) = oneshot::channel();
        ask.send(reply).await.unwrap();
        answer.await.unwrap()
    };
    assert_eq!(message().await.unwrap(), 11);
    browser.post("/add").await;
    assert_eq!(message().await.unwrap(), 112, "it sees what other requests stored");
    clock.advance(cloakroom::Lifetime::default().absolute());
    assert!(matches!(message().await, Err(SessionError::Gone)), "an open socket does not outlive the deadline");
    drop(ask);
    task.await.unwrap();
}

#[tokio::test]
async fn with_a_cookie_store_every_save_after_the_head_is_head_sent() {
    let house = House::new();
    let store = CookieStore::new(KeyRing::generate().unwrap());
    let stream = |mut s: TypedSession<Visitor>| async move {
        Late::body(async move {
            *s.visits += 1;
            assert!(matches!(s.save().await, Err(SessionError::HeadSent)));
            String::new()
        })
    };
    let app = visitors().route("/stream", get(stream)).layer(SessionLayer::new(store).clock(house.clock.clone()));
    let browser = house.browser_of(app);
    browser.post("/begin").await;
    browser.get("/stream").await;
    assert_eq!(browser.get("/").await.text(), "10");
}

#[tokio::test]
async fn a_panic_in_the_handler_stores_nothing_but_what_was_saved_and_the_next_request_works() {
    let house = House::new();
    let panics = |mut s: TypedSession<Visitor>| async move {
        *s.visits += 1;
        s.save().await.unwrap();
        *s.visits += 1;
        if true {
            panic!("as planned");
        }
    };
    let browser = house.browser(visitors().route("/panic", post(panics)));
    browser.post("/begin").await;
    let tab = browser.clone();
    assert!(tokio::spawn(async move { tab.post("/panic").await }).await.unwrap_err().is_panic());
    assert_eq!(browser.get("/").await.text(), "11");
    assert_eq!(browser.post("/begin").await.status(), 200);
}

#[tokio::test]
async fn a_panic_that_a_layer_turns_into_an_answer_stores_nothing_not_even_of_other_handles() {
    async fn catch(request: Request, next: Next) -> Response {
        // 200 on purpose: even an answer that would be committed must not carry half-made changes.
        tokio::spawn(next.run(request)).await.unwrap_or_else(|_| "caught".into_response())
    }
    let house = House::new();
    let panics = |mut s: TypedSession<Visitor>| async move {
        *s.visits += 1;
        if true {
            panic!("as planned");
        }
    };
    let app = visitors()
        .route("/panic", post(panics))
        .layer(from_fn(|mut s: TypedSession<Visitor>, request: Request, next: Next| async move {
            let is_panic = request.uri().path() == "/panic";
            if is_panic {
                *s.notice = Some("checked in before".into());
            }
            drop(s);
            next.run(request).await
        }))
        .layer(from_fn(catch));
    let browser = house.browser(app);
    browser.post("/begin").await;
    house.log();
    let response = browser.post("/panic").await;
    assert_eq!((response.status().as_u16(), response.text().as_str()), (200, "caught"));
    assert_eq!(effect(&response), Effect::Nothing);
    assert_eq!(house.log(), ["load -> found r1"]);
    assert_eq!(browser.get("/").await.text(), "10");
}

#[tokio::test]
async fn a_request_dropped_in_the_handler_stores_nothing() {
    let house = House::new();
    let gate = Gate::new();
    let (reached, waiting) = (Arc::new(tokio::sync::Notify::new()), gate.clone());
    let notify = Arc::clone(&reached);
    let slow = move |mut s: TypedSession<Visitor>| {
        let (notify, waiting) = (Arc::clone(&notify), waiting.clone());
        async move {
            *s.visits += 1;
            notify.notify_one();
            waiting.reached().await;
        }
    };
    let browser = house.browser(visitors().route("/slow", post(slow)));
    browser.post("/begin").await;
    house.log();
    let tab = browser.clone();
    let request = tokio::spawn(async move { tab.post("/slow").await });
    reached.notified().await;
    request.abort();
    assert!(request.await.unwrap_err().is_cancelled());
    assert_eq!(house.log(), ["load -> found r1"]);
    assert_eq!(browser.get("/").await.text(), "10");
}

#[tokio::test]
async fn a_request_dropped_during_its_commit_is_applied_whole_or_not_at_all() {
    for (fault, stored) in [(Fault::HoldBefore as fn(Gate) -> Fault, false), (Fault::HoldAfter, true)] {
        let house = House::new();
        let both = |mut s: TypedSession<Visitor>| async move {
            *s.visits += 1;
            *s.name = Some("Ada".into());
        };
        let pair = |s: TypedSession<Visitor>| async move { format!("{} {:?}", s.visits, s.name) };
        let browser = house.browser(visitors().route("/both", post(both)).route("/pair", get(pair)));
        browser.post("/begin").await;
        let gate = Gate::new();
        house.faults().next(Operation::Commit, fault(gate.clone()));
        let tab = browser.clone();
        let request = tokio::spawn(async move { tab.post("/both").await });
        gate.reached().await;
        request.abort();
        assert!(request.await.unwrap_err().is_cancelled());
        gate.open();
        let expected = if stored { "11 Some(\"Ada\")" } else { "10 None" };
        assert_eq!(browser.get("/pair").await.text(), expected);
        assert_eq!(browser.post("/both").await.status(), 200, "nothing is left locked");
    }
}

#[tokio::test]
async fn the_head_waits_for_the_store() {
    let house = House::new();
    let add = |mut s: TypedSession<Visitor>| async move { *s.visits += 1 };
    let browser = house.browser(visitors().route("/add", post(add)));
    browser.post("/begin").await;
    let gate = Gate::new();
    house.faults().next(Operation::Commit, Fault::HoldBefore(gate.clone()));
    let tab = browser.clone();
    let request = tokio::spawn(async move { tab.post("/add").await });
    gate.reached().await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(!request.is_finished());
    gate.open();
    assert_eq!(request.await.unwrap().status(), 200);
    assert_eq!(browser.get("/").await.text(), "11");
}
