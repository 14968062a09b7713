//! When a store removes expired records on its own: about once a minute by the application's clock, later after failures.

// Redis expires its keys itself, and needs only the slack and the jitter.
#![cfg_attr(not(any(feature = "sqlite", feature = "postgres", feature = "mysql")), allow(dead_code))]

use crate::{events, random, record::Timestamp};
use std::{fmt::Display, time::Duration};

/// How many records one transaction sweeps, so that commits between them do not wait long.
pub(super) const AT_ONCE: usize = 500;

/// How far past its deadline a store's own sweep leaves a record alone: room for clocks that differ.
pub(super) const SLACK: Duration = Duration::from_secs(3600);

/// How long a store waits between two sweeps, and after a failure; doubled with each further one.
pub(super) const EVERY: Duration = Duration::from_secs(60);
const MOST_DOUBLINGS: u32 = 6;

/// How long a store pauses between two batches of one sweep, for the requests that wait meanwhile.
pub(super) const PAUSE: Duration = Duration::from_millis(20);

/// What a sweep has left to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Left {
    #[default]
    Nothing,
    /// The last batch was full.
    More,
}

/// When to sweep next.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    last: Option<Timestamp>,
    wait: Duration,
    failures: u32,
    left: Left,
}

impl Schedule {
    pub(super) fn left(&self) -> Left {
        self.left
    }

    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        // A clock that was set back counts as a passed wait, or sweeping would pause until it has caught up.
        self.left == Left::More || self.last.is_none_or(|last| now < last || last.until(now) >= self.wait)
    }

    /// Takes note of how a batch of [`AT_ONCE`] went.
    pub(super) fn ran<E: Display>(&mut self, now: Timestamp, removed: Result<usize, E>, place: &dyn Display) {
        (self.left, self.failures) = match &removed {
            Ok(removed) => (if *removed >= AT_ONCE { Left::More } else { Left::Nothing }, 0),
            Err(_) => (Left::Nothing, (self.failures + 1).min(MOST_DOUBLINGS)),
        };
        self.last = Some(now);
        self.wait = jittered(EVERY * 2u32.pow(self.failures));
        if let Err(error) = removed {
            // The growing wait between two attempts is what keeps these events few. Last, since what listens to events is the
            // application's and may panic.
            events::sweep_failed(place, error);
        }
    }
}

/// Between three and five quarters of a wait, so that processes that started together do not go on together.
pub(super) fn jittered(wait: Duration) -> Duration {
    // Without random bytes it is merely less even.
    let part = random::bytes::<1>().map_or(0, |[byte]| u32::from(byte));
    wait * 3 / 4 + wait * part / (2 * 256)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOBODY: &str = "a test";

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(0).plus(Duration::from_secs(seconds))
    }

    #[test]
    fn the_first_sweep_is_due_at_once_and_the_next_about_a_minute_later() {
        let mut schedule = Schedule::default();
        assert!(schedule.is_due(at(0)));
        schedule.ran::<&str>(at(0), Ok(3), &NOBODY);
        assert!(!schedule.is_due(at(44)));
        assert!(schedule.is_due(at(75)));
    }

    #[test]
    fn a_full_batch_makes_the_next_one_due_at_once() {
        let mut schedule = Schedule::default();
        schedule.ran::<&str>(at(0), Ok(AT_ONCE), &NOBODY);
        assert_eq!((schedule.left(), schedule.is_due(at(0))), (Left::More, true));
        schedule.ran::<&str>(at(0), Ok(1), &NOBODY);
        assert_eq!((schedule.left(), schedule.is_due(at(1))), (Left::Nothing, false));
    }

    #[test]
    fn failures_lengthen_the_wait_up_to_a_bound_and_a_success_ends_that() {
        let mut schedule = Schedule::default();
        for _ in 0..3 {
            schedule.ran(at(0), Err("no"), &NOBODY);
        }
        assert!(!schedule.is_due(at(8 * 45 - 1)));
        assert!(schedule.is_due(at(8 * 75)));
        for _ in 0..100 {
            schedule.ran(at(0), Err("no"), &NOBODY);
        }
        assert!(schedule.is_due(at(64 * 75)));
        schedule.ran::<&str>(at(0), Ok(0), &NOBODY);
        assert!(schedule.is_due(at(75)));
    }

    #[test]
    fn a_clock_set_back_does_not_stop_sweeping() {
        let mut schedule = Schedule::default();
        schedule.ran::<&str>(at(1_000), Ok(0), &NOBODY);
        assert!(schedule.is_due(at(999)));
    }

    #[test]
    fn waits_are_spread_around_their_length() {
        let waits: Vec<Duration> = (0..200).map(|_| jittered(EVERY)).collect();
        assert!(waits.iter().all(|wait| (EVERY * 3 / 4..EVERY * 5 / 4).contains(wait)));
        assert!(waits.iter().any(|wait| *wait < EVERY) && waits.iter().any(|wait| *wait > EVERY));
    }
}
