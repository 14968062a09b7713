//! Several processes with connections of their own serve one session, of one build or of two, and one dies at the worst moment.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use base64ct::{Base64UrlUnpadded, Encoding};
use cloakroom::{
    Clock, SystemClock,
    record::{Record, Timestamp},
    store::SessionStore,
};
use cloakroom_tests::{
    engines::Running,
    on_engines,
    processes::Process,
    site::{record, selector},
};

on_engines! {
    [on_sqlite: Sqlite, on_redis: Redis, on_a_redis_cluster: RedisCluster, on_postgres: Postgres, on_mysql: MySql]
    {
        two_processes_serve_one_session_alternately_and_see_each_others_writes_at_once
        builds_of_two_versions_serve_one_session_alternately_and_nobody_is_signed_out
        f4_a_process_that_dies_between_store_and_response_leaves_whole_records_only
    }
}

/// One of the machines of a small shop; `keep` and `hold` are what it does with a change.
fn node(manner: &str, running: &Running) -> Process {
    Process::start(env!("CARGO_BIN_EXE_node"), &[manner], running)
}

async fn two_processes_serve_one_session_alternately_and_see_each_others_writes_at_once(running: Running) {
    let (one, other) = (node("keep", &running), node("keep", &running));
    let cookie = one.ask("POST", "/view", None).2.expect("a new session");
    for round in 1..=20u64 {
        let (writes, reads) = if round % 2 == 0 { (&one, &other) } else { (&other, &one) };
        assert_eq!(writes.post("/view", &cookie), 200);
        assert_eq!(writes.post(&format!("/name/n{round}"), &cookie), 200);
        assert_eq!(reads.get(&cookie), format!("{} n{round}", round + 1), "round {round}");
    }
    let (_, _, renewed) = one.ask("POST", "/rotate", Some(&cookie));
    let renewed = renewed.expect("a rotation brings a token");
    assert_eq!(other.get(&renewed), "21 n20");
    assert_eq!(other.get(&cookie), "0 ", "the old token is dead on every machine at once");
    assert_eq!(other.post("/out", &renewed), 200);
    assert_eq!(one.get(&renewed), "0 ", "and so is a session that another machine ended");
}

/// What a build answers is what its version sees: user, views, total, and then what only that version has.
async fn builds_of_two_versions_serve_one_session_alternately_and_nobody_is_signed_out(running: Running) {
    let old = || Process::start(env!("CARGO_BIN_EXE_shop_v1"), &[], &running);
    let new = || Process::start(env!("CARGO_BIN_EXE_shop_v2"), &[], &running);
    let (v1, v2) = (old(), new());
    let cookie = v1.ask("POST", "/user/ada", None).2.expect("a new session");
    let post = |process: &Process, path: &str| assert_eq!(process.post(path, &cookie), 200, "{path}");
    post(&v1, "/total/5");
    post(&v1, "/coupon/TEN");
    assert_eq!(v2.get(&cookie), "ada 0 5 exact light", "a total is upgraded, a theme is new, and a coupon no more");
    post(&v2, "/total/700");
    post(&v2, "/theme/dark");
    assert_eq!(v1.get(&cookie), "ada 0 700 TEN", "rolled back: what the newer build wrote, and what it does not have");
    assert_eq!(v2.get(&cookie), "ada 0 700 rounded dark", "deployed again: also what the older build cannot hold");

    for round in 1..=10u64 {
        post(&v1, "/view");
        post(&v1, &format!("/coupon/c{round}"));
        assert_eq!(v2.get(&cookie), format!("ada {} 700 rounded dark", 2 * round - 1), "round {round}");
        post(&v2, "/view");
        assert_eq!(v1.get(&cookie), format!("ada {} 700 c{round}", 2 * round), "round {round}");
    }
    post(&v1, "/total/3");
    assert_eq!(v2.get(&cookie), "ada 20 3 exact dark", "the total of the older build, and nothing else has changed");

    // Either build may replace the token, and both take the new one only; so do processes that know nothing of the old.
    let renewed = v2.ask("POST", "/rotate", Some(&cookie)).2.expect("a rotation brings a token");
    assert_eq!((v1.get(&renewed), v2.get(&renewed)), ("ada 20 3 c10".to_owned(), "ada 20 3 exact dark".to_owned()));
    let again = v1.ask("POST", "/rotate", Some(&renewed)).2.expect("a rotation brings a token");
    assert_eq!(v2.get(&renewed), "nobody 0 0 exact light", "the old token is dead for both");
    drop((v1, v2));
    assert_eq!((old().get(&again), new().get(&again)), ("ada 20 3 c10".to_owned(), "ada 20 3 exact dark".to_owned()));
}

async fn stored(running: &Running, cookie: &str) -> Option<Record> {
    let token = cookie.split_once('=').unwrap().1;
    let store = running.another().await;
    record(&store, &selector(token), Timestamp::from(SystemClock.now())).await
}

/// The other session of a session's owner, with the secret of this one: what knows its name and not its secret would send.
async fn left_alone(running: &Running, cookie: &str) -> String {
    let (name, token) = cookie.split_once('=').unwrap();
    let owner = stored(running, cookie).await.unwrap().header.owner.unwrap();
    let others = running.another().await.by_owner(&owner.hash).await.unwrap();
    let mut bytes = Base64UrlUnpadded::decode_vec(token).unwrap();
    let (other, _) = others.iter().find(|(key, _)| *key != selector(token)).expect("there are two");
    bytes[..16].copy_from_slice(other.as_bytes());
    format!("{name}={}", Base64UrlUnpadded::encode_string(&bytes))
}

async fn f4_a_process_that_dies_between_store_and_response_leaves_whole_records_only(running: Running) {
    let healthy = node("keep", &running);
    let cookie = healthy.ask("POST", "/view", None).2.expect("a new session");

    node("hold", &running).die_storing("/name/durable", Some(&cookie));
    assert_eq!(healthy.get(&cookie), "1 durable", "the change is there");
    assert_eq!(healthy.post("/name/durable", &cookie), 200, "and making it again is harmless");
    node("hold", &running).die_storing("/view", Some(&cookie));
    assert_eq!(healthy.post("/view", &cookie), 200);
    assert_eq!(healthy.get(&cookie), "3 durable", "an increment made again counts again");

    // A new session whose token was never sent: it is whole, and only its token opens it.
    let eve = healthy.ask("POST", "/in/eve", None).2.expect("a new session");
    node("hold", &running).die_storing("/in/eve", None);
    let lost = left_alone(&running, &eve).await;
    let record = stored(&running, &lost).await.expect("the record lives");
    let keys: Vec<String> = record.cells.iter().map(|cell| cell.key.to_string()).collect();
    assert_eq!(keys, ["shop/name", "shop/user", "shop/views"]);
    assert_eq!(healthy.ask("GET", "/", Some(&lost)), (200, "0 ".to_owned(), None), "refused, and the cookie is left alone");
    let after = stored(&running, &lost).await.expect("it still lives");
    assert_eq!(after.header.encode(), record.header.encode(), "and that counts as no use");
    assert_eq!((healthy.get(&cookie), healthy.get(&eve)), ("3 durable".to_owned(), "1 new".to_owned()));

    // A privilege rotation fails closed: the client has the dead token, and signs in again.
    node("hold", &running).die_storing("/rotate", Some(&cookie));
    let record = stored(&running, &cookie).await.expect("the record lives");
    assert_eq!(record.header.epoch, 1);
    assert_eq!(
        healthy.ask("GET", "/", Some(&cookie)),
        (200, "0 ".to_owned(), None),
        "stale: defaults, and the cookie is left alone"
    );

    let cookie = healthy.ask("POST", "/view", None).2.expect("a new session");
    node("hold", &running).die_storing("/out", Some(&cookie));
    assert!(stored(&running, &cookie).await.is_none(), "a destroyed session stays destroyed");
}

/// The nonce of a sealed cookie: what follows its format and its key's id.
#[cfg(unix)]
fn nonce(sealed: &str) -> Vec<u8> {
    Base64UrlUnpadded::decode_vec(sealed).expect("base64url")[5..29].to_vec()
}

#[cfg(unix)]
#[test]
fn two_processes_after_a_fork_share_no_token_and_no_nonce() {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_forked")).output().expect("the process starts");
    let said = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<(&str, &str)> = said.lines().map(|line| line.split_once(' ').expect("two cookies")).collect();
    let [(one, one_sealed), (other, other_sealed)] = lines[..] else {
        panic!("two processes print a line each: {said}{}", String::from_utf8_lossy(&output.stderr))
    };
    let halves = |token: &str| {
        Base64UrlUnpadded::decode_vec(token).expect("base64url").chunks(16).map(<[u8]>::to_vec).collect::<Vec<_>>()
    };
    for (one, other) in halves(one).iter().zip(halves(other)) {
        assert_ne!(*one, other, "the selectors differ, and so do the secrets");
    }
    assert_ne!(nonce(one_sealed), nonce(other_sealed));
}
