//! `POST /connectConversationRelay`: a call came in; Twilio is told to open a ConversationRelay session.

mod business;

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use tracing::{info, warn};

use super::signed::{Form, Signed};
use super::{App, Voice, twiml};
use crate::relay::twiml::Verb;
use crate::sid::CallSid;
pub(super) use business::Business;
use business::IncomingCall;

/// Answers with TwiML, or 503 while the server drains, so that the number's fallback takes the call.
pub(super) async fn post(State(app): State<App>, State(voice): State<Arc<Voice>>, signed: Signed) -> Response {
    if app.draining.is_cancelled() {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    app.session.calls.stir();
    let call = signed.form.filled("CallSid").and_then(|sid| sid.parse().ok());
    info!(call = call.as_ref().map(tracing::field::display::<&CallSid>), "a call comes in");
    if let Some(call) = &call {
        ask_business(&app, call, &signed.form).await;
    }
    twiml(&[Verb::Connect { action: voice.action.clone(), relay: voice.relay() }])
}

/// Keeps what the business knows of the call until it connects. Without it the call goes on all the same.
pub(super) async fn ask_business(app: &App, call: &CallSid, form: &Form) {
    let Some(business) = &app.business else { return };
    let party = |name| form.filled(name).unwrap_or_default();
    let incoming = IncomingCall { call_sid: call.as_str(), from: party("From"), to: party("To") };
    match business.ask(&incoming).await {
        Ok(parameters) => {
            if app.session.requests.keep_parameters(call, parameters).is_err() {
                warn!(%call, "too many calls are kept in mind: the call goes on without its parameters");
            }
        }
        Err(why) => warn!(%call, "CALL_PARAMETERS_URL {why}: the call goes on without its parameters"),
    }
}
