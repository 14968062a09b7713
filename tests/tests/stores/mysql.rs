//! Sessions in MySQL or MariaDB.

use cloakroom::{
    Lifetime, limits,
    record::*,
    store::{MySqlStore, SessionStore, StoreError},
    testing::conformance,
};
use cloakroom_tests::{
    events::Events,
    needs,
    servers::{MySqlServer, NAME, PASSWORD, Proxy, Server as _},
    site::{Settings, Site, lifetime, seconds},
};
use mysql_async::{Conn, Opts, OptsBuilder, Pool, PoolConstraints, prelude::Queryable};
use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::task::JoinSet;

const HOUR: i64 = 3_600_000;

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(4_102_444_800_000 + millis)
}

fn key(n: u64) -> Selector {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    bytes[8..].copy_from_slice(&n.to_be_bytes());
    Selector::from_bytes(bytes)
}

fn hex(key: &Selector) -> String {
    key.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn secret() -> SecretHash {
    SecretHash::from_bytes([1; 32])
}

fn owner(n: u8) -> Owner {
    Owner { schema: "shop".into(), hash: OwnerHash::from_bytes([n; 32]) }
}

fn value(bytes: &[u8]) -> CellBody {
    CellBody::new(Content::Value {
        codec: CodecId::BINCODE,
        shape: Shape::from_u64(5),
        sealed: false,
        payload: Payload::from(bytes),
    })
}

fn put(name: &str, bytes: &[u8]) -> Put {
    Put::new(CellKey::from(name), value(bytes))
}

/// A record of these cells that lives for an hour.
fn record(cells: impl IntoIterator<Item = Put>) -> Record {
    let header = Header::new(secret(), WrappedKey::from_bytes([2; 32]), at(0), at(HOUR), at(HOUR));
    Record::new(header, cells.into_iter().map(|put| Cell::new(put.key, 1, put.body)).collect())
}

fn owned(n: u8) -> Record {
    let mut record = record([put("shop/a", b"a")]);
    record.header.owner = Some(owner(n));
    record
}

fn patch(puts: impl IntoIterator<Item = Put>) -> Patch {
    let mut patch = Patch::new(0, at(1));
    patch.puts.extend(puts);
    patch
}

async fn load(store: &MySqlStore, n: u64) -> Result<Option<Arc<Record>>, StoreError> {
    store.load(&key(n), &Presented::new(secret(), at(1), Lifetime::default()), &Want::default()).await
}

fn is_committed(outcome: &CommitOutcome) -> bool {
    matches!(outcome, CommitOutcome::Committed { .. })
}

async fn store(url: &str) -> MySqlStore {
    let store = MySqlStore::connect(url).await.unwrap();
    store.migrate().await.unwrap();
    store
}

/// A pool as an application might have it: whatever is the default, but for a detour over the server's socket.
fn pool(url: &str, connections: usize) -> Pool {
    let opts = Opts::from_url(url).unwrap();
    let constraints = PoolConstraints::new(connections, connections).unwrap();
    let pool = opts.pool_opts().clone().with_constraints(constraints);
    Pool::new(OptsBuilder::from_opts(opts).pool_opts(pool).prefer_socket(false))
}

fn next_prefix() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("fresh_{}_", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Cells that belong to no record.
async fn orphans(server: &MySqlServer) -> String {
    server.sql("SELECT COUNT(*) FROM cloakroom_cell LEFT JOIN cloakroom_record USING (selector) WHERE revision IS NULL").await
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_a_server_side_store() {
    let server = needs!(MySqlServer::start().await);
    let url = server.url();
    let fresh = || async {
        let store = MySqlStore::connect(&url).table_prefix(&next_prefix()).await.unwrap();
        store.migrate().await.unwrap();
        store
    };
    conformance::server_side(fresh).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_one_over_a_pool_of_the_application_too_whose_isolation_is_the_servers_default() {
    let server = needs!(MySqlServer::start().await);
    assert_eq!(server.sql("SELECT @@global.tx_isolation").await, "REPEATABLE-READ");
    let pool = pool(&server.url(), 8);
    let fresh = || async {
        let store = MySqlStore::from_pool(pool.clone()).table_prefix(&next_prefix()).await.unwrap();
        store.migrate().await.unwrap();
        store
    };
    conformance::server_side(fresh).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_of_a_request_is_one_round_trip() {
    let server = needs!(MySqlServer::start().await);
    let proxy = Proxy::before(server.address()).await;
    let url = proxy.url_like(&server.url());
    let own = MySqlStore::connect(&url).connections(1).await.unwrap();
    own.migrate().await.unwrap();
    // Resetting is what a pool does by default whenever a connection comes back.
    let of_the_application = MySqlStore::from_pool(pool(&url, 1)).await.unwrap();
    for store in [own, of_the_application] {
        // The sweeper's first run is over once nothing moves for a moment.
        load(&store, 0).await.unwrap();
        let mut settled = proxy.counts();
        loop {
            tokio::time::sleep(Duration::from_millis(200)).await;
            let counts = proxy.counts();
            if counts == settled {
                break;
            }
            settled = counts;
        }
        let trips = async |operation: &str, expected: u64, run: std::pin::Pin<Box<dyn Future<Output = ()> + '_>>| {
            let before = proxy.counts();
            run.await;
            tokio::time::sleep(Duration::from_millis(20)).await;
            let cost = proxy.counts() - before;
            assert_eq!((cost.round_trips, cost.connections), (expected, 0), "{operation}");
        };
        trips(
            "create",
            1,
            Box::pin(async { assert_eq!(store.create(&key(1), owned(1)).await.unwrap(), CreateOutcome::Created) }),
        )
        .await;
        trips("load", 1, Box::pin(async { drop(load(&store, 1).await.unwrap().unwrap()) })).await;
        trips("commit", 1, Box::pin(async { drop(store.commit(&key(1), &patch([put("shop/a", b"b")])).await.unwrap()) })).await;
        let mut touch = patch([]);
        touch.deadlines = Some(Deadlines::Roll { last_seen: at(2), idle_until: at(HOUR + 1) });
        trips("touch", 1, Box::pin(async { drop(store.commit(&key(1), &touch).await.unwrap()) })).await;
        let mut conflict = patch([put("shop/a", b"c")]);
        conflict.guards.push(Guard { key: CellKey::from("shop/a"), stamp: 1 });
        let refused = async {
            let CommitOutcome::Conflict { cells } = store.commit(&key(1), &conflict).await.unwrap() else {
                panic!("no conflict")
            };
            assert_eq!(cells.len(), 1);
        };
        trips("a conflict with its cells", 1, Box::pin(refused)).await;
        trips("gone", 1, Box::pin(async { drop(store.commit(&key(9), &patch([put("shop/a", b"c")])).await.unwrap()) })).await;
        trips("by_owner", 1, Box::pin(async { drop(store.by_owner(&owner(1).hash).await.unwrap()) })).await;
        trips("delete", 1, Box::pin(async { store.delete(&key(1)).await.unwrap() })).await;
        trips(
            "delete_by_owner",
            2,
            Box::pin(async { assert_eq!(store.delete_by_owner(&owner(1).hash, None).await.unwrap(), 0) }),
        )
        .await;
    }
}

#[tokio::test]
async fn owners_and_expired_records_are_found_through_an_index() {
    let server = needs!(MySqlServer::start().await);
    let store = store(&server.url()).await;
    for n in 0..300 {
        store.create(&key(n), owned(n as u8)).await.unwrap();
    }
    server.sql("ANALYZE TABLE cloakroom_record").await;
    let owner =
        server.sql(&format!("EXPLAIN SELECT selector FROM cloakroom_record WHERE owner = x'{}'", "07".repeat(32))).await;
    assert!(owner.contains("by_owner"), "{owner}");
    let expired = "EXPLAIN SELECT selector FROM cloakroom_record WHERE expires <= 5 ORDER BY expires LIMIT 500";
    assert!(server.sql(expired).await.contains("by_expires"));
    let cells = format!("EXPLAIN SELECT stamp FROM cloakroom_cell WHERE selector = x'{}' AND name = x'61'", hex(&key(1)));
    assert!(!server.sql(&cells).await.contains("ALL"));
}

/// As many sessions of one owner as the square of this, each of one cell, written by the server itself.
async fn crowd(server: &MySqlServer, root: u32) {
    let [seven, one] = [7, 1].map(|byte: u8| format!("{byte:02x}").repeat(32));
    let numbers = format!(
        "WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < {root}) SELECT UNHEX(MD5(CONCAT(a.i, ':', b.i)))"
    );
    let until = at(HOUR).as_millis();
    server
        .sql(&format!(
            "INSERT INTO cloakroom_record (selector, revision, epoch, created, last_seen, idle_until, absolute_until, secret, wrapped_key, \
             owner, owner_schema, persistent) {numbers}, 1, 0, 1, 1, {until}, {until}, x'{one}', x'{one}', x'{seven}', 'shop', 0 FROM n a, n b"
        ))
        .await;
    server.sql(&format!("INSERT INTO cloakroom_cell {numbers}, 'shop/a', 1, x'00' FROM n a, n b")).await;
    server.sql("ANALYZE TABLE cloakroom_record, cloakroom_cell").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tens_of_thousands_of_sessions_of_one_owner_are_listed_and_revoked() {
    const ROOT: u32 = 150;
    const COUNT: usize = (ROOT * ROOT) as usize;
    let server = needs!(MySqlServer::start().await);
    let store = store(&server.url()).await;
    crowd(&server, ROOT).await;
    store.create(&key(1), owned(7)).await.unwrap();
    store.create(&key(2), owned(8)).await.unwrap();
    let hash = owner(7).hash;
    let began = Instant::now();
    let listed = store.by_owner(&hash).await.unwrap();
    println!("listed in {:?}", began.elapsed());
    let selectors: BTreeSet<[u8; 16]> = listed.iter().map(|(key, _)| *key.as_bytes()).collect();
    assert_eq!((listed.len(), selectors.len()), (COUNT + 1, COUNT + 1));

    // A caller gives up in the middle: what was done is done, and whole.
    let began = Instant::now();
    let revoking = tokio::time::timeout(Duration::from_millis(300), store.delete_by_owner(&hash, Some(&key(1)))).await;
    assert!(revoking.is_err(), "it is done already: {revoking:?}");
    let left: u64 = server.sql("SELECT COUNT(*) FROM cloakroom_record").await.parse().unwrap();
    assert!((3..COUNT as u64 + 2).contains(&left), "{left} are left");
    assert_eq!(orphans(&server).await, "0");

    // Others are served meanwhile.
    let revoking = tokio::spawn({
        let store = store.clone();
        async move { store.delete_by_owner(&owner(7).hash, Some(&key(1))).await }
    });
    let mut served = 0;
    while !revoking.is_finished() {
        assert!(is_committed(&store.commit(&key(1), &patch([put("shop/a", b"b")])).await.unwrap()));
        served += 1;
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    println!("revoked in {:?}, {served} commits meanwhile", began.elapsed());
    let deleted = revoking.await.unwrap().unwrap();
    assert!(deleted + 2 <= left && deleted + 2 + 1_000 > left, "{deleted} of {left}");
    assert_eq!(server.sql("SELECT COUNT(*) FROM cloakroom_record").await, "2");
    assert_eq!(server.sql("SELECT COUNT(*) FROM cloakroom_cell").await, "2");
    assert!(served > 10, "{served}");
}

#[tokio::test]
async fn what_changing_one_number_costs_does_not_grow_with_the_session() {
    let server = needs!(MySqlServer::start().await);
    let proxy = Proxy::before(server.address()).await;
    let store = MySqlStore::connect(&proxy.url_like(&server.url())).connections(1).await.unwrap();
    store.migrate().await.unwrap();
    for (n, cells, bytes) in [(1, 8, 120), (2, 16, 500), (3, 64, 1_010)] {
        let fields = (0..cells).map(|field| put(&format!("shop/field_{field:02}"), &vec![field; bytes]));
        store.create(&key(n), record(fields.chain([put("shop/views", &[0; 8])]))).await.unwrap();
        let change = async |times: u64| {
            for views in 0..times {
                assert!(is_committed(&store.commit(&key(n), &patch([put("shop/views", &views.to_le_bytes())])).await.unwrap()));
            }
        };
        change(20).await;
        let (sent, written) = (proxy.counts().sent, server.status("Innodb_lsn_current").await);
        change(200).await;
        let (sent, written) = (proxy.counts().sent - sent, server.status("Innodb_lsn_current").await - written);
        println!("{cells} x {bytes}: {} bytes sent, {} bytes of redo log", sent / 200, written / 200);
        assert!(sent / 200 < 700, "{} bytes sent per commit of a session of {bytes} x {cells}", sent / 200);
        assert!(written / 200 < 1_000, "{} bytes written per commit of a session of {bytes} x {cells}", written / 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_of_one_session_over_many_connections_lose_nothing() {
    let server = needs!(MySqlServer::start().await);
    let url = server.url();
    store(&url).await.create(&key(1), record([])).await.unwrap();
    let mut stores = Vec::new();
    for _ in 0..3 {
        stores.push(MySqlStore::connect(&url).connections(8).timeout(Duration::from_secs(10)).await.unwrap());
    }
    let repeatable = pool(&url, 8);
    stores.push(MySqlStore::from_pool(repeatable).timeout(Duration::from_secs(10)).await.unwrap());
    let mut writers = JoinSet::new();
    for writer in 0..32u64 {
        let store = stores[writer as usize % stores.len()].clone();
        writers.spawn(async move {
            let own = format!("shop/own_{writer}");
            for round in 1..=10u64 {
                let mine = patch([put(&own, &round.to_le_bytes())]);
                assert!(is_committed(&store.commit(&key(1), &mine).await.unwrap()));
                // Together with a counter that all of them raise.
                loop {
                    let found = load(&store, 1).await.unwrap().unwrap();
                    let count = found.cells.get("shop/count").and_then(|cell| cell.body.content.payload().cloned());
                    let count = count.map_or(0, |bytes| u64::from_le_bytes(bytes[..].try_into().unwrap()));
                    let mut raise = patch([put("shop/count", &(count + 1).to_le_bytes())]);
                    raise.guards.push(Guard { key: CellKey::from("shop/count"), stamp: found.cells.stamp("shop/count") });
                    match store.commit(&key(1), &raise).await.unwrap() {
                        CommitOutcome::Committed { .. } => break,
                        CommitOutcome::Conflict { .. } => {}
                        CommitOutcome::Gone => panic!("the session lives"),
                    }
                }
            }
        });
    }
    while let Some(writer) = writers.join_next().await {
        writer.unwrap();
    }
    let found = load(&stores[0], 1).await.unwrap().unwrap();
    let number =
        |name: &str| u64::from_le_bytes(found.cells.get(name).unwrap().body.content.payload().unwrap()[..].try_into().unwrap());
    assert_eq!(number("shop/count"), 320);
    assert!((0..32).all(|writer| number(&format!("shop/own_{writer}")) == 10));
    assert_eq!(found.header.revision, 1 + 640);
}

#[tokio::test(flavor = "multi_thread")]
async fn wipes_deletes_and_sweeps_among_commits_leave_no_cell_behind() {
    let server = needs!(MySqlServer::start().await);
    let url = server.url();
    let own = store(&url).await;
    let repeatable = MySqlStore::from_pool(pool(&url, 8)).await.unwrap();
    for round in 0..45 {
        let n = 100 + round;
        own.create(&key(n), owned(7)).await.unwrap();
        let mut tasks = JoinSet::new();
        for writer in 0..8 {
            let store = if writer % 2 == 0 { own.clone() } else { repeatable.clone() };
            tasks.spawn(async move {
                for step in 0..4 {
                    let mut patch = patch([put(&format!("shop/{writer}_{step}"), b"x")]);
                    if step == 2 {
                        patch.wipe_except = Some(Vec::new());
                    }
                    store.commit(&key(n), &patch).await.unwrap();
                }
            });
        }
        let ends = own.clone();
        tasks.spawn(async move {
            match round % 3 {
                0 => ends.delete(&key(n)).await.unwrap(),
                1 => assert!(ends.delete_by_owner(&owner(7).hash, None).await.unwrap() <= 1),
                _ => assert!(ends.sweep(at(2 * HOUR), 100).await.unwrap() <= 1),
            }
        });
        while let Some(task) = tasks.join_next().await {
            task.unwrap();
        }
        assert_eq!(orphans(&server).await, "0", "round {round}");
        own.delete(&key(n)).await.unwrap();
    }
    assert_eq!(server.sql("SELECT COUNT(*) FROM cloakroom_cell").await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_spares_what_is_being_touched_and_a_revocation_whose_owner_is_leaving() {
    let server = needs!(MySqlServer::start().await);
    let store = MySqlStore::connect(&server.url()).timeout(Duration::from_secs(5)).await.unwrap();
    store.migrate().await.unwrap();
    store.create(&key(1), owned(7)).await.unwrap();
    let mut holder = pool(&server.url(), 1).get_conn().await.unwrap();
    let mut change = async |set: String| {
        let change = format!("START TRANSACTION; UPDATE cloakroom_record SET {set} WHERE selector = x'{}'", hex(&key(1)));
        holder.query_drop(change).await.unwrap();
        let (sweeps, revokes) = (store.clone(), store.clone());
        let sweeping = tokio::spawn(async move { sweeps.sweep(at(2 * HOUR), 100).await });
        let revoking = tokio::spawn(async move { revokes.delete_by_owner(&owner(7).hash, Some(&key(2))).await });
        tokio::time::sleep(Duration::from_millis(300)).await;
        holder.query_drop("COMMIT").await.unwrap();
        (sweeping.await.unwrap().unwrap(), revoking.await.unwrap().unwrap())
    };
    let later = at(9 * HOUR).as_millis();
    let touched = format!("idle_until = {later}, absolute_until = {later}, owner = NULL, owner_schema = NULL");
    assert_eq!(change(touched).await, (0, 0));
    assert!(load(&store, 1).await.unwrap().is_some());
    let expired = at(HOUR).as_millis();
    let back = format!("idle_until = {expired}, owner = x'{}', owner_schema = 'shop'", "07".repeat(32));
    assert_eq!(change(back).await, (0, 1), "who waits sees what was decided");
}

#[tokio::test]
async fn the_servers_files_hold_no_token() {
    let server = needs!(MySqlServer::start().await);
    let site = Site::with(store(&server.url()).await, &Settings::lasting(lifetime(seconds(3_600))));
    site.browser.get("/visit").await;
    let token = site.token();
    assert!(!token.is_empty());
    server.stop().await;
    server.start_again().await;
    let raw = server.raw_bytes().await;
    let holds = |bytes: &[u8]| raw.windows(bytes.len()).any(|window| window == bytes);
    assert!(holds(cloakroom_tests::site::selector(&token).as_bytes()), "or nothing was looked at");
    assert!(!holds(token.as_bytes()) && !holds(&token.as_bytes()[22..]));
    use base64ct::Encoding as _;
    let bytes = base64ct::Base64UrlUnpadded::decode_vec(&token).unwrap();
    assert!(!holds(&bytes[16..]), "the secret's own bytes");
}

#[tokio::test]
async fn rows_that_somebody_damaged_are_absent_or_undecodable_and_nothing_worse() {
    let server = needs!(MySqlServer::start().await);
    let store = store(&server.url()).await;
    let events = Events::capture();
    for (n, damage) in [
        "previous_state = 9, previous_secret = secret, previous_key = secret, previous_since = 1",
        "previous_since = 1",
        "owner = secret",
        "owner = secret, owner_schema = x'ff'",
        "label = x'fffe'",
    ]
    .into_iter()
    .enumerate()
    {
        let n = n as u64;
        store.create(&key(n), record([put("shop/a", b"a")])).await.unwrap();
        server.sql(&format!("UPDATE cloakroom_record SET {damage} WHERE selector = x'{}'", hex(&key(n)))).await;
        assert!(load(&store, n).await.unwrap().is_none(), "{damage}");
        assert_eq!(events.take().iter().filter(|line| line.contains("unreadable")).count(), 1, "{damage}");
    }
    store.create(&key(50), record([put("shop/a", b"a"), put("shop/b", b"b")])).await.unwrap();
    for (name, body) in [("'shop/a'", "''"), ("'shop/b'", "x'ff00ff'")] {
        let key = hex(&key(50));
        server.sql(&format!("UPDATE cloakroom_cell SET body = {body} WHERE selector = x'{key}' AND name = {name}")).await;
    }
    server.sql(&format!("INSERT INTO cloakroom_cell VALUES (x'{}', x'ff2f', 1, '')", hex(&key(50)))).await;
    let found = load(&store, 50).await.unwrap().unwrap();
    for name in ["shop/a", "shop/b"] {
        let Content::Value { codec, .. } = found.cells.get(name).unwrap().body.content else { panic!("a tombstone") };
        assert_eq!(codec, CodecId::from_u8(0));
    }
    assert_eq!(found.cells.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_fails_fast_while_the_server_is_away_and_works_when_it_is_back() {
    let server = needs!(MySqlServer::start().await);
    let store = store(&server.url()).await;
    store.create(&key(1), record([put("shop/a", b"a")])).await.unwrap();
    server.kill();
    let mut fast = 0;
    for _ in 0..20 {
        let began = Instant::now();
        let error = load(&store, 1).await.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
        assert!(!error.to_string().contains(PASSWORD));
        fast += u32::from(began.elapsed() < Duration::from_millis(50));
    }
    assert!(fast >= 19, "{fast} of 20 were refused at once");
    server.start_again().await;
    let began = Instant::now();
    while load(&store, 1).await.is_err() {
        assert!(began.elapsed() < Duration::from_secs(5), "it does not come back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(is_committed(&store.commit(&key(1), &patch([put("shop/a", b"b")])).await.unwrap()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_lets_nobody_else_in_is_still_used_over_the_connections_there_are() {
    let server = needs!(MySqlServer::with(&["--max-connections=10"]).await);
    let store = store(&server.url()).await;
    store.create(&key(1), record([put("shop/a", &[1; 100_000])])).await.unwrap();
    let opts = OptsBuilder::from_opts(Opts::from_url(&server.url()).unwrap()).prefer_socket(false);
    let (mut others, mut refusals) = (Vec::new(), 0);
    // Some that are ending may still have had a place.
    while refusals < 5 {
        match Conn::new(opts.clone()).await {
            Ok(other) => others.push(other),
            Err(_) => refusals += 1,
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for _ in 0..5 {
        let mut crowd = JoinSet::new();
        for _ in 0..32 {
            let store = store.clone();
            crowd.spawn(async move { load(&store, 1).await.map(drop).map_err(|error| error.to_string()) });
        }
        let errors: Vec<String> = crowd.join_all().await.into_iter().filter_map(Result::err).collect();
        assert!(!errors.is_empty() && errors.iter().all(|error| error.contains("lower .connections(n)")), "{errors:?}");
        assert!(load(&store, 1).await.unwrap().is_some());
    }
}

/// For as long as a connection does not count as used a moment ago. That is real time, since the server's is.
async fn idle() {
    tokio::time::sleep(Duration::from_millis(1_050)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_is_used_again_and_one_that_is_silent_is_replaced() {
    let server = needs!(MySqlServer::start().await);
    let proxy = Proxy::before(server.address()).await;
    let store = store(&proxy.url_like(&server.url())).await;
    store.create(&key(1), record([])).await.unwrap();
    // Several connections are open, so that no luck is in what follows.
    let mut warm = JoinSet::new();
    for _ in 0..4 {
        let store = store.clone();
        warm.spawn(async move { load(&store, 1).await.unwrap() });
    }
    warm.join_all().await;
    idle().await;
    let before = proxy.counts();
    load(&store, 1).await.unwrap();
    let cost = proxy.counts() - before;
    assert_eq!((cost.round_trips, cost.connections), (1, 0), "no other is opened, and it is not asked first");

    idle().await;
    proxy.forget();
    let began = Instant::now();
    assert!(load(&store, 1).await.unwrap().is_some(), "within the usual limit");
    assert!(began.elapsed() > Duration::from_millis(300), "the connection was not silent: {:?}", began.elapsed());
    // The other silent ones are not tried, which would take half of the limit each.
    for _ in 0..4 {
        let began = Instant::now();
        let (one, other) = tokio::join!(load(&store, 1), load(&store, 1));
        assert!(one.unwrap().is_some() && other.unwrap().is_some());
        assert!(began.elapsed() < Duration::from_millis(390), "{:?}", began.elapsed());
    }
    assert!(is_committed(&store.commit(&key(1), &patch([put("shop/a", b"a")])).await.unwrap()));
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn connections_are_kept_alive() {
    let server = needs!(MySqlServer::start().await);
    let store = store(&server.url()).await;
    load(&store, 1).await.unwrap();
    // Of each socket: number, local and remote address, state (1: established), queues, and the kind of its timer (2: keepalive).
    let sockets = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
    let port = format!(":{:04X}", server.address().port());
    let ours = sockets.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let ours: Vec<_> = ours.filter(|fields| fields[2].ends_with(&port) && fields[3] == "01").collect();
    assert!(!ours.is_empty() && ours.iter().all(|fields| fields[5].starts_with("02:")), "{ours:?}");
}

#[test]
fn a_store_goes_on_after_the_runtime_it_was_opened_on() {
    let lasting = runtime();
    let server = needs!(lasting.block_on(MySqlServer::start()));
    let first = runtime();
    let store = first.block_on(store(&server.url()));
    first.block_on(async {
        store.create(&key(1), record([put("shop/a", b"a")])).await.unwrap();
        store.create(&key(2), record([put("shop/a", b"a")])).await.unwrap();
        let (one, other) = tokio::join!(load(&store, 1), load(&store, 1));
        assert!(one.unwrap().is_some() && other.unwrap().is_some());
    });
    drop(first);
    for round in 0..3 {
        let next = runtime();
        next.block_on(async {
            assert!(load(&store, 1).await.unwrap().is_some(), "round {round}");
            assert!(is_committed(&store.commit(&key(1), &patch([put("shop/a", b"b")])).await.unwrap()));
            let (one, other) = tokio::join!(load(&store, 1), load(&store, 1));
            assert!(one.unwrap().is_some() && other.unwrap().is_some());
        });
    }
    // So does its sweep.
    runtime().block_on(async {
        let mut lives = patch([]);
        let (later, last_seen) = (at(9 * HOUR), at(2));
        lives.deadlines = Some(Deadlines::Reset { created: at(0), last_seen, idle_until: later, absolute_until: later });
        assert!(is_committed(&store.commit(&key(1), &lives).await.unwrap()));
        let began = Instant::now();
        let mut now = 2 * HOUR + 200_000;
        while server.sql("SELECT COUNT(*) FROM cloakroom_record").await != "1" {
            assert!(began.elapsed() < Duration::from_secs(10), "nothing is swept");
            let presented = Presented::new(secret(), at(now), Lifetime::default());
            store.load(&key(1), &presented, &Want::default()).await.unwrap();
            now += 100_000;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_another_character_set_holds_text_of_any_script() {
    let server = needs!(MySqlServer::with(&["--character-set-server=latin1", "--collation-server=latin1_german1_ci"]).await);
    server.sql(&format!("ALTER DATABASE {NAME} CHARACTER SET latin1")).await;
    let store = store(&server.url()).await;
    // As long as it may be, in characters of one byte to four.
    let label: Arc<str> = format!("{}{}", "Ноутбук é 東京 ", "📱".repeat(43)).into();
    assert!((limits::LABEL - 4..=limits::LABEL).contains(&label.len()), "{}", label.len());
    let mut whose = owned(7);
    whose.header.owner = Some(Owner { schema: "магазин".into(), hash: owner(7).hash });
    whose.header.label = Some(Arc::clone(&label));
    let names = ["магазин/корзина", "店/カート", "~店/写真", "shop/é", "shop/e"];
    whose.cells = names.into_iter().map(|name| Cell::new(name.into(), 1, value(name.as_bytes()))).collect();
    store.create(&key(1), whose).await.unwrap();

    let presented = Presented::new(secret(), at(1), Lifetime::default());
    let whole = async || store.load(&key(1), &presented, &Want::with(&["~店/写真"])).await.unwrap().unwrap();
    let found = whole().await;
    assert_eq!(found.header.label.as_deref(), Some(&*label));
    assert_eq!(&*found.header.owner.as_ref().unwrap().schema, "магазин");
    assert_eq!(found.cells.len(), names.len());
    let mut change = patch(names.map(|name| put(name, b"new")));
    change.label = Some(Some("平板".into()));
    change.guards.push(Guard { key: CellKey::from(names[0]), stamp: 1 });
    assert!(is_committed(&store.commit(&key(1), &change).await.unwrap()));
    let found = whole().await;
    assert_eq!(found.header.label.as_deref(), Some("平板"));
    assert!(names.iter().all(|name| &found.cells.get(name).unwrap().body.content.payload().unwrap()[..] == b"new"));
    assert_eq!(store.by_owner(&owner(7).hash).await.unwrap()[0].1.label.as_deref(), Some("平板"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_administrator_kills_leaves_nothing_half_done() {
    let server = needs!(MySqlServer::start().await);
    let store = MySqlStore::connect(&server.url()).timeout(Duration::from_secs(10)).await.unwrap();
    store.migrate().await.unwrap();
    for n in 0..4 {
        let mut two = record([put("shop/a", b"a"), put("shop/b", b"b")]);
        two.header.owner = Some(owner(7));
        store.create(&key(n), two).await.unwrap();
    }
    let mut holder = pool(&server.url(), 1).get_conn().await.unwrap();
    // They wait for the last of what they write, so that all before it is done.
    let last = key(3);
    let lock = format!("SELECT 1 FROM cloakroom_cell WHERE selector = x'{}' AND name = 'shop/b' FOR UPDATE", hex(&last));
    let waiting = format!(
        "SELECT id FROM information_schema.processlist WHERE info LIKE '%{}%' AND info NOT LIKE '%processlist%'",
        hex(&last)
    );
    for kill in ["KILL QUERY", "KILL"] {
        for kind in 0..4 {
            holder.query_drop(format!("START TRANSACTION; {lock}")).await.unwrap();
            let writes = store.clone();
            let write = tokio::spawn(async move {
                let mut change = patch([put("shop/a", b"c"), put("shop/b", b"c")]);
                match kind {
                    0 => writes.commit(&last, &change).await.map(drop),
                    1 => {
                        change.guards.push(Guard { key: CellKey::from("shop/a"), stamp: 1 });
                        writes.commit(&last, &change).await.map(drop)
                    }
                    2 => writes.delete(&last).await,
                    _ => writes.delete_by_owner(&owner(7).hash, None).await.map(drop),
                }
            });
            let began = Instant::now();
            let id = loop {
                let ids = server.sql(&waiting).await;
                if let Some(id) = ids.lines().next() {
                    break id.to_owned();
                }
                assert!(began.elapsed() < Duration::from_secs(5), "nothing waits");
            };
            server.sql(&format!("{kill} {id}")).await;
            write.await.unwrap().unwrap_err();
            holder.query_drop("ROLLBACK").await.unwrap();
            assert_eq!(server.sql("SELECT SUM(revision), COUNT(*) FROM cloakroom_record").await, "4\t4", "{kill} {kind}");
            assert_eq!(server.sql("SELECT SUM(stamp), COUNT(*) FROM cloakroom_cell").await, "8\t8", "{kill} {kind}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_waits_in_vain_is_told_what_for() {
    let server = needs!(MySqlServer::start().await);
    let store = MySqlStore::connect(&server.url()).connections(1).timeout(Duration::from_millis(400)).await.unwrap();
    store.migrate().await.unwrap();
    store.create(&key(1), record([])).await.unwrap();
    let mut holder = pool(&server.url(), 1).get_conn().await.unwrap();
    let lock = format!("START TRANSACTION; SELECT 1 FROM cloakroom_record WHERE selector = x'{}' FOR UPDATE", hex(&key(1)));
    holder.query_drop(lock).await.unwrap();
    let error = store.commit(&key(1), &patch([put("shop/a", b"a")])).await.unwrap_err();
    assert!(matches!(error, StoreError::OutcomeUnknown(_)), "{error}");
    // Reads wait for no lock.
    found_soon(&store).await;
    holder.query_drop("ROLLBACK").await.unwrap();

    // A sweep has more time than a request, and all this while the only connection.
    holder.query_drop("LOCK TABLES cloakroom_record WRITE").await.unwrap();
    let sweeps = store.clone();
    let busy = tokio::spawn(async move { sweeps.sweep(at(0), 10).await });
    let began = Instant::now();
    let sweeping =
        "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE '%expires%' AND info NOT LIKE '%processlist%'";
    while server.sql(sweeping).await != "1" {
        assert!(began.elapsed() < Duration::from_secs(10), "nothing is swept");
    }
    let errors = <[_; 2]>::from(tokio::join!(load(&store, 1), load(&store, 1))).map(|outcome| outcome.unwrap_err().to_string());
    assert!(errors.iter().all(|error| error.contains("may be more .connections(n)")), "{errors:?}");
    holder.query_drop("UNLOCK TABLES").await.unwrap();
    assert_eq!(busy.await.unwrap().unwrap(), 0);
    found_soon(&store).await;
}

/// Waits for a new connection in the place of one that was given up.
async fn found_soon(store: &MySqlStore) {
    let began = Instant::now();
    while load(store, 1).await.is_err() {
        assert!(began.elapsed() < Duration::from_secs(10), "it does not come back");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_costs_no_read_and_at_most_a_write_per_connection() {
    let server = needs!(MySqlServer::start().await);
    let store = MySqlStore::connect(&server.url()).connections(4).await.unwrap();
    store.migrate().await.unwrap();
    store.create(&key(1), record([put("shop/a", b"a")])).await.unwrap();
    let mut warm = JoinSet::new();
    for _ in 0..4 {
        let store = store.clone();
        warm.spawn(async move { load(&store, 1).await.unwrap() });
    }
    while warm.join_next().await.is_some() {}
    server.restart().await;
    assert!(load(&store, 1).await.unwrap().is_some());
    for _ in 0..4 {
        assert!(is_committed(&store.commit(&key(1), &patch([put("shop/a", b"b")])).await.unwrap()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_lost_leaves_the_outcome_unknown_and_is_not_asked_for_again() {
    let server = needs!(MySqlServer::start().await);
    let proxy = Proxy::before(server.address()).await;
    let store = MySqlStore::connect(&proxy.url_like(&server.url())).await.unwrap();
    store.migrate().await.unwrap();
    store.create(&key(1), record([])).await.unwrap();
    proxy.drop_reply_of_next_request_with("LAST_INSERT_ID");
    let error = store.commit(&key(1), &patch([put("shop/a", b"1")])).await.unwrap_err();
    assert!(matches!(error, StoreError::OutcomeUnknown(_)), "{error}");
    assert!(proxy.has_struck());
    assert_eq!(load(&store, 1).await.unwrap().unwrap().header.revision, 2, "it was applied, once");
    proxy.drop_next_request_with("LAST_INSERT_ID");
    let error = store.commit(&key(1), &patch([put("shop/a", b"2")])).await.unwrap_err();
    assert!(matches!(error, StoreError::OutcomeUnknown(_)), "{error}");
    assert_eq!(load(&store, 1).await.unwrap().unwrap().header.revision, 2, "it was not applied");
    // A read is simply made again.
    proxy.drop_reply_of_next_request_with("LEFT JOIN");
    assert!(load(&store, 1).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_answer_costs_no_more_than_the_limit_and_no_connection() {
    let server = needs!(MySqlServer::start().await);
    let limit = Duration::from_millis(300);
    let store = MySqlStore::connect(&server.url()).connections(2).timeout(limit).await.unwrap();
    store.migrate().await.unwrap();
    store.create(&key(1), record([])).await.unwrap();
    server.pause();
    let began = Instant::now();
    let mut waiting = JoinSet::new();
    for n in 0..12 {
        let store = store.clone();
        waiting.spawn(async move {
            if n % 2 == 0 {
                assert!(matches!(load(&store, 1).await, Err(StoreError::Unavailable(_))));
            } else {
                store.commit(&key(1), &patch([put("shop/a", b"1")])).await.unwrap_err();
            }
        });
    }
    while let Some(request) = waiting.join_next().await {
        request.unwrap();
    }
    assert!(began.elapsed() < limit + Duration::from_millis(300), "{:?}", began.elapsed());
    server.resume();
    let began = Instant::now();
    while load(&store, 1).await.is_err() {
        assert!(began.elapsed() < Duration::from_secs(8), "it does not come back");
    }
    // Both connections are there again.
    for _ in 0..10 {
        let (one, other) = tokio::join!(load(&store, 1), load(&store, 1));
        assert!(one.unwrap().is_some() && other.unwrap().is_some());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_are_dropped_leave_no_transaction_lock_or_lost_connection() {
    let server = needs!(MySqlServer::start().await);
    let store = MySqlStore::connect(&server.url()).connections(2).timeout(Duration::from_secs(5)).await.unwrap();
    store.migrate().await.unwrap();
    store.create(&key(1), record([put("shop/a", b"a")])).await.unwrap();
    for microseconds in (0..1_500).step_by(10) {
        let mut patch = patch([put("shop/a", b"b"), put("shop/b", b"b")]);
        patch.guards.push(Guard { key: CellKey::from("shop/none"), stamp: 0 });
        let _ = tokio::time::timeout(Duration::from_micros(microseconds), store.commit(&key(1), &patch)).await;
    }
    for _ in 0..4 {
        let (c, d) = (patch([put("shop/c", b"c")]), patch([put("shop/d", b"d")]));
        let key = key(1);
        let (one, other) = tokio::join!(store.commit(&key, &c), store.commit(&key, &d));
        assert!(is_committed(&one.unwrap()) && is_committed(&other.unwrap()));
    }
    let found = load(&store, 1).await.unwrap().unwrap();
    assert_eq!(found.cells.stamp("shop/a") == 1, found.cells.stamp("shop/b") == 0, "both or neither");
    let open = server.sql("SELECT COUNT(*) FROM information_schema.innodb_trx").await;
    assert_eq!(open, "0", "transactions are open");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_server_is_unavailable_and_one_that_may_be_written_again_is_found() {
    let server = needs!(MySqlServer::start().await);
    let store = store(&server.url()).await;
    store.create(&key(1), record([put("shop/a", b"a")])).await.unwrap();
    server.set_read_only(true).await;
    let error = store.commit(&key(1), &patch([put("shop/a", b"b")])).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)) && error.to_string().contains("read-only"), "{error}");
    assert!(load(&store, 1).await.unwrap().is_some());
    server.set_read_only(false).await;
    assert!(is_committed(&store.commit(&key(1), &patch([put("shop/a", b"b")])).await.unwrap()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_unavailable_and_what_is_there_stays_readable() {
    let options = ["--innodb-file-per-table=OFF", "--innodb-data-file-path=ibdata1:12M:autoextend:max:24M"];
    let server = needs!(MySqlServer::with(&options).await);
    let store = store(&server.url()).await;
    store.create(&key(0), record([put("shop/a", b"a")])).await.unwrap();
    let mut stored = 0;
    let error = loop {
        stored += 1;
        assert!(stored < 300, "the disk is never full");
        if let Err(error) = store.create(&key(stored), record([put("shop/a", &[7; 200_000])])).await {
            break error;
        }
    };
    assert!(matches!(error, StoreError::Unavailable(_)) && error.to_string().contains("full"), "{error}");
    assert!(load(&store, stored).await.unwrap().is_none(), "nothing of it is there");
    assert_eq!(orphans(&server).await, "0");
    let error = store.commit(&key(0), &patch([put("shop/b", b"b"), put("shop/c", &[7; 250_000])])).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
    let found = load(&store, 0).await.unwrap().unwrap();
    assert_eq!((found.header.revision, found.cells.len()), (1, 1));
    // Undoing a deletion takes room as well, so the server may refuse that too; never half of it.
    match store.delete(&key(1)).await {
        Ok(()) => assert!(load(&store, 1).await.unwrap().is_none()),
        Err(error) => {
            assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
            assert_eq!(load(&store, 1).await.unwrap().unwrap().cells.len(), 1);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_record_is_stored_in_one_commit() {
    let server = needs!(MySqlServer::start().await);
    let store = MySqlStore::connect(&server.url()).timeout(Duration::from_secs(10)).await.unwrap();
    store.migrate().await.unwrap();
    let cells = || (0..4).map(|n| put(&format!("shop/{n}"), &vec![n; limits::CELL - 100]));
    store.create(&key(1), record(cells())).await.unwrap();
    assert!(is_committed(&store.commit(&key(1), &patch(cells())).await.unwrap()));
    assert_eq!(load(&store, 1).await.unwrap().unwrap().cells.len(), 4);

    server.sql("SET GLOBAL max_allowed_packet = 1048576").await;
    let small = MySqlStore::connect(&server.url()).await.unwrap();
    let error = small.commit(&key(1), &patch(cells())).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)) && error.to_string().contains("max_allowed_packet to 16M"), "{error}");
    assert_eq!(load(&small, 1).await.unwrap().unwrap().header.revision, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_stays_is_unavailable_and_leaves_nothing() {
    let server = needs!(MySqlServer::start().await);
    let store = MySqlStore::connect(&server.url()).timeout(Duration::from_millis(2_600)).await.unwrap();
    store.migrate().await.unwrap();
    store.create(&key(1), record([])).await.unwrap();
    let mut holder = pool(&server.url(), 1).get_conn().await.unwrap();
    let lock = format!("START TRANSACTION; SELECT 1 FROM cloakroom_record WHERE selector = x'{}' FOR UPDATE", hex(&key(1)));
    holder.query_drop(lock).await.unwrap();
    // The server says so before the limit, and nothing has happened.
    let error = store.commit(&key(1), &patch([put("shop/a", b"a")])).await.unwrap_err();
    assert!(matches!(&error, StoreError::Unavailable(cause) if cause.to_string().contains("1205")), "{error}");
    holder.query_drop("ROLLBACK").await.unwrap();
    assert!(is_committed(&store.commit(&key(1), &patch([put("shop/a", b"a")])).await.unwrap()));
    assert_eq!(server.sql("SELECT COUNT(*) FROM information_schema.innodb_trx").await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_loses_a_deadlock_is_made_again() {
    let server = needs!(MySqlServer::start().await);
    let store = MySqlStore::connect(&server.url()).timeout(Duration::from_secs(5)).await.unwrap();
    store.migrate().await.unwrap();
    let mut keys: Vec<Selector> = (0..2).map(key).collect();
    keys.sort_by_key(|key| *key.as_bytes());
    for key in &keys {
        store.create(key, owned(7)).await.unwrap();
    }
    for n in 10..60 {
        store.create(&key(n), record([])).await.unwrap();
    }
    // Somebody who has changed more than we, so that we are the one to give way.
    let mut holder = pool(&server.url(), 1).get_conn().await.unwrap();
    let lock = |key: &Selector| format!("SELECT 1 FROM cloakroom_record WHERE selector = x'{}' FOR UPDATE", hex(key));
    let change = "UPDATE cloakroom_record SET last_seen = 1 WHERE owner IS NULL";
    holder.query_drop("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED").await.unwrap();
    holder.query_drop(format!("START TRANSACTION; {change}; {}", lock(&keys[1]))).await.unwrap();
    let deleting = tokio::spawn({
        let store = store.clone();
        async move { store.delete_by_owner(&owner(7).hash, None).await }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    holder.query_drop(lock(&keys[0])).await.unwrap();
    holder.query_drop("ROLLBACK").await.unwrap();
    assert_eq!(deleting.await.unwrap().unwrap(), 2);
    assert_eq!(server.sql("SELECT COUNT(*) FROM cloakroom_record").await, "50");
    assert_eq!(orphans(&server).await, "0");
    let deadlocks = server.sql("SHOW ENGINE INNODB STATUS").await;
    assert!(deadlocks.contains("LATEST DETECTED DEADLOCK"), "or nothing was tried again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tls_server_is_trusted_by_its_authority_and_by_nothing_less() {
    let server = needs!(MySqlServer::with_tls(&[]).await);
    let ca = server.ca_file().display().to_string();
    let store = MySqlStore::connect(&format!("{}?ssl-ca={ca}", server.url())).await.unwrap();
    store.migrate().await.unwrap();
    store.create(&key(1), record([])).await.unwrap();
    assert!(load(&store, 1).await.unwrap().is_some());

    let stranger = MySqlServer::with_tls(&[]).await.unwrap();
    let wrong = format!("{}?ssl-ca={}", server.url(), stranger.ca_file().display());
    let unknown = format!("{}?require_ssl=true", server.url());
    for url in [&wrong, &unknown] {
        let error = MySqlStore::connect(url).await.unwrap_err();
        assert!(error.to_string().contains("certificate"), "{url}: {error}");
    }
    let error = MySqlStore::connect(&format!("{}?ssl-ca=/nowhere/ca.pem", server.url())).await.unwrap_err();
    assert!(
        error.to_string().contains("/nowhere/ca.pem: ") && error.to_string().contains("name a file of PEM certificates"),
        "{error}"
    );
    MySqlStore::connect(&server.url()).await.unwrap_err();
}

#[tokio::test]
async fn mistakes_are_named_and_no_password_is() {
    let server = needs!(MySqlServer::start().await);
    let wrong = server.url().replace(PASSWORD, "another-password-5526");
    for (url, says) in [
        (wrong.clone(), "check user and password"),
        (format!("{}s", server.url()), "check the database in the URL"),
        (server.url().trim_end_matches(NAME).to_owned(), "names no database"),
        (server.url().replace("mysql:", "postgres:"), "give mysql://user:password@host:3306/database"),
        (server.url().replace(&server.address().to_string(), "127.0.0.1:1"), "refused"),
        ("not a url".to_owned(), "give mysql://"),
        (format!("{}?colour=red", server.url()), "colour"),
    ] {
        let error = MySqlStore::connect(&url).await.unwrap_err();
        let shown = format!("{error} {error:?} {:?}", MySqlStore::connect(&url));
        assert!(shown.contains(says), "{says}: {shown}");
        assert!(!shown.contains(PASSWORD) && !shown.contains("another-password"), "{shown}");
    }
    let error = MySqlStore::connect(&server.url()).table_prefix("shop`s_").await.unwrap_err();
    assert!(error.to_string().contains("\"shop`s_\" is not possible"), "{error}");
    let error = MySqlStore::connect(&server.url()).connections(0).await.unwrap_err();
    assert!(error.to_string().contains("give 1 or more"), "{error}");
    let error = MySqlStore::from_pool(pool(&server.url(), 1)).connections(2).await.unwrap_err();
    assert!(error.to_string().contains("size the application's pool"), "{error}");
    let store = MySqlStore::connect(&server.url()).await.unwrap();
    assert!(!format!("{store:?}").contains(PASSWORD));
    let error = load(&store, 1).await.unwrap_err();
    assert!(error.to_string().contains("call MySqlStore::migrate()"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_may_migrate_at_once_and_again_and_a_newer_version_is_refused() {
    let server = needs!(MySqlServer::start().await);
    let url = server.url();
    let mut instances = JoinSet::new();
    for _ in 0..8 {
        let url = url.clone();
        instances
            .spawn(async move { MySqlStore::connect(&url).timeout(Duration::from_secs(10)).await.unwrap().migrate().await });
    }
    while let Some(migrated) = instances.join_next().await {
        migrated.unwrap().unwrap();
    }
    let store = store(&url).await;
    store.create(&key(1), record([])).await.unwrap();
    store.migrate().await.unwrap();
    assert!(load(&store, 1).await.unwrap().is_some());
    assert_eq!(server.sql("SELECT version FROM cloakroom_schema").await, "1");
    server.sql("INSERT INTO cloakroom_schema VALUES (2)").await;
    let error = store.migrate().await.unwrap_err();
    assert!(error.to_string().contains("version 2") && error.to_string().contains("upgrade cloakroom"), "{error}");
}

#[tokio::test]
async fn tables_of_another_version_are_noticed_at_the_first_use() {
    let server = needs!(MySqlServer::start().await);
    let early = MySqlStore::connect(&server.url()).await.unwrap();
    store(&server.url()).await;
    server.sql("UPDATE cloakroom_schema SET version = 2").await;
    let newer = |error: StoreError| {
        let text = error.to_string();
        assert!(text.contains("have version 2 and this build of cloakroom knows version 1; upgrade cloakroom"), "{text}");
    };
    // Opened before they were there, and after.
    newer(load(&early, 1).await.unwrap_err());
    newer(early.create(&key(1), record([])).await.unwrap_err());
    newer(early.sweep(at(0), 10).await.unwrap_err());
    newer(MySqlStore::connect(&server.url()).await.unwrap_err());
    assert_eq!(server.sql("SELECT COUNT(*) FROM cloakroom_record").await, "0");

    server.sql("UPDATE cloakroom_schema SET version = 0").await;
    let older = load(&early, 1).await.unwrap_err().to_string();
    assert!(older.contains("have version 0") && older.contains("call MySqlStore::migrate()"), "{older}");
    server.sql("UPDATE cloakroom_schema SET version = 1").await;
    assert!(load(&early, 1).await.unwrap().is_none());
}

#[tokio::test]
async fn the_sql_that_is_shipped_makes_what_a_migration_makes() {
    let server = needs!(MySqlServer::start().await);
    server.sql(&MySqlStore::schema("by_hand_")).await;
    let store = MySqlStore::connect(&server.url()).table_prefix("by_hand_").await.unwrap();
    store.create(&key(1), record([put("shop/a", b"a")])).await.unwrap();
    store.migrate().await.unwrap();
    assert!(load(&store, 1).await.unwrap().is_some());
    let other = MySqlStore::connect(&server.url()).table_prefix("other_").await.unwrap();
    other.migrate().await.unwrap();
    assert!(load(&other, 1).await.unwrap().is_none(), "two prefixes do not see each other");
    assert_eq!(server.sql("SHOW TABLES").await.lines().count(), 6);
}

// On one thread, since events are those of a thread.
#[tokio::test]
async fn expired_records_leave_on_their_own_also_after_a_sweep_that_failed() {
    let server = needs!(MySqlServer::start().await);
    let store = MySqlStore::connect(&server.url()).await.unwrap();
    let present = async |store: &MySqlStore, now: i64| {
        let presented = Presented::new(secret(), at(now), Lifetime::default());
        store.load(&key(9_999), &presented, &Want::default()).await
    };
    // Its first run fails: there are no tables yet.
    let events = Events::capture();
    present(&store, 0).await.unwrap_err();
    let began = Instant::now();
    while !events.take().iter().any(|line| line.contains("session.sweep_failed") && line.contains("MySqlStore::migrate()")) {
        assert!(began.elapsed() < Duration::from_secs(5), "no sweep failed");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    store.migrate().await.unwrap();
    for n in 0..1_200 {
        store.create(&key(n), record([put("shop/a", b"a")])).await.unwrap();
    }
    let mut alive = record([put("shop/a", b"a")]);
    (alive.header.idle_until, alive.header.absolute_until) = (at(9 * HOUR), at(9 * HOUR));
    store.create(&key(5_000), alive).await.unwrap();
    present(&store, 2 * HOUR + 200_000).await.unwrap();
    let began = Instant::now();
    while server.sql("SELECT COUNT(*) FROM cloakroom_record").await != "1" {
        assert!(began.elapsed() < Duration::from_secs(10), "they stay");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(server.sql("SELECT COUNT(*) FROM cloakroom_cell").await, "1");
    drop(store);
    let began = Instant::now();
    while server.sql(&format!("SELECT COUNT(*) FROM information_schema.processlist WHERE user = '{NAME}'")).await != "0" {
        assert!(began.elapsed() < Duration::from_secs(5), "connections stay");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
