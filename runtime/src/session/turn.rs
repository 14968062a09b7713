//! The end of a request's turn: what is left is stored, and the response's head goes out.

use super::{
    access::{Access, Standing},
    commit::{carry_out, commit},
    flight::{Flight, Lane},
    plan::Plan,
    reply::Answer,
    slot::{Head, Slot},
};
use crate::{config::Config, error::SessionError, events};
use http::StatusCode;
use std::sync::Arc;

/// The time in which a request can still set cookies. Dropped before the response is ready, because the client went away or
/// an outer layer gave up, it takes with it what was not saved.
#[derive(Debug)]
pub(crate) struct Turn(Slot);

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
    turn: Turn,
    config: Arc<Config>,
    /// With the way already taken for it; without, a reload goes first.
    plan: Option<Result<Plan, SessionError>>,
}

impl Turn {
    pub(crate) fn new(slot: Slot) -> Self {
        Self(slot)
    }

    /// The handler has answered: says what is left to do before the head may go out, and under whose policy.
    pub(crate) fn end(self, status: StatusCode) -> Outlook {
        let slot = self.0.clone();
        let mut request = slot.lock();
        let request = &mut *request;
        let Some(access) = request.access.as_deref_mut() else {
            slot.send_head();
            return Outlook::Untouched;
        };
        let config = Arc::clone(&request.config);
        let saving = request.runway.lane() == Lane::Writing;
        access.drop_handed_out();
        if (config.commit_when)(status) {
            // A save that is still under way is a handle that outlived the handler; waiting for it could be waiting for ever.
            if saving || slot.has_unsaved_handles() {
                access.fail(SessionError::HeldAtHead);
            }
            if let Some(failure) = access.failure.take() {
                access.start_over();
                access.failure = Some(failure);
            }
        } else {
            access.discard_changes();
        }
        if slot.has_handles() {
            events::outlived_head(access.live().map(|live| &live.token.selector));
        }
        if saving {
            // It ends as it ends: the changes under way are its own.
            slot.send_head();
            return Outlook::Settled(access.close(Ok(())), config);
        }
        if !request.runway.take(Lane::Writing) {
            return Outlook::Pending(Settlement { turn: self, config, plan: None });
        }
        match access.plan(&config, Head::Open) {
            Ok(Plan::Nothing) => {
                // Nobody waits: the way was free, and the lock is held.
                drop(request.runway.clear());
                slot.send_head();
                Outlook::Settled(access.close(Ok(())), config)
            }
            plan => Outlook::Pending(Settlement { turn: self, config, plan: Some(plan) }),
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.0.head() == Head::Open {
            self.0.send_head();
            self.0.change(Access::start_over);
        }
    }
}

impl Settlement {
    /// Stores what is left, and closes the head.
    pub(crate) async fn settle(self) -> (Option<Answer>, Arc<Config>) {
        let Self { turn, config, plan } = self;
        let slot = &turn.0;
        let result = match plan {
            Some(plan) => carry_out(Flight::boarded(slot), Arc::clone(&config), plan).await,
            None => commit(slot).await,
        };
        slot.send_head();
        let answer = slot.with_access(|access| {
            if result.is_err() {
                // The error says that they are lost. A destroy was tried twice, and clears the cookie all the same.
                access.view += 1;
                access.pending.clear();
                access.doomed = None;
            } else {
                access.pending.retain(|pending| pending.standing == Standing::New);
                access.lose_changes(&"they were checked in while the response was being sent");
            }
            access.close(result)
        });
        (answer, config)
    }
}
