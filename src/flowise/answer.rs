//! Reads an answer from its bytes: a stream of events, or the JSON object of a flow that does not stream.

use std::collections::VecDeque;

use super::event::{FlowiseEvent, parse_json_answer};
use crate::sse::SseDecoder;

/// The maximum size of a line of the stream, in bytes. `agentFlowExecutedData` repeats the whole conversation for each
/// step of the flow and may be larger: what is above is dropped as it arrives, and the rest is no JSON and is skipped.
const MAX_LINE_BYTES: usize = 64 * 1024;

/// The maximum size of a stream, in bytes; most of it is skipped.
const MAX_STREAM_BYTES: usize = 16 * 1024 * 1024;

/// The maximum size of a JSON answer, in bytes. It repeats the conversation, too.
const MAX_JSON_BYTES: usize = 2 * 1024 * 1024;

/// The answer is larger than any that a caller could listen to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the answer is too large")]
pub(super) struct AnswerTooLargeError;

/// Decodes one answer. Its format is known by its first byte, since the header is the same for both.
#[derive(Debug)]
pub(super) struct AnswerReader {
    format: AnswerFormat,
    byte_count: usize,
}

#[derive(Debug)]
enum AnswerFormat {
    /// Only white space has arrived.
    Unknown,
    Events(EventReader),
    Json(Vec<u8>),
}

#[derive(Debug)]
struct EventReader {
    lines: LineLimiter,
    decoder: SseDecoder,
}

/// Cuts each line to [`MAX_LINE_BYTES`].
#[derive(Debug, Default)]
struct LineLimiter {
    /// The bytes of the current line so far.
    line_bytes: usize,
}

impl AnswerReader {
    /// Creates a reader of an answer that has not arrived yet.
    pub(super) fn new() -> Self {
        Self { format: AnswerFormat::Unknown, byte_count: 0 }
    }

    /// Decodes bytes of the answer, cut anywhere, and appends their events.
    pub(super) fn push(
        &mut self,
        mut bytes: &[u8],
        events: &mut VecDeque<FlowiseEvent>,
    ) -> Result<(), AnswerTooLargeError> {
        self.byte_count += bytes.len();
        if matches!(self.format, AnswerFormat::Unknown) {
            let blank = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, 0xEF | 0xBB | 0xBF);
            let Some(begin) = bytes.iter().position(|byte| !blank(byte)) else { return self.check_size() };
            bytes = &bytes[begin..];
            self.format = if bytes[0] == b'{' {
                AnswerFormat::Json(Vec::new())
            } else {
                AnswerFormat::Events(EventReader {
                    lines: LineLimiter::default(),
                    decoder: SseDecoder::new(2 * MAX_LINE_BYTES),
                })
            };
        }
        self.check_size()?;
        match &mut self.format {
            AnswerFormat::Unknown => Ok(()),
            AnswerFormat::Events(reader) => reader.push(bytes, events),
            AnswerFormat::Json(body) => {
                body.extend_from_slice(bytes);
                Ok(())
            }
        }
    }

    /// Appends the events that the end of the answer completes.
    pub(super) fn finish(&mut self, events: &mut VecDeque<FlowiseEvent>) -> Result<(), AnswerTooLargeError> {
        match &mut self.format {
            AnswerFormat::Unknown => {}
            AnswerFormat::Events(reader) => {
                let last = reader.decoder.finish().map_err(|_| AnswerTooLargeError)?;
                events.extend(last.map(|last| FlowiseEvent::parse(&last.data)));
            }
            AnswerFormat::Json(body) => match parse_json_answer(&std::mem::take(body)) {
                Some(text) => events.extend([FlowiseEvent::Token(text), FlowiseEvent::Metadata, FlowiseEvent::End]),
                None => events.push_back(FlowiseEvent::Error),
            },
        }
        Ok(())
    }

    fn check_size(&self) -> Result<(), AnswerTooLargeError> {
        let limit = if matches!(self.format, AnswerFormat::Json(_)) { MAX_JSON_BYTES } else { MAX_STREAM_BYTES };
        if self.byte_count > limit { Err(AnswerTooLargeError) } else { Ok(()) }
    }
}

impl EventReader {
    fn push(&mut self, bytes: &[u8], events: &mut VecDeque<FlowiseEvent>) -> Result<(), AnswerTooLargeError> {
        let decoder = &mut self.decoder;
        self.lines.limit(bytes, |part| {
            decoder.push(part);
            while let Some(event) = decoder.next_event().map_err(|_| AnswerTooLargeError)? {
                events.push_back(FlowiseEvent::parse(&event.data));
            }
            Ok(())
        })
    }
}

impl LineLimiter {
    /// Passes on each line of `bytes` with its end, up to the limit.
    fn limit<E>(&mut self, bytes: &[u8], mut pass_on: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        for line in bytes.split_inclusive(|byte| matches!(byte, b'\n' | b'\r')) {
            let is_complete = line.ends_with(b"\n") || line.ends_with(b"\r");
            let (text, end) = line.split_at(line.len() - usize::from(is_complete));
            let kept = text.len().min(MAX_LINE_BYTES.saturating_sub(self.line_bytes));
            pass_on(&text[..kept])?;
            pass_on(end)?;
            self.line_bytes = if is_complete { 0 } else { self.line_bytes + kept };
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn token(text: &str) -> FlowiseEvent {
        FlowiseEvent::Token(text.to_owned())
    }

    /// All events of an answer that arrives in these pieces.
    fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<FlowiseEvent>, AnswerTooLargeError> {
        let (mut reader, mut events) = (AnswerReader::new(), VecDeque::new());
        for piece in pieces {
            reader.push(piece, &mut events)?;
        }
        reader.finish(&mut events)?;
        Ok(events.into())
    }

    /// A block as Flowise frames it.
    fn block(event: &str, data: &str) -> String {
        format!("message:\ndata:{{\"event\":\"{event}\",\"data\":{data}}}\n\n")
    }

    #[test]
    fn blocks_are_read_as_flowise_frames_them() {
        let answer = [block("token", "\"He\""), block("agentFlowEvent", "{}"), block("end", "\"[DONE]\"")].concat();
        assert_eq!(read([answer.as_bytes()]).unwrap(), [token("He"), FlowiseEvent::Other, FlowiseEvent::End]);
        let unfinished = answer.trim_end();
        assert_eq!(read([unfinished.as_bytes()]).unwrap().len(), 3, "the last block needs no empty line");
    }

    #[test]
    fn a_json_answer_is_known_by_its_first_byte() {
        let json = b"\xEF\xBB\xBF \n{\"text\":\"Hello.\",\"chatId\":\"1\"}";
        assert_eq!(read([&json[..]]).unwrap(), [token("Hello."), FlowiseEvent::Metadata, FlowiseEvent::End]);
        assert_eq!(read(json.chunks(1)).unwrap(), [token("Hello."), FlowiseEvent::Metadata, FlowiseEvent::End]);
        assert_eq!(read([&b"{\"message\":\"no\"}"[..]]).unwrap(), [FlowiseEvent::Error]);
        assert_eq!(read([&b" \n"[..]]).unwrap(), []);
    }

    #[test]
    fn a_block_above_the_limit_is_skipped_and_what_follows_is_read() {
        let large = block("agentFlowExecutedData", &format!("\"{}\"", "x".repeat(300_000)));
        let answer = [block("token", "\"He\""), large, block("token", "\"y\"")].concat();
        for size in [1000, 65_536, answer.len()] {
            let events = read(answer.as_bytes().chunks(size)).unwrap();
            assert_eq!(events, [token("He"), FlowiseEvent::Other, token("y")], "in pieces of {size}");
        }
    }

    #[test]
    fn an_answer_without_end_is_an_error_and_is_not_held() {
        let piece = vec![b'x'; 65_536];
        let (mut reader, mut events) = (AnswerReader::new(), VecDeque::new());
        let pushed = (0..1000).try_for_each(|_| reader.push(&piece, &mut events));
        assert_eq!(pushed, Err(AnswerTooLargeError));
        let json: Vec<u8> = std::iter::once(b'{').chain(std::iter::repeat_n(b'x', MAX_JSON_BYTES)).collect();
        assert_eq!(read([&json[..]]), Err(AnswerTooLargeError));
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_the_pieces_do_not_matter(
            words in prop::collection::vec("[a-zé\\\\\"{ ]{0,6}", 0..6),
            noise in prop::collection::vec(any::<u8>(), 0..40),
            size in 1_usize..50,
        ) {
            let words: String = words.iter().map(|it| block("token", &serde_json::to_string(it).unwrap())).collect();
            let answer = [words.as_bytes(), &noise].concat();
            prop_assert_eq!(read(answer.chunks(size)), read([&answer[..]]));
        }
    }
}
