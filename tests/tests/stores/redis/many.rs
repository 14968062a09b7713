//! Owners of very many sessions: they are listed and ended in steps, none of which keeps a server from its other clients for long.

use super::fixture::*;
use base64ct::{Base64UrlUnpadded, Encoding as _};
use cloakroom::{
    record::*,
    store::{RedisStore, SessionStore},
};
use cloakroom_tests::{
    needs,
    servers::{Proxy, RedisCluster, RedisServer, Server as _},
};
use std::{collections::BTreeSet, ops::Range, time::Duration};

/// As many as kept one server from all else for half a second, and made a cluster fail, when all were one step.
const MANY: u32 = 40_000;

const INDEX: &str = "cloakroom:owner:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE";

/// For each step, on a machine that is busy with other tests. All of them together take longer.
const STEP_LIMIT: Duration = Duration::from_secs(5);

async fn patient(server: &RedisServer) -> RedisStore {
    RedisStore::connect(server.url()).timeout(STEP_LIMIT).await.unwrap()
}

fn nth(n: u32) -> Selector {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&n.to_le_bytes());
    Selector::from_bytes(bytes)
}

/// Writes sessions of [`owner`]`(1)` and their entries, as the store does, but many at once. A node of a cluster takes those of its slots.
async fn plant(nodes: &[RedisServer], sessions: Range<u32>) {
    let (now, idle, absolute) = (NOW.as_millis(), NOW.plus(HOUR).as_millis(), NOW.plus(24 * HOUR).as_millis());
    let header = format!(
        "__rev 1 __epoch 0 __created {now} __seen {now} __idle {idle} __absolute {absolute} __key {} __owner {}shop",
        "k".repeat(64),
        &INDEX[INDEX.len() - 43..],
    );
    let names: Vec<String> = sessions.map(|n| Base64UrlUnpadded::encode_string(nth(n).as_bytes())).collect();
    let mut commands = vec![];
    for name in &names {
        commands.push(format!("HSET cloakroom:{{{name}}} {header}"));
        commands.push(format!("PEXPIRE cloakroom:{{{name}}} 7200000"));
    }
    for names in names.chunks(500) {
        let entries: String = names.iter().map(|name| format!(" 9999999999999 {name}")).collect();
        commands.push(format!("ZADD {INDEX}{entries}"));
    }
    commands.push(format!("PEXPIRE {INDEX} 90000000"));
    let commands = commands.into();
    for node in nodes {
        node.commands(&commands).await;
    }
}

/// How many sessions and indexes there are.
async fn keys(nodes: &[RedisServer]) -> u64 {
    let mut keys = 0;
    for node in nodes {
        keys += node.command(&["DBSIZE"]).await.parse::<u64>().unwrap();
    }
    keys
}

/// All of them are listed, all but one are ended, and no script took long.
async fn are_listed_and_ended(store: RedisStore, nodes: &[RedisServer]) {
    plant(nodes, 0..MANY).await;
    assert_eq!(keys(nodes).await, u64::from(MANY) + 1);
    for node in nodes {
        assert_eq!(node.command(&["CONFIG", "RESETSTAT"]).await, "OK");
    }
    let listed = store.by_owner(&owner(1).hash).await.unwrap();
    let distinct: BTreeSet<Selector> = listed.iter().map(|(key, _)| *key).collect();
    assert_eq!((listed.len(), distinct.len()), (MANY as usize, MANY as usize), "each of them once");
    assert!(listed.iter().all(|(_, header)| header.owner == Some(owner(1))));

    let spared = nth(7);
    assert_eq!(store.delete_by_owner(&owner(1).hash, Some(&spared)).await.unwrap(), u64::from(MANY) - 1);
    assert_eq!(store.by_owner(&owner(1).hash).await.unwrap().iter().map(|(key, _)| *key).collect::<Vec<_>>(), [spared]);
    for node in nodes {
        // On average, since a busy machine may hold up any single one.
        let took = node.command(&["INFO", "commandstats"]).await;
        for command in took.lines().filter(|line| line.starts_with("cmdstat_eval")) {
            let microseconds: f64 = command.split("usec_per_call=").nth(1).unwrap().split(',').next().unwrap().parse().unwrap();
            println!("{command}");
            assert!(microseconds < 10_000.0, "{command}");
        }
    }
    assert_eq!(store.delete_by_owner(&owner(1).hash, None).await.unwrap(), 1);
    assert_eq!(keys(nodes).await, 0, "and no entry is left");
}

#[tokio::test]
async fn forty_thousand_sessions_of_one_owner_are_listed_and_ended() {
    let server = needs!(RedisServer::start().await);
    are_listed_and_ended(patient(&server).await, std::slice::from_ref(&server)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forty_thousand_sessions_in_a_cluster_are_listed_and_ended() {
    let cluster = needs!(RedisCluster::start().await);
    are_listed_and_ended(RedisStore::cluster(cluster.urls()).timeout(STEP_LIMIT).await.unwrap(), cluster.nodes()).await;
}

/// The call is given up after some steps, as by a client that leaves.
#[tokio::test]
async fn ending_many_sessions_that_was_interrupted_goes_on_where_it_was() {
    let server = needs!(RedisServer::start().await);
    let nodes = std::slice::from_ref(&server);
    plant(nodes, 0..MANY / 4).await;
    let proxy = Proxy::before(server.address()).await;
    let store = RedisStore::connect(proxy.url_like(&server.url())).await.unwrap();
    let before = proxy.counts();
    let some_steps = async {
        while (proxy.counts() - before).round_trips < 10 {
            tokio::task::yield_now().await;
        }
    };
    let everyone = owner(1).hash;
    tokio::select! {
        biased;
        () = some_steps => {}
        done = store.delete_by_owner(&everyone, None) => panic!("it took few steps: {done:?}"),
    }
    // What is under way is done before this is answered.
    let left = store.by_owner(&everyone).await.unwrap().len() as u64;
    assert!(left > 0 && left < u64::from(MANY / 4) - 1_000, "{left} are left");
    assert_eq!(store.delete_by_owner(&everyone, None).await.unwrap(), left);
    assert_eq!(keys(nodes).await, 0);
}

/// The server moves the entries of an index about while it grows and shrinks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_session_is_missed_while_others_come_and_go() {
    let server = needs!(RedisServer::start().await);
    let nodes = std::slice::from_ref(&server);
    let store = patient(&server).await;
    let everyone = owner(1).hash;
    let first = 0..1_000;
    let all_of_first = |listed: Vec<(Selector, Header)>| {
        let listed: BTreeSet<Selector> = listed.into_iter().map(|(key, _)| key).collect();
        first.clone().filter(|n| listed.contains(&nth(*n))).count()
    };
    plant(nodes, first.clone()).await;
    let look = async {
        for _ in 0..3 {
            assert_eq!(all_of_first(store.by_owner(&everyone).await.unwrap()), 1_000);
        }
    };
    tokio::join!(plant(nodes, 10_000..18_000), look);
    let (deleted, ()) = tokio::join!(store.delete_by_owner(&everyone, None), plant(nodes, 20_000..28_000));
    assert!(deleted.unwrap() >= 9_000);
    assert_eq!(all_of_first(store.by_owner(&everyone).await.unwrap()), 0, "what was there from the beginning is ended");
}
