//! ConversationRelay's end of a call's socket: opens it as Twilio does, and reads the messages of the application
//! strictly.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, bail};
use axum::body::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::frames::ApplicationFrame;

/// How long the methods that wait do so.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A socket of a call.
pub struct RelayClient {
    socket: WebSocketStream<TcpStream>,
    observer: Box<dyn Fn(&str) + Send + Sync>,
    /// Whether the newest ping has no answer yet.
    is_ping_unanswered: bool,
}

/// What the application sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RelayMessage {
    /// A text frame. A binary frame is an empty one.
    Text(String),
    /// A close frame with this code and reason.
    Closed(u16, String),
    /// The socket is gone, without a code.
    Lost,
}

/// The reason why a socket did not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenRelaySocketError {
    /// The server answered with this HTTP status.
    #[error("the server answered the WebSocket handshake with status {0}")]
    Refused(u16),
    /// The handshake failed.
    #[error("the WebSocket handshake failed: {0}")]
    Failed(String),
}

impl RelayClient {
    /// Opens the socket with this URL at the local address of its server.
    pub async fn open(address: SocketAddr, url: &str, signature: Option<&str>) -> Result<Self, OpenRelaySocketError> {
        let failed = |error: &dyn std::fmt::Display| OpenRelaySocketError::Failed(error.to_string());
        let mut request = url.replacen("wss://", "ws://", 1).into_client_request().map_err(|error| failed(&error))?;
        request.headers_mut().insert("User-Agent", HeaderValue::from_static("Jetty/11.0.24"));
        if let Some(signature) = signature {
            let signature = HeaderValue::from_str(signature).map_err(|error| failed(&error))?;
            request.headers_mut().insert("X-Twilio-Signature", signature);
        }
        let opened = async {
            let stream = TcpStream::connect(address).await.map_err(|error| failed(&error))?;
            // Without it, small frames are delayed.
            let _ = stream.set_nodelay(true);
            tokio_tungstenite::client_async(request, stream).await.map_err(|error| match error {
                Error::Http(response) => OpenRelaySocketError::Refused(response.status().as_u16()),
                error => failed(&error),
            })
        };
        let (socket, response) = tokio::time::timeout(TIMEOUT, opened).await.map_err(|error| failed(&error))??;
        if response.headers().contains_key("sec-websocket-protocol") {
            return Err(failed(&"the server chose a subprotocol that was not offered"));
        }
        Ok(Self { socket, observer: Box::new(|_| {}), is_ping_unanswered: false })
    }

    /// Passes each text frame to `observer`.
    pub fn observed_by(mut self, observer: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.observer = Box::new(observer);
        self
    }

    /// Sends a frame.
    pub async fn send(&mut self, frame: &Value) -> anyhow::Result<()> {
        self.send_text(frame.to_string()).await
    }

    /// Sends a text frame, which need not be JSON.
    pub async fn send_text(&mut self, text: impl Into<String>) -> anyhow::Result<()> {
        self.socket.send(Message::text(text.into())).await.context("the socket is closed")
    }

    /// Sends a final prompt.
    pub async fn say(&mut self, words: &str) -> anyhow::Result<()> {
        self.send(&json!({"type": "prompt", "voicePrompt": words, "lang": "en-US", "last": true})).await
    }

    /// Sends one `dtmf` frame per key.
    pub async fn press_keys(&mut self, keys: &str) -> anyhow::Result<()> {
        for key in keys.chars() {
            self.send(&json!({"type": "dtmf", "digit": key.to_string()})).await?;
        }
        Ok(())
    }

    /// Sends a close frame.
    pub async fn close(&mut self, code: u16, reason: &'static str) -> anyhow::Result<()> {
        Ok(self.socket.close(Some(CloseFrame { code: code.into(), reason: reason.into() })).await?)
    }

    /// Sends a ping. False if the last one has had no answer, as far as messages were received.
    pub(super) async fn ping(&mut self) -> bool {
        let is_answered = !std::mem::replace(&mut self.is_ping_unanswered, true);
        // A closed socket is detected on the next read.
        let _ = self.socket.send(Message::Ping(Bytes::new())).await;
        is_answered
    }

    /// Receives the next message.
    pub async fn receive(&mut self) -> RelayMessage {
        loop {
            let text = match self.socket.next().await {
                Some(Ok(Message::Text(text))) => text.as_str().to_owned(),
                Some(Ok(Message::Binary(_))) => String::new(),
                Some(Ok(Message::Pong(_))) => {
                    self.is_ping_unanswered = false;
                    continue;
                }
                Some(Ok(Message::Ping(_) | Message::Frame(_))) => continue,
                Some(Ok(Message::Close(Some(close)))) => {
                    return RelayMessage::Closed(close.code.into(), close.reason.as_str().to_owned());
                }
                Some(Ok(Message::Close(None)) | Err(_)) | None => return RelayMessage::Lost,
            };
            (self.observer)(&text);
            return RelayMessage::Text(text);
        }
    }

    /// Waits for a frame that satisfies the predicate. A frame that ConversationRelay would refuse is an error.
    pub async fn wait_for(&mut self, mut is: impl FnMut(&Value) -> bool) -> anyhow::Result<Value> {
        let waits = async {
            loop {
                let text = match self.receive().await {
                    RelayMessage::Text(text) => text,
                    closed => bail!("the server closed the socket: {closed:?}"),
                };
                if let Err(what) = ApplicationFrame::parse(&text) {
                    bail!("a bad frame (64107): {what}");
                }
                let frame = serde_json::from_str(&text)?;
                if is(&frame) {
                    return Ok(frame);
                }
            }
        };
        tokio::time::timeout(TIMEOUT, waits).await.context("the expected frame did not arrive")?
    }

    /// Waits until the agent has finished a talk cycle or the session has ended. Returns the text of the cycle.
    pub async fn wait_for_speech(&mut self) -> anyhow::Result<String> {
        let mut text = String::new();
        let is_over = |frame: &Value| {
            text.push_str(frame["token"].as_str().unwrap_or_default());
            frame["last"] == json!(true) || frame["type"] == "end"
        };
        self.wait_for(is_over).await?;
        Ok(text)
    }

    /// Waits until the server closes the socket. Returns the code and the reason.
    pub async fn wait_for_close(&mut self) -> anyhow::Result<(u16, String)> {
        let waits = async {
            loop {
                match self.receive().await {
                    RelayMessage::Text(_) => {}
                    RelayMessage::Closed(code, reason) => return Ok((code, reason)),
                    RelayMessage::Lost => bail!("the socket closed without a code"),
                }
            }
        };
        tokio::time::timeout(TIMEOUT, waits).await.context("the server did not close the socket")?
    }

    /// Reads until the socket is closed. False if it is still open after `limit`.
    pub async fn drain(&mut self, limit: Duration) -> bool {
        let rest = async { while self.receive().await != RelayMessage::Lost {} };
        tokio::time::timeout(limit, rest).await.is_ok()
    }
}

impl std::fmt::Debug for RelayClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RelayClient").finish_non_exhaustive()
    }
}
