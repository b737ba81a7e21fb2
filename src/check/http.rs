//! A GET request with a time limit, and its errors as short predicates.

use std::error::Error as _;
use std::io::ErrorKind;
use std::iter;
use std::time::Duration;

use reqwest::header::{ACCEPT, LOCATION};
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use crate::http_client::{HttpClients, ReadBodyError, read_body};

/// The time limit of a request, including the connection.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);
/// The maximum number of bytes read of a response. An account or a number is about 2 KiB.
const MAX_RESPONSE_BYTES: usize = 256 * 1024;

/// The credentials of a request.
#[derive(Clone, Copy)]
pub(super) enum Credentials<'a> {
    Anonymous,
    Basic(&'a str, &'a SecretString),
    Bearer(&'a SecretString),
}

/// A response with any status.
pub(super) struct ProbeResponse {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
    /// The target of a redirect: scheme, host and port.
    pub(super) redirect: Option<String>,
}

/// The reason why there is no response: a predicate whose subject is the name of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum ProbeError {
    #[error("does not answer within {} seconds", RESPONSE_TIMEOUT.as_secs())]
    TimedOut,
    #[error("has no valid TLS certificate for that name, or does not support TLS")]
    Tls,
    #[error("refuses the connection")]
    ConnectionRefused,
    #[error("cannot be reached")]
    Unreachable,
    #[error("sends an incomplete response")]
    BodyInterrupted,
}

/// An HTTP client that does not follow redirects, since Twilio and the business use the configured URLs only.
pub(super) struct ProbeClient(HttpClients);

impl ProbeClient {
    pub(super) fn new() -> Result<Self, reqwest::Error> {
        HttpClients::new(|builder| builder.timeout(RESPONSE_TIMEOUT)).map(Self)
    }

    pub(super) async fn get(&self, url: Url, who: Credentials<'_>) -> Result<ProbeResponse, ProbeError> {
        let request = self.0.for_url(&url).get(url).header(ACCEPT, "application/json");
        let request = match who {
            Credentials::Anonymous => request,
            Credentials::Basic(user, password) => request.basic_auth(user, Some(password.expose_secret())),
            Credentials::Bearer(token) => request.bearer_auth(token.expose_secret()),
        };
        let response = request.send().await.map_err(|error| ProbeError::from(&error))?;
        let status = response.status();
        let redirect = if status.is_redirection() { response.headers().get(LOCATION) } else { None };
        let redirect = redirect.and_then(|location| response.url().join(location.to_str().ok()?).ok());
        let redirect = redirect.map(|url| url.origin().ascii_serialization());
        let body = match read_body(response, MAX_RESPONSE_BYTES).await {
            Ok(body) | Err(ReadBodyError::TooLarge(body)) => body,
            Err(ReadBodyError::Interrupted(_, error)) => return Err(ProbeError::from(&error)),
        };
        Ok(ProbeResponse { status: status.as_u16(), body, redirect })
    }
}

impl From<&reqwest::Error> for ProbeError {
    fn from(error: &reqwest::Error) -> Self {
        let causes = || iter::successors(error.source(), |cause| (*cause).source());
        let mut kinds = causes().filter_map(|cause| cause.downcast_ref::<std::io::Error>()).map(std::io::Error::kind);
        if error.is_timeout() {
            Self::TimedOut
        } else if !error.is_connect() {
            Self::BodyInterrupted
        } else {
            // TLS errors are reported as invalid data.
            match kinds.find(|kind| matches!(kind, ErrorKind::InvalidData | ErrorKind::ConnectionRefused)) {
                Some(ErrorKind::InvalidData) => Self::Tls,
                Some(_) => Self::ConnectionRefused,
                None => Self::Unreachable,
            }
        }
    }
}

/// Appends segments, each percent-encoded, to a base URL. `None` if the base is not an http URL.
pub(super) fn build_url(base: &str, segments: &[&str]) -> Option<Url> {
    let mut url = Url::parse(base).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
    url.path_segments_mut().ok()?.pop_if_empty().extend(segments);
    Some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_percent_encoded() {
        let model = build_url("https://api.example.com/v1", &["models", "../acme/a?b"]);
        assert_eq!(model.map(String::from).as_deref(), Some("https://api.example.com/v1/models/..%2Facme%2Fa%3Fb"));
        assert_eq!(build_url("mailto:a@b", &["models"]), None);
    }
}
