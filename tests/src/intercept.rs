//! A store of which a test answers some operations itself.

use async_trait::async_trait;
use cloakroom::{
    record::{CommitOutcome, CreateOutcome, Header, OwnerHash, Patch, Presented, Record, Selector, Timestamp, Want},
    store::{MemoryStore, SessionStore, StoreError},
};
use std::sync::Arc;

/// What a test does in place of the store. What it does not define goes through.
#[async_trait]
pub trait Intercept: Send + Sync {
    /// Answers [`SessionStore::create`].
    async fn create(&self, store: &MemoryStore, key: &Selector, record: Record) -> Result<CreateOutcome, StoreError> {
        store.create(key, record).await
    }

    /// Answers [`SessionStore::commit`].
    async fn commit(&self, store: &MemoryStore, key: &Selector, patch: &Patch) -> Result<CommitOutcome, StoreError> {
        store.commit(key, patch).await
    }

    /// Answers [`SessionStore::by_owner`].
    async fn by_owner(&self, store: &MemoryStore, owner: &OwnerHash) -> Result<Vec<(Selector, Header)>, StoreError> {
        store.by_owner(owner).await
    }
}

/// A store in memory behind an [`Intercept`]. Clones share both.
pub struct Intercepted<I> {
    store: MemoryStore,
    by: Arc<I>,
}

impl<I: Intercept> Intercepted<I> {
    /// An empty store behind that test.
    pub fn by(intercept: I) -> Self {
        Self { store: MemoryStore::new(), by: Arc::new(intercept) }
    }

    /// The store itself.
    pub fn store(&self) -> &MemoryStore {
        &self.store
    }
}

impl<I> Clone for Intercepted<I> {
    fn clone(&self) -> Self {
        Self { store: self.store.clone(), by: Arc::clone(&self.by) }
    }
}

#[async_trait]
impl<I: Intercept + 'static> SessionStore for Intercepted<I> {
    async fn load(&self, key: &Selector, presented: &Presented, want: &Want<'_>) -> Result<Option<Arc<Record>>, StoreError> {
        self.store.load(key, presented, want).await
    }

    async fn create(&self, key: &Selector, record: Record) -> Result<CreateOutcome, StoreError> {
        self.by.create(&self.store, key, record).await
    }

    async fn commit(&self, key: &Selector, patch: &Patch) -> Result<CommitOutcome, StoreError> {
        self.by.commit(&self.store, key, patch).await
    }

    async fn delete(&self, key: &Selector) -> Result<(), StoreError> {
        self.store.delete(key).await
    }

    async fn by_owner(&self, owner: &OwnerHash) -> Result<Vec<(Selector, Header)>, StoreError> {
        self.by.by_owner(&self.store, owner).await
    }

    async fn delete_by_owner(&self, owner: &OwnerHash, except: Option<&Selector>) -> Result<u64, StoreError> {
        self.store.delete_by_owner(owner, except).await
    }

    async fn sweep(&self, now: Timestamp, limit: usize) -> Result<usize, StoreError> {
        self.store.sweep(now, limit).await
    }
}
