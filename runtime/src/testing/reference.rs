//! A minimal store over the reference semantics, and ways to break it: what tests the kit itself.

use super::lock;
use crate::{
    record::{CommitOutcome, CreateOutcome, Deadlines, Header, OwnerHash, Patch, Presented, Record, Selector, Timestamp, Want},
    store::{IdleTouch, SessionStore, StoreError},
};
use async_trait::async_trait;
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex},
};

/// How a store is broken on purpose, so that the suite can be seen to fail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Quirk {
    #[default]
    None,
    UpsertsOnCommit,
    CreateReplaces,
    TouchesForAnybody,
    TouchesTheDead,
    AnswersAfterTheTouch,
    WritesOnConflict,
    ChecksGuardsOutsideTheLock,
    WritesWholeRecords,
    CommitsExpired,
    ChecksIdleByNow,
    ChecksBothByTheLoad,
    RollsInPlaceOfResetting,
    SweepsTheLiving,
    SweepsWithoutLimit,
    ForgetsOwners,
    KeepsOwnersOfTheDeleted,
    UnlistsWhatItDidNotRevoke,
    ShowsOnDemandCells,
    IgnoresEpochs,
}

#[derive(Clone, Debug)]
pub(crate) struct Reference {
    state: Arc<Mutex<State>>,
    quirk: Quirk,
    touch: IdleTouch,
}

#[derive(Debug, Default)]
struct State {
    records: HashMap<Selector, Record>,
    /// Only for the quirk that forgets to clean up; a sound store derives the index from the records.
    owners_of_the_deleted: Vec<(Selector, Header)>,
    /// Only for the quirk whose revocation is not one step.
    unlisted: HashSet<Selector>,
}

impl Default for Reference {
    fn default() -> Self {
        Self::with(Quirk::None)
    }
}

impl Reference {
    pub(crate) fn with(quirk: Quirk) -> Self {
        Self { state: Arc::default(), quirk, touch: IdleTouch::AtLoad }
    }

    pub(crate) fn touching_at_commit() -> Self {
        Self { touch: IdleTouch::AtCommit, ..Self::default() }
    }

    fn apply(&self, record: &mut Record, patch: &Patch) -> CommitOutcome {
        let mut patch = patch.clone();
        match self.quirk {
            Quirk::IgnoresEpochs => patch.epoch = record.header.epoch,
            Quirk::CommitsExpired => patch.now = patch.now.min(Timestamp::from_millis(record.header.expires().as_millis() - 1)),
            Quirk::ChecksIdleByNow => patch.loaded_at = None,
            Quirk::ChecksBothByTheLoad => patch.now = patch.used_at(),
            Quirk::ForgetsOwners => patch.owner = None,
            Quirk::RollsInPlaceOfResetting => {
                if let Some(Deadlines::Reset { last_seen, idle_until, .. }) = patch.deadlines {
                    patch.deadlines = Some(Deadlines::Roll { last_seen, idle_until });
                }
            }
            _ => {}
        }
        let outcome = record.apply(&patch);
        if self.quirk == Quirk::WritesOnConflict && matches!(outcome, CommitOutcome::Conflict { .. }) {
            record.header.label = Some("written".into());
        }
        outcome
    }
}

/// Lets the other futures of the task run.
async fn yield_now() {
    crate::testing::conformance::server_side::fixture::yield_now().await;
}

#[async_trait]
impl SessionStore for Reference {
    async fn load(&self, key: &Selector, presented: &Presented, want: &Want<'_>) -> Result<Option<Arc<Record>>, StoreError> {
        let mut state = lock(&self.state);
        let Some(record) = state.records.get_mut(key) else { return Ok(None) };
        let mut before = record.clone();
        if self.touch == IdleTouch::AtLoad {
            let mut presented = *presented;
            match self.quirk {
                Quirk::TouchesForAnybody => presented.secret_hash = record.header.secret_hash,
                Quirk::TouchesTheDead => {
                    record.header.last_seen = presented.now;
                    record.header.idle_until = presented.now.plus(presented.lifetime.idle());
                }
                _ => {}
            }
            record.header.touch(&presented);
        }
        if self.quirk == Quirk::AnswersAfterTheTouch {
            before = record.clone();
        }
        if self.quirk != Quirk::ShowsOnDemandCells {
            before.cells = before.cells.wanted(want);
        }
        Ok(Some(Arc::new(before)))
    }

    async fn create(&self, key: &Selector, record: Record) -> Result<CreateOutcome, StoreError> {
        let mut state = lock(&self.state);
        if state.records.contains_key(key) && self.quirk != Quirk::CreateReplaces {
            return Ok(CreateOutcome::Exists);
        }
        state.records.insert(*key, record);
        Ok(CreateOutcome::Created)
    }

    async fn commit(&self, key: &Selector, patch: &Patch) -> Result<CommitOutcome, StoreError> {
        let seen = lock(&self.state).records.get(key).cloned();
        match (self.quirk, seen) {
            (Quirk::UpsertsOnCommit, None) => {
                use super::conformance::server_side::fixture::new_record;
                let mut record = new_record(&[]);
                let outcome = self.apply(&mut record, patch);
                lock(&self.state).records.insert(*key, record);
                return Ok(outcome);
            }
            (Quirk::WritesWholeRecords, Some(mut record)) => {
                yield_now().await;
                let outcome = self.apply(&mut record, patch);
                lock(&self.state).records.insert(*key, record);
                return Ok(outcome);
            }
            (Quirk::ChecksGuardsOutsideTheLock, Some(mut record)) => {
                let checked = self.apply(&mut record, patch);
                if !matches!(checked, CommitOutcome::Committed { .. }) {
                    return Ok(checked);
                }
                yield_now().await;
                let mut unguarded = patch.clone();
                unguarded.guards.clear();
                let mut state = lock(&self.state);
                let Some(record) = state.records.get_mut(key) else { return Ok(CommitOutcome::Gone) };
                return Ok(self.apply(record, &unguarded));
            }
            _ => {}
        }
        let mut state = lock(&self.state);
        let Some(record) = state.records.get_mut(key) else { return Ok(CommitOutcome::Gone) };
        Ok(self.apply(record, patch))
    }

    async fn delete(&self, key: &Selector) -> Result<(), StoreError> {
        let mut state = lock(&self.state);
        if let Some(record) = state.records.remove(key)
            && self.quirk == Quirk::KeepsOwnersOfTheDeleted
        {
            state.owners_of_the_deleted.push((*key, record.header));
        }
        Ok(())
    }

    async fn by_owner(&self, owner: &OwnerHash) -> Result<Vec<(Selector, Header)>, StoreError> {
        let state = lock(&self.state);
        let living = state.records.iter().map(|(key, record)| (*key, record.header.clone()));
        let dead = state.owners_of_the_deleted.iter().cloned();
        let living = living.filter(|(key, _)| !state.unlisted.contains(key));
        Ok(living.chain(dead).filter(|(_, header)| belongs(header, owner)).collect())
    }

    async fn delete_by_owner(&self, owner: &OwnerHash, except: Option<&Selector>) -> Result<u64, StoreError> {
        if self.quirk == Quirk::UnlistsWhatItDidNotRevoke {
            let seen = self.by_owner(owner).await?;
            yield_now().await;
            let mut state = lock(&self.state);
            seen.iter().for_each(|(key, _)| drop(state.records.remove(key)));
            let late: Vec<Selector> =
                state.records.iter().filter(|(_, record)| belongs(&record.header, owner)).map(|(key, _)| *key).collect();
            state.unlisted.extend(late);
            return Ok(seen.len() as u64);
        }
        let mut state = lock(&self.state);
        let before = state.records.len();
        state.records.retain(|key, record| !belongs(&record.header, owner) || Some(key) == except);
        Ok((before - state.records.len()) as u64)
    }

    async fn sweep(&self, now: Timestamp, limit: usize) -> Result<usize, StoreError> {
        let mut state = lock(&self.state);
        let limit = if self.quirk == Quirk::SweepsWithoutLimit { usize::MAX } else { limit };
        let dead = |record: &Record| self.quirk == Quirk::SweepsTheLiving || !record.header.is_open(now);
        // Sorted, so that a test over this store runs the same every time.
        let records: BTreeMap<_, _> = state.records.iter().collect();
        let swept: Vec<Selector> =
            records.into_iter().filter(|(_, record)| dead(record)).map(|(key, _)| *key).take(limit).collect();
        for key in &swept {
            state.records.remove(key);
        }
        Ok(swept.len())
    }

    fn idle_touch(&self) -> IdleTouch {
        self.touch
    }
}

fn belongs(header: &Header, owner: &OwnerHash) -> bool {
    header.owner.as_ref().is_some_and(|of| of.hash == *owner)
}
