//! `POST /connectConversationRelay`: the voice webhook. It responds with TwiML that opens a ConversationRelay session.

mod business_client;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use tokio::time::Instant;
use tracing::{info, warn};

use super::auth::call_webhook::CallWebhook;
use super::auth::twilio_signature::WebhookForm;
use super::{App, VoiceWebhook, twiml_response};
use crate::call_stage::CallStage;
use crate::ids::CallSid;
use crate::redact::bound_party;
use crate::relay::twiml::Verb;
use crate::session::BusinessLookup;
use crate::twilio::CallStatus;
use crate::usage_limits::{AdmissionError, CallerKey};
pub(super) use business_client::BusinessClient;
use business_client::{BusinessLookupError, IncomingCall};

/// How long a call counts that has got its TwiML and opens no session.
const CONNECT_WAIT: Duration = Duration::from_secs(60);

/// Responds with TwiML, or with 503 while the server drains, so that Twilio uses the fallback URL of the number. A
/// caller for whom there is no room hears so, and the call ends: a person who took over could be flooded as well.
pub(super) async fn post(
    State(app): State<App>,
    State(voice): State<Arc<VoiceWebhook>>,
    CallWebhook { call, form }: CallWebhook,
) -> Response {
    if app.turns_calls_away() {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    app.session.refresh_stage(&call).await;
    if is_replay(&app, &call, &form).await {
        app.session.admission.log_refusal("webhook", &"the voice webhook of a call that was connected or has ended");
        return StatusCode::CONFLICT.into_response();
    }
    app.session.calls.record_activity();
    record_attestation(&app, &call, &form);
    info!(event = "call.incoming", call_sid = %call, "A call comes in.");
    if let Err(error) = admit_call(&app, &call, &form) {
        app.session.usage.monitor.report(error.limit());
        return twiml_response(&voice.farewell_verbs(|messages| &messages.too_many_calls));
    }
    let relay = voice.conversation_relay(Vec::new(), voice.socket_tokens.for_call(&call, 0));
    app.session.prewarm_model(&relay.parameters);
    look_up_call_parameters(&app, &call, &form).await;
    app.session.share_call(&call).await;
    twiml_response(&[Verb::Connect { action: voice.action_url.clone(), relay }])
}

/// Returns whether the call is connected or has ended, or was connected and the webhook says that it rings. Only a replay says
/// so: its answer would have the token of a call that somebody else may listen for. A call that a person sends back to the
/// agent is in progress, and begins anew.
async fn is_replay(app: &App, call: &CallSid, form: &WebhookForm) -> bool {
    let Some(stage) = app.session.admission.stage(call, Instant::now()) else { return false };
    let is_sent_back =
        form.non_empty("CallStatus").and_then(|status| status.parse().ok()) == Some(CallStatus::InProgress);
    if stage == CallStage::Ended || !is_sent_back || app.session.is_live_anywhere(call).await {
        return true;
    }
    app.session.begin_anew(call).await;
    false
}

/// Counts a call that comes in, unless as many calls are live as the limits allow.
fn admit_call(app: &App, call: &CallSid, form: &WebhookForm) -> Result<(), AdmissionError> {
    let library = app.session.assets.library();
    let caller = form.non_empty("From").and_then(CallerKey::parse);
    app.session.usage.admissions.admit(call, caller, &library.server.usage_limits, CONNECT_WAIT, Instant::now())
}

/// Keeps what the network attests about the caller's number until the call connects. Without a known `StirVerstat` nothing
/// is known of it, and a full map forgets it.
pub(super) fn record_attestation(app: &App, call: &CallSid, form: &WebhookForm) {
    if let Some(attestation) = form.non_empty("StirVerstat").and_then(|word| word.parse().ok()) {
        let _ = app.session.pending_calls.record_attestation(call, attestation);
    }
}

/// Asks the business for the parameters of the call and keeps them until it connects. Without an answer the call goes
/// on without them; with `CALL_PARAMETERS=required` no payment then starts.
pub(super) async fn look_up_call_parameters(app: &App, call: &CallSid, form: &WebhookForm) {
    let Some(business) = &app.business else { return };
    let party = |name| bound_party(form.non_empty(name).unwrap_or_default());
    let incoming = IncomingCall { call_sid: call.as_str(), from: &party("From"), to: &party("To") };
    let due_required = app.session.environment.payment.due_required;
    let answer = match business.look_up(&incoming).await {
        Ok(parameters) => BusinessLookup::Parameters(parameters),
        Err(error) => {
            let payment_allowed = error != BusinessLookupError::InvalidAmountDue && !due_required;
            warn!(
                event = "call_parameters.unanswered",
                call_sid = %call,
                %error,
                payment_allowed,
                "CALL_PARAMETERS_URL gave no usable answer; the call goes on without its parameters."
            );
            match error {
                BusinessLookupError::InvalidAmountDue => BusinessLookup::InvalidAmountDue,
                _ if due_required => BusinessLookup::NoAnswer,
                // An earlier look-up of this call stays valid.
                _ => return,
            }
        }
    };
    if app.session.pending_calls.record_business_lookup(call, answer).is_err() {
        warn!(
            event = "call_parameters.not_kept",
            call_sid = %call,
            "Too many look-ups are kept; the call goes on without its parameters."
        );
    }
}
