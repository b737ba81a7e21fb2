//! Closing a call: the goodbye is spoken and heard, an open payment is cancelled, then `end` is sent as the last frame.

use super::{Action, Call, Phase};
use crate::relay::OutgoingFrame;

/// A pending end of the call. The caller cancels it by speaking first.
pub(super) struct Closing {
    /// The hand-off data for the `<Connect>` action, as JSON text, if a person is to take over.
    pub(super) handoff_data: Option<String>,
    /// The goodbye was sent to the caller.
    pub(super) goodbye_said: bool,
}

impl Closing {
    /// A closing whose goodbye was just sent.
    pub(super) fn after_goodbye(handoff_data: Option<String>) -> Self {
        Self { handoff_data, goodbye_said: true }
    }
}

impl Call {
    /// Asks for the goodbye, or ends the call once it was heard. Called only while the model's turn is idle.
    pub(super) fn finish_closing(&mut self) {
        let Some(closing) = &self.closing else { return };
        if !closing.goodbye_said {
            return self.ask_model();
        }
        self.turn.waive_response();
        let heard = self.speech.quiet_from(self.now).is_none_or(|quiet| quiet <= self.now);
        if !heard || self.is_caller_speaking() {
            return;
        }
        self.abandon_payment();
        if self.turn.has_runs() {
            return;
        }
        let handoff_data = self.closing.take().and_then(|closing| closing.handoff_data);
        self.actions.push(Action::SendFrame(OutgoingFrame::End { handoff_data }));
        self.phase = Phase::Ending { since: self.now };
    }
}
