//! A session as the fields of a hash: what each is called, and how it is written and read.

use crate::{
    record::{
        Cell, CellKey, Cells, CommitOutcome, Deadlines, Extensions, Header, Owner, OwnerChange, OwnerHash, Patch, Presented,
        Previous, PreviousState, Record, Rotation, SecretHash, Selector, Timestamp, WrappedKey,
    },
    store::{StoreError, damage, redis::scripts::Call, remote::Effect, sweeping},
};
use base64ct::{Base64UrlUnpadded, Encoding};
use redis::{ToRedisArgs, Value};
use std::{fmt, time::Duration};

/// The fields of a header, in the order in which they are asked for.
pub(super) const HEADER: [&str; 15] =
    [REVISION, EPOCH, CREATED, SEEN, IDLE, ABSOLUTE, KEY, PREVIOUS, PHASE, SINCE, OWNER, PROVEN, PERSISTENT, LABEL, EXTENSIONS];

const REVISION: &str = "__rev";
const EPOCH: &str = "__epoch";
const CREATED: &str = "__created";
const SEEN: &str = "__seen";
const IDLE: &str = "__idle";
const ABSOLUTE: &str = "__absolute";
/// The secret's hash, and the session key wrapped for it.
const KEY: &str = "__key";
/// The same of the secret before; of a revoked one, the hash alone.
const PREVIOUS: &str = "__previous";
const PHASE: &str = "__phase";
const SINCE: &str = "__since";
/// The hash as text, since it names the index, and the schema.
const OWNER: &str = "__owner";
const PROVEN: &str = "__proven";
const PERSISTENT: &str = "__persistent";
const LABEL: &str = "__label";
const EXTENSIONS: &str = "__ext";
/// There once all cells of the session are not what a load answers.
const ON_DEMAND: &str = "__on_demand";

/// How many characters a selector and an owner's hash have.
pub(super) const NAME: usize = 22;
const OWNER_NAME: usize = 43;

pub(super) fn name(selector: &Selector) -> String {
    Base64UrlUnpadded::encode_string(selector.as_bytes())
}

/// The member of an index that says that the commit for which a session was listed may be under way; a name never begins so.
#[cfg(feature = "redis-cluster")]
pub(super) fn mark(name: &str) -> String {
    format!("+{name}")
}

pub(super) fn selector(name: &[u8]) -> Option<Selector> {
    let mut bytes = [0; 16];
    match Base64UrlUnpadded::decode(name, &mut bytes) {
        Ok(decoded) if decoded.len() == 16 => Some(Selector::from_bytes(bytes)),
        _ => None,
    }
}

pub(super) fn owner_name(owner: &OwnerHash) -> String {
    Base64UrlUnpadded::encode_string(owner.as_bytes())
}

fn owner_field(owner: &Owner) -> String {
    owner_name(&owner.hash) + &owner.schema
}

/// How long the key of what ends then is kept, in milliseconds: garbage collection, with room for clocks that differ.
pub(super) fn lasting(deadline: Timestamp, now: Timestamp) -> u64 {
    const LONGEST: Duration = Duration::from_secs(100_000_000_000);
    let lasting = now.until(deadline).saturating_add(sweeping::SLACK).min(LONGEST);
    u64::try_from(lasting.as_millis()).unwrap_or(u64::MAX)
}

fn key_field(secret: &SecretHash, wrapped: &WrappedKey) -> [u8; 64] {
    let mut field = [0; 64];
    field[..32].copy_from_slice(secret.as_bytes());
    field[32..].copy_from_slice(wrapped.as_bytes());
    field
}

/// Adds a whole record to a call, as names and values.
pub(super) fn put_record(call: &mut Call, record: &Record) {
    let Record { header, cells, .. } = record;
    let mut put = |name: &str, value: &dyn Arg| {
        call.arg(name);
        value.add_to(call);
    };
    put(REVISION, &header.revision);
    put(EPOCH, &header.epoch);
    put(CREATED, &header.created.as_millis());
    put(SEEN, &header.last_seen.as_millis());
    put(IDLE, &header.idle_until.as_millis());
    put(ABSOLUTE, &header.absolute_until.as_millis());
    put(KEY, &&key_field(&header.secret_hash, &header.wrapped_key)[..]);
    if let Some(previous) = &header.previous {
        let phase = match previous.state {
            PreviousState::Pending => "pending",
            PreviousState::Superseded => "superseded",
            PreviousState::Revoked => "revoked",
        };
        let field = key_field(&previous.secret_hash, &previous.wrapped_key);
        put(PREVIOUS, &&field[..]);
        put(PHASE, &phase);
        put(SINCE, &previous.since.as_millis());
    }
    if let Some(owner) = &header.owner {
        put(OWNER, &owner_field(owner));
    }
    if let Some(at) = header.authenticated_at {
        put(PROVEN, &at.as_millis());
    }
    if header.persistent {
        put(PERSISTENT, &1);
    }
    if let Some(label) = &header.label {
        put(LABEL, &&**label);
    }
    if !header.extensions.is_empty() {
        put(EXTENSIONS, &&header.extensions.encode()[..]);
    }
    if cells.iter().any(|cell| cell.key.is_on_demand()) {
        put(ON_DEMAND, &1);
    }
    for cell in cells {
        let mut value = cell.stamp.to_string().into_bytes();
        value.push(b':');
        value.extend(cell.body.encode());
        put(&cell.key, &value);
    }
}

/// A value of a call, whatever its type.
trait Arg {
    fn add_to(&self, call: &mut Call);
}

impl<T: ToRedisArgs> Arg for T {
    fn add_to(&self, call: &mut Call) {
        call.arg(self);
    }
}

/// Adds what a load presents.
pub(super) fn put_presented(call: &mut Call, presented: &Presented, here: &str) {
    call.arg(presented.secret_hash.as_bytes()).arg(presented.now.as_millis());
    call.arg(millis(presented.grace)).arg(here);
    for lifetime in [presented.lifetime, presented.remember] {
        call.arg(millis(lifetime.idle())).arg(millis(lifetime.absolute()));
        call.arg(presented.now.plus(lifetime.idle()).as_millis());
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Adds a patch as the verbs that the script of a commit knows, each with its operands.
pub(super) fn put_patch(call: &mut Call, patch: &Patch) {
    for guard in &patch.guards {
        call.arg("guard").arg(guard.key.as_str()).arg(guard.stamp);
    }
    if let Some(kept) = &patch.wipe_except {
        call.arg("wipe");
        for key in kept {
            call.arg("keep").arg(key.as_str());
        }
    }
    for put in &patch.puts {
        call.arg("put").arg(put.key.as_str()).arg(put.body.encode());
    }
    if patch.puts.iter().any(|put| put.key.is_on_demand()) {
        call.arg("set").arg(ON_DEMAND).arg(1);
    }
    match patch.deadlines {
        None => {}
        Some(Deadlines::Roll { last_seen, idle_until }) => {
            call.arg("raise").arg(SEEN).arg(last_seen.as_millis());
            call.arg("raise").arg(IDLE).arg(idle_until.as_millis());
        }
        Some(Deadlines::Reset { created, last_seen, idle_until, absolute_until }) => {
            for (field, at) in [(CREATED, created), (SEEN, last_seen), (IDLE, idle_until), (ABSOLUTE, absolute_until)] {
                call.arg("set").arg(field).arg(at.as_millis());
            }
        }
    }
    if let Some(presented) = &patch.presented {
        call.arg("present").arg(presented.as_bytes());
    }
    match &patch.owner {
        None => {}
        Some(OwnerChange::Set(owner)) => set(call, OWNER, Some(owner_field(owner))),
        Some(OwnerChange::Clear) => set(call, OWNER, None::<&str>),
    }
    if let Some(at) = patch.authenticated_at {
        set(call, PROVEN, at.map(Timestamp::as_millis));
    }
    if let Some(persistent) = patch.persistent {
        set(call, PERSISTENT, persistent.then_some(1));
    }
    if let Some(label) = &patch.label {
        set(call, LABEL, label.as_deref());
    }
    if let Some(extensions) = &patch.extensions {
        let parts = extensions.encode();
        set(call, EXTENSIONS, Some(&parts[..]).filter(|parts| !parts.is_empty()));
    }
    match &patch.rotation {
        None => {}
        Some(Rotation::Privilege { to, wrapped_key }) => {
            // The commit happens in this epoch or not at all, so the next one is known.
            call.arg("promote").arg(&key_field(to, wrapped_key)[..]).arg(patch.epoch.saturating_add(1));
        }
        Some(Rotation::Renewal { from, to, wrapped_key }) => {
            call.arg("renew").arg(from.as_bytes()).arg(&key_field(to, wrapped_key)[..]);
        }
    }
}

fn set(call: &mut Call, field: &str, value: Option<impl ToRedisArgs>) {
    match value {
        Some(value) => call.arg("set").arg(field).arg(value),
        None => call.arg("drop").arg(field),
    };
}

/// The record of all its fields, name after value; none of no fields.
pub(super) fn record(selector: &Selector, fields: Vec<Value>) -> Option<Record> {
    if fields.is_empty() {
        return None;
    }
    let (mut header, mut cells) = ([const { None }; HEADER.len()], Vec::with_capacity(fields.len() / 2));
    for (name, value) in pairs(fields) {
        match HEADER.iter().position(|known| known.as_bytes() == name) {
            Some(at) => header[at] = Some(value),
            None if name.starts_with(b"__") => {}
            None => cells.push(cell(&name, &value)),
        }
    }
    let cells: Cells = cells.into_iter().collect();
    readable(selector, header).map(|header| Record::new(header, cells))
}

/// What the script of a commit answers.
pub(super) enum Answer {
    Outcome(CommitOutcome),
    /// Nothing was written: the session must stand in that owner's index first, which lies on another node.
    #[cfg_attr(not(feature = "redis-cluster"), expect(dead_code, reason = "only a cluster has other nodes"))]
    ListFirst(OwnerHash),
}

impl Answer {
    pub(super) fn of(answer: Vec<Value>) -> Option<Self> {
        let mut answer = answer.into_iter();
        let Some(Value::BulkString(kind)) = answer.next() else { return None };
        Some(match (&kind[..], answer.next(), answer.next()) {
            (b"gone", ..) => Self::Outcome(CommitOutcome::Gone),
            (b"conflict", Some(Value::Array(cells)), _) => {
                let cells = pairs(cells).map(|(name, value)| cell(&name, &value)).collect();
                Self::Outcome(CommitOutcome::Conflict { cells })
            }
            (b"committed", Some(Value::BulkString(revision)), Some(Value::Int(rotated))) => {
                let revision = number(REVISION, Some(&revision)).ok()?;
                Self::Outcome(CommitOutcome::Committed { revision, rotated: rotated == 1 })
            }
            (b"list", Some(Value::BulkString(owner)), _) => Self::ListFirst(owner_hash(&owner)?),
            _ => return None,
        })
    }
}

fn pairs(fields: Vec<Value>) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
    let mut fields = fields.into_iter();
    std::iter::from_fn(move || {
        loop {
            if let (Value::BulkString(name), Value::BulkString(value)) = (fields.next()?, fields.next()?) {
                return Some((name, value));
            }
        }
    })
}

/// The header of the fields [`HEADER`], in that order.
pub(super) fn header(selector: &Selector, fields: Vec<Value>) -> Option<Header> {
    let mut known = [const { None }; HEADER.len()];
    for (known, value) in known.iter_mut().zip(fields) {
        if let Value::BulkString(value) = value {
            *known = Some(value);
        }
    }
    readable(selector, known)
}

/// A header nobody can read opens no session, so it counts as absent; its key stays until it expires.
fn readable(selector: &Selector, fields: [Option<Vec<u8>>; HEADER.len()]) -> Option<Header> {
    decode(&fields).map_err(|error| damage::unreadable_header(selector, error)).ok()
}

/// A field of a header that is missing or not what it should be.
#[derive(Debug)]
struct Unreadable(&'static str);

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "its field {} is missing or not what it should be", self.0)
    }
}

fn decode(fields: &[Option<Vec<u8>>; HEADER.len()]) -> Result<Header, Unreadable> {
    let [
        revision,
        epoch,
        created,
        seen,
        idle,
        absolute,
        key,
        previous,
        phase,
        since,
        owner,
        proven,
        persistent,
        label,
        extensions,
    ] = fields.each_ref().map(Option::as_deref);
    let (secret_hash, wrapped_key) = key.and_then(opened).ok_or(Unreadable(KEY))?;
    let mut header =
        Header::new(secret_hash, wrapped_key, instant(CREATED, created)?, instant(IDLE, idle)?, instant(ABSOLUTE, absolute)?);
    header.revision = number(REVISION, revision)?;
    header.epoch = number(EPOCH, epoch)?;
    header.last_seen = instant(SEEN, seen)?;
    header.previous = match phase {
        None => None,
        Some(phase) => {
            let state = match phase {
                b"pending" => PreviousState::Pending,
                b"superseded" => PreviousState::Superseded,
                b"revoked" => PreviousState::Revoked,
                _ => return Err(Unreadable(PHASE)),
            };
            let (secret_hash, wrapped_key) = previous.and_then(opened).ok_or(Unreadable(PREVIOUS))?;
            Some(Previous { secret_hash, wrapped_key, state, since: instant(SINCE, since)? })
        }
    };
    header.owner = owner.map(|owner| decode_owner(owner).ok_or(Unreadable(OWNER))).transpose()?;
    header.authenticated_at = proven.map(|proven| instant(PROVEN, Some(proven))).transpose()?;
    header.persistent = persistent.is_some();
    header.label = label.map(|label| std::str::from_utf8(label).map(Into::into).map_err(|_| Unreadable(LABEL))).transpose()?;
    if let Some(parts) = extensions {
        header.extensions = Extensions::decode(parts).map_err(|_| Unreadable(EXTENSIONS))?;
    }
    Ok(header)
}

/// A secret's hash and the key wrapped for it; zeros where that is not kept.
fn opened(field: &[u8]) -> Option<(SecretHash, WrappedKey)> {
    let (secret, wrapped) = field.split_first_chunk::<32>()?;
    let wrapped = if wrapped.is_empty() { [0; 32] } else { wrapped.try_into().ok()? };
    Some((SecretHash::from_bytes(*secret), WrappedKey::from_bytes(wrapped)))
}

fn decode_owner(field: &[u8]) -> Option<Owner> {
    let (name, schema) = field.split_at_checked(OWNER_NAME)?;
    Some(Owner { schema: std::str::from_utf8(schema).ok()?.into(), hash: owner_hash(name)? })
}

fn owner_hash(name: &[u8]) -> Option<OwnerHash> {
    let mut hash = [0; 32];
    let decoded = Base64UrlUnpadded::decode(name, &mut hash).ok()?.len();
    (decoded == hash.len()).then_some(OwnerHash::from_bytes(hash))
}

fn instant(name: &'static str, field: Option<&[u8]>) -> Result<Timestamp, Unreadable> {
    number(name, field).map(Timestamp::from_millis)
}

fn number<N: std::str::FromStr>(name: &'static str, field: Option<&[u8]>) -> Result<N, Unreadable> {
    field.and_then(|field| std::str::from_utf8(field).ok()?.parse().ok()).ok_or(Unreadable(name))
}

fn cell(name: &[u8], value: &[u8]) -> Cell {
    let parts = value.iter().position(|byte| *byte == b':').and_then(|colon| {
        let stamp = number("", Some(&value[..colon])).ok()?;
        Some((stamp, &value[colon + 1..]))
    });
    let (stamp, body) = parts.unwrap_or((0, value));
    damage::cell(CellKey::from(&*String::from_utf8_lossy(name)), stamp, body)
}

/// An answer of another form than our scripts have: nobody but them should be answering.
pub(super) fn unexpected(effect: Effect, what: &str) -> StoreError {
    effect.lost(format!("the server's answer to a {what} is not one of our scripts'"))
}
