//! `POST /connectAction`: Twilio requests TwiML for a call whose session has ended.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value};
use tokio::time::Instant;
use tracing::{info, warn};
use url::form_urlencoded;

use super::auth::call_webhook::CallWebhook;
use super::auth::twilio_signature::WebhookForm;
use super::connect_conversation_relay::{look_up_call_parameters, record_attestation};
use super::{App, LiveAgent, VoiceWebhook, twiml_response};
use crate::call_identity::CHATFLOW_ID;
use crate::call_stage::CallStage;
use crate::ids::CallSid;
use crate::payment::PAYMENT_PARAMETERS;
use crate::redact::redact_json;
use crate::relay::RECONNECT;
use crate::relay::twiml::{Attributes, Verb};
use crate::session::{
    CALL_REFERENCE, CONTEXT_KEY, CallRegistry, MANIFEST_KEY, SessionContext, SessionMessage, is_moved,
};
use crate::socket_token::SessionNumber;
use crate::twilio::CallStatus;

/// How many times a call is reconnected after its session failed.
const MAX_RECONNECTS: SessionNumber = 3;

/// The query parameter of the action URL that counts the reconnects.
const RECONNECTS: &str = "reconnects";

/// The query parameter of the action URL that counts those of them for which a server was replaced.
const MOVES: &str = "moves";

/// What the action request reports.
#[derive(Debug, Clone, PartialEq, Eq)]
enum ConnectResult {
    /// The call has ended; the response does not matter.
    CallEnded,
    /// The session failed and the caller is still on the line.
    SessionFailed,
    /// The server that had the call drains, and another one goes on with it.
    Moved,
    /// The agent handed the call off to a person, with this hand-off data.
    HandedOff(String),
    /// The conversation with the person has ended.
    LiveAgentDone,
    /// No person could be reached.
    LiveAgentUnreachable,
    /// The session ended normally.
    SessionEnded,
}

/// The state in the query of the action URL, and of the URL of an order's TwiML. It passes from one session of a call
/// to the next, even to another process. Twilio's signature covers the URL.
#[derive(Debug, Clone, Default)]
pub(super) struct ActionState {
    /// The session that the action is about.
    reconnects: SessionNumber,
    /// How many of the sessions before it have ended because their server drained.
    moves: SessionNumber,
    context_key: Option<String>,
    manifest_key: Option<String>,
    /// The payment parameters of an outbound order, and its flow. They are here since the process that held the order
    /// may be gone.
    payment_parameters: Attributes,
}

/// Parameters that are not put into a URL: the name of an account holder, and data that only the processor needs. A
/// call that needs them takes no payment after a crash.
const EXCLUDED_PARAMETERS: [&str; 2] = ["avsName", "paymentParameters"];

/// The longest parameter value that is put into the action URL, in bytes.
const MAX_PARAMETER_BYTES: usize = 512;

/// Responds with TwiML. A repeated request gets the same response until a later session of the call was connected; then
/// 409.
pub(super) async fn post(
    State(app): State<App>,
    State(voice): State<Arc<VoiceWebhook>>,
    State(calls): State<CallRegistry>,
    Query(query): Query<Attributes>,
    CallWebhook { call, form }: CallWebhook,
) -> Response {
    let state = ActionState::from_query(query);
    let result = ConnectResult::from_form(&form);
    app.session.refresh_stage(&call).await;
    if result.is_unfinished() && is_replay(&app.session, &call, &state) {
        app.session.admission.log_refusal("webhook", &"the action of a session that a later one has replaced");
        return StatusCode::CONFLICT.into_response();
    }
    let has_failed_often = state.reconnects.saturating_sub(state.moves) >= MAX_RECONNECTS;
    // A server that has ended the call because it stops does not take it again.
    let is_stopped = app.turns_calls_away() && !calls.is_live(&call);
    let reconnects =
        result == ConnectResult::Moved || result == ConnectResult::SessionFailed && !has_failed_often && !is_stopped;
    info!(
        event = "twilio.connect_action",
        call_sid = %call,
        result = result.name(),
        reconnects,
        "Twilio requested the next TwiML of a call."
    );
    match &result {
        ConnectResult::SessionFailed | ConnectResult::Moved if reconnects => {}
        ConnectResult::SessionFailed | ConnectResult::HandedOff(_) => {
            app.session.record_stage(&call, CallStage::HandedOver).await;
            app.session.stop_recording(&call).await;
        }
        _ => app.session.record_stage(&call, CallStage::Ended).await,
    }
    if !reconnects {
        calls.deliver(&call, SessionMessage::CallEnded);
        app.session.put_away_ended(&call).await;
    } else if result == ConnectResult::SessionFailed
        && !calls.is_live(&call)
        && form.non_empty("Direction") == Some("inbound")
    {
        // The call's data was lost with the process that held it.
        record_attestation(&app, &call, &form);
        look_up_call_parameters(&app, &call, &form).await;
        app.session.share_call(&call).await;
    }
    twiml_response(&match result {
        ConnectResult::CallEnded => Vec::new(),
        ConnectResult::SessionFailed if reconnects => vec![voice.connect_verb(&call, &state.next_attempt(false))],
        ConnectResult::Moved => vec![voice.connect_verb(&call, &state.next_attempt(true))],
        ConnectResult::SessionFailed => voice.transfer_verbs(r#"{"reasonCode":"session-failed"}"#),
        ConnectResult::HandedOff(data) => voice.transfer_verbs(&data),
        ConnectResult::LiveAgentUnreachable => voice.no_agent_verbs(),
        ConnectResult::LiveAgentDone | ConnectResult::SessionEnded => vec![Verb::Hangup],
    })
}

/// Returns whether the session that has failed is over for good: a later one of the call was connected, or the call is over.
/// Only a replay says so, whose answer would have the token of a call that somebody else may listen for. A genuine request
/// is about the newest session, and may come before its socket is seen to be broken.
fn is_replay(context: &SessionContext, call: &CallSid, failed: &ActionState) -> bool {
    context.admission.stage(call, Instant::now()).is_some_and(|stage| CallStage::Connected(failed.reconnects) < stage)
}

impl ActionState {
    /// Creates the state for the first session of an outbound call with these keys and parameters.
    pub(super) fn new(context_key: Option<String>, manifest_key: Option<String>, parameters: &Attributes) -> Self {
        let payment_parameters =
            parameters.iter().filter(|(name, value)| is_url_parameter(name) && value.len() <= MAX_PARAMETER_BYTES);
        Self {
            reconnects: 0,
            moves: 0,
            context_key,
            manifest_key,
            payment_parameters: payment_parameters.cloned().collect(),
        }
    }

    /// Parses the query of a URL with this state.
    pub(super) fn from_query(query: Attributes) -> Self {
        let mut state = Self::default();
        for (name, value) in query {
            match name.as_str() {
                RECONNECTS => state.reconnects = value.parse().unwrap_or(MAX_RECONNECTS),
                MOVES => state.moves = value.parse().unwrap_or_default(),
                CONTEXT_KEY => state.context_key = Some(value),
                MANIFEST_KEY => state.manifest_key = Some(value),
                name if is_url_parameter(name) => state.payment_parameters.push((name.to_owned(), value)),
                _ => {}
            }
        }
        state
    }

    /// Whether the state is that of an order: each has a reference.
    pub(super) fn is_of_order(&self) -> bool {
        self.payment_parameters.iter().any(|(name, _)| name == CALL_REFERENCE)
    }

    /// Returns the URL with this state in its query.
    pub(super) fn to_url(&self, url: &str) -> String {
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(self.query_pairs()).finish();
        if query.is_empty() { url.to_owned() } else { format!("{url}?{query}") }
    }

    fn next_attempt(&self, has_moved: bool) -> Self {
        let moves = self.moves.saturating_add(has_moved.into());
        Self { reconnects: self.reconnects.saturating_add(1), moves, ..self.clone() }
    }

    fn query_pairs(&self) -> impl Iterator<Item = (&str, String)> {
        let reconnects = (self.reconnects > 0).then(|| self.reconnects.to_string());
        let moves = (self.moves > 0).then(|| self.moves.to_string());
        let pairs = [
            (RECONNECTS, reconnects),
            (MOVES, moves),
            (CONTEXT_KEY, self.context_key.clone()),
            (MANIFEST_KEY, self.manifest_key.clone()),
        ];
        let payment_parameters = self.payment_parameters.iter().map(|(name, value)| (name.as_str(), value.clone()));
        pairs.into_iter().filter_map(|(name, value)| Some((name, value?))).chain(payment_parameters)
    }
}

fn is_url_parameter(name: &str) -> bool {
    name == CHATFLOW_ID || PAYMENT_PARAMETERS.contains(&name) && !EXCLUDED_PARAMETERS.contains(&name)
}

impl ConnectResult {
    fn from_form(form: &WebhookForm) -> Self {
        if let Some(dialled) = form.non_empty("DialCallStatus") {
            return if matches!(dialled, "completed" | "answered") {
                Self::LiveAgentDone
            } else {
                Self::LiveAgentUnreachable
            };
        }
        if let Some(queued) = form.non_empty("QueueResult") {
            return if matches!(queued, "bridged" | "hangup") {
                Self::LiveAgentDone
            } else {
                Self::LiveAgentUnreachable
            };
        }
        let call_over = form.non_empty("CallStatus").and_then(|status| status.parse::<CallStatus>().ok());
        match (call_over.is_some_and(|status| status.is_terminal()), form.non_empty("HandoffData")) {
            (true, _) => Self::CallEnded,
            (_, Some(data)) if is_moved(data) => Self::Moved,
            (_, Some(data)) => Self::HandedOff(redact_json(data).into_owned()),
            _ if form.non_empty("SessionStatus") == Some("failed") => Self::SessionFailed,
            _ => Self::SessionEnded,
        }
    }

    /// Whether the call goes on without a person, if it may be connected again.
    fn is_unfinished(&self) -> bool {
        matches!(self, Self::SessionFailed | Self::Moved)
    }

    /// Returns the name for the log, without the hand-off data.
    fn name(&self) -> &'static str {
        match self {
            Self::CallEnded => "call ended",
            Self::SessionFailed => "session failed",
            Self::Moved => "moved",
            Self::HandedOff(_) => "handed off",
            Self::LiveAgentDone => "live agent done",
            Self::LiveAgentUnreachable => "live agent unreachable",
            Self::SessionEnded => "session ended",
        }
    }
}

impl VoiceWebhook {
    /// Builds the verb that connects a call with what the state holds: again, then without the greeting, or for the
    /// first time.
    pub(super) fn connect_verb(&self, call: &CallSid, state: &ActionState) -> Verb {
        let own = state.query_pairs().filter(|(name, _)| ![RECONNECTS, MOVES].contains(name));
        let mut own: Attributes = own.map(|(name, value)| (name.to_owned(), value)).collect();
        if state.reconnects > 0 {
            own.push((RECONNECT.to_owned(), state.reconnects.to_string()));
        }
        let mut relay = self.conversation_relay(own, self.socket_tokens.for_call(call, state.reconnects));
        if state.is_of_order() {
            self.greet_as_caller(&mut relay);
        }
        relay.attributes.retain(|(name, _)| state.reconnects == 0 || !name.starts_with("welcomeGreeting"));
        Verb::Connect { action: state.to_url(&self.action_url), relay }
    }

    /// Builds the verbs that transfer the caller to a person, with the agent's hand-off data.
    fn transfer_verbs(&self, data: &str) -> Vec<Verb> {
        let action = self.action_url.clone();
        match &self.live_agent {
            Some(LiveAgent::Workflow(workflow)) => {
                vec![Verb::Enqueue { action, workflow: workflow.clone(), task: task_attributes(data) }]
            }
            Some(LiveAgent::Number(number)) => vec![Verb::Dial { action, number: number.as_str().to_owned() }],
            None => {
                warn!(
                    event = "call.no_live_agent",
                    "The caller needs a person: set LIVE_AGENT_NUMBER or LIVE_AGENT_WORKFLOW_SID."
                );
                self.no_agent_verbs()
            }
        }
    }

    /// Builds the verbs for a caller whom no person can take.
    fn no_agent_verbs(&self) -> Vec<Verb> {
        let text = self.assets.library().server.messages.no_agent.clone();
        vec![Verb::Say { language: None, text }, Verb::Hangup]
    }
}

/// Returns the attributes of a task. They must be a JSON object, so other data is wrapped in one.
fn task_attributes(data: &str) -> String {
    let attributes = serde_json::from_str::<Map<String, Value>>(data);
    let attributes = attributes.unwrap_or_else(|_| Map::from_iter([("handoffData".to_owned(), Value::from(data))]));
    Value::Object(attributes).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flow_of_an_order_is_kept_when_its_call_is_connected_again() {
        let parameters = [("chatflowId", "f-2"), ("amountDue", "25.00"), ("avsName", "Ann"), ("colour", "red")];
        let parameters = parameters.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let url = ActionState::new(None, None, &parameters.into()).to_url("https://pay.example.com/connectAction");
        assert_eq!(url, "https://pay.example.com/connectAction?chatflowId=f-2&amountDue=25.00");
    }

    #[test]
    fn task_attributes_are_a_json_object_for_any_hand_off_data() {
        assert_eq!(task_attributes(r#"{"reasonCode":"x"}"#), r#"{"reasonCode":"x"}"#);
        for odd in ["", "[1]", "plain words", "\"text\""] {
            assert!(serde_json::from_str::<Map<String, Value>>(&task_attributes(odd)).is_ok(), "{odd}");
        }
    }
}
