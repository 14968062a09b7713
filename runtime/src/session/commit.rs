//! From planned changes to a store's answer: the loop around one atomic round trip.

use super::flight::Flight;
use super::slot::{Access, Answer, Head, Plan, Reply, Slot};
use crate::{
    config::Config,
    error::SessionError,
    events,
    record::{CommitOutcome, CreateOutcome, Record, Selector},
    store::{Backend, SessionStore, StoreError},
    token::Token,
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
    let mut flight = Flight::begin(slot).await;
    let started = Instant::now();
    let mut attempt = 0;
    loop {
        let (config, plan) = {
            let mut request = slot.lock();
            let request = &mut *request;
            let Some(access) = &mut request.access else { return Ok(()) };
            let plan = access.plan(&request.config, request.head).inspect_err(|error| {
                if matches!(error, SessionError::Gone) {
                    access.lose(true);
                } else {
                    access.discard();
                }
            })?;
            (Arc::clone(&request.config), plan)
        };
        let settled = match &config.backend {
            Backend::Server(store) => ask_store(&mut flight, slot, &config, &**store, plan).await?,
            #[cfg(feature = "cookie")]
            Backend::Client(store) => apply_locally(slot, &config, store, plan)?,
        };
        match settled {
            Step::Done => return Ok(()),
            Step::More => {}
            Step::Conflict => {
                attempt += 1;
                if started.elapsed() > CONTENTION {
                    slot.change(Access::discard);
                    return Err(SessionError::Contended);
                }
                back_off(attempt).await;
            }
        }
    }
}

enum Step {
    Done,
    More,
    Conflict,
}

async fn ask_store(
    flight: &mut Flight<'_>,
    slot: &Slot,
    config: &Config,
    store: &dyn SessionStore,
    plan: Plan,
) -> Result<Step, SessionError> {
    match plan {
        Plan::Nothing => return Ok(Step::Done),
        Plan::Delete(selector) => {
            delete(store, &selector).await.inspect_err(|_| slot.change(Access::give_up_deleting))?;
            slot.change(Access::deleted);
        }
        Plan::Create { token, record } => {
            let outcome =
                flight.ask(store.create(&token.selector, record.clone())).await.map_err(|error| unapplied(slot, error))?;
            match outcome {
                CreateOutcome::Created => slot.change(|access| access.created(token, record)),
                // Another record has this selector: planned again, it gets another.
                CreateOutcome::Exists => {}
            }
        }
        Plan::Commit { selector, patch, next } => {
            match flight.ask(store.commit(&selector, &patch)).await.map_err(|error| unapplied(slot, error))? {
                CommitOutcome::Committed { revision, rotated } => {
                    slot.change(|access| access.committed(&patch, next, revision, rotated));
                    return Ok(Step::Done);
                }
                CommitOutcome::Conflict { cells } => {
                    events::merged(selector.handle());
                    let merge = |access: &mut Access| {
                        access.conflict(cells, &patch.guards, config.now()).inspect_err(|_| access.discard())
                    };
                    slot.with_access(merge).transpose()?;
                    return Ok(Step::Conflict);
                }
                CommitOutcome::Gone => {
                    let changes =
                        patch.carries_cells() || next.is_some() || patch.persistent.is_some() || patch.label.is_some();
                    slot.change(|access| access.lose(changes));
                    return if changes { Err(SessionError::Gone) } else { Ok(Step::Done) };
                }
            }
        }
    }
    Ok(Step::More)
}

/// Destroying twice is destroying, so a failure is tried once more.
async fn delete(store: &dyn SessionStore, selector: &Selector) -> Result<(), StoreError> {
    match store.delete(selector).await {
        Ok(()) => Ok(()),
        Err(_) => store.delete(selector).await,
    }
}

/// After an unknown outcome nothing is written again: it may have been written already.
fn unapplied(slot: &Slot, error: StoreError) -> SessionError {
    slot.change(|access| match error {
        StoreError::Unavailable(_) => access.discard(),
        StoreError::OutcomeUnknown(_) => access.lose(false),
    });
    error.into()
}

#[cfg(feature = "cookie")]
fn apply_locally(slot: &Slot, config: &Config, store: &crate::store::CookieStore, plan: Plan) -> Result<Step, SessionError> {
    let seal = |token: &Token, record: &Record| store.seal(config.cookie.name(), token, record, config.now());
    match plan {
        Plan::Nothing => return Ok(Step::Done),
        Plan::Delete(_) => {
            slot.change(Access::deleted);
            return Ok(Step::More);
        }
        Plan::Create { token, record } => {
            let sealed = seal(&token, &record).inspect_err(|_| slot.change(Access::discard))?;
            slot.change(|access| {
                access.created(token, record);
                access.reply = Reply::Sealed(sealed);
            });
        }
        Plan::Commit { patch, next, .. } => {
            let apply = |access: &mut Access| {
                let Some(live) = access.live() else { return Ok(()) };
                let mut record = live.record.clone();
                // Nobody else has this copy, so there is nothing to conflict with.
                let CommitOutcome::Committed { revision, rotated } = record.apply(&patch) else {
                    access.lose(true);
                    return Err(SessionError::Gone);
                };
                let sealed = seal(next.as_ref().unwrap_or(&live.token), &record).inspect_err(|_| access.discard())?;
                access.committed(&patch, next, revision, rotated);
                access.reply = Reply::Sealed(sealed);
                Ok(())
            };
            slot.with_access(apply).transpose()?;
        }
    }
    Ok(Step::Done)
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

#[expect(clippy::large_enum_variant, reason = "it is taken apart where it is made")]
/// Whether the session of a finished request can be settled at once.
pub(crate) enum Outlook {
    /// Nobody asked for the session.
    Untouched,
    Settled(Answer, Arc<Config>),
    /// The store has to be asked.
    Pending(Arc<Config>),
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
        if (request.config.commit_when)(status) {
            if self.has_unsaved_handles() {
                access.fail(SessionError::HeldAtHead);
            }
            if access.has_failed() {
                access.discard();
            }
        } else {
            access.discard_changes();
        }
        let config = Arc::clone(&request.config);
        match access.plan(&config, request.head) {
            Ok(Plan::Nothing) => {
                request.head = Head::Sent;
                Outlook::Settled(access.close(Ok(())), config)
            }
            // Planned again when it is carried out: what takes an error has to be in one place.
            _ => Outlook::Pending(config),
        }
    }

    /// Commits what is left and closes the head.
    pub(crate) async fn settle(&self) -> Option<Answer> {
        let result = commit(self).await;
        let mut request = self.lock();
        request.head = Head::Sent;
        request.access.as_deref_mut().map(|access| access.close(result))
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
            && let Some(access) = request.access.as_deref_mut()
            && access.has_unsaved()
        {
            access.start_over();
            events::lost(schema, &"the response's head was already sent; call `save().await` before dropping the handle");
        }
    }
}
