//! What the response says about the session: the cookie, an error, whether it may be cached.

use super::access::{Access, ClientCopy, Former, Live};
use crate::{
    config::Config,
    cookie::Arrival,
    error::{ErrorContext, SessionError},
    events,
    record::Timestamp,
    store::Backend,
};
use http::Method;
use std::time::Duration;

/// How old a request may be to clear the dead cookie that it came with, or to set a live one anew: another process may have set a newer one.
const CLEARED_WITHIN: Duration = Duration::from_secs(5);

/// What the response must hand out.
#[derive(Debug)]
pub(super) enum Reply {
    Nothing,
    /// The token of the live session.
    Token,
    /// The record itself, sealed.
    #[cfg(feature = "cookie")]
    Sealed(String),
}

/// What a response does to the cookie.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum CookieEffect {
    Leave,
    Set { value: String, until: Option<Timestamp> },
    Clear,
}

/// What the layer does to a response once the session is settled.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The error to answer with instead, and the request it belongs to.
    pub(crate) failure: Option<(SessionError, Option<ErrorContext>)>,
    pub(crate) cookie: CookieEffect,
    /// Whether cookies of earlier policies are cleared, if there are such policies.
    pub(crate) clears_former: bool,
    /// Whether it is for this visitor alone, so that no cache may keep the response.
    pub(crate) personal: bool,
    /// How the request came, if that matters to the cookie.
    pub(crate) arrival: Arrival,
}

impl Reply {
    /// The token or the record once more, for a client whose cookie may be of an earlier policy.
    #[cfg_attr(not(feature = "cookie"), allow(unused_variables))]
    pub(super) fn again(live: &Live, config: &Config) -> Self {
        match &config.backend {
            Backend::Server(_) => Self::Token,
            #[cfg(feature = "cookie")]
            Backend::Client(store) => match store.seal(config.cookie.name(), &live.token, &live.record) {
                Ok(value) => Self::Sealed(value),
                Err(error) => {
                    // The session goes on with the cookie that it has.
                    events::failed(&error);
                    Self::Nothing
                }
            },
        }
    }
}

impl Access {
    /// The session of a response that is about to go out is settled: nothing can be added to it.
    pub(super) fn close(&mut self, result: Result<(), SessionError>, config: &Config) -> Answer {
        let failure = self.failure.take().or(result.err()).filter(|error| {
            // A reader need not learn that its session ended under it; the next request will.
            !(matches!(error, SessionError::Gone) && [Method::GET, Method::HEAD].contains(&self.method))
        });
        if let Some(error) = &failure {
            events::failed(error);
        }
        let cookie = self.cookie_effect(config);
        Answer {
            clears_former: match self.former {
                Former::Unlikely => false,
                Former::Likely | Former::Moves => cookie != CookieEffect::Leave,
                Former::Certain => true,
            },
            cookie,
            failure: failure.map(|error| (error, self.context.clone())),
            arrival: std::mem::take(&mut self.arrival),
            personal: self.personal || self.live().is_some_and(|live| live.record.header.owner.is_some()),
        }
    }

    /// Whether no other response can have set a newer cookie since this request came with a dead one.
    ///
    /// A deletion names no value, so that of a slow request would erase the token of a sign-in that overtook it. Then the dead cookie
    /// stays, which costs the next request a look into the store, and is cleared there.
    fn is_alone(&self, config: &Config) -> bool {
        config.sessions_begun() == self.sessions_begun && self.is_recent(config)
    }

    fn is_recent(&self, config: &Config) -> bool {
        config.now() < self.loaded_at.plus(CLEARED_WITHIN)
    }

    /// The one place that decides what a response does to the cookie.
    fn cookie_effect(&mut self, config: &Config) -> CookieEffect {
        let reply = match (std::mem::replace(&mut self.reply, Reply::Nothing), self.live()) {
            // A slow request leaves that to the next one: another response may have set a newer token.
            (Reply::Nothing, Some(live)) if self.former == Former::Moves && self.is_recent(config) => {
                Reply::again(live, config)
            }
            (reply, _) => reply,
        };
        let effect = match (self.live(), reply) {
            (Some(live), Reply::Token) => CookieEffect::Set { value: live.token.encode(), until: live.cookie_until() },
            #[cfg(feature = "cookie")]
            (Some(live), Reply::Sealed(value)) => CookieEffect::Set { value, until: live.cookie_until() },
            _ if self.client == ClientCopy::Ended => CookieEffect::Clear,
            _ if self.client == ClientCopy::Dead && self.is_alone(config) => CookieEffect::Clear,
            _ => CookieEffect::Leave,
        };
        if matches!(effect, CookieEffect::Set { .. }) && self.client != ClientCopy::Current {
            config.note_session_begun();
        }
        self.client = match effect {
            CookieEffect::Set { .. } => ClientCopy::Current,
            CookieEffect::Clear => ClientCopy::None,
            CookieEffect::Leave => self.client,
        };
        effect
    }
}
