//! How calls reach a server: over connections of our own, over those of the application, or through a cluster.

#[cfg(feature = "redis-cluster")]
use super::cluster::Cluster;
use super::{
    node::{Node, verdict},
    scripts::Call,
};
use crate::store::{
    StoreError,
    remote::{Effect, Links, Verdict},
};
use async_trait::async_trait;
use redis::{RedisResult, Value, aio::ConnectionLike};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

pub(super) enum Client {
    Node(Links<Node>),
    /// Which comes back by itself, as its owner has configured it.
    Given {
        connection: Box<dyn Connection>,
        limit: Duration,
    },
    #[cfg(feature = "redis-cluster")]
    Cluster(Cluster),
}

impl Client {
    pub(super) async fn call(&self, effect: Effect, call: &Call) -> Result<Value, StoreError> {
        match self {
            Self::Node(links) => links.run(effect, |mut link| async move { call.over(&mut link.connection).await }).await,
            Self::Given { connection, limit } => within(*limit, effect, || connection.call(call)).await,
            #[cfg(feature = "redis-cluster")]
            Self::Cluster(cluster) => cluster.call(effect, call).await,
        }
    }
}

/// Some connection of the application, whatever its type.
#[async_trait]
pub(super) trait Connection: Send + Sync {
    async fn call(&self, call: &Call) -> RedisResult<Value>;
}

#[async_trait]
impl<C: ConnectionLike + Clone + Send + Sync> Connection for C {
    async fn call(&self, call: &Call) -> RedisResult<Value> {
        call.over(&mut self.clone()).await
    }
}

/// As [`Links::run`], over a client that replaces its connections itself.
pub(super) async fn within<T, F, Fut>(limit: Duration, effect: Effect, operation: F) -> Result<T, StoreError>
where
    F: Fn() -> Fut,
    Fut: Future<Output = RedisResult<T>>,
{
    let deadline = Instant::now() + limit;
    let mut tries = if effect == Effect::Read { 2 } else { 1 };
    loop {
        tries -= 1;
        let error = match timeout_at(deadline, operation()).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => error,
            Err(_) => return Err(effect.lost(format!("no answer within {limit:?}"))),
        };
        match verdict(&error) {
            Verdict::Broken | Verdict::Lost if tries > 0 => {}
            Verdict::Broken | Verdict::Lost => return Err(effect.lost(error)),
            Verdict::Refused | Verdict::Unfit => return Err(StoreError::unavailable(error)),
        }
    }
}
