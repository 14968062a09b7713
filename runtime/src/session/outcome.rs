//! What a store's answers change in the request.

use super::{
    access::{Access, ClientCopy, Live, Loss, SecretInHand, Session, Wishes, is_expired},
    check_in::{Write, full_name, refused_value},
    plan::{NewPatch, NewRecord},
    reply::Reply,
};
use crate::{
    config::Config,
    error::SessionError,
    events,
    record::{Cell, CellKey, Cells, Guard, Patch, Record, Timestamp},
    schema::{Rule, Schema},
    store::{IdleTouch, StoreError},
};
use std::sync::Arc;

impl Wishes {
    /// Drops those that a commit has fulfilled.
    pub(super) fn settle(&mut self, patch: &Patch) {
        self.rotate &= patch.rotation.is_none();
        if patch.persistent == self.persistent {
            self.persistent = None;
        }
        if patch.label == self.label {
            self.label = None;
        }
    }
}

impl Access {
    /// The record may live on, but the client's cookie goes all the same.
    pub(super) fn give_up_deleting(&mut self) {
        self.doomed = None;
        self.discard();
    }

    pub(super) fn deleted(&mut self) {
        if let Some(selector) = self.doomed.take() {
            events::destroyed(&selector);
        }
    }

    pub(super) fn created(&mut self, new: NewRecord) {
        let NewRecord { token, record } = new;
        events::created(&token.selector);
        if self.planned_for != self.incarnation {
            // Destroyed while it was being created.
            self.doomed = Some(token.selector);
            return;
        }
        self.handed_out = false;
        self.pending.retain(|pending| !pending.planned);
        self.wishes = Wishes::default();
        self.reply = Reply::Token;
        self.session = Session::Live(Live { token, record: Arc::new(record), secret: SecretInHand::Current });
    }

    pub(super) fn committed(&mut self, commit: NewPatch, revision: u64, rotated: bool) {
        let NewPatch { patch, next, .. } = commit;
        let patch = &patch;
        let Session::Live(live) = &mut self.session else { return };
        self.handed_out = false;
        Arc::make_mut(&mut live.record).follow(patch, revision, rotated);
        if patch.carries_cells() || patch.rotation.is_some() {
            events::committed(&live.token.selector, patch.puts.len());
        }
        if rotated && let Some(next) = next {
            live.token = next;
            live.secret = SecretInHand::Current;
            self.reply = Reply::Token;
            events::rotated(&live.token.selector);
        }
        if patch.persistent.is_some() && live.secret == SecretInHand::Current {
            self.reply = Reply::Token;
        }
        let healed = |schema: &&'static Schema| patch.puts.iter().any(|put| put.key.split('/').next() == Some(schema.name));
        self.reset.retain(|schema| !healed(schema));
        self.pending.retain(|pending| !pending.planned);
        self.wishes.settle(patch);
    }

    /// Somebody else changed what this request changed: merges, and says whether to try again.
    pub(super) fn conflict(&mut self, cells: Vec<Cell>, guards: &[Guard], now: Timestamp) -> Result<(), SessionError> {
        self.rebase(guards.iter().map(|guard| &*guard.key), &cells.into_iter().collect(), now)
    }

    /// Moves the request's changes onto newer cells: base is what was known, theirs is what is there now.
    pub(super) fn rebase<'k>(
        &mut self,
        keys: impl Iterator<Item = &'k str>,
        newer: &Cells,
        now: Timestamp,
    ) -> Result<(), SessionError> {
        // A schema that somebody has healed in the meantime is read again.
        self.reset.retain(|schema| schema.fields.iter().any(|def| def.stored(newer, now).is_err()));
        let changed: Vec<&str> = {
            let Session::Live(live) = &self.session else { return Ok(()) };
            keys.filter(|key| live.record.cells.stamp(key) != newer.stamp(key)).collect()
        };
        let mut merged = Vec::new();
        for (at, pending) in self.pending.iter().enumerate() {
            let (Write::Value(mine), true) = (&pending.write, pending.def.keys().iter().any(|key| changed.contains(key)))
            else {
                continue;
            };
            let write = match pending.def.rule() {
                Rule::Last => continue,
                Rule::Strict => return Err(SessionError::Conflict { field: full_name(pending.def) }),
                Rule::Merge => {
                    let base = self.stored_value(pending.def, now);
                    // What this build cannot read it must not overwrite by a merge.
                    let unreadable = |_| SessionError::Conflict { field: full_name(pending.def) };
                    let theirs = pending.def.stored(newer, now).map_err(unreadable)?;
                    pending
                        .def
                        .merged(base.as_ref(), Some(mine), theirs.as_ref())
                        .map_err(|error| refused_value(pending.def, error))?
                }
            };
            merged.push((at, write));
        }
        for (at, write) in merged {
            self.pending[at].write = Write::Value(write);
        }
        let Session::Live(live) = &mut self.session else { return Ok(()) };
        for key in changed {
            match newer.get(key) {
                Some(cell) => Arc::make_mut(&mut live.record).cells.insert(cell.clone()),
                None => Arc::make_mut(&mut live.record).cells.remove(key),
            }
        }
        Ok(())
    }

    /// A fresh load meets the request's changes. `None`: the session is gone.
    ///
    /// A `strict` field that both changed is theirs from now on, and the error says so.
    pub(super) fn reloaded(
        &mut self,
        record: Option<Arc<Record>>,
        config: &Config,
        now: Timestamp,
    ) -> Result<(), SessionError> {
        let Session::Live(live) = &self.session else { return Ok(()) };
        let presented = config.present(live.token.secret.hash(), now);
        let opened = record.and_then(|record| {
            let accepted = record.header.accepts(&presented.secret_hash, now, presented.grace)?;
            let open = record.header.epoch == live.record.header.epoch && !is_expired(&record.header, config, now);
            open.then_some((record, SecretInHand::from(accepted)))
        });
        let Some((mut record, secret)) = opened else {
            self.lose(Loss::Gone);
            return Err(SessionError::Gone);
        };
        let keys: Vec<CellKey> = live.record.cells.iter().chain(&record.cells).map(|cell| cell.key.clone()).collect();
        let mut merged = self.rebase(keys.iter().map(|key| &**key), &record.cells, now);
        while let Err(SessionError::Conflict { field }) = &merged {
            self.pending.retain(|pending| full_name(pending.def) != *field);
            merged = self.rebase(keys.iter().map(|key| &**key), &record.cells, now).and(merged);
        }
        if let Session::Live(live) = &mut self.session {
            if config.backend.idle_touch() == IdleTouch::AtLoad {
                Arc::make_mut(&mut record).header.touch(&presented);
            }
            live.record = record;
            live.secret = secret;
        }
        merged
    }

    /// What comes later in this request must not be written either.
    pub(super) fn lose(&mut self, why: Loss) {
        if self.planned_for != self.incarnation {
            // That session was destroyed in the meantime.
            return;
        }
        let live = match std::mem::replace(&mut self.session, Session::Fresh) {
            Session::Live(live) => Some(live),
            Session::Lost { live, .. } => live,
            Session::Fresh | Session::Stale(_) | Session::Unavailable(_) => None,
        };
        if self.has_changes() {
            events::late_write(live.as_ref().map(|live| &live.token.selector));
        }
        self.discard();
        if why == Loss::Gone {
            self.client = ClientCopy::Untouchable;
            self.reply = Reply::Nothing;
        }
        self.session = Session::Lost { why, live };
    }

    /// A commit was dropped before the store answered.
    pub(super) fn lose_flight(&mut self) {
        self.lose(Loss::Unknown);
        self.fail(SessionError::OutcomeUnknown(StoreError::outcome_unknown("`save()` was dropped before the store answered")));
    }
}
