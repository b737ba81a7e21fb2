//! Simulates a hand-off to a live agent, who answers or does not.

use std::time::Duration;

use super::twiml::HandOffVerb;
use super::{ConnectVerb, ScriptedRelay};
use crate::simulator::transcript::TranscriptEvent;

impl ScriptedRelay {
    /// Runs the hand-off and requests the verb's action. The conversation with the live agent is not simulated.
    pub(super) async fn run_hand_off(&self, way: HandOffVerb) -> Result<Option<ConnectVerb>, String> {
        let nobody = self.twilio.is_hand_off_unanswered();
        let (action, outcome) = match way {
            HandOffVerb::Dial { action } => {
                (action, ("DialCallStatus", if nobody { "no-answer" } else { "completed" }))
            }
            HandOffVerb::Enqueue { action, workflow, task } => {
                self.transcript.record(TranscriptEvent::CallerQueued { workflow, task });
                (action, ("QueueResult", if nobody { "leave" } else { "bridged" }))
            }
        };
        self.pace.sleep(Duration::from_secs(20)).await;
        let (name, result) = outcome;
        let form = self.voice_form("in-progress", &[(name, result.to_owned())]);
        let answer = self.webhooks.post(&action, &form, &format!("put-through-{result}")).await;
        let twiml = self.read_twiml("the action of a hand-off", &answer)?;
        let status = format!("handed off ({name}={result})");
        self.transcript.record(TranscriptEvent::ActionAnswered {
            status,
            verbs: twiml.describe_verbs(),
            took: answer.elapsed,
        });
        twiml.connect().transpose()
    }
}
