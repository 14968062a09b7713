//! The request's place for its session, shared by the layer and every handle.

use super::{access::Access, flight::StoreLock};
use crate::{config::Config, error::ErrorContext, record::Selector};
use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, AtomicUsize, Ordering},
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
    head_sent: AtomicBool,
}

#[derive(Debug)]
pub(crate) struct Request {
    pub(super) config: Arc<Config>,
    pub(super) access: Option<Box<Access>>,
    pub(super) store_lock: StoreLock,
}

/// Whether cookies can still be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Head {
    Open,
    Sent,
}

impl Slot {
    pub(crate) fn new(config: Arc<Config>) -> Self {
        Self(Arc::new(Shared {
            request: Mutex::new(Request { config, access: None, store_lock: StoreLock::default() }),
            handles: AtomicUsize::new(0),
            unsaved: AtomicUsize::new(0),
            head_sent: AtomicBool::new(false),
        }))
    }

    /// The lock is held for moments, never across an await. User code runs under it (encoding, merging, validating), and what it
    /// says is taken over only after it has returned, so a panic leaves the state whole and poison means nothing.
    pub(super) fn lock(&self) -> MutexGuard<'_, Request> {
        self.0.request.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn with_access<R>(&self, act: impl FnOnce(&mut Access) -> R) -> Option<R> {
        self.lock().access.as_deref_mut().map(act)
    }

    /// As [`with_access`](Slot::with_access), where there is nothing to learn.
    pub(super) fn change(&self, act: impl FnOnce(&mut Access)) {
        let _ = self.with_access(act);
    }

    /// Which session the request has.
    pub(super) fn selector(&self) -> Option<Selector> {
        self.with_access(|access| access.live().map(|live| live.token.selector)).flatten()
    }

    pub(super) fn head(&self) -> Head {
        if self.0.head_sent.load(Ordering::Acquire) { Head::Sent } else { Head::Open }
    }

    pub(super) fn send_head(&self) {
        self.0.head_sent.store(true, Ordering::Release);
    }

    /// Says so, loudly, where no handle is left and changes are that no commit will ever take: the head is gone.
    pub(super) fn announce_lost(&self) {
        if self.head() == Head::Open || self.has_handles() {
            return;
        }
        let mut request = self.lock();
        if !request.store_lock.is_writing()
            && let Some(access) = request.access.as_deref_mut()
            && access.has_unsaved()
        {
            access.lose_everything(&"the response's head was already sent; call `save().await` before dropping the handle");
        }
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
    pub(crate) fn join(&self, inner: &Config, context: Option<ErrorContext>) -> Result<(), String> {
        let mut request = self.lock();
        if request.config.cookie.name() != inner.cookie.name() {
            return Err(request.config.cookie.name().to_owned());
        }
        if inner.backend.differs_from(&request.config.backend) {
            inner.warn_of_ignored_store();
        }
        request.config = Arc::new(request.config.under_policy(inner));
        if let Some(access) = &mut request.access {
            // The hook is the inner layer's from here on.
            access.context = context;
        }
        Ok(())
    }
}
