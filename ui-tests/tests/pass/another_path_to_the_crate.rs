//! `crate = ..` leads to cloakroom through a facade.
#![deny(warnings)]

mod facade {
    pub mod inner {
        pub use ::cloakroom as sessions;
    }
}

macro_rules! shop {
    ($name:ident) => {
        #[derive(::cloakroom::SessionData)]
        #[session(crate = $crate::facade::inner::sessions)]
        struct $name {
            views: u64,
        }
    };
}
shop!(Shop);

#[derive(::cloakroom::SessionData)]
#[session(crate = crate::facade::inner::sessions)]
struct Other {
    #[session(merge = "max", opaque)]
    views: u64,
}

#[derive(serde::Serialize, serde::Deserialize, ::cloakroom::SessionValue)]
#[session(crate = ::cloakroom)]
struct Item {
    article: u32,
}

fn main() {
    use facade::inner::sessions::SessionData as _;
    assert_eq!(ShopFields::from(Shop::initial()).views, 0);
    assert_eq!(OtherFields::from(Other::initial()).views, 0);
    assert_eq!(Item { article: 1 }.article, 1);
}
