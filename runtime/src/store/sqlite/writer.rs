//! The one thread that writes: what waits is committed together, and answered after the commit.

use super::{Durability, Place, SWEPT_AT_ONCE, rows, schema};
use crate::{record::Timestamp, store::StoreError};
use rusqlite::{Connection, TransactionBehavior};
use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::Duration,
};
use tokio::sync::oneshot;

/// How many jobs share a transaction at most; bounds how long the first of them waits for the last.
const GROUP: usize = 256;

/// How far past its deadline the store's own sweep leaves a record alone: room for clocks that differ.
const SLACK: Duration = Duration::from_secs(3600);

/// How often the store sweeps on its own, and how long it waits after a failure; doubled with each further one.
const SWEEP_EVERY: Duration = Duration::from_secs(60);
const MOST_DOUBLINGS: u32 = 6;

/// How long the writer waits for work before it sweeps on, when the last batch left something over.
const SOON: Duration = Duration::from_millis(20);

/// The async side of the thread. The thread ends when this is dropped and the queue is empty; nobody waits for it.
pub(super) struct Writer {
    jobs: mpsc::Sender<Box<dyn Job>>,
    now: Arc<AtomicI64>,
}

/// Before any time was seen.
const UNKNOWN: i64 = i64::MIN;

impl Writer {
    /// Opens the database on its thread, and answers when that has worked.
    pub(super) async fn start(place: Place, durability: Durability) -> Result<(Self, Arc<Mutex<Connection>>), StoreError> {
        let (jobs, queue) = mpsc::channel();
        let now = Arc::new(AtomicI64::new(UNKNOWN));
        let (ready, opened) = oneshot::channel();
        let clock = Arc::clone(&now);
        let thread = move || {
            let connection = match schema::writer(&place, durability) {
                Ok(db) => Arc::new(Mutex::new(db)),
                Err(error) => return drop(ready.send(Err(error))),
            };
            // Kept here by this thread alone unless the database is in memory, where reads need it too.
            if ready.send(Ok(Arc::clone(&connection))).is_ok() {
                work(&connection, &queue, &clock, &place);
            }
        };
        thread::Builder::new()
            .name("cloakroom-sqlite".to_owned())
            .spawn(thread)
            .map_err(|error| StoreError::unavailable(format!("no thread for writing sessions: {error}")))?;
        let connection = opened.await.map_err(|_| StoreError::unavailable("the thread for writing sessions has stopped"))??;
        Ok((Self { jobs, now }, connection))
    }

    /// Remembers what time it is. The latest word counts, not the latest time: a clock that once ran ahead must not go on ending
    /// sessions after it was set right.
    pub(super) fn note(&self, now: Timestamp) {
        self.now.store(now.as_millis(), Ordering::Relaxed);
    }

    /// Runs `work` in a write transaction, whole or not at all, even if nobody waits for the answer any more. It may run twice,
    /// if what came of the first time was rolled back.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        work: impl Fn(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (job, answer) = job(work);
        self.jobs.send(job).map_err(|_| StoreError::unavailable("the thread for writing sessions has stopped"))?;
        answer.await.map_err(|_| StoreError::outcome_unknown("the thread for writing sessions has stopped"))?
    }
}

/// A job, and where its answer will arrive.
pub(super) fn job<T: Send + 'static>(
    work: impl Fn(&Connection) -> rusqlite::Result<T> + Send + 'static,
) -> (Box<dyn Job>, oneshot::Receiver<Result<T, StoreError>>) {
    let (reply, answer) = oneshot::channel();
    (Box::new(Task { work, done: None, reply }), answer)
}

/// A [`Task`], whatever it answers.
pub(super) trait Job: Send {
    fn run(&mut self, db: &Connection) -> rusqlite::Result<()>;
    fn answer(self: Box<Self>, outcome: Result<(), &str>);
}

struct Task<T, W> {
    work: W,
    done: Option<T>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T: Send, W: Fn(&Connection) -> rusqlite::Result<T> + Send> Job for Task<T, W> {
    fn run(&mut self, db: &Connection) -> rusqlite::Result<()> {
        self.done = Some((self.work)(db)?);
        Ok(())
    }

    fn answer(self: Box<Self>, outcome: Result<(), &str>) {
        let answer = match outcome {
            Ok(()) => self.done.ok_or_else(|| StoreError::unavailable("the write did not run")),
            Err(why) => Err(StoreError::unavailable(why)),
        };
        // Nobody listens if the request is gone.
        drop(self.reply.send(answer));
    }
}

fn work(connection: &Mutex<Connection>, queue: &mpsc::Receiver<Box<dyn Job>>, clock: &AtomicI64, place: &Place) {
    let mut sweeper = Sweeper::default();
    loop {
        match queue.recv_timeout(sweeper.patience()) {
            Ok(first) => {
                let group = std::iter::once(first).chain(queue.try_iter()).take(GROUP).collect();
                settle(&mut lock(connection), group);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let now = clock.load(Ordering::Relaxed);
        if now != UNKNOWN {
            sweeper.turn(&mut lock(connection), Timestamp::from_millis(now), place);
        }
    }
}

fn lock(connection: &Mutex<Connection>) -> MutexGuard<'_, Connection> {
    // A transaction that was open when somebody panicked has been rolled back.
    connection.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs a group and answers its jobs. If one of them fails, all is rolled back and each runs again alone, so that one's failure
/// is nobody else's.
pub(super) fn settle(db: &mut Connection, mut group: Vec<Box<dyn Job>>) {
    match attempt(db, &mut group) {
        Ok(()) => group.into_iter().for_each(|job| job.answer(Ok(()))),
        Err(Failure::OfOne(_)) if group.len() > 1 => group.into_iter().for_each(|job| settle(db, vec![job])),
        Err(Failure::OfOne(error) | Failure::OfAll(error)) => {
            let why = error.to_string();
            group.into_iter().for_each(|job| job.answer(Err(&why)));
        }
    }
}

enum Failure {
    OfOne(rusqlite::Error),
    OfAll(rusqlite::Error),
}

fn attempt(db: &mut Connection, group: &mut [Box<dyn Job>]) -> Result<(), Failure> {
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate).map_err(Failure::OfAll)?;
    for job in group {
        job.run(&transaction).map_err(Failure::OfOne)?;
    }
    transaction.commit().map_err(Failure::OfAll)
}

/// Removes long expired records beside the jobs. A failure is an event and a longer wait, never the end.
#[derive(Default)]
struct Sweeper {
    /// When it last ran, by the application's clock.
    last: Option<Timestamp>,
    failures: u32,
    /// Whether the last batch was full.
    more: bool,
}

impl Sweeper {
    /// How long to wait for a job before looking.
    fn patience(&self) -> Duration {
        if self.more { SOON } else { SWEEP_EVERY }
    }

    fn turn(&mut self, db: &mut Connection, now: Timestamp, place: &Place) {
        if !self.more && !self.last.is_none_or(|last| self.is_due(last, now)) {
            return;
        }
        self.last = Some(now);
        match sweep(db, now.minus(SLACK)) {
            Ok(removed) => {
                self.failures = 0;
                self.more = removed == SWEPT_AT_ONCE;
            }
            Err(error) => {
                // The growing wait between two attempts is what keeps these events few.
                tracing::warn!(target: "cloakroom", %error, "expired records of {place} could not be removed; trying again later");
                self.failures = (self.failures + 1).min(MOST_DOUBLINGS);
                self.more = false;
            }
        }
    }

    fn is_due(&self, last: Timestamp, now: Timestamp) -> bool {
        // A clock that was set back counts as a passed wait, or sweeping would pause until it has caught up.
        now < last || last.until(now) >= SWEEP_EVERY * 2u32.pow(self.failures)
    }
}

fn sweep(db: &mut Connection, past: Timestamp) -> rusqlite::Result<usize> {
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let removed = rows::sweep(&transaction, past, SWEPT_AT_ONCE)?;
    transaction.commit()?;
    Ok(removed)
}
