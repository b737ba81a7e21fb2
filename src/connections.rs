//! The connections of the server: accepts, bounds and serves them.
//!
//! A connection is *pending* unless what it is used for is authenticated: a request by its signature, an operator's
//! token or the token of a call, until it is answered; a socket by its `setup` frame. If there is no room, the pending
//! connection that has waited longest is closed for the new one; a socket whose upgrade was signed goes last. So
//! connections of which nothing is known keep nobody else out, however many there are.

mod accept;
mod http;
mod limited_body;
mod pending;
mod stream;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use axum::http::Extensions;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::log_limit::LogLimiter;
use pending::{PendingConnections, PendingKind};

/// The highest default of `MAX_CONNECTIONS`.
const MAX_DEFAULT_CONNECTIONS: usize = 20_000;

/// The most pending connections in all. Each takes about 18 KiB, at most some 80 KiB, and a genuine one is pending for
/// milliseconds.
const MAX_PENDING: usize = 2048;

/// The listening sockets of a server; all serve the same.
#[derive(Debug)]
pub struct Listeners(Vec<TcpListener>);

impl From<TcpListener> for Listeners {
    fn from(listener: TcpListener) -> Self {
        Self(vec![listener])
    }
}

impl From<Vec<TcpListener>> for Listeners {
    fn from(listeners: Vec<TcpListener>) -> Self {
        Self(listeners)
    }
}

impl Listeners {
    /// The addresses of the sockets.
    pub(crate) fn local_addresses(&self) -> std::io::Result<Vec<SocketAddr>> {
        self.0.iter().map(TcpListener::local_addr).collect()
    }
}

/// How many connections are open at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ConnectionLimits {
    /// All connections.
    pub(crate) total: usize,
    /// The pending connections of one address; of one `/64` for IPv6.
    pub(crate) pending_per_address: usize,
}

impl ConnectionLimits {
    /// Determines the limits. `descriptors` is the process's limit, if it has one. Half of them serve connections by
    /// default, since a call has about as many connections to other services; a configured limit gets three quarters at
    /// most.
    pub(crate) fn new(configured: Option<usize>, pending_per_address: usize, descriptors: Option<u64>) -> Self {
        let descriptors = descriptors.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
        let total = match configured {
            Some(configured) => configured.min(descriptors / 4 * 3),
            None => MAX_DEFAULT_CONNECTIONS.min(descriptors / 2),
        };
        Self { total: total.clamp(1, Semaphore::MAX_PERMITS), pending_per_address: pending_per_address.max(1) }
    }
}

/// All connections of a server.
pub(crate) struct Connections {
    pending: Arc<Mutex<PendingConnections<CancellationToken>>>,
    /// One permit for each connection.
    room: Arc<Semaphore>,
    /// The open connections, including those that became WebSockets.
    open: TaskTracker,
    /// Cancelled when no further requests are served.
    finish: CancellationToken,
    /// Cancelled to close all connections at once. Each connection has a child of it.
    abort: CancellationToken,
    log_limiter: Arc<LogLimiter>,
}

/// A connection, as the handlers of its requests know it: an extension of each request.
#[derive(Clone)]
pub(crate) struct ConnectionState(Arc<RegisteredConnection>);

struct RegisteredConnection {
    peer: SocketAddr,
    close: CancellationToken,
    pending: Arc<Mutex<PendingConnections<CancellationToken>>>,
    standing: Mutex<Standing>,
    /// The bytes that may still come before the connection is identified, if it is a socket.
    setup_room: OnceLock<AtomicUsize>,
}

/// What is known of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// Nothing; its id among the pending connections.
    Pending(u64),
    /// What it is used for at present was authenticated.
    Identified,
    /// It is closed.
    Closed,
}

impl Connections {
    pub(crate) fn new(limits: ConnectionLimits, log_limiter: Arc<LogLimiter>) -> Arc<Self> {
        let max_pending = limits.total.min(MAX_PENDING);
        Arc::new(Self {
            pending: Arc::new(Mutex::new(PendingConnections::new(max_pending, limits.pending_per_address))),
            room: Arc::new(Semaphore::new(limits.total)),
            open: TaskTracker::new(),
            finish: CancellationToken::new(),
            abort: CancellationToken::new(),
            log_limiter,
        })
    }

    /// Closes idle connections, lets requests finish within `limit`, and then closes all connections.
    pub(crate) async fn close(&self, limit: Duration) {
        self.finish.cancel();
        self.open.close();
        let finished = timeout(limit, self.open.wait()).await.is_ok();
        self.abort.cancel();
        if !finished {
            tracing::debug!(event = "server.connections_cut", open = self.open.len(), "Connections were still open.");
        }
    }
}

impl ConnectionState {
    /// The address of the peer, which may be a proxy. An IPv4 address is never in the form of IPv6.
    pub(crate) fn peer(&self) -> SocketAddr {
        self.0.peer
    }

    /// Says that something on this connection was authenticated: it is no longer closed to make room for others.
    pub(crate) fn mark_identified(&self) {
        self.leave_pending(Standing::Identified);
    }

    /// Says that the connection is a socket whose upgrade was signed. Limits what comes from now on until it is identified, in
    /// bytes. Beyond it the connection is closed.
    pub(crate) fn await_setup(&self, bytes: usize) {
        let _ = self.0.setup_room.set(AtomicUsize::new(bytes));
    }

    /// Counts bytes that came. Returns whether they are within the limit.
    fn count_input(&self, bytes: usize) -> bool {
        let Some(setup_room) = self.0.setup_room.get() else { return true };
        if *lock(&self.0.standing) == Standing::Identified {
            return true;
        }
        // Only the task of the connection counts.
        let room = setup_room.load(Ordering::Relaxed);
        setup_room.store(room.saturating_sub(bytes), Ordering::Relaxed);
        bytes <= room
    }

    /// Says that the authenticated request on this connection was answered. The connection is pending again, as the newest
    /// one: whoever has one signed request could otherwise hold all places with it.
    fn mark_answered(&self) {
        let mut standing = lock(&self.0.standing);
        if *standing == Standing::Identified {
            let kind = if self.0.setup_room.get().is_some() { PendingKind::Socket } else { PendingKind::Unknown };
            let (id, evicted) = lock(&self.0.pending).insert(self.0.peer.ip(), self.0.close.clone(), kind);
            *standing = Standing::Pending(id);
            if let Some((_, oldest)) = evicted {
                oldest.cancel();
            }
        }
    }

    /// Says that the connection is closed.
    fn mark_closed(&self) {
        self.leave_pending(Standing::Closed);
    }

    fn leave_pending(&self, now: Standing) {
        let mut standing = lock(&self.0.standing);
        if let Standing::Pending(id) = *standing {
            lock(&self.0.pending).remove(id);
        }
        if *standing != Standing::Closed {
            *standing = now;
        }
    }
}

/// Says that a request was authenticated: its connection is no longer closed to make room for others.
pub(crate) fn mark_identified(request: &Extensions) {
    if let Some(connection) = request.get::<ConnectionState>() {
        connection.mark_identified();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connections({} open, {} pending)", self.open.len(), lock(&self.pending).count())
    }
}

impl fmt::Debug for ConnectionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConnectionState({:?})", *lock(&self.0.standing))
    }
}
