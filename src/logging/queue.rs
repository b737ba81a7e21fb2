//! The queue between the tasks that log and standard error.
//!
//! Standard error may be a pipe whose reader has stopped. A write to it would then block the worker that logs, and with
//! it every call on that worker. So lines go into a queue that never blocks, and a thread of its own writes them.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd as _;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crelay_payments::telemetry::count_dropped_log_lines;
use tracing::warn;
use tracing_subscriber::fmt::MakeWriter;

/// The maximum length of a line, in bytes. The rest is cut off.
const MAX_LINE_BYTES: usize = 16 * 1024;

/// The maximum size of the lines that wait, in bytes. Further ones are dropped and counted.
const MAX_QUEUED_BYTES: usize = 4 * 1024 * 1024;

/// What a line takes beside its text, in bytes.
const LINE_OVERHEAD_BYTES: usize = 64;

/// How long the thread waits before it writes again to a file that takes nothing and does not block.
const RETRY_WAIT: Duration = Duration::from_millis(20);

/// What ends a line that was cut.
const CUT_MARK: &str = " …";

/// A bounded queue of lines. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct LogQueue(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    // A std mutex, held only to move a line in or out, and never during a write.
    state: Mutex<State>,
    /// Notified when a line has been added or written.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    lines: VecDeque<Vec<u8>>,
    /// The size of the lines, in bytes.
    bytes: usize,
    /// The number of lines that were dropped and not reported yet.
    dropped: u64,
    /// A line is being written.
    is_writing: bool,
}

impl LogQueue {
    /// Creates a queue whose lines a thread writes to standard error.
    pub(super) fn to_stderr() -> io::Result<Self> {
        // A descriptor of its own: `std::io::Stderr` has a lock, which a blocked write would hold.
        Self::to(File::from(io::stderr().as_fd().try_clone_to_owned()?))
    }

    /// Creates a queue whose lines a thread writes to `output`.
    fn to(output: impl Write + Send + 'static) -> io::Result<Self> {
        let queue = Self::default();
        let lines = queue.clone();
        thread::Builder::new().name("log".to_owned()).spawn(move || lines.write_to(output))?;
        Ok(queue)
    }

    /// Waits until all lines are written, for at most `limit`.
    pub(super) fn flush(&self, limit: Duration) {
        let waits = self.0.changed.wait_timeout_while(self.lock(), limit, |state| !state.is_drained());
        drop(waits);
    }

    /// Adds a line, or counts it as dropped if there is no room.
    fn push(&self, line: &[u8]) {
        let size = line.len().min(MAX_LINE_BYTES) + LINE_OVERHEAD_BYTES;
        let mut state = self.lock();
        if state.bytes + size > MAX_QUEUED_BYTES {
            state.dropped += 1;
            count_dropped_log_lines(1);
            return;
        }
        state.bytes += size;
        state.lines.push_back(cut_line(line));
        drop(state);
        self.0.changed.notify_all();
    }

    /// Writes the lines as they come, for as long as the process runs.
    fn write_to(&self, mut output: impl Write) {
        loop {
            let line = self.take_line();
            // A line that cannot be written has nowhere else to go.
            let _ = write_line(&mut output, &line);
            let dropped = self.record_written(line.len());
            if dropped > 0 {
                // This goes into the queue as any other line, in the same format.
                warn!(
                    event = "log.dropped",
                    lines = dropped,
                    "Log lines were dropped, since standard error was not read in time."
                );
            }
        }
    }

    /// Waits for the next line and takes it.
    fn take_line(&self) -> Vec<u8> {
        let mut state = self.lock();
        loop {
            if let Some(line) = state.lines.pop_front() {
                state.is_writing = true;
                return line;
            }
            state = self.0.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Frees the room of a line that was written. Returns how many lines were dropped, once half of the room is free.
    fn record_written(&self, bytes: usize) -> u64 {
        let mut state = self.lock();
        state.is_writing = false;
        state.bytes = state.bytes.saturating_sub(bytes + LINE_OVERHEAD_BYTES);
        let is_roomy = state.bytes <= MAX_QUEUED_BYTES / 2;
        let dropped = if is_roomy { std::mem::take(&mut state.dropped) } else { 0 };
        drop(state);
        self.0.changed.notify_all();
        dropped
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether nothing waits to be written.
    fn is_drained(&self) -> bool {
        self.lines.is_empty() && !self.is_writing
    }
}

/// Copies a line up to [`MAX_LINE_BYTES`], and marks the cut.
fn cut_line(line: &[u8]) -> Vec<u8> {
    if line.len() <= MAX_LINE_BYTES {
        return line.to_vec();
    }
    let mut end = MAX_LINE_BYTES - CUT_MARK.len() - 1;
    while end > 0 && line[end] & 0b1100_0000 == 0b1000_0000 {
        end -= 1;
    }
    [&line[..end], CUT_MARK.as_bytes(), b"\n"].concat()
}

/// Writes a whole line. A terminal or a pipe that another process has made non-blocking is waited for.
fn write_line(output: &mut impl Write, mut line: &[u8]) -> io::Result<()> {
    while !line.is_empty() {
        match output.write(line) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => line = &line[written..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::park_timeout(RETRY_WAIT),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Each write is one line.
impl Write for LogQueue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogQueue {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::sync::mpsc;

    use super::*;

    /// An output that takes a line only when it is allowed to, and records what it took.
    struct Gated {
        permits: mpsc::Receiver<()>,
        taken: mpsc::Sender<Vec<u8>>,
    }

    impl Write for Gated {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.permits.recv().map_err(|_| ErrorKind::BrokenPipe)?;
            self.taken.send(bytes.to_vec()).map_err(|_| ErrorKind::BrokenPipe)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The bytes that wait, and the number of dropped lines.
    fn sizes(queue: &LogQueue) -> (usize, u64) {
        let state = queue.lock();
        (state.bytes, state.dropped)
    }

    #[test]
    fn a_reader_that_stops_blocks_nobody_and_bounds_what_is_kept() {
        let ((permit, permits), (taken, written)) = (mpsc::channel(), mpsc::channel());
        let queue = LogQueue::to(Gated { permits, taken }).unwrap();
        let line = [b'x'; 1000];
        for _ in 0..10_000 {
            queue.push(&line);
        }
        let (bytes, dropped) = sizes(&queue);
        assert!(bytes <= MAX_QUEUED_BYTES && bytes > MAX_QUEUED_BYTES - 2000, "{bytes}");
        assert!(dropped > 6_000, "{dropped}");
        // Time passes while nothing is read: the end of the process does not wait for longer than its limit.
        queue.flush(Duration::from_millis(1));
        let kept = 10_000 - dropped;
        for _ in 0..kept {
            permit.send(()).unwrap();
        }
        queue.flush(Duration::from_secs(10));
        assert_eq!(written.iter().take(usize::try_from(kept).unwrap()).filter(|it| *it == line).count() as u64, kept);
        assert_eq!(sizes(&queue), (0, 0), "the number of dropped lines was reported");
    }

    #[test]
    fn what_was_dropped_is_reported_in_the_log_once_there_is_room() {
        let queue = LogQueue::default();
        queue.lock().dropped = 7;
        queue.lock().bytes = MAX_QUEUED_BYTES;
        assert_eq!(queue.record_written(0), 0, "no room yet");
        queue.lock().bytes = MAX_QUEUED_BYTES / 2;
        assert_eq!(queue.record_written(0), 7);
        assert_eq!(queue.record_written(0), 0, "once");
    }

    #[test]
    fn all_lines_are_written_in_order_before_a_flush_ends() {
        let (mut reader, writer) = io::pipe().unwrap();
        let queue = LogQueue::to(writer).unwrap();
        let lines: Vec<String> = (0..1000).map(|number| format!("line {number}\n")).collect();
        for line in &lines {
            queue.push(line.as_bytes());
        }
        let expected = lines.concat();
        queue.flush(Duration::from_secs(10));
        let mut read = vec![0; expected.len()];
        reader.read_exact(&mut read).unwrap();
        assert_eq!(String::from_utf8(read).unwrap(), expected);
    }

    #[test]
    fn a_long_line_is_cut_at_a_character() {
        let line = format!("{}\n", "é".repeat(MAX_LINE_BYTES));
        let cut = String::from_utf8(cut_line(line.as_bytes())).unwrap();
        assert!(cut.len() <= MAX_LINE_BYTES && cut.ends_with("é …\n"), "{}", cut.len());
        assert_eq!(cut_line(b"short\n"), b"short\n");
    }
}
