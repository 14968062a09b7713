//! Where the library's idea of "now" comes from.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How far ahead another server's clock may be.
pub(crate) const SKEW: Duration = Duration::from_secs(5 * 60);

/// An instant as stored: milliseconds since the Unix epoch, by the application's clock.
///
/// Every deadline in a record is one of these, in every store, so that two databases can never disagree about what a
/// deadline means. Negative values are instants before 1970. Arithmetic saturates: a wild clock can make a session
/// expire early or late, but never panic.
///
/// ```
/// use cloakroom::record::Timestamp;
/// use std::time::Duration;
///
/// let start = Timestamp::from_millis(1_000);
/// assert_eq!(start.plus(Duration::from_secs(2)).as_millis(), 3_000);
/// assert_eq!(start.until(Timestamp::from_millis(500)), Duration::ZERO);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The instant that many milliseconds after the Unix epoch.
    ///
    /// ```
    /// use cloakroom::record::Timestamp;
    /// assert!(Timestamp::from_millis(-1) < Timestamp::from_millis(0));
    /// ```
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the Unix epoch.
    ///
    /// ```
    /// use cloakroom::record::Timestamp;
    /// assert_eq!(Timestamp::from(std::time::UNIX_EPOCH).as_millis(), 0);
    /// ```
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// This instant moved forward, or the last representable one.
    ///
    /// ```
    /// use cloakroom::record::Timestamp;
    /// let end = Timestamp::from_millis(i64::MAX);
    /// assert_eq!(end.plus(std::time::Duration::MAX), end);
    /// ```
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(millis(by)))
    }

    /// This instant moved back, or the first representable one.
    ///
    /// ```
    /// use cloakroom::record::Timestamp;
    /// let start = Timestamp::from_millis(1_000);
    /// assert_eq!(start.minus(std::time::Duration::from_secs(1)).as_millis(), 0);
    /// ```
    #[must_use]
    pub fn minus(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(millis(by)))
    }

    /// The time from this instant to a later one; zero if `later` is not later.
    ///
    /// ```
    /// use cloakroom::record::Timestamp;
    /// let (start, end) = (Timestamp::from_millis(0), Timestamp::from_millis(1_500));
    /// assert_eq!(start.until(end).as_millis(), 1_500);
    /// assert_eq!(end.until(start).as_millis(), 0);
    /// ```
    pub fn until(self, later: Self) -> Duration {
        Duration::from_millis(u64::try_from(later.0.saturating_sub(self.0)).unwrap_or(0))
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        match time.duration_since(UNIX_EPOCH) {
            Ok(after) => Self(millis(after)),
            Err(before) => Self(-millis(before.duration())),
        }
    }
}

impl From<Timestamp> for SystemTime {
    fn from(at: Timestamp) -> Self {
        let distance = Duration::from_millis(at.0.unsigned_abs());
        let shifted = if at.0 < 0 { UNIX_EPOCH.checked_sub(distance) } else { UNIX_EPOCH.checked_add(distance) };
        shifted.unwrap_or(UNIX_EPOCH)
    }
}

/// A source of the current time.
///
/// [`SystemClock`] is the default; tests hand in `testing::ManualClock`, so that no test waits for an expiry. Implement it
/// for a clock that your application already distributes.
///
/// ```
/// use cloakroom::{Clock, SessionLayer, store::MemoryStore};
/// use std::time::{Duration, SystemTime};
///
/// #[derive(Debug)]
/// struct AnHourAhead;
/// impl Clock for AnHourAhead {
///     fn now(&self) -> SystemTime {
///         SystemTime::now() + Duration::from_secs(3600)
///     }
/// }
/// let sessions = SessionLayer::new(MemoryStore::new()).clock(AnHourAhead);
/// # let _ = sessions;
/// ```
pub trait Clock: Send + Sync + 'static {
    /// The current wall-clock time.
    ///
    /// ```
    /// use cloakroom::{Clock, SystemClock};
    /// assert!(SystemClock.now() > std::time::UNIX_EPOCH);
    /// ```
    fn now(&self) -> SystemTime;
}

/// The clock of the operating system.
///
/// ```
/// use cloakroom::{Clock, SystemClock};
/// assert!(SystemClock.now() > std::time::UNIX_EPOCH);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
}

impl<C: Clock + ?Sized> Clock for std::sync::Arc<C> {
    fn now(&self) -> SystemTime {
        (**self).now()
    }
}
