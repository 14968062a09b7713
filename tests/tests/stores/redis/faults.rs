//! What goes wrong with a server: it dies, hangs, forgets scripts, fills up, is demoted, or its answers are lost.

use super::{assert_all_expire, fixture::*};
use cloakroom::{
    Lifetime,
    record::*,
    store::{RedisStore, SessionStore, StoreError},
};
use cloakroom_tests::{
    needs,
    servers::{PASSWORD, Proxy, RedisSentinel, RedisServer, Server as _},
};
use std::time::{Duration, Instant};

fn is_unavailable<T: std::fmt::Debug>(outcome: &Result<T, StoreError>) -> bool {
    matches!(outcome, Err(StoreError::Unavailable(_)))
}

#[tokio::test]
async fn scripts_that_the_server_forgot_are_sent_again() {
    let server = needs!(RedisServer::start().await);
    let store = store(&server).await;
    let forget = async || assert_eq!(server.command(&["SCRIPT", "FLUSH"]).await, "OK");
    forget().await;
    store.create(&key(1), record(&[])).await.unwrap();
    forget().await;
    committed(store.commit(&key(1), &sign_in(1)).await.unwrap());
    forget().await;
    assert!(load(&store, 1).await.is_some());
    forget().await;
    assert_eq!(store.by_owner(&owner(1).hash).await.unwrap().len(), 1);
    forget().await;
    assert_eq!(store.sweep(NOW.plus(48 * HOUR), 10).await.unwrap(), 1);
    forget().await;
    store.delete(&key(1)).await.unwrap();
    forget().await;
    assert_eq!(store.delete_by_owner(&owner(1).hash, None).await.unwrap(), 0);
}

#[tokio::test]
async fn a_server_that_was_killed_and_came_back_serves_on_and_nothing_acknowledged_is_lost() {
    let server = needs!(RedisServer::start().await);
    let store = store(&server).await;
    store.create(&key(1), record(&[])).await.unwrap();
    for round in 0..3u8 {
        let revision = committed(store.commit(&key(1), &patch(&[put("shop/a", &[round])])).await.unwrap());
        server.kill();
        // The end of the connection may not have come in yet, and then nobody knows what became of this.
        let first = store.commit(&key(1), &patch(&[put("shop/b", b"lost")])).await;
        assert!(first.is_err());
        for _ in 0..20 {
            let start = Instant::now();
            let lost = store.commit(&key(1), &patch(&[put("shop/b", b"lost")])).await;
            assert!(is_unavailable(&lost), "nothing was sent: {lost:?}");
            assert!(start.elapsed() < Duration::from_millis(700), "it fails fast");
        }
        server.start_again().await;
        let there = eventually(async || store.load(&key(1), &presented(), &Want::default()).await.ok().flatten()).await;
        assert_eq!(there.header.revision, revision);
        assert_eq!(there.cells.get("shop/a").unwrap().body, value(&[round]));
    }
}

#[tokio::test]
async fn a_connection_that_died_unnoticed_costs_nobody_an_error() {
    let server = needs!(RedisServer::start().await);
    let store = store(&server).await;
    store.create(&key(1), record(&[])).await.unwrap();
    server.restart().await;
    // The end of the old connection has come in by now.
    tokio::task::yield_now().await;
    committed(store.commit(&key(1), &patch(&[put("shop/a", b"1")])).await.unwrap());
}

#[tokio::test]
async fn an_answer_that_was_lost_is_an_unknown_outcome_and_nothing_is_sent_twice() {
    let server = needs!(RedisServer::start().await);
    let proxy = Proxy::before(server.address()).await;
    let store = RedisStore::connect(proxy.url_like(&server.url())).await.unwrap();
    store.create(&key(1), record(&[])).await.unwrap();
    committed(store.commit(&key(1), &patch(&[put("shop/a", b"1")])).await.unwrap());

    proxy.drop_reply_of_next_request_with("shop/a");
    let lost = store.commit(&key(1), &patch(&[put("shop/a", b"2")])).await;
    assert!(matches!(lost, Err(StoreError::OutcomeUnknown(_))), "{lost:?}");
    let there = eventually(async || store.load(&key(1), &presented(), &Want::default()).await.ok().flatten()).await;
    assert_eq!(there.header.revision, 3, "applied once");

    proxy.drop_next_request_with("shop/a");
    let lost = store.commit(&key(1), &patch(&[put("shop/a", b"3")])).await;
    assert!(matches!(lost, Err(StoreError::OutcomeUnknown(_))), "{lost:?}");
    let there = eventually(async || store.load(&key(1), &presented(), &Want::default()).await.ok().flatten()).await;
    assert_eq!(there.header.revision, 3, "not applied");

    // A load only reads, so it is made again.
    proxy.drop_reply_of_next_request_with("EVALSHA");
    assert!(load(&store, 1).await.is_some());
    assert!(proxy.has_struck());

    proxy.drop_reply_of_next_request_with("EVALSHA");
    let lost = store.create(&key(2), record(&[])).await;
    assert!(matches!(lost, Err(StoreError::OutcomeUnknown(_))), "{lost:?}");
}

#[tokio::test]
async fn a_server_that_hangs_is_given_up_within_the_limit() {
    let server = needs!(RedisServer::start().await);
    let store = RedisStore::connect(server.url()).timeout(Duration::from_millis(200)).await.unwrap();
    store.create(&key(1), record(&[])).await.unwrap();
    server.pause();
    let start = Instant::now();
    let read = store.load(&key(1), &presented(), &Want::default()).await;
    assert!(is_unavailable(&read), "{read:?}");
    let write = store.commit(&key(1), &patch(&[put("shop/a", b"1")])).await;
    assert!(write.is_err());
    assert!(start.elapsed() < Duration::from_millis(900), "{:?}", start.elapsed());
    server.resume();
    eventually(async || store.load(&key(1), &presented(), &Want::default()).await.ok().flatten()).await;
}

#[tokio::test]
async fn a_request_whose_client_left_disturbs_nobody() {
    let server = needs!(RedisServer::start().await);
    let store = store(&server).await;
    store.create(&key(1), record(&[])).await.unwrap();
    for n in 0..50u8 {
        let change = patch(&[put("shop/a", &[n]), put("shop/b", &[n])]);
        let _ = tokio::time::timeout(Duration::from_micros(u64::from(n) * 20), store.commit(&key(1), &change)).await;
        let there = load(&store, 1).await.unwrap();
        let body = |name| there.cells.get(name).map(|cell| cell.body.clone());
        assert_eq!(body("shop/a"), body("shop/b"), "wholly there or wholly absent");
    }
    assert_eq!(server.counter("connected_clients").await, 2, "the store's connection and this question's");
}

#[tokio::test]
async fn a_full_memory_refuses_writes_whole_and_lets_everybody_read_and_leave() {
    let server = needs!(RedisServer::start().await);
    let store = store(&server).await;
    store.create(&key(1), record(&[put("shop/a", b"first"), put("shop/b", b"first")])).await.unwrap();
    committed(store.commit(&key(1), &sign_in(1)).await.unwrap());
    store.create(&key(2), record(&[])).await.unwrap();
    let before = server.command(&["HGETALL", FIRST]).await;
    assert_eq!(server.command(&["CONFIG", "SET", "maxmemory", "1"]).await, "OK");

    let mut whole = sign_in(2);
    whole.puts = vec![put("shop/a", b"second"), put("shop/c", &[1; 5_000])];
    whole.wipe_except = Some(vec![]);
    whole.label = Some(None);
    for _ in 0..2 {
        let refused = store.commit(&key(1), &whole).await;
        assert!(is_unavailable(&refused), "{refused:?}");
        assert!(refused.unwrap_err().to_string().contains("maxmemory"));
        assert!(is_unavailable(&store.create(&key(3), record(&[])).await));
        // The scripts have to be sent again, which must not help anybody past the limit.
        server.command(&["SCRIPT", "FLUSH"]).await;
    }
    assert_eq!(server.command(&["HGETALL", FIRST]).await, before, "not a byte of it has changed");
    let there = load(&store, 1).await.expect("reading goes on");
    assert_eq!(there.cells.get("shop/a").unwrap().body, value(b"first"));
    assert_eq!(store.by_owner(&owner(1).hash).await.unwrap().len(), 1);
    store.delete(&key(2)).await.unwrap();
    assert_eq!(store.delete_by_owner(&owner(1).hash, None).await.unwrap(), 1);
    assert_eq!(server.command(&["DBSIZE"]).await, "0");

    server.command(&["CONFIG", "SET", "maxmemory", "0"]).await;
    store.create(&key(1), record(&[])).await.unwrap();
}

#[tokio::test]
async fn a_server_that_cannot_save_refuses_writes_and_lets_everybody_read() {
    let server = needs!(RedisServer::with(&["--appendonly", "no", "--save", "3600 1"]).await);
    let store = store(&server).await;
    store.create(&key(1), record(&[put("shop/a", b"1")])).await.unwrap();
    // A folder in the place of the snapshot's file.
    let folder = server.command(&["CONFIG", "GET", "dir"]).await.lines().nth(1).unwrap().to_owned();
    std::fs::create_dir_all(format!("{folder}/dump.rdb/full")).unwrap();
    server.command(&["BGSAVE"]).await;
    eventually(async || (server.info("rdb_last_bgsave_status").await == "err").then_some(())).await;
    let refused = store.commit(&key(1), &patch(&[put("shop/a", b"2")])).await;
    assert!(is_unavailable(&refused) && refused.unwrap_err().to_string().contains("MISCONF"));
    assert_eq!(load(&store, 1).await.unwrap().cells.get("shop/a").unwrap().body, value(b"1"));
}

#[tokio::test]
async fn a_primary_that_was_demoted_is_left_for_whoever_answers_at_its_address() {
    let server = needs!(RedisServer::start().await);
    let store = store(&server).await;
    store.create(&key(1), record(&[])).await.unwrap();
    let other = needs!(RedisServer::start().await);
    let port = other.address().port().to_string();
    // A replica of somebody who knows nothing of it, so it goes on with what it has.
    server.command(&["CONFIG", "SET", "replica-serve-stale-data", "yes"]).await;
    drop(other);
    assert_eq!(server.command(&["REPLICAOF", "127.0.0.1", &port]).await, "OK");
    let refused = store.commit(&key(1), &patch(&[put("shop/a", b"1")])).await;
    assert!(is_unavailable(&refused) && refused.unwrap_err().to_string().contains("read only"));
    let refused = store.load(&key(1), &presented(), &Want::default()).await;
    assert!(is_unavailable(&refused), "a replica may know of a session that has ended: {refused:?}");
    server.promote().await;
    committed(store.commit(&key(1), &patch(&[put("shop/a", b"1")])).await.unwrap());
}

#[tokio::test]
async fn sentinel_is_followed_to_the_new_primary() {
    let primary = needs!(RedisServer::start().await);
    let replica = needs!(RedisServer::replica_of(&primary).await);
    let sentinel = needs!(RedisSentinel::start(&primary).await);
    let store = RedisStore::sentinel([sentinel.url()], RedisSentinel::SERVICE).await.unwrap();
    store.create(&key(1), record(&[put("shop/a", b"1")])).await.unwrap();
    eventually(async || (replica.command(&["EXISTS", FIRST]).await == "1").then_some(())).await;
    primary.kill();
    assert!(store.commit(&key(1), &patch(&[put("shop/a", b"2")])).await.is_err());
    sentinel.moved_from(&primary).await;
    let outcome = eventually(async || store.commit(&key(1), &patch(&[put("shop/a", b"3")])).await.ok()).await;
    committed(outcome);
    assert_eq!(replica.info("role").await, "master");
    assert_all_expire(&replica).await;
}

#[tokio::test]
async fn a_connection_that_lost_its_password_is_replaced() {
    let server = needs!(RedisServer::start().await);
    let store = store(&server).await;
    store.create(&key(1), record(&[])).await.unwrap();
    server.command(&["ACL", "SETUSER", "other", "on", &format!(">{PASSWORD}"), "~*", "+@all"]).await;
    let url = server.url().replace("redis://", &format!("redis://other:{PASSWORD}@"));
    let named = RedisStore::connect(url).await.unwrap();
    assert!(load(&named, 1).await.is_some());
    server.command(&["ACL", "DELUSER", "other"]).await;
    assert!(named.load(&key(1), &presented(), &Want::default()).await.is_err());
    server.command(&["ACL", "SETUSER", "other", "on", &format!(">{PASSWORD}"), "~*", "+@all"]).await;
    eventually(async || named.load(&key(1), &presented(), &Want::default()).await.ok().flatten()).await;
}

#[tokio::test]
async fn a_replica_is_never_believed() {
    let primary = needs!(RedisServer::start().await);
    let there = store(&primary).await;
    there.create(&key(1), record(&[])).await.unwrap();
    let replica = RedisServer::replica_of(&primary).await.unwrap();
    replica.caught_up_with(&primary).await;
    let here = store(&replica).await;
    let told = |outcome: Result<String, StoreError>| match outcome {
        Err(StoreError::Unavailable(cause)) => assert!(cause.to_string().contains("read only"), "{cause}"),
        other => panic!("{other:?}"),
    };
    let presented = |hash, hours: u32| Presented::new(hash, NOW.plus(hours * HOUR), Lifetime::default());
    let load = async |n, presented| here.load(&key(n), &presented, &Want::default()).await.map(|found| format!("{found:?}"));
    told(load(2, presented(secret(), 0)).await);
    told(load(1, presented(SecretHash::from_bytes([9; 32]), 0)).await);
    told(load(1, presented(secret(), 48)).await);
    told(here.commit(&key(2), &patch(&[])).await.map(|outcome| format!("{outcome:?}")));
    told(here.by_owner(&owner(1).hash).await.map(|listed| format!("{listed:?}")));
    told(here.delete_by_owner(&owner(1).hash, None).await.map(|deleted| deleted.to_string()));
    told(here.delete(&key(2)).await.map(|()| "deleted".to_owned()));
    assert!(peek(&there, 1).await.is_some());
}

#[tokio::test]
async fn a_user_who_may_do_a_part_only_is_refused_before_there_is_a_session() {
    let server = needs!(RedisServer::start().await);
    let url = server.url().replace("redis://", "redis://shop:pass@");
    for rights in ["+@read +@write +@scripting +@connection", "+@read +@write +@scripting +@connection +time -pexpire"] {
        let user = format!("ACL SETUSER shop reset on >pass ~cloakroom:* {rights}");
        assert_eq!(server.command(&user.split(' ').collect::<Vec<_>>()).await, "OK");
        let error = RedisStore::connect(&url).await.unwrap_err().to_string();
        assert!(error.contains("+@read +@write +@scripting +@connection +time"), "{error}");
    }
    let user = "ACL SETUSER shop reset on >pass ~cloakroom:* +@read +@write +@scripting +@connection +time";
    assert_eq!(server.command(&user.split(' ').collect::<Vec<_>>()).await, "OK");
    let store = RedisStore::connect(&url).await.unwrap();
    store.create(&key(1), record(&[])).await.unwrap();
    committed(store.commit(&key(1), &sign_in(1)).await.unwrap());
    assert_eq!(store.by_owner(&owner(1).hash).await.unwrap().len(), 1);
}

#[tokio::test]
async fn an_index_that_cannot_be_written_keeps_its_session_from_being_written_too() {
    let server = needs!(RedisServer::start().await);
    let store = store(&server).await;
    store.create(&key(1), record(&[])).await.unwrap();
    committed(store.commit(&key(1), &sign_in(1)).await.unwrap());
    let index = server.command(&["KEYS", "cloakroom:owner:*"]).await;
    store.delete(&key(1)).await.unwrap();
    // Somebody else's key in its place.
    server.command(&["SET", &index, "not an index", "EX", "100"]).await;
    let mut owned = record(&[]);
    owned.header.owner = Some(owner(1));
    store.create(&key(1), owned).await.unwrap_err();
    assert!(peek(&store, 1).await.is_none());
    store.create(&key(2), record(&[])).await.unwrap();
    let before = peek(&store, 2).await.unwrap();
    store.commit(&key(2), &sign_in(1)).await.unwrap_err();
    let after = peek(&store, 2).await.unwrap();
    assert_eq!((before.header.encode(), before.cells), (after.header.encode(), after.cells), "nothing is done by halves");
}
