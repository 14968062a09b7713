//! What the derives describe: schemas, fields, values, and how a field gets from a cell to a struct and back.

mod canonical;
pub(crate) mod codec;
mod coding;
mod def;
mod depth;
mod field;
mod layout;
pub(crate) mod lock;
mod merge;
mod owner;
mod owner_hash;
mod past;
mod untyped;
mod validate;
mod value;

pub use self::{
    codec::CodecError,
    coding::{Coding, FieldDefault, Stored, StoredOpaque},
    def::{FieldDef, Schema, Undecodable},
    field::{Base, Field, FieldChange, Kind},
    layout::{Layout, VariantLayout},
    merge::{Counter, Merge, Ranked, Union},
    owner::{HasOwner, OwnerField, owner_hash},
    owner_hash::Unhashable,
    past::{Compute, Downgrade, Older, Past, SourceDefault, Sources, Upgrade},
    untyped::{AnyField, Opener, Part, Placed, PlacedField, Rule},
    validate::Validator,
    value::{SessionValue, ShapeBuilder, TRUSTS_DERIVES},
};
pub(crate) use self::{def::Cause, owner_hash::hash};

/// A struct whose fields live in a session. Derive it; there is nothing to implement by hand.
///
/// ```
/// use cloakroom::SessionData;
///
/// #[derive(SessionData)]
/// struct Visitor {
///     visits: u64,
///     #[session(default = "guest".to_owned())]
///     name: String,
/// }
/// assert_eq!(Visitor::initial().name, "guest");
///
/// // A handler's logic is tested without a store:
/// let mut fields = VisitorFields::from(Visitor::initial());
/// *fields.visits += 1;
/// assert_eq!(fields.visits, 1);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not session data",
    label = "this struct does not derive `SessionData`",
    note = "add `#[derive(cloakroom::SessionData)]` to `{Self}`"
)]
pub trait SessionData: Sized + 'static {
    /// The struct a handler sees: the same fields, each behind a [`Field`].
    type Fields: From<Self> + Send + 'static;

    /// What every field is where nothing is stored.
    ///
    /// ```
    /// use cloakroom::SessionData;
    /// #[derive(SessionData)]
    /// struct Visitor { visits: u64 }
    /// assert_eq!(Visitor::initial().visits, 0);
    /// ```
    fn initial() -> Self;

    #[doc(hidden)]
    fn __schema() -> &'static Schema;

    #[doc(hidden)]
    fn __open(from: &Opener<'_>) -> Result<Self::Fields, Undecodable>;

    #[doc(hidden)]
    fn __visit(fields: &mut Self::Fields, visit: &mut dyn FnMut(&mut dyn PlacedField));
}
