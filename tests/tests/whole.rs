//! Whole or absent: a write whose future is dropped, whose connection is cut or whose time runs out leaves all of itself or nothing.
//!
//! Two cells, the label and the revision of a record belong together: every commit writes its number into all of them. Records are
//! looked at over connections that nothing happens to, and an engine's own tables or keys for what a deletion left behind.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use cloakroom::{
    Lifetime,
    record::*,
    store::{SessionStore, StoreError},
};
use cloakroom_tests::{
    engines::{Engine, Place, Running, USUAL},
    on_engines,
    servers::{Counts, Proxy, RedisServer, Way},
    shop::Dice,
};
use mysql_async::prelude::Queryable as _;
use std::{
    collections::BTreeMap,
    ops::AddAssign,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tokio::{
    task::{JoinSet, yield_now},
    time::{sleep, timeout},
};

// A store in memory has nothing that could be cut: its writes end in the poll that begins them.
on_engines! {
    [on_sqlite: Sqlite, on_redis: Redis, on_a_redis_cluster: RedisCluster, on_postgres: Postgres, on_mysql: MySql]
    { a_write_that_is_dropped_or_cut_is_whole_or_absent }
}

on_engines! {
    [out_of_time_on_sqlite: Sqlite, out_of_time_on_redis: Redis, out_of_time_on_postgres: Postgres, out_of_time_on_mysql: MySql]
    { a_write_that_waits_in_vain_is_whole_or_absent }
}

/// How many writes are interrupted on each engine.
const WRITES: u64 = 1_500;

/// A machine that is busy with other things interrupts fewer.
const LONGEST: Duration = Duration::from_secs(14);

/// How many of them are under way at once, each over connections of its own.
const LANES: u64 = 3;

const HOUR: i64 = 3_600_000;

/// Each lane has one owner, whose sessions these are.
const SESSIONS: u64 = 3;

async fn a_write_that_is_dropped_or_cut_is_whole_or_absent(on: Running) {
    let on = Arc::new(on);
    let mut dice = Dice::new(&format!("{:?}", on.engine));
    let mut lanes = JoinSet::new();
    for number in 0..LANES {
        let (on, dice) = (Arc::clone(&on), dice.split());
        lanes.spawn(async move {
            let way = Route::to(&on, USUAL).await;
            let mut lane = Lane::new(&on, number, dice).await;
            let (began, mut rounds) = (Instant::now(), 0..2 * WRITES / LANES);
            while lane.tally.interrupted < WRITES / LANES
                && began.elapsed() < LONGEST
                && let Some(round) = rounds.next()
            {
                lane.interrupted_write(&way, round).await;
            }
            lane.look_at_all().await;
            lane.tally
        });
    }
    let mut tally = Tally::default();
    while let Some(lane) = lanes.join_next().await {
        tally += lane.unwrap();
    }
    println!("{tally:?}");
    assert!(tally.interrupted > WRITES / 5, "few writes were interrupted: {tally:?}");
    // What a thread of this process has taken up is done in a moment, and is rarely interrupted.
    let few = if on.engine == Engine::Sqlite { 3 } else { 15 };
    assert!(tally.landed > few && tally.lost > few, "hardly anything was written, or lost: {tally:?}");
}

/// Another connection holds what a write needs, for longer than the write may take; then it is free again. Some servers go on by
/// themselves then, and others have given up.
async fn a_write_that_waits_in_vain_is_whole_or_absent(on: Running) {
    const LIMIT: Duration = Duration::from_millis(60);
    let on = Arc::new(on);
    let mut dice = Dice::new(&format!("{:?}", on.engine));
    let impatient = on.engine.open(&on.addresses, LIMIT).await;
    let mut lanes = Vec::new();
    for number in 0..8 {
        lanes.push(Lane::new(&on, number, dice.split()).await);
    }
    // MySQL gives up a wait for a lock after a second.
    let long = if on.engine == Engine::MySql { 1_300 } else { 300 };
    let mut waited = 0;
    let rounds = [(120, RECORDS), (long, RECORDS), (120, CELLS), (120, RECORDS), (long, CELLS), (120, CELLS)];
    for (held_for, table) in rounds {
        for lane in &mut lanes {
            lane.settle(&on.store).await;
        }
        let keys: Vec<Selector> = lanes.iter().flat_map(|lane| lane.tracks.iter().map(|track| track.key)).collect();
        let began = Instant::now();
        let held = lanes[0].inspector.hold(&on, table, &keys).await;
        let mut writes = JoinSet::new();
        for mut lane in lanes.drain(..) {
            let store = Arc::clone(&impatient);
            writes.spawn(async move {
                let step = lane.step();
                let answered = timeout(LIMIT * 2, lane.run(&*store, &step)).await;
                (lane, matches!(answered, Ok(Ok(_))))
            });
        }
        while let Some(write) = writes.join_next().await {
            let (lane, answered) = write.unwrap();
            waited += u32::from(!answered);
            lanes.push(lane);
        }
        sleep(Duration::from_millis(held_for).saturating_sub(began.elapsed())).await;
        held.release().await;
        for _ in 0..3 {
            sleep(Duration::from_millis(15)).await;
            for lane in &mut lanes {
                lane.look_at_all().await;
            }
        }
    }
    assert!(waited >= 24, "only {waited} of 48 writes had to wait");
}

/// How a lane's writes reach their server.
enum Route {
    /// In this process, or by addresses that the store learns from its servers: futures are dropped, and nothing is cut.
    Direct(Arc<dyn SessionStore>),
    /// Through a relay that can be told to cut.
    Relayed { store: Arc<dyn SessionStore>, proxy: Proxy },
}

impl Route {
    async fn to(on: &Arc<Running>, limit: Duration) -> Self {
        match &on.place {
            Place::Memory => panic!("nothing of it can be cut"),
            Place::Sqlite(_) | Place::RedisCluster(_) => Self::Direct(on.engine.open(&on.addresses, limit).await),
            Place::Redis(_) | Place::Postgres(_) | Place::MySql(_) => {
                let server = on.place.server();
                let proxy = Proxy::before(server.address()).await;
                let store = on.engine.open(&[proxy.url_like(&server.url())], limit).await;
                Self::Relayed { store, proxy }
            }
        }
    }

    fn store(&self) -> &dyn SessionStore {
        match self {
            Self::Direct(store) | Self::Relayed { store, .. } => &**store,
        }
    }

    fn counts(&self) -> Counts {
        match self {
            Self::Relayed { proxy, .. } => proxy.counts(),
            Self::Direct(_) => Counts::default(),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Create,
    /// Both cells.
    Commit,
    /// Both cells, if they are as they were seen.
    Guarded,
    /// Both cells and a third.
    Third,
    /// Both cells, and all else goes, with a new secret and a new epoch.
    Wipe,
    Delete,
    /// All sessions of the owner, or all but one.
    DeleteByOwner,
}

/// A write of a record: what it is, and what it calls itself.
struct Step {
    track: usize,
    kind: Kind,
    number: u64,
}

/// What is known of one session.
struct Track {
    key: Selector,
    seen: Option<Arc<Record>>,
    /// What each number stood for.
    kinds: BTreeMap<u64, Kind>,
    /// The revision of the last commit that was acknowledged, and the life of the record that it belonged to.
    acknowledged: (i64, u64),
}

#[derive(Debug, Default)]
struct Tally {
    /// Writes that had no answer.
    interrupted: u64,
    /// Of those, what could be seen a little later.
    landed: u64,
    lost: u64,
    /// Of those, what its store answered with an error.
    failed: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.interrupted += other.interrupted;
        self.landed += other.landed;
        self.lost += other.lost;
        self.failed += other.failed;
    }
}

/// What one write after the other happens to: the sessions of one owner.
struct Lane {
    owner: Owner,
    tracks: Vec<Track>,
    /// Where writes are looked at: over connections that nothing happens to.
    looks: Arc<dyn SessionStore>,
    inspector: Inspector,
    dice: Dice,
    numbers: u64,
    /// How long a write takes, and how many bytes it sends and receives.
    usual: BTreeMap<Kind, (Duration, Counts)>,
    /// The write before, which may still come through: which session's, and its number.
    pending: Option<(usize, u64)>,
    tally: Tally,
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(4_102_444_800_000 + millis)
}

fn secret(number: u64) -> SecretHash {
    let mut bytes = [9; 32];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    SecretHash::from_bytes(bytes)
}

/// What a store has of a session, once it can be reached.
async fn found(store: &dyn SessionStore, key: &Selector) -> Option<Arc<Record>> {
    let presented = Presented::new(secret(0), at(1), Lifetime::default());
    let began = Instant::now();
    loop {
        match store.load(key, &presented, &Want::default()).await {
            Ok(found) => return found,
            Err(error) => assert!(began.elapsed() < Duration::from_secs(10), "{error}"),
        }
        sleep(Duration::from_millis(5)).await;
    }
}

fn put(name: &str, number: u64) -> Put {
    let payload = Payload::from(&number.to_be_bytes()[..]);
    let body = Content::Value { codec: CodecId::BINCODE, shape: Shape::from_u64(5), sealed: false, payload };
    Put::new(CellKey::from(name), CellBody::new(body))
}

fn number(record: &Record, name: &str) -> Option<u64> {
    let payload = record.cells.get(name)?.body.content.payload()?;
    Some(u64::from_be_bytes(payload[..].try_into().expect("eight bytes")))
}

/// What a write waits for at its beginning, and in its middle.
const RECORDS: &str = "cloakroom_record";
const CELLS: &str = "cloakroom_cell";

const A: &str = "shop/a";
const B: &str = "shop/b";
const THIRD: &str = "shop/third";

impl Lane {
    async fn new(on: &Arc<Running>, number: u64, dice: Dice) -> Self {
        let mut hash = [7; 32];
        hash[..8].copy_from_slice(&number.to_be_bytes());
        let track = |session: u64| {
            let mut key = [1; 16];
            // Spread over the engine's pages and slots.
            key[..8].copy_from_slice(&(number * SESSIONS + session + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
            Track { key: Selector::from_bytes(key), seen: None, kinds: BTreeMap::new(), acknowledged: (0, 0) }
        };
        Self {
            owner: Owner { schema: "shop".into(), hash: OwnerHash::from_bytes(hash) },
            tracks: (0..SESSIONS).map(track).collect(),
            looks: Arc::clone(&on.store),
            inspector: Inspector::of(on).await,
            dice,
            numbers: 0,
            usual: BTreeMap::new(),
            pending: None,
            tally: Tally::default(),
        }
    }

    /// The next write, which its session's state admits.
    fn step(&mut self) -> Step {
        let track = self.dice.below(SESSIONS) as usize;
        let kind = match (self.tracks[track].seen.is_some(), self.dice.below(100)) {
            (false, _) => Kind::Create,
            (true, 0..30) => Kind::Commit,
            (true, 30..55) => Kind::Guarded,
            (true, 55..65) => Kind::Third,
            (true, 65..75) => Kind::Wipe,
            (true, 75..90) => Kind::Delete,
            (true, _) => Kind::DeleteByOwner,
        };
        self.numbers += 1;
        self.tracks[track].kinds.insert(self.numbers, kind);
        Step { track, kind, number: self.numbers }
    }

    async fn run(&mut self, store: &dyn SessionStore, step: &Step) -> Result<(), StoreError> {
        let &Step { track, kind, number } = step;
        let Track { key, seen, .. } = &self.tracks[track];
        match kind {
            Kind::Create => store.create(key, self.record(number)).await.map(drop),
            Kind::Delete => store.delete(key).await,
            Kind::DeleteByOwner => {
                let spared = self.tracks.get(number as usize % 6).map(|track| &track.key);
                store.delete_by_owner(&self.owner.hash, spared).await.map(drop)
            }
            Kind::Commit | Kind::Guarded | Kind::Third | Kind::Wipe => {
                let seen = seen.as_ref().expect("a commit is of a session that was seen");
                let patch = patch(kind, number, seen);
                if let CommitOutcome::Committed { revision, .. } = store.commit(key, &patch).await? {
                    self.tracks[track].acknowledged = (seen.header.created.as_millis(), revision);
                }
                Ok(())
            }
        }
    }

    fn record(&self, number: u64) -> Record {
        let mut header = Header::new(secret(number), WrappedKey::from_bytes([2; 32]), at(number as i64), at(HOUR), at(HOUR));
        (header.owner, header.label) = (Some(self.owner.clone()), Some(number.to_string().into()));
        let cells = [put(A, number), put(B, number)].map(|put| Cell::new(put.key, 1, put.body));
        Record::new(header, cells.into_iter().collect())
    }

    /// One write that ends some way, and what can be seen of it.
    async fn interrupted_write(&mut self, way: &Route, round: u64) {
        // What was interrupted a while ago has come through by now.
        self.look_at_all().await;
        self.judge_pending();
        // So that what is measured and cut is the write, and not the opening of a connection.
        found(way.store(), &self.tracks[0].key).await;
        let step = self.step();
        let (before, began) = (way.counts(), Instant::now());
        let answer = match self.usual.get(&step.kind).copied() {
            // To learn how long it takes, now and then anew.
            None => Some(self.run(way.store(), &step).await),
            Some(_) if round.is_multiple_of(10) => Some(self.run(way.store(), &step).await),
            Some((usually, counts)) => {
                let at = usually.mul_f64(self.dice.below(100) as f64 / 100.0);
                match (way, self.dice.below(2)) {
                    (Route::Relayed { proxy, .. }, 0) => self.cut(way, proxy, counts, &step).await,
                    _ => tokio::select! {
                        biased;
                        answer = self.run(way.store(), &step) => Some(answer),
                        () = until(began + at) => None,
                    },
                }
            }
        };
        match answer {
            Some(Ok(())) => {
                // The shortest of late: what waited for the machine itself says nothing.
                let took = began.elapsed();
                let took = self.usual.get(&step.kind).map_or(took, |(usually, _)| took.min(*usually * 2));
                self.usual.insert(step.kind, (took, way.counts() - before));
            }
            unanswered => {
                self.tally.interrupted += 1;
                self.tally.failed += u64::from(unanswered.is_some());
                self.pending = Some((step.track, step.number));
            }
        }
        self.look_at_all().await;
    }

    /// Cut behind one byte after the other of what such a write sends and is answered.
    async fn cut(&mut self, way: &Route, proxy: &Proxy, counts: Counts, step: &Step) -> Option<Result<(), StoreError>> {
        let direction = if self.dice.below(3) == 0 { Way::ToServer } else { Way::ToClient };
        let bytes = match direction {
            // Often behind its very end, where the server has all of it and no client to answer.
            Way::ToServer if self.dice.below(2) == 0 => counts.sent,
            Way::ToServer => self.dice.below(counts.sent + 1),
            Way::ToClient => self.dice.below(counts.received + 1),
        };
        proxy.cut_after(direction, bytes);
        let answer = self.run(way.store(), step).await;
        proxy.cut_no_more();
        Some(answer)
    }

    /// Everything is there and known.
    async fn settle(&mut self, store: &Arc<dyn SessionStore>) {
        self.look_at_all().await;
        for track in 0..self.tracks.len() {
            if self.tracks[track].seen.is_none() {
                self.numbers += 1;
                let number = self.numbers;
                self.tracks[track].kinds.insert(number, Kind::Create);
                store.create(&self.tracks[track].key, self.record(number)).await.unwrap();
            }
        }
        self.look_at_all().await;
    }

    fn judge_pending(&mut self) {
        let Some((track, number)) = self.pending.take() else { return };
        let track = &self.tracks[track];
        let landed = match (&track.seen, track.kinds[&number]) {
            (seen, Kind::Delete) => seen.is_none(),
            (_, Kind::DeleteByOwner) => return,
            (seen, _) => seen.as_ref().is_some_and(|record| self::number(record, A) == Some(number)),
        };
        self.tally.landed += u64::from(landed);
        self.tally.lost += u64::from(!landed);
    }

    async fn look_at_all(&mut self) {
        for track in 0..self.tracks.len() {
            self.look(track).await;
        }
    }

    /// Asserts that a session is whole, or absent without a trace.
    async fn look(&mut self, track: usize) {
        let mut looked = 0;
        loop {
            let seen = found(&*self.looks, &self.tracks[track].key).await;
            let is_there = seen.is_some();
            self.tracks[track].assert_whole(seen);
            if is_there {
                return;
            }
            let left = self.inspector.left_of(&self.tracks[track].key).await;
            if left == 0 {
                return;
            }
            // It may have come into being meanwhile.
            looked += 1;
            assert!(looked < 50, "{left} cells or keys are left of a session that was deleted");
            sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Track {
    fn assert_whole(&mut self, seen: Option<Arc<Record>>) {
        self.seen = seen;
        let Some(record) = &self.seen else { return };
        let Record { header, cells, .. } = &**record;
        let [a, b, third] = [A, B, THIRD].map(|name| number(record, name));
        let stamps = [A, B, THIRD].map(|name| cells.stamp(name));
        let state = format!("a {a:?}, b {b:?}, third {third:?}, stamps {stamps:?}, revision {}, {header:?}", header.revision);
        let number = a.unwrap_or_else(|| panic!("no cell: {state}"));
        assert_eq!(b, a, "two halves: {state}");
        assert_eq!(header.label.as_deref(), Some(&*number.to_string()), "the label is of another commit: {state}");
        assert!(stamps[0] == header.revision && stamps[1] == header.revision, "stamps do not fit: {state}");
        match self.kinds[&number] {
            Kind::Create => assert!(header.revision == 1 && third.is_none(), "more than a new session: {state}"),
            Kind::Third => assert!(third == a && stamps[2] == header.revision, "the third is missing: {state}"),
            Kind::Wipe => {
                assert!(third.is_none() && header.secret_hash.matches(&secret(number)), "half of a wipe: {state}");
            }
            Kind::Commit | Kind::Guarded => {
                assert!(stamps[2] < header.revision, "the third is of another commit: {state}");
            }
            Kind::Delete | Kind::DeleteByOwner => panic!("a deletion wrote: {state}"),
        }
        let (life, revision) = self.acknowledged;
        assert!(life != header.created.as_millis() || header.revision >= revision, "an acknowledged commit is gone: {state}");
    }
}

fn patch(kind: Kind, number: u64, seen: &Record) -> Patch {
    let mut patch = Patch::new(seen.header.epoch, at(1));
    patch.puts.extend([put(A, number), put(B, number)]);
    patch.label = Some(Some(number.to_string().into()));
    match kind {
        Kind::Guarded => {
            let guard = |name| Guard { key: CellKey::from(name), stamp: seen.cells.stamp(name) };
            patch.guards.extend([guard(A), guard(THIRD)]);
        }
        Kind::Third => patch.puts.push(put(THIRD, number)),
        Kind::Wipe => {
            patch.wipe_except = Some(Vec::new());
            patch.rotation = Some(Rotation::Privilege { to: secret(number), wrapped_key: WrappedKey::from_bytes([3; 32]) });
        }
        _ => {}
    }
    patch
}

/// Ready at an instant, to the microsecond: a timer is as coarse as many a write is long.
async fn until(instant: Instant) {
    while Instant::now() < instant {
        yield_now().await;
    }
}

/// What looks at an engine's own tables and keys, and holds its locks.
enum Inspector {
    Sqlite(Mutex<rusqlite::Connection>),
    Redis(Arc<Running>),
    Postgres(tokio_postgres::Client),
    MySql(tokio::sync::Mutex<mysql_async::Conn>),
}

/// A lock, or a server that is paused.
enum Held {
    Sqlite { _transaction: rusqlite::Connection },
    Paused(Arc<Running>),
    Postgres { _transaction: tokio_postgres::Client },
    MySql(mysql_async::Conn),
}

impl Inspector {
    async fn of(on: &Arc<Running>) -> Self {
        match &on.place {
            Place::Memory => panic!("it has no tables"),
            Place::Sqlite(_) => Self::Sqlite(Mutex::new(rusqlite::Connection::open(&on.addresses[0]).unwrap())),
            Place::Redis(_) | Place::RedisCluster(_) => Self::Redis(Arc::clone(on)),
            Place::Postgres(_) => Self::Postgres(postgres(&on.addresses[0]).await),
            Place::MySql(_) => Self::MySql(tokio::sync::Mutex::new(mysql(&on.addresses[0]).await)),
        }
    }

    /// How many cells, or keys, there are of a session.
    async fn left_of(&self, key: &Selector) -> u64 {
        match self {
            Self::Sqlite(db) => {
                let count = "SELECT count(*) FROM cloakroom_cell WHERE selector = ?1";
                db.lock().unwrap().query_row(count, [key.as_bytes()], |row| row.get::<_, i64>(0)).unwrap() as u64
            }
            Self::Redis(on) => {
                use base64ct::Encoding as _;
                let pattern = format!("*{}*", base64ct::Base64UrlUnpadded::encode_string(key.as_bytes()));
                let mut left = 0;
                for node in nodes(on) {
                    left += node.command(&["KEYS", &pattern]).await.lines().count() as u64;
                }
                left
            }
            Self::Postgres(client) => {
                let count = "SELECT count(*) FROM cloakroom_cell WHERE selector = $1";
                client.query_one(count, &[&&key.as_bytes()[..]]).await.unwrap().get::<_, i64>(0) as u64
            }
            Self::MySql(client) => {
                let count = format!("SELECT COUNT(*) FROM cloakroom_cell WHERE selector = x'{}'", hex(key));
                client.lock().await.query_first(count).await.unwrap().unwrap()
            }
        }
    }

    /// Makes the writers of these sessions wait, where rows can be locked: for their rows of a table.
    async fn hold(&self, on: &Arc<Running>, table: &str, keys: &[Selector]) -> Held {
        let among = |literal: fn(&Selector) -> String| {
            let them: Vec<String> = keys.iter().map(literal).collect();
            format!("SELECT 1 FROM {table} WHERE selector IN ({}) FOR UPDATE", them.join(", "))
        };
        match self {
            Self::Sqlite(_) => {
                let db = rusqlite::Connection::open(&on.addresses[0]).unwrap();
                db.execute_batch("BEGIN IMMEDIATE").unwrap();
                Held::Sqlite { _transaction: db }
            }
            Self::Redis(_) => {
                on.place.server().pause();
                Held::Paused(Arc::clone(on))
            }
            Self::Postgres(_) => {
                let client = postgres(&on.addresses[0]).await;
                client.batch_execute(&format!("BEGIN; {}", among(|key| format!("'\\x{}'", hex(key))))).await.unwrap();
                Held::Postgres { _transaction: client }
            }
            Self::MySql(_) => {
                let mut client = mysql(&on.addresses[0]).await;
                let lock = among(|key| format!("x'{}'", hex(key)));
                client.query_drop(format!("START TRANSACTION; {lock}")).await.unwrap();
                Held::MySql(client)
            }
        }
    }
}

impl Held {
    async fn release(self) {
        match self {
            // Their transactions end with their connections.
            Self::Sqlite { .. } | Self::Postgres { .. } => {}
            Self::Paused(on) => on.place.server().resume(),
            Self::MySql(client) => client.disconnect().await.unwrap(),
        }
    }
}

fn nodes(on: &Running) -> &[RedisServer] {
    match &on.place {
        Place::Redis(server) => std::slice::from_ref(server),
        Place::RedisCluster(cluster) => cluster.nodes(),
        _ => panic!("it is no Redis"),
    }
}

fn hex(key: &Selector) -> String {
    key.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn postgres(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

async fn mysql(url: &str) -> mysql_async::Conn {
    let opts = mysql_async::OptsBuilder::from_opts(mysql_async::Opts::from_url(url).unwrap()).prefer_socket(false);
    let mut client = mysql_async::Conn::new(opts).await.unwrap();
    client.query_drop("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED").await.unwrap();
    client
}
