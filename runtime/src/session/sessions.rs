//! The sessions of one owner, seen from outside of each: listed, and ended.

use super::{extract, slot::Slot, typed::TypedSession};
use crate::{
    config::Config,
    error::{SessionError, SessionRejection},
    events,
    record::{CommitOutcome, Deadlines, Handle, Header, OwnerHash, Patch, Selector, Timestamp, Want},
    schema::{self, HasOwner},
    store::{Backend, ServerStore, StoreError},
    token::SecretHash,
};
use axum_core::extract::FromRequestParts;
use http::request::Parts;
use std::{cmp::Reverse, fmt, sync::Arc, time::SystemTime};

/// The sessions of owners: a handler argument, or from [`SessionLayer::sessions`](crate::SessionLayer::sessions) outside of a request.
///
/// Owners are found through an index, not by looking at every session. It is written in the same step as the session's owner, and in a Redis
/// Cluster before it, so no session of somebody who is signed in goes unlisted.
///
/// ```
/// use axum::{Form, http::StatusCode, response::Redirect};
/// use cloakroom::{Handle, SessionData, SessionError, Sessions, SignedIn};
///
/// #[derive(SessionData)]
/// struct Shop {
///     #[session(owner)]
///     user: Option<u64>,
/// }
///
/// /// "You are signed in here:"
/// async fn devices(sessions: Sessions, session: SignedIn<Shop>) -> Result<String, SessionError> {
///     let Some(user) = session.owner() else { return Ok(String::new()) };
///     let lines = sessions.list::<Shop>(user).await?.into_iter().map(|it| {
///         let label = it.label.as_deref().unwrap_or("a browser").to_owned();
///         format!("{} {label} {}\n", it.handle, if it.is_current { "(this one)" } else { "" })
///     });
///     Ok(lines.collect())
/// }
///
/// #[derive(serde::Deserialize)]
/// struct SignOut { device: String }
///
/// /// "Sign out there." Within 15 minutes of a sign-in, since a thief would like to do this, too.
/// async fn sign_out_there(
///     sessions: Sessions,
///     session: SignedIn<Shop, 15>,
///     Form(SignOut { device }): Form<SignOut>,
/// ) -> Result<Redirect, SessionError> {
///     if let (Some(user), Ok(handle)) = (session.owner(), device.parse::<Handle>()) {
///         sessions.revoke::<Shop>(user, &handle).await?;
///     }
///     Ok(Redirect::to("/devices"))
/// }
///
/// /// After a password change (OWASP ASVS 5.0, 7.4.3).
/// async fn sign_out_elsewhere(sessions: Sessions, session: SignedIn<Shop>) -> Result<StatusCode, SessionError> {
///     sessions.revoke_others(&session).await?;
///     Ok(StatusCode::NO_CONTENT)
/// }
/// ```
///
/// A `CookieStore` knows of no sessions: its layer has no `sessions()`, and the argument is refused with [`SessionError::NoSessionList`].
#[derive(Clone)]
pub struct Sessions {
    config: Arc<Config>,
    /// The request it was asked for in.
    request: Option<Slot>,
}

/// One session in a list.
///
/// ```
/// fn line(session: &cloakroom::SessionInfo) -> String {
///     format!("{}, last seen {:?}", session.label.as_deref().unwrap_or("a browser"), session.last_seen)
/// }
/// # let _ = line;
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SessionInfo {
    /// Its public name, good for a form and for [`Sessions::revoke`].
    pub handle: Handle,
    /// When it began; with a change of owner it begins anew.
    pub created_at: SystemTime,
    /// When it was last used, to within a fifth of the idle time where the store notes that only now and then.
    pub last_seen: SystemTime,
    /// When the owner last proved who they are.
    pub authenticated_at: Option<SystemTime>,
    /// When it ends if nobody uses it again: the nearer of its two deadlines.
    pub expires_at: SystemTime,
    /// What [`set_label`](TypedSession::set_label) named it.
    pub label: Option<String>,
    /// Whether its cookie outlives the browser session.
    pub is_persistent: bool,
    /// Whether it is the session of this request.
    pub is_current: bool,
}

impl Sessions {
    pub(crate) fn outside(config: Arc<Config>) -> Self {
        Self { config, request: None }
    }

    /// The live sessions of an owner, the one used last first.
    ///
    /// # Errors
    /// [`SessionError::Unavailable`] and the like, if the store does not answer.
    pub async fn list<T: HasOwner>(&self, owner: &T::Owner) -> Result<Vec<SessionInfo>, SessionError> {
        let current = self.request.as_ref().and_then(Slot::selector);
        let mut live = live(self.store()?, &self.config, &hash::<T>(owner)?).await?;
        live.sort_by_key(|(_, header)| Reverse(header.last_seen));
        let info = |(selector, header): (Selector, Header)| SessionInfo {
            handle: selector.handle(),
            created_at: header.first_created().into(),
            last_seen: header.last_seen.into(),
            authenticated_at: header.authenticated_at.map(SystemTime::from),
            expires_at: self.config.ends(&header).into(),
            label: header.label.as_deref().map(str::to_owned),
            is_persistent: header.persistent,
            is_current: Some(selector) == current,
        };
        Ok(live.into_iter().map(info).collect())
    }

    /// Ends one session of an owner; answers whether there was one. A handle alone would not do: it comes from a form, and could
    /// name a session of another owner.
    ///
    /// A request of that session which is under way stores nothing more. Where it is this request's own, it ends here as by
    /// [`destroy`](TypedSession::destroy), and the cookie is cleared. A session that becomes another owner's in the meantime goes on.
    ///
    /// # Errors
    /// As [`list`](Sessions::list), and [`SessionError::Contended`] where the session changes its privilege over and over.
    pub async fn revoke<T: HasOwner>(&self, owner: &T::Owner, handle: &Handle) -> Result<bool, SessionError> {
        let owner = hash::<T>(owner)?;
        let live = live(self.store()?, &self.config, &owner).await?;
        let found = live.into_iter().find(|(selector, _)| selector.handle() == *handle);
        let Some((selector, header)) = found else { return Ok(false) };
        let ended = end(self.store()?, &self.config, &owner, &selector, &header).await?;
        if ended {
            events::revoked(T::__schema().name, 1, Some(&selector));
            self.leave(&owner, Some(&selector));
        }
        Ok(ended)
    }

    /// Ends every session of an owner; answers how many. For an account that was disabled, or at the word of an identity provider.
    ///
    /// Where this request's session is among them it ends here as by [`destroy`](TypedSession::destroy): its unsaved changes are dropped with an
    /// event, its handles write nothing more, and the cookie is cleared.
    ///
    /// A sign-in afterwards is a sign-in: an account that must not be signed in is refused where passwords are checked.
    ///
    /// # Errors
    /// As [`list`](Sessions::list).
    pub async fn revoke_all<T: HasOwner>(&self, owner: &T::Owner) -> Result<u64, SessionError> {
        let owner = hash::<T>(owner)?;
        let count = self.end_all::<T>(&owner, None).await?;
        self.leave(&owner, None);
        Ok(count)
    }

    /// Ends every session of whoever is signed in to this one, but this one; answers how many. After a change of the password, or of any
    /// factor. Who it is, is what the handle's `owner` field says, stored or not yet; where nobody is signed in it does nothing.
    ///
    /// # Errors
    /// As [`list`](Sessions::list).
    pub async fn revoke_others<T: HasOwner>(&self, session: &TypedSession<T>) -> Result<u64, SessionError> {
        match T::__owner(session) {
            Some(owner) => self.end_all::<T>(&hash::<T>(owner)?, session.slot().selector().as_ref()).await,
            None => Ok(0),
        }
    }

    /// Where this request's session is among those that were ended, it ends here too.
    fn leave(&self, owner: &OwnerHash, only: Option<&Selector>) {
        if let Some(request) = &self.request {
            let now = self.config.now();
            request.change(|access| access.revoked(owner, only, now));
        }
    }

    async fn end_all<T: HasOwner>(&self, owner: &OwnerHash, except: Option<&Selector>) -> Result<u64, SessionError> {
        let count = self.store()?.delete_by_owner(owner, except).await?;
        if count > 0 {
            events::revoked(T::__schema().name, count, None);
        }
        Ok(count)
    }

    fn store(&self) -> Result<&ServerStore, SessionError> {
        store(&self.config)
    }
}

/// The sessions of an owner that have not expired.
pub(super) async fn live(
    store: &ServerStore,
    config: &Config,
    owner: &OwnerHash,
) -> Result<Vec<(Selector, Header)>, StoreError> {
    let now = config.now();
    let mut sessions = store.by_owner(owner).await?;
    sessions.retain(|(_, header)| !config.is_expired(header, now));
    Ok(sessions)
}

/// How often an ending is tried beside requests that change the session's privilege.
const ATTEMPTS: usize = 16;

/// Ends a session if it is that owner's, in one step of the store. Answers whether it did: `false` where the session is gone, or has
/// become another owner's since the header was read.
///
/// A delete asks nothing but the selector. So the step is a commit: it names the epoch, which rises with every change of owner, and moves
/// both deadlines into the past. The session is over for every request from then on, and the delete that follows is for tidiness.
pub(super) async fn end(
    store: &ServerStore,
    config: &Config,
    owner: &OwnerHash,
    selector: &Selector,
    header: &Header,
) -> Result<bool, SessionError> {
    let mut header = header.clone();
    for _ in 0..ATTEMPTS {
        let now = config.now();
        if let CommitOutcome::Committed { .. } = store.commit(selector, &ending(&header, now)).await? {
            if let Err(error) = store.delete(selector).await {
                events::failed(&error.into());
            }
            return Ok(true);
        }
        // No secret has this hash, so looking is no use of the session.
        let presented = config.present(SecretHash::from_bytes([0; 32]), now);
        let Some(record) = store.load(selector, &presented, &Want::default()).await? else { return Ok(false) };
        let theirs = record.header.owner.as_ref().is_some_and(|known| known.hash == *owner);
        if !theirs || config.is_expired(&record.header, now) {
            return Ok(false);
        }
        header = record.header.clone();
    }
    Err(SessionError::Contended)
}

fn ending(header: &Header, now: Timestamp) -> Patch {
    let past = Timestamp::from_millis(0);
    let Header { created, last_seen, .. } = *header;
    let mut patch = Patch::new(header.epoch, now);
    patch.deadlines = Some(Deadlines::Reset { created, last_seen, idle_until: past, absolute_until: past });
    patch
}

fn store(config: &Config) -> Result<&ServerStore, SessionError> {
    match &config.backend {
        Backend::Server(store) => Ok(store),
        #[cfg(feature = "cookie")]
        Backend::Client(_) => Err(SessionError::NoSessionList),
    }
}

fn hash<T: HasOwner>(owner: &T::Owner) -> Result<OwnerHash, SessionError> {
    let schema = T::__schema();
    schema::hash(schema.name, owner).map_err(|why| SessionError::Encode {
        field: format!("{}.{}", schema.name, schema.owner.map_or("", |owner| owner.name())),
        reason: why.to_string(),
    })
}

impl<S: Send + Sync> FromRequestParts<S> for Sessions {
    type Rejection = SessionRejection;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, SessionRejection> {
        // The session is loaded, so that a list knows which one is this request's.
        let request = extract::enter_if(parts, |config| store(config).map(drop), |slot, _| slot.clone()).await?;
        let config = Arc::clone(&request.lock().config);
        Ok(Self { config, request: Some(request) })
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sessions").field(&self.config).finish()
    }
}
