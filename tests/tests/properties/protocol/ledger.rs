//! What the handlers were promised, and whether the store keeps it: the oracle.
//!
//! Every change that a handle makes is followed from the assignment to its end. The rules are those of the specification; each has a
//! name, which a failure begins with.

use super::gates::{Applied, AskId, FOREIGN, GatedStore, Outcome, Question, Stored, TaskId, number};
use cloakroom::{
    SessionError,
    record::{Rotation, Selector},
};
use std::{collections::BTreeMap, fmt};

/// What a change is a change of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    User,
    A,
    B,
    Sum,
    Only,
    C,
    Label,
    Token,
}

impl Name {
    fn key(self) -> Option<&'static str> {
        match self {
            Self::User => Some("data/user"),
            Self::A => Some("data/a"),
            Self::B => Some("data/b"),
            Self::Sum => Some("data/sum"),
            Self::Only => Some("data/only"),
            Self::C => Some("other/c"),
            Self::Label | Self::Token => None,
        }
    }
}

/// How far a change has come, as its handler knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Its handle holds it.
    Open,
    /// A `save()` of its handle is under way.
    Saving,
    /// A `save()` of its handle has answered `Ok`.
    Acknowledged { at: u32 },
    /// ... or that it is certainly not stored. Some errors leave it to the next `save()`.
    Refused { at: u32, next: Next },
    /// ... or that this is not known.
    Unknown { at: u32 },
    /// The `save()` was dropped half-way. Since then it is discarded, if it is.
    Cancelled { discarded: Option<u32> },
    /// Its handle was dropped: by its handler, or with a future that was cancelled, when nothing is promised.
    CheckedIn { by: Dropped },
    /// It must not be stored any more.
    Discarded { at: u32, why: &'static str },
    /// Another one of the same handle took its place, or the handler went on after an error.
    Superseded,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    SaveAgain,
    Nothing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dropped {
    ByHandler,
    ByCancellation,
}

#[derive(Debug)]
struct Change {
    handle: TaskId,
    name: Name,
    value: u64,
    made: u32,
    /// When it left its handle, last; [`IN_HANDLE`] until then.
    handed_in: u32,
    state: State,
    /// The futures whose `save()` was storing it, beside its own, when the request's end discarded it.
    carriers: Vec<TaskId>,
    /// The operations that brought it into the store.
    brought: Vec<AskId>,
}

/// The request does not know of the change yet.
const IN_HANDLE: u32 = 0;

/// What discards the changes of fields, and nothing else.
const FAILED: &str = "a status of 5xx";

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name {
            Name::Sum => write!(f, "`sum += {}` of h{}", self.value, self.handle),
            Name::Label => write!(f, "the label of h{}", self.handle),
            Name::Token => write!(f, "the rotation of h{}", self.handle),
            name => write!(f, "`{name:?} = {}` of h{}", self.value, self.handle),
        }
    }
}

/// How the handler ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum End {
    Status(u16),
    /// A panic that a layer inside turns into an answer with status 200.
    Panic,
}

/// A rule that a run has broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Violation {
    pub(super) rule: &'static str,
    pub(super) text: String,
}

/// What a response did to our cookie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cookie {
    Left,
    Set(String),
    Cleared,
}

#[derive(Debug)]
pub(super) struct Ledger {
    store: GatedStore,
    changes: Vec<Change>,
    keys: Vec<Selector>,
    /// The record that the client's cookie opens at first, and the secret's hash.
    first: Option<(Selector, [u8; 32])>,
    stored: Vec<Stored>,
    /// When handlers called `destroy()`, and of which handle.
    destroys: Vec<(u32, TaskId)>,
    /// When what another owner must not see was dropped from the store.
    wipes: Vec<u32>,
    /// What other requests did, and when.
    foreign: Vec<(u32, Outcome)>,
    /// When an operation of this request last brought a token.
    token_brought: u32,
    /// An operation that may have brought one was left without an answer.
    pub(super) token_uncertain: bool,
    /// The last `save()` of each handle that is under way: when it began.
    saving: Vec<(TaskId, u32)>,
    /// Handles that are alive.
    pub(super) alive: Vec<TaskId>,
    faults: usize,
    ended: Option<(u32, End)>,
    /// Whether the handles alive at the handler's end are a reason for an error.
    held_at_end: bool,
    responded: Option<u32>,
    client_left: bool,
    violation: Option<Violation>,
    /// What each future was answered, in words.
    answers: BTreeMap<TaskId, Vec<String>>,
    /// What happened, in words, if they are wanted.
    notes: Option<Vec<String>>,
}

impl Ledger {
    pub(super) fn new(store: GatedStore, first: Option<Selector>) -> Self {
        let keys: Vec<Selector> = first.into_iter().collect();
        let stored = store.look(&keys);
        let first = stored.first().map(|record| (record.selector, record.secret));
        Self {
            store,
            changes: Vec::new(),
            keys,
            first,
            stored,
            destroys: Vec::new(),
            wipes: Vec::new(),
            foreign: Vec::new(),
            token_brought: 0,
            token_uncertain: false,
            saving: Vec::new(),
            alive: Vec::new(),
            faults: 0,
            ended: None,
            held_at_end: false,
            responded: None,
            client_left: false,
            violation: None,
            answers: BTreeMap::new(),
            notes: None,
        }
    }

    pub(super) fn read_along(&mut self) {
        self.notes = Some(Vec::new());
    }

    pub(super) fn take_notes(&mut self) -> Vec<String> {
        self.notes.as_mut().map(std::mem::take).unwrap_or_default()
    }

    fn note(&mut self, text: impl FnOnce() -> String) {
        if let Some(notes) = &mut self.notes {
            notes.push(text());
        }
    }

    /// What every future was answered, and what is stored.
    pub(super) fn end(&self) -> String {
        let cells = self.stored.iter().map(|record| &record.cells).collect::<Vec<_>>();
        format!("{:?}, {cells:?}", self.answers)
    }

    pub(super) fn has_responded(&self) -> bool {
        self.responded.is_some()
    }

    fn tick(&self) -> u32 {
        self.store.desk().tick()
    }

    pub(super) fn fail(&mut self, rule: &'static str, text: String) {
        self.violation.get_or_insert(Violation { rule, text });
    }

    pub(super) fn violation(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended.is_some()
    }

    pub(super) fn stored(&self) -> &[Stored] {
        &self.stored
    }

    fn of(&mut self, handle: TaskId) -> impl Iterator<Item = &mut Change> {
        self.changes.iter_mut().filter(move |change| change.handle == handle)
    }

    // What handlers do.

    pub(super) fn made(&mut self, handle: TaskId, name: Name, value: u64) {
        let now = self.tick();
        for earlier in self.of(handle) {
            match earlier.state {
                State::Open if earlier.name == name && name != Name::Sum => earlier.state = State::Superseded,
                // The handler went on.
                State::Refused { .. } => earlier.state = State::Superseded,
                _ => {}
            }
        }
        // What is not a field is the request's at once.
        let handed_in = if name.key().is_some() { IN_HANDLE } else { now };
        let change =
            Change { handle, name, value, made: now, handed_in, state: State::Open, carriers: Vec::new(), brought: Vec::new() };
        self.note(|| format!("made: {change}"));
        self.changes.push(change);
    }

    pub(super) fn save_began(&mut self, handle: TaskId) {
        let now = self.tick();
        self.note(|| format!("`save()` of h{handle} begins"));
        self.saving.push((handle, now));
        for change in self.of(handle) {
            match change.state {
                State::Open | State::Refused { next: Next::SaveAgain, .. } | State::Cancelled { .. } => {
                    change.state = State::Saving;
                    change.handed_in = now;
                }
                State::Refused { next: Next::Nothing, .. } => change.state = State::Superseded,
                _ => {}
            }
        }
    }

    pub(super) fn save_answered(&mut self, handle: TaskId, answer: &Result<(), SessionError>) {
        let now = self.tick();
        let began = self.saving.iter().find(|(who, _)| *who == handle).map_or(0, |(_, began)| *began);
        self.saving.retain(|(who, _)| *who != handle);
        self.note(|| format!("`save()` of h{handle} answers {answer:?}"));
        self.answers.entry(handle).or_default().push(format!("{answer:?}"));
        let next = match answer {
            Ok(()) => State::Acknowledged { at: now },
            Err(SessionError::OutcomeUnknown(_)) => State::Unknown { at: now },
            Err(SessionError::Unavailable(_) | SessionError::Contended) => State::Refused { at: now, next: Next::SaveAgain },
            Err(_) => State::Refused { at: now, next: Next::Nothing },
        };
        match answer {
            Ok(()) => {
                let lost = self
                    .changes
                    .iter()
                    .find(|change| change.handle == handle && change.state == State::Saving && !self.is_accounted_for(change));
                if let Some(lost) = lost {
                    let text = format!("`save()` of h{handle} answers Ok, and {lost} is not stored");
                    self.fail("1 an Ok is true", text);
                }
                // Its own destroy: it has been carried out.
                if self.destroys.iter().any(|(at, who)| *who == handle && *at < began) {
                    self.check_destroyed(&format!("`save()` of h{handle} after `destroy()` answers Ok"));
                }
            }
            Err(error) => self.check_cause(handle, error),
        }
        for change in self.of(handle).filter(|change| change.state == State::Saving) {
            change.state = next;
        }
    }

    /// An error is as true as an Ok: something that can cause it has happened.
    fn check_cause(&mut self, handle: TaskId, error: &SessionError) {
        let caused = match error {
            SessionError::Unavailable(_) | SessionError::OutcomeUnknown(_) | SessionError::Contended => self.faults > 0,
            SessionError::Gone => self.has_lost_the_session(),
            SessionError::HeadSent => self.ended.is_some() || self.client_left,
            // Two handles met in one field, or another request's change did.
            _ => {
                let mine = |change: &&Change| change.handle == handle && change.state == State::Saving;
                let met = |name: Name| self.changes.iter().any(|other| other.handle != handle && other.name == name);
                self.changes.iter().filter(mine).any(|change| met(change.name) || change.name == Name::Only)
            }
        };
        if !caused {
            self.fail("9 an error has a cause", format!("`save()` of h{handle} answers {error:?}, and nothing was wrong"));
        }
    }

    fn has_lost_the_session(&self) -> bool {
        let passages = |change: &Change| matches!(change.name, Name::User | Name::Token);
        !self.destroys.is_empty() || !self.foreign.is_empty() || self.changes.iter().any(passages)
    }

    pub(super) fn reload_began(&mut self, handle: TaskId) {
        let now = self.tick();
        for change in self.of(handle) {
            match change.state {
                State::Open => change.handed_in = now,
                State::Refused { .. } => change.state = State::Superseded,
                _ => {}
            }
        }
    }

    /// A handle that has reloaded shows what the store held while it did, or what this request has changed; and nothing older than what
    /// this request knows to be stored.
    pub(super) fn reloaded(&mut self, handle: TaskId, before: &[Stored], shown: &Result<Vec<(Name, u64)>, SessionError>) {
        self.note(|| format!("`reload()` of h{handle} answers {shown:?}"));
        self.answers.entry(handle).or_default().push(format!("{shown:?}"));
        let Ok(shown) = shown else { return };
        for (name, value) in shown {
            let Some(key) = name.key() else { continue };
            let held = |record: &Stored| record.number(key) == *value;
            let changed = self.changes.iter().any(|change| change.name == *name && change.value == *value);
            // Where its session has ended, it begins from none.
            let nothing = *value == 0 && (self.stored.is_empty() || self.has_lost_the_session());
            if !(before.iter().any(held) || self.stored.iter().any(held) || changed || nothing || *name == Name::Sum) {
                self.fail("8 a reload is true", format!("h{handle} has reloaded and shows {name:?} = {value}"));
            }
            let mut of_it = self.changes.iter().filter(|change| change.name == *name);
            let (Some(only), None) = (of_it.next(), of_it.next()) else { continue };
            let is_known = match only.state {
                State::Acknowledged { .. } => true,
                State::CheckedIn { .. } => self.responded.is_some(),
                _ => false,
            };
            if is_known && self.is_stored(only) && only.value != *value && self.destroys.is_empty() {
                let text = format!("h{handle} has reloaded and shows {name:?} = {value}, and {only} is known to be stored");
                self.fail("8 a reload is true", text);
            }
        }
    }

    pub(super) fn destroyed(&mut self, handle: TaskId) {
        let now = self.tick();
        self.note(|| format!("`destroy()` of h{handle}"));
        self.destroys.push((now, handle));
        for change in &mut self.changes {
            let own = change.handle == handle && change.state == State::Open;
            match change.state {
                State::CheckedIn { .. } => change.state = State::Discarded { at: now, why: "destroy()" },
                State::Cancelled { discarded } => change.state = State::Cancelled { discarded: discarded.or(Some(now)) },
                _ if own => change.state = State::Discarded { at: now, why: "destroy()" },
                _ => {}
            }
        }
    }

    pub(super) fn dropped(&mut self, handle: TaskId, how: Dropped) {
        let now = self.tick();
        self.alive.retain(|alive| *alive != handle);
        self.note(|| format!("h{handle} is dropped"));
        for change in self.of(handle).filter(|change| change.state == State::Open) {
            change.state = State::CheckedIn { by: how };
            change.handed_in = now;
        }
    }

    /// A future that worked with a handle is dropped. The operation it was in the middle of may still be applied.
    pub(super) fn cancelled(&mut self, handle: TaskId, asked: Option<AskId>) {
        self.tick();
        self.faults += 1;
        if let Some(asked) = asked {
            let desk = self.store.desk();
            self.token_uncertain |= desk.asks()[asked].question.brings_token();
        }
        self.saving.retain(|(who, _)| *who != handle);
        for change in self.of(handle).filter(|change| change.state == State::Saving) {
            change.state = State::Cancelled { discarded: None };
        }
    }

    /// The handler has ended, its own handle dropped.
    pub(super) fn ended(&mut self, end: End) {
        let now = self.tick();
        let saw_it = self.alive.contains(&0);
        self.alive.retain(|alive| *alive != 0);
        self.ended = Some((now, end));
        let is_held = |change: &Change| {
            let unsaved = matches!(change.state, State::Open | State::Saving | State::Refused { .. } | State::Cancelled { .. });
            unsaved && self.alive.contains(&change.handle)
        };
        self.held_at_end = !self.saving.is_empty() || self.changes.iter().any(is_held);
        match end {
            End::Status(status) if status < 500 => {}
            End::Status(_) => self.discard(FAILED, now),
            // A panic that drops no handle is none of the session's: it sees a handler that answers.
            End::Panic if saw_it => self.discard("a panic", now),
            End::Panic => {}
        }
    }

    /// What no `save()` has taken is gone; of a 5xx, the fields alone.
    fn discard(&mut self, why: &'static str, now: u32) {
        let is_gated = |change: &Change| why != FAILED || change.name.key().is_some();
        let desk = self.store.desk();
        for change in self.changes.iter_mut().filter(|change| is_gated(change)) {
            match change.state {
                State::CheckedIn { .. } => change.state = State::Discarded { at: now, why },
                State::Cancelled { discarded } => change.state = State::Cancelled { discarded: discarded.or(Some(now)) },
                State::Open if change.handle == 0 => change.state = State::Discarded { at: now, why },
                _ => continue,
            }
            let carries = |task: TaskId| desk.asks().iter().any(|ask| ask.owner == task && carries(&ask.question, change));
            let carriers = self.saving.iter().map(|(task, _)| *task).filter(|task| carries(*task)).collect();
            change.carriers = carriers;
        }
    }

    /// The client went away, and with it the response, and the handler if it was at work.
    pub(super) fn response_cancelled(&mut self, asked: Option<AskId>) {
        self.cancelled(0, asked);
        self.client_left = true;
        let now = self.tick();
        self.alive.retain(|alive| *alive != 0);
        self.discard("the end of the request", now);
    }

    /// The head goes out.
    pub(super) fn responded(&mut self, status: u16, cookie: &Cookie, had_cookie: bool) {
        let now = self.tick();
        self.responded = Some(now);
        // A `save()` that outlives the handler and brings a token brings it too late for its cookie.
        self.token_uncertain |= self.brings_token_now();
        let name = match cookie {
            Cookie::Left => "left as it is",
            Cookie::Set(_) => "set",
            Cookie::Cleared => "cleared",
        };
        self.answers.entry(0).or_default().push(format!("{status}, cookie {name}"));
        self.note(|| format!("the response is {status}, its cookie {name}"));
        let Some((ended, end)) = self.ended else { return };
        let meant = match end {
            End::Status(status) => status,
            End::Panic => 200,
        };
        if status >= 400 && status != meant {
            if self.faults == 0 && !self.has_lost_the_session() && !self.held_at_end && !self.collided() {
                self.fail("9 an error has a cause", format!("the response is {status}, and nothing was wrong"));
            }
            self.discard("a response that is an error", now);
            return;
        }
        if (200..300).contains(&status) {
            let lost = self.changes.iter().find(|change| {
                change.state == State::CheckedIn { by: Dropped::ByHandler }
                    && change.handed_in <= ended
                    && !self.is_accounted_for(change)
            });
            if let Some(lost) = lost {
                let text = format!("the response is {status}, and {lost}, whose handle was dropped before, is not stored");
                self.fail("3 a 2xx stores what was dropped", text);
            }
            let silent = self.changes.iter().find(|change| {
                change.state == State::Open
                    && change.handed_in == IN_HANDLE
                    && change.made < ended
                    && self.alive.contains(&change.handle)
                    && self.destroys.is_empty()
            });
            if let (Some(silent), End::Status(_)) = (silent, end) {
                let text = format!("the response is {status}, and {silent} waits in a handle that is alive");
                self.fail("3 a 2xx stores what was dropped", text);
            }
            if self.destroys.iter().any(|(at, _)| *at < ended) {
                self.check_destroyed(&format!("the response after `destroy()` is {status}"));
                if had_cookie && *cookie == Cookie::Left && self.foreign.is_empty() {
                    let text = format!("the response after `destroy()` is {status}, and leaves the client its cookie");
                    self.fail("5 a destroy is final", text);
                }
            }
        }
    }

    /// Whether a `save()` is in the middle of an operation that brings a token.
    fn brings_token_now(&self) -> bool {
        let desk = self.store.desk();
        self.saving.iter().any(|(task, _)| desk.under_way(*task).is_some_and(|ask| desk.asks()[ask].question.brings_token()))
    }

    fn signs_out(&self) -> bool {
        self.changes.iter().any(|change| change.name == Name::User && change.value == 0)
    }

    fn collided(&self) -> bool {
        self.changes.iter().any(|one| {
            self.changes.iter().any(|other| one.handle != other.handle && one.name == other.name && one.name != Name::Sum)
        })
    }

    fn check_destroyed(&mut self, when: &str) {
        let Some((selector, secret)) = self.first else { return };
        let Some(left) = self.stored.iter().find(|record| record.selector == selector) else { return };
        // Where another request took the session over, it is not this one's to end.
        if self.foreign.is_empty() || left.secret == secret {
            self.fail("5 a destroy is final", format!("{when}, and the record is there"));
        }
    }

    // What the store does.

    /// The scheduler has answered an operation.
    pub(super) fn answered(&mut self, id: AskId, outcome: Outcome, applied: Applied) {
        let now = self.tick();
        let (question, asked, owner) = {
            let desk = self.store.desk();
            let ask = &desk.asks()[id];
            (ask.question.clone(), ask.at, ask.owner)
        };
        if outcome.is_foreign() {
            self.foreign.push((now, outcome));
        } else if outcome.is_disturbance() {
            self.faults += 1;
        }
        let unknown = matches!(outcome, Outcome::UnknownApplied | Outcome::UnknownNotApplied);
        self.token_uncertain |= unknown && question.brings_token();
        if let (Question::Create(key, _), Applied::Yes) = (&question, applied) {
            self.keys.push(*key);
        }
        if applied == Applied::Yes && question.brings_token() {
            self.token_brought = now;
        }
        if let (Question::Commit(_, patch), Applied::Yes) = (&question, applied)
            && patch.wipe_except.is_some()
        {
            self.wipes.push(now);
        }
        let rotates = applied == Applied::Yes
            && match &question {
                Question::Create(..) => true,
                Question::Commit(_, patch) => matches!(patch.rotation, Some(Rotation::Privilege { .. })),
                Question::Load(..) | Question::Delete(_) => false,
            };
        let before = std::mem::take(&mut self.stored);
        self.stored = self.store.look(&self.keys);
        let mut found = Vec::new();
        for change in &mut self.changes {
            let is_new = match change.name {
                Name::Token => rotates && change.handed_in < asked,
                _ => count(change, &self.stored) > count(change, &before),
            };
            if is_new {
                change.brought.push(id);
                // Signing out where nothing stays is a deletion. Like a destroy it is carried out whatever becomes of its request.
                let is_ending = matches!(question, Question::Delete(_));
                if !change.carriers.contains(&owner) && !is_ending {
                    found.extend(unwanted(change, asked, id));
                }
            }
            if change.name == Name::Sum && count(change, &self.stored) > 1 {
                found.push(("4 an unknown outcome is not repeated", format!("{change} is stored twice")));
            }
        }
        let torn = self.stored.iter().find(|record| record.number("data/a") != record.number("data/b"));
        if let Some(torn) = torn {
            let text = format!("A = {} and B = {}", torn.number("data/a"), torn.number("data/b"));
            found.push(("7 both or neither", text));
        }
        for (rule, text) in found {
            self.fail(rule, text);
        }
    }

    /// Whether a change is stored, or has been overtaken by what may overtake it.
    fn is_accounted_for(&self, change: &Change) -> bool {
        if self.is_stored(change) {
            return true;
        }
        let later = |at: &u32| *at > change.handed_in;
        let was_stored = !change.brought.is_empty();
        let ended = self.destroys.iter().any(|(at, _)| later(at));
        let wiped = self.wipes.iter().any(later);
        // It was stored, and another request ended or took over the session.
        let taken = was_stored && !self.foreign.is_empty();
        let overwritten = change.name != Name::Sum
            && self.changes.iter().any(|other| {
                other.name == change.name
                    && other.value != change.value
                    && other.handed_in > change.handed_in
                    && !other.brought.is_empty()
            });
        ended || wiped || taken || overwritten
    }

    fn is_stored(&self, change: &Change) -> bool {
        match change.name {
            Name::Token => !change.brought.is_empty(),
            _ => count(change, &self.stored) > 0,
        }
    }

    // What is left at the end.

    /// Everything has come to rest. `opened` is the record that the client's cookie opens now, if any; `None` if the client has left.
    pub(super) fn close(&mut self, client: Option<Option<Selector>>, old_cookie_opens: bool) {
        let mut found = Vec::new();
        // What was created or rotated for a cookie that never went out is opened by none.
        let is_first = |record: &Stored| self.first == Some((record.selector, record.secret));
        let is_open = |record: &&Stored| is_first(record) || client.flatten() == Some(record.selector);
        let open: Vec<Stored> = self.stored.iter().filter(is_open).cloned().collect();
        for change in &self.changes {
            match change.state {
                State::Refused { .. } if change.name.key().is_some() && change.value != 0 && count(change, &open) > 0 => {
                    found.push(("2 a refusal is true", format!("a `save()` refused {change}, and it is stored")));
                }
                State::Open if change.handed_in == IN_HANDLE && self.is_stored(change) => {
                    found.push(("3 what is discarded stays so", format!("{change} was never handed in, and it is stored")));
                }
                State::Acknowledged { at } => {
                    let reachable = |selector: Selector| {
                        self.stored
                            .iter()
                            .any(|record| record.selector == selector && count(change, std::slice::from_ref(record)) > 0)
                    };
                    let in_time = self.ended.is_some_and(|(ended, _)| at < ended);
                    let out_of_reach = matches!(client, Some(opened) if !opened.is_some_and(reachable));
                    let ends = !self.destroys.is_empty() || self.signs_out();
                    let excused = !self.foreign.is_empty() || ends || self.token_uncertain;
                    if in_time
                        && self.is_stored(change)
                        && out_of_reach
                        && !excused
                        && change.name != Name::Token
                        && change.value != 0
                    {
                        let text = format!("`save()` acknowledged {change}, and the next request does not see it");
                        found.push(("1 an Ok is true", text));
                    }
                }
                _ => {}
            }
        }
        for (rule, text) in found {
            self.fail(rule, text);
        }
        let acknowledged = self.destroys.iter().any(|(at, _)| {
            let by_response = self.ended.is_some_and(|(ended, end)| *at < ended && end == End::Status(200));
            by_response && self.responded.is_some()
        });
        if acknowledged && self.faults == 0 && old_cookie_opens {
            self.fail("5 a destroy is final", "the old cookie opens a session after `destroy()`".to_owned());
        }
    }

    /// A cookie that was set opened nothing.
    pub(super) fn cookie_opens_nothing(&mut self) {
        let ended_elsewhere = self.foreign.iter().any(|(at, _)| *at > self.token_brought);
        if !ended_elsewhere && !self.token_uncertain {
            self.fail("5 a cookie opens a session", "the response sets a cookie that opens nothing".to_owned());
        }
    }

    /// A deletion was sent for a cookie that opens a session.
    pub(super) fn cleared_a_live_cookie(&mut self) {
        if self.destroys.is_empty() && !self.signs_out() {
            self.fail("5 a deletion is for a dead token", "the response clears a cookie that opens a session".to_owned());
        }
    }
}

/// How often a change is in these records.
fn count(change: &Change, records: &[Stored]) -> u64 {
    let in_one = |record: &Stored| match change.name {
        Name::Sum => digit(record.number("data/sum"), change.value),
        Name::Label => u64::from(record.label.as_deref() == Some(&*change.value.to_string())),
        Name::Token => 0,
        name => u64::from(name.key().is_some_and(|key| record.number(key) == change.value)),
    };
    match change.name {
        // Signing out leaves nothing to be found.
        Name::User if change.value == 0 => u64::from(!records.iter().any(|record| record.owned)),
        _ => records.iter().map(in_one).max().unwrap_or(0),
    }
}

/// How often the counter holds one change of it, which has a digit of its own.
fn digit(sum: u64, change: u64) -> u64 {
    (sum % FOREIGN) / change % 10
}

/// Whether an operation would store a change.
fn carries(question: &Question, change: &Change) -> bool {
    let Some(key) = change.name.key() else { return false };
    let carries = |number: u64| match change.name {
        Name::Sum => digit(number, change.value) > 0,
        _ => number == change.value,
    };
    match question {
        Question::Create(_, record) => {
            record.cells.iter().any(|cell| &*cell.key == key && carries(number(cell.body.content.payload())))
        }
        Question::Commit(_, patch) => {
            patch.puts.iter().any(|put| &*put.key == key && carries(number(put.body.content.payload())))
        }
        Question::Load(..) | Question::Delete(_) => false,
    }
}

/// Why a change that an operation has just brought must not have come that way.
fn unwanted(change: &Change, asked: u32, id: AskId) -> Option<(&'static str, String)> {
    match change.state {
        State::Refused { at, .. } if asked > at => {
            Some(("2 a refusal is true", format!("a `save()` refused {change}, and operation {id}, asked later, stores it")))
        }
        State::Unknown { at } if asked > at => Some((
            "4 an unknown outcome is not repeated",
            format!("the outcome of {change} was unknown, and operation {id}, asked later, stores it"),
        )),
        State::Discarded { at, why } if asked > at => Some((
            "3 what is discarded stays so",
            format!("{why} discarded {change}, and operation {id}, asked later, stores it"),
        )),
        State::Cancelled { discarded: Some(at) } if asked > at => Some((
            "3 what is discarded stays so",
            format!(
                "the `save()` of {change} was dropped, the request's end discarded it, and operation {id}, asked later, stores it"
            ),
        )),
        State::Open if change.handed_in == IN_HANDLE => {
            Some(("3 what is discarded stays so", format!("{change} is still in its handle, and operation {id} stores it")))
        }
        _ => None,
    }
}
