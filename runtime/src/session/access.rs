//! What a request knows about its session once a handler has asked for it, and the verbs that change it.

use super::{
    candidates::Shown,
    changes::{Changes, Discard, Dropped, Fate, HandleId},
    commands::{Commands, GivenCommands},
    reply::Reply,
};
use crate::{
    config::{Config, PARALLEL_TABS},
    cookie::Arrival,
    error::{ErrorContext, SessionError},
    events::{self, Refused},
    key::{SessionKey, WrappedKey},
    random::{self, RandomError},
    record::{Accepted, Owner, Presented, Record, Selector, Timestamp},
    schema::Schema,
    store::{IdleTouch, StoreError},
    token::{SecretHash, Token},
    vault::Vault,
};
use http::Method;
use std::sync::Arc;
use zeroize::Zeroizing;

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
    pub(super) former: Former,
    pub(super) changes: Changes,
    /// Schemas that could not be read, and start from their defaults.
    pub(super) reset: Vec<&'static Schema>,
    pub(super) commands: GivenCommands,
    /// A destroyed session whose record still has to go.
    pub(super) doomed: Option<Selector>,
    /// Raised by `destroy()`, so that handles of the destroyed session are told apart.
    pub(super) incarnation: u32,
    /// The incarnation that the commit under way was planned for.
    pub(super) planned_for: u32,
    /// The first failure of a check-in.
    pub(super) failure: Option<SessionError>,
    /// The response is for this visitor alone: somebody was signed in when the session was read, or a token was handed out in it.
    pub(super) personal: bool,
    pub(super) unlisted_owners: UnlistedOwners,
    /// Whom the fields name, where the header does not know it yet: an earlier version of the program did not call that field the owner.
    pub(super) unlisted: Option<Owner>,
    /// The token and the key that the next record begins with, where something was derived from them already.
    pub(super) seed: Option<Seed>,
    /// How a request without our cookie came here.
    pub(super) arrival: Arrival,
    /// How many sessions had begun under the layer when this one was loaded.
    pub(super) sessions_begun: u64,
    pub(super) csrf: Csrf,
}

/// Whether the response may hold a CSRF token of the session that was loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Csrf {
    NotAsked,
    HandedOut,
}

/// What a record begins with.
#[derive(Clone, Debug)]
pub(super) struct Seed {
    pub(super) token: Token,
    pub(super) key: SessionKey,
}

impl Seed {
    pub(super) fn generate() -> Result<Self, RandomError> {
        // Drawn at once: the system call costs more than the bytes.
        let bytes = Zeroizing::new(random::bytes::<64>()?);
        let (mut token, mut key) = (Zeroizing::new([0; 32]), Zeroizing::new([0; 32]));
        token.copy_from_slice(&bytes[..32]);
        key.copy_from_slice(&bytes[32..]);
        Ok(Self { token: Token::of(&token), key: SessionKey::from_bytes(*key) })
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
    Stale(Stale),
    /// It has ended, or belongs to another epoch: nothing of this request is written any more.
    Ended,
    /// The store did not say whether it wrote, so nothing more is written.
    Unsure(Option<Live>),
    Unavailable(Arc<SessionError>),
}

/// A presented token whose selector is of a live session, and whose secret is not.
#[derive(Debug)]
pub(super) struct Stale {
    pub(super) since: StaleSince,
    token: Token,
}

impl Stale {
    /// What a form is signed with that this client asks for: only it knows the token, and nothing else is derived from it.
    ///
    /// It is the pad that a session key is wrapped with. No key is wrapped with this one any more.
    pub(super) fn form_key(&self) -> (SessionKey, &Selector) {
        let Token { selector, secret } = &self.token;
        (WrappedKey::from_bytes([0; 32]).unwrap_with(selector, secret), selector)
    }
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
    /// Under which hash the record knows the token.
    pub(super) hash: SecretHash,
    /// Where the use of the session is noted: by the load, unless that did not know the hash.
    pub(super) touch: IdleTouch,
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
    /// It opened nothing when the request came, and is cleared.
    Dead,
    /// This request ended what it opened, so it is cleared.
    Ended,
    /// It lost a race or is ambiguous: clearing it could erase a newer one.
    Untouchable,
}

/// Whether the client may hold cookies of an earlier policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Former {
    /// It sent none of ours.
    Unlikely,
    /// The one it sent may be of an earlier policy: where ours changes, that one goes.
    Likely,
    /// It sent the live session's cookie beside another one, or under a former name. Ours is set anew, since the live one may be of
    /// those that go.
    Moves,
    /// It sent several, and none is used: whatever becomes of ours, those of earlier policies go.
    Certain,
}

/// What counts where a field names an owner and the header names none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UnlistedOwners {
    /// The field: an earlier version of the program did not call it the owner.
    Believed,
    /// The header: the hash of the secret vouches for what that says, and for no field.
    Refused,
}

/// What a load found.
pub(super) enum Found {
    Nothing,
    Refused(Refused, Option<Selector>),
    /// The hash in `presented` is the one under which the record knows the token, and `touch` says whether the load has noted the use.
    Record {
        token: Token,
        presented: Presented,
        record: Arc<Record>,
        touch: IdleTouch,
    },
    Unavailable(Arc<SessionError>),
}

impl Access {
    pub(super) fn new(
        method: Method,
        context: Option<ErrorContext>,
        (found, shown): (Found, Shown),
        config: &Config,
        now: Timestamp,
    ) -> Self {
        let ambiguous = matches!(&found, Found::Refused(Refused::Ambiguous, _));
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
            Found::Record { token, presented, record, touch } => Self::judge(token, &presented, record, touch, config),
        };
        let former = match (&session, shown) {
            (_, Shown::Nothing) => Former::Unlikely,
            (Session::Live(_), Shown::Twins | Shown::Former) if config.cookie.has_former() => Former::Moves,
            (_, Shown::Twins) if ambiguous => Former::Certain,
            _ => Former::Likely,
        };
        let personal = matches!(&session, Session::Live(live) if live.record.header.owner.is_some());
        Self {
            method,
            context,
            loaded_at: now,
            session,
            client,
            reply: Reply::Nothing,
            former,
            changes: Changes::default(),
            reset: Vec::new(),
            commands: GivenCommands::default(),
            doomed: None,
            incarnation: 0,
            planned_for: 0,
            failure: None,
            personal,
            unlisted_owners: if config.hasher.is_keyed() { UnlistedOwners::Refused } else { UnlistedOwners::Believed },
            unlisted: None,
            seed: None,
            arrival: Arrival::default(),
            sessions_begun: config.sessions_begun(),
            csrf: Csrf::NotAsked,
        }
    }

    fn judge(
        token: Token,
        presented: &Presented,
        mut record: Arc<Record>,
        touch: IdleTouch,
        config: &Config,
    ) -> (Session, ClientCopy) {
        let accepted = match config.verdict(&record, presented) {
            Ok(accepted) => accepted,
            Err(Refused::Stale) => {
                if config.is_reused(&record, presented) {
                    events::secret_reused(&token.selector);
                } else {
                    events::refused(Refused::Stale, Some(&token.selector));
                }
                let since = match &record.header.previous {
                    Some(previous) if presented.now < previous.since.plus(PARALLEL_TABS) => StaleSince::JustNow,
                    _ => StaleSince::Earlier,
                };
                return (Session::Stale(Stale { since, token }), ClientCopy::Untouchable);
            }
            Err(why) => {
                events::refused(why, Some(&token.selector));
                return (Session::Fresh, ClientCopy::Dead);
            }
        };
        if touch == IdleTouch::AtLoad {
            // The store has done this on its way; the copy follows.
            Arc::make_mut(&mut record).header.touch(presented);
        }
        events::loaded(&token.selector);
        let hash = presented.secret_hash;
        (Session::Live(Live { token, record, secret: accepted, hash, touch, held: None }), ClientCopy::Current)
    }

    /// Whether there is a session, or will be.
    pub(super) fn has_begun(&self) -> bool {
        matches!(self.session, Session::Live(_)) || self.has_changes()
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

    /// Why changes that a handler brings now cannot be stored, if so. Signing in goes on with a session of its own.
    pub(super) fn refuse_if_lost(&mut self, now: Timestamp) -> Result<(), SessionError> {
        let signs_in = || {
            matches!(self.session, Session::Ended)
                && matches!(self.passage(None, now), Ok(passage) if passage.newcomer().is_some())
        };
        self.lost().filter(|_| !signs_in()).map_or(Ok(()), Err)
    }

    pub(super) fn fail(&mut self, error: SessionError) {
        self.failure.get_or_insert(error);
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failure.is_some()
    }

    /// Forgets the changes that the response's commit was to take, those after a mark, and that one failed to get in.
    pub(super) fn discard_changes(&mut self, which: Discard, after: u32, why: &'static str) {
        for schema in self.changes.discard(which, after).schemas {
            events::discarded(why, schema);
        }
        self.failure = None;
        self.forget_proof();
    }

    /// A proof was for the owner that the changes beside it name. Without them it would be another owner's.
    pub(super) fn forget_proof(&mut self) {
        self.commands.forget_proof();
    }

    /// Forgets everything that no save answers for, but a destroy.
    pub(super) fn start_over(&mut self, which: Discard, why: &'static str) {
        self.discard_changes(which, 0, why);
        self.commands.discard(which);
    }

    pub(super) fn has_changes(&self) -> bool {
        // While it is not known what they come to, they count.
        !self.changes.folded().is_empty() || self.changes.are_outdated()
    }

    /// Whether anything waits for a commit.
    pub(super) fn has_unsaved(&self) -> bool {
        self.has_changes() || self.has_failed() || self.doomed.is_some() || !self.commands.is_empty()
    }

    /// A save answers for its own changes, and for the commands of its handle.
    pub(super) fn begin_save(&mut self, handle: HandleId) {
        self.changes.begin_save(handle);
        self.commands.begin_save(handle);
    }

    /// Ends a save that a commit brought to this result: says what became of what the save answers for.
    pub(super) fn end_save(&mut self, handle: HandleId, result: Result<(), SessionError>) -> Result<(), SessionError> {
        let result = match self.changes.end_save(handle) {
            Fate::Stored => result,
            Fate::Withdrawn => result.and(Err(self.lost().unwrap_or(SessionError::Gone))),
            Fate::Dropped(why) => result.and(Err(why.error())),
        };
        if result.is_err() {
            self.changes.hold(handle);
        }
        self.commands.end_save(handle, result.is_err());
        result
    }

    /// A save was given up. What it answered for is unsaved again, stored, or in doubt.
    pub(super) fn give_up_save(&mut self, handle: HandleId) -> Fate {
        self.commands.end_save(handle, false);
        self.changes.end_save(handle)
    }

    /// A handle is dropped: what a failed save of it has left is lost.
    pub(super) fn release(&mut self, handle: HandleId) {
        let why = "a `save()` failed, and the handler answered without another one";
        for schema in self.changes.release(handle).schemas {
            events::lost(schema, &why);
        }
        if self.commands.release(handle) {
            events::lost(COMMANDS, &why);
        }
    }

    /// Drops the commands. A save that answers for them hears why. Answers whether there were others.
    pub(super) fn drop_commands(&mut self, why: &Dropped) -> bool {
        let (saves, others) = self.commands.drop_all();
        for handle in saves {
            self.changes.note(handle, why.clone());
        }
        others
    }

    /// Drops everything that no commit has stored. The response answers for what no save answers for.
    pub(super) fn drop_unsaved(&mut self, why: &Dropped) {
        let unanswered = self.changes.drop_all(why.clone()).unanswered;
        if self.drop_commands(why) || unanswered {
            self.fail(why.clone().error());
        }
    }

    /// Forgets everything unsaved, loudly.
    pub(super) fn lose_changes(&mut self, dropped: Dropped, why: &dyn std::fmt::Display) {
        for schema in self.changes.drop_all(dropped.clone()).schemas {
            events::lost(schema, why);
        }
        let given = !self.commands.is_empty();
        self.drop_commands(&dropped);
        if given {
            events::lost(COMMANDS, why);
        }
    }

    /// ... and what failed to get in, and a destroy that was not carried out.
    pub(super) fn lose_everything(&mut self, why: &dyn std::fmt::Display) {
        self.lose_changes(Dropped::Gone, why);
        if let Some(error) = self.failure.take() {
            events::failed(&error);
        }
        if self.doomed.take().is_some() {
            events::lost(COMMANDS, why);
        }
    }

    /// A handle gives a command.
    pub(super) fn command(&mut self, by: HandleId, give: impl FnOnce(&mut Commands)) {
        self.commands.give(by, give);
    }

    pub(super) fn destroy(&mut self) {
        self.lose_changes(Dropped::Gone, &"the session was destroyed in the same request");
        self.failure = None;
        self.begin_again();
        self.leave();
    }

    /// What the browser's cookie opens is not to be opened any more.
    pub(super) fn forsake_cookie(&mut self) {
        if self.client == ClientCopy::Current {
            self.client = ClientCopy::Ended;
        }
    }

    /// The session is over for this request, and its record has to go.
    pub(super) fn leave(&mut self) {
        self.reply = Reply::Nothing;
        self.seed = None;
        self.changes.rebase(|_| false);
        match std::mem::replace(&mut self.session, Session::Fresh) {
            Session::Fresh | Session::Unsure(None) => {}
            Session::Live(live) | Session::Unsure(Some(live)) => {
                self.doomed = Some(live.token.selector);
                self.forsake_cookie();
            }
            Session::Stale(stale) => {
                // Not this client's to end any more: somebody else's newer token keeps the session.
                events::late_write(None);
                self.session = Session::Stale(stale);
            }
            other @ (Session::Ended | Session::Unavailable(_)) => self.session = other,
        }
    }
}

/// What stands for changes that are not fields where an event names a schema.
const COMMANDS: &str = "(the session itself)";

impl Live {
    /// The secret to speak for the client with: a renewal of this request's own is not presented before the client does.
    pub(super) fn presented(&self) -> SecretHash {
        self.held.filter(|_| self.record.header.is_awaited()).unwrap_or(self.hash)
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
