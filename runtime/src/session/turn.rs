//! The end of a request: what is left is stored, and the response's head goes out.

use super::{
    changes::{Committer, Discard},
    commit::carry_out,
    flight::{Flight, Ticket},
    plan::Plan,
    reply::Answer,
    slot::{Head, Request, Slot},
};
use crate::{config::Config, error::SessionError, events};
use http::{Method, StatusCode};
use std::{sync::Arc, task::Waker};

/// The time in which a request can still set cookies. Dropped before the response is ready, because the client went away or
/// an outer layer gave up, it takes with it what was not saved.
#[derive(Debug)]
pub(crate) struct Turn(Slot);

/// Whether the session of a finished request can be settled at once.
pub(crate) enum Outlook {
    /// No handler asked for the session.
    Untouched,
    Settled(Answer, Arc<Config>),
    /// The store has to be asked.
    Pending(Settlement),
}

/// The last commit of a request, ready to be carried out.
pub(crate) struct Settlement {
    turn: Turn,
    config: Arc<Config>,
    ticket: Ticket,
    plan: Result<Plan, SessionError>,
}

impl Turn {
    pub(crate) fn new(slot: Slot) -> Self {
        Self(slot)
    }

    /// The handler has answered: says what is left to do before the head may go out, and under whose policy.
    pub(crate) fn end(self, status: StatusCode) -> Outlook {
        let slot = self.0.clone();
        let (outlook, waiting) = self.conclude(&slot, &mut slot.lock(), status);
        // Without the lock: a waker may run anything.
        waiting.into_iter().for_each(Waker::wake);
        outlook
    }

    /// ... and which wakers wait for the store lock, if it is free again.
    fn conclude(self, slot: &Slot, request: &mut Request, status: StatusCode) -> (Outlook, Vec<Waker>) {
        let Some(access) = request.access.as_deref_mut() else {
            slot.send_head();
            return (Outlook::Untouched, Vec::new());
        };
        let config = Arc::clone(&request.config);
        // A save that is still under way is a handle that outlived the handler. Waiting for it could be waiting for ever.
        let ticket = request.store_lock.take_over();
        if let Some(why) = not_committed(&config, &access.method, status) {
            access.discard_changes(Discard::Dropped, 0, why);
        } else {
            if ticket.is_none() || slot.has_unsaved_handles() {
                access.fail(SessionError::HeldAtHead);
            }
            if let Some(failure) = access.failure.take() {
                access.start_over(Discard::Dropped, "failed");
                access.failure = Some(failure);
            }
        }
        if slot.has_handles() {
            events::outlived_head(access.live().map(|live| &live.token.selector));
        }
        let Some(ticket) = ticket else {
            // The save ends as it ends, and answers for its own changes.
            slot.send_head();
            return (Outlook::Settled(access.close(Ok(()), &config), config), Vec::new());
        };
        match access.plan(&config, Head::Open, Committer::Response) {
            Ok(Plan::Nothing) => {
                slot.send_head();
                let answer = access.close(Ok(()), &config);
                (Outlook::Settled(answer, config), request.store_lock.free(ticket))
            }
            plan => (Outlook::Pending(Settlement { turn: self, config, ticket, plan }), Vec::new()),
        }
    }
}

/// Why the changes of a request are not stored with its response, if so.
///
/// `HEAD` asks for what `GET` would answer, and runs its handler: a link checker must not use up a notice (RFC 9110, section 9.2.1).
fn not_committed(config: &Config, method: &Method, status: StatusCode) -> Option<&'static str> {
    if method == Method::HEAD {
        Some("head")
    } else if (config.commit_when)(status) {
        None
    } else {
        Some("status")
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.0.head() == Head::Open {
            self.0.send_head();
            self.0.change(|access| access.start_over(Discard::Dropped, "cancelled"));
        }
    }
}

impl Settlement {
    /// Stores what is left, and closes the head.
    pub(crate) async fn settle(self) -> (Option<Answer>, Arc<Config>) {
        let Self { turn, config, ticket, plan } = self;
        let slot = &turn.0;
        let result = carry_out(Flight::held(slot, ticket), Arc::clone(&config), plan, Committer::Response).await;
        slot.send_head();
        let answer = slot.with_access(|access| {
            access.commands.discard(Discard::Dropped);
            let losses = access.changes.discard(Discard::Dropped, 0);
            if result.is_ok() {
                for schema in losses.schemas {
                    events::lost(schema, &"they were checked in while the response was being sent");
                }
            } else if !slot.has_handles() {
                // The error says that they are lost. A destroy was tried twice, and clears the cookie all the same.
                access.doomed = None;
            }
            access.close(result, &config)
        });
        (answer, config)
    }
}

/// One run of a handler inside of the request, such as an attempt that a retrying middleware makes, or one that a time limit ends.
///
/// A session layer that is applied once more inside makes one of each run of what is below it: where such a run ends with a status
/// that stores nothing, or is dropped before its end, its changes are dropped with it.
#[derive(Debug)]
pub(crate) struct Attempt {
    slot: Slot,
    mark: u32,
    ended: bool,
}

impl Attempt {
    pub(crate) fn begin(slot: Slot) -> Self {
        let mark = slot.with_access(|access| access.changes.mark()).unwrap_or(0);
        Self { slot, mark, ended: false }
    }

    pub(crate) fn end(mut self, status: StatusCode) {
        self.ended = true;
        let mut request = self.slot.lock();
        let request = &mut *request;
        if let Some(access) = request.access.as_deref_mut()
            && let Some(why) = not_committed(&request.config, &access.method, status)
        {
            access.discard_changes(Discard::Dropped, self.mark, why);
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.ended {
            self.slot.change(|access| access.discard_changes(Discard::Dropped, self.mark, "cancelled"));
        }
    }
}
