//! The proxy in front of the server instances.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use super::transcript::lock;

/// The proxy in front of the server: the address of the instance that takes calls. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Proxy(Arc<Mutex<SocketAddr>>);

impl Proxy {
    /// Creates a proxy to this address.
    pub(crate) fn new(to: SocketAddr) -> Self {
        Self(Arc::new(Mutex::new(to)))
    }

    /// The current target.
    pub(crate) fn target(&self) -> SocketAddr {
        *lock(&self.0)
    }

    /// Points to another instance.
    pub(crate) fn set_target(&self, to: SocketAddr) {
        *lock(&self.0) = to;
    }
}
