//! From planned changes to a store's answer: the loop around one atomic round trip.

use super::flight::Flight;
use super::{
    access::{Access, Loss},
    plan::Plan,
    reply::Answer,
    slot::{Head, Slot},
};
use crate::{
    config::Config,
    error::SessionError,
    events,
    record::{CommitOutcome, CreateOutcome, Selector},
    store::{Backend, SessionStore, StoreError},
};
use http::StatusCode;
use std::{
    future::poll_fn,
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

/// How long conflicting commits are merged and tried again.
const CONTENTION: Duration = Duration::from_secs(2);

/// Stores everything the request has changed, and returns when the store has answered.
pub(super) async fn commit(slot: &Slot) -> Result<(), SessionError> {
    let flight = Flight::begin(slot).await;
    let (config, plan) = slot.next_plan();
    carry_out(flight, config, plan).await
}

async fn carry_out(
    mut flight: Flight<'_>,
    mut config: Arc<Config>,
    mut plan: Result<Plan, SessionError>,
) -> Result<(), SessionError> {
    let slot = flight.slot();
    let started = Instant::now();
    let mut attempt = 0;
    loop {
        let step = match &config.backend {
            Backend::Server(store) => ask_store(&mut flight, &config, &**store, plan?).await?,
            #[cfg(feature = "cookie")]
            Backend::Client(store) => super::sealed::apply(slot, &config, store, plan?)?,
        };
        match step {
            Step::Done => return Ok(()),
            Step::More => {}
            Step::Conflict | Step::Taken => {
                attempt += 1;
                if started.elapsed() > CONTENTION {
                    return Err(SessionError::Contended);
                }
                back_off(attempt).await;
            }
        }
        (config, plan) = slot.next_plan();
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

async fn ask_store(
    flight: &mut Flight<'_>,
    config: &Config,
    store: &dyn SessionStore,
    plan: Plan,
) -> Result<Step, SessionError> {
    let slot = flight.slot();
    match plan {
        Plan::Nothing => return Ok(Step::Done),
        Plan::Delete(selector) => {
            delete(store, &selector).await.inspect_err(|_| slot.change(Access::give_up_deleting))?;
            slot.change(Access::deleted);
            return Ok(Step::More);
        }
        Plan::Create(new) => {
            let create = store.create(&new.token.selector, new.record.clone());
            match flight.ask(create).await.map_err(|error| unapplied(slot, error))? {
                CreateOutcome::Created => slot.change(|access| access.created(*new)),
                CreateOutcome::Exists => return Ok(Step::Taken),
            }
        }
        Plan::Commit(commit) if !commit.patch.has_changes() => {
            // That the session was used is worth no error: the next request says it again.
            match store.commit(&commit.selector, &commit.patch).await {
                Ok(CommitOutcome::Committed { revision, rotated }) => {
                    slot.change(|access| access.committed(*commit, revision, rotated));
                }
                Ok(CommitOutcome::Gone) => slot.change(|access| access.lose(Loss::Gone)),
                Ok(CommitOutcome::Conflict { .. }) => {}
                Err(error) => events::failed(&error.into()),
            }
        }
        Plan::Commit(commit) => {
            let ask = store.commit(&commit.selector, &commit.patch);
            match flight.ask(ask).await.map_err(|error| unapplied(slot, error))? {
                CommitOutcome::Committed { revision, rotated } => {
                    slot.change(|access| access.committed(*commit, revision, rotated));
                }
                CommitOutcome::Conflict { cells } => {
                    events::merged(&commit.selector);
                    slot.with_access(|access| access.conflict(cells, &commit.patch.guards, config.now())).transpose()?;
                    return Ok(Step::Conflict);
                }
                CommitOutcome::Gone => {
                    slot.change(|access| access.lose(Loss::Gone));
                    return Err(SessionError::Gone);
                }
            }
        }
    }
    Ok(Step::Done)
}

/// Destroying twice is destroying, so a failure is tried once more.
async fn delete(store: &dyn SessionStore, selector: &Selector) -> Result<(), StoreError> {
    match store.delete(selector).await {
        Ok(()) => Ok(()),
        Err(_) => store.delete(selector).await,
    }
}

/// After an unknown outcome nothing is written again: it may have been written already. What was certainly not written waits
/// for the next commit.
fn unapplied(slot: &Slot, error: StoreError) -> SessionError {
    if let StoreError::OutcomeUnknown(_) = error {
        slot.change(|access| access.lose(Loss::Unknown));
    }
    error.into()
}

/// Lets other tasks run before the next attempt; longer, and less alike, the more often it was in vain.
async fn back_off(attempt: u32) {
    let jitter = crate::random::bytes::<1>().map_or(0, |[byte]| u32::from(byte)) % attempt.min(16);
    for _ in 0..=jitter {
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
}

/// Whether the session of a finished request can be settled at once.
pub(crate) enum Outlook {
    /// Nobody asked for the session.
    Untouched,
    Settled(Answer, Arc<Config>),
    /// The store has to be asked.
    Pending(Settlement),
}

/// The last commit of a request, ready to be carried out.
pub(crate) struct Settlement {
    slot: Slot,
    config: Arc<Config>,
    plan: Result<Plan, SessionError>,
}

impl Settlement {
    /// Stores what is left, and closes the head.
    pub(crate) async fn settle(self) -> (Option<Answer>, Arc<Config>) {
        let Self { slot, config, plan } = self;
        // The runway was taken when the plan was made.
        let result = carry_out(Flight::boarded(&slot), Arc::clone(&config), plan).await;
        let mut request = slot.lock();
        request.head = Head::Sent;
        (request.access.as_deref_mut().map(|access| access.close(result)), config)
    }
}

impl Slot {
    pub(super) fn with_access<R>(&self, act: impl FnOnce(&mut Access) -> R) -> Option<R> {
        self.lock().access.as_deref_mut().map(act)
    }

    /// As [`with_access`](Slot::with_access), where there is nothing to learn.
    pub(super) fn change(&self, act: impl FnOnce(&mut Access)) {
        let _ = self.with_access(act);
    }

    /// The handler has answered: says what is left to do before the head may go out, and under whose policy.
    pub(crate) fn outlook(&self, status: StatusCode) -> Outlook {
        let mut request = self.lock();
        let request = &mut *request;
        let Some(access) = request.access.as_deref_mut() else {
            request.head = Head::Sent;
            return Outlook::Untouched;
        };
        // A save that is still under way is a handle that outlived the handler; waiting for it could be waiting for ever.
        let held = self.has_unsaved_handles() || request.runway.is_taken();
        if (request.config.commit_when)(status) {
            access.drop_handed_out();
            if held {
                access.fail(SessionError::HeldAtHead);
            }
            if access.has_failed() {
                access.discard();
            }
        } else {
            access.discard_changes();
        }
        if self.has_handles() {
            events::outlived_head(access.live().map(|live| &live.token.selector));
        }
        let config = Arc::clone(&request.config);
        if !request.runway.take() {
            request.head = Head::Sent;
            return Outlook::Settled(access.close(Ok(())), config);
        }
        match access.plan(&config, request.head) {
            Ok(Plan::Nothing) => {
                request.runway.clear();
                request.head = Head::Sent;
                Outlook::Settled(access.close(Ok(())), config)
            }
            plan => Outlook::Pending(Settlement { slot: self.clone(), config, plan }),
        }
    }

    fn next_plan(&self) -> (Arc<Config>, Result<Plan, SessionError>) {
        let mut request = self.lock();
        let request = &mut *request;
        let plan = request.access.as_deref_mut().map_or(Ok(Plan::Nothing), |access| access.plan(&request.config, request.head));
        (Arc::clone(&request.config), plan)
    }

    /// Drops everything unsaved: the handler panicked or its service failed.
    pub(crate) fn abandon(&self) {
        let mut request = self.lock();
        request.head = Head::Sent;
        if let Some(access) = request.access.as_deref_mut() {
            access.start_over();
        }
    }

    /// Says so, loudly, if a dropped handle left changes that no commit will ever take: the head is gone.
    pub(super) fn announce_lost(&self, schema: &str) {
        let mut request = self.lock();
        if request.head == Head::Sent
            && !request.runway.is_taken()
            && let Some(access) = request.access.as_deref_mut()
            && access.has_unsaved()
        {
            access.start_over();
            events::lost(schema, &"the response's head was already sent; call `save().await` before dropping the handle");
        }
    }
}
