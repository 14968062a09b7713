//! From a request to a handle: the cookie is read and the record loaded, once per request.

use super::{
    access::{Access, Found},
    slot::Slot,
    typed::TypedSession,
};
use crate::{
    config::Config,
    cookie,
    error::{ErrorContext, ErrorPage, SessionError, SessionRejection},
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
        let slot = enter::<T>(parts).await?;
        Ok(Self::open(slot))
    }
}

impl<T: SessionData, S: Send + Sync> OptionalFromRequestParts<S> for TypedSession<T> {
    type Rejection = SessionRejection;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Option<Self>, SessionRejection> {
        let slot = enter::<T>(parts).await?;
        let begun = slot.with_access(|access| access.has_begun()).unwrap_or(false);
        Ok(begun.then(|| Self::open(slot)))
    }
}

async fn enter<T: SessionData>(parts: &Parts) -> Result<Slot, SessionRejection> {
    let reject = |error: Arc<SessionError>, page: ErrorPage| {
        SessionRejection::new(error, ErrorContext::new(&parts.method, &parts.uri, &parts.headers), page)
    };
    let misbuilt = |error: SessionError, page: ErrorPage| {
        events::failed(&error);
        reject(Arc::new(error), page)
    };
    let Some(slot) = parts.extensions.get::<Slot>() else {
        return Err(misbuilt(SessionError::MissingLayer, ErrorPage::default()));
    };
    let (config, loaded) = {
        let request = slot.lock();
        (Arc::clone(&request.config), request.access.is_some())
    };
    config.admit(T::__schema(), TypeId::of::<T>()).map_err(|error| misbuilt(error, config.page.clone()))?;
    if !loaded {
        let now = config.now();
        let found = look(parts, &config, now).await;
        let mut request = slot.lock();
        if request.access.is_none() {
            let context = ErrorContext::new(&parts.method, &parts.uri, &parts.headers);
            request.access = Some(Box::new(Access::new(context, found, &config)));
        }
    }
    match slot.with_access(|access| access.outage().cloned()).flatten() {
        Some(error) => Err(reject(error, config.page.clone())),
        None => Ok(slot.clone()),
    }
}

/// Reads the cookie and asks the store what it knows.
async fn look(parts: &Parts, config: &Config, now: Timestamp) -> Found {
    let value = match cookie::find(&parts.headers, config.cookie.name()) {
        cookie::Found::Absent => return Found::Nothing,
        cookie::Found::Ambiguous => return Found::Refused(Refused::Ambiguous, None),
        cookie::Found::One(value) => value,
    };
    match &config.backend {
        Backend::Server(store) => {
            let Some(token) = Token::parse(value) else { return Found::Refused(Refused::Malformed, None) };
            let presented = config.present(token.secret.hash(), now);
            match store.load(&token.selector, &presented, &Want::default()).await {
                Ok(Some(record)) => Found::Record { token, presented, record },
                Ok(None) => Found::Refused(Refused::Unknown, Some(token.selector)),
                Err(error) => Found::Unavailable(Arc::new(error.into())),
            }
        }
        #[cfg(feature = "cookie")]
        Backend::Client(store) => match store.open(config.cookie.name(), value, now) {
            Some((token, record)) => Found::Record { presented: config.present(token.secret.hash(), now), token, record },
            None => Found::Refused(Refused::Malformed, None),
        },
    }
}
