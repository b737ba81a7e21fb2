//! Opens a WebSocket with an HTTP client, whose TLS settings, name resolution and proxy it so has.

use std::error::Error as _;
use std::iter;
use std::time::Duration;

use reqwest::header::{CONNECTION, HeaderMap, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use reqwest::{StatusCode, Upgraded};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use url::Url;

use crate::http_client::request_id;
use crate::llm::transport::REQUEST_ID;

/// The time limit for opening a socket, the connection included.
const OPEN_TIMEOUT: Duration = Duration::from_secs(3);

/// The maximum size of a message, in bytes, as of an event over HTTP.
const MAX_MESSAGE_BYTES: usize = 1024 * 1024;

/// The size of the buffer of a socket for reading, in bytes.
const READ_BUFFER_BYTES: usize = 16 * 1024;

/// Why a socket could not be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenSocketError {
    /// The connection could not be opened, or broke.
    #[error("no response")]
    NoResponse(#[source] reqwest::Error),
    /// The server answered with another status than 101.
    #[error("HTTP {}", status.as_u16())]
    Status {
        /// The status.
        status: StatusCode,
        /// The server's identifier of the request.
        request_id: Option<String>,
    },
    /// The answer is not that of a WebSocket.
    #[error("the answer to the handshake is not valid")]
    Handshake,
    /// Nothing of this in time.
    #[error("it did not open in time")]
    TimedOut,
}

impl OpenSocketError {
    /// The server's identifier of the request, for its support, if it answered.
    pub(super) fn request_id(&self) -> Option<&str> {
        match self {
            Self::Status { request_id, .. } => request_id.as_deref(),
            Self::NoResponse(_) | Self::Handshake | Self::TimedOut => None,
        }
    }

    /// The root cause, for the log.
    pub(super) fn root_cause(&self) -> Option<String> {
        iter::successors(self.source(), |error| (*error).source()).last().map(ToString::to_string)
    }
}

/// Opens a socket to an http or https URL.
pub(super) async fn open(
    http: &reqwest::Client,
    url: &Url,
    api_key: &SecretString,
) -> Result<WebSocketStream<Upgraded>, OpenSocketError> {
    timeout(OPEN_TIMEOUT, upgrade(http, url, api_key)).await.unwrap_or(Err(OpenSocketError::TimedOut))
}

async fn upgrade(
    http: &reqwest::Client,
    url: &Url,
    api_key: &SecretString,
) -> Result<WebSocketStream<Upgraded>, OpenSocketError> {
    let no_response = |error: reqwest::Error| OpenSocketError::NoResponse(error.without_url());
    let key = generate_key();
    let request = http.get(url.clone()).bearer_auth(api_key.expose_secret());
    let request = request.header(CONNECTION, "Upgrade").header(UPGRADE, "websocket");
    let request = request.header(SEC_WEBSOCKET_VERSION, "13").header(SEC_WEBSOCKET_KEY, &key);
    let response = request.send().await.map_err(no_response)?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        let (status, request_id) = (response.status(), request_id(response.headers(), REQUEST_ID));
        return Err(OpenSocketError::Status { status, request_id });
    }
    if !is_accepted(response.headers(), &key) {
        return Err(OpenSocketError::Handshake);
    }
    let stream = response.upgrade().await.map_err(no_response)?;
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        // Each request is sent at once.
        .write_buffer_size(0)
        .max_message_size(Some(MAX_MESSAGE_BYTES))
        .max_frame_size(Some(MAX_MESSAGE_BYTES));
    Ok(WebSocketStream::from_raw_socket(stream, Role::Client, Some(config)).await)
}

/// Whether the headers accept the upgrade that was requested, and no extension or protocol, since none was offered.
fn is_accepted(headers: &HeaderMap, key: &str) -> bool {
    let value = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let offers_none =
        !headers.contains_key("sec-websocket-extensions") && !headers.contains_key("sec-websocket-protocol");
    value(UPGRADE).is_some_and(|upgrade| upgrade.eq_ignore_ascii_case("websocket"))
        && value(SEC_WEBSOCKET_ACCEPT) == Some(&derive_accept_key(key.as_bytes()))
        && offers_none
}
