//! Tests of the pool against a server that admits 100 streams on a connection.

use std::time::Duration;

use axum::Router;
use axum::routing::get;
use futures_util::future::join_all;
use reqwest::Certificate;
use tokio::sync::Barrier;
use tokio::time::timeout;

use super::*;
use crate::simulator::tls_server::{MAX_STREAMS, TlsServer};

/// A pool of clients that trust this server.
fn pool_for(server: &TlsServer) -> ClientPool {
    let certificate = Certificate::from_pem(server.certificate().as_bytes()).unwrap();
    ClientPool::new(move || Client::builder().no_proxy().tls_certs_only([certificate.clone()]).build()).unwrap()
}

#[tokio::test]
async fn more_requests_run_at_a_time_than_a_connection_has_streams() {
    let count = 3 * MAX_STREAMS as usize;
    // Nobody gets an answer before all have asked.
    let all_have_asked = Arc::new(Barrier::new(count));
    let wait = move || async move {
        all_have_asked.wait().await;
    };
    let server = TlsServer::start(Router::new().route("/", get(wait))).await.unwrap();
    let (pool, url) = (pool_for(&server), server.origin());
    let requests = (0..count).map(|_| async {
        let ClientLease { client, stream: _stream } = pool.lease(Instant::now());
        client.get(url).send().await.unwrap().version()
    });
    let versions =
        timeout(Duration::from_secs(20), join_all(requests)).await.expect("no request waits for another one");
    assert!(versions.iter().all(|version| *version == reqwest::Version::HTTP_2));
    assert_eq!(pool.clients().len(), count.div_ceil(STREAMS_PER_CONNECTION));
}

#[tokio::test]
async fn a_connection_is_used_again_while_it_has_room() {
    let server = TlsServer::start(Router::new().route("/", get(|| async {}))).await.unwrap();
    let pool = pool_for(&server);
    for _ in 0..2 * STREAMS_PER_CONNECTION {
        let ClientLease { client, stream: _stream } = pool.lease(Instant::now());
        client.get(server.origin()).send().await.unwrap();
    }
    assert_eq!(pool.clients().len(), 1);
}

#[test]
fn a_connection_is_prepared_when_the_others_are_almost_full() {
    let pool = ClientPool::new(|| Client::builder().build()).unwrap();
    let leases: Vec<ClientLease> =
        (0..=STREAMS_PER_CONNECTION - SPARE_STREAMS).map(|_| pool.lease(Instant::now())).collect();
    let prepared = pool.lease_to_prepare();
    assert!(prepared.is_some());
    assert!(pool.lease_to_prepare().is_none(), "one is enough");
    drop((leases, prepared));
    assert!(pool.lease_to_prepare().is_none());
    assert_eq!(format!("{pool:?}"), "ClientPool { streams: [0, 0], .. }");
}

#[test]
fn the_number_of_connections_has_a_limit() {
    // A client that is cloned is cheap.
    let client = Client::builder().build().unwrap();
    let pool = ClientPool::new(move || Ok(client.clone())).unwrap();
    let leases: Vec<ClientLease> =
        (0..STREAMS_PER_CONNECTION * MAX_CONNECTIONS + MAX_CONNECTIONS).map(|_| pool.lease(Instant::now())).collect();
    let streams: Vec<usize> = pool.clients().iter().map(Counted::streams).collect();
    assert_eq!(streams, vec![STREAMS_PER_CONNECTION + 1; MAX_CONNECTIONS]);
    assert!(pool.lease_to_prepare().is_none());
    drop(leases);
}

#[test]
fn a_client_whose_connection_is_dead_gets_no_more_requests() {
    let pool = ClientPool::new(|| Client::builder().build()).unwrap();
    let dead = pool.lease(Instant::now()).stream;
    pool.retire(&dead);
    pool.retire(&dead);
    let next = pool.lease(Instant::now()).stream;
    assert!(!dead.is_beside(&next));
    assert_eq!(format!("{pool:?}"), "ClientPool { streams: [1], .. }");
}

#[tokio::test(start_paused = true)]
async fn a_connection_on_which_nothing_arrives_gets_no_further_request_though_nobody_waits_for_long() {
    let pool = ClientPool::new(|| Client::builder().build()).unwrap();
    let lease = || pool.lease(Instant::now()).stream;
    let wait = |tenths: u64| tokio::time::sleep(Duration::from_millis(tenths * 100));
    let first = lease();
    wait(15).await;
    let second = lease();
    assert!(second.is_beside(&first), "it may still answer");
    wait(6).await;
    let third = lease();
    assert!(!third.is_beside(&first));
    // Something arrives for one of its requests, and it is used for as long as that goes on.
    wait(15).await;
    third.record_heard();
    wait(15).await;
    assert!(lease().is_beside(&third), "nobody has waited");
    third.record_heard();
    wait(600).await;
    assert!(lease().is_beside(&third));
}
