//! The one thread that writes: what waits is committed together, and answered after the commit.

use super::{Settings, rows, schema};
use crate::{
    record::Timestamp,
    store::{
        StoreError,
        sweeping::{self, Left, Schedule},
    },
};
use rusqlite::{Connection, ErrorCode, TransactionBehavior};
use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicI64, Ordering},
        mpsc::{self, RecvTimeoutError, TrySendError},
    },
    thread,
    time::{Duration, Instant},
};
use tokio::{
    runtime,
    sync::oneshot,
    time::{Timeout, timeout},
};

/// How many jobs share a transaction at most; bounds how long the first of them waits for the last.
pub(super) const GROUP: usize = 256;

/// How many jobs wait at most. More than the thread writes within a usual limit gain nothing by waiting.
pub(super) const QUEUE: usize = 16 * GROUP;

/// The async side of the thread. The thread ends when this is dropped and the queue is empty; nothing waits for it.
pub(super) struct Writer {
    jobs: mpsc::SyncSender<Job>,
    now: Arc<AtomicI64>,
    limit: Duration,
    timer: Timer,
}

/// Measures the limits of requests on a thread of its own, since the application's runtime may have no timers, or be none of tokio's.
struct Timer {
    runtime: runtime::Handle,
    /// Dropped with the writer, which ends the thread.
    _running: oneshot::Sender<()>,
}

impl Timer {
    fn start() -> std::io::Result<Self> {
        let timers = runtime::Builder::new_current_thread().enable_time().build()?;
        let (running, ended) = oneshot::channel();
        let runtime = timers.handle().clone();
        thread::Builder::new().name("cloakroom-sqlite-timer".to_owned()).spawn(move || drop(timers.block_on(ended)))?;
        Ok(Self { runtime, _running: running })
    }

    fn limit<F: Future>(&self, limit: Duration, future: F) -> Timeout<F> {
        let _entered = self.runtime.enter();
        timeout(limit, future)
    }
}

/// Before any time was seen.
const UNKNOWN: i64 = i64::MIN;

impl Writer {
    /// Opens the database on its thread, and answers when that has worked.
    pub(super) async fn start(settings: Settings) -> Result<(Self, Arc<Mutex<Connection>>), StoreError> {
        let (jobs, queue) = mpsc::sync_channel(QUEUE);
        let now = Arc::new(AtomicI64::new(UNKNOWN));
        let (ready, opened) = oneshot::channel();
        let (clock, limit) = (Arc::clone(&now), settings.limit);
        let thread = move || {
            let connection = match schema::writer(&settings.place, settings.durability) {
                Ok(db) => Arc::new(Mutex::new(db)),
                Err(error) => return drop(ready.send(Err(error))),
            };
            // Kept here by this thread alone unless the database is in memory, where reads need it too.
            if ready.send(Ok(Arc::clone(&connection))).is_ok() {
                work(&connection, &queue, &clock, &settings);
            }
        };
        thread::Builder::new()
            .name("cloakroom-sqlite".to_owned())
            .spawn(thread)
            .map_err(|error| StoreError::unavailable(format!("no thread for writing sessions: {error}")))?;
        let connection = opened.await.map_err(|_| StoreError::unavailable(STOPPED))??;
        let timer = Timer::start()
            .map_err(|error| StoreError::unavailable(format!("no thread for the limits of the session store: {error}")))?;
        Ok((Self { jobs, now, limit, timer }, connection))
    }

    /// Remembers what time it is. The latest word counts, not the latest time: a clock that once ran ahead must not go on ending
    /// sessions after it was set right.
    pub(super) fn note(&self, now: Timestamp) {
        self.now.store(now.as_millis(), Ordering::Relaxed);
    }

    /// Runs `work` in a write transaction, whole or not at all. If the caller stops listening it may run all the same. It may run
    /// twice, if what came of the first time was rolled back.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if it did not run and will not: it failed, the queue is full, or it did not begin within the limit.
    /// [`StoreError::OutcomeUnknown`] if it had begun by then.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        work: impl Fn(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (job, answer) = job(work, Instant::now() + self.limit);
        let claim = Arc::clone(&job.claim);
        self.jobs.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => StoreError::unavailable(format!("{QUEUE} writes wait for the session database already")),
            TrySendError::Disconnected(_) => StoreError::unavailable(STOPPED),
        })?;
        if let Ok(Ok(answer)) = self.timer.limit(self.limit, answer).await {
            return answer;
        }
        if claim.take() {
            let limit = self.limit;
            let why =
                format!("a write did not begin within {limit:?}; {LOCKED}, or there is more to write than the disk takes");
            return Err(StoreError::unavailable(why));
        }
        Err(StoreError::outcome_unknown(format!("a write that had begun was not done within {:?}", self.limit)))
    }
}

const STOPPED: &str = "the thread for writing sessions has stopped";
const LOCKED: &str = "another process may hold the write lock of the session database";

/// A write that waits for the thread, and who decides about it.
pub(super) struct Job {
    claim: Arc<Claim>,
    deadline: Instant,
    work: Box<dyn Work>,
}

/// Whether a job is decided: the thread takes it to write it, and its caller takes it at the deadline, after which it is not written.
/// The first of them has it.
#[derive(Default)]
pub(super) struct Claim(AtomicBool);

impl Claim {
    pub(super) fn take(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }

    /// For the thread, after it has rolled back what it had taken.
    fn release(&self) {
        self.0.store(false, Ordering::Release);
    }

    fn is_taken(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl Job {
    /// Whether the caller still waits, or has left without a word.
    fn is_wanted(&self) -> bool {
        !self.claim.is_taken() && Instant::now() < self.deadline
    }

    /// For the caller, who may take it too.
    #[cfg(test)]
    pub(super) fn claim(&self) -> Arc<Claim> {
        Arc::clone(&self.claim)
    }
}

/// A job, and where its answer will arrive.
pub(super) fn job<T: Send + 'static>(
    work: impl Fn(&Connection) -> rusqlite::Result<T> + Send + 'static,
    deadline: Instant,
) -> (Job, oneshot::Receiver<Result<T, StoreError>>) {
    let (reply, answer) = oneshot::channel();
    (Job { claim: Arc::default(), deadline, work: Box::new(Task { work, done: None, reply }) }, answer)
}

/// A [`Task`], whatever it answers.
trait Work: Send {
    fn run(&mut self, db: &Connection) -> rusqlite::Result<()>;
    fn answer(self: Box<Self>, outcome: Result<(), &str>);
}

struct Task<T, W> {
    work: W,
    done: Option<T>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T: Send, W: Fn(&Connection) -> rusqlite::Result<T> + Send> Work for Task<T, W> {
    fn run(&mut self, db: &Connection) -> rusqlite::Result<()> {
        self.done = Some((self.work)(db)?);
        Ok(())
    }

    fn answer(self: Box<Self>, outcome: Result<(), &str>) {
        let answer = match outcome {
            Ok(()) => self.done.ok_or_else(|| StoreError::unavailable("the write did not run")),
            Err(why) => Err(StoreError::unavailable(why)),
        };
        // Nothing listens if the request is gone.
        drop(self.reply.send(answer));
    }
}

fn work(connection: &Mutex<Connection>, queue: &mpsc::Receiver<Job>, clock: &AtomicI64, settings: &Settings) {
    let mut schedule = Schedule::default();
    loop {
        // Without a job, time does not move, so only an unfinished sweep is a reason to wake up.
        let patience = if schedule.left() == Left::More { sweeping::PAUSE } else { sweeping::EVERY };
        let first = match queue.recv_timeout(patience) {
            Ok(job) => Some(job),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        // What listens to events belongs to the application. If it panics, the jobs at hand are given up, and the thread goes on.
        let _ = catch_unwind(AssertUnwindSafe(|| {
            let group: Vec<Job> = first.into_iter().chain(queue.try_iter()).filter(Job::is_wanted).take(GROUP).collect();
            if !group.is_empty() {
                settle(&mut lock(connection), group);
            }
            let now = clock.load(Ordering::Relaxed);
            if now != UNKNOWN && schedule.is_due(Timestamp::from_millis(now)) {
                let now = Timestamp::from_millis(now);
                let removed = sweep(&mut lock(connection), now.minus(sweeping::SLACK), settings.limit / 2);
                schedule.ran(now, removed, &settings.place);
            }
        }));
    }
}

fn lock(connection: &Mutex<Connection>) -> MutexGuard<'_, Connection> {
    // A transaction that was open at a panic has been rolled back.
    connection.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs a group and answers its jobs. If one of them fails, all is rolled back and each runs again alone, so that the failure of one
/// is no other's.
pub(super) fn settle(db: &mut Connection, mut group: Vec<Job>) {
    match attempt(db, &mut group) {
        Ok(()) => group.into_iter().for_each(|job| job.work.answer(Ok(()))),
        Err(Failure::OfOne(_)) if group.len() > 1 => {
            group.iter().for_each(|job| job.claim.release());
            group.into_iter().for_each(|job| settle(db, vec![job]));
        }
        Err(Failure::OfOne(why) | Failure::OfAll(why)) => group.into_iter().for_each(|job| job.work.answer(Err(&why))),
    }
}

/// Why nothing was written.
enum Failure {
    OfOne(String),
    OfAll(String),
}

fn attempt(db: &mut Connection, group: &mut Vec<Job>) -> Result<(), Failure> {
    let of_all = |error: rusqlite::Error| Failure::OfAll(why(&error));
    // As long as one of them may still be written.
    let last = group.iter().map(|job| job.deadline).max();
    db.busy_timeout(last.map_or(Duration::ZERO, |last| last.saturating_duration_since(Instant::now()))).map_err(of_all)?;
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate).map_err(of_all)?;
    group.retain(|job| job.claim.take());
    for job in group {
        match catch_unwind(AssertUnwindSafe(|| job.work.run(&transaction))) {
            Ok(ran) => ran.map_err(|error| Failure::OfOne(why(&error)))?,
            Err(panic) => {
                return Err(Failure::OfOne(format!("a panic ended the write, which is undone: {}", message(&*panic))));
            }
        }
    }
    transaction.commit().map_err(of_all)
}

fn why(error: &rusqlite::Error) -> String {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy) => format!("{error}; {LOCKED}"),
        _ => error.to_string(),
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a message")
}

/// Removes a batch of long expired records, in a transaction of its own between those of the jobs.
fn sweep(db: &mut Connection, past: Timestamp, patience: Duration) -> rusqlite::Result<usize> {
    db.busy_timeout(patience)?;
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let removed = rows::sweep(&transaction, past, sweeping::AT_ONCE)?;
    transaction.commit()?;
    Ok(removed)
}
