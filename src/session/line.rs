//! The socket of a call as its session sees it: frames come in, frames go out, and it may break.

use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use futures_util::stream::BoxStream;
use futures_util::{Sink, SinkExt as _, Stream, StreamExt as _};
use tokio::time::timeout;

/// How long a write to the socket may take before the socket counts as dead.
const WRITE_LIMIT: Duration = Duration::from_secs(5);

/// What came through the socket.
pub enum Received {
    /// A text frame.
    Text(String),
    /// A frame that cannot be ConversationRelay's.
    Bad,
    /// The socket was closed, with this code, or broke.
    Closed(Option<u16>),
}

/// What goes out through the socket.
pub enum Sent {
    /// A text frame.
    Text(String),
    /// The socket is closed with a code and a reason.
    Close(u16, &'static str),
}

/// One socket of a call.
pub struct Line {
    pub(super) incoming: BoxStream<'static, Received>,
    outgoing: Pin<Box<dyn Sink<Sent, Error = Broken> + Send>>,
}

/// The socket takes nothing any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Broken;

impl Line {
    /// A line from the two halves of a socket.
    pub fn new(
        incoming: impl Stream<Item = Received> + Send + 'static,
        outgoing: impl Sink<Sent, Error = Broken> + Send + 'static,
    ) -> Self {
        Self { incoming: incoming.boxed(), outgoing: Box::pin(outgoing) }
    }

    /// Sends a frame; a socket that takes none for [`WRITE_LIMIT`] counts as broken.
    pub(super) async fn send(&mut self, frame: Sent) -> Result<(), Broken> {
        timeout(WRITE_LIMIT, self.outgoing.send(frame)).await.unwrap_or(Err(Broken))
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Line")
    }
}

/// The kind of frame and nothing of what it says.
impl fmt::Debug for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(_) => f.write_str("Text"),
            Self::Bad => f.write_str("Bad"),
            Self::Closed(code) => write!(f, "Closed({code:?})"),
        }
    }
}

/// The kind of frame and nothing of what it says.
impl fmt::Debug for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(_) => f.write_str("Text"),
            Self::Close(code, reason) => write!(f, "Close({code}, {reason})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_frame_is_shown() {
        let (received, sent) = (Received::Text("secret".to_owned()), Sent::Text("secret".to_owned()));
        assert_eq!(format!("{received:?} {sent:?}"), "Text Text");
    }
}
