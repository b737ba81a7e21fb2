//! JSON request bodies and JSON error responses of the operator API.

use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::MAX_BODY_BYTES;
use crate::redact::redact_card_numbers;
use crate::usage_limits::UsageLimit;

/// Time limit for reading a request body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// A JSON request body. The content type is not checked.
#[derive(Debug)]
pub(super) struct JsonBody<T>(pub(super) T);

/// An error response: `{"error": "…"}`, with the `limit` that was reached, if one was.
#[derive(Debug)]
pub(super) struct ApiError {
    status: StatusCode,
    error: String,
    limit: Option<UsageLimit>,
    retry_after: Option<Duration>,
}

impl ApiError {
    /// Creates an error response; `error` says what is wrong and what to do.
    #[expect(clippy::needless_pass_by_value, reason = "callers pass an error that they no longer need")]
    pub(super) fn new(status: StatusCode, error: impl ToString) -> Self {
        // The error may quote the request, so card numbers are removed.
        Self { status, error: redact_card_numbers(&error.to_string()).into_owned(), limit: None, retry_after: None }
    }

    /// Creates a 400 response: the request is invalid.
    pub(super) fn bad_request(error: impl ToString) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error)
    }

    /// Creates a 429 response: a limit is reached, and the same request may succeed later.
    pub(super) fn limit_reached(limit: UsageLimit, error: impl ToString) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, error).for_limit(limit)
    }

    /// Names the limit that was reached.
    pub(super) fn for_limit(self, limit: UsageLimit) -> Self {
        Self { limit: Some(limit), ..self }
    }

    /// Says when the request may succeed, in whole seconds.
    pub(super) fn retry_after(self, wait: Duration) -> Self {
        Self { retry_after: Some(wait), ..self }
    }

    /// The status of the response.
    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    /// What is wrong, and what to do.
    pub(super) fn message(&self) -> &str {
        &self.error
    }

    /// Creates a 503 response: the same request may succeed later.
    pub(super) fn unavailable(error: impl ToString) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, error)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        #[derive(Serialize)]
        struct Body {
            error: String,
            #[serde(skip_serializing_if = "Option::is_none")]
            limit: Option<&'static str>,
        }
        let body = Body { error: self.error, limit: self.limit.map(UsageLimit::name) };
        let mut response = (self.status, axum::Json(body)).into_response();
        if let Some(wait) = self.retry_after {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        response
    }
}

/// Reads a whole body of at most `max_bytes` within [`BODY_TIMEOUT`].
pub(super) async fn read_body(body: Body, max_bytes: usize) -> Result<Bytes, ApiError> {
    match timeout(BODY_TIMEOUT, to_bytes(body, max_bytes)).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(_)) => {
            let error = format!("the body is larger than {max_bytes} bytes or incomplete");
            Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, error))
        }
        Err(_) => Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time")),
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let body = read_body(request.into_body(), MAX_BODY_BYTES).await?;
        // Serde would take an array for the members of a struct, in their order.
        if body.trim_ascii_start().starts_with(b"[") {
            return Err(ApiError::bad_request("the body must be a JSON object"));
        }
        // Serde's message may quote the body. It is sent to the client and never logged.
        serde_json::from_slice(&body)
            .map(Self)
            .map_err(|error| ApiError::bad_request(format!("the body is invalid: {error}")))
    }
}
