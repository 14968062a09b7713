//! What the derives know once everything is checked: no attributes, no syntax, only decisions.

use proc_macro2::{Ident, Span, TokenStream};
use quote::ToTokens;
use std::{fmt, time::Duration};
use syn::LitStr;

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
    /// Where the version is said, or the struct's name if it is not.
    pub(crate) version_at: Span,
    /// Where it is said that every field is `secret`.
    pub(crate) secret: Option<Span>,
    pub(crate) fields: Vec<Field>,
    pub(crate) removed: Vec<Removed>,
    /// What an owner alone does not say: a `fn(&Fields) -> bool`.
    pub(crate) authenticated: Option<TokenStream>,
    pub(crate) lock: Lock,
}

/// One field of a [`Schema`].
pub(crate) struct Field {
    pub(crate) ident: Ident,
    /// The identifier as people read it, without `r#`.
    pub(crate) name: String,
    pub(crate) vis: TokenStream,
    pub(crate) ty: TokenStream,
    pub(crate) copied: Copied,
    pub(crate) role: Role,
    pub(crate) stay: Stay,
    /// The version that added it.
    pub(crate) since: u32,
    /// Its stored types, oldest first; the last is the field's own. Never empty.
    pub(crate) generations: Vec<Generation>,
    /// Older generations than that are neither read nor written.
    pub(crate) forget_before: Option<u32>,
    pub(crate) from: Option<Computed>,
    pub(crate) samples: Option<TokenStream>,
    pub(crate) default: Option<TokenStream>,
    pub(crate) storage: Storage,
    pub(crate) secrecy: Secrecy,
    pub(crate) merge: Merge,
    pub(crate) ttl: Option<Duration>,
    pub(crate) validate: Option<TokenStream>,
    pub(crate) unreadable: Unreadable,
}

impl Field {
    /// The generations that are read and written, oldest first.
    pub(crate) fn in_use(&self) -> &[Generation] {
        let forget_before = self.forget_before.unwrap_or(0);
        let forgotten = self.generations.iter().take_while(|generation| generation.since < forget_before).count();
        &self.generations[forgotten.min(self.generations.len().saturating_sub(1))..]
    }

    /// The physical key of today.
    pub(crate) fn key(&self) -> String {
        self.generations.last().map_or_else(String::new, |generation| generation.key.to_string())
    }

    /// The name it is stored under, in every generation.
    pub(crate) fn stored(&self) -> &str {
        self.generations.last().map_or("", |generation| &generation.key.stored)
    }
}

/// A physical key.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) schema: String,
    pub(crate) stored: String,
    /// The version in which the type under this key began, if there was another one before.
    pub(crate) generation: Option<u32>,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { schema, stored, generation } = self;
        write!(f, "{schema}/{stored}")?;
        generation.map_or(Ok(()), |generation| write!(f, "@{generation}"))
    }
}

impl ToTokens for Key {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        self.to_string().to_tokens(tokens);
    }
}

/// What a field says about who is signed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Nothing.
    Data,
    /// Who it is.
    Owner,
    /// What they may do.
    Privilege,
}

/// What becomes of a field when somebody else signs in, or nobody is signed in any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stay {
    WithItsOwner,
    Kept,
}

/// One stored type of a field.
pub(crate) struct Generation {
    /// The schema version in which it began.
    pub(crate) since: u32,
    pub(crate) key: Key,
    pub(crate) ty: TokenStream,
    pub(crate) storage: Storage,
    /// From the generation before into this one; the first has none.
    pub(crate) step: Option<Step>,
}

/// How values get from one generation to the next, and back.
pub(crate) struct Step {
    /// A `fn(A) -> B` or `fn(A) -> Result<B, E>`.
    pub(crate) up: TokenStream,
    pub(crate) down: Down,
}

/// What older versions see of a newer value.
pub(crate) enum Down {
    /// What this `fn(&B) -> A` makes of it.
    Path(TokenStream),
    /// Their default.
    Forget,
}

/// Where a field's value comes from while removed fields are newer than it.
pub(crate) struct Computed {
    pub(crate) sources: Vec<Source>,
    pub(crate) with: TokenStream,
}

/// A removed field that another one is computed from.
pub(crate) struct Source {
    pub(crate) key: Key,
    pub(crate) ty: TokenStream,
    pub(crate) storage: Storage,
}

/// A field of an earlier version: its name stays taken.
pub(crate) struct Removed {
    pub(crate) ident: Ident,
    /// The last one.
    pub(crate) key: Key,
    pub(crate) ty: TokenStream,
    pub(crate) storage: Storage,
    /// The version that it is missing from.
    pub(crate) version: u32,
}

/// Which file records the schema.
pub(crate) enum Lock {
    /// `session-schema/<name>.lock`, if it exists.
    Default,
    Off,
    File(LitStr),
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
    pub(crate) place: VariantPlace,
}

/// Whether a variant is part of the enum's shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum VariantPlace {
    InTheShape,
    /// It came later, after all the others: what was stored before reads as it did.
    Appended,
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
    Recursive(TokenStream),
    /// A name given by hand.
    Named(String),
}
