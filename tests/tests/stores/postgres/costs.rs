//! What an operation costs: round trips, bytes sent, bytes the engine writes.

use super::*;
use cloakroom::record::{Deadlines, Guard, OwnerChange, Rotation};
use cloakroom_tests::servers::{Proxy, Server as _};

/// A store with one connection through a proxy, and everything opened that is opened once.
async fn behind(proxy: &Proxy, server: &PostgresServer) -> PostgresStore {
    let store = made(patient(PostgresStore::connect(proxy.url_like(&server.url())).connections(1))).await;
    // The first request after the tables are made prepares its statements.
    load(&store, &key(0)).await.unwrap();
    // The first sweep is over when its connection is free again.
    tokio::time::sleep(Duration::from_millis(100)).await;
    store
}

#[tokio::test]
async fn every_operation_of_a_request_is_one_round_trip() {
    let server = needs!(PostgresServer::start().await);
    let proxy = Proxy::before(server.address()).await;
    let store = behind(&proxy, &server).await;
    let owner = Owner { schema: "shop".into(), hash: OwnerHash::from_bytes([9; 32]) };
    let mut everything = patch(&[put("shop/a", b"1"), put("shop/b", b"2")]);
    everything.guards = vec![Guard { key: "shop/a".into(), stamp: 2 }];
    everything.wipe_except = Some(vec!["shop/a".into()]);
    everything.deadlines =
        Some(Deadlines::Reset { created: at(1), last_seen: at(1), idle_until: at(HOUR), absolute_until: at(HOUR) });
    everything.rotation =
        Some(Rotation::Privilege { to: SecretHash::from_bytes([3; 32]), wrapped_key: WrappedKey::from_bytes([4; 32]) });
    everything.owner = Some(OwnerChange::Set(owner.clone()));
    everything.label = Some(Some("a laptop".into()));
    let mut refused = patch(&[put("shop/a", b"1")]);
    refused.epoch = 1;
    refused.guards = vec![Guard { key: "shop/a".into(), stamp: 9 }];

    let mut before = proxy.counts();
    let mut one_round_trip = |what: &str| {
        let now = proxy.counts();
        assert_eq!(((now - before).round_trips, (now - before).connections), (1, 0), "{what}");
        before = now;
    };
    create(&store, &key(1), &weighing(8, 100)).await;
    one_round_trip("create");
    assert_eq!(load(&store, &key(1)).await.unwrap().unwrap().cells.len(), 8);
    one_round_trip("load");
    let want = Want::with(&["~shop/scan"]);
    store.load(&key(1), &Presented::new(SecretHash::from_bytes([1; 32]), at(1), Lifetime::default()), &want).await.unwrap();
    one_round_trip("load with an on-demand cell");
    assert!(is_committed(&store.commit(&key(1), &patch(&[put("shop/a", b"1")])).await.unwrap()));
    one_round_trip("commit of one cell");
    assert!(is_committed(&store.commit(&key(1), &everything).await.unwrap()));
    one_round_trip("commit of everything");
    assert!(matches!(store.commit(&key(1), &refused).await.unwrap(), CommitOutcome::Conflict { .. }));
    one_round_trip("conflict");
    assert_eq!(store.commit(&key(1), &patch(&[])).await.unwrap(), CommitOutcome::Gone);
    one_round_trip("gone");
    assert_eq!(store.by_owner(&owner.hash).await.unwrap().len(), 1);
    one_round_trip("by_owner");
    assert_eq!(store.delete_by_owner(&owner.hash, None).await.unwrap(), 1);
    one_round_trip("delete_by_owner");
    store.delete(&key(1)).await.unwrap();
    one_round_trip("delete");
}

/// The bytes that one commit of a u64 sends and makes the engine write: the least of many, since the engine has work of its own.
async fn cost(store: &PostgresStore, server: &PostgresServer, proxy: &Proxy, key: &Selector) -> (u64, u64) {
    let (mut sent, mut written) = (u64::MAX, u64::MAX);
    for n in 0..12u64 {
        let (passed, log) = (proxy.counts(), server.written_bytes().await);
        assert!(is_committed(&store.commit(key, &patch(&[put("shop/field_3", &n.to_le_bytes())])).await.unwrap()));
        sent = sent.min((proxy.counts() - passed).sent);
        written = written.min(server.written_bytes().await - log);
    }
    (sent, written)
}

#[tokio::test]
async fn what_changing_one_number_costs_does_not_grow_with_the_session() {
    let server = needs!(PostgresServer::with(&["autovacuum=off", "bgwriter_lru_maxpages=0"]).await);
    let proxy = Proxy::before(server.address()).await;
    let store = behind(&proxy, &server).await;
    let mut costs = Vec::new();
    for (n, cells, bytes) in [(1, 8, 128), (2, 16, 512), (3, 64, 1024)] {
        create(&store, &key(n), &weighing(cells, bytes)).await;
        costs.push(cost(&store, &server, &proxy, &key(n)).await);
    }
    println!("bytes sent and written per commit of a u64 into 1, 8 and 64 KiB: {costs:?}");
    assert!(costs.iter().all(|(sent, _)| *sent == costs[0].0 && *sent < 300), "{costs:?}");
    assert!(costs.iter().all(|(_, written)| *written < 700), "{costs:?}");
    assert!(costs[2].1 < costs[0].1 * 5 / 4, "{costs:?}");
}

#[tokio::test]
async fn a_commit_that_leaves_the_deadline_leaves_the_indexes_alone() {
    let server = needs!(PostgresServer::start().await);
    let store = store(&server).await;
    create(&store, &key(1), &weighing(8, 20)).await;
    for n in 0..100u64 {
        assert!(is_committed(&store.commit(&key(1), &patch(&[put("shop/field_3", &n.to_le_bytes())])).await.unwrap()));
    }
    // A connection hands in its statistics when it ends.
    drop(store);
    eventually("the statistics arrive", async || {
        let updates = server.sql("SELECT sum(n_tup_upd), sum(n_tup_hot_upd) FROM pg_stat_user_tables").await;
        updates == "200\t200"
    })
    .await;
}

#[tokio::test]
async fn rows_are_found_by_an_index_however_the_tables_were_when_the_plans_were_made() {
    let server = needs!(PostgresServer::start().await);
    let store = store(&server).await;
    let everything = async |n: u64| {
        create(&store, &key(n), &weighing(2, 10)).await;
        load(&store, &key(n)).await.unwrap();
        let mut guarded = patch(&[put("shop/field_0", b"1")]);
        guarded.guards = vec![Guard { key: "shop/field_0".into(), stamp: 1 }];
        assert!(is_committed(&store.commit(&key(n), &guarded).await.unwrap()));
        store.by_owner(&OwnerHash::from_bytes([1; 32])).await.unwrap();
        store.delete_by_owner(&OwnerHash::from_bytes([1; 32]), None).await.unwrap();
        store.sweep(at(0), 10).await.unwrap();
    };
    // Plans that are kept are made from what the tables hold now: nothing, which is read fastest as a whole.
    server.sql("VACUUM ANALYZE").await;
    for n in 0..40 {
        everything(n).await;
        store.delete(&key(n)).await.unwrap();
    }
    for n in 100..400 {
        create(&store, &key(n), &weighing(8, 10)).await;
    }
    server.sql("SELECT pg_stat_reset()").await;
    for n in 1_000..1_010 {
        everything(n).await;
    }
    drop(store);
    eventually("the statistics arrive", async || {
        let scans = server.sql("SELECT sum(idx_scan) > 50 FROM pg_stat_user_tables WHERE relname LIKE 'cloakroom%'").await;
        scans == "t"
    })
    .await;
    let scans =
        server.sql("SELECT relname, seq_scan FROM pg_stat_user_tables WHERE relname LIKE 'cloakroom%' AND seq_scan > 0").await;
    assert_eq!(scans, "", "tables that were read as a whole");
}
