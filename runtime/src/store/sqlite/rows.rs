//! Records as rows: every statement there is, each run inside a transaction or alone.

use crate::{
    record::{
        Cell, CellBody, CellKey, Cells, CommitOutcome, CreateOutcome, Header, OwnerHash, Patch, Put, Record, Selector,
        Timestamp, Want,
    },
    store::{
        batches::Page,
        damage::{cell, unreadable_header},
    },
};
use rusqlite::{Connection, OptionalExtension, Result, params, types::ValueRef};

/// One statement is one snapshot, so header and cells fit together. '~' and the character after it enclose the keys of
/// on-demand cells.
const LOAD: &str = "
    SELECT record.header, cell.key, cell.stamp, cell.body
    FROM cloakroom_record AS record
    LEFT JOIN cloakroom_cell AS cell
        ON cell.selector = record.selector AND (cell.key < '~' OR cell.key >= char(127))
    WHERE record.selector = ?1";

pub(super) fn load(db: &Connection, key: &Selector, want: &Want<'_>) -> Result<Option<Record>> {
    if want.named.is_empty() {
        return load_usual(db, key);
    }
    let snapshot = db.unchecked_transaction()?;
    let Some(mut record) = load_usual(&snapshot, key)? else { return Ok(None) };
    for name in want.named.iter().copied().map(CellKey::from).filter(CellKey::is_on_demand) {
        if let Some(cell) = load_cell(&snapshot, key, &name)? {
            record.cells.insert(cell);
        }
    }
    Ok(Some(record))
}

fn load_usual(db: &Connection, key: &Selector) -> Result<Option<Record>> {
    let mut statement = db.prepare_cached(LOAD)?;
    let mut rows = statement.query([key.as_bytes()])?;
    let (mut header, mut cells) = (None, Vec::new());
    while let Some(row) = rows.next()? {
        if header.is_none() {
            header = decode_header(key, row.get_ref(0)?.as_blob()?);
            if header.is_none() {
                return Ok(None);
            }
        }
        if let ValueRef::Text(name) = row.get_ref(1)? {
            cells.push(cell(CellKey::from(&*String::from_utf8_lossy(name)), stamp(row.get(2)?), row.get_ref(3)?.as_blob()?));
        }
    }
    Ok(header.map(|header| Record::new(header, cells.into_iter().collect())))
}

/// All 64 bits of it, which SQLite takes for a signed number.
fn stamp(column: i64) -> u64 {
    column.cast_unsigned()
}

fn load_cell(db: &Connection, key: &Selector, name: &CellKey) -> Result<Option<Cell>> {
    db.prepare_cached("SELECT stamp, body FROM cloakroom_cell WHERE selector = ?1 AND key = ?2")?
        .query_row(params![key.as_bytes(), name.as_str()], |row| {
            Ok(cell(name.clone(), stamp(row.get(0)?), row.get_ref(1)?.as_blob()?))
        })
        .optional()
}

fn load_header(db: &Connection, key: &Selector) -> Result<Option<Header>> {
    let decoded = db
        .prepare_cached("SELECT header FROM cloakroom_record WHERE selector = ?1")?
        .query_row([key.as_bytes()], |row| Ok(decode_header(key, row.get_ref(0)?.as_blob()?)))
        .optional()?;
    Ok(decoded.flatten())
}

fn decode_header(key: &Selector, bytes: &[u8]) -> Option<Header> {
    Header::decode(bytes).inspect_err(|error| unreadable_header(key, *error)).ok()
}

pub(super) fn create(db: &Connection, key: &Selector, record: &Record) -> Result<CreateOutcome> {
    let inserted = db
        .prepare_cached(
            "INSERT INTO cloakroom_record (selector, expires, owner, header) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
        )?
        .execute(header_row(key, &record.header))?;
    if inserted == 0 {
        return Ok(CreateOutcome::Exists);
    }
    for cell in &record.cells {
        put(db, key, &cell.key, cell.stamp, &cell.body)?;
    }
    Ok(CreateOutcome::Created)
}

/// Applies a patch to the header and the guarded cells, as [`Record::apply`] says, and writes what came of it. The transaction
/// holds the write lock from its first statement, so nothing changes between the check and the write.
pub(super) fn commit(db: &Connection, key: &Selector, patch: &Patch) -> Result<CommitOutcome> {
    let Some(header) = load_header(db, key)? else { return Ok(CommitOutcome::Gone) };
    let (expires, owner) = (header.expires(), header.owner.clone());
    let mut guarded = Cells::default();
    for guard in &patch.guards {
        if let Some(cell) = load_cell(db, key, &guard.key)? {
            guarded.insert(cell);
        }
    }
    let mut record = Record::new(header, guarded);
    let outcome = record.apply(patch);
    let CommitOutcome::Committed { revision, .. } = outcome else { return Ok(outcome) };
    if let Some(kept) = &patch.wipe_except {
        wipe(db, key, kept)?;
    }
    for Put { key: name, body, .. } in &patch.puts {
        put(db, key, name, revision, body)?;
    }
    let header = &record.header;
    if (header.expires(), &header.owner) == (expires, &owner) {
        // Naming an indexed column rewrites its index, even with the value it had.
        db.prepare_cached("UPDATE cloakroom_record SET header = ?2 WHERE selector = ?1")?
            .execute(params![key.as_bytes(), header.encode()])?;
    } else {
        db.prepare_cached("UPDATE cloakroom_record SET expires = ?2, owner = ?3, header = ?4 WHERE selector = ?1")?
            .execute(header_row(key, header))?;
    }
    Ok(outcome)
}

fn header_row<'a>(key: &'a Selector, header: &'a Header) -> (&'a [u8; 16], i64, Option<&'a [u8; 32]>, Vec<u8>) {
    let owner = header.owner.as_ref().map(|owner| owner.hash.as_bytes());
    (key.as_bytes(), header.expires().as_millis(), owner, header.encode())
}

fn put(db: &Connection, key: &Selector, name: &CellKey, stamp: u64, body: &CellBody) -> Result<()> {
    db.prepare_cached(
        "INSERT INTO cloakroom_cell (selector, key, stamp, body) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (selector, key) DO UPDATE SET stamp = excluded.stamp, body = excluded.body",
    )?
    .execute(params![key.as_bytes(), name.as_str(), stamp.cast_signed(), body.encode()])?;
    Ok(())
}

fn wipe(db: &Connection, key: &Selector, kept: &[CellKey]) -> Result<()> {
    let names: Vec<String> = db
        .prepare_cached("SELECT key FROM cloakroom_cell WHERE selector = ?1")?
        .query_map([key.as_bytes()], |row| row.get(0))?
        .collect::<Result<_>>()?;
    let mut remove = db.prepare_cached("DELETE FROM cloakroom_cell WHERE selector = ?1 AND key = ?2")?;
    for name in names.iter().filter(|name| !kept.iter().any(|kept| kept.as_str() == name.as_str())) {
        remove.execute(params![key.as_bytes(), name])?;
    }
    Ok(())
}

pub(super) fn delete(db: &Connection, key: &Selector) -> Result<()> {
    db.prepare_cached("DELETE FROM cloakroom_record WHERE selector = ?1")?.execute([key.as_bytes()])?;
    db.prepare_cached("DELETE FROM cloakroom_cell WHERE selector = ?1")?.execute([key.as_bytes()])?;
    Ok(())
}

/// The sessions of an owner whose selectors follow one, in the order of selectors. The index over owners has that order.
const BY_OWNER: &str = "
    SELECT selector, header FROM cloakroom_record WHERE owner = ?1 AND selector > ?2 ORDER BY selector LIMIT ?3";

/// A page of an owner's sessions, and where the next one begins if there may be one.
pub(super) fn by_owner(db: &Connection, owner: &OwnerHash, after: Option<Selector>, limit: usize) -> Result<Page> {
    let mut statement = db.prepare_cached(BY_OWNER)?;
    let after = after.as_ref().map_or(&[][..], |after| after.as_bytes());
    let mut rows = statement.query(params![owner.as_bytes(), after, as_number(limit)])?;
    let (mut found, mut last, mut count) = (Vec::new(), None, 0);
    while let Some(row) = rows.next()? {
        let key = Selector::from_bytes(row.get(0)?);
        found.extend(decode_header(&key, row.get_ref(1)?.as_blob()?).map(|header| (key, header)));
        (last, count) = (Some(key), count + 1);
    }
    Ok(Page { found, next: last.filter(|_| count == limit) })
}

pub(super) fn delete_by_owner(db: &Connection, owner: &OwnerHash, except: Option<&Selector>, limit: usize) -> Result<usize> {
    let doomed = selectors(
        db.prepare_cached("SELECT selector FROM cloakroom_record WHERE owner = ?1 AND selector IS NOT ?2 LIMIT ?3")?
            .query(params![owner.as_bytes(), except.map(Selector::as_bytes), as_number(limit)])?,
    )?;
    doomed.iter().try_for_each(|key| delete(db, key))?;
    Ok(doomed.len())
}

fn as_number(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

pub(super) fn sweep(db: &Connection, now: Timestamp, limit: usize) -> Result<usize> {
    let expired = selectors(
        db.prepare_cached("SELECT selector FROM cloakroom_record WHERE expires <= ?1 ORDER BY expires LIMIT ?2")?
            .query(params![now.as_millis(), as_number(limit)])?,
    )?;
    expired.iter().try_for_each(|key| delete(db, key))?;
    Ok(expired.len())
}

fn selectors(mut rows: rusqlite::Rows<'_>) -> Result<Vec<Selector>> {
    let mut keys = Vec::new();
    while let Some(row) = rows.next()? {
        keys.push(Selector::from_bytes(row.get(0)?));
    }
    Ok(keys)
}
