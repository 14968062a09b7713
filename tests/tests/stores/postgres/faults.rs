//! What can happen to a server, and what a request is told.

use super::*;
use cloakroom_tests::servers::{Proxy, Server as _};

/// As in production, but for the time that a busy machine takes.
async fn hasty(url: &str) -> PostgresStore {
    made(PostgresStore::connect(url).timeout(Duration::from_secs(2))).await
}

fn is_unavailable<T>(outcome: &Result<T, StoreError>) -> bool {
    matches!(outcome, Err(StoreError::Unavailable(_)))
}

fn is_unknown<T>(outcome: &Result<T, StoreError>) -> bool {
    matches!(outcome, Err(StoreError::OutcomeUnknown(_)))
}

async fn returns(store: &PostgresStore) {
    eventually("the store works again", async || load(store, &key(1)).await.is_ok()).await;
    // Each connection that turns out to be dead may cost one request.
    eventually("and writes", async || {
        matches!(store.commit(&key(1), &patch(&[put("shop/back", b"1")])).await, Ok(CommitOutcome::Committed { .. }))
    })
    .await;
}

#[tokio::test]
async fn a_killed_server_fails_fast_and_is_found_again_with_all_that_was_acknowledged() {
    let server = needs!(PostgresServer::start().await);
    let store = hasty(&server.url()).await;
    create(&store, &key(1), &record(&[])).await;
    for round in 0..3u8 {
        let field = format!("shop/round_{round}");
        assert!(is_committed(&store.commit(&key(1), &patch(&[put(&field, &[round])])).await.unwrap()));
        server.kill();
        eventually("it is noticed", async || load(&store, &key(1)).await.is_err()).await;
        let asked = Instant::now();
        for _ in 0..20 {
            assert!(is_unavailable(&load(&store, &key(1)).await));
            assert!(is_unavailable(&store.commit(&key(1), &patch(&[put("shop/lost", b"1")])).await));
        }
        assert!(asked.elapsed() < Duration::from_secs(2), "forty requests waited {:?}", asked.elapsed());
        server.start_again().await;
        returns(&store).await;
        let there = load(&store, &key(1)).await.unwrap().unwrap();
        assert_eq!(there.cells.get(&field).unwrap().body, body(&[round]));
        assert!(there.cells.get("shop/lost").is_none());
    }
}

#[tokio::test]
async fn an_orderly_restart_is_an_outage_and_no_more() {
    let server = needs!(PostgresServer::start().await);
    let (store, over_pool) = (hasty(&server.url()).await, hasty_pool(&server).await);
    create(&store, &key(1), &record(&[])).await;
    load(&over_pool, &key(1)).await.unwrap();
    server.restart().await;
    for store in [&store, &over_pool] {
        returns(store).await;
    }
}

async fn hasty_pool(server: &PostgresServer) -> PostgresStore {
    pooled(server.url()).timeout(Duration::from_secs(2)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_and_its_sweep_outlive_the_runtime_it_was_opened_on() {
    let server = needs!(PostgresServer::start().await);
    let url = server.url();
    let elsewhere = tokio::task::spawn_blocking(move || {
        let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let store = runtime().block_on(async {
            let store = hasty(&url).await;
            create(&store, &key(1), &record(&[])).await;
            load(&store, &key(1)).await.unwrap();
            store
        });
        runtime().block_on(async {
            returns(&store).await;
            let presented = Presented::new(SecretHash::from_bytes([1; 32]), at(48 * HOUR), Lifetime::default());
            eventually("the expired leave", async || {
                store.load(&key(1), &presented, &Want::default()).await.is_ok_and(|found| found.is_none())
            })
            .await;
        });
    });
    elsewhere.await.unwrap();
    assert_eq!(server.sql("SELECT count(*) FROM cloakroom_record").await, "0");
}

#[tokio::test]
async fn a_client_of_the_applications_that_is_closed_is_said_to_be() {
    let server = needs!(PostgresServer::start().await);
    let store = made(PostgresStore::from_client(Arc::new(client(&server.url()).await))).await;
    server
        .sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname IS NOT NULL")
        .await;
    eventually("it is closed", async || {
        load(&store, &key(1))
            .await
            .is_err_and(|error| error.to_string().contains("the client that the store was given is closed"))
    })
    .await;
}

#[tokio::test]
async fn a_lost_answer_is_an_unknown_outcome_and_is_applied_once_or_not_at_all() {
    let server = needs!(PostgresServer::start().await);
    let proxy = Proxy::before(server.address()).await;
    let store = hasty(&proxy.url_like(&server.url())).await;
    create(&store, &key(1), &record(&[])).await;
    let add = patch(&[put("shop/unique-mark", b"1")]);
    proxy.drop_reply_of_next_request_with("shop/unique-mark");
    assert!(is_unknown(&store.commit(&key(1), &add).await));
    assert!(proxy.has_struck());
    returns(&store).await;
    // What came back first may have been made before the server was done with what was lost.
    eventually("it was applied", async || {
        load(&store, &key(1)).await.unwrap().unwrap().cells.get("shop/unique-mark").is_some()
    })
    .await;
    let revision = load(&store, &key(1)).await.unwrap().unwrap().header.revision;
    proxy.drop_next_request_with("shop/unique-mark");
    assert!(is_unknown(&store.commit(&key(1), &add).await));
    returns(&store).await;
    assert_eq!(
        load(&store, &key(1)).await.unwrap().unwrap().header.revision,
        revision + 1,
        "`returns` wrote once, and nobody else"
    );
    proxy.drop_reply_of_next_request_with("s0");
    assert!(load(&store, &key(1)).await.is_ok(), "a read is made again");
}

#[tokio::test]
async fn a_server_that_does_not_answer_costs_a_request_its_limit_and_no_more() {
    let server = needs!(PostgresServer::start().await);
    let limit = Duration::from_millis(700);
    let store = made(PostgresStore::connect(server.url()).timeout(limit).connections(2)).await;
    eventually("there is a record", async || store.create(&key(1), record(&[])).await.is_ok()).await;
    server.pause();
    let asked = Instant::now();
    let (session, commit) = (key(1), patch(&[put("shop/a", b"1")]));
    let outcomes = tokio::join!(load(&store, &session), store.commit(&session, &commit));
    assert!(asked.elapsed() < limit * 3, "{:?}", asked.elapsed());
    assert!(is_unavailable(&outcomes.0), "{:?}", outcomes.0);
    assert!(outcomes.1.is_err());
    server.resume();
    returns(&store).await;
}

/// It waits for as long as a connection is trusted without a word, which no clock of the test's can shorten.
#[tokio::test]
async fn an_idle_connection_that_was_silently_dropped_costs_no_request() {
    let server = needs!(PostgresServer::start().await);
    let proxy = Proxy::before(server.address()).await;
    let limit = Duration::from_secs(6);
    let store = made(PostgresStore::connect(proxy.url_like(&server.url())).timeout(limit)).await;
    create(&store, &key(1), &record(&[])).await;
    eventually("all four connections are open", async || {
        load(&store, &key(1)).await.unwrap();
        proxy.counts().connections >= 5
    })
    .await;
    tokio::time::sleep(Duration::from_millis(10_200)).await;
    proxy.forget();
    let asked = Instant::now();
    assert!(is_committed(&store.commit(&key(1), &patch(&[put("shop/a", b"1")])).await.unwrap()), "a write");
    assert!(asked.elapsed() < limit, "{:?}", asked.elapsed());
    for _ in 0..8 {
        assert!(load(&store, &key(1)).await.unwrap().is_some());
    }
    assert!(asked.elapsed() < limit, "the other connections were not waited for: {:?}", asked.elapsed());
}

#[tokio::test]
async fn a_commit_that_waits_too_long_for_a_lock_has_certainly_not_happened() {
    let server = needs!(PostgresServer::start().await);
    let store = made(PostgresStore::connect(server.url()).timeout(Duration::from_secs(4))).await;
    eventually("there is a record", async || store.create(&key(1), record(&[])).await.is_ok()).await;
    let other = client(&server.url()).await;
    other.batch_execute("BEGIN; UPDATE cloakroom_record SET revision = revision").await.unwrap();
    let outcome = store.commit(&key(1), &patch(&[put("shop/a", b"1")])).await;
    assert!(is_unavailable(&outcome), "{outcome:?}");
    assert_eq!(
        server.sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'").await,
        "0",
        "the server gave up too"
    );
    other.batch_execute("ROLLBACK").await.unwrap();
    returns(&store).await;
}

#[tokio::test]
async fn a_standby_is_read_and_a_failover_is_followed() {
    let primary = needs!(PostgresServer::with(&["wal_level=replica", "max_wal_senders=4"]).await);
    let first = hasty(&primary.url()).await;
    create(&first, &key(1), &record(&[])).await;
    let standby = needs!(PostgresServer::standby_of(&primary).await);
    let on_standby = PostgresStore::connect(standby.url()).timeout(Duration::from_secs(2)).await.unwrap();
    eventually("it has the record", async || load(&on_standby, &key(1)).await.is_ok_and(|found| found.is_some())).await;
    let refused = on_standby.commit(&key(1), &patch(&[put("shop/a", b"1")])).await;
    assert!(is_unavailable(&refused), "{refused:?}");
    assert!(refused.unwrap_err().to_string().contains("25006"));

    let hosts = format!("{},{}", standby.address(), primary.address());
    let both = primary.url().replace(&primary.address().to_string(), &hosts);
    let store = PostgresStore::connect(both).timeout(Duration::from_secs(2)).await.unwrap();
    assert!(is_committed(&store.commit(&key(1), &patch(&[put("shop/a", b"1")])).await.unwrap()), "it finds the primary");
    primary.kill();
    standby.promote().await;
    returns(&store).await;
    returns(&on_standby).await;
}

/// No disk is full here: a trigger raises what the server raises then.
#[tokio::test]
async fn a_commit_that_meets_the_error_of_a_full_disk_is_refused_whole() {
    let server = needs!(PostgresServer::start().await);
    let store = hasty(&server.url()).await;
    create(&store, &key(1), &record(&[put("shop/a", b"1")])).await;
    server
        .sql(
            "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN RAISE 'could not extend file: No space left on device' USING ERRCODE = '53100'; END $$;
             CREATE TRIGGER full_disk BEFORE INSERT OR UPDATE ON cloakroom_cell FOR EACH ROW EXECUTE FUNCTION full_disk()",
        )
        .await;
    let refused = store.commit(&key(1), &patch(&[put("shop/a", b"2")])).await;
    assert!(is_unavailable(&refused), "{refused:?}");
    let there = load(&store, &key(1)).await.unwrap().unwrap();
    assert_eq!((there.header.revision, &there.cells.get("shop/a").unwrap().body), (1, &body(b"1")), "no half of it");
    store.delete(&key(1)).await.unwrap();
    assert!(load(&store, &key(1)).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_are_given_up_leave_nothing_behind() {
    let server = needs!(PostgresServer::start().await);
    let store = hasty(&server.url()).await;
    create(&store, &key(1), &record(&[])).await;
    for n in 0..60u8 {
        let commit = patch(&[put("shop/a", &[n]), put("shop/b", &[n])]);
        let _ = tokio::time::timeout(Duration::from_micros(u64::from(n) * 20), store.commit(&key(1), &commit)).await;
    }
    let last = patch(&[put("shop/c", b"last")]);
    assert!(is_committed(&store.commit(&key(1), &last).await.unwrap()));
    eventually("nobody holds anything", async || {
        server.sql("SELECT count(*) FROM pg_stat_activity WHERE state <> 'idle' AND application_name = 'cloakroom'").await
            == "0"
    })
    .await;
    let there = load(&store, &key(1)).await.unwrap().unwrap();
    assert_eq!(there.cells.get("shop/a").map(|cell| &cell.body), there.cells.get("shop/b").map(|cell| &cell.body));
    assert_eq!(there.cells.get("shop/a").map(|cell| cell.stamp), there.cells.get("shop/b").map(|cell| cell.stamp));
}
