//! The business that owns the number, played over real HTTP: verifies who asks, and tells what a call is about.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use secrecy::SecretString;
use serde_json::Value;

use super::tape::{Event, Tape};
use crate::signing::{SIGNATURE_HEADER, TIMESTAMP_HEADER, verify};

/// What requests to the business are signed with.
pub const SECRET: &str = "simulated-webhook-secret";
/// Where it is asked about calls.
pub const CALLS: &str = "/calls";

/// How far the clocks of two machines may differ, and a request take, in seconds.
const TOLERANCE: u64 = 300;

/// The business of one call.
#[derive(Debug, Clone)]
pub struct Business(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// What it answers to whoever asks what the call is about.
    knows: &'static str,
    call: &'static str,
    tape: Tape,
}

impl Business {
    /// A business that knows this, a JSON object, of the call.
    pub fn new(knows: &'static str, call: &'static str, tape: Tape) -> Self {
        Self(Arc::new(Shared { knows, call, tape }))
    }

    /// What it serves.
    pub fn router(self) -> Router {
        Router::new().route(CALLS, post(about)).with_state(self)
    }

    fn verify(headers: &HeaderMap, body: &[u8]) -> Result<(), &'static str> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let timestamp =
            text(TIMESTAMP_HEADER).and_then(|text| text.parse::<u64>().ok()).ok_or("without a timestamp")?;
        let now = u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or_default();
        if now.abs_diff(timestamp) > TOLERANCE {
            return Err("with a timestamp of another time");
        }
        let signature = text(SIGNATURE_HEADER).ok_or("without a signature")?;
        let genuine = verify(&SecretString::from(SECRET), timestamp, body, signature);
        genuine.then_some(()).ok_or("with a wrong signature")
    }
}

async fn about(State(business): State<Business>, headers: HeaderMap, body: Bytes) -> Response {
    let tape = &business.0.tape;
    if let Err(how) = Business::verify(&headers, &body) {
        tape.violation(format!("the business was asked {how}"));
        return StatusCode::FORBIDDEN.into_response();
    }
    let call: Value = serde_json::from_slice(&body).unwrap_or_default();
    let known = ["from", "to"].iter().all(|party| call[*party].as_str().is_some_and(|number| number.starts_with('+')));
    if call["callSid"] != business.0.call || !known {
        tape.violation("the business was not told which call it is");
    }
    tape.write(Event::AskedBusiness { knows: business.0.knows.to_owned() });
    ([(header::CONTENT_TYPE, "application/json")], business.0.knows).into_response()
}
