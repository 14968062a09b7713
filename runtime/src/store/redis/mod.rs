//! Sessions in Redis or Valkey: one server, the primary that Sentinel names, or a cluster.
//!
//! A session is one hash, one field per cell, so a commit sends and logs the cells that changed, whatever else the session weighs:
//! a number costs 200 bytes on the wire and 224 in the log, where one value per session costs its weight in both. The session
//! expires, moves and is evicted as one. The header lies beside the cells in fields that begin with `__`: its numbers as decimal text, for
//! what a script stores must not pass through Lua's doubles, and in fields of at most 64 bytes each, because one larger one makes Redis
//! store the hash in its large form. So a session of small fields weighs what one value weighs (468 bytes for three cells of 20 bytes,
//! 495 as one value, 738 with the header in one field). Once a cell is larger, every field costs some 70 bytes more (a session of 1, 8 or 64
//! KiB in 8, 8 or 64 cells: 2,264, 11,224, 86,552 bytes; as one value 1,336, 10,296, 81,976).
//!
//! Each operation is one script, sent by its hash. A script is atomic and makes all its checks before its first write, which is one that a
//! full memory refuses, so nothing is ever written by halves. Every script that writes also sets the expiry. The scripts are without
//! the flags of Redis 7 on purpose: then a full memory refuses what adds to it and lets deletions through, also before version 7.
//!
//! An owner's index is a sorted set. On one server the same script writes session and index, whose name it takes from the session. In a cluster they
//! lie on different nodes: the entry comes first there, so that no living session is ever unlisted; entries without a session are
//! skipped, and dropped once no commit may be under way for them. An index that is lost alone, as by an eviction, is made again as its
//! sessions are used. Indexes are gone through in steps, because one may be very long and a script keeps all other clients waiting.

mod client;
#[cfg(feature = "redis-cluster")]
mod cluster;
mod connect;
mod fields;
mod node;
mod scripts;

pub use self::connect::RedisConnect;
use self::{
    client::Client,
    connect::Target,
    fields::Answer,
    node::Place,
    scripts::{Call, Script},
};
use super::{IdleTouch, SessionStore, StoreError, StoreIdentity, remote::Effect};
use crate::record::{CommitOutcome, CreateOutcome, Header, OwnerHash, Patch, Presented, Record, Selector, Timestamp, Want};
use async_trait::async_trait;
use redis::{FromRedisValue, Value, aio::ConnectionLike};
use std::{collections::BTreeMap, fmt, sync::Arc};

/// Sessions in Redis (feature `redis`): fast, shared by all instances of an application, expiring by themselves.
///
/// Works with Redis 6.2 or newer (tested with 7.0; nothing newer than version 5 is used) and with Valkey, behind Sentinel
/// ([`sentinel`](RedisStore::sentinel)), and with Redis Cluster (`RedisStore::cluster`, feature `redis-cluster`). Clones are handles of one store; its connection closes with the last
/// of them, and comes back by itself after the server was away.
///
/// Load, create, commit and delete are one round trip each. A load that proves the session's secret rolls the idle deadline on its
/// way. Every key carries an expiry at every moment, an hour past the session's deadline; nobody has to sweep.
///
/// # What Redis promises
/// An acknowledged commit is as durable as the server is configured: with `appendonly yes` it survives the end of the process,
/// without persistence a restart ends all sessions. Replication is asynchronous: a failover may lose the last commits, and may undo
/// the last deletion. Use a memory policy of `noeviction` (best) or one of `volatile-*`; an evicted session is a session that ended.
/// Where memory is full, loads and deletions go on, and everything else is refused.
///
/// # Owners of very many sessions
/// Their sessions are listed and ended in steps of 200, each with the time limit of an operation, so that none of them keeps the server
/// from its other clients for long. A session that is the owner's from the beginning of the call to its end is listed, or ended; one that
/// becomes the owner's meanwhile may be. A session is ended only if it is the owner's at that moment. A call that fails on its way has
/// ended some of them, and says [`StoreError::OutcomeUnknown`]; called again, it ends the rest.
///
/// ```no_run
/// use cloakroom::{SessionLayer, store::RedisStore};
///
/// # async fn example() -> Result<(), cloakroom::store::StoreError> {
/// let sessions = SessionLayer::new(RedisStore::connect("redis://127.0.0.1").await?);
/// # let _ = sessions;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RedisStore(Arc<Inner>);

struct Inner {
    client: Client,
    prefix: String,
    server: String,
}

impl RedisStore {
    /// A store on the server of a URL: `redis://user:password@host:6379/0`, `rediss://` for TLS, or `redis+unix:///path?db=0`. The
    /// user, the port and the number of the database may be left out.
    ///
    /// With TLS, the certificate is always verified against what the operating system trusts, or against the file that
    /// `SSL_CERT_FILE` names.
    ///
    /// The server may be a proxy in front of one server. Not one that spreads keys over several, which would part sessions from their
    /// owners' indexes.
    ///
    /// ```no_run
    /// use cloakroom::store::RedisStore;
    ///
    /// # async fn example() -> Result<(), cloakroom::store::StoreError> {
    /// let store = RedisStore::connect("rediss://sessions:secret@redis.internal/2").await?;
    /// # let _ = store;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], once awaited, if the address makes no sense or nobody answers there.
    pub fn connect(url: impl AsRef<str>) -> RedisConnect {
        RedisConnect::to(connect::server(url.as_ref()).map(|info| Target::Place(Place::Server(Box::new(info)))))
    }

    /// A store on the primary that Sentinel names for a service. The sentinels are asked again for every new connection, so a
    /// failover is followed.
    ///
    /// The URLs are those of the sentinels (usually port 26379). What stands in them besides host and port (credentials, database,
    /// TLS) is for the server; the sentinels are asked without credentials.
    ///
    /// ```no_run
    /// use cloakroom::store::RedisStore;
    ///
    /// # async fn example() -> Result<(), cloakroom::store::StoreError> {
    /// let store = RedisStore::sentinel(["redis://10.0.0.1:26379", "redis://10.0.0.2:26379"], "sessions").await?;
    /// # let _ = store;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`connect`](RedisStore::connect), also if no sentinel knows the service.
    pub fn sentinel<U: AsRef<str>>(urls: impl IntoIterator<Item = U>, service: impl AsRef<str>) -> RedisConnect {
        let place = connect::servers(urls).and_then(|servers| {
            connect::sentinels(servers, service.as_ref()).ok_or_else(|| StoreError::unavailable("there is no sentinel to ask"))
        });
        RedisConnect::to(place.map(Target::Place))
    }

    /// A store on a Redis Cluster (feature `redis-cluster`). Some of its nodes are enough; the others are found.
    ///
    /// An owner's index lies on another node than the session, and is written first, so that no living session is ever missing from
    /// it. So signing in takes two round trips here instead of one, and so does the first use of a signed-in session in an hour, which
    /// makes sure of its entry; listing and revoking take one more for each session, 200 of them at once. Everything else is as elsewhere.
    ///
    /// With TLS, the cluster's client uses the process's default cryptography of `rustls`, and installs one if there is none.
    ///
    /// ```no_run
    /// use cloakroom::store::RedisStore;
    ///
    /// # async fn example() -> Result<(), cloakroom::store::StoreError> {
    /// let store = RedisStore::cluster(["redis://10.0.0.1", "redis://10.0.0.2", "redis://10.0.0.3"]).await?;
    /// # let _ = store;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`connect`](RedisStore::connect).
    #[cfg(feature = "redis-cluster")]
    pub fn cluster<U: AsRef<str>>(urls: impl IntoIterator<Item = U>) -> RedisConnect {
        RedisConnect::to(connect::servers(urls).map(Target::Cluster))
    }

    /// A store over a connection of the application to one server: a `ConnectionManager` or a `MultiplexedConnection` of the crate
    /// `redis`, version 1. It comes back after a loss only if it does so by itself, as a `ConnectionManager` does; configure
    /// that without retries, or a commit whose answer was lost may be applied twice.
    ///
    /// A pool or a `ClusterConnection` does not belong here: for a cluster there is
    /// `from_cluster_connection` (feature `redis-cluster`).
    ///
    /// ```no_run
    /// use cloakroom::store::RedisStore;
    ///
    /// # async fn example(connection: impl redis::aio::ConnectionLike + Clone + Send + Sync + 'static) -> Result<(), cloakroom::store::StoreError> {
    /// let store = RedisStore::from_connection(connection).prefix("shop:").await?;
    /// # let _ = store;
    /// # Ok(())
    /// # }
    /// ```
    pub fn from_connection(connection: impl ConnectionLike + Clone + Send + Sync + 'static) -> RedisConnect {
        RedisConnect::to(Ok(Target::Given(Box::new(connection))))
    }

    /// A store over a connection of the application to a cluster. Build its client with `.retries(0)`: what has to be sent again is,
    /// and a commit whose answer was lost must not be.
    ///
    /// ```no_run
    /// use cloakroom::store::RedisStore;
    ///
    /// # async fn example(connection: redis::cluster_async::ClusterConnection) -> Result<(), cloakroom::store::StoreError> {
    /// let store = RedisStore::from_cluster_connection(connection).await?;
    /// # let _ = store;
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "redis-cluster")]
    pub fn from_cluster_connection(connection: redis::cluster_async::ClusterConnection) -> RedisConnect {
        RedisConnect::to(Ok(Target::GivenCluster(connection)))
    }

    fn key(&self, selector: &Selector) -> String {
        self.session(&fields::name(selector))
    }

    fn session(&self, name: &str) -> String {
        format!("{}{{{name}}}", self.0.prefix)
    }

    fn index(&self, owner: &OwnerHash) -> String {
        format!("{}owner:{}", self.0.prefix, fields::owner_name(owner))
    }

    /// Refuses a server that would let us do only a part of what we have to. One that has no room, or takes no writes just now, will
    /// do later.
    async fn probe(&self) -> Result<(), StoreError> {
        if self.here().is_empty() {
            return Ok(());
        }
        let call = Self::script(&scripts::PROBE, &self.session("probe-----------------"));
        let Err(error) = self.call(Effect::Read, &call).await else { return Ok(()) };
        if let Some(error) = lacks_rights(&error, RIGHTS) {
            return Err(error);
        }
        let said = error.to_string();
        if ["MOVED", "Moved", "non local key"].iter().any(|words| said.contains(words)) {
            return Err(StoreError::unavailable(format!("{said}; this is one node of a cluster: use RedisStore::cluster")));
        }
        Ok(())
    }

    /// What tells a script whether the indexes are where the session is.
    fn here(&self) -> &'static str {
        match self.0.client {
            #[cfg(feature = "redis-cluster")]
            Client::Cluster { .. } => "",
            _ => "1",
        }
    }

    async fn call(&self, effect: Effect, call: &Call) -> Result<Value, StoreError> {
        self.0.client.call(effect, call).await
    }

    /// The call of a script over one key.
    fn script(script: &'static Script, key: &str) -> Call {
        Call::script(script, &[key])
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore").field("server", &self.0.server).field("prefix", &self.0.prefix).finish_non_exhaustive()
    }
}

#[async_trait]
impl SessionStore for RedisStore {
    async fn load(&self, key: &Selector, presented: &Presented, want: &Want<'_>) -> Result<Option<Arc<Record>>, StoreError> {
        let mut call = Self::script(&scripts::LOAD, &self.key(key));
        fields::put_presented(&mut call, presented, self.here());
        for name in want.named {
            call.arg(*name);
        }
        // Though it touches, it may be made twice: the second touch finds done what it would do.
        match self.call(Effect::Read, &call).await? {
            Value::Array(found) => {
                let record = fields::record(key, found);
                #[cfg(feature = "redis-cluster")]
                if let (Some(record), Client::Cluster(_)) = (&record, &self.0.client) {
                    self.relist(key, &record.header, presented).await;
                }
                Ok(record.map(Arc::new))
            }
            _ => Err(fields::unexpected(Effect::Read, "load")),
        }
    }

    async fn create(&self, key: &Selector, record: Record) -> Result<CreateOutcome, StoreError> {
        let header = &record.header;
        let lasts = |deadline| fields::lasting(deadline, header.last_seen);
        let owner = header.owner.as_ref().map(|owner| owner.hash);
        #[cfg(feature = "redis-cluster")]
        if let (Some(owner), Client::Cluster(_)) = (&owner, &self.0.client) {
            self.list(key, owner, lasts(header.absolute_until)).await?;
        }
        let mut call = Self::script(&scripts::CREATE, &self.key(key));
        call.arg(lasts(header.expires())).arg(self.here());
        call.arg(owner.map(|owner| fields::owner_name(&owner)).unwrap_or_default()).arg(lasts(header.absolute_until));
        fields::put_record(&mut call, &record);
        match self.call(Effect::Write, &call).await? {
            Value::Int(1) => Ok(CreateOutcome::Created),
            Value::Int(0) => Ok(CreateOutcome::Exists),
            _ => Err(fields::unexpected(Effect::Write, "create")),
        }
    }

    async fn commit(&self, key: &Selector, patch: &Patch) -> Result<CommitOutcome, StoreError> {
        #[cfg(feature = "redis-cluster")]
        if let Client::Cluster(_) = &self.0.client {
            return self.commit_in_cluster(key, patch).await;
        }
        match self.commit_listed(key, patch, "").await? {
            Answer::Outcome(outcome) => Ok(outcome),
            Answer::ListFirst(_) => Err(fields::unexpected(Effect::Write, "commit")),
        }
    }

    async fn delete(&self, key: &Selector) -> Result<(), StoreError> {
        self.remove(key, None).await.map(drop)
    }

    async fn by_owner(&self, owner: &OwnerHash) -> Result<Vec<(Selector, Header)>, StoreError> {
        #[cfg(feature = "redis-cluster")]
        if let Client::Cluster(_) = &self.0.client {
            return self.by_owner_in_cluster(owner).await;
        }
        let index = self.index(owner);
        let mut sessions = BTreeMap::new();
        let mut steps = Steps::default();
        while let Some(at) = steps.next() {
            let mut call = Self::script(&scripts::BY_OWNER, &index);
            call.arg(at).arg(STEP).arg(&fields::HEADER);
            let found: Vec<(Vec<u8>, Vec<Value>)> = steps.take(Effect::Read, "list", self.call(Effect::Read, &call).await?)?;
            for (name, header) in found {
                if let Some(key) = fields::selector(&name)
                    && let Some(header) = fields::header(&key, header)
                {
                    sessions.insert(key, header);
                }
            }
        }
        Ok(sessions.into_iter().collect())
    }

    async fn delete_by_owner(&self, owner: &OwnerHash, except: Option<&Selector>) -> Result<u64, StoreError> {
        #[cfg(feature = "redis-cluster")]
        if let Client::Cluster(_) = &self.0.client {
            return self.delete_by_owner_in_cluster(owner, except).await;
        }
        let index = self.index(owner);
        let spared = except.map(fields::name).unwrap_or_default();
        let mut deleted = 0;
        let mut steps = Steps::default();
        while let Some(at) = steps.next() {
            let mut call = Self::script(&scripts::DELETE_BY_OWNER, &index);
            call.arg(at).arg(STEP).arg(&spared);
            let answer = self.call(Effect::Write, &call).await.map_err(|error| error.after(deleted))?;
            deleted += steps.take::<u64>(Effect::Write, "delete", answer)?;
        }
        Ok(deleted)
    }

    /// Redis expires keys by itself, so nothing has to call this: it goes through all keys of the database.
    async fn sweep(&self, now: Timestamp, limit: usize) -> Result<usize, StoreError> {
        #[cfg(feature = "redis-cluster")]
        if let Client::Cluster(cluster) = &self.0.client {
            return self.sweep_cluster(cluster, now, limit).await;
        }
        let mut swept = 0;
        let mut steps = Steps::default();
        while swept < limit
            && let Some(at) = steps.next()
        {
            let keys: Vec<Vec<u8>> = steps.take(Effect::Read, "scan", self.call(Effect::Read, &self.scan(at)).await?)?;
            swept += self.sweep_keys(&keys, now, limit - swept).await?;
        }
        Ok(swept)
    }

    fn idle_touch(&self) -> IdleTouch {
        IdleTouch::AtLoad
    }

    fn identity(&self) -> Option<StoreIdentity> {
        Some(StoreIdentity::of(&self.0))
    }
}

impl RedisStore {
    /// Commits to a session that stands in the index of that owner already, if its index lies elsewhere.
    async fn commit_listed(&self, key: &Selector, patch: &Patch, listed: &str) -> Result<Answer, StoreError> {
        let mut call = Self::script(&scripts::COMMIT, &self.key(key));
        call.arg(patch.epoch).arg(patch.now.as_millis()).arg(patch.used_at().as_millis()).arg(self.here()).arg(listed);
        fields::put_patch(&mut call, patch);
        let answer = match self.call(Effect::Write, &call).await? {
            Value::Array(answer) => Answer::of(answer),
            _ => None,
        };
        answer.ok_or_else(|| fields::unexpected(Effect::Write, "commit"))
    }

    /// Deletes a session, if need be only that of an owner. Answers how many.
    async fn remove(&self, key: &Selector, owner: Option<&OwnerHash>) -> Result<u64, StoreError> {
        let mut call = Self::script(&scripts::DELETE, &self.key(key));
        call.arg(self.here()).arg(owner.map(fields::owner_name).unwrap_or_default());
        self.count(&call).await
    }

    async fn count(&self, call: &Call) -> Result<u64, StoreError> {
        match self.call(Effect::Write, call).await? {
            Value::Int(count) => Ok(u64::try_from(count).unwrap_or(0)),
            _ => Err(fields::unexpected(Effect::Write, "delete")),
        }
    }

    /// A step of a walk over all sessions.
    fn scan(&self, at: &[u8]) -> Call {
        let mut pattern = String::new();
        for letter in self.0.prefix.chars() {
            if matches!(letter, '*' | '?' | '[' | ']' | '\\' | '^') {
                pattern.push('\\');
            }
            pattern.push(letter);
        }
        let mut scan = Call::command("SCAN");
        scan.arg(at).arg("MATCH").arg(format!("{pattern}{{{}}}", "?".repeat(fields::NAME))).arg("COUNT").arg(STEP);
        scan
    }

    async fn sweep_keys(&self, keys: &[Vec<u8>], now: Timestamp, limit: usize) -> Result<usize, StoreError> {
        if keys.is_empty() {
            return Ok(0);
        }
        let mut call = Call::script(&scripts::SWEEP, keys);
        call.arg(now.as_millis()).arg(self.here()).arg(limit);
        self.count(&call).await.map(|swept| usize::try_from(swept).unwrap_or(usize::MAX))
    }
}

/// What the user of a store has to be allowed.
const RIGHTS: &str = "+@read +@write +@scripting +@connection +time";

/// The same error with what to allow, if it says that the user of the store may not do something.
fn lacks_rights(error: &StoreError, rights: &str) -> Option<StoreError> {
    let said = error.to_string();
    let lacks = ["NOPERM", "permissions", "can't run this command"].iter().any(|words| said.contains(words));
    lacks.then(|| StoreError::unavailable(format!("{said}; let the store's user do {rights}, on the keys of its prefix")))
}

/// How many entries of an index, or keys of a database, one step goes through. A step of an index keeps the server from all else for
/// 1 to 2 ms.
const STEP: usize = 200;

/// How far a walk through an index, or through all keys, has come. Redis promises of such a walk that it meets at least once what is
/// there from its beginning to its end, whatever is added or removed meanwhile.
#[derive(Default)]
enum Steps {
    #[default]
    Start,
    At(Vec<u8>),
    End,
}

impl Steps {
    /// Where the next step begins, if there is one.
    fn next(&self) -> Option<&[u8]> {
        match self {
            Self::Start => Some(b"0"),
            Self::At(cursor) => Some(cursor),
            Self::End => None,
        }
    }

    /// Takes the answer to a step: where to go on, and what was found.
    fn take<T: FromRedisValue>(&mut self, effect: Effect, what: &str, answer: Value) -> Result<T, StoreError> {
        let (cursor, found): (Vec<u8>, T) = redis::from_redis_value(answer).map_err(|_| fields::unexpected(effect, what))?;
        *self = if cursor == b"0" { Self::End } else { Self::At(cursor) };
        Ok(found)
    }
}
