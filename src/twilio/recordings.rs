//! The Recordings subresource of a call: starts, pauses, resumes and stops its recording.

use serde::Deserialize;

use super::client::TwilioClient;
use super::error::{TwilioError, UnknownOutcomeCause};
use super::rest::RetryPolicy;
use crate::ids::{CallSid, RecordingSid};
use crate::recording::{RecordingAnswer, RecordingRequest, RecordingStep};
use crate::telemetry::TwilioOperation;

/// The name of the recording that a call has now.
const CURRENT: &str = "Twilio.CURRENT";

impl TwilioClient {
    /// Asks for a step of the recording of a call, which must be in progress. It is done only if Twilio names the state that
    /// was asked for.
    pub async fn control_recording(&self, call: &CallSid, request: &RecordingRequest) -> RecordingAnswer {
        let answer = match request.step {
            RecordingStep::Start => self.start_recording(call).await.map(|sid| RecordingAnswer::Done(Some(sid))),
            step => self.change_recording(call, request.sid.as_ref(), step).await,
        };
        answer.unwrap_or_else(|error| match error {
            error if error.is_gone() => RecordingAnswer::Gone,
            TwilioError::Unknown(_) => RecordingAnswer::Unknown,
            error => RecordingAnswer::Refused { code: error.code() },
        })
    }

    /// Starts a recording. Twilio supports no idempotency key here.
    async fn start_recording(&self, call: &CallSid) -> Result<RecordingSid, TwilioError> {
        let body = self
            .post(
                TwilioOperation::CreateRecording,
                &["Calls", call.as_str(), "Recordings.json"],
                &[("RecordingChannels", "dual")],
                RetryPolicy::IfNotProcessed,
            )
            .await?;
        let created: CreatedRecording =
            serde_json::from_slice(&body).map_err(|_| TwilioError::Unknown(UnknownOutcomeCause::UnreadableResponse))?;
        Ok(created.sid)
    }

    async fn change_recording(
        &self,
        call: &CallSid,
        sid: Option<&RecordingSid>,
        step: RecordingStep,
    ) -> Result<RecordingAnswer, TwilioError> {
        let recording = format!("{}.json", sid.map_or(CURRENT, RecordingSid::as_str));
        let path = ["Calls", call.as_str(), "Recordings", &recording];
        let (form, retry, wanted): (&[(&str, &str)], _, &[&str]) = match step {
            // Nothing of the pause is in the file.
            RecordingStep::Pause => {
                (&[("Status", "paused"), ("PauseBehavior", "skip")], RetryPolicy::Always, &["paused"])
            }
            // A retry that arrives late must not undo a pause that came in between.
            RecordingStep::Start | RecordingStep::Resume => {
                (&[("Status", "in-progress")], RetryPolicy::IfNotProcessed, &["in-progress"])
            }
            RecordingStep::Stop => {
                (&[("Status", "stopped")], RetryPolicy::Always, &["stopped", "processing", "completed"])
            }
        };
        let body = self.post(TwilioOperation::UpdateRecording, &path, form, retry).await?;
        let changed: ChangedRecording = serde_json::from_slice(&body).unwrap_or_default();
        let is_done = wanted.contains(&changed.status.as_str());
        Ok(if is_done { RecordingAnswer::Done(changed.sid) } else { RecordingAnswer::Unknown })
    }
}

/// The used member of the response to a create request.
#[derive(Deserialize)]
struct CreatedRecording {
    sid: RecordingSid,
}

/// The used members of the response to an update request.
#[derive(Default, Deserialize)]
#[serde(default)]
struct ChangedRecording {
    sid: Option<RecordingSid>,
    status: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::twilio::stand_in::{ScriptedAnswer, start_twilio};

    async fn ask(step: RecordingStep, sid: Option<&str>, answers: &[ScriptedAnswer]) -> (Vec<String>, RecordingAnswer) {
        let (twilio, client) = start_twilio(answers).await;
        let request = RecordingRequest { step, sid: sid.map(|sid| sid.parse().unwrap()) };
        let answer = client.control_recording(&"CA7".parse().unwrap(), &request).await;
        let requests = twilio.requests();
        let asked = requests.iter().map(|request| {
            let path = request.path.strip_prefix("/2010-04-01/Accounts/AC1/Calls/CA7/Recordings").unwrap();
            format!("{path} {}", request.body)
        });
        (asked.collect(), answer)
    }

    #[tokio::test]
    async fn each_step_is_one_request() {
        let sid: RecordingSid = "RE5".parse().unwrap();
        let named = RecordingAnswer::Done(Some(sid));
        let started = ask(RecordingStep::Start, None, &[(201, "", r#"{"sid":"RE5","status":"in-progress"}"#)]).await;
        assert_eq!(started, (vec![".json RecordingChannels=dual".to_owned()], named.clone()));
        for (step, sid, status, request) in [
            (RecordingStep::Pause, Some("RE5"), "paused", "/RE5.json Status=paused&PauseBehavior=skip"),
            (RecordingStep::Pause, None, "paused", "/Twilio.CURRENT.json Status=paused&PauseBehavior=skip"),
            (RecordingStep::Resume, Some("RE5"), "in-progress", "/RE5.json Status=in-progress"),
            (RecordingStep::Stop, Some("RE5"), "stopped", "/RE5.json Status=stopped"),
        ] {
            let body = format!(r#"{{"sid":"RE5","status":"{status}"}}"#);
            let changed = ask(step, sid, &[(200, "", &*body.leak())]).await;
            assert_eq!(changed, (vec![request.to_owned()], named.clone()));
        }
    }

    #[tokio::test]
    async fn a_pause_is_confirmed_by_its_state_alone() {
        for body in ["", "{}", r#"{"status":"in-progress"}"#, "no JSON"] {
            let (_, answer) = ask(RecordingStep::Pause, Some("RE5"), &[(200, "", body)]).await;
            assert_eq!(answer, RecordingAnswer::Unknown, "{body}");
        }
        let (asked, answer) = ask(RecordingStep::Pause, Some("RE5"), &[(500, "", ""); 3]).await;
        assert_eq!((asked.len(), answer), (3, RecordingAnswer::Unknown));
        let refused = (400, "", r#"{"code":21218}"#);
        let (_, answer) = ask(RecordingStep::Pause, Some("RE5"), &[refused]).await;
        assert_eq!(answer, RecordingAnswer::Refused { code: Some(21218) });
        let (_, answer) = ask(RecordingStep::Pause, None, &[(404, "", r#"{"code":20404}"#)]).await;
        assert_eq!(answer, RecordingAnswer::Gone);
    }

    #[tokio::test]
    async fn what_may_have_been_done_is_not_begun_or_resumed_again() {
        for step in [RecordingStep::Start, RecordingStep::Resume] {
            let (asked, answer) = ask(step, None, &[(503, "", ""), (200, "", r#"{"sid":"RE5"}"#)]).await;
            assert_eq!((asked.len(), answer), (1, RecordingAnswer::Unknown), "{step:?}");
        }
    }
}
