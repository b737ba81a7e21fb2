//! The business is asked what a call that comes in is about.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::http::{StatusCode, header};
use reqwest::redirect;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::time::timeout;

use crate::config;
use crate::members::Members;
use crate::payment::contradicted_parameter;
use crate::redact::Private;
use crate::session::Parameters;
use crate::signing::{SIGNATURE_HEADER, TIMESTAMP_HEADER};

/// How long the business may take over all: the caller hears it ring.
const ANSWER: Duration = Duration::from_secs(2);

/// The longest answer that is read.
const ANSWER_BYTES: usize = 16 * 1024;

/// The business, at its URL.
#[derive(Debug)]
pub(in crate::endpoints) struct Business {
    config: config::Business,
    http: reqwest::Client,
}

/// What the business is told of a call.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct IncomingCall<'a> {
    pub(super) call_sid: &'a str,
    pub(super) from: &'a str,
    pub(super) to: &'a str,
}

/// Why nothing is known of a call. Each is what the business did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unknown {
    #[error("took longer than {} seconds", ANSWER.as_secs())]
    TooSlow,
    #[error("could not be reached, or broke its answer off")]
    Unreached,
    #[error("answered HTTP {0}, not 200")]
    Status(u16),
    #[error("answered with more than {ANSWER_BYTES} bytes")]
    TooLong,
    #[error("did not answer with a JSON object of texts, numbers and booleans")]
    Unreadable,
    #[error("answered with the same name twice")]
    Repeated,
    /// How much is due cannot be told, and something may be.
    #[error("said what is due, in an answer that is no JSON object of texts, numbers and booleans with each name once")]
    BadDue,
}

/// The members of an answer that say what is due.
const DUE: [&str; 2] = ["amountDue", "currency"];

impl Business {
    /// A business that is asked as configured. It fails where the machine's certificates do.
    pub(in crate::endpoints) fn new(config: config::Business) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder()
            .user_agent(concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")))
            .timeout(ANSWER)
            .redirect(redirect::Policy::none())
            .build()?;
        Ok(Self { config, http })
    }

    /// Asks once, and for two seconds at most.
    pub(super) async fn ask(&self, call: &IncomingCall<'_>) -> Result<Parameters, Unknown> {
        timeout(ANSWER, self.answer(call)).await.map_err(|_| Unknown::TooSlow)?
    }

    async fn answer(&self, call: &IncomingCall<'_>) -> Result<Parameters, Unknown> {
        let body = serde_json::to_vec(call).expect("strings always serialise");
        let timestamp = u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or_default();
        let request = self
            .http
            .post(self.config.url.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json")
            .header(TIMESTAMP_HEADER, timestamp)
            .header(SIGNATURE_HEADER, self.config.secrets.sign(timestamp, &body))
            .body(body);
        let mut response = request.send().await.map_err(|error| Unknown::from(&error))?;
        if response.status() != StatusCode::OK {
            return Err(Unknown::Status(response.status().as_u16()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| Unknown::from(&error))? {
            if body.len() + chunk.len() > ANSWER_BYTES {
                return Err(Unknown::TooLong);
            }
            body.extend_from_slice(&chunk);
        }
        parameters(&body)
    }
}

impl From<&reqwest::Error> for Unknown {
    fn from(error: &reqwest::Error) -> Self {
        if error.is_timeout() { Self::TooSlow } else { Self::Unreached }
    }
}

/// Reads the answer. An answer that says what is due and cannot be used is not taken for one that says nothing.
fn parameters(body: &[u8]) -> Result<Parameters, Unknown> {
    let members: Members<Box<RawValue>> = serde_json::from_slice(body).map_err(|_| Unknown::Unreadable)?;
    let says_due = DUE.into_iter().any(|name| members.named(name).any(|value| value.get() != "null"));
    plain_values(members).map(Private::new).map_err(|why| if says_due { Unknown::BadDue } else { why })
}

/// The members as texts. A number stays what was written: no float touches an amount. `null` is left out.
fn plain_values(members: Members<Box<RawValue>>) -> Result<BTreeMap<String, String>, Unknown> {
    let members = members.into_map().map_err(|_| Unknown::Repeated)?;
    let written = members.into_iter().filter(|(_, value)| value.get() != "null");
    let parameters = written.map(|(name, value)| match value.get().as_bytes().first() {
        Some(b'"') => Ok((name, serde_json::from_str(value.get()).map_err(|_| Unknown::Unreadable)?)),
        Some(b'{' | b'[') | None => Err(Unknown::Unreadable),
        Some(_) => Ok((name, value.get().to_owned())),
    });
    let parameters = parameters.collect::<Result<_, _>>()?;
    if contradicted_parameter(&parameters).is_some() { Err(Unknown::Repeated) } else { Ok(parameters) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(body: &str) -> Result<Vec<(String, String)>, Unknown> {
        parameters(body.as_bytes()).map(|read| read.into_inner().into_iter().collect())
    }

    #[test]
    fn texts_numbers_and_booleans_are_parameters_and_numbers_stay_what_was_written() {
        let body = r#"{"amountDue": 25.10, "currency": "EUR", "note": "Tea \"7\"", "vip": true, "fax": null}"#;
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            read(body).unwrap(),
            [pair("amountDue", "25.10"), pair("currency", "EUR"), pair("note", "Tea \"7\""), pair("vip", "true")]
        );
        assert_eq!(read(r#"{"amountDue":1e2}"#).unwrap(), [pair("amountDue", "1e2")]);
    }

    #[test]
    fn what_is_no_object_of_plain_values_is_refused_whole() {
        for body in ["", "[]", "null", "25", r#"{"a":{}}"#, r#"{"a":[1]}"#, r#"{"a":1"#, r#"{"a":1}x"#] {
            assert_eq!(read(body), Err(Unknown::Unreadable), "{body}");
        }
    }

    #[test]
    fn a_name_that_is_there_twice_is_no_answer() {
        for (body, why) in [
            (r#"{"note": "a", "note": "a"}"#, Unknown::Repeated),
            (r#"{"description": "a", "Description": "b"}"#, Unknown::Repeated),
            (r#"{"amountDue": "25.00", "amountDue": "250.00"}"#, Unknown::BadDue),
            (r#"{"amountDue": "25.00", "amountDue": null}"#, Unknown::BadDue),
            (r#"{"amountDue": "25.00", "\u0061mountDue": "2.00"}"#, Unknown::BadDue),
            (r#"{"amountDue": "25.00", "amount_due": "250.00"}"#, Unknown::BadDue),
            (r#"{"amountDue": "25.00", "currency": "USD", "Currency": "EUR"}"#, Unknown::BadDue),
            (r#"{"amountDue": {"value": "25.00"}}"#, Unknown::BadDue),
            (r#"{"amountDue": ["25.00"]}"#, Unknown::BadDue),
            (r#"{"amountDue": "25.00", "items": []}"#, Unknown::BadDue),
            (r#"{"amountDue": "25.00", "note": "a", "note": "b"}"#, Unknown::BadDue),
            (r#"{"amountDue": null, "items": []}"#, Unknown::Unreadable),
        ] {
            assert_eq!(read(body), Err(why), "{body}");
        }
        assert!(read(r#"{"currency": "USD", "Currency": "USD", "Note": "a", "note": "b"}"#).is_ok());
    }

    #[test]
    fn an_amount_is_exact_or_refused_however_it_is_written() {
        let due = |body: &str| {
            let said = read(body).unwrap().into_iter().collect();
            crate::payment::Settings::sample().terms_of_call(&said).map(|terms| format!("{:?}", terms.due))
        };
        assert_eq!(due(r#"{"amountDue": 25.10}"#).unwrap(), "Amount(25.10 USD)");
        assert_eq!(due(r#"{"amountDue": 25.1000000000000000}"#).unwrap(), "Amount(25.10 USD)");
        for amount in [
            "25.10000000000000001",
            "25.104999999999999999",
            "2.51e1",
            "25E0",
            "-25",
            "true",
            "false",
            "\"1,000.00\"",
            "\"25,10\"",
            "\"\"",
            "\"25.10 USD\"",
            "\"NaN\"",
            "250000",
        ] {
            let body = format!(r#"{{"amountDue": {amount}}}"#);
            assert!(due(&body).is_err(), "{body}");
        }
        for currency in ["840", "true", "\"\"", "\"US Dollar\"", "\"QQQ\""] {
            let body = format!(r#"{{"amountDue": "25.00", "currency": {currency}}}"#);
            assert!(due(&body).is_err(), "{body}");
        }
    }

    proptest! {
        #[test]
        fn no_answer_panics(body in "\\PC{0,60}|\\{\"[a-z]{0,3}\": ?(\"[^\"]{0,5}\"|[0-9.e]{1,5}|\\[\\])\\}") {
            let _ = read(&body);
        }
    }
}
