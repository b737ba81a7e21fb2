//! The answer of a tool of the business: text within a limit, without card numbers, and the amount due that it names.

use crate::call::{BusinessAnswer, BusinessToolError};
use crate::http_client::{self, ReadBodyError};
use crate::payment::BusinessDue;
use crate::redact::RedactedJson;

/// The largest answer that is read, in bytes. A longer one is refused whole, since a part of it may mislead.
pub(super) const MAX_ANSWER_BYTES: usize = 16 * 1024;

/// Reads the body of a response up to `limit` bytes.
pub(super) async fn read_body(response: reqwest::Response, limit: usize) -> Result<String, BusinessToolError> {
    let body = http_client::read_body(response, limit).await.map_err(|error| match error {
        ReadBodyError::TooLarge(_) => BusinessToolError::TooLarge,
        ReadBodyError::Interrupted(_, error) => request_error(&error),
    })?;
    let body = String::from_utf8(body).map_err(|_| BusinessToolError::InvalidAnswer)?;
    Ok(body.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(body))
}

/// Classifies an error of the HTTP client by whether the request may have had an effect.
pub(super) fn request_error(error: &reqwest::Error) -> BusinessToolError {
    match () {
        () if error.is_timeout() => BusinessToolError::TimedOut,
        () if error.is_connect() || error.is_builder() => BusinessToolError::Unreachable,
        () => BusinessToolError::Interrupted,
    }
}

/// Parses the text of an answer. Text that is no JSON is a string, and an empty text is `null`. The amount due is read
/// from the text as it was sent, so that its digits are exact.
pub(super) fn parse_answer(text: &str) -> BusinessAnswer {
    let text = text.trim();
    let is_json = serde_json::from_str::<serde_json::Value>(text).is_ok();
    let data = match () {
        () if text.is_empty() => RedactedJson::new("null"),
        () if is_json => RedactedJson::new(text),
        () => to_json_string(text),
    };
    BusinessAnswer { data, due: BusinessDue::parse(text) }
}

/// Converts text into a JSON string without card numbers.
pub(super) fn to_json_string(text: &str) -> RedactedJson {
    RedactedJson::new(&serde_json::Value::from(text).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_json_without_card_numbers_whatever_was_sent() {
        for (text, data) in [
            (" {\"balance\": 25.10}\n", r#"{"balance": 25.10}"#),
            ("[1, 2]", "[1, 2]"),
            ("", "null"),
            ("Nothing is \"due\".", r#""Nothing is \"due\".""#),
            (r#"{"card": "4242 4242 4242 4242"}"#, r#"{"card":"[digits removed]"}"#),
            (r#"{"card": 4242424242424242}"#, r#"{"card":"[digits removed]"}"#),
            ("Card 4242424242424242", r#""Card [digits removed]""#),
            (r#"{"amountDue": "25.00""#, r#""{\"amountDue\": \"25.00\"""#),
        ] {
            let answer = parse_answer(text);
            assert_eq!(answer.data.as_str(), data);
            assert!(answer.due.is_none(), "{text}");
        }
        assert!(matches!(parse_answer(r#"{"amountDue": "25.00", "card": "4242424242424242"}"#).due, Some(Ok(_))));
        let deep = format!("{}1{}", "[".repeat(5_000), "]".repeat(5_000));
        assert!(parse_answer(&deep).data.as_str().starts_with('"'), "nested too deep to be looked through");
    }
}
