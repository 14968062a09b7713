//! From a request to a handle: the cookie is read and the record loaded, once per request.

use super::{
    access::{Access, ClientCopy, Found},
    slot::Slot,
    typed::TypedSession,
};
use crate::{
    config::Config,
    cookie::{self, Arrival},
    error::{ErrorPage, SessionError, SessionRejection},
    events::{self, Refused},
    record::{Timestamp, Want},
    schema::SessionData,
    store::Backend,
    token::Token,
};
use axum_core::extract::{FromRequestParts, OptionalFromRequestParts};
use http::request::Parts;
use std::{any::TypeId, sync::Arc};

impl<T: SessionData, S: Send + Sync> FromRequestParts<S> for TypedSession<T> {
    type Rejection = SessionRejection;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, SessionRejection> {
        enter::<T, _>(parts, |slot, access| Self::open(slot, access)).await
    }
}

impl<T: SessionData, S: Send + Sync> OptionalFromRequestParts<S> for TypedSession<T> {
    type Rejection = SessionRejection;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Option<Self>, SessionRejection> {
        enter::<T, _>(parts, |slot, access| access.has_begun().then(|| Self::open(slot, access))).await
    }
}

/// Loads the request's session unless that has happened, and makes a handle of it.
async fn enter<T: SessionData, R>(parts: &Parts, open: impl FnOnce(&Slot, &mut Access) -> R) -> Result<R, SessionRejection> {
    enter_if(parts, |config| config.admit(T::__schema(), TypeId::of::<T>()), open).await
}

pub(super) fn reject(parts: &Parts, error: impl Into<Arc<SessionError>>, page: &ErrorPage) -> SessionRejection {
    SessionRejection::new(error.into(), page.context(&parts.method, &parts.uri, &parts.headers), page.clone())
}

/// Loads the request's session unless that has happened.
pub(super) async fn enter_if<R>(
    parts: &Parts,
    admit: impl FnOnce(&Config) -> Result<(), SessionError>,
    open: impl FnOnce(&Slot, &mut Access) -> R,
) -> Result<R, SessionRejection> {
    let misbuilt = |error: SessionError, page: &ErrorPage| {
        events::failed(&error);
        reject(parts, error, page)
    };
    let Some(slot) = parts.extensions.get::<Slot>() else {
        return Err(misbuilt(SessionError::MissingLayer, &ErrorPage::default()));
    };
    let (config, loaded) = {
        let request = slot.lock();
        (Arc::clone(&request.config), request.access.is_some())
    };
    admit(&config).map_err(|error| misbuilt(error, &config.page))?;
    let found = if loaded { None } else { Some(look(parts, &config).await) };
    let mut request = slot.lock();
    let access = match (&mut request.access, found) {
        (Some(access), _) => access,
        (empty, found) => {
            let (found, now) = found.unwrap_or_else(|| (Found::Nothing, config.now()));
            let context = config.page.context(&parts.method, &parts.uri, &parts.headers);
            let access = empty.insert(Box::new(Access::new(parts.method.clone(), context, found, &config, now)));
            // A cookie that came back was not dropped.
            if access.client == ClientCopy::None && config.looks_for_plain_http() {
                access.arrival = Arrival::of(&parts.uri, &parts.headers);
            }
            access
        }
    };
    match access.outage() {
        Some(error) => Err(reject(parts, Arc::clone(error), &config.page)),
        None => Ok(open(slot, access)),
    }
}

/// How a request's errors look.
pub(super) fn page(parts: &Parts) -> ErrorPage {
    parts.extensions.get::<Slot>().map_or_else(ErrorPage::default, |slot| slot.lock().config.page.clone())
}

/// Reads the cookie and asks the store what it knows, and when that was.
async fn look(parts: &Parts, config: &Config) -> (Found, Timestamp) {
    let now = config.now();
    (look_at(parts, config, now).await, now)
}

async fn look_at(parts: &Parts, config: &Config, now: Timestamp) -> Found {
    let value = match cookie::find(&parts.headers, config.cookie.name()) {
        cookie::Found::Absent => return Found::Nothing,
        cookie::Found::Ambiguous => return Found::Refused(Refused::Ambiguous, None),
        cookie::Found::One(value) => value,
    };
    match &config.backend {
        Backend::Server(store) => {
            let Some(token) = Token::parse(value) else { return Found::Refused(Refused::Malformed, None) };
            let mut presented = config.present(config.hasher.hash(&token, None), now);
            match store.load(&token.selector, &presented, &Want::default()).await {
                Ok(Some(record)) => {
                    let touch = config.recognise(&token, &mut presented, &record.header);
                    if config.ends_for(&record, &presented)
                        && let Err(error) = store.delete(&token.selector).await
                    {
                        events::failed(&error.into());
                    }
                    Found::Record { token, presented, record, touch }
                }
                Ok(None) => Found::Refused(Refused::Unknown, Some(token.selector)),
                Err(error) => Found::Unavailable(Arc::new(error.into())),
            }
        }
        #[cfg(feature = "cookie")]
        Backend::Client(store) => match store.open(config.cookie.name(), value, now) {
            Some((token, record)) => {
                let presented = config.present(record.header.secret_hash, now);
                Found::Record { token, presented, record: Arc::new(record), touch: config.backend.idle_touch() }
            }
            None => Found::Refused(Refused::Malformed, None),
        },
    }
}
