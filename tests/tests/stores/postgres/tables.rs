//! The tables: making them, finding them, what lies in them, and what becomes of damage and of the expired.

use super::*;
use base64ct::{Base64UrlUnpadded, Encoding as _};
use cloakroom_tests::{events::Events, site::Site};

#[tokio::test(flavor = "multi_thread")]
async fn the_tables_are_made_once_whoever_asks_how_often() {
    let server = needs!(PostgresServer::start().await);
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let store = patient(PostgresStore::connect(server.url())).schema("auth").connections(1).await.unwrap();
        tasks.spawn(async move {
            store.migrate().await.unwrap();
            store
        });
    }
    let stores = tasks.join_all().await;
    stores[0].migrate().await.unwrap();
    create(&stores[1], &key(1), &record(&[])).await;
    stores[2].migrate().await.unwrap();
    assert!(load(&stores[3], &key(1)).await.unwrap().is_some());
    assert_eq!(server.sql("SELECT version FROM auth.cloakroom_schema").await, "1");
}

#[tokio::test]
async fn a_store_whose_tables_are_missing_or_newer_says_what_to_do() {
    let server = needs!(PostgresServer::start().await);
    let store = patient(PostgresStore::connect(server.url())).await.unwrap();
    for error in [load(&store, &key(1)).await.unwrap_err(), store.create(&key(1), record(&[])).await.unwrap_err()] {
        assert!(matches!(error, StoreError::Unavailable(_)));
        assert!(error.to_string().contains("migrate()"), "{error}");
    }
    store.migrate().await.unwrap();
    create(&store, &key(1), &record(&[])).await;
    assert!(load(&store, &key(1)).await.unwrap().is_some(), "no new connection is needed");
    server.sql("UPDATE cloakroom_schema SET version = 9").await;
    let error = store.migrate().await.unwrap_err().to_string();
    assert!(error.contains("have version 9") && error.contains("upgrade cloakroom"), "{error}");
}

#[tokio::test]
async fn the_shipped_sql_makes_the_same_tables() {
    let server = needs!(PostgresServer::start().await);
    let client = client(&server.url()).await;
    let shipped = include_str!("../../../../runtime/sql/postgres.sql");
    client.batch_execute(shipped).await.unwrap();
    let store = patient(PostgresStore::connect(server.url())).await.unwrap();
    create(&store, &key(1), &record(&[put("shop/a", b"1")])).await;
    store.migrate().await.unwrap();
    let other = patient(PostgresStore::connect(server.url())).table_prefix("Shop_").await.unwrap();
    client.batch_execute(&other.migration_sql()).await.unwrap();
    assert!(load(&other, &key(1)).await.unwrap().is_none(), "two prefixes are two stores");
    create(&other, &key(1), &record(&[])).await;
    other.delete(&key(1)).await.unwrap();
    assert_eq!(load(&store, &key(1)).await.unwrap().unwrap().cells.len(), 1);
}

#[tokio::test]
async fn damage_to_a_row_stays_where_it_is() {
    let server = needs!(PostgresServer::start().await);
    let store = store(&server).await;
    for n in 1..=4 {
        create(&store, &key(n), &record(&[put("shop/a", b"1"), put("shop/b", b"2")])).await;
    }
    server.sql("UPDATE cloakroom_cell SET body = '\\xff00' WHERE key = 'shop/a' AND selector = (SELECT selector FROM cloakroom_cell ORDER BY selector LIMIT 1)").await;
    let there = load(&store, &key(1)).await.unwrap().unwrap();
    let Content::Value { codec, .. } = &there.cells.get("shop/a").unwrap().body.content else { panic!("there is a value") };
    assert_eq!(codec.as_u8(), 0, "which nobody can decode");
    assert_eq!(there.cells.get("shop/b").unwrap().body, body(b"2"));
    let events = Events::capture();
    for damage in ["secret_hash = '\\x00'", "epoch = -1", "previous_state = 1", "owner_hash = decode(repeat('00', 32), 'hex')"]
    {
        server.sql(&format!("UPDATE cloakroom_record SET {damage}")).await;
        assert!(load(&store, &key(2)).await.unwrap().is_none(), "{damage}");
        let said = events.take();
        assert!(said.iter().any(|line| line.contains("unreadable; it counts as absent")), "{damage}: {said:?}");
    }
    assert_eq!(store.by_owner(&OwnerHash::from_bytes([0; 32])).await.unwrap().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_servers_files_hold_no_token() {
    let server = needs!(PostgresServer::start().await);
    let site = Site::on(store(&server).await);
    site.browser.post("/name/Ada-Lovelace").await;
    let mut tokens = vec![site.token()];
    site.browser.post("/rotate").await;
    tokens.push(site.token());
    let raw = server.raw_bytes().await;
    let holds = |bytes: &[u8]| raw.windows(bytes.len()).any(|it| it == bytes);
    assert!(holds(b"Ada-Lovelace"), "these are the files");
    for token in tokens {
        let bytes = Base64UrlUnpadded::decode_vec(&token).unwrap();
        assert!(holds(&bytes[..16]), "the selector is no secret");
        assert!(!holds(&bytes[16..]) && !holds(token.as_bytes()) && !holds(&token.as_bytes()[22..]));
    }
}

#[tokio::test]
async fn what_is_an_hour_past_its_deadline_leaves_on_its_own_and_the_rest_stays() {
    let server = needs!(PostgresServer::start().await);
    let store = store(&server).await;
    for n in 0..1_100 {
        create(&store, &key(n), &record(&[put("shop/a", b"1")])).await;
    }
    let mut recent = record(&[put("shop/a", b"1")]);
    recent.header.idle_until = at(24 * HOUR + 1);
    recent.header.absolute_until = at(25 * HOUR);
    create(&store, &key(5_000), &recent).await;
    // Requests say what time it is.
    let presented = Presented::new(SecretHash::from_bytes([1; 32]), at(25 * HOUR), Lifetime::default());
    store.load(&key(9_999), &presented, &Want::default()).await.unwrap();
    eventually("the expired leave", async || server.sql("SELECT count(*) FROM cloakroom_record").await == "1").await;
    assert_eq!(server.sql("SELECT count(*) FROM cloakroom_cell").await, "1");
    assert!(load(&store, &key(5_000)).await.unwrap().is_some());
}

#[tokio::test]
async fn a_sweep_that_fails_is_tried_again() {
    let server = needs!(PostgresServer::start().await);
    let store = store(&server).await;
    create(&store, &key(1), &record(&[])).await;
    server
        .sql(
            "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$;
             CREATE TRIGGER stop BEFORE DELETE ON cloakroom_record FOR EACH ROW EXECUTE FUNCTION no()",
        )
        .await;
    let tell = async |hours: i64| {
        let presented = Presented::new(SecretHash::from_bytes([1; 32]), at(hours * HOUR), Lifetime::default());
        store.load(&key(9), &presented, &Want::default()).await.unwrap();
    };
    tell(48).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    server.sql("DROP TRIGGER stop ON cloakroom_record").await;
    assert_eq!(server.sql("SELECT count(*) FROM cloakroom_record").await, "1");
    tell(50).await;
    eventually("it is removed after all", async || server.sql("SELECT count(*) FROM cloakroom_record").await == "0").await;
}

#[tokio::test]
async fn everything_a_store_started_ends_with_its_last_clone() {
    let server = needs!(PostgresServer::start().await);
    let store = store(&server).await;
    for n in 0..8 {
        load(&store, &key(n)).await.unwrap();
    }
    let connections = async || {
        server.sql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'cloakroom'").await.parse::<u32>().unwrap()
    };
    eventually("all four are opened as they are needed", async || {
        load(&store, &key(1)).await.unwrap();
        connections().await == 4
    })
    .await;
    let clone = store.clone();
    drop(store);
    load(&clone, &key(1)).await.unwrap();
    drop(clone);
    eventually("the connections close", async || connections().await == 0).await;
}
