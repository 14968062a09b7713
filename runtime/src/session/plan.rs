//! What has to be asked of the store: the request's changes as one record, one patch or one deletion.

use super::{
    access::{Access, Live, Session, StaleSince, Standing, is_expired},
    check_in::{Pending, Write, full_name, origins, tombstones},
    slot::Head,
};
use crate::{
    config::Config,
    error::{SessionError, TooLarge},
    key::SessionKey,
    limits,
    record::{
        Accepted, Cell, CellBody, CellKey, Cells, Deadlines, Guard, Header, Patch, PreviousState, Put, Record, Rotation,
        Selector, Timestamp,
    },
    schema::{AnyField, Rule},
    store::IdleTouch,
    token::{Secret, Token},
    vault::Vault,
};

/// The next thing to ask of the store.
#[derive(Debug)]
pub(super) enum Plan {
    Nothing,
    Delete(Selector),
    // Behind boxes: a plan is moved into a future that waits for the store.
    Create(Box<NewRecord>),
    Commit(Box<NewPatch>),
}

#[derive(Debug)]
pub(super) struct NewRecord {
    pub(super) token: Token,
    pub(super) record: Record,
}

#[derive(Debug)]
pub(super) struct NewPatch {
    pub(super) selector: Selector,
    pub(super) patch: Patch,
    /// The token that the patch's rotation brings.
    pub(super) next: Option<Token>,
}

impl Access {
    /// What has to be asked of the store next. What cannot be stored stays, and can be changed again.
    pub(super) fn plan(&mut self, config: &Config, head: Head) -> Result<Plan, SessionError> {
        let plan = self.plan_next(config, head);
        self.planned_for = self.incarnation;
        match &plan {
            Err(SessionError::Gone) => self.end(),
            // The socket goes on without what it cannot have.
            Err(SessionError::HeadSent) => {
                self.wishes.rotate = false;
                self.wishes.persistent = None;
            }
            Err(_) => {}
            Ok(_) => self.pending.iter_mut().for_each(|pending| pending.standing = Standing::UnderWay),
        }
        plan
    }

    fn plan_next(&mut self, config: &Config, head: Head) -> Result<Plan, SessionError> {
        if let Some(selector) = self.doomed {
            return Ok(Plan::Delete(selector));
        }
        if head == Head::Open && !self.has_unsaved() && config.backend.idle_touch() == IdleTouch::AtLoad {
            // The load has said already that the session was used.
            return Ok(Plan::Nothing);
        }
        // A request that changed nothing counts as a use of when it came.
        let now = if head == Head::Open && !self.has_unsaved() { self.loaded_at } else { config.now() };
        match &self.session {
            Session::Live(_) => self.plan_commit(config, head, now),
            Session::Unavailable(_) => Ok(Plan::Nothing),
            Session::Stale(StaleSince::JustNow) if self.has_changes() => Err(SessionError::Gone),
            Session::Ended | Session::Unsure(_) if self.has_unsaved() => Err(self.lost().unwrap_or(SessionError::Gone)),
            Session::Stale(StaleSince::JustNow) | Session::Ended | Session::Unsure(_) => Ok(Plan::Nothing),
            Session::Fresh | Session::Stale(StaleSince::Earlier) => self.plan_create(config, head, now),
        }
    }

    fn plan_create(&mut self, config: &Config, head: Head, now: Timestamp) -> Result<Plan, SessionError> {
        let values = || self.pending.iter().filter(|pending| matches!(pending.write, Write::Value(_)));
        if values().next().is_none() {
            return Ok(Plan::Nothing);
        }
        if head == Head::Sent {
            return Err(SessionError::HeadSent);
        }
        let token = Token::generate()?;
        let wrapped_key = SessionKey::generate()?.wrap(&token.selector, &token.secret);
        let vault = Vault::new(&token, &wrapped_key);
        let vault = config.backend.seals_cells().then_some(&vault);
        let puts = values().flat_map(|pending| stored_puts(pending, vault, now));
        let cells: Cells = puts.map(|put| put.map(|put| Cell::new(put.key, 1, put.body))).collect::<Result<_, _>>()?;
        check_size(&cells, &[])?;
        let persistent = self.wishes.persistent.unwrap_or(config.policy.is_persistent());
        let lifetime = config.lifetime(persistent);
        let (idle_until, absolute_until) = (now.plus(lifetime.idle()), now.plus(lifetime.absolute()));
        let mut header = Header::new(token.secret.hash(), wrapped_key, now, idle_until, absolute_until);
        header.persistent = persistent;
        header.label = self.wishes.label.clone().flatten();
        Ok(Plan::Create(Box::new(NewRecord { token, record: Record::new(header, cells) })))
    }

    fn plan_commit(&mut self, config: &Config, head: Head, now: Timestamp) -> Result<Plan, SessionError> {
        let Session::Live(live) = &self.session else { return Ok(Plan::Nothing) };
        let header = &live.record.header;
        let mut patch = Patch::new(header.epoch, now);
        let vault = live.vault();
        self.fill_cells(&live.record.cells, config.backend.seals_cells().then_some(&vault), &mut patch, now)?;
        let next = if self.wishes.rotate { Some(self.rotation(live, config, &mut patch)?) } else { None };
        patch.label = self.wishes.label.clone().filter(|label| *label != header.label);
        patch.persistent = self.wishes.persistent.filter(|persistent| *persistent != header.persistent);
        let changes = patch.has_changes();
        self.fill_deadlines(header, config, &mut patch);
        if head == Head::Sent {
            if changes && (next.is_some() || patch.persistent.is_some() || config.backend.is_client_side()) {
                return Err(SessionError::HeadSent);
            }
            if config.backend.is_client_side() {
                return Ok(Plan::Nothing);
            }
        }
        if !changes && patch.deadlines.is_none() && patch.presented.is_none() {
            return Ok(Plan::Nothing);
        }
        if is_expired(header, config, now) {
            return if changes { Err(SessionError::Gone) } else { Ok(Plan::Nothing) };
        }
        if patch.carries_cells() {
            check_size(&live.record.cells, &patch.puts)?;
        }
        Ok(Plan::Commit(Box::new(NewPatch { selector: live.token.selector, patch, next })))
    }

    fn fill_cells(
        &self,
        cells: &Cells,
        vault: Option<&Vault<'_>>,
        patch: &mut Patch,
        now: Timestamp,
    ) -> Result<(), SessionError> {
        let mut guarded = Vec::new();
        for pending in &self.pending {
            for put in stored_puts(pending, vault, now) {
                patch.puts.push(put?);
            }
            // A clear beats whatever was stored: it does not ask what is there.
            if pending.def.rule() != Rule::Last
                && matches!(pending.write, Write::Value(_))
                && !self.is_reset(pending.def.schema())
            {
                guarded.extend(origins(pending.def));
            }
        }
        for schema in &self.reset {
            // The first write after a reset heals the schema: what is not written now is unreadable or half of something. That
            // holds for the cells this request has seen; somebody else may have healed them in the meantime.
            if self.pending.iter().any(|pending| pending.def.schema() == schema.name) {
                let rest = schema.fields.iter().filter(|def| self.find(**def).is_none());
                // Removed fields stay as they are, so what is computed from them is hidden.
                let stored = |def: &&&'static dyn AnyField| origins(**def).any(|key| cells.get(key).is_some());
                patch.puts.extend(rest.filter(stored).flat_map(|def| tombstones(*def)));
                guarded.extend(schema.fields.iter().flat_map(|def| origins(*def)));
            }
        }
        // Two fields may be computed from the same one.
        guarded.sort_unstable();
        guarded.dedup();
        patch.guards.extend(guarded.into_iter().map(|key| Guard { key: CellKey::from_static(key), stamp: cells.stamp(key) }));
        Ok(())
    }

    fn rotation(&self, live: &Live, config: &Config, patch: &mut Patch) -> Result<Token, SessionError> {
        let token = if config.backend.is_client_side() {
            // Nothing is looked up by the selector there, so an id of its own tells the old copies from the new.
            Token::generate()?
        } else {
            Token { selector: live.token.selector, secret: Secret::generate()? }
        };
        let key = if config.backend.is_client_side() { SessionKey::generate()? } else { live.session_key() };
        patch.rotation =
            Some(Rotation::Privilege { to: token.secret.hash(), wrapped_key: key.wrap(&token.selector, &token.secret) });
        Ok(token)
    }

    fn fill_deadlines(&self, header: &Header, config: &Config, patch: &mut Patch) {
        let now = patch.now;
        if let Some(persistent) = patch.persistent {
            let lifetime = config.lifetime(persistent);
            patch.deadlines = Some(Deadlines::Reset {
                created: header.created,
                last_seen: now,
                idle_until: now.plus(lifetime.idle()),
                absolute_until: header.began().plus(lifetime.absolute()),
            });
            return;
        }
        let lifetime = config.lifetime(header.persistent);
        let idle_until = now.plus(lifetime.idle());
        // Where a touch costs a write it is made once per fifth of the idle time.
        if header.deadlines(&lifetime).0.until(idle_until) >= lifetime.idle() / 5 {
            patch.deadlines = Some(Deadlines::Roll { last_seen: now, idle_until });
        }
        if let Some(live) = self.live()
            && live.secret == Accepted::Current
            && header.previous.is_some_and(|previous| previous.state == PreviousState::Pending)
        {
            patch.presented = Some(live.token.secret.hash());
        }
    }
}

/// The cells that a change writes, as the store shall see them.
fn stored_puts(
    pending: &Pending,
    vault: Option<&Vault<'_>>,
    now: Timestamp,
) -> impl Iterator<Item = Result<Put, SessionError>> {
    let vault = vault.filter(|_| pending.def.is_secret());
    pending.puts(now).map(move |put| {
        let mut put = put?;
        vault.map_or(Ok(()), |vault| vault.seal(&mut put)).map_err(|error| error.about(full_name(pending.def)))?;
        Ok(put)
    })
}

/// Whether the cells of a record are within the limit once these are put.
fn check_size(cells: &Cells, puts: &[Put]) -> Result<(), SessionError> {
    let size = |key: &CellKey, body: &CellBody| key.len() + body.content.payload().map_or(0, |payload| payload.len());
    let stay = cells.iter().filter(|cell| puts.iter().all(|put| put.key != cell.key)).map(|cell| size(&cell.key, &cell.body));
    if stay.chain(puts.iter().map(|put| size(&put.key, &put.body))).sum::<usize>() <= limits::RECORD {
        return Ok(());
    }
    let mut after = cells.clone();
    after.put_all(puts, 0);
    Err(SessionError::TooLarge { what: TooLarge::Record, limit: limits::RECORD, sizes: after.sizes() })
}
