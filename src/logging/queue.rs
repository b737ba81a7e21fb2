//! The queue between the tasks that log and standard error.
//!
//! Standard error may be a pipe whose reader has stopped. A write to it would then block the worker that logs, and with
//! it every call on that worker. So lines go into a queue that never blocks, and a thread of its own writes them.

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

/// The room that is kept when nothing waits, in bytes.
const KEPT_ROOM: usize = 64 * 1024;

/// How long the thread lets lines gather after a write, so that a busy server does not wake it for each of them.
const GATHER_TIME: Duration = Duration::from_millis(1);

/// How long the thread waits before it writes again to a file that takes nothing and does not block.
const RETRY_WAIT: Duration = Duration::from_millis(20);

/// What ends a line that was cut.
const CUT_MARK: &str = " …";

/// A bounded queue of lines. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct LogQueue(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    // A std mutex, held only to copy lines in or take them out, and never during a write.
    state: Mutex<State>,
    /// Notified when a line has been added and the thread sleeps.
    added: Condvar,
    /// Notified when nothing waits any more.
    drained: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// The lines that wait.
    lines: Vec<u8>,
    /// The size of the lines that are being written, in bytes.
    writing: usize,
    /// The number of lines that were dropped and not reported yet.
    dropped: u64,
    /// The thread waits for a line.
    is_asleep: bool,
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
        let waits = self.0.drained.wait_timeout_while(self.lock(), limit, |state| !state.is_drained());
        drop(waits);
    }

    /// Adds a line, or counts it as dropped if there is no room.
    fn push(&self, line: &[u8]) {
        let mut state = self.lock();
        if state.bytes() + line.len().min(MAX_LINE_BYTES) > MAX_QUEUED_BYTES {
            state.dropped += 1;
            count_dropped_log_lines(1);
            return;
        }
        push_cut_line(&mut state.lines, line);
        let wakes = std::mem::take(&mut state.is_asleep);
        drop(state);
        if wakes {
            self.0.added.notify_one();
        }
    }

    /// Writes the lines as they come, for as long as the process runs.
    fn write_to(&self, mut output: impl Write) {
        let mut lines = Vec::new();
        loop {
            self.take_lines(&mut lines);
            // What cannot be written has nowhere else to go.
            let _ = write_lines(&mut output, &lines);
            let dropped = self.record_written();
            if dropped > 0 {
                // This goes into the queue as any other line, in the same format.
                warn!(
                    event = "log.dropped",
                    lines = dropped,
                    "Log lines were dropped, since standard error was not read in time."
                );
            }
            thread::park_timeout(GATHER_TIME);
        }
    }

    /// Waits for lines, and takes all of them in the place of those that were written.
    fn take_lines(&self, written: &mut Vec<u8>) {
        written.clear();
        written.shrink_to(KEPT_ROOM);
        let mut state = self.lock();
        while state.lines.is_empty() {
            state.is_asleep = true;
            state = self.0.added.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        std::mem::swap(&mut state.lines, written);
        state.writing = written.len();
    }

    /// Frees the room of the lines that were written. Returns how many lines were dropped, once half of the room is free.
    fn record_written(&self) -> u64 {
        let mut state = self.lock();
        state.writing = 0;
        let is_roomy = state.bytes() <= MAX_QUEUED_BYTES / 2;
        let dropped = if is_roomy { std::mem::take(&mut state.dropped) } else { 0 };
        if state.is_drained() {
            self.0.drained.notify_all();
        }
        dropped
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The size of all lines that are not written, in bytes.
    fn bytes(&self) -> usize {
        self.lines.len() + self.writing
    }

    /// Whether nothing waits to be written.
    fn is_drained(&self) -> bool {
        self.bytes() == 0
    }
}

/// Adds a line up to [`MAX_LINE_BYTES`], and marks the cut.
fn push_cut_line(lines: &mut Vec<u8>, line: &[u8]) {
    if line.len() <= MAX_LINE_BYTES {
        return lines.extend_from_slice(line);
    }
    let mut end = MAX_LINE_BYTES - CUT_MARK.len() - 1;
    while end > 0 && line[end] & 0b1100_0000 == 0b1000_0000 {
        end -= 1;
    }
    for part in [&line[..end], CUT_MARK.as_bytes(), b"\n"] {
        lines.extend_from_slice(part);
    }
}

/// Writes whole lines. A terminal or a pipe that another process has made non-blocking is waited for.
fn write_lines(output: &mut impl Write, mut lines: &[u8]) -> io::Result<()> {
    while !lines.is_empty() {
        match output.write(lines) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => lines = &lines[written..],
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

    /// An output that takes nothing before it is allowed to, and records what it took.
    struct Gated {
        permits: mpsc::Receiver<()>,
        taken: mpsc::Sender<Vec<u8>>,
    }

    impl Write for Gated {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // Once the sender is gone, everything is allowed.
            let _ = self.permits.recv();
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
        (state.bytes(), state.dropped)
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
        // Time passes while nothing is read: the end of the process does not wait for longer than its limit.
        queue.flush(Duration::from_millis(1));
        drop(permit);
        queue.flush(Duration::from_secs(10));
        assert_eq!(sizes(&queue), (0, 0), "the number of dropped lines was reported");
        let written: usize = written.try_iter().flatten().filter(|byte| *byte == b'x').count();
        assert_eq!(written as u64, (10_000 - dropped) * 1000);
    }

    #[test]
    fn what_was_dropped_is_reported_in_the_log_once_there_is_room() {
        let queue = LogQueue::default();
        queue.lock().dropped = 7;
        queue.lock().lines = vec![b'x'; MAX_QUEUED_BYTES];
        assert_eq!(queue.record_written(), 0, "no room yet");
        queue.lock().lines.truncate(MAX_QUEUED_BYTES / 2);
        assert_eq!(queue.record_written(), 7);
        assert_eq!(queue.record_written(), 0, "once");
    }

    #[test]
    fn lines_gather_while_others_are_written_and_leave_no_room_taken() {
        let queue = LogQueue::default();
        queue.push(&[b'x'; 16 * 1024]);
        let mut taken = Vec::with_capacity(MAX_QUEUED_BYTES);
        queue.take_lines(&mut taken);
        queue.push(b"second\n");
        queue.push(b"third\n");
        assert_eq!(sizes(&queue), (16 * 1024 + 13, 0));
        queue.record_written();
        queue.take_lines(&mut taken);
        assert_eq!(taken, b"second\nthird\n");
        assert!(queue.lock().lines.capacity() <= 2 * KEPT_ROOM);
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
        let cut_line = |line: &[u8]| {
            let mut lines = Vec::new();
            push_cut_line(&mut lines, line);
            lines
        };
        let cut = String::from_utf8(cut_line(line.as_bytes())).unwrap();
        assert!(cut.len() <= MAX_LINE_BYTES && cut.ends_with("é …\n"), "{}", cut.len());
        assert_eq!(cut_line(b"short\n"), b"short\n");
    }
}
