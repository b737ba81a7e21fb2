//! One look at a URL: a GET with a time limit, and what became of it in a few words.

use std::error::Error as _;
use std::io::ErrorKind;
use std::iter;
use std::time::Duration;

use reqwest::header::{ACCEPT, LOCATION};
use reqwest::redirect;
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

/// How long an answer may take, opening the connection included.
const ANSWER: Duration = Duration::from_secs(5);
/// How long a connection may take to open.
const CONNECT: Duration = Duration::from_secs(3);
/// How much of an answer is read. An account or a number is some 2 KiB.
const ANSWER_BYTES: usize = 256 * 1024;

/// Who asks.
#[derive(Clone, Copy)]
pub(super) enum As<'a> {
    Anyone,
    User(&'a str, &'a SecretString),
    Bearer(&'a SecretString),
}

/// What was answered, whatever the status.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
    /// Where a redirect leads: scheme, host and port.
    pub(super) redirect: Option<String>,
}

/// Why there is no answer. The sentence that the name of the other side begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    #[error("does not answer within {} seconds", ANSWER.as_secs())]
    TimedOut,
    #[error("cannot be encrypted to: its certificate is not valid for that name, or it speaks no TLS")]
    Tls,
    #[error("takes no connection")]
    Refused,
    #[error("cannot be reached")]
    Unreached,
    #[error("breaks its answer off")]
    Broken,
}

/// A client that follows no redirect: a webhook is called where it was given, and nowhere else.
pub(super) struct Http(reqwest::Client);

impl Http {
    pub(super) fn new() -> Result<Self, reqwest::Error> {
        Self::build(reqwest::Client::builder())
    }

    /// For this machine, whatever proxy the environment names.
    pub(super) fn without_proxy() -> Result<Self, reqwest::Error> {
        Self::build(reqwest::Client::builder().no_proxy())
    }

    fn build(builder: reqwest::ClientBuilder) -> Result<Self, reqwest::Error> {
        let client = builder
            .user_agent(concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT)
            .timeout(ANSWER)
            .redirect(redirect::Policy::none())
            .build()?;
        Ok(Self(client))
    }

    pub(super) async fn get(&self, url: Url, who: As<'_>) -> Result<Answer, Failure> {
        let request = self.0.get(url).header(ACCEPT, "application/json");
        let request = match who {
            As::Anyone => request,
            As::User(user, password) => request.basic_auth(user, Some(password.expose_secret())),
            As::Bearer(token) => request.bearer_auth(token.expose_secret()),
        };
        let mut response = request.send().await.map_err(|error| Failure::from(&error))?;
        let status = response.status();
        let redirect = if status.is_redirection() { response.headers().get(LOCATION) } else { None };
        let redirect = redirect.and_then(|location| response.url().join(location.to_str().ok()?).ok());
        let redirect = redirect.map(|url| url.origin().ascii_serialization());
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| Failure::from(&error))? {
            if body.len() + chunk.len() > ANSWER_BYTES {
                break;
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { status: status.as_u16(), body, redirect })
    }
}

impl From<&reqwest::Error> for Failure {
    fn from(error: &reqwest::Error) -> Self {
        let causes = || iter::successors(error.source(), |cause| (*cause).source());
        let mut kinds = causes().filter_map(|cause| cause.downcast_ref::<std::io::Error>()).map(std::io::Error::kind);
        if error.is_timeout() {
            Self::TimedOut
        } else if !error.is_connect() {
            Self::Broken
        } else {
            // The TLS library's errors travel as invalid data.
            match kinds.find(|kind| matches!(kind, ErrorKind::InvalidData | ErrorKind::ConnectionRefused)) {
                Some(ErrorKind::InvalidData) => Self::Tls,
                Some(_) => Self::Refused,
                None => Self::Unreached,
            }
        }
    }
}

/// The URL of some segments under a base, each of them percent-encoded. `None` if the base is no http URL.
pub(super) fn url(base: &str, segments: &[&str]) -> Option<Url> {
    let mut url = Url::parse(base).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
    url.path_segments_mut().ok()?.pop_if_empty().extend(segments);
    Some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_cannot_leave_its_place() {
        let model = url("https://api.example.com/v1", &["models", "../acme/a?b"]);
        assert_eq!(model.map(String::from).as_deref(), Some("https://api.example.com/v1/models/..%2Facme%2Fa%3Fb"));
        assert_eq!(url("mailto:a@b", &["models"]), None);
    }
}
