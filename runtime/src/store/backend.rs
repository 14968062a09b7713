//! The two kinds of backend a layer can be built on.

use super::{IdleTouch, SessionStore, StoreError};
use crate::{
    events,
    record::{CommitOutcome, CreateOutcome, Header, OwnerHash, Patch, Presented, Record, Selector, Want},
};
use std::{fmt, sync::Arc};

/// A backend, its type erased once, in the layer.
#[derive(Clone)]
pub enum Backend {
    /// Records in a store; the cookie is a token.
    Server(ServerStore),
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

    /// Whether the other one certainly keeps its sessions elsewhere, or has opened the same store once more.
    pub(crate) fn differs_from(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Server(one), Self::Server(other)) => {
                !Arc::ptr_eq(&one.0, &other.0)
                    && one.0.identity().zip(other.0.identity()).is_some_and(|(one, other)| one != other)
            }
            #[cfg(feature = "cookie")]
            (Self::Client(one), Self::Client(other)) => !one.seals_like(other),
            #[cfg(feature = "cookie")]
            _ => true,
        }
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

type Answer<T> = Result<T, StoreError>;

/// A store on the server's side, as the core asks it: what fails there is told, and how long it took is measured, whoever asks.
#[derive(Clone)]
pub struct ServerStore(Arc<dyn SessionStore>);

impl ServerStore {
    // One lifetime for all that is lent: the store's future is boxed for as long as the shortest of them.
    pub(crate) fn load<'a>(
        &'a self,
        key: &'a Selector,
        presented: &'a Presented,
        want: &'a Want<'a>,
    ) -> impl Future<Output = Answer<Option<Arc<Record>>>> {
        watched("load", self.0.load(key, presented, want))
    }

    pub(crate) fn create<'a>(&'a self, key: &'a Selector, record: Record) -> impl Future<Output = Answer<CreateOutcome>> {
        watched("create", self.0.create(key, record))
    }

    pub(crate) fn commit<'a>(&'a self, key: &'a Selector, patch: &'a Patch) -> impl Future<Output = Answer<CommitOutcome>> {
        watched("commit", self.0.commit(key, patch))
    }

    pub(crate) fn delete<'a>(&'a self, key: &'a Selector) -> impl Future<Output = Answer<()>> {
        watched("delete", self.0.delete(key))
    }

    pub(crate) fn by_owner<'a>(&'a self, owner: &'a OwnerHash) -> impl Future<Output = Answer<Vec<(Selector, Header)>>> {
        watched("by_owner", self.0.by_owner(owner))
    }

    pub(crate) fn delete_by_owner<'a>(
        &'a self,
        owner: &'a OwnerHash,
        except: Option<&'a Selector>,
    ) -> impl Future<Output = Answer<u64>> {
        watched("delete_by_owner", self.0.delete_by_owner(owner, except))
    }

    fn idle_touch(&self) -> IdleTouch {
        self.0.idle_touch()
    }
}

/// Waits for a store's answer, and takes note of it.
async fn watched<T>(operation: &'static str, asked: impl Future<Output = Answer<T>>) -> Answer<T> {
    #[cfg(feature = "metrics")]
    let watch = Stopwatch::start(operation);
    let answer = asked.await;
    if let Err(error) = &answer {
        events::store_error(operation, error);
    }
    #[cfg(feature = "metrics")]
    watch.stop(answer.as_ref().err().map_or("ok", StoreError::outcome));
    answer
}

/// The time that an operation takes. One that nobody waits for any more counts too: leaving out those whose clients gave up would
/// make a slow store look fast.
#[cfg(feature = "metrics")]
struct Stopwatch {
    operation: &'static str,
    started: std::time::Instant,
    outcome: &'static str,
}

#[cfg(feature = "metrics")]
impl Stopwatch {
    fn start(operation: &'static str) -> Self {
        Self { operation, started: std::time::Instant::now(), outcome: "abandoned" }
    }

    fn stop(mut self, outcome: &'static str) {
        self.outcome = outcome;
    }
}

#[cfg(feature = "metrics")]
impl Drop for Stopwatch {
    fn drop(&mut self) {
        events::measured::store_answered(self.operation, self.outcome, self.started.elapsed());
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
        Backend::Server(ServerStore(Arc::new(self)))
    }
}

#[cfg(feature = "cookie")]
impl IntoBackend for super::CookieStore {
    type Side = ClientSide;

    fn into_backend(self) -> Backend {
        Backend::Client(self)
    }
}
