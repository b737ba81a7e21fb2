//! The proxy in front of the server instances. With several of them on one ledger it is a balancer.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::transcript::lock;

/// How long the balancer waits for `GET /ready`, on the real clock.
const READY_TIMEOUT: Duration = Duration::from_millis(500);

/// How long an instance that was not ready gets nothing, on the real clock.
const RECHECK_INTERVAL: Duration = Duration::from_secs(2);

/// The proxy in front of the servers: the instance that gets sockets, and the one that gets all other requests. Clones share
/// it.
#[derive(Debug, Clone)]
pub(crate) struct Proxy(Arc<Mutex<Targets>>);

#[derive(Debug, Clone)]
struct Targets {
    sockets: SocketAddr,
    /// `None` if the same instance gets them.
    requests: Option<SocketAddr>,
    /// The instances between which the proxy chooses. Empty if the two above are fixed.
    balanced: Vec<SocketAddr>,
    /// The number of requests so far, which the balanced instances get in turn.
    request_count: usize,
    /// The balanced instances that were not ready, and when.
    unready: Vec<(SocketAddr, Instant)>,
}

impl Proxy {
    /// Creates a proxy to this address.
    pub(crate) fn new(to: SocketAddr) -> Self {
        let (balanced, unready) = (Vec::new(), Vec::new());
        Self(Arc::new(Mutex::new(Targets { sockets: to, requests: None, balanced, request_count: 0, unready })))
    }

    /// The instance that gets a new socket. A balancer chooses the first that is ready.
    pub(crate) async fn socket_target(&self) -> SocketAddr {
        let Targets { sockets, balanced, .. } = lock(&self.0).clone();
        let chosen = self.first_ready(&balanced).await.unwrap_or(sockets);
        lock(&self.0).sockets = chosen;
        chosen
    }

    /// The instance that gets a request. A balancer chooses the next that is ready, so that every other request lands on an
    /// instance without the socket.
    pub(crate) async fn request_target(&self) -> SocketAddr {
        let Targets { sockets, requests, mut balanced, request_count, .. } = {
            let mut targets = lock(&self.0);
            targets.request_count += 1;
            targets.clone()
        };
        if !balanced.is_empty() {
            let next = request_count % balanced.len();
            balanced.rotate_left(next);
        }
        self.first_ready(&balanced).await.or(requests).unwrap_or(sockets)
    }

    /// The instance that got the newest socket.
    pub(crate) fn newest_socket_target(&self) -> SocketAddr {
        lock(&self.0).sockets
    }

    /// Points to another instance, as far as requests do not go elsewhere.
    pub(crate) fn set_target(&self, to: SocketAddr) {
        lock(&self.0).sockets = to;
    }

    /// Lets all requests land on another instance than sockets do.
    pub(crate) fn set_request_target(&self, to: SocketAddr) {
        lock(&self.0).requests = Some(to);
    }

    /// Chooses between these instances from now on: one that is dead, frozen or draining gets nothing new.
    pub(crate) fn balance(&self, instances: Vec<SocketAddr>) {
        lock(&self.0).balanced = instances;
    }

    /// The first of these instances that is ready.
    async fn first_ready(&self, instances: &[SocketAddr]) -> Option<SocketAddr> {
        for instance in instances {
            let is_unready = |(known, at): &(SocketAddr, Instant)| known == instance && at.elapsed() < RECHECK_INTERVAL;
            if lock(&self.0).unready.iter().any(is_unready) {
                continue;
            }
            if is_ready(*instance).await {
                return Some(*instance);
            }
            lock(&self.0).unready.push((*instance, Instant::now()));
        }
        None
    }
}

/// Whether `GET /ready` is answered 200 in time.
async fn is_ready(instance: SocketAddr) -> bool {
    let asked = async {
        let mut stream = TcpStream::connect(instance).await?;
        stream.write_all(b"GET /ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
        let mut status = [0; 12];
        stream.read_exact(&mut status).await?;
        io::Result::Ok(status)
    };
    let answer = tokio::time::timeout(READY_TIMEOUT, asked).await;
    answer.is_ok_and(|answer| answer.is_ok_and(|status| &status == b"HTTP/1.1 200"))
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::http::StatusCode;
    use axum::routing::get;

    use super::*;
    use crate::simulator::local_server::LocalServer;

    async fn serve(ready: StatusCode) -> (LocalServer, SocketAddr) {
        let server =
            LocalServer::start(Router::new().route("/ready", get(move || async move { ready }))).await.unwrap();
        let address = server.origin().strip_prefix("http://").unwrap().parse().unwrap();
        (server, address)
    }

    #[tokio::test]
    async fn a_balancer_passes_over_instances_that_are_dead_frozen_or_draining() {
        let frozen = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (_one, draining) = serve(StatusCode::SERVICE_UNAVAILABLE).await;
        let (_two, ready) = serve(StatusCode::OK).await;
        for other in [dead, draining, frozen.local_addr().unwrap()] {
            let proxy = Proxy::new(other);
            proxy.balance(vec![other, ready]);
            let chosen = (proxy.socket_target().await, proxy.request_target().await, proxy.request_target().await);
            assert_eq!(chosen, (ready, ready, ready));
            assert_eq!(proxy.newest_socket_target(), ready);
        }
    }

    #[tokio::test]
    async fn a_balancer_gives_requests_to_each_in_turn() {
        let ((_one, first), (_two, second)) = (serve(StatusCode::OK).await, serve(StatusCode::OK).await);
        let proxy = Proxy::new(first);
        proxy.balance(vec![first, second]);
        let chosen = [proxy.request_target().await, proxy.request_target().await, proxy.request_target().await];
        assert_ne!(chosen[0], chosen[1]);
        assert_eq!((chosen[0], proxy.socket_target().await), (chosen[2], first));
    }
}
