//! What a store's answers change in the request.

use super::{
    access::{Access, ClientCopy, Live, Session},
    changes::Dropped,
    check_in::{full_name, origins},
    plan::{NewPatch, NewRecord},
    reply::Reply,
    slot::Head,
};
use crate::{
    config::Config,
    error::SessionError,
    events,
    record::{Accepted, Cell, Cells, Guard, Record, Timestamp},
    schema::{Opener, Schema},
    store::{IdleTouch, StoreError},
};
use std::sync::Arc;

impl Access {
    pub(super) fn deleted(&mut self) {
        if let Some(selector) = self.doomed.take() {
            events::destroyed(&selector);
        }
    }

    pub(super) fn created(&mut self, new: NewRecord, head: Head) {
        let NewRecord { token, record } = new;
        events::created(&token.selector, &self.method);
        if self.planned_for != self.incarnation || head == Head::Sent {
            // Destroyed while it was being created, or too late for its cookie: nobody could ever use it.
            self.doomed = Some(token.selector);
            return;
        }
        self.changes.stored();
        self.commands.carried_out();
        self.seed = None;
        self.reply = Reply::Token;
        let (hash, touch) = (record.header.secret_hash, IdleTouch::AtCommit);
        self.session =
            Session::Live(Live { token, record: Arc::new(record), secret: Accepted::Current, hash, touch, held: None });
    }

    pub(super) fn committed(&mut self, commit: NewPatch, revision: u64, rotated: bool, head: Head) {
        let NewPatch { patch, next, passage, .. } = commit;
        let patch = &patch;
        let is_the_clients = self.live().is_some_and(|live| self.is_the_clients_token(live));
        let Session::Live(live) = &mut self.session else { return };
        if passage.rotates() && head == Head::Sent {
            // The head went out meanwhile, without the new token: no client could use the session any more.
            self.doomed = Some(live.token.selector);
            self.session = Session::Ended;
            self.drop_unsaved(&Dropped::HeadSent);
            return;
        }
        Arc::make_mut(&mut live.record).follow(patch, revision, rotated);
        if patch.carries_cells() || passage.rotates() {
            events::committed(&live.token.selector, patch.puts.len(), &self.method);
        }
        if rotated && let Some(next) = next {
            live.held = (!passage.rotates()).then(|| live.presented());
            live.token = next;
            live.hash = live.record.header.secret_hash;
            live.secret = Accepted::Current;
            self.reply = Reply::Token;
            match passage.why() {
                Some(why) => events::rotated(why, &live.token.selector),
                None => events::renewed(&live.token.selector),
            }
        }
        // Another token that lost to one of another request is no use to the client, which gets the cookie with the next renewal.
        if patch.persistent.is_some() && patch.rotation.is_none() && is_the_clients {
            self.reply = Reply::Token;
        }
        self.commands.carried_out();
        let healed = |schema: &&'static Schema| patch.puts.iter().any(|put| put.key.split('/').next() == Some(schema.name));
        self.reset.retain(|schema| !healed(schema));
        self.changes.stored();
        if passage.rotates() {
            self.seed = None;
        }
        if patch.owner.is_some() {
            self.unlisted = None;
        }
        if passage.wipes() {
            self.lose_changes(Dropped::Gone, &"they were made while the session got another owner");
            self.begin_again();
        }
    }

    /// Another request changed what this one changed: merges, or says why that is impossible.
    pub(super) fn conflict(&mut self, cells: Vec<Cell>, guards: &[Guard], now: Timestamp) -> Result<(), SessionError> {
        let Session::Live(live) = &self.session else { return Ok(()) };
        let newer: Cells = cells.into_iter().collect();
        let mut cells = live.record.cells.clone();
        for key in guards.iter().map(|guard| &*guard.key).filter(|key| live.record.cells.stamp(key) != newer.stamp(key)) {
            match newer.get(key) {
                Some(cell) => cells.insert(cell.clone()),
                None => cells.remove(key),
            }
        }
        self.rebase(cells, now);
        // What was planned is not stored.
        self.changes.return_from_commit();
        self.refold(now)
    }

    /// Puts newer cells under the request's changes.
    fn rebase(&mut self, cells: Cells, now: Timestamp) {
        let Session::Live(live) = &mut self.session else { return };
        let before = std::mem::replace(&mut Arc::make_mut(&mut live.record).cells, cells);
        let cells = &live.record.cells;
        self.changes.rebase(|def| origins(def).any(|key| before.stamp(key) != cells.stamp(key)));
        let newest = Opener::new(Some(&live.record.cells), Some(live.vault()), now).of_epoch(Some(live.record.header.epoch));
        // A struct that another request has healed in the meantime is read again.
        self.reset.retain(|schema| schema.fields.iter().any(|def| def.stored(&newest).is_err()));
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
            let accepted = record.header.accepts(&live.hash, now, presented.grace)?;
            let open = record.header.epoch == live.record.header.epoch && !config.is_expired(&record.header, now);
            open.then_some((record, accepted))
        });
        let Some((mut record, secret)) = opened else {
            self.planned_for = self.incarnation;
            self.end();
            return Err(SessionError::Gone);
        };
        if config.backend.idle_touch() == IdleTouch::AtLoad {
            Arc::make_mut(&mut record).header.touch(&presented);
        }
        let cells = record.cells.clone();
        if let Session::Live(live) = &mut self.session {
            let known = live.record.cells.clone();
            live.record = record;
            live.secret = secret;
            Arc::make_mut(&mut live.record).cells = known;
        }
        self.rebase(cells, now);
        let mut given_up = None;
        while let Err(error) = self.refold(now) {
            let SessionError::Conflict { field } = &error else { return Err(error) };
            let Some(def) = self.changes.staged().iter().map(|staged| staged.def).find(|def| full_name(*def) == *field) else {
                return Err(error);
            };
            self.changes.drop_field(Dropped::Conflict(field.clone()), def);
            given_up.get_or_insert(error);
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
        self.drop_unsaved(&Dropped::Gone);
        self.client = ClientCopy::Untouchable;
        self.reply = Reply::Nothing;
        self.session = Session::Ended;
        self.changes.rebase(|_| false);
    }

    /// The store did not say whether it wrote: what may be stored already must not be stored again.
    pub(super) fn doubt(&mut self) {
        if self.planned_for != self.incarnation {
            return;
        }
        self.drop_unsaved(&Dropped::InDoubt);
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
