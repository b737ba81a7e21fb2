//! What operators send and get: JSON, and errors that say what to do.

use std::time::Duration;

use axum::body::to_bytes;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::MAX_BODY;
use crate::redact::without_card_numbers;

/// How long a body may take to arrive.
const BODY_LIMIT: Duration = Duration::from_secs(10);

/// A body of JSON, whatever its content type says.
#[derive(Debug)]
pub(super) struct Json<T>(pub(super) T);

/// Why a request was not done, as an answer: `{"error": "…"}`.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    error: String,
}

impl Problem {
    /// A problem; `error` says what to do about it.
    #[expect(clippy::needless_pass_by_value, reason = "an error is given up to become an answer")]
    pub(super) fn new(status: StatusCode, error: impl ToString) -> Self {
        // It may repeat what is wrong.
        Self { status, error: without_card_numbers(&error.to_string()).into_owned() }
    }

    /// Something in the request is wrong.
    pub(super) fn bad(error: impl ToString) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error)
    }

    /// The same request may succeed later.
    pub(super) fn unavailable(error: impl ToString) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, error)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        #[derive(Serialize)]
        struct Body {
            error: String,
        }
        (self.status, axum::Json(Body { error: self.error })).into_response()
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let body = match timeout(BODY_LIMIT, to_bytes(request.into_body(), MAX_BODY)).await {
            Ok(Ok(body)) => body,
            Ok(Err(_)) => {
                let error = format!("the body is larger than {MAX_BODY} bytes or broke off");
                return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, error));
            }
            Err(_) => return Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time")),
        };
        // Serde's own words end in line and column. They go to the one who sent the value, and into no log.
        serde_json::from_slice(&body)
            .map(Self)
            .map_err(|error| Problem::bad(format!("the body is not what it should be: {error}")))
    }
}
