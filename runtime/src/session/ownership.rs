//! Who is signed in: what a request's changes say about it, and what follows for the record.

use super::{
    access::{Access, ClientCopy, Csrf, Live, Session, UnlistedOwners},
    changes::Dropped,
    check_in::{Pending, Write, refused_value},
};
use crate::{
    config::Config,
    error::SessionError,
    events,
    record::{Accepted, CellKey, Cells, Header, Owner, OwnerChange, OwnerHash, Selector, Timestamp},
    schema::{AnyField, Cause, Part, Rule, Schema, Undecodable},
};

/// What a commit does to who is signed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Passage {
    /// Nothing.
    None,
    /// What they may do changed, or a handler asked: another token, and everything stays.
    Rotation,
    /// Somebody signs in where nobody was.
    SignIn(Owner),
    /// Whoever is signed in proved again who they are.
    Renewed(Owner),
    /// Somebody else signs in, or nobody is signed in any more: nothing of the one before stays.
    Handover(Option<Owner>),
}

/// The schema that bears an owner, and the owner's hash, if it names one.
type Named = (&'static str, Option<OwnerHash>);

impl Passage {
    /// Whether the token of before is dead.
    pub(super) fn rotates(&self) -> bool {
        *self != Self::None
    }

    /// Why it is dead, for whoever reads the events.
    pub(super) fn why(&self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Rotation => Some("privilege"),
            Self::SignIn(_) => Some("sign_in"),
            Self::Renewed(_) => Some("reauthenticated"),
            Self::Handover(Some(_)) => Some("handover"),
            Self::Handover(None) => Some("sign_out"),
        }
    }

    /// Whether the session begins anew, as far as its deadlines go.
    pub(super) fn restarts(&self) -> bool {
        matches!(self, Self::SignIn(_) | Self::Renewed(_) | Self::Handover(_))
    }

    pub(super) fn wipes(&self) -> bool {
        matches!(self, Self::Handover(_))
    }

    /// Whoever was not signed in before, and is then.
    pub(super) fn newcomer(&self) -> Option<&Owner> {
        match self {
            Self::SignIn(owner) | Self::Handover(Some(owner)) => Some(owner),
            Self::None | Self::Rotation | Self::Renewed(_) | Self::Handover(None) => None,
        }
    }

    /// The owner who signs in, for the first time or once more.
    pub(super) fn signed_in(&self) -> Option<&Owner> {
        match self {
            Self::SignIn(owner) | Self::Renewed(owner) | Self::Handover(Some(owner)) => Some(owner),
            Self::None | Self::Rotation | Self::Handover(None) => None,
        }
    }

    pub(super) fn owner_change(&self) -> Option<OwnerChange> {
        match self {
            Self::None | Self::Rotation | Self::Renewed(_) => None,
            Self::SignIn(owner) | Self::Handover(Some(owner)) => Some(OwnerChange::Set(owner.clone())),
            Self::Handover(None) => Some(OwnerChange::Clear),
        }
    }

    /// When the owner last proved who they are, where that changes.
    pub(super) fn authenticated_at(&self, now: Timestamp) -> Option<Option<Timestamp>> {
        match self {
            Self::None | Self::Rotation => None,
            Self::SignIn(_) | Self::Renewed(_) | Self::Handover(Some(_)) => Some(Some(now)),
            Self::Handover(None) => Some(None),
        }
    }
}

impl Access {
    /// What the request's changes come to, on top of a record with that header or of none.
    pub(super) fn passage(&self, header: Option<&Header>, now: Timestamp) -> Result<Passage, SessionError> {
        let current = header.and_then(|header| header.owner.as_ref().or(self.unlisted.as_ref()));
        match self.claim()? {
            Some((schema, Some(hash))) => {
                let owner = Owner { schema: schema.into(), hash };
                return Ok(match current {
                    None => Passage::SignIn(owner),
                    Some(current) if *current == owner => Passage::Renewed(owner),
                    Some(_) => Passage::Handover(Some(owner)),
                });
            }
            Some((schema, None)) if current.is_some_and(|owner| *owner.schema == *schema) => {
                return Ok(Passage::Handover(None));
            }
            Some((_, None)) | None => {}
        }
        // Where the struct cannot be read nobody is signed in, whatever the header says.
        let proven = current.filter(|owner| self.commands.get().reauthenticated && !self.is_reset(&owner.schema));
        Ok(if let Some(owner) = proven {
            Passage::Renewed(owner.clone())
        } else if self.commands.get().rotate || self.commands.get().reauthenticated || self.changes_privilege(now) {
            Passage::Rotation
        } else {
            Passage::None
        })
    }

    /// Whom the request's changes name, if they name anybody or nobody: the schema, and the owner's hash.
    fn claim(&self) -> Result<Option<Named>, SessionError> {
        if let Some(named) = self.named() {
            return named.map(Some);
        }
        // What is left of a schema that cannot be read is its defaults, and by default nobody is signed in.
        let healed = self.healed().find(|schema| schema.owner.is_some());
        Ok(healed.map(|schema| (schema.name, None)))
    }

    /// Whom a handler has named, or that it is nobody, if it has written to the owner field.
    fn named(&self) -> Option<Result<Named, SessionError>> {
        let Pending { def, write, .. } = self.changes.folded().iter().find(|pending| pending.def.part() == Part::Owner)?;
        let owner = def.owner(write.value()).map_err(|error| refused_value(*def, error));
        Some(owner.map(|hash| (def.schema(), hash)))
    }

    /// The schemas that could not be read and are written now.
    fn healed(&self) -> impl Iterator<Item = &'static Schema> {
        let written = |schema: &Schema| self.changes.folded().iter().any(|pending| pending.def.schema() == schema.name);
        self.reset.iter().copied().filter(move |schema| written(schema))
    }

    fn changes_privilege(&self, now: Timestamp) -> bool {
        let changed = |pending: &Pending| {
            let stored = self.stored_value(pending.def, now);
            pending.def.part() == Part::Privilege && !pending.def.same(pending.write.value(), stored.as_ref())
        };
        let lost = |schema: &'static Schema| schema.fields.iter().any(|def| def.part() == Part::Privilege);
        self.live().is_some() && (self.changes.folded().iter().any(changed) || self.healed().any(lost))
    }

    /// Fields and header name the same owner, or the fields are not to be believed: an index that does not know of a session could not
    /// end it.
    pub(super) fn agree_on_owner(&mut self, schema: &Schema, now: Timestamp) -> Result<(), Undecodable> {
        let (Some(def), Some(live)) = (schema.owner, self.live()) else { return Ok(()) };
        if self.find(def).is_some() || self.is_reset(schema.name) {
            return Ok(());
        }
        let Some(hash) = def.owner(self.stored_value(def, now).as_ref())? else {
            self.unlisted = None;
            return Ok(());
        };
        let owner = Owner { schema: schema.name.into(), hash };
        match &live.record.header.owner {
            Some(known) if *known == owner => {}
            Some(_) => return Err(Undecodable { field: def.name(), cause: Cause::OtherOwner }),
            None if self.unlisted_owners == UnlistedOwners::Refused => {
                return Err(Undecodable { field: def.name(), cause: Cause::UnlistedOwner });
            }
            None => {
                self.personal = true;
                self.unlisted = Some(owner);
            }
        }
        Ok(())
    }

    /// Whether a change is worth a cell once all others are gone: what would be the default is that anyway.
    pub(super) fn outlives_wipe(pending: &Pending) -> bool {
        pending.def.is_kept()
            || match &pending.write {
                Write::Value(value) => !pending.def.same(Some(value), None),
                Write::Clear => false,
            }
    }

    /// A change without what it was made on top of, which goes: of a counter what was added, of a set what was put in.
    pub(super) fn without_the_former(&self, pending: &Pending, now: Timestamp) -> Result<Option<Pending>, SessionError> {
        let def = pending.def;
        let Write::Value(mine) = &pending.write else { return Ok(None) };
        if def.is_kept() || def.rule() != Rule::Merge {
            return Ok(None);
        }
        let base = self.stored_value(def, now);
        let own = def.merged(base.as_ref(), Some(mine), None).map_err(|error| refused_value(def, error))?;
        Ok(Some(Pending::of_value(def, own)))
    }

    /// The keys of what stays when the owner changes: of fields marked `keep`, also where another version of the program, or another
    /// program, marked them. Nothing stays of what cannot be read. Which structs this program has is known only once each was used; of
    /// one that was not yet, what another version marked stays stored, and is not believed by this one in a later epoch.
    pub(super) fn kept(&self, cells: &Cells, config: &Config) -> Vec<CellKey> {
        let schemas = config.schemas();
        let defs = || schemas.iter().flat_map(|schema| schema.fields);
        let is_reset = |key: &str| self.is_reset(key.split('/').next().unwrap_or(key));
        let declared = defs().filter(|def| def.is_kept()).flat_map(|def| def.keys()).copied().map(CellKey::from_static);
        let is_declared = |key: &str| defs().any(|def| def.keys().contains(&key));
        let marked = cells.iter().filter(|cell| cell.body.keep && !is_declared(&cell.key)).map(|cell| cell.key.clone());
        declared.chain(marked).filter(|key| !is_reset(key)).collect()
    }

    /// What outlives the deadlines it was written under is stored as of today, or no generation of a field could ever be forgotten.
    pub(super) fn outdated(&self, passage: &Passage, cells: &Cells, config: &Config, now: Timestamp) -> Vec<Pending> {
        if !passage.restarts() {
            return Vec::new();
        }
        let opener = self.opener(Some(cells), now);
        let stays = |def: &&'static dyn AnyField| {
            (def.is_kept() || !passage.wipes()) && !def.expires() && !self.is_reset(def.schema()) && self.find(*def).is_none()
        };
        let schemas = config.schemas();
        let defs = schemas.iter().flat_map(|schema| schema.fields).copied().filter(stays);
        defs.filter(|def| def.is_outdated(&opener))
            .filter_map(|def| Some(Pending::of_value(def, def.renewed(&opener).ok()??)))
            .collect()
    }

    /// Whether a handler has signed somebody out, rather than that a struct which cannot be read names nobody.
    pub(super) fn signs_out(&self) -> bool {
        self.named().is_some_and(|named| !matches!(named, Ok((_, Some(_)))))
    }

    /// The session goes, and what stays of the request's changes begins another one.
    pub(super) fn give_up(&mut self, now: Timestamp) {
        self.begin_again();
        self.leave();
        // On top of nothing: of a counter what was added, of a set what was put in.
        self.changes.forget_bases(|def| def.is_kept());
        let _ = self.refold_for_plan(now);
        let outlives = |pending: &&Pending| pending.write.value().is_some() && Self::outlives_wipe(pending);
        let stays: Vec<_> = self.changes.folded().iter().filter(outlives).map(|pending| pending.def.keys()[0]).collect();
        self.changes.drop_waiting(Dropped::Gone);
        self.changes.keep_only(|def| stays.contains(&def.keys()[0]));
    }

    /// The session goes on as somebody else's: handles of before hold what is not theirs.
    pub(super) fn begin_again(&mut self) {
        self.reset.clear();
        self.unlisted = None;
        self.incarnation += 1;
    }

    /// The sessions of an owner have been ended, or one of them. Where this request's is among them, it ends here as by `destroy()`; another
    /// owner who is about to sign in begins a session of their own.
    pub(super) fn revoked(&mut self, owner: &OwnerHash, only: Option<&Selector>, now: Timestamp) {
        // What is staged says who is about to sign in. What cannot be folded signs no owner in.
        let _ = self.refold(now);
        let Some(live) = self.live().filter(|live| only.is_none_or(|only| *only == live.token.selector)) else { return };
        let (header, selector) = (&live.record.header, live.token.selector);
        if header.owner.as_ref().or(self.unlisted.as_ref()).is_none_or(|known| known.hash != *owner) {
            return;
        }
        let is_listed = header.owner.is_some();
        match self.passage(Some(header), now) {
            Ok(Passage::Handover(Some(_))) if matches!(self.session, Session::Live(_)) => self.begin_another(),
            _ => self.destroy(),
        }
        // The store has ended what the index knows. A delete would not ask whose the session is by then.
        self.doomed = (!is_listed).then_some(selector);
    }

    /// Signing in never fails because of what became of the session of before: it begins one of its own, with what this request added.
    pub(super) fn sign_in_anew(&mut self) {
        if let Session::Live(_) = self.session {
            self.changes.drop_waiting(Dropped::Gone);
            self.begin_another();
        }
    }

    /// Leaves the session to what became of it. The changes begin another one.
    fn begin_another(&mut self) {
        if let (Session::Live(live), Csrf::HandedOut) = (&self.session, self.csrf) {
            events::csrf_void(&live.token.selector);
        }
        self.begin_again();
        self.session = Session::Fresh;
        self.client = ClientCopy::Untouchable;
        // What was added goes into the new session, without what it was added to.
        self.changes.forget_bases(|def| def.is_kept());
        self.changes.rebase(|_| false);
    }

    /// Whether a token has been there long enough to be replaced by another one.
    pub(super) fn renewal_is_due(&self, live: &Live, config: &Config, now: Timestamp) -> bool {
        let Some(renewal) = config.renewal.filter(|_| !config.backend.is_client_side()) else { return false };
        let header = &live.record.header;
        let age = match (live.secret, header.is_awaited()) {
            (Accepted::Current, false) => renewal.every,
            // Nobody has received the last one, or its client is away, and somebody else goes on with the old one. A client that is away for as
            // long as this would have to sign in again anyway; before that nobody takes its token from it.
            (Accepted::Previous, true) => renewal.every.max(config.lifetime(header.persistent).idle()),
            (Accepted::Current, true) | (Accepted::Previous, false) => return false,
        };
        header.renewed().until(now) >= age
    }
}
