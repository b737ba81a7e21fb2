//! A check that the model is available with the API key.

use super::http::{Credentials, ProbeClient};
use super::report::Finding;
use crate::config::{ModelTransport, OpenAiConfig};
use crate::llm::{self, ModelShutdown};

const SUBJECT: &str = "model";

const SOCKET_SUBJECT: &str = "WebSocket";

/// Queries OpenAI about the model, which is free of charge.
pub(super) async fn check(http: &ProbeClient, config: &OpenAiConfig) -> Finding {
    let model = &config.model;
    let url = config.base_url.join(&["models", model]);
    let host = url.host_str().unwrap_or_default().to_owned();
    let response = http.get(url, Credentials::Bearer(&config.api_key)).await;
    match response.as_ref().map(|response| response.status) {
        Ok(200..=299) => {
            let body = response.map(|response| response.body).unwrap_or_default();
            check_shutdown(&format!("{host} has {model} for this key"), ModelShutdown::parse(&body, llm::today()))
        }
        Ok(401) => Finding::failure(SUBJECT, format!("{host} refuses OPENAI_API_KEY: set a valid key")),
        Ok(403) => Finding::warning(
            SUBJECT,
            format!("{host} does not let this key look at {model}: make sure that the key may use it for responses"),
        ),
        Ok(404) => Finding::failure(
            SUBJECT,
            format!(
                "{host} has no {model} for this key: correct OPENAI_MODEL, or OPENAI_BASE_URL, which usually ends in /v1"
            ),
        ),
        Ok(429) => Finding::warning(SUBJECT, format!("{host} says that the limit is reached: check quota and billing")),
        Ok(status) => Finding::failure(
            SUBJECT,
            format!("{host} answers HTTP {status}: check OPENAI_BASE_URL, or try again later"),
        ),
        Err(failure) => Finding::failure(SUBJECT, format!("{host} {failure}: check OPENAI_BASE_URL and the network")),
    }
}

/// Opens a WebSocket, if the model is to answer over those. Without one calls go over HTTP.
pub(super) async fn check_socket(config: &OpenAiConfig) -> Option<Finding> {
    let opened = match config.transport {
        ModelTransport::Http => return None,
        ModelTransport::WebSocket => llm::try_websocket(config).await,
    };
    let host = config.base_url.host();
    Some(match opened {
        Ok(()) => Finding::pass(SOCKET_SUBJECT, format!("{host} opens WebSockets with this key")),
        Err(error) => Finding::warning(
            SOCKET_SUBJECT,
            format!("{host} opens none ({error}), and calls go over HTTP: set OPENAI_TRANSPORT=http"),
        ),
    })
}

/// Reports when a model that is available is switched off.
fn check_shutdown(available: &str, shutdown: ModelShutdown) -> Finding {
    match shutdown {
        ModelShutdown::Unannounced => Finding::pass(SUBJECT, available),
        ModelShutdown::Later(date) => Finding::pass(SUBJECT, format!("{available}, until {date}")),
        ModelShutdown::Soon(date, days) => Finding::warning(
            SUBJECT,
            format!("{available}, and switches it off on {date}, in {days} days: set OPENAI_MODEL to its successor"),
        ),
        ModelShutdown::Past(date) => Finding::failure(
            SUBJECT,
            format!("{available}, but was to switch it off on {date}: set OPENAI_MODEL to its successor"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::report::Severity;
    use crate::simulator::raw_server::{RawResponse, RawServer};

    #[tokio::test]
    async fn a_server_without_websockets_is_a_warning_if_they_are_configured() {
        let (server, _dropped) = RawServer::start(vec![RawResponse::Plain(426, Vec::new(), "")]).await;
        let base_url = format!("{}/v1", server.origin()).parse().unwrap();
        let config = OpenAiConfig::new("sk-1".into(), "gpt-6-luna", base_url);
        assert_eq!(check_socket(&config).await, None);
        let config = OpenAiConfig { transport: ModelTransport::WebSocket, ..config };
        let finding = check_socket(&config).await.unwrap();
        assert_eq!(finding.severity, Severity::Warning);
        assert!(finding.message.starts_with("127.0.0.1 opens none (HTTP 426)"), "{}", finding.message);
    }
}
