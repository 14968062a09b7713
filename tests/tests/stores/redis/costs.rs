//! What an operation costs, in round trips and in bytes, counted on the wire and in the server's log.

use super::fixture::*;
use cloakroom::{
    record::*,
    store::{RedisStore, SessionStore},
};
use cloakroom_tests::{
    needs,
    servers::{Counts, Proxy, RedisServer, Server as _},
};

async fn through(proxy: &Proxy, server: &RedisServer) -> RedisStore {
    RedisStore::connect(proxy.url_like(&server.url())).await.unwrap()
}

/// What an operation costs once the server knows the scripts.
async fn cost<T>(proxy: &Proxy, operation: impl Future<Output = T>) -> Counts {
    let before = proxy.counts();
    operation.await;
    proxy.counts() - before
}

#[tokio::test]
async fn every_operation_is_one_round_trip_on_one_connection() {
    let server = needs!(RedisServer::start().await);
    let proxy = Proxy::before(server.address()).await;
    let store = through(&proxy, &server).await;
    let all = async |count: bool| {
        let once = async |what: &str, counts: Counts| {
            assert!(!count || counts.round_trips == 1, "{what}: {counts:?}");
            assert_eq!(counts.connections, 0, "{what} opened a connection");
        };
        once("create", cost(&proxy, store.create(&key(1), record(&[put("shop/a", b"1")]))).await).await;
        once("load", cost(&proxy, load(&store, 1)).await).await;
        let mut whole = sign_in(1);
        whole.puts = vec![put("shop/a", b"2"), put("shop/b", b"3")];
        whole.guards = vec![Guard { key: CellKey::from("shop/a"), stamp: 1 }];
        whole.wipe_except = Some(vec![]);
        whole.label = Some(Some("a label".into()));
        once("commit", cost(&proxy, async { committed(store.commit(&key(1), &whole).await.unwrap()) }).await).await;
        once("a conflict", cost(&proxy, store.commit(&key(1), &whole)).await).await;
        once("by_owner", cost(&proxy, store.by_owner(&owner(1).hash)).await).await;
        once("delete", cost(&proxy, store.delete(&key(1))).await).await;
        once("delete_by_owner", cost(&proxy, store.delete_by_owner(&owner(1).hash, None)).await).await;
    };
    all(false).await;
    all(true).await;
}

#[tokio::test]
async fn changing_one_number_costs_the_same_whatever_the_session_weighs() {
    let server = needs!(RedisServer::start().await);
    let proxy = Proxy::before(server.address()).await;
    let store = through(&proxy, &server).await;
    let mut costs = Vec::new();
    for (n, record) in [(1, heavy(8, 100)), (2, heavy(16, 500)), (3, heavy(64, 1_000))] {
        store.create(&key(n), record).await.unwrap();
        let change = || patch(&[put("shop/cell-1", &7u64.to_le_bytes())]);
        committed(store.commit(&key(n), &change()).await.unwrap());
        let logged = server.written_bytes().await;
        let counts = cost(&proxy, async { committed(store.commit(&key(n), &change()).await.unwrap()) }).await;
        costs.push((counts.sent, counts.received, server.written_bytes().await - logged));
    }
    assert!(costs.iter().all(|cost| *cost == costs[0]), "{costs:?}");
    let (sent, received, logged) = costs[0];
    assert!(sent < 300 && received < 60 && logged < 400, "{costs:?}");
}

#[tokio::test]
async fn a_load_that_may_not_touch_writes_nothing() {
    let server = needs!(RedisServer::start().await);
    let store = store(&server).await;
    store.create(&key(1), record(&[put("shop/a", b"1")])).await.unwrap();
    server.command(&["PEXPIRE", FIRST, "5000000"]).await;
    let before = server.written_bytes().await;
    let (mut forged, mut late) = (presented(), presented());
    forged.secret_hash = SecretHash::from_bytes([9; 32]);
    late.now = NOW.plus(HOUR);
    for presented in [forged, late] {
        assert!(store.load(&key(1), &presented, &Want::default()).await.unwrap().is_some());
    }
    assert_eq!(server.written_bytes().await, before);
    let left: u64 = server.command(&["PTTL", FIRST]).await.parse().unwrap();
    assert!(left <= 5_000_000, "{left}");
}

#[tokio::test]
async fn a_small_session_is_stored_compactly() {
    let server = needs!(RedisServer::start().await);
    let store = store(&server).await;
    store.create(&key(1), record(&[put("shop/visits", &[7; 8]), put("shop/name", b"Ada Lovelace")])).await.unwrap();
    committed(store.commit(&key(1), &sign_in(1)).await.unwrap());
    assert_eq!(server.command(&["OBJECT", "ENCODING", FIRST]).await, "listpack");
}

#[tokio::test]
async fn on_demand_cells_do_not_travel_unless_they_are_named() {
    let server = needs!(RedisServer::start().await);
    let proxy = Proxy::before(server.address()).await;
    let store = through(&proxy, &server).await;
    store.create(&key(1), record(&[put("shop/a", b"1"), put("~shop/scan", &[7; 100_000])])).await.unwrap();
    load(&store, 1).await.unwrap();
    assert!(cost(&proxy, load(&store, 1)).await.received < 1_000);
    let named = store.load(&key(1), &presented(), &Want::with(&["~shop/scan"])).await.unwrap().unwrap();
    assert_eq!(named.cells.len(), 2);
}
