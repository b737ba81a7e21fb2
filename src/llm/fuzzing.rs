//! What must hold for any response of a model server, as a check for a fuzzer.

use std::collections::HashSet;

use super::error_info::ErrorInfo;
use super::markup::MarkupFilter;
use super::received_response::{ReceivedResponse, read_to_end};
use super::refusal::Refusal;
use crate::call::{ModelEvent, ModelRequestId};
use crate::fuzzing::{read_in_pieces, text_size};

/// Checks the body of a response, as an answer and as an error.
///
/// - The pieces in which it arrives make no difference.
/// - The last event, and no other, ends the response.
/// - No more text is passed on than has arrived, and a message begins with a word.
/// - Each tool call has a name, and an id that no other one has.
/// - A reasoning item is followed by a tool call, and the phase of a message by its text.
/// - A complete response has words or a tool call.
pub fn check_model_stream(body: &[u8]) {
    for may_begin_in_reasoning in [false, true] {
        let events = read_in_pieces(body, |pieces| {
            let received = ReceivedResponse::new(ModelRequestId(1), may_begin_in_reasoning);
            read_to_end(received, pieces).into_iter().map(Event::from).collect::<Vec<_>>()
        });
        check_events(&events, text_size(body));
    }
    let body = String::from_utf8_lossy(body);
    let info = ErrorInfo::parse(&body);
    for status in [400, 500] {
        let _ = (info.is_transient(Some(status)), info.input_refusal(Some(status)), Refusal::parse(status, &body));
    }
}

/// What a text without reasoning and tool mark-up is, if it arrives in these pieces.
pub(crate) fn remove_markup(may_begin_in_reasoning: bool, pieces: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    let mut filter =
        if may_begin_in_reasoning { MarkupFilter::holding_unopened_reasoning() } else { MarkupFilter::default() };
    let mut text: String = pieces.into_iter().map(|piece| filter.push(piece.as_ref())).collect();
    text.push_str(&filter.finish());
    text
}

/// An event for the call, as it can be compared and shown.
#[derive(Debug, PartialEq, Eq)]
enum Event {
    Text(String),
    Phase(&'static str),
    Reasoning(String),
    ToolCall { call_id: String, item_id: Option<String>, name: String, arguments: String },
    Completed,
    Failed,
}

impl From<ModelEvent> for Event {
    fn from(event: ModelEvent) -> Self {
        match event {
            ModelEvent::TextDelta(text) => Self::Text(text.into_inner()),
            ModelEvent::MessagePhase(phase) => Self::Phase(phase.as_str()),
            ModelEvent::Reasoning(item) => Self::Reasoning(item.get().to_owned()),
            ModelEvent::ToolCall(call) => Self::ToolCall {
                call_id: call.call_id,
                item_id: call.item_id,
                name: call.name,
                arguments: call.arguments.into_string(),
            },
            ModelEvent::Report(_) => unreachable!("only a response stream has one"),
            ModelEvent::Completed => Self::Completed,
            ModelEvent::Failed | ModelEvent::InputRefused(_) => Self::Failed,
        }
    }
}

fn check_events(events: &[Event], max_text_bytes: usize) {
    let Some((end, events)) = events.split_last() else { panic!("the response does not end") };
    assert!(matches!(end, Event::Completed | Event::Failed), "the last event is {end:?}");
    let (mut text, mut call_ids) = (String::new(), HashSet::new());
    let follower = |at: usize| events.get(at + 1);
    for (at, event) in events.iter().enumerate() {
        match event {
            Event::Text(piece) => text.push_str(piece),
            Event::Phase(_) => assert!(matches!(follower(at), Some(Event::Text(_))), "a phase without text"),
            Event::Reasoning(_) => {
                let is_followed = matches!(follower(at), Some(Event::Reasoning(_) | Event::ToolCall { .. }));
                assert!(is_followed, "reasoning without a tool call");
            }
            Event::ToolCall { call_id, name, .. } => {
                assert!(!call_id.is_empty() && !name.is_empty(), "{event:?} has no id or no name");
                assert!(call_ids.insert(call_id), "two tool calls have the id {call_id}");
            }
            Event::Completed | Event::Failed => panic!("an event follows the end"),
        }
    }
    assert!(!text.starts_with(char::is_whitespace), "the text begins with a blank: {text:?}");
    assert!(text.len() <= max_text_bytes, "{text:?} is more than has arrived");
    assert!(*end == Event::Failed || !text.is_empty() || !call_ids.is_empty(), "the complete response is empty");
}
