//! One commit at a time: two handles may be saved at once, and a save may be dropped half-way.

use super::{access::Access, slot::Slot};
use std::{
    future::poll_fn,
    task::{Poll, Waker},
};

/// Whether a commit of the request is under way.
#[derive(Debug, Default)]
pub(super) struct Runway {
    taken: bool,
    waiting: Vec<Waker>,
}

impl Runway {
    /// Whether it was free, and is now taken.
    pub(super) fn take(&mut self) -> bool {
        !std::mem::replace(&mut self.taken, true)
    }

    pub(super) fn is_taken(&self) -> bool {
        self.taken
    }

    /// Frees it.
    pub(super) fn clear(&mut self) {
        self.taken = false;
        self.waiting.drain(..).for_each(Waker::wake);
    }
}

/// A commit under way. Others wait until it is dropped.
pub(super) struct Flight<'a> {
    slot: &'a Slot,
    asking: bool,
}

impl<'a> Flight<'a> {
    /// Waits until no other commit of the request is under way.
    pub(super) async fn begin(slot: &'a Slot) -> Self {
        poll_fn(|context| {
            let runway = &mut slot.lock().runway;
            if runway.take() {
                return Poll::Ready(());
            }
            runway.waiting.push(context.waker().clone());
            Poll::Pending
        })
        .await;
        Self::boarded(slot)
    }

    /// For whoever has taken the runway already.
    pub(super) fn boarded(slot: &'a Slot) -> Self {
        Self { slot, asking: false }
    }

    pub(super) fn slot(&self) -> &'a Slot {
        self.slot
    }

    /// Asks the store to write. If the answer never arrives, because whoever waited for it went away, nobody knows what happened.
    pub(super) async fn ask<R>(&mut self, question: impl Future<Output = R>) -> R {
        self.asking = true;
        let answer = question.await;
        self.asking = false;
        answer
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        if self.asking {
            // As after an unknown outcome: what may be stored already must not be stored again.
            self.slot.change(Access::lose_flight);
        }
        self.slot.lock().runway.clear();
    }
}
