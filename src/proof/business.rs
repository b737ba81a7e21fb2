//! The business over real HTTP: answers call look-ups, and records the payment tokens that it is sent.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::capture::{OutputCapture, OutputChannel};
use crate::simulator::transcript::lock;

/// The path of `CALL_PARAMETERS_URL`.
pub(super) const CALL_PARAMETERS_PATH: &str = "/business/calls";
/// The path of `PAYMENT_WEBHOOK_URL`.
pub(super) const PAYMENT_WEBHOOK_PATH: &str = "/business/payments";

/// The business. Clones share its state.
#[derive(Debug, Clone)]
pub(super) struct ProofBusiness {
    /// The payment tokens that were delivered.
    delivered_tokens: watch::Sender<Vec<String>>,
    /// The answer to call look-ups.
    call_parameters: Arc<Mutex<Value>>,
    capture: OutputCapture,
}

impl ProofBusiness {
    /// Creates a business that records its requests in `capture`.
    pub(super) fn new(capture: OutputCapture) -> Self {
        Self { delivered_tokens: watch::Sender::default(), call_parameters: Arc::new(Mutex::new(json!({}))), capture }
    }

    /// Its routes.
    pub(super) fn router(self) -> Router {
        Router::new()
            .route(CALL_PARAMETERS_PATH, post(handle_call_parameters))
            .route(PAYMENT_WEBHOOK_PATH, post(handle_payment_webhook))
            .with_state(self)
    }

    /// Sets what the business answers to call look-ups from now on.
    pub(super) fn set_call_parameters(&self, parameters: Value) {
        *lock(&self.call_parameters) = parameters;
    }

    /// Waits until this payment token is delivered to the business.
    pub(super) async fn wait_for_token(&self, token: &str, limit: Duration) -> anyhow::Result<()> {
        let mut tokens = self.delivered_tokens.subscribe();
        let waits = tokens.wait_for(|tokens| tokens.iter().any(|delivered| delivered == token));
        tokio::time::timeout(limit, waits).await.context("the payment result was not delivered to the business")??;
        Ok(())
    }
}

async fn handle_call_parameters(State(business): State<ProofBusiness>, headers: HeaderMap, body: String) -> Response {
    business.capture.record(OutputChannel::CallParameters, format!("{headers:?}\n{body}"));
    axum::Json(lock(&business.call_parameters).clone()).into_response()
}

async fn handle_payment_webhook(State(business): State<ProofBusiness>, headers: HeaderMap, body: String) -> StatusCode {
    let event: Value = serde_json::from_str(&body).unwrap_or_default();
    let token = event["paymentToken"].as_str().unwrap_or_default();
    // The token is meant for the business, so only the rest of the body is captured.
    let rest = if token.is_empty() { body.clone() } else { body.replace(token, "") };
    business.capture.record(OutputChannel::Webhook, format!("{headers:?}\n{rest}"));
    business.delivered_tokens.send_modify(|all| all.push(token.to_owned()));
    StatusCode::NO_CONTENT
}
