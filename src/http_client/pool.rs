//! As many HTTP/2 connections to one server as its streams need.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use reqwest::Client;

/// The requests that a connection carries at a time before another one is opened. RFC 9113 (6.5.2) recommends that servers
/// admit at least 100, which is also what many admit; fewer leave room for requests that are not counted, and make fewer calls
/// wait for each other when a packet is lost.
const STREAMS_PER_CONNECTION: usize = 64;

/// Further connections are made ready when fewer places than this are free.
const SPARE_STREAMS: usize = 16;

/// The maximum number of connections. With all of them full, requests share them.
const MAX_CONNECTIONS: usize = 256;

/// Clients of one server. A client has one HTTP/2 connection, on which a request that finds no stream waits for another one to
/// end; so there are as many clients as needed. The first with room is used, so that the others become idle and close. Over
/// HTTP/1.1 a client has a connection for each request, and the limit does no harm.
pub(crate) struct ClientPool {
    build: Box<dyn Fn() -> reqwest::Result<Client> + Send + Sync>,
    /// Never empty.
    clients: Mutex<Vec<Counted>>,
}

#[derive(Clone)]
struct Counted {
    client: Client,
    /// Shared with the leases.
    streams: Arc<()>,
}

impl Counted {
    fn new(client: Client) -> Self {
        Self { client, streams: Arc::new(()) }
    }

    fn streams(&self) -> usize {
        Arc::strong_count(&self.streams) - 1
    }

    fn lease(&self) -> ClientLease {
        ClientLease { client: self.client.clone(), stream: StreamLease(self.streams.clone()) }
    }
}

/// A client with room for a request.
pub(crate) struct ClientLease {
    pub(crate) client: Client,
    pub(crate) stream: StreamLease,
}

/// The place of a request on its connection, to be kept until its response has been read.
pub(crate) struct StreamLease(Arc<()>);

impl StreamLease {
    /// Whether the request of another one has the same connection.
    #[cfg(test)]
    pub(crate) fn is_beside(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl ClientPool {
    /// Creates the pool with its first client; further ones are built in the same way.
    pub(crate) fn new(build: impl Fn() -> reqwest::Result<Client> + Send + Sync + 'static) -> reqwest::Result<Self> {
        let first = Counted::new(build()?);
        Ok(Self { build: Box::new(build), clients: Mutex::new(vec![first]) })
    }

    /// The client for requests that are few, short and not urgent.
    pub(crate) fn first(&self) -> Client {
        self.clients()[0].client.clone()
    }

    /// Returns a client with room for a request.
    pub(crate) fn lease(&self) -> ClientLease {
        let mut clients = self.clients();
        if let Some(client) = clients.iter().find(|client| client.streams() < STREAMS_PER_CONNECTION) {
            return client.lease();
        }
        if clients.len() < MAX_CONNECTIONS
            && let Ok(client) = (self.build)()
        {
            clients.push(Counted::new(client));
        }
        clients.iter().min_by_key(|client| client.streams()).expect("there is a first client").lease()
    }

    /// Adds a client, whose connection is to be opened in advance, if the others are almost full.
    pub(crate) fn lease_to_prepare(&self) -> Option<ClientLease> {
        let mut clients = self.clients();
        let free: usize = clients.iter().map(|client| STREAMS_PER_CONNECTION.saturating_sub(client.streams())).sum();
        if free >= SPARE_STREAMS || clients.len() >= MAX_CONNECTIONS {
            return None;
        }
        clients.push(Counted::new((self.build)().ok()?));
        clients.last().map(Counted::lease)
    }

    /// Takes the client of a request out of the pool, since its connection seems dead: the next request opens another one.
    /// Requests that it still has may end.
    pub(crate) fn retire(&self, stream: &StreamLease) {
        let mut clients = self.clients();
        let Some(at) = clients.iter().position(|client| Arc::ptr_eq(&client.streams, &stream.0)) else { return };
        if clients.len() > 1 {
            clients.remove(at);
        } else if let Ok(client) = (self.build)() {
            clients[at] = Counted::new(client);
        }
    }

    fn clients(&self) -> MutexGuard<'_, Vec<Counted>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for ClientPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let streams: Vec<usize> = self.clients().iter().map(Counted::streams).collect();
        f.debug_struct("ClientPool").field("streams", &streams).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
