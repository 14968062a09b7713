//! The two kinds of backend a layer can be built on.

use super::{IdleTouch, SessionStore};
use std::{fmt, sync::Arc};

/// A backend, its type erased once, in the layer.
#[derive(Clone)]
pub enum Backend {
    /// Records in a store; the cookie is a token.
    Server(Arc<dyn SessionStore>),
    /// The record is the cookie.
    #[cfg(feature = "cookie")]
    Client(super::CookieStore),
}

impl Backend {
    pub(crate) fn is_client_side(&self) -> bool {
        match self {
            Self::Server(_) => false,
            #[cfg(feature = "cookie")]
            Self::Client(_) => true,
        }
    }

    /// Whether `secret` cells are sealed on their own. Those of a cookie are not: they and the session key lie in one seal already,
    /// so a second one would hide nothing from anybody, at 40 of 4,096 bytes a cell, and a rotation, which brings another session
    /// key there, would have to seal each of them again.
    pub(crate) fn seals_cells(&self) -> bool {
        !self.is_client_side()
    }

    pub(crate) fn idle_touch(&self) -> IdleTouch {
        match self {
            Self::Server(store) => store.idle_touch(),
            #[cfg(feature = "cookie")]
            Self::Client(_) => IdleTouch::AtCommit,
        }
    }
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_client_side() { "client-side" } else { "server-side" })
    }
}

/// Marks a layer whose records lie in a store.
///
/// ```
/// use cloakroom::{SessionLayer, store::{MemoryStore, ServerSide}};
/// let sessions: SessionLayer<ServerSide> = SessionLayer::new(MemoryStore::new());
/// # let _ = sessions;
/// ```
#[derive(Clone, Copy, Debug)]
pub enum ServerSide {}

/// Marks a layer whose records lie in the browser. What needs a list of sessions does not exist for it.
///
/// ```
/// # #[cfg(feature = "cookie")] {
/// use cloakroom::{KeyRing, SessionLayer, store::{ClientSide, CookieStore}};
/// let sessions: SessionLayer<ClientSide> = SessionLayer::new(CookieStore::new(KeyRing::generate()?));
/// # let _ = sessions;
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub enum ClientSide {}

/// What [`SessionLayer::new`](crate::SessionLayer::new) takes: any [`SessionStore`], or a `CookieStore`.
///
/// ```
/// use cloakroom::{SessionLayer, store::IntoBackend};
///
/// /// The layer of an application whose store is chosen elsewhere.
/// fn sessions<B: IntoBackend>(backend: B) -> SessionLayer<B::Side> {
///     SessionLayer::new(backend)
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no session backend",
    label = "expected a store, such as `MemoryStore`, `SqliteStore` or `CookieStore`",
    note = "a constructor such as `SqliteStore::open(..)` is async and may fail: write `.await?` after it",
    note = "implement `cloakroom::store::SessionStore` to add a backend"
)]
pub trait IntoBackend {
    /// [`ServerSide`] or [`ClientSide`].
    type Side: 'static;

    #[doc(hidden)]
    fn into_backend(self) -> Backend;
}

impl<S: SessionStore> IntoBackend for S {
    type Side = ServerSide;

    fn into_backend(self) -> Backend {
        Backend::Server(Arc::new(self))
    }
}

#[cfg(feature = "cookie")]
impl IntoBackend for super::CookieStore {
    type Side = ClientSide;

    fn into_backend(self) -> Backend {
        Backend::Client(self)
    }
}
