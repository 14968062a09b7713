//! How sessions lie in the server: expiry at every moment, no token, damage that stays where it is.

use super::{assert_all_expire, fixture::*};
use base64ct::{Base64UrlUnpadded, Encoding as _};
use cloakroom::{
    record::*,
    store::{RedisStore, SessionStore},
};
use cloakroom_tests::{
    needs,
    servers::{RedisServer, Server as _},
    site::Site,
};
use std::time::Duration;

async fn lasts(server: &RedisServer, key: &str) -> Duration {
    Duration::from_millis(server.command(&["PTTL", key]).await.parse().unwrap_or_else(|_| panic!("{key} is not there")))
}

/// Within a minute, which is how long a slow test may take.
fn about(left: Duration, expected: Duration) -> bool {
    left <= expected && left > expected - Duration::from_secs(60)
}

#[tokio::test]
async fn every_key_has_an_expiry_after_every_step_of_a_session() {
    let server = needs!(RedisServer::start().await);
    let store = store(&server).await;
    let mut wipe = sign_in(2);
    wipe.wipe_except = Some(vec![]);
    let mut reset = patch(&[]);
    let (created, last_seen) = (NOW, NOW);
    reset.deadlines =
        Some(Deadlines::Reset { created, last_seen, idle_until: NOW.plus(2 * HOUR), absolute_until: NOW.plus(48 * HOUR) });
    let mut leave = patch(&[]);
    leave.owner = Some(OwnerChange::Clear);
    store.create(&key(1), record(&[put("shop/a", b"1")])).await.unwrap();
    assert_all_expire(&server).await;
    for step in [patch(&[put("shop/b", b"2"), put("~shop/c", b"3")]), sign_in(1), reset, wipe, leave, sign_in(3)] {
        committed(store.commit(&key(1), &step).await.unwrap());
        assert_all_expire(&server).await;
        load(&store, 1).await.unwrap();
        assert_all_expire(&server).await;
        store.by_owner(&owner(1).hash).await.unwrap();
        assert_all_expire(&server).await;
    }
    store.delete(&key(1)).await.unwrap();
    assert_eq!(server.command(&["DBSIZE"]).await, "0", "no key outlives its session");
}

#[tokio::test]
async fn a_key_outlives_the_nearer_deadline_by_an_hour_and_the_index_the_absolute_one() {
    let server = needs!(RedisServer::start().await);
    let store = store(&server).await;
    store.create(&key(1), record(&[])).await.unwrap();
    assert!(about(lasts(&server, FIRST).await, 2 * HOUR));
    committed(store.commit(&key(1), &sign_in(1)).await.unwrap());
    let index = server.command(&["KEYS", "cloakroom:owner:*"]).await;
    assert!(about(lasts(&server, &index).await, 25 * HOUR));
}

/// The server counts down by its own clock, which no test can move. So the key is told to go in a minute, as if most of its time were over.
async fn used_after_most_of_its_time(use_it: impl AsyncFnOnce(&RedisStore)) {
    let server = needs!(RedisServer::start().await);
    let store = store(&server).await;
    store.create(&key(1), record(&[])).await.unwrap();
    server.command(&["PEXPIRE", FIRST, "60000"]).await;
    use_it(&store).await;
    assert!(about(lasts(&server, FIRST).await, 2 * HOUR), "the server drops a session that is in use");
}

#[tokio::test]
async fn a_load_prolongs_the_life_of_the_key_on_the_servers_clock() {
    used_after_most_of_its_time(async |store| {
        let mut later = presented();
        later.now = NOW.plus(HOUR / 2);
        store.load(&key(1), &later, &Want::default()).await.unwrap().unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_commit_prolongs_the_life_of_the_key_on_the_servers_clock() {
    used_after_most_of_its_time(async |store| {
        let mut patch = Patch::new(0, NOW.plus(HOUR / 2));
        patch.deadlines = Some(Deadlines::Roll { last_seen: patch.now, idle_until: patch.now.plus(HOUR) });
        committed(store.commit(&key(1), &patch).await.unwrap());
    })
    .await;
}

#[tokio::test]
async fn deadlines_at_the_ends_of_time_are_stored_exactly_and_expire() {
    let server = needs!(RedisServer::start().await);
    let store = store(&server).await;
    let (first, last) = (Timestamp::from_millis(i64::MIN), Timestamp::from_millis(i64::MAX));
    let header = Header::new(secret(), WrappedKey::from_bytes([1; 32]), first, last, last);
    store.create(&key(1), Record::new(header.clone(), Cells::default())).await.unwrap();
    let stored = peek(&store, 1).await.unwrap().header;
    assert_eq!(stored.encode(), header.encode());
    let mut patch = patch(&[put("shop/a", b"1")]);
    patch.deadlines = Some(Deadlines::Roll { last_seen: NOW, idle_until: last });
    assert_eq!(committed(store.commit(&key(1), &patch).await.unwrap()), 2);
    assert_eq!(peek(&store, 1).await.unwrap().header.absolute_until, last);
    assert_all_expire(&server).await;
}

#[tokio::test]
async fn revisions_beyond_what_a_double_holds_are_exact() {
    let server = needs!(RedisServer::start().await);
    let store = store(&server).await;
    let high = (1 << 53) + 1;
    let mut record = record(&[]);
    record.header.revision = high;
    store.create(&key(1), record).await.unwrap();
    for expected in high + 1..high + 12 {
        assert_eq!(committed(store.commit(&key(1), &patch(&[put("shop/a", b"1")])).await.unwrap()), expected);
        assert_eq!(peek(&store, 1).await.unwrap().cells.stamp("shop/a"), expected);
    }
}

#[tokio::test]
async fn a_session_lies_in_the_server_as_the_wire_format_says() {
    let server = needs!(RedisServer::start().await);
    let store = store(&server).await;
    let mut whole = record(&[put("shop/a", b"one")]);
    whole.header.persistent = true;
    whole.header.label = Some("a phone".into());
    whole.header.authenticated_at = Some(NOW);
    whole.header.owner = Some(owner(1));
    whole.header.secret_hash = SecretHash::from_bytes([b's'; 32]);
    whole.header.wrapped_key = WrappedKey::from_bytes([b'k'; 32]);
    store.create(&key(1), whole).await.unwrap();
    let mut rotate = patch(&[Put::new(CellKey::from("~shop/b"), CellBody::new(Content::Tombstone))]);
    let (to, wrapped_key) = (SecretHash::from_bytes([b't'; 32]), WrappedKey::from_bytes([b'l'; 32]));
    rotate.rotation = Some(Rotation::Privilege { to, wrapped_key });
    committed(store.commit(&key(1), &rotate).await.unwrap());

    let secrets = |letters: [&str; 2]| letters.map(|it| it.repeat(32)).concat();
    for (field, expected) in [
        ("__rev", "2"),
        ("__epoch", "1"),
        ("__created", "4102444800000"),
        ("__seen", "4102444800000"),
        ("__idle", "4102448400000"),
        ("__absolute", "4102531200000"),
        ("__key", &*secrets(["t", "l"])),
        ("__previous", &*"s".repeat(32)),
        ("__phase", "revoked"),
        ("__since", "4102444800000"),
        ("__owner", "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEshop"),
        ("__proven", "4102444800000"),
        ("__persistent", "1"),
        ("__label", "a phone"),
        ("__on_demand", "1"),
        ("~shop/b", "2:\0"),
    ] {
        assert_eq!(server.command(&["HGET", FIRST, field]).await, expected, "{field}");
    }
    assert_eq!(server.command(&["HLEN", FIRST]).await, "17");
    let index = "cloakroom:owner:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE";
    assert_eq!(server.command(&["ZRANGE", index, "0", "-1"]).await, "AQEBAQEBAQEBAQEBAQEBAQ");
}

#[tokio::test]
async fn what_lies_in_the_server_holds_no_token() {
    let server = needs!(RedisServer::start().await);
    let store = store(&server).await;
    let site = Site::on(store);
    let response = site.browser.post("/visit").await;
    assert_eq!(response.status(), 200, "{}", response.text());
    let token = site.token();
    let raw = server.raw_bytes().await;
    let holds = |part: &[u8]| raw.windows(part.len()).any(|it| it == part);
    assert!(holds(b"cloakroom:{") && holds(b"shop/views"), "the session is there");
    let bytes = Base64UrlUnpadded::decode_vec(&token).unwrap();
    assert!(!holds(token.as_bytes()) && !holds(&bytes) && !holds(&bytes[16..]), "and its secret is not");
    assert!(holds(Base64UrlUnpadded::encode_string(&bytes[..16]).as_bytes()), "only the selector");
}

#[tokio::test]
async fn an_unreadable_header_counts_as_absent() {
    let server = needs!(RedisServer::start().await);
    let store = store(&server).await;
    for (field, garbage) in [
        ("__rev", "many"),
        ("__rev", "-7"),
        ("__epoch", ""),
        ("__idle", "nan"),
        ("__absolute", "1e9"),
        ("__created", "0x10"),
        ("__proven", "yesterday"),
        ("__key", "short"),
        ("__phase", "waning"),
        ("__owner", "nobody"),
    ] {
        let mut record = record(&[put("shop/a", b"1")]);
        record.header.owner = Some(owner(1));
        store.create(&key(1), record).await.unwrap();
        server.command(&["HSET", FIRST, field, garbage]).await;
        assert!(load(&store, 1).await.is_none(), "{field} = {garbage:?}");
        let outcome = store.commit(&key(1), &patch(&[put("shop/a", b"2")])).await;
        let refused = !matches!(outcome, Ok(CommitOutcome::Committed { .. }));
        // A script looks at what it needs, and writes nothing to a header that lacks it.
        assert!(refused || ["__phase", "__owner", "__created"].contains(&field), "{field} = {garbage:?}: {outcome:?}");
        assert!(store.by_owner(&owner(1).hash).await.unwrap().is_empty());
        // It is still there to be deleted, and to expire.
        assert_eq!(store.create(&key(1), heavy(1, 1)).await.unwrap(), CreateOutcome::Exists);
        assert_all_expire(&server).await;
        store.delete(&key(1)).await.unwrap();
    }
}

#[tokio::test]
async fn an_unreadable_cell_arrives_as_a_value_of_no_codec_and_stays_as_it_is() {
    let server = needs!(RedisServer::start().await);
    let store = store(&server).await;
    store.create(&key(1), record(&[put("shop/a", b"1"), put("shop/b", b"2")])).await.unwrap();
    for (garbage, stamp) in [("no stamp", 0), ("7:?", 7), (":", 0), ("", 0)] {
        server.command(&["HSET", FIRST, "shop/a", garbage]).await;
        let there = load(&store, 1).await.unwrap();
        let damaged = there.cells.get("shop/a").unwrap();
        let Content::Value { codec, .. } = &damaged.body.content else { panic!("a tombstone") };
        assert_eq!((codec.as_u8(), damaged.stamp), (0, stamp), "{garbage:?}");
        assert_eq!(there.cells.get("shop/b").unwrap().body, value(b"2"));
        // What a load reported is what a guard compares.
        let mut guarded = patch(&[put("shop/c", b"3")]);
        guarded.guards = vec![Guard { key: CellKey::from("shop/a"), stamp }];
        committed(store.commit(&key(1), &guarded).await.unwrap());
        assert_eq!(server.command(&["HGET", FIRST, "shop/a"]).await, garbage);
    }
}

#[tokio::test]
async fn an_index_that_was_lost_is_there_again_once_the_session_is_used() {
    let server = needs!(RedisServer::start().await);
    let store = store(&server).await;
    store.create(&key(1), record(&[])).await.unwrap();
    committed(store.commit(&key(1), &sign_in(1)).await.unwrap());
    let index = server.command(&["KEYS", "cloakroom:owner:*"]).await;
    assert_eq!(server.command(&["DEL", &index]).await, "1");
    load(&store, 1).await.unwrap();
    assert_eq!(store.by_owner(&owner(1).hash).await.unwrap().len(), 1);
    assert_eq!(store.delete_by_owner(&owner(1).hash, None).await.unwrap(), 1);
    assert!(peek(&store, 1).await.is_none());
}

#[tokio::test]
async fn an_index_drops_entries_whose_sessions_are_gone() {
    let server = needs!(RedisServer::start().await);
    let store = store(&server).await;
    for n in 1..4 {
        store.create(&key(n), record(&[])).await.unwrap();
        committed(store.commit(&key(n), &sign_in(1)).await.unwrap());
    }
    let index = server.command(&["KEYS", "cloakroom:owner:*"]).await;
    // As an eviction does.
    server.command(&["DEL", FIRST]).await;
    assert_eq!(server.command(&["ZCARD", &index]).await, "3");
    assert_eq!(store.by_owner(&owner(1).hash).await.unwrap().len(), 2);
    assert_eq!(server.command(&["ZCARD", &index]).await, "2");
}

#[tokio::test]
async fn an_index_drops_entries_that_are_over_when_one_is_added() {
    let server = needs!(RedisServer::start().await);
    let store = store(&server).await;
    store.create(&key(1), record(&[])).await.unwrap();
    committed(store.commit(&key(1), &sign_in(1)).await.unwrap());
    let index = server.command(&["KEYS", "cloakroom:owner:*"]).await;
    let over: Vec<String> = (0..150).map(|n| format!("ZADD {index} 1000 {n:A>22}")).collect();
    server.commands(&over.into()).await;
    // Some at once, so that none of many holds the server up.
    for (n, left) in [(2, 52), (3, 3), (4, 4)] {
        let mut other = record(&[]);
        other.header.owner = Some(owner(1));
        store.create(&key(n), other).await.unwrap();
        assert_eq!(server.command(&["ZCARD", &index]).await, left.to_string());
    }
}

#[tokio::test]
async fn an_entry_of_an_index_proves_nothing_of_its_session() {
    let server = needs!(RedisServer::start().await);
    let store = store(&server).await;
    for n in 1..=2 {
        store.create(&key(n), record(&[])).await.unwrap();
        committed(store.commit(&key(n), &sign_in(n)).await.unwrap());
    }
    let index = "cloakroom:owner:AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI";
    for by_owner in [true, false] {
        assert_eq!(server.command(&["ZADD", index, "9999999999999", "AQEBAQEBAQEBAQEBAQEBAQ"]).await, "1");
        if by_owner {
            let listed = store.by_owner(&owner(2).hash).await.unwrap();
            assert_eq!(listed.iter().map(|(key, _)| *key).collect::<Vec<_>>(), [key(2)]);
        } else {
            assert_eq!(store.delete_by_owner(&owner(2).hash, None).await.unwrap(), 1);
        }
        assert!(peek(&store, 1).await.is_some(), "it is another owner's");
    }
}

#[tokio::test]
async fn stores_with_different_prefixes_do_not_see_each_other() {
    let server = needs!(RedisServer::start().await);
    let with = async |prefix: &str| RedisStore::connect(server.url()).prefix(prefix).await.unwrap();
    // One that begins with the other, and one that would match everything as a pattern.
    let (one, longer, pattern) = (with("a:").await, with("a:b:").await, with("?*:").await);
    for store in [&one, &longer, &pattern] {
        assert!(peek(store, 1).await.is_none());
        assert_eq!(store.create(&key(1), record(&[])).await.unwrap(), CreateOutcome::Created);
        committed(store.commit(&key(1), &sign_in(1)).await.unwrap());
    }
    assert_eq!(pattern.sweep(NOW.plus(48 * HOUR), 100).await.unwrap(), 1);
    assert_eq!(one.delete_by_owner(&owner(1).hash, None).await.unwrap(), 1);
    assert!(peek(&one, 1).await.is_none() && peek(&pattern, 1).await.is_none());
    assert!(peek(&longer, 1).await.is_some());
}
