//! Accepts connections and makes room for them.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep, timeout};
use tracing::warn;

use super::http::serve_connection;
use super::pending::{FullLimit, PendingKind};
use super::stream::{ConnectionStream, OpenConnection};
use super::{ConnectionState, Connections, Listeners, RegisteredConnection, Standing, lock};

/// The pause after an error that a further attempt would repeat, such as no free descriptor.
const ERROR_PAUSE: Duration = Duration::from_millis(50);

/// How many connections are accepted before other tasks have their turn.
const ACCEPT_BURST: usize = 8;

/// Time limit for a closed connection to give up its place.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

impl Connections {
    /// Accepts connections on all sockets. Never returns; no error ends it.
    pub(crate) async fn accept(self: Arc<Self>, listeners: Listeners, router: Router) {
        let accepting = listeners.0.into_iter().map(|listener| self.accept_on(listener, router.clone()));
        futures_util::future::join_all(accepting).await;
    }

    async fn accept_on(&self, listener: TcpListener, router: Router) {
        for count in 0_usize.. {
            // What was accepted is read before much more is: in a flood it would have to make room unread.
            if count.is_multiple_of(ACCEPT_BURST) {
                tokio::task::yield_now().await;
            }
            match listener.accept().await {
                Ok((stream, peer)) => match self.reserve().await {
                    Some(permit) => self.spawn(stream, peer, permit, router.clone()),
                    None => self.log_refused(),
                },
                // The peer is gone already: only its connection is concerned.
                Err(error) if is_of_peer(error.kind()) => tokio::task::yield_now().await,
                Err(error) => {
                    self.log_accept_error(&error);
                    self.evict_oldest();
                    sleep(ERROR_PAUSE).await;
                }
            }
        }
    }

    /// Takes a place for a new connection, from the pending one that has waited longest if there is none. `None` if no
    /// connection is pending.
    async fn reserve(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(permit) = self.room.clone().try_acquire_owned() {
            return Some(permit);
        }
        if !self.evict_oldest() {
            return None;
        }
        self.log_evicted(FullLimit::Total);
        timeout(CLOSE_TIMEOUT, self.room.clone().acquire_owned()).await.ok()?.ok()
    }

    fn evict_oldest(&self) -> bool {
        let oldest = lock(&self.pending).take_oldest();
        oldest.inspect(tokio_util::sync::CancellationToken::cancel).is_some()
    }

    fn spawn(&self, stream: TcpStream, peer: SocketAddr, permit: OwnedSemaphorePermit, router: Router) {
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let close = self.abort.child_token();
        let (id, evicted) = lock(&self.pending).insert(peer.ip(), close.clone(), PendingKind::Unknown);
        if let Some((limit, oldest)) = evicted {
            oldest.cancel();
            self.log_evicted(limit);
        }
        let state = ConnectionState(Arc::new(RegisteredConnection {
            peer,
            close: close.clone(),
            pending: self.pending.clone(),
            standing: Mutex::new(Standing::Pending(id)),
            setup_room: OnceLock::new(),
        }));
        let open = OpenConnection { state: state.clone(), _permit: permit, _tracked: self.open.token() };
        let stream = ConnectionStream::new(stream, close.clone(), open);
        tokio::spawn(serve_connection(stream, state, router, self.finish.clone(), close));
    }

    /// Logs a failed accept. The lines of these three are limited, since anyone can cause them.
    fn log_accept_error(&self, error: &std::io::Error) {
        if let Some(left_out) = self.log_limiter.admit("server.accept_failed", "", Instant::now()) {
            warn!(event = "server.accept_failed", left_out, %error, "A connection could not be accepted.");
        }
    }

    fn log_refused(&self) {
        if let Some(left_out) = self.log_limiter.admit("server.connection_refused", "", Instant::now()) {
            warn!(
                event = "server.connection_refused",
                left_out, "A connection was refused: all places are taken by authenticated connections."
            );
        }
    }

    fn log_evicted(&self, limit: FullLimit) {
        let limit = match limit {
            FullLimit::Address => "address_full",
            FullLimit::Total => "full",
        };
        if let Some(left_out) = self.log_limiter.admit("server.pending_connection_closed", limit, Instant::now()) {
            warn!(
                event = "server.pending_connection_closed",
                left_out,
                limit,
                "A connection on which nothing was authenticated was closed to make room for a new one."
            );
        }
    }
}

fn is_of_peer(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::ConnectionAborted | ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset)
}
