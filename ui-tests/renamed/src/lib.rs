//! The derives in a crate that knows cloakroom by another name only: that this builds is the test.

use coats::{SessionData, SessionValue};
use serde::{Deserialize, Serialize};

/// A value.
#[derive(Default, Serialize, Deserialize, SessionValue)]
#[session(crate = ::coats)]
pub struct Item {
    /// Which.
    pub article: u32,
}

/// A session.
#[derive(SessionData)]
#[session(crate = ::coats)]
pub struct Shop {
    /// How often.
    #[session(merge = "add", ttl = "1h")]
    pub views: u64,
    /// What.
    pub cart: Vec<Item>,
    /// Elsewhere.
    #[session(opaque, default = 3)]
    pub other: u8,
}

#[cfg(test)]
mod tests {
    use super::{SessionData, Shop, ShopFields};

    #[test]
    fn a_renamed_dependency_works() {
        let mut fields = ShopFields::from(Shop::initial());
        *fields.views += 1;
        assert_eq!(fields.other, 3);
        assert_eq!(fields.views, 1);
    }
}
