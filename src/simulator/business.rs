//! Simulates the business that owns the number over real HTTP: answers look-ups about calls and receives payment
//! notifications. It accepts correctly signed requests only.

mod own_tool;
mod tool_server;

pub(super) use own_tool::OwnTool;
pub use tool_server::ScriptedToolServer;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde::Deserialize;
use serde_json::Value;

use super::transcript::{Transcript, TranscriptEvent};
use super::twilio::{PAYMENT_TOKEN, call_number};
use crate::signing::{SIGNATURE_HEADER, SigningSecrets, TIMESTAMP_HEADER};
use own_tool::{FIND_INVOICE_PATH, INVOICE, call_result, listed_tool};

/// The secret with which requests to the business are signed.
pub(super) const WEBHOOK_SECRET: &str = "simulated-webhook-secret";
/// The path of look-ups about calls.
pub(super) const CALLS_PATH: &str = "/calls";
/// The path of payment notifications.
pub(super) const PAYMENTS_PATH: &str = "/payments";

/// The accepted age of a timestamp, in seconds: clock difference and transfer time.
const TIMESTAMP_TOLERANCE: u64 = 300;

/// The name of the call parameter by which the scripted model tells one call from another.
pub(super) const CALL_NUMBER_PARAMETER: &str = "line";

/// The scripted business.
#[derive(Debug, Clone)]
pub(super) struct ScriptedBusiness(Arc<BusinessState>);

#[derive(Debug)]
struct BusinessState {
    /// The response to a look-up about a call, as JSON.
    call_parameters: &'static str,
    /// How it offers its own tool.
    own_tool: Option<OwnTool>,
    /// Whether its own tool was called. A second call is a violation.
    is_looked_up: AtomicBool,
    transcript: Transcript,
}

/// The fields of a payment notification that the checks use.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PaymentNotice {
    id: String,
    state: String,
    payment_token: Option<String>,
}

/// The fields of `call.ended` that are checked.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CallEndNotice {
    event_id: String,
    call_sid: String,
    direction: String,
    started_at: jiff::Timestamp,
    ended_at: jiff::Timestamp,
    seconds: i64,
    reason: String,
    conversation_summary: Option<String>,
    payments: Vec<PaymentOfCall>,
}

/// A payment in `call.ended`.
#[derive(Deserialize)]
struct PaymentOfCall {
    id: String,
    state: String,
}

impl ScriptedBusiness {
    /// Creates a business that answers this JSON object for every call.
    pub(super) fn new(knows: &'static str, own_tool: Option<OwnTool>, transcript: Transcript) -> Self {
        Self(Arc::new(BusinessState {
            call_parameters: knows,
            own_tool,
            is_looked_up: AtomicBool::new(false),
            transcript,
        }))
    }

    /// Builds the router.
    pub(super) fn router(self) -> Router {
        let tools = ScriptedToolServer::new(WEBHOOK_SECRET, true, &[listed_tool()], call_result());
        Router::new()
            .route(CALLS_PATH, post(answer_call_query))
            .route(PAYMENTS_PATH, post(receive_payment))
            .route(FIND_INVOICE_PATH, post(find_invoice))
            .with_state(self)
            .merge(tools.router())
    }

    /// Whether a request has a valid signature and timestamp. Recorded as a violation otherwise.
    fn verify_request(&self, headers: &HeaderMap, body: &[u8]) -> bool {
        let wrong = check_signature(WEBHOOK_SECRET, headers, body).err();
        if let Some(how) = wrong {
            self.0.transcript.record_violation(format!("the business got a request {how}"));
        }
        wrong.is_none()
    }
}

fn check_signature(secret: &str, headers: &HeaderMap, body: &[u8]) -> Result<(), &'static str> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let timestamp = text(TIMESTAMP_HEADER).and_then(|text| text.parse::<u64>().ok()).ok_or("without a timestamp")?;
    let now = u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or_default();
    if now.abs_diff(timestamp) > TIMESTAMP_TOLERANCE {
        return Err("with a timestamp outside the tolerance");
    }
    let signature = text(SIGNATURE_HEADER).ok_or("without a signature")?;
    let genuine = SigningSecrets::from(secret).verify(timestamp, body, signature);
    genuine.then_some(()).ok_or("with a wrong signature")
}

async fn answer_call_query(State(business): State<ScriptedBusiness>, headers: HeaderMap, body: Bytes) -> Response {
    if !business.verify_request(&headers, &body) {
        return StatusCode::FORBIDDEN.into_response();
    }
    let call: Value = serde_json::from_slice(&body).unwrap_or_default();
    let known = ["from", "to"].iter().all(|party| call[*party].as_str().is_some_and(|number| number.starts_with('+')));
    let line = call["callSid"].as_str().and_then(call_number);
    let transcript = business.0.transcript.for_call(line.unwrap_or(1));
    if line.is_none() || !known {
        transcript.record_violation("a look-up at the business does not say which call it is about");
    }
    transcript.record(TranscriptEvent::BusinessQueried { knows: business.0.call_parameters.to_owned() });
    (
        [(header::CONTENT_TYPE, "application/json")],
        parameters_for_call(business.0.call_parameters, transcript.call_number()),
    )
        .into_response()
}

/// Returns the parameters of a call. From the second call on, they include its number.
fn parameters_for_call(knows: &str, line: usize) -> String {
    if line == 1 {
        return knows.to_owned();
    }
    let mut answer: Value = serde_json::from_str(knows).unwrap_or_default();
    answer[CALL_NUMBER_PARAMETER] = Value::from(line.to_string());
    answer.to_string()
}

/// The tool of the business: finds the invoice of a customer.
async fn find_invoice(State(business): State<ScriptedBusiness>, headers: HeaderMap, body: Bytes) -> Response {
    if !business.verify_request(&headers, &body) {
        return StatusCode::FORBIDDEN.into_response();
    }
    let Some(OwnTool::Http { delay, status }) = business.0.own_tool else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let request: Value = serde_json::from_slice(&body).unwrap_or_default();
    let line = request["callSid"].as_str().and_then(call_number);
    if line.is_none() || request["tool"] != "find-invoice" || request["arguments"]["customer"] != "1042" {
        business.0.transcript.record_violation("a request to the tool of the business does not say what is looked up");
    }
    if business.0.is_looked_up.swap(true, Ordering::Relaxed) {
        business.0.transcript.record_violation("the tool of the business was called twice");
    }
    business.0.transcript.record_evidence("a request to the tool of the business", String::from_utf8_lossy(&body));
    tokio::time::sleep(delay).await;
    let status = StatusCode::from_u16(status).unwrap_or_default();
    (status, [(header::CONTENT_TYPE, "application/json")], INVOICE).into_response()
}

async fn receive_payment(State(business): State<ScriptedBusiness>, headers: HeaderMap, body: Bytes) -> StatusCode {
    if !business.verify_request(&headers, &body) {
        return StatusCode::FORBIDDEN;
    }
    let transcript = &business.0.transcript;
    let event: Value = serde_json::from_slice(&body).unwrap_or_default();
    if event["type"] == "call.ended" {
        transcript.record_evidence("what the business was told", String::from_utf8_lossy(&body).into_owned());
        return receive_call_end(transcript, event);
    }
    let Ok(told) = serde_json::from_slice::<PaymentNotice>(&body) else {
        transcript.record_violation("the business got a notification that it cannot parse");
        return StatusCode::BAD_REQUEST;
    };
    if (told.state == "tokenized") != (told.payment_token.as_deref() == Some(PAYMENT_TOKEN)) {
        transcript.record_violation(format!(
            "the business was notified of a payment in state {} with a wrong token",
            told.state
        ));
    }
    // The token belongs to the business; the rest is searched for card data like everything else.
    transcript.record_evidence("what the business was told", String::from_utf8_lossy(&body).replace(PAYMENT_TOKEN, ""));
    transcript.record(TranscriptEvent::BusinessNotified { payment: told.id, state: told.state });
    StatusCode::NO_CONTENT
}

/// Checks the event of a call's end.
fn receive_call_end(transcript: &Transcript, event: Value) -> StatusCode {
    let Ok(told) = serde_json::from_value::<CallEndNotice>(event) else {
        transcript.record_violation("the business got a call.ended that it cannot parse");
        return StatusCode::BAD_REQUEST;
    };
    let lasted = told.ended_at.duration_since(told.started_at);
    let is_right = !told.event_id.is_empty()
        && matches!(told.direction.as_str(), "inbound" | "outbound")
        && !lasted.is_negative()
        && told.seconds == lasted.as_secs()
        && told.payments.iter().all(|payment| !payment.id.is_empty() && !payment.state.is_empty());
    let Some(line) = call_number(&told.call_sid).filter(|_| is_right) else {
        transcript.record_violation("the business got a call.ended that contradicts itself");
        return StatusCode::BAD_REQUEST;
    };
    let (reason, summary) = (told.reason, told.conversation_summary.unwrap_or_default());
    transcript.for_call(line).record(TranscriptEvent::CallEndNotified { reason, summary });
    StatusCode::NO_CONTENT
}
