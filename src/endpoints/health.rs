//! `GET /`, `GET /health` and `GET /ready`: whether the server runs, is well, and takes new calls.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::App;
use crate::ledger::Ledger;
use crate::session::Calls;

/// How the server is.
#[derive(Debug, Serialize)]
struct Health {
    /// `ok` or `degraded`.
    status: &'static str,
    /// Live calls.
    calls: usize,
    /// What is wrong with the ledger, in plain words.
    #[serde(skip_serializing_if = "Option::is_none")]
    ledger: Option<String>,
}

/// For a person with a browser.
pub(super) async fn running() -> &'static str {
    "crelay-payments is running\n"
}

/// For a proxy: whether new calls are taken. 503 once the server was told to stop, and while the ledger takes no payments.
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

/// For a proxy or an orchestrator. 503 while the ledger takes no payments.
pub(super) async fn health(State(calls): State<Calls>, State(ledger): State<Ledger>) -> Response {
    let fault = ledger.fault();
    let (code, status) = match fault {
        Some(_) => (StatusCode::SERVICE_UNAVAILABLE, "degraded"),
        None => (StatusCode::OK, "ok"),
    };
    let ledger = fault.map(|fault| fault.to_string());
    (code, Json(Health { status, calls: calls.count(), ledger })).into_response()
}
