//! Runs the steps of the recording of a call beside the call, and stops the recording once the call has no agent any more.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::time::timeout;
use tracing::{Instrument as _, warn};

use super::SessionContext;
use super::tool_runner::{TOOL_TIMEOUT, ToolEvent, ToolRunner};
use crate::call::CallEvent;
use crate::ids::CallSid;
use crate::ledger::CallData;
use crate::recording::{KnownRecording, RecordingAnswer, RecordingRequest, RecordingStage, RecordingStep};
use crate::tools::{ToolContext, control_recording};

/// How long a webhook waits until a recording is stopped: the caller hears nothing meanwhile.
const STOP_TIMEOUT: Duration = Duration::from_secs(4);

impl ToolRunner {
    /// Asks for a step of the recording, and reports how it ended.
    pub(super) fn control_recording(&self, request: RecordingRequest) {
        let (context, events) = (self.context.clone(), self.events.clone());
        let work = async move {
            let asked = AssertUnwindSafe(control_recording(&context, &request)).catch_unwind();
            let answer = timeout(TOOL_TIMEOUT, asked).await.ok().and_then(Result::ok);
            let event =
                CallEvent::RecordingAnswered { step: request.step, answer: answer.unwrap_or(RecordingAnswer::Unknown) };
            // The receiver is closed only if the session task has ended.
            let _ = events.send(Box::new(ToolEvent { event, span: None })).await;
        };
        self.tasks.spawn(work.in_current_span());
    }
}

impl SessionContext {
    /// Stops the recording of a call, if it has one: a person takes over, whom nobody could keep from asking for a card.
    pub(crate) async fn stop_recording(&self, call: &CallSid) {
        let known = match self.ledger.find_recording(call).await {
            Ok(known) => known,
            // Whatever is recorded is stopped.
            Err(_) => KnownRecording { stage: RecordingStage::Uncertain, ..KnownRecording::default() },
        };
        if matches!(known.stage, RecordingStage::NotBegun | RecordingStage::Over) {
            return;
        }
        let context = ToolContext {
            twilio: self.twilio.clone(),
            taken_up: None,
            ledger: self.ledger.clone(),
            call: CallData::from_sid(call.clone()),
        };
        let request = RecordingRequest { step: RecordingStep::Stop, sid: known.sid };
        let work = async move { control_recording(&context, &request).await };
        let stopping = self.tasks.spawn(work.in_current_span());
        if timeout(STOP_TIMEOUT, stopping).await.is_err() {
            warn!(
                event = "recording.failed",
                step = RecordingStep::Stop.as_str(),
                answer = "late",
                "The recording is not stopped yet, and a person takes the call."
            );
        }
    }
}
