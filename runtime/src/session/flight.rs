//! One conversation with the store at a time: two handles may be saved at once, and a save may be dropped half-way.

use super::{access::Access, slot::Slot};
use std::{
    future::poll_fn,
    task::{Poll, Waker},
};

/// Whether the request is talking to the store about its session.
#[derive(Debug, Default)]
pub(super) struct Runway {
    lane: Lane,
    waiting: Vec<Waker>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Lane {
    #[default]
    Free,
    /// A reload, which has nothing to lose.
    Reading,
    Writing,
}

impl Runway {
    /// Whether it was free, and is now taken.
    pub(super) fn take(&mut self, lane: Lane) -> bool {
        let free = self.lane == Lane::Free;
        if free {
            self.lane = lane;
        }
        free
    }

    pub(super) fn lane(&self) -> Lane {
        self.lane
    }

    /// Frees it. Whoever waits has to be woken without the lock that this lies behind: a waker may run anything.
    #[must_use]
    pub(super) fn clear(&mut self) -> Vec<Waker> {
        self.lane = Lane::Free;
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
    asked: Asked,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    Nothing,
    ToWrite,
}

impl<'a> Flight<'a> {
    /// Waits until no other one of the request is under way.
    pub(super) async fn begin(slot: &'a Slot, lane: Lane) -> Self {
        poll_fn(|context| {
            let runway = &mut slot.lock().runway;
            if runway.take(lane) {
                return Poll::Ready(());
            }
            runway.wait(context.waker());
            Poll::Pending
        })
        .await;
        Self::boarded(slot)
    }

    /// For whoever has taken the runway already.
    pub(super) fn boarded(slot: &'a Slot) -> Self {
        Self { slot, asked: Asked::Nothing }
    }

    pub(super) fn slot(&self) -> &'a Slot {
        self.slot
    }

    /// Asks the store to write. If the answer never arrives, because whoever waited for it went away, nobody knows what happened.
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
        let waiting = self.slot.lock().runway.clear();
        waiting.into_iter().for_each(Waker::wake);
        self.slot.announce_lost();
    }
}
