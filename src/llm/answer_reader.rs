//! The body of a response, as JSON texts: server-sent events or one JSON text. Known by its bytes, since servers send a
//! wrong `Content-Type` or none.

use std::borrow::Cow;
use std::fmt;

use super::inflater::{InflateError, Inflater};
use crate::sse::{EventTooLargeError, SseDecoder};

/// The maximum size of an event, in bytes. OpenAI's largest, the terminal one, has the whole response.
const MAX_EVENT_BYTES: usize = 1024 * 1024;

/// The maximum size of a response, in bytes.
const MAX_RESPONSE_BYTES: usize = 4 * 1024 * 1024;

/// What the data of the last event of some streams is.
const DONE: &str = "[DONE]";

/// Reads the body of a response. Bytes go in with [`push`](Self::push), JSON texts come out of [`next`](Self::next).
pub(super) struct AnswerReader {
    inflater: Inflater,
    format: Format,
    /// The size of the inflated body so far.
    total_bytes: usize,
}

enum Format {
    /// Nothing but white space has arrived.
    Unknown(Vec<u8>),
    Events(SseDecoder),
    /// One JSON text, complete at the end of the body.
    Json(Vec<u8>),
}

/// What the body says next.
pub(super) enum Answer<'a> {
    /// The data of an event, which should be JSON, and its `event` field.
    Json { event: Cow<'a, str>, data: Cow<'a, str> },
    /// `[DONE]`: nothing follows.
    Done,
}

/// The body cannot be read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum ReadAnswerError {
    /// An event is too large.
    #[error("an event is larger than {MAX_EVENT_BYTES} bytes")]
    EventTooLarge,
    /// The response is too large.
    #[error("the response is larger than {MAX_RESPONSE_BYTES} bytes")]
    ResponseTooLarge,
    /// There are more items, or there is more text, than an answer to a caller can have.
    #[error("the response has too many items or too much text")]
    TooMuchContent,
    /// The body is HTML or XML: not from a model server.
    #[error("the response is neither a stream of events nor JSON")]
    NotAnAnswer,
}

impl AnswerReader {
    pub(super) fn new() -> Self {
        Self { inflater: Inflater::Unknown, format: Format::Unknown(Vec::new()), total_bytes: 0 }
    }

    /// Adds bytes of the body, cut anywhere.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), ReadAnswerError> {
        let bytes = &*self.inflater.inflate(bytes, MAX_RESPONSE_BYTES)?;
        Self::count(&mut self.total_bytes, bytes.len())?;
        match &mut self.format {
            Format::Events(decoder) => decoder.push(bytes),
            Format::Json(body) => {
                body.extend_from_slice(bytes);
                if body.len() > MAX_EVENT_BYTES {
                    return Err(ReadAnswerError::EventTooLarge);
                }
            }
            Format::Unknown(body) => {
                body.extend_from_slice(bytes);
                let body = std::mem::take(body);
                self.format = Format::detect(body)?;
            }
        }
        Ok(())
    }

    /// Counts bytes of the response that are read elsewhere.
    pub(super) fn count_bytes(&mut self, count: usize) -> Result<(), ReadAnswerError> {
        Self::count(&mut self.total_bytes, count)
    }

    fn count(total: &mut usize, count: usize) -> Result<(), ReadAnswerError> {
        *total += count;
        if *total > MAX_RESPONSE_BYTES { Err(ReadAnswerError::ResponseTooLarge) } else { Ok(()) }
    }

    /// Returns what is complete; `None` until more bytes are there.
    pub(super) fn next(&mut self) -> Result<Option<Answer<'_>>, ReadAnswerError> {
        match &mut self.format {
            Format::Events(decoder) => {
                let event = decoder.next_event()?;
                Ok(event.map(|event| Answer::new(event.event, event.data)))
            }
            Format::Unknown(_) | Format::Json(_) => Ok(None),
        }
    }

    /// Returns what the end of the body completes.
    pub(super) fn finish(&mut self) -> Result<Option<Answer<'_>>, ReadAnswerError> {
        match &mut self.format {
            Format::Events(decoder) => {
                let event = decoder.finish()?;
                Ok(event.map(|event| Answer::new(event.event, event.data)))
            }
            Format::Json(body) if !body.is_empty() => {
                let body = String::from_utf8_lossy(&std::mem::take(body)).into_owned();
                Ok(Some(Answer::new(Cow::Borrowed(""), Cow::Owned(body))))
            }
            Format::Unknown(_) | Format::Json(_) => Ok(None),
        }
    }
}

impl Format {
    fn detect(body: Vec<u8>) -> Result<Self, ReadAnswerError> {
        const MARK: &[u8] = "\u{feff}".as_bytes();
        if body.len() < MARK.len() && MARK.starts_with(&body) {
            return Ok(Self::Unknown(body));
        }
        let text = body.strip_prefix(MARK).unwrap_or(&body).trim_ascii_start();
        match text.first() {
            None => Ok(Self::Unknown(body)),
            Some(b'<') => Err(ReadAnswerError::NotAnAnswer),
            Some(b'{' | b'[') => Ok(Self::Json(text.to_vec())),
            Some(_) => {
                let mut decoder = SseDecoder::new(MAX_EVENT_BYTES);
                decoder.push(&body);
                Ok(Self::Events(decoder))
            }
        }
    }
}

impl<'a> Answer<'a> {
    fn new(event: Cow<'a, str>, data: Cow<'a, str>) -> Self {
        if data.trim() == DONE { Self::Done } else { Self::Json { event, data } }
    }
}

impl From<InflateError> for ReadAnswerError {
    fn from(error: InflateError) -> Self {
        match error {
            InflateError::TooLarge => Self::ResponseTooLarge,
            InflateError::Damaged => Self::NotAnAnswer,
        }
    }
}

impl From<EventTooLargeError> for ReadAnswerError {
    fn from(_: EventTooLargeError) -> Self {
        Self::EventTooLarge
    }
}

/// Shows the number of bytes, never the bytes.
impl fmt::Debug for AnswerReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AnswerReader({} bytes)", self.total_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All texts of a body that arrives in these pieces.
    fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<String>, ReadAnswerError> {
        let show = |answer: Answer<'_>| match answer {
            Answer::Json { event, data } => format!("{event}|{data}"),
            Answer::Done => "done".to_owned(),
        };
        let (mut reader, mut texts) = (AnswerReader::new(), Vec::new());
        for piece in pieces {
            reader.push(piece)?;
            while let Some(answer) = reader.next()? {
                texts.push(show(answer));
            }
        }
        texts.extend(reader.finish()?.map(show));
        Ok(texts)
    }

    #[test]
    fn a_body_is_known_by_its_bytes() {
        for (body, texts) in [
            ("\u{feff}event: a\ndata: {\"x\":1}\n\ndata: [DONE]\n\n", &["a|{\"x\":1}", "done"][..]),
            ("\r\n\r\ndata: {}\r\n\r\n", &["|{}"]),
            (": OPENROUTER PROCESSING\n\ndata: 1\n\n", &["|1"]),
            ("\u{feff} \n{\"a\": 1}\n", &["|{\"a\": 1}\n"]),
            ("[1]", &["|[1]"]),
            (" \n", &[]),
            ("", &[]),
        ] {
            assert_eq!(
                read([body.as_bytes()]).as_deref(),
                Ok(&texts.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>()[..])
            );
            assert_eq!(read(body.as_bytes().chunks(1)), read([body.as_bytes()]), "{body:?}");
        }
        assert_eq!(read([&b"<!doctype html>"[..]]), Err(ReadAnswerError::NotAnAnswer));
    }

    #[test]
    fn a_body_that_is_too_large_is_not_read_to_its_end() {
        let chunk = vec![b'x'; 64 * 1024];
        let mut reader = AnswerReader::new();
        reader.push(b"data: ").unwrap();
        let mut read = || -> Result<(), ReadAnswerError> {
            loop {
                reader.push(&chunk)?;
                while reader.next()?.is_some() {}
            }
        };
        assert_eq!(read(), Err(ReadAnswerError::EventTooLarge));
        assert!(reader.total_bytes <= MAX_EVENT_BYTES + chunk.len() + 6);

        let event = format!("data: {}\n\n", "x".repeat(64 * 1024));
        let mut reader = AnswerReader::new();
        let mut read = || -> Result<(), ReadAnswerError> {
            loop {
                reader.push(event.as_bytes())?;
                while reader.next()?.is_some() {}
            }
        };
        assert_eq!(read(), Err(ReadAnswerError::ResponseTooLarge));
    }
}
