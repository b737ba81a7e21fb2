//! A check that the model is available with the API key.

use super::http::{Credentials, ProbeClient};
use super::report::Finding;
use crate::config::OpenAiConfig;
use crate::llm::{self, ModelShutdown};

const SUBJECT: &str = "model";

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
