//! A check that the model is available with the API key.

use super::http::{Credentials, ProbeClient};
use super::report::Finding;
use crate::config::OpenAiConfig;

const SUBJECT: &str = "model";

/// Queries OpenAI about the model, which is free of charge.
pub(super) async fn check(http: &ProbeClient, config: &OpenAiConfig) -> Finding {
    let model = &config.model;
    let url = config.base_url.join(&["models", model]);
    let host = url.host_str().unwrap_or_default().to_owned();
    match http.get(url, Credentials::Bearer(&config.api_key)).await.map(|response| response.status) {
        Ok(200..=299) => Finding::pass(SUBJECT, format!("{host} has {model} for this key")),
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
