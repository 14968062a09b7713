//! What a request knows about its session once a handler has asked for it, and the verbs that change it.

use super::{check_in::Pending, reply::Reply};
use crate::{
    config::{Config, PARALLEL_TABS},
    cookie::Arrival,
    error::{ErrorContext, SessionError},
    events::{self, Refused},
    key::{SessionKey, WrappedKey},
    random::RandomError,
    record::{Accepted, Header, Owner, Presented, Record, Selector, Timestamp},
    schema::Schema,
    store::{IdleTouch, StoreError},
    token::{SecretHash, Token},
    vault::Vault,
};
use http::Method;
use std::sync::Arc;

/// Everything that exists once a handler has asked for the session.
#[derive(Debug)]
pub(crate) struct Access {
    pub(super) method: Method,
    /// For the error hook, if there is one.
    pub(super) context: Option<ErrorContext>,
    /// When the session was loaded: the request's instant, until it changes something.
    pub(super) loaded_at: Timestamp,
    pub(super) session: Session,
    pub(super) client: ClientCopy,
    pub(super) reply: Reply,
    pub(super) pending: Vec<Pending>,
    /// Schemas that could not be read, and start from their defaults.
    pub(super) reset: Vec<&'static Schema>,
    pub(super) wishes: Wishes,
    /// A destroyed session whose record still has to go.
    pub(super) doomed: Option<Selector>,
    /// Raised by `destroy()`, so that handles of the destroyed session are told apart.
    pub(super) incarnation: u32,
    /// Raised whenever a new handle would begin from something else, by other means than a check-in.
    pub(super) view: u32,
    /// The incarnation that the commit under way was planned for.
    pub(super) planned_for: u32,
    /// The first failure of a check-in.
    pub(super) failure: Option<SessionError>,
    /// The response is for this visitor alone: somebody was signed in when the session was read, or a token was handed out in it.
    pub(super) personal: bool,
    /// Whom the fields name, where the header does not know it yet: an earlier version of the program did not call that field the owner.
    pub(super) unlisted: Option<Owner>,
    /// The token and the key that the next record begins with, where something was derived from them already.
    pub(super) seed: Option<Seed>,
    /// How a request without our cookie came here.
    pub(super) arrival: Arrival,
}

/// What a record begins with.
#[derive(Clone, Debug)]
pub(super) struct Seed {
    pub(super) token: Token,
    pub(super) key: SessionKey,
}

impl Seed {
    pub(super) fn generate() -> Result<Self, RandomError> {
        Ok(Self { token: Token::generate()?, key: SessionKey::generate()? })
    }
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
    /// It has ended, or belongs to another epoch: nothing of this request is written any more.
    Ended,
    /// The store did not say whether it wrote, so nothing more is written.
    Unsure(Option<Live>),
    Unavailable(Arc<SessionError>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StaleSince {
    JustNow,
    Earlier,
}

#[derive(Debug)]
pub(super) struct Live {
    pub(super) token: Token,
    /// What the store holds, as far as this request knows.
    pub(super) record: Arc<Record>,
    /// Which of the record's secrets the token holds.
    pub(super) secret: Accepted,
    /// What the client presented, where the token is one that this request has renewed.
    pub(super) held: Option<SecretHash>,
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

/// Changes that are not fields.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    pub(super) standing: Standing,
    pub(super) rotate: bool,
    /// Whoever is signed in has proved again who they are.
    pub(super) reauthenticated: bool,
    /// The record shall be there, whatever is in it.
    pub(super) exist: bool,
    pub(super) persistent: Option<bool>,
    pub(super) label: Option<Option<Arc<str>>>,
}

impl Wishes {
    fn is_empty(&self) -> bool {
        !self.rotate && !self.reauthenticated && !self.exist && self.persistent.is_none() && self.label.is_none()
    }
}

/// How far a checked-in change has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Standing {
    /// The next commit takes it.
    #[default]
    New,
    /// A commit is taking it.
    UnderWay,
    /// A commit failed to, and the handler knows.
    HandedOut,
}

/// What a load found.
pub(super) enum Found {
    Nothing,
    Refused(Refused, Option<Selector>),
    Record { token: Token, presented: Presented, record: Arc<Record> },
    Unavailable(Arc<SessionError>),
}

impl Access {
    pub(super) fn new(method: Method, context: Option<ErrorContext>, found: Found, config: &Config, now: Timestamp) -> Self {
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
        let personal = matches!(&session, Session::Live(live) if live.record.header.owner.is_some());
        Self {
            method,
            context,
            loaded_at: now,
            session,
            client,
            reply: Reply::Nothing,
            pending: Vec::new(),
            reset: Vec::new(),
            wishes: Wishes::default(),
            doomed: None,
            incarnation: 0,
            view: 0,
            planned_for: 0,
            failure: None,
            personal,
            unlisted: None,
            seed: None,
            arrival: Arrival::default(),
        }
    }

    /// The one place that decides whether a record opens: the secret in constant time, then both deadlines.
    fn judge(token: Token, presented: &Presented, mut record: Arc<Record>, config: &Config) -> (Session, ClientCopy) {
        let (header, now) = (&record.header, presented.now);
        let Some(accepted) = header.accepts(&presented.secret_hash, now, presented.grace) else {
            if config.is_reused(&record, presented) {
                events::secret_reused(&token.selector);
            } else {
                events::refused(Refused::Stale, Some(&token.selector));
            }
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
            Arc::make_mut(&mut record).header.touch(presented);
        }
        events::loaded(&token.selector);
        (Session::Live(Live { token, record, secret: accepted, held: None }), ClientCopy::Current)
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
            Session::Live(live) | Session::Unsure(Some(live)) => Some(live),
            _ => None,
        }
    }

    /// Why nothing of this request is written any more, if so.
    pub(super) fn lost(&self) -> Option<SessionError> {
        match &self.session {
            Session::Ended => Some(SessionError::Gone),
            Session::Unsure(_) => Some(SessionError::OutcomeUnknown(StoreError::outcome_unknown(
                "an earlier write of this request may or may not have been stored",
            ))),
            Session::Fresh | Session::Live(_) | Session::Stale(_) | Session::Unavailable(_) => None,
        }
    }

    pub(super) fn fail(&mut self, error: SessionError) {
        self.failure.get_or_insert(error);
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failure.is_some()
    }

    /// Forgets every change of a field that is not being stored already, and that one failed to get in.
    pub(super) fn discard_changes(&mut self) {
        self.view += 1;
        self.pending.retain(|pending| pending.standing == Standing::UnderWay);
        self.failure = None;
        self.forget_proof();
    }

    /// A proof was for whoever the changes beside it name. Without them it would be somebody else's.
    pub(super) fn forget_proof(&mut self) {
        self.wishes.reauthenticated = false;
    }

    /// Forgets everything that is not being stored already, but a destroy.
    pub(super) fn start_over(&mut self) {
        self.discard_changes();
        self.wishes = Wishes::default();
    }

    pub(super) fn has_changes(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Whether anything waits for a commit.
    pub(super) fn has_unsaved(&self) -> bool {
        self.has_changes() || self.has_failed() || self.doomed.is_some() || !self.wishes.is_empty()
    }

    /// The handler learned of a failure, so the response is its own: the changes behind it wait for another `save()`, and go no
    /// other way.
    pub(super) fn hand_out(&mut self) {
        self.pending.iter_mut().for_each(|pending| pending.standing = Standing::HandedOut);
        self.wishes.standing = Standing::HandedOut;
    }

    /// What a failed `save()` has left is not stored behind the handler's back.
    pub(super) fn drop_handed_out(&mut self) {
        self.view += 1;
        let why = "a `save()` failed, and the handler answered without another one";
        for pending in self.pending.extract_if(.., |pending| pending.standing == Standing::HandedOut) {
            events::lost(pending.def.schema(), &why);
        }
        if self.wishes.standing == Standing::HandedOut && !self.wishes.is_empty() {
            self.wishes = Wishes::default();
            events::lost(WISHES, &why);
        }
    }

    /// Forgets everything unsaved, loudly.
    pub(super) fn lose_changes(&mut self, why: &dyn std::fmt::Display) {
        self.view += 1;
        for pending in self.pending.drain(..) {
            events::lost(pending.def.schema(), why);
        }
        if !std::mem::take(&mut self.wishes).is_empty() {
            events::lost(WISHES, why);
        }
    }

    /// ... and what failed to get in, and a destroy that nobody has carried out.
    pub(super) fn lose_everything(&mut self, why: &dyn std::fmt::Display) {
        self.lose_changes(why);
        if let Some(error) = self.failure.take() {
            events::failed(&error);
        }
        if self.doomed.take().is_some() {
            events::lost(WISHES, why);
        }
    }

    pub(super) fn rotate(&mut self) {
        // A session that does not exist yet gets a new token anyway.
        self.wish(|wishes| wishes.rotate = true);
    }

    pub(super) fn reauthenticated(&mut self) {
        self.wish(|wishes| wishes.reauthenticated = true);
    }

    pub(super) fn set_persistent(&mut self, persistent: bool) {
        self.wish(|wishes| wishes.persistent = Some(persistent));
    }

    pub(super) fn set_label(&mut self, label: Option<Arc<str>>) {
        self.wish(|wishes| wishes.label = Some(label));
    }

    pub(super) fn wish(&mut self, wish: impl FnOnce(&mut Wishes)) {
        self.wishes.standing = Standing::New;
        wish(&mut self.wishes);
    }

    pub(super) fn destroy(&mut self) {
        self.lose_changes(&"the session was destroyed in the same request");
        self.failure = None;
        self.begin_again();
        self.leave();
    }

    /// What the browser's cookie opens is not to be opened any more.
    pub(super) fn forsake_cookie(&mut self) {
        if self.client == ClientCopy::Current {
            self.client = ClientCopy::Dead;
        }
    }

    /// The session is over for this request, and its record has to go.
    pub(super) fn leave(&mut self) {
        self.reply = Reply::Nothing;
        self.seed = None;
        match std::mem::replace(&mut self.session, Session::Fresh) {
            Session::Fresh | Session::Unsure(None) => {}
            Session::Live(live) | Session::Unsure(Some(live)) => {
                self.doomed = Some(live.token.selector);
                self.forsake_cookie();
            }
            Session::Stale(since) => {
                // Not this client's to end any more: somebody else's newer token keeps the session.
                events::late_write(None);
                self.session = Session::Stale(since);
            }
            other @ (Session::Ended | Session::Unavailable(_)) => self.session = other,
        }
    }
}

/// What stands for changes that are not fields where an event names a schema.
const WISHES: &str = "(the session itself)";

impl Live {
    /// The secret to speak for the client with: a renewal of this request's own is not presented before the client does.
    pub(super) fn presented(&self) -> SecretHash {
        self.held.filter(|_| self.record.header.is_awaited()).unwrap_or_else(|| self.token.secret.hash())
    }

    pub(super) fn session_key(&self) -> SessionKey {
        self.wrapped_key().unwrap_with(&self.token.selector, &self.token.secret)
    }

    /// What opens this session's `secret` cells.
    pub(super) fn vault(&self) -> Vault<'_> {
        Vault::new(&self.token, self.wrapped_key())
    }

    fn wrapped_key(&self) -> &WrappedKey {
        let header = &self.record.header;
        match (self.secret, &header.previous) {
            (Accepted::Previous, Some(previous)) => &previous.wrapped_key,
            _ => &header.wrapped_key,
        }
    }

    pub(super) fn cookie_until(&self) -> Option<Timestamp> {
        let header = &self.record.header;
        header.persistent.then_some(header.absolute_until)
    }
}

/// When a session ends if nobody uses it again, as it is configured now.
pub(super) fn ends(header: &Header, config: &Config) -> Timestamp {
    let (idle_until, absolute_until) = header.deadlines(&config.lifetime(header.persistent));
    idle_until.min(absolute_until)
}

pub(super) fn is_expired(header: &Header, config: &Config, now: Timestamp) -> bool {
    now >= ends(header, config)
}
