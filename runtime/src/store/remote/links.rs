//! A few connections that many requests share, each opened when it is needed and replaced when it is lost.

use super::{Breaker, CONNECT_LIMIT, Effect};
use crate::store::StoreError;
use async_trait::async_trait;
use std::{
    error::Error,
    fmt::Display,
    future::poll_fn,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
    time::Duration,
};
use tokio::{
    sync::{OwnedMutexGuard, oneshot},
    task::JoinSet,
    time::{Instant, timeout, timeout_at},
};

/// A kind of server.
#[async_trait]
pub(in crate::store) trait Engine: Send + Sync + 'static {
    /// A connection; its clones are one connection, which carries many requests at once.
    type Connection: Clone + Send + Sync + 'static;
    /// What its operations fail with.
    type Error: Error + Send + Sync + 'static;

    /// Opens a connection, ready for work. No error and no event may hold a credential.
    async fn connect(&self) -> Result<Self::Connection, StoreError>;

    /// Whether a connection is known to be dead before anything is sent.
    fn is_closed(connection: &Self::Connection) -> bool;

    /// Asks the server for nothing, so that its answer shows that the connection still leads there.
    async fn probe(connection: &Self::Connection) -> Result<(), Self::Error>;

    fn verdict(error: &Self::Error) -> Verdict;
}

/// What an error says of the operation and of its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Verdict {
    /// The server said no: nothing has happened, and the connection is good.
    Refused,
    /// The server said no, and will go on saying it here, as a replica or on its way down: nothing has happened, and another
    /// connection may find a better one.
    Unfit,
    /// The answer was lost with the connection.
    Broken,
    /// The answer was lost with a part of the connection, which replaces that part itself.
    #[cfg_attr(not(feature = "redis-cluster"), allow(dead_code, reason = "only the connection to a cluster has parts"))]
    Lost,
}

/// After how much silence a connection is probed before it carries a request. A balancer or a firewall may have forgotten it without
/// a word, and the request would wait for its whole limit.
const IDLE: Duration = Duration::from_secs(10);

/// Which part of a request's limit a probe may take. The rest is for a new connection.
const PROBE_PART: u32 = 4;

/// A few connections to one server. Everything ends with it: connections, and attempts to open one.
pub(in crate::store) struct Links<E: Engine> {
    shared: Arc<Shared<E>>,
    next: AtomicUsize,
    limit: Duration,
    /// Attempts under way, which go on if the request that began them does not, and end with this.
    attempts: Mutex<JoinSet<()>>,
}

struct Shared<E: Engine> {
    engine: E,
    breaker: Breaker,
    slots: Box<[Slot<E::Connection>]>,
}

struct Slot<C> {
    open: Mutex<Option<Lease<C>>>,
    /// Held by the one attempt to open this slot.
    opening: Arc<tokio::sync::Mutex<()>>,
}

/// A connection, and when its server was last heard there. The address of that instant tells the connection from the one that took
/// its place.
struct Lease<C> {
    connection: C,
    heard: Arc<Mutex<Instant>>,
}

/// The connection that an operation goes over, and where it stands.
struct Held<C> {
    slot: usize,
    lease: Lease<C>,
}

/// How an attempt failed.
enum Failure {
    /// Nothing has happened.
    NotDone(StoreError),
    /// The answer is lost.
    Lost(Box<dyn Error + Send + Sync>),
}

impl Failure {
    fn of(self, effect: Effect) -> StoreError {
        match self {
            Self::NotDone(error) => error,
            Self::Lost(cause) => effect.lost(cause),
        }
    }
}

/// The first success of two attempts; if there is none, the later failure.
async fn either<T, E>(one: impl Future<Output = Result<T, E>>, other: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    let (mut one, mut other) = (pin!(one), pin!(other));
    let (mut one_failed, mut other_failed) = (false, false);
    poll_fn(|context| {
        if !one_failed && let Poll::Ready(answer) = one.as_mut().poll(context) {
            if answer.is_ok() || other_failed {
                return Poll::Ready(answer);
            }
            one_failed = true;
        }
        if !other_failed && let Poll::Ready(answer) = other.as_mut().poll(context) {
            if answer.is_ok() || one_failed {
                return Poll::Ready(answer);
            }
            other_failed = true;
        }
        Poll::Pending
    })
    .await
}

impl<C: Clone> Lease<C> {
    fn new(connection: C) -> Self {
        Self { connection, heard: Arc::new(Mutex::new(Instant::now())) }
    }

    fn heard(&self) -> MutexGuard<'_, Instant> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_idle(&self) -> bool {
        self.heard().elapsed() > IDLE
    }
}

impl<C: Clone> Clone for Lease<C> {
    fn clone(&self) -> Self {
        Self { connection: self.connection.clone(), heard: Arc::clone(&self.heard) }
    }
}

impl<E: Engine> Links<E> {
    /// Opens the first connection, so that whoever configured it wrongly is told; the others follow when they are needed.
    pub(in crate::store) async fn open(engine: E, count: usize, limit: Duration) -> Result<Self, StoreError> {
        let slots = (0..count.max(1)).map(|_| Slot { open: Mutex::default(), opening: Arc::default() }).collect();
        let shared = Shared { engine, breaker: Breaker::default(), slots };
        shared.open(0).await?;
        Ok(Self { shared: Arc::new(shared), next: AtomicUsize::new(0), limit, attempts: Mutex::default() })
    }

    /// Runs an operation within the limit.
    ///
    /// A connection that has been idle for long has to answer a probe first, or a new one takes its place. An operation that only reads
    /// is made once more, over another connection, if its answer is lost, or if its connection says nothing for half of the limit.
    pub(in crate::store) async fn run<T, F, Fut>(&self, effect: Effect, operation: F) -> Result<T, StoreError>
    where
        F: Fn(E::Connection) -> Fut + Send + Sync,
        Fut: Future<Output = Result<T, E::Error>> + Send,
    {
        let deadline = Instant::now() + self.limit;
        let held = self.hold(deadline).await?;
        let asked = Instant::now();
        let mut answer = pin!(operation(held.lease.connection.clone()));
        if effect == Effect::Read {
            match timeout_at(deadline.min(asked + self.limit / 2), answer.as_mut()).await {
                Ok(answer) => {
                    return match self.settle(&held, answer) {
                        Err(Failure::Lost(_)) => self.once_more(deadline, &operation).await,
                        answer => answer,
                    }
                    .map_err(|failure| failure.of(effect));
                }
                Err(_) if *held.lease.heard() < asked => {
                    // Either the server is slow, and this is still answered, or the connection leads nowhere.
                    self.give_up(&held);
                    let both = either(self.finish(&held, deadline, answer), self.once_more(deadline, &operation));
                    return both.await.map_err(|failure| failure.of(effect));
                }
                // Others get their answers there.
                Err(_) => {}
            }
        }
        self.finish(&held, deadline, answer).await.map_err(|failure| failure.of(effect))
    }

    /// Makes an operation a second time.
    async fn once_more<T, F, Fut>(&self, deadline: Instant, operation: &F) -> Result<T, Failure>
    where
        F: Fn(E::Connection) -> Fut + Send + Sync,
        Fut: Future<Output = Result<T, E::Error>> + Send,
    {
        let held = self.hold(deadline).await.map_err(Failure::NotDone)?;
        self.finish(&held, deadline, operation(held.lease.connection.clone())).await
    }

    /// Waits for an answer until the deadline.
    async fn finish<T>(
        &self,
        held: &Held<E::Connection>,
        deadline: Instant,
        answer: impl Future<Output = Result<T, E::Error>>,
    ) -> Result<T, Failure> {
        match timeout_at(deadline, answer).await {
            Ok(answer) => self.settle(held, answer),
            Err(_) => {
                // Others may still get their answers there, but nothing new should wait for it.
                self.give_up(held);
                Err(Failure::Lost(format!("no answer within {:?}", self.limit).into()))
            }
        }
    }

    /// Notes what an answer says of its connection.
    fn settle<T>(&self, held: &Held<E::Connection>, answer: Result<T, E::Error>) -> Result<T, Failure> {
        let error = match answer {
            Ok(answer) => {
                *held.lease.heard() = Instant::now();
                return Ok(answer);
            }
            Err(error) => error,
        };
        let verdict = E::verdict(&error);
        if matches!(verdict, Verdict::Unfit | Verdict::Broken) {
            self.give_up(held);
        }
        Err(match verdict {
            Verdict::Refused | Verdict::Unfit => Failure::NotDone(StoreError::unavailable(error)),
            Verdict::Broken | Verdict::Lost => Failure::Lost(error.into()),
        })
    }

    /// A connection for one operation.
    async fn hold(&self, deadline: Instant) -> Result<Held<E::Connection>, StoreError> {
        loop {
            let slot = self.next.fetch_add(1, Ordering::Relaxed) % self.shared.slots.len();
            let (slot, lease) = timeout_at(deadline, self.lease(slot))
                .await
                .unwrap_or_else(|_| Err(StoreError::unavailable(format!("no connection within {:?}", self.limit))))?;
            if !lease.is_idle() || self.answers(&lease, deadline).await {
                return Ok(Held { slot, lease });
            }
            // What this one has met, the others that were idle as long have met too.
            self.shared.slots.iter().for_each(Slot::give_up_idle);
        }
    }

    /// Nothing new goes over that connection.
    fn give_up(&self, held: &Held<E::Connection>) {
        self.shared.slots[held.slot].give_up(&held.lease);
    }

    /// Whether the server is still at the other end of a connection.
    async fn answers(&self, lease: &Lease<E::Connection>, deadline: Instant) -> bool {
        let patience = deadline.min(Instant::now() + self.limit / PROBE_PART);
        let answer = timeout_at(patience, E::probe(&lease.connection)).await;
        let answers = match answer {
            Ok(Ok(())) => true,
            Ok(Err(error)) => E::verdict(&error) == Verdict::Refused,
            Err(_) => false,
        };
        if answers {
            *lease.heard() = Instant::now();
        }
        answers
    }

    /// The connection of a slot; while it is not open, another's, since opening one takes longer than most requests.
    async fn lease(&self, slot: usize) -> Result<(usize, Lease<E::Connection>), StoreError> {
        let slots = &self.shared.slots;
        if let Some(lease) = slots[slot].current::<E>() {
            return Ok((slot, lease));
        }
        let mut others = (1..slots.len()).map(|step| (slot + step) % slots.len());
        if let Some(other) = others.find_map(|other| Some((other, slots[other].current::<E>()?))) {
            if let Ok(opening) = Arc::clone(&slots[slot].opening).try_lock_owned()
                && self.shared.breaker.pass().is_ok()
            {
                // Whoever comes next finds it.
                drop(self.attempt(slot, opening));
            }
            return Ok(other);
        }
        let pass = self.shared.breaker.pass()?;
        let opening = Arc::clone(&slots[slot].opening).lock_owned().await;
        if let Some(lease) = slots[slot].current::<E>() {
            return Ok((slot, lease));
        }
        self.shared.breaker.still(pass)?;
        let lease = self.attempt(slot, opening).await;
        lease.unwrap_or_else(|_| Err(StoreError::unavailable("opening a connection was given up"))).map(|lease| (slot, lease))
    }

    /// Opens a slot, whether or not anybody waits for it: then the next request finds what came of it.
    fn attempt(
        &self,
        slot: usize,
        opening: OwnedMutexGuard<()>,
    ) -> oneshot::Receiver<Result<Lease<E::Connection>, StoreError>> {
        let shared = Arc::clone(&self.shared);
        let (opened, answer) = oneshot::channel();
        self.attempts().spawn(async move {
            drop(opened.send(shared.open(slot).await));
            drop(opening);
        });
        answer
    }

    fn attempts(&self) -> MutexGuard<'_, JoinSet<()>> {
        let mut attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        while attempts.try_join_next().is_some() {}
        attempts
    }
}

impl<E: Engine> Shared<E> {
    async fn open(&self, slot: usize) -> Result<Lease<E::Connection>, StoreError> {
        let opened = timeout(CONNECT_LIMIT, self.engine.connect())
            .await
            .unwrap_or_else(|_| Err(StoreError::unavailable(format!("no connection within {CONNECT_LIMIT:?}"))));
        match opened {
            Ok(connection) => {
                self.breaker.worked();
                let lease = Lease::new(connection);
                *self.slots[slot].state() = Some(lease.clone());
                Ok(lease)
            }
            Err(error) => {
                self.breaker.failed(&cause(&error));
                Err(error)
            }
        }
    }
}

/// What a store error says beyond being one.
fn cause(error: &StoreError) -> &dyn Display {
    match error {
        StoreError::Unavailable(cause) | StoreError::OutcomeUnknown(cause) => cause,
    }
}

impl<C: Clone> Slot<C> {
    fn state(&self) -> MutexGuard<'_, Option<Lease<C>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn current<E: Engine<Connection = C>>(&self) -> Option<Lease<C>> {
        self.state().take_if(|lease| E::is_closed(&lease.connection));
        self.state().clone()
    }

    fn give_up(&self, lease: &Lease<C>) {
        // Unless somebody has replaced it already.
        self.state().take_if(|open| Arc::ptr_eq(&open.heard, &lease.heard));
    }

    fn give_up_idle(&self) {
        self.state().take_if(|open| open.is_idle());
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::{collections::VecDeque, fmt};

    /// An engine whose connections are numbers, with a script of how opening them goes.
    #[derive(Default)]
    struct Fake {
        script: Mutex<VecDeque<Opening>>,
        opened: AtomicUsize,
        dropped: Arc<()>,
    }

    enum Opening {
        Refused,
        Never,
    }

    #[derive(Debug)]
    struct Failure(Verdict);

    impl fmt::Display for Failure {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "{:?}", self.0)
        }
    }

    impl Error for Failure {}

    #[async_trait]
    impl Engine for Fake {
        type Connection = usize;
        type Error = Failure;

        async fn connect(&self) -> Result<usize, StoreError> {
            let next = self.script.lock().unwrap().pop_front();
            let _held = Arc::clone(&self.dropped);
            match next {
                Some(Opening::Refused) => Err(StoreError::unavailable("connection refused")),
                Some(Opening::Never) => std::future::pending().await,
                None => Ok(self.opened.fetch_add(1, Ordering::Relaxed)),
            }
        }

        fn is_closed(_: &usize) -> bool {
            false
        }

        /// Connection 0 leads nowhere.
        async fn probe(connection: &usize) -> Result<(), Failure> {
            if *connection == 0 { std::future::pending().await } else { Ok(()) }
        }

        fn verdict(error: &Failure) -> Verdict {
            error.0
        }
    }

    const LIMIT: Duration = Duration::from_millis(40);

    async fn links(count: usize) -> Links<Fake> {
        Links::open(Fake::default(), count, LIMIT).await.unwrap()
    }

    fn then(links: &Links<Fake>, script: impl IntoIterator<Item = Opening>) {
        links.shared.engine.script.lock().unwrap().extend(script);
    }

    /// The connection of one read that works.
    async fn read(links: &Links<Fake>) -> Result<usize, StoreError> {
        links.run(Effect::Read, async |connection| Ok(connection)).await
    }

    /// One operation that fails this way on connection 0 and works on any other, and how often it was tried.
    async fn fail_on_first(links: &Links<Fake>, effect: Effect, verdict: Verdict) -> (Result<usize, StoreError>, usize) {
        let tried = AtomicUsize::new(0);
        let operation = |connection| {
            tried.fetch_add(1, Ordering::Relaxed);
            async move { if connection == 0 { Err(Failure(verdict)) } else { Ok(connection) } }
        };
        let outcome = links.run(effect, operation).await;
        (outcome, tried.into_inner())
    }

    #[tokio::test]
    async fn requests_share_the_connections_in_turn_and_wait_for_none_while_another_is_open() {
        let links = links(2).await;
        let mut used = Vec::new();
        for _ in 0..2 {
            used.push(read(&links).await.unwrap());
        }
        assert_eq!(used, [0, 0], "the second is being opened meanwhile");
        while links.shared.slots[1].current::<Fake>().is_none() {
            tokio::task::yield_now().await;
        }
        for _ in 0..4 {
            used.push(read(&links).await.unwrap());
        }
        assert_eq!(used[2..], [0, 1, 0, 1]);
    }

    #[tokio::test]
    async fn a_connection_that_cannot_be_opened_is_nobodys_trouble_while_another_is_open() {
        let links = links(2).await;
        then(&links, [Opening::Refused, Opening::Never]);
        for _ in 0..20 {
            assert_eq!(read(&links).await.unwrap(), 0);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Makes every open connection one that has been idle for long.
    fn leave_idle(links: &Links<Fake>) {
        for lease in links.shared.slots.iter().filter_map(Slot::current::<Fake>) {
            *lease.heard() = Instant::now().checked_sub(IDLE * 2).unwrap();
        }
    }

    #[tokio::test]
    async fn an_idle_connection_that_leads_nowhere_is_replaced_within_the_limit() {
        let links = Links::open(Fake::default(), 1, Duration::from_secs(4)).await.unwrap();
        leave_idle(&links);
        let (outcome, tried) = fail_on_first(&links, Effect::Write, Verdict::Broken).await;
        assert_eq!((outcome.unwrap(), tried), (1, 1), "nothing was sent where nothing listens");
        leave_idle(&links);
        assert_eq!(read(&links).await.unwrap(), 1, "this one answers");
    }

    #[tokio::test]
    async fn one_silent_idle_connection_is_enough_to_distrust_the_others() {
        let links = Links::open(Fake::default(), 3, Duration::from_secs(4)).await.unwrap();
        while links.shared.slots.iter().any(|slot| slot.current::<Fake>().is_none()) {
            read(&links).await.unwrap();
            tokio::task::yield_now().await;
        }
        while links.next.load(Ordering::Relaxed) % 3 != 0 {
            read(&links).await.unwrap();
        }
        leave_idle(&links);
        assert_eq!(read(&links).await.unwrap(), 3, "all three were given up");
    }

    #[tokio::test]
    async fn a_read_over_a_dead_connection_is_made_again_over_a_new_one() {
        let links = links(1).await;
        let (outcome, tried) = fail_on_first(&links, Effect::Read, Verdict::Broken).await;
        assert_eq!((outcome.unwrap(), tried), (1, 2));
    }

    #[tokio::test]
    async fn a_write_whose_answer_is_lost_is_unknown_and_not_made_again() {
        let links = links(1).await;
        let (outcome, tried) = fail_on_first(&links, Effect::Write, Verdict::Broken).await;
        assert!(matches!(outcome, Err(StoreError::OutcomeUnknown(_))));
        assert_eq!((tried, read(&links).await.unwrap()), (1, 1), "the next request has a new connection");
    }

    #[tokio::test]
    async fn what_the_server_refused_did_not_happen() {
        let links = links(1).await;
        let (outcome, _) = fail_on_first(&links, Effect::Write, Verdict::Refused).await;
        assert!(matches!(outcome, Err(StoreError::Unavailable(_))));
        assert_eq!(read(&links).await.unwrap(), 0, "the connection is good");
        let (outcome, _) = fail_on_first(&links, Effect::Write, Verdict::Unfit).await;
        assert!(matches!(outcome, Err(StoreError::Unavailable(_))));
        assert_eq!(read(&links).await.unwrap(), 1, "and now it is not");
    }

    #[tokio::test]
    async fn no_answer_within_the_limit_is_an_outage_for_a_read_and_unknown_for_a_write() {
        let links = links(1).await;
        let never = async |_| std::future::pending::<Result<(), Failure>>().await;
        assert!(matches!(links.run(Effect::Read, never).await, Err(StoreError::Unavailable(_))));
        assert!(matches!(links.run(Effect::Write, never).await, Err(StoreError::OutcomeUnknown(_))));
        assert!(read(&links).await.unwrap() >= 2, "nothing waits behind them");
    }

    #[tokio::test]
    async fn a_read_on_a_silent_connection_is_made_over_a_new_one_too() {
        let links = Links::open(Fake::default(), 1, Duration::from_secs(2)).await.unwrap();
        let began = Instant::now();
        let silent_at_first = async |connection| if connection == 0 { std::future::pending().await } else { Ok(connection) };
        assert_eq!(links.run(Effect::Read, silent_at_first).await.unwrap(), 1);
        assert!(began.elapsed() >= Duration::from_secs(1), "half of the limit was for the first");
    }

    #[tokio::test]
    async fn a_slow_answer_counts_though_a_new_connection_was_tried() {
        let links = Links::open(Fake::default(), 1, Duration::from_secs(2)).await.unwrap();
        let slow = async |connection| {
            if connection > 0 {
                return Err(Failure(Verdict::Broken));
            }
            tokio::time::sleep(Duration::from_millis(1_200)).await;
            Ok(connection)
        };
        assert_eq!(links.run(Effect::Read, slow).await.unwrap(), 0);
        assert_eq!(read(&links).await.unwrap(), 2, "a second connection was opened, and broke");
    }

    #[tokio::test]
    async fn a_connection_that_answers_others_is_not_silent() {
        let links = Links::open(Fake::default(), 1, Duration::from_secs(2)).await.unwrap();
        let slow = links.run(Effect::Read, async |connection| {
            tokio::time::sleep(Duration::from_millis(1_200)).await;
            Ok(connection)
        });
        let others = async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            read(&links).await.unwrap()
        };
        let (slow, _) = tokio::join!(slow, others);
        assert_eq!((slow.unwrap(), read(&links).await.unwrap()), (0, 0), "no second connection");
    }

    #[tokio::test]
    async fn a_write_on_a_silent_connection_is_not_made_again() {
        let links = links(1).await;
        let tried = AtomicUsize::new(0);
        let silent = |_| {
            tried.fetch_add(1, Ordering::Relaxed);
            std::future::pending::<Result<(), Failure>>()
        };
        assert!(matches!(links.run(Effect::Write, silent).await, Err(StoreError::OutcomeUnknown(_))));
        assert_eq!(tried.into_inner(), 1);
    }

    #[tokio::test]
    async fn a_part_of_a_connection_that_breaks_leaves_the_rest() {
        let links = links(1).await;
        let (outcome, tried) = fail_on_first(&links, Effect::Read, Verdict::Lost).await;
        assert!(outcome.is_err());
        assert_eq!((tried, read(&links).await.unwrap()), (2, 0), "tried again on what is there");
        let (outcome, tried) = fail_on_first(&links, Effect::Write, Verdict::Lost).await;
        assert!(matches!(outcome, Err(StoreError::OutcomeUnknown(_))));
        assert_eq!((tried, read(&links).await.unwrap()), (1, 0));
    }

    #[tokio::test]
    async fn while_the_server_is_away_requests_fail_at_once_and_say_why() {
        let links = links(1).await;
        then(&links, [Opening::Refused]);
        let (outcome, tried) = fail_on_first(&links, Effect::Read, Verdict::Broken).await;
        assert!(outcome.unwrap_err().to_string().ends_with("connection refused"));
        assert_eq!(tried, 1);
        let asked = Instant::now();
        assert!(read(&links).await.unwrap_err().to_string().ends_with("connection refused"));
        assert!(asked.elapsed() < LIMIT / 2);
    }

    #[tokio::test]
    async fn connections_come_back_when_the_server_does() {
        let links = links(1).await;
        then(&links, [Opening::Refused, Opening::Refused]);
        drop(fail_on_first(&links, Effect::Write, Verdict::Broken).await);
        let began = Instant::now();
        while read(&links).await.is_err() {
            assert!(began.elapsed() < Duration::from_secs(5));
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    #[tokio::test]
    async fn a_connection_that_takes_longer_than_a_request_may_is_there_for_the_next() {
        let links = links(1).await;
        drop(fail_on_first(&links, Effect::Write, Verdict::Broken).await);
        let gate = links.shared.slots[0].opening.clone().lock_owned().await;
        assert!(read(&links).await.is_err(), "somebody is opening it");
        drop(gate);
        assert_eq!(read(&links).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn attempts_to_connect_end_with_the_last_handle() {
        let links = links(1).await;
        drop(fail_on_first(&links, Effect::Write, Verdict::Broken).await);
        then(&links, [Opening::Never]);
        assert!(read(&links).await.is_err());
        let dropped = Arc::clone(&links.shared.engine.dropped);
        drop(links);
        while Arc::strong_count(&dropped) > 1 {
            tokio::task::yield_now().await;
        }
    }
}
