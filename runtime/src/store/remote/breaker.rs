//! Fails fast while a server is away, and lets one attempt through whenever the wait is over.

use crate::store::{StoreError, sweeping::jittered};
use std::{
    fmt::Display,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// The wait after a first failure; doubled with each further one.
const FIRST: Duration = Duration::from_millis(50);
const MOST_DOUBLINGS: u32 = 5;

#[derive(Debug, Default)]
pub(in crate::store) struct Breaker(Mutex<Option<Tripped>>);

#[derive(Debug)]
struct Tripped {
    failures: u32,
    closed_until: Instant,
    cause: Arc<str>,
}

/// How many attempts had failed in a row when somebody was let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct Pass(u32);

impl Breaker {
    /// Leave to make an attempt. After a failure one caller has it per wait, and all others are told why not.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] with the last failure's cause.
    pub(in crate::store) fn pass(&self) -> Result<Pass, StoreError> {
        match &mut *self.state() {
            None => Ok(Pass(0)),
            Some(tripped) if Instant::now() < tripped.closed_until => Err(tripped.refusal()),
            Some(tripped) => {
                // The others wait for how this attempt ends.
                tripped.closed_until = Instant::now() + wait(tripped.failures);
                Ok(Pass(tripped.failures))
            }
        }
    }

    /// Whether nobody's attempt has failed since that leave was given.
    ///
    /// # Errors
    /// As [`pass`](Breaker::pass).
    pub(in crate::store) fn still(&self, pass: Pass) -> Result<(), StoreError> {
        match &*self.state() {
            Some(tripped) if tripped.failures != pass.0 => Err(tripped.refusal()),
            _ => Ok(()),
        }
    }

    pub(in crate::store) fn failed(&self, cause: &dyn Display) {
        let mut state = self.state();
        let failures = state.as_ref().map_or(1, |tripped| tripped.failures.saturating_add(1));
        *state = Some(Tripped { failures, closed_until: Instant::now() + wait(failures), cause: cause.to_string().into() });
    }

    pub(in crate::store) fn worked(&self) {
        *self.state() = None;
    }

    fn state(&self) -> MutexGuard<'_, Option<Tripped>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tripped {
    fn refusal(&self) -> StoreError {
        StoreError::unavailable(&*self.cause)
    }
}

fn wait(failures: u32) -> Duration {
    jittered(FIRST * 2u32.pow(failures.saturating_sub(1).min(MOST_DOUBLINGS)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn everybody_passes_until_something_fails() {
        let breaker = Breaker::default();
        let (first, second) = (breaker.pass().unwrap(), breaker.pass().unwrap());
        assert!(breaker.still(first).is_ok() && breaker.still(second).is_ok());
    }

    #[test]
    fn after_a_failure_everybody_is_told_why_until_the_wait_is_over_and_then_one_passes() {
        let breaker = Breaker::default();
        let early = breaker.pass().unwrap();
        breaker.failed(&"connection refused");
        assert!(breaker.pass().unwrap_err().to_string().ends_with("connection refused"));
        assert!(breaker.still(early).is_err(), "who passed before the failure need not try again");

        breaker.state().as_mut().unwrap().closed_until = Instant::now();
        let probe = breaker.pass().unwrap();
        assert!(breaker.still(probe).is_ok());
        assert!(breaker.pass().is_err(), "one at a time");
        breaker.worked();
        assert!(breaker.pass().is_ok() && breaker.pass().is_ok());
    }

    #[test]
    fn waits_grow_to_two_seconds_and_no_further() {
        assert!(wait(1) <= FIRST * 5 / 4);
        assert!(wait(4) >= FIRST * 6);
        assert!(wait(u32::MAX) <= Duration::from_secs(2));
    }
}
