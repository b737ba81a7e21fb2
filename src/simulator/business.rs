//! The business that owns the number, played over real HTTP: tells what a call is about, and is told the outcomes of payments.
//! It answers to what is signed as it should be, and to nothing else.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde::Deserialize;
use serde_json::Value;

use super::tape::{Event, Tape};
use super::twilio::{TOKEN, line_of};
use crate::signing::{SIGNATURE_HEADER, Secrets, TIMESTAMP_HEADER};

/// What requests to the business are signed with.
pub const SECRET: &str = "simulated-webhook-secret";
/// Where it is asked about calls.
pub const CALLS: &str = "/calls";
/// Where it is told of payments.
pub const PAYMENTS: &str = "/payments";

/// How far the clocks of two machines may differ, and a request take, in seconds.
const TOLERANCE: u64 = 300;

/// The name of the parameter that tells one call from another: the model's stand-in knows by it whom it talks with.
pub const LINE: &str = "line";

/// The business.
#[derive(Debug, Clone)]
pub struct Business(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// What it answers to whoever asks what the call is about.
    knows: &'static str,
    tape: Tape,
}

/// What it is told, as far as it matters here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    id: String,
    state: String,
    payment_token: Option<String>,
}

impl Business {
    /// A business that knows this, a JSON object, of every call.
    pub fn new(knows: &'static str, tape: Tape) -> Self {
        Self(Arc::new(Shared { knows, tape }))
    }

    /// What it serves.
    pub fn router(self) -> Router {
        Router::new().route(CALLS, post(about)).route(PAYMENTS, post(take)).with_state(self)
    }

    /// Whether a request comes from the server, now; one that does not is a violation.
    fn trusts(&self, headers: &HeaderMap, body: &[u8]) -> bool {
        let wrong = genuine(headers, body).err();
        if let Some(how) = wrong {
            self.0.tape.violation(format!("the business was asked or told something {how}"));
        }
        wrong.is_none()
    }
}

fn genuine(headers: &HeaderMap, body: &[u8]) -> Result<(), &'static str> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let timestamp = text(TIMESTAMP_HEADER).and_then(|text| text.parse::<u64>().ok()).ok_or("without a timestamp")?;
    let now = u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or_default();
    if now.abs_diff(timestamp) > TOLERANCE {
        return Err("with a timestamp of another time");
    }
    let signature = text(SIGNATURE_HEADER).ok_or("without a signature")?;
    let genuine = Secrets::from(SECRET).verify(timestamp, body, signature);
    genuine.then_some(()).ok_or("with a wrong signature")
}

async fn about(State(business): State<Business>, headers: HeaderMap, body: Bytes) -> Response {
    if !business.trusts(&headers, &body) {
        return StatusCode::FORBIDDEN.into_response();
    }
    let call: Value = serde_json::from_slice(&body).unwrap_or_default();
    let known = ["from", "to"].iter().all(|party| call[*party].as_str().is_some_and(|number| number.starts_with('+')));
    let line = call["callSid"].as_str().and_then(line_of);
    let tape = business.0.tape.on(line.unwrap_or(1));
    if line.is_none() || !known {
        tape.violation("the business was not told which call it is");
    }
    tape.write(Event::AskedBusiness { knows: business.0.knows.to_owned() });
    ([(header::CONTENT_TYPE, "application/json")], about_call(business.0.knows, tape.line())).into_response()
}

/// What is known of a call; of a second one also that it is that.
fn about_call(knows: &str, line: usize) -> String {
    if line == 1 {
        return knows.to_owned();
    }
    let mut answer: Value = serde_json::from_str(knows).unwrap_or_default();
    answer[LINE] = Value::from(line.to_string());
    answer.to_string()
}

async fn take(State(business): State<Business>, headers: HeaderMap, body: Bytes) -> StatusCode {
    if !business.trusts(&headers, &body) {
        return StatusCode::FORBIDDEN;
    }
    let tape = &business.0.tape;
    let Ok(told) = serde_json::from_slice::<Told>(&body) else {
        tape.violation("the business was told something that it cannot read");
        return StatusCode::BAD_REQUEST;
    };
    if (told.state == "tokenized") != (told.payment_token.as_deref() == Some(TOKEN)) {
        tape.violation(format!("the business was told of a payment that is {}, and not the right token", told.state));
    }
    // The token is the business's own; the rest must be as clean as all else.
    tape.keep("what the business was told", String::from_utf8_lossy(&body).replace(TOKEN, ""));
    tape.write(Event::Told { payment: told.id, state: told.state });
    StatusCode::NO_CONTENT
}
