//! What a model's server refuses of the conversation, and what is left out of it then.
//!
//! A refused item stays in the history otherwise, and every later request would be refused with it.

use super::event::ModelEvent;
use super::history::History;
use super::{Call, prompts};

/// The maximum number of changes to the history before a response succeeds.
const MAX_CHANGES: u32 = 4;

/// The part of the conversation that a model's server refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InputRefusal {
    /// A reasoning item, or the id of an item.
    Reasoning,
    /// What came from outside: a content filter.
    Content,
    /// The conversation is too long.
    Length,
    /// Some item.
    Other,
}

impl InputRefusal {
    /// Leaves the suspect out of the history: what came last from outside, if nothing else is suspect. Returns whether the
    /// history has changed.
    fn leave_out_suspect(self, history: &mut History) -> bool {
        let first = match self {
            Self::Content => false,
            Self::Reasoning | Self::Other => history.drop_all_reasoning(),
            Self::Length => history.drop_older_half(),
        };
        first || history.leave_out_newest_input(prompts::UTTERANCE_LEFT_OUT, prompts::OUTPUT_LEFT_OUT)
    }
}

impl Call {
    /// Leaves out what the server refuses, and asks again. If nothing can be left out, the response has failed.
    pub(super) fn handle_input_refusal(&mut self, refusal: InputRefusal) {
        let may_change = self.turn.record_input_refusal() <= MAX_CHANGES;
        if may_change && refusal.leave_out_suspect(&mut self.history) {
            self.turn.withdraw_response(&mut self.history);
        } else if let Some(request) = self.turn.current_request() {
            self.history.restore_left_out();
            self.handle_model_event(request, ModelEvent::Failed);
        }
    }
}
