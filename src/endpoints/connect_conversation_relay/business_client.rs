//! The client that asks the business (`CALL_PARAMETERS_URL`) for the parameters of an inbound call.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::http::{StatusCode, header};
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::time::timeout;
use url::Url;

use crate::config;
use crate::http_client::{ReadBodyError, SignedClient, read_body};
use crate::json_members::JsonMembers;
use crate::payment::find_contradicted_parameter;
use crate::redact::Private;
use crate::session::CallParameters;

/// Time limit for the whole request. Meanwhile the caller hears the ringback tone.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(2);

/// The largest response body that is read, in bytes.
const MAX_RESPONSE_BYTES: usize = 16 * 1024;

/// The HTTP client for the business.
#[derive(Debug)]
pub(in crate::endpoints) struct BusinessClient {
    url: Url,
    http: SignedClient,
}

/// The request body: an inbound call.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct IncomingCall<'a> {
    pub(super) call_sid: &'a str,
    pub(super) from: &'a str,
    pub(super) to: &'a str,
}

/// Why a look-up returned no parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum BusinessLookupError {
    #[error("the business did not answer within {} seconds", LOOKUP_TIMEOUT.as_secs())]
    TimedOut,
    #[error("the business could not be reached, or its response was incomplete")]
    Unreachable,
    #[error("the business answered HTTP {0}; expected 200")]
    Status(u16),
    #[error("the response is larger than {MAX_RESPONSE_BYTES} bytes")]
    BodyTooLarge,
    #[error("the response is not a JSON object of strings, numbers and booleans")]
    InvalidBody,
    #[error("the response contains a name twice")]
    RepeatedName,
    /// The response names an amount due or a currency, but is invalid.
    #[error(
        "the response names an amount due or a currency, but is not a JSON object of strings, numbers and booleans \
         with each name once"
    )]
    InvalidAmountDue,
}

/// The members of a response that determine the amount due.
const AMOUNT_MEMBERS: [&str; 2] = ["amountDue", "currency"];

impl BusinessClient {
    /// Creates the client. It fails if the root certificates cannot be loaded.
    pub(in crate::endpoints) fn new(config: config::BusinessEndpoint) -> Result<Self, reqwest::Error> {
        Ok(Self { url: config.url, http: SignedClient::new(Some(config.secrets))? })
    }

    /// Asks once for the parameters of a call, within [`LOOKUP_TIMEOUT`].
    pub(super) async fn look_up(&self, call: &IncomingCall<'_>) -> Result<CallParameters, BusinessLookupError> {
        timeout(LOOKUP_TIMEOUT, self.fetch(call)).await.map_err(|_| BusinessLookupError::TimedOut)?
    }

    async fn fetch(&self, call: &IncomingCall<'_>) -> Result<CallParameters, BusinessLookupError> {
        let body = serde_json::to_vec(call).expect("strings always serialise");
        let request = self.http.post(&self.url, body).header(header::ACCEPT, "application/json");
        let response =
            request.timeout(LOOKUP_TIMEOUT).send().await.map_err(|error| BusinessLookupError::from(&error))?;
        if response.status() != StatusCode::OK {
            return Err(BusinessLookupError::Status(response.status().as_u16()));
        }
        match read_body(response, MAX_RESPONSE_BYTES).await {
            Ok(body) => parse_parameters(&body),
            Err(ReadBodyError::TooLarge(_)) => Err(BusinessLookupError::BodyTooLarge),
            Err(ReadBodyError::Interrupted(_, error)) => Err(BusinessLookupError::from(&error)),
        }
    }
}

impl From<&reqwest::Error> for BusinessLookupError {
    fn from(error: &reqwest::Error) -> Self {
        if error.is_timeout() { Self::TimedOut } else { Self::Unreachable }
    }
}

/// Parses the response body. An invalid body that names an amount due or a currency gives `InvalidAmountDue`, since it
/// must not count as a body without an amount.
fn parse_parameters(body: &[u8]) -> Result<CallParameters, BusinessLookupError> {
    let members: JsonMembers<Box<RawValue>> =
        serde_json::from_slice(body).map_err(|_| BusinessLookupError::InvalidBody)?;
    let says_due = AMOUNT_MEMBERS.into_iter().any(|name| members.get_all(name).any(|value| value.get() != "null"));
    to_text_values(members)
        .map(Private::new)
        .map_err(|why| if says_due { BusinessLookupError::InvalidAmountDue } else { why })
}

/// Converts the members to strings. A number keeps its digits as written, so that no float rounds an amount. `null` is
/// omitted.
fn to_text_values(members: JsonMembers<Box<RawValue>>) -> Result<BTreeMap<String, String>, BusinessLookupError> {
    let members = members.into_map().map_err(|_| BusinessLookupError::RepeatedName)?;
    let written = members.into_iter().filter(|(_, value)| value.get() != "null");
    let parameters = written.map(|(name, value)| match value.get().as_bytes().first() {
        Some(b'"') => Ok((name, serde_json::from_str(value.get()).map_err(|_| BusinessLookupError::InvalidBody)?)),
        Some(b'{' | b'[') | None => Err(BusinessLookupError::InvalidBody),
        Some(_) => Ok((name, value.get().to_owned())),
    });
    let parameters = parameters.collect::<Result<_, _>>()?;
    if find_contradicted_parameter(&parameters).is_some() {
        Err(BusinessLookupError::RepeatedName)
    } else {
        Ok(parameters)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(body: &str) -> Result<Vec<(String, String)>, BusinessLookupError> {
        parse_parameters(body.as_bytes()).map(|read| read.into_inner().into_iter().collect())
    }

    #[test]
    fn scalars_are_parameters_and_numbers_keep_their_digits() {
        let body = r#"{"amountDue": 25.10, "currency": "EUR", "note": "Tea \"7\"", "vip": true, "fax": null}"#;
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            read(body).unwrap(),
            [pair("amountDue", "25.10"), pair("currency", "EUR"), pair("note", "Tea \"7\""), pair("vip", "true")]
        );
        assert_eq!(read(r#"{"amountDue":1e2}"#).unwrap(), [pair("amountDue", "1e2")]);
    }

    #[test]
    fn a_body_that_is_not_an_object_of_scalars_is_rejected() {
        for body in ["", "[]", "null", "25", r#"{"a":{}}"#, r#"{"a":[1]}"#, r#"{"a":1"#, r#"{"a":1}x"#] {
            assert_eq!(read(body), Err(BusinessLookupError::InvalidBody), "{body}");
        }
    }

    #[test]
    fn a_repeated_name_is_rejected() {
        for (body, why) in [
            (r#"{"note": "a", "note": "a"}"#, BusinessLookupError::RepeatedName),
            (r#"{"description": "a", "Description": "b"}"#, BusinessLookupError::RepeatedName),
            (r#"{"amountDue": "25.00", "amountDue": "250.00"}"#, BusinessLookupError::InvalidAmountDue),
            (r#"{"amountDue": "25.00", "amountDue": null}"#, BusinessLookupError::InvalidAmountDue),
            (r#"{"amountDue": "25.00", "\u0061mountDue": "2.00"}"#, BusinessLookupError::InvalidAmountDue),
            (r#"{"amountDue": "25.00", "amount_due": "250.00"}"#, BusinessLookupError::InvalidAmountDue),
            (r#"{"amountDue": "25.00", "currency": "USD", "Currency": "EUR"}"#, BusinessLookupError::InvalidAmountDue),
            (r#"{"amountDue": {"value": "25.00"}}"#, BusinessLookupError::InvalidAmountDue),
            (r#"{"amountDue": ["25.00"]}"#, BusinessLookupError::InvalidAmountDue),
            (r#"{"amountDue": "25.00", "items": []}"#, BusinessLookupError::InvalidAmountDue),
            (r#"{"amountDue": "25.00", "note": "a", "note": "b"}"#, BusinessLookupError::InvalidAmountDue),
            (r#"{"amountDue": null, "items": []}"#, BusinessLookupError::InvalidBody),
        ] {
            assert_eq!(read(body), Err(why), "{body}");
        }
        assert!(read(r#"{"currency": "USD", "Currency": "USD", "Note": "a", "note": "b"}"#).is_ok());
    }

    #[test]
    fn an_amount_is_exact_or_rejected_however_it_is_written() {
        let due = |body: &str| {
            let said = read(body).unwrap().into_iter().collect();
            crate::payment::PaymentSettings::sample()
                .parse_call_terms(&said)
                .map(|terms| format!("{:?}", terms.amount_due))
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
