//! `RedisStore` on one server, behind Sentinel and in a cluster.

use cloakroom::{store::RedisStore, testing::conformance};
use cloakroom_tests::{
    needs,
    servers::{RedisCluster, RedisServer},
};
use std::sync::atomic::{AtomicU32, Ordering};

/// A prefix that nobody else has.
fn fresh() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("test-{}:", NEXT.fetch_add(1, Ordering::Relaxed))
}

#[tokio::test]
async fn one_server_keeps_every_rule_of_a_store() {
    let server = needs!(RedisServer::start().await);
    conformance::server_side(async || RedisStore::connect(server.url()).prefix(fresh()).await.unwrap()).await;
}

#[tokio::test]
async fn a_cluster_keeps_every_rule_of_a_store() {
    let cluster = needs!(RedisCluster::start().await);
    conformance::server_side(async || RedisStore::cluster(cluster.urls()).prefix(fresh()).await.unwrap()).await;
}
