//! Server-sent events, decoded from the bytes of a response as they arrive (WHATWG HTML, section 9.2).
//!
//! Lines may end in LF, CR LF or CR. A byte order mark, comments and unknown fields are skipped. Bytes that are not
//! UTF-8 become U+FFFD. The decoder holds at most one event, of limited size.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use memchr::memchr2;

/// The room of a buffer that is kept from event to event, in bytes. Most events are smaller.
const KEPT_ROOM: usize = 1024;

/// Decodes a stream of events. Bytes go in with [`push`](Self::push), events come out of
/// [`next_event`](Self::next_event).
pub(crate) struct SseDecoder {
    max_event_bytes: usize,
    /// Bytes that are not decoded yet, from `start` on.
    buffer: Vec<u8>,
    start: usize,
    /// The bytes after `start` that are known to have no line end.
    scanned: usize,
    /// A byte order mark is skipped at the beginning only.
    at_beginning: bool,
    /// The last line ended in CR: an LF that follows belongs to it.
    after_cr: bool,
    event: Vec<u8>,
    /// Where the value of the only `data` field stands in `buffer`: nearly every event has one, which is then not copied.
    only_data: Option<Range<usize>>,
    /// The values of several `data` fields, or of one whose bytes have left `buffer`.
    data: Vec<u8>,
    /// The number of `data` fields.
    data_count: usize,
    /// `event` and the data were returned: they are cleared before the next line.
    is_returned: bool,
}

/// One event.
#[cfg_attr(test, derive(Debug, PartialEq, Eq))]
pub(crate) struct SseEvent<'a> {
    /// The value of the `event` field; empty if there is none.
    pub(crate) event: Cow<'a, str>,
    /// The values of all `data` fields, joined by LF.
    pub(crate) data: Cow<'a, str>,
}

/// An event is larger than the limit. Nothing can be decoded after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a server-sent event is larger than {max_event_bytes} bytes")]
pub(crate) struct EventTooLargeError {
    max_event_bytes: usize,
}

impl SseDecoder {
    /// Creates a decoder of events up to `max_event_bytes`.
    pub(crate) fn new(max_event_bytes: usize) -> Self {
        Self {
            max_event_bytes,
            buffer: Vec::new(),
            start: 0,
            scanned: 0,
            at_beginning: true,
            after_cr: false,
            event: Vec::new(),
            only_data: None,
            data: Vec::new(),
            data_count: 0,
            is_returned: false,
        }
    }

    /// Adds bytes of the stream, cut anywhere. All events are to be taken out before the next bytes go in.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.clear_returned();
        self.forget_read();
        self.buffer.extend_from_slice(bytes);
    }

    /// Returns the next complete event with data; `None` until more bytes are there.
    pub(crate) fn next_event(&mut self) -> Result<Option<SseEvent<'_>>, EventTooLargeError> {
        self.clear_returned();
        while let Some((begin, end)) = self.next_line() {
            if begin < end {
                self.read_line(begin, end)?;
            } else if self.data_count > 0 {
                return Ok(Some(self.take_event()));
            } else {
                self.event.clear();
            }
        }
        self.check_size(self.buffer.len() - self.start)?;
        // The next bytes may be seconds away.
        self.forget_read();
        Ok(None)
    }

    /// Returns the event that the end of the stream completes. The standard drops an event without an empty line after
    /// it, but servers are known to close the stream right after the last one.
    pub(crate) fn finish(&mut self) -> Result<Option<SseEvent<'_>>, EventTooLargeError> {
        self.clear_returned();
        let (begin, end) = (self.skip_mark(), self.buffer.len());
        self.start = end;
        self.scanned = 0;
        if begin < end {
            self.read_line(begin, end)?;
        }
        Ok(if self.data_count > 0 { Some(self.take_event()) } else { None })
    }

    /// Finds the next complete line, without its end.
    fn next_line(&mut self) -> Option<(usize, usize)> {
        if self.after_cr && self.start < self.buffer.len() {
            self.after_cr = false;
            if self.buffer[self.start] == b'\n' {
                self.start += 1;
                self.scanned = self.scanned.saturating_sub(1);
            }
        }
        let from = self.start + self.scanned;
        let Some(length) = memchr2(b'\n', b'\r', &self.buffer[from..]) else {
            self.scanned = self.buffer.len() - self.start;
            return None;
        };
        let (begin, end) = (self.skip_mark(), from + length);
        self.after_cr = self.buffer[end] == b'\r';
        self.start = end + 1;
        self.scanned = 0;
        Some((begin.min(end), end))
    }

    /// Where the line begins: after the byte order mark, if the stream begins with one.
    fn skip_mark(&mut self) -> usize {
        const MARK: &[u8] = "\u{feff}".as_bytes();
        let is_mark = std::mem::take(&mut self.at_beginning) && self.buffer[self.start..].starts_with(MARK);
        if is_mark { self.start + MARK.len() } else { self.start }
    }

    fn read_line(&mut self, begin: usize, end: usize) -> Result<(), EventTooLargeError> {
        self.check_size(end - begin)?;
        let line = &self.buffer[begin..end];
        let colon = line.iter().position(|byte| *byte == b':');
        let (field, value) = colon.map_or((line, &[][..]), |at| (&line[..at], &line[at + 1..]));
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"data" if self.data_count == 0 => {
                self.only_data = Some(end - value.len()..end);
                self.data_count = 1;
            }
            b"data" => {
                let value = end - value.len()..end;
                self.copy_only_data();
                self.data.push(b'\n');
                self.data.extend_from_slice(&self.buffer[value]);
                self.data_count += 1;
            }
            b"event" => {
                self.event.clear();
                self.event.extend_from_slice(value);
            }
            _ => {}
        }
        Ok(())
    }

    /// Checks the size of the event with `more` bytes.
    fn check_size(&self, more: usize) -> Result<(), EventTooLargeError> {
        let data = self.only_data.as_ref().map_or(self.data.len(), Range::len);
        let is_too_large = data + self.event.len() + more > self.max_event_bytes;
        if is_too_large { Err(EventTooLargeError { max_event_bytes: self.max_event_bytes }) } else { Ok(()) }
    }

    fn take_event(&mut self) -> SseEvent<'_> {
        self.is_returned = true;
        let data = self.only_data.clone().map_or(&self.data[..], |place| &self.buffer[place]);
        SseEvent { event: decode(&self.event), data: decode(data) }
    }

    /// Removes the bytes that were read from the buffer.
    fn forget_read(&mut self) {
        self.copy_only_data();
        self.buffer.drain(..std::mem::take(&mut self.start));
        release_room(&mut self.buffer);
    }

    /// Copies the only `data` field, since its bytes leave the buffer, or another one follows.
    fn copy_only_data(&mut self) {
        if let Some(place) = self.only_data.take() {
            self.data.extend_from_slice(&self.buffer[place]);
        }
    }

    fn clear_returned(&mut self) {
        if std::mem::take(&mut self.is_returned) {
            self.event.clear();
            self.only_data = None;
            self.data.clear();
            release_room(&mut self.data);
            self.data_count = 0;
        }
    }
}

/// Gives back the room that a large event has taken: those that begin and end a response are, and it goes on for seconds.
fn release_room(buffer: &mut Vec<u8>) {
    if buffer.capacity() > KEPT_ROOM {
        buffer.shrink_to(KEPT_ROOM);
    }
}

/// Decodes UTF-8. To check a text that is right is much faster than to look for what is wrong in it.
fn decode(bytes: &[u8]) -> Cow<'_, str> {
    str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed)
}

/// Shows the number of bytes, never the bytes.
impl fmt::Debug for SseDecoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SseDecoder({} bytes)", self.buffer.len() - self.start + self.data.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// All events of a stream that arrives in these pieces, as `event|data`.
    fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<String> {
        let mut decoder = SseDecoder::new(1000);
        let show = |SseEvent { event, data }: SseEvent<'_>| format!("{event}|{data}");
        let mut events = Vec::new();
        for piece in pieces {
            decoder.push(piece);
            while let Some(event) = decoder.next_event().unwrap() {
                events.push(show(event));
            }
        }
        events.extend(decoder.finish().unwrap().map(show));
        assert_eq!(decoder.finish().unwrap(), None, "the last event comes once");
        events
    }

    #[test]
    fn every_line_end_and_field_of_the_standard_is_read() {
        for (stream, events) in [
            ("event: a\ndata: 1\n\ndata: 2\n\n", &["a|1", "|2"][..]),
            ("event: a\r\ndata: 1\r\n\r\ndata: 2\r\n\r\n", &["a|1", "|2"]),
            ("event: a\rdata: 1\r\rdata: 2\r\r", &["a|1", "|2"]),
            ("\u{feff}data: 1\n\n\u{feff}data: 2\n\n", &["|1"]),
            ("\u{feff}\ndata: 1\n\n", &["|1"]),
            (": a comment\nid: 7\nretry: 10\nmessage:\ndata:1\ndata: 2\ndata\n\n", &["|1\n2\n"]),
            ("event: a\n\ndata: 1\n\n", &["|1"]),
            ("event: a\ndata: 1", &["a|1"]),
            ("data: : PROCESSING\n\n", &["|: PROCESSING"]),
            ("data:  two spaces\n\n", &["| two spaces"]),
            ("\n\n\n", &[]),
            ("\u{feff}", &[]),
            ("", &[]),
        ] {
            assert_eq!(decode([stream.as_bytes()]), events, "{stream:?}");
        }
    }

    #[test]
    fn an_event_above_the_limit_is_an_error_before_it_is_complete() {
        let mut decoder = SseDecoder::new(12);
        decoder.push(b"data: 12345\n");
        assert_eq!(decoder.next_event().unwrap(), None);
        decoder.push(b"data: 67");
        assert!(decoder.next_event().is_err());
        let mut decoder = SseDecoder::new(12);
        decoder.push(b"a line without end");
        assert!(decoder.next_event().is_err());
    }

    proptest! {
        #[test]
        fn the_pieces_of_a_stream_do_not_matter(
            stream in "(\u{feff})?((data|event|id|)(: ?|)[a-z\u{e9}\u{1f600}]{0,4}(\r\n|\n|\r){1,2}){0,8}",
            cuts in proptest::collection::vec(0_usize..64, 0..8),
        ) {
            let bytes = stream.as_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).chain([0, bytes.len()]).collect();
            cuts.sort_unstable();
            let pieces = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]);
            prop_assert_eq!(decode(pieces), decode([bytes]));
            prop_assert_eq!(decode(bytes.chunks(1)), decode([bytes]));
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), cut in 0_usize..200) {
            let (one, two) = bytes.split_at(cut.min(bytes.len()));
            decode([one, two]);
        }
    }
}
