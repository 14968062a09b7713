//! Fields without their types: what the session core, which knows nobody's struct, works with.

use super::{
    def::{FieldDef, Role, Stay, Undecodable},
    field::{Field, FieldChange},
    merge::Merge,
};
use crate::{
    record::{Cell, CellBody, Cells, Content, OwnerHash, Payload, Timestamp},
    vault::Vault,
};
use std::fmt;

/// The untyped view of a [`FieldDef`].
pub trait AnyField: Sync + fmt::Debug {
    #[doc(hidden)]
    fn schema(&self) -> &'static str;
    #[doc(hidden)]
    fn name(&self) -> &'static str;
    /// The physical keys this build knows, newest first.
    #[doc(hidden)]
    fn keys(&self) -> &[&'static str];
    #[doc(hidden)]
    fn rule(&self) -> Rule;
    /// What is stored, in the encoding of today.
    #[doc(hidden)]
    fn stored(&self, from: &Opener<'_>) -> Result<Option<Payload>, Undecodable>;
    /// What is stored, in the encoding of today, if that may be written.
    #[doc(hidden)]
    fn renewed(&self, from: &Opener<'_>) -> Result<Option<Payload>, Undecodable>;
    /// Three-way merge of encoded values; `None` is the default.
    #[doc(hidden)]
    fn merged(&self, base: Option<&Payload>, mine: Option<&Payload>, theirs: Option<&Payload>) -> Result<Payload, Undecodable>;
    /// Whether two encoded values are equal: by their bytes, or but for what has no order in them. `None` is the default.
    #[doc(hidden)]
    fn same(&self, a: Option<&Payload>, b: Option<&Payload>) -> bool;
    /// The keys of removed fields that it is computed from.
    #[doc(hidden)]
    fn sources(&self) -> &[&'static str];
    /// The cell to write for a value under one of the [`keys`](Self::keys).
    #[doc(hidden)]
    fn body(&self, generation: usize, payload: &Payload, now: Timestamp) -> Result<CellBody, Undecodable>;
    /// Whether a touch alone is a write.
    #[doc(hidden)]
    fn expires(&self) -> bool;
    /// Whether its cells are sealed.
    #[doc(hidden)]
    fn is_secret(&self) -> bool;
    #[doc(hidden)]
    fn part(&self) -> Part;
    /// Whether it stays when the owner changes.
    #[doc(hidden)]
    fn is_kept(&self) -> bool;
    /// Who is signed in if this is the field's value; `None` is the default.
    #[doc(hidden)]
    fn owner(&self, value: Option<&Payload>) -> Result<Option<OwnerHash>, Undecodable>;
    /// Whether what is stored was last written by a version that did not know the field as it is today.
    #[doc(hidden)]
    fn is_outdated(&self, from: &Opener<'_>) -> bool;
    /// The cell that hides what is stored, from every version of the program that knows its key.
    #[doc(hidden)]
    fn tombstone(&self) -> CellBody;
}

/// A merge rule, as far as the core must know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Not guarded.
    Last,
    /// Guarded; a conflict is an error.
    Strict,
    /// Guarded; a conflict is merged.
    Merge,
}

/// The part a field plays in who is signed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// None.
    Data,
    /// It says who it is.
    Owner,
    /// It says what they may do.
    Privilege,
}

impl<V> AnyField for FieldDef<V> {
    fn schema(&self) -> &'static str {
        self.schema
    }

    fn name(&self) -> &'static str {
        self.name
    }

    fn keys(&self) -> &[&'static str] {
        FieldDef::keys(self)
    }

    fn rule(&self) -> Rule {
        match self.merge {
            Merge::Last => Rule::Last,
            Merge::Strict => Rule::Strict,
            Merge::Of(_) => Rule::Merge,
        }
    }

    fn stored(&self, from: &Opener<'_>) -> Result<Option<Payload>, Undecodable> {
        let read = || match self.read(from)? {
            Some((value, read)) => Ok(Some(self.encoding_of_today(&value, read.as_ref())?)),
            None => Ok(None),
        };
        read().map_err(|cause| Undecodable { field: self.name, cause })
    }

    fn renewed(&self, from: &Opener<'_>) -> Result<Option<Payload>, Undecodable> {
        let renewed = || self.read(from)?.map(|(value, _)| self.accept(&value)).transpose();
        renewed().map_err(|cause| Undecodable { field: self.name, cause })
    }

    fn merged(&self, base: Option<&Payload>, mine: Option<&Payload>, theirs: Option<&Payload>) -> Result<Payload, Undecodable> {
        let merge = || {
            let mine_value = self.base_value(mine)?;
            let merged = match self.merge {
                Merge::Of(merge) => merge(self.base_value(base)?, mine_value, self.base_value(theirs)?),
                Merge::Last | Merge::Strict => mine_value,
            };
            self.accept(&merged)
        };
        merge().map_err(|cause| Undecodable { field: self.name, cause })
    }

    fn same(&self, a: Option<&Payload>, b: Option<&Payload>) -> bool {
        self.is_same(a, b)
    }

    fn sources(&self) -> &[&'static str] {
        self.computed.as_ref().map_or(&[], |computed| computed.sources)
    }

    fn body(&self, generation: usize, payload: &Payload, now: Timestamp) -> Result<CellBody, Undecodable> {
        let content = self.content(generation, payload).map_err(|cause| Undecodable { field: self.name, cause })?;
        let mut body = CellBody::new(content);
        body.keep = self.stay == Stay::Kept;
        if body.content.payload().is_some() {
            body.deadline = self.ttl.map(|ttl| now.plus(ttl));
        }
        Ok(body)
    }

    fn expires(&self) -> bool {
        self.ttl.is_some()
    }

    fn is_secret(&self) -> bool {
        self.secret
    }

    fn part(&self) -> Part {
        match self.role {
            Role::Data => Part::Data,
            Role::Owner(_) => Part::Owner,
            Role::Privilege => Part::Privilege,
        }
    }

    fn is_kept(&self) -> bool {
        self.stay == Stay::Kept
    }

    fn owner(&self, value: Option<&Payload>) -> Result<Option<OwnerHash>, Undecodable> {
        let Role::Owner(hash) = self.role else { return Ok(None) };
        let owner = || Ok(hash(self.schema, &self.base_value(value)?)?);
        owner().map_err(|cause| Undecodable { field: self.name, cause })
    }

    fn is_outdated(&self, from: &Opener<'_>) -> bool {
        match from.newest(FieldDef::keys(self), AnyField::sources(self), self.stay) {
            Newest::Nothing | Newest::Cell(0, _) => false,
            Newest::Cell(..) | Newest::Sources => true,
        }
    }

    fn tombstone(&self) -> CellBody {
        let mut body = CellBody::new(Content::Tombstone);
        body.keep = self.stay == Stay::Kept;
        body
    }
}

/// Cells, and what it takes to read them.
#[derive(Debug)]
pub struct Opener<'a> {
    cells: Option<&'a Cells>,
    vault: Option<Vault<'a>>,
    now: Timestamp,
    /// The epoch of their record, if they have one.
    epoch: Option<u32>,
}

impl<'a> Opener<'a> {
    /// From these cells; from none, every field is its default.
    pub(crate) fn new(cells: Option<&'a Cells>, vault: Option<Vault<'a>>, now: Timestamp) -> Self {
        Self { cells, vault, now, epoch: None }
    }

    /// Of a record in this epoch.
    pub(crate) fn of_epoch(self, epoch: Option<u32>) -> Self {
        Self { epoch, ..self }
    }

    /// What is stored under a key, if a reader with a field of that `stay` sees it now.
    pub(super) fn content(&self, key: &str, stay: Stay) -> Option<&'a Content> {
        self.visible(self.cells?.get(key)?, stay)
    }

    fn visible(&self, cell: &'a Cell, stay: Stay) -> Option<&'a Content> {
        // A program that declared the field `keep` wrote it, and this one does not: another owner may have come in between.
        let outlived = stay == Stay::WithItsOwner && cell.body.keep && self.epoch.is_some_and(|epoch| epoch != cell.body.epoch);
        cell.body.visible(self.now).filter(|_| !outlived)
    }

    /// Where a field's value is: in the cell written last among those it knows, or with removed fields written after that. Of cells
    /// written together the newest generation counts: it lost nothing on the way down.
    pub(super) fn newest(&self, keys: &[&'static str], sources: &[&'static str], stay: Stay) -> Newest<'a> {
        let Some(cells) = self.cells else { return Newest::Nothing };
        let mut newest: Option<(usize, &'a Cell)> = None;
        for (generation, key) in keys.iter().enumerate() {
            if let Some(cell) = cells.get(key)
                && newest.is_none_or(|(_, newest)| newest.stamp < cell.stamp)
            {
                newest = Some((generation, cell));
            }
        }
        let own = newest.map_or(0, |(_, cell)| cell.stamp);
        if sources.iter().any(|key| cells.stamp(key) > own) {
            let seen = |key: &&'static str| cells.get(key).is_some_and(|cell| self.visible(cell, stay).is_some());
            return if sources.iter().any(seen) { Newest::Sources } else { Newest::Nothing };
        }
        match newest.and_then(|(generation, cell)| Some((generation, self.visible(cell, stay)?))) {
            Some((generation, content)) => Newest::Cell(generation, content),
            None => Newest::Nothing,
        }
    }

    pub(super) fn vault(&self) -> Option<&Vault<'a>> {
        self.vault.as_ref()
    }

    /// One field.
    ///
    /// # Errors
    /// If its cell cannot be read and the field is not `lossy`.
    pub fn field<V>(&self, def: &'static FieldDef<V>) -> Result<Field<V>, Undecodable> {
        let read = def.read(self).map_err(|cause| Undecodable { field: def.name, cause })?;
        Ok(match read {
            Some((value, read)) if !def.coding.is_certain() && !matches!(def.merge, Merge::Last) => {
                match def.encoding_of_today(&value, read.as_ref()) {
                    Ok(payload) => Field::loaded_from(def, value, payload),
                    Err(_) => Field::loaded(def, value),
                }
            }
            Some((value, _)) => Field::loaded(def, value),
            None => Field::loaded(def, def.default()),
        })
    }
}

/// Where a field's value is.
pub(super) enum Newest<'a> {
    /// Nowhere: it is at its default.
    Nothing,
    /// In the cell of this generation, counted from today's.
    Cell(usize, &'a Content),
    /// In the cells of removed fields.
    Sources,
}

/// A field of a handle beside the definition that belongs to its place.
#[derive(Debug)]
pub struct Placed<'a, V: 'static> {
    /// The definition of the place.
    pub def: &'static FieldDef<V>,
    /// What is in it.
    pub field: &'a mut Field<V>,
}

/// The untyped view of a [`Placed`] field.
pub trait PlacedField {
    #[doc(hidden)]
    fn def(&self) -> &'static dyn AnyField;
    /// The field that was swapped into this place, if one was.
    #[doc(hidden)]
    fn intruder(&self) -> Option<&'static dyn AnyField>;
    #[doc(hidden)]
    fn change(&self) -> Option<&FieldChange>;
    #[doc(hidden)]
    fn encode(&self) -> Result<Payload, Undecodable>;
    #[doc(hidden)]
    fn clear(&mut self);
    /// The value held is the base from here on.
    #[doc(hidden)]
    fn settle(&mut self);
    /// A save failed to store the change.
    #[doc(hidden)]
    fn fail(&mut self);
    /// Whether the value changed without `&mut` access.
    #[cfg(debug_assertions)]
    #[doc(hidden)]
    fn changed_unseen(&self) -> bool;
}

impl<V> PlacedField for Placed<'_, V> {
    fn def(&self) -> &'static dyn AnyField {
        self.def
    }

    fn intruder(&self) -> Option<&'static dyn AnyField> {
        (!std::ptr::eq(self.def, self.field.def())).then(|| super::field::place(self.field))
    }

    fn change(&self) -> Option<&FieldChange> {
        self.field.pending()
    }

    fn encode(&self) -> Result<Payload, Undecodable> {
        let encode = || {
            let payload = self.def.admit(self.field.value())?;
            let value = self.field.value();
            match self.def.prove(value, &payload) {
                // What the handle began with is not written.
                Err(_) if self.field.began_with(&payload) && self.def.is_as_it_was(value, &payload) => {}
                proof => proof?,
            }
            Ok(payload)
        };
        encode().map_err(|cause| Undecodable { field: self.def.name, cause })
    }

    fn clear(&mut self) {
        self.field.clear();
    }

    fn settle(&mut self) {
        self.field.settle();
    }

    fn fail(&mut self) {
        self.field.fail();
    }

    #[cfg(debug_assertions)]
    fn changed_unseen(&self) -> bool {
        self.field.changed_unseen()
    }
}
