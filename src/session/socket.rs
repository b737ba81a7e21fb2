//! The WebSocket of a call as its session uses it, independent of the HTTP library.

use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use futures_util::stream::{self, BoxStream};
use futures_util::{Sink, SinkExt as _, Stream, StreamExt as _};
use tokio::time::{Instant, timeout};

use super::liveness::Liveness;
use crate::connections::ConnectionState;

/// Time limit for a write to the socket, after which the socket counts as failed.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

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
    pub(super) incoming: BoxStream<'static, SocketInput>,
    outgoing: Pin<Box<dyn Sink<SocketOutput, Error = SendFrameError> + Send>>,
    /// When the peer was last heard of.
    pub(super) liveness: Liveness,
    /// The connection below; `None` in tests.
    connection: Option<ConnectionState>,
}

/// The socket is closed or failed: the frame was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SendFrameError;

impl RelaySocket {
    /// Creates a socket from its two halves.
    pub fn new(
        incoming: impl Stream<Item = SocketInput> + Send + 'static,
        outgoing: impl Sink<SocketOutput, Error = SendFrameError> + Send + 'static,
    ) -> Self {
        Self {
            incoming: incoming.boxed(),
            outgoing: Box::pin(outgoing),
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
        let incoming = self.incoming.inspect(move |input| received(input));
        let outgoing = self.outgoing.with_flat_map(move |frame| stream::iter(sent(frame)).map(Ok));
        Self::new(incoming, outgoing)
    }

    /// Sends a frame; fails if the write takes longer than [`WRITE_TIMEOUT`].
    pub(super) async fn send(&mut self, frame: SocketOutput) -> Result<(), SendFrameError> {
        timeout(WRITE_TIMEOUT, self.outgoing.send(frame)).await.unwrap_or(Err(SendFrameError))
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
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_frame_is_shown() {
        let (received, sent) = (SocketInput::Text("secret".to_owned()), SocketOutput::Text("secret".to_owned()));
        assert_eq!(format!("{received:?} {sent:?}"), "Text Text");
    }
}
