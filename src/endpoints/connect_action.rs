//! `POST /connectAction`: the session has ended, and Twilio asks what to do with the call.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::response::Response;
use serde_json::{Map, Value};
use tracing::{info, warn};
use url::form_urlencoded;

use super::connect_conversation_relay::ask_business;
use super::signed::{Form, Signed};
use super::{App, LiveAgent, Voice, twiml};
use crate::payment::PARAMETERS;
use crate::redact::json_without_card_numbers;
use crate::relay::RECONNECT;
use crate::relay::twiml::{Attributes, ConversationRelay, Verb};
use crate::session::{CONTEXT_KEY, Calls, MANIFEST_KEY, News};
use crate::twilio::CallStatus;

/// How often a call whose session failed is connected again.
const MAX_RECONNECTS: u32 = 3;

/// Under this name the count stands in the action's URL.
const RECONNECTS: &str = "reconnects";

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

/// What the action's URL carries from one session of a call to the next, whichever process is asked. Twilio signs the URL.
#[derive(Debug, Clone, Default)]
pub(super) struct Carried {
    reconnects: u32,
    context_key: Option<String>,
    manifest_key: Option<String>,
    /// How the call pays, if an order says so: the process that had it may be gone.
    terms: Attributes,
}

/// Parameters that stay out of a URL: the name of an account's holder, and what only the processor needs. A call that needs them takes no
/// payment after a crash.
const NOT_IN_A_URL: [&str; 2] = ["avsName", "paymentParameters"];

/// The longest parameter that is carried, in bytes.
const MAX_CARRIED: usize = 512;

/// Answers with TwiML; asked twice, it answers the same.
pub(super) async fn post(
    State(app): State<App>,
    State(voice): State<Arc<Voice>>,
    State(calls): State<Calls>,
    Query(query): Query<Attributes>,
    signed: Signed,
) -> Response {
    let carried = Carried::read(query);
    let ended = Ended::read(&signed.form);
    let reconnects = ended == Ended::SessionFailed && carried.reconnects < MAX_RECONNECTS;
    if let Some(call) = signed.form.filled("CallSid").and_then(|sid| sid.parse().ok()) {
        info!(%call, ended = ended.name(), reconnects, "a session has ended");
        if !reconnects {
            calls.deliver(&call, News::Over);
        } else if !calls.knows(&call) && signed.form.filled("Direction") == Some("inbound") {
            // What was known of it went with the process that had it.
            ask_business(&app, &call, &signed.form).await;
        }
    }
    twiml(&match ended {
        Ended::Call => Vec::new(),
        Ended::SessionFailed if reconnects => vec![voice.reconnect(&carried.again())],
        Ended::SessionFailed => voice.find_person(r#"{"reasonCode":"session-failed"}"#),
        Ended::HandedOff(data) => voice.find_person(&data),
        Ended::PersonUnreachable => voice.apology(),
        Ended::PersonSpoke | Ended::Session => vec![Verb::Hangup],
    })
}

impl Carried {
    /// For the first session of a call that was placed with these keys, and is to pay as these parameters of it say.
    pub(super) fn new(context_key: Option<String>, manifest_key: Option<String>, parameters: &Attributes) -> Self {
        let terms = parameters.iter().filter(|(name, value)| is_carried(name) && value.len() <= MAX_CARRIED);
        Self { reconnects: 0, context_key, manifest_key, terms: terms.cloned().collect() }
    }

    fn read(query: Attributes) -> Self {
        let mut carried = Self::default();
        for (name, value) in query {
            match name.as_str() {
                RECONNECTS => carried.reconnects = value.parse().unwrap_or(MAX_RECONNECTS),
                CONTEXT_KEY => carried.context_key = Some(value),
                MANIFEST_KEY => carried.manifest_key = Some(value),
                name if is_carried(name) => carried.terms.push((name.to_owned(), value)),
                _ => {}
            }
        }
        carried
    }

    /// The action's URL with all this in it.
    pub(super) fn action(&self, url: &str) -> String {
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(self.pairs()).finish();
        if query.is_empty() { url.to_owned() } else { format!("{url}?{query}") }
    }

    fn again(&self) -> Self {
        Self { reconnects: self.reconnects + 1, ..self.clone() }
    }

    fn pairs(&self) -> impl Iterator<Item = (&str, String)> {
        let reconnects = (self.reconnects > 0).then(|| self.reconnects.to_string());
        let pairs = [
            (RECONNECTS, reconnects),
            (CONTEXT_KEY, self.context_key.clone()),
            (MANIFEST_KEY, self.manifest_key.clone()),
        ];
        let terms = self.terms.iter().map(|(name, value)| (name.as_str(), value.clone()));
        pairs.into_iter().filter_map(|(name, value)| Some((name, value?))).chain(terms)
    }
}

fn is_carried(name: &str) -> bool {
    PARAMETERS.contains(&name) && !NOT_IN_A_URL.contains(&name)
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
    fn reconnect(&self, carried: &Carried) -> Verb {
        let mut relay: ConversationRelay = self.relay();
        relay.attributes.retain(|(name, _)| !name.starts_with("welcomeGreeting"));
        let own = carried.pairs().filter(|(name, _)| *name != RECONNECTS);
        let own: Attributes = own.map(|(name, value)| (name.to_owned(), value)).collect();
        relay.parameters.retain(|(name, _)| own.iter().all(|(own, _)| own != name));
        relay.parameters.extend(own);
        relay.parameters.push((RECONNECT.to_owned(), carried.reconnects.to_string()));
        Verb::Connect { action: carried.action(&self.action), relay }
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
