//! The bytes of a response, and what they say: no I/O and no time.

use serde_json::Deserializer;
use serde_json::value::RawValue;

use super::answer_reader::{Answer, AnswerReader, ReadAnswerError};
use super::assembler::{IncompleteResponse, ResponseAssembler, StreamEnd};
use super::event::{ParseEventError, StreamEvent};
use super::transport::TransportError;
use crate::call::{ModelEvent, ModelRequestId};
use crate::telemetry::TokenUsage;

/// A response that is being received.
pub(super) struct ReceivedResponse {
    reader: AnswerReader,
    assembler: ResponseAssembler,
    /// All bytes have arrived.
    is_at_end: bool,
}

/// What one step of reading has brought.
#[derive(Debug)]
pub(super) enum Progress {
    /// Nothing can be read before more bytes have arrived.
    NeedsBytes,
    /// An event was read; more may follow.
    Continues,
    /// The response is complete.
    Completed(ResponseEnd, TokenUsage),
}

/// How a response that is complete has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ResponseEnd {
    /// `response.completed`, or a whole response as JSON.
    Completed,
    /// `response.incomplete`: a limit or a filter has cut it off.
    Incomplete,
    /// `[DONE]` without a terminal event.
    DoneMark,
    /// The connection was closed after the last item.
    Closed,
    /// An error, or nothing, after the last item.
    BrokenOff,
}

impl ReceivedResponse {
    /// `may_begin_in_reasoning` says that the server leaves out the beginning of reasoning in the text of a message.
    pub(super) fn new(request: ModelRequestId, may_begin_in_reasoning: bool) -> Self {
        let assembler = ResponseAssembler::new(request, may_begin_in_reasoning);
        Self { reader: AnswerReader::new(), assembler, is_at_end: false }
    }

    /// Whether the text has an end of reasoning that did not begin. `None` of a response without text.
    pub(super) fn found_unopened_reasoning(&self) -> Option<bool> {
        self.assembler.found_unopened_reasoning()
    }

    /// Adds bytes of the body.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), TransportError> {
        Ok(self.reader.push(bytes)?)
    }

    /// Reads an event that arrived as JSON, all of it and nothing else.
    pub(super) fn read_event(&mut self, json: &str) -> Result<Progress, TransportError> {
        self.reader.count_bytes(json.len())?;
        apply_data(&mut self.assembler, "", json)
    }

    /// Records that all bytes have arrived.
    pub(super) fn end(&mut self) {
        self.is_at_end = true;
    }

    /// The next event for the call.
    pub(super) fn pop_event(&mut self) -> Option<ModelEvent> {
        self.assembler.pop_event()
    }

    /// Whether text or a function call was passed on: the request must not be repeated.
    pub(super) fn has_output(&self) -> bool {
        self.assembler.has_output()
    }

    /// Completes an answer whose end was lost. Returns whether it is one: every item that has begun is complete.
    pub(super) fn complete_without_end(&mut self) -> bool {
        self.assembler.is_settled() && self.assembler.finish(StreamEnd::Closed).is_ok()
    }

    /// Whether text was passed on, or the arguments of a call have begun to arrive.
    pub(super) fn has_begun(&self) -> bool {
        self.assembler.has_begun()
    }

    /// Whether a reasoning item has arrived.
    pub(super) fn has_reasoning(&self) -> bool {
        self.assembler.has_reasoning()
    }

    /// Reads one event.
    pub(super) fn advance(&mut self) -> Result<Progress, TransportError> {
        if self.assembler.is_too_large() {
            return Err(ReadAnswerError::TooMuchContent.into());
        }
        let answer = if self.is_at_end { self.reader.finish()? } else { self.reader.next()? };
        match answer {
            Some(Answer::Json { event, data }) => apply_data(&mut self.assembler, &event, &data),
            Some(Answer::Done) => {
                self.assembler.finish(StreamEnd::DoneMark)?;
                Ok(Progress::Completed(ResponseEnd::DoneMark, TokenUsage::default()))
            }
            None if self.is_at_end => {
                self.assembler.finish(StreamEnd::Closed)?;
                Ok(Progress::Completed(ResponseEnd::Closed, TokenUsage::default()))
            }
            None => Ok(Progress::NeedsBytes),
        }
    }
}

/// Applies the data of an event: one JSON text, or several where a gateway has joined events.
fn apply_data(assembler: &mut ResponseAssembler, name: &str, data: &str) -> Result<Progress, TransportError> {
    match StreamEvent::parse(name, data.trim_start()) {
        Ok(event) => return apply_event(assembler, event),
        Err(ParseEventError(Some(kind))) => {
            tracing::debug!(event = "openai.event_unreadable", kind, "An event that cannot be read is skipped.");
            return Ok(Progress::Continues);
        }
        Err(ParseEventError(None)) => {}
    }
    let texts = Deserializer::from_str(data).into_iter::<&RawValue>();
    for json in texts.map_while(Result::ok) {
        let Ok(event) = StreamEvent::parse(name, json.get()) else { continue };
        let progress = apply_event(assembler, event)?;
        if matches!(progress, Progress::Completed(..)) {
            return Ok(progress);
        }
    }
    Ok(Progress::Continues)
}

fn apply_event(assembler: &mut ResponseAssembler, event: StreamEvent<'_>) -> Result<Progress, TransportError> {
    match event {
        StreamEvent::Ended(mut snapshot) => {
            let usage = std::mem::take(&mut snapshot.usage);
            let end = if snapshot.is_incomplete { ResponseEnd::Incomplete } else { ResponseEnd::Completed };
            assembler.finish(StreamEnd::Snapshot(snapshot))?;
            Ok(Progress::Completed(end, usage))
        }
        StreamEvent::Failed(info) => Err(TransportError::ResponseFailed(Box::new(info))),
        event => {
            assembler.apply(event);
            Ok(Progress::Continues)
        }
    }
}

impl From<IncompleteResponse> for TransportError {
    fn from(incomplete: IncompleteResponse) -> Self {
        match incomplete {
            IncompleteResponse::CutOff => Self::StreamClosed,
            IncompleteResponse::Empty => Self::EmptyResponse,
        }
    }
}

/// Reads a body that arrives in these pieces as [`Model::respond`](super::Model::respond) reads one without a retry.
/// Returns its events; `Failed` is the last one if the response cannot be read.
#[cfg(test)]
pub(crate) fn read_body<'a>(request: ModelRequestId, pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<ModelEvent> {
    read_to_end(ReceivedResponse::new(request, false), pieces)
}

/// Reads a response whose body arrives in these pieces. Returns its events; the last one is `Completed` or `Failed`.
#[cfg(any(fuzzing, test))]
pub(super) fn read_to_end<'a>(
    mut received: ReceivedResponse,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Vec<ModelEvent> {
    let mut pieces = pieces.into_iter();
    let mut events = Vec::new();
    let end = loop {
        let progress = received.advance();
        events.extend(std::iter::from_fn(|| received.pop_event()));
        match progress {
            Ok(Progress::Continues) => {}
            Ok(Progress::Completed(..)) => break ModelEvent::Completed,
            Ok(Progress::NeedsBytes) => match pieces.next().map(|piece| received.push(piece)) {
                Some(Ok(())) => {}
                Some(Err(_)) => break ModelEvent::Failed,
                None => received.end(),
            },
            Err(_) => break ModelEvent::Failed,
        }
    };
    events.push(end);
    events
}
