//! `GET /` and `GET /health`: whether the server runs.

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use crate::session::Calls;

/// How the server is.
#[derive(Debug, Serialize)]
pub(super) struct Health {
    status: &'static str,
    /// Live calls.
    calls: usize,
}

/// For a person with a browser.
pub(super) async fn running() -> &'static str {
    "crelay-payments is running\n"
}

/// For a proxy or an orchestrator.
pub(super) async fn health(State(calls): State<Calls>) -> Json<Health> {
    Json(Health { status: "ok", calls: calls.count() })
}
