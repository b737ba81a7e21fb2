//! What follows where the server gives a caller to a person: somebody takes over, or nobody does.

use std::time::Duration;

use super::twiml::PutThrough;
use super::{Connect, Relay};
use crate::simulator::tape::Event;

impl Relay {
    /// The caller is put through, and the verb's action is asked what comes next. A talk with a person is not played.
    pub(super) async fn put_through(&self, way: PutThrough) -> Result<Option<Connect>, String> {
        let nobody = self.twilio.nobody_answers();
        let (action, outcome) = match way {
            PutThrough::Dial { action } => (action, ("DialCallStatus", if nobody { "no-answer" } else { "completed" })),
            PutThrough::Enqueue { action, workflow, task } => {
                self.tape.write(Event::Queued { workflow, task });
                (action, ("QueueResult", if nobody { "leave" } else { "bridged" }))
            }
        };
        self.pace.pass(Duration::from_secs(20)).await;
        let (name, result) = outcome;
        let form = self.form("in-progress", &[(name, result.to_owned())]);
        let answer = self.webhooks.post(&action, &form, &format!("put-through-{result}")).await;
        let twiml = self.read("the action of a hand-off", &answer)?;
        let status = format!("handed off ({name}={result})");
        self.tape.write(Event::Action { status, verbs: twiml.told(), took: answer.took });
        twiml.connect().transpose()
    }
}
