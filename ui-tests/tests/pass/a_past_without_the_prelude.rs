//! No name around a struct with a past can change what its expansion means.
#![no_implicit_prelude]
#![deny(warnings)]
#![forbid(unsafe_code, trivial_casts, trivial_numeric_casts, unused_qualifications, unused_results)]

use ::cloakroom::SessionData;

mod std {}
mod core {}
#[allow(dead_code)]
struct Option;
#[allow(dead_code)]
struct Result;
#[allow(dead_code, non_camel_case_types)]
struct Ok;

#[derive(SessionData)]
#[session(version = 3, removed(name: u16, in = 2), removed(age: u16, in = 2))]
struct Shop {
    #[session(changed(in = 2, from = u8, up = up, down = down), changed(in = 3, from = u16, up = fail, forget))]
    views: u32,
    #[session(from(name: u16, with = fail))]
    upgrade: u32,
    #[session(from(name: u16, age: u16, with = both), validate = sane)]
    step: u32,
}

fn up(views: u8) -> u16 {
    ::core::convert::From::from(views)
}

fn down(views: &u16) -> u8 {
    (*views % 256) as u8
}

fn fail(views: u16) -> ::core::result::Result<u32, &'static str> {
    ::core::result::Result::Ok(::core::convert::From::from(views))
}

fn both(name: u16, age: u16) -> u32 {
    let sum: u32 = ::core::convert::From::from(name / 2 + age / 2);
    sum
}

fn sane(_: &u32) -> bool {
    true
}

fn main() {
    let fields = <ShopFields as ::core::convert::From<Shop>>::from(<Shop as SessionData>::initial());
    ::core::assert_eq!((*fields.views, *fields.upgrade, *fields.step), (0, 0, 0));
}
