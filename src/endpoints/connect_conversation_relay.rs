//! `POST /connectConversationRelay`: a call came in; Twilio is told to open a ConversationRelay session.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use tracing::info;

use super::signed::Signed;
use super::{App, Voice, twiml};
use crate::relay::twiml::Verb;

/// Answers with TwiML, or 503 while the server drains, so that the number's fallback takes the call.
pub(super) async fn post(State(app): State<App>, State(voice): State<Arc<Voice>>, signed: Signed) -> Response {
    if app.draining.is_cancelled() {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    app.session.calls.stir();
    info!(call = signed.form.filled("CallSid").and_then(known_shape), "a call comes in");
    twiml(&[Verb::Connect { action: voice.action.clone(), relay: voice.relay() }])
}

/// The SID for the log, if it is fit for one.
fn known_shape(sid: &str) -> Option<tracing::field::DisplayValue<crate::sid::CallSid>> {
    sid.parse().ok().map(tracing::field::display)
}
