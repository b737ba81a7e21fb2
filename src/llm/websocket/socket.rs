//! One WebSocket: a task that writes its requests and reads its events.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use reqwest::Upgraded;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Bytes, Message};

use super::MAX_AGE;
use super::lanes::{BeginLaneError, Lane, Lanes, SocketEnd, lock};

/// The interval of pings, which detect a dead connection before a request uses it.
const PING_INTERVAL: Duration = Duration::from_secs(20);

/// How long nothing may arrive: a ping is answered within 5 seconds.
const SILENCE_LIMIT: Duration = Duration::from_secs(25);

/// The time limit for writing a message.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// An open socket. Once it is dropped it gets no new lanes, and closes when its last one has ended.
pub(super) struct Socket {
    lanes: Arc<Mutex<Lanes>>,
    opened: Instant,
}

impl Socket {
    /// Starts the task of a socket that was opened now.
    pub(super) fn start(stream: WebSocketStream<Upgraded>, now: Instant) -> Self {
        let (lanes, requests) = Lanes::new();
        let lanes = Arc::new(Mutex::new(lanes));
        tokio::spawn(run(stream, requests, lanes.clone()));
        Self { lanes, opened: now }
    }

    /// Begins a lane, if there is room for one.
    pub(super) fn begin_lane(&self) -> Result<Lane, BeginLaneError> {
        Lane::begin(&self.lanes)
    }

    /// Whether there is room for a lane.
    pub(super) fn has_room(&self) -> bool {
        lock(&self.lanes).has_room()
    }

    /// Whether it may get lanes, now or later.
    pub(super) fn is_usable(&self, now: Instant) -> bool {
        now < self.opened + MAX_AGE && !lock(&self.lanes).is_retired()
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        lock(&self.lanes).retire();
    }
}

async fn run(stream: WebSocketStream<Upgraded>, requests: mpsc::Receiver<Message>, lanes: Arc<Mutex<Lanes>>) {
    let (sink, stream) = stream.split();
    // Both at a time, so that a server that reads nothing while it sends cannot block either.
    let end = tokio::select! {
        end = read(stream, &lanes) => end,
        end = write(sink, requests) => end,
    };
    tracing::debug!(event = "openai.socket_closed", ?end, "A WebSocket to the model's server is closed.");
    lock(&lanes).close(end);
}

/// Passes the events on to their lanes until the socket ends.
async fn read(mut stream: SplitStream<WebSocketStream<Upgraded>>, lanes: &Mutex<Lanes>) -> SocketEnd {
    loop {
        let message = match timeout(SILENCE_LIMIT, stream.next()).await {
            Ok(Some(Ok(message))) => message,
            Ok(Some(Err(_)) | None) => return SocketEnd::Broken,
            Err(_) => return SocketEnd::Silent,
        };
        match message {
            Message::Text(event) => {
                if let Err(end) = lock(lanes).route(event) {
                    return end;
                }
            }
            Message::Close(frame) => return SocketEnd::Closed(frame.map(|frame| frame.code.into())),
            Message::Binary(_) => return SocketEnd::Broken,
            // A ping was answered already.
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
        }
    }
}

/// Writes requests and pings until there are no more requests.
async fn write(
    mut sink: SplitSink<WebSocketStream<Upgraded>, Message>,
    mut requests: mpsc::Receiver<Message>,
) -> SocketEnd {
    let mut pings = interval_at(Instant::now() + PING_INTERVAL, PING_INTERVAL);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let message = tokio::select! {
            request = requests.recv() => request,
            _ = pings.tick() => Some(Message::Ping(Bytes::new())),
        };
        let Some(message) = message else {
            let _ = timeout(WRITE_TIMEOUT, sink.close()).await;
            return SocketEnd::Unused;
        };
        if !matches!(timeout(WRITE_TIMEOUT, sink.send(message)).await, Ok(Ok(()))) {
            return SocketEnd::Broken;
        }
    }
}
