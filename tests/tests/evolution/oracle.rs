//! What the specification says of sessions that programs of three versions share: each field's last write, and who made it.

use crate::versions::{Key, Value, first_name};
use proptest::{collection::vec, prelude::*};
use std::collections::{BTreeMap, BTreeSet};

pub(crate) const REQUESTS: usize = 3;

/// Idle and absolute, in seconds.
pub(crate) const LIFETIME: u64 = 3600;

/// One action. Requests are known by number; what makes no sense at its time is skipped.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// A request arrives at a program of this version, with the browser's cookie.
    Begin(usize, u8),
    /// Sets a field to a value made of this number.
    Set(usize, Key, u8),
    Add(usize, u8),
    Tag(usize, u8),
    Untag(usize, u8),
    /// Sets a field to what it is.
    Touch(usize, Key),
    Force(usize, Key),
    Clear(usize),
    Destroy(usize),
    Rotate(usize),
    Finish(usize),
    Abort(usize),
    Tick(u64),
}

pub(crate) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let request = || 0..REQUESTS;
    let version = || 1..4u8;
    let settable = prop_oneof![
        2 => Just(Key::User), 4 => Just(Key::Total), 3 => Just(Key::Level), 2 => Just(Key::Top), 2 => Just(Key::Only),
        1 => Just(Key::Theme), 1 => Just(Key::Coupon), 4 => Just(Key::Name), 5 => Just(Key::First)
    ];
    let any = prop::sample::select(ALL.to_vec());
    let step = prop_oneof![
        7 => (request(), version()).prop_map(|(request, version)| Step::Begin(request, version)),
        8 => (request(), settable, 0..6u8).prop_map(|(request, key, to)| Step::Set(request, key, to)),
        3 => (request(), 1..4u8).prop_map(|(request, by)| Step::Add(request, by)),
        2 => (request(), 0..4u8).prop_map(|(request, tag)| Step::Tag(request, tag)),
        1 => (request(), 0..4u8).prop_map(|(request, tag)| Step::Untag(request, tag)),
        3 => (request(), any.clone()).prop_map(|(request, key)| Step::Touch(request, key)),
        1 => (request(), any).prop_map(|(request, key)| Step::Force(request, key)),
        1 => request().prop_map(Step::Clear),
        1 => prop_oneof![1 => request().prop_map(Step::Destroy), 1 => request().prop_map(Step::Rotate)],
        9 => request().prop_map(Step::Finish),
        1 => request().prop_map(Step::Abort),
        1 => prop_oneof![6 => 1..90u64, 1 => Just(LIFETIME)].prop_map(Step::Tick),
    ];
    // Two programs of different versions that keep changing the same fields: what merges with what shows only there.
    let pair = || 0..2usize;
    let crowded = (1..4u8, 1..4u8).prop_flat_map(move |(one, other)| {
        let step = prop_oneof![
            4 => pair().prop_map(move |request| Step::Begin(request, if request == 0 { one } else { other })),
            4 => (pair(), 1..4u8).prop_map(|(request, by)| Step::Add(request, by)),
            2 => (pair(), 0..4u8).prop_map(|(request, tag)| Step::Tag(request, tag)),
            1 => (pair(), 0..4u8).prop_map(|(request, tag)| Step::Untag(request, tag)),
            2 => (pair(), prop_oneof![Just(Key::Top), Just(Key::Only), Just(Key::Total)], 0..6u8)
                .prop_map(|(request, key, to)| Step::Set(request, key, to)),
            5 => pair().prop_map(Step::Finish),
        ];
        vec(step, 10..60)
    });
    // Most cases start from a session that exists: that is where versions meet.
    let begun = version().prop_map(|version| {
        let set = |key, to| Step::Set(0, key, to);
        let fields = [set(Key::User, 1), Step::Add(0, 1), set(Key::Total, 3), set(Key::Name, 1)];
        [&[Step::Begin(0, version)], &fields[..], &[Step::Finish(0)]].concat()
    });
    let start = prop_oneof![1 => Just(Vec::new()), 5 => begun];
    (start, prop_oneof![3 => vec(step, 1..80), 1 => crowded]).prop_map(|(start, rest)| [start, rest].concat())
}

const ALL: [Key; 11] = [
    Key::User,
    Key::Total,
    Key::Level,
    Key::Views,
    Key::Tags,
    Key::Top,
    Key::Only,
    Key::Theme,
    Key::Coupon,
    Key::Name,
    Key::First,
];

impl Key {
    /// Whether a program of that version has the field.
    pub(crate) fn is_in(self, version: u8) -> bool {
        match self {
            Self::Coupon => version == 1,
            Self::Name => version < 3,
            Self::Theme => version > 1,
            Self::First => version == 3,
            _ => true,
        }
    }

    /// The stored name, and the versions in which its type changed.
    fn history(self) -> (&'static str, &'static [u8]) {
        match self {
            Self::User => ("user", &[1]),
            Self::Total => ("total", &[1, 2, 3]),
            Self::Level => ("level", &[1, 3]),
            Self::Views => ("views", &[1, 2]),
            Self::Tags => ("tags", &[1, 3]),
            Self::Top => ("top", &[1, 2, 3]),
            Self::Only => ("only", &[1, 2]),
            Self::Theme => ("theme", &[1]),
            Self::Coupon => ("coupon", &[1]),
            Self::Name => ("name", &[1]),
            Self::First => ("first", &[1]),
        }
    }

    fn generations(self, version: u8) -> impl Iterator<Item = u8> {
        self.history().1.iter().copied().filter(move |generation| *generation <= version)
    }

    fn physical(self, generation: u8) -> String {
        let name = self.history().0;
        if generation == 1 { format!("shop/{name}") } else { format!("shop/{name}@{generation}") }
    }

    fn default(self, version: u8) -> Value {
        match self {
            Self::User | Self::Coupon | Self::Name | Self::First => Value::Text(String::new()),
            Self::Tags => Value::Set(BTreeSet::new()),
            Self::Theme => Value::Number(7),
            Self::Total if version == 3 => Value::Price(0, 0),
            _ => Value::Number(0),
        }
    }

    /// A value that a program of that version may set.
    fn value(self, version: u8, number: u8) -> Value {
        let n = i64::from(number);
        match self {
            Self::User => Value::Text(["", "ada", "grace"][usize::from(number) % 3].to_owned()),
            Self::Coupon | Self::First => Value::Text(["", "TEN", "Ada"][usize::from(number) % 3].to_owned()),
            Self::Name => Value::Text(["", "Ada Lovelace", "Grace Hopper"][usize::from(number) % 3].to_owned()),
            Self::Tags => Value::Set(BTreeSet::from([number.into()])),
            // Some that older versions cannot hold exactly.
            Self::Total => match version {
                1 => Value::Number(n),
                2 => Value::Number(n * 50),
                _ => Value::Price(n * 505, number % 2),
            },
            _ => Value::Number(n),
        }
    }

    /// What a program of one version sees of another's value; `None` is its default.
    fn convert(self, value: &Value, writer: u8, reader: u8) -> Option<Value> {
        match (self, value) {
            (Self::Level, _) if writer == 3 && reader < 3 => None,
            // Two that clear and add meanwhile leave less than nothing, for which version 1 has no number.
            (Self::Views, Value::Number(n)) if reader == 1 => Some(Value::Number(*n.max(&0))),
            (Self::Total, Value::Number(n)) => Some(match (writer, reader) {
                (1, 2) => Value::Number(n * 100),
                (1, 3) => Value::Price(n * 1000, 0),
                (2, 1) => Value::Number(n / 100),
                (2, 3) => Value::Price(n * 10, 0),
                _ => value.clone(),
            }),
            (Self::Total, Value::Price(mills, _)) => Some(match reader {
                1 => Value::Number(mills / 1000),
                2 => Value::Number(mills / 10),
                _ => value.clone(),
            }),
            _ => Some(value.clone()),
        }
    }

    /// The rule for a field that somebody else has written meanwhile: `None` if it has none, `Err` if that is a conflict.
    fn merged(self, version: u8, base: &Value, mine: &Value, theirs: &Value) -> Option<Result<Value, ()>> {
        Some(match (self, base, mine, theirs) {
            (Self::Views, Value::Number(base), Value::Number(mine), Value::Number(theirs)) => {
                let least = if version == 1 { 0 } else { i64::MIN };
                Ok(Value::Number((theirs + (mine - base)).max(least)))
            }
            (Self::Top, _, Value::Number(mine), Value::Number(theirs)) => Ok(Value::Number(*mine.max(theirs))),
            (Self::Tags, Value::Set(base), Value::Set(mine), Value::Set(theirs)) => {
                Ok(Value::Set(&(theirs | &(mine - base)) - &(base - mine)))
            }
            (Self::First, _, Value::Text(mine), Value::Text(theirs)) => Ok(Value::Text(mine.max(theirs).clone())),
            (Self::Only, ..) => Err(()),
            _ => return None,
        })
    }
}

/// The last write of a field.
#[derive(Clone, Debug, Default)]
struct Written {
    /// By which version, and what; `None` is a clear.
    last: Option<(u8, Option<Value>)>,
    stamp: u64,
    /// The stamp of each generation's cell, and whether there is a value in it.
    cells: BTreeMap<u8, (u64, bool)>,
}

#[derive(Clone, Debug)]
struct Session {
    fields: BTreeMap<Key, Written>,
    revision: u64,
    epoch: u32,
    created: u64,
}

impl Session {
    fn written(&self, key: Key) -> Written {
        self.fields.get(&key).cloned().unwrap_or_default()
    }

    fn read(&self, version: u8, key: Key) -> Value {
        let own = self.written(key);
        let seen = |key: Key, written: Written| {
            let (writer, value) = written.last?;
            key.convert(&value?, writer, version)
        };
        let value = match self.written(Key::Name) {
            source if key == Key::First && source.stamp > own.stamp => seen(Key::Name, source).map(|name| match name {
                Value::Text(name) => Value::Text(first_name(name)),
                other => other,
            }),
            _ => seen(key, own),
        };
        value.unwrap_or_else(|| key.default(version))
    }

    /// The stamp of what a field's value comes from.
    fn stamp(&self, key: Key) -> u64 {
        let own = self.written(key).stamp;
        if key == Key::First { own.max(self.written(Key::Name).stamp) } else { own }
    }

    /// Whether a clear has something to hide: a value in a cell of the version, or one elsewhere that no tombstone is newer than.
    fn is_stored(&self, version: u8, key: Key) -> bool {
        let cells = |key| self.written(key).cells.into_iter();
        let known = |generation: u8| key.generations(version).any(|known| known == generation);
        let hidden = cells(key).filter(|(generation, (_, value))| known(*generation) && !value);
        let hidden = hidden.map(|(_, (stamp, _))| stamp).max().unwrap_or(0);
        let source = cells(Key::Name).filter(|_| key == Key::First).map(|(_, cell)| (None, cell));
        cells(key)
            .map(|(generation, cell)| (Some(generation), cell))
            .chain(source)
            .any(|(generation, (stamp, value))| value && (generation.is_some_and(known) || stamp >= hidden))
    }

    fn write(&mut self, version: u8, key: Key, value: Option<Value>) {
        let stamp = self.revision;
        let written = self.fields.entry(key).or_default();
        for generation in key.generations(version) {
            let forgotten = key == Key::Level && version == 3 && generation < 3;
            written.cells.insert(generation, (stamp, value.is_some() && !forgotten));
        }
        (written.last, written.stamp) = (Some((version, value)), stamp);
    }

    /// Every cell: its key, stamp and whether it holds a value.
    fn cells(&self) -> BTreeMap<String, (u64, bool)> {
        let cells = |(key, written): (&Key, &Written)| {
            let key = *key;
            written.cells.clone().into_iter().map(move |(generation, cell)| (key.physical(generation), cell))
        };
        self.fields.iter().flat_map(cells).collect()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) session: usize,
    epoch: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Touch {
    Touched,
    Forced,
    Cleared,
}

/// How many seconds old a request may be to clear a dead cookie.
const CLEARED_WITHIN: u64 = 5;

/// What the browser's cookie is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Copy {
    None,
    Current,
    /// It opened nothing when the request came, at that time and after so many sessions had begun.
    Dead {
        at: u64,
        begun: u64,
    },
    /// The request ended its session.
    Ended,
}

#[derive(Clone, Debug)]
struct Request {
    version: u8,
    /// The session, and what this request knows of it.
    live: Option<(Token, Session)>,
    copy: Copy,
    doomed: Option<usize>,
    rotate: bool,
    base: BTreeMap<Key, Value>,
    held: BTreeMap<Key, Value>,
    touched: BTreeMap<Key, Touch>,
}

/// What a response does with the cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Nothing,
    Set(Token),
    Clear,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Oracle {
    now: u64,
    sessions: Vec<Option<Session>>,
    requests: [Option<Request>; REQUESTS],
    /// How many responses of each version's program have begun a session.
    begun: [u64; 4],
}

impl Oracle {
    pub(crate) fn tick(&mut self, seconds: u64) {
        self.now += seconds;
    }

    /// The version that handles a request.
    pub(crate) fn version(&self, request: usize) -> Option<u8> {
        self.requests[request].as_ref().map(|request| request.version)
    }

    fn is_expired(&self, session: &Session) -> bool {
        self.now >= session.created + LIFETIME
    }

    /// A request loads; answers the values it sees.
    pub(crate) fn begin(&mut self, at: usize, version: u8, token: Option<Token>) -> BTreeMap<Key, Value> {
        let found = token.and_then(|token| Some((token, self.sessions[token.session].clone()?)));
        let live = found.filter(|(_, session)| !self.is_expired(session));
        let copy = match (&token, &live) {
            (None, _) => Copy::None,
            (Some(_), Some(_)) => Copy::Current,
            (Some(_), None) => Copy::Dead { at: self.now, begun: self.begun[usize::from(version)] },
        };
        let read = |key: Key| live.as_ref().map_or_else(|| key.default(version), |(_, session)| session.read(version, key));
        let held: BTreeMap<Key, Value> = ALL.into_iter().filter(|key| key.is_in(version)).map(|key| (key, read(key))).collect();
        self.requests[at] = Some(Request {
            version,
            live,
            copy,
            doomed: None,
            rotate: false,
            base: held.clone(),
            held: held.clone(),
            touched: BTreeMap::new(),
        });
        held
    }

    fn request(&mut self, at: usize) -> &mut Request {
        self.requests[at].as_mut().unwrap()
    }

    /// The value that an action gives a field, if its request has that field.
    pub(crate) fn change(&mut self, step: &Step) -> Option<(Key, Value)> {
        let (at, key) = match step {
            Step::Set(at, key, _) | Step::Touch(at, key) => (*at, *key),
            Step::Add(at, _) => (*at, Key::Views),
            Step::Tag(at, _) | Step::Untag(at, _) => (*at, Key::Tags),
            _ => return None,
        };
        let request = self.requests[at].as_mut().filter(|request| key.is_in(request.version))?;
        let held = request.held.get_mut(&key).unwrap();
        match (step, &mut *held) {
            (Step::Set(_, _, number), _) => *held = key.value(request.version, *number),
            (Step::Add(_, by), Value::Number(number)) => *number += i64::from(*by),
            (Step::Tag(_, tag), Value::Set(set)) => drop(set.insert((*tag).into())),
            (Step::Untag(_, tag), Value::Set(set)) => drop(set.remove(&(*tag).into())),
            _ => {}
        }
        let touched = request.touched.entry(key).or_insert(Touch::Touched);
        if *touched == Touch::Cleared {
            *touched = Touch::Touched;
        }
        Some((key, held.clone()))
    }

    pub(crate) fn force(&mut self, at: usize, key: Key) {
        self.request(at).touched.insert(key, Touch::Forced);
    }

    pub(crate) fn clear(&mut self, at: usize) {
        let request = self.request(at);
        let version = request.version;
        for (key, held) in &mut request.held {
            *held = key.default(version);
            request.touched.insert(*key, Touch::Cleared);
        }
    }

    pub(crate) fn destroy(&mut self, at: usize) {
        let request = self.request(at);
        let version = request.version;
        request.held.iter_mut().for_each(|(key, held)| *held = key.default(version));
        request.base.clone_from(&request.held);
        request.touched.clear();
        request.rotate = false;
        if let Some((token, _)) = request.live.take() {
            request.doomed = Some(token.session);
            request.copy = Copy::Ended;
        }
    }

    pub(crate) fn rotate(&mut self, at: usize) {
        let request = self.request(at);
        request.rotate = request.live.is_some();
    }

    pub(crate) fn abort(&mut self, at: usize) {
        self.requests[at] = None;
    }

    /// A handler returns to a POST: status, and what happens to the cookie.
    pub(crate) fn finish(&mut self, at: usize) -> (u16, Effect) {
        let mut request = self.requests[at].take().unwrap();
        if let Some(doomed) = request.doomed {
            self.sessions[doomed] = None;
        }
        let writes = request.writes();
        let status = match request.live.take() {
            Some((token, known)) => return self.commit(&request, token, &known, writes),
            None => {
                let values: Vec<_> = writes.into_iter().filter(|(_, value)| value.is_some()).collect();
                if !values.is_empty() {
                    self.begun[usize::from(request.version)] += 1;
                    return (200, Effect::Set(self.create(request.version, values)));
                }
                200
            }
        };
        let clears = match request.copy {
            Copy::Ended => true,
            // A slow deletion could reach a newer cookie.
            Copy::Dead { at, begun } => begun == self.begun[usize::from(request.version)] && self.now < at + CLEARED_WITHIN,
            Copy::None | Copy::Current => false,
        };
        (status, if clears { Effect::Clear } else { Effect::Nothing })
    }

    fn create(&mut self, version: u8, values: Vec<(Key, Option<Value>)>) -> Token {
        let mut session = Session { fields: BTreeMap::new(), revision: 1, epoch: 0, created: self.now };
        values.into_iter().for_each(|(key, value)| session.write(version, key, value));
        self.sessions.push(Some(session));
        Token { session: self.sessions.len() - 1, epoch: 0 }
    }

    fn commit(
        &mut self,
        request: &Request,
        mut token: Token,
        known: &Session,
        writes: Vec<(Key, Option<Value>)>,
    ) -> (u16, Effect) {
        if writes.is_empty() && !request.rotate {
            return (200, Effect::Nothing);
        }
        let current = match &self.sessions[token.session] {
            Some(current) if current.epoch == known.epoch && !self.is_expired(current) => current,
            _ => return (409, Effect::Nothing),
        };
        let version = request.version;
        let mut after = current.clone();
        after.revision += u64::from(!writes.is_empty());
        for (key, value) in writes {
            let mut value = value;
            if let Some(mine) = &value
                && known.stamp(key) != current.stamp(key)
                && let Some(merged) = key.merged(version, &known.read(version, key), mine, &current.read(version, key))
            {
                let Ok(merged) = merged else { return (409, Effect::Nothing) };
                value = Some(merged);
            }
            after.write(version, key, value);
        }
        after.epoch += u32::from(request.rotate);
        token.epoch = after.epoch;
        self.sessions[token.session] = Some(after);
        (200, if request.rotate { Effect::Set(token) } else { Effect::Nothing })
    }

    /// The cells of a session; `None` if there is none any more.
    pub(crate) fn cells(&self, session: usize) -> Option<BTreeMap<String, (u64, bool)>> {
        self.sessions[session].as_ref().map(Session::cells)
    }

    /// Whether the specification leaves it to the store when the record goes.
    pub(crate) fn may_be_swept(&self, session: usize) -> bool {
        self.sessions[session].as_ref().is_some_and(|session| self.is_expired(session))
    }
}

/// The physical keys that a program of that version knows.
pub(crate) fn known_keys(version: u8) -> BTreeSet<String> {
    let keys = ALL.into_iter().filter(|key| key.is_in(version));
    keys.flat_map(|key| key.generations(version).map(move |generation| key.physical(generation))).collect()
}

impl Request {
    /// What a commit would write: changed values, and `None` where something is stored that was cleared.
    fn writes(&self) -> Vec<(Key, Option<Value>)> {
        let write = |key: Key, touch: Touch| match touch {
            Touch::Cleared => self.live.as_ref().filter(|(_, known)| known.is_stored(self.version, key)).map(|_| None),
            Touch::Touched if self.held[&key] == self.base[&key] => None,
            Touch::Touched | Touch::Forced => Some(Some(self.held[&key].clone())),
        };
        self.touched.iter().filter_map(|(key, touch)| Some((*key, write(*key, *touch)?))).collect()
    }
}
