//! Records as rows: every statement there is, each one round trip.

use super::{Lent, failure::Failure, names::Names};
use crate::{
    record::{
        CellKey, Cells, CommitOutcome, CreateOutcome, Deadlines, Extensions, Header, Owner, OwnerChange, OwnerHash, Patch,
        Previous, PreviousState, Record, Rotation, SecretHash, Selector, Timestamp, Want, WireError, WrappedKey,
    },
    store::{
        batches::Page,
        damage::{self, unreadable_header},
    },
};
use bytes::BytesMut;
use std::{error::Error, fmt, sync::Arc};
use tokio_postgres::{
    Client, Row, Statement,
    types::{IsNull, ToSql, Type},
};

/// The columns of a header, in the order in which [`header`] reads them.
const HEADER: &str = "r.revision, r.epoch, r.created, r.last_seen, r.idle_until, r.absolute_until, r.authenticated_at, r.persistent, \
     r.secret_hash, r.wrapped_key, r.previous_hash, r.previous_key, r.previous_state, r.previous_since, r.owner_hash, \
     r.owner_schema, r.label, r.extensions";
const HEADER_COLUMNS: usize = 18;

/// One statement is one snapshot, so header and cells fit together; one row, so the header is sent once. '~' and the byte after it
/// enclose the keys of on-demand cells.
const LOAD: &str = "SELECT {header}, c.keys, c.stamps, c.bodies FROM cloakroom_record AS r, LATERAL (\
     SELECT array_agg(c.key) AS keys, array_agg(c.stamp) AS stamps, array_agg(c.body) AS bodies FROM cloakroom_cell AS c \
     WHERE c.selector = r.selector AND (c.key < '~'::bytea OR c.key >= decode('7f', 'hex') OR c.key = ANY ($2))) AS c \
     WHERE r.selector = $1";

/// A page of an owner's sessions, in the order of their selectors.
const BY_OWNER: &str = "SELECT {header}, r.selector FROM cloakroom_record AS r \
     WHERE r.owner_hash = $1 AND r.selector > $2 ORDER BY r.selector LIMIT $3";

const CREATE: &str = "SELECT cloakroom_create_1";
const COMMIT: &str = "SELECT * FROM cloakroom_commit_1";
const DELETE: &str = "SELECT cloakroom_delete_1";
const DELETE_BY_OWNER: &str = "SELECT cloakroom_delete_by_owner_1";
const SWEEP: &str = "SELECT cloakroom_sweep_1";

/// The statements with the names of one store's tables.
pub(super) struct Statements {
    load: String,
    by_owner: String,
    create: String,
    commit: String,
    usual_commit: String,
    delete: String,
    delete_by_owner: String,
    sweep: String,
}

/// What a connection of our own has prepared: what nearly every request needs. The rest is parsed when it comes.
pub(super) struct Prepared {
    load: Statement,
    usual_commit: Statement,
}

impl Statements {
    pub(super) fn new(names: &Names) -> Self {
        let sql = |text: &str| names.sql(&text.replace("{header}", HEADER));
        let commit = sql(COMMIT);
        let mut usual_commit = Call::new(&commit);
        for (name, _) in USUAL {
            usual_commit.name(name);
        }
        Self {
            load: sql(LOAD),
            by_owner: sql(BY_OWNER),
            create: sql(CREATE),
            usual_commit: usual_commit.sql(),
            commit,
            delete: sql(DELETE),
            delete_by_owner: sql(DELETE_BY_OWNER),
            sweep: sql(SWEEP),
        }
    }

    pub(super) async fn prepare(&self, client: &Client) -> Result<Prepared, Failure> {
        let usual: Vec<Type> = USUAL.map(|(_, kind)| kind).into();
        Ok(Prepared {
            load: client.prepare_typed(&self.load, &[Type::BYTEA, Type::BYTEA_ARRAY]).await?,
            usual_commit: client.prepare_typed(&self.usual_commit, &usual).await?,
        })
    }
}

/// A call of a function of ours, with the arguments that have something to say: all others have defaults.
struct Call<'a> {
    sql: String,
    arguments: Vec<(Argument<'a>, Type)>,
    named: usize,
}

type Argument<'a> = Box<dyn ToSql + Sync + Send + 'a>;

impl<'a> Call<'a> {
    fn new(function: &str) -> Self {
        Self { sql: format!("{function}("), arguments: Vec::new(), named: 0 }
    }

    fn name(&mut self, name: &str) {
        let comma = if self.named == 0 { "" } else { ", " };
        self.named += 1;
        self.sql.push_str(&format!("{comma}{name} => ${}", self.named));
    }

    fn with(mut self, name: &str, kind: Type, argument: impl ToSql + Sync + Send + 'a) -> Self {
        self.name(name);
        self.arguments.push((Box::new(argument), kind));
        self
    }

    fn maybe(self, name: &str, kind: Type, argument: Option<impl ToSql + Sync + Send + 'a>) -> Self {
        match argument {
            Some(argument) => self.with(name, kind, argument),
            None => self,
        }
    }

    fn sql(mut self) -> String {
        self.sql.push(')');
        self.sql
    }

    async fn row(self, client: &Client) -> Result<Row, Failure> {
        let arguments: Vec<(&(dyn ToSql + Sync), Type)> =
            self.arguments.iter().map(|(argument, kind)| (&**argument as &(dyn ToSql + Sync), kind.clone())).collect();
        Ok(client.query_typed_one(&format!("{})", self.sql), &arguments).await?)
    }
}

/// An argument that the client's own log does not repeat, as it does all others of prepared statements.
struct Quiet<'a>(&'a (dyn ToSql + Sync));

impl fmt::Debug for Quiet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("..")
    }
}

impl ToSql for Quiet<'_> {
    fn to_sql(&self, kind: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        self.0.to_sql_checked(kind, out)
    }

    fn accepts(_: &Type) -> bool {
        // The argument itself says so when it is encoded.
        true
    }

    fn to_sql_checked(&self, kind: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        self.0.to_sql_checked(kind, out)
    }
}

fn as_arguments<'a, const N: usize>(quiet: &'a [Quiet<'a>; N]) -> [&'a (dyn ToSql + Sync); N] {
    quiet.each_ref().map(|argument| argument as &(dyn ToSql + Sync))
}

fn bytes(bytes: &[u8; 32]) -> &[u8] {
    bytes
}

pub(super) async fn load(
    lent: Lent,
    statements: &Statements,
    key: &Selector,
    want: &Want<'_>,
) -> Result<Option<Record>, Failure> {
    let selector = &key.as_bytes()[..];
    let named: Vec<&[u8]> = want.named.iter().filter(|name| name.starts_with('~')).map(|name| name.as_bytes()).collect();
    let named = (!named.is_empty()).then_some(named);
    let row = match lent.prepared(statements).await? {
        Some(prepared) => {
            let arguments = [Quiet(&selector), Quiet(&named)];
            lent.client().query_opt(&prepared.load, &as_arguments(&arguments)).await?
        }
        None => {
            let arguments: [(&(dyn ToSql + Sync), Type); 2] = [(&selector, Type::BYTEA), (&named, Type::BYTEA_ARRAY)];
            lent.client().query_typed_opt(&statements.load, &arguments).await?
        }
    };
    let Some(row) = row else { return Ok(None) };
    let Some(header) = header(key, &row)? else { return Ok(None) };
    Ok(Some(Record::new(header, cells(&row, HEADER_COLUMNS)?)))
}

/// The cells of three arrays from that column on; nulls where there are none.
fn cells(row: &Row, from: usize) -> Result<Cells, Failure> {
    let keys: Vec<&[u8]> = row.try_get::<_, Option<_>>(from)?.unwrap_or_default();
    let stamps: Vec<i64> = row.try_get::<_, Option<_>>(from + 1)?.unwrap_or_default();
    let bodies: Vec<&[u8]> = row.try_get::<_, Option<_>>(from + 2)?.unwrap_or_default();
    let cells = keys.into_iter().zip(stamps).zip(bodies);
    let key = |bytes| CellKey::from(&*String::from_utf8_lossy(bytes));
    Ok(cells.map(|((name, stamp), body)| damage::cell(key(name), stamp.cast_unsigned(), body)).collect())
}

/// The header of a row, or none if its values are not what a header has.
fn header(key: &Selector, row: &Row) -> Result<Option<Header>, Failure> {
    let number = |column| row.try_get::<_, i64>(column);
    let instant = |column| number(column).map(Timestamp::from_millis);
    let secrets: (&[u8], &[u8]) = (row.try_get(8)?, row.try_get(9)?);
    let previous_secrets: (Option<&[u8]>, Option<&[u8]>) = (row.try_get(10)?, row.try_get(11)?);
    let previous_state: (Option<i16>, Option<i64>) = (row.try_get(12)?, row.try_get(13)?);
    let owner: (Option<&[u8]>, Option<&[u8]>) = (row.try_get(14)?, row.try_get(15)?);
    let (revision, epoch) = (number(0)?.cast_unsigned(), number(1)?);
    let (created, last_seen, idle_until, absolute_until) = (instant(2)?, instant(3)?, instant(4)?, instant(5)?);
    let authenticated_at = row.try_get::<_, Option<i64>>(6)?.map(Timestamp::from_millis);
    let persistent = row.try_get(7)?;
    let label: Option<&[u8]> = row.try_get(16)?;
    let extensions: Option<&[u8]> = row.try_get(17)?;
    let read = || {
        let mut header = Header::new(
            SecretHash::from_bytes(exactly(secrets.0)?),
            WrappedKey::from_bytes(exactly(secrets.1)?),
            created,
            idle_until,
            absolute_until,
        );
        header.revision = revision;
        header.epoch = u32::try_from(epoch).map_err(|_| WireError::Overlong)?;
        header.last_seen = last_seen;
        header.authenticated_at = authenticated_at;
        header.persistent = persistent;
        header.label = label.map(text).transpose()?;
        header.extensions = Extensions::decode(extensions.unwrap_or_default())?;
        header.previous = match (previous_secrets, previous_state) {
            ((None, None), (None, None)) => None,
            ((Some(hash), Some(wrapped)), (Some(state), Some(since))) => Some(Previous {
                secret_hash: SecretHash::from_bytes(exactly(hash)?),
                wrapped_key: WrappedKey::from_bytes(exactly(wrapped)?),
                state: state_of(state)?,
                since: Timestamp::from_millis(since),
            }),
            _ => return Err(WireError::Truncated),
        };
        header.owner = match owner {
            (None, None) => None,
            (Some(hash), Some(schema)) => Some(Owner { schema: text(schema)?, hash: OwnerHash::from_bytes(exactly(hash)?) }),
            _ => return Err(WireError::Truncated),
        };
        Ok(header)
    };
    Ok(read().inspect_err(|error| unreadable_header(key, *error)).ok())
}

fn exactly<const N: usize>(bytes: &[u8]) -> Result<[u8; N], WireError> {
    let short = if bytes.len() < N { WireError::Truncated } else { WireError::Trailing };
    bytes.try_into().map_err(|_| short)
}

fn text(bytes: &[u8]) -> Result<Arc<str>, WireError> {
    str::from_utf8(bytes).map(Into::into).map_err(|_| WireError::BadText)
}

fn number_of(state: PreviousState) -> i16 {
    match state {
        PreviousState::Pending => 0,
        PreviousState::Superseded => 1,
        PreviousState::Revoked => 2,
    }
}

fn state_of(number: i16) -> Result<PreviousState, WireError> {
    match number {
        0 => Ok(PreviousState::Pending),
        1 => Ok(PreviousState::Superseded),
        2 => Ok(PreviousState::Revoked),
        other => Err(WireError::BadFlags(other as u8)),
    }
}

pub(super) async fn create(
    lent: Lent,
    statements: &Statements,
    key: &Selector,
    record: &Record,
) -> Result<CreateOutcome, Failure> {
    let Record { header, cells } = record;
    let (previous, owner) = (header.previous.as_ref(), header.owner.as_ref());
    let keys: Vec<&[u8]> = cells.iter().map(|cell| cell.key.as_bytes()).collect();
    let stamps: Vec<i64> = cells.iter().map(|cell| cell.stamp.cast_signed()).collect();
    let bodies: Vec<Vec<u8>> = cells.iter().map(|cell| cell.body.encode()).collect();
    let call = Call::new(&statements.create)
        .with("p_selector", Type::BYTEA, &key.as_bytes()[..])
        .with("p_revision", Type::INT8, header.revision.cast_signed())
        .with("p_epoch", Type::INT8, i64::from(header.epoch))
        .with("p_created", Type::INT8, header.created.as_millis())
        .with("p_last_seen", Type::INT8, header.last_seen.as_millis())
        .with("p_idle_until", Type::INT8, header.idle_until.as_millis())
        .with("p_absolute_until", Type::INT8, header.absolute_until.as_millis())
        .maybe("p_authenticated_at", Type::INT8, header.authenticated_at.map(Timestamp::as_millis))
        .with("p_persistent", Type::BOOL, header.persistent)
        .with("p_secret_hash", Type::BYTEA, bytes(header.secret_hash.as_bytes()))
        .with("p_wrapped_key", Type::BYTEA, bytes(header.wrapped_key.as_bytes()))
        .maybe("p_previous_hash", Type::BYTEA, previous.map(|previous| bytes(previous.secret_hash.as_bytes())))
        .maybe("p_previous_key", Type::BYTEA, previous.map(|previous| bytes(previous.wrapped_key.as_bytes())))
        .maybe("p_previous_state", Type::INT2, previous.map(|previous| number_of(previous.state)))
        .maybe("p_previous_since", Type::INT8, previous.map(|previous| previous.since.as_millis()))
        .maybe("p_owner_hash", Type::BYTEA, owner.map(|owner| bytes(owner.hash.as_bytes())))
        .maybe("p_owner_schema", Type::BYTEA, owner.map(|owner| owner.schema.as_bytes()))
        .maybe("p_label", Type::BYTEA, header.label.as_deref().map(str::as_bytes))
        .maybe("p_extensions", Type::BYTEA, Some(header.extensions.encode()).filter(|parts| !parts.is_empty()))
        .with("p_keys", Type::BYTEA_ARRAY, keys)
        .with("p_stamps", Type::INT8_ARRAY, stamps)
        .with("p_bodies", Type::BYTEA_ARRAY, bodies);
    let created = call.row(lent.client()).await?.try_get(0)?;
    Ok(if created { CreateOutcome::Created } else { CreateOutcome::Exists })
}

/// What a commit usually has to say, whose statement is prepared once: arguments that are not needed are nulls there.
const USUAL: [(&str, Type); 10] = [
    ("p_selector", Type::BYTEA),
    ("p_epoch", Type::INT8),
    ("p_now", Type::INT8),
    ("p_put_keys", Type::BYTEA_ARRAY),
    ("p_put_bodies", Type::BYTEA_ARRAY),
    ("p_guard_keys", Type::BYTEA_ARRAY),
    ("p_guard_stamps", Type::INT8_ARRAY),
    ("p_roll_seen", Type::INT8),
    ("p_roll_idle", Type::INT8),
    ("p_presented", Type::BYTEA),
];

pub(super) async fn commit(
    lent: Lent,
    statements: &Statements,
    key: &Selector,
    patch: &Patch,
) -> Result<CommitOutcome, Failure> {
    let selector = &key.as_bytes()[..];
    let (epoch, now) = (i64::from(patch.epoch), patch.now.as_millis());
    let puts = (!patch.puts.is_empty()).then_some(&patch.puts);
    let put_keys: Option<Vec<&[u8]>> = puts.map(|puts| puts.iter().map(|put| put.key.as_bytes()).collect());
    let put_bodies: Option<Vec<Vec<u8>>> = puts.map(|puts| puts.iter().map(|put| put.body.encode()).collect());
    let guards = (!patch.guards.is_empty()).then_some(&patch.guards);
    let guard_keys: Option<Vec<&[u8]>> = guards.map(|guards| guards.iter().map(|guard| guard.key.as_bytes()).collect());
    let guard_stamps: Option<Vec<i64>> = guards.map(|guards| guards.iter().map(|guard| guard.stamp.cast_signed()).collect());
    let (roll, reset) = match patch.deadlines {
        Some(Deadlines::Roll { last_seen, idle_until }) => (Some((last_seen.as_millis(), idle_until.as_millis())), None),
        Some(Deadlines::Reset { created, last_seen, idle_until, absolute_until }) => {
            (None, Some([created, last_seen, idle_until, absolute_until].map(Timestamp::as_millis)))
        }
        None => (None, None),
    };
    let (roll_seen, roll_idle) = roll.unzip();
    let presented = patch.presented.as_ref().map(|hash| bytes(hash.as_bytes()));
    let row = match lent.prepared(statements).await? {
        Some(prepared) if is_usual(patch) => {
            let arguments: [&(dyn ToSql + Sync); 10] = [
                &selector,
                &epoch,
                &now,
                &put_keys,
                &put_bodies,
                &guard_keys,
                &guard_stamps,
                &roll_seen,
                &roll_idle,
                &presented,
            ];
            let arguments = arguments.map(Quiet);
            lent.client().query_one(&prepared.usual_commit, &as_arguments(&arguments)).await?
        }
        _ => {
            let rotation = patch.rotation.as_ref().map(|rotation| match rotation {
                Rotation::Privilege { to, wrapped_key } => (None, to, wrapped_key),
                Rotation::Renewal { from, to, wrapped_key } => (Some(from), to, wrapped_key),
            });
            let owner = patch.owner.as_ref().map(|change| match change {
                OwnerChange::Set(owner) => Some(owner),
                OwnerChange::Clear => None,
            });
            let kept = patch.wipe_except.as_ref().map(|kept| kept.iter().map(|key| key.as_bytes()).collect::<Vec<&[u8]>>());
            Call::new(&statements.commit)
                .with("p_selector", Type::BYTEA, selector)
                .with("p_epoch", Type::INT8, epoch)
                .with("p_now", Type::INT8, now)
                .maybe("p_put_keys", Type::BYTEA_ARRAY, put_keys)
                .maybe("p_put_bodies", Type::BYTEA_ARRAY, put_bodies)
                .maybe("p_guard_keys", Type::BYTEA_ARRAY, guard_keys)
                .maybe("p_guard_stamps", Type::INT8_ARRAY, guard_stamps)
                .maybe("p_wipe_except", Type::BYTEA_ARRAY, kept)
                .maybe("p_roll_seen", Type::INT8, roll_seen)
                .maybe("p_roll_idle", Type::INT8, roll_idle)
                .maybe("p_reset_created", Type::INT8, reset.map(|[created, ..]| created))
                .maybe("p_reset_seen", Type::INT8, reset.map(|[_, seen, ..]| seen))
                .maybe("p_reset_idle", Type::INT8, reset.map(|[.., idle, _]| idle))
                .maybe("p_reset_absolute", Type::INT8, reset.map(|[.., absolute]| absolute))
                .maybe("p_presented", Type::BYTEA, presented)
                .maybe("p_rotate_from", Type::BYTEA, rotation.and_then(|(from, ..)| from).map(|hash| bytes(hash.as_bytes())))
                .maybe("p_rotate_to", Type::BYTEA, rotation.map(|(_, to, _)| bytes(to.as_bytes())))
                .maybe("p_rotate_key", Type::BYTEA, rotation.map(|(.., wrapped)| bytes(wrapped.as_bytes())))
                .maybe("p_set_owner", Type::BOOL, owner.map(|_| true))
                .maybe("p_owner_hash", Type::BYTEA, owner.flatten().map(|owner| bytes(owner.hash.as_bytes())))
                .maybe("p_owner_schema", Type::BYTEA, owner.flatten().map(|owner| owner.schema.as_bytes()))
                .maybe("p_set_authenticated", Type::BOOL, patch.authenticated_at.map(|_| true))
                .maybe("p_authenticated_at", Type::INT8, patch.authenticated_at.flatten().map(Timestamp::as_millis))
                .maybe("p_persistent", Type::BOOL, patch.persistent)
                .maybe("p_set_label", Type::BOOL, patch.label.as_ref().map(|_| true))
                .maybe("p_label", Type::BYTEA, patch.label.as_ref().and_then(Option::as_deref).map(str::as_bytes))
                .maybe("p_loaded", Type::INT8, patch.loaded_at.map(Timestamp::as_millis))
                .maybe("p_extensions", Type::BYTEA, patch.extensions.as_ref().map(Extensions::encode))
                .row(lent.client())
                .await?
        }
    };
    if let Some(revision) = row.try_get::<_, Option<i64>>(0)? {
        return Ok(CommitOutcome::Committed { revision: revision.cast_unsigned(), rotated: row.try_get(1)? });
    }
    if row.try_get::<_, Option<Vec<&[u8]>>>(2)?.is_some() {
        return Ok(CommitOutcome::Conflict { cells: cells(&row, 2)?.iter().cloned().collect() });
    }
    Ok(CommitOutcome::Gone)
}

fn is_usual(patch: &Patch) -> bool {
    patch.wipe_except.is_none()
        && patch.rotation.is_none()
        && patch.owner.is_none()
        && patch.authenticated_at.is_none()
        && patch.persistent.is_none()
        && patch.label.is_none()
        && patch.extensions.is_none()
        && patch.loaded_at.is_none()
        && !matches!(patch.deadlines, Some(Deadlines::Reset { .. }))
}

pub(super) async fn delete(lent: Lent, statements: &Statements, key: &Selector) -> Result<(), Failure> {
    Call::new(&statements.delete).with("p_selectors", Type::BYTEA_ARRAY, vec![&key.as_bytes()[..]]).row(lent.client()).await?;
    Ok(())
}

pub(super) async fn by_owner(
    lent: Lent,
    statements: &Statements,
    owner: &OwnerHash,
    after: Option<Selector>,
    limit: usize,
) -> Result<Page, Failure> {
    let after = after.as_ref().map_or(&[][..], |after| after.as_bytes());
    let arguments: [(&(dyn ToSql + Sync), Type); 3] =
        [(&bytes(owner.as_bytes()), Type::BYTEA), (&after, Type::BYTEA), (&as_number(limit), Type::INT8)];
    let rows = lent.client().query_typed(&statements.by_owner, &arguments).await?;
    let (mut found, mut last) = (Vec::with_capacity(rows.len()), None);
    for row in &rows {
        let Ok(selector) = exactly(row.try_get(HEADER_COLUMNS)?) else { continue };
        let key = Selector::from_bytes(selector);
        found.extend(header(&key, row)?.map(|header| (key, header)));
        last = Some(key);
    }
    Ok(Page { found, next: last.filter(|_| rows.len() == limit) })
}

pub(super) async fn delete_by_owner(
    lent: Lent,
    statements: &Statements,
    owner: &OwnerHash,
    except: Option<&Selector>,
    limit: usize,
) -> Result<usize, Failure> {
    let call = Call::new(&statements.delete_by_owner)
        .with("p_owner", Type::BYTEA, bytes(owner.as_bytes()))
        .with("p_except", Type::BYTEA, except.map(|key| &key.as_bytes()[..]))
        .with("p_limit", Type::INT8, as_number(limit));
    count(&call.row(lent.client()).await?)
}

pub(super) async fn sweep(lent: Lent, statements: &Statements, past: Timestamp, limit: usize) -> Result<usize, Failure> {
    let call =
        Call::new(&statements.sweep).with("p_past", Type::INT8, past.as_millis()).with("p_limit", Type::INT8, as_number(limit));
    count(&call.row(lent.client()).await?)
}

fn as_number(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

fn count(row: &Row) -> Result<usize, Failure> {
    Ok(usize::try_from(row.try_get::<_, i64>(0)?).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_do_not_reach_the_clients_log() {
        let value = "a field's value";
        let arguments = [Quiet(&value)];
        assert_eq!(format!("{:?}", as_arguments(&arguments)), "[..]");
    }

    #[test]
    fn a_call_names_what_it_passes_and_no_more() {
        let call =
            Call::new("f").with("a", Type::INT8, 1i64).maybe("b", Type::INT8, None::<i64>).maybe("c", Type::INT8, Some(2i64));
        assert_eq!(call.sql(), "f(a => $1, c => $2)");
    }
}
