//! A Redis Cluster: redirections that are followed without ever sending a lost write again, and the owner indexes, which lie on
//! other nodes than the sessions.

use super::{client::within, connect, scripts::Call};
use crate::store::{StoreError, remote::Effect};
use redis::{
    ConnectionInfo, ErrorKind, Pipeline, RedisResult, ServerErrorKind, Value,
    cluster::ClusterClientBuilder,
    cluster_async::ClusterConnection,
    cluster_routing::{RoutingInfo, SingleNodeRoutingInfo},
};
use std::{collections::BTreeSet, time::Duration};

/// How often a call follows a redirection, and how long it waits each time for the client's map of the slots.
const REDIRECTIONS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(15);

/// How many seconds an index entry may stand without its session, which a commit under way may be about to make the owner's.
pub(super) const YOUNG: u64 = 600;

pub(super) struct Cluster(ClusterConnection);

/// A primary's host and port.
pub(super) type Address = (String, u16);

impl Cluster {
    pub(super) async fn open(nodes: Vec<ConnectionInfo>) -> Result<Self, StoreError> {
        if nodes.first().and_then(connect::tls).is_some() && rustls::crypto::CryptoProvider::get_default().is_none() {
            // The cluster's client asks for the process's provider. Somebody else being faster is as good.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        // Without retries, because the client would also send a write again whose answer was lost.
        let client = ClusterClientBuilder::new(nodes).retries(0).overall_response_timeout(None).build();
        let client = client.map_err(StoreError::unavailable)?;
        client.get_async_connection().await.map(Self).map_err(StoreError::unavailable)
    }

    pub(super) fn given(connection: ClusterConnection) -> Self {
        Self(connection)
    }

    pub(super) async fn call(&self, call: &Call) -> RedisResult<Value> {
        let mut left = REDIRECTIONS;
        loop {
            let error = match call.over(&mut self.0.clone()).await {
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

    /// Calls a script where a slot is on its way to.
    async fn ask(&self, (host, port): Address, call: &Call) -> RedisResult<Value> {
        let mut pipeline = Pipeline::new();
        pipeline.cmd("ASKING").ignore().add_command(call.in_full());
        let to = SingleNodeRoutingInfo::ByAddress { host, port };
        let answers = self.0.clone().route_pipeline(pipeline, 0, 2, to).await?;
        let last = answers.into_iter().nth(1).unwrap_or(Value::Nil);
        last.extract_error()
    }

    /// Makes a call on one node, whatever its keys.
    pub(super) async fn call_at(&self, (host, port): &Address, call: &Call) -> RedisResult<Value> {
        let to = SingleNodeRoutingInfo::ByAddress { host: host.clone(), port: *port };
        self.0.clone().route_command(call.as_command().clone(), RoutingInfo::SingleNode(to)).await?.extract_error()
    }

    pub(super) async fn primaries(&self, limit: Duration) -> Result<BTreeSet<Address>, StoreError> {
        let mut slots = Call::command("CLUSTER");
        slots.arg("SLOTS");
        let answer = within(limit, Effect::Read, || self.call(&slots)).await?;
        let Value::Array(ranges) = answer else { return Ok(BTreeSet::new()) };
        Ok(ranges.into_iter().filter_map(primary).collect())
    }
}

/// The primary of one range of slots: first slot, last slot, primary, replicas.
fn primary(range: Value) -> Option<Address> {
    let Value::Array(range) = range else { return None };
    let Value::Array(node) = range.into_iter().nth(2)? else { return None };
    let (host, port): (String, u16) = redis::from_redis_value(Value::Array(node.into_iter().take(2).collect())).ok()?;
    Some((host, port))
}

fn address(node: &str) -> Option<Address> {
    let (host, port) = node.rsplit_once(':')?;
    Some((host.to_owned(), port.parse().ok()?))
}
