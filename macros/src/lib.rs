//! The derives of cloakroom: `SessionData` for the struct a session holds, `SessionValue` for the types inside it.
//!
//! Depend on `cloakroom`, which re-exports both and documents them. The stages are files: `syntax` reads tokens, `check` turns
//! them into the `model` and finds every mistake that tokens can show, `expand` writes the code.

#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod check;
mod diag;
mod expand;
mod lock;
mod model;
mod surroundings;
mod syntax;

use proc_macro::TokenStream;

/// Makes a struct the data of a session: see `cloakroom::SessionData`.
///
/// It generates `impl SessionData for Shop` and the struct `ShopFields`, which has the same fields, each behind a
/// `cloakroom::Field`, and is what a handler sees.
///
/// ```
/// use cloakroom::SessionData;
///
/// #[derive(SessionData)]
/// struct Shop {
///     #[session(merge = "add")]
///     views: u64,
///     #[session(default = "EUR".to_owned())]
///     currency: String,
/// }
///
/// let mut session = ShopFields::from(Shop::initial());
/// *session.views += 1;
/// assert_eq!(session.currency, "EUR");
/// ```
///
/// # On the struct
///
/// | Attribute | Meaning |
/// |---|---|
/// | `name = ".."` | first part of every stored key; the struct's name in snake_case otherwise |
/// | `version = 4` | the schema's version, 1 otherwise |
/// | `secret` | every field is `secret`, as below |
/// | `crate = ::facade::cloakroom` | where cloakroom is, if not at `::cloakroom` |
///
/// # On a field
///
/// | Attribute | Meaning |
/// |---|---|
/// | `default = expr` | its value where nothing is stored; `Default::default()` otherwise |
/// | `key = ".."` | the stored name; the field's name otherwise |
/// | `since = 2` | the version that added it |
/// | `merge = ".."` | concurrent changes: `"last"` (the default), `"add"`, `"max"`, `"min"`, `"union"`, `"strict"`, or the path of a `fn(base, mine, theirs) -> value` |
/// | `ttl = "10m"` | how long a value lives after its last touch: `ms`, `s`, `m`, `h` or `d` |
/// | `validate = path` | a `fn(&value)` that answers `bool` or `Result<(), E>`, asked on load, write and merge; `fn(&str)` for a `String` and `fn(&[T])` for a `Vec<T>` will do |
/// | `secret` | sealed at rest, and never shown: see below |
/// | `opaque` | any serde type, stored as JSON, without a shape |
/// | `lossy` | a stored value that cannot be read costs this field alone |
///
/// # Secret fields
///
/// A `secret` field (cloakroom's feature `secret`, part of `cookie` and so of the default ones) is sealed with XChaCha20-Poly1305
/// before it goes to a store, under a key of that session which nothing but the token in the browser unwraps. Whoever has the
/// database has not the values, nor does a cell that is copied to another session, or put in the place of another field, open
/// there. Nobody manages a key.
///
/// ```
/// use cloakroom::SessionData;
///
/// #[derive(SessionData)]
/// struct Shop {
///     cart: Vec<u32>,
///     #[session(secret)]
///     mail_token: Option<String>,
/// }
///
/// let mut session = ShopFields::from(Shop::initial());
/// *session.mail_token = Some("t0ps3cret".to_owned());
/// assert_eq!(format!("{:?}", session.mail_token), "<secret>");
/// ```
///
/// - **It is not shown.** The field's `Debug` says `<secret>`. What a `validate` function or the type's own `Serialize` say of a value
///   they refuse is left out of errors and events. `Display`, `Serialize` and the value behind `*session.mail_token` stay what they
///   are, for that is how it is used: `{:?}` of `*session.mail_token`, and a `Debug` derived for the struct itself, show it.
/// - **It costs** 40 bytes a cell, which count for the size limits, and about two microseconds to read or to write; a struct without
///   a secret field pays nothing.
/// - **It hides, and vouches for little.** Somebody who can *write* to the store cannot read a value or make up a sealed one, but can
///   put back an older value of the same field, take it away, or put a plain value in its place: a field may become `secret` in a
///   running application, so plain cells are read, and sealed when the field is next written. The other way round, a field that is
///   no longer `secret` is read, and written in the clear.
/// - `CookieStore` seals the whole session already, so nothing changes there.
#[proc_macro_derive(SessionData, attributes(session))]
pub fn session_data(input: TokenStream) -> TokenStream {
    expand::session_data(input.into(), &surroundings::Surroundings::of_this_compilation()).into()
}

/// Gives a type a shape, so that a session can store it: see `cloakroom::SessionValue`.
///
/// Derive it beside serde's two derives.
///
/// ```
/// use cloakroom::SessionValue;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize, SessionValue)]
/// enum Theme {
///     Light,
///     #[session(key = "Dark")]
///     Night,
/// }
/// ```
///
/// | Attribute | On | Meaning |
/// |---|---|---|
/// | `key = ".."` | field, variant | the name in the shape, so that renaming in Rust changes nothing |
/// | `recursive` | field | where a type contains itself |
/// | `shape = "address-1"` | field, type | the shape by hand, for types that cannot derive it |
/// | `crate = ::facade::cloakroom` | type | where cloakroom is, if not at `::cloakroom` |
#[proc_macro_derive(SessionValue, attributes(session))]
pub fn session_value(input: TokenStream) -> TokenStream {
    expand::session_value(input.into()).into()
}
