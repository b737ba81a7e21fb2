//! Which flows stream. One that does not sends its headers with the complete answer.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use reqwest::header::ACCEPT;
use serde::Deserialize;
use tracing::debug;

use super::{Flowise, FlowiseClient};

/// How often Flowise is asked about the flows.
const CHECK_INTERVAL: Duration = Duration::from_secs(300);

/// The time limit for an answer about a flow.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

/// The flows that are known not to stream.
#[derive(Debug, Default)]
pub(super) struct KnownFlows(Mutex<HashSet<String>>);

/// The response to `GET /api/v1/chatflows-streaming/{flow}`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ChatflowStreaming {
    /// Whether the flow streams its answers.
    pub(crate) is_streaming: bool,
}

impl Flowise {
    /// Asks Flowise every [`CHECK_INTERVAL`] which of the flows stream. Never returns.
    pub async fn watch_flows(self) {
        let mut interval = tokio::time::interval(CHECK_INTERVAL);
        loop {
            interval.tick().await;
            self.0.check_flows().await;
        }
    }
}

impl FlowiseClient {
    /// Asks about each flow. What is not answered stays as it was.
    pub(super) async fn check_flows(&self) {
        for flow in std::iter::once(&self.config.chatflow_id).chain(&self.config.allowed_chatflows) {
            match self.is_streaming(flow).await {
                Ok(is_streaming) => self.known_flows.set(flow, is_streaming),
                Err(error) => debug!(
                    event = "flowise.flow_unknown",
                    error = %error.without_url(),
                    "Flowise does not say whether a flow streams."
                ),
            }
        }
    }

    async fn is_streaming(&self, flow: &str) -> reqwest::Result<bool> {
        let request = self.http.get(self.url(&format!("chatflows-streaming/{flow}"))).timeout(CHECK_TIMEOUT);
        let response = request.header(ACCEPT, "application/json").send().await?.error_for_status()?;
        Ok(response.json::<ChatflowStreaming>().await?.is_streaming)
    }
}

impl KnownFlows {
    /// Whether a flow may stream: it does, or nothing is known of it.
    pub(super) fn may_stream(&self, flow: &str) -> bool {
        !self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(flow)
    }

    fn set(&self, flow: &str, is_streaming: bool) {
        let mut flows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if is_streaming {
            flows.remove(flow);
        } else {
            flows.insert(flow.to_owned());
        }
    }
}
