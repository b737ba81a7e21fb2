//! Captures the log of a test, so that the test can search it.

use std::io;
use std::sync::{Arc, LazyLock, Mutex};

use tracing::Dispatch;
use tracing_subscriber::fmt::MakeWriter;

/// A dispatcher that is never dropped. As long as there is one only, a line of code that first logs on another thread
/// counts as one that nobody reads, for all threads.
static SECOND_DISPATCHER: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(tracing_subscriber::registry()));

/// Captures what this thread logs, until the value is dropped.
pub(crate) struct CapturedLog {
    buffer: LogBuffer,
    _guard: tracing::subscriber::DefaultGuard,
}

#[derive(Clone, Default)]
struct LogBuffer(Arc<Mutex<Vec<u8>>>);

impl CapturedLog {
    pub(crate) fn start() -> Self {
        LazyLock::force(&SECOND_DISPATCHER);
        let lines = LogBuffer::default();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(lines.clone()).finish();
        Self { buffer: lines, _guard: tracing::subscriber::set_default(subscriber) }
    }

    /// Counts the lines with this event and this part, such as a level.
    pub(crate) fn count_events(&self, part: &str, event: &str) -> usize {
        let log = String::from_utf8_lossy(&self.buffer.0.lock().unwrap()).into_owned();
        let event = format!("event=\"{event}\"");
        log.lines().filter(|line| line.contains(part) && line.contains(&event)).count()
    }
}

impl io::Write for LogBuffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogBuffer {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
