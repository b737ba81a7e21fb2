//! `GET /metrics`: the metrics in Prometheus's text format, for an operator, or for anyone who reaches `METRICS_PORT`.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use jiff::{SignedDuration, Timestamp};
use tokio::time::timeout;

use super::auth::operator_token::Operator;
use crate::session::SessionContext;
use crate::telemetry::{CONTENT_TYPE, Snapshot};

/// The path of the metrics.
pub(super) const METRICS: &str = "/metrics";

/// Time limit for reading the outbox. Without it the other metrics are shown.
const OUTBOX_TIMEOUT: Duration = Duration::from_secs(1);

/// Responds to an operator.
pub(super) async fn get_as_operator(_: Operator, context: State<Arc<SessionContext>>) -> impl IntoResponse {
    get_metrics(context).await
}

/// The router of `METRICS_PORT`, which needs no token.
pub(crate) fn metrics_router(context: Arc<SessionContext>) -> Router {
    Router::new().route(METRICS, get(get_metrics)).with_state(context)
}

/// Without a webhook nobody waits for events.
const NO_OUTBOX: (u64, SignedDuration) = (0, SignedDuration::ZERO);

async fn get_metrics(State(context): State<Arc<SessionContext>>) -> impl IntoResponse {
    let backlog = timeout(OUTBOX_TIMEOUT, context.ledger.backlog()).await.ok().and_then(Result::ok);
    let age = |now| {
        move |backlog: crate::ledger::Backlog| (backlog.waiting, backlog.age(now).unwrap_or(SignedDuration::ZERO))
    };
    let snapshot = Snapshot {
        calls: context.calls.count(),
        has_ledger_fault: context.ledger.fault().is_some(),
        buffered_records: context.ledger.buffered_records(),
        outbox: if context.reports_call_ends { backlog.map(age(Timestamp::now())) } else { Some(NO_OUTBOX) },
        refusals: context.usage.monitor.refusals().collect(),
        asset_versions: context.assets.version_count(),
        servers: context.fleet.as_ref().map_or((1, 0), |fleet| fleet.count_servers()),
        ..Snapshot::default()
    };
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], context.telemetry.metrics_text(snapshot))
}
