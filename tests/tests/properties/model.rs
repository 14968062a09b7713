//! Sessions as the specification sees them: maps of values, stamps and an epoch, and requests that meet there.

use proptest::prelude::*;
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
        5 => request().prop_map(Step::Finish),
        1 => request().prop_map(Step::Abort),
        1 => prop_oneof![4 => 1..90u64, 1 => Just(LIFETIME)].prop_map(Step::Tick),
    ];
    // Most cases start from a session that exists: that is where requests meet.
    let begun = vec![Step::Begin(0, Cookie::Newest), Step::Add(0, 1), Step::Tag(0, 0), Step::Finish(0)];
    let start = prop_oneof![1 => Just(Vec::new()), 4 => Just(begun)];
    (start, prop::collection::vec(step, 1..80)).prop_map(|(start, steps)| [start, steps].concat())
}

/// Idle and absolute, in seconds.
pub(crate) const LIFETIME: u64 = 3600;

/// How long a late write of an old token counts as a parallel tab, in seconds.
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
    /// No session; whether the client's cookie is to be cleared.
    Fresh {
        dead: bool,
    },
    Live {
        token: Token,
        loaded: Box<Session>,
    },
    Stale {
        just_now: bool,
    },
}

#[derive(Clone, Debug)]
struct Request {
    found: Found,
    doomed: Option<usize>,
    rotate: bool,
    held: [Value; 5],
    touched: [Touch; 5],
}

/// What a response does, as far as it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Nothing,
    Set,
    Clear,
    /// Sealed again or not, depending on how long ago it was.
    NothingOrSet,
}

#[derive(Clone, Debug)]
pub(crate) struct Model {
    side: Side,
    now: u64,
    sessions: Vec<Option<Session>>,
    requests: [Option<Request>; REQUESTS],
}

impl Model {
    pub(crate) fn new(side: Side) -> Self {
        Self { side, now: 0, sessions: Vec::new(), requests: [const { None }; REQUESTS] }
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
        let found = match token {
            None => Found::Fresh { dead: false },
            Some(token) => match &self.sessions[token.session] {
                Some(session) if session.epoch != token.epoch => {
                    Found::Stale { just_now: self.now < session.rotated + PARALLEL }
                }
                Some(session) if !self.is_expired(session) => Found::Live { token, loaded: Box::new(session.clone()) },
                _ => Found::Fresh { dead: true },
            },
        };
        let held = match &found {
            Found::Live { loaded, .. } => values(loaded),
            _ => KEYS.map(Key::default),
        };
        self.requests[request] =
            Some(Request { found, doomed: None, rotate: false, held: held.clone(), touched: [Touch::Untouched; 5] });
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
        if let Found::Live { token, .. } = &request.found {
            request.doomed = Some(token.session);
            request.found = Found::Fresh { dead: true };
        }
    }

    pub(crate) fn rotate(&mut self, request: usize) {
        let request = self.request(request);
        request.rotate = matches!(request.found, Found::Live { .. });
    }

    pub(crate) fn abort(&mut self, request: usize) {
        self.requests[request] = None;
    }

    /// A handler returns to a POST: status, what happens to the cookie, and the token in it.
    pub(crate) fn finish(&mut self, request: usize) -> (u16, Effect, Option<Token>) {
        let request = self.requests[request].take().unwrap();
        if let (Some(doomed), Side::Server) = (request.doomed, self.side) {
            self.sessions[doomed] = None;
        }
        match &request.found {
            Found::Fresh { dead } => self.create(&request, if *dead { Effect::Clear } else { Effect::Nothing }),
            Found::Stale { just_now: false } => self.create(&request, Effect::Nothing),
            Found::Stale { just_now: true } => {
                let status = if request.writes(None).is_empty() { 200 } else { 409 };
                (status, Effect::Nothing, None)
            }
            Found::Live { token, loaded } => self.commit(&request, *token, loaded),
        }
    }

    fn create(&mut self, request: &Request, otherwise: Effect) -> (u16, Effect, Option<Token>) {
        let writes = request.writes(None);
        if writes.is_empty() {
            return (200, otherwise, None);
        }
        let mut session = Session {
            cells: KEYS.map(|_| Cell { value: None, stamp: 0 }),
            revision: 1,
            epoch: 0,
            created: self.now,
            rotated: 0,
        };
        for (key, value) in writes {
            session.cells[key as usize] = Cell { value, stamp: 1 };
        }
        self.sessions.push(Some(session));
        (200, Effect::Set, Some(Token { session: self.sessions.len() - 1, epoch: 0 }))
    }

    fn commit(&mut self, request: &Request, token: Token, loaded: &Session) -> (u16, Effect, Option<Token>) {
        let writes = request.writes(Some(loaded));
        if writes.is_empty() && !request.rotate {
            let sealed_again = self.side == Side::Client && !self.is_expired(loaded);
            return (200, if sealed_again { Effect::NothingOrSet } else { Effect::Nothing }, Some(token));
        }
        let Some(current) = self.sessions[token.session].clone() else { return (409, Effect::Nothing, None) };
        if current.epoch != loaded.epoch || self.is_expired(&current) {
            return (409, Effect::Nothing, None);
        }
        let mut after = current.clone();
        after.revision += u64::from(!writes.is_empty());
        for (key, value) in writes {
            let (base, theirs) = (&loaded.cells[key as usize], &current.cells[key as usize]);
            let value = match value {
                Some(mine) if base.stamp != theirs.stamp => {
                    let or_default = |value: &Option<Value>| value.clone().unwrap_or_else(|| key.default());
                    match key.merged(&or_default(&base.value), &mine, &or_default(&theirs.value)) {
                        Some(merged) => Some(merged),
                        None => return (409, Effect::Nothing, None),
                    }
                }
                other => other,
            };
            after.cells[key as usize] = Cell { value, stamp: after.revision };
        }
        if request.rotate {
            after.epoch += 1;
            after.rotated = self.now;
        }
        let epoch = after.epoch;
        match self.side {
            Side::Server => {
                self.sessions[token.session] = Some(after);
                let effect = if request.rotate { Effect::Set } else { Effect::Nothing };
                (200, effect, Some(Token { epoch, ..token }))
            }
            Side::Client => {
                self.sessions.push(Some(after));
                (200, Effect::Set, Some(Token { session: self.sessions.len() - 1, epoch }))
            }
        }
    }

    /// What a token still opens.
    pub(crate) fn values(&self, token: Token) -> Option<[Value; 5]> {
        let session = self.sessions[token.session].as_ref()?;
        (session.epoch == token.epoch && !self.is_expired(session)).then(|| values(session))
    }
}

impl Request {
    /// What is checked in: changed values, and tombstones where something is stored.
    fn writes(&self, loaded: Option<&Session>) -> Vec<(Key, Option<Value>)> {
        let stored = |key: Key| loaded.and_then(|session| session.cells[key as usize].value.clone());
        KEYS.into_iter()
            .filter_map(|key| {
                let held = &self.held[key as usize];
                match self.touched[key as usize] {
                    Touch::Untouched => None,
                    Touch::Cleared => stored(key).map(|_| (key, None)),
                    Touch::Touched => {
                        let changed = *held != stored(key).unwrap_or_else(|| key.default());
                        changed.then(|| (key, Some(held.clone())))
                    }
                }
            })
            .collect()
    }
}

fn values(session: &Session) -> [Value; 5] {
    KEYS.map(|key| session.cells[key as usize].value.clone().unwrap_or_else(|| key.default()))
}
