//! A clock that stands still until a test moves it.

use super::lock;
use crate::clock::Clock;
use std::{
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

/// A clock that a test sets by hand. Clones show the same time.
///
/// Give one clone to the [`SessionLayer`](crate::SessionLayer), another to the [`TestClient`](super::TestClient), and keep one
/// to move: a session then expires on the line of the test that says so.
///
/// ```
/// use cloakroom::{Clock, testing::ManualClock};
/// use std::time::{Duration, SystemTime};
///
/// let clock = ManualClock::new(SystemTime::UNIX_EPOCH);
/// let shared = clock.clone();
/// clock.advance(Duration::from_secs(90));
/// assert_eq!(shared.now(), SystemTime::UNIX_EPOCH + Duration::from_secs(90));
/// ```
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<Mutex<SystemTime>>);

impl ManualClock {
    /// A clock that shows this time until it is moved.
    pub fn new(time: SystemTime) -> Self {
        Self(Arc::new(Mutex::new(time)))
    }

    /// Moves the clock forward.
    ///
    /// # Panics
    /// If the time would lie beyond what the platform can represent.
    pub fn advance(&self, by: Duration) {
        *lock(&self.0) += by;
    }

    /// Sets the clock to any time, also to an earlier one: machines' clocks do jump back.
    ///
    /// ```
    /// use cloakroom::{Clock, testing::ManualClock};
    /// use std::time::{Duration, SystemTime};
    ///
    /// let noon = SystemTime::UNIX_EPOCH + Duration::from_secs(12 * 3600);
    /// let clock = ManualClock::new(noon);
    /// clock.set(noon - Duration::from_secs(3600));
    /// assert!(clock.now() < noon);
    /// ```
    pub fn set(&self, time: SystemTime) {
        *lock(&self.0) = time;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> SystemTime {
        *lock(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_share_the_time_and_it_may_jump_back() {
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        let clock = ManualClock::new(start);
        let other = clock.clone();
        other.advance(Duration::from_secs(5));
        assert_eq!(clock.now(), start + Duration::from_secs(5));
        clock.set(SystemTime::UNIX_EPOCH - Duration::from_secs(1));
        assert_eq!(other.now(), SystemTime::UNIX_EPOCH - Duration::from_secs(1));
    }
}
