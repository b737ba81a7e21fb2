//! `GET /`, `GET /health` and `GET /ready`: whether the server runs, is healthy, and accepts new calls.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::App;
use crate::ledger::Ledger;
use crate::session;

/// The response body of `/health`.
#[derive(Debug, Serialize)]
struct HealthResponse {
    /// `ok` or `degraded`.
    status: &'static str,
    /// The number of live calls.
    calls: usize,
    /// The fault of the ledger, as a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    ledger: Option<String>,
    /// How often each limit has refused something since the start. Limits that have refused nothing are left out.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    refused: BTreeMap<&'static str, u64>,
}

/// Responds with a line for a person who opens the server in a browser.
pub(super) async fn index() -> &'static str {
    "crelay-payments is running\n"
}

/// Readiness probe: 503 while the server drains, and while the ledger accepts no payments.
pub(super) async fn ready(State(app): State<App>, State(ledger): State<Ledger>) -> Response {
    let why_not = if app.draining.is_cancelled() {
        Some("stopping".to_owned())
    } else {
        ledger.fault().map(|fault| fault.to_string())
    };
    match why_not {
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, why + "\n").into_response(),
        None => "ready\n".into_response(),
    }
}

/// Health probe for a proxy or an orchestrator: 503 while the ledger accepts no payments.
pub(super) async fn health(
    State(context): State<Arc<session::SessionContext>>,
    State(ledger): State<Ledger>,
) -> Response {
    let fault = ledger.fault();
    let (code, status) = match fault {
        Some(_) => (StatusCode::SERVICE_UNAVAILABLE, "degraded"),
        None => (StatusCode::OK, "ok"),
    };
    let ledger = fault.map(|fault| fault.to_string());
    let refused = context.usage.monitor.refusals().collect();
    (code, Json(HealthResponse { status, calls: context.calls.count(), ledger, refused })).into_response()
}
