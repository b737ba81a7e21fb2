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
use crate::session::BusinessAnswer;
use crate::sid::CallSid;
pub(super) use business::Business;
use business::{IncomingCall, Unknown};

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

/// Keeps what the business answers about the call until it connects. Without an answer the call goes on all the same; where
/// the business has to say what is due, without a payment.
pub(super) async fn ask_business(app: &App, call: &CallSid, form: &Form) {
    let Some(business) = &app.business else { return };
    let party = |name| form.filled(name).unwrap_or_default();
    let incoming = IncomingCall { call_sid: call.as_str(), from: party("From"), to: party("To") };
    let due_required = app.session.environment.payment.due_required;
    let answer = match business.ask(&incoming).await {
        Ok(parameters) => BusinessAnswer::Parameters(parameters),
        Err(why) => {
            let pays = why != Unknown::BadDue && !due_required;
            warn!(
                event = "call_parameters.unanswered",
                %call,
                "CALL_PARAMETERS_URL {why}: the call goes on without its parameters{}",
                if pays { "" } else { ", and no payment starts on it" }
            );
            match why {
                Unknown::BadDue => BusinessAnswer::BadDue,
                _ if due_required => BusinessAnswer::Nothing,
                // What it answered before still counts.
                _ => return,
            }
        }
    };
    if app.session.requests.keep_answer(call, answer).is_err() {
        warn!(
            event = "call_parameters.not_kept",
            %call,
            "too many calls are kept in mind: the call goes on without its parameters"
        );
    }
}
