//! A Redis Cluster: redirections that are followed without ever sending a lost write again, and owners' indexes, which lie on other
//! nodes than the sessions.

use super::{
    RIGHTS, RedisStore, STEP, Steps,
    client::within,
    connect,
    fields::{self, Answer},
    lacks_rights,
    node::{Driver, tcp_settings, verdict},
    scripts::{self, Call},
};
use crate::{
    lifetime::Lifetime,
    record::{CommitOutcome, Deadlines, Header, OwnerChange, OwnerHash, Patch, Presented, Selector, Timestamp},
    store::{
        StoreError,
        remote::{Effect, Engine, Links, Verdict, tls},
    },
};
use async_trait::async_trait;
use redis::{
    ConnectionInfo, ErrorKind, Pipeline, RedisError, RedisResult, ServerErrorKind, Value,
    cluster::{ClusterClient, ClusterClientBuilder},
    cluster_async::ClusterConnection,
    cluster_routing::{RoutingInfo, SingleNodeRoutingInfo},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tokio::task::JoinSet;

/// How often a call follows a redirection, and how long it waits each time for the client's map of the slots.
const REDIRECTIONS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(15);

/// For how long the commit may be under way that an index entry was made for. Until then the entry stays, whatever its session says.
const UNDER_WAY: Duration = Duration::from_secs(600);

pub(super) enum Cluster {
    Own(Links<Nodes>),
    /// The application's client, which comes back by itself as its owner has configured it.
    Given {
        connection: ClusterConnection,
        limit: Duration,
    },
}

/// A node's host and port.
type Address = (String, u16);

impl Cluster {
    pub(super) async fn open(nodes: Vec<ConnectionInfo>, limit: Duration) -> Result<Self, StoreError> {
        if nodes.first().and_then(connect::tls).is_some() {
            tls::provide_for_clients();
        }
        // Without retries, because the client would also send a write again whose answer was lost. While it connects to one node,
        // nobody gets an answer from any other, so that may take a part of the limit only.
        let client = ClusterClientBuilder::new(nodes)
            .retries(0)
            .response_timeout(limit)
            .connection_timeout(limit / 4)
            .tcp_settings(tcp_settings())
            .build();
        let client = client.map_err(StoreError::unavailable)?;
        let links = Links::open(Nodes(client), 1, limit).await;
        // The client asks for the map of the slots before it does anything else.
        links.map(Self::Own).map_err(|error| lacks_rights(&error, &format!("{RIGHTS} +cluster|slots")).unwrap_or(error))
    }

    pub(super) fn over(connection: ClusterConnection, limit: Duration) -> Self {
        Self::Given { connection, limit }
    }

    pub(super) async fn call(&self, effect: Effect, call: &Call) -> Result<Value, StoreError> {
        self.run(effect, |connection| redirected(connection, call)).await
    }

    async fn run<T, F, Fut>(&self, effect: Effect, operation: F) -> Result<T, StoreError>
    where
        F: Fn(ClusterConnection) -> Fut + Send + Sync,
        Fut: Future<Output = RedisResult<T>> + Send,
    {
        match self {
            Self::Own(links) => links.run(effect, |client| operation(client.connection)).await,
            Self::Given { connection, limit } => within(*limit, effect, || operation(connection.clone())).await,
        }
    }

    /// Makes a call on one node, whatever its keys.
    async fn call_at(&self, (host, port): &Address, call: &Call) -> Result<Value, StoreError> {
        let to = RoutingInfo::SingleNode(SingleNodeRoutingInfo::ByAddress { host: host.clone(), port: *port });
        let answer = |mut connection: ClusterConnection| {
            let (command, to) = (call.as_command().clone(), to.clone());
            async move { connection.route_command(command, to).await?.extract_error() }
        };
        self.run(Effect::Read, answer).await
    }

    async fn primaries(&self) -> Result<BTreeSet<Address>, StoreError> {
        let mut slots = Call::command("CLUSTER");
        slots.arg("SLOTS");
        match self.call(Effect::Read, &slots).await? {
            Value::Array(ranges) => Ok(ranges.into_iter().filter_map(primary).collect()),
            _ => Err(fields::unexpected(Effect::Read, "sweep")),
        }
    }
}

async fn redirected(mut connection: ClusterConnection, call: &Call) -> RedisResult<Value> {
    let mut left = REDIRECTIONS;
    loop {
        let error = match call.over(&mut connection).await {
            Err(error) if left > 0 => error,
            answer => return answer,
        };
        left -= 1;
        match (error.kind(), error.redirect_node().and_then(|(node, _)| address(node))) {
            (ErrorKind::Server(ServerErrorKind::Ask), Some(node)) => return ask(connection, node, call).await,
            // The client has noticed too, and is fetching the new map.
            (ErrorKind::Server(ServerErrorKind::Moved), _) => tokio::time::sleep(PAUSE).await,
            _ => return Err(error),
        }
    }
}

/// Calls a script on the node that a slot is moving to.
async fn ask(mut connection: ClusterConnection, (host, port): Address, call: &Call) -> RedisResult<Value> {
    let mut pipeline = Pipeline::new();
    pipeline.cmd("ASKING").add_command(call.in_full());
    let to = SingleNodeRoutingInfo::ByAddress { host, port };
    let answers = connection.route_pipeline(pipeline, 0, 2, to).await?;
    answers.into_iter().nth(1).unwrap_or(Value::Nil).extract_error()
}

/// Opens clients of one cluster, each with a connection to every node.
pub(super) struct Nodes(ClusterClient);

/// A client, which replaces connections to single nodes itself.
#[derive(Clone)]
pub(super) struct NodesLink {
    connection: ClusterConnection,
    /// The client does not say when the runtime has ended that its tasks ran on. This task ends with them.
    beside: Arc<Driver>,
}

#[async_trait]
impl Engine for Nodes {
    type Connection = NodesLink;
    type Error = RedisError;

    async fn connect(&self) -> Result<NodesLink, StoreError> {
        let connection = self.0.get_async_connection().await.map_err(StoreError::unavailable)?;
        Ok(NodesLink { connection, beside: Arc::new(Driver(tokio::spawn(std::future::pending()))) })
    }

    fn is_closed(link: &NodesLink) -> bool {
        link.beside.0.is_finished()
    }

    /// Asks all primaries.
    async fn probe(link: &NodesLink) -> RedisResult<()> {
        redis::cmd("PING").query_async(&mut link.connection.clone()).await
    }

    fn verdict(error: &RedisError) -> Verdict {
        match verdict(error) {
            // The client keeps a connection on which it hears nothing.
            Verdict::Broken if error.is_timeout() => Verdict::Broken,
            // One node is away or has another role. The others are served on, and the client looks for its successor.
            Verdict::Broken => Verdict::Lost,
            Verdict::Unfit => Verdict::Refused,
            verdict => verdict,
        }
    }
}

/// The primary of a range of slots, which is: first slot, last slot, primary, replicas.
fn primary(range: Value) -> Option<Address> {
    let Value::Array(range) = range else { return None };
    let Value::Array(mut node) = range.into_iter().nth(2)? else { return None };
    node.truncate(2);
    redis::from_redis_value(Value::Array(node)).ok()
}

fn address(node: &str) -> Option<Address> {
    let (host, port) = node.rsplit_once(':')?;
    Some((host.to_owned(), port.parse().ok()?))
}

impl RedisStore {
    /// Puts a session into an owner's index, ahead of what makes it the owner's.
    pub(super) async fn list(&self, key: &Selector, owner: &OwnerHash, lasts: u64) -> Result<(), StoreError> {
        let mut call = Self::script(&scripts::LIST, &self.index(owner));
        call.arg(fields::name(key)).arg(lasts).arg(UNDER_WAY.as_millis());
        match self.call(Effect::Write, &call).await {
            // An entry too many does no harm, and the session itself is as it was.
            Err(StoreError::OutcomeUnknown(cause)) => Err(StoreError::Unavailable(cause)),
            answer => answer.map(drop),
        }
    }

    /// Puts an owner's session back into the index at its first use in an hour: an eviction, or the failover of the index's node, may
    /// have taken the entry. Whoever cannot do that now leaves it to the next hour.
    pub(super) async fn relist(&self, key: &Selector, header: &Header, presented: &Presented) {
        let Some(owner) = &header.owner else { return };
        let hour = |at: Timestamp| at.as_millis().div_euclid(3_600_000);
        let proven = header.accepts(&presented.secret_hash, presented.now, presented.grace).is_some();
        if proven && header.is_open(presented.now) && hour(header.last_seen) != hour(presented.now) {
            let mut call = Self::script(&scripts::RELIST, &self.index(&owner.hash));
            call.arg(fields::name(key)).arg(fields::lasting(header.absolute_until, presented.now));
            let _ = self.call(Effect::Read, &call).await;
        }
    }

    pub(super) async fn commit_in_cluster(&self, key: &Selector, patch: &Patch) -> Result<CommitOutcome, StoreError> {
        let until = match patch.deadlines {
            Some(Deadlines::Reset { absolute_until, .. }) => absolute_until,
            // No session lasts longer than that.
            _ => patch.now.plus(Lifetime::MAX),
        };
        let lasts = fields::lasting(until, patch.now);
        let mut listed = None;
        if let Some(OwnerChange::Set(owner)) = &patch.owner {
            self.list(key, &owner.hash, lasts).await?;
            listed = Some(owner.hash);
        }
        loop {
            let name = listed.as_ref().map(fields::owner_name).unwrap_or_default();
            match self.commit_listed(key, patch, &name).await? {
                Answer::Outcome(outcome) => return Ok(outcome),
                Answer::ListFirst(owner) if listed == Some(owner) => return Err(fields::unexpected(Effect::Read, "commit")),
                Answer::ListFirst(owner) => {
                    self.list(key, &owner, lasts).await?;
                    listed = Some(owner);
                }
            }
        }
    }

    /// The sessions that an index lists and that are really the owner's.
    pub(super) async fn by_owner_in_cluster(&self, owner: &OwnerHash) -> Result<Vec<(Selector, Header)>, StoreError> {
        let index = self.index(owner);
        let mut sessions = BTreeMap::new();
        let mut steps = Steps::default();
        while let Some(at) = steps.next() {
            let names = self.listed(&index, at).await?;
            let names = steps.take(Effect::Read, "list", names)?;
            let mut foreign = Vec::new();
            let headers = self.of_each(names, |store, key| async move { store.header_of(&key).await });
            for (name, header) in headers.await? {
                match header? {
                    Some((key, header)) if header.owner.as_ref().is_some_and(|theirs| theirs.hash == *owner) => {
                        sessions.insert(key, header);
                    }
                    _ => foreign.push(name),
                }
            }
            self.unlist(&index, foreign).await;
        }
        Ok(sessions.into_iter().collect())
    }

    /// Deletes the sessions that an index lists, each if it is the owner's at that moment.
    pub(super) async fn delete_by_owner_in_cluster(
        &self,
        owner: &OwnerHash,
        except: Option<&Selector>,
    ) -> Result<u64, StoreError> {
        let index = self.index(owner);
        let spared = except.map(fields::name);
        let mut deleted = 0;
        let mut steps = Steps::default();
        while let Some(at) = steps.next() {
            let names = self.listed(&index, at).await.map_err(|error| error.after(deleted))?;
            let mut names: Vec<String> = steps.take(Effect::Read, "list", names)?;
            names.retain(|name| Some(name) != spared.as_ref());
            deleted = self.delete_listed(&index, *owner, names, deleted).await?;
        }
        Ok(deleted)
    }

    /// Deletes those of an index's sessions that are the owner's, and then their entries. Takes and answers how many were deleted in all.
    async fn delete_listed(
        &self,
        index: &str,
        owner: OwnerHash,
        names: Vec<String>,
        mut deleted: u64,
    ) -> Result<u64, StoreError> {
        let (mut ended, mut foreign, mut failure) = (Vec::new(), Vec::new(), None);
        let removals = self.of_each(names, move |store, key| async move { store.remove(&key, Some(&owner)).await });
        for (name, removed) in removals.await? {
            match removed {
                Ok(0) => foreign.push(name),
                Ok(count) => {
                    deleted += count;
                    ended.extend([fields::mark(&name), name]);
                }
                Err(error) => failure = Some(error),
            }
        }
        if !ended.is_empty() {
            // No session comes back under the name of one that was deleted, so this cannot hide one. An entry too many does no harm.
            let mut call = Call::command("ZREM");
            call.arg(index).arg(ended);
            let _ = self.call(Effect::Read, &call).await;
        }
        self.unlist(index, foreign).await;
        failure.map_or(Ok(deleted), |failure| Err(failure.after(deleted)))
    }

    /// The answer to a step through an index.
    async fn listed(&self, index: &str, at: &[u8]) -> Result<Value, StoreError> {
        let mut call = Self::script(&scripts::LISTED, index);
        call.arg(at).arg(STEP);
        self.call(Effect::Read, &call).await
    }

    /// Drops entries whose sessions are gone or another owner's. If that fails, the next call does it.
    async fn unlist(&self, index: &str, names: Vec<String>) {
        if !names.is_empty() {
            let mut call = Self::script(&scripts::UNLIST, index);
            call.arg(names);
            let _ = self.call(Effect::Read, &call).await;
        }
    }

    /// Does something to each session of these names, to all at once, and answers what came of it. A name that is none is left out.
    async fn of_each<T, F, Fut>(&self, names: Vec<String>, work: F) -> Result<Vec<(String, Result<T, StoreError>)>, StoreError>
    where
        F: Fn(Self, Selector) -> Fut,
        Fut: Future<Output = Result<T, StoreError>> + Send + 'static,
        T: Send + 'static,
    {
        let mut tasks = JoinSet::new();
        for name in names {
            if let Some(key) = fields::selector(name.as_bytes()) {
                let work = work(self.clone(), key);
                tasks.spawn(async move { (name, work.await) });
            }
        }
        let mut answers = Vec::with_capacity(tasks.len());
        while let Some(answer) = tasks.join_next().await {
            answers.push(answer.map_err(StoreError::outcome_unknown)?);
        }
        Ok(answers)
    }

    /// The session of that key, if there is one and its header can be read.
    async fn header_of(&self, key: &Selector) -> Result<Option<(Selector, Header)>, StoreError> {
        let mut call = Call::command("HMGET");
        call.arg(self.key(key)).arg(&fields::HEADER);
        match self.call(Effect::Read, &call).await? {
            Value::Array(header) if header.iter().all(|field| *field == Value::Nil) => Ok(None),
            Value::Array(header) => Ok(fields::header(key, header).map(|header| (*key, header))),
            _ => Err(fields::unexpected(Effect::Read, "list")),
        }
    }

    pub(super) async fn sweep_cluster(&self, cluster: &Cluster, now: Timestamp, limit: usize) -> Result<usize, StoreError> {
        let mut swept = 0;
        for primary in cluster.primaries().await? {
            let mut steps = Steps::default();
            while swept < limit
                && let Some(at) = steps.next()
            {
                let keys = cluster.call_at(&primary, &self.scan(at)).await?;
                for key in steps.take::<Vec<Vec<u8>>>(Effect::Read, "scan", keys)? {
                    // One by one, since each may be in another slot.
                    swept += self.sweep_keys(&[key], now, limit - swept).await?;
                }
            }
        }
        Ok(swept)
    }
}
