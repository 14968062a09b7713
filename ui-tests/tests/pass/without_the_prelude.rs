//! The expansion needs no name from the prelude.
#![no_implicit_prelude]
#![deny(warnings)]

#[derive(::serde::Serialize, ::serde::Deserialize, ::cloakroom::SessionValue)]
struct Item {
    article: ::std::primitive::u32,
    inside: ::std::vec::Vec<::std::string::String>,
}

#[derive(::serde::Serialize, ::serde::Deserialize, ::cloakroom::SessionValue)]
enum Theme {
    Light,
    Dark { since: ::std::primitive::u8 },
}

#[derive(::cloakroom::SessionData)]
struct Shop {
    #[session(merge = "add", ttl = "1h", lossy)]
    views: ::std::primitive::u64,
    #[session(default = Theme::Light)]
    theme: Theme,
    cart: ::std::vec::Vec<Item>,
    #[session(opaque)]
    other: ::std::option::Option<::std::string::String>,
    #[session(validate = fine)]
    checked: ::std::primitive::u8,
}

fn fine(_: &::std::primitive::u8) -> ::std::primitive::bool {
    true
}

fn main() {
    let start = <Shop as ::cloakroom::SessionData>::initial();
    let _: ShopFields = ::std::convert::From::from(start);
    let _ = Theme::Dark { since: 1 };
}
