//! Which of a request's cookies is its session's: as a rule there is one, and it is.

use super::access::Found;
use crate::{
    config::Config,
    cookie,
    events::{self, Refused},
    record::{Accepted, Timestamp, Want},
    store::Backend,
    token::Token,
};
use http::HeaderMap;
use std::sync::Arc;

/// What a request shows of our cookies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    Nothing,
    One,
    /// Several under the present name.
    Twins,
    /// One or more under a former name.
    Former,
}

/// Reads our cookies, and asks the store what it knows of them.
pub(super) async fn look(headers: &HeaderMap, config: &Config, now: Timestamp) -> (Found, Shown) {
    let name = config.cookie.name();
    let (mut found, mut shown) = match cookie::find(headers, name) {
        cookie::Found::Absent => (Found::Nothing, Shown::Nothing),
        cookie::Found::One(value) => (open(config, name, value, now).await, Shown::One),
        cookie::Found::Several(values) => {
            events::twins(values.len(), config.cookie.has_former());
            let candidates = values.into_iter().map(|value| (name, value));
            (choose(config, candidates, now).await, Shown::Twins)
        }
        cookie::Found::TooMany => return (Found::Refused(Refused::Ambiguous, None), Shown::Twins),
    };
    if config.cookie.former_names().next().is_some() {
        let former: Vec<_> = config.cookie.former_names().flat_map(|name| under(headers, name)).collect();
        if !former.is_empty() && shown != Shown::Twins {
            shown = Shown::Former;
        }
        // A former name may be one that a sibling host can set, so it does not compete with the present one; nor with a token that was
        // replaced, since its successor may be on the way.
        if (1..=cookie::MOST).contains(&former.len()) && found.rank(config) < Rank::Stale {
            let other = choose(config, former.into_iter(), now).await;
            if matches!(found, Found::Nothing) || other.rank(config) >= Rank::Unclear {
                found = other;
            }
        }
    }
    if let (Found::Record { token, presented, record, .. }, Backend::Server(store)) = (&found, &config.backend)
        && config.ends_for(record, presented)
        && let Err(error) = store.delete(&token.selector).await
    {
        events::failed(&error.into());
    }
    (found, shown)
}

/// The values under a former name. Of too many none is looked at, as under the present one.
fn under<'a>(headers: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = (&'a str, &'a [u8])> {
    let values = match cookie::find(headers, name) {
        cookie::Found::Absent | cookie::Found::TooMany => Vec::new(),
        cookie::Found::One(value) => vec![value],
        cookie::Found::Several(values) => values,
    };
    values.into_iter().map(move |value| (name, value))
}

/// How much a cookie says about the request's session, the least first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Nothing,
    Malformed,
    Unknown,
    Expired,
    /// A newer token of that session exists.
    Stale,
    /// Two open, or the store does not answer: no further cookie makes that better.
    Unclear,
    Open(Accepted),
}

impl Found {
    fn rank(&self, config: &Config) -> Rank {
        match self {
            Self::Nothing => Rank::Nothing,
            Self::Refused(Refused::Malformed, _) => Rank::Malformed,
            Self::Refused(Refused::Ambiguous, _) | Self::Unavailable(_) => Rank::Unclear,
            Self::Refused(..) => Rank::Unknown,
            Self::Record { presented, record, .. } => match config.verdict(record, presented) {
                Ok(accepted) => Rank::Open(accepted),
                Err(Refused::Stale) => Rank::Stale,
                Err(_) => Rank::Expired,
            },
        }
    }
}

/// The one that opens a session. Where none does, the one that says most; where two open different sessions, neither.
async fn choose<'a>(config: &Config, candidates: impl Iterator<Item = (&'a str, &'a [u8])>, now: Timestamp) -> Found {
    let mut best = Found::Nothing;
    for (name, value) in candidates {
        let found = open(config, name, value, now).await;
        best = match (best, found) {
            (_, unavailable @ Found::Unavailable(_)) => return unavailable,
            (best, found) => match (best.rank(config), found.rank(config)) {
                (Rank::Open(_), Rank::Open(_)) => match newer(best, found) {
                    Some(newer) => newer,
                    None => return Found::Refused(Refused::Ambiguous, None),
                },
                (known, new) if new > known => found,
                _ => best,
            },
        };
    }
    best
}

/// Of two cookies of one session, the newer one.
fn newer(one: Found, other: Found) -> Option<Found> {
    let age = |found: &Found| match found {
        Found::Record { token, presented, record, .. } => {
            let header = &record.header;
            let current = header.secret_hash.matches(&presented.secret_hash);
            Some((token.selector, (current, header.revision, header.last_seen)))
        }
        _ => None,
    };
    let ((one_key, one_age), (other_key, other_age)) = (age(&one)?, age(&other)?);
    (one_key == other_key).then(|| if other_age > one_age { other } else { one })
}

/// What one value opens, under the name it came with.
#[cfg_attr(not(feature = "cookie"), allow(unused_variables))]
async fn open(config: &Config, name: &str, value: &[u8], now: Timestamp) -> Found {
    match &config.backend {
        Backend::Server(store) => {
            let Some(token) = Token::parse(value) else { return Found::Refused(Refused::Malformed, None) };
            let mut presented = config.present(config.hasher.hash(&token, None), now);
            match store.load(&token.selector, &presented, &Want::default()).await {
                Ok(Some(record)) => {
                    let touch = config.recognise(&token, &mut presented, &record.header);
                    Found::Record { token, presented, record, touch }
                }
                Ok(None) => Found::Refused(Refused::Unknown, Some(token.selector)),
                Err(error) => Found::Unavailable(Arc::new(error.into())),
            }
        }
        #[cfg(feature = "cookie")]
        Backend::Client(store) => match store.open(name, value, now) {
            Some((token, record)) => {
                let presented = config.present(record.header.secret_hash, now);
                Found::Record { token, presented, record: Arc::new(record), touch: config.backend.idle_touch() }
            }
            None => Found::Refused(Refused::Malformed, None),
        },
    }
}
