//! Checks of the recording of calls.

use super::{ScenarioCheck, TranscriptChecks};
use crate::simulator::transcript::TranscriptEvent;

impl TranscriptChecks<'_> {
    /// Checks that the caller had heard that the call is recorded when the recording began, if it did.
    pub(super) fn check_announced(&self) -> Option<ScenarioCheck> {
        let is_start =
            |event: &TranscriptEvent| matches!(event, TranscriptEvent::RecordingRequested { step: "start", .. });
        let started = self.events().position(is_start)?;
        let is_announced = self.events().take(started).any(
            |event| matches!(event, TranscriptEvent::AgentSaid { text, cut: false } if text.contains("being recorded")),
        );
        Some(ScenarioCheck::ensure("recorded only after the caller has heard so", is_announced, || {
            "it began before".to_owned()
        }))
    }

    pub(super) fn check_recording_steps(&self, wanted: &[&str]) -> ScenarioCheck {
        let done = self.events().filter_map(|event| match event {
            TranscriptEvent::RecordingRequested { step, status: 200 | 201 } => Some(*step),
            _ => None,
        });
        let done: Vec<&str> = done.collect();
        ScenarioCheck::ensure(format!("steps of the recording: {}", wanted.join(", ")), done == wanted, || {
            done.join(", ")
        })
    }
}
