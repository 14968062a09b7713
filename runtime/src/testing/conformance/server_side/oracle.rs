//! Long pseudo-random histories, applied to the store and to a plain [`Record`] side by side.

use super::fixture::*;
use crate::{
    lifetime::Lifetime,
    record::{
        CellBody, CellKey, CodecId, CommitOutcome, Content, CreateOutcome, Deadlines, Extensions, Guard, OwnerChange, Patch,
        Payload, Presented, Put, Record, Rotation, Selector, Shape, Timestamp,
    },
    store::{IdleTouch, SessionStore},
};

const SEEDS: std::ops::RangeInclusive<u64> = 1..=6;
const STEPS: usize = 120;

const KEYS: &[&str] =
    &["shop/views", "shop/cart", "shop/total", "shop/total@4", "auth/user", "grüße/名前", "~shop/archive", "~shop/blob"];
const SECRETS: u64 = 4;
const OWNERS: u64 = 3;

pub(super) async fn random_histories_agree_with_the_reference<S: SessionStore>(store: S) {
    // Time only goes on: a store that sweeps on its own goes by the latest time it was told.
    let mut now = at(0);
    for seed in SEEDS {
        let mut history = History::begin(&store, seed, now).await;
        for step in 0..STEPS {
            let place = format!("seed {seed}, step {step}");
            history.step(&store, &place).await;
            assert_stored(&store, &history.key, &history.model, &place).await;
        }
        delete(&store, &history.key).await;
        now = history.now;
    }
}

/// A record that begins now, with an idle hour and an absolute day.
fn begun(now: Timestamp, cells: &[Put]) -> Record {
    let mut record = new_record(cells);
    let header = &mut record.header;
    (header.created, header.last_seen) = (now, now);
    header.idle_until = now.plus(seconds(HOUR));
    header.absolute_until = now.plus(seconds(DAY));
    record
}

struct History {
    dice: Dice,
    key: Selector,
    model: Record,
    now: Timestamp,
}

impl History {
    async fn begin(store: &impl SessionStore, seed: u64, now: Timestamp) -> Self {
        let key = key(seed as u8);
        let model = begun(now, &[]);
        create(store, &key, &model).await;
        Self { dice: Dice(seed), key, model, now }
    }

    async fn step(&mut self, store: &impl SessionStore, place: &str) {
        self.now = self.now.plus(seconds(self.dice.below(300) as i64));
        if !self.model.header.is_open(self.now) {
            self.end(store, self.now, place).await;
        }
        match self.dice.below(20) {
            0..14 => self.commit(store, place).await,
            14..17 => self.load(store, place).await,
            17 => {
                let outcome = store.create(&self.key, new_record(&[put("shop/views", b"other")])).await;
                assert!(matches!(outcome, Ok(CreateOutcome::Exists)), "{place}: create under a taken key: {outcome:?}");
            }
            18 => self.list(store, place).await,
            _ => {
                let late = self.model.header.expires().plus(seconds(self.dice.below(2) as i64));
                self.end(store, late, place).await;
            }
        }
    }

    /// The session is past a deadline: a commit says so. Then the record is replaced, since a store may drop what is dead.
    async fn end(&mut self, store: &impl SessionStore, now: Timestamp, place: &str) {
        let mut patch = self.dice.patch(&self.model, now);
        patch.loaded_at = None;
        let outcome = commit(store, &self.key, &patch).await;
        assert_eq!(outcome, CommitOutcome::Gone, "{place}: past a deadline, {patch:?}");
        delete(store, &self.key).await;
        let mut cells = Vec::new();
        for name in KEYS {
            if self.dice.one_in(2) {
                cells.push(self.dice.put(name));
            }
        }
        self.now = now;
        let mut record = begun(now, &cells);
        if self.dice.one_in(2) {
            record.header.owner = Some(owner(self.dice.below(OWNERS) as u8));
        }
        create(store, &self.key, &record).await;
        self.model = record;
    }

    async fn commit(&mut self, store: &impl SessionStore, place: &str) {
        let patch = self.dice.patch(&self.model, self.now);
        let expected = sorted(self.model.apply(&patch));
        let outcome = commit(store, &self.key, &patch).await;
        assert_eq!(outcome, expected, "{place}: outcome of {patch:?}");
    }

    async fn load(&mut self, store: &impl SessionStore, place: &str) {
        let presented = self.dice.presented(self.now);
        let answer = load(store, &self.key, &presented, ON_DEMAND).await;
        assert_same(answer.as_ref(), &self.model, &format!("{place}: answer of a load with {presented:?}"));
        if store.idle_touch() == IdleTouch::AtLoad {
            self.model.header.touch(&presented);
        }
    }

    async fn list(&self, store: &impl SessionStore, place: &str) {
        for n in 0..OWNERS {
            let owner = owner(n as u8);
            let listed = sessions_of(store, &owner).await.contains(&self.key);
            assert_eq!(listed, self.model.header.owner.as_ref() == Some(&owner), "{place}: by_owner of owner {n}");
        }
    }
}

/// Pseudo-random numbers by SplitMix64: the same everywhere for the same seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.roll() % limit
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    fn secret(&mut self) -> u8 {
        1 + self.below(SECRETS) as u8
    }

    fn some_keys(&mut self, one_in: u64) -> Vec<&'static str> {
        KEYS.iter().copied().filter(|_| self.one_in(one_in)).collect()
    }

    fn put(&mut self, key: &str) -> Put {
        let mut body = if self.one_in(5) {
            CellBody::new(Content::Tombstone)
        } else {
            let length = self.below(40) as usize;
            let bytes: Vec<u8> = (0..length).map(|_| self.roll() as u8).collect();
            let payload = Payload::from(&bytes[..]);
            let codec = CodecId::from_u8(self.roll() as u8);
            CellBody::new(Content::Value { codec, shape: Shape::from_u64(self.roll()), sealed: self.one_in(4), payload })
        };
        if self.one_in(6) {
            body.deadline = Some(at(self.below(7_200) as i64));
        }
        if self.one_in(6) {
            body.keep = true;
            body.epoch = self.below(4) as u32;
        }
        Put::new(CellKey::from(key), body)
    }

    fn presented(&mut self, now: Timestamp) -> Presented {
        let mut presented = Presented::new(secret(self.secret()), now, self.lifetime());
        presented.remember = self.lifetime();
        presented.grace = seconds(self.below(1_200) as i64);
        presented
    }

    fn lifetime(&mut self) -> Lifetime {
        let idle = 60 + self.below(7_200) as i64;
        Lifetime::new(seconds(idle), seconds(idle + self.below(7_200) as i64)).expect("a sound lifetime")
    }

    fn patch(&mut self, model: &Record, now: Timestamp) -> Patch {
        let header = &model.header;
        let mut patch = Patch::new(header.epoch, now);
        if self.one_in(12) {
            patch.epoch = header.epoch.wrapping_sub(1);
        }
        if self.one_in(8) {
            patch.loaded_at = Some(now.minus(seconds(self.below(7_200) as i64)));
        }
        for key in self.some_keys(4) {
            let put = self.put(key);
            patch.puts.push(put);
        }
        for key in self.some_keys(5) {
            let stamp = if self.one_in(8) { self.below(header.revision + 2) } else { model.cells.stamp(key) };
            patch.guards.push(Guard { key: CellKey::from(key), stamp });
        }
        if self.one_in(12) {
            patch.wipe_except = Some(self.some_keys(2).into_iter().map(CellKey::from).collect());
        }
        let later = now.plus(seconds(self.below(7_200) as i64 + 600));
        patch.deadlines = match self.below(6) {
            0 | 1 => Some(Deadlines::Roll { last_seen: now.minus(seconds(self.below(60) as i64)), idle_until: later }),
            2 => Some(Deadlines::Reset {
                created: now,
                last_seen: now,
                idle_until: later,
                absolute_until: now.plus(seconds(self.below(DAY as u64) as i64 + 600)),
            }),
            _ => None,
        };
        if self.one_in(3) {
            patch.presented = Some(secret(self.secret()));
        }
        let (from, to) = (self.secret(), self.secret());
        patch.rotation = match self.below(12) {
            0 => Some(Rotation::Privilege { to: secret(to), wrapped_key: wrapped(to) }),
            1..4 => Some(Rotation::Renewal { from: secret(from), to: secret(to), wrapped_key: wrapped(to) }),
            _ => None,
        };
        patch.owner = match self.below(8) {
            0 => Some(OwnerChange::Set(owner(self.below(OWNERS) as u8))),
            1 => Some(OwnerChange::Clear),
            _ => None,
        };
        if self.one_in(8) {
            patch.authenticated_at = Some(self.one_in(2).then_some(now));
        }
        if self.one_in(8) {
            patch.persistent = Some(self.one_in(2));
        }
        if self.one_in(8) {
            patch.label = Some(self.one_in(2).then(|| format!("device {}", self.0).into()));
        }
        if self.one_in(8) {
            let mut parts = Extensions::default();
            parts.set(200, self.one_in(2).then(|| self.0.to_le_bytes()).as_ref().map(|bytes| &bytes[..]));
            patch.extensions = Some(parts);
        }
        patch
    }
}
