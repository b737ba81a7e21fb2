//! Records the steps of the recording of a call: what Twilio is asked for, before it is, and its answers.

use serde::Deserialize;
use serde_json::json;

use super::orders::write_call_event;
use super::{CallData, EventRecord, Ledger, LedgerError, LedgerRecord, LedgerTransaction, RecordRequestError};
use crate::ids::{CallSid, RecordingSid};
use crate::recording::{KnownRecording, RecordingAnswer, RecordingStep};

/// The kind of the steps of a recording among the events of a call.
pub(super) const RECORDING_KIND: &str = "recording";

impl Ledger {
    /// Records that Twilio is about to be asked for a step. It may be asked only after this has succeeded, except to pause or
    /// to stop. `false`: the recording of the call was begun before, and begins once.
    pub async fn record_recording_request(
        &self,
        call: &CallData,
        step: RecordingStep,
    ) -> Result<bool, RecordRequestError> {
        let mut writing = self.begin_decision().await?;
        let asked = self.track_refused_write(write_request(&mut writing, call, step).await)?;
        writing.commit().await?;
        Ok(asked)
    }

    /// Records how a step ended.
    pub async fn record_recording_answer(
        &self,
        call: &CallSid,
        step: RecordingStep,
        answer: &RecordingAnswer,
    ) -> Result<(), LedgerError> {
        self.write_or_buffer(LedgerRecord::RecordingStep(call.clone(), step, answer.clone())).await.map(drop)
    }

    /// What is known of the recording of a call, except whether it was announced.
    pub async fn find_recording(&self, call: &CallSid) -> Result<KnownRecording, LedgerError> {
        Ok(read_steps(&self.statements(call).await?))
    }
}

async fn write_request(
    writing: &mut LedgerTransaction,
    call: &CallData,
    step: RecordingStep,
) -> Result<bool, RecordRequestError> {
    let sid = &call.call_sid;
    writing.lock_call(sid).await?;
    writing.check_claim(sid, call.claim.as_ref()).await?;
    if step == RecordingStep::Start {
        let known = sqlx::query_scalar("SELECT count(*) FROM call_events WHERE call_sid = $1 AND kind = $2");
        let known: i64 = known
            .bind(sid.as_str())
            .bind(RECORDING_KIND)
            .fetch_one(&mut writing.transaction)
            .await
            .map_err(LedgerError::from)?;
        if known > 0 {
            return Ok(false);
        }
    }
    write_step(writing, sid, step, None).await?;
    Ok(true)
}

/// Writes a step; without an answer, that Twilio is about to be asked.
pub(super) async fn write_step(
    writing: &mut LedgerTransaction,
    call: &CallSid,
    step: RecordingStep,
    answer: Option<&RecordingAnswer>,
) -> Result<(), LedgerError> {
    let data = json!({
        "step": step.as_str(),
        "answer": answer.map_or(ASKED, RecordingAnswer::as_str),
        "recordingSid": answer.and_then(RecordingAnswer::sid).map(RecordingSid::as_str),
        "code": answer.and_then(RecordingAnswer::code),
    });
    write_call_event(writing, call, RECORDING_KIND, data).await
}

/// `answer` of a step that Twilio is about to be asked for.
const ASKED: &str = "asked";

/// A step as it was recorded.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RecordedStep {
    step: String,
    answer: String,
    recording_sid: Option<RecordingSid>,
    code: Option<u32>,
}

/// Reads the steps among the events of a call. What another version has written leaves the recording in doubt.
pub(super) fn read_steps(events: &[EventRecord]) -> KnownRecording {
    let mut known = KnownRecording::default();
    for event in events.iter().filter(|event| event.kind == RECORDING_KIND) {
        let read = serde_json::from_str::<RecordedStep>(event.data.get()).ok();
        let step = read.as_ref().and_then(|read| RecordingStep::from_stored(&read.step));
        let answer = read.and_then(|read| match read.answer.as_str() {
            "done" => Some(RecordingAnswer::Done(read.recording_sid)),
            "refused" => Some(RecordingAnswer::Refused { code: read.code }),
            "gone" => Some(RecordingAnswer::Gone),
            _ => None,
        });
        match step {
            Some(step) => known.record(step, answer.as_ref()),
            None => known.record(RecordingStep::Pause, None),
        }
    }
    known
}
