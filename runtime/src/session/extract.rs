//! From a request to a handle: the cookie is read and the record loaded, once per request.

use super::{
    access::{Access, ClientCopy, Found},
    candidates::{self, Shown},
    slot::Slot,
    typed::TypedSession,
};
use crate::{
    config::Config,
    cookie::Arrival,
    error::{ErrorPage, SessionError, SessionRejection},
    events,
    schema::SessionData,
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
    let looked = if loaded {
        None
    } else {
        let now = config.now();
        Some((candidates::look(&parts.headers, &config, now).await, now))
    };
    let mut request = slot.lock();
    let access = match (&mut request.access, looked) {
        (Some(access), _) => access,
        (empty, looked) => {
            let (found, now) = looked.unwrap_or_else(|| ((Found::Nothing, Shown::Nothing), config.now()));
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
