//! The task that sends traces to a collector, if there is one.

use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::ServeError;
use crate::config::{Config, ResponseServiceConfig, TraceSampler};
use crate::llm::provider_name;
use crate::session::SessionContext;
use crate::telemetry::{ModelPeer, Peer, TraceBuilder, TraceExporter};

/// The task, and what stops it; `None` without a collector, or if no call is traced.
pub(super) struct TraceExport(Option<(CancellationToken, AbortOnDropHandle<()>)>);

impl TraceExport {
    /// Starts the task. It sends what is recorded from now on.
    pub(super) fn start(config: &Config, session: &SessionContext) -> Result<Self, ServeError> {
        let traces = config.traces.as_ref().filter(|traces| traces.sampler != TraceSampler::AlwaysOff);
        let Some(traces) = traces else { return Ok(Self(None)) };
        let builder = TraceBuilder {
            sampler: traces.sampler,
            model: model_peer(&config.response_service),
            twilio: Peer::of_text(&config.twilio.api_base),
        };
        let (telemetry, log_limiter) = (session.telemetry.clone(), session.log_limiter.clone());
        let exporter = TraceExporter::new(traces, builder, telemetry, log_limiter).map_err(ServeError::Http)?;
        let stop = CancellationToken::new();
        let task = tokio::spawn(exporter.run(stop.clone()));
        Ok(Self(Some((stop, AbortOnDropHandle::new(task)))))
    }

    /// Sends what is left, for less than a second and until `deadline` at most.
    pub(super) async fn stop(self, deadline: Instant) {
        if let Some((stop, task)) = self.0 {
            stop.cancel();
            let _ = timeout_at(deadline, task).await;
        }
    }
}

fn model_peer(service: &ResponseServiceConfig) -> ModelPeer {
    match service {
        ResponseServiceConfig::OpenAi(openai) => ModelPeer {
            operation: "chat",
            provider: provider_name(openai.base_url.host()),
            model: Some(openai.model.clone()),
            server: Peer::of_text(openai.base_url.as_str()),
        },
        ResponseServiceConfig::Flowise(flowise) => ModelPeer {
            operation: "invoke_agent",
            provider: "flowise",
            model: None,
            server: Peer::of_text(&flowise.url),
        },
    }
}
