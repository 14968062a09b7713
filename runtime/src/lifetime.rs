//! How long a session lives: an idle and an absolute limit, both always set.

use std::{fmt, time::Duration};

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// The two limits of a session's life.
///
/// `idle` ends a session that is not used for that long; every use moves that deadline. `absolute` ends it that long after it
/// began, however busy it is. Both are enforced by the library itself for every store (OWASP ASVS 5.0 7.3.1 and 7.3.2);
/// what a database does with its own expiry is garbage collection only.
///
/// Both are upper limits, and no session outlives one. The absolute limit is exact. The idle limit is exact on Redis and in memory; on SQL and
/// with `CookieStore`, where noting a use costs a write, a use is noted once per fifth of the idle time, so a session ends after four
/// fifths of it at the earliest. [`expires_at`](crate::TypedSession::expires_at) and [`Sessions::list`](crate::Sessions::list) say what is
/// stored.
///
/// A request that loaded the session before the idle deadline is a use, however long it takes: what it changes is stored. The absolute
/// deadline is judged when it is stored.
///
/// *Default*: idle 24 hours, absolute 30 days. *When to change it*: shorter for anything that moves money or health data
/// (the presets name their source), longer only through [`SessionLayer::remember`](crate::SessionLayer::remember).
///
/// Shortening a configured lifetime shortens sessions that are alive already; lengthening it does not revive dead ones.
///
/// ```
/// use cloakroom::Lifetime;
/// use std::time::Duration;
///
/// let office_hours = Lifetime::new(Duration::from_secs(30 * 60), Duration::from_secs(8 * 3600))?;
/// assert_eq!(office_hours.idle().as_secs(), 1800);
/// assert!(Lifetime::new(Duration::ZERO, Duration::from_secs(60)).is_err());
/// # Ok::<(), cloakroom::LifetimeError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    idle: Duration,
    absolute: Duration,
}

impl Lifetime {
    /// The longest lifetime a browser honours for a cookie: 400 days (RFC 6265bis, section 5.5).
    ///
    /// ```
    /// use cloakroom::Lifetime;
    /// assert!(Lifetime::new(Lifetime::MAX, Lifetime::MAX).is_ok());
    /// ```
    pub const MAX: Duration = Duration::from_secs(400 * DAY);

    /// The longest idle time of a session that holds nothing yet, such as one that began with a form's CSRF token: one hour.
    ///
    /// A visitor who never comes back, such as a crawler, leaves a record for no longer than that. The session gets the layer's
    /// idle time when its cookie comes back, or when it is given a value.
    ///
    /// ```
    /// use cloakroom::Lifetime;
    /// assert!(Lifetime::EMPTY_IDLE < Lifetime::default().idle());
    /// ```
    pub const EMPTY_IDLE: Duration = Duration::from_secs(HOUR);

    /// A lifetime of these two limits.
    ///
    /// # Errors
    /// If either is shorter than a millisecond (the resolution of a deadline) or `absolute` is above [`Lifetime::MAX`]. An idle
    /// limit longer than the absolute one is allowed and has no effect.
    ///
    /// ```
    /// use cloakroom::{Lifetime, LifetimeError};
    /// use std::time::Duration;
    /// let hour = Duration::from_secs(3600);
    /// assert!(Lifetime::new(hour, 8 * hour).is_ok());
    /// assert_eq!(Lifetime::new(hour, Duration::ZERO), Err(LifetimeError::TooShort));
    /// ```
    pub fn new(idle: Duration, absolute: Duration) -> Result<Self, LifetimeError> {
        if idle < Duration::from_millis(1) || absolute < Duration::from_millis(1) {
            return Err(LifetimeError::TooShort);
        }
        if absolute > Self::MAX {
            return Err(LifetimeError::TooLong(absolute));
        }
        Ok(Self { idle, absolute })
    }

    /// How long a session may go unused.
    ///
    /// ```
    /// use cloakroom::Lifetime;
    /// assert_eq!(Lifetime::default().idle().as_secs(), 24 * 3600);
    /// ```
    pub const fn idle(&self) -> Duration {
        self.idle
    }

    /// How long a session may live at all.
    ///
    /// ```
    /// use cloakroom::Lifetime;
    /// assert_eq!(Lifetime::default().absolute().as_secs(), 30 * 24 * 3600);
    /// ```
    pub const fn absolute(&self) -> Duration {
        self.absolute
    }

    /// NIST SP 800-63B-4, assurance level 1 (section 2.1.3): at most 30 days, idle not limited by the standard and set to the
    /// default 24 hours here.
    ///
    /// ```
    /// use cloakroom::Lifetime;
    /// assert_eq!(Lifetime::nist_aal1().absolute().as_secs(), 30 * 24 * 3600);
    /// ```
    pub const fn nist_aal1() -> Self {
        Self { idle: Duration::from_secs(DAY), absolute: Duration::from_secs(30 * DAY) }
    }

    /// NIST SP 800-63B-4, assurance level 2 (section 2.2.3): at most 24 hours, idle at most one hour.
    ///
    /// ```
    /// use cloakroom::Lifetime;
    /// assert_eq!(Lifetime::nist_aal2().idle().as_secs(), 3600);
    /// ```
    pub const fn nist_aal2() -> Self {
        Self { idle: Duration::from_secs(HOUR), absolute: Duration::from_secs(DAY) }
    }

    /// NIST SP 800-63B-4, assurance level 3 (section 2.3.3): at most 12 hours, idle at most 15 minutes.
    ///
    /// ```
    /// use cloakroom::Lifetime;
    /// assert_eq!(Lifetime::nist_aal3().idle().as_secs(), 15 * 60);
    /// ```
    pub const fn nist_aal3() -> Self {
        Self { idle: Duration::from_secs(15 * MINUTE), absolute: Duration::from_secs(12 * HOUR) }
    }
}

impl Default for Lifetime {
    fn default() -> Self {
        Self { idle: Duration::from_secs(DAY), absolute: Duration::from_secs(30 * DAY) }
    }
}

impl fmt::Display for Lifetime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "idle {:?}, absolute {:?}", self.idle, self.absolute)
    }
}

/// Why a [`Lifetime`] was refused.
///
/// ```
/// use cloakroom::{Lifetime, LifetimeError};
/// use std::time::Duration;
/// let error = Lifetime::new(Duration::ZERO, Duration::from_secs(1)).unwrap_err();
/// assert_eq!(error, LifetimeError::TooShort);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LifetimeError {
    /// A limit below one millisecond would end every session before its first use.
    TooShort,
    /// An absolute limit above 400 days; browsers cap cookies there.
    TooLong(Duration),
}

impl fmt::Display for LifetimeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooShort => f.write_str("a session lifetime must be at least one millisecond; give both limits a length, e.g. Duration::from_secs(3600)"),
            Self::TooLong(given) => write!(f, "an absolute lifetime of {given:?} is above 400 days, where browsers drop the cookie; use Lifetime::MAX or less"),
        }
    }
}

impl std::error::Error for LifetimeError {}
