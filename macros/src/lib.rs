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
/// | `version = 4` | the schema's version, 1 otherwise; raise it with every change |
/// | `removed(name: Type, in = 2)` | version 2 is the first without this field: its name stays taken, its stored values stay untouched. If it had a `key`, or was `opaque`, say so here: `removed(name: Type, in = 2, key = "..", opaque)`; if its type had changed in version 3, add `since = 3` |
/// | `authenticated = path` | a `fn(&ShopFields) -> bool`: whether the owner counts as signed in, or has yet to give a second factor. *Default*: whoever is the owner is. See below |
/// | `secret` | every field is `secret`, as below |
/// | `lock = off`, `lock = "admin_shop"` | no schema lock, or `session-schema/admin_shop.lock`: see below |
/// | `crate = ::facade::cloakroom` | where cloakroom is, if not at `::cloakroom` |
///
/// # On a field
///
/// | Attribute | Meaning |
/// |---|---|
/// | `default = expr` | its value where nothing is stored; `Default::default()` otherwise. See below |
/// | `key = ".."` | the stored name; the field's name otherwise |
/// | `since = 2` | the version that added it |
/// | `changed(in = 3, from = Type, up = path, down = path)` | until version 3 the field was a `Type`: see below |
/// | `changed(in = 3, from = Type, up = path, forget)` | the same, and older programs may see the default |
/// | `forget_before = 3` | what was stored before that change is neither read nor written any more |
/// | `from(name: Type, with = path)` | computed from fields that were removed: see below |
/// | `owner` | who is signed in, an `Option<UserId>`: see below |
/// | `privilege` | what they may do: a changed value rotates the token, like the owner |
/// | `keep` | stays when the owner changes; all else goes |
/// | `merge = ".."` | concurrent changes: `"last"` (the default), `"add"`, `"max"`, `"min"`, `"union"`, `"strict"`, or the path of a `fn(base, mine, theirs) -> value` |
/// | `ttl = "10m"` | how long a value lives after its last touch: `ms`, `s`, `m`, `h` or `d` |
/// | `validate = path` | a `fn(&value)` that answers `bool` or `Result<(), E>`, asked on load, write and merge; `fn(&str)` for a `String` and `fn(&[T])` for a `Vec<T>` will do |
/// | `secret` | sealed at rest, and never shown: see below |
/// | `opaque` | any serde type, stored as JSON, without a shape. Its bytes decide what a change is, so a hash map in it that is built anew counts as one |
/// | `lossy` | a stored value that cannot be read costs this field alone |
/// | `samples = path` | a `fn() -> impl IntoIterator<Item = V>`: values that the schema lock keeps beside the default, see below |
///
/// # Defaults
///
/// A field at its default has no stored value. So an assignment of the default where nothing is stored changes nothing, and writes nothing: when a
/// later version of the program has another default, the field has that. Where the choice of the default is one to keep, store it:
///
/// ```
/// use cloakroom::{Field, SessionData, TypedSession};
///
/// #[derive(SessionData)]
/// struct Shop {
///     #[session(default = "light".to_owned())]
///     theme: String,
/// }
///
/// async fn choose_light(mut session: TypedSession<Shop>) {
///     *session.theme = "light".to_owned();
///     Field::force(&mut session.theme); // stored, whatever the default is one day
/// }
/// ```
///
/// A default is pure: it is evaluated whenever it is needed, and gives the same value each time.
///
/// # The schema lock
///
/// What is stored outlives the program that stored it, and a struct does not show what it was last week. A file that is committed
/// beside it does: `session-schema/shop.lock`, in the folder of the crate. One command writes it, for every struct of the library
/// and its programs, when there is none and whenever a change is to be recorded:
///
/// ```text
/// SESSION_SCHEMA=accept cargo test
/// ```
///
/// Where the file exists, a struct that differs from it does not compile, and the error says what to type:
///
/// ```text
/// error: `theme` is new, and version 1 does not say so
///
///   = help: raise the version on the struct: `#[session(version = 2)]`
///   = note: recorded in session-schema/shop.lock (version 1)
/// ```
///
/// - **Needs a new `version`:** a field added, removed or of another type (also where only a type inside it changed: another
///   member, another variant), a rule for concurrent changes, a `from(..)`. A removal, a change of type and a rename are declared, too. A version
///   with nothing new is refused.
/// - **Needs no version:** defaults, `validate`, `ttl`, `secret`, `lossy`, `owner`, `privilege`, `keep`, `samples`, a new name in Rust beside `key = ".."`, the order
///   of fields, another spelling of the same type; `forget_before`, which is recorded all the same. What an `opaque` field holds is
///   never looked at.
/// - **The command records what the struct declares, and nothing else.** It works while the struct is refused for not being
///   recorded, shows the difference, and refuses a change that nobody declared as the compiler does: accepting cannot lose data
///   that no attribute gives up. A change that was never released is taken back by taking the file back from version control.
/// - **Old values are kept as samples:** of each generation the default, and what `samples = path` gave. A generated test,
///   `session_schema_of_shop`, reads them with today's code whenever `cargo test` runs. A sample stays once it is recorded. Of a
///   `secret` field there is only the default.
/// - **Two branches that change one schema conflict in the file.** Take one side of it whole, give what the other side changed a
///   version of its own, and run the command.
/// - **Which structs:** those at module level of the library and the programs, if their fields do not depend on `#[cfg]`. Structs of
///   integration tests, benchmarks, examples and documentation have no lock, unless `lock = ".."` names one. A struct of a unit
///   test that has the name of another says `lock = off`; so does one inside a function, which the command cannot record (rustc
///   says "cannot test inner items" there).
///
/// Before renaming a struct, give it the `name` it is stored under: its file is found by that, as its cells are.
///
/// # Fields that change
///
/// While a new version is deployed, or rolled back, the old one writes to the same sessions. So a field whose stored type changes says
/// how a value gets from the old type to the new one, and back:
///
/// ```
/// use cloakroom::{SessionData, SessionValue};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(SessionData)]
/// #[session(version = 4, removed(full_name: String, in = 4))]
/// struct Shop {
///     #[session(changed(in = 3, from = u32, up = Money::from_cents, down = Money::cents))]
///     total: Money,
///     #[session(changed(in = 2, from = String, up = str_to_level, forget))]
///     level: u8,
///     #[session(from(full_name: String, with = first_name))]
///     first: String,
/// }
///
/// #[derive(Default, Serialize, Deserialize, SessionValue)]
/// struct Money { cents: i64 }
///
/// impl Money {
///     fn from_cents(cents: u32) -> Self {
///         Self { cents: cents.into() }
///     }
///     fn cents(&self) -> u32 {
///         self.cents.try_into().unwrap_or(0)
///     }
/// }
///
/// // May fail: the stored value then counts as unreadable.
/// fn str_to_level(text: String) -> Result<u8, std::num::ParseIntError> {
///     text.parse()
/// }
///
/// fn first_name(full_name: String) -> String {
///     full_name.split(' ').next().unwrap_or_default().to_owned()
/// }
/// ```
///
/// - `up` is a `fn(Old) -> New` or `fn(Old) -> Result<New, E>`, `down` a `fn(&New) -> Old`. Several `changed(..)` form a chain, oldest first;
///   each leads to the `from` of the next, the last to the field's type. `opaque` on the field holds for all its types; `changed(.., opaque)`
///   says that only the old one was.
/// - **Reading** takes what was written last by whichever version, and upgrades it in memory. Nothing is stored until the field changes;
///   [`Field::force`](https://docs.rs/cloakroom/latest/cloakroom/struct.Field.html#method.force) stores it at once. `validate` is asked
///   after the upgrade.
/// - **Writing** stores the new value and, through `down`, the old one. Where `down` cannot give one, `forget` lets older programs see the
///   default; what they write on top of that replaces the new value. What `down` gives must pass the `validate` of older programs:
///   one that it refuses is unreadable to them, and their whole struct starts from its defaults.
/// - **It ends.** No session outlives its absolute lifetime. Once no program older than version 3 has run for that long, `forget_before = 3`
///   ends the types before it, and `changed(in = 3, ..)` can be deleted; `forget_before = 3` stays.
/// - `from(..)` computes a field from up to six removed ones, until it is written itself, and again whenever an older program has
///   written one of them since. Of several, those without a value count as their type's `Default`; of none, the field is at its own
///   default. Nothing is written back to them.
///
/// # Who is signed in
///
/// One field says who a session belongs to, and what changes with that is nobody's to remember:
///
/// ```
/// use cloakroom::{SessionData, TypedSession};
///
/// #[derive(SessionData)]
/// #[session(authenticated = has_second_factor)]
/// struct Shop {
///     #[session(owner)]
///     user: Option<u64>,
///     #[session(privilege)]
///     second_factor: bool,
///     #[session(keep)]
///     language: Option<String>,
///     cart: Vec<u32>,
/// }
///
/// fn has_second_factor(session: &ShopFields) -> bool {
///     *session.second_factor
/// }
///
/// async fn sign_in(mut session: TypedSession<Shop>) {
///     *session.user = Some(42); // another token, in the same step; the cart stays
/// }
///
/// async fn sign_out(mut session: TypedSession<Shop>) {
///     *session.user = None; // another token, and nothing stays but the language
/// }
/// ```
///
/// - **`None` to `Some`:** everything stays, the token is another one, both deadlines start anew.
/// - **The same one again** is no change. A handler that checks passwords calls
///   [`reauthenticated`](https://docs.rs/cloakroom/latest/cloakroom/struct.TypedSession.html#method.reauthenticated) besides, for those who were
///   signed in already.
/// - **`Some` to `None`, or to another one:** everything goes, of every struct in the session, but fields marked `keep` and what the
///   request assigns; of counters and sets what it adds. What it changes in place, as `cart.push(..)` does, it writes whole: to begin with an empty
///   cart, `save().await` first, and the handle holds nothing of the one before. Where nothing stays, the session is deleted, and its cookie
///   with it. Signing out wins over whatever other requests do meanwhile; like every change of a field it is not stored after a 5xx, which
///   [`destroy`](https://docs.rs/cloakroom/latest/cloakroom/struct.TypedSession.html#method.destroy) is.
/// - **A changed `privilege`** rotates the token too (OWASP ASVS 5.0, 7.2.4): whoever knew the old one does not become an administrator.
/// - A request that still holds the old token writes nothing any more.
/// - Of the owner a hash goes into the record, by which `Sessions` lists and ends somebody's sessions: of the struct's `name` and the value as
///   serde sees it, whatever the codec. Numbers of any width, text, bytes, and structs and enums of them are hashed; maps and floating-point numbers are
///   refused.
/// - The owner takes no `changed`, `from`, `ttl`, `lossy`, `merge` or `default`, and its type is as visible as the struct.
/// - `authenticated` is what the guard `SignedIn` asks besides. So somebody who has given the password and not the second factor can be
///   the owner, and pass no guard.
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
/// - **In memory** it is plain while a request uses it. What the library encodes it into, and opens its seal into, is overwritten with zeros when it
///   is freed. The value in the field is the application's: a type that wipes itself (of the crate `zeroize`) does so there, too.
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
/// | `appended` | variant at the end | it came later: what was stored before reads as it did, and the shape stays. See below |
/// | `recursive` | field | where a type contains itself |
/// | `shape = "address-1"` | field, type | the shape by hand, for types that cannot derive it |
/// | `crate = ::facade::cloakroom` | type | where cloakroom is, if not at `::cloakroom` |
///
/// - **Serde's two traits are derived, too.** A type that implements one by hand gives its shape by hand, on the type or where it is a field. Such values
///   are read back before they are stored, and refused if they are not the same then; the others are trusted, but for builds with debug
///   assertions, which read all of them back.
/// - **Serde's attributes** that a compact encoding cannot keep are refused: those that leave members out or mix them, and `default` and `alias`, which
///   would do nothing.
/// - **An `appended` variant** is no part of the shape. A program that does not know it reads all other values, and takes one that holds it for
///   unreadable. It stays where it is, marked, for as long as values with it may be stored.
///
/// ```
/// use cloakroom::SessionValue;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize, SessionValue)]
/// enum Old { Light, Dark }
///
/// #[derive(Serialize, Deserialize, SessionValue)]
/// enum New { Light, Dark, #[session(appended)] Sepia(u8) }
///
/// assert_eq!(New::SHAPE, Old::SHAPE);
/// ```
#[proc_macro_derive(SessionValue, attributes(session))]
pub fn session_value(input: TokenStream) -> TokenStream {
    expand::session_value(input.into()).into()
}
