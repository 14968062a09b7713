//! Paths and types that come from different macros.
#![deny(warnings)]

use cloakroom::SessionData;

macro_rules! session {
    ($name:ident { $($field:ident: $ty:ty, $was:ty, $up:path, $down:path;)* }) => {
        fn twice(value: u64) -> u64 {
            value
        }

        #[derive(SessionData)]
        #[session(version = 3, removed(old: u8, in = 2))]
        struct $name {
            $(#[session(changed(in = 2, from = $was, up = $up, down = $down), changed(in = 3, from = u64, up = twice, down = Clone::clone))]
            $field: $ty,)*
            $(#[session(from(old: u8, with = $up))]
            computed: $ty,)*
        }
    };
}

mod ups {
    pub fn widen(value: u8) -> u64 {
        value.into()
    }

    pub fn narrow(value: &u64) -> u8 {
        *value as u8
    }
}

session! {
    Made { views: u64, u8, ups::widen, ups::narrow; }
}

fn main() {
    let fields = MadeFields::from(Made::initial());
    assert_eq!((*fields.views, *fields.computed), (0, 0));
}
