//! Types that a macro writes, and types inside of a function.
#![deny(warnings)]

use cloakroom::{SessionData, SessionValue};

macro_rules! session {
    ($(#[$meta:meta])* $vis:vis $name:ident { $($(#[$inner:meta])* $field:ident: $ty:ty = $default:expr, $key:literal;)* }) => {
        $(#[$meta])*
        #[derive(SessionData)]
        $vis struct $name {
            $($(#[$inner])* #[session(default = $default, key = $key)] $vis $field: $ty,)*
        }
    };
}

session! {
    /// Made elsewhere.
    pub(crate) Made {
        #[session(merge = "add")] views: u64 = 1 + 1, "v";
        names: Vec<Option<String>> = vec![None], "n";
    }
}

macro_rules! value {
    ($name:ident, $field:ident, $ty:ty) => {
        #[derive(serde::Serialize, serde::Deserialize, SessionValue)]
        struct $name {
            $field: $ty,
        }
    };
}
value!(Item, article, Vec<u32>);

fn main() {
    let mut fields = MadeFields::from(Made::initial());
    *fields.views += 1;
    assert_eq!(fields.views, 3);
    assert_eq!(fields.names.len(), 1);
    assert_eq!(Item { article: vec![] }.article.len(), 0);

    #[derive(SessionData)]
    struct Local {
        count: u8,
        item: Option<Item>,
    }
    let fields = LocalFields::from(Local::initial());
    assert_eq!(fields.count, 0);
    assert!(fields.item.is_none());
}
