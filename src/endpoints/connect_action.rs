//! `POST /connectAction`: the session has ended, and Twilio asks what to do with the call.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Map, Value};
use tracing::{info, warn};

use super::signed::{Form, Signed};
use super::{LiveAgent, Voice, twiml};
use crate::redact::json_without_card_numbers;
use crate::relay::RECONNECT;
use crate::relay::twiml::{ConversationRelay, Verb};
use crate::session::{Calls, News};
use crate::twilio::CallStatus;

/// How often a call whose session failed is connected again. The count stands in the action's URL, so that it holds
/// whichever process is asked.
const MAX_RECONNECTS: u32 = 3;

/// What Twilio asks about.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Ended {
    /// The caller is gone: nothing that is answered matters.
    Call,
    /// The session failed and the caller is still there.
    SessionFailed,
    /// The agent wants a person to take over, and this is for the person.
    HandedOff(String),
    /// The person hung up: the conversation is over.
    PersonSpoke,
    /// No person could be reached.
    PersonUnreachable,
    /// The session ended as it should.
    Session,
}

/// What the action's URL carries.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Counted {
    reconnects: u32,
}

/// Answers with TwiML; asked twice, it answers the same.
pub(super) async fn post(
    State(voice): State<Arc<Voice>>,
    State(calls): State<Calls>,
    Query(counted): Query<Counted>,
    signed: Signed,
) -> Response {
    let ended = Ended::read(&signed.form);
    let reconnects = ended == Ended::SessionFailed && counted.reconnects < MAX_RECONNECTS;
    if let Some(call) = signed.form.filled("CallSid").and_then(|sid| sid.parse().ok()) {
        info!(%call, ended = ended.name(), reconnects, "a session has ended");
        if !reconnects {
            calls.deliver(&call, News::Over);
        }
    }
    twiml(&match ended {
        Ended::Call => Vec::new(),
        Ended::SessionFailed if reconnects => vec![voice.reconnect(counted.reconnects + 1)],
        Ended::SessionFailed => voice.find_person(r#"{"reasonCode":"session-failed"}"#),
        Ended::HandedOff(data) => voice.find_person(&data),
        Ended::PersonUnreachable => voice.apology(),
        Ended::PersonSpoke | Ended::Session => vec![Verb::Hangup],
    })
}

impl Ended {
    fn read(form: &Form) -> Self {
        if let Some(dialled) = form.filled("DialCallStatus") {
            return if matches!(dialled, "completed" | "answered") {
                Self::PersonSpoke
            } else {
                Self::PersonUnreachable
            };
        }
        if let Some(queued) = form.filled("QueueResult") {
            return if matches!(queued, "bridged" | "hangup") { Self::PersonSpoke } else { Self::PersonUnreachable };
        }
        let call_over = form.filled("CallStatus").and_then(|status| status.parse::<CallStatus>().ok());
        match (call_over.is_some_and(|status| status.is_terminal()), form.filled("HandoffData")) {
            (true, _) => Self::Call,
            (_, Some(data)) => Self::HandedOff(json_without_card_numbers(data).into_owned()),
            _ if form.filled("SessionStatus") == Some("failed") => Self::SessionFailed,
            _ => Self::Session,
        }
    }

    /// For the log: without what the agent wrote for the person.
    fn name(&self) -> &'static str {
        match self {
            Self::Call => "call over",
            Self::SessionFailed => "session failed",
            Self::HandedOff(_) => "handed off",
            Self::PersonSpoke => "person spoke",
            Self::PersonUnreachable => "person unreachable",
            Self::Session => "session over",
        }
    }
}

impl Voice {
    /// The same session once more, without the greeting.
    fn reconnect(&self, reconnects: u32) -> Verb {
        let mut relay: ConversationRelay = self.relay();
        relay.attributes.retain(|(name, _)| !name.starts_with("welcomeGreeting"));
        relay.parameters.push((RECONNECT.to_owned(), reconnects.to_string()));
        Verb::Connect { action: format!("{}?reconnects={reconnects}", self.action), relay }
    }

    /// Puts the caller through to a person, with what the agent wrote down.
    fn find_person(&self, data: &str) -> Vec<Verb> {
        let action = self.action.clone();
        match &self.live_agent {
            Some(LiveAgent::Workflow(workflow)) => {
                vec![Verb::Enqueue { action, workflow: workflow.clone(), task: task(data) }]
            }
            Some(LiveAgent::Number(number)) => vec![Verb::Dial { action, number: number.as_str().to_owned() }],
            None => {
                warn!("a caller needs a person: set LIVE_AGENT_NUMBER or LIVE_AGENT_WORKFLOW_SID");
                self.apology()
            }
        }
    }

    fn apology(&self) -> Vec<Verb> {
        vec![Verb::Say(self.no_agent()), Verb::Hangup]
    }
}

/// The attributes of a task are a JSON object; anything else would be refused.
fn task(data: &str) -> String {
    let attributes = serde_json::from_str::<Map<String, Value>>(data);
    let attributes = attributes.unwrap_or_else(|_| Map::from_iter([("handoffData".to_owned(), Value::from(data))]));
    Value::Object(attributes).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_a_json_object_whatever_was_handed_over() {
        assert_eq!(task(r#"{"reasonCode":"x"}"#), r#"{"reasonCode":"x"}"#);
        for odd in ["", "[1]", "plain words", "\"text\""] {
            assert!(serde_json::from_str::<Map<String, Value>>(&task(odd)).is_ok(), "{odd}");
        }
    }
}
