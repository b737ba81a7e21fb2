//! Taking leave: the goodbye is said and heard, an open payment is cancelled, then `end` is sent, once and last.

use super::{Action, Call, Phase};
use crate::relay::Outgoing;

/// The call is to end, unless the caller speaks before it has.
pub(super) struct Farewell {
    /// For the `<Connect>` action: JSON text if a person is to take over.
    pub(super) handoff_data: Option<String>,
    /// The goodbye is on its way to the caller.
    pub(super) said: bool,
}

impl Farewell {
    /// A farewell whose goodbye was just said.
    pub(super) fn said(handoff_data: Option<String>) -> Self {
        Self { handoff_data, said: true }
    }
}

impl Call {
    /// Moves a farewell on. Only while the model's turn is idle.
    pub(super) fn take_leave(&mut self) {
        let Some(farewell) = &self.farewell else { return };
        if !farewell.said {
            return self.ask_model();
        }
        self.turn.owed = false;
        let heard = self.speech.quiet_from(self.now).is_none_or(|quiet| quiet <= self.now);
        if !heard || self.is_caller_speaking() {
            return;
        }
        self.abandon_payment();
        if !self.turn.runs.is_empty() {
            return;
        }
        let handoff_data = self.farewell.take().and_then(|farewell| farewell.handoff_data);
        self.actions.push(Action::Say(Outgoing::End { handoff_data }));
        self.phase = Phase::Ending { since: self.now };
    }
}
