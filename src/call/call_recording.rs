//! The recording of a call: it starts once the caller has heard that the call is recorded, is paused before a field of a card
//! or an account is captured, and goes on after the payment.
//!
//! A request that lets the caller enter a field is held until Twilio has confirmed that nothing is recorded. If Twilio does
//! not confirm it, the request is never sent, and the payment is given up.

use std::time::Instant;

use super::tool::{Tool, ToolOutcome};
use super::tool_calls::NOT_PAUSED;
use super::{Action, Call, ToolRunId, prompts};
use crate::ids::RecordingSid;
use crate::payment::{Capture, CaptureStage, NoticeKind, UpdateAction};
use crate::recording::{KnownRecording, RecordingAnswer, RecordingRequest, RecordingStage, RecordingStep};

/// The recording of one call.
#[derive(Default)]
pub(super) struct CallRecording {
    stage: RecordingStage,
    sid: Option<RecordingSid>,
    /// The step that Twilio is asked for.
    asked: Option<RecordingStep>,
    /// Twilio did not answer a start or a resumption, which may still happen: a pause before that would be undone. Only a
    /// recording that is stopped cannot go on.
    may_go_on: bool,
    /// Twilio was asked to stop it because of that, without success.
    has_tried_to_stop: bool,
    /// It is to go on once no field can be entered any more.
    is_resumption_owed: bool,
    /// Requests that wait until nothing is recorded.
    held: Vec<(ToolRunId, Tool)>,
}

impl CallRecording {
    fn apply(&mut self, step: RecordingStep, answer: &RecordingAnswer) {
        self.asked = None;
        self.stage = self.stage.after(step, answer);
        if let Some(sid) = answer.sid() {
            self.sid = Some(sid.clone());
        }
        match step {
            RecordingStep::Start | RecordingStep::Resume => {
                self.is_resumption_owed = false;
                self.may_go_on |= *answer == RecordingAnswer::Unknown;
            }
            // A pause that Twilio did not confirm may have happened.
            RecordingStep::Pause => {
                self.is_resumption_owed |= matches!(answer, RecordingAnswer::Done(_) | RecordingAnswer::Unknown);
            }
            RecordingStep::Stop => self.has_tried_to_stop = true,
        }
        // Nobody knows of a recording, and none is on its way.
        if *answer == RecordingAnswer::Gone && self.sid.is_none() && !self.may_go_on {
            self.stage = RecordingStage::Over;
        }
    }
}

impl Call {
    /// Learns how the recording of the call stands, which another server or an earlier session has begun.
    pub(super) fn restore_recording(&mut self, known: &KnownRecording) {
        if known.stage == RecordingStage::NotBegun || self.recording.stage != RecordingStage::NotBegun {
            return;
        }
        self.waive_announcement();
        self.recording.sid.clone_from(&known.sid);
        self.recording.is_resumption_owed = matches!(known.stage, RecordingStage::Paused | RecordingStage::Uncertain);
        if self.recording.is_resumption_owed {
            // Keys of a payment that is put away may still be coming.
            self.payment_window.record_closed(false, self.now);
        }
        // Whoever paused it may have let it go on, unless a payment is open that it was paused for.
        self.recording.stage = match known.stage {
            RecordingStage::Over => RecordingStage::Over,
            RecordingStage::Running => RecordingStage::Running,
            _ => RecordingStage::Uncertain,
        };
    }

    /// Learns that the payment is taken up for which the recording was paused, as its last server has recorded.
    pub(super) fn restore_pause(&mut self, known: &KnownRecording) {
        if known.stage == RecordingStage::Paused {
            self.recording.stage = RecordingStage::Paused;
        }
    }

    /// Holds a tool that lets the caller enter a field until nothing is recorded. Returns whether it is held.
    pub(super) fn hold_for_pause(&mut self, run: ToolRunId, tool: &Tool) -> bool {
        let asks_for_field = match tool {
            Tool::StartCapture(_) => true,
            Tool::UpdatePayment(update) => matches!(update.action, UpdateAction::Capture(_)),
            _ => false,
        };
        let is_held = asks_for_field && self.pauses_for_capture() && !self.is_silent();
        if is_held {
            self.recording.held.push((run, tool.clone()));
        }
        is_held
    }

    /// Asks for the next step of the recording, and runs what was held for it.
    pub(super) fn check_recording(&mut self) {
        if self.is_silent() {
            for (run, tool) in std::mem::take(&mut self.recording.held) {
                if self.is_still_wanted(&tool) {
                    self.emit(Action::RunTool { run, tool });
                } else {
                    self.finish_tool(run, ToolOutcome::NotPaused);
                }
            }
        }
        if let Some(step) = self.next_recording_step() {
            self.recording.asked = Some(step);
            self.emit(Action::ControlRecording(RecordingRequest { step, sid: self.recording.sid.clone() }));
        }
    }

    /// Applies how a step of the recording ended. Without a pause no field is entered.
    pub(super) fn apply_recording_answer(&mut self, step: RecordingStep, answer: &RecordingAnswer) {
        self.recording.apply(step, answer);
        if matches!(step, RecordingStep::Pause | RecordingStep::Stop) && !self.recording.stage.is_silent() {
            self.drop_held_tools();
            if self.may_field_be_open() {
                self.give_up_payment(NOT_PAUSED);
                self.note(format!("Payment update: {}", prompts::limit_exceeded(prompts::NOT_PAUSED)));
                self.record_unannounced_failure();
                self.turn.require_response();
            }
        }
    }

    /// Ends what is held: Twilio is not asked for it.
    pub(super) fn drop_held_tools(&mut self) {
        for (run, _) in std::mem::take(&mut self.recording.held) {
            self.finish_tool(run, ToolOutcome::NotPaused);
        }
    }

    /// Leaves the recording paused for good: Twilio did not confirm that a payment session is cancelled, so that a field may
    /// still be entered.
    pub(super) fn keep_recording_paused(&mut self) {
        self.recording.is_resumption_owed = false;
        if self.recording.stage == RecordingStage::NotBegun {
            self.recording.stage = RecordingStage::Over;
        }
    }

    /// When the recording may start or go on, if that waits for the last keys of a payment.
    pub(super) fn recording_deadline(&self) -> Option<Instant> {
        let is_waiting = self.recording.is_resumption_owed
            || self.recording.stage == RecordingStage::NotBegun && self.notices.is_heard(NoticeKind::Recording);
        self.payment_window.keys_end_at().filter(|end| *end > self.now && is_waiting && self.recording.asked.is_none())
    }

    fn next_recording_step(&self) -> Option<RecordingStep> {
        let recording = &self.recording;
        if recording.asked.is_some() {
            return None;
        }
        let is_pause_due = self.pauses_for_capture() && (!recording.held.is_empty() || self.may_field_be_open());
        let may_record = self.phase.is_live() && !self.is_field_possible();
        match recording.stage {
            RecordingStage::NotBegun => {
                let is_announced = self.settings.recording.is_some() && self.notices.is_heard(NoticeKind::Recording);
                (is_announced && may_record).then_some(RecordingStep::Start)
            }
            RecordingStage::Running | RecordingStage::Uncertain if is_pause_due && recording.may_go_on => {
                Some(RecordingStep::Stop)
            }
            RecordingStage::Running | RecordingStage::Uncertain if is_pause_due => Some(RecordingStep::Pause),
            RecordingStage::Running | RecordingStage::Over => None,
            RecordingStage::Uncertain if recording.may_go_on => {
                (!recording.has_tried_to_stop).then_some(RecordingStep::Stop)
            }
            RecordingStage::Paused | RecordingStage::Uncertain => {
                (recording.is_resumption_owed && may_record).then_some(RecordingStep::Resume)
            }
        }
    }

    fn pauses_for_capture(&self) -> bool {
        self.settings.recording.as_ref().is_none_or(|recording| recording.pauses_for_capture)
    }

    /// Whether the caller may be entering a field, and the recording is not paused yet: nothing asks for it before.
    pub(super) fn is_pause_awaited(&self) -> bool {
        self.pauses_for_capture() && self.may_field_be_open() && !self.is_silent()
    }

    /// Whether Twilio is asked for a step of the recording.
    pub(super) fn is_recording_changing(&self) -> bool {
        self.recording.asked.is_some()
    }

    /// Whether nothing is recorded, and nothing that is asked for changes that.
    fn is_silent(&self) -> bool {
        self.recording.stage.is_silent() && self.recording.asked.is_none()
    }

    /// Whether the caller may be entering a field of the open payment, or may soon.
    fn may_field_be_open(&self) -> bool {
        let is_open = |stage| matches!(stage, CaptureStage::Open | CaptureStage::Capturing { .. });
        self.payments.open().map(Capture::stage).is_some_and(is_open)
    }

    /// Whether keys of a card may be coming, or a payment is being opened, changed or cancelled.
    fn is_field_possible(&self) -> bool {
        let is_ending = self.payment_window.is_replaying(self.now) || self.is_entry_just_cut_off();
        self.payments.is_open() || is_ending || self.turn.is_payment_tool_running()
    }

    /// Whether the payment that a held request is about still needs it.
    fn is_still_wanted(&self, tool: &Tool) -> bool {
        let Some(capture) = self.payments.open() else { return false };
        match tool {
            Tool::UpdatePayment(update) => {
                capture.sid() == Some(&update.payment_sid) && capture.stage() != CaptureStage::Cancelling
            }
            _ => capture.stage() == CaptureStage::Opening,
        }
    }
}
