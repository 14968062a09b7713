//! Many at once: nothing is lost, nothing comes back, nothing is left behind, nobody waits for ever.

use super::*;
use cloakroom::record::{Guard, OwnerChange};

/// Several processes' worth of stores over the same tables.
async fn stores(server: &PostgresServer, count: usize) -> Vec<PostgresStore> {
    let mut stores = vec![store(server).await];
    while stores.len() < count {
        stores.push(patient(PostgresStore::connect(server.url())).await.unwrap());
    }
    stores
}

async fn rows(server: &PostgresServer, table: &str) -> String {
    server.sql(&format!("SELECT count(*) FROM cloakroom_{table}")).await
}

async fn somebody_waits(server: &PostgresServer) {
    eventually("somebody waits for a lock", async || {
        server.sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'").await == "1"
    })
    .await;
}

/// Adds one to a number, as a request with a merge rule does, until its guard holds.
async fn add_one(store: &PostgresStore, key: &Selector) -> u32 {
    let mut attempts = 0;
    loop {
        attempts += 1;
        let now = load(store, key).await.unwrap().unwrap();
        let cell = now.cells.get("shop/views").unwrap();
        let views = u64::from_le_bytes(cell.body.content.payload().unwrap()[..].try_into().unwrap());
        let mut add = patch(&[put("shop/views", &(views + 1).to_le_bytes())]);
        add.guards = vec![Guard { key: "shop/views".into(), stamp: cell.stamp }];
        match store.commit(key, &add).await.unwrap() {
            CommitOutcome::Committed { .. } => return attempts,
            CommitOutcome::Conflict { cells } => assert!(cells[0].stamp > cell.stamp, "the cell as it is now"),
            CommitOutcome::Gone => panic!("nobody deleted it"),
        }
    }
}

async fn guarded_increments_add_up_over(stores: Vec<PostgresStore>) {
    let key = key(1);
    create(&stores[0], &key, &record(&[put("shop/views", &0u64.to_le_bytes())])).await;
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..16 {
        let store = stores[n % stores.len()].clone();
        tasks.spawn(async move {
            let mut attempts = 0;
            for _ in 0..20 {
                attempts += add_one(&store, &key).await;
            }
            attempts
        });
    }
    let attempts: u32 = tasks.join_all().await.into_iter().sum();
    let there = load(&stores[0], &key).await.unwrap().unwrap();
    let views = there.cells.get("shop/views").unwrap();
    assert_eq!(views.body.content.payload().map(|payload| payload.to_vec()), Some(320u64.to_le_bytes().to_vec()));
    assert_eq!(there.header.revision, 321);
    assert!(attempts > 340, "{attempts} attempts for 320 additions: there was no contention to speak of");
}

#[tokio::test(flavor = "multi_thread")]
async fn guarded_increments_from_four_stores_add_up() {
    let server = needs!(PostgresServer::start().await);
    guarded_increments_add_up_over(stores(&server, 4).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn guarded_increments_add_up_on_clients_whose_transactions_are_repeatable_reads() {
    let server = needs!(PostgresServer::start().await);
    server.sql("ALTER DATABASE cloakroom SET default_transaction_isolation = 'repeatable read'").await;
    let first = made(patient(pooled(server.url()))).await;
    let second = patient(pooled(server.url())).await.unwrap();
    guarded_increments_add_up_over(vec![first, second]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_waited_for_another_sees_what_that_one_wrote() {
    let server = needs!(PostgresServer::start().await);
    let store = store(&server).await;
    create(&store, &key(1), &record(&[put("shop/views", b"1")])).await;
    // Somebody else's commit, which stays open until the second one waits for it.
    let other = client(&server.url()).await;
    other
        .batch_execute("BEGIN; UPDATE cloakroom_record SET revision = revision + 1; UPDATE cloakroom_cell SET stamp = 2")
        .await
        .unwrap();
    let mut guarded = patch(&[put("shop/views", b"2")]);
    guarded.guards = vec![Guard { key: "shop/views".into(), stamp: 1 }];
    let waiting = tokio::spawn({
        let store = store.clone();
        async move { store.commit(&key(1), &guarded).await }
    });
    somebody_waits(&server).await;
    other.batch_execute("COMMIT").await.unwrap();
    let CommitOutcome::Conflict { cells } = waiting.await.unwrap().unwrap() else { panic!("the guard no longer holds") };
    assert_eq!(cells[0].stamp, 2);
    assert_eq!(load(&store, &key(1)).await.unwrap().unwrap().header.revision, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_that_waited_for_a_commit_takes_what_that_one_added() {
    let server = needs!(PostgresServer::start().await);
    let store = store(&server).await;
    create(&store, &key(1), &record(&[put("shop/a", b"1")])).await;
    let other = client(&server.url()).await;
    let adding = "BEGIN; UPDATE cloakroom_record SET revision = 2;
         INSERT INTO cloakroom_cell SELECT selector, 'shop/new', 2, body FROM cloakroom_cell";
    other.batch_execute(adding).await.unwrap();
    let waiting = tokio::spawn({
        let store = store.clone();
        async move { store.delete(&key(1)).await }
    });
    somebody_waits(&server).await;
    other.batch_execute("COMMIT").await.unwrap();
    waiting.await.unwrap().unwrap();
    assert_eq!((&*rows(&server, "record").await, &*rows(&server, "cell").await), ("0", "0"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_spares_a_session_that_changed_hands_while_it_waited() {
    let server = needs!(PostgresServer::start().await);
    let store = store(&server).await;
    let owner = Owner { schema: "shop".into(), hash: OwnerHash::from_bytes([9; 32]) };
    for n in 1..=2 {
        let mut owned = record(&[]);
        owned.header.owner = Some(owner.clone());
        create(&store, &key(n), &owned).await;
    }
    let other = client(&server.url()).await;
    let key_1 = "'\\x00000000000000010000000000000000'";
    let signing_out =
        format!("BEGIN; UPDATE cloakroom_record SET owner_hash = NULL, owner_schema = NULL WHERE selector = {key_1}");
    other.batch_execute(&signing_out).await.unwrap();
    let waiting = tokio::spawn({
        let store = store.clone();
        async move { store.delete_by_owner(&owner.hash, None).await }
    });
    somebody_waits(&server).await;
    other.batch_execute("COMMIT").await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap(), 1);
    assert!(load(&store, &key(1)).await.unwrap().is_some() && load(&store, &key(2)).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_waits_for_nobody_and_spares_what_is_being_used() {
    let server = needs!(PostgresServer::start().await);
    let store = store(&server).await;
    for n in 1..=3 {
        create(&store, &key(n), &record(&[put("shop/a", b"1")])).await;
    }
    let other = client(&server.url()).await;
    let key_1 = "'\\x00000000000000010000000000000000'";
    let rolling =
        format!("BEGIN; UPDATE cloakroom_record SET idle_until = 9e15, absolute_until = 9e15 WHERE selector = {key_1}");
    other.batch_execute(&rolling).await.unwrap();
    assert_eq!(store.sweep(at(24 * HOUR), 10).await.unwrap(), 2);
    other.batch_execute("COMMIT").await.unwrap();
    assert_eq!(store.sweep(at(24 * HOUR), 10).await.unwrap(), 0);
    assert_eq!(load(&store, &key(1)).await.unwrap().unwrap().cells.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn sixteen_writers_of_one_session_lose_nothing() {
    let server = needs!(PostgresServer::start().await);
    let stores = stores(&server, 4).await;
    create(&stores[0], &key(1), &record(&[])).await;
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..16u8 {
        let store = stores[usize::from(n) % 4].clone();
        tasks.spawn(async move {
            for round in 0..20u8 {
                let outcome = store.commit(&key(1), &patch(&[put(&format!("shop/{n}"), &[round])])).await.unwrap();
                assert!(is_committed(&outcome));
            }
        });
    }
    tasks.join_all().await;
    let there = load(&stores[0], &key(1)).await.unwrap().unwrap();
    assert_eq!((there.header.revision, there.cells.len()), (321, 16));
    assert!(there.cells.iter().all(|cell| cell.body == body(&[19])));
    let mut stamps: Vec<u64> = there.cells.iter().map(|cell| cell.stamp).collect();
    stamps.sort_unstable();
    stamps.dedup();
    assert_eq!(stamps.len(), 16, "no two commits had one revision");
}

#[tokio::test(flavor = "multi_thread")]
async fn deletions_among_commits_that_add_fields_leave_no_orphan() {
    let server = needs!(PostgresServer::start().await);
    let stores = stores(&server, 3).await;
    let owner = Owner { schema: "shop".into(), hash: OwnerHash::from_bytes([9; 32]) };
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..60u64 {
        let mut owned = record(&[put("shop/a", b"1")]);
        owned.header.owner = Some(owner.clone());
        create(&stores[0], &key(n), &owned).await;
        for field in 0..4 {
            let store = stores[field % 2].clone();
            tasks.spawn(async move {
                let fields: Vec<Put> = (0..4).map(|part| put(&format!("shop/{field}_{part}"), b"new")).collect();
                store.commit(&key(n), &patch(&fields)).await.unwrap();
            });
        }
        let (store, hash) = (stores[2].clone(), owner.hash);
        tasks.spawn(async move {
            match n % 3 {
                0 => store.delete(&key(n)).await.unwrap(),
                1 => drop(store.delete_by_owner(&hash, None).await.unwrap()),
                _ => drop(store.sweep(at(24 * HOUR), 3).await.unwrap()),
            }
        });
    }
    tasks.join_all().await;
    let orphans = server
        .sql("SELECT count(*) FROM cloakroom_cell AS c WHERE NOT EXISTS (SELECT FROM cloakroom_record AS r WHERE r.selector = c.selector)")
        .await;
    assert_eq!(orphans, "0");
    stores[0].delete_by_owner(&owner.hash, None).await.unwrap();
    assert_eq!((&*rows(&server, "record").await, &*rows(&server, "cell").await), ("0", "0"));
}

#[tokio::test(flavor = "multi_thread")]
async fn wipes_among_commits_that_add_fields_leave_what_came_after_them() {
    let server = needs!(PostgresServer::start().await);
    let stores = stores(&server, 2).await;
    create(&stores[0], &key(1), &record(&[])).await;
    for round in 0..30u8 {
        let mut wipe = patch(&[put("shop/kept", &[round])]);
        wipe.wipe_except = Some(Vec::new());
        let adding = patch(&[put("shop/a", &[round]), put("shop/b", &[round])]);
        let session = key(1);
        let (wiped, added) = tokio::join!(stores[0].commit(&session, &wipe), stores[1].commit(&session, &adding));
        let revision = |outcome| match outcome {
            CommitOutcome::Committed { revision, .. } => revision,
            other => panic!("{other:?}"),
        };
        let (wiped, added) = (revision(wiped.unwrap()), revision(added.unwrap()));
        let there = load(&stores[0], &key(1)).await.unwrap().unwrap();
        assert_eq!(there.cells.len(), if added > wiped { 3 } else { 1 }, "wiped as {wiped}, added as {added}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_sweeps_and_revocations_at_once_end_and_share_the_work() {
    let server = needs!(PostgresServer::start().await);
    let stores = stores(&server, 4).await;
    let owner = Owner { schema: "shop".into(), hash: OwnerHash::from_bytes([9; 32]) };
    for n in 0..300u64 {
        let mut owned = record(&[put("shop/a", b"1")]);
        owned.header.owner = Some(owner.clone());
        create(&stores[0], &key(n.reverse_bits()), &owned).await;
    }
    let mut tasks = tokio::task::JoinSet::<u64>::new();
    for n in 0..12usize {
        let (store, hash) = (stores[n % 4].clone(), owner.hash);
        tasks.spawn(async move {
            match n % 3 {
                0 => store.delete_by_owner(&hash, Some(&key(0))).await.unwrap(),
                1 => store.sweep(at(24 * HOUR), 50).await.unwrap() as u64,
                _ => {
                    for n in 0..40u64 {
                        let mut signing_out = patch(&[put("shop/b", b"1")]);
                        signing_out.owner = Some(OwnerChange::Clear);
                        store.commit(&key(n.reverse_bits()), &signing_out).await.unwrap();
                    }
                    0
                }
            }
        });
    }
    let removed: u64 = tasks.join_all().await.into_iter().sum();
    let left: u64 = rows(&server, "record").await.parse().unwrap();
    assert_eq!(removed + left, 300, "nobody counted what somebody else removed");
    assert_eq!(server.sql("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()").await, "0");
}
