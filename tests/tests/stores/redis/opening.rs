//! Opening a store: addresses, credentials, certificates, and what errors say of them.

use super::fixture::*;
use cloakroom::{
    record::CreateOutcome,
    store::{RedisStore, SessionStore, StoreError},
};
use cloakroom_tests::{
    needs,
    servers::{PASSWORD, RedisServer, Server as _},
};
use std::{process::Command, time::Duration};

async fn refusal(connect: cloakroom::store::RedisConnect) -> String {
    let debug = format!("{connect:?}");
    assert!(!debug.contains(PASSWORD), "{debug}");
    let refused = connect.await.unwrap_err();
    assert!(matches!(refused, StoreError::Unavailable(_)));
    let said = format!("{refused} {refused:?}");
    assert!(!said.contains(PASSWORD), "{said}");
    said
}

#[tokio::test]
async fn an_address_that_makes_no_sense_is_refused_with_what_to_type_and_without_repeating_it() {
    for (url, says) in [
        ("localhost:6379".to_owned(), "has no scheme"),
        (format!("http://user:{PASSWORD}@localhost"), "begins with http://"),
        (format!("rediss://:{PASSWORD}@localhost#insecure"), "after a '#'"),
        (format!("redis://:{PASSWORD}@localhost/first"), "is not one"),
        (format!("redis://:{PASSWORD}@localhost:port"), "is not one"),
    ] {
        let said = refusal(RedisStore::connect(&url)).await;
        assert!(said.contains(says) && said.contains("redis://host:6379/0"), "{said}");
        let said = refusal(RedisStore::sentinel([&url], "it")).await;
        assert!(said.contains(says), "{said}");
        let said = refusal(RedisStore::cluster([&url])).await;
        assert!(said.contains(says), "{said}");
    }
    let none: [&str; 0] = [];
    assert!(refusal(RedisStore::cluster(none)).await.contains("give at least one"));
    let different = [format!("redis://:{PASSWORD}@one"), "redis://two".to_owned()];
    assert!(refusal(RedisStore::cluster(different)).await.contains("only in host and port"));
    assert!(refusal(RedisStore::sentinel(["redis+unix:///tmp/it"], "it")).await.contains("sockets"));
}

#[tokio::test]
async fn a_prefix_that_cannot_be_is_refused_with_the_reason() {
    for (prefix, says) in [
        ("", "is empty"),
        ("a{b}:", "has a brace"),
        ("a b:", "white space"),
        ("a\n:", "control character"),
        (&*"x".repeat(201), "longer than 200"),
    ] {
        let said = refusal(RedisStore::connect("redis://127.0.0.1:1").prefix(prefix)).await;
        assert!(said.contains(says), "{said}");
    }
    assert!(refusal(RedisStore::connect("redis://127.0.0.1:1").timeout(Duration::ZERO)).await.contains("timeout of zero"));
}

#[tokio::test]
async fn nobody_listening_is_an_error_at_once() {
    let said = refusal(RedisStore::connect(format!("redis://:{PASSWORD}@127.0.0.1:1"))).await;
    assert!(said.contains("refused"), "{said}");
}

#[tokio::test]
async fn a_wrong_password_is_refused_without_showing_it_and_the_right_one_opens_the_named_database() {
    let server = needs!(RedisServer::with(&["--requirepass", "the right one"]).await);
    let with = |password: &str| server.url().replace("redis://", &format!("redis://:{password}@")) + "/3";
    let said = refusal(RedisStore::connect(with(PASSWORD))).await;
    assert!(said.contains("assword"), "{said}");
    assert!(RedisStore::connect(server.url()).await.is_err());
    let store = RedisStore::connect(with("the%20right%20one")).await.unwrap();
    assert_eq!(store.create(&key(1), record(&[])).await.unwrap(), CreateOutcome::Created);
    let shown = format!("{store:?}");
    assert!(shown.contains("127.0.0.1") && !shown.contains("right"), "{shown}");
    let authorized = server.command(&["AUTH", "the right one"]).await;
    assert_eq!(authorized, "OK");
}

#[tokio::test]
async fn a_socket_of_the_file_system_is_reached() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("redis.sock");
    let _server = needs!(RedisServer::with(&["--unixsocket", socket.to_str().unwrap()]).await);
    let store = RedisStore::connect(format!("redis+unix://{}?db=2", socket.display())).await.unwrap();
    store.create(&key(1), record(&[])).await.unwrap();
    assert!(load(&store, 1).await.is_some());
}

/// What a process with those certificates says when it opens a store there.
fn open_elsewhere(url: &str, certificates: Option<&std::path::Path>) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_opens"));
    command.arg(url);
    match certificates {
        Some(file) => command.env("SSL_CERT_FILE", file),
        None => command.env_remove("SSL_CERT_FILE"),
    };
    let output = command.output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[tokio::test]
async fn tls_is_spoken_with_servers_whose_certificate_is_trusted_and_with_no_other() {
    let server = needs!(RedisServer::with_tls(&[]).await);
    let stranger = needs!(RedisServer::with_tls(&[]).await);
    let said = open_elsewhere(&server.url(), Some(server.ca_file()));
    assert!(said.contains("opened: Created"), "{said}");
    let said = open_elsewhere(&server.url(), Some(stranger.ca_file()));
    assert!(said.contains("refused") && said.contains("certificate"), "{said}");
    let said = open_elsewhere(&server.url(), None);
    assert!(said.contains("refused"), "{said}");
}
