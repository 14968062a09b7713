//! One static definition per field, made by the derive.

use super::{
    codec::{self, CodecError, Residue},
    coding::Coding,
    field::Field,
    merge::Merge,
    owner_hash::Unhashable,
    past::{Computed, Older, Sources},
    untyped::{AnyField, Newest, Opener},
};
use crate::{
    limits,
    record::{CodecId, Content, OwnerHash, Payload, Shape},
    seal,
    vault::Vault,
};
use std::{fmt, time::Duration};
use zeroize::Zeroizing;

/// A schema as the derive describes it.
#[derive(Debug)]
pub struct Schema {
    /// The name, first part of every key.
    pub name: &'static str,
    /// `#[session(version = ..)]`.
    pub version: u32,
    /// The struct, for errors.
    pub type_name: &'static str,
    /// The fields in the order of the struct.
    pub fields: &'static [&'static dyn AnyField],
    /// The field that says who is signed in.
    pub owner: Option<&'static dyn AnyField>,
}

type Check<V> = fn(&V) -> Result<(), String>;
type HashOwner<V> = fn(&str, &V) -> Result<Option<OwnerHash>, Unhashable>;

/// What a field says about who is signed in.
pub(super) enum Role<V> {
    Data,
    Owner(HashOwner<V>),
    Privilege,
}

/// What becomes of a field when the owner changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stay {
    WithItsOwner,
    Kept,
}

/// Everything about one field that is known at compile time.
pub struct FieldDef<V: 'static> {
    pub(super) schema: &'static str,
    pub(super) name: &'static str,
    key: &'static str,
    /// All physical keys, if there are several.
    keys: &'static [&'static str],
    /// What belongs to the keys after the first.
    pub(super) past: &'static [&'static dyn Older<V>],
    pub(super) computed: Option<Computed<V>>,
    pub(super) coding: Coding<V>,
    default: fn() -> V,
    pub(super) merge: Merge<V>,
    pub(super) ttl: Option<Duration>,
    validate: Option<Check<V>>,
    lossy: bool,
    pub(super) secret: bool,
    pub(super) role: Role<V>,
    pub(super) stay: Stay,
}

impl<V> FieldDef<V> {
    /// A field. `schema` and `name` are for messages, `key` is the physical key; the coding is that of [`Stored`] or
    /// [`StoredOpaque`], which are asked for by name so that rustc points at the field's type.
    pub const fn new(
        schema: &'static str,
        name: &'static str,
        key: &'static str,
        coding: Coding<V>,
        default: fn() -> V,
    ) -> Self {
        Self {
            schema,
            name,
            key,
            keys: &[],
            past: &[],
            computed: None,
            coding,
            default,
            merge: Merge::Last,
            ttl: None,
            validate: None,
            lossy: false,
            secret: false,
            role: Role::Data,
            stay: Stay::WithItsOwner,
        }
    }

    /// The rule for concurrent changes.
    #[must_use]
    pub const fn merge(mut self, merge: Merge<V>) -> Self {
        self.merge = merge;
        self
    }

    /// How long a value lives after its last touch.
    #[must_use]
    pub const fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// What a value must satisfy when it is loaded, written or merged.
    #[must_use]
    pub const fn validate(mut self, validate: Check<V>) -> Self {
        self.validate = Some(validate);
        self
    }

    /// A cell that cannot be read costs this field alone.
    #[must_use]
    pub const fn lossy(mut self) -> Self {
        self.lossy = true;
        self
    }

    /// Stored sealed, and never shown.
    #[must_use]
    pub const fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    /// Says who is signed in.
    #[must_use]
    pub const fn owner(mut self, hash: HashOwner<V>) -> Self {
        self.role = Role::Owner(hash);
        self
    }

    /// Says what whoever is signed in may do.
    #[must_use]
    pub const fn privilege(mut self) -> Self {
        self.role = Role::Privilege;
        self
    }

    /// Stays when the owner changes.
    #[must_use]
    pub const fn keep(mut self) -> Self {
        self.stay = Stay::Kept;
        self
    }

    /// The generations in use: the keys of all, newest first, and what belongs to those after the first.
    #[must_use]
    pub const fn past(mut self, keys: &'static [&'static str], past: &'static [&'static dyn Older<V>]) -> Self {
        self.keys = keys;
        self.past = past;
        self
    }

    /// Computed from the cells of removed fields while one of them is newer than its own.
    #[must_use]
    pub const fn from(mut self, sources: &'static [&'static str], compute: fn(&Sources<'_>) -> Result<V, Cause>) -> Self {
        self.computed = Some(Computed { sources, compute });
        self
    }

    pub(super) fn keys(&self) -> &[&'static str] {
        if self.keys.is_empty() { std::slice::from_ref(&self.key) } else { self.keys }
    }

    /// The value where nothing is stored.
    pub fn default(&self) -> V {
        (self.default)()
    }

    /// A field that belongs to no session yet, for `From<Struct>`.
    pub fn unbound(&'static self, value: V) -> Field<V> {
        Field::unbound(self, value)
    }

    /// A value in the encoding of today. Every base is in it, whatever it was stored in.
    pub(super) fn decode(&self, payload: &[u8]) -> Result<V, CodecError> {
        self.coding.decoded(payload)
    }

    pub(super) fn encode(&self, value: &V) -> Result<Payload, CodecError> {
        self.coding.encoded(value, self.residue()).map_err(|error| match error {
            CodecError::Encode(why) => CodecError::Encode(self.sayable(why)),
            other => other,
        })
    }

    fn residue(&self) -> Residue {
        if self.secret { Residue::Wiped } else { Residue::Left }
    }

    fn check(&self, value: &V) -> Result<(), Cause> {
        self.validate.map_or(Ok(()), |validate| validate(value).map_err(|why| Cause::Invalid(self.sayable(why))))
    }

    /// What the user's own code says of a value, unless it might quote a secret.
    fn sayable(&self, why: String) -> String {
        if self.secret { "(the reason is left out, since the field is `secret`)".to_owned() } else { why }
    }

    /// What a store is given to keep for an encoded value, in bytes.
    pub(super) fn stored_size(&self, payload: &Payload) -> usize {
        payload.len() + if self.secret { seal::OVERHEAD } else { 0 }
    }

    /// Encodes a value that may be about to be written, if it is valid and not too large.
    pub(super) fn admit(&self, value: &V) -> Result<Payload, Cause> {
        self.check(value)?;
        let payload = self.encode(value)?;
        let size = self.stored_size(&payload);
        if size > limits::CELL { Err(Cause::TooLarge(size)) } else { Ok(payload) }
    }

    /// Refuses a value that no later request could read: one that does not come back from its bytes, that `validate` refuses once it
    /// has, or that names another owner then.
    pub(super) fn prove(&self, value: &V, payload: &Payload) -> Result<(), Cause> {
        let readable = |read: &V| {
            if let Err(cause) = self.check(read) {
                return Err(cause.to_string());
            }
            match self.role {
                Role::Owner(hash) if hash(self.schema, read) != hash(self.schema, value) => {
                    Err("it would be read as another owner".to_owned())
                }
                Role::Owner(_) | Role::Privilege | Role::Data => Ok(()),
            }
        };
        self.coding.prove(value, payload, readable).map_err(|cause| self.told(cause))
    }

    /// Whether a value that has the bytes it had is the one it was. In JSON two values may have the same bytes, so there it must have
    /// been read from them, or be the default.
    pub(super) fn is_as_it_was(&self, value: &V, payload: &Payload) -> bool {
        self.coding.codec != Some(CodecId::JSON) || self.coding.is_read_as(value, payload, &self.default())
    }

    /// A cause, without what might quote a secret.
    fn told(&self, cause: Cause) -> Cause {
        match cause {
            Cause::Upgrade(why) => Cause::Upgrade(self.sayable(why)),
            Cause::Irreversible { codec, why } => Cause::Irreversible { codec, why: self.sayable(why) },
            other => other,
        }
    }

    /// Encodes a value that is to be written.
    pub(super) fn accept(&self, value: &V) -> Result<Payload, Cause> {
        let payload = self.admit(value)?;
        self.prove(value, &payload)?;
        Ok(payload)
    }

    pub(super) fn base_value(&self, base: Option<&Payload>) -> Result<V, CodecError> {
        base.map_or_else(|| Ok(self.default()), |payload| self.decode(payload))
    }

    /// The stored value, and what it was read from if that is a cell of today; `None` where the field is at its default.
    pub(super) fn read<'a>(&self, from: &'a Opener<'_>) -> Result<Option<Read<'a, V>>, Cause> {
        // Most fields have neither a past nor sources, and every one of them is read by every request.
        if !self.past.is_empty() || self.computed.is_some() {
            return self.read_newest(from);
        }
        let Some(content) = from.content(self.key, self.stay) else { return Ok(None) };
        match self.read_current(content, from.vault()) {
            Ok(read) => Ok(Some(read)),
            Err(_) if self.lossy => Ok(None),
            Err(cause) => Err(cause),
        }
    }

    #[cold]
    fn read_newest<'a>(&self, from: &'a Opener<'_>) -> Result<Option<Read<'a, V>>, Cause> {
        let sources = self.computed.as_ref().map_or(&[][..], |computed| computed.sources);
        let read = match from.newest(self.keys(), sources, self.stay) {
            Newest::Nothing => return Ok(None),
            Newest::Cell(0, content) => self.read_current(content, from.vault()),
            Newest::Cell(generation, content) => self.read_older(generation, content, from),
            Newest::Sources => self.compute(from),
        };
        match read {
            Ok(read) => Ok(Some(read)),
            Err(_) if self.lossy => Ok(None),
            Err(cause) => Err(self.told(cause)),
        }
    }

    fn read_current<'a>(&self, content: &'a Content, vault: Option<&Vault<'_>>) -> Result<Read<'a, V>, Cause> {
        let (value, clear) = self.coding.read(self.key, content, vault)?;
        self.check(&value)?;
        Ok((value, Some(clear)))
    }

    /// Upgrades in memory. Nothing is stored before the field changes: a rollback finds what it left.
    fn read_older<'a>(&self, generation: usize, content: &Content, from: &Opener<'_>) -> Result<Read<'a, V>, Cause> {
        let (key, older) = (self.keys[generation], self.past[generation - 1]);
        let value = older.upgraded(key, content, from)?;
        self.check(&value)?;
        Ok((value, None))
    }

    fn compute<'a>(&self, from: &'a Opener<'_>) -> Result<Read<'a, V>, Cause> {
        let Some(computed) = &self.computed else { return Ok((self.default(), None)) };
        let value = (computed.compute)(&Sources::new(from, computed.sources, self.stay))?;
        self.check(&value)?;
        Ok((value, None))
    }

    /// A value read from a cell, in the encoding of today, whatever it was stored in. Where a value may have other bytes each time, these
    /// are those of the cell: encoded anew it would look changed.
    pub(super) fn encoding_of_today(&self, value: &V, read: Option<&Clear<'_>>) -> Result<Payload, CodecError> {
        match read {
            Some(read) if !self.coding.is_certain() && Some(read.codec) == self.coding.codec => Ok(read.to_payload()),
            _ => self.encode(value),
        }
    }

    /// What a generation's cell says about a value of today.
    pub(super) fn content(&self, generation: usize, payload: &Payload) -> Result<Content, Cause> {
        let Some(older) = generation.checked_sub(1).and_then(|at| self.past.get(at)) else {
            return Ok(match self.coding.codec {
                Some(codec) => {
                    let shape = self.coding.shape_of_encoded(payload)?;
                    Content::Value { codec, shape, sealed: false, payload: payload.clone() }
                }
                None => Content::Tombstone,
            });
        };
        let content = older.downgraded(&self.decode(payload)?, self.residue()).map_err(|cause| self.told(cause))?;
        match content.payload().map(|payload| self.stored_size(payload)) {
            Some(size) if size > limits::CELL => Err(Cause::TooLarge(size)),
            _ => Ok(content),
        }
    }

    /// Whether two encoded values are equal; `None` is the default.
    pub(super) fn is_same(&self, one: Option<&Payload>, other: Option<&Payload>) -> bool {
        let default = || self.encode(&self.default());
        match (one, other) {
            (None, None) => true,
            (Some(one), Some(other)) => self.coding.is_same(one, other),
            (Some(value), None) | (None, Some(value)) => default().is_ok_and(|default| self.coding.is_same(value, &default)),
        }
    }
}

/// A value, and what it was read from if that is a cell of today.
pub(super) type Read<'a, V> = (V, Option<Clear<'a>>);

/// What a cell holds, if it is the encoding of the expected shape.
///
/// Sealed or not is the cell's to say, not the field's: a build in which the field becomes `secret`, or stops being it, reads what
/// the one before has stored, and writes it its own way when it changes. Nobody is signed out by that deploy, or by its rollback.
/// It means that somebody who may write to the store can put a plain value of theirs where a sealed one was. A seal could
/// not keep them from it anyway: they can put back what was sealed there before, bury it under a tombstone, and change
/// every plain field beside it. It promises that nobody reads.
// Inlined, since every field of every request comes through here: a call costs a read some five percent.
#[inline]
pub(super) fn reveal<'a>(
    key: &str,
    content: &'a Content,
    expected: Shape,
    is_expected: impl FnOnce(Shape) -> bool,
    vault: Option<&Vault<'_>>,
) -> Result<Clear<'a>, Cause> {
    let Content::Value { codec, shape, sealed, payload } = content else { return Err(Cause::Sealed) };
    if !is_expected(*shape) {
        return Err(Cause::Shape { stored: *shape, expected });
    }
    if payload.len() > limits::CELL {
        return Err(Cause::TooLarge(payload.len()));
    }
    let payload = if *sealed {
        let opened = vault.and_then(|vault| vault.open(key, *codec, *shape, payload));
        Bytes::Opened(opened.ok_or(Cause::Sealed)?)
    } else {
        Bytes::Stored(payload)
    };
    Ok(Clear { codec: *codec, shape: *shape, payload })
}

/// What a cell holds, in the clear.
pub(super) struct Clear<'a> {
    codec: CodecId,
    shape: Shape,
    payload: Bytes<'a>,
}

enum Bytes<'a> {
    Stored(&'a Payload),
    Opened(Zeroizing<Vec<u8>>),
}

impl Clear<'_> {
    pub(super) fn codec(&self) -> CodecId {
        self.codec
    }

    pub(super) fn shape(&self) -> Shape {
        self.shape
    }

    pub(super) fn bytes(&self) -> &[u8] {
        match &self.payload {
            Bytes::Stored(payload) => payload,
            Bytes::Opened(bytes) => bytes,
        }
    }

    fn to_payload(&self) -> Payload {
        match &self.payload {
            Bytes::Stored(payload) => Payload::clone(payload),
            Bytes::Opened(bytes) => Payload::wiped(bytes),
        }
    }
}

/// Why a cell could not become a value, or a value a cell.
#[derive(Clone, Debug)]
pub enum Cause {
    /// Its bytes are not such a value.
    Codec(CodecError),
    /// It is of another type.
    Shape {
        /// The one in the cell.
        stored: Shape,
        /// The one of the struct.
        expected: Shape,
    },
    /// `up` or `with` answered an error.
    Upgrade(String),
    /// `validate` refused it.
    Invalid(String),
    /// It does not come back from its bytes.
    Irreversible {
        /// What they are written in.
        codec: CodecId,
        /// What happens when they are read.
        why: String,
    },
    /// It has so many bytes.
    TooLarge(usize),
    /// It names no owner.
    Unhashable(Unhashable),
    /// It names another owner than the record's header does.
    OtherOwner,
    /// It names an owner, and the record, which alone is vouched for, names none.
    UnlistedOwner,
    /// Its seal does not open.
    Sealed,
}

impl From<Unhashable> for Cause {
    fn from(why: Unhashable) -> Self {
        Self::Unhashable(why)
    }
}

impl From<CodecError> for Cause {
    fn from(error: CodecError) -> Self {
        Self::Codec(error)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Codec(error) => error.fmt(f),
            Self::Shape { stored, expected } => write!(f, "stored with shape {stored:?}, the struct has {expected:?}"),
            Self::Upgrade(why) => write!(f, "it could not be upgraded from an older version's: {why}"),
            Self::Invalid(why) => write!(f, "validation refused it: {why}"),
            Self::Irreversible { codec, why } => {
                let remedy = match *codec {
                    CodecId::JSON => "use a type whose `Deserialize` reads all that its `Serialize` writes",
                    _ => {
                        "mark the field of the session struct `#[session(opaque)]`, which stores JSON, or use another type under another `shape`"
                    }
                };
                write!(f, "no later request could read it back from {}: {why}; {remedy}", codec::name(*codec))
            }
            Self::TooLarge(size) => write!(f, "{size} bytes are more than the {} a field may have", limits::CELL),
            Self::Unhashable(why) => why.fmt(f),
            Self::OtherOwner => f.write_str("it names another owner than the session is listed under"),
            Self::UnlistedOwner => {
                f.write_str("it names an owner and the record names none, which `SessionLayer::keyed` does not believe")
            }
            Self::Sealed if cfg!(feature = "secret") => {
                f.write_str("its seal does not open: it was changed, or made for another session, field or type")
            }
            Self::Sealed => f.write_str("it is sealed, which this build cannot open; enable cloakroom's feature `secret`"),
        }
    }
}

/// A field whose cell could not be read: it resets its schema.
#[derive(Clone, Debug)]
pub struct Undecodable {
    pub(crate) field: &'static str,
    pub(crate) cause: Cause,
}

impl<V> fmt::Debug for FieldDef<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.key)
    }
}
