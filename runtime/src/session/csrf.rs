//! The CSRF token of a session: handed out for forms, asked of what comes back.

use super::{
    access::{Access, Csrf, Seed, Session, Stale, StaleSince},
    changes::HandleId,
    extract,
    ownership::Passage,
    typed::TypedSession,
};
use crate::{
    config::Config,
    csrf::CsrfToken,
    error::{SessionError, SessionRejection},
    events,
    record::Timestamp,
    schema::SessionData,
};
use axum_core::extract::FromRequestParts;
use http::request::Parts;

/// The request header that [`CsrfHeader`] reads.
const HEADER: &str = "x-csrf-token";

impl<T: SessionData> TypedSession<T> {
    /// The token that every form of this session carries in a hidden field: see [`CsrfToken`].
    ///
    /// Where there is no session yet, asking for it begins one, so that a sign-in form can have one, too. What this handle changed is
    /// handed in first: where that signs somebody in or out, the token is already that of afterwards, and a form that is part of the
    /// answer works. Ask after all such changes.
    ///
    /// # Errors
    /// As [`save`](TypedSession::save) for changes that are refused; [`SessionError::Gone`] if the session ended, or another tab has just signed
    /// in or out.
    ///
    /// ```
    /// use axum::{Form, response::Html};
    /// use cloakroom::{SessionData, SessionError, TypedSession};
    ///
    /// #[derive(SessionData)]
    /// struct Shop { cart: Vec<u32> }
    ///
    /// async fn form(mut session: TypedSession<Shop>) -> Result<Html<String>, SessionError> {
    ///     let token = session.csrf_token()?;
    ///     Ok(Html(format!(
    ///         r#"<form method="post"><input type="hidden" name="csrf" value="{}"><button>Empty the cart</button></form>"#,
    ///         token.as_str(),
    ///     )))
    /// }
    ///
    /// #[derive(serde::Deserialize)]
    /// struct Empty { csrf: String }
    ///
    /// async fn empty(mut session: TypedSession<Shop>, Form(form): Form<Empty>) -> Result<(), SessionError> {
    ///     session.verify_csrf(&form.csrf)?;
    ///     session.cart.clear();
    ///     Ok(())
    /// }
    /// ```
    pub fn csrf_token(&mut self) -> Result<CsrfToken, SessionError> {
        self.hand_in()?;
        let by = self.id();
        let mut request = self.slot().lock();
        let request = &mut *request;
        let now = request.config.now();
        match request.access.as_deref_mut() {
            Some(access) => access.csrf_token(by, &request.config, now),
            None => Err(SessionError::Gone),
        }
    }

    /// Refuses what does not carry this session's [token](TypedSession::csrf_token): call it first, with what the form's hidden field holds. In
    /// constant time.
    ///
    /// # Errors
    /// [`SessionError::CsrfRefused`], 403: for a token of another session, or one from before a sign-in or sign-out.
    ///
    /// ```
    /// # use cloakroom::{SessionData, SessionError, TypedSession};
    /// # #[derive(SessionData)] struct Shop { cart: Vec<u32> }
    /// async fn empty(mut session: TypedSession<Shop>, csrf: String) -> Result<(), SessionError> {
    ///     session.verify_csrf(&csrf)?;
    ///     session.cart.clear();
    ///     Ok(())
    /// }
    /// ```
    pub fn verify_csrf(&self, submitted: &str) -> Result<(), SessionError> {
        verdict(self.slot().with_access(|access| access.verify_csrf(submitted.as_bytes())))
    }
}

/// Refuses requests that do not carry the session's [token](TypedSession::csrf_token) in the header `X-CSRF-Token`: an argument that a
/// handler does not run without, for what scripts send.
///
/// A page gives its scripts the token in a `<meta>` tag.
///
/// ```
/// use cloakroom::{CsrfHeader, SessionData, TypedSession};
///
/// #[derive(SessionData)]
/// struct Shop { cart: Vec<u32> }
///
/// async fn empty(_: CsrfHeader, mut session: TypedSession<Shop>) {
///     session.cart.clear();
/// }
/// ```
///
/// # Errors
/// [`SessionError::CsrfRefused`], 403, through [`SessionLayer::on_error`](crate::SessionLayer::on_error).
#[derive(Clone, Copy, Debug)]
pub struct CsrfHeader(());

impl<S: Send + Sync> FromRequestParts<S> for CsrfHeader {
    type Rejection = SessionRejection;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, SessionRejection> {
        let mut fields = parts.headers.get_all(HEADER).iter();
        // Of two fields, who knows which one the page meant.
        let submitted = fields.next().filter(|_| fields.next().is_none()).map_or(&b""[..], |value| value.as_bytes());
        let good = extract::enter_if(parts, |_| Ok(()), |_, access| access.verify_csrf(submitted)).await?;
        verdict(Some(good)).map(|()| Self(())).map_err(|error| extract::reject(parts, error, &extract::page(parts)))
    }
}

fn verdict(good: Option<bool>) -> Result<(), SessionError> {
    if good == Some(true) {
        return Ok(());
    }
    events::denied("csrf", None);
    Err(SessionError::CsrfRefused)
}

impl Access {
    fn csrf_token(&mut self, by: HandleId, config: &Config, now: Timestamp) -> Result<CsrfToken, SessionError> {
        let seed = match &self.session {
            Session::Live(live) => {
                let header = &live.record.header;
                let passage = self.passage(Some(header), now)?;
                let epoch = header.epoch.saturating_add(u32::from(passage.rotates()));
                if !(passage.rotates() && config.backend.is_client_side()) {
                    let selector = live.token.selector;
                    // Another owner gets another session key.
                    let key = if passage.wipes() { self.seed()?.key } else { live.session_key() };
                    let token = CsrfToken::issue(&key, &selector, epoch)?;
                    self.csrf = Csrf::HandedOut;
                    // What the token is for must be there, even if nothing else of the session stays.
                    if passage == Passage::Handover(None) {
                        self.command(by, |commands| commands.exist = true);
                    }
                    self.personal = true;
                    return Ok(token);
                }
                (self.seed()?, epoch)
            }
            Session::Fresh | Session::Stale(Stale { since: StaleSince::Earlier, .. }) => (self.seed()?, 0),
            // A session of its own would take the cookie away that another response may have just set. The form needs none.
            Session::Stale(stale @ Stale { since: StaleSince::JustNow, .. }) => {
                let (key, selector) = stale.form_key();
                self.personal = true;
                return Ok(CsrfToken::issue(&key, selector, 0)?);
            }
            Session::Ended | Session::Unsure(_) | Session::Unavailable(_) => {
                return Err(self.lost().unwrap_or(SessionError::Gone));
            }
        };
        let (Seed { token, key }, epoch) = seed;
        let issued = CsrfToken::issue(&key, &token.selector, epoch)?;
        self.command(by, |commands| commands.exist = true);
        self.personal = true;
        Ok(issued)
    }

    fn seed(&mut self) -> Result<Seed, SessionError> {
        let seed = self.seed.take().map_or_else(Seed::generate, Ok)?;
        Ok(self.seed.insert(seed).clone())
    }

    fn verify_csrf(&self, submitted: &[u8]) -> bool {
        if let Session::Stale(stale) = &self.session {
            let (key, selector) = stale.form_key();
            return CsrfToken::verify(submitted, &key, selector, 0);
        }
        self.live().is_some_and(|live| {
            CsrfToken::verify(submitted, &live.session_key(), &live.token.selector, live.record.header.epoch)
        })
    }
}
