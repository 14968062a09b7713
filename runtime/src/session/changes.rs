//! What the handles of a request have changed and no commit has stored yet, and what each `save()` still has to hear about it.
//!
//! # The protocol between handles, saves, reloads and the response's own commit
//!
//! 1. A handle *stages* its changes: each field as (base, value), where base is the value the change was made on top of. A handle
//!    that is dropped stages for the response's commit; a `save()` stages for itself.
//! 2. What is to be written is *folded* from the staged changes, in their order, on top of what is stored: each one meets the value
//!    before it under the field's merge rule. Nothing is merged in place, so a staged change can be withdrawn at any time.
//! 3. One conversation with the store is under way at a time ([`StoreLock`](super::flight)). The commit of a save takes the save's own
//!    changes and those that no save answers for; the response's commit takes the latter only. When a commit succeeds, what it took is
//!    stored and leaves; when it certainly did not happen, it stays.
//! 4. A `save()` answers for its own changes: `Ok` only if each of them was stored (or turned out to change nothing). What ends a
//!    session, or leaves it in doubt, drops what is staged and notes why for each save concerned, also for one that still waits.
//!    Where changes of a dropped handle are among them, the response is the error.
//! 5. A save that fails, or whose future is dropped, withdraws its changes: they are the handle's again, and no other commit takes
//!    them. Only a commit that had been asked leaves them in doubt.
//! 6. The response's commit waits for no save (a handle that is still saving has outlived its handler, which is an error) and takes
//!    the conversation over from a reload, which begins again afterwards.

use super::check_in::{Kept, Pending, Write, is_same_field};
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
    handle: HandleId,
    how: How,
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

/// One handle of the request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct HandleId(u32);

/// How a handle staged a change, which decides what commits take it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// The handle was dropped: any commit takes it, at the latest the response's.
    Dropped,
    /// The handle lives, and checked in: a save of its own takes it, or the response's commit. It is not discarded with the response.
    CheckedIn,
    /// A save of the handle is under way, and takes it.
    Saving,
    /// A save of the handle failed, and the handler knows: only another one takes it.
    Held,
}

/// Who plans a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Committer {
    Save(HandleId),
    Response,
}

impl Committer {
    /// Whether the commit takes what a handle gave.
    pub(super) fn takes(self, handle: HandleId, how: How) -> bool {
        match how {
            How::Dropped => true,
            How::CheckedIn => self == Self::Response || self == Self::Save(handle),
            How::Saving | How::Held => self == Self::Save(handle),
        }
    }
}

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
    /// It needed a cookie, and the head was sent before it was stored.
    HeadSent,
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
            Self::HeadSent => SessionError::HeadSent,
            Self::Conflict(field) => SessionError::Conflict { field },
        }
    }
}

/// A save that is under way.
#[derive(Debug)]
struct Save {
    handle: HandleId,
    staged: Brought,
    dropped: Option<Dropped>,
}

/// Whether a save brought changes of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Brought {
    Nothing,
    Changes,
}

/// What became of what a save brought.
#[derive(Debug)]
pub(super) enum Fate {
    /// Each change was stored, or came to nothing.
    Stored,
    /// Nothing was stored, and nothing will be.
    Withdrawn,
    Dropped(Dropped),
}

/// Which of the changes that no commit is taking are discarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Discard {
    /// Those of dropped handles.
    Dropped,
    /// Those that living handles have checked in, too.
    CheckedIn,
}

impl Discard {
    pub(super) fn takes(self, how: How) -> bool {
        match how {
            How::Dropped => true,
            How::CheckedIn => self == Self::CheckedIn,
            How::Saving | How::Held => false,
        }
    }
}

/// What was dropped.
#[derive(Debug, Default)]
pub(super) struct Losses {
    /// The schema of each field.
    pub(super) schemas: Vec<&'static str>,
    /// Whether some of it is what no save answers for, so that the response has to.
    pub(super) unanswered: bool,
}

/// The staged changes of a request, and what they come to.
#[derive(Debug, Default)]
pub(super) struct Changes {
    staged: Vec<Staged>,
    /// What the staged changes come to on top of what is stored.
    folded: Vec<Pending>,
    /// What those come to that the commit takes which is being planned, where that is not all.
    planned: Option<Vec<Pending>>,
    /// Whether `folded` is older than what it was made from.
    outdated: bool,
    /// A commit is being planned, so none is under way.
    planning: bool,
    saves: Vec<Save>,
    last: u32,
    view: u32,
}

impl Changes {
    /// What the staged changes come to; while a commit is planned, those that it takes.
    pub(super) fn folded(&self) -> &[Pending] {
        self.planned.as_ref().unwrap_or(&self.folded)
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

    pub(super) fn set_folded(&mut self, folded: Vec<Pending>, planned: Option<Vec<Pending>>) {
        self.folded = folded;
        self.planned = planned;
        self.outdated = false;
    }

    /// A commit is planned: it takes what is its own, and what no save answers for.
    pub(super) fn begin_plan(&mut self, committer: Committer) {
        self.planning = true;
        for staged in &mut self.staged {
            staged.stage = if committer.takes(staged.handle, staged.how) { Stage::InCommit } else { Stage::Waiting };
        }
        self.outdated |= self.takes_some();
    }

    /// Whether the commit takes some of the changes, and not all.
    pub(super) fn takes_some(&self) -> bool {
        self.staged.iter().any(|staged| staged.stage == Stage::Waiting)
    }

    /// The commit is planned. Without one, nothing is in it.
    pub(super) fn end_plan(&mut self, planned: bool) {
        self.planning = false;
        self.planned = None;
        if !planned {
            self.return_from_commit();
        }
    }

    pub(super) fn new_handle(&mut self) -> HandleId {
        self.last += 1;
        HandleId(self.last)
    }

    /// The mark after which later changes can be told from those there are.
    pub(super) fn mark(&self) -> u32 {
        self.last
    }

    pub(super) fn begin_save(&mut self, handle: HandleId) {
        // The future of an earlier save may have been leaked.
        self.end_save(handle);
        self.saves.push(Save { handle, staged: Brought::Nothing, dropped: None });
    }

    /// Whether a save brought changes, and has nothing left to do for them.
    pub(super) fn is_answered(&self, handle: HandleId) -> bool {
        self.saves.iter().any(|save| save.handle == handle && (save.staged == Brought::Changes || save.dropped.is_some()))
            && !self.staged.iter().any(|staged| staged.handle == handle && staged.how != How::Dropped)
    }

    /// Ends a save: what it staged and no commit stored is the handle's again.
    pub(super) fn end_save(&mut self, handle: HandleId) -> Fate {
        let before = self.staged.len();
        self.staged.retain(|staged| staged.handle != handle || staged.how != How::Saving);
        let withdrawn = self.staged.len() != before;
        self.outdated |= withdrawn;
        let dropped = self.saves.iter().position(|save| save.handle == handle);
        match dropped.and_then(|at| self.saves.swap_remove(at).dropped) {
            Some(why) => Fate::Dropped(why),
            None if withdrawn => Fate::Withdrawn,
            None => Fate::Stored,
        }
    }

    /// What a handle has checked in is part of a save that failed: only another save of it stores it.
    pub(super) fn hold(&mut self, handle: HandleId) {
        self.move_checked_in(handle, How::Held);
    }

    fn move_checked_in(&mut self, handle: HandleId, to: How) {
        for staged in self.staged.iter_mut().filter(|staged| staged.handle == handle && staged.how == How::CheckedIn) {
            staged.how = to;
        }
    }

    /// A handle is dropped: what it has checked in goes on without it, and what a failed save has left does not.
    pub(super) fn release(&mut self, handle: HandleId) -> Losses {
        self.move_checked_in(handle, How::Dropped);
        self.drop_those(Dropped::Gone, |staged| staged.handle == handle && staged.how == How::Held)
    }

    pub(super) fn add(&mut self, mut new: Vec<Staged>) {
        for staged in &mut new {
            self.last += 1;
            staged.number = self.last;
            if staged.how == How::Saving
                && let Some(save) = self.saves.iter_mut().find(|save| save.handle == staged.handle)
            {
                save.staged = Brought::Changes;
            }
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
        if self.staged.is_empty() {
            self.forget_folded();
        }
    }

    fn forget_folded(&mut self) {
        self.folded.clear();
        self.outdated = false;
    }

    /// The commit certainly did not happen.
    pub(super) fn return_from_commit(&mut self) {
        self.staged.iter_mut().for_each(|staged| staged.stage = Stage::Waiting);
    }

    /// The commit has happened: what it took is stored.
    pub(super) fn stored(&mut self) {
        self.view += 1;
        self.come_to_nothing();
    }

    /// What the commit takes turned out to change nothing that has to be stored.
    pub(super) fn come_to_nothing(&mut self) {
        self.staged.retain(|staged| staged.stage != Stage::InCommit);
        self.forget_folded();
        self.outdated = !self.staged.is_empty();
    }

    /// Whether a commit that is under way takes a change of that field.
    pub(super) fn is_in_commit(&self, def: &dyn AnyField) -> bool {
        let is_in = |staged: &Staged| staged.stage == Stage::InCommit && is_same_field(staged.def, def);
        !self.planning && self.staged.iter().any(is_in)
    }

    /// Drops everything.
    pub(super) fn drop_all(&mut self, why: Dropped) -> Losses {
        self.drop_those(why, |_| true)
    }

    /// Drops what the commit does not take.
    pub(super) fn drop_waiting(&mut self, why: Dropped) {
        self.drop_those(why, |staged| staged.stage == Stage::Waiting);
    }

    /// Drops every change of one field.
    pub(super) fn drop_field(&mut self, why: Dropped, def: &dyn AnyField) {
        self.drop_those(why, |staged| is_same_field(staged.def, def));
    }

    /// Drops what no save answers for and no commit is taking, staged after the mark.
    pub(super) fn discard(&mut self, which: Discard, after: u32) -> Losses {
        self.drop_those(Dropped::Gone, |staged| {
            which.takes(staged.how) && staged.stage == Stage::Waiting && staged.number > after
        })
    }

    fn drop_those(&mut self, why: Dropped, which: impl Fn(&Staged) -> bool) -> Losses {
        let mut losses = Losses::default();
        let mut fields: Vec<&'static str> = Vec::new();
        for staged in self.staged.extract_if(.., |staged| which(staged)) {
            match self.saves.iter_mut().find(|save| save.handle == staged.handle && staged.how != How::Dropped) {
                Some(save) => drop(save.dropped.get_or_insert_with(|| why.clone())),
                None => losses.unanswered |= matches!(staged.how, How::Dropped | How::CheckedIn),
            }
            if !fields.contains(&staged.def.keys()[0]) {
                fields.push(staged.def.keys()[0]);
                losses.schemas.push(staged.def.schema());
            }
        }
        if self.staged.is_empty() {
            self.forget_folded();
        } else {
            self.outdated |= !losses.schemas.is_empty();
        }
        losses
    }

    /// A save hears why what it asked for beside fields was dropped.
    pub(super) fn note(&mut self, handle: HandleId, why: Dropped) {
        if let Some(save) = self.saves.iter_mut().find(|save| save.handle == handle) {
            save.dropped.get_or_insert(why);
        }
    }

    /// Of what the commit takes, keeps only the changes of these fields. The others are carried out by what ends the session.
    pub(super) fn keep_only(&mut self, keep: impl Fn(&dyn AnyField) -> bool) {
        self.staged.retain(|staged| staged.stage == Stage::Waiting || keep(staged.def));
        self.forget_folded();
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
        (handle, how): Source,
    ) -> Self {
        Self { def, base, write, kept, seen, contested: false, handle, how, stage: Stage::Waiting, number: 0 }
    }

    pub(super) fn is_in_commit(&self) -> bool {
        self.stage == Stage::InCommit
    }
}

/// The handle that stages a change, and how.
pub(super) type Source = (HandleId, How);
