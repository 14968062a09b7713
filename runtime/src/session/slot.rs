//! The request's place for its session, shared by the layer and every handle.

use super::{access::Access, flight::Runway};
use crate::config::Config;
use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

/// The request's session, shared by the layer and every handle. It lies in the request's extensions.
#[derive(Clone, Debug)]
pub(crate) struct Slot(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    request: Mutex<Request>,
    // Beside the lock, since handles count themselves. The first counts all of them, the second those with unsaved changes.
    handles: AtomicUsize,
    unsaved: AtomicUsize,
}

#[derive(Debug)]
pub(crate) struct Request {
    pub(super) config: Arc<Config>,
    pub(super) head: Head,
    pub(super) access: Option<Box<Access>>,
    pub(super) runway: Runway,
}

/// Whether cookies can still be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Head {
    Open,
    Sent,
}

impl Slot {
    pub(crate) fn new(config: Arc<Config>) -> Self {
        let request = Request { config, head: Head::Open, access: None, runway: Runway::default() };
        Self(Arc::new(Shared { request: Mutex::new(request), handles: AtomicUsize::new(0), unsaved: AtomicUsize::new(0) }))
    }

    /// The lock is held for moments, never across an await. A panic of user code under it leaves the state whole, since state
    /// changes after user code has returned, so poison means nothing here.
    pub(super) fn lock(&self) -> MutexGuard<'_, Request> {
        self.0.request.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn count_handle(&self) {
        self.0.handles.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn uncount_handle(&self) {
        self.0.handles.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn has_handles(&self) -> bool {
        self.0.handles.load(Ordering::Relaxed) > 0
    }

    pub(super) fn count_unsaved(&self) {
        self.0.unsaved.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn uncount_unsaved(&self) {
        self.0.unsaved.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn has_unsaved_handles(&self) -> bool {
        self.0.unsaved.load(Ordering::Relaxed) > 0
    }

    /// Takes over the policy of a layer inside this one. `Err` names the outer layer's cookie where it is another.
    pub(crate) fn join(&self, inner: &Config) -> Result<(), String> {
        let mut request = self.lock();
        if request.config.cookie.name() != inner.cookie.name() {
            return Err(request.config.cookie.name().to_owned());
        }
        request.config = Arc::new(request.config.under_policy(inner));
        Ok(())
    }
}
