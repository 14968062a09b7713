//! One commit at a time: two handles may be saved at once, and a save may be dropped half-way.

use super::slot::{Access, Slot};
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
            if runway.taken {
                runway.waiting.push(context.waker().clone());
                return Poll::Pending;
            }
            runway.taken = true;
            Poll::Ready(())
        })
        .await;
        Self { slot, asking: false }
    }

    /// Asks the store. If the answer never arrives, because whoever waited for it went away, nobody knows what happened.
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
            self.slot.change(|access: &mut Access| access.lose(false));
        }
        let waiting = {
            let runway = &mut self.slot.lock().runway;
            runway.taken = false;
            std::mem::take(&mut runway.waiting)
        };
        waiting.into_iter().for_each(Waker::wake);
    }
}
