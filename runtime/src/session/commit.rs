//! From planned changes to a store's answer: the loop around one atomic round trip.

use super::{
    access::Access,
    changes::{Committer, HandleId},
    flight::{Flight, LockMode},
    plan::{NewPatch, Plan, Weight},
    room::Room,
    slot::{Head, Slot},
};
use crate::{
    config::Config,
    error::SessionError,
    events,
    record::{CommitOutcome, CreateOutcome, Header, Selector},
    store::{Backend, ServerStore, StoreError},
};
use std::{
    future::poll_fn,
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

/// How long conflicting commits are merged and tried again.
const CONTENTION: Duration = Duration::from_secs(2);

/// Stores everything the request has changed, and returns when the store has answered.
pub(super) async fn save(slot: &Slot, handle: HandleId) -> Result<(), SessionError> {
    let flight = Flight::begin(slot, LockMode::Writing).await;
    if slot.with_access(|access| access.changes.is_answered(handle)) == Some(true) {
        // Another commit has taken care of what this save brought.
        return Ok(());
    }
    let committer = Committer::Save(handle);
    let (config, plan) = slot.next_plan(committer);
    carry_out(flight, config, plan, committer).await
}

/// Carries out a plan, and what follows from the store's answers.
pub(super) async fn carry_out(
    mut flight: Flight<'_>,
    mut config: Arc<Config>,
    mut plan: Result<Plan, SessionError>,
    committer: Committer,
) -> Result<(), SessionError> {
    let slot = flight.slot();
    let started = Instant::now();
    let mut attempt = 0;
    loop {
        let step = match &config.backend {
            Backend::Server(store) => ask_store(&mut flight, &config, store, plan?).await?,
            #[cfg(feature = "cookie")]
            Backend::Client(store) => super::sealed::apply(slot, &config, store, plan?)?,
        };
        match step {
            // A destroy that came in the meantime is carried out too.
            Step::Done if slot.with_access(|access| access.doomed.is_some()) != Some(true) => return Ok(()),
            Step::Done | Step::More => {}
            Step::Conflict | Step::Taken => {
                attempt += 1;
                if started.elapsed() > CONTENTION {
                    return Err(SessionError::Contended);
                }
                back_off(attempt).await;
            }
        }
        (config, plan) = slot.next_plan(committer);
    }
}

pub(super) enum Step {
    Done,
    More,
    /// Somebody else changed the same fields; the changes are merged.
    Conflict,
    /// Another record has the new selector; the next plan brings another.
    Taken,
}

async fn ask_store(flight: &mut Flight<'_>, config: &Config, store: &ServerStore, plan: Plan) -> Result<Step, SessionError> {
    let slot = flight.slot();
    match plan {
        Plan::Nothing => return Ok(Step::Done),
        Plan::Delete(selector) => {
            delete(store, &selector).await?;
            slot.change(Access::deleted);
            return Ok(Step::More);
        }
        Plan::Create(mut new) => {
            let Header { owner, extensions, .. } = &mut new.record.header;
            let room = Room::take(store, config, owner.as_ref(), Some(extensions)).await;
            let create = store.create(&new.token.selector, new.record.clone());
            match flight.ask(create).await.map_err(|error| unapplied(slot, error))? {
                CreateOutcome::Created => {
                    let head = slot.head();
                    slot.change(|access| access.created(*new, head));
                    if let Some(room) = room {
                        room.make(store, config).await;
                    }
                    // Without its cookie it has to go again, and the next plan says why.
                    return Ok(if head == Head::Open { Step::Done } else { Step::More });
                }
                CreateOutcome::Exists => {
                    slot.change(|access| access.seed = None);
                    return Ok(Step::Taken);
                }
            }
        }
        Plan::Commit(commit) if commit.weight == Weight::Upkeep => {
            // That the session was used is worth no error: the next request says it again.
            match store.commit(&commit.selector, &commit.patch).await {
                Ok(CommitOutcome::Committed { revision, rotated }) => {
                    let head = slot.head();
                    slot.change(|access| access.committed(*commit, revision, rotated, head));
                }
                Ok(CommitOutcome::Gone) => slot.change(Access::end),
                Ok(CommitOutcome::Conflict { .. }) => {}
                Err(error) => events::failed(&error.into()),
            }
        }
        Plan::Commit(mut commit) => {
            let NewPatch { passage, patch, .. } = &mut *commit;
            let room = Room::take(store, config, passage.signed_in(), patch.extensions.as_mut()).await;
            let ask = store.commit(&commit.selector, &commit.patch);
            let signs_out = commit.signs_out;
            let answer = flight.ask(ask).await.map_err(|error| {
                if signs_out {
                    // Whoever signs out is signed out at this browser, as after a `destroy()` that failed.
                    slot.change(Access::forsake_cookie);
                }
                unapplied(slot, error)
            });
            match answer? {
                CommitOutcome::Committed { revision, rotated } => {
                    let head = slot.head();
                    slot.change(|access| access.committed(*commit, revision, rotated, head));
                    if let Some(room) = room {
                        room.make(store, config).await;
                    }
                }
                CommitOutcome::Conflict { cells } => {
                    events::merged(&commit.selector);
                    slot.with_access(|access| access.conflict(cells, &commit.patch.guards, config.now())).transpose()?;
                    return Ok(Step::Conflict);
                }
                CommitOutcome::Gone if commit.passage.newcomer().is_some() => {
                    slot.change(|access| {
                        // Unless it was destroyed in the meantime: what was to be stored has been dropped then.
                        if access.planned_for == access.incarnation {
                            access.sign_in_anew();
                        }
                    });
                    return Ok(Step::More);
                }
                // Another tab rotated the token, or signed somebody in, or the session has ended. Signing out wins, as `destroy()` does.
                CommitOutcome::Gone if signs_out => {
                    slot.change(|access| {
                        if access.planned_for == access.incarnation {
                            access.give_up(config.now());
                        }
                    });
                    return Ok(Step::More);
                }
                CommitOutcome::Gone => {
                    slot.change(Access::end);
                    return Err(SessionError::Gone);
                }
            }
        }
    }
    Ok(Step::Done)
}

/// Destroying twice is destroying, so a failure is tried once more.
async fn delete(store: &ServerStore, selector: &Selector) -> Result<(), StoreError> {
    let Err(first) = store.delete(selector).await else { return Ok(()) };
    store.delete(selector).await.map_err(|second| match first {
        // What the first may have done, the second cannot make certain by failing.
        StoreError::OutcomeUnknown(_) => first,
        _ => second,
    })
}

/// After an unknown outcome nothing is written again: it may have been written already. What was certainly not written waits
/// for the next commit.
fn unapplied(slot: &Slot, error: StoreError) -> SessionError {
    if let StoreError::OutcomeUnknown(_) = error {
        slot.change(Access::doubt);
    }
    error.into()
}

/// Lets other tasks run before the next attempt; longer, and less alike, the more often it was in vain.
async fn back_off(attempt: u32) {
    let jitter = crate::random::bytes::<1>().map_or(0, |[byte]| u32::from(byte)) % attempt.min(16);
    for _ in 0..=jitter {
        yield_now().await;
    }
}

/// Lets the other futures of the task, and the other tasks, run.
pub(crate) async fn yield_now() {
    let mut yielded = false;
    poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

impl Slot {
    fn next_plan(&self, committer: Committer) -> (Arc<Config>, Result<Plan, SessionError>) {
        let mut request = self.lock();
        let request = &mut *request;
        let access = request.access.as_deref_mut();
        let plan = access.map_or(Ok(Plan::Nothing), |access| access.plan(&request.config, self.head(), committer));
        (Arc::clone(&request.config), plan)
    }
}
