//! Connections that something between client and server forgot, and those of a runtime that has ended.

use super::fixture::*;
use cloakroom::{
    record::*,
    store::{RedisStore, SessionStore, StoreError},
};
use cloakroom_tests::{
    needs,
    servers::{Proxy, RedisCluster, RedisSentinel, RedisServer, Server as _},
};
use std::time::{Duration, Instant};

/// Long enough for a busy machine, and far less than a time-out of TCP's own.
const LIMIT: Duration = Duration::from_secs(3);

/// How long a store trusts a connection on which it has heard nothing.
const TRUST: Duration = Duration::from_secs(10);

/// A cluster whose clients reach every node through a proxy of its own.
async fn behind_proxies(cluster: &RedisCluster) -> Vec<Proxy> {
    let mut proxies = Vec::new();
    for node in cluster.nodes() {
        let proxy = Proxy::before(node.address()).await;
        let port = proxy.address().port().to_string();
        assert_eq!(node.command(&["CONFIG", "SET", "cluster-announce-port", &port]).await, "OK");
        proxies.push(proxy);
    }
    for node in cluster.nodes() {
        eventually(async || {
            let slots = node.command(&["CLUSTER", "SLOTS"]).await;
            let known = |proxy: &Proxy| slots.lines().any(|line| line == proxy.address().port().to_string());
            proxies.iter().all(known).then_some(())
        })
        .await;
    }
    proxies
}

async fn over(proxies: &[Proxy]) -> RedisStore {
    let urls = proxies.iter().map(|proxy| format!("redis://{}", proxy.address()));
    RedisStore::cluster(urls).timeout(LIMIT).await.unwrap()
}

/// Reads, after all connections were forgotten, get an answer within their limit; writes say that nothing is known of them.
async fn survives_being_forgotten(store: RedisStore, forget: impl Fn()) {
    store.create(&key(1), record(&[])).await.unwrap();
    forget();
    let asked = Instant::now();
    assert!(store.load(&key(1), &presented(), &Want::default()).await.unwrap().is_some());
    assert!(asked.elapsed() < LIMIT, "{:?}", asked.elapsed());
    // The load has left a connection that works.
    committed(store.commit(&key(1), &patch(&[put("shop/a", b"1")])).await.unwrap());
    forget();
    // A write is sent once: it may have been done, and only its answer is missing.
    let lost = store.commit(&key(1), &patch(&[put("shop/a", b"2")])).await;
    assert!(matches!(lost, Err(StoreError::OutcomeUnknown(_))), "{lost:?}");
    // And the next has a connection that works.
    committed(store.commit(&key(1), &patch(&[put("shop/a", b"3")])).await.unwrap());
}

#[tokio::test]
async fn a_read_gets_its_answer_though_the_connection_was_forgotten() {
    let server = needs!(RedisServer::start().await);
    let proxy = Proxy::before(server.address()).await;
    let store = RedisStore::connect(proxy.url_like(&server.url())).timeout(LIMIT).await.unwrap();
    survives_being_forgotten(store, || proxy.forget()).await;
}

#[tokio::test]
async fn in_a_cluster_a_read_gets_its_answer_though_connections_were_forgotten() {
    let cluster = needs!(RedisCluster::start().await);
    let proxies = behind_proxies(&cluster).await;
    survives_being_forgotten(over(&proxies).await, || proxies.iter().for_each(Proxy::forget)).await;
}

/// It waits for as long as a silent connection is trusted, which no clock of the test's can shorten.
#[tokio::test]
async fn a_write_after_a_pause_meets_no_forgotten_connection() {
    let server = needs!(RedisServer::start().await);
    let cluster = needs!(RedisCluster::start().await);
    let proxy = Proxy::before(server.address()).await;
    let proxies = behind_proxies(&cluster).await;
    let one = RedisStore::connect(proxy.url_like(&server.url())).timeout(LIMIT).await.unwrap();
    let many = over(&proxies).await;
    for store in [&one, &many] {
        store.create(&key(1), record(&[])).await.unwrap();
    }
    tokio::time::sleep(TRUST + Duration::from_millis(200)).await;
    proxy.forget();
    proxies.iter().for_each(Proxy::forget);
    for store in [&one, &many] {
        committed(store.commit(&key(1), &patch(&[put("shop/a", b"1")])).await.unwrap());
        store.create(&key(2), record(&[])).await.unwrap();
    }
}

/// How many connections to that port this process has, and how many of them the kernel keeps alive.
#[cfg(target_os = "linux")]
fn kept_alive(port: u16) -> (usize, usize) {
    const ESTABLISHED: &str = "01";
    const KEEPALIVE_TIMER: &str = "02:";
    let remote = format!(":{port:04X}");
    let table = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
    let lines = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let ours: Vec<_> = lines.filter(|it| it[2].ends_with(&remote) && it[3] == ESTABLISHED).collect();
    (ours.len(), ours.iter().filter(|it| it[5].starts_with(KEEPALIVE_TIMER)).count())
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn every_connection_is_kept_alive() {
    let server = needs!(RedisServer::start().await);
    let sentinel = needs!(RedisSentinel::start(&server).await);
    let cluster = needs!(RedisCluster::start().await);
    let one = store(&server).await;
    let named = RedisStore::sentinel([sentinel.url()], RedisSentinel::SERVICE).await.unwrap();
    let many = RedisStore::cluster(cluster.urls()).await.unwrap();
    assert!(load(&one, 1).await.is_none() && load(&named, 1).await.is_none() && load(&many, 1).await.is_none());
    // Sentinel's own connections are its own matter, and there are the test's.
    for node in cluster.nodes().iter().chain([&server]) {
        let expected = if node.address() == server.address() { 2 } else { 1 };
        // While something is on its way, another timer runs.
        eventually(async || (kept_alive(node.address().port()).1 >= expected).then_some(())).await;
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// Opened on one runtime, used on others, as a static store is by tests that each have their own.
fn outlives_its_runtime(open: impl AsyncFnOnce() -> RedisStore) {
    let first = runtime();
    let store = first.block_on(async {
        let store = open().await;
        store.create(&key(1), record(&[])).await.unwrap();
        store
    });
    drop(first);
    for round in 0..3u8 {
        let next = runtime();
        next.block_on(async {
            if round == 1 {
                assert!(load(&store, 1).await.is_some());
            }
            committed(store.commit(&key(1), &patch(&[put("shop/a", &[round])])).await.unwrap());
            assert!(load(&store, 1).await.is_some());
        });
        drop(next);
    }
}

#[test]
fn a_store_outlives_the_runtime_it_was_opened_on() {
    let servers = runtime();
    let server = needs!(servers.block_on(RedisServer::start()));
    outlives_its_runtime(async || store(&server).await);
}

#[test]
fn a_store_behind_sentinel_outlives_the_runtime_it_was_opened_on() {
    let servers = runtime();
    let primary = needs!(servers.block_on(RedisServer::start()));
    let sentinel = needs!(servers.block_on(RedisSentinel::start(&primary)));
    outlives_its_runtime(async || RedisStore::sentinel([sentinel.url()], RedisSentinel::SERVICE).await.unwrap());
}

#[test]
fn a_store_on_a_cluster_outlives_the_runtime_it_was_opened_on() {
    let servers = runtime();
    let cluster = needs!(servers.block_on(RedisCluster::start()));
    outlives_its_runtime(async || RedisStore::cluster(cluster.urls()).await.unwrap());
}
