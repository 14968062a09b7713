//! The one thread that writes: what waits is committed together, and answered after the commit.

use super::{Durability, Place, rows, schema};
use crate::{
    record::Timestamp,
    store::{
        StoreError,
        sweeping::{self, Left, Schedule},
    },
};
use rusqlite::{Connection, TransactionBehavior};
use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread,
};
use tokio::sync::oneshot;

/// How many jobs share a transaction at most; bounds how long the first of them waits for the last.
const GROUP: usize = 256;

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
    let mut schedule = Schedule::default();
    loop {
        // Without a job, time does not move, so only an unfinished sweep is a reason to wake up.
        let patience = if schedule.left() == Left::More { sweeping::PAUSE } else { sweeping::EVERY };
        match queue.recv_timeout(patience) {
            Ok(first) => {
                let group = std::iter::once(first).chain(queue.try_iter()).take(GROUP).collect();
                settle(&mut lock(connection), group);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let now = clock.load(Ordering::Relaxed);
        if now != UNKNOWN && schedule.is_due(Timestamp::from_millis(now)) {
            let now = Timestamp::from_millis(now);
            let removed = sweep(&mut lock(connection), now.minus(sweeping::SLACK));
            schedule.ran(now, removed, place);
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

/// Removes a batch of long expired records, in a transaction of its own between those of the jobs.
fn sweep(db: &mut Connection, past: Timestamp) -> rusqlite::Result<usize> {
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let removed = rows::sweep(&transaction, past, sweeping::AT_ONCE)?;
    transaction.commit()?;
    Ok(removed)
}
