//! A store that writes down everything it is asked.

use super::{Operation, lock};
use crate::{
    record::{
        CommitOutcome, CreateOutcome, Deadlines, Guard, Handle, Header, OwnerChange, OwnerHash, Patch, Presented, Record,
        Rotation, Selector, Timestamp, Want,
    },
    store::{IdleTouch, SessionStore, StoreError, StoreIdentity},
};
use async_trait::async_trait;
use std::{
    fmt,
    sync::{Arc, Mutex},
};

/// A store around another one that keeps an exact log of what it was asked and what it answered.
///
/// Operations stand in the order in which they began. Sessions appear by their log-safe [`Handle`] only, and payloads not at
/// all, so a log may be printed. Clones share the log.
///
/// ```
/// use cloakroom::{record::{Selector, Timestamp}, store::{MemoryStore, SessionStore}, testing::{Operation, SpyStore}};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), cloakroom::store::StoreError> {
/// let spy = SpyStore::new(MemoryStore::new());
/// spy.delete(&Selector::from_bytes([7; 16])).await?;
/// spy.sweep(Timestamp::from_millis(0), 100).await?;
///
/// assert_eq!(spy.count(Operation::Delete), 1);
/// let log = spy.take();
/// assert_eq!(log[1].to_string(), "sweep up to 100 -> 0 deleted");
/// assert!(spy.log().is_empty());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct SpyStore<S> {
    inner: S,
    log: Arc<Mutex<Log>>,
}

#[derive(Debug, Default)]
struct Log {
    begun: u64,
    ops: Vec<(u64, Op)>,
}

impl<S> SpyStore<S> {
    /// Watches that store.
    pub fn new(inner: S) -> Self {
        Self { inner, log: Arc::default() }
    }

    /// The store that is watched. What is asked of it directly is not logged.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// What happened so far.
    pub fn log(&self) -> Vec<Op> {
        lock(&self.log).ops.iter().map(|(_, op)| op.clone()).collect()
    }

    /// What happened so far; the log starts anew.
    pub fn take(&self) -> Vec<Op> {
        std::mem::take(&mut lock(&self.log).ops).into_iter().map(|(_, op)| op).collect()
    }

    /// How often the log holds that operation, whatever came of it.
    pub fn count(&self, operation: Operation) -> usize {
        lock(&self.log).ops.iter().filter(|(_, op)| op.operation() == operation).count()
    }

    fn begin(&self, op: Op) -> u64 {
        let mut log = lock(&self.log);
        log.begun += 1;
        let number = log.begun;
        log.ops.push((number, op));
        number
    }

    fn end(&self, number: u64, fill: impl FnOnce(&mut Op)) {
        // A `take` in between took the operation along, unfinished as it was.
        if let Some((_, op)) = lock(&self.log).ops.iter_mut().find(|(begun, _)| *begun == number) {
            fill(op);
        }
    }
}

/// What came of an operation.
///
/// ```
/// use cloakroom::{record::CreateOutcome, testing::Outcome};
/// assert_ne!(Outcome::Done(CreateOutcome::Created), Outcome::Unavailable);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome<T> {
    /// No answer yet, or none ever: the future was dropped before the store answered.
    Unanswered,
    /// The store's answer.
    Done(T),
    /// The store failed with [`StoreError::Unavailable`].
    Unavailable,
    /// The store failed with [`StoreError::OutcomeUnknown`].
    OutcomeUnknown,
}

impl<T> Outcome<T> {
    fn of<U>(answer: &Result<U, StoreError>, done: impl FnOnce(&U) -> T) -> Self {
        match answer {
            Ok(answer) => Self::Done(done(answer)),
            Err(StoreError::Unavailable(_)) => Self::Unavailable,
            Err(StoreError::OutcomeUnknown(_)) => Self::OutcomeUnknown,
        }
    }

    fn show(&self, f: &mut fmt::Formatter<'_>, done: impl FnOnce(&T, &mut fmt::Formatter<'_>) -> fmt::Result) -> fmt::Result {
        f.write_str(" -> ")?;
        match self {
            Self::Unanswered => f.write_str("no answer"),
            Self::Done(answer) => done(answer, f),
            Self::Unavailable => f.write_str("unavailable"),
            Self::OutcomeUnknown => f.write_str("outcome unknown"),
        }
    }
}

/// What a load found.
///
/// ```
/// use cloakroom::testing::Loaded;
/// assert_ne!(Loaded::Absent, Loaded::Found { revision: 1 });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loaded {
    /// No record under that key.
    Absent,
    /// A record.
    Found {
        /// Its revision.
        revision: u64,
    },
}

/// Which rotation a commit asked for.
///
/// ```
/// use cloakroom::testing::RotationKind;
/// assert_ne!(RotationKind::Privilege, RotationKind::Renewal);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RotationKind {
    /// Privilege changed: the epoch rises.
    Privilege,
    /// A routine renewal.
    Renewal,
}

/// One operation as a [`SpyStore`] saw it.
///
/// `Display` gives one line for assertion messages: `commit 3fLrY0.. puts [shop/views] -> committed r3`.
///
/// ```
/// use cloakroom::testing::{Op, Operation, Outcome};
/// let op = Op::Sweep { limit: 100, outcome: Outcome::Done(3) };
/// assert_eq!(op.operation(), Operation::Sweep);
/// assert_eq!(op.to_string(), "sweep up to 100 -> 3 deleted");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Op {
    /// A record was looked up.
    Load {
        /// The session.
        handle: Handle,
        /// The on-demand cells it named.
        named: Vec<String>,
        /// What came of it.
        outcome: Outcome<Loaded>,
    },
    /// A record was inserted.
    Create {
        /// The session.
        handle: Handle,
        /// The keys of its cells.
        cells: Vec<String>,
        /// What came of it.
        outcome: Outcome<CreateOutcome>,
    },
    /// A patch was applied, or refused.
    Commit {
        /// The session.
        handle: Handle,
        /// The epoch it named.
        epoch: u32,
        /// The keys of the cells it put or tombstoned.
        puts: Vec<String>,
        /// The stamps it insisted on.
        guards: Vec<Guard>,
        /// If it wiped the record: the keys it kept.
        wipe_except: Option<Vec<String>>,
        /// How it moved the deadlines.
        deadlines: Option<Deadlines>,
        /// The rotation it asked for.
        rotation: Option<RotationKind>,
        /// What it did to the owner.
        owner: Option<OwnerChange>,
        /// What came of it.
        outcome: Outcome<CommitOutcome>,
    },
    /// A record was deleted.
    Delete {
        /// The session.
        handle: Handle,
        /// What came of it.
        outcome: Outcome<()>,
    },
    /// The sessions of an owner were listed.
    ByOwner {
        /// The owner.
        owner: OwnerHash,
        /// The sessions found.
        outcome: Outcome<Vec<Handle>>,
    },
    /// The sessions of an owner were deleted.
    DeleteByOwner {
        /// The owner.
        owner: OwnerHash,
        /// The session that was spared.
        except: Option<Handle>,
        /// How many were deleted.
        outcome: Outcome<u64>,
    },
    /// Expired records were deleted.
    Sweep {
        /// The most it was allowed to delete.
        limit: usize,
        /// How many were deleted.
        outcome: Outcome<usize>,
    },
}

impl Op {
    /// Which operation this was.
    pub fn operation(&self) -> Operation {
        match self {
            Self::Load { .. } => Operation::Load,
            Self::Create { .. } => Operation::Create,
            Self::Commit { .. } => Operation::Commit,
            Self::Delete { .. } => Operation::Delete,
            Self::ByOwner { .. } => Operation::ByOwner,
            Self::DeleteByOwner { .. } => Operation::DeleteByOwner,
            Self::Sweep { .. } => Operation::Sweep,
        }
    }

    fn of_patch(key: &Selector, patch: &Patch) -> Self {
        Self::Commit {
            handle: key.handle(),
            epoch: patch.epoch,
            puts: patch.puts.iter().map(|put| put.key.to_string()).collect(),
            guards: patch.guards.clone(),
            wipe_except: patch.wipe_except.as_ref().map(|kept| kept.iter().map(ToString::to_string).collect()),
            deadlines: patch.deadlines,
            rotation: patch.rotation.as_ref().map(|rotation| match rotation {
                Rotation::Privilege { .. } => RotationKind::Privilege,
                Rotation::Renewal { .. } => RotationKind::Renewal,
            }),
            owner: patch.owner.clone(),
            outcome: Outcome::Unanswered,
        }
    }
}

fn list<T: fmt::Display>(items: &[T]) -> String {
    let items: Vec<String> = items.iter().map(ToString::to_string).collect();
    format!("[{}]", items.join(", "))
}

/// Enough of a handle to tell the sessions of one test apart.
fn short(handle: &Handle) -> String {
    format!("{:.6}..", handle.to_string())
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Load { handle, named, outcome } => {
                write!(f, "load {}", short(handle))?;
                if !named.is_empty() {
                    write!(f, " with {}", list(named))?;
                }
                outcome.show(f, |loaded, f| match loaded {
                    Loaded::Absent => f.write_str("absent"),
                    Loaded::Found { revision } => write!(f, "found r{revision}"),
                })
            }
            Self::Create { handle, cells, outcome } => {
                write!(f, "create {} cells {}", short(handle), list(cells))?;
                outcome.show(f, |created, f| {
                    f.write_str(match created {
                        CreateOutcome::Created => "created",
                        CreateOutcome::Exists => "exists",
                    })
                })
            }
            Self::Commit { handle, epoch: _, puts, guards, wipe_except, deadlines, rotation, owner, outcome } => {
                write!(f, "commit {}", short(handle))?;
                if !guards.is_empty() {
                    let guards: Vec<String> = guards.iter().map(|guard| format!("{} r{}", guard.key, guard.stamp)).collect();
                    write!(f, " guards {}", list(&guards))?;
                }
                if let Some(kept) = wipe_except {
                    write!(f, " wipes all but {}", list(kept))?;
                }
                if !puts.is_empty() {
                    write!(f, " puts {}", list(puts))?;
                }
                f.write_str(match deadlines {
                    None => "",
                    Some(Deadlines::Roll { .. }) => " rolls the idle deadline",
                    Some(Deadlines::Reset { .. }) => " resets the deadlines",
                })?;
                f.write_str(match owner {
                    None => "",
                    Some(OwnerChange::Set(_)) => " sets the owner",
                    Some(OwnerChange::Clear) => " clears the owner",
                })?;
                f.write_str(match rotation {
                    None => "",
                    Some(RotationKind::Privilege) => " rotates",
                    Some(RotationKind::Renewal) => " renews",
                })?;
                outcome.show(f, |committed, f| match committed {
                    CommitOutcome::Committed { revision, rotated } => {
                        write!(f, "committed r{revision}")?;
                        f.write_str(if rotation.is_some() && !rotated { ", not renewed" } else { "" })
                    }
                    CommitOutcome::Conflict { cells } => {
                        let cells: Vec<String> = cells.iter().map(|cell| format!("{} r{}", cell.key, cell.stamp)).collect();
                        write!(f, "conflict {}", list(&cells))
                    }
                    CommitOutcome::Gone => f.write_str("gone"),
                })
            }
            Self::Delete { handle, outcome } => {
                write!(f, "delete {}", short(handle))?;
                outcome.show(f, |(), f| f.write_str("done"))
            }
            Self::ByOwner { owner: _, outcome } => {
                f.write_str("by_owner")?;
                outcome.show(f, |handles, f| f.write_str(&list(&handles.iter().map(short).collect::<Vec<_>>())))
            }
            Self::DeleteByOwner { owner: _, except, outcome } => {
                f.write_str("delete_by_owner")?;
                if let Some(handle) = except {
                    write!(f, " except {}", short(handle))?;
                }
                outcome.show(f, |count, f| write!(f, "{count} deleted"))
            }
            Self::Sweep { limit, outcome } => {
                write!(f, "sweep up to {limit}")?;
                outcome.show(f, |count, f| write!(f, "{count} deleted"))
            }
        }
    }
}

/// Stores an answer in the operation of that variant; `end` is only ever called with the operation that `begin` pushed.
macro_rules! answered {
    ($variant:ident, $value:expr) => {{
        let value = $value;
        move |op: &mut Op| {
            if let Op::$variant { outcome, .. } = op {
                *outcome = value;
            }
        }
    }};
}

#[async_trait]
impl<S: SessionStore> SessionStore for SpyStore<S> {
    async fn load(&self, key: &Selector, presented: &Presented, want: &Want<'_>) -> Result<Option<Arc<Record>>, StoreError> {
        let named = want.named.iter().map(ToString::to_string).collect();
        let number = self.begin(Op::Load { handle: key.handle(), named, outcome: Outcome::Unanswered });
        let answer = self.inner.load(key, presented, want).await;
        let outcome = Outcome::of(&answer, |record| match record {
            None => Loaded::Absent,
            Some(record) => Loaded::Found { revision: record.header.revision },
        });
        self.end(number, answered!(Load, outcome));
        answer
    }

    async fn create(&self, key: &Selector, record: Record) -> Result<CreateOutcome, StoreError> {
        let cells = record.cells.iter().map(|cell| cell.key.to_string()).collect();
        let number = self.begin(Op::Create { handle: key.handle(), cells, outcome: Outcome::Unanswered });
        let answer = self.inner.create(key, record).await;
        self.end(number, answered!(Create, Outcome::of(&answer, |created| *created)));
        answer
    }

    async fn commit(&self, key: &Selector, patch: &Patch) -> Result<CommitOutcome, StoreError> {
        let number = self.begin(Op::of_patch(key, patch));
        let answer = self.inner.commit(key, patch).await;
        self.end(number, answered!(Commit, Outcome::of(&answer, Clone::clone)));
        answer
    }

    async fn delete(&self, key: &Selector) -> Result<(), StoreError> {
        let number = self.begin(Op::Delete { handle: key.handle(), outcome: Outcome::Unanswered });
        let answer = self.inner.delete(key).await;
        self.end(number, answered!(Delete, Outcome::of(&answer, |()| ())));
        answer
    }

    async fn by_owner(&self, owner: &OwnerHash) -> Result<Vec<(Selector, Header)>, StoreError> {
        let number = self.begin(Op::ByOwner { owner: *owner, outcome: Outcome::Unanswered });
        let answer = self.inner.by_owner(owner).await;
        let outcome = Outcome::of(&answer, |found| found.iter().map(|(key, _)| key.handle()).collect());
        self.end(number, answered!(ByOwner, outcome));
        answer
    }

    async fn delete_by_owner(&self, owner: &OwnerHash, except: Option<&Selector>) -> Result<u64, StoreError> {
        let except_handle = except.map(Selector::handle);
        let number = self.begin(Op::DeleteByOwner { owner: *owner, except: except_handle, outcome: Outcome::Unanswered });
        let answer = self.inner.delete_by_owner(owner, except).await;
        self.end(number, answered!(DeleteByOwner, Outcome::of(&answer, |count| *count)));
        answer
    }

    async fn sweep(&self, now: Timestamp, limit: usize) -> Result<usize, StoreError> {
        let number = self.begin(Op::Sweep { limit, outcome: Outcome::Unanswered });
        let answer = self.inner.sweep(now, limit).await;
        self.end(number, answered!(Sweep, Outcome::of(&answer, |count| *count)));
        answer
    }

    fn idle_touch(&self) -> IdleTouch {
        self.inner.idle_touch()
    }

    fn identity(&self) -> Option<StoreIdentity> {
        self.inner.identity()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::testing::{
        Fault, FaultStore,
        conformance::server_side::fixture::{at, key, new_record, patch, presented, put},
        reference::Reference,
    };

    #[tokio::test]
    async fn the_log_tells_each_operation_in_one_line() {
        let spy = SpyStore::new(Reference::default());
        let handle = short(&key(1).handle());
        spy.create(&key(1), new_record(&[put("shop/views", b"1")])).await.unwrap();
        spy.load(&key(1), &presented(1, 0), &Want::with(&["~shop/blob"])).await.unwrap();
        let mut change = patch(0);
        change.puts.push(put("shop/views", b"2"));
        change.guards.push(Guard { key: "shop/views".into(), stamp: 1 });
        spy.commit(&key(1), &change).await.unwrap();
        spy.commit(&key(1), &change).await.unwrap();
        spy.clone().delete(&key(1)).await.unwrap();
        spy.load(&key(1), &presented(1, 0), &Want::default()).await.unwrap();
        let lines: Vec<String> = spy.take().iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [
                format!("create {handle} cells [shop/views] -> created"),
                format!("load {handle} with [~shop/blob] -> found r1"),
                format!("commit {handle} guards [shop/views r1] puts [shop/views] -> committed r2"),
                format!("commit {handle} guards [shop/views r1] puts [shop/views] -> conflict [shop/views r2]"),
                format!("delete {handle} -> done"),
                format!("load {handle} -> absent"),
            ]
        );
        assert!(spy.log().is_empty());
    }

    #[tokio::test]
    async fn failures_and_dropped_futures_are_told_apart() {
        let faults = FaultStore::new(Reference::default());
        let spy = SpyStore::new(faults.clone());
        faults.next(Operation::Sweep, Fault::Unavailable);
        faults.next(Operation::Sweep, Fault::UnknownApplied);
        let gate = crate::testing::Gate::new();
        faults.next(Operation::Sweep, Fault::HoldBefore(gate.clone()));
        assert!(spy.sweep(at(0), 1).await.is_err());
        assert!(spy.sweep(at(0), 1).await.is_err());
        tokio::select! {
            biased;
            _ = spy.sweep(at(0), 1) => unreachable!("the gate is closed"),
            () = gate.reached() => {}
        }
        let lines: Vec<String> = spy.log().iter().map(ToString::to_string).collect();
        assert_eq!(lines, ["sweep up to 1 -> unavailable", "sweep up to 1 -> outcome unknown", "sweep up to 1 -> no answer"]);
        assert_eq!(spy.count(Operation::Sweep), 3);
    }

    #[test]
    fn a_spy_touches_where_its_store_does() {
        assert_eq!(SpyStore::new(Reference::default()).idle_touch(), IdleTouch::AtLoad);
        assert_eq!(SpyStore::new(Reference::touching_at_commit()).idle_touch(), IdleTouch::AtCommit);
    }
}
