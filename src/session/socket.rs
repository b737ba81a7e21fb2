//! The WebSocket of a call as its session uses it, independent of the HTTP library.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::{Sink, SinkExt as _, Stream, StreamExt as _, stream};
use tokio::time::{Instant, timeout};

use super::liveness::Liveness;
use crate::connections::ConnectionState;

/// Time limit for a write to the socket, after which the socket counts as failed.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// The frames that may wait for the peer to read. With more of them the socket counts as failed. Nothing is read from the model
/// while a frame waits, so these are answers to a caller who goes on, and announcements.
const MAX_WAITING_FRAMES: usize = 256;

/// Input from the socket.
pub enum SocketInput {
    /// A text frame.
    Text(String),
    /// A ping or a pong.
    Alive,
    /// A frame that ConversationRelay never sends, such as a binary frame.
    Invalid,
    /// A frame above the limit. Nothing more can be read.
    TooLarge,
    /// The socket was closed with this code; `None` if it failed or no code was given.
    Closed(Option<u16>),
}

/// Output to the socket.
pub enum SocketOutput {
    /// A text frame.
    Text(String),
    /// A ping, which the peer answers.
    Ping,
    /// A close frame with a code and a reason.
    Close(u16, &'static str),
}

/// The WebSocket of a call.
pub struct RelaySocket {
    frames: Pin<Box<dyn FrameTransport>>,
    /// Frames that the transport has not taken yet.
    waiting: VecDeque<SocketOutput>,
    /// The transport has frames that are not written yet.
    is_unflushed: bool,
    /// Since when something waits to be written.
    stalled_since: Option<Instant>,
    /// When the peer was last heard of.
    pub(super) liveness: Liveness,
    /// The connection below; `None` in tests.
    connection: Option<ConnectionState>,
}

/// What carries the frames of a socket in both directions.
pub(super) trait FrameTransport:
    Stream<Item = SocketInput> + Sink<SocketOutput, Error = SendFrameError> + Send
{
}

impl<T: Stream<Item = SocketInput> + Sink<SocketOutput, Error = SendFrameError> + Send> FrameTransport for T {}

/// The socket is closed or failed: the frame was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SendFrameError;

impl RelaySocket {
    /// Creates a socket whose frames are carried by `frames`.
    pub fn new(
        frames: impl Stream<Item = SocketInput> + Sink<SocketOutput, Error = SendFrameError> + Send + 'static,
    ) -> Self {
        Self {
            frames: Box::pin(frames),
            waiting: VecDeque::new(),
            is_unflushed: false,
            stalled_since: None,
            liveness: Liveness::new(Instant::now()),
            connection: None,
        }
    }

    /// Names the connection of the socket, which is pending until [`mark_identified`](Self::mark_identified).
    pub(crate) fn on_connection(self, connection: ConnectionState) -> Self {
        Self { connection: Some(connection), ..self }
    }

    /// Says that the socket was accepted as that of a call.
    pub(super) fn mark_identified(&self) {
        if let Some(connection) = &self.connection {
            connection.mark_identified();
        }
    }

    /// Passes every input to `received`, and every output to `sent`, which returns what is sent in its place.
    pub fn observed_by(
        self,
        mut received: impl FnMut(&SocketInput) + Send + 'static,
        mut sent: impl FnMut(SocketOutput) -> Vec<SocketOutput> + Send + 'static,
    ) -> Self {
        let frames = self.frames.inspect(move |input| received(input));
        let frames = frames.with_flat_map(move |frame| stream::iter(sent(frame)).map(Ok));
        Self { frames: Box::pin(frames), ..self }
    }

    /// Waits for the next input; `None` once the socket is closed.
    pub(super) async fn receive(&mut self) -> Option<SocketInput> {
        self.frames.next().await
    }

    /// Polls for the next input; `None` once the socket is closed.
    pub(super) fn poll_receive(&mut self, context: &mut Context<'_>) -> Poll<Option<SocketInput>> {
        self.frames.as_mut().poll_next(context)
    }

    /// Sends a frame, and waits until it is written; fails if that takes longer than [`WRITE_TIMEOUT`].
    pub(super) async fn send(&mut self, frame: SocketOutput) -> Result<(), SendFrameError> {
        self.waiting.push_back(frame);
        timeout(WRITE_TIMEOUT, poll_fn(|context| self.poll_write(context))).await.unwrap_or(Err(SendFrameError))
    }

    /// Sends a frame without waiting: what is not written at once, [`poll_write`](Self::poll_write) writes later.
    pub(super) async fn post(&mut self, frame: SocketOutput) -> Result<(), SendFrameError> {
        if self.waiting.len() >= MAX_WAITING_FRAMES {
            return Err(SendFrameError);
        }
        self.waiting.push_back(frame);
        match poll_fn(|context| Poll::Ready(self.poll_write(context))).await {
            Poll::Ready(written) => written,
            Poll::Pending => Ok(()),
        }
    }

    /// Writes what waits. Pending while the peer does not read; it then has to be called again.
    pub(super) fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<Result<(), SendFrameError>> {
        let written = self.poll_write_all(context);
        if written.is_pending() {
            self.stalled_since.get_or_insert_with(Instant::now);
        } else {
            self.stalled_since = None;
        }
        written
    }

    fn poll_write_all(&mut self, context: &mut Context<'_>) -> Poll<Result<(), SendFrameError>> {
        while !self.waiting.is_empty() {
            ready!(self.frames.as_mut().poll_ready(context))?;
            let Some(frame) = self.waiting.pop_front() else { break };
            self.frames.as_mut().start_send(frame)?;
            self.is_unflushed = true;
        }
        if self.is_unflushed {
            ready!(self.frames.as_mut().poll_flush(context))?;
            self.is_unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Until when what waits has to be written. `None` if nothing waits.
    pub(super) fn write_deadline(&self) -> Option<Instant> {
        self.stalled_since.map(|since| since + WRITE_TIMEOUT)
    }
}

impl fmt::Debug for RelaySocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RelaySocket")
    }
}

/// The kind of frame and nothing of what it says.
impl fmt::Debug for SocketInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(_) => f.write_str("Text"),
            Self::Alive => f.write_str("Alive"),
            Self::Invalid => f.write_str("Invalid"),
            Self::TooLarge => f.write_str("TooLarge"),
            Self::Closed(code) => write!(f, "Closed({code:?})"),
        }
    }
}

/// The kind of frame and nothing of what it says.
impl fmt::Debug for SocketOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(_) => f.write_str("Text"),
            Self::Ping => f.write_str("Ping"),
            Self::Close(code, reason) => write!(f, "Close({code}, {reason})"),
        }
    }
}

#[cfg(test)]
pub(super) mod halves {
    use futures_util::stream::BoxStream;

    use super::*;

    type Outgoing = Pin<Box<dyn Sink<SocketOutput, Error = SendFrameError> + Send>>;

    /// What carries each direction by itself.
    pub(in super::super) struct Halves(BoxStream<'static, SocketInput>, Outgoing);

    impl Halves {
        pub(in super::super) fn new(
            incoming: impl Stream<Item = SocketInput> + Send + 'static,
            outgoing: impl Sink<SocketOutput, Error = SendFrameError> + Send + 'static,
        ) -> Self {
            Self(incoming.boxed(), Box::pin(outgoing))
        }
    }

    impl Stream for Halves {
        type Item = SocketInput;

        fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<SocketInput>> {
            self.0.as_mut().poll_next(context)
        }
    }

    impl Sink<SocketOutput> for Halves {
        type Error = SendFrameError;

        fn poll_ready(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), SendFrameError>> {
            self.1.as_mut().poll_ready(context)
        }

        fn start_send(mut self: Pin<&mut Self>, frame: SocketOutput) -> Result<(), SendFrameError> {
            self.1.as_mut().start_send(frame)
        }

        fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), SendFrameError>> {
            self.1.as_mut().poll_flush(context)
        }

        fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), SendFrameError>> {
            self.1.as_mut().poll_close(context)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_frame_is_shown() {
        let (received, sent) = (SocketInput::Text("secret".to_owned()), SocketOutput::Text("secret".to_owned()));
        assert_eq!(format!("{received:?} {sent:?}"), "Text Text");
    }
}
