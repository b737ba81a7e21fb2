//! Stand-ins for Twilio's REST API and the business over real HTTP. They accept every request and record it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::capture::{OutputCapture, OutputChannel};
use crate::simulator::transcript::lock;

/// The path of `CALL_PARAMETERS_URL`.
pub const CALL_PARAMETERS_PATH: &str = "/business/calls";
/// The path of `PAYMENT_WEBHOOK_URL`.
pub const PAYMENT_WEBHOOK_PATH: &str = "/business/payments";

/// Twilio and the business. Clones share their state.
#[derive(Debug, Clone)]
pub struct StandIns {
    /// The payment requests to Twilio, in order.
    twilio_requests: watch::Sender<Vec<TwilioRequest>>,
    /// The payment tokens that were delivered to the business.
    delivered_tokens: watch::Sender<Vec<String>>,
    /// The `Url` parameter of the last outbound call.
    twiml_url: Arc<Mutex<Option<String>>>,
    /// What the business answers to call look-ups.
    call_parameters: Arc<Mutex<Value>>,
    capture: OutputCapture,
}

/// A request to Twilio's Payments API.
#[derive(Debug, Clone)]
pub struct TwilioRequest {
    /// The payment SID.
    pub payment_sid: String,
    /// The form fields.
    pub form: HashMap<String, String>,
}

impl TwilioRequest {
    /// Whether the request creates a payment.
    pub fn is_create(&self) -> bool {
        !self.form.contains_key("Capture") && !self.form.contains_key("Status")
    }
}

impl StandIns {
    /// Creates stand-ins that record their requests in `capture`.
    pub fn new(capture: OutputCapture) -> Self {
        let (twilio_requests, delivered_tokens) = (watch::Sender::default(), watch::Sender::default());
        Self {
            twilio_requests,
            delivered_tokens,
            twiml_url: Arc::default(),
            call_parameters: Arc::new(Mutex::new(json!({}))),
            capture,
        }
    }

    /// The routes of both.
    pub fn router(self) -> Router {
        Router::new()
            .route(CALL_PARAMETERS_PATH, post(handle_call_parameters))
            .route(PAYMENT_WEBHOOK_PATH, post(handle_payment_webhook))
            .fallback(handle_twilio_request)
            .with_state(self)
    }

    /// Sets what the business answers to call look-ups from now on.
    pub fn set_call_parameters(&self, parameters: Value) {
        *lock(&self.call_parameters) = parameters;
    }

    /// The number of payment requests so far.
    pub fn request_count(&self) -> usize {
        self.twilio_requests.borrow().len()
    }

    /// Waits for a payment request that satisfies the predicate, starting with request number `from`. Returns the
    /// request and the number of the next one.
    pub async fn wait_for_request(
        &self,
        from: usize,
        limit: Duration,
        is: impl Fn(&TwilioRequest) -> bool,
    ) -> anyhow::Result<(TwilioRequest, usize)> {
        let mut requests = self.twilio_requests.subscribe();
        let find = |all: &Vec<TwilioRequest>| {
            all.iter().skip(from).position(&is).map(|at| (all[from + at].clone(), from + at + 1))
        };
        let waits = requests.wait_for(|all| find(all).is_some());
        let all =
            tokio::time::timeout(limit, waits).await.context("the expected request to Twilio did not arrive")??;
        find(&all).context("the request that ended the wait is in the list")
    }

    /// The URL of the last outbound call's TwiML, if the TwiML was not in the request itself.
    pub fn twiml_url(&self) -> Option<String> {
        lock(&self.twiml_url).clone()
    }

    /// Waits until this payment token is delivered to the business.
    pub async fn wait_for_token(&self, token: &str, limit: Duration) -> anyhow::Result<()> {
        let mut tokens = self.delivered_tokens.subscribe();
        let waits = tokens.wait_for(|tokens| tokens.iter().any(|delivered| delivered == token));
        tokio::time::timeout(limit, waits).await.context("the payment result was not delivered to the business")??;
        Ok(())
    }
}

async fn handle_twilio_request(
    State(stand_ins): State<StandIns>,
    uri: Uri,
    headers: HeaderMap,
    body: String,
) -> Response {
    stand_ins.capture.record(OutputChannel::Twilio, format!("{uri}\n{headers:?}\n{body}"));
    let form: HashMap<String, String> = url::form_urlencoded::parse(body.as_bytes()).into_owned().collect();
    let path: Vec<&str> = uri.path().trim_end_matches(".json").split('/').skip(4).collect();
    let new = |kind: &str| format!("{kind}{:032x}", stand_ins.twilio_requests.borrow().len() + 1);
    let (status, sid) = match path[..] {
        ["Calls", _, "Payments"] => (StatusCode::CREATED, new("PK")),
        ["Calls", _, "Payments", payment] => (StatusCode::ACCEPTED, payment.to_owned()),
        ["Messages"] => (StatusCode::CREATED, new("SM")),
        ["Calls"] => {
            *lock(&stand_ins.twiml_url) = form.get("Url").cloned();
            // Differs from the SIDs of all cases.
            (StatusCode::CREATED, new("CA").replacen("CA0", "CAf", 1))
        }
        _ => (StatusCode::NOT_FOUND, String::new()),
    };
    if path.contains(&"Payments") {
        let request = TwilioRequest { payment_sid: sid.clone(), form };
        stand_ins.twilio_requests.send_modify(|all| all.push(request));
    }
    (status, axum::Json(json!({"sid": sid, "status": "queued"}))).into_response()
}

async fn handle_call_parameters(State(stand_ins): State<StandIns>, headers: HeaderMap, body: String) -> Response {
    stand_ins.capture.record(OutputChannel::CallParameters, format!("{headers:?}\n{body}"));
    axum::Json(lock(&stand_ins.call_parameters).clone()).into_response()
}

async fn handle_payment_webhook(State(stand_ins): State<StandIns>, headers: HeaderMap, body: String) -> StatusCode {
    let event: Value = serde_json::from_str(&body).unwrap_or_default();
    let token = event["paymentToken"].as_str().unwrap_or_default();
    // The token is meant for the business, so only the rest of the body is captured.
    let rest = if token.is_empty() { body.clone() } else { body.replace(token, "") };
    stand_ins.capture.record(OutputChannel::Webhook, format!("{headers:?}\n{rest}"));
    stand_ins.delivered_tokens.send_modify(|all| all.push(token.to_owned()));
    StatusCode::NO_CONTENT
}
