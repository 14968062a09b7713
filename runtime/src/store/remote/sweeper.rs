//! The task that removes expired records from a database, once per store, beside the requests.

use crate::{
    record::Timestamp,
    store::{
        StoreError,
        sweeping::{self, Left, Schedule},
    },
};
use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};
use tokio::{sync::Notify, task::JoinHandle};

/// Sweeps now and then while the store is used. A failed sweep is an event and a longer wait; the task ends with this handle.
pub(in crate::store) struct Sweeper {
    clock: Arc<Clock>,
    task: JoinHandle<()>,
}

/// What time the requests say it is.
struct Clock {
    now: AtomicI64,
    moved: Notify,
}

impl Sweeper {
    /// `sweep` removes at most that many records whose deadline lies before that instant.
    pub(in crate::store) fn start<F, Fut>(place: String, sweep: F) -> Self
    where
        F: Fn(Timestamp, usize) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<usize, StoreError>> + Send + 'static,
    {
        let clock = Arc::new(Clock { now: AtomicI64::new(i64::MIN), moved: Notify::new() });
        let task = tokio::spawn(run(Arc::clone(&clock), place, sweep));
        Self { clock, task }
    }

    /// Remembers what time it is. The latest word counts, not the latest time: a clock that once ran ahead must not go on ending
    /// sessions after it was set right.
    pub(in crate::store) fn note(&self, now: Timestamp) {
        // Waking a task costs more than all else here, and sweeping does not depend on seconds.
        let last = self.clock.now.swap(now.as_millis(), Ordering::Relaxed);
        if last / 1_000 != now.as_millis() / 1_000 {
            self.clock.moved.notify_one();
        }
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run<F, Fut>(clock: Arc<Clock>, place: String, sweep: F)
where
    F: Fn(Timestamp, usize) -> Fut,
    Fut: Future<Output = Result<usize, StoreError>>,
{
    let mut schedule = Schedule::default();
    loop {
        match schedule.left() {
            Left::Nothing => clock.moved.notified().await,
            Left::More => tokio::time::sleep(sweeping::PAUSE).await,
        }
        let now = Timestamp::from_millis(clock.now.load(Ordering::Relaxed));
        if schedule.is_due(now) {
            let removed = sweep(now.minus(sweeping::SLACK), sweeping::AT_ONCE).await;
            schedule.ran(now, removed, &place);
        }
    }
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

    #[tokio::test]
    async fn it_ends_with_its_handle() {
        let (sweeper, mut swept) = scripted(vec![]);
        drop(sweeper);
        assert_eq!(swept.recv().await, None, "the task and all it holds are gone");
    }
}
