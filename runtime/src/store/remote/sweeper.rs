//! Removes expired records from a database beside the requests, by one task at a time per store.

use crate::{
    record::Timestamp,
    store::{
        StoreError,
        sweeping::{self, Left, Schedule},
    },
};
use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
};
use tokio::{runtime::Handle, task::JoinHandle};

/// Sweeps now and then while the store is used. A failed sweep is an event and a longer wait; a sweep under way ends with this
/// handle.
///
/// A sweep is a task on the runtime of the request that tells it is time. So sweeping goes on when the runtime that the store was
/// opened on has ended, and a sweep that ended with its runtime is made again.
pub(in crate::store) struct Sweeper {
    work: Arc<Work>,
    task: Mutex<Option<JoinHandle<()>>>,
}

struct Work {
    place: String,
    sweep: Box<Sweep>,
    schedule: Mutex<Schedule>,
    /// What time the requests say it is.
    now: AtomicI64,
}

type Sweep = dyn Fn(Timestamp, usize) -> Pin<Box<dyn Future<Output = Result<usize, StoreError>> + Send>> + Send + Sync;

impl Sweeper {
    /// `sweep` removes at most that many records whose deadline lies before that instant.
    pub(in crate::store) fn start<F, Fut>(place: String, sweep: F) -> Self
    where
        F: Fn(Timestamp, usize) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<usize, StoreError>> + Send + 'static,
    {
        let sweep: Box<Sweep> = Box::new(move |past, limit| Box::pin(sweep(past, limit)));
        let work = Work { place, sweep, schedule: Mutex::default(), now: AtomicI64::new(i64::MIN) };
        Self { work: Arc::new(work), task: Mutex::default() }
    }

    /// Remembers what time it is, and begins a sweep if one is due. The latest word counts, not the latest time: a clock that once
    /// ran ahead must not go on ending sessions after it was set right.
    pub(in crate::store) fn note(&self, now: Timestamp) {
        // Looking at the schedule costs more than all else here, and sweeping does not depend on seconds.
        let last = self.work.now.swap(now.as_millis(), Ordering::Relaxed);
        if last / 1_000 == now.as_millis() / 1_000 {
            return;
        }
        let mut task = lock(&self.task);
        if task.as_ref().is_none_or(JoinHandle::is_finished)
            && lock(&self.work.schedule).is_due(now)
            && let Ok(runtime) = Handle::try_current()
        {
            *task = Some(runtime.spawn(run(Arc::clone(&self.work))));
        }
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        if let Some(task) = lock(&self.task).take() {
            task.abort();
        }
    }
}

/// Sweeps until a batch is not full. Where this is cut off, the schedule still says that a sweep is due.
async fn run(work: Arc<Work>) {
    loop {
        let now = Timestamp::from_millis(work.now.load(Ordering::Relaxed));
        let removed = (work.sweep)(now.minus(sweeping::SLACK), sweeping::AT_ONCE).await;
        let left = {
            let mut schedule = lock(&work.schedule);
            schedule.ran(now, removed, &work.place);
            schedule.left()
        };
        match left {
            Left::Nothing => return,
            Left::More => tokio::time::sleep(sweeping::PAUSE).await,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing under these locks can be left half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;
    use std::{sync::Mutex, time::Duration};
    use tokio::sync::mpsc;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    /// A sweeper whose sweeps are reported, and answered from a script; then with nothing to do.
    fn scripted(script: Vec<Result<usize, StoreError>>) -> (Sweeper, mpsc::UnboundedReceiver<Timestamp>) {
        let (report, swept) = mpsc::unbounded_channel();
        let script = Mutex::new(script.into_iter());
        let sweeper = Sweeper::start("a test".to_owned(), move |before, _| {
            report.send(before).unwrap();
            let answer = script.lock().unwrap().next().unwrap_or(Ok(0));
            async move { answer }
        });
        (sweeper, swept)
    }

    #[tokio::test]
    async fn it_sweeps_what_is_an_hour_past_its_deadline_and_not_before_the_first_use() {
        let (sweeper, mut swept) = scripted(vec![]);
        tokio::task::yield_now().await;
        assert!(swept.try_recv().is_err());
        sweeper.note(at(10_000));
        assert_eq!(swept.recv().await, Some(at(10_000 - 3_600)));
    }

    #[tokio::test]
    async fn it_clears_a_backlog_in_batches() {
        let (sweeper, mut swept) = scripted(vec![Ok(sweeping::AT_ONCE), Ok(sweeping::AT_ONCE), Ok(1)]);
        sweeper.note(at(10_000));
        for _ in 0..3 {
            assert!(swept.recv().await.is_some());
        }
        tokio::time::sleep(sweeping::PAUSE * 2).await;
        assert!(swept.try_recv().is_err());
    }

    #[tokio::test]
    async fn failures_do_not_end_it_and_do_not_make_it_spin() {
        let (sweeper, mut swept) = scripted((0..3).map(|_| Err(StoreError::unavailable("no"))).collect());
        let mut now = 10_000;
        for _ in 0..5 {
            sweeper.note(at(now));
            assert!(swept.recv().await.is_some());
            now += 1;
            sweeper.note(at(now));
            tokio::time::sleep(Duration::from_millis(5)).await;
            assert!(swept.try_recv().is_err(), "not again within a second");
            now += 10_000;
        }
    }

    #[test]
    fn it_goes_on_when_the_runtime_of_its_first_sweep_has_ended() {
        let runtime = || tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let first = runtime();
        let (sweeper, mut swept) = first.block_on(async { scripted(vec![Ok(sweeping::AT_ONCE)]) });
        first.block_on(async {
            sweeper.note(at(10_000));
            assert!(swept.recv().await.is_some());
        });
        // The batch was full, so the sweep is cut off in the pause before the next one.
        drop(first);
        runtime().block_on(async {
            sweeper.note(at(10_001));
            assert_eq!(swept.recv().await, Some(at(10_001 - 3_600)));
            tokio::task::yield_now().await;
            sweeper.note(at(20_000));
            assert_eq!(swept.recv().await, Some(at(20_000 - 3_600)));
        });
    }

    #[tokio::test]
    async fn it_ends_with_its_handle() {
        let (sweeper, mut swept) = scripted(vec![]);
        drop(sweeper);
        assert_eq!(swept.recv().await, None, "the task and all it holds are gone");
    }
}
