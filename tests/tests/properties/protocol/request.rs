//! One request through the real layer: its handler, its handles, and the futures that work with them.

use super::{
    gates::{AskId, GatedStore, Outcome, TaskId, at_once, number},
    ledger::{Cookie, Dropped, End, Ledger, Name, Violation},
};
use axum::body::Body;
use axum_core::extract::FromRequestParts;
use cloakroom::{
    SessionData, SessionError, SessionLayer, TypedSession,
    record::{Record, Selector},
    store::{IdleTouch, MemoryStore, SessionStore},
    testing::ManualClock,
};
use cloakroom_tests::site::{COOKIE, selector};
use http::{Request, Response, StatusCode, header, request::Parts};
use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::{Pin, pin},
    rc::Rc,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::{Duration, SystemTime},
};
use tower::{Layer, Service, service_fn};

/// What most handles are of. `a` and `b` belong together.
#[derive(SessionData)]
#[session(name = "data")]
pub(super) struct Data {
    #[session(owner)]
    pub(super) user: Option<u64>,
    pub(super) a: u64,
    pub(super) b: u64,
    #[session(merge = "add")]
    pub(super) sum: u64,
    #[session(merge = "strict")]
    pub(super) only: u64,
}

/// Another struct of the same session.
#[derive(SessionData)]
#[session(name = "other")]
pub(super) struct Other {
    pub(super) c: u64,
}

/// What a future does with its handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    /// Sets `a` and `b`, which belong together.
    Pair(u64),
    /// Adds to the counter: 10, 100 or 1000, so that each digit tells how often.
    Add(u64),
    /// Sets the `strict` field.
    Only(u64),
    /// Sets the field of the other struct.
    C(u64),
    SignIn(u64),
    SignOut,
    Rotate,
    Label(u64),
    Save,
    Reload,
    Destroy,
    /// Lets the others go on.
    Pause,
    Drop,
}

/// The session that the request begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// The client has no cookie.
    New,
    /// There is one, in no owner's name: `a = b = 9`, `sum = 5`, `c = 9`.
    Anonymous,
    /// The same, with user 1 signed in.
    SignedIn,
}

/// A request, and what may happen to it.
#[derive(Debug)]
pub(super) struct Scenario {
    pub(super) start: Start,
    pub(super) touch: IdleTouch,
    /// What the handler does with a handle of its own before it waits for its end, and then drops it. Empty: it has none.
    pub(super) handler: &'static [Verb],
    /// What is done with the other handles, each in a future of its own.
    pub(super) tasks: &'static [&'static [Verb]],
    /// How the handler may end.
    pub(super) ends: &'static [End],
    /// How many operations may go otherwise than well; a future that is dropped counts as one.
    pub(super) disturbances: usize,
    /// Whether one future may be dropped at an await.
    pub(super) cancels: bool,
    /// Whether other requests may come first.
    pub(super) foreign: bool,
    /// What is done with a handle whose future was dropped, if it lives on.
    pub(super) afterwards: &'static [Verb],
}

/// A choice of the scheduler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A future that was woken is polled.
    Poll(TaskId),
    /// The store answers an operation of that future.
    Answer { ask: AskId, owner: TaskId, outcome: Outcome },
    /// The handler ends.
    End(End),
    /// A future is dropped at an await.
    Cancel { task: TaskId, handle: Fate, question: Wire },
}

/// What becomes of the handle that a dropped future worked with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Dropped,
    LivesOn,
}

/// What becomes of the operation that a dropped future waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wire {
    /// There is none, or it never reaches the store.
    Cut,
    /// It reaches the store all the same, some time.
    Delivers,
}

impl Step {
    /// The future that it lets go on or ends.
    fn task(self) -> TaskId {
        match self {
            Self::Poll(task) | Self::Cancel { task, .. } => task,
            Self::Answer { owner, .. } => owner,
            Self::End(_) => 0,
        }
    }

    /// Whether it is one of the few things that may go wrong in a run.
    pub(super) fn is_disturbance(self) -> bool {
        match self {
            Self::Poll(_) | Self::End(_) => false,
            Self::Answer { outcome, .. } => outcome.is_disturbance(),
            Self::Cancel { .. } => true,
        }
    }

    /// Whether two steps lead to the same state in either order. A future asks the store only through a gate, so an answer to one
    /// future, which changes the store alone, and a step of another, which changes the request alone, do.
    pub(super) fn commutes(self, other: Self) -> bool {
        let one_is_an_answer = matches!(self, Self::Answer { .. }) != matches!(other, Self::Answer { .. });
        one_is_an_answer && self.task() != other.task() && !(self.is_disturbance() && other.is_disturbance())
    }
}

/// A handle of either struct.
enum Handle {
    Data(Box<TypedSession<Data>>),
    Other(Box<TypedSession<Other>>),
}

impl Handle {
    async fn extract(parts: &mut Parts, script: &[Verb]) -> Self {
        if script.iter().any(|verb| matches!(verb, Verb::C(_))) {
            Self::Other(Box::new(TypedSession::from_request_parts(parts, &()).await.unwrap()))
        } else {
            Self::Data(Box::new(TypedSession::from_request_parts(parts, &()).await.unwrap()))
        }
    }

    fn data(&mut self) -> &mut TypedSession<Data> {
        match self {
            Self::Data(data) => data,
            Self::Other(_) => panic!("the script asks a handle of the other struct for a field"),
        }
    }

    async fn save(&mut self) -> Result<(), SessionError> {
        match self {
            Self::Data(data) => data.save().await,
            Self::Other(other) => other.save().await,
        }
    }

    async fn reload(&mut self) -> Result<(), SessionError> {
        match self {
            Self::Data(data) => data.reload().await,
            Self::Other(other) => other.reload().await,
        }
    }

    fn shown(&self) -> Vec<(Name, u64)> {
        match self {
            Self::Data(data) => vec![(Name::A, *data.a), (Name::B, *data.b), (Name::Only, *data.only)],
            Self::Other(other) => vec![(Name::C, *other.c)],
        }
    }
}

macro_rules! with {
    ($handle:expr, $session:ident => $act:expr) => {
        match $handle {
            Handle::Data($session) => $act,
            Handle::Other($session) => $act,
        }
    };
}

/// Where a handle lies while no future works with it.
type Shelf = Rc<Cell<Option<Handle>>>;

/// A handle in the hands of a future. It goes back to its place when the future is dropped.
struct Held {
    shelf: Shelf,
    handle: Option<Handle>,
}

impl Held {
    fn take(shelf: &Shelf) -> Self {
        Self { shelf: Rc::clone(shelf), handle: shelf.take() }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.shelf.set(self.handle.take());
    }
}

type Book = Rc<RefCell<Ledger>>;

/// Does what a script says, and notes it.
async fn perform(slot: &mut Option<Handle>, id: TaskId, script: &[Verb], book: &Book) {
    for verb in script {
        let Some(handle) = slot.as_mut() else { return };
        let note = |name, value| book.borrow_mut().made(id, name, value);
        match *verb {
            Verb::Pair(value) => {
                (*handle.data().a, *handle.data().b) = (value, value);
                note(Name::A, value);
                note(Name::B, value);
            }
            Verb::Add(value) => {
                *handle.data().sum += value;
                note(Name::Sum, value);
            }
            Verb::Only(value) => {
                *handle.data().only = value;
                note(Name::Only, value);
            }
            Verb::C(value) => {
                let Handle::Other(other) = handle else { panic!("the script asks for the other struct's field") };
                *other.c = value;
                note(Name::C, value);
            }
            Verb::SignIn(value) => {
                *handle.data().user = Some(value);
                note(Name::User, value);
            }
            Verb::SignOut => {
                *handle.data().user = None;
                note(Name::User, 0);
            }
            Verb::Rotate => {
                with!(handle, session => session.rotate());
                note(Name::Token, 0);
            }
            Verb::Label(value) => {
                with!(handle, session => session.set_label(&*value.to_string()));
                note(Name::Label, value);
            }
            Verb::Save => {
                book.borrow_mut().save_began(id);
                let answer = handle.save().await;
                book.borrow_mut().save_answered(id, &answer);
            }
            Verb::Reload => {
                let before = {
                    let mut book = book.borrow_mut();
                    book.reload_began(id);
                    book.stored().to_vec()
                };
                let answer = handle.reload().await;
                book.borrow_mut().reloaded(id, &before, &answer.map(|()| handle.shown()));
            }
            Verb::Destroy => {
                with!(handle, session => session.destroy());
                book.borrow_mut().destroyed(id);
            }
            Verb::Pause => pause().await,
            Verb::Drop => {
                *slot = None;
                book.borrow_mut().dropped(id, Dropped::ByHandler);
            }
        }
    }
}

async fn pause() {
    let mut paused = false;
    poll_fn(|context| {
        if std::mem::replace(&mut paused, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// How the handler learns that it is to end.
#[derive(Default)]
struct Ending {
    end: Cell<Option<End>>,
    is_awaited: Cell<bool>,
}

/// What the handler is made of.
struct Handler {
    scenario: &'static Scenario,
    store: GatedStore,
    book: Book,
    shelves: Vec<Shelf>,
    ending: Rc<Ending>,
}

impl Handler {
    async fn run(self: Rc<Self>, request: Request<Body>) -> Result<Response<Body>, std::convert::Infallible> {
        let (mut parts, _) = request.into_parts();
        let mut own = if self.scenario.handler.is_empty() {
            None
        } else {
            Some(Handle::extract(&mut parts, self.scenario.handler).await)
        };
        for (shelf, script) in self.shelves.iter().zip(self.scenario.tasks) {
            shelf.set(Some(Handle::extract(&mut parts, script).await));
        }
        self.store.desk().open = false;
        let handles = usize::from(own.is_none())..=self.shelves.len();
        self.book.borrow_mut().alive = handles.collect();
        let work = async {
            perform(&mut own, 0, self.scenario.handler, &self.book).await;
            let end = poll_fn(|_| {
                self.ending.is_awaited.set(true);
                self.ending.end.get().map_or(Poll::Pending, Poll::Ready)
            })
            .await;
            let mut own = own;
            match end {
                End::Status(status) => {
                    if own.take().is_some() {
                        self.book.borrow_mut().dropped(0, Dropped::ByHandler);
                    }
                    status
                }
                // Without the message that a panic prints.
                End::Panic => resume_unwind(Box::new(own.is_some())),
            }
        };
        let (status, end) = match caught(work).await {
            Some(status) => (status, End::Status(status)),
            None => (200, End::Panic),
        };
        self.book.borrow_mut().ended(end);
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        Ok(response)
    }
}

/// As a layer that catches panics.
async fn caught<T>(work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
        Ok(poll) => poll.map(Some),
        Err(_) => Poll::Ready(None),
    })
    .await
}

/// Whether a future was woken.
#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

type Work = Pin<Box<dyn Future<Output = ()>>>;

struct Task {
    work: Option<Work>,
    woken: Arc<Flag>,
    /// Whether it has been polled.
    begun: bool,
    /// Whether its last poll ended with nothing but a wish to go on.
    yielded: bool,
}

impl Task {
    fn new(work: impl Future<Output = ()> + 'static) -> Self {
        let woken = Arc::new(Flag(AtomicBool::new(true)));
        Self { work: Some(Box::pin(work)), woken, begun: false, yielded: false }
    }

    fn is_woken(&self) -> bool {
        self.work.is_some() && self.woken.0.load(Ordering::Relaxed)
    }
}

/// A run of a scenario, at some step.
pub(super) struct Run {
    scenario: &'static Scenario,
    clock: ManualClock,
    store: GatedStore,
    book: Book,
    tasks: Vec<Task>,
    shelves: Vec<Shelf>,
    ending: Rc<Ending>,
    /// What the client presented.
    cookie: Option<String>,
    response: Rc<RefCell<Option<Response<Body>>>>,
    /// What the client's jar holds once it has the response.
    jar: Option<String>,
    has_response: bool,
    disturbances: usize,
    has_cancelled: bool,
}

const START: Duration = Duration::from_secs(1_800_000_000);

/// A record that requests begin with, and the cookie that opens it.
type Beginning = (String, Record);

/// Made once, by a real request.
fn beginning(start: Start) -> Option<&'static Beginning> {
    static ANONYMOUS: OnceLock<Beginning> = OnceLock::new();
    static SIGNED_IN: OnceLock<Beginning> = OnceLock::new();
    let make = |user: Option<u64>| {
        let store = GatedStore::new(MemoryStore::new(), IdleTouch::AtLoad);
        let service = service_fn(move |request: Request<Body>| async move {
            let (mut parts, _) = request.into_parts();
            let mut data: TypedSession<Data> = TypedSession::from_request_parts(&mut parts, &()).await.unwrap();
            let mut other: TypedSession<Other> = TypedSession::from_request_parts(&mut parts, &()).await.unwrap();
            (*data.a, *data.b, *data.sum, *data.user) = (9, 9, 5, user);
            *other.c = 9;
            drop((data, other));
            Ok::<_, std::convert::Infallible>(Response::new(Body::empty()))
        });
        let layer = SessionLayer::new(store.inner.clone()).clock(ManualClock::new(SystemTime::UNIX_EPOCH + START));
        let response = at_once(layer.layer(service).call(request(None))).unwrap();
        let Ok(Cookie::Set(cookie)) = cookie_of(&response) else { panic!("the first request sets no cookie") };
        let record = store.peek(&selector(&cookie)).unwrap();
        (cookie, Arc::unwrap_or_clone(record))
    };
    match start {
        Start::New => None,
        Start::Anonymous => Some(ANONYMOUS.get_or_init(|| make(None))),
        Start::SignedIn => Some(SIGNED_IN.get_or_init(|| make(Some(1)))),
    }
}

fn request(cookie: Option<&str>) -> Request<Body> {
    let mut request = Request::post("/").body(Body::empty()).unwrap();
    if let Some(cookie) = cookie {
        request.headers_mut().insert(header::COOKIE, format!("{COOKIE}={cookie}").parse().unwrap());
    }
    request
}

fn cookie_of(response: &Response<Body>) -> Result<Cookie, String> {
    let lines: Vec<&str> =
        response.headers().get_all(header::SET_COOKIE).iter().filter_map(|line| line.to_str().ok()).collect();
    match lines[..] {
        [] => Ok(Cookie::Left),
        [line] => {
            let value = line.split_once('=').map_or("", |(_, rest)| rest.split(';').next().unwrap_or_default());
            Ok(if value.is_empty() { Cookie::Cleared } else { Cookie::Set(value.to_owned()) })
        }
        _ => Err(format!("one cookie is set more than once: {lines:?}")),
    }
}

impl Run {
    pub(super) fn new(scenario: &'static Scenario) -> Self {
        let inner = MemoryStore::new();
        let beginning = beginning(scenario.start);
        let key = beginning.map(|(cookie, record)| {
            let key = selector(cookie);
            at_once(inner.create(&key, record.clone())).unwrap();
            key
        });
        let cookie = beginning.map(|(cookie, _)| cookie.clone());
        // Ten hours later, when the store has to be told that the session is in use.
        let clock = ManualClock::new(SystemTime::UNIX_EPOCH + START + Duration::from_secs(10 * 3600));
        let store = GatedStore::new(inner, scenario.touch);
        let book = Rc::new(RefCell::new(Ledger::new(store.clone(), key)));
        let shelves: Vec<Shelf> = scenario.tasks.iter().map(|_| Shelf::default()).collect();
        let ending = Rc::<Ending>::default();
        let response = Rc::<RefCell<Option<Response<Body>>>>::default();
        let handler = Rc::new(Handler {
            scenario,
            store: store.clone(),
            book: Rc::clone(&book),
            shelves: shelves.clone(),
            ending: Rc::clone(&ending),
        });
        let layer = SessionLayer::new(store.clone()).clock(clock.clone());
        let answer = layer.layer(service_fn(move |request| Rc::clone(&handler).run(request))).call(request(cookie.as_deref()));
        let place = Rc::clone(&response);
        let whole = Task::new(async move {
            let answer = answer.await.unwrap();
            *place.borrow_mut() = Some(answer);
        });
        let works = shelves
            .iter()
            .zip(scenario.tasks)
            .enumerate()
            .map(|(at, (shelf, script))| Task::new(Self::work(at + 1, Rc::clone(shelf), script, Rc::clone(&book))));
        let tasks = std::iter::once(whole).chain(works).collect();
        let jar = cookie.clone();
        let mut run = Self {
            scenario,
            clock,
            store,
            book,
            tasks,
            shelves,
            ending,
            cookie,
            response,
            jar,
            has_response: false,
            disturbances: 0,
            has_cancelled: false,
        };
        // The handles are made before anything is chosen.
        run.store.desk().open = true;
        run.poll(0);
        run
    }

    async fn work(id: TaskId, shelf: Shelf, script: &'static [Verb], book: Book) {
        let mut held = Held::take(&shelf);
        perform(&mut held.handle, id, script, &book).await;
    }

    pub(super) fn violation(&self) -> Option<Violation> {
        self.book.borrow().violation().cloned()
    }

    /// Everything that may happen next.
    pub(super) fn enabled(&self) -> Vec<Step> {
        let mut steps: Vec<Step> = (0..self.tasks.len()).filter(|task| self.tasks[*task].is_woken()).map(Step::Poll).collect();
        let may_disturb = self.disturbances < self.scenario.disturbances;
        let desk = self.store.desk();
        for (ask, it) in desk.unanswered() {
            let owner = it.owner;
            if desk.is_on_its_way(ask) {
                steps.push(Step::Answer { ask, owner, outcome: Outcome::Done });
                continue;
            }
            let possible = it.question.outcomes().iter().copied().filter(|outcome| {
                !outcome.is_disturbance() || (may_disturb && (self.scenario.foreign || !outcome.is_foreign()))
            });
            steps.extend(possible.map(|outcome| Step::Answer { ask, owner, outcome }));
        }
        if self.tasks[0].work.is_some() && self.ending.is_awaited.get() && self.ending.end.get().is_none() {
            steps.extend(self.scenario.ends.iter().copied().map(Step::End));
        }
        if may_disturb && self.scenario.cancels && !self.has_cancelled {
            for (task, _) in self.tasks.iter().enumerate().filter(|(_, it)| it.begun && it.work.is_some()) {
                let fates: &[Fate] = if task == 0 { &[Fate::Dropped] } else { &[Fate::Dropped, Fate::LivesOn] };
                let wires: &[Wire] = if desk.is_waiting(task) { &[Wire::Cut, Wire::Delivers] } else { &[Wire::Cut] };
                for handle in fates {
                    steps.extend(wires.iter().map(|question| Step::Cancel { task, handle: *handle, question: *question }));
                }
            }
        }
        steps
    }

    /// Makes a choice come true.
    pub(super) fn take(&mut self, step: Step) {
        self.disturbances += usize::from(step.is_disturbance());
        match step {
            Step::Poll(task) => self.poll(task),
            Step::Answer { ask, outcome, .. } => {
                let (waker, applied) = self.store.release(ask, outcome);
                self.book.borrow_mut().answered(ask, outcome, applied);
                if let Some(waker) = waker {
                    waker.wake();
                }
            }
            Step::End(end) => {
                self.ending.end.set(Some(end));
                self.poll(0);
            }
            Step::Cancel { task, handle, question } => self.cancel(task, handle, question),
        }
        self.look_for_waiting();
    }

    /// The head waits for the store alone once the handler has ended: a future that outlives it may never be polled again.
    fn look_for_waiting(&mut self) {
        let mut book = self.book.borrow_mut();
        if book.has_ended() && self.tasks[0].work.is_some() && !self.tasks[0].is_woken() && !self.store.desk().is_waiting(0) {
            book.fail(
                "6 the head waits for the store alone",
                "the response waits for a future that outlives the handler".into(),
            );
        }
    }

    fn poll(&mut self, id: TaskId) {
        // That a future gives way several times in a row is seen by none of the others.
        for _ in 0..100 {
            if self.poll_once(id) {
                continue;
            }
            break;
        }
        if id == 0 && self.tasks[0].work.is_none() && !self.has_response {
            self.respond();
        }
    }

    /// Answers whether it gave way twice.
    fn poll_once(&mut self, id: TaskId) -> bool {
        let asked = {
            let mut desk = self.store.desk();
            desk.polling = id;
            desk.asks().len()
        };
        let task = &mut self.tasks[id];
        let Some(work) = &mut task.work else { return false };
        task.begun = true;
        task.woken.0.store(false, Ordering::Relaxed);
        let waker = Waker::from(Arc::clone(&task.woken));
        if work.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
            task.work = None;
            return false;
        }
        let yields = task.is_woken() && self.store.desk().asks().len() == asked;
        std::mem::replace(&mut task.yielded, yields) && yields
    }

    fn respond(&mut self) {
        let Some(response) = self.response.borrow_mut().take() else { return };
        self.has_response = true;
        let cookie = match cookie_of(&response) {
            Ok(cookie) => cookie,
            Err(text) => return self.book.borrow_mut().fail("5 at most one cookie", text),
        };
        self.book.borrow_mut().responded(response.status().as_u16(), &cookie, self.cookie.is_some());
        match cookie {
            Cookie::Left => {}
            Cookie::Set(value) => {
                if self.opened(&value).is_none() {
                    self.book.borrow_mut().cookie_opens_nothing();
                }
                self.jar = Some(value);
            }
            Cookie::Cleared => {
                if self.cookie.as_deref().is_some_and(|cookie| self.opened(cookie).is_some()) {
                    self.book.borrow_mut().cleared_a_live_cookie();
                }
                self.jar = None;
            }
        }
    }

    fn cancel(&mut self, id: TaskId, fate: Fate, wire: Wire) {
        self.has_cancelled = true;
        let under_way = {
            let mut desk = self.store.desk();
            let under_way = desk.under_way(id);
            if let (Some(ask), Wire::Delivers) = (under_way, wire) {
                desk.send_all_the_same(ask);
            }
            under_way
        };
        if id == 0 {
            self.book.borrow_mut().response_cancelled(under_way);
            self.tasks[0].work = None;
            self.has_response = true;
            return;
        }
        self.book.borrow_mut().cancelled(id, under_way);
        self.tasks[id].work = None;
        let shelf = Rc::clone(&self.shelves[id - 1]);
        match fate {
            Fate::Dropped => {
                drop(shelf.take());
                self.book.borrow_mut().dropped(id, Dropped::ByCancellation);
            }
            Fate::LivesOn if self.scenario.afterwards.is_empty() => {}
            Fate::LivesOn => {
                let book = Rc::clone(&self.book);
                self.tasks[id] = Task::new(Self::work(id, shelf, self.scenario.afterwards, book));
            }
        }
    }

    /// Nothing can happen any more: looks at what is left.
    pub(super) fn close(&mut self) {
        let stuck: Vec<TaskId> = (0..self.tasks.len()).filter(|task| self.tasks[*task].work.is_some()).collect();
        for task in stuck {
            let asked = self.store.desk().asks().len();
            self.poll(task);
            let goes_on = self.tasks[task].work.is_none() || self.store.desk().asks().len() > asked;
            let text = if goes_on { "could go on, and was not woken" } else { "waits for ever" };
            let who = if task == 0 { "the response".to_owned() } else { format!("what h{task} does") };
            self.book.borrow_mut().fail("6 nothing hangs", format!("{who} {text}"));
        }
        for shelf in &self.shelves {
            drop(shelf.take());
        }
        let answered = self.response_was_sent();
        let client = answered.then(|| self.jar.as_deref().and_then(|cookie| self.opened(cookie)));
        let old_cookie_opens = self.cookie.as_deref().is_some_and(|cookie| self.opened(cookie).is_some());
        self.book.borrow_mut().close(client, old_cookie_opens);
    }

    /// How the run has ended, in words.
    pub(super) fn end(&self) -> String {
        let book = self.book.borrow();
        match book.violation() {
            Some(violation) => format!("{}: {}", violation.rule, violation.text),
            None => book.end(),
        }
    }

    fn response_was_sent(&self) -> bool {
        self.has_response && self.ending.end.get().is_some() && self.book.borrow().has_responded()
    }

    /// The record that a cookie opens, and that a next request reads from it what is stored. The request works with a copy, so that
    /// looking is not using.
    fn opened(&self, cookie: &str) -> Option<Selector> {
        let key = selector(cookie);
        let record = self.store.peek(&key)?;
        let copy = MemoryStore::new();
        at_once(copy.create(&key, (*record).clone())).unwrap();
        let seen = Rc::<Cell<Option<[u64; 6]>>>::default();
        let place = Rc::clone(&seen);
        let service = service_fn(move |request: Request<Body>| {
            let place = Rc::clone(&place);
            async move {
                let (mut parts, _) = request.into_parts();
                let data: TypedSession<Data> = TypedSession::from_request_parts(&mut parts, &()).await.unwrap();
                let other: TypedSession<Other> = TypedSession::from_request_parts(&mut parts, &()).await.unwrap();
                if !data.is_new() {
                    place.set(Some([data.user.unwrap_or(0), *data.a, *data.b, *data.sum, *data.only, *other.c]));
                }
                Ok::<_, std::convert::Infallible>(Response::new(Body::empty()))
            }
        });
        let layer = SessionLayer::new(copy).clock(self.clock.clone());
        drop(at_once(layer.layer(service).call(request(Some(cookie)))));
        let seen = seen.get()?;
        let stored = ["data/user", "data/a", "data/b", "data/sum", "data/only", "other/c"]
            .map(|key| number(record.cells.get(key).and_then(|cell| cell.body.content.payload())));
        if seen != stored {
            let text = format!("the next request reads {seen:?}, and {stored:?} is stored");
            self.book.borrow_mut().fail("1 an Ok is true", text);
        }
        Some(key)
    }

    // For those who read about a failure.

    /// A step in words, before it is taken.
    pub(super) fn describe(&self, step: Step) -> String {
        let who = |task: TaskId| if task == 0 { "the response".to_owned() } else { format!("h{task}") };
        match step {
            Step::Poll(task) => format!("{} goes on", who(task)),
            Step::Answer { ask, owner, outcome } => {
                let desk = self.store.desk();
                format!("the store answers #{ask} of {} ({}): {outcome}", who(owner), desk.asks()[ask].question)
            }
            Step::End(End::Status(status)) => format!("the handler ends with {status}"),
            Step::End(End::Panic) => "the handler panics, and a layer inside answers 200".to_owned(),
            Step::Cancel { task, handle, question } => {
                let fate = match (task, handle) {
                    (0, _) => "",
                    (_, Fate::Dropped) => ", and its handle with it",
                    (_, Fate::LivesOn) => ", and its handle lives on",
                };
                let wire = match question {
                    Wire::Cut => "",
                    Wire::Delivers => "; the store gets its operation all the same",
                };
                format!("the future of {} is dropped{fate}{wire}", who(task))
            }
        }
    }

    /// What the last step led to: what was noted, and what was asked since there were so many operations.
    pub(super) fn news(&self, asked: usize) -> Vec<String> {
        let mut news = self.book.borrow_mut().take_notes();
        let desk = self.store.desk();
        let asks = desk.asks().iter().enumerate().skip(asked);
        news.extend(asks.map(|(id, ask)| format!("#{id} is asked: {}", ask.question)));
        news
    }

    pub(super) fn asked(&self) -> usize {
        self.store.desk().asks().len()
    }

    pub(super) fn read_along(&self) {
        self.book.borrow_mut().read_along();
    }
}
