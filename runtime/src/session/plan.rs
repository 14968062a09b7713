//! What has to be asked of the store: the request's changes as one record, one patch or one deletion.

use super::{
    access::{Access, Live, Seed, Session, Stale, StaleSince},
    changes::Committer,
    check_in::{Pending, Write, full_name, origins, tombstones, without_generation},
    ownership::Passage,
    slot::Head,
};
use crate::{
    config::{Config, PARALLEL_TABS},
    error::{SessionError, TooLarge},
    key::{SessionKey, WrappedKey},
    lifetime::Lifetime,
    limits,
    random::{self, RandomError},
    record::{
        Accepted, Cell, CellBody, CellKey, Cells, Content, Deadlines, Extensions, Guard, Header, OwnerChange, Patch, Payload,
        Put, Record, Rotation, SecretHash, Selector, Timestamp,
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
    pub(super) passage: Passage,
    /// Whether a handler signs out with it.
    pub(super) signs_out: bool,
    /// How much it matters.
    pub(super) weight: Weight,
}

/// What it costs if a commit fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weight {
    /// What the request changed.
    Change,
    /// Nothing: the next request will do it.
    Upkeep,
}

impl Access {
    /// What has to be asked of the store next. What cannot be stored stays, and can be changed again.
    pub(super) fn plan(&mut self, config: &Config, head: Head, committer: Committer) -> Result<Plan, SessionError> {
        self.changes.begin_plan(committer);
        self.commands.begin_plan(committer);
        let plan = self.refold_for_plan(config.now()).and_then(|()| self.plan_next(config, head));
        if let Err(SessionError::HeadSent) = &plan {
            self.commands.keep_labels();
        }
        self.commands.end_plan(matches!(plan, Ok(Plan::Create(_) | Plan::Commit(_))));
        self.changes.end_plan(matches!(plan, Ok(Plan::Create(_) | Plan::Commit(_) | Plan::Nothing)));
        self.planned_for = self.incarnation;
        match &plan {
            Err(SessionError::Gone) => self.end(),
            // What is staged comes to nothing that has to be stored.
            Ok(Plan::Nothing) => self.changes.come_to_nothing(),
            Ok(_) | Err(_) => {}
        }
        plan
    }

    fn plan_next(&mut self, config: &Config, head: Head) -> Result<Plan, SessionError> {
        if let Some(selector) = self.doomed {
            return Ok(Plan::Delete(selector));
        }
        let now = self.counts_at(config, head);
        match &self.session {
            Session::Live(live) => {
                let upkeep = self.unlisted.is_some() || self.renewal_is_due(live, config, now);
                if head == Head::Open && !self.has_unsaved() && !upkeep && live.touch == IdleTouch::AtLoad {
                    // The load has said already that the session was used.
                    return Ok(Plan::Nothing);
                }
                self.plan_commit(config, head, now)
            }
            Session::Unavailable(_) => Ok(Plan::Nothing),
            // Signing in never fails because of what became of the session before.
            Session::Stale(Stale { since: StaleSince::JustNow, .. }) | Session::Ended
                if self.passage(None, now)?.newcomer().is_some() =>
            {
                self.plan_create(config, head, now)
            }
            Session::Stale(Stale { since: StaleSince::JustNow, .. }) if self.has_unsaved() => Err(SessionError::Gone),
            Session::Ended | Session::Unsure(_) if self.has_unsaved() => Err(self.lost().unwrap_or(SessionError::Gone)),
            Session::Stale(Stale { since: StaleSince::JustNow, .. }) | Session::Ended | Session::Unsure(_) => Ok(Plan::Nothing),
            Session::Fresh | Session::Stale(Stale { since: StaleSince::Earlier, .. }) => self.plan_create(config, head, now),
        }
    }

    /// The instant of the use that the request is. Where it changed nothing, that is when it came.
    pub(super) fn counts_at(&self, config: &Config, head: Head) -> Timestamp {
        if head == Head::Open && !self.has_unsaved() { self.loaded_at } else { config.now() }
    }

    fn plan_create(&mut self, config: &Config, head: Head, now: Timestamp) -> Result<Plan, SessionError> {
        let values = || self.changes.folded().iter().filter(|pending| matches!(pending.write, Write::Value(_)));
        if values().next().is_none() && !self.commands.get().exist {
            return Ok(Plan::Nothing);
        }
        if head == Head::Sent {
            return Err(SessionError::HeadSent);
        }
        let passage = self.passage(None, now)?;
        let Seed { token, key } = self.seed.clone().map_or_else(Seed::generate, Ok)?;
        let wrapped_key = key.wrap(&token.selector, &token.secret);
        let vault = Vault::new(&token, &wrapped_key);
        let vault = config.backend.seals_cells().then_some(&vault);
        let puts = values().flat_map(|pending| stored_puts(pending, vault, now));
        let cells: Cells = puts.map(|put| put.map(|put| Cell::new(put.key, 1, put.body))).collect::<Result<_, _>>()?;
        check_size(&cells, &Patch::new(0, now))?;
        let persistent = self.commands.get().persistent.unwrap_or(config.policy.is_persistent());
        let lifetime = config.lifetime(persistent);
        let idle = if cells.is_empty() { lifetime.idle().min(Lifetime::EMPTY_IDLE) } else { lifetime.idle() };
        let (idle_until, absolute_until) = (now.plus(idle), now.plus(lifetime.absolute()));
        let hash = config.hasher.hash(&token, passage.newcomer().map(|owner| &owner.hash));
        let mut header = Header::new(hash, wrapped_key, now, idle_until, absolute_until);
        header.persistent = persistent;
        header.label = self.commands.get().label.clone().flatten();
        header.owner = passage.newcomer().cloned();
        header.authenticated_at = passage.authenticated_at(now).flatten();
        Ok(Plan::Create(Box::new(NewRecord { token, record: Record::new(header, cells) })))
    }

    fn plan_commit(&mut self, config: &Config, head: Head, now: Timestamp) -> Result<Plan, SessionError> {
        let Session::Live(live) = &self.session else { return Ok(Plan::Nothing) };
        let header = &live.record.header;
        let passage = self.passage(Some(header), now)?;
        // Before the head the client waits for the answer, so the session is in use since it was loaded. Afterwards each save is a use.
        let used_at = if head == Head::Open { self.loaded_at.min(now) } else { now };
        let (idle_until, absolute_until) = config.deadlines(header);
        let expired = used_at >= idle_until || now >= absolute_until;
        if expired && passage.newcomer().is_some() {
            self.sign_in_anew();
            self.refold_for_plan(now)?;
            return self.plan_create(config, head, now);
        }
        if expired && self.signs_out() {
            return Ok(self.plan_goodbye(now));
        }
        let mut patch = Patch::new(header.epoch, now);
        patch.loaded_at = (now >= idle_until).then_some(used_at);
        let fresh = if passage.rotates() { Some(self.rotation(live, config, &passage)?) } else { None };
        let vault = fresh.as_ref().map_or_else(|| live.vault(), |(token, wrapped_key)| Vault::new(token, wrapped_key));
        let vault = config.backend.seals_cells().then_some(&vault);
        if passage.wipes() {
            let kept = self.kept(&live.record.cells, config);
            let stays = live.record.cells.iter().any(|cell| cell.body.content.payload().is_some() && kept.contains(&cell.key));
            let written =
                self.changes.folded().iter().any(|pending| pending.write.value().is_some() && Self::outlives_wipe(pending));
            if passage.newcomer().is_none() && !stays && !written && !self.commands.get().exist {
                return Ok(self.plan_goodbye(now));
            }
            patch.wipe_except = Some(kept);
        }
        self.fill_cells(live, config, vault, &passage, &mut patch)?;
        // The epoch that the record has once this is stored. What another owner keeps of the former one's is still of before.
        let epoch = header.epoch.saturating_add(u32::from(passage.rotates()));
        for put in patch.puts.iter_mut().filter(|put| put.body.keep) {
            put.body.epoch = if passage.wipes() && !self.writes(&put.key) { header.epoch } else { epoch };
        }
        if let (true, Some(vault)) = (passage.wipes(), vault) {
            self.seal_again(live, config, vault, &mut patch)?;
        }
        patch.extensions = Self::extensions(header, config, &passage);
        // An earlier version of the program did not call that field the owner, so the header has yet to learn whom it names.
        let unlisted = || self.unlisted.clone().filter(|_| header.owner.is_none()).map(OwnerChange::Set);
        patch.owner = passage.owner_change().or_else(unlisted);
        patch.authenticated_at = passage.authenticated_at(now);
        let mut next = None;
        if let Some((token, wrapped_key)) = fresh {
            patch.rotation = Some(Rotation::Privilege { to: hash(&token, live, config, &patch), wrapped_key });
            next = Some(token);
        }
        let wished = self.commands.get();
        let (persistent, label) = if passage.wipes() {
            // They were the other one's.
            (Some(wished.persistent.unwrap_or(config.policy.is_persistent())), Some(wished.label.clone().flatten()))
        } else {
            (wished.persistent, wished.label.clone())
        };
        patch.label = label.filter(|label| *label != header.label);
        patch.persistent = persistent.filter(|persistent| *persistent != header.persistent);
        let weight = match &passage {
            Passage::None if !patch.changes_session() => Weight::Upkeep,
            _ => Weight::Change,
        };
        self.fill_deadlines(header, config, &passage, &mut patch);
        let renews =
            || self.renewal_is_due(live, config, now) || patch.persistent.is_some() && Self::shares_its_token(live, config);
        if head == Head::Open && !passage.rotates() && renews() {
            next = self.renewal(live, config, &mut patch);
        }
        let changes = weight == Weight::Change;
        if head == Head::Sent {
            if changes && (next.is_some() || patch.persistent.is_some() || config.backend.is_client_side()) {
                return Err(SessionError::HeadSent);
            }
            if config.backend.is_client_side() {
                return Ok(Plan::Nothing);
            }
        }
        if patch.is_empty() {
            return Ok(Plan::Nothing);
        }
        if expired {
            return if changes { Err(SessionError::Gone) } else { Ok(Plan::Nothing) };
        }
        if patch.carries_cells() {
            check_size(&live.record.cells, &patch)?;
        }
        let signs_out = self.signs_out();
        Ok(Plan::Commit(Box::new(NewPatch { selector: live.token.selector, patch, next, passage, signs_out, weight })))
    }

    fn plan_goodbye(&mut self, now: Timestamp) -> Plan {
        self.give_up(now);
        self.doomed.map_or(Plan::Nothing, Plan::Delete)
    }

    fn fill_cells(
        &self,
        live: &Live,
        config: &Config,
        vault: Option<&Vault<'_>>,
        passage: &Passage,
        patch: &mut Patch,
    ) -> Result<(), SessionError> {
        let cells = &live.record.cells;
        let mut guarded = Vec::new();
        for pending in self.changes.folded().iter().filter(|pending| !passage.wipes() || Self::outlives_wipe(pending)) {
            let of_the_newcomer = if passage.wipes() { self.without_the_former(pending, patch.now)? } else { None };
            for put in stored_puts(of_the_newcomer.as_ref().unwrap_or(pending), vault, patch.now) {
                patch.puts.push(put?);
            }
            if passage.wipes() && !pending.def.is_kept() {
                // Whatever somebody else has stored there meanwhile goes anyway.
                continue;
            }
            // A clear beats whatever was stored: it does not ask what is there.
            if pending.def.rule() != Rule::Last
                && matches!(pending.write, Write::Value(_))
                && !self.is_reset(pending.def.schema())
            {
                guarded.extend(origins(pending.def));
            }
        }
        for pending in self.outdated(passage, cells, config, patch.now) {
            // What cannot be stored as of today stays as it is.
            let Ok(puts) = stored_puts(&pending, vault, patch.now).collect::<Result<Vec<_>, _>>() else { continue };
            if puts.iter().filter_map(|put| put.body.content.payload()).any(|payload| payload.len() > limits::CELL) {
                continue;
            }
            patch.puts.extend(puts);
            // Nobody changed it here, so nothing newer may be replaced by it.
            guarded.extend(origins(pending.def));
        }
        // Of what is wiped nothing is left to be healed.
        for schema in self.reset.iter().filter(|_| !passage.wipes()) {
            // The first write after a reset heals the schema: what is not written now is unreadable or half of something. That
            // holds for the cells this request has seen; somebody else may have healed them in the meantime.
            if self.changes.folded().iter().any(|pending| pending.def.schema() == schema.name) {
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

    /// Another token, and the session key wrapped for it. Another owner gets another key, which the tokens of before do not open.
    fn rotation(&self, live: &Live, config: &Config, passage: &Passage) -> Result<(Token, WrappedKey), RandomError> {
        let Seed { token, key } = if config.backend.is_client_side() {
            // Nothing is looked up by the selector there, so an id of its own tells the old copies from the new.
            self.seed.clone().map_or_else(Seed::generate, Ok)?
        } else {
            let key = match &self.seed {
                _ if !passage.wipes() => live.session_key(),
                // A CSRF token has been derived from it.
                Some(seed) => seed.key.clone(),
                None => SessionKey::from_bytes(random::bytes()?),
            };
            Seed { token: Token { selector: live.token.selector, secret: Secret::generate()? }, key }
        };
        let wrapped_key = key.wrap(&token.selector, &token.secret);
        Ok((token, wrapped_key))
    }

    /// Whether the request's changes write the cell.
    fn writes(&self, key: &CellKey) -> bool {
        self.changes.folded().iter().any(|pending| pending.def.keys().contains(&key.as_str()))
    }

    /// Seals what another owner keeps of `secret` cells under the new session key. What does not open goes.
    fn seal_again(&self, live: &Live, config: &Config, vault: &Vault<'_>, patch: &mut Patch) -> Result<(), SessionError> {
        let old = live.vault();
        let Some(kept) = &mut patch.wipe_except else { return Ok(()) };
        // What another request writes meanwhile is sealed under the old key, so each cell has to be as it was loaded.
        let schemas = config.schemas();
        let secrets = schemas.iter().flat_map(|schema| schema.fields).filter(|def| def.is_kept() && def.is_secret());
        let mut guarded: Vec<CellKey> = secrets.flat_map(|def| def.keys()).copied().map(CellKey::from_static).collect();
        guarded.retain(|key| kept.contains(key) && !self.writes(key));
        let cells = &live.record.cells;
        let mut sealed = Vec::new();
        for cell in cells.iter().filter(|cell| patch.puts.iter().all(|put| put.key != cell.key)) {
            let Content::Value { codec, shape, sealed: true, payload } = &cell.body.content else { continue };
            let Some(at) = kept.iter().position(|key| *key == cell.key) else { continue };
            let is_same_field = |other: &&Cell| without_generation(&other.key) == without_generation(&cell.key);
            // All that is written here has one stamp, so an older generation of a field would come back.
            let is_newest = cells.iter().filter(is_same_field).all(|other| other.stamp <= cell.stamp);
            let Some(plain) = old.open(&cell.key, *codec, *shape, payload).filter(|_| is_newest) else {
                kept.swap_remove(at);
                continue;
            };
            let content = Content::Value { codec: *codec, shape: *shape, sealed: false, payload: Payload::from(&plain[..]) };
            let mut put = Put::new(cell.key.clone(), CellBody { content, ..cell.body.clone() });
            vault.seal(&mut put).map_err(|error| error.about(cell.key.to_string()))?;
            sealed.push(put);
            guarded.push(cell.key.clone());
        }
        patch.puts.append(&mut sealed);
        guarded.retain(|key| patch.guards.iter().all(|guard| guard.key != *key));
        guarded.sort_unstable();
        guarded.dedup();
        let guard = |key: CellKey| Guard { stamp: cells.stamp(&key), key };
        patch.guards.extend(guarded.into_iter().map(guard));
        Ok(())
    }

    /// What becomes of the header's extensions, if anything.
    fn extensions(header: &Header, config: &Config, passage: &Passage) -> Option<Extensions> {
        let mut extensions = header.extensions.clone();
        if passage.restarts() {
            extensions.set_created(None);
        }
        if passage.wipes() {
            extensions.set_sign_in(0);
        }
        // Which place the sign-in takes is known right before the commit.
        let takes_place = config.most_sessions.is_some() && passage.signed_in().is_some() && !config.backend.is_client_side();
        (takes_place || extensions != header.extensions).then_some(extensions)
    }

    /// Another token for the same session and the same rights. Without random bytes for it the old one goes on.
    fn renewal(&self, live: &Live, config: &Config, patch: &mut Patch) -> Option<Token> {
        let token = Token { selector: live.token.selector, secret: Secret::generate().ok()? };
        patch.rotation = Some(Rotation::Renewal {
            from: live.record.header.secret_hash,
            to: hash(&token, live, config, patch),
            wrapped_key: live.session_key().wrap(&token.selector, &token.secret),
        });
        Some(token)
    }

    fn fill_deadlines(&self, header: &Header, config: &Config, passage: &Passage, patch: &mut Patch) {
        let now = patch.now;
        let lifetime = config.lifetime(patch.persistent.unwrap_or(header.persistent));
        let (last_seen, idle_until) = (now, now.plus(lifetime.idle()));
        patch.deadlines = if passage.restarts() {
            let created = if passage.wipes() { now } else { header.first_created() };
            Some(Deadlines::Reset { created, last_seen, idle_until, absolute_until: now.plus(lifetime.absolute()) })
        } else if patch.persistent.is_some() {
            let (created, absolute_until) = another_lifetime(header, config, &lifetime, patch);
            Some(Deadlines::Reset { created, last_seen, idle_until, absolute_until })
        } else {
            rolled(header, &lifetime, now).map(|idle_until| Deadlines::Roll { last_seen, idle_until })
        };
        if let Some(live) = self.live()
            && live.secret == Accepted::Current
            && live.held.is_none()
            && header.is_awaited()
            && !passage.rotates()
        {
            patch.presented = Some(live.hash);
        }
    }

    /// Whether the client may be getting another token from another of its requests, while this one wants to set the cookie.
    fn shares_its_token(live: &Live, config: &Config) -> bool {
        config.renewal.is_some() && !config.backend.is_client_side() && live.secret == Accepted::Current && live.held.is_none()
    }

    /// Whether the token that this request has is the one that its client goes on with, so that its cookie may be set again.
    pub(super) fn is_the_clients_token(&self, live: &Live) -> bool {
        match (live.secret, &live.record.header.previous) {
            (Accepted::Current, _) => true,
            // The response that brought another one was lost, unless it is on its way.
            (Accepted::Previous, Some(previous)) => {
                live.record.header.is_awaited() && self.loaded_at >= previous.since.plus(PARALLEL_TABS)
            }
            (Accepted::Previous, None) => false,
        }
    }
}

/// The idle deadline that a use moves the stored one to. Where a use costs a write it is noted once per fifth of the idle time, so
/// that a session may end up to a fifth of it early, and never late.
pub(super) fn rolled(header: &Header, lifetime: &Lifetime, now: Timestamp) -> Option<Timestamp> {
    let idle_until = now.plus(lifetime.idle());
    let (stored, _) = header.deadlines(lifetime);
    (stored.until(idle_until) >= lifetime.idle() / 5).then_some(idle_until)
}

/// A session gets another lifetime in the middle: when it counts as begun, and its absolute deadline.
///
/// The lifetime counts from the session's own begin. Where that leaves less, it counts from now, yet never beyond the deadline of
/// before: so the change ends no session at once, and no back and forth of changes makes one last longer.
fn another_lifetime(header: &Header, config: &Config, lifetime: &Lifetime, patch: &mut Patch) -> (Timestamp, Timestamp) {
    let created = header.first_created();
    let began = header.authenticated_at.map_or(created, |proven| proven.max(created));
    let from_begin = began.plus(lifetime.absolute());
    let (_, before) = config.deadlines(header);
    let from_now = before.min(patch.now.plus(lifetime.absolute()));
    let counts_anew = from_now > from_begin;
    let mut extensions = header.extensions.clone();
    extensions.set_created(counts_anew.then_some(created));
    if extensions != header.extensions {
        patch.extensions = Some(extensions);
    }
    if counts_anew { (patch.now, from_now) } else { (created, from_begin) }
}

/// What is stored of a token that a patch brings: it may depend on whose session it is then.
fn hash(token: &Token, live: &Live, config: &Config, patch: &Patch) -> SecretHash {
    let owner = match &patch.owner {
        Some(OwnerChange::Set(owner)) => Some(owner),
        Some(OwnerChange::Clear) => None,
        None => live.record.header.owner.as_ref(),
    };
    config.hasher.hash(token, owner.map(|owner| &owner.hash))
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

/// Whether the cells of a record are within the limit once a patch is applied.
fn check_size(cells: &Cells, patch: &Patch) -> Result<(), SessionError> {
    let size = |key: &CellKey, body: &CellBody| key.len() + body.content.payload().map_or(0, |payload| payload.len());
    let goes = |cell: &&Cell| {
        patch.puts.iter().any(|put| put.key == cell.key)
            || patch.wipe_except.as_ref().is_some_and(|kept| !kept.contains(&cell.key))
    };
    let stay = cells.iter().filter(|cell| !goes(cell)).map(|cell| size(&cell.key, &cell.body));
    if stay.chain(patch.puts.iter().map(|put| size(&put.key, &put.body))).sum::<usize>() <= limits::RECORD {
        return Ok(());
    }
    let mut after = cells.clone();
    if let Some(kept) = &patch.wipe_except {
        after.retain(kept);
    }
    after.put_all(&patch.puts, 0);
    Err(SessionError::TooLarge { what: TooLarge::Record, limit: limits::RECORD, sizes: after.sizes() })
}
