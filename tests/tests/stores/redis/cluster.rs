//! What only a cluster can get wrong: owners on other nodes, slots that move, primaries that die.

use super::{assert_all_expire, fixture::*};
use base64ct::{Base64UrlUnpadded, Encoding};
use cloakroom::{
    Lifetime,
    record::*,
    store::{RedisStore, SessionStore, StoreError},
};
use cloakroom_tests::{
    needs,
    servers::{Proxy, RedisCluster, Server as _},
};
use redis::cluster::{ClusterClientBuilder, NodeAddress};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

async fn open(cluster: &RedisCluster) -> RedisStore {
    RedisStore::cluster(cluster.urls()).await.unwrap()
}

/// A store that reaches one node of a cluster through a proxy.
async fn by_proxy(cluster: &RedisCluster, node: SocketAddr) -> (Proxy, RedisStore) {
    let proxy = Proxy::before(node).await;
    let at = |address: SocketAddr| NodeAddress::new(address.ip().to_string(), address.port());
    let by_proxy = [(at(node), at(proxy.address()))].into();
    let client = ClusterClientBuilder::new(cluster.urls()).retries(0).node_address_map(by_proxy).build().unwrap();
    let store = RedisStore::from_cluster_connection(client.get_async_connection().await.unwrap()).await.unwrap();
    (proxy, store)
}

/// An owner whose index lies on another node than [`FIRST`], the addresses of both nodes, and the index.
async fn parted(cluster: &RedisCluster) -> (u8, [SocketAddr; 2], String) {
    let record_node = cluster.owner_of(FIRST).await.address();
    let mut n = 1;
    loop {
        let index = format!("cloakroom:owner:{}", Base64UrlUnpadded::encode_string(&[n; 32]));
        let index_node = cluster.owner_of(&index).await.address();
        if index_node != record_node {
            return (n, [record_node, index_node], index);
        }
        n += 1;
    }
}

async fn scripts_run(cluster: &RedisCluster) -> u64 {
    let mut count = 0;
    for node in cluster.nodes() {
        let calls = node.calls().await;
        count += ["evalsha", "eval"].iter().filter_map(|name| calls.get(*name)).sum::<u64>();
    }
    count
}

#[tokio::test]
async fn everything_is_one_round_trip_but_a_change_of_owner_which_is_two() {
    let cluster = needs!(RedisCluster::start().await);
    let store = open(&cluster).await;
    let all = async |count: bool| {
        let mut before = scripts_run(&cluster).await;
        let mut expect = async |what: &str, expected: u64| {
            let now = scripts_run(&cluster).await;
            assert!(!count || now - before == expected, "{what} ran {} scripts", now - before);
            before = now;
        };
        store.create(&key(1), record(&[])).await.unwrap();
        expect("create", 1).await;
        load(&store, 1).await.unwrap();
        expect("load", 1).await;
        committed(store.commit(&key(1), &patch(&[put("shop/a", b"1")])).await.unwrap());
        expect("commit", 1).await;
        committed(store.commit(&key(1), &sign_in(1)).await.unwrap());
        expect("signing in", 2).await;
        committed(store.commit(&key(1), &patch(&[put("shop/a", b"2")])).await.unwrap());
        expect("a commit of an owner's session", 1).await;
        let mut leave = patch(&[]);
        leave.owner = Some(OwnerChange::Clear);
        committed(store.commit(&key(1), &leave).await.unwrap());
        expect("signing out", 1).await;
        store.delete(&key(1)).await.unwrap();
        expect("delete", 1).await;
    };
    // Every node learns the scripts when it first needs them.
    all(false).await;
    all(true).await;
}

#[tokio::test]
async fn a_session_whose_deadlines_start_anew_is_listed_for_as_long_before_it_is_prolonged() {
    let cluster = needs!(RedisCluster::start().await);
    let store = open(&cluster).await;
    store.create(&key(1), record(&[])).await.unwrap();
    let (created, last_seen) = (NOW, NOW);
    let reset = |days: u32| Deadlines::Reset {
        created,
        last_seen,
        idle_until: NOW.plus(days * 24 * HOUR),
        absolute_until: NOW.plus(days * 24 * HOUR),
    };
    let mut patch = sign_in(1);
    patch.deadlines = Some(reset(1));
    committed(store.commit(&key(1), &patch).await.unwrap());
    let index = format!("cloakroom:owner:{}", "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE");
    let lasts = async || -> u64 { cluster.owner_of(&index).await.command(&["PTTL", &index]).await.parse().unwrap() };
    let day = 24 * 3_600_000;
    assert!(lasts().await < 2 * day);
    patch.owner = None;
    patch.deadlines = Some(reset(20));
    committed(store.commit(&key(1), &patch).await.unwrap());
    assert!(lasts().await > 20 * day);
    assert_eq!(store.by_owner(&owner(1).hash).await.unwrap().len(), 1, "two entries of one session are one session");
}

#[tokio::test]
async fn a_sign_in_that_is_interrupted_leaves_an_entry_that_nobody_sees() {
    let cluster = needs!(RedisCluster::start().await);
    let store = open(&cluster).await;
    // The entry is written, the session is not: it does not exist.
    assert_eq!(store.commit(&key(1), &sign_in(1)).await.unwrap(), CommitOutcome::Gone);
    assert!(store.by_owner(&owner(1).hash).await.unwrap().is_empty());
    assert_eq!(store.delete_by_owner(&owner(1).hash, None).await.unwrap(), 0);
    // The entry is young, so a commit that was still under way would be listed.
    store.create(&key(1), record(&[])).await.unwrap();
    committed(store.commit(&key(1), &sign_in(1)).await.unwrap());
    assert_eq!(store.by_owner(&owner(1).hash).await.unwrap().len(), 1);
}

/// Signing in is two writes there, on two nodes. Whichever of them or of their answers is lost, nobody is signed in and unlisted.
#[tokio::test]
async fn whatever_of_a_sign_in_is_lost_no_live_session_is_unlisted() {
    let cluster = needs!(RedisCluster::start().await);
    let here = open(&cluster).await;
    let (n, [record_node, index_node], index) = parted(&cluster).await;
    let mut new = record(&[]);
    new.header.owner = Some(owner(n));

    for (node, key_of_it) in [(index_node, index), (record_node, FIRST.to_owned())] {
        let (proxy, store) = by_proxy(&cluster, node).await;
        for (lost, verb) in [("request", "create"), ("reply", "create"), ("request", "commit"), ("reply", "commit")] {
            // Both nodes know the scripts, and the connections are back.
            for _ in 0..2 {
                eventually(async || store.create(&key(1), record(&[])).await.ok()).await;
                eventually(async || store.commit(&key(1), &sign_in(n)).await.ok()).await;
                eventually(async || store.delete(&key(1)).await.ok()).await;
            }
            if verb == "commit" {
                here.create(&key(1), record(&[])).await.unwrap();
            }
            match lost {
                "request" => proxy.drop_next_request_with(&key_of_it),
                _ => proxy.drop_reply_of_next_request_with(&key_of_it),
            }
            let failed = match verb {
                "create" => store.create(&key(1), new.clone()).await.is_err(),
                _ => store.commit(&key(1), &sign_in(n)).await.is_err(),
            };
            assert!(failed && proxy.has_struck(), "{verb}: the {lost} at {key_of_it} was lost");
            let there = here.load(&key(1), &presented(), &Want::default()).await.unwrap();
            let signed_in = there.is_some_and(|record| record.header.owner.is_some());
            let listed = here.by_owner(&owner(n).hash).await.unwrap().len();
            assert_eq!(listed, usize::from(signed_in), "{verb}, {lost} at {key_of_it}: alive and unlisted");
            assert_eq!(signed_in, key_of_it == FIRST && lost == "reply", "{verb}, {lost} at {key_of_it}");
            here.delete(&key(1)).await.unwrap();
        }
    }
}

/// Ending the sessions of an owner goes to both nodes: for the names, to each session, and for the entries.
#[tokio::test]
async fn whatever_of_an_ending_is_lost_no_live_session_is_unlisted() {
    let cluster = needs!(RedisCluster::start().await);
    let here = open(&cluster).await;
    let (n, [record_node, index_node], index) = parted(&cluster).await;
    let mut owned = record(&[]);
    owned.header.owner = Some(owner(n));
    // What is lost, and whether the call says so and the session has ended. A look is made again, and an entry too many does no harm.
    for (node, lost, of, fails, ended) in [
        (index_node, "request", index.as_str(), false, true),
        (index_node, "reply", &index, false, true),
        (record_node, "request", FIRST, true, false),
        (record_node, "reply", FIRST, true, true),
        (index_node, "request", "ZREM", false, true),
        (index_node, "reply", "ZREM", false, true),
    ] {
        let (proxy, store) = by_proxy(&cluster, node).await;
        for _ in 0..2 {
            // Both nodes know the scripts.
            eventually(async || store.create(&key(1), owned.clone()).await.ok()).await;
            eventually(async || store.delete_by_owner(&owner(n).hash, None).await.ok()).await;
        }
        here.create(&key(1), owned.clone()).await.unwrap();
        match lost {
            "request" => proxy.drop_next_request_with(of),
            _ => proxy.drop_reply_of_next_request_with(of),
        }
        let outcome = eventually(async || {
            let outcome = store.delete_by_owner(&owner(n).hash, None).await;
            proxy.has_struck().then_some(outcome)
        });
        let outcome = outcome.await;
        assert_eq!(outcome.is_err(), fails, "{lost} of {of}: {outcome:?}");
        let alive = peek(&here, 1).await.is_some();
        assert_eq!(alive, !ended, "{lost} of {of}");
        assert_eq!(here.by_owner(&owner(n).hash).await.unwrap().len(), usize::from(alive), "{lost} of {of}");
        assert_eq!(
            here.delete_by_owner(&owner(n).hash, None).await.unwrap(),
            u64::from(alive),
            "a repeated call ends the rest"
        );
    }
}

#[tokio::test]
async fn entries_without_a_session_are_dropped_once_no_commit_is_due() {
    let cluster = needs!(RedisCluster::start().await);
    let store = open(&cluster).await;
    let index = "cloakroom:owner:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE";
    let node = cluster.owner_of(index).await;
    let now = 1_000 * node.command(&["TIME"]).await.lines().next().unwrap().parse::<u64>().unwrap();
    let name = |letter: &str| letter.repeat(21) + "A";
    for delete in [false, true] {
        for (member, until) in [
            (name("A"), 9_999_999_999_999),
            (name("B"), 9_999_999_999_999),
            (format!("+{}", name("B")), now - 10_000),
            (name("C"), 9_999_999_999_999),
            (format!("+{}", name("C")), now + 300_000),
        ] {
            node.command(&["ZADD", index, &until.to_string(), &member]).await;
        }
        if delete {
            assert_eq!(store.delete_by_owner(&owner(1).hash, None).await.unwrap(), 0);
        } else {
            assert!(store.by_owner(&owner(1).hash).await.unwrap().is_empty());
        }
        let left = node.command(&["ZRANGE", index, "0", "-1"]).await;
        let left: Vec<&str> = left.lines().filter(|member| !member.starts_with('+')).collect();
        assert_eq!(left, [name("C")], "its commit may be under way");
    }
}

/// The index of a former owner still names the session, for it lies on another node.
#[tokio::test]
async fn a_session_that_has_another_owner_now_is_not_the_former_ones_to_end() {
    let cluster = needs!(RedisCluster::start().await);
    let store = open(&cluster).await;
    store.create(&key(1), record(&[])).await.unwrap();
    committed(store.commit(&key(1), &sign_in(1)).await.unwrap());
    committed(store.commit(&key(1), &sign_in(2)).await.unwrap());
    let index = "cloakroom:owner:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE";
    let entry = cluster.owner_of(index).await.command(&["ZSCORE", index, "AQEBAQEBAQEBAQEBAQEBAQ"]).await;
    assert!(!entry.is_empty(), "the former owner's entry is there");
    assert_eq!(store.delete_by_owner(&owner(1).hash, None).await.unwrap(), 0);
    assert_eq!(peek(&store, 1).await.unwrap().header.owner, Some(owner(2)));
    assert_eq!(store.delete_by_owner(&owner(2).hash, None).await.unwrap(), 1);
}

/// The commit that loses may have been for a shorter time than what is stored.
#[tokio::test]
async fn a_commit_that_fails_takes_no_time_from_the_entry_of_its_session() {
    let cluster = needs!(RedisCluster::start().await);
    let store = open(&cluster).await;
    store.create(&key(1), record(&[])).await.unwrap();
    committed(store.commit(&key(1), &sign_in(1)).await.unwrap());
    let index = "cloakroom:owner:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE";
    let node = cluster.owner_of(index).await;
    let score = async || node.command(&["ZSCORE", index, "AQEBAQEBAQEBAQEBAQEBAQ"]).await.parse::<f64>().unwrap();
    let before = score().await;
    let mut late = sign_in(1);
    late.epoch = 7;
    let (created, last_seen, soon) = (NOW, NOW, NOW.plus(HOUR));
    late.deadlines = Some(Deadlines::Reset { created, last_seen, idle_until: soon, absolute_until: soon });
    assert_eq!(store.commit(&key(1), &late).await.unwrap(), CommitOutcome::Gone);
    assert!(score().await >= before);
}

#[tokio::test]
async fn sessions_are_served_while_their_slot_moves_and_after() {
    let cluster = needs!(RedisCluster::start().await);
    let store = open(&cluster).await;
    store.create(&key(1), record(&[put("shop/a", b"1")])).await.unwrap();
    let from = cluster.owner_of(FIRST).await;
    let to = cluster.nodes().iter().find(|node| node.address() != from.address()).unwrap();
    let slot = from.command(&["CLUSTER", "KEYSLOT", FIRST]).await;
    let (from_id, to_id) = (from.command(&["CLUSTER", "MYID"]).await, to.command(&["CLUSTER", "MYID"]).await);
    assert_eq!(to.command(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id]).await, "OK");
    assert_eq!(from.command(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_id]).await, "OK");
    committed(store.commit(&key(1), &patch(&[put("shop/a", b"2")])).await.unwrap());
    let port = to.address().port().to_string();
    assert_eq!(from.command(&["MIGRATE", "127.0.0.1", &port, FIRST, "0", "5000"]).await, "OK");
    // The old node answers ASK now.
    assert_eq!(load(&store, 1).await.unwrap().cells.get("shop/a").unwrap().body, value(b"2"));
    committed(store.commit(&key(1), &patch(&[put("shop/a", b"3")])).await.unwrap());
    for node in cluster.nodes() {
        assert_eq!(node.command(&["CLUSTER", "SETSLOT", &slot, "NODE", &to_id]).await, "OK");
    }
    // And MOVED now.
    committed(store.commit(&key(1), &patch(&[put("shop/a", b"4")])).await.unwrap());
    assert_eq!(load(&store, 1).await.unwrap().header.revision, 4);
    assert_all_expire(to).await;
}

#[tokio::test]
async fn an_answer_that_a_cluster_lost_is_unknown_and_nothing_is_sent_twice() {
    let cluster = needs!(RedisCluster::start().await);
    let node = cluster.owner_of(FIRST).await.address();
    let (proxy, store) = by_proxy(&cluster, node).await;
    store.create(&key(1), record(&[])).await.unwrap();
    // Now the node knows the script.
    committed(store.commit(&key(1), &patch(&[put("shop/a", b"0")])).await.unwrap());

    proxy.drop_reply_of_next_request_with("shop/a");
    let lost = store.commit(&key(1), &patch(&[put("shop/a", b"1")])).await;
    assert!(matches!(lost, Err(StoreError::OutcomeUnknown(_))), "{lost:?}");
    assert!(proxy.has_struck());
    let there = eventually(async || store.load(&key(1), &presented(), &Want::default()).await.ok().flatten()).await;
    assert_eq!(there.header.revision, 3, "applied once");
}

#[tokio::test]
async fn a_cluster_that_was_away_as_a_whole_serves_on_when_it_is_back() {
    let cluster = needs!(RedisCluster::start().await);
    let store = open(&cluster).await;
    store.create(&key(1), record(&[])).await.unwrap();
    for node in cluster.nodes() {
        node.kill();
    }
    for _ in 0..5 {
        let start = Instant::now();
        assert!(store.load(&key(1), &presented(), &Want::default()).await.is_err());
        assert!(start.elapsed() < Duration::from_secs(1), "it fails fast");
    }
    for node in cluster.nodes() {
        node.start_again().await;
    }
    eventually(async || store.load(&key(1), &presented(), &Want::default()).await.ok().flatten()).await;
    committed(eventually(async || store.commit(&key(1), &patch(&[put("shop/a", b"1")])).await.ok()).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_primary_that_dies_under_load_is_followed_and_no_session_is_torn() {
    let cluster = needs!(RedisCluster::with_replicas().await);
    let store = open(&cluster).await;
    let sessions: Vec<u8> = (1..=40).collect();
    for n in &sessions {
        store.create(&key(*n), record(&[])).await.unwrap();
    }
    let stop = Arc::new(AtomicBool::new(false));
    let acknowledged = Arc::new(Mutex::new(BTreeMap::<u8, Vec<u64>>::new()));
    let mut writers = tokio::task::JoinSet::new();
    for chunk in sessions.chunks(5) {
        let (store, stop, acknowledged, chunk) = (store.clone(), Arc::clone(&stop), Arc::clone(&acknowledged), chunk.to_vec());
        writers.spawn(async move {
            let mut failures = 0;
            for round in (0u32..).take_while(|_| !stop.load(Ordering::Relaxed)) {
                for n in &chunk {
                    let bytes = round.to_le_bytes();
                    match store.commit(&key(*n), &patch(&[put("shop/a", &bytes), put("shop/b", &bytes)])).await {
                        Ok(outcome) => acknowledged.lock().unwrap().entry(*n).or_default().push(committed(outcome)),
                        Err(_) => {
                            failures += 1;
                            tokio::time::sleep(Duration::from_millis(10)).await;
                        }
                    }
                }
            }
            failures
        });
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let primary = cluster.owner_of(FIRST).await;
    // Replication is asynchronous: what the replica has, it keeps; what it has not yet when its primary dies is lost, however little or
    // much that is. So this asks for all that was acknowledged before the replica was seen to have it, and for nothing after that.
    let secured = acknowledged.lock().unwrap().clone();
    cluster.replica_of(primary).caught_up_with(primary).await;
    cluster.fail_over(primary).await;
    eventually(async || store.commit(&key(1), &patch(&[put("shop/c", b"1")])).await.ok()).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    stop.store(true, Ordering::Relaxed);
    let failures: usize = writers.join_all().await.into_iter().sum();
    assert!(failures > 0, "the primary died while it was written to");
    let mut secure = 0;
    for n in &sessions {
        let there = eventually(async || store.load(&key(*n), &presented(), &Want::default()).await.ok())
            .await
            .expect("no session is lost");
        let body = |name| there.cells.get(name).map(|cell| cell.body.clone());
        assert_eq!(body("shop/a"), body("shop/b"), "no half patch");
        // A commit that was lost gave its revision to another one, so no revision up to the last secured one is acknowledged twice.
        let last = secured.get(n).and_then(|revisions| revisions.last()).copied().unwrap_or(1);
        let all = &acknowledged.lock().unwrap()[n];
        let mut kept: Vec<u64> = all.iter().copied().filter(|revision| *revision <= last).collect();
        kept.sort_unstable();
        assert!(kept.windows(2).all(|pair| pair[0] != pair[1]), "session {n} lost a commit that the replica had: {kept:?}");
        assert!(there.header.revision >= last, "session {n} went back to {} from {last}", there.header.revision);
        secure += kept.len();
    }
    assert!(secure >= sessions.len(), "every session was written to before");
    for node in cluster.nodes().iter().filter(|node| node.address() != primary.address()) {
        if node.info("role").await == "master" {
            assert_all_expire(node).await;
        }
    }
}

#[tokio::test]
async fn an_index_that_a_node_lost_is_there_again_at_the_first_use_in_another_hour() {
    let cluster = needs!(RedisCluster::start().await);
    let store = open(&cluster).await;
    store.create(&key(1), record(&[])).await.unwrap();
    committed(store.commit(&key(1), &sign_in(1)).await.unwrap());
    let listed = async || store.by_owner(&owner(1).hash).await.unwrap().len();
    let mut deleted = 0;
    for node in cluster.nodes() {
        let index = node.command(&["KEYS", "cloakroom:owner:*"]).await;
        deleted += u32::from(!index.is_empty() && node.command(&["DEL", &index]).await == "1");
    }
    assert_eq!((deleted, listed().await), (1, 0));
    let at =
        |hash, minutes: u32| Presented::new(hash, NOW.plus(minutes * HOUR / 60), Lifetime::new(24 * HOUR, 24 * HOUR).unwrap());
    for (presented, expected) in
        [(at(secret(), 30), 0), (at(SecretHash::from_bytes([9; 32]), 70), 0), (at(secret(), 70), 1), (at(secret(), 190), 1)]
    {
        store.load(&key(1), &presented, &Want::default()).await.unwrap().unwrap();
        assert_eq!(listed().await, expected);
    }
    assert_eq!(store.delete_by_owner(&owner(1).hash, None).await.unwrap(), 1);
}

#[tokio::test]
async fn one_node_of_a_cluster_is_not_taken_for_a_server() {
    let cluster = needs!(RedisCluster::start().await);
    for url in cluster.urls() {
        let error = RedisStore::connect(&url).await.unwrap_err().to_string();
        assert!(error.contains("use RedisStore::cluster"), "{error}");
    }
}

#[tokio::test]
async fn a_user_of_a_cluster_needs_one_right_more_and_is_told_which() {
    let cluster = needs!(RedisCluster::start().await);
    let urls: Vec<String> = cluster.urls().iter().map(|url| url.replace("redis://", "redis://shop:pass@")).collect();
    let allow = async |rights: &str| {
        for node in cluster.nodes() {
            let user = format!("ACL SETUSER shop reset on >pass ~cloakroom:* {rights}");
            assert_eq!(node.command(&user.split(' ').collect::<Vec<_>>()).await, "OK");
        }
    };
    allow("+@read +@write +@scripting +@connection +time").await;
    let error = RedisStore::cluster(&urls).await.unwrap_err().to_string();
    assert!(error.contains("+@read +@write +@scripting +@connection +time +cluster|slots"), "{error}");
    allow("+@read +@write +@scripting +@connection +time +cluster|slots").await;
    let store = RedisStore::cluster(&urls).await.unwrap();
    store.create(&key(1), record(&[])).await.unwrap();
    committed(store.commit(&key(1), &sign_in(1)).await.unwrap());
    assert!(load(&store, 1).await.is_some());
    assert_eq!(store.by_owner(&owner(1).hash).await.unwrap().len(), 1);
    assert_eq!(store.delete_by_owner(&owner(1).hash, None).await.unwrap(), 1);
    assert_eq!(store.sweep(NOW, 10).await.unwrap(), 0);
}
