//! No field, one field, many fields.
#![deny(warnings)]

use cloakroom::SessionData;

#[derive(SessionData)]
struct Nothing {}

#[derive(SessionData)]
#[session()]
struct One {
    #[session()]
    only: u8,
}

#[derive(SessionData)]
#[session(name = "a.b-c:d", version = 4294967295,)]
struct Wide {
    #[session(merge = "add", since = 4294967295,)]
    a: u8,
    #[session(merge = "strict")]
    #[session(ttl = "7d")]
    b: [u8; 32],
    c: (u8, Vec<(String, Option<Box<[u8]>>)>),
    d: std::borrow::Cow<'static, str>,
    #[session(default = <Vec<(u8, u8)> as From<[(u8, u8); 2]>>::from([(1, 2), (3, 4)]))]
    e: Vec<(u8, u8)>,
}

fn main() {
    let _ = (NothingFields::from(Nothing {}), OneFields::from(One::initial()), WideFields::from(Wide::initial()));
}
