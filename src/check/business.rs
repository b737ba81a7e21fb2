//! Whether the business can be asked what a call is about.

use super::http::{As, Http};
use super::report::Finding;
use crate::config::Business;

const SUBJECT: &str = "business";

/// Looks whether anything answers at the URL. It is not asked about a call, since there is none.
pub(super) async fn finding(http: &Http, config: &Business) -> Finding {
    let host = config.url.host_str().unwrap_or_default();
    match http.get(config.url.clone(), As::Anyone).await.map(|answer| answer.status) {
        Ok(300..=399) => Finding::bad(
            SUBJECT,
            format!(
                "{host} redirects, which is not followed: set CALL_PARAMETERS_URL to the address that answers by itself"
            ),
        ),
        Ok(404 | 500..) => Finding::doubt(
            SUBJECT,
            format!("{host} does not answer as it should: make sure that it takes POST at CALL_PARAMETERS_URL"),
        ),
        Ok(_) => Finding::good(SUBJECT, format!("{host} answers, and is asked what a call is about")),
        Err(failure) => {
            let words = format!("{host} {failure}: look at CALL_PARAMETERS_URL; calls go on without what it knows");
            Finding::bad(SUBJECT, words)
        }
    }
}
