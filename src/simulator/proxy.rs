//! The proxy in front of the server instances.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use super::transcript::lock;

/// The proxy in front of the servers: the instance that gets sockets, and the one that gets all other requests. Clones share
/// it.
#[derive(Debug, Clone)]
pub(crate) struct Proxy(Arc<Mutex<Targets>>);

#[derive(Debug, Clone, Copy)]
struct Targets {
    sockets: SocketAddr,
    /// `None` if the same instance gets them.
    requests: Option<SocketAddr>,
}

impl Proxy {
    /// Creates a proxy to this address.
    pub(crate) fn new(to: SocketAddr) -> Self {
        Self(Arc::new(Mutex::new(Targets { sockets: to, requests: None })))
    }

    /// The instance that gets a socket.
    pub(crate) fn socket_target(&self) -> SocketAddr {
        lock(&self.0).sockets
    }

    /// The instance that gets a request.
    pub(crate) fn request_target(&self) -> SocketAddr {
        let targets = *lock(&self.0);
        targets.requests.unwrap_or(targets.sockets)
    }

    /// Points to another instance, as far as requests do not go elsewhere.
    pub(crate) fn set_target(&self, to: SocketAddr) {
        lock(&self.0).sockets = to;
    }

    /// Lets all requests land on another instance than sockets do.
    pub(crate) fn set_request_target(&self, to: SocketAddr) {
        lock(&self.0).requests = Some(to);
    }
}
