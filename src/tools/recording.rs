//! The recording of a call: asks Twilio for one step of it. No tool of the model: the call itself decides.

use tracing::{error, info, warn};

use super::ToolContext;
use crate::ledger::RecordRequestError;
use crate::recording::{RecordingAnswer, RecordingRequest, RecordingStep};

/// Asks Twilio for a step. It is recorded in the ledger first, and how it ended after that.
///
/// A recording starts, or goes on, only if that is recorded, and only on the server that has the call. To pause or to stop it
/// needs no ledger.
pub(crate) async fn control_recording(context: &ToolContext, request: &RecordingRequest) -> RecordingAnswer {
    let (step, call) = (request.step, &context.call);
    match context.ledger.record_recording_request(call, step).await {
        Ok(true) => {}
        Ok(false) => return RecordingAnswer::AlreadyBegun,
        Err(error @ RecordRequestError::Elsewhere) => return log_unasked(step, &error),
        Err(error) if matches!(step, RecordingStep::Pause | RecordingStep::Stop) => log_lost(step, &error),
        Err(error) => return log_unasked(step, &error),
    }
    let answer = context.twilio.control_recording(&call.call_sid, request).await;
    if let Err(error) = context.ledger.record_recording_answer(&call.call_sid, step, &answer).await {
        log_lost(step, &error);
    }
    let sid = answer.sid().or(request.sid.as_ref()).map(ToString::to_string);
    if let RecordingAnswer::Done(_) = answer {
        info!(
            event = "recording.step",
            step = step.as_str(),
            recording_sid = sid,
            "Twilio has confirmed a step of the recording."
        );
    } else {
        warn!(
            event = "recording.failed",
            step = step.as_str(),
            answer = answer.as_str(),
            error_code = answer.code(),
            recording_sid = sid,
            "Twilio has not confirmed a step of the recording."
        );
    }
    answer
}

fn log_unasked(step: RecordingStep, error: &RecordRequestError) -> RecordingAnswer {
    warn!(
        event = "recording.failed",
        step = step.as_str(),
        answer = "unasked",
        %error,
        "Twilio was not asked for a step of the recording, since it could not be recorded."
    );
    RecordingAnswer::Refused { code: None }
}

fn log_lost(step: RecordingStep, error: &dyn std::error::Error) {
    error!(
        event = "ledger.recording_step_lost",
        step = step.as_str(),
        error = %error,
        "A step of the recording could be neither written nor buffered."
    );
}
