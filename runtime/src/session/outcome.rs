//! What a store's answers change in the request.

use super::{
    access::{Access, ClientCopy, Live, Session, Standing, Wishes, is_expired},
    check_in::{Write, full_name, origins, refused_value},
    plan::{NewPatch, NewRecord},
    reply::Reply,
    slot::Head,
};
use crate::{
    config::Config,
    error::SessionError,
    events,
    record::{Accepted, Cell, CellKey, Cells, Guard, Header, Record, Timestamp},
    schema::{Opener, Rule, Schema},
    store::{IdleTouch, StoreError},
};
use std::sync::Arc;

impl Wishes {
    /// Drops those that the record fulfils now. What was wished in the meantime stays.
    fn settle(&mut self, header: &Header, rotated: Rotated) {
        if rotated == Rotated::Yes {
            self.rotate = false;
            self.reauthenticated = false;
        }
        self.exist = false;
        self.persistent = self.persistent.filter(|persistent| *persistent != header.persistent);
        self.label = self.label.take().filter(|label| *label != header.label);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Rotated {
    Yes,
    No,
}

impl Access {
    pub(super) fn deleted(&mut self) {
        if let Some(selector) = self.doomed.take() {
            events::destroyed(&selector);
        }
    }

    pub(super) fn created(&mut self, new: NewRecord, head: Head) {
        let NewRecord { token, record } = new;
        events::created(&token.selector, &self.method);
        self.view += 1;
        if self.planned_for != self.incarnation || head == Head::Sent {
            // Destroyed while it was being created, or too late for its cookie: nobody could ever use it.
            self.doomed = Some(token.selector);
            return;
        }
        self.pending.retain(|pending| pending.standing != Standing::UnderWay);
        self.wishes.settle(&record.header, Rotated::Yes);
        self.seed = None;
        self.reply = Reply::Token;
        self.session = Session::Live(Live { token, record: Arc::new(record), secret: Accepted::Current, held: None });
    }

    pub(super) fn committed(&mut self, commit: NewPatch, revision: u64, rotated: bool) {
        let NewPatch { patch, next, passage, .. } = commit;
        let patch = &patch;
        let Session::Live(live) = &mut self.session else { return };
        self.view += 1;
        Arc::make_mut(&mut live.record).follow(patch, revision, rotated);
        if patch.carries_cells() || passage.rotates() {
            events::committed(&live.token.selector, patch.puts.len(), &self.method);
        }
        if rotated && let Some(next) = next {
            live.held = (!passage.rotates()).then(|| live.presented());
            live.token = next;
            live.secret = Accepted::Current;
            self.reply = Reply::Token;
            match passage.why() {
                Some(why) => events::rotated(why, &live.token.selector),
                None => events::renewed(&live.token.selector),
            }
        }
        if patch.persistent.is_some() && live.secret == Accepted::Current {
            self.reply = Reply::Token;
        }
        self.wishes.settle(&live.record.header, if passage.rotates() { Rotated::Yes } else { Rotated::No });
        let healed = |schema: &&'static Schema| patch.puts.iter().any(|put| put.key.split('/').next() == Some(schema.name));
        self.reset.retain(|schema| !healed(schema));
        self.pending.retain(|pending| pending.standing != Standing::UnderWay);
        if passage.rotates() {
            self.seed = None;
        }
        if patch.owner.is_some() {
            self.unlisted = None;
        }
        if passage.wipes() {
            self.lose_changes(&"they were made while the session became somebody else's");
            self.begin_again();
        }
    }

    /// Somebody else changed what this request changed: merges, and says whether to try again.
    pub(super) fn conflict(&mut self, cells: Vec<Cell>, guards: &[Guard], now: Timestamp) -> Result<(), SessionError> {
        self.rebase(guards.iter().map(|guard| &*guard.key), &cells.into_iter().collect(), now)
    }

    /// Moves the request's changes onto newer cells: base is what was known, theirs is what is there now. Changes nothing if a
    /// merge is refused.
    fn rebase<'k>(&mut self, keys: impl Iterator<Item = &'k str>, newer: &Cells, now: Timestamp) -> Result<(), SessionError> {
        let Session::Live(live) = &self.session else { return Ok(()) };
        let mut cells = live.record.cells.clone();
        let mut changed = Vec::new();
        for key in keys.filter(|key| live.record.cells.stamp(key) != newer.stamp(key)) {
            changed.push(key);
            match newer.get(key) {
                Some(cell) => cells.insert(cell.clone()),
                None => cells.remove(key),
            }
        }
        let newest = Opener::new(Some(&cells), Some(live.vault()), now);
        let is_unreadable = |schema: &Schema| schema.fields.iter().any(|def| def.stored(&newest).is_err());
        let mut merged = Vec::new();
        for (at, pending) in self.pending.iter().enumerate() {
            let def = pending.def;
            let Write::Value(mine) = &pending.write else { continue };
            let base = match self.reset.iter().find(|schema| schema.name == def.schema()) {
                // Written as a whole, or nothing of it would be readable.
                Some(schema) if is_unreadable(schema) => continue,
                // Somebody has healed it in the meantime. Its handles began from the defaults.
                Some(_) => None,
                None if origins(def).any(|key| changed.contains(&key)) => self.stored_value(def, now),
                None => continue,
            };
            if def.rule() != Rule::Last {
                // What this build cannot read it must not overwrite by a merge.
                let theirs = def.stored(&newest).map_err(|_| SessionError::Conflict { field: full_name(def) })?;
                merged.push((
                    at,
                    match def.rule() {
                        Rule::Strict => return Err(SessionError::Conflict { field: full_name(def) }),
                        _ => {
                            def.merged(base.as_ref(), Some(mine), theirs.as_ref()).map_err(|error| refused_value(def, error))?
                        }
                    },
                ));
            }
        }
        self.view += 1;
        self.reset.retain(|schema| is_unreadable(schema));
        for (at, write) in merged {
            self.pending[at].write = Write::Value(write);
        }
        if let Session::Live(live) = &mut self.session {
            Arc::make_mut(&mut live.record).cells = cells;
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
        let presented = config.present(live.presented(), now);
        let opened = record.and_then(|record| {
            let accepted = record.header.accepts(&live.token.secret.hash(), now, presented.grace)?;
            let open = record.header.epoch == live.record.header.epoch && !is_expired(&record.header, config, now);
            open.then_some((record, accepted))
        });
        let Some((mut record, secret)) = opened else {
            self.planned_for = self.incarnation;
            self.end();
            return Err(SessionError::Gone);
        };
        let keys: Vec<CellKey> = live.record.cells.iter().chain(&record.cells).map(|cell| cell.key.clone()).collect();
        let mut given_up = None;
        while let Err(error) = self.rebase(keys.iter().map(|key| &**key), &record.cells, now) {
            let SessionError::Conflict { field } = &error else { return Err(error) };
            self.pending.retain(|pending| full_name(pending.def) != *field);
            given_up.get_or_insert(error);
        }
        if let Session::Live(live) = &mut self.session {
            if config.backend.idle_touch() == IdleTouch::AtLoad {
                Arc::make_mut(&mut record).header.touch(&presented);
            }
            live.record = record;
            live.secret = secret;
        }
        given_up.map_or(Ok(()), Err)
    }

    /// The session has ended: nothing of this request is written any more.
    pub(super) fn end(&mut self) {
        if let (Session::Unsure(_), _) | (_, false) = (&self.session, self.planned_for == self.incarnation) {
            // Nobody knows, or that session was destroyed here in the meantime.
            return;
        }
        if self.has_unsaved() {
            events::late_write(self.live().map(|live| &live.token.selector));
        }
        self.pending.clear();
        self.wishes = Wishes::default();
        self.client = ClientCopy::Untouchable;
        self.reply = Reply::Nothing;
        self.session = Session::Ended;
    }

    /// The store did not say whether it wrote: what may be stored already must not be stored again.
    pub(super) fn doubt(&mut self) {
        if self.planned_for != self.incarnation {
            return;
        }
        self.pending.clear();
        self.wishes = Wishes::default();
        self.session = match std::mem::replace(&mut self.session, Session::Fresh) {
            Session::Live(live) => Session::Unsure(Some(live)),
            Session::Fresh | Session::Stale(_) => Session::Unsure(None),
            other @ (Session::Ended | Session::Unsure(_) | Session::Unavailable(_)) => other,
        };
    }

    /// A commit was dropped before the store answered.
    pub(super) fn doubt_dropped(&mut self) {
        self.doubt();
        self.fail(SessionError::OutcomeUnknown(StoreError::outcome_unknown("`save()` was dropped before the store answered")));
    }
}
