//! Whether the model is there for this key.

use super::http::{As, Http, url};
use super::report::Finding;
use crate::config::OpenAi;

const SUBJECT: &str = "model";

/// Asks OpenAI about the model, which costs nothing.
pub(super) async fn finding(http: &Http, config: &OpenAi) -> Finding {
    let model = &config.model;
    let Some(url) = url(&config.base_url, &["models", model]) else {
        return Finding::bad(SUBJECT, "OPENAI_BASE_URL is not an http URL: give one such as https://api.openai.com/v1");
    };
    let host = url.host_str().unwrap_or_default().to_owned();
    match http.get(url, As::Bearer(&config.api_key)).await.map(|answer| answer.status) {
        Ok(200..=299) => Finding::good(SUBJECT, format!("{host} has {model} for this key")),
        Ok(401) => Finding::bad(SUBJECT, format!("{host} refuses OPENAI_API_KEY: give a key that is in force")),
        Ok(403) => Finding::doubt(
            SUBJECT,
            format!("{host} does not let this key look at {model}: make sure that the key may use it for responses"),
        ),
        Ok(404) => Finding::bad(
            SUBJECT,
            format!(
                "{host} has no {model} for this key: mend OPENAI_MODEL, or OPENAI_BASE_URL, which mostly ends in /v1"
            ),
        ),
        Ok(429) => Finding::doubt(SUBJECT, format!("{host} says that the limit is reached: look at quota and billing")),
        Ok(status) => {
            Finding::bad(SUBJECT, format!("{host} answers HTTP {status}: look at OPENAI_BASE_URL, or later again"))
        }
        Err(failure) => Finding::bad(SUBJECT, format!("{host} {failure}: look at OPENAI_BASE_URL and at the network")),
    }
}
