//! Real contention: many writers of one session over several stores.

use super::fixture::*;
use cloakroom::{
    record::*,
    store::{RedisStore, SessionStore},
};
use cloakroom_tests::{
    needs,
    servers::{RedisCluster, RedisServer},
};
use tokio::task::JoinSet;

async fn stores(server: &RedisServer) -> Vec<RedisStore> {
    let mut stores = Vec::new();
    for _ in 0..4 {
        stores.push(store(server).await);
    }
    stores
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn thirty_two_writers_over_four_stores_lose_nothing() {
    let server = needs!(RedisServer::start().await);
    let stores = stores(&server).await;
    stores[0].create(&key(1), record(&[])).await.unwrap();
    let mut writers = JoinSet::new();
    for n in 0..32u8 {
        let store = stores[usize::from(n) % 4].clone();
        writers.spawn(async move {
            for round in 0..20u8 {
                committed(store.commit(&key(1), &patch(&[put(&format!("shop/{n}"), &[round])])).await.unwrap());
            }
        });
    }
    writers.join_all().await;
    let there = peek(&stores[0], 1).await.unwrap();
    assert_eq!(there.header.revision, 1 + 32 * 20);
    for n in 0..32 {
        assert_eq!(there.cells.get(&format!("shop/{n}")).unwrap().body, value(&[19]));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn guarded_increments_over_four_stores_add_up() {
    let server = needs!(RedisServer::start().await);
    let stores = stores(&server).await;
    stores[0].create(&key(1), record(&[put("shop/n", &0u64.to_le_bytes())])).await.unwrap();
    let number = |cell: &Cell| u64::from_le_bytes(cell.body.content.payload().unwrap()[..].try_into().unwrap());
    let mut writers = JoinSet::new();
    for n in 0..16 {
        let store = stores[n % 4].clone();
        writers.spawn(async move {
            let mut known = peek(&store, 1).await.unwrap().cells.get("shop/n").unwrap().clone();
            let mut done = 0;
            while done < 20 {
                let mut change = patch(&[put("shop/n", &(number(&known) + 1).to_le_bytes())]);
                change.guards = vec![Guard { key: known.key.clone(), stamp: known.stamp }];
                match store.commit(&key(1), &change).await.unwrap() {
                    CommitOutcome::Committed { revision, .. } => {
                        known = Cell::new(known.key.clone(), revision, change.puts[0].body.clone());
                        done += 1;
                    }
                    CommitOutcome::Conflict { mut cells } => known = cells.pop().unwrap(),
                    CommitOutcome::Gone => panic!("gone"),
                }
            }
        });
    }
    writers.join_all().await;
    assert_eq!(number(peek(&stores[0], 1).await.unwrap().cells.get("shop/n").unwrap()), 320);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_wipe_among_writers_leaves_only_cells_of_later_revisions() {
    let server = needs!(RedisServer::start().await);
    let stores = stores(&server).await;
    stores[0].create(&key(1), record(&[])).await.unwrap();
    for _ in 0..20 {
        let mut writers = JoinSet::new();
        for n in 0..8u8 {
            let store = stores[usize::from(n) % 4].clone();
            writers.spawn(async move {
                committed(store.commit(&key(1), &patch(&[put(&format!("shop/{n}"), b"1")])).await.unwrap());
                0
            });
        }
        let store = stores[3].clone();
        writers.spawn(async move {
            let mut wipe = patch(&[]);
            wipe.wipe_except = Some(vec![]);
            committed(store.commit(&key(1), &wipe).await.unwrap())
        });
        let wiped = writers.join_all().await.into_iter().max().unwrap();
        let there = peek(&stores[0], 1).await.unwrap();
        assert!(there.cells.iter().all(|cell| cell.stamp > wiped), "{wiped}: {:?}", there.cells);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_delete_among_writers_readers_and_sign_ins_leaves_nothing() {
    let server = needs!(RedisServer::start().await);
    let stores = stores(&server).await;
    for _ in 0..20 {
        stores[0].create(&key(1), record(&[])).await.unwrap();
        let mut busy = JoinSet::new();
        for n in 0..12 {
            let store = stores[n % 4].clone();
            busy.spawn(async move {
                for round in 0..5 {
                    match (n + round) % 4 {
                        0 => drop(store.commit(&key(1), &sign_in(1)).await.unwrap()),
                        1 => drop(load(&store, 1).await),
                        2 if n == 6 => store.delete(&key(1)).await.unwrap(),
                        _ => drop(store.commit(&key(1), &patch(&[put("shop/a", b"1")])).await.unwrap()),
                    }
                }
            });
        }
        busy.join_all().await;
        assert_eq!(server.command(&["DBSIZE"]).await, "0");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whoever_signs_in_during_a_revocation_is_ended_or_listed() {
    let server = needs!(RedisServer::start().await);
    let stores = stores(&server).await;
    for _ in 0..20 {
        let mut busy = JoinSet::new();
        for n in 1..=8u8 {
            let store = stores[usize::from(n) % 4].clone();
            busy.spawn(async move {
                store.create(&key(n), record(&[])).await.unwrap();
                drop(store.commit(&key(n), &sign_in(1)).await.unwrap());
            });
        }
        let store = stores[0].clone();
        busy.spawn(async move {
            store.delete_by_owner(&owner(1).hash, None).await.unwrap();
        });
        busy.join_all().await;
        let listed = stores[0].by_owner(&owner(1).hash).await.unwrap();
        let mut alive = 0;
        for n in 1..=8 {
            alive += usize::from(peek(&stores[0], n).await.is_some());
        }
        assert_eq!(alive, listed.len());
        stores[0].delete_by_owner(&owner(1).hash, None).await.unwrap();
    }
}

/// Sessions go to another owner while the former one's are ended. Each is ended or handed over, never both.
async fn are_ended_or_handed_over(stores: Vec<RedisStore>) {
    const SESSIONS: u8 = 24;
    let mut handed = 0;
    for _ in 0..12 {
        for n in 1..=SESSIONS {
            let mut record = record(&[]);
            record.header.owner = Some(owner(1));
            assert_eq!(stores[0].create(&key(n), record).await.unwrap(), CreateOutcome::Created);
        }
        let mut handovers = JoinSet::new();
        for n in 1..=SESSIONS {
            let store = stores[usize::from(n) % stores.len()].clone();
            handovers.spawn(async move { (n, store.commit(&key(n), &sign_in(2)).await.unwrap()) });
        }
        let former = owner(1).hash;
        let (ended, handovers) = tokio::join!(stores[0].delete_by_owner(&former, None), handovers.join_all());
        let mut alive = 0;
        for (n, outcome) in handovers {
            let there = peek(&stores[0], n).await.and_then(|record| record.header.owner);
            match outcome {
                CommitOutcome::Committed { .. } => assert_eq!(there, Some(owner(2)), "a newcomer's session was ended"),
                _ => assert_eq!(there, None, "it was ended before, so it is gone"),
            }
            alive += u64::from(there.is_some());
        }
        assert_eq!(ended.unwrap() + alive, u64::from(SESSIONS), "each is counted where it went");
        handed += alive;
        assert_eq!(stores[0].delete_by_owner(&owner(2).hash, None).await.unwrap(), alive);
    }
    assert!(handed > 0, "none was handed over in time, so nothing was tested");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_session_that_is_handed_over_is_not_ended_for_its_former_owner() {
    let server = needs!(RedisServer::start().await);
    are_ended_or_handed_over(stores(&server).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn in_a_cluster_a_session_handed_over_is_not_ended_for_its_former_owner() {
    let cluster = needs!(RedisCluster::start().await);
    let mut stores = Vec::new();
    for _ in 0..4 {
        stores.push(RedisStore::cluster(cluster.urls()).await.unwrap());
    }
    are_ended_or_handed_over(stores).await;
}
