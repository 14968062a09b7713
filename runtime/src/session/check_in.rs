//! How fields get from the request's state into a handle, and their changes back into it.

use super::{
    access::{Access, Live},
    changes::{How, Seen, Source, Staged},
};
use crate::{
    error::{SessionError, TooLarge},
    events, limits,
    record::{Cell, CellKey, Cells, Payload, Put, Timestamp},
    schema::{AnyField, Base, Cause, FieldChange, Kind, Opener, Part, PlacedField, Rule, Schema, SessionData, Undecodable},
};

/// What the staged changes of one field come to.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    pub(super) def: &'static dyn AnyField,
    pub(super) write: Write,
    pub(super) kept: Kept,
}

/// Whether a change that turns out to change nothing is written all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    IfItChanges,
    Always,
}

/// Whether another owner begins with a handle's changes. Then what it assigns is theirs, even where the one before had the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TakenOver {
    Yes,
    No,
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
    /// A value that is to be stored as it is.
    pub(super) fn of_value(def: &'static dyn AnyField, value: Payload) -> Self {
        Self { def, write: Write::Value(value), kept: Kept::Always }
    }

    /// The cells that store it: its value in every generation in use, or tombstones there.
    pub(super) fn puts(&self, now: Timestamp) -> impl Iterator<Item = Result<Put, SessionError>> {
        let def = self.def;
        def.keys().iter().enumerate().map(move |(generation, key)| {
            let body = match &self.write {
                Write::Value(payload) => def.body(generation, payload, now).map_err(|error| refused_value(def, error))?,
                Write::Clear => def.tombstone(),
            };
            Ok(Put::new(CellKey::from_static(key), body))
        })
    }
}

impl Access {
    /// The fields of a new handle: what the store holds plus everything checked in so far.
    pub(super) fn open<T: SessionData>(&mut self, now: Timestamp) -> T::Fields {
        let schema = T::__schema();
        if let Some(cells) = self.working(schema, now) {
            let opened = T::__open(&self.opener(Some(&cells), now));
            match opened.and_then(|fields| self.agree_on_owner(schema, now).map(|()| fields)) {
                Ok(fields) => return fields,
                Err(why) => {
                    events::undecodable(schema.name, &why);
                    self.reset.push(schema);
                }
            }
        }
        // Without the record's cells there is nothing left that could fail.
        let checked_in = self.working(schema, now);
        T::__open(&Opener::new(checked_in.as_ref(), None, now)).unwrap_or_else(|_| T::initial().into())
    }

    pub(super) fn is_reset(&self, schema: &str) -> bool {
        self.reset.iter().any(|reset| reset.name == schema)
    }

    fn working(&self, schema: &Schema, now: Timestamp) -> Option<Cells> {
        let stored = self.live().filter(|_| !self.is_reset(schema.name)).map(|live| &live.record.cells);
        if self.changes.folded().is_empty() {
            return stored.cloned();
        }
        let mut cells = stored.cloned().unwrap_or_default();
        for pending in self.changes.folded().iter().filter(|pending| pending.def.schema() == schema.name) {
            // Newer than anything stored. What cannot be written is not seen either, and fails the commit.
            let written = pending.puts(now).next().and_then(Result::ok);
            if let Some(put) = written {
                cells.insert(Cell::new(put.key, u64::MAX, put.body));
            }
        }
        Some(cells)
    }

    pub(super) fn opener<'a>(&'a self, cells: Option<&'a Cells>, now: Timestamp) -> Opener<'a> {
        let epoch = self.live().map(|live| live.record.header.epoch);
        Opener::new(cells, self.live().map(Live::vault), now).of_epoch(epoch)
    }

    pub(super) fn stored_value(&self, def: &dyn AnyField, now: Timestamp) -> Option<Payload> {
        let live = self.live().filter(|_| !self.is_reset(def.schema()))?;
        // What cannot be read counts as the default, as it did when the handle was made.
        def.stored(&self.opener(Some(&live.record.cells), now)).unwrap_or(None)
    }

    pub(super) fn find(&self, def: &dyn AnyField) -> Option<&Pending> {
        self.changes.folded().iter().find(|pending| is_same_field(pending.def, def))
    }

    /// Stages a handle's changes: all of them, or none if one is refused.
    pub(super) fn stage<T: SessionData>(
        &mut self,
        fields: &mut T::Fields,
        opened: Opened,
        source: Source,
        now: Timestamp,
    ) -> Result<(), SessionError> {
        let mut staged = Vec::new();
        let mut refused = None;
        let taken_over = self.is_taken_over::<T>(fields, now);
        T::__visit(fields, &mut |field| {
            if refused.is_none() {
                match self.prepare(field, opened, taken_over, source, now) {
                    Ok(change) => staged.extend(change),
                    Err(error) => refused = Some(error),
                }
            }
        });
        if let Some(error) = refused {
            return Err(error);
        }
        if staged.is_empty() {
            return Ok(());
        }
        // What was staged before can be at odds with what is stored by now; then it is what fails, when it is written.
        let before = self.changes.staged().len();
        let alone = before == 0 || !self.changes.are_outdated() || self.fold(now, |_| true).is_ok();
        self.changes.add(staged);
        self.refold(now).or_else(|error| {
            if !alone {
                return Ok(());
            }
            self.changes.truncate(before);
            Err(error)
        })
    }

    /// Works out what the staged changes come to on top of what is stored, if that is not known.
    pub(super) fn refold(&mut self, now: Timestamp) -> Result<(), SessionError> {
        if self.changes.are_outdated() {
            let folded = self.fold(now, |_| true)?;
            self.changes.set_folded(folded, None);
        }
        Ok(())
    }

    /// ... and what those come to that the commit takes.
    pub(super) fn refold_for_plan(&mut self, now: Timestamp) -> Result<(), SessionError> {
        if !self.changes.takes_some() {
            return self.refold(now);
        }
        let planned = self.fold(now, Staged::is_in_commit)?;
        // What cannot be merged is an error of the one that brings it.
        let folded = self.fold(now, |_| true).unwrap_or_default();
        self.changes.set_folded(folded, Some(planned));
        Ok(())
    }

    fn fold(&self, now: Timestamp, which: impl Fn(&Staged) -> bool) -> Result<Vec<Pending>, SessionError> {
        let mut folded: Vec<Pending> = Vec::with_capacity(self.changes.staged().len());
        for staged in self.changes.staged().iter().filter(|staged| which(staged)) {
            let def = staged.def;
            let earlier = folded.iter().position(|pending| is_same_field(pending.def, def));
            let write = match (&staged.write, def.rule(), earlier) {
                (Write::Clear, ..) => Write::Clear,
                (Write::Value(mine), Rule::Last, _) => Write::Value(mine.clone()),
                // What it was made on top of is what is stored.
                (Write::Value(mine), _, None) if staged.seen == Seen::Stored(self.changes.view()) => Write::Value(mine.clone()),
                (Write::Value(mine), Rule::Strict, None) if self.live().is_none() => Write::Value(mine.clone()),
                (Write::Value(mine), _, None) => {
                    let theirs = self.stored_to_merge(def, now)?;
                    Write::Value(meet(staged, mine, theirs.as_ref())?)
                }
                (Write::Value(mine), _, Some(at)) => Write::Value(meet(staged, mine, folded[at].write.value())?),
            };
            match earlier {
                None => folded.push(Pending { def, write, kept: staged.kept }),
                Some(at) => {
                    let kept = if folded[at].kept == Kept::Always { Kept::Always } else { staged.kept };
                    // Set and reset within one request: nothing is left to write.
                    let is_nothing = kept == Kept::IfItChanges
                        && !self.is_reset(def.schema())
                        && !self.changes.is_in_commit(def)
                        && write.value().is_some_and(|value| def.same(Some(value), self.stored_value(def, now).as_ref()));
                    if is_nothing {
                        folded.remove(at);
                    } else {
                        folded[at] = Pending { def, write, kept };
                    }
                }
            }
        }
        folded.retain(|pending| {
            matches!(pending.write, Write::Value(_)) || self.is_stored(pending.def) || self.changes.is_in_commit(pending.def)
        });
        Ok(folded)
    }

    /// What is stored, for a change to be merged with. What this build cannot read it must not overwrite by a merge.
    fn stored_to_merge(&self, def: &dyn AnyField, now: Timestamp) -> Result<Option<Payload>, SessionError> {
        let Some(live) = self.live().filter(|_| !self.is_reset(def.schema())) else { return Ok(None) };
        def.stored(&self.opener(Some(&live.record.cells), now)).map_err(|_| SessionError::Conflict { field: full_name(def) })
    }

    /// Whether a handle makes somebody else the owner of what somebody owned.
    pub(super) fn is_taken_over<T: SessionData>(&self, fields: &mut T::Fields, now: Timestamp) -> TakenOver {
        let Some(owner) = T::__schema().owner else { return TakenOver::No };
        // Few handlers touch it, so nothing is read or hashed for the others.
        let mut touched = None;
        T::__visit(fields, &mut |field| {
            if field.def().part() == Part::Owner && field.change().is_some() {
                touched = field.encode().ok();
            }
        });
        let Some(value) = touched else { return TakenOver::No };
        match (owner.owner(self.stored_value(owner, now).as_ref()), owner.owner(Some(&value))) {
            (Ok(Some(before)), Ok(after)) if after != Some(before) => TakenOver::Yes,
            _ => TakenOver::No,
        }
    }

    /// What one field of a handle changes, if anything.
    pub(super) fn prepare(
        &self,
        field: &dyn PlacedField,
        opened: Opened,
        taken_over: TakenOver,
        source: Source,
        now: Timestamp,
    ) -> Result<Option<Staged>, SessionError> {
        let def = field.def();
        if let Some(intruder) = field.intruder() {
            return Err(SessionError::Swapped { place: full_name(def), found: full_name(intruder) });
        }
        let Some(FieldChange { kind, base, failed }) = field.change() else {
            #[cfg(debug_assertions)]
            if field.changed_unseen() {
                events::unseen_change(def.schema(), def.name());
            }
            return Ok(None);
        };
        if *failed && source.1 == How::Dropped {
            // Another save did not come, and the response's commit does not take it.
            return Ok(None);
        }
        if *kind == Kind::Cleared {
            return Ok(Some(Staged::new(def, None, Write::Clear, Kept::IfItChanges, opened.seen, source)));
        }
        let mine = field.encode().map_err(|error| refused_value(def, error))?;
        let (base, seen) = match base {
            Base::Value(payload) => (Some(payload.clone()), opened.seen),
            // A value made outside of the session is compared with what the session holds.
            Base::Unbound => (self.working_value(def, now), Seen::Unstored),
        };
        // A touch prolongs what is there. Where nothing but the default is, it is no change.
        let prolongs = def.expires() && self.working_value(def, now).is_some_and(|value| !def.same(Some(&value), None));
        let always = *kind == Kind::Forced || prolongs || taken_over == TakenOver::Yes;
        let kept = if always { Kept::Always } else { Kept::IfItChanges };
        if kept == Kept::IfItChanges && def.same(Some(&mine), base.as_ref()) {
            return Ok(None);
        }
        Ok(Some(Staged::new(def, base, Write::Value(mine), kept, seen, source)))
    }

    fn working_value(&self, def: &dyn AnyField, now: Timestamp) -> Option<Payload> {
        match self.find(def) {
            Some(pending) => pending.write.value().cloned(),
            None => self.stored_value(def, now),
        }
    }

    /// Whether a clear has something to hide: a value under one of the field's keys, readable or not; or one that is not older than
    /// its tombstones, of a generation that only another version of the program knows, or of a source.
    pub(super) fn is_stored(&self, def: &dyn AnyField) -> bool {
        let Some(live) = self.live() else { return false };
        let cells = &live.record.cells;
        let own = def.keys();
        let tombstones = own.iter().filter_map(|key| cells.get(key)).filter(|cell| cell.body.content.payload().is_none());
        let hidden = tombstones.map(|cell| cell.stamp).max().unwrap_or(0);
        let concerns = |key: &str| def.sources().contains(&key) || without_generation(key) == without_generation(own[0]);
        let mut values = cells.iter().filter(|cell| cell.body.content.payload().is_some());
        values.any(|cell| own.contains(&&*cell.key) || (cell.stamp >= hidden && concerns(&cell.key)))
    }

    /// Where a handle that is made now begins.
    pub(super) fn opened(&self) -> Opened {
        let seen = if self.has_changes() { Seen::Unstored } else { Seen::Stored(self.changes.view()) };
        Opened { incarnation: self.incarnation, seen }
    }
}

/// The state of the request that a handle was made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Opened {
    pub(super) incarnation: u32,
    pub(super) seen: Seen,
}

/// Mine meets theirs; where theirs is still the base, it is mine.
fn meet(staged: &Staged, mine: &Payload, theirs: Option<&Payload>) -> Result<Payload, SessionError> {
    let (def, base) = (staged.def, staged.base.as_ref());
    if !staged.contested && (theirs == base || def.same(theirs, base)) {
        return Ok(mine.clone());
    }
    match def.rule() {
        Rule::Last => Ok(mine.clone()),
        Rule::Strict => Err(SessionError::Conflict { field: full_name(def) }),
        Rule::Merge => def.merged(base, Some(mine), theirs).map_err(|error| refused_value(def, error)),
    }
}

/// The keys of all cells that a field's value may be in: its own, and those of removed fields that it is computed from.
pub(super) fn origins(def: &'static dyn AnyField) -> impl Iterator<Item = &'static str> {
    def.keys().iter().chain(def.sources()).copied()
}

/// The name in a physical key, which all generations share.
pub(super) fn without_generation(key: &str) -> &str {
    key.split_once('@').map_or(key, |(name, _)| name)
}

/// The cells that hide whatever is stored of a field, from every version of the program that knows one of them.
pub(super) fn tombstones(def: &'static dyn AnyField) -> impl Iterator<Item = Put> {
    def.keys().iter().map(|key| Put::new(CellKey::from_static(key), def.tombstone()))
}

/// Whether two definitions are of one field: its current key is its own.
pub(super) fn is_same_field(a: &dyn AnyField, b: &dyn AnyField) -> bool {
    a.keys()[0] == b.keys()[0]
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
        cause @ (Cause::Codec(_)
        | Cause::Shape { .. }
        | Cause::Upgrade(_)
        | Cause::Unhashable(_)
        | Cause::Irreversible { .. }
        | Cause::OtherOwner
        | Cause::UnlistedOwner
        | Cause::Sealed) => SessionError::Encode { field, reason: cause.to_string() },
    }
}
