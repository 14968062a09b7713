//! Every statement there is, as text: one batch is one round trip.
//!
//! Values are integers or hexadecimal literals, so nothing needs escaping whatever the server's modes and character sets are.
//!
//! # Whole or absent
//!
//! A client may be gone before its batch has run: its future was dropped, its connection was cut, it waited no longer. The server
//! has either received the whole packet or runs nothing of it. What it has received it runs statement by statement:
//!
//! - *The client is gone.* The server notices only when it sends an answer, and then it depends on the statement. An answer of rows
//!   that fails is an error of its statement. An answer without rows that fails is not: the server runs the next statement, and
//!   `COMMIT` at the end, as if nothing had happened, **but `ROW_COUNT()` is -1 from then on**. So no statement asks `ROW_COUNT()`.
//! - *A statement fails* (a wait for a lock is over, a deadlock, a full disk, a duplicate): the server skips the rest of the packet,
//!   `COMMIT` included. What the transaction has done so far is undone when the client says `ROLLBACK` or its connection ends. The
//!   client says nothing else on such a connection.
//! - *The connection or the statement is killed, or the server stops*: as if the statement had failed.
//!
//! So a batch is whole or absent if it is one statement, or if it is one transaction and no statement in it does anything but what
//! the client wanted, given that those before it have succeeded. `create` and the deletions fulfil that without any state: their
//! statements depend on tables alone. Those of a commit depend on one variable of the session besides, `LAST_INSERT_ID()`. It
//! changes by an expression that sets it or by an insert that draws an `AUTO_INCREMENT`. Our tables draw none, the batch itself
//! resets it at its beginning, only its update sets it after that, and no failure to answer touches it.

use crate::record::{
    Cell, CellBody, CellKey, Deadlines, Extensions, Header, OwnerChange, OwnerHash, Patch, PreviousState, Put, Record,
    Rotation, Selector, Timestamp, Want,
};
use std::fmt::{self, Display, Write as _};

/// The columns of a record that make up its header, in the order in which [`rows`](super::rows) reads and [`create`](Tables::create)
/// writes them. `expires` is not among them: the server computes it.
const HEADER: &str = "revision, epoch, created, last_seen, idle_until, absolute_until, secret, wrapped_key, previous_secret, \
                      previous_key, previous_state, previous_since, owner, owner_schema, authenticated_at, persistent, label, extensions";

/// Whether the update of a commit has found the session as it has to be. A revision is 1 at least.
const WRITES: &str = "LAST_INSERT_ID()";

/// The tables' file, written for the usual prefix.
const FILE: &str = include_str!("../../../sql/mysql.sql");
const USUAL_PREFIX: &str = "cloakroom_";

/// The names of one store's tables.
#[derive(Clone, Debug)]
pub(super) struct Tables {
    prefix: String,
}

/// Several statements that travel together, each answered by itself.
#[derive(Default)]
pub(super) struct Batch {
    text: String,
    statements: usize,
}

impl Batch {
    /// Adds a statement and says which of the answers will be its own.
    fn add(&mut self, statement: fmt::Arguments<'_>) -> usize {
        if self.statements > 0 {
            self.text.push(';');
        }
        // Writing to a string cannot fail.
        let _ = self.text.write_fmt(statement);
        self.statements += 1;
        self.statements - 1
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

/// A commit's batch, and where in its answers the outcome stands.
pub(super) struct Commit {
    pub(super) batch: Batch,
    /// Has a row if the session lives, which says whether a renewal replaces the current secret.
    pub(super) locked: Option<usize>,
    /// Has the new revision as its insert id if everything was written.
    pub(super) updated: usize,
    /// Has the guarded cells if nothing was written.
    pub(super) guarded: Option<usize>,
}

impl Default for Tables {
    fn default() -> Self {
        Self { prefix: USUAL_PREFIX.to_owned() }
    }
}

impl Tables {
    /// # Errors
    /// What is wrong with the prefix, and what to type.
    pub(super) fn with_prefix(prefix: &str) -> Result<Self, String> {
        const LONGEST: usize = 32;
        if prefix.len() <= LONGEST && prefix.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return Ok(Self { prefix: prefix.to_owned() });
        }
        Err(format!(
            "the table prefix {prefix:?} is not possible: give up to {LONGEST} of A-Z, a-z, 0-9 and '_', such as \"shop_sessions_\""
        ))
    }

    /// The statements that make the tables where they are not.
    pub(super) fn make(&self) -> String {
        Self::sql(&self.prefix)
    }

    pub(super) fn sql(prefix: &str) -> String {
        FILE.replace(USUAL_PREFIX, prefix)
    }

    pub(super) fn version(&self) -> String {
        format!("SELECT MAX(version) FROM `{}schema`", self.prefix)
    }

    fn record(&self) -> Table<'_> {
        Table(&self.prefix, "record")
    }

    fn cell(&self) -> Table<'_> {
        Table(&self.prefix, "cell")
    }

    /// One statement is one snapshot, so header and cells fit together. '~' and the character after it enclose the names of
    /// on-demand cells.
    pub(super) fn load(&self, key: &Selector, want: &Want<'_>) -> String {
        let (record, cell, key) = (self.record(), self.cell(), Hex(key.as_bytes()));
        let named = if want.named.is_empty() {
            String::new()
        } else {
            format!(" OR name IN ({})", List(want.named.iter().map(|name| Hex(name.as_bytes()))))
        };
        format!(
            "SELECT name, stamp, body, {HEADER} FROM {record} AS record LEFT JOIN {cell} AS cell \
             ON cell.selector = record.selector AND (name < x'7e' OR name >= x'7f'{named}) WHERE record.selector = {key}"
        )
    }

    /// Fails with a duplicate key where the selector is taken.
    pub(super) fn create(&self, key: &Selector, record: &Record) -> Batch {
        let (key, header) = (Hex(key.as_bytes()), &record.header);
        let mut batch = Batch::default();
        let alone = record.cells.is_empty();
        if !alone {
            batch.add(format_args!("BEGIN"));
        }
        batch.add(format_args!(
            "INSERT INTO {} (selector, {HEADER}) VALUES ({key}, {})",
            self.record(),
            List(header_values(header).iter())
        ));
        if !alone {
            let row = |cell: &Cell| format!("({key}, {}, {}, {})", name(&cell.key), cell.stamp, body(&cell.body));
            batch.add(format_args!(
                "INSERT INTO {} (selector, name, stamp, body) VALUES {}",
                self.cell(),
                List(record.cells.iter().map(row))
            ));
            batch.add(format_args!("COMMIT"));
        }
        batch
    }

    /// The record's row is locked before anything else is looked at, and every writer does so in that order, so what the later
    /// statements see is the latest, under whatever isolation.
    ///
    /// The update sets `LAST_INSERT_ID()` to the new revision if it finds the session as it has to be, and every later statement
    /// does something only if that is set. It is the one variable that an update can set and whose answer carries it. See the
    /// [module](self) for why the batch is whole or absent.
    pub(super) fn commit(&self, key: &Selector, patch: &Patch) -> Commit {
        let (record, cell, key) = (self.record(), self.cell(), Hex(key.as_bytes()));
        let (epoch, now, used) = (patch.epoch, patch.now.as_millis(), patch.used_at().as_millis());
        let live = format!("selector = {key} AND epoch = {epoch} AND idle_until > {used} AND absolute_until > {now}");
        let guards = &patch.guards;
        let (is_renewal, renews) = match &patch.rotation {
            Some(Rotation::Renewal { from, .. }) => (true, format!("secret = {}", Hex(from.as_bytes()))),
            Some(Rotation::Privilege { .. }) | None => (false, "1".to_owned()),
        };

        let mut batch = Batch::default();
        let looks_first = is_renewal || !guards.is_empty();
        let alone = !looks_first && !patch.carries_cells();
        if !alone {
            batch.add(format_args!("BEGIN"));
            batch.add(format_args!("DO LAST_INSERT_ID(0)"));
        }
        let locked = looks_first.then(|| batch.add(format_args!("SELECT {renews} FROM {record} WHERE {live} FOR UPDATE")));
        let mut hold = String::new();
        for guard in guards {
            let (name, stamp) = (name(&guard.key), guard.stamp);
            let _ =
                write!(hold, " AND COALESCE((SELECT stamp FROM {cell} WHERE selector = {key} AND name = {name}), 0) = {stamp}");
        }
        let updated = batch.add(format_args!("UPDATE {record} SET {} WHERE {live}{hold}", Assignments(patch)));
        if let Some(kept) = &patch.wipe_except {
            let spared = kept.iter().chain(patch.puts.iter().map(|put| &put.key)).map(name).collect::<Vec<_>>();
            let spared = if spared.is_empty() { String::new() } else { format!(" AND name NOT IN ({})", List(spared.iter())) };
            batch.add(format_args!("DELETE FROM {cell} WHERE selector = {key} AND {WRITES}{spared}"));
        }
        for Put { key: put, body: value, .. } in &patch.puts {
            batch.add(format_args!(
                "INSERT {cell} (selector, name, stamp, body) SELECT {key}, {}, LAST_INSERT_ID(), {} FROM DUAL WHERE {WRITES} \
                 ON DUPLICATE KEY UPDATE stamp=VALUES(stamp), body=VALUES(body)",
                name(put),
                body(value)
            ));
        }
        let guarded = (!guards.is_empty()).then(|| {
            batch.add(format_args!(
                "SELECT name, stamp, body FROM {cell} WHERE selector = {key} AND NOT ({WRITES}) AND name IN ({})",
                List(guards.iter().map(|guard| name(&guard.key)))
            ))
        });
        if !alone {
            batch.add(format_args!("COMMIT"));
        }
        Commit { batch, locked, updated, guarded }
    }

    pub(super) fn delete(&self, key: &Selector) -> String {
        self.delete_if(key, "TRUE")
    }

    /// Deletes a record that still meets a condition, with its cells: one statement, so that they go together. The record is read,
    /// and locked, before its cells are looked for; those of one that has come meanwhile stay.
    fn delete_if(&self, key: &Selector, condition: &str) -> String {
        let (record, cell, key) = (self.record(), self.cell(), Hex(key.as_bytes()));
        format!(
            "DELETE record, cell FROM {record} AS record LEFT JOIN {cell} AS cell ON cell.selector = record.selector \
             WHERE record.selector = {key} AND {condition}"
        )
    }

    /// A page of an owner's sessions, behind the last one of the page before. The index of owners ends with the selector, as every
    /// index does, so a page is a piece of it.
    pub(super) fn by_owner(&self, owner: &OwnerHash, after: Option<&Selector>, limit: usize) -> String {
        let (record, owner, after) = (self.record(), Hex(owner.as_bytes()), After(after));
        format!(
            "SELECT selector, {HEADER} FROM {record} AS record WHERE owner = {owner}{after} ORDER BY record.selector LIMIT {limit}"
        )
    }

    /// An owner's sessions, save one.
    pub(super) fn owned(&self, owner: &OwnerHash, except: Option<&Selector>) -> Doomed<'_> {
        let except = except.map_or(String::new(), |key| format!(" AND record.selector <> {}", Hex(key.as_bytes())));
        let condition = format!("owner = {}{except}", Hex(owner.as_bytes()));
        Doomed { tables: self, order: "selector", condition, locked: "" }
    }

    /// Expired sessions. Those that a request is at work on are left for the next time.
    pub(super) fn expired(&self, now: Timestamp) -> Doomed<'_> {
        let condition = format!("expires <= {}", now.as_millis());
        Doomed { tables: self, order: "expires", condition, locked: " SKIP LOCKED" }
    }
}

/// Records that are to be deleted, some at a time.
pub(super) struct Doomed<'a> {
    tables: &'a Tables,
    order: &'static str,
    condition: String,
    /// What becomes of those that another transaction has locked.
    locked: &'static str,
}

impl Doomed<'_> {
    /// Begins a transaction with the locks of some of them, and answers their selectors.
    pub(super) fn lock(&self, after: Option<&Selector>, limit: usize) -> Batch {
        let Self { tables, order, condition, locked } = self;
        let mut batch = Batch::default();
        batch.add(format_args!("BEGIN"));
        batch.add(format_args!(
            "SELECT selector FROM {} AS record WHERE {condition}{} ORDER BY record.{order} LIMIT {limit} FOR UPDATE{locked}",
            tables.record(),
            After(after)
        ));
        batch
    }

    /// Ends such a transaction, deleting what it has locked. Each statement asks for itself whether its record is to go.
    pub(super) fn delete(&self, keys: &[Selector]) -> Batch {
        let mut batch = Batch::default();
        // One by one: a long list may be looked for in the whole table, and wait there for what requests have locked.
        for key in keys {
            batch.add(format_args!("{}", self.tables.delete_if(key, &self.condition)));
        }
        batch.add(format_args!("COMMIT"));
        batch
    }
}

/// What a patch does to the header. A server may evaluate these one after the other, each on what the earlier ones left, so a
/// column is read before it is written.
struct Assignments<'a>(&'a Patch);

impl Display for Assignments<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let patch = self.0;
        write!(f, "revision = LAST_INSERT_ID(revision{})", if patch.carries_cells() { " + 1" } else { "" })?;
        match patch.deadlines {
            None => {}
            Some(Deadlines::Roll { last_seen, idle_until }) => {
                let (last_seen, idle_until) = (last_seen.as_millis(), idle_until.as_millis());
                write!(f, ", last_seen = GREATEST(last_seen, {last_seen}), idle_until = GREATEST(idle_until, {idle_until})")?;
            }
            Some(Deadlines::Reset { created, last_seen, idle_until, absolute_until }) => {
                for (column, at) in [
                    ("created", created),
                    ("last_seen", last_seen),
                    ("idle_until", idle_until),
                    ("absolute_until", absolute_until),
                ] {
                    write!(f, ", {column} = {}", at.as_millis())?;
                }
            }
        }
        if let Some(owner) = &patch.owner {
            let owner = match owner {
                OwnerChange::Set(owner) => Some(owner),
                OwnerChange::Clear => None,
            };
            write!(f, ", owner = {}", Maybe(owner.map(|owner| Hex(owner.hash.as_bytes()))))?;
            write!(f, ", owner_schema = {}", Maybe(owner.map(|owner| Hex(owner.schema.as_bytes()))))?;
        }
        if let Some(at) = patch.authenticated_at {
            write!(f, ", authenticated_at = {}", Maybe(at.map(Timestamp::as_millis)))?;
        }
        if let Some(persistent) = patch.persistent {
            write!(f, ", persistent = {}", u8::from(persistent))?;
        }
        if let Some(label) = &patch.label {
            write!(f, ", label = {}", Maybe(label.as_ref().map(|label| Hex(label.as_bytes()))))?;
        }
        if let Some(extensions) = &patch.extensions {
            write!(f, ", extensions = {}", parts(extensions))?;
        }
        self.previous(f)
    }
}

impl Assignments<'_> {
    /// The columns of both secrets.
    fn previous(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let now = self.0.now.as_millis();
        let [pending, superseded, revoked] =
            [PreviousState::Pending, PreviousState::Superseded, PreviousState::Revoked].map(state);
        // The new secret has been seen, if it is the current one and nobody knew yet.
        let seen =
            self.0.presented.as_ref().map(|hash| format!("secret = {} AND previous_state = {pending}", Hex(hash.as_bytes())));
        match &self.0.rotation {
            None => {
                let Some(seen) = seen else { return Ok(()) };
                write!(f, ", previous_since = IF({seen}, {now}, previous_since)")?;
                write!(f, ", previous_state = IF({seen}, {superseded}, previous_state)")
            }
            Some(Rotation::Privilege { to, wrapped_key }) => {
                write!(f, ", previous_since = {now}, previous_state = {revoked}, previous_key = {}", Hex(&[0; 32]))?;
                write!(f, ", previous_secret = secret, secret = {}", Hex(to.as_bytes()))?;
                write!(f, ", wrapped_key = {}, epoch = LEAST(epoch + 1, {})", Hex(wrapped_key.as_bytes()), u32::MAX)
            }
            Some(Rotation::Renewal { from, to, wrapped_key }) => {
                let first = format!("secret = {}", Hex(from.as_bytes()));
                let seen = seen.unwrap_or_else(|| "FALSE".to_owned());
                // While nobody has presented it, what the client holds is the one before.
                let kept = format!("previous_state <=> {pending} AND NOT ({seen})");
                write!(f, ", previous_since = IF({first} OR {seen}, {now}, previous_since)")?;
                write!(f, ", previous_key = IF({first} AND NOT ({kept}), wrapped_key, previous_key)")?;
                write!(f, ", previous_secret = IF({first} AND NOT ({kept}), secret, previous_secret)")?;
                write!(f, ", previous_state = IF({first}, {pending}, IF({seen}, {superseded}, previous_state))")?;
                write!(f, ", wrapped_key = IF({first}, {}, wrapped_key)", Hex(wrapped_key.as_bytes()))?;
                write!(f, ", secret = IF({first}, {}, secret)", Hex(to.as_bytes()))
            }
        }
    }
}

/// How a state of the previous secret is stored.
pub(super) fn state(state: PreviousState) -> u8 {
    match state {
        PreviousState::Pending => 0,
        PreviousState::Superseded => 1,
        PreviousState::Revoked => 2,
    }
}

/// What later builds have added to a header; NULL where that is nothing.
fn parts(extensions: &Extensions) -> Maybe<Hex<Vec<u8>>> {
    Maybe(Some(extensions.encode()).filter(|parts| !parts.is_empty()).map(Hex))
}

fn header_values(header: &Header) -> [String; 18] {
    let previous = header.previous.as_ref();
    let owner = header.owner.as_ref();
    let at = Timestamp::as_millis;
    [
        header.revision.to_string(),
        header.epoch.to_string(),
        at(header.created).to_string(),
        at(header.last_seen).to_string(),
        at(header.idle_until).to_string(),
        at(header.absolute_until).to_string(),
        Hex(header.secret_hash.as_bytes()).to_string(),
        Hex(header.wrapped_key.as_bytes()).to_string(),
        Maybe(previous.map(|previous| Hex(previous.secret_hash.as_bytes()))).to_string(),
        Maybe(previous.map(|previous| Hex(previous.wrapped_key.as_bytes()))).to_string(),
        Maybe(previous.map(|previous| state(previous.state))).to_string(),
        Maybe(previous.map(|previous| at(previous.since))).to_string(),
        Maybe(owner.map(|owner| Hex(owner.hash.as_bytes()))).to_string(),
        Maybe(owner.map(|owner| Hex(owner.schema.as_bytes()))).to_string(),
        Maybe(header.authenticated_at.map(at)).to_string(),
        u8::from(header.persistent).to_string(),
        Maybe(header.label.as_ref().map(|label| Hex(label.as_bytes()))).to_string(),
        parts(&header.extensions).to_string(),
    ]
}

fn name(key: &CellKey) -> Hex<&[u8]> {
    Hex(key.as_str().as_bytes())
}

fn body(body: &CellBody) -> Hex<Vec<u8>> {
    Hex(body.encode())
}

struct Table<'a>(&'a str, &'static str);

impl Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}{}`", self.0, self.1)
    }
}

/// Bytes as a literal.
struct Hex<B: AsRef<[u8]>>(B);

impl<B: AsRef<[u8]>> Display for Hex<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        f.write_str("x'")?;
        // In pieces, since a call per byte is what a large value would wait for.
        for piece in self.0.as_ref().chunks(64) {
            let mut text = String::with_capacity(128);
            for byte in piece {
                text.push(DIGITS[usize::from(byte >> 4)].into());
                text.push(DIGITS[usize::from(byte & 15)].into());
            }
            f.write_str(&text)?;
        }
        f.write_str("'")
    }
}

/// A literal, or none.
struct Maybe<T>(Option<T>);

impl<T: Display> Display for Maybe<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(value) => value.fmt(f),
            None => f.write_str("NULL"),
        }
    }
}

/// Where the rows before a selector have been seen already.
struct After<'a>(Option<&'a Selector>);

impl Display for After<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(key) => write!(f, " AND record.selector > {}", Hex(key.as_bytes())),
            None => Ok(()),
        }
    }
}

/// Items between commas.
struct List<I>(I);

impl<I: Iterator<Item: Display> + Clone> Display for List<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, item) in self.0.clone().enumerate() {
            if position > 0 {
                f.write_str(", ")?;
            }
            item.fmt(f)?;
        }
        Ok(())
    }
}
