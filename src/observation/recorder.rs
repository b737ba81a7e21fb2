//! Writes observations to a file, in a thread of its own: a slow disk never delays a call.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use tokio::time::Instant;
use tracing::error;

use super::{Direction, Observation, ObservedEvent};

/// How many observations wait for the disk at most.
const QUEUE: usize = 4096;

/// How many observations a file holds at most.
const MAX_OBSERVATIONS: u64 = 100_000;

/// A frame that asks ConversationRelay for a setting which is its default. Its form is not documented.
const CONFIG_ATTEMPT: &str = r#"{"type":"config","ignoreBackchannel":false}"#;

/// Records what Twilio and the server exchange. Clones write to the same file.
#[derive(Clone)]
pub struct Recorder(Arc<Recording>);

struct Recording {
    began: Instant,
    queue: Mutex<Option<SyncSender<Observation>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
    count: AtomicU64,
    left_out: AtomicU64,
    sockets: AtomicU64,
    /// A `config` frame is still to be tried.
    tries_config: AtomicBool,
}

/// The recording cannot be created.
#[derive(Debug, thiserror::Error)]
pub enum CreateRecordingError {
    /// The file exists.
    #[error("{} exists: name another file", .0.display())]
    Exists(PathBuf),
    /// The file cannot be created.
    #[error("{} cannot be created: {}", .0.display(), .1)]
    Io(PathBuf, #[source] io::Error),
}

/// A socket that is recorded.
#[derive(Debug)]
pub(crate) struct ObservedSocket {
    recorder: Recorder,
    id: u64,
}

impl Recorder {
    /// Creates the file and begins to record. With `tries_config`, one `config` frame is sent on the first socket.
    pub fn create(path: &Path, tries_config: bool) -> Result<Self, CreateRecordingError> {
        let file = OpenOptions::new().write(true).create_new(true).open(path).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => CreateRecordingError::Exists(path.to_owned()),
            _ => CreateRecordingError::Io(path.to_owned(), error),
        })?;
        let (queue, observations) = sync_channel(QUEUE);
        let writer = thread::Builder::new().name("observe".to_owned()).spawn(move || write_all(file, &observations));
        let writer = writer.map_err(|error| CreateRecordingError::Io(path.to_owned(), error))?;
        Ok(Self(Arc::new(Recording {
            began: Instant::now(),
            queue: Mutex::new(Some(queue)),
            writer: Mutex::new(Some(writer)),
            count: AtomicU64::new(0),
            left_out: AtomicU64::new(0),
            sockets: AtomicU64::new(0),
            tries_config: AtomicBool::new(tries_config),
        })))
    }

    /// The time since the recording began, in milliseconds.
    pub(crate) fn now_ms(&self) -> u64 {
        u64::try_from(self.0.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Adds an observation. One too many is counted and left out.
    pub(crate) fn record(&self, at_ms: u64, direction: Direction, event: ObservedEvent) {
        let is_full = self.0.count.fetch_add(1, Ordering::Relaxed) >= MAX_OBSERVATIONS;
        let queue = self.0.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let observation = Observation { at_ms, direction, event };
        if is_full || queue.as_ref().is_none_or(|queue| queue.try_send(observation).is_err()) {
            self.0.left_out.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Records that Twilio opened a socket.
    pub(crate) fn open_socket(&self, headers: &[(&str, &str)]) -> ObservedSocket {
        let id = self.0.sockets.fetch_add(1, Ordering::Relaxed) + 1;
        let headers = super::observe_headers(headers);
        self.record(self.now_ms(), Direction::In, ObservedEvent::SocketOpened { socket: id, headers });
        ObservedSocket { recorder: self.clone(), id }
    }

    /// Writes what is still to be written, and the end. Blocks until it is on the disk. Returns how many observations were
    /// left out.
    pub fn close(&self) -> u64 {
        let left_out = self.0.left_out.load(Ordering::Relaxed);
        let queue = self.0.queue.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(queue) = queue {
            let event = ObservedEvent::End { left_out };
            // The writer has ended if it failed.
            let _ = queue.send(Observation { at_ms: self.now_ms(), direction: Direction::Out, event });
        }
        let writer = self.0.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer {
            let _ = writer.join();
        }
        left_out
    }
}

impl ObservedSocket {
    /// Records a frame from Twilio.
    pub(crate) fn received(&self, text: &str) {
        self.record(Direction::In, super::observe_frame(self.id, text));
    }

    /// Records a frame that is not text.
    pub(crate) fn received_invalid(&self) {
        self.record(Direction::In, ObservedEvent::UnreadableFrame { socket: self.id, length: 0 });
    }

    /// Records a frame of the server. Returns the `config` frame that is to be sent before it, once.
    pub(crate) fn sent(&self, text: &str) -> Option<&'static str> {
        let config = self.recorder.0.tries_config.swap(false, Ordering::Relaxed).then_some(CONFIG_ATTEMPT);
        for frame in config.iter().chain([&text]) {
            self.record(Direction::Out, super::observe_frame(self.id, frame));
        }
        config
    }

    /// Records that a side closed the socket.
    pub(crate) fn closed(&self, direction: Direction, code: Option<u16>) {
        self.record(direction, ObservedEvent::SocketClosed { socket: self.id, code });
    }

    fn record(&self, direction: Direction, event: ObservedEvent) {
        self.recorder.record(self.recorder.now_ms(), direction, event);
    }
}

/// Writes each observation as a line, until the recorder is closed or the file cannot be written.
fn write_all(mut file: File, observations: &Receiver<Observation>) {
    for observation in observations {
        let mut line = serde_json::to_string(&observation).expect("an observation serialises");
        line.push('\n');
        if let Err(error) = file.write_all(line.as_bytes()) {
            return error!(event = "observe.write_failed", %error, "The recording cannot be written; it ends here.");
        }
    }
}

/// Shows nothing of what was recorded.
impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Recorder({} observations)", self.0.count.load(Ordering::Relaxed))
    }
}
