//! The Messages resource: takes text messages, or refuses them.

use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Json, Response};
use serde_json::json;

use super::rest::error_response;
use super::{ScriptedTwilio, lock};
use crate::simulator::relay::SERVER_NUMBER;
use crate::simulator::transcript::TranscriptEvent;

/// The maximum length of `Body`, in characters (error 21617).
const MAX_BODY: usize = 1_600;

/// `POST …/Messages.json`
pub(super) async fn create_message(
    State(twilio): State<ScriptedTwilio>,
    Path(account): Path<String>,
    headers: HeaderMap,
    body: String,
) -> Response {
    twilio.transcript.record_evidence("a request to Twilio", body.clone());
    if let Some(refused) = twilio.check_request(&account, &twilio.call_sid(), &headers) {
        return refused;
    }
    let form: Vec<(String, String)> = url::form_urlencoded::parse(body.as_bytes()).into_owned().collect();
    let names: Vec<&str> = form.iter().map(|(name, _)| name.as_str()).collect();
    let ([(_, to), (_, from), (_, text)], ["To", "From", "Body"]) = (&form[..], &names[..]) else {
        twilio.transcript.record_violation(format!("a text message has the fields {}", names.join(", ")));
        return error_response(400, 20001);
    };
    if from != SERVER_NUMBER || text.is_empty() || text.chars().count() > MAX_BODY {
        twilio
            .transcript
            .record_violation("a text message from another number, without a text, or with one that is too long");
        return error_response(400, 21617);
    }
    let code = twilio.shared.quirks.message_refusal;
    twilio.shared.pace.sleep(Duration::from_millis(200)).await;
    twilio.transcript.record(TranscriptEvent::MessageRequested { to: to.clone(), text: text.clone(), code });
    if let Some(code) = code {
        return error_response(400, code);
    }
    let sid = {
        let mut state = lock(&twilio.shared.state);
        state.message_count += 1;
        format!("SM{:032x}", state.message_count)
    };
    (StatusCode::CREATED, Json(json!({"sid": sid, "status": "queued", "error_code": null}))).into_response()
}
