//! The lanes of a socket: which response an event belongs to. No I/O and no time.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::{CONNECTION_LIMIT, MAX_DEAD_LANES, MAX_LANES};
use crate::llm::error_info::ErrorInfo;
use crate::llm::transport::TransportError;

/// The maximum number of events of a lane that wait to be read. A response that is read more slowly is given up.
const MAX_QUEUED_EVENTS: usize = 1024;

/// The maximum size of the events of a lane that wait to be read, in bytes.
const MAX_QUEUED_BYTES: usize = 1024 * 1024;

/// The size of all messages of a socket that nobody reads, in bytes, after which it gets no new lanes. The interrupted
/// answers of an hour are below it.
const MAX_IGNORED_BYTES: usize = 16 * 1024 * 1024;

/// What the identifier of a lane begins with. The number of the lane follows.
const ID_PREFIX: &str = "lane-";

/// The close code of a frame that is too large.
const TOO_LARGE: u16 = 1009;

/// The lanes of one socket.
pub(super) struct Lanes {
    next_id: u64,
    live: HashMap<u64, LiveLane>,
    /// The lanes that nobody reads and that have not ended.
    dead: HashSet<u64>,
    /// The size of the messages that nobody has read, in bytes.
    ignored_bytes: usize,
    /// Whether the socket gets no new lanes.
    is_retired: bool,
    /// Takes requests. The socket closes when there is none.
    requests: Option<mpsc::Sender<Message>>,
}

/// A lane that is being read.
struct LiveLane {
    events: mpsc::Sender<Utf8Bytes>,
    shared: Arc<LaneState>,
    has_events: bool,
    /// The size of the request, in bytes.
    request_bytes: usize,
}

/// What the two ends of a lane share.
#[derive(Default)]
struct LaneState {
    /// The size of the events that wait to be read, in bytes.
    queued_bytes: AtomicUsize,
    /// Why no event follows, if the response has not ended.
    end: OnceLock<LaneEnd>,
}

/// One response over a socket. When it is dropped before its end the lane is dead.
pub(in crate::llm) struct Lane {
    id: u64,
    lanes: Arc<Mutex<Lanes>>,
    events: mpsc::Receiver<Utf8Bytes>,
    shared: Arc<LaneState>,
    /// The first event, if it was read and not taken.
    first: Option<Utf8Bytes>,
}

/// There is no room for another lane.
#[derive(Debug)]
pub(super) struct BeginLaneError;

/// Why a lane ended before its response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LaneEnd {
    /// The socket was closed, with this code if there was one.
    SocketClosed(Option<u16>),
    /// The socket was closed because of the size of the lane's request.
    TooLarge,
    /// The server does not name the lanes of its events.
    NoLanes,
    /// An error named no lane, and may have been that of this one.
    UnknownError,
    /// More events have arrived than may wait.
    Overflow,
}

/// How a socket has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SocketEnd {
    /// The server closed it, with this code if it sent one.
    Closed(Option<u16>),
    /// The connection or the protocol broke.
    Broken,
    /// Nothing has arrived for too long, not even the answer to a ping.
    Silent,
    /// The server does not name the lanes of its events.
    NoLanes,
    /// It was retired, and has no lanes.
    Unused,
}

/// The parts of an event by which it is routed.
#[derive(Deserialize)]
pub(super) struct RoutedEvent<'a> {
    #[serde(borrow)]
    r#type: Option<Cow<'a, str>>,
    #[serde(borrow)]
    stream_id: Option<Cow<'a, str>>,
}

impl<'a> RoutedEvent<'a> {
    /// `None` if the text is no event.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    pub(super) fn is_error(&self) -> bool {
        self.kind() == "error"
    }

    fn kind(&self) -> &str {
        self.r#type.as_deref().unwrap_or_default()
    }

    /// Whether nothing follows in the lane.
    fn is_terminal(&self) -> bool {
        matches!(self.kind(), "response.completed" | "response.incomplete" | "response.failed" | "error")
    }

    /// The number of the lane, if its name is written as the request had it: `lane-01` is none of ours.
    fn lane(&self) -> Option<u64> {
        let number = self.stream_id.as_deref()?.strip_prefix(ID_PREFIX)?;
        if number.starts_with(|first: char| matches!(first, '1'..='9')) { number.parse().ok() } else { None }
    }
}

impl Lanes {
    /// Creates the lanes of an open socket, and the receiver of its requests.
    pub(super) fn new() -> (Self, mpsc::Receiver<Message>) {
        // Each lane sends one request.
        let (requests, receiver) = mpsc::channel(MAX_LANES + MAX_DEAD_LANES);
        let (live, dead) = (HashMap::new(), HashSet::new());
        (Self { next_id: 1, live, dead, ignored_bytes: 0, is_retired: false, requests: Some(requests) }, receiver)
    }

    pub(super) fn has_room(&self) -> bool {
        !self.is_retired && self.live.len() < MAX_LANES
    }

    pub(super) fn is_retired(&self) -> bool {
        self.is_retired
    }

    /// Lets the socket have no new lanes. It closes when the last one has ended.
    pub(super) fn retire(&mut self) {
        self.is_retired = true;
        self.close_if_unused();
    }

    /// Ends all lanes, since the socket has ended.
    pub(super) fn close(&mut self, end: SocketEnd) {
        let waiting = self.live.values().filter(|lane| !lane.has_events);
        let largest = waiting.map(|lane| lane.request_bytes).max();
        for (_, lane) in self.live.drain() {
            lane.end(match end {
                SocketEnd::Closed(Some(TOO_LARGE)) if !lane.has_events && Some(lane.request_bytes) == largest => {
                    LaneEnd::TooLarge
                }
                SocketEnd::Closed(code) => LaneEnd::SocketClosed(code),
                SocketEnd::NoLanes => LaneEnd::NoLanes,
                SocketEnd::Broken | SocketEnd::Silent | SocketEnd::Unused => LaneEnd::SocketClosed(None),
            });
        }
        self.retire();
    }

    /// Passes an event on to its lane. An error ends the socket: events without a lane cannot be told apart, and must not
    /// reach another call.
    pub(super) fn route(&mut self, text: Utf8Bytes) -> Result<(), SocketEnd> {
        let Some(event) = RoutedEvent::parse(&text) else {
            self.ignore(text.len());
            return Ok(());
        };
        let (lane, is_error, is_terminal) = (event.lane(), event.is_error(), event.is_terminal());
        let is_of_response = event.kind().starts_with("response.");
        let is_limit = is_error && ErrorInfo::parse(&text).code.as_deref() == Some(CONNECTION_LIMIT);
        self.is_retired |= is_limit;
        match lane {
            Some(id) => self.push(id, text, is_terminal),
            None if is_error => self.fail_waiting(&text, is_limit),
            None if is_of_response => return Err(SocketEnd::NoLanes),
            // The server may add events of other kinds.
            None => self.ignore(text.len()),
        }
        self.close_if_unused();
        Ok(())
    }

    fn push(&mut self, id: u64, event: Utf8Bytes, is_terminal: bool) {
        let Some(lane) = self.live.get_mut(&id) else {
            if is_terminal {
                self.dead.remove(&id);
            }
            return self.ignore(event.len());
        };
        lane.has_events = true;
        let size = event.len();
        let queued = lane.shared.queued_bytes.fetch_add(size, Relaxed);
        if queued + size > MAX_QUEUED_BYTES.max(size) || lane.events.try_send(event).is_err() {
            lane.end(LaneEnd::Overflow);
            self.abandon(id);
        } else if is_terminal {
            self.live.remove(&id);
        }
    }

    /// Gives an error that names no lane to the one that it is about. If that is not known, all responses that have not
    /// begun have failed: one of them has.
    fn fail_waiting(&mut self, error: &Utf8Bytes, is_limit: bool) {
        let waiting = self.live.iter().filter(|(_, lane)| !lane.has_events).map(|(id, _)| *id).collect::<Vec<_>>();
        let is_known = is_limit || (self.live.len() == 1 && self.dead.is_empty());
        for id in waiting {
            if is_known {
                self.push(id, error.clone(), true);
            } else {
                if let Some(lane) = self.live.get(&id) {
                    lane.end(LaneEnd::UnknownError);
                }
                self.abandon(id);
            }
        }
    }

    /// Counts a message that nobody reads: a server that floods the socket with those does not keep it.
    fn ignore(&mut self, size: usize) {
        self.ignored_bytes += size;
        self.is_retired |= self.ignored_bytes > MAX_IGNORED_BYTES;
        self.close_if_unused();
    }

    /// Stops reading a lane. It is dead until its response has ended.
    fn abandon(&mut self, id: u64) {
        // Without a request there is no response.
        if self.live.remove(&id).is_some_and(|lane| lane.request_bytes > 0) && self.requests.is_some() {
            self.dead.insert(id);
            self.is_retired |= self.dead.len() >= MAX_DEAD_LANES;
        }
        self.close_if_unused();
    }

    fn close_if_unused(&mut self) {
        if self.is_retired && self.live.is_empty() {
            self.requests = None;
        }
    }
}

impl LiveLane {
    /// Records why no event follows.
    fn end(&self, end: LaneEnd) {
        // The first reason counts.
        let _ = self.shared.end.set(end);
    }
}

impl Lane {
    /// Begins a lane.
    pub(super) fn begin(lanes: &Arc<Mutex<Lanes>>) -> Result<Self, BeginLaneError> {
        let mut state = lock(lanes);
        if !state.has_room() {
            return Err(BeginLaneError);
        }
        let (sender, events) = mpsc::channel(MAX_QUEUED_EVENTS);
        let shared = Arc::<LaneState>::default();
        let id = state.next_id;
        state.next_id += 1;
        let live = LiveLane { events: sender, shared: shared.clone(), has_events: false, request_bytes: 0 };
        state.live.insert(id, live);
        Ok(Self { id, lanes: lanes.clone(), events, shared, first: None })
    }

    /// The identifier of the lane on the wire. It says nothing of the call.
    pub(super) fn stream_id(&self) -> String {
        format!("{ID_PREFIX}{}", self.id)
    }

    /// Sends the request of the lane. It fails if the socket is closed.
    pub(super) fn send(&self, request: String) -> Result<(), BeginLaneError> {
        let mut state = lock(&self.lanes);
        let size = request.len();
        let requests = state.requests.as_ref().ok_or(BeginLaneError)?;
        requests.try_send(Message::text(request)).map_err(|_| BeginLaneError)?;
        if let Some(lane) = state.live.get_mut(&self.id) {
            lane.request_bytes = size;
        }
        Ok(())
    }

    /// Waits for the first event, and leaves it in the lane.
    pub(super) async fn peek(&mut self) -> Result<&Utf8Bytes, LaneEnd> {
        if self.first.is_none() {
            self.first = self.events.recv().await;
        }
        self.first.as_ref().ok_or_else(|| self.end())
    }

    /// Waits for the next event. A poll may be cancelled without loss of events.
    pub(in crate::llm) async fn next(&mut self) -> Result<Utf8Bytes, TransportError> {
        let event = match self.first.take() {
            Some(first) => first,
            None => self.events.recv().await.ok_or_else(|| self.end())?,
        };
        self.shared.queued_bytes.fetch_sub(event.len(), Relaxed);
        Ok(event)
    }

    fn end(&self) -> LaneEnd {
        self.shared.end.get().copied().unwrap_or(LaneEnd::SocketClosed(None))
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        lock(&self.lanes).abandon(self.id);
    }
}

impl From<LaneEnd> for TransportError {
    fn from(end: LaneEnd) -> Self {
        match end {
            LaneEnd::Overflow => Self::ReadTooSlowly,
            LaneEnd::SocketClosed(code) => Self::SocketClosed(code),
            LaneEnd::TooLarge => Self::SocketClosed(Some(TOO_LARGE)),
            LaneEnd::NoLanes | LaneEnd::UnknownError => Self::SocketClosed(None),
        }
    }
}

/// The wait that an error event asks for: `error.headers` has `retry-after-ms` or `retry-after`.
pub(super) fn retry_after(event: &str) -> Option<Duration> {
    let event: serde_json::Value = serde_json::from_str(event).ok()?;
    let headers = event.get("error")?.get("headers")?;
    crate::llm::transport::read_retry_after(|name| {
        let value = headers.get(name)?;
        value.as_f64().or_else(|| value.as_str()?.trim().parse().ok())
    })
}

/// Locks the lanes, also if another task has panicked.
pub(super) fn lock(lanes: &Mutex<Lanes>) -> MutexGuard<'_, Lanes> {
    lanes.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
