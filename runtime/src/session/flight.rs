//! One conversation with the store at a time: two handles may be saved at once, and a save may be dropped half-way.

use super::{access::Access, slot::Slot};
use std::{
    future::poll_fn,
    task::{Poll, Waker},
};

/// The lock on the request's conversation with the store.
#[derive(Debug, Default)]
pub(super) struct StoreLock {
    held: Option<Held>,
    /// Rises with each taking, so that a holder notices that the lock was taken over from it.
    taken: u32,
    waiting: Vec<Waker>,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    mode: LockMode,
    by: Ticket,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LockMode {
    /// A reload, which has nothing to lose.
    Reading,
    Writing,
}

/// One taking of the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket(u32);

impl StoreLock {
    /// Takes the lock if it is free.
    pub(super) fn take(&mut self, mode: LockMode) -> Option<Ticket> {
        self.held.is_none().then(|| self.hold(mode))
    }

    /// Takes the lock to write, also from a reload, which begins again afterwards. The response's commit cannot wait for one: the
    /// future of a reload may be polled by the response's body only.
    pub(super) fn take_over(&mut self) -> Option<Ticket> {
        (!self.is_writing()).then(|| self.hold(LockMode::Writing))
    }

    fn hold(&mut self, mode: LockMode) -> Ticket {
        self.taken = self.taken.wrapping_add(1);
        let by = Ticket(self.taken);
        self.held = Some(Held { mode, by });
        by
    }

    pub(super) fn is_writing(&self) -> bool {
        self.held.is_some_and(|held| held.mode == LockMode::Writing)
    }

    fn is_held_by(&self, ticket: Ticket) -> bool {
        self.held.is_some_and(|held| held.by == ticket)
    }

    /// Frees the lock. The caller wakes those who wait, without the lock that this lies behind: a waker may run anything.
    #[must_use]
    pub(super) fn free(&mut self, ticket: Ticket) -> Vec<Waker> {
        if !self.is_held_by(ticket) {
            return Vec::new();
        }
        self.held = None;
        std::mem::take(&mut self.waiting)
    }

    fn wait(&mut self, waker: &Waker) {
        if !self.waiting.iter().any(|waiting| waiting.will_wake(waker)) {
            self.waiting.push(waker.clone());
        }
    }
}

/// A conversation with the store. Others wait until it is dropped.
pub(super) struct Flight<'a> {
    slot: &'a Slot,
    ticket: Ticket,
    asked: Asked,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    Nothing,
    ToWrite,
}

impl<'a> Flight<'a> {
    /// Waits until no other conversation of the request is under way.
    pub(super) async fn begin(slot: &'a Slot, mode: LockMode) -> Self {
        let ticket = poll_fn(|context| {
            let lock = &mut slot.lock().store_lock;
            match lock.take(mode) {
                Some(ticket) => Poll::Ready(ticket),
                None => {
                    lock.wait(context.waker());
                    Poll::Pending
                }
            }
        })
        .await;
        Self::held(slot, ticket)
    }

    /// For a holder of the lock.
    pub(super) fn held(slot: &'a Slot, ticket: Ticket) -> Self {
        Self { slot, ticket, asked: Asked::Nothing }
    }

    pub(super) fn slot(&self) -> &'a Slot {
        self.slot
    }

    /// Whether the lock was not taken over in the meantime.
    pub(super) fn is_held(&self) -> bool {
        self.slot.lock().store_lock.is_held_by(self.ticket)
    }

    /// Asks the store to write. If the caller goes away before the answer arrives, the outcome is unknown.
    pub(super) async fn ask<R>(&mut self, question: impl Future<Output = R>) -> R {
        self.asked = Asked::ToWrite;
        let answer = question.await;
        self.asked = Asked::Nothing;
        answer
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        if self.asked == Asked::ToWrite {
            // As after an unknown outcome: what may be stored already must not be stored again.
            self.slot.change(Access::doubt_dropped);
        }
        let waiting = {
            let mut request = self.slot.lock();
            let request = &mut *request;
            let writing = request.store_lock.is_writing() && request.store_lock.is_held_by(self.ticket);
            if writing && let Some(access) = request.access.as_deref_mut() {
                // What was planned and not stored waits again, wherever the commit was dropped.
                access.changes.return_from_commit();
                access.commands.return_from_commit();
            }
            request.store_lock.free(self.ticket)
        };
        waiting.into_iter().for_each(Waker::wake);
        self.slot.announce_lost();
    }
}
