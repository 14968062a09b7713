//! Sessions in the memory of one process.

use super::{IdleTouch, SessionStore, StoreError};
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
/// Clones are handles of one store. The number of records is bounded. When the bound is reached, a new session takes the
/// place of expired ones, then of the oldest one in nobody's name. A session with an owner is never evicted: if there are no
/// others, [`create`](SessionStore::create) answers [`StoreError::Unavailable`].
///
/// *Default* capacity: 100,000 records, some 100 MB with sessions of half a kilobyte. *When to change it*: by your memory,
/// and well above the number of users signed in at once; see [`with_capacity`](MemoryStore::with_capacity).
///
/// A load costs one lookup; every other call of a record O(log n). A create in a full store also looks at the front of each
/// of a fixed number of shards. Nothing ever walks over all records.
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

struct Inner {
    shards: [Mutex<Shard>; SHARDS],
    capacity: usize,
    /// Records in all shards. Changes only under the lock of the shard concerned.
    count: AtomicUsize,
    /// Numbers records by age; some numbers are never used.
    births: AtomicU64,
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
        Self(Arc::new(Inner { shards: Default::default(), capacity, count: AtomicUsize::new(0), births: AtomicU64::new(0) }))
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
        Ok(lock(self.0.shard(key)).commit(key, patch))
    }

    async fn delete(&self, key: &Selector) -> Result<(), StoreError> {
        let mut shard = lock(self.0.shard(key));
        self.0.release(usize::from(shard.remove(key)));
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
            let mut shard = lock(shard);
            let doomed: Vec<Selector> = shard.owned_by(owner).filter(|key| Some(key) != except).collect();
            let removed = doomed.iter().filter(|key| shard.remove(key)).count();
            self.0.release(removed);
            deleted += removed as u64;
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
                    shard.insert(*key, record, born);
                    return Ok(CreateOutcome::Created);
                }
            }
            // Finding nothing proves nothing while others come and go. Whoever takes a place has announced that before, so if
            // there is no place and nobody new, what was looked at is all there was.
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

    /// Removes expired records, or else the oldest without an owner; answers whether there was one. Holds one lock at a time.
    fn make_room(&self, now: Timestamp) -> bool {
        if self.shards.iter().any(|shard| self.remove_expired(shard, now, CLEARED_AT_ONCE) > 0) {
            return true;
        }
        let oldest = || {
            self.shards.iter().filter_map(|shard| Some((lock(shard).oldest_ownerless()?, shard))).min_by_key(|(age, _)| *age)
        };
        while let Some((born, shard)) = oldest() {
            let mut shard = lock(shard);
            // Since it was looked at it may have gained an owner, or another create may have taken it.
            if shard.evict(born) {
                self.release(1);
                return true;
            }
        }
        false
    }

    fn remove_expired(&self, shard: &Mutex<Shard>, now: Timestamp, limit: usize) -> usize {
        let mut shard = lock(shard);
        let removed = shard.remove_expired(now, limit);
        self.release(removed);
        removed
    }

    fn full(&self) -> StoreError {
        StoreError::unavailable(format!(
            "the MemoryStore is full: none of its {} records is expired or without an owner; raise the bound with \
             MemoryStore::with_capacity, or use a store on disk",
            self.capacity
        ))
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    // Nothing under the lock can panic half-way, so a poisoned shard is a whole one.
    shard.lock().unwrap_or_else(PoisonError::into_inner)
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
}

#[derive(Default)]
struct Index {
    /// When to look at a record again: its deadline or earlier, since a touch moves only the deadline. That keeps loads free of
    /// index work, and costs one re-entry per record and idle time when somebody looks.
    due: BTreeSet<(Timestamp, Selector)>,
    owned: BTreeSet<(OwnerHash, Selector)>,
    ownerless: BTreeMap<u64, Selector>,
}

impl Index {
    fn add_owner(&mut self, key: Selector, born: u64, owner: Option<OwnerHash>) {
        match owner {
            Some(owner) => drop(self.owned.insert((owner, key))),
            None => drop(self.ownerless.insert(born, key)),
        }
    }

    fn remove_owner(&mut self, key: Selector, born: u64, owner: Option<OwnerHash>) {
        match owner {
            Some(owner) => drop(self.owned.remove(&(owner, key))),
            None => drop(self.ownerless.remove(&born)),
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

    fn insert(&mut self, key: Selector, record: Record, born: u64) {
        let due = record.header.expires();
        let entry = Entry { record: Arc::new(record), born, due };
        self.index.due.insert((due, key));
        self.index.add_owner(key, born, entry.owner());
        self.records.insert(key, entry);
    }

    fn commit(&mut self, key: &Selector, patch: &Patch) -> CommitOutcome {
        let Some(entry) = self.records.get_mut(key) else { return CommitOutcome::Gone };
        let owner = entry.owner();
        let outcome = Arc::make_mut(&mut entry.record).apply(patch);
        if entry.owner() != owner {
            self.index.remove_owner(*key, entry.born, owner);
            self.index.add_owner(*key, entry.born, entry.owner());
        }
        let expires = entry.record.header.expires();
        if expires < entry.due {
            self.index.due.remove(&(entry.due, *key));
            self.index.due.insert((expires, *key));
            entry.due = expires;
        }
        outcome
    }

    fn remove(&mut self, key: &Selector) -> bool {
        let Some(entry) = self.records.remove(key) else { return false };
        self.index.due.remove(&(entry.due, *key));
        self.index.remove_owner(*key, entry.born, entry.owner());
        true
    }

    fn remove_expired(&mut self, now: Timestamp, limit: usize) -> usize {
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
                _ => removed += usize::from(self.remove(&key)),
            }
        }
        removed
    }

    fn owned_by(&self, owner: &OwnerHash) -> impl Iterator<Item = Selector> + '_ {
        let (first, last) = (Selector::from_bytes([0; 16]), Selector::from_bytes([0xff; 16]));
        self.index.owned.range((*owner, first)..=(*owner, last)).map(|(_, key)| *key)
    }

    fn oldest_ownerless(&self) -> Option<u64> {
        self.index.ownerless.first_key_value().map(|(born, _)| *born)
    }

    fn evict(&mut self, born: u64) -> bool {
        self.index.ownerless.get(&born).copied().is_some_and(|key| self.remove(&key))
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
    async fn a_record_with_an_owner_is_never_evicted_and_the_refusal_names_the_bound() {
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
        let mut records = 0;
        for shard in &store.0.shards {
            let shard = lock(shard);
            records += shard.records.len();
            assert_eq!(shard.index.due.len(), shard.records.len());
            assert_eq!(shard.index.owned.len() + shard.index.ownerless.len(), shard.records.len());
            for (key, entry) in &shard.records {
                assert!(entry.due <= entry.record.header.expires() && shard.index.due.contains(&(entry.due, *key)));
                match entry.owner() {
                    Some(owner) => assert!(shard.index.owned.contains(&(owner, *key))),
                    None => assert_eq!(shard.index.ownerless.get(&entry.born), Some(key)),
                }
            }
        }
        assert_eq!(records, store.len());
        assert!(records > 0);
    }

    #[tokio::test]
    async fn debug_shows_numbers_and_no_contents() {
        let store = MemoryStore::with_capacity(5);
        store.create(&key(1), record(header(0, 100))).await.unwrap();
        assert_eq!(format!("{store:?}"), "MemoryStore { records: 1, capacity: 5 }");
    }
}
