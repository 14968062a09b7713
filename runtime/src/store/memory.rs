//! Sessions in the memory of one process.

use super::{IdleTouch, SessionStore, StoreError, StoreIdentity};
use crate::record::{CommitOutcome, CreateOutcome, Header, OwnerHash, Patch, Presented, Record, Selector, Timestamp, Want};
use async_trait::async_trait;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    hash::{BuildHasherDefault, Hasher},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

/// Sessions in memory: for one process, for tests, and wherever losing them at a restart is fine.
///
/// Clones are handles of one store. The number of records is bounded. When the bound is reached, a new session takes the place of
///
/// 1. expired ones; where there are none,
/// 2. where an owner has more than 16, of the owner who has the most: the one that was used least recently. So an account that signs in
///    over and over ends its own sessions and no one else's;
/// 3. the oldest one without an owner; where there is none,
/// 4. where an owner has more than one, as in 2.
///
/// An owner's only session is never evicted: if there are no others, [`create`](SessionStore::create) answers
/// [`StoreError::Unavailable`].
///
/// *Default* capacity: 100,000 records, some 100 MB with sessions of half a kilobyte. *When to change it*: by your memory,
/// and well above the number of users signed in at once; see [`with_capacity`](MemoryStore::with_capacity).
///
/// A load costs one lookup; every other call of a record O(log n). A create in a full store also looks at the front of each
/// of a fixed number of shards. Nothing ever walks over all records: of an owner with very many sessions, the one that is evicted is
/// the least recently used of some hundreds.
///
/// ```
/// use cloakroom::{Lifetime, record::*, store::{MemoryStore, SessionStore}};
///
/// # async fn example() -> Result<(), cloakroom::store::StoreError> {
/// let (store, now) = (MemoryStore::new(), Timestamp::from_millis(0));
/// let (key, secret) = (Selector::from_bytes([7; 16]), SecretHash::from_bytes([1; 32]));
/// let until = now.plus(Lifetime::default().idle());
/// let header = Header::new(secret, WrappedKey::from_bytes([2; 32]), now, until, until);
/// assert_eq!(store.create(&key, Record::new(header, Cells::default())).await?, CreateOutcome::Created);
/// assert_eq!(store.len(), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct MemoryStore(Arc<Inner>);

/// Enough that threads seldom meet, few enough that looking at all of them is cheap.
const SHARDS: usize = 16;

/// How many expired records one create clears away when it finds the store full, so that the next ones need not look.
const CLEARED_AT_ONCE: usize = 32;

/// How many sessions an owner may have before they make room for others ahead of those without an owner. More than the devices of a
/// person.
const CROWD: usize = 16;

/// How many of an owner's sessions one eviction looks at per shard, at most.
const COMPARED_AT_ONCE: usize = 32;

/// How many sessions of one owner are removed under one lock.
const REMOVED_AT_ONCE: usize = 500;

struct Inner {
    shards: [Mutex<Shard>; SHARDS],
    capacity: usize,
    /// Records in all shards. Changes only under the lock of the shard concerned.
    count: AtomicUsize,
    /// Numbers records by age; some numbers are never used.
    births: AtomicU64,
    /// Changes only under the lock of the shard that holds the session concerned, so it is locked after that one.
    owners: Mutex<Owners>,
}

/// How many sessions each owner has, and which owners have more than one.
#[derive(Default)]
struct Owners {
    sessions: HashMap<OwnerHash, usize>,
    several: BTreeSet<(usize, OwnerHash)>,
}

impl Owners {
    fn add(&mut self, owner: OwnerHash) {
        self.change(owner, |count| count + 1);
    }

    fn remove(&mut self, owner: OwnerHash) {
        self.change(owner, |count| count.saturating_sub(1));
    }

    fn change(&mut self, owner: OwnerHash, change: impl FnOnce(usize) -> usize) {
        let before = self.sessions.get(&owner).copied().unwrap_or_default();
        let after = change(before);
        self.several.remove(&(before, owner));
        if after > 1 {
            self.several.insert((after, owner));
        }
        match after {
            0 => drop(self.sessions.remove(&owner)),
            _ => drop(self.sessions.insert(owner, after)),
        }
    }

    /// The owner who has the most sessions, if that is more than so many.
    fn with_more_than(&self, kept: usize) -> Option<OwnerHash> {
        self.several.last().filter(|(count, _)| *count > kept).map(|(_, owner)| *owner)
    }

    /// Counts one less if that leaves so many.
    fn remove_surplus(&mut self, owner: OwnerHash, kept: usize) -> bool {
        let is_surplus = self.sessions.get(&owner).is_some_and(|count| *count > kept);
        if is_surplus {
            self.remove(owner);
        }
        is_surplus
    }
}

impl MemoryStore {
    /// An empty store for up to 100,000 records.
    ///
    /// ```
    /// use cloakroom::store::MemoryStore;
    /// let store = MemoryStore::new();
    /// assert!(store.clone().is_empty(), "a clone is a handle of the same store");
    /// ```
    pub fn new() -> Self {
        Self::with_capacity(100_000)
    }

    /// An empty store for up to `capacity` records. Memory is taken as records come.
    ///
    /// ```
    /// use cloakroom::store::MemoryStore;
    /// assert!(MemoryStore::with_capacity(5_000).is_empty());
    /// ```
    pub fn with_capacity(capacity: usize) -> Self {
        Self(Arc::new(Inner {
            shards: Default::default(),
            capacity,
            count: AtomicUsize::new(0),
            births: AtomicU64::new(0),
            owners: Mutex::default(),
        }))
    }

    /// How many records there are, expired ones included that nothing has removed yet.
    ///
    /// ```
    /// use cloakroom::store::MemoryStore;
    /// assert_eq!(MemoryStore::new().len(), 0);
    /// ```
    pub fn len(&self) -> usize {
        self.0.count.load(Ordering::Relaxed)
    }

    /// Whether there is no record.
    ///
    /// ```
    /// use cloakroom::store::MemoryStore;
    /// assert!(MemoryStore::new().is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").field("records", &self.len()).field("capacity", &self.0.capacity).finish()
    }
}

#[async_trait]
impl SessionStore for MemoryStore {
    async fn load(&self, key: &Selector, presented: &Presented, want: &Want<'_>) -> Result<Option<Arc<Record>>, StoreError> {
        Ok(lock(self.0.shard(key)).load(key, presented, want))
    }

    async fn create(&self, key: &Selector, record: Record) -> Result<CreateOutcome, StoreError> {
        self.0.create(key, record)
    }

    async fn commit(&self, key: &Selector, patch: &Patch) -> Result<CommitOutcome, StoreError> {
        Ok(lock(self.0.shard(key)).commit(key, patch, &self.0.owners))
    }

    async fn delete(&self, key: &Selector) -> Result<(), StoreError> {
        let mut shard = lock(self.0.shard(key));
        self.0.release(usize::from(shard.remove(key, &self.0.owners)));
        Ok(())
    }

    async fn by_owner(&self, owner: &OwnerHash) -> Result<Vec<(Selector, Header)>, StoreError> {
        let mut found = Vec::new();
        for shard in &self.0.shards {
            let shard = lock(shard);
            found.extend(shard.owned_by(owner).filter_map(|key| Some((key, shard.records.get(&key)?.record.header.clone()))));
        }
        Ok(found)
    }

    async fn delete_by_owner(&self, owner: &OwnerHash, except: Option<&Selector>) -> Result<u64, StoreError> {
        let mut deleted = 0;
        for shard in &self.0.shards {
            loop {
                let mut shard = lock(shard);
                let doomed = shard.owned_by(owner).filter(|key| Some(key) != except);
                let doomed: Vec<Selector> = doomed.take(REMOVED_AT_ONCE).collect();
                let removed = doomed.iter().filter(|key| shard.remove(key, &self.0.owners)).count();
                self.0.release(removed);
                deleted += removed as u64;
                if removed < REMOVED_AT_ONCE {
                    break;
                }
            }
        }
        Ok(deleted)
    }

    async fn sweep(&self, now: Timestamp, limit: usize) -> Result<usize, StoreError> {
        let mut swept = 0;
        for shard in &self.0.shards {
            swept += self.0.remove_expired(shard, now, limit - swept);
        }
        Ok(swept)
    }

    fn idle_touch(&self) -> IdleTouch {
        IdleTouch::AtLoad
    }

    fn identity(&self) -> Option<StoreIdentity> {
        Some(StoreIdentity::of(&self.0))
    }
}

impl Inner {
    fn shard(&self, key: &Selector) -> &Mutex<Shard> {
        // Selectors are random bytes, so any of them will do.
        &self.shards[usize::from(key.as_bytes()[15]) % SHARDS]
    }

    fn create(&self, key: &Selector, record: Record) -> Result<CreateOutcome, StoreError> {
        // A store has no clock; whoever creates a record says in it what time it is.
        let now = record.header.last_seen;
        loop {
            let births = self.births.load(Ordering::SeqCst);
            {
                let mut shard = lock(self.shard(key));
                if shard.records.contains_key(key) {
                    return Ok(CreateOutcome::Exists);
                }
                if let Some(born) = self.reserve() {
                    shard.insert(*key, record, born, &self.owners);
                    return Ok(CreateOutcome::Created);
                }
            }
            // Finding nothing proves nothing while others come and go. A create that takes a place has announced that before, so if
            // there is no place and no other create, what was looked at is all there was.
            if !self.make_room(now) && !self.has_room() && self.births.load(Ordering::SeqCst) == births {
                return Err(self.full());
            }
        }
    }

    fn has_room(&self) -> bool {
        self.count.load(Ordering::SeqCst) < self.capacity
    }

    /// A place for one more record, and its number; none in a full store.
    fn reserve(&self) -> Option<u64> {
        let born = self.has_room().then(|| self.births.fetch_add(1, Ordering::SeqCst))?;
        let one_more = |count| (count < self.capacity).then_some(count + 1);
        self.count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more).is_ok().then_some(born)
    }

    fn release(&self, removed: usize) {
        self.count.fetch_sub(removed, Ordering::SeqCst);
    }

    /// Removes what [`MemoryStore`] says; answers whether there was something. Holds the lock of one shard at a time.
    fn make_room(&self, now: Timestamp) -> bool {
        self.shards.iter().any(|shard| self.remove_expired(shard, now, CLEARED_AT_ONCE) > 0)
            || self.evict_surplus(CROWD)
            || self.evict_ownerless()
            || self.evict_surplus(1)
    }

    fn evict_ownerless(&self) -> bool {
        let oldest = || {
            self.shards.iter().filter_map(|shard| Some((lock(shard).oldest_ownerless()?, shard))).min_by_key(|(age, _)| *age)
        };
        while let Some((born, shard)) = oldest() {
            let mut shard = lock(shard);
            // Since it was looked at it may have gained an owner, or another create may have taken it.
            if shard.evict(born, &self.owners) {
                self.release(1);
                return true;
            }
        }
        false
    }

    /// Evicts a session of the owner who has the most, and leaves that owner at least so many.
    fn evict_surplus(&self, kept: usize) -> bool {
        let most = || lock(&self.owners).with_more_than(kept);
        while let Some(owner) = most() {
            let least_used = self.shards.iter().filter_map(|shard| Some((lock(shard).least_used(owner)?, shard)));
            let Some(((_, key), shard)) = least_used.min_by_key(|((used, _), _)| *used) else {
                // All of them have gone meanwhile.
                continue;
            };
            let mut shard = lock(shard);
            if shard.evict_surplus(&key, owner, kept, &self.owners) {
                self.release(1);
                return true;
            }
        }
        false
    }

    fn remove_expired(&self, shard: &Mutex<Shard>, now: Timestamp, limit: usize) -> usize {
        let mut shard = lock(shard);
        let removed = shard.remove_expired(now, limit, &self.owners);
        self.release(removed);
        removed
    }

    fn full(&self) -> StoreError {
        StoreError::unavailable(format!(
            "the MemoryStore is full: each of its {} records is an owner's only session; raise the bound with \
             MemoryStore::with_capacity, or use a store on disk",
            self.capacity
        ))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing under these locks can panic half-way, so what a poisoned one guards is whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Spreads selectors over a map. The keys in it are random bytes of ours, so nobody can choose them to collide, and a keyed hash
/// would protect nothing.
#[derive(Default)]
struct Spread(u64);

impl Hasher for Spread {
    fn write(&mut self, bytes: &[u8]) {
        for part in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..part.len()].copy_from_slice(part);
            self.0 = (self.0.rotate_left(5) ^ u64::from_le_bytes(word)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        }
    }

    fn finish(&self) -> u64 {
        self.0.rotate_left(26)
    }
}

/// Some of the records, and every index over them under the same lock: they cannot part.
#[derive(Default)]
struct Shard {
    records: HashMap<Selector, Entry, BuildHasherDefault<Spread>>,
    index: Index,
}

struct Entry {
    /// Shared with the requests that have loaded it; what changes it makes a new one.
    record: Arc<Record>,
    /// The position by age over all shards.
    born: u64,
    /// Where the record stands in [`Index::due`].
    due: Timestamp,
    /// Where the record stands in [`Index::owned`], if it has an owner.
    used: Timestamp,
}

#[derive(Default)]
struct Index {
    /// When to look at a record again: its deadline or earlier, since a touch moves only the deadline. That keeps loads free of
    /// index work, and costs one re-entry per record and idle time when somebody looks.
    due: BTreeSet<(Timestamp, Selector)>,
    /// By owner and by last use, or earlier: here too a load changes nothing, and who looks for the least recently used corrects what it
    /// finds.
    owned: BTreeSet<(OwnerHash, Timestamp, Selector)>,
    ownerless: BTreeMap<u64, Selector>,
}

impl Index {
    fn add_owner(&mut self, key: Selector, entry: &Entry) {
        match entry.owner() {
            Some(owner) => drop(self.owned.insert((owner, entry.used, key))),
            None => drop(self.ownerless.insert(entry.born, key)),
        }
    }

    fn remove_owner(&mut self, key: Selector, entry: &Entry, owner: Option<OwnerHash>) {
        match owner {
            Some(owner) => drop(self.owned.remove(&(owner, entry.used, key))),
            None => drop(self.ownerless.remove(&entry.born)),
        }
    }
}

impl Entry {
    fn owner(&self) -> Option<OwnerHash> {
        self.record.header.owner.as_ref().map(|owner| owner.hash)
    }
}

impl Shard {
    fn load(&mut self, key: &Selector, presented: &Presented, want: &Want<'_>) -> Option<Arc<Record>> {
        let record = &mut self.records.get_mut(key)?.record;
        let before = if record.cells.are_wanted(want) {
            Arc::clone(record)
        } else {
            Arc::new(Record::new(record.header.clone(), record.cells.wanted(want)))
        };
        Arc::make_mut(record).header.touch(presented);
        Some(before)
    }

    fn insert(&mut self, key: Selector, record: Record, born: u64, owners: &Mutex<Owners>) {
        let (due, used) = (record.header.expires(), record.header.last_seen);
        let entry = Entry { record: Arc::new(record), born, due, used };
        self.index.due.insert((due, key));
        self.index.add_owner(key, &entry);
        entry.owner().into_iter().for_each(|owner| lock(owners).add(owner));
        self.records.insert(key, entry);
    }

    fn commit(&mut self, key: &Selector, patch: &Patch, owners: &Mutex<Owners>) -> CommitOutcome {
        let Some(entry) = self.records.get_mut(key) else { return CommitOutcome::Gone };
        let owner = entry.owner();
        let outcome = Arc::make_mut(&mut entry.record).apply(patch);
        if entry.owner() != owner {
            self.index.remove_owner(*key, entry, owner);
            entry.used = entry.record.header.last_seen;
            self.index.add_owner(*key, entry);
            let mut owners = lock(owners);
            owner.into_iter().for_each(|owner| owners.remove(owner));
            entry.owner().into_iter().for_each(|owner| owners.add(owner));
        }
        let expires = entry.record.header.expires();
        if expires < entry.due {
            self.index.due.remove(&(entry.due, *key));
            self.index.due.insert((expires, *key));
            entry.due = expires;
        }
        outcome
    }

    fn remove(&mut self, key: &Selector, owners: &Mutex<Owners>) -> bool {
        let removed = self.unlink(key);
        if let Some(owner) = removed.as_ref().and_then(Entry::owner) {
            lock(owners).remove(owner);
        }
        removed.is_some()
    }

    /// Takes a record out of all but the count of its owner's sessions.
    fn unlink(&mut self, key: &Selector) -> Option<Entry> {
        let entry = self.records.remove(key)?;
        self.index.due.remove(&(entry.due, *key));
        self.index.remove_owner(*key, &entry, entry.owner());
        Some(entry)
    }

    fn remove_expired(&mut self, now: Timestamp, limit: usize, owners: &Mutex<Owners>) -> usize {
        let mut removed = 0;
        while removed < limit
            && let Some(&(due, key)) = self.index.due.first()
            && due <= now
        {
            self.index.due.pop_first();
            match self.records.get_mut(&key) {
                Some(entry) if entry.record.header.is_open(now) => {
                    entry.due = entry.record.header.expires();
                    self.index.due.insert((entry.due, key));
                }
                _ => removed += usize::from(self.remove(&key, owners)),
            }
        }
        removed
    }

    fn owned_by(&self, owner: &OwnerHash) -> impl Iterator<Item = Selector> + '_ {
        let (first, last) = (Selector::from_bytes([0; 16]), Selector::from_bytes([0xff; 16]));
        let (earliest, latest) = (Timestamp::from_millis(i64::MIN), Timestamp::from_millis(i64::MAX));
        self.index.owned.range((*owner, earliest, first)..=(*owner, latest, last)).map(|(.., key)| *key)
    }

    fn oldest_ownerless(&self) -> Option<u64> {
        self.index.ownerless.first_key_value().map(|(born, _)| *born)
    }

    fn evict(&mut self, born: u64, owners: &Mutex<Owners>) -> bool {
        self.index.ownerless.get(&born).copied().is_some_and(|key| self.remove(&key, owners))
    }

    /// The owner's session that was used least recently, and when. Of those that were used since they were put into the index, it
    /// compares so many and no more.
    fn least_used(&mut self, owner: OwnerHash) -> Option<(Timestamp, Selector)> {
        let first: Vec<Selector> = self.owned_by(&owner).take(COMPARED_AT_ONCE).collect();
        for key in &first {
            let Some(entry) = self.records.get_mut(key) else { continue };
            let used = entry.record.header.last_seen;
            if used == entry.used {
                // All that follow were used later, or have been looked at.
                break;
            }
            self.index.owned.remove(&(owner, entry.used, *key));
            entry.used = used;
            self.index.owned.insert((owner, used, *key));
        }
        first.iter().filter_map(|key| Some((self.records.get(key)?.record.header.last_seen, *key))).min()
    }

    /// Removes a session if it is still that owner's, and the owner keeps so many.
    fn evict_surplus(&mut self, key: &Selector, owner: OwnerHash, kept: usize, owners: &Mutex<Owners>) -> bool {
        let is_theirs = self.records.get(key).is_some_and(|entry| entry.owner() == Some(owner));
        // The other sessions may be in other shards, so the count is asked and lowered in one step.
        is_theirs && lock(owners).remove_surplus(owner, kept) && self.unlink(key).is_some()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::{record::*, store::tests::*};
    use std::thread;

    fn on_this_thread<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
    }

    async fn names(store: &MemoryStore, among: std::ops::Range<u64>) -> Vec<u64> {
        let mut there = Vec::new();
        for n in among {
            if peek(store, n).await.is_some() {
                there.push(n);
            }
        }
        there
    }

    #[tokio::test]
    async fn a_full_store_gives_up_expired_records_first_then_the_oldest_without_an_owner() {
        let store = MemoryStore::with_capacity(4);
        let dies_at_50 = header(0, 50);
        store.create(&key(1), record(header(0, 1000))).await.unwrap();
        store.create(&key(2), record(owned(header(0, 1000), 7))).await.unwrap();
        store.create(&key(3), record(header(0, 1000))).await.unwrap();
        store.create(&key(4), record(owned(dies_at_50, 7))).await.unwrap();
        // At 60 the record with an owner is expired, and older ones without an owner still live.
        store.create(&key(5), record(header(60, 1000))).await.unwrap();
        assert_eq!(names(&store, 1..6).await, [1, 2, 3, 5]);
        store.create(&key(6), record(header(60, 1000))).await.unwrap();
        assert_eq!(names(&store, 1..7).await, [2, 3, 5, 6]);
        store.create(&key(7), record(header(60, 1000))).await.unwrap();
        assert_eq!(names(&store, 1..8).await, [2, 5, 6, 7]);
    }

    #[tokio::test]
    async fn an_owners_only_session_stays_and_the_refusal_names_the_bound() {
        let store = MemoryStore::with_capacity(20);
        for n in 0..20 {
            store.create(&key(n), record(owned(header(0, 1000), n))).await.unwrap();
        }
        let refused = store.create(&key(99), record(header(5, 1000))).await.unwrap_err();
        assert!(matches!(refused, StoreError::Unavailable(_)));
        assert!(refused.to_string().contains("20 records") && refused.to_string().contains("with_capacity"), "{refused}");
        assert_eq!(names(&store, 0..20).await.len(), 20);
        // A taken key is taken, full or not.
        assert_eq!(store.create(&key(3), record(header(5, 1000))).await.unwrap(), CreateOutcome::Exists);
    }

    /// Signs in: a new session of that owner.
    async fn begin(store: &MemoryStore, n: u64, of: u64, now: i64) -> Result<CreateOutcome, StoreError> {
        store.create(&key(n), record(owned(header(now, 1000), of))).await
    }

    #[tokio::test]
    async fn one_account_that_signs_in_over_and_over_ends_its_own_sessions_only() {
        let store = MemoryStore::with_capacity(40);
        for n in 0..10 {
            begin(&store, n, n, 0).await.unwrap();
        }
        store.create(&key(10), record(header(0, 1000))).await.unwrap();
        for n in 100..400 {
            begin(&store, n, 99, n as i64 - 99).await.unwrap();
        }
        assert_eq!(names(&store, 0..11).await, (0..11).collect::<Vec<_>>(), "all others");
        assert_eq!(names(&store, 100..400).await, (371..400).collect::<Vec<_>>(), "its latest");
        // Visitors find room too and keep it while that account goes on, and so does another account.
        for n in 500..512 {
            store.create(&key(n), record(header(400, 1000))).await.unwrap();
            begin(&store, n + 1_000, 99, 400).await.unwrap();
        }
        begin(&store, 600, 7, 400).await.unwrap();
        assert_eq!(names(&store, 500..512).await.len(), 12);
        assert_eq!(names(&store, 0..10).await.len(), 10);
        assert_eq!(store.len(), 40);
    }

    #[tokio::test]
    async fn of_the_owner_who_has_the_most_the_least_recently_used_session_goes() {
        let store = MemoryStore::with_capacity(6);
        for (n, of, now) in [(1, 1, 0), (2, 1, 1), (3, 2, 0), (4, 2, 1), (5, 2, 2), (6, 3, 0)] {
            begin(&store, n, of, now).await.unwrap();
        }
        for used in [3, 5] {
            store.load(&key(used), &presented(1, 10 + used as i64), &Want::default()).await.unwrap();
        }
        begin(&store, 7, 4, 20).await.unwrap();
        assert_eq!(names(&store, 1..8).await, [1, 2, 3, 5, 6, 7], "the second owner had three");
        // Now two owners have two each, and both give one of them before anything is refused.
        begin(&store, 8, 5, 21).await.unwrap();
        begin(&store, 9, 6, 22).await.unwrap();
        assert_eq!(names(&store, 1..10).await.len(), 6);
        assert!(begin(&store, 10, 7, 23).await.is_err());
        assert!(begin(&store, 10, 1, 23).await.is_err(), "nor does an owner's only session make room for a second one");
        assert_eq!(names(&store, 6..10).await, [6, 7, 8, 9]);
    }

    #[test]
    fn under_threads_no_owner_loses_the_only_session() {
        let store = MemoryStore::with_capacity(64);
        let owners = 8;
        thread::scope(|scope| {
            for owner in 0..owners {
                let store = &store;
                scope.spawn(move || {
                    on_this_thread(async {
                        let mut random = Random(owner + 1);
                        for n in 0..2_000 {
                            begin(store, owner * 10_000 + n, owner, n as i64 % 900).await.unwrap();
                            let mine = store.by_owner(&super::super::tests::owner(owner).hash).await.unwrap();
                            assert!(!mine.is_empty());
                            if random.below(3) == 0 && mine.len() > 1 {
                                store.load(&mine[0].0, &presented(1, 950), &Want::default()).await.unwrap();
                            }
                        }
                    });
                });
            }
        });
        assert_eq!(store.len(), 64);
    }

    #[tokio::test]
    async fn the_sessions_of_an_owner_with_very_many_are_listed_and_ended() {
        let store = MemoryStore::new();
        for n in 0..20_000 {
            begin(&store, n, 1, 0).await.unwrap();
        }
        begin(&store, 90_000, 2, 0).await.unwrap();
        assert_eq!(store.by_owner(&owner(1).hash).await.unwrap().len(), 20_000);
        assert_eq!(store.delete_by_owner(&owner(1).hash, Some(&key(5))).await.unwrap(), 19_999);
        assert_eq!(names(&store, 0..20_000).await, [5]);
        assert_eq!(store.len(), 2);
    }

    #[tokio::test]
    async fn signing_in_protects_a_record_from_eviction_and_signing_out_ends_that() {
        let store = MemoryStore::with_capacity(2);
        store.create(&key(1), record(header(0, 1000))).await.unwrap();
        store.create(&key(2), record(header(0, 1000))).await.unwrap();
        let mut sign_in = patch(1);
        sign_in.owner = Some(OwnerChange::Set(owner(7)));
        store.commit(&key(1), &sign_in).await.unwrap();
        store.create(&key(3), record(header(1, 1000))).await.unwrap();
        assert_eq!(names(&store, 1..4).await, [1, 3]);
        let mut sign_out = patch(1);
        sign_out.owner = Some(OwnerChange::Clear);
        store.commit(&key(1), &sign_out).await.unwrap();
        // Age is counted from creation, not from the sign-out.
        store.create(&key(4), record(header(1, 1000))).await.unwrap();
        assert_eq!(names(&store, 1..5).await, [3, 4]);
    }

    #[tokio::test]
    async fn a_sweep_leaves_alone_what_a_load_has_kept_alive_and_finds_it_later() {
        let store = MemoryStore::new();
        store.create(&key(1), record(header(0, 100))).await.unwrap();
        store.load(&key(1), &presented(1, 90), &Want::default()).await.unwrap();
        assert_eq!(store.sweep(at(150), 10).await.unwrap(), 0);
        assert_eq!(store.sweep(at(189), 10).await.unwrap(), 0);
        assert_eq!(store.sweep(at(190), 10).await.unwrap(), 1);
        assert!(store.is_empty());
    }

    #[tokio::test]
    async fn a_deadline_that_a_commit_brought_forward_is_swept_in_time() {
        let store = MemoryStore::new();
        store.create(&key(1), record(header(0, 1000))).await.unwrap();
        let mut sooner = patch(1);
        sooner.deadlines =
            Some(Deadlines::Reset { created: at(0), last_seen: at(0), idle_until: at(20), absolute_until: at(1000) });
        store.commit(&key(1), &sooner).await.unwrap();
        assert_eq!(store.sweep(at(20), 10).await.unwrap(), 1);
    }

    #[test]
    fn the_bound_holds_exactly_under_threads_and_every_create_finds_room() {
        // A bound of one makes them fight for the same place, where a scan of the shards finds nothing most easily.
        for capacity in [1, 3] {
            let store = MemoryStore::with_capacity(capacity);
            thread::scope(|scope| {
                for thread in 0..8 {
                    let store = &store;
                    scope.spawn(move || {
                        on_this_thread(async {
                            for n in 0..1_000 {
                                let created = store.create(&key(thread * 10_000 + n), record(header(0, 1000))).await.unwrap();
                                assert_eq!(created, CreateOutcome::Created);
                                assert!(store.len() <= capacity);
                            }
                        });
                    });
                }
            });
            let there: usize = store.0.shards.iter().map(|shard| lock(shard).records.len()).sum();
            assert_eq!((store.len(), there), (capacity, capacity));
        }
    }

    #[tokio::test]
    async fn the_indexes_hold_neither_more_nor_less_than_the_records() {
        let store = MemoryStore::with_capacity(50);
        let mut random = Random(3);
        for _ in 0..3_000 {
            let n = random.below(80);
            let _ = store.create(&key(n), record(random.header())).await;
            let _ = store.load(&key(random.below(80)), &presented(1, random.below(120) as i64), &Want::default()).await;
            let _ = store.commit(&key(random.below(80)), &random.patch()).await;
            if random.below(4) == 0 {
                store.delete(&key(random.below(80))).await.unwrap();
            }
            if random.below(20) == 0 {
                store.sweep(at(random.below(120) as i64), 3).await.unwrap();
            }
        }
        let (mut records, mut sessions) = (0, HashMap::<OwnerHash, usize>::new());
        for shard in &store.0.shards {
            let shard = lock(shard);
            records += shard.records.len();
            assert_eq!(shard.index.due.len(), shard.records.len());
            assert_eq!(shard.index.owned.len() + shard.index.ownerless.len(), shard.records.len());
            for (key, entry) in &shard.records {
                assert!(entry.due <= entry.record.header.expires() && shard.index.due.contains(&(entry.due, *key)));
                match entry.owner() {
                    Some(owner) => {
                        assert!(shard.index.owned.contains(&(owner, entry.used, *key)));
                        *sessions.entry(owner).or_default() += 1;
                    }
                    None => assert_eq!(shard.index.ownerless.get(&entry.born), Some(key)),
                }
            }
        }
        assert_eq!(records, store.len());
        assert!(records > 0);
        let owners = lock(&store.0.owners);
        assert_eq!(owners.sessions, sessions);
        let several = sessions.into_iter().filter(|(_, count)| *count > 1).map(|(owner, count)| (count, owner));
        assert_eq!(owners.several, several.collect());
    }

    #[tokio::test]
    async fn debug_shows_numbers_and_no_contents() {
        let store = MemoryStore::with_capacity(5);
        store.create(&key(1), record(header(0, 100))).await.unwrap();
        assert_eq!(format!("{store:?}"), "MemoryStore { records: 1, capacity: 5 }");
    }
}
