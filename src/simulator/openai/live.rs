//! Forwards checked requests to the real OpenAI API, and streams its responses back.

use std::io;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use url::Url;

use super::stream::ResponseGuard;
use super::{ScriptedOpenAi, TranscriptEvent, error_response, event_stream};
use crate::config::ApiBaseUrl;

/// A client of the real API.
#[derive(Debug)]
pub(crate) struct LiveOpenAi {
    client: reqwest::Client,
    key: SecretString,
    url: Url,
}

impl LiveOpenAi {
    /// Creates a client for the API at `base_url`.
    pub(crate) fn new(key: SecretString, base_url: &ApiBaseUrl) -> anyhow::Result<Self> {
        let client = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(5))
            .read_timeout(Duration::from_secs(30))
            .build()?;
        Ok(Self { client, key, url: base_url.join(&["responses"]) })
    }

    /// Forwards a request and streams the response.
    pub(crate) async fn forward(&self, openai: &ScriptedOpenAi, body: String) -> Response {
        let request = self.client.post(self.url.clone()).bearer_auth(self.key.expose_secret());
        let sent = request.header("Content-Type", "application/json").body(body).send().await;
        let answer = match sent {
            Ok(answer) => answer,
            Err(error) => {
                let what = format!("the model cannot be reached: {}", error.without_url());
                openai.conversation.transcript.record(TranscriptEvent::ModelFailed { what });
                return error_response(502, "unreachable");
            }
        };
        let status = answer.status().as_u16();
        if status != 200 {
            openai.conversation.transcript.record(TranscriptEvent::ModelFailed { what: format!("answers {status}") });
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
            return (status, answer.text().await.unwrap_or_default()).into_response();
        }
        let flight = ResponseGuard::new(openai);
        event_stream(stream::unfold((answer, flight, Vec::new()), |(mut answer, mut flight, mut rest)| async move {
            match answer.chunk().await {
                Ok(Some(chunk)) => {
                    rest.extend_from_slice(&chunk);
                    record_events(&mut rest, &mut flight);
                    Some((Ok::<Bytes, io::Error>(chunk), (answer, flight, rest)))
                }
                Ok(None) => {
                    flight.finish();
                    None
                }
                Err(error) => {
                    flight.finish();
                    Some((Err(io::Error::other(error.without_url())), (answer, flight, rest)))
                }
            }
        }))
    }
}

/// Records the events that are complete.
fn record_events(rest: &mut Vec<u8>, flight: &mut ResponseGuard) {
    while let Some(end) = rest.windows(2).position(|pair| pair == b"\n\n") {
        let event: Vec<u8> = rest.drain(..end + 2).collect();
        let event = String::from_utf8_lossy(&event);
        let data = event.lines().find_map(|line| line.strip_prefix("data: "));
        let event: Value = data.and_then(|data| serde_json::from_str(data).ok()).unwrap_or_default();
        match event["type"].as_str() {
            Some("response.output_item.done") => flight.openai().record_item(&event["item"]),
            Some("response.completed" | "response.incomplete" | "response.failed" | "error") => flight.finish(),
            _ => {}
        }
    }
}
