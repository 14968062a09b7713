//! What of a `secret` field is left in memory that is free again.

use axum::{
    Router,
    routing::{get, post},
};
use cloakroom::{SessionData, SessionLayer, SessionValue, TypedSession, store::CookieStore, testing::TestClient};
use cloakroom_tests::{
    allocations::{WATCHED, left_behind},
    shop::House,
    site::keys,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;

/// Never holds the plain bytes itself: it masks them as they come, and unmasks them one by one as they go.
#[derive(Default)]
struct Masked(Vec<u8>);

const MASK: u8 = 0x5a;

impl SessionValue for Masked {
    const SHAPE: cloakroom::record::Shape = <Vec<u8> as SessionValue>::SHAPE;
}

impl Serialize for Masked {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|byte| byte ^ MASK))
    }
}

impl<'de> Deserialize<'de> for Masked {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl<'de> de::Visitor<'de> for Bytes {
            type Value = Masked;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, mut bytes: A) -> Result<Masked, A::Error> {
                let mut masked = Vec::new();
                while let Some(byte) = bytes.next_element::<u8>()? {
                    masked.push(byte ^ MASK);
                }
                Ok(Masked(masked))
            }
        }
        deserializer.deserialize_seq(Bytes)
    }
}

fn masked(times: usize) -> Masked {
    Masked((0..times).flat_map(|_| WATCHED).map(|byte| byte ^ MASK).collect())
}

#[derive(SessionData)]
struct Safe {
    #[session(secret)]
    short: Masked,
    #[session(secret, merge = "strict")]
    long: Masked,
    open: Masked,
}

fn routes() -> Router {
    let set = async |mut s: TypedSession<Safe>| {
        s.short.0.extend(masked(1).0);
        s.long.0.extend(masked(20).0);
    };
    let open = async |mut s: TypedSession<Safe>| *s.open = masked(20);
    Router::new()
        .route("/set", post(set))
        .route("/open", post(open))
        .route("/", get(async |s: TypedSession<Safe>| format!("{} {}", s.short.0.len(), s.long.0.len())))
}

#[tokio::test]
async fn nothing_of_a_secret_field_is_left_in_memory_that_is_free_again() {
    let house = House::new();
    let browser = house.browser(routes());
    for shown in ["16 320", "32 640"] {
        assert_eq!(left_behind(browser.post("/set")).await.1, 0);
        let (response, found) = left_behind(browser.get("/")).await;
        assert_eq!((response.text(), found), (shown.to_owned(), 0));
    }
    let (_, found) = left_behind(async {
        browser.post("/open").await;
        drop((browser, house));
    })
    .await;
    assert_ne!(found, 0, "what is stored in the clear is seen: the test can fail");
}

#[tokio::test]
async fn of_a_sealed_cookie_the_plain_record_is_wiped() {
    let browser = TestClient::new(routes().layer(SessionLayer::new(CookieStore::new(keys()))));
    browser.post("/set").await;
    // A cookie's cells lie in memory as a store's plain ones do. The whole record does so twice more, sealing it and opening it.
    let (response, found) = left_behind(browser.get("/")).await;
    assert_eq!((response.text(), found), ("16 320".to_owned(), 2), "a block for each cell");
}
