//! What the derives know once everything is checked: no attributes, no syntax, only decisions.

use proc_macro2::{Ident, Span, TokenStream};
use std::time::Duration;

/// A struct that derives `SessionData`.
pub(crate) struct Schema {
    pub(crate) root: TokenStream,
    pub(crate) vis: TokenStream,
    pub(crate) ident: Ident,
    /// The name of the generated struct.
    pub(crate) accessors: Ident,
    /// The first part of every physical key.
    pub(crate) name: String,
    pub(crate) version: u32,
    /// Where it is said that every field is `secret`.
    pub(crate) secret: Option<Span>,
    pub(crate) fields: Vec<Field>,
}

/// One field of a [`Schema`].
pub(crate) struct Field {
    pub(crate) ident: Ident,
    /// The identifier as people read it, without `r#`.
    pub(crate) name: String,
    pub(crate) vis: TokenStream,
    pub(crate) ty: TokenStream,
    pub(crate) copied: Copied,
    /// The physical key.
    pub(crate) key: String,
    pub(crate) default: Option<TokenStream>,
    pub(crate) storage: Storage,
    pub(crate) secrecy: Secrecy,
    pub(crate) merge: Merge,
    pub(crate) ttl: Option<Duration>,
    pub(crate) validate: Option<TokenStream>,
    pub(crate) unreadable: Unreadable,
}

/// The attributes that go over to generated items: these and no others.
#[derive(Clone, Default)]
pub(crate) struct Copied {
    pub(crate) docs: Vec<TokenStream>,
    pub(crate) cfg: Vec<TokenStream>,
    pub(crate) deprecated: Vec<TokenStream>,
}

/// How a field's value becomes bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Storage {
    /// In the codec of the build, with a shape.
    Shaped,
    /// As JSON, because of the attribute at this place.
    Opaque(Span),
}

/// Whether a field is sealed at rest.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Secrecy {
    Plain,
    /// Because of its own attribute, at this place.
    OfField(Span),
    /// Because of the struct's.
    OfStruct,
}

/// Which of two concurrent changes survives.
#[derive(Clone, Debug)]
pub(crate) enum Merge {
    Last,
    Strict,
    /// A constructor of the runtime's `Merge`, at the place of its name in the attribute.
    Rule(Rule, Span),
    Function(TokenStream),
}

/// The rules that ask something of the field's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    Add,
    Max,
    Min,
    Union,
}

/// What a stored value that cannot be read costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    ResetsSchema,
    ResetsField,
}

/// A type that derives `SessionValue`.
pub(crate) struct Value {
    pub(crate) root: TokenStream,
    pub(crate) ident: Ident,
    pub(crate) generics: syn::Generics,
    pub(crate) shape: Shape,
}

/// Where a type's shape comes from.
pub(crate) enum Shape {
    /// Named by hand.
    Named(String),
    Struct(Members),
    Enum(Vec<Variant>),
}

/// One variant of an enum.
pub(crate) struct Variant {
    pub(crate) name: String,
    pub(crate) members: Members,
}

/// The fields of a struct or of a variant.
pub(crate) enum Members {
    Unit,
    Unnamed(Vec<Part>),
    Named(Vec<(String, Part)>),
}

/// What one field adds to the shape.
pub(crate) enum Part {
    /// The shape of its type.
    Child(TokenStream),
    /// A mark, because its type leads back here.
    Recursive,
    /// A name given by hand.
    Named(String),
}
