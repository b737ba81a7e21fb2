//! `GET /` and `GET /health`: whether the server runs.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::App;
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

/// For a proxy: whether new calls are taken. 503 once the server was told to stop.
pub(super) async fn ready(State(app): State<App>) -> Response {
    if app.draining.is_cancelled() {
        (StatusCode::SERVICE_UNAVAILABLE, "stopping\n").into_response()
    } else {
        "ready\n".into_response()
    }
}

/// For a proxy or an orchestrator.
pub(super) async fn health(State(calls): State<Calls>) -> Json<Health> {
    Json(Health { status: "ok", calls: calls.count() })
}
