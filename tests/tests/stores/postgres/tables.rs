//! The tables: making them, finding them, what lies in them, and what becomes of damage and of the expired.

use super::*;
use base64ct::{Base64UrlUnpadded, Encoding as _};
use cloakroom::record::{Guard, OwnerChange};
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
async fn tables_of_another_version_are_an_error_of_the_first_operation() {
    let server = needs!(PostgresServer::start().await);
    create(&store(&server).await, &key(1), &record(&[])).await;
    let stores = async || {
        let client = Arc::new(client(&server.url()).await);
        [PostgresStore::connect(server.url()), PostgresStore::from_client(client), pooled(server.url())].map(patient)
    };
    // A later build adds its version, and leaves what this one uses.
    server.sql("INSERT INTO cloakroom_schema VALUES (2)").await;
    for store in stores().await {
        assert!(load(&store.await.unwrap(), &key(1)).await.unwrap().is_some());
    }
    for (damage, says) in [
        ("DELETE FROM cloakroom_schema WHERE version = 1", "have version 2 and this build of cloakroom knows version 1"),
        ("DELETE FROM cloakroom_schema", "have no version"),
    ] {
        server.sql(damage).await;
        for store in stores().await {
            let store = store.await.unwrap();
            for error in [load(&store, &key(1)).await.unwrap_err(), store.delete(&key(1)).await.unwrap_err()] {
                assert!(matches!(error, StoreError::Unavailable(_)));
                assert!(error.to_string().contains(says) && error.to_string().contains("migrate()"), "{error}");
            }
        }
    }
    assert_eq!(server.sql("SELECT count(*) FROM cloakroom_record").await, "1");
}

#[tokio::test]
async fn a_latin_1_database_holds_labels_schemas_and_fields_in_any_script() {
    let server = needs!(PostgresServer::start().await);
    // Nothing in it is beyond ASCII yet, so its encoding can be called another one.
    server.sql("UPDATE pg_database SET encoding = pg_char_to_encoding('LATIN1') WHERE datname = 'cloakroom'").await;
    assert_eq!(server.sql("SHOW server_encoding").await, "LATIN1");
    let store = store(&server).await;
    let fields = ["магазин/корзина", "店/数量", "shop/prix €"];
    let owner = |schema: &str| Owner { schema: schema.into(), hash: OwnerHash::from_bytes([9; 32]) };
    let mut first = record(&[put(fields[0], b"1"), put("~店/写真", b"2")]);
    first.header.owner = Some(owner("магазин"));
    first.header.label = Some("Анин телефон 📱".into());
    create(&store, &key(1), &first).await;
    let presented = Presented::new(SecretHash::from_bytes([1; 32]), at(1), Lifetime::default());
    let loaded = async |named: &[&str]| store.load(&key(1), &presented, &Want::with(named)).await.unwrap().unwrap();
    let there = loaded(&[]).await;
    assert_eq!((&there.header.owner, &there.header.label), (&first.header.owner, &first.header.label));
    assert!(there.cells.get(fields[0]).is_some() && there.cells.get("~店/写真").is_none(), "on demand only");
    assert_eq!(loaded(&["~店/写真"]).await.cells.get("~店/写真").unwrap().body, body(b"2"));

    assert!(is_committed(&store.commit(&key(1), &patch(&[put(fields[1], b"3"), put(fields[2], b"4")])).await.unwrap()));
    let mut guarded = patch(&[put(fields[0], b"5")]);
    guarded.guards = vec![Guard { key: fields[1].into(), stamp: 1 }];
    let CommitOutcome::Conflict { cells } = store.commit(&key(1), &guarded).await.unwrap() else { panic!("it has stamp 2") };
    assert_eq!(cells.iter().map(|cell| &*cell.key).collect::<Vec<_>>(), [fields[1]]);
    let mut everything = patch(&[]);
    everything.wipe_except = Some(vec![fields[2].into()]);
    everything.owner = Some(OwnerChange::Set(owner("店")));
    everything.label = Some(Some("ノートパソコン".into()));
    assert!(is_committed(&store.commit(&key(1), &everything).await.unwrap()));
    let there = loaded(&["~店/写真"]).await;
    assert_eq!(there.cells.iter().map(|cell| &*cell.key).collect::<Vec<_>>(), [fields[2]]);
    assert_eq!((there.header.owner.as_ref(), there.header.label.as_deref()), (Some(&owner("店")), Some("ノートパソコン")));
    assert_eq!(store.by_owner(&owner("").hash).await.unwrap()[0].1.label.as_deref(), Some("ノートパソコン"));
}

#[tokio::test]
async fn sessions_of_one_owner_are_listed_in_pages_and_end_in_batches() {
    let server = needs!(PostgresServer::start().await);
    let store = made(PostgresStore::connect(server.url()).timeout(Duration::from_secs(4))).await;
    let owner = OwnerHash::from_bytes([9; 32]);
    let mut pattern = record(&[put("shop/a", b"1"), put("shop/b", b"2")]);
    pattern.header.owner = Some(Owner { schema: "shop".into(), hash: owner });
    create(&store, &key(0), &pattern).await;
    create(&store, &key(1 << 40), &record(&[])).await;
    server
        .sql(
            "CREATE TEMP TABLE numbers AS SELECT decode(lpad(to_hex(n), 16, '0') || repeat('0', 16), 'hex') AS selector
                 FROM generate_series(1, 19999) AS n;
             CREATE TEMP TABLE records AS SELECT * FROM cloakroom_record WHERE owner_hash IS NOT NULL;
             CREATE TEMP TABLE cells AS SELECT * FROM cloakroom_cell;
             ALTER TABLE records DROP selector; ALTER TABLE cells DROP selector;
             INSERT INTO cloakroom_record SELECT numbers.*, records.* FROM numbers, records;
             INSERT INTO cloakroom_cell SELECT numbers.*, cells.* FROM numbers, cells",
        )
        .await;
    let count = async || server.sql("SELECT count(*) FROM cloakroom_record WHERE owner_hash IS NOT NULL").await;
    assert_eq!(count().await, "20000");
    let lister = patient(PostgresStore::connect(server.url())).await.unwrap();
    let mut listed: Vec<_> = lister.by_owner(&owner).await.unwrap().into_iter().map(|(key, _)| key).collect();
    assert_eq!(listed.len(), 20_000);
    listed.dedup();
    assert_eq!(listed.len(), 20_000, "each once");
    // A connection hands in its statistics when it ends.
    drop(lister);
    let read = "SELECT idx_tup_read FROM pg_stat_user_indexes WHERE indexrelname = 'cloakroom_record_owner_hash_selector_idx'";
    eventually("the statistics arrive", async || server.sql(read).await.parse::<u32>().unwrap() >= 20_000).await;
    assert_eq!(server.sql(read).await, "20000", "no page reads the sessions of the others");

    // The last one is in another's hands, so the last batch fails, and those before it stay.
    let other = client(&server.url()).await;
    let last = "selector = (SELECT selector FROM cloakroom_record WHERE owner_hash IS NOT NULL ORDER BY selector DESC LIMIT 1)";
    other.batch_execute(&format!("BEGIN; UPDATE cloakroom_record SET revision = revision WHERE {last}")).await.unwrap();
    let error = store.delete_by_owner(&owner, None).await.unwrap_err();
    assert!(matches!(error, StoreError::OutcomeUnknown(_)), "{error}");
    assert!(error.to_string().contains("19500 sessions were removed"), "{error}");
    assert_eq!(count().await, "500");
    other.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(store.delete_by_owner(&owner, Some(&key(19_999))).await.unwrap(), 499);
    assert_eq!(store.delete_by_owner(&owner, None).await.unwrap(), 1);
    assert_eq!(store.delete_by_owner(&owner, None).await.unwrap(), 0);
    assert_eq!(server.sql("SELECT count(*) FROM cloakroom_cell").await, "0", "their cells are gone too");
    assert_eq!(server.sql("SELECT count(*) FROM cloakroom_record").await, "1");
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
    let events = Events::capture();
    tell(48).await;
    eventually("the failure is told", async || {
        tokio::task::yield_now().await;
        events.count("session.sweep_failed") == 1
    })
    .await;
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
