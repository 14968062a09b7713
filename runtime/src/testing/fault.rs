//! A store that fails and waits by script.

use super::{Operation, lock};
use crate::{
    record::{CommitOutcome, CreateOutcome, Header, OwnerHash, Patch, Presented, Record, Selector, Timestamp, Want},
    store::{IdleTouch, SessionStore, StoreError, StoreIdentity},
};
use async_trait::async_trait;
use std::{
    collections::{HashMap, VecDeque},
    fmt,
    future::poll_fn,
    sync::{Arc, Mutex},
    task::{Poll, Waker},
};

/// What goes wrong with an operation.
///
/// There is no delay by duration: a store that answers late is one that is held at a [`Gate`], and the test says when it goes
/// on.
///
/// ```
/// use cloakroom::testing::{Fault, Gate};
/// let gate = Gate::new();
/// assert!(matches!(Fault::HoldBefore(gate.clone()), Fault::HoldBefore(_)));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Fault {
    /// Answers [`StoreError::Unavailable`]; the operation is certainly not applied.
    Unavailable,
    /// Applies the operation, then answers [`StoreError::OutcomeUnknown`], as when the answer was lost on its way back.
    UnknownApplied,
    /// Answers [`StoreError::OutcomeUnknown`] without applying the operation, as when the command was lost on its way.
    UnknownNotApplied,
    /// Waits at the gate, then applies the operation.
    HoldBefore(Gate),
    /// Applies the operation, then waits at the gate before it answers.
    HoldAfter(Gate),
}

/// A store around another one that fails and waits as a test tells it to. Clones share the script.
///
/// Each operation takes the oldest fault that [`next`](FaultStore::next) queued for it; when there is none, the one that
/// [`always`](FaultStore::always) set; when there is none either, it goes through.
///
/// ```
/// use cloakroom::{record::Selector, store::{MemoryStore, SessionStore}, testing::{Fault, FaultStore, Operation}};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let key = Selector::from_bytes([7; 16]);
/// let store = FaultStore::new(MemoryStore::new());
/// store.next(Operation::Delete, Fault::Unavailable);
/// assert!(store.delete(&key).await.is_err());
/// assert!(store.delete(&key).await.is_ok());
///
/// store.down();
/// assert!(store.delete(&key).await.is_err());
/// store.heal();
/// assert!(store.delete(&key).await.is_ok());
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct FaultStore<S> {
    inner: S,
    script: Arc<Mutex<Script>>,
}

#[derive(Debug, Default)]
struct Script {
    next: HashMap<Operation, VecDeque<Fault>>,
    always: HashMap<Operation, Fault>,
}

impl<S> FaultStore<S> {
    /// Disturbs that store; at first not at all.
    pub fn new(inner: S) -> Self {
        Self { inner, script: Arc::default() }
    }

    /// The store that is disturbed. What is asked of it directly goes through.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// Disturbs the next operation of that kind once. Further calls queue up.
    pub fn next(&self, operation: Operation, fault: Fault) {
        lock(&self.script).next.entry(operation).or_default().push_back(fault);
    }

    /// Disturbs every operation of that kind, until [`heal`](FaultStore::heal).
    pub fn always(&self, operation: Operation, fault: Fault) {
        lock(&self.script).always.insert(operation, fault);
    }

    /// Every operation answers [`StoreError::Unavailable`], until [`heal`](FaultStore::heal).
    pub fn down(&self) {
        for operation in Operation::ALL {
            self.always(*operation, Fault::Unavailable);
        }
    }

    /// Forgets the script: operations that begin from now on go through. Those at a gate wait there until it opens.
    pub fn heal(&self) {
        *lock(&self.script) = Script::default();
    }

    fn fault(&self, operation: Operation) -> Option<Fault> {
        let mut script = lock(&self.script);
        let next = script.next.get_mut(&operation).and_then(VecDeque::pop_front);
        next.or_else(|| script.always.get(&operation).cloned())
    }

    async fn disturb<T>(
        &self,
        operation: Operation,
        call: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        match self.fault(operation) {
            None => call.await,
            Some(Fault::Unavailable) => {
                Err(StoreError::unavailable(format!("the test's script refuses this {operation} (FaultStore)")))
            }
            Some(Fault::UnknownApplied) => {
                call.await?;
                Err(StoreError::outcome_unknown(format!("the test's script lost the answer of this {operation} (FaultStore)")))
            }
            Some(Fault::UnknownNotApplied) => {
                Err(StoreError::outcome_unknown(format!("the test's script lost this {operation} on its way (FaultStore)")))
            }
            Some(Fault::HoldBefore(gate)) => {
                gate.pass().await;
                call.await
            }
            Some(Fault::HoldAfter(gate)) => {
                let answer = call.await;
                gate.pass().await;
                answer
            }
        }
    }
}

#[async_trait]
impl<S: SessionStore> SessionStore for FaultStore<S> {
    async fn load(&self, key: &Selector, presented: &Presented, want: &Want<'_>) -> Result<Option<Arc<Record>>, StoreError> {
        self.disturb(Operation::Load, self.inner.load(key, presented, want)).await
    }

    async fn create(&self, key: &Selector, record: Record) -> Result<CreateOutcome, StoreError> {
        self.disturb(Operation::Create, self.inner.create(key, record)).await
    }

    async fn commit(&self, key: &Selector, patch: &Patch) -> Result<CommitOutcome, StoreError> {
        self.disturb(Operation::Commit, self.inner.commit(key, patch)).await
    }

    async fn delete(&self, key: &Selector) -> Result<(), StoreError> {
        self.disturb(Operation::Delete, self.inner.delete(key)).await
    }

    async fn by_owner(&self, owner: &OwnerHash) -> Result<Vec<(Selector, Header)>, StoreError> {
        self.disturb(Operation::ByOwner, self.inner.by_owner(owner)).await
    }

    async fn delete_by_owner(&self, owner: &OwnerHash, except: Option<&Selector>) -> Result<u64, StoreError> {
        self.disturb(Operation::DeleteByOwner, self.inner.delete_by_owner(owner, except)).await
    }

    async fn sweep(&self, now: Timestamp, limit: usize) -> Result<usize, StoreError> {
        self.disturb(Operation::Sweep, self.inner.sweep(now, limit)).await
    }

    fn idle_touch(&self) -> IdleTouch {
        self.inner.idle_touch()
    }

    fn identity(&self) -> Option<StoreIdentity> {
        self.inner.identity()
    }
}

/// A gate at which operations wait until a test opens it, so that an interleaving is written down instead of hoped for.
///
/// Closed at first; once open, it stays open. Clones are the same gate.
///
/// ```
/// use cloakroom::{record::{Selector, Timestamp}, store::{MemoryStore, SessionStore}};
/// use cloakroom::testing::{Fault, FaultStore, Gate, Operation};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (store, gate) = (FaultStore::new(MemoryStore::new()), Gate::new());
/// store.next(Operation::Sweep, Fault::HoldBefore(gate.clone()));
///
/// let slow = tokio::spawn({
///     let store = store.clone();
///     async move { store.sweep(Timestamp::from_millis(0), 100).await }
/// });
/// gate.reached().await; // the sweep stands at the gate now
/// store.delete(&Selector::from_bytes([7; 16])).await?; // so this comes first
/// gate.open();
/// assert_eq!(slow.await??, 0);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct Gate(Arc<Mutex<GateState>>);

#[derive(Default)]
struct GateState {
    position: Position,
    arrived: usize,
    waiting: Vec<Waker>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Position {
    #[default]
    Closed,
    Open,
}

impl Gate {
    /// A closed gate.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets everybody through, now and later.
    pub fn open(&self) {
        self.change(|state| state.position = Position::Open);
    }

    /// Waits until an operation has arrived.
    pub async fn reached(&self) {
        self.reached_by(1).await;
    }

    /// Waits until that many operations have arrived: with [`FaultStore::always`], a barrier in front of them all.
    ///
    /// ```
    /// use cloakroom::{record::Timestamp, store::{MemoryStore, SessionStore}};
    /// use cloakroom::testing::{Fault, FaultStore, Gate, Operation};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let (store, gate) = (FaultStore::new(MemoryStore::new()), Gate::new());
    /// store.always(Operation::Sweep, Fault::HoldBefore(gate.clone()));
    /// let now = Timestamp::from_millis(0);
    /// let open_for_both = async {
    ///     gate.reached_by(2).await;
    ///     gate.open();
    /// };
    /// let (first, second, ()) = tokio::join!(store.sweep(now, 1), store.sweep(now, 1), open_for_both);
    /// assert!(first.is_ok() && second.is_ok());
    /// # }
    /// ```
    pub async fn reached_by(&self, count: usize) {
        self.wait_for(|state| state.arrived >= count).await;
    }

    async fn pass(&self) {
        self.change(|state| state.arrived += 1);
        self.wait_for(|state| state.position == Position::Open).await;
    }

    fn change(&self, change: impl FnOnce(&mut GateState)) {
        let waiting = {
            let mut state = lock(&self.0);
            change(&mut state);
            std::mem::take(&mut state.waiting)
        };
        // Outside the lock, since a waker may run anything.
        waiting.into_iter().for_each(Waker::wake);
    }

    async fn wait_for(&self, condition: impl Fn(&GateState) -> bool) {
        poll_fn(|context| {
            let mut state = lock(&self.0);
            if condition(&state) {
                return Poll::Ready(());
            }
            if !state.waiting.iter().any(|waker| waker.will_wake(context.waker())) {
                state.waiting.push(context.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = lock(&self.0);
        f.debug_struct("Gate").field("position", &state.position).field("arrived", &state.arrived).finish()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::testing::{
        conformance::server_side::fixture::{key, new_record, patch, peek, put},
        reference::Reference,
    };

    async fn store_with_a_record() -> FaultStore<Reference> {
        let store = FaultStore::new(Reference::default());
        store.create(&key(1), new_record(&[])).await.unwrap();
        store
    }

    fn one_put() -> Patch {
        let mut patch = patch(0);
        patch.puts.push(put("shop/views", b"1"));
        patch
    }

    async fn revision(store: &FaultStore<Reference>) -> u64 {
        peek(store.inner(), &key(1)).await.unwrap().header.revision
    }

    #[tokio::test]
    async fn an_unavailable_store_has_applied_nothing_and_answers_again_afterwards() {
        let store = store_with_a_record().await;
        store.next(Operation::Commit, Fault::Unavailable);
        assert!(matches!(store.commit(&key(1), &one_put()).await, Err(StoreError::Unavailable(_))));
        assert_eq!(revision(&store).await, 1);
        assert!(store.commit(&key(1), &one_put()).await.is_ok());
        assert_eq!(revision(&store).await, 2);
    }

    #[tokio::test]
    async fn an_unknown_outcome_is_applied_or_not_as_scripted() {
        let store = store_with_a_record().await;
        store.next(Operation::Commit, Fault::UnknownNotApplied);
        store.next(Operation::Commit, Fault::UnknownApplied);
        assert!(matches!(store.commit(&key(1), &one_put()).await, Err(StoreError::OutcomeUnknown(_))));
        assert_eq!(revision(&store).await, 1);
        assert!(matches!(store.commit(&key(1), &one_put()).await, Err(StoreError::OutcomeUnknown(_))));
        assert_eq!(revision(&store).await, 2);
    }

    #[tokio::test]
    async fn a_held_operation_waits_before_or_after_it_is_applied() {
        let store = store_with_a_record().await;
        for (fault, seen) in [(Fault::HoldBefore as fn(Gate) -> Fault, 1), (Fault::HoldAfter, 3)] {
            let gate = Gate::new();
            store.next(Operation::Commit, fault(gate.clone()));
            let held = tokio::spawn({
                let store = store.clone();
                async move { store.commit(&key(1), &one_put()).await }
            });
            gate.reached().await;
            assert_eq!(revision(&store).await, seen);
            gate.open();
            held.await.unwrap().unwrap();
        }
        assert_eq!(revision(&store).await, 3);
    }

    #[tokio::test]
    async fn a_store_that_is_down_fails_every_operation_until_it_is_healed() {
        let store = store_with_a_record().await;
        store.down();
        for _ in 0..2 {
            assert!(matches!(store.delete(&key(1)).await, Err(StoreError::Unavailable(_))));
            assert!(store.by_owner(&OwnerHash::from_bytes([1; 32])).await.is_err());
        }
        store.heal();
        assert!(store.delete(&key(1)).await.is_ok());
    }
}
