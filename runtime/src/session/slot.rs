//! What one request knows about its session: the state between load and commit, and every transition of it.

use super::flight::Runway;
use crate::{
    config::{Config, PARALLEL_TABS},
    error::{ErrorContext, SessionError, TooLarge},
    events::{self, Refused},
    key::SessionKey,
    limits,
    record::{
        Accepted, Cell, CellBody, CellKey, Cells, Deadlines, Guard, Header, Patch, Payload, Presented, Put, Record, Rotation,
        Selector, Timestamp,
    },
    schema::{AnyField, Base, Cause, FieldState, Opener, PlacedField, Rule, Schema, SessionData, State, Undecodable},
    store::{IdleTouch, StoreError},
    token::{Secret, SecretHash, Token},
};
use http::Method;
use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

/// The request's session, shared by the layer and every handle. It lies in the request's extensions.
#[derive(Clone, Debug)]
pub(crate) struct Slot(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    request: Mutex<Request>,
    // Beside the lock, since handles count themselves. The first counts all of them, the second those with unsaved changes.
    handles: AtomicUsize,
    unsaved: AtomicUsize,
}

#[derive(Debug)]
pub(crate) struct Request {
    pub(super) config: Arc<Config>,
    pub(super) head: Head,
    pub(super) access: Option<Box<Access>>,
    pub(super) runway: Runway,
}

/// Whether cookies can still be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Head {
    Open,
    Sent,
}

/// Everything that exists once a handler has asked for the session.
#[derive(Debug)]
pub(crate) struct Access {
    pub(super) context: ErrorContext,
    pub(super) session: Session,
    pub(super) client: ClientCopy,
    pub(super) reply: Reply,
    pending: Vec<Pending>,
    /// Schemas that could not be read, and start from their defaults.
    reset: Vec<&'static Schema>,
    wishes: Wishes,
    /// A destroyed session whose record still has to go.
    doomed: Option<Selector>,
    /// Raised by `destroy()`, so that handles of the destroyed session are told apart.
    incarnation: u32,
    /// The incarnation that the commit under way was planned for.
    planned_for: u32,
    /// The first failure of a check-in.
    failure: Option<SessionError>,
    /// A failure went to the handler, which has the say over its response.
    handed_out: bool,
    /// Somebody was signed in when the session was read.
    owned: bool,
}

/// The request's session.
#[derive(Debug)]
pub(super) enum Session {
    /// None yet: a write begins one.
    Fresh,
    Live(Live),
    /// The presented secret is of an earlier time. Soon after the rotation that is a parallel request, whose writes lost a race;
    /// later it is a client that lost its new token, which may begin anew.
    Stale(StaleSince),
    /// A commit did not end as it should: nothing is written any more in this request.
    Lost {
        why: Loss,
        live: Option<Live>,
    },
    Unavailable(Arc<SessionError>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StaleSince {
    JustNow,
    Earlier,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loss {
    /// The session has ended, or belongs to another epoch.
    Gone,
    /// The store did not say whether it wrote.
    Unknown,
}

#[derive(Debug)]
pub(super) struct Live {
    pub(super) token: Token,
    /// What the store holds, as far as this request knows.
    pub(super) record: Record,
    /// Whether the client's own secret is the record's current one. It is not for a moment after a renewal.
    secret: SecretInHand,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SecretInHand {
    Current,
    Previous,
}

impl From<Accepted> for SecretInHand {
    fn from(accepted: Accepted) -> Self {
        match accepted {
            Accepted::Current => Self::Current,
            Accepted::Previous => Self::Previous,
        }
    }
}

/// What the browser's cookie is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClientCopy {
    /// There is none.
    None,
    /// It opens the live session.
    Current,
    /// It opens nothing any more, and is cleared.
    Dead,
    /// It lost a race or is ambiguous: clearing it could erase a newer one.
    Untouchable,
}

/// What the response must hand out.
#[derive(Debug)]
pub(super) enum Reply {
    Nothing,
    /// The token of the live session.
    Token,
    /// The record itself, sealed.
    #[cfg(feature = "cookie")]
    Sealed(String),
}

/// What a response does to the cookie.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum CookieEffect {
    Leave,
    Set { value: String, until: Option<Timestamp> },
    Clear,
}

/// What the layer does to a response once the session is settled.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The error to answer with instead, and the request it belongs to.
    pub(crate) failure: Option<(SessionError, ErrorContext)>,
    pub(crate) cookie: CookieEffect,
    /// Whether somebody is signed in, so that no cache may keep the response.
    pub(crate) owned: bool,
}

/// Changes that are not fields.
#[derive(Debug, Default)]
struct Wishes {
    rotate: bool,
    persistent: Option<bool>,
    label: Option<Option<Arc<str>>>,
}

impl Wishes {
    /// Drops those that a commit has fulfilled.
    fn settle(&mut self, patch: &Patch) {
        self.rotate &= patch.rotation.is_none();
        if patch.persistent == self.persistent {
            self.persistent = None;
        }
        if patch.label == self.label {
            self.label = None;
        }
    }
}

/// A checked-in change.
#[derive(Debug)]
struct Pending {
    def: &'static dyn AnyField,
    write: Write,
    forced: bool,
    /// Part of a commit that is under way. What is checked in meanwhile is not.
    planned: bool,
}

#[derive(Clone, Debug)]
enum Write {
    Value(Payload),
    Clear,
}

impl Write {
    fn value(&self) -> Option<&Payload> {
        match self {
            Self::Value(payload) => Some(payload),
            Self::Clear => None,
        }
    }
}

/// The next thing to ask of the store.
#[derive(Debug)]
pub(super) enum Plan {
    Nothing,
    Delete(Selector),
    Create { token: Token, record: Record },
    Commit { selector: Selector, patch: Patch, next: Option<Token> },
}

/// What a load found.
#[expect(clippy::large_enum_variant, reason = "it is moved once, and a box would be one more allocation per request")]
pub(super) enum Found {
    Nothing,
    Refused(Refused, Option<Selector>),
    Record { token: Token, presented: Presented, record: Record },
    Unavailable(Arc<SessionError>),
}

impl Slot {
    pub(crate) fn new(config: Arc<Config>) -> Self {
        let request = Request { config, head: Head::Open, access: None, runway: Runway::default() };
        Self(Arc::new(Shared { request: Mutex::new(request), handles: AtomicUsize::new(0), unsaved: AtomicUsize::new(0) }))
    }

    /// The lock is held for moments, never across an await. A panic of user code under it leaves the state whole, since state
    /// changes after user code has returned, so poison means nothing here.
    pub(super) fn lock(&self) -> MutexGuard<'_, Request> {
        self.0.request.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn count_handle(&self) {
        self.0.handles.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn uncount_handle(&self) {
        self.0.handles.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn has_handles(&self) -> bool {
        self.0.handles.load(Ordering::Relaxed) > 0
    }

    pub(super) fn count_unsaved(&self) {
        self.0.unsaved.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn uncount_unsaved(&self) {
        self.0.unsaved.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn has_unsaved_handles(&self) -> bool {
        self.0.unsaved.load(Ordering::Relaxed) > 0
    }

    /// Takes over the policy of a layer inside this one. `Err` names the outer layer's cookie where it is another.
    pub(crate) fn join(&self, inner: &Config) -> Result<(), String> {
        let mut request = self.lock();
        if request.config.cookie.name() != inner.cookie.name() {
            return Err(request.config.cookie.name().to_owned());
        }
        request.config = Arc::new(request.config.under_policy(inner));
        Ok(())
    }
}

impl Access {
    pub(super) fn new(context: ErrorContext, found: Found, config: &Config) -> Self {
        let (session, client) = match found {
            Found::Nothing => (Session::Fresh, ClientCopy::None),
            Found::Refused(why, selector) => {
                events::refused(why, selector.as_ref());
                let client = if why == Refused::Ambiguous { ClientCopy::Untouchable } else { ClientCopy::Dead };
                (Session::Fresh, client)
            }
            Found::Unavailable(error) => {
                events::failed(&error);
                (Session::Unavailable(error), ClientCopy::Untouchable)
            }
            Found::Record { token, presented, record } => Self::judge(token, &presented, record, config),
        };
        let owned = matches!(&session, Session::Live(live) if live.record.header.owner.is_some());
        Self {
            context,
            session,
            client,
            reply: Reply::Nothing,
            pending: Vec::new(),
            reset: Vec::new(),
            wishes: Wishes::default(),
            doomed: None,
            incarnation: 0,
            planned_for: 0,
            failure: None,
            handed_out: false,
            owned,
        }
    }

    /// The one place that decides whether a record opens: the secret in constant time, then both deadlines.
    fn judge(token: Token, presented: &Presented, mut record: Record, config: &Config) -> (Session, ClientCopy) {
        let (header, now) = (&mut record.header, presented.now);
        let Some(accepted) = header.accepts(&presented.secret_hash, now, presented.grace) else {
            events::refused(Refused::Stale, Some(&token.selector));
            let since = match &header.previous {
                Some(previous) if now < previous.since.plus(PARALLEL_TABS) => StaleSince::JustNow,
                _ => StaleSince::Earlier,
            };
            return (Session::Stale(since), ClientCopy::Untouchable);
        };
        if is_expired(header, config, now) {
            events::refused(Refused::Expired, Some(&token.selector));
            return (Session::Fresh, ClientCopy::Dead);
        }
        if config.backend.idle_touch() == IdleTouch::AtLoad {
            // The store has done this on its way; the copy follows.
            header.touch(presented);
        }
        events::loaded(&token.selector);
        (Session::Live(Live { token, record, secret: accepted.into() }), ClientCopy::Current)
    }

    pub(super) fn incarnation(&self) -> u32 {
        self.incarnation
    }

    /// Whether there is a session, or will be.
    pub(super) fn has_begun(&self) -> bool {
        matches!(self.session, Session::Live(_)) || !self.pending.is_empty()
    }

    pub(super) fn outage(&self) -> Option<&Arc<SessionError>> {
        match &self.session {
            Session::Unavailable(error) => Some(error),
            _ => None,
        }
    }

    pub(super) fn live(&self) -> Option<&Live> {
        match &self.session {
            Session::Live(live) | Session::Lost { why: Loss::Unknown, live: Some(live) } => Some(live),
            _ => None,
        }
    }

    pub(super) fn is_lost(&self) -> bool {
        matches!(self.session, Session::Lost { .. })
    }

    // ---- Handles ----

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

    fn is_reset(&self, schema: &str) -> bool {
        self.reset.iter().any(|reset| reset.name == schema)
    }

    fn working(&self, schema: &Schema, now: Timestamp) -> Option<Cells> {
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

    fn stored_value(&self, def: &dyn AnyField, now: Timestamp) -> Option<Payload> {
        let live = self.live().filter(|_| !self.is_reset(def.schema()))?;
        // What cannot be read counts as the default, as it did when the handle was made.
        def.stored(&live.record.cells, now).unwrap_or(None)
    }

    fn find(&self, def: &dyn AnyField) -> Option<usize> {
        self.pending.iter().position(|pending| pending.def.keys()[0] == def.keys()[0])
    }

    fn put(&mut self, def: &'static dyn AnyField, write: Write, forced: bool) {
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
        let FieldState { state, base } = field.state();
        let base = base.clone();
        match state {
            State::Untouched => {
                #[cfg(debug_assertions)]
                notice_interior_mutability(&*field, &base);
                return Ok(());
            }
            State::Cleared => {
                self.clear_field(def);
                field.settle(None);
                return Ok(());
            }
            State::Touched | State::Forced => {}
        }
        let mine = field.encode().map_err(|error| refused_value(def, error))?;
        let forced = state == State::Forced;
        let always = forced || def.expires();
        let base = self.base_value(def, base, now);
        if !always && field.equals(&mine, base.as_ref()) {
            field.settle(base);
            return Ok(());
        }
        self.merge_in(def, base.as_ref(), &mine, forced, now)?;
        // Further changes of this handle count from the value it holds.
        field.settle(Some(mine));
        Ok(())
    }

    /// What a field of a handle is compared with.
    pub(super) fn base_value(&self, def: &dyn AnyField, base: Base, now: Timestamp) -> Option<Payload> {
        match base {
            Base::Absent => None,
            Base::Stored(payload) => Some(payload),
            // A value made outside of the session is compared with what the session holds.
            Base::Unbound => self.working_value(def, now),
        }
    }

    fn working_value(&self, def: &dyn AnyField, now: Timestamp) -> Option<Payload> {
        match self.find(def) {
            Some(at) => self.pending[at].write.value().cloned(),
            None => self.stored_value(def, now),
        }
    }

    /// One handle's change meets what the request has so far, under the rules by which two requests would meet.
    fn merge_in(
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

    fn clear_field(&mut self, def: &'static dyn AnyField) {
        let stored = self.is_stored(def);
        match self.find(def) {
            Some(at) if !stored && !self.pending[at].planned => {
                self.pending.swap_remove(at);
            }
            None if !stored => {}
            _ => self.put(def, Write::Clear, false),
        }
    }

    pub(super) fn fail(&mut self, error: SessionError) {
        self.failure.get_or_insert(error);
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failure.is_some()
    }

    /// Forgets every unsaved change of a field.
    pub(super) fn discard_changes(&mut self) {
        self.pending.clear();
        self.failure = None;
    }

    /// Forgets everything unsaved but a destroy.
    pub(super) fn discard(&mut self) {
        self.pending.clear();
        self.wishes = Wishes::default();
    }

    /// ... and that something failed.
    pub(super) fn start_over(&mut self) {
        self.discard();
        self.failure = None;
    }

    pub(super) fn has_changes(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Whether anything waits for a commit.
    pub(super) fn has_unsaved(&self) -> bool {
        let Wishes { rotate, persistent, label } = &self.wishes;
        self.has_changes() || self.has_failed() || self.doomed.is_some() || *rotate || persistent.is_some() || label.is_some()
    }

    /// The handler learned of a failure, so the response is its own: the changes behind it wait for another `save()`, and go no
    /// other way.
    pub(super) fn hand_out(&mut self) {
        self.handed_out = true;
    }

    /// What a failed `save()` has left is not stored behind the handler's back.
    pub(super) fn drop_handed_out(&mut self) {
        if self.handed_out {
            self.lose_changes(&"a `save()` failed, and the handler answered without another one");
            self.wishes = Wishes::default();
        }
    }

    fn lose_changes(&mut self, why: &dyn std::fmt::Display) {
        for pending in self.pending.drain(..) {
            events::lost(pending.def.schema(), why);
        }
    }

    // ---- Verbs ----

    pub(super) fn rotate(&mut self) {
        // A session that does not exist yet gets a new token anyway.
        self.wishes.rotate = self.live().is_some();
    }

    pub(super) fn destroy(&mut self) {
        self.lose_changes(&"the session was destroyed in the same request");
        self.wishes = Wishes::default();
        self.reset.clear();
        self.failure = None;
        self.incarnation += 1;
        self.reply = Reply::Nothing;
        match std::mem::replace(&mut self.session, Session::Fresh) {
            Session::Fresh => {}
            Session::Live(live) | Session::Lost { why: Loss::Unknown, live: Some(live) } => {
                self.doomed = Some(live.token.selector);
                self.client = match self.client {
                    ClientCopy::None => ClientCopy::None,
                    _ => ClientCopy::Dead,
                };
            }
            // It is gone already, or not this client's to end.
            other @ (Session::Lost { .. } | Session::Stale(_) | Session::Unavailable(_)) => self.session = other,
        }
    }

    pub(super) fn set_persistent(&mut self, persistent: bool) {
        self.wishes.persistent = Some(persistent);
    }

    pub(super) fn set_label(&mut self, label: Option<Arc<str>>) {
        self.wishes.label = Some(label);
    }

    // ---- Commit ----

    /// What has to be asked of the store next. What cannot be stored stays, and can be changed again.
    pub(super) fn plan(&mut self, config: &Config, head: Head) -> Result<Plan, SessionError> {
        let plan = self.plan_next(config, head);
        self.planned_for = self.incarnation;
        match &plan {
            Err(SessionError::Gone) => self.lose(Loss::Gone),
            Err(_) => {}
            Ok(_) => self.pending.iter_mut().for_each(|pending| pending.planned = true),
        }
        plan
    }

    fn plan_next(&mut self, config: &Config, head: Head) -> Result<Plan, SessionError> {
        if let Some(selector) = self.doomed {
            return Ok(Plan::Delete(selector));
        }
        let now = config.now();
        match &self.session {
            Session::Live(_) => self.plan_commit(config, head, now),
            Session::Unavailable(_) => Ok(Plan::Nothing),
            Session::Lost { .. } | Session::Stale(StaleSince::JustNow) => {
                if self.pending.is_empty() {
                    Ok(Plan::Nothing)
                } else {
                    Err(SessionError::Gone)
                }
            }
            Session::Fresh | Session::Stale(StaleSince::Earlier) => self.plan_create(config, head, now),
        }
    }

    fn plan_create(&mut self, config: &Config, head: Head, now: Timestamp) -> Result<Plan, SessionError> {
        let cells: Cells = self
            .pending
            .iter()
            .filter(|pending| matches!(pending.write, Write::Value(_)))
            .flat_map(|pending| pending.puts(now))
            .map(|put| Cell::new(put.key, 1, put.body))
            .collect();
        if cells.is_empty() {
            return Ok(Plan::Nothing);
        }
        if head == Head::Sent {
            return Err(SessionError::HeadSent);
        }
        check_size(&cells, &[])?;
        let token = Token::generate()?;
        let wrapped_key = SessionKey::generate()?.wrap(&token.selector, &token.secret);
        let persistent = self.wishes.persistent.unwrap_or(config.policy.is_persistent());
        let lifetime = config.lifetime(persistent);
        let (idle_until, absolute_until) = (now.plus(lifetime.idle()), now.plus(lifetime.absolute()));
        let mut header = Header::new(token.secret.hash(), wrapped_key, now, idle_until, absolute_until);
        header.persistent = persistent;
        header.label = self.wishes.label.clone().flatten();
        Ok(Plan::Create { token, record: Record::new(header, cells) })
    }

    fn plan_commit(&mut self, config: &Config, head: Head, now: Timestamp) -> Result<Plan, SessionError> {
        let Session::Live(live) = &self.session else { return Ok(Plan::Nothing) };
        let header = &live.record.header;
        let mut patch = Patch::new(header.epoch, now);
        self.fill_cells(&live.record.cells, &mut patch, now);
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
        Ok(Plan::Commit { selector: live.token.selector, patch, next })
    }

    fn fill_cells(&self, cells: &Cells, patch: &mut Patch, now: Timestamp) {
        let guard = |key: &'static str| Guard { key: CellKey::from_static(key), stamp: cells.stamp(key) };
        for pending in &self.pending {
            patch.puts.extend(pending.puts(now));
            // A clear beats whatever was stored: it does not ask what is there.
            if pending.def.rule() != Rule::Last
                && matches!(pending.write, Write::Value(_))
                && !self.is_reset(pending.def.schema())
            {
                patch.guards.extend(pending.def.keys().iter().copied().map(guard));
            }
        }
        for schema in &self.reset {
            // The first write after a reset heals the schema: what is not written now is unreadable or half of something. That
            // holds for the cells this request has seen; somebody else may have healed them in the meantime.
            if self.pending.iter().any(|pending| pending.def.schema() == schema.name) {
                let rest = schema.fields.iter().filter(|def| self.find(**def).is_none());
                patch.puts.extend(rest.flat_map(|def| puts(*def, None, now)).filter(|put| cells.get(&put.key).is_some()));
                patch.guards.extend(schema.fields.iter().flat_map(|def| def.keys()).copied().map(guard));
            }
        }
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
            && live.secret == SecretInHand::Current
            && header.previous.is_some_and(|previous| previous.state == crate::record::PreviousState::Pending)
        {
            patch.presented = Some(live.token.secret.hash());
        }
    }

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

    pub(super) fn created(&mut self, token: Token, record: Record) {
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
        self.session = Session::Live(Live { token, record, secret: SecretInHand::Current });
    }

    pub(super) fn committed(&mut self, patch: &Patch, next: Option<Token>, revision: u64, rotated: bool) {
        let Session::Live(live) = &mut self.session else { return };
        self.handed_out = false;
        live.record.follow(patch, revision, rotated);
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
    fn rebase<'k>(&mut self, keys: impl Iterator<Item = &'k str>, newer: &Cells, now: Timestamp) -> Result<(), SessionError> {
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
                Some(cell) => live.record.cells.insert(cell.clone()),
                None => live.record.cells.remove(key),
            }
        }
        Ok(())
    }

    /// A fresh load meets the request's changes. `None`: the session is gone.
    ///
    /// A `strict` field that both changed is theirs from now on, and the error says so.
    pub(super) fn reloaded(&mut self, record: Option<Record>, config: &Config, now: Timestamp) -> Result<(), SessionError> {
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
                record.header.touch(&presented);
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

    // ---- The response ----

    /// The session of a response that is about to go out is settled: nothing can be added to it.
    pub(super) fn close(&mut self, result: Result<(), SessionError>) -> Answer {
        for pending in self.pending.drain(..).filter(|pending| !pending.planned) {
            events::lost(pending.def.schema(), &"they were checked in while the response was being sent");
        }
        let failure = self.failure.take().or(result.err()).filter(|error| {
            // A reader need not learn that its session ended under it; the next request will.
            !(matches!(error, SessionError::Gone) && [Method::GET, Method::HEAD].contains(&self.context.method))
        });
        if let Some(error) = &failure {
            events::failed(error);
        }
        Answer {
            failure: failure.map(|error| (error, self.context.clone())),
            cookie: self.cookie_effect(),
            owned: self.owned || self.live().is_some_and(|live| live.record.header.owner.is_some()),
        }
    }

    /// The one place that decides what a response does to the cookie.
    fn cookie_effect(&mut self) -> CookieEffect {
        let reply = std::mem::replace(&mut self.reply, Reply::Nothing);
        let effect = match (self.live(), reply) {
            (Some(live), Reply::Token) => CookieEffect::Set { value: live.token.encode(), until: live.cookie_until() },
            #[cfg(feature = "cookie")]
            (Some(live), Reply::Sealed(value)) => CookieEffect::Set { value, until: live.cookie_until() },
            _ if self.client == ClientCopy::Dead => CookieEffect::Clear,
            _ => CookieEffect::Leave,
        };
        self.client = match effect {
            CookieEffect::Set { .. } => ClientCopy::Current,
            CookieEffect::Clear => ClientCopy::None,
            CookieEffect::Leave => self.client,
        };
        effect
    }
}

impl Live {
    fn session_key(&self) -> SessionKey {
        let header = &self.record.header;
        let wrapped = match (self.secret, &header.previous) {
            (SecretInHand::Previous, Some(previous)) => &previous.wrapped_key,
            _ => &header.wrapped_key,
        };
        wrapped.unwrap_with(&self.token.selector, &self.token.secret)
    }

    fn cookie_until(&self) -> Option<Timestamp> {
        let header = &self.record.header;
        header.persistent.then_some(header.absolute_until)
    }
}

impl Pending {
    fn puts(&self, now: Timestamp) -> impl Iterator<Item = Put> {
        puts(self.def, self.write.value(), now)
    }
}

/// The cells that store a field: its value, or tombstones at every generation.
fn puts(def: &'static dyn AnyField, value: Option<&Payload>, now: Timestamp) -> impl Iterator<Item = Put> {
    def.keys().iter().map(move |key| Put::new(CellKey::from_static(key), def.body(value, now)))
}

fn is_expired(header: &Header, config: &Config, now: Timestamp) -> bool {
    let (idle_until, absolute_until) = header.deadlines(&config.lifetime(header.persistent));
    now >= idle_until.min(absolute_until)
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
    Err(SessionError::TooLarge { what: TooLarge::Record, limit: limits::RECORD, sizes: sizes(&after) })
}

/// The cells by size, largest first.
pub(crate) fn sizes(cells: &Cells) -> Vec<(String, usize)> {
    let mut sizes: Vec<_> = cells
        .iter()
        .map(|cell| (cell.key.to_string(), cell.body.content.payload().map_or(0, |payload| payload.len())))
        .collect();
    sizes.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    sizes
}

pub(super) fn full_name(def: &dyn AnyField) -> String {
    format!("{}.{}", def.schema(), def.name())
}

fn refused_value(def: &dyn AnyField, error: Undecodable) -> SessionError {
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

/// Dirty tracking cannot see a change through `Cell` and its kin. In debug builds it is looked for, so that the mistake is
/// noticed by whoever makes it.
#[cfg(debug_assertions)]
fn notice_interior_mutability(field: &dyn PlacedField, base: &Base) {
    let base = match base {
        Base::Stored(payload) => Some(payload),
        Base::Absent => None,
        Base::Unbound => return,
    };
    if let Ok(bytes) = field.encode()
        && !field.equals(&bytes, base)
    {
        events::unseen_change(field.def().schema(), field.def().name());
    }
}

impl Config {
    /// What a load presents for a secret.
    pub(super) fn present(&self, secret_hash: SecretHash, now: Timestamp) -> Presented {
        let mut presented = Presented::new(secret_hash, now, self.lifetime);
        presented.remember = self.lifetime(true);
        presented
    }
}
