//! As many HTTP/2 connections to one server as its streams need.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::Client;
use tokio::time::Instant;

/// The requests that a connection carries at a time before another one is opened. RFC 9113 (6.5.2) recommends that servers
/// admit at least 100, which is also what many admit; fewer leave room for requests that are not counted, and make fewer calls
/// wait for each other when a packet is lost.
const STREAMS_PER_CONNECTION: usize = 64;

/// Further connections are made ready when fewer places than this are free.
const SPARE_STREAMS: usize = 16;

/// The maximum number of connections. With all of them full, requests share them.
const MAX_CONNECTIONS: usize = 256;

/// A connection gets no further request once one has waited so long for it and nothing at all has arrived on it since, whether
/// that one still waits or was given up: a caller who hears nothing asks again before any time limit is over.
const SILENCE_LIMIT: Duration = Duration::from_secs(2);

/// Clients of one server. A client has one HTTP/2 connection, on which a request that finds no stream waits for another one to
/// end; so there are as many clients as needed. The first with room is used, so that the others become idle and close. Over
/// HTTP/1.1 a client has a connection for each request, and the limit does no harm.
pub(crate) struct ClientPool {
    build: Box<dyn Fn() -> reqwest::Result<Client> + Send + Sync>,
    /// Never empty.
    clients: Mutex<Vec<Counted>>,
    /// When the pool was created.
    began: Instant,
}

#[derive(Clone)]
struct Counted {
    client: Client,
    /// Shared with the leases.
    connection: Arc<Connection>,
}

/// What is known of the connection of a client.
#[derive(Default)]
struct Connection {
    /// When a request was sent after which nothing has arrived, in milliseconds since the pool was created; 0 if something has.
    silent_since: AtomicU64,
}

impl Counted {
    fn new(client: Client) -> Self {
        Self { client, connection: Arc::default() }
    }

    fn streams(&self) -> usize {
        Arc::strong_count(&self.connection) - 1
    }

    fn lease(&self) -> ClientLease {
        ClientLease { client: self.client.clone(), stream: StreamLease(self.connection.clone()) }
    }

    /// Whether it is silent for too long, at this time of the pool.
    fn is_silent(&self, now: u64) -> bool {
        let since = self.connection.silent_since.load(Ordering::Relaxed);
        since != 0 && u128::from(now.saturating_sub(since)) >= SILENCE_LIMIT.as_millis()
    }
}

/// A client with room for a request.
pub(crate) struct ClientLease {
    pub(crate) client: Client,
    pub(crate) stream: StreamLease,
}

/// The place of a request on its connection, to be kept until its response has been read.
pub(crate) struct StreamLease(Arc<Connection>);

impl StreamLease {
    /// Records that something has arrived on the connection.
    pub(crate) fn record_heard(&self) {
        if self.0.silent_since.load(Ordering::Relaxed) != 0 {
            self.0.silent_since.store(0, Ordering::Relaxed);
        }
    }

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
        Ok(Self { build: Box::new(build), clients: Mutex::new(vec![first]), began: Instant::now() })
    }

    /// The client for requests that are few, short and not urgent.
    pub(crate) fn first(&self) -> Client {
        self.clients()[0].client.clone()
    }

    /// Returns a client with room for a request, which is sent now.
    pub(crate) fn lease(&self, now: Instant) -> ClientLease {
        let now = u64::try_from(now.saturating_duration_since(self.began).as_millis()).unwrap_or(u64::MAX).max(1);
        let lease = self.lease_heard(now);
        let _ = lease.stream.0.silent_since.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
        lease
    }

    /// Returns a client whose connection is not silent, if there is one.
    fn lease_heard(&self, now: u64) -> ClientLease {
        let mut clients = self.clients();
        while let Some(at) = clients.iter().position(|client| client.is_silent(now)) {
            if !self.replace(&mut clients, at) {
                break;
            }
        }
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
        if let Some(at) = clients.iter().position(|client| Arc::ptr_eq(&client.connection, &stream.0)) {
            self.replace(&mut clients, at);
        }
    }

    /// Takes a client out of the pool. Returns whether it was, which needs another one.
    fn replace(&self, clients: &mut Vec<Counted>, at: usize) -> bool {
        if clients.len() > 1 {
            clients.remove(at);
        } else {
            let Ok(client) = (self.build)() else { return false };
            clients[at] = Counted::new(client);
        }
        true
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
