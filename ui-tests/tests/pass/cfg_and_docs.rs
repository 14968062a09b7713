//! What `#[cfg]` removes is gone everywhere.
#![deny(warnings)]

use cloakroom::{SessionData, SessionValue};

#[derive(SessionData)]
struct Shop {
    /// Documented.
    #[doc(alias = "hits")]
    views: u64,
    #[cfg(any())]
    #[session(unknown)]
    gone: NoSuchType,
    #[cfg(all())]
    #[session(default = 7)]
    here: u8,
    #[cfg_attr(all(), session(default = 8))]
    also: u8,
}

#[derive(serde::Serialize, serde::Deserialize, SessionValue)]
struct Item {
    article: u32,
    #[cfg(any())]
    gone: NoSuchType,
}

#[derive(serde::Serialize, serde::Deserialize, SessionValue)]
struct Same {
    article: u32,
}

fn main() {
    let fields = ShopFields::from(Shop::initial());
    assert_eq!((*fields.views, *fields.here, *fields.also), (0, 7, 8));
    assert_eq!(Item::SHAPE, Same::SHAPE);
    let _ = (Item { article: 0 }.article, Same { article: 0 }.article);
}
