//! `RedisStore` on one server, behind Sentinel and in a cluster.

mod cluster;
mod connections;
mod costs;
mod faults;
mod fixture;
mod layout;
mod many;
mod opening;
mod races;

use self::fixture::fresh;
use cloakroom::{store::RedisStore, testing::conformance};
use cloakroom_tests::{
    needs,
    servers::{RedisCluster, RedisServer, Server as _},
};

#[tokio::test]
async fn one_server_keeps_every_rule_of_a_store() {
    let server = needs!(RedisServer::start().await);
    conformance::server_side(async || RedisStore::connect(server.url()).prefix(fresh()).await.unwrap()).await;
    assert_all_expire(&server).await;
}

#[tokio::test]
async fn a_connection_of_the_application_keeps_every_rule_of_a_store() {
    let server = needs!(RedisServer::start().await);
    let client = redis::Client::open(server.url()).unwrap();
    let config = redis::aio::ConnectionManagerConfig::new().set_number_of_retries(0);
    let connection = client.get_connection_manager_with_config(config).await.unwrap();
    conformance::server_side(async || RedisStore::from_connection(connection.clone()).prefix(fresh()).await.unwrap()).await;
}

#[tokio::test]
async fn a_cluster_keeps_every_rule_of_a_store() {
    let cluster = needs!(RedisCluster::start().await);
    conformance::server_side(async || RedisStore::cluster(cluster.urls()).prefix(fresh()).await.unwrap()).await;
    for node in cluster.nodes() {
        assert_all_expire(node).await;
    }
}

#[tokio::test]
async fn a_client_of_a_cluster_keeps_every_rule_of_a_store() {
    let cluster = needs!(RedisCluster::start().await);
    let client = redis::cluster::ClusterClientBuilder::new(cluster.urls()).retries(0).build().unwrap();
    let connection = client.get_async_connection().await.unwrap();
    conformance::server_side(async || RedisStore::from_cluster_connection(connection.clone()).prefix(fresh()).await.unwrap())
        .await;
}

/// Every key of a server has an expiry.
async fn assert_all_expire(server: &RedisServer) {
    let keys = server.command(&["KEYS", "*"]).await;
    for key in keys.lines() {
        let left: i64 = server.command(&["PTTL", key]).await.parse().unwrap();
        assert!(left > 0, "{key:?} has no expiry ({left})");
    }
}
