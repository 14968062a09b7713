//! What lies in the stores, read as a thief reads it: no token, no secret field, nothing that opens under another session.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod memory;
mod silence;

use self::silence::a_whole_life_is_silent_about_what_opens_it;
use axum::{
    Router,
    routing::{get, post},
};
use base64ct::{Base64UrlUnpadded, Encoding};
use cloakroom::{SessionData, TypedSession};
use cloakroom_tests::{allocations, engines::Running, on_engines, shop::Browser, site::COOKIE};

#[global_allocator]
static ALLOCATOR: allocations::Watching = allocations::Watching;

on_engines! {
    [in_memory: Memory, with_sqlite: Sqlite, with_redis: Redis, with_a_redis_cluster: RedisCluster, with_postgres: Postgres, with_mysql: MySql]
    {
        a_whole_life_is_silent_about_what_opens_it
    }
}

on_engines! {
    [on_sqlite: Sqlite, on_redis: Redis, on_a_redis_cluster: RedisCluster, on_postgres: Postgres, on_mysql: MySql]
    {
        a_store_holds_neither_token_nor_secret_field_nor_session_key
        a_cell_copied_to_another_session_opens_nothing_there
    }
}

/// What a thief would look for, long enough not to be found by chance.
const PLAIN: &str = "a-plain-value-that-must-be-found-4cf1";
const SECRET: &str = "a-secret-value-that-must-not-be-found-9be2";
const LATER: &str = "a-later-secret-that-must-not-be-found-77d0";

#[derive(SessionData)]
struct Vault {
    name: String,
    #[session(secret)]
    password: String,
}

#[derive(SessionData)]
#[session(secret)]
struct Tokens {
    access: Option<String>,
}

fn routes() -> Router {
    Router::new()
        .route(
            "/keep",
            post(async |mut vault: TypedSession<Vault>, mut tokens: TypedSession<Tokens>| {
                *vault.name = PLAIN.to_owned();
                *vault.password = SECRET.to_owned();
                *tokens.access = Some(SECRET.to_owned());
            }),
        )
        .route("/change", post(async |mut vault: TypedSession<Vault>| *vault.password = LATER.to_owned()))
        .route("/rotate", post(async |mut vault: TypedSession<Vault>| vault.rotate()))
        .route(
            "/",
            get(async |vault: TypedSession<Vault>, tokens: TypedSession<Tokens>| {
                format!("{} {} {:?}", *vault.name, *vault.password, tokens.access.as_deref())
            }),
        )
}

async fn kept(running: &Running) -> Browser {
    let browser = running.house().browser(routes());
    assert_eq!(browser.post("/keep").await.status(), 200);
    browser
}

fn find(haystack: &[u8], needle: &[u8]) -> bool {
    memchr::memmem::find(haystack, needle).is_some()
}

/// The bytes as they are, and as a text format would write them.
fn forms(bytes: &[u8]) -> Vec<Vec<u8>> {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    vec![
        bytes.to_vec(),
        hex.to_uppercase().into_bytes(),
        hex.into_bytes(),
        Base64UrlUnpadded::encode_string(bytes).into_bytes(),
    ]
}

async fn a_store_holds_neither_token_nor_secret_field_nor_session_key(running: Running) {
    let browser = kept(&running).await;
    let mut tokens = vec![browser.cookie(COOKIE).unwrap()];
    for uri in ["/change", "/rotate"] {
        assert_eq!(browser.post(uri).await.status(), 200);
        tokens.push(browser.cookie(COOKIE).unwrap());
    }
    assert_eq!(browser.get("/").await.text(), format!("{PLAIN} {LATER} Some({SECRET:?})"));

    let raw = running.place.raw_bytes().await;
    assert!(find(&raw, PLAIN.as_bytes()), "what is not secret is there, or this test looks at the wrong bytes");
    for secret in [SECRET, LATER] {
        for form in forms(secret.as_bytes()) {
            assert!(!find(&raw, &form), "{secret} is in the store");
        }
    }
    for token in tokens {
        assert!(!find(&raw, token.as_bytes()), "a token is in the store");
        let bytes = Base64UrlUnpadded::decode_vec(&token).unwrap();
        for form in forms(&bytes[16..]) {
            assert!(!find(&raw, &form), "a token's secret is in the store");
        }
        // The key under which the secrets are sealed, as the holder of this token would unwrap it.
        let record = running.house().record_of(&cloakroom_tests::site::selector(&token)).await.unwrap();
        let pad = blake3::derive_key("cloakroom 1 session key wrap", &bytes);
        let wrapped = record.header.wrapped_key;
        let key: Vec<u8> = wrapped.as_bytes().iter().zip(pad).map(|(a, b)| a ^ b).collect();
        for form in forms(&key) {
            assert!(!find(&raw, &form), "a session key is in the store");
        }
    }
}

async fn a_cell_copied_to_another_session_opens_nothing_there(running: Running) {
    let house = running.house();
    let (rich, poor) = (kept(&running).await, house.browser(routes()));
    assert_eq!(poor.post("/change").await.status(), 200);
    let theirs = house.record(&rich).await.unwrap();
    let stolen = |key: &'static str| (key, theirs.cells.get(key).unwrap().body.clone());
    assert_eq!(poor.get("/").await.text(), format!(" {LATER} None"));
    house.plant(&poor, [stolen("vault/name"), stolen("vault/password"), stolen("tokens/access")]).await;
    assert_eq!(poor.get("/").await.text(), "  None", "both schemas start from their defaults");
    assert_eq!(rich.get("/").await.text(), format!("{PLAIN} {SECRET} Some({SECRET:?})"), "and their owner's are as before");
}
