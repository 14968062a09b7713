//! What a session costs in Redis, in bytes and in time, beside the same session as one value written by hand.
//!
//! `cargo run --release -p cloakroom-benches --features redis --bin stores_redis -- redis://127.0.0.1:6379`, on a server of its own with
//! `appendonly yes` and no automatic rewriting of the log: keys `bench:*` and the log are written.

use cloakroom::{
    Lifetime,
    record::{
        CellBody, CellKey, Cells, CodecId, CommitOutcome, Content, Header, Patch, Payload, Presented, Put, Record, SecretHash,
        Selector, Shape, Timestamp, Want, WrappedKey,
    },
    store::{RedisStore, SessionStore},
};
use redis::{AsyncCommands, aio::MultiplexedConnection};
use std::{
    error::Error,
    time::{Duration, Instant},
};

const NOW: Timestamp = Timestamp::from_millis(4_102_444_800_000);
const HOUR: Duration = Duration::from_secs(3_600);
const ROUNDS: usize = 3_000;
const BY_HAND: &str = "bench:by-hand";

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "redis://127.0.0.1:6379".to_owned());
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(run(&url))
}

async fn run(url: &str) -> Outcome<()> {
    let store = RedisStore::connect(url).prefix("bench:").await?;
    let mut server = redis::Client::open(url)?.get_multiplexed_async_connection().await?;
    println!(
        "session           at rest        sent per commit   log per commit    log per load   load p50 / min     commit p50 / min"
    );
    println!("                  ours   by hand    ours  by hand    ours  by hand      ours       us, ours and by hand");
    for (count, size) in [(8, 128), (8, 1_024), (64, 1_024)] {
        Sizes { count, size }.measure(&store, &mut server).await?;
    }
    Ok(())
}

/// A session of that many cells of that many bytes.
struct Sizes {
    count: usize,
    size: usize,
}

impl Sizes {
    async fn measure(&self, store: &RedisStore, server: &mut MultiplexedConnection) -> Outcome<()> {
        let key = Selector::from_bytes([7; 16]);
        let whole = vec![7u8; self.count * self.size];
        store.delete(&key).await?;
        store.create(&key, self.record()).await?;
        write_by_hand(server.clone(), &whole).await?;
        let name = "bench:{BwcHBwcHBwcHBwcHBwcHBw}";
        let at_rest: [u64; 2] = [memory(server, name).await?, memory(server, BY_HAND).await?];

        let (mut times, mut sent, mut logged) = ([const { Vec::new() }; 4], [0; 2], [0; 3]);
        for round in 0..ROUNDS {
            // Counting happens between two rounds and costs nobody's time.
            let count = round == ROUNDS / 2;
            let before = if count { counters(server).await? } else { (0, 0) };
            times[0].push(timed(load(store, &key, round)).await?);
            let loaded = if count { counters(server).await? } else { (0, 0) };
            times[1].push(timed(commit(store, &key, round)).await?);
            let committed = if count { counters(server).await? } else { (0, 0) };
            times[2].push(timed(read_by_hand(server.clone())).await?);
            let read = if count { counters(server).await? } else { (0, 0) };
            times[3].push(timed(write_by_hand(server.clone(), &whole)).await?);
            let written = if count { counters(server).await? } else { (0, 0) };
            if count {
                // Asking costs the same bytes each time.
                let asked = counters(server).await?.0;
                let question = counters(server).await?.0 - asked;
                sent = [committed.0 - loaded.0 - question, written.0 - read.0 - question];
                logged = [committed.1 - loaded.1, written.1 - read.1, loaded.1 - before.1];
            }
        }
        let [load, commit, get, set] = times.map(p50_and_min);
        println!(
            "{:>3} x {:>5} B  {:>8} {:>8} {:>7} {:>8} {:>7} {:>8} {:>9}     {load} {get}     {commit} {set}",
            self.count, self.size, at_rest[0], at_rest[1], sent[0], sent[1], logged[0], logged[1], logged[2]
        );
        Ok(())
    }

    fn record(&self) -> Record {
        let mut cells = Cells::default();
        let puts: Vec<Put> = (0..self.count).map(|n| put(format!("shop/field-{n}"), &vec![7; self.size])).collect();
        cells.put_all(&puts, 1);
        let (idle, absolute) = (NOW.plus(HOUR), NOW.plus(24 * HOUR));
        Record::new(Header::new(secret(), WrappedKey::from_bytes([2; 32]), NOW, idle, absolute), cells)
    }
}

fn secret() -> SecretHash {
    SecretHash::from_bytes([1; 32])
}

fn put(key: String, bytes: &[u8]) -> Put {
    let payload = Payload::from(bytes);
    let content = Content::Value { codec: CodecId::BINCODE, shape: Shape::from_u64(42), sealed: false, payload };
    Put::new(CellKey::from(key), CellBody::new(content))
}

/// An instant a little later each round, so that every load touches.
fn at(round: usize) -> Timestamp {
    NOW.plus(Duration::from_millis(round as u64))
}

async fn load(store: &RedisStore, key: &Selector, round: usize) -> Outcome<()> {
    let presented = Presented::new(secret(), at(round), Lifetime::new(HOUR, 24 * HOUR)?);
    store.load(key, &presented, &Want::default()).await?.map(drop).ok_or("the session is gone".into())
}

async fn commit(store: &RedisStore, key: &Selector, round: usize) -> Outcome<()> {
    let mut patch = Patch::new(0, at(round));
    patch.puts.push(put("shop/views".to_owned(), &(round as u64).to_le_bytes()));
    match store.commit(key, &patch).await? {
        CommitOutcome::Committed { .. } => Ok(()),
        refused => Err(format!("{refused:?}").into()),
    }
}

async fn read_by_hand(mut server: MultiplexedConnection) -> Outcome<()> {
    let _: Vec<u8> = server.get(BY_HAND).await?;
    Ok(())
}

async fn write_by_hand(mut server: MultiplexedConnection, whole: &[u8]) -> Outcome<()> {
    Ok(server.pset_ex(BY_HAND, whole, 7_200_000).await?)
}

async fn timed(operation: impl Future<Output = Outcome<()>>) -> Outcome<f64> {
    let start = Instant::now();
    operation.await?;
    Ok(start.elapsed().as_secs_f64() * 1e6)
}

fn p50_and_min(mut times: Vec<f64>) -> String {
    times.sort_by(f64::total_cmp);
    format!("{:>5.0} / {:<4.0}", times[times.len() / 2], times[0])
}

async fn memory(server: &mut MultiplexedConnection, key: &str) -> Outcome<u64> {
    Ok(redis::cmd("MEMORY").arg("USAGE").arg(key).arg("SAMPLES").arg(0).query_async(server).await?)
}

/// Bytes that the server has received, and bytes of its log.
async fn counters(server: &mut MultiplexedConnection) -> Outcome<(u64, u64)> {
    let info: redis::InfoDict = redis::cmd("INFO").arg("everything").query_async(server).await?;
    let of = |name: &str| info.get::<u64>(name).ok_or(format!("the server does not say {name}"));
    Ok((of("total_net_input_bytes")?, of("aof_current_size")?))
}
