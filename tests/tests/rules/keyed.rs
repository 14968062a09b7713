//! A thief who writes to the database, without and with keyed hashes of secrets.

use axum::{Router, extract::Path, routing::any};
use base64ct::{Base64UrlUnpadded, Encoding};
use cloakroom::{
    KeyRing, Lifetime, SessionData, SessionLayer, SignedIn, TypedSession,
    record::{Header, OwnerHash, SecretHash, Selector},
    store::{CookieStore, IdleTouch, MemoryStore, SessionStore, SqliteStore},
    testing::Operation,
};
use cloakroom_tests::{
    events::Events,
    shop::{Browser, House},
    site::{COOKIE, Effect, effect, keys, seconds, selector},
};
use rusqlite::Connection;
use std::time::Duration;

#[derive(SessionData)]
#[session(name = "members")]
struct Members {
    #[session(owner)]
    user: Option<String>,
    note: String,
    #[session(secret)]
    code: String,
}

fn routes() -> Router {
    Router::new()
        .route("/", any(async |s: TypedSession<Members>| format!("{} {}", s.user.as_deref().unwrap_or("-"), s.note.as_str())))
        .route("/mine", any(async |s: SignedIn<Members>| s.owner().cloned().unwrap_or_default()))
        .route("/in/{user}", any(async |Path(user): Path<String>, mut s: TypedSession<Members>| *s.user = Some(user)))
        .route("/out", any(async |mut s: TypedSession<Members>| *s.user = None))
        .route("/note/{note}", any(async |Path(note): Path<String>, mut s: TypedSession<Members>| *s.note = note))
        .route("/code/{code}", any(async |Path(code): Path<String>, mut s: TypedSession<Members>| *s.code = code))
        .route("/code", any(async |s: TypedSession<Members>| s.code.to_string()))
        .route("/rotate", any(async |mut s: TypedSession<Members>| s.rotate()))
}

/// A ring from these keys, the first of which is active.
fn ring(fills: &[u8]) -> KeyRing {
    let key = |fill: u8| std::array::from_fn::<u8, 32, _>(|at| fill ^ at as u8);
    let first = KeyRing::from_bytes(key(fills[0])).unwrap();
    fills[1..].iter().fold(first, |ring, fill| ring.retired(key(*fill)).unwrap())
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Secrets {
    Plain,
    Keyed,
}

/// A site over a database, and the thief's connection to it.
struct Heist {
    _folder: tempfile::TempDir,
    house: House<SqliteStore>,
    app: Router,
    database: Connection,
}

impl Heist {
    async fn plan(secrets: Secrets) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sessions.db");
        let house = House::over(SqliteStore::open(&path).await.unwrap());
        let layer = house.layer();
        let layer = if secrets == Secrets::Keyed { layer.keyed(ring(&[1])) } else { layer };
        Self { _folder: folder, app: routes().layer(layer), house, database: Connection::open(&path).unwrap() }
    }

    fn browser(&self) -> Browser {
        self.house.browser_of(self.app.clone())
    }

    async fn signed_in(&self, user: &str) -> Browser {
        let browser = self.browser();
        browser.post(&format!("/note/of-{user}")).await;
        assert_eq!(browser.post(&format!("/in/{user}")).await.status(), 200);
        assert_eq!(browser.get("/").await.text(), format!("{user} of-{user}"));
        browser
    }

    fn header(&self, key: &Selector) -> Header {
        let read = "SELECT header FROM cloakroom_record WHERE selector = ?";
        let bytes: Vec<u8> = self.database.query_row(read, [&key.as_bytes()[..]], |row| row.get(0)).unwrap();
        Header::decode(&bytes).unwrap()
    }

    fn rewrite(&self, key: &Selector, header: &Header) {
        let owner = header.owner.as_ref().map(|owner| owner.hash.as_bytes().to_vec());
        let write = "UPDATE cloakroom_record SET header = ?, owner = ? WHERE selector = ?";
        let rows = self.database.execute(write, (header.encode(), owner, &key.as_bytes()[..])).unwrap();
        assert_eq!(rows, 1);
    }

    fn copy_cell(&self, key: &str, from: &Selector, to: &Selector) {
        let copy = "INSERT OR REPLACE INTO cloakroom_cell SELECT ?, key, stamp, body FROM cloakroom_cell WHERE selector = ? AND key = ?";
        let rows = self.database.execute(copy, (&to.as_bytes()[..], &from.as_bytes()[..], key)).unwrap();
        assert_eq!(rows, 1);
    }
}

fn key_of(browser: &Browser) -> Selector {
    selector(&browser.cookie(COOKIE).unwrap())
}

fn secret_of(browser: &Browser) -> [u8; 16] {
    Base64UrlUnpadded::decode_vec(&browser.cookie(COOKIE).unwrap()).unwrap()[16..].try_into().unwrap()
}

fn token(key: &Selector, secret: [u8; 16]) -> String {
    Base64UrlUnpadded::encode_string(&[*key.as_bytes(), secret].concat())
}

/// What the thief sees with this cookie; without keys it is Ann's page.
async fn try_in(heist: &Heist, secrets: Secrets, how: &str, cookie: &str) {
    let browser = heist.browser();
    browser.set_cookie(COOKIE, cookie);
    let (page, mine) = (browser.get("/").await.text(), browser.get("/mine").await);
    let is_ann = page.starts_with("ann") && mine.status() == 200 && mine.text() == "ann";
    match secrets {
        Secrets::Plain => assert!(is_ann, "{how}: {page}: this is what the documents say of a store without keyed hashes"),
        Secrets::Keyed => assert!(!page.contains("ann") && mine.status() == 401, "{how}: {page}, {}", mine.status()),
    }
}

#[tokio::test]
async fn a_thief_who_writes_to_the_database_opens_nothing_that_is_keyed() {
    for secrets in [Secrets::Plain, Secrets::Keyed] {
        // The hash of a secret of the thief's own.
        let heist = Heist::plan(secrets).await;
        let ann = key_of(&heist.signed_in("ann").await);
        let mut header = heist.header(&ann);
        header.secret_hash = SecretHash::from_bytes(*blake3::hash(&[7; 16]).as_bytes());
        heist.rewrite(&ann, &header);
        try_in(&heist, secrets, "a hash of an own secret", &token(&ann, [7; 16])).await;

        // The hash out of the thief's own record.
        let heist = Heist::plan(secrets).await;
        let (ann, eve) = (key_of(&heist.signed_in("ann").await), heist.signed_in("eve").await);
        let mut header = heist.header(&ann);
        header.secret_hash = heist.header(&key_of(&eve)).secret_hash;
        heist.rewrite(&ann, &header);
        try_in(&heist, secrets, "the hash of an own record", &token(&ann, secret_of(&eve))).await;

        // Ann as the owner of the thief's session, signed in or not.
        for signed_in in [true, false] {
            let heist = Heist::plan(secrets).await;
            let ann = key_of(&heist.signed_in("ann").await);
            let eve = if signed_in {
                heist.signed_in("eve").await
            } else {
                let browser = heist.browser();
                browser.post("/note/mine").await;
                browser
            };
            let mut header = heist.header(&key_of(&eve));
            header.owner = heist.header(&ann).owner;
            heist.rewrite(&key_of(&eve), &header);
            heist.copy_cell("members/user", &ann, &key_of(&eve));
            try_in(&heist, secrets, "another owner in the header", &eve.cookie(COOKIE).unwrap()).await;
            // In the fields alone.
            header.owner = None;
            heist.rewrite(&key_of(&eve), &header);
            let how = "an owner in a field alone";
            if signed_in && secrets == Secrets::Plain {
                continue;
            }
            try_in(&heist, secrets, how, &eve.cookie(COOKIE).unwrap()).await;
        }

        // A token that the thief has planted before the sign-in, and the hash of then.
        let heist = Heist::plan(secrets).await;
        let ann = heist.browser();
        ann.post("/note/planted").await;
        let (planted, before) = (ann.cookie(COOKIE).unwrap(), heist.header(&key_of(&ann)));
        ann.post("/in/ann").await;
        let mut header = heist.header(&key_of(&ann));
        (header.secret_hash, header.wrapped_key) = (before.secret_hash, before.wrapped_key);
        heist.rewrite(&key_of(&ann), &header);
        try_in(&heist, secrets, "a hash from before the sign-in", &planted).await;
        header.previous = Some(cloakroom::record::Previous {
            secret_hash: before.secret_hash,
            wrapped_key: before.wrapped_key,
            state: cloakroom::record::PreviousState::Pending,
            since: before.created,
        });
        heist.rewrite(&key_of(&ann), &header);
        try_in(&heist, secrets, "a previous hash from before the sign-in", &planted).await;
    }
}

#[tokio::test]
async fn the_hash_of_one_anonymous_session_opens_no_other_that_is_keyed() {
    for (secrets, page) in [(Secrets::Plain, "- victims"), (Secrets::Keyed, "- ")] {
        let heist = Heist::plan(secrets).await;
        let (victim, thief) = (heist.browser(), heist.browser());
        victim.post("/note/victims").await;
        thief.post("/note/thiefs").await;
        let mut header = heist.header(&key_of(&victim));
        header.secret_hash = heist.header(&key_of(&thief)).secret_hash;
        heist.rewrite(&key_of(&victim), &header);
        let cookie = token(&key_of(&victim), secret_of(&thief));
        thief.set_cookie(COOKIE, cookie);
        assert_eq!(thief.get("/").await.text(), page, "{secrets:?}");
    }
}

#[tokio::test]
async fn with_keys_a_thief_still_changes_readable_cells() {
    let heist = Heist::plan(Secrets::Keyed).await;
    let (ann, eve) = (heist.signed_in("ann").await, heist.signed_in("eve").await);
    heist.copy_cell("members/note", &key_of(&eve), &key_of(&ann));
    assert_eq!(ann.get("/").await.text(), "ann of-eve");
    // Also where a sealed one was, since a field may have become `secret` lately.
    ann.post("/code/1234").await;
    let plant = "UPDATE cloakroom_cell SET body = (SELECT body FROM cloakroom_cell WHERE selector = ? AND key = 'members/note') WHERE selector = ? AND key = 'members/code'";
    let keys = (&key_of(&eve).as_bytes()[..].to_vec(), &key_of(&ann).as_bytes()[..].to_vec());
    assert_eq!(heist.database.execute(plant, keys).unwrap(), 1);
    assert_eq!(ann.get("/code").await.text(), "of-eve");
}

/// Lives through everything that replaces a token or an owner, under keys.
async fn live_on<S: SessionStore + Clone>(house: House<S>) {
    let browser = house.browser_of(routes().layer(house.layer().keyed(ring(&[1])).renew(seconds(60), seconds(10))));
    let page = async || browser.get("/").await.text();
    browser.post("/note/hello").await;
    browser.post("/code/1234").await;
    for user in ["ann", "ann", "bob"] {
        browser.post(&format!("/in/{user}")).await;
        assert!(page().await.starts_with(user));
        let old = browser.cookie(COOKIE).unwrap();
        browser.post("/rotate").await;
        assert_ne!(browser.cookie(COOKIE).unwrap(), old);
        assert!(page().await.starts_with(user));
        house.clock.advance(seconds(61));
        let Effect::Set(renewed) = effect(&browser.get("/").await) else { panic!("a renewal") };
        assert_ne!(renewed, old);
        // Both tokens of a renewal are known, until the new one has been presented.
        for cookie in [&old, &renewed] {
            let other = browser.fork();
            other.set_cookie(COOKIE, cookie);
            let opens = other.get("/").await.text().starts_with(user);
            assert_eq!(opens, *cookie == renewed, "a rotation ended the one before: {user}");
        }
        assert!(page().await.starts_with(user));
    }
    browser.post("/out").await;
    assert_eq!(page().await, "- ");
}

#[tokio::test]
async fn sessions_with_keyed_hashes_live_as_others_do() {
    live_on(House::new()).await;
    live_on(House::over(SqliteStore::in_memory().await.unwrap())).await;
}

#[tokio::test]
async fn use_is_noted_for_owned_sessions_and_under_every_key() {
    let house = House::new();
    assert_eq!(house.store.idle_touch(), IdleTouch::AtLoad);
    let hour = Lifetime::new(seconds(3600), seconds(100 * 3600)).unwrap();
    let app = |keys| routes().layer(house.layer().lifetime(hour).keyed(keys));
    let (old, new) = (house.browser_of(app(ring(&[1]))), app(ring(&[2, 1])));
    let owned = old.fork();
    old.post("/note/x").await;
    owned.post("/in/ann").await;
    for keyed in [old.clone(), owned.clone()] {
        let renewed = house.browser_of(new.clone());
        renewed.set_cookie(COOKIE, keyed.cookie(COOKIE).unwrap());
        for _ in 0..5 {
            house.clock.advance(seconds(2400));
            for browser in [&keyed, &renewed, &old, &owned] {
                let page = browser.get("/").await.text();
                assert!(["- x", "ann "].contains(&&*page), "{page:?}");
            }
        }
    }
    house.log();
    owned.get("/").await;
    assert_eq!(house.store.count(Operation::Commit), 0, "and seldom: it was noted a moment ago");
}

#[tokio::test]
async fn a_key_is_replaced_and_no_session_ends() {
    let house = House::new();
    let app = |keys: &[u8]| routes().layer(house.layer().keyed(ring(keys)));
    let tell = async |keys: &[u8], browser: &Browser, uri: &str| {
        let other = house.browser_of(app(keys));
        other.set_cookie(COOKIE, browser.cookie(COOKIE).unwrap());
        let response = other.get(uri).await;
        if let Effect::Set(token) = effect(&response) {
            browser.set_cookie(COOKIE, token);
        }
        response.text()
    };
    let ann = house.browser_of(app(&[1]));
    ann.post("/in/ann").await;
    // The fleet learns the new key, then the new key hashes; each machine may have either ring.
    for keys in [&[1][..], &[1, 2], &[2, 1], &[1, 2], &[2, 1]] {
        assert_eq!(tell(keys, &ann, "/").await, "ann ", "{keys:?}");
    }
    assert_eq!(tell(&[2], &ann, "/").await, "- ", "a server without the key does not know the session");
    assert_eq!(tell(&[2, 1], &ann, "/rotate").await, "");
    assert_eq!(tell(&[2], &ann, "/").await, "ann ", "its next token is hashed with the new key");
    assert_eq!(tell(&[1], &ann, "/").await, "- ");
}

#[tokio::test]
async fn turning_keys_on_or_off_ends_sessions_and_clears_no_cookie() {
    let house = House::new();
    let (plain, keyed) = (routes().layer(house.layer()), routes().layer(house.layer().keyed(ring(&[1]))));
    for (before, after) in [(&plain, &keyed), (&keyed, &plain)] {
        let browser = house.browser_of(before.clone());
        browser.post("/in/ann").await;
        let other = house.browser_of(after.clone());
        other.set_cookie(COOKIE, browser.cookie(COOKIE).unwrap());
        let response = other.get("/").await;
        assert_eq!((&*response.text(), effect(&response)), ("- ", Effect::Nothing));
        house.clock.advance(Duration::from_secs(61));
        assert_eq!(other.post("/in/ann").await.status(), 200);
        assert_eq!(other.get("/").await.text(), "ann ");
        assert_eq!(browser.get("/").await.text(), "ann ", "taken back, the session is there again");
    }
}

#[tokio::test]
async fn with_a_cookie_store_keys_do_nothing_and_an_event_says_so() {
    let events = Events::capture();
    let layer = SessionLayer::new(CookieStore::new(keys())).keyed(ring(&[1]));
    assert!(events.take().iter().any(|said| said.contains("session.without_effect") && said.contains("keyed")));
    assert!(format!("{layer:?}").contains("plain"));
    let debug = format!("{:?}", SessionLayer::new(MemoryStore::new()).keyed(ring(&[1])));
    assert!(debug.contains("secrets: keyed"), "{debug}");
}

#[tokio::test]
async fn a_keyed_hash_in_a_record_is_that_of_the_wire_format() {
    let house = House::new();
    let browser = house.browser_of(routes().layer(house.layer().keyed(ring(&[1]))));
    let material: [u8; 32] = std::array::from_fn(|at| 1 ^ at as u8);
    let key = blake3::derive_key("cloakroom 1 secret hash", &material);
    let expected = |token: &str, owner: Option<OwnerHash>| {
        let mut input = Base64UrlUnpadded::decode_vec(token).unwrap();
        input.extend(owner.iter().flat_map(|owner| *owner.as_bytes()));
        *blake3::keyed_hash(&key, &input).as_bytes()
    };
    browser.post("/note/x").await;
    let anonymous = house.record(&browser).await.unwrap().header;
    assert_eq!(*anonymous.secret_hash.as_bytes(), expected(&browser.cookie(COOKIE).unwrap(), None));
    browser.post("/in/ann").await;
    let owned = house.record(&browser).await.unwrap().header;
    let owner = owned.owner.as_ref().unwrap().hash;
    assert_eq!(*owned.secret_hash.as_bytes(), expected(&browser.cookie(COOKIE).unwrap(), Some(owner)));
}
