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
pub(in crate::store) struct Sweeper(Arc<Work>);

struct Work {
    place: String,
    sweep: Box<Sweep>,
    /// What time the requests say it is.
    now: AtomicI64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    schedule: Schedule,
    /// The sweep under way, if it has not ended with its runtime or in a panic.
    task: Option<JoinHandle<()>>,
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
        Self(Arc::new(Work { place, sweep, now: AtomicI64::new(i64::MIN), state: Mutex::default() }))
    }

    /// Remembers what time it is, and begins a sweep if one is due. The latest word counts, not the latest time: a clock that once
    /// ran ahead must not go on ending sessions after it was set right.
    pub(in crate::store) fn note(&self, now: Timestamp) {
        // Looking at the schedule costs more than all else here, and sweeping does not depend on seconds.
        let last = self.0.now.swap(now.as_millis(), Ordering::Relaxed);
        if last / 1_000 == now.as_millis() / 1_000 {
            return;
        }
        let mut state = self.0.state();
        if state.task.as_ref().is_none_or(JoinHandle::is_finished)
            && state.schedule.is_due(now)
            && let Ok(runtime) = Handle::try_current()
        {
            state.task = Some(runtime.spawn(run(Arc::clone(&self.0))));
        }
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        if let Some(task) = self.0.state().task.take() {
            task.abort();
        }
    }
}

impl Work {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.now.load(Ordering::Relaxed))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic in what listens to events comes after the schedule was changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sweeps until nothing is due. Where this is cut off, the schedule still says that a sweep is due.
async fn run(work: Arc<Work>) {
    loop {
        let now = work.now();
        let removed = (work.sweep)(now.minus(sweeping::SLACK), sweeping::AT_ONCE).await;
        let left = {
            let mut state = work.state();
            state.schedule.ran(now, removed, &work.place);
            // Time may have moved meanwhile, and who moved it saw this task.
            if !state.schedule.is_due(work.now()) {
                state.task = None;
                return;
            }
            state.schedule.left()
        };
        if left == Left::More {
            tokio::time::sleep(sweeping::PAUSE).await;
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
    async fn time_that_moves_during_a_sweep_is_not_forgotten() {
        let (report, mut swept) = mpsc::unbounded_channel();
        let gate = Arc::new(tokio::sync::Semaphore::new(0));
        let hold = Arc::clone(&gate);
        let sweeper = Sweeper::start("a test".to_owned(), move |before, _| {
            report.send(before).unwrap();
            let hold = Arc::clone(&hold);
            async move {
                hold.acquire().await.unwrap().forget();
                Ok(0)
            }
        });
        sweeper.note(at(10_000));
        assert_eq!(swept.recv().await, Some(at(10_000 - 3_600)));
        sweeper.note(at(20_000));
        gate.add_permits(1);
        assert_eq!(swept.recv().await, Some(at(20_000 - 3_600)));
    }

    #[tokio::test]
    async fn it_goes_on_after_a_sweep_that_panicked() {
        let (report, mut swept) = mpsc::unbounded_channel();
        let sweeper = Sweeper::start("a test".to_owned(), move |before, _| {
            report.send(before).unwrap();
            assert!(before >= at(20_000 - 3_600), "on purpose");
            async { Ok(0) }
        });
        for seconds in [10_000, 20_000, 30_000] {
            sweeper.note(at(seconds));
            assert_eq!(swept.recv().await, Some(at(seconds - 3_600)));
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn it_ends_with_its_handle() {
        let (sweeper, mut swept) = scripted(vec![]);
        drop(sweeper);
        assert_eq!(swept.recv().await, None, "the task and all it holds are gone");
    }
}
