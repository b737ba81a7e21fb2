//! Responses over WebSockets: a pool of sockets that all calls share, and a lane of a socket for each response.
//!
//! The protocol has no cancellation: a response that nobody reads goes on in its lane until it ends. So each response has
//! a lane of its own, and a socket with [`MAX_DEAD_LANES`] of those is replaced.

mod handshake;
mod lanes;
mod socket;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use secrecy::SecretString;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::Utf8Bytes;
use url::Url;

use super::body::RequestBody;
use super::error_info::ErrorInfo;
use super::refusal::Refusal;
use super::transport::{TransportError, serialize};
use crate::config::OpenAiConfig;
use crate::http_client::{self, Target};
pub(crate) use handshake::OpenSocketError;
pub(super) use lanes::Lane;
use lanes::{BeginLaneError, LaneEnd};
use socket::Socket;

/// The maximum number of sockets. While all are full, requests go over HTTP.
const MAX_SOCKETS: usize = 64;

/// The maximum number of lanes of a socket that are read at a time: what breaks with one socket.
const MAX_LANES: usize = 16;

/// The number of lanes that go on although nobody reads them, at which a socket gets no new ones.
const MAX_DEAD_LANES: usize = 2;

/// After this age a socket gets no new lanes. OpenAI ends each one after 60 minutes.
const MAX_AGE: Duration = Duration::from_secs(55 * 60);

/// How long HTTP is used after a socket could not be opened, or was of no use.
const HTTP_INTERVAL: Duration = Duration::from_secs(60);

/// How often a request is sent: once more after an error of the socket, on a new one if that has reached its maximum age.
const MAX_ATTEMPTS: usize = 2;

/// The code of the error of a socket that has reached its maximum age.
const CONNECTION_LIMIT: &str = "websocket_connection_limit_reached";

/// The code of the error of a request that goes on from a response that the server does not have.
const PREVIOUS_NOT_FOUND: &str = "previous_response_not_found";

/// The sockets to the model's server.
pub(super) struct SocketPool {
    http: reqwest::Client,
    url: Url,
    api_key: SecretString,
    /// Locked while a socket is opened: who waits may find room in it.
    opening: tokio::sync::Mutex<()>,
    state: Mutex<PoolState>,
}

struct PoolState {
    sockets: Vec<Socket>,
    /// Until when HTTP is used.
    http_until: Option<Instant>,
    /// The size of the smallest request that a server found too large for a frame, in bytes.
    too_large_bytes: usize,
}

/// Why a request got no response over a socket.
pub(super) enum SendError {
    /// There is no socket for it, or the socket broke before anything was generated: HTTP may do.
    Unavailable,
    /// The server refused the request, as it would over HTTP.
    Refused(TransportError),
}

/// Opens a WebSocket to the model's server, and closes it. An error says why that is not possible.
pub(crate) async fn try_websocket(config: &OpenAiConfig) -> Result<(), OpenSocketError> {
    let pool = SocketPool::new(config).map_err(OpenSocketError::NoResponse)?;
    handshake::open(&pool.http, &pool.url, &pool.api_key).await.map(drop)
}

/// Why a socket is of no use.
#[derive(Debug, thiserror::Error)]
enum UnusableError {
    #[error(transparent)]
    Open(#[from] OpenSocketError),
    /// The server refuses, without a reason, what it may take over HTTP.
    #[error("the server refuses requests over it")]
    RefusesRequests,
    /// The first event did not arrive in time.
    #[error("no event in time")]
    NoAnswer,
    /// The server does not name the lane of its events.
    #[error("the server does not name the lanes of its events")]
    NoLanes,
}

impl SocketPool {
    /// Creates a pool without sockets. It fails if the root certificates cannot be loaded.
    pub(super) fn new(config: &OpenAiConfig) -> reqwest::Result<Self> {
        Ok(Self {
            http: http_client::upgrade_builder(Target::of_text(config.base_url.as_str())).build()?,
            url: config.base_url.join(&["responses"]),
            api_key: config.api_key.clone(),
            opening: tokio::sync::Mutex::default(),
            state: Mutex::new(PoolState { sockets: Vec::new(), http_until: None, too_large_bytes: usize::MAX }),
        })
    }

    /// Whether a socket is to be opened before a request needs it.
    pub(super) fn needs_socket(&self) -> bool {
        let now = Instant::now();
        let mut state = self.state();
        !state.uses_http(now) && !state.has_room(now)
    }

    /// Opens a socket if there is none with room. A failure is logged.
    pub(super) async fn prepare(&self) {
        let _opening = self.opening.lock().await;
        if self.needs_socket() {
            self.open_socket().await;
        }
    }

    /// Sends the request in a lane of its own, once more after an error of the socket. Succeeds when the first event has
    /// arrived within the limit, and is no error.
    pub(super) async fn send(&self, body: &RequestBody<'_>, limit: Duration) -> Result<Lane, SendError> {
        timeout(limit, self.try_send(body)).await.unwrap_or_else(|_| {
            // The next callers need not wait for it.
            self.use_http(&UnusableError::NoAnswer);
            Err(SendError::Unavailable)
        })
    }

    async fn try_send(&self, body: &RequestBody<'_>) -> Result<Lane, SendError> {
        for _ in 0..MAX_ATTEMPTS {
            let mut lane = self.open_lane().await.ok_or(SendError::Unavailable)?;
            let stream_id = lane.stream_id();
            let request = serialize(&body.over_socket(&stream_id), body.estimated_bytes());
            let request = request.map_err(SendError::Refused)?;
            let size = request.len();
            if size >= self.state().too_large_bytes || lane.send(request).is_err() {
                return Err(SendError::Unavailable);
            }
            match lane.peek().await {
                Ok(event) => match read_error(event) {
                    None => return Ok(lane),
                    Some(ServerError::OfSocket) => {}
                    Some(ServerError::Unexplained) => {
                        self.use_http(&UnusableError::RefusesRequests);
                        return Err(SendError::Unavailable);
                    }
                    Some(ServerError::Other(error)) => return Err(SendError::Refused(error)),
                },
                Err(end) => {
                    match end {
                        LaneEnd::TooLarge => self.learn_too_large(size),
                        LaneEnd::NoLanes => self.use_http(&UnusableError::NoLanes),
                        LaneEnd::Overflow | LaneEnd::SocketClosed(_) | LaneEnd::UnknownError => {}
                    }
                    return Err(SendError::Unavailable);
                }
            }
        }
        Err(SendError::Unavailable)
    }

    /// Begins a lane of a socket with room, or of a new one. `None` while HTTP is to be used.
    async fn open_lane(&self) -> Option<Lane> {
        if let Some(lane) = self.begin_lane().ok()? {
            return Some(lane);
        }
        let _opening = self.opening.lock().await;
        // Another request may have opened one meanwhile.
        match self.begin_lane().ok()? {
            Some(lane) => Some(lane),
            None => self.open_socket().await.then(|| self.begin_lane().ok().flatten()).flatten(),
        }
    }

    /// `Ok(None)` if a socket is to be opened first.
    fn begin_lane(&self) -> Result<Option<Lane>, BeginLaneError> {
        let now = Instant::now();
        let mut state = self.state();
        if state.uses_http(now) {
            return Err(BeginLaneError);
        }
        state.remove_unusable(now);
        let lane = state.sockets.iter().find_map(|socket| socket.begin_lane().ok());
        if lane.is_none() && state.sockets.len() >= MAX_SOCKETS { Err(BeginLaneError) } else { Ok(lane) }
    }

    /// Opens a socket. Returns whether it is open; if not, HTTP is used for a while.
    async fn open_socket(&self) -> bool {
        match handshake::open(&self.http, &self.url, &self.api_key).await {
            Ok(stream) => {
                self.state().sockets.push(Socket::start(stream, Instant::now()));
                true
            }
            Err(error) => {
                self.use_http(&error.into());
                false
            }
        }
    }

    /// Uses HTTP for a while. Sockets that are open close when their responses have ended.
    fn use_http(&self, error: &UnusableError) {
        let mut state = self.state();
        state.sockets.clear();
        state.http_until = Some(Instant::now() + HTTP_INTERVAL);
        let (cause, request_id) = match error {
            UnusableError::Open(error) => (error.root_cause(), error.request_id()),
            _ => (None, None),
        };
        tracing::warn!(
            event = "openai.socket_unavailable",
            %error,
            cause,
            request_id,
            seconds = HTTP_INTERVAL.as_secs(),
            "There is no WebSocket to the model's server; HTTP is used for a while."
        );
    }

    fn learn_too_large(&self, bytes: usize) {
        let mut state = self.state();
        state.too_large_bytes = state.too_large_bytes.min(bytes);
    }

    fn state(&self) -> MutexGuard<'_, PoolState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PoolState {
    fn uses_http(&mut self, now: Instant) -> bool {
        self.http_until.take_if(|until| *until <= now);
        self.http_until.is_some()
    }

    fn has_room(&mut self, now: Instant) -> bool {
        self.remove_unusable(now);
        self.sockets.len() >= MAX_SOCKETS || self.sockets.iter().any(Socket::has_room)
    }

    /// Removes the sockets that get no lanes any more. They close when their last lane has ended.
    fn remove_unusable(&mut self, now: Instant) {
        self.sockets.retain(|socket| socket.is_usable(now));
    }
}

/// What the first event of a lane says if it is an error.
enum ServerError {
    /// The socket has reached its maximum age, or forgotten what it never needed: the same request may be repeated, since it
    /// has the whole conversation.
    OfSocket,
    /// The request is refused for a reason that neither a field nor the conversation explains.
    Unexplained,
    Other(TransportError),
}

/// Reads an error event, nested or flat.
fn read_error(event: &Utf8Bytes) -> Option<ServerError> {
    let routed = lanes::RoutedEvent::parse(event)?;
    if !routed.is_error() {
        return None;
    }
    let error_info = ErrorInfo::parse(event);
    if matches!(error_info.code.as_deref(), Some(CONNECTION_LIMIT | PREVIOUS_NOT_FOUND)) {
        return Some(ServerError::OfSocket);
    }
    // A flat error has no status. What names a parameter is about the request.
    let status = error_info.status.or_else(|| error_info.param.as_ref().map(|_| 400));
    let Some(status) = status else {
        return Some(ServerError::Other(TransportError::ResponseFailed(Box::new(error_info))));
    };
    let refusal = Refusal::parse(status, event);
    if refusal.is_unexplained {
        return Some(ServerError::Unexplained);
    }
    let retry_after = lanes::retry_after(event);
    Some(ServerError::Other(TransportError::ErrorStatus {
        status,
        error_info: Box::new(error_info),
        retry_after,
        refusal,
        request_id: None,
    }))
}

#[cfg(test)]
mod tests;
