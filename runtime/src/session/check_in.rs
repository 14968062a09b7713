//! How fields get from the request's state into a handle, and their changes back into it.

use super::access::Access;
use crate::{
    error::{SessionError, TooLarge},
    events, limits,
    record::{Cell, CellKey, Cells, Payload, Put, Timestamp},
    schema::{AnyField, Base, Cause, FieldChange, Kind, Opener, PlacedField, Rule, Schema, SessionData, Undecodable},
};

/// A checked-in change.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) def: &'static dyn AnyField,
    pub(super) write: Write,
    pub(super) forced: bool,
    /// Part of a commit that is under way. What is checked in meanwhile is not.
    pub(super) planned: bool,
}

#[derive(Clone, Debug)]
pub(super) enum Write {
    Value(Payload),
    Clear,
}

impl Write {
    pub(super) fn value(&self) -> Option<&Payload> {
        match self {
            Self::Value(payload) => Some(payload),
            Self::Clear => None,
        }
    }
}

impl Pending {
    pub(super) fn puts(&self, now: Timestamp) -> impl Iterator<Item = Put> {
        puts(self.def, self.write.value(), now)
    }
}

impl Access {
    /// The fields of a new handle: what the store holds plus everything checked in so far.
    pub(super) fn open<T: SessionData>(&mut self, now: Timestamp) -> T::Fields {
        let schema = T::__schema();
        if let Some(cells) = self.working(schema, now) {
            match T::__open(&Opener::new(Some(&cells), now)) {
                Ok(fields) => return fields,
                Err(why) => {
                    events::undecodable(schema.name, &why);
                    self.reset.push(schema);
                }
            }
        }
        // Without the record's cells there is nothing left that could fail.
        let checked_in = self.working(schema, now);
        T::__open(&Opener::new(checked_in.as_ref(), now)).unwrap_or_else(|_| T::initial().into())
    }

    pub(super) fn is_reset(&self, schema: &str) -> bool {
        self.reset.iter().any(|reset| reset.name == schema)
    }

    pub(super) fn working(&self, schema: &Schema, now: Timestamp) -> Option<Cells> {
        let stored = self.live().filter(|_| !self.is_reset(schema.name)).map(|live| &live.record.cells);
        if self.pending.is_empty() {
            return stored.cloned();
        }
        let mut cells = stored.cloned().unwrap_or_default();
        for pending in self.pending.iter().filter(|pending| pending.def.schema() == schema.name) {
            pending.puts(now).for_each(|put| cells.insert(Cell::new(put.key, 0, put.body)));
        }
        Some(cells)
    }

    pub(super) fn stored_value(&self, def: &dyn AnyField, now: Timestamp) -> Option<Payload> {
        let live = self.live().filter(|_| !self.is_reset(def.schema()))?;
        // What cannot be read counts as the default, as it did when the handle was made.
        def.stored(&live.record.cells, now).unwrap_or(None)
    }

    pub(super) fn find(&self, def: &dyn AnyField) -> Option<usize> {
        self.pending.iter().position(|pending| pending.def.keys()[0] == def.keys()[0])
    }

    pub(super) fn put(&mut self, def: &'static dyn AnyField, write: Write, forced: bool) {
        self.handed_out = false;
        match self.find(def) {
            Some(at) => {
                let pending = &mut self.pending[at];
                pending.write = write;
                pending.forced |= forced;
                pending.planned = false;
            }
            None => self.pending.push(Pending { def, write, forced, planned: false }),
        }
    }

    /// Takes one field of a handle into the request's changes, if it changed.
    pub(super) fn check_in(&mut self, field: &mut dyn PlacedField, now: Timestamp) -> Result<(), SessionError> {
        let def = field.def();
        if let Some(intruder) = field.intruder() {
            return Err(SessionError::Swapped { place: full_name(def), found: full_name(intruder) });
        }
        let Some(FieldChange { kind, base }) = field.change().cloned() else {
            #[cfg(debug_assertions)]
            if field.changed_unseen() {
                events::unseen_change(def.schema(), def.name());
            }
            return Ok(());
        };
        if kind == Kind::Cleared {
            self.clear_field(def);
        } else {
            let mine = field.encode().map_err(|error| refused_value(def, error))?;
            let base = self.base_value(def, base, now);
            let forced = kind == Kind::Forced;
            if forced || def.expires() || !field.equals(&mine, base.as_ref()) {
                self.merge_in(def, base.as_ref(), &mine, forced, now)?;
            }
        }
        // Further changes of this handle count from the value it holds.
        field.settle();
        Ok(())
    }

    /// What a field of a handle is compared with.
    pub(super) fn base_value(&self, def: &dyn AnyField, base: Base, now: Timestamp) -> Option<Payload> {
        match base {
            Base::Value(payload) => Some(payload),
            // A value made outside of the session is compared with what the session holds.
            Base::Unbound => self.working_value(def, now),
        }
    }

    pub(super) fn working_value(&self, def: &dyn AnyField, now: Timestamp) -> Option<Payload> {
        match self.find(def) {
            Some(at) => self.pending[at].write.value().cloned(),
            None => self.stored_value(def, now),
        }
    }

    /// One handle's change meets what the request has so far, under the rules by which two requests would meet.
    pub(super) fn merge_in(
        &mut self,
        def: &'static dyn AnyField,
        base: Option<&Payload>,
        mine: &Payload,
        forced: bool,
        now: Timestamp,
    ) -> Result<(), SessionError> {
        let earlier = self.find(def);
        if def.rule() == Rule::Last && earlier.is_none() {
            self.put(def, Write::Value(mine.clone()), forced);
            return Ok(());
        }
        let working = self.working_value(def, now);
        let merged = if working.as_ref() == base || def.same(working.as_ref(), base) {
            mine.clone()
        } else {
            match def.rule() {
                Rule::Last => mine.clone(),
                Rule::Strict => return Err(SessionError::Conflict { field: full_name(def) }),
                Rule::Merge => def.merged(base, Some(mine), working.as_ref()).map_err(|error| refused_value(def, error))?,
            }
        };
        let forced = forced || def.expires() || earlier.is_some_and(|at| self.pending[at].forced);
        let stored = self.stored_value(def, now);
        let under_way = earlier.is_some_and(|at| self.pending[at].planned);
        match earlier {
            // Set and reset within one request: nothing is left to write.
            Some(at) if !forced && !under_way && !self.is_reset(def.schema()) && def.same(Some(&merged), stored.as_ref()) => {
                self.pending.swap_remove(at);
            }
            _ => self.put(def, Write::Value(merged), forced),
        }
        Ok(())
    }

    /// Whether the store holds a value of a field, readable or not: only then a clear has something to write.
    pub(super) fn is_stored(&self, def: &dyn AnyField) -> bool {
        self.live().is_some_and(|live| {
            def.keys().iter().any(|key| live.record.cells.get(key).is_some_and(|cell| cell.body.content.payload().is_some()))
        })
    }

    pub(super) fn clear_field(&mut self, def: &'static dyn AnyField) {
        let stored = self.is_stored(def);
        match self.find(def) {
            Some(at) if !stored && !self.pending[at].planned => {
                self.pending.swap_remove(at);
            }
            None if !stored => {}
            _ => self.put(def, Write::Clear, false),
        }
    }
}

/// The cells that store a field: its value, or tombstones at every generation.
pub(super) fn puts(def: &'static dyn AnyField, value: Option<&Payload>, now: Timestamp) -> impl Iterator<Item = Put> {
    def.keys().iter().map(move |key| Put::new(CellKey::from_static(key), def.body(value, now)))
}

pub(super) fn full_name(def: &dyn AnyField) -> String {
    format!("{}.{}", def.schema(), def.name())
}

pub(super) fn refused_value(def: &dyn AnyField, error: Undecodable) -> SessionError {
    let field = full_name(def);
    match error.cause {
        Cause::Invalid(reason) => SessionError::Invalid { field, reason },
        Cause::TooLarge(size) => {
            SessionError::TooLarge { what: TooLarge::Field, limit: limits::CELL, sizes: vec![(def.keys()[0].to_owned(), size)] }
        }
        cause @ (Cause::Codec(_) | Cause::Shape { .. } | Cause::Sealed) => {
            SessionError::Encode { field, reason: cause.to_string() }
        }
    }
}
