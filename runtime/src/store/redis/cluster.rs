//! A Redis Cluster: redirections that are followed without ever sending a lost write again, and owners' indexes, which lie on other
//! nodes than the sessions.

use super::{
    Cursor, RedisStore,
    client::within,
    connect,
    fields::{self, Answer},
    scripts::{self, Call},
};
use crate::{
    lifetime::Lifetime,
    record::{CommitOutcome, Deadlines, Header, OwnerChange, OwnerHash, Patch, Presented, Selector, Timestamp},
    store::{
        StoreError,
        remote::{Effect, tls},
    },
};
use redis::{
    ConnectionInfo, ErrorKind, Pipeline, RedisResult, ServerErrorKind, Value,
    cluster::ClusterClientBuilder,
    cluster_async::ClusterConnection,
    cluster_routing::{RoutingInfo, SingleNodeRoutingInfo},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use tokio::task::JoinSet;

/// How often a call follows a redirection, and how long it waits each time for the client's map of the slots.
const REDIRECTIONS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(15);

/// How many seconds an index entry may stand without its session: a commit under way may be about to make it the owner's.
const YOUNG: u64 = 600;

pub(super) struct Cluster {
    connection: ClusterConnection,
    limit: Duration,
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
        let client = ClusterClientBuilder::new(nodes).retries(0).response_timeout(limit).connection_timeout(limit / 4).build();
        let client = client.map_err(StoreError::unavailable)?;
        let connection = client.get_async_connection().await.map_err(StoreError::unavailable)?;
        Ok(Self { connection, limit })
    }

    pub(super) fn over(connection: ClusterConnection, limit: Duration) -> Self {
        Self { connection, limit }
    }

    pub(super) async fn call(&self, effect: Effect, call: &Call) -> Result<Value, StoreError> {
        within(self.limit, effect, || self.redirected(call)).await
    }

    async fn redirected(&self, call: &Call) -> RedisResult<Value> {
        let mut left = REDIRECTIONS;
        loop {
            let error = match call.over(&mut self.connection.clone()).await {
                Err(error) if left > 0 => error,
                answer => return answer,
            };
            left -= 1;
            match (error.kind(), error.redirect_node().and_then(|(node, _)| address(node))) {
                (ErrorKind::Server(ServerErrorKind::Ask), Some(node)) => return self.ask(node, call).await,
                // The client has noticed too, and is fetching the new map.
                (ErrorKind::Server(ServerErrorKind::Moved), _) => tokio::time::sleep(PAUSE).await,
                _ => return Err(error),
            }
        }
    }

    /// Calls a script on the node that a slot is moving to.
    async fn ask(&self, (host, port): Address, call: &Call) -> RedisResult<Value> {
        let mut pipeline = Pipeline::new();
        pipeline.cmd("ASKING").add_command(call.in_full());
        let to = SingleNodeRoutingInfo::ByAddress { host, port };
        let answers = self.connection.clone().route_pipeline(pipeline, 0, 2, to).await?;
        answers.into_iter().nth(1).unwrap_or(Value::Nil).extract_error()
    }

    /// Makes a call on one node, whatever its keys.
    async fn call_at(&self, (host, port): &Address, call: &Call) -> Result<Value, StoreError> {
        let to = RoutingInfo::SingleNode(SingleNodeRoutingInfo::ByAddress { host: host.clone(), port: *port });
        let answer = async || {
            let answer = self.connection.clone().route_command(call.as_command().clone(), to.clone()).await?;
            answer.extract_error()
        };
        within(self.limit, Effect::Read, answer).await
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
    /// Puts a session into an owner's index, ahead of whatever makes it the owner's.
    pub(super) async fn list(&self, key: &Selector, owner: &OwnerHash, lasts: u64) -> Result<(), StoreError> {
        let mut call = Self::script(&scripts::LIST, &self.index(owner));
        call.arg(fields::name(key)).arg(lasts);
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
        let answer = self.call(Effect::Read, &Self::script(&scripts::LISTED, &index)).await?;
        let (now, entries): (u64, Vec<String>) = redis::from_redis_value(answer).map_err(StoreError::unavailable)?;
        let mut headers = JoinSet::new();
        for entry in entries {
            let store = self.clone();
            headers.spawn(async move { (store.header_of(&entry).await, entry) });
        }
        let (mut sessions, mut dead) = (BTreeMap::new(), Vec::new());
        while let Some(answer) = headers.join_next().await {
            let (header, entry) = answer.map_err(StoreError::unavailable)?;
            match header? {
                Some((key, header)) if header.owner.as_ref().is_some_and(|theirs| theirs.hash == *owner) => {
                    sessions.insert(key, header);
                }
                _ if age(&entry, now) > YOUNG => dead.push(entry),
                _ => {}
            }
        }
        if !dead.is_empty() {
            let mut call = Call::command("ZREM");
            call.arg(index).arg(dead);
            // Whoever cannot do that now leaves it to the next.
            let _ = self.call(Effect::Read, &call).await;
        }
        Ok(sessions.into_iter().collect())
    }

    /// The session of an index entry.
    async fn header_of(&self, entry: &str) -> Result<Option<(Selector, Header)>, StoreError> {
        let Some(key) = entry.get(..fields::NAME).and_then(|name| fields::selector(name.as_bytes())) else { return Ok(None) };
        let mut call = Call::command("HMGET");
        call.arg(self.key(&key)).arg(&fields::HEADER);
        match self.call(Effect::Read, &call).await? {
            Value::Array(header) if header.iter().all(|field| *field == Value::Nil) => Ok(None),
            Value::Array(header) => Ok(fields::header(&key, header).map(|header| (key, header))),
            _ => Err(fields::unexpected(Effect::Read, "list")),
        }
    }

    pub(super) async fn delete_by_owner_in_cluster(
        &self,
        owner: &OwnerHash,
        except: Option<&Selector>,
    ) -> Result<u64, StoreError> {
        let mut deleted = 0;
        for (key, _) in self.by_owner_in_cluster(owner).await? {
            if Some(&key) != except {
                deleted += self.remove(&key, Some(owner)).await?;
            }
        }
        Ok(deleted)
    }

    pub(super) async fn sweep_cluster(&self, cluster: &Cluster, now: Timestamp, limit: usize) -> Result<usize, StoreError> {
        let mut swept = 0;
        for primary in cluster.primaries().await? {
            let mut cursor = Cursor::default();
            while swept < limit
                && let Some(scan) = cursor.next(&self.0.prefix)
            {
                for key in cursor.advance(cluster.call_at(&primary, &scan).await?)? {
                    // One by one, since each may be in another slot.
                    swept += self.sweep_keys(&[key], now, limit - swept).await?;
                }
            }
        }
        Ok(swept)
    }
}

/// How many seconds an index entry has stood, `<session>:<second of its making>`.
fn age(entry: &str, now: u64) -> u64 {
    let made = entry.get(fields::NAME + 1..).and_then(|made| made.parse().ok()).unwrap_or(0);
    now.saturating_sub(made)
}
