//! How model servers differ from OpenAI's: what the server has to cope with.

use serde_json::json;

use super::RefusedRequest;
use super::events::{Pause, TimedEvent};
use super::input::ModelInputItem;

/// What a model server does otherwise than OpenAI's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::simulator) enum ServerDeviation {
    /// Streams begin with a byte order mark.
    ByteOrderMark,
    /// Every function call is delivered twice.
    RepeatedCalls,
    /// A content filter refuses every request whose input has this text.
    ContentFilter(&'static str),
}

impl ServerDeviation {
    /// How the server refuses a request; `None` if it does not.
    pub(super) fn refuse(self, input: &[ModelInputItem]) -> Option<RefusedRequest> {
        let Self::ContentFilter(word) = self else { return None };
        let is_hit = |item: &ModelInputItem| matches!(item, ModelInputItem::User(text) if text.contains(word));
        let error = json!({"message": "The response was filtered due to the prompt triggering the content management \
            policy.", "type": null, "param": "prompt", "code": "content_filter"});
        input.iter().any(is_hit).then_some(RefusedRequest { status: 400, error })
    }

    /// Changes the events of a response.
    pub(super) fn change(self, events: &mut Vec<TimedEvent>) {
        if self != Self::RepeatedCalls {
            return;
        }
        let is_call = |event: &TimedEvent| {
            event.event["type"] == "response.output_item.done" && event.event["item"]["type"] == "function_call"
        };
        for at in (0..events.len()).rev().filter(|at| is_call(&events[*at])).collect::<Vec<_>>() {
            let event = events[at].event.clone();
            events.insert(at + 1, TimedEvent { pause: Pause::None, event });
        }
    }
}
