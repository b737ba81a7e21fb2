//! Authentication of the clients of a call: they carry the token of one live call, or of one of its
//! requests, as a bearer token.
//!
//! The token is verified before the body is read. It is not the operator's token.

use std::sync::Arc;

use axum::extract::{FromRef, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tokio::time::Instant;
use tracing::warn;

use super::super::json::ApiError;
use super::bearer_token;
use crate::connections;
use crate::log_limit::LogLimiter;
use crate::session::{CallRegistry, FindCallByTokenError, TokenScope};

/// An authenticated request of a client of a live call, and what its token opens.
#[derive(Debug)]
pub(in crate::endpoints) struct ClientOfCall(pub(in crate::endpoints) TokenScope);

impl<S> FromRequestParts<S> for ClientOfCall
where
    S: Send + Sync,
    CallRegistry: FromRef<S>,
    Arc<LogLimiter>: FromRef<S>,
{
    type Rejection = FindCallByTokenError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, FindCallByTokenError> {
        let (given, now) = (parts.headers.get(header::AUTHORIZATION), Instant::now());
        let given = given.and_then(|value| bearer_token(value.as_bytes())).ok_or(FindCallByTokenError::UnknownToken);
        let found = given.and_then(|given| CallRegistry::from_ref(state).find_by_token(given, now));
        match &found {
            Ok(_) => connections::mark_identified(&parts.extensions),
            Err(reason) => log_refusal(&Arc::from_ref(state), *reason, now),
        }
        found.map(Self)
    }
}

impl IntoResponse for FindCallByTokenError {
    fn into_response(self) -> Response {
        match self {
            // A missing token, a wrong one and that of an ended call are the same to the client.
            Self::UnknownToken => {
                let challenge = [(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"call\""))];
                (challenge, ApiError::new(StatusCode::UNAUTHORIZED, self)).into_response()
            }
            Self::TooManyRequests => {
                let wait = [(header::RETRY_AFTER, HeaderValue::from_static("1"))];
                (wait, ApiError::new(StatusCode::TOO_MANY_REQUESTS, self)).into_response()
            }
        }
    }
}

/// Logs a refused request, at most once a minute for each reason.
fn log_refusal(limiter: &LogLimiter, reason: FindCallByTokenError, now: Instant) {
    let kind = match reason {
        FindCallByTokenError::UnknownToken => "unknown token",
        FindCallByTokenError::TooManyRequests => "too many requests",
    };
    if let Some(left_out) = limiter.admit("mcp.request_refused", kind, now) {
        warn!(event = "mcp.request_refused", ?reason, left_out, "A request of a client of a call was refused.");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_told_to_authenticate_or_to_wait() {
        let refused = FindCallByTokenError::UnknownToken.into_response();
        assert_eq!(
            (refused.status(), &refused.headers()["www-authenticate"]),
            (StatusCode::UNAUTHORIZED, &HeaderValue::from_static("Bearer realm=\"call\""))
        );
        let limited = FindCallByTokenError::TooManyRequests.into_response();
        assert_eq!(
            (limited.status(), &limited.headers()["retry-after"]),
            (StatusCode::TOO_MANY_REQUESTS, &HeaderValue::from_static("1"))
        );
    }
}
