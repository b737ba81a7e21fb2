//! Sends a request on to the server that has its call, as it came.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderName, Method, Response, StatusCode, header};
use futures_util::stream;
use reqwest::Url;

use super::Fleet;
use crate::http_client::HttpClients;

/// The header of a request that another server has sent on, with the name of that server. It is not sent on again.
pub(crate) const FORWARDED: &str = "x-crelay-forwarded";

/// How long it may take to reach another server.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(300);

/// How long another server may take to answer Twilio's request. A server that is frozen takes connections and is silent.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);

/// How long one is waited for that has not said for a while that it lives: a caller is on the line.
const QUIET_TIMEOUT: Duration = Duration::from_millis(500);

/// Headers that are about a connection and not about the request. They are not sent on.
const OF_CONNECTION: [HeaderName; 9] = [
    header::HOST,
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::TE,
    header::TRAILER,
    header::UPGRADE,
    header::EXPECT,
    header::PROXY_AUTHORIZATION,
];

/// A request to be sent on.
#[derive(Debug, Clone)]
pub(crate) struct ForwardedRequest {
    pub(crate) method: Method,
    /// The path with its query, as it came.
    pub(crate) path_and_query: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// Why the request has to be handled here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ForwardError {
    /// The other server does not have the call.
    #[error("it does not have the call")]
    NotThere,
    /// It cannot be reached.
    #[error("it cannot be reached")]
    Unreachable,
    /// It did not answer in time.
    #[error("it did not answer in time")]
    Silent,
}

/// The clients for requests to other servers, which are never reached through a proxy.
pub(super) fn clients() -> Result<HttpClients, reqwest::Error> {
    HttpClients::new(|builder| builder.connect_timeout(CONNECT_TIMEOUT).no_proxy())
}

impl Fleet {
    /// Sends a request on to the server at this address. Its response is that to the request, unless it does not have the
    /// call or does not answer.
    pub(crate) async fn forward(
        &self,
        address: &str,
        request: ForwardedRequest,
    ) -> Result<Response<Body>, ForwardError> {
        let ForwardedRequest { method, path_and_query, mut headers, body } = request;
        let url: Url = format!("{address}{path_and_query}").parse().map_err(|_| ForwardError::Unreachable)?;
        for name in &OF_CONNECTION {
            headers.remove(name);
        }
        let request = self.clients.for_url(&url).request(method, url).headers(headers);
        let sent = request.header(FORWARDED, self.id.to_string()).body(body).send();
        let patience = if self.lock().is_quiet(address) { QUIET_TIMEOUT } else { ANSWER_TIMEOUT };
        let answer = match tokio::time::timeout(patience, sent).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => return Err(ForwardError::Unreachable),
            Err(_) => return Err(ForwardError::Silent),
        };
        if answer.status() == StatusCode::MISDIRECTED_REQUEST {
            return Err(ForwardError::NotThere);
        }
        let mut response = Response::builder().status(answer.status());
        for (name, value) in answer.headers().iter().filter(|(name, _)| !OF_CONNECTION.contains(name)) {
            response = response.header(name, value);
        }
        let chunks = stream::try_unfold(answer, async |mut answer| {
            Ok::<_, reqwest::Error>(answer.chunk().await?.map(|chunk| (chunk, answer)))
        });
        response.body(Body::from_stream(chunks)).map_err(|_| ForwardError::Unreachable)
    }
}
