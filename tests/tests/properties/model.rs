//! Sessions as the specification sees them: maps of values, stamps and an epoch, and requests that meet there.

use proptest::{collection::vec, prelude::*};
use std::collections::BTreeSet;

/// The fields of the tested struct, in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    Last,
    Sum,
    Top,
    Tags,
    Only,
}

pub(crate) const KEYS: [Key; 5] = [Key::Last, Key::Sum, Key::Top, Key::Tags, Key::Only];

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Number(i64),
    Set(BTreeSet<u8>),
}

impl Key {
    pub(crate) fn default(self) -> Value {
        match self {
            Self::Tags => Value::Set(BTreeSet::new()),
            _ => Value::Number(0),
        }
    }

    /// The rule for a field that somebody else has written meanwhile; `None` is a conflict.
    fn merged(self, base: &Value, mine: &Value, theirs: &Value) -> Option<Value> {
        match (self, base, mine, theirs) {
            (Self::Last, ..) => Some(mine.clone()),
            (Self::Sum, Value::Number(base), Value::Number(mine), Value::Number(theirs)) => {
                Some(Value::Number(theirs + (mine - base)))
            }
            (Self::Top, _, Value::Number(mine), Value::Number(theirs)) => Some(Value::Number(*mine.max(theirs))),
            (Self::Tags, Value::Set(base), Value::Set(mine), Value::Set(theirs)) => {
                let added = mine - base;
                let removed = base - mine;
                Some(Value::Set(&(theirs | &added) - &removed))
            }
            (Self::Only, ..) => None,
            other => panic!("{other:?}"),
        }
    }
}

/// One action. Requests are known by number; what makes no sense at its time is skipped.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// A request arrives, with the browser's cookie or with the one before.
    Begin(usize, Cookie),
    Set(usize, Key, i64),
    Add(usize, i64),
    Tag(usize, u8),
    Untag(usize, u8),
    Clear(usize),
    Destroy(usize),
    Rotate(usize),
    /// The handler saves and goes on.
    Save(usize),
    /// The handler returns.
    Finish(usize),
    /// The client goes away.
    Abort(usize),
    /// Seconds pass.
    Tick(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cookie {
    Newest,
    Older,
}

pub(crate) const REQUESTS: usize = 3;

pub(crate) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let request = || 0..REQUESTS;
    let key = prop_oneof![Just(Key::Last), Just(Key::Sum), Just(Key::Top), Just(Key::Only)];
    let step = prop_oneof![
        6 => (request(), prop_oneof![5 => Just(Cookie::Newest), 1 => Just(Cookie::Older)])
            .prop_map(|(request, cookie)| Step::Begin(request, cookie)),
        4 => (request(), key, 0..4i64).prop_map(|(request, key, to)| Step::Set(request, key, to)),
        4 => (request(), -3..4i64).prop_map(|(request, by)| Step::Add(request, by)),
        2 => (request(), 0..4u8).prop_map(|(request, tag)| Step::Tag(request, tag)),
        2 => (request(), 0..4u8).prop_map(|(request, tag)| Step::Untag(request, tag)),
        1 => request().prop_map(Step::Clear),
        1 => request().prop_map(Step::Destroy),
        1 => request().prop_map(Step::Rotate),
        2 => request().prop_map(Step::Save),
        5 => request().prop_map(Step::Finish),
        1 => request().prop_map(Step::Abort),
        1 => prop_oneof![4 => 1..90u64, 1 => Just(LIFETIME)].prop_map(Step::Tick),
    ];
    // Two requests that keep changing and saving the same fields: what merges with what shows only there.
    let pair = || 0..2usize;
    let crowded = prop_oneof![
        3 => pair().prop_map(|request| Step::Begin(request, Cookie::Newest)),
        6 => (pair(), 1..4i64).prop_map(|(request, by)| Step::Add(request, by)),
        2 => (pair(), Just(Key::Top), 0..9i64).prop_map(|(request, key, to)| Step::Set(request, key, to)),
        2 => (pair(), 0..3u8).prop_map(|(request, tag)| Step::Tag(request, tag)),
        2 => (pair(), 0..3u8).prop_map(|(request, tag)| Step::Untag(request, tag)),
        5 => pair().prop_map(Step::Save),
        2 => pair().prop_map(Step::Finish),
    ];
    // Most cases start from a session that exists: that is where requests meet.
    let begun = vec![Step::Begin(0, Cookie::Newest), Step::Add(0, 1), Step::Tag(0, 0), Step::Finish(0)];
    let start = prop_oneof![1 => Just(Vec::new()), 4 => Just(begun)];
    let rest = prop_oneof![2 => vec(step, 1..80), 1 => vec(crowded, 10..60)];
    (start, rest).prop_map(|(start, rest)| [start, rest].concat())
}

/// Idle and absolute, in seconds.
pub(crate) const LIFETIME: u64 = 3600;

/// How long a late write of an old token counts as a parallel tab, in seconds.
/// How old a request may be to clear a dead cookie.
const CLEARED_WITHIN: u64 = 5;
const PARALLEL: u64 = 60;

/// Where the records lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Server,
    /// In the cookie: every cookie ever handed out is a record of its own.
    Client,
}

#[derive(Clone, Debug)]
struct Cell {
    value: Option<Value>,
    stamp: u64,
}

#[derive(Clone, Debug)]
struct Session {
    cells: [Cell; 5],
    revision: u64,
    epoch: u32,
    created: u64,
    rotated: u64,
}

/// What a cookie holds: which session, and the epoch whose secret it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    session: usize,
    epoch: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Touch {
    Untouched,
    Touched,
    Cleared,
}

#[derive(Clone, Debug)]
enum Found {
    /// No session yet.
    Fresh,
    /// A session, and what this request knows of it.
    Live {
        token: Token,
        known: Box<Session>,
    },
    Stale {
        just_now: bool,
    },
    /// A commit has learned that it is gone.
    Lost,
}

/// What the browser's cookie is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Copy {
    None,
    Current,
    /// It opened nothing when the request came, as long after the start and after so many sessions had begun.
    Dead {
        at: u64,
        begun: u64,
    },
    /// The request ended its session.
    Ended,
    Untouchable,
}

#[derive(Clone, Debug)]
struct Request {
    found: Found,
    copy: Copy,
    /// A token that the response must hand out.
    reply: Option<Token>,
    /// Whether the response may, or may not, hand out the cookie again.
    renewed: bool,
    doomed: Option<usize>,
    rotate: bool,
    /// What the handle was made from, or has last saved; `None` is the default.
    base: [Option<Value>; 5],
    held: [Value; 5],
    touched: [Touch; 5],
}

/// What a response does, as far as it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Nothing,
    Set,
    Clear,
    /// Sealed again or not, depending on how long ago it was; or saved in a session that somebody has ended since.
    NothingOrSet,
}

#[derive(Clone, Debug)]
pub(crate) struct Model {
    side: Side,
    now: u64,
    sessions: Vec<Option<Session>>,
    requests: [Option<Request>; REQUESTS],
    /// How many responses have begun a session.
    begun: u64,
}

impl Model {
    pub(crate) fn new(side: Side) -> Self {
        Self { side, now: 0, sessions: Vec::new(), requests: [const { None }; REQUESTS], begun: 0 }
    }

    pub(crate) fn tick(&mut self, seconds: u64) {
        self.now += seconds;
    }

    pub(crate) fn is_open(&self, request: usize) -> bool {
        self.requests[request].is_some()
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.requests.iter().all(Option::is_none)
    }

    fn is_expired(&self, session: &Session) -> bool {
        self.now >= session.created + LIFETIME
    }

    /// Whether the specification leaves open what happens to a cookie: stale and expired at once, it may be either.
    pub(crate) fn is_undefined(&self, token: Option<Token>) -> bool {
        token.is_some_and(|token| {
            self.sessions[token.session]
                .as_ref()
                .is_some_and(|session| session.epoch != token.epoch && self.is_expired(session))
        })
    }

    /// A request loads; answers the values it sees.
    pub(crate) fn begin(&mut self, request: usize, token: Option<Token>) -> [Value; 5] {
        let (found, copy) = match token {
            None => (Found::Fresh, Copy::None),
            Some(token) => match &self.sessions[token.session] {
                Some(session) if session.epoch != token.epoch => {
                    (Found::Stale { just_now: self.now < session.rotated + PARALLEL }, Copy::Untouchable)
                }
                Some(session) if !self.is_expired(session) => {
                    (Found::Live { token, known: Box::new(session.clone()) }, Copy::Current)
                }
                _ => (Found::Fresh, Copy::Dead { at: self.now, begun: self.begun }),
            },
        };
        let base = match &found {
            Found::Live { known, .. } => known.cells.clone().map(|cell| cell.value),
            _ => [const { None }; 5],
        };
        let held = KEYS.map(|key| base[key as usize].clone().unwrap_or_else(|| key.default()));
        self.requests[request] = Some(Request {
            found,
            copy,
            reply: None,
            renewed: false,
            doomed: None,
            rotate: false,
            base,
            held: held.clone(),
            touched: [Touch::Untouched; 5],
        });
        held
    }

    fn request(&mut self, request: usize) -> &mut Request {
        self.requests[request].as_mut().unwrap()
    }

    pub(crate) fn change(&mut self, request: usize, key: Key, change: impl FnOnce(&mut Value)) {
        let request = self.request(request);
        change(&mut request.held[key as usize]);
        request.touched[key as usize] = Touch::Touched;
    }

    pub(crate) fn clear(&mut self, request: usize) {
        let request = self.request(request);
        request.held = KEYS.map(Key::default);
        request.touched = [Touch::Cleared; 5];
    }

    pub(crate) fn destroy(&mut self, request: usize) {
        let request = self.request(request);
        request.held = KEYS.map(Key::default);
        request.touched = [Touch::Untouched; 5];
        request.rotate = false;
        request.base = [const { None }; 5];
        request.reply = None;
        if let Found::Live { token, .. } = &request.found {
            request.doomed = Some(token.session);
            request.found = Found::Fresh;
            if request.copy == Copy::Current {
                request.copy = Copy::Ended;
            }
        }
    }

    pub(crate) fn rotate(&mut self, request: usize) {
        let request = self.request(request);
        request.rotate = !matches!(request.found, Found::Fresh | Found::Stale { just_now: false });
    }

    pub(crate) fn abort(&mut self, request: usize) {
        self.requests[request] = None;
    }

    /// A handler saves: 200, or what it would be answered with.
    pub(crate) fn save(&mut self, at: usize) -> u16 {
        let mut request = self.requests[at].take().unwrap();
        let status = self.settle(&mut request);
        self.requests[at] = Some(request);
        status
    }

    /// A handler returns to a POST: status, what happens to the cookie, and the token in it.
    pub(crate) fn finish(&mut self, at: usize) -> (u16, Effect, Option<Token>) {
        let mut request = self.requests[at].take().unwrap();
        let status = self.settle(&mut request);
        match (&request.found, request.reply) {
            (Found::Live { .. }, Some(token)) => {
                let ended = self.side == Side::Server && self.values(token).is_none();
                (status, if ended { Effect::NothingOrSet } else { Effect::Set }, Some(token))
            }
            (Found::Live { token, .. }, None) if request.renewed => (status, Effect::NothingOrSet, Some(*token)),
            _ => match request.copy {
                Copy::Ended => (status, Effect::Clear, None),
                // A slow deletion could reach a newer cookie.
                Copy::Dead { at, begun } if begun == self.begun && self.now < at + CLEARED_WITHIN => {
                    (status, Effect::Clear, None)
                }
                _ => (status, Effect::Nothing, None),
            },
        }
    }

    /// Whether a response with a token begins a session, as the browser sees it.
    pub(crate) fn begins(&self, request: usize) -> bool {
        self.requests[request].as_ref().is_some_and(|request| request.copy != Copy::Current)
    }

    pub(crate) fn note_begun(&mut self) {
        self.begun += 1;
    }

    /// One commit.
    fn settle(&mut self, request: &mut Request) -> u16 {
        if let (Some(doomed), Side::Server) = (request.doomed.take(), self.side) {
            self.sessions[doomed] = None;
        }
        let writes = request.writes();
        request.check_in();
        match request.found {
            Found::Fresh | Found::Stale { just_now: false } => self.create(request, writes),
            Found::Live { .. } => self.commit(request, writes),
            Found::Stale { just_now: true } | Found::Lost if writes.is_empty() && !request.rotate => 200,
            Found::Stale { just_now: true } | Found::Lost => request.lose(),
        }
    }

    fn create(&mut self, request: &mut Request, writes: Vec<Write>) -> u16 {
        if writes.is_empty() {
            return 200;
        }
        let mut session = Session {
            cells: KEYS.map(|_| Cell { value: None, stamp: 0 }),
            revision: 1,
            epoch: 0,
            created: self.now,
            rotated: 0,
        };
        for (key, value) in writes {
            let value = value.map(|(mine, _)| mine);
            session.cells[key as usize] = Cell { value, stamp: 1 };
        }
        let token = Token { session: self.sessions.len(), epoch: 0 };
        request.reply = Some(token);
        request.found = Found::Live { token, known: Box::new(session.clone()) };
        self.sessions.push(Some(session));
        200
    }

    fn commit(&mut self, request: &mut Request, writes: Vec<Write>) -> u16 {
        let Found::Live { token, known } = &mut request.found else { return 200 };
        if writes.is_empty() && !request.rotate {
            request.renewed = self.side == Side::Client && !self.is_expired(known);
            return 200;
        }
        let current = match &self.sessions[token.session] {
            Some(current) if current.epoch == known.epoch && !self.is_expired(current) => current,
            _ => return request.lose(),
        };
        let mut after = current.clone();
        after.revision += u64::from(!writes.is_empty());
        for (key, value) in writes {
            let (before, theirs) = (&known.cells[key as usize], &current.cells[key as usize]);
            let or_default = |value: &Option<Value>| value.clone().unwrap_or_else(|| key.default());
            let value = match value {
                // What the handle was made from, or has saved last, is what its change counts from.
                Some((mine, base)) if before.stamp != theirs.stamp || (key != Key::Last && before.value != base) => {
                    match key.merged(&or_default(&base), &mine, &or_default(&theirs.value)) {
                        Some(merged) => Some(merged),
                        None => return 409,
                    }
                }
                other => other.map(|(mine, _)| mine),
            };
            after.cells[key as usize] = Cell { value, stamp: after.revision };
        }
        for key in KEYS {
            // Of what it did not write, a request knows what it has loaded.
            if after.cells[key as usize].stamp == after.revision && after.revision > current.revision {
                known.cells[key as usize] = after.cells[key as usize].clone();
            }
        }
        if std::mem::take(&mut request.rotate) {
            after.epoch += 1;
            after.rotated = self.now;
            token.epoch = after.epoch;
            known.epoch = after.epoch;
            request.reply = Some(*token);
        }
        match self.side {
            Side::Server => self.sessions[token.session] = Some(after),
            Side::Client => {
                token.session = self.sessions.len();
                request.reply = Some(*token);
                self.sessions.push(Some(after));
            }
        }
        200
    }

    /// What a token still opens.
    pub(crate) fn values(&self, token: Token) -> Option<[Value; 5]> {
        let session = self.sessions[token.session].as_ref()?;
        (session.epoch == token.epoch && !self.is_expired(session)).then(|| values(session))
    }
}

/// A changed value and what it counts from, or a tombstone.
type Write = (Key, Option<(Value, Option<Value>)>);

impl Request {
    /// What a commit would write: changed values with what they count from, and tombstones where something is stored.
    fn writes(&self) -> Vec<Write> {
        let known = |key: Key| match &self.found {
            Found::Live { known, .. } => known.cells[key as usize].value.clone(),
            _ => None,
        };
        let write = |key: Key| {
            let (held, base, known) = (&self.held[key as usize], &self.base[key as usize], known(key));
            match self.touched[key as usize] {
                Touch::Untouched => None,
                Touch::Cleared => known.map(|_| None),
                Touch::Touched => {
                    let or_default = |value: &Option<Value>| value.clone().unwrap_or_else(|| key.default());
                    if *held == or_default(base) {
                        return None;
                    }
                    Some(Some((held.clone(), base.clone())))
                }
            }
        };
        KEYS.into_iter().filter_map(|key| Some((key, write(key)?))).collect()
    }

    /// From here on, changes count from the values held.
    fn check_in(&mut self) {
        for key in KEYS {
            let (held, base) = (&self.held[key as usize], &mut self.base[key as usize]);
            match std::mem::replace(&mut self.touched[key as usize], Touch::Untouched) {
                Touch::Untouched => {}
                // A value that did not change leaves the base as it was, also where that is "nothing stored".
                Touch::Touched if *held == base.clone().unwrap_or_else(|| key.default()) => {}
                Touch::Touched => *base = Some(held.clone()),
                Touch::Cleared => *base = None,
            }
        }
    }

    fn lose(&mut self) -> u16 {
        self.found = Found::Lost;
        self.copy = Copy::Untouchable;
        self.reply = None;
        self.rotate = false;
        409
    }
}

fn values(session: &Session) -> [Value; 5] {
    KEYS.map(|key| session.cells[key as usize].value.clone().unwrap_or_else(|| key.default()))
}
