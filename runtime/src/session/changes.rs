//! What the handles of a request have changed and no commit has stored yet, and what each `save()` still has to hear about it.
//!
//! # The protocol between handles, saves, reloads and the response's own commit
//!
//! 1. A handle *stages* its changes: each field as (base, value), where base is the value the change was made on top of. A handle
//!    that is dropped stages for the response's commit; a `save()` stages for itself.
//! 2. What is to be written is *folded* from the staged changes, in their order, on top of what is stored: each one meets the value
//!    before it under the field's merge rule. Nothing is merged in place, so a staged change can be withdrawn at any time.
//! 3. One conversation with the store is under way at a time ([`StoreLock`](super::flight)). A commit takes all that is staged when it
//!    is planned. When it succeeds, these changes are stored and leave; when it certainly did not happen, they stay.
//! 4. A `save()` answers for its own changes: `Ok` only if each of them was stored (or turned out to change nothing). What ends a
//!    session, or leaves it in doubt, drops what is staged and notes why for each save concerned, also for one that still waits.
//! 5. A save that fails, or whose future is dropped, withdraws its changes: they are the handle's again, and no other commit takes
//!    them. Only a commit that had been asked leaves them in doubt.
//! 6. The response's commit waits for no save (a handle that is still saving has outlived its handler, which is an error) and takes
//!    the conversation over from a reload, which begins again afterwards.

use super::check_in::{Kept, Pending, Write};
use crate::{error::SessionError, record::Payload, schema::AnyField, store::StoreError};

/// One field as one handle has changed it.
#[derive(Debug)]
pub(super) struct Staged {
    pub(super) def: &'static dyn AnyField,
    /// What the change was made on top of; `None` is the default.
    pub(super) base: Option<Payload>,
    pub(super) write: Write,
    pub(super) kept: Kept,
    /// The state of the record whose value is the base.
    pub(super) seen: Seen,
    /// Another request has written the field since, perhaps the same value: its stamp says so.
    pub(super) contested: bool,
    source: Source,
    stage: Stage,
    /// The position in the order of all changes of the request.
    number: u32,
}

/// The state of the session that a handle was made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// What was stored, as this request knew it then: see [`Changes::view`].
    Stored(u32),
    /// That, and changes that were not stored yet.
    Unstored,
}

/// Who stores a staged change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// The next commit, at the latest the response's: the handler checked it in.
    Request,
    /// The same: the handle was dropped.
    Dropped,
    /// A save that is under way.
    Save(SaveId),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SaveId(u32);

/// How far a staged change has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Waiting,
    InCommit,
}

/// Why a change that a save had brought was dropped.
#[derive(Clone, Debug)]
pub(super) enum Dropped {
    /// The session has ended, or belongs to another owner.
    Gone,
    /// The store may have written it.
    InDoubt,
    /// A `strict` field, which another request has changed.
    Conflict(String),
}

impl Dropped {
    pub(super) fn error(self) -> SessionError {
        match self {
            Self::Gone => SessionError::Gone,
            Self::InDoubt => SessionError::OutcomeUnknown(StoreError::outcome_unknown(
                "an earlier write of this request may or may not have been stored",
            )),
            Self::Conflict(field) => SessionError::Conflict { field },
        }
    }
}

/// A save that is under way.
#[derive(Debug)]
struct Save {
    id: SaveId,
    dropped: Option<Dropped>,
}

/// The staged changes of a request, and what they come to.
#[derive(Debug, Default)]
pub(super) struct Changes {
    staged: Vec<Staged>,
    /// What the staged changes come to on top of what is stored.
    folded: Vec<Pending>,
    /// Whether `folded` is older than what it was made from.
    outdated: bool,
    saves: Vec<Save>,
    last: u32,
    view: u32,
}

impl Changes {
    /// What the staged changes come to.
    pub(super) fn folded(&self) -> &[Pending] {
        &self.folded
    }

    pub(super) fn staged(&self) -> &[Staged] {
        &self.staged
    }

    pub(super) fn are_outdated(&self) -> bool {
        self.outdated
    }

    /// Counts the changes of what is stored, as far as this request knows it.
    pub(super) fn view(&self) -> u32 {
        self.view
    }

    /// What is stored has changed under the staged changes; another request wrote those fields.
    pub(super) fn rebase(&mut self, written: impl Fn(&'static dyn AnyField) -> bool) {
        self.view += 1;
        for staged in &mut self.staged {
            staged.contested |= written(staged.def);
        }
        self.outdated |= !self.staged.is_empty();
    }

    pub(super) fn set_folded(&mut self, folded: Vec<Pending>) {
        self.folded = folded;
        self.outdated = false;
    }

    /// The mark after which later changes can be told from those there are.
    pub(super) fn mark(&self) -> u32 {
        self.last
    }

    pub(super) fn begin_save(&mut self) -> SaveId {
        self.last += 1;
        let id = SaveId(self.last);
        self.saves.push(Save { id, dropped: None });
        id
    }

    /// Ends a save: what it staged and no commit stored is the handle's again. Answers why something of it was dropped, if so.
    pub(super) fn end_save(&mut self, id: SaveId) -> Option<Dropped> {
        let before = self.staged.len();
        self.staged.retain(|staged| staged.source != Source::Save(id));
        let withdrawn = self.staged.len() != before;
        self.outdated |= withdrawn;
        let at = self.saves.iter().position(|save| save.id == id)?;
        self.saves.swap_remove(at).dropped
    }

    pub(super) fn add(&mut self, mut new: Vec<Staged>) {
        for staged in &mut new {
            self.last += 1;
            staged.number = self.last;
        }
        self.outdated |= !new.is_empty();
        if self.staged.is_empty() {
            self.staged = new;
        } else {
            self.staged.append(&mut new);
        }
    }

    /// Takes back what was added last.
    pub(super) fn truncate(&mut self, length: usize) {
        self.staged.truncate(length);
    }

    /// A commit takes everything that is staged.
    pub(super) fn take_into_commit(&mut self) {
        self.staged.iter_mut().for_each(|staged| staged.stage = Stage::InCommit);
    }

    /// The commit certainly did not happen.
    pub(super) fn return_from_commit(&mut self) {
        self.staged.iter_mut().for_each(|staged| staged.stage = Stage::Waiting);
    }

    /// The commit has happened: what it took is stored.
    pub(super) fn stored(&mut self) {
        self.view += 1;
        self.staged.retain(|staged| staged.stage != Stage::InCommit);
        self.folded.clear();
        self.outdated = !self.staged.is_empty();
    }

    /// Everything that is staged turned out to change nothing that has to be stored.
    pub(super) fn come_to_nothing(&mut self) {
        self.staged.clear();
        self.folded.clear();
        self.outdated = false;
    }

    /// Whether a commit is taking a change of that field.
    pub(super) fn is_in_commit(&self, def: &dyn AnyField) -> bool {
        self.staged.iter().any(|staged| staged.stage == Stage::InCommit && staged.def.keys()[0] == def.keys()[0])
    }

    /// Drops everything, and answers what that was for events.
    pub(super) fn drop_all(&mut self, why: Dropped) -> Vec<Pending> {
        self.drop_those(why, |_| true)
    }

    /// Drops every change of one field.
    pub(super) fn drop_field(&mut self, why: Dropped, def: &dyn AnyField) {
        self.drop_those(why, |staged| staged.def.keys()[0] == def.keys()[0]);
    }

    /// Drops what no save answers for and no commit is taking, staged after the mark.
    pub(super) fn discard(&mut self, after: u32) -> Vec<Pending> {
        self.drop_those(Dropped::Gone, |staged| {
            !matches!(staged.source, Source::Save(_)) && staged.stage == Stage::Waiting && staged.number > after
        })
    }

    fn drop_those(&mut self, why: Dropped, which: impl Fn(&Staged) -> bool) -> Vec<Pending> {
        let mut dropped: Vec<Pending> = Vec::new();
        for staged in self.staged.extract_if(.., |staged| which(staged)) {
            if let Source::Save(id) = staged.source
                && let Some(save) = self.saves.iter_mut().find(|save| save.id == id)
            {
                save.dropped.get_or_insert_with(|| why.clone());
            }
            if !dropped.iter().any(|known| known.def.keys()[0] == staged.def.keys()[0]) {
                dropped.push(Pending { def: staged.def, write: staged.write, kept: staged.kept });
            }
        }
        if self.staged.is_empty() {
            self.folded.clear();
            self.outdated = false;
        } else {
            self.outdated |= !dropped.is_empty();
        }
        dropped
    }

    /// A save hears why what it asked for beside fields was dropped.
    pub(super) fn note(&mut self, id: SaveId, why: Dropped) {
        if let Some(save) = self.saves.iter_mut().find(|save| save.id == id) {
            save.dropped.get_or_insert(why);
        }
    }

    /// Keeps only the changes of these fields. The others are carried out by what ends the session.
    pub(super) fn keep_only(&mut self, keep: impl Fn(&dyn AnyField) -> bool) {
        self.staged.retain(|staged| keep(staged.def));
        self.folded.clear();
        self.outdated = !self.staged.is_empty();
    }

    /// From here on the changes of these fields are made on top of nothing.
    pub(super) fn forget_bases(&mut self, of: impl Fn(&dyn AnyField) -> bool) {
        for staged in self.staged.iter_mut().filter(|staged| of(staged.def)) {
            staged.base = None;
            staged.seen = Seen::Unstored;
            self.outdated = true;
        }
    }
}

impl Staged {
    pub(super) fn new(
        def: &'static dyn AnyField,
        base: Option<Payload>,
        write: Write,
        kept: Kept,
        seen: Seen,
        source: Source,
    ) -> Self {
        Self { def, base, write, kept, seen, contested: false, source, stage: Stage::Waiting, number: 0 }
    }
}
