//! The byte stream of a connection. It fails when the connection is closed from here, or when its peer stops reading.

use std::future::Future as _;
use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Sleep, sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::ConnectionState;

/// How long a peer may take nothing of what is written to it.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a connection is silent before TCP asks whether the peer is there; then five times, every 15 s.
const KEEP_ALIVE_AFTER: Duration = Duration::from_mins(1);
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(15);
const KEEP_ALIVE_PROBES: u32 = 5;

/// A connection's stream, with what counts it as open until it is dropped.
pub(super) struct ConnectionStream {
    io: TcpStream,
    closed: Pin<Box<WaitForCancellationFutureOwned>>,
    /// Runs while a write waits for the peer.
    stalled: Option<Pin<Box<Sleep>>>,
    open: OpenConnection,
}

/// Counts a connection as open until it is dropped.
pub(super) struct OpenConnection {
    pub(super) state: ConnectionState,
    pub(super) _permit: OwnedSemaphorePermit,
    pub(super) _tracked: TaskTrackerToken,
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.state.mark_closed();
    }
}

impl ConnectionStream {
    /// Prepares the socket: small writes are sent at once, and a peer that is gone is noticed.
    pub(super) fn new(io: TcpStream, close: CancellationToken, open: OpenConnection) -> Self {
        // Token frames are small and get no reply; with Nagle's algorithm they would wait for a TCP acknowledgement.
        // A socket that refuses an option works without it.
        let _ = io.set_nodelay(true);
        let keep_alive = TcpKeepalive::new()
            .with_time(KEEP_ALIVE_AFTER)
            .with_interval(KEEP_ALIVE_INTERVAL)
            .with_retries(KEEP_ALIVE_PROBES);
        let _ = SockRef::from(&io).set_tcp_keepalive(&keep_alive);
        Self { io, closed: Box::pin(close.cancelled_owned()), stalled: None, open }
    }

    /// Limits the time of a write that waits for the peer.
    fn limit_stall<T>(&mut self, context: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(WRITE_TIMEOUT)));
        match stalled.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for ConnectionStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.closed.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(ErrorKind::ConnectionAborted.into()));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(context, buffer))?;
        let is_allowed = self.open.state.count_input(buffer.filled().len() - before);
        Poll::Ready(if is_allowed { Ok(()) } else { Err(ErrorKind::ConnectionAborted.into()) })
    }
}

impl AsyncWrite for ConnectionStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(context, bytes);
        self.limit_stall(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(context, slices);
        self.limit_stall(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}
