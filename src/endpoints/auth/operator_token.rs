//! Authentication of operator requests: they carry `OPERATOR_TOKEN` as a bearer token.
//!
//! The token is verified before the body is read.

use std::fmt;
use std::sync::Arc;

use axum::extract::{FromRef, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tracing::warn;

use super::super::json::ApiError;
use super::bearer_token;
use crate::connections;

/// Verifies the bearer token of operator requests: the digest of the token, if one is configured.
pub(in crate::endpoints) struct OperatorAuth(Option<[u8; 32]>);

/// An authenticated operator request.
#[derive(Debug)]
pub(in crate::endpoints) struct Operator;

/// Why a request was not authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(in crate::endpoints) enum OperatorAuthError {
    #[error(
        "operator requests are disabled: set OPERATOR_TOKEN in the server's environment (`openssl rand -hex 32` makes \
         one), restart the server, and send `Authorization: Bearer` with the token"
    )]
    NotConfigured,
    #[error("send `Authorization: Bearer` with the server's OPERATOR_TOKEN")]
    NoToken,
    #[error("the token is not the server's OPERATOR_TOKEN")]
    WrongToken,
}

impl OperatorAuth {
    pub(in crate::endpoints) fn new(token: Option<&SecretString>) -> Self {
        Self(token.map(|token| Sha256::digest(token.expose_secret()).into()))
    }

    fn verify(&self, headers: &HeaderMap) -> Result<(), OperatorAuthError> {
        let token = self.0.as_ref().ok_or(OperatorAuthError::NotConfigured)?;
        let given = headers.get(header::AUTHORIZATION).ok_or(OperatorAuthError::NoToken)?;
        let given = bearer_token(given.as_bytes()).ok_or(OperatorAuthError::NoToken)?;
        // Digests have one length, so the duration reveals nothing about the token, not even its length.
        let is_same = Sha256::digest(given).ct_eq(token);
        if is_same.into() { Ok(()) } else { Err(OperatorAuthError::WrongToken) }
    }
}

impl<S> FromRequestParts<S> for Operator
where
    S: Send + Sync,
    Arc<OperatorAuth>: FromRef<S>,
{
    type Rejection = OperatorAuthError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, OperatorAuthError> {
        Arc::<OperatorAuth>::from_ref(state).verify(&parts.headers)?;
        connections::mark_identified(&parts.extensions);
        Ok(Self)
    }
}

impl IntoResponse for OperatorAuthError {
    fn into_response(self) -> Response {
        warn!(event = "operator.request_refused", reason = ?self, "An operator request was not authenticated.");
        if self == Self::NotConfigured {
            return ApiError::new(StatusCode::FORBIDDEN, self).into_response();
        }
        let challenge = [(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"operator\""))];
        (challenge, ApiError::new(StatusCode::UNAUTHORIZED, self)).into_response()
    }
}

impl fmt::Debug for OperatorAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OperatorAuth(configured: {})", self.0.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verify(auth: &OperatorAuth, authorization: Option<&[u8]>) -> Result<(), OperatorAuthError> {
        let mut headers = HeaderMap::new();
        if let Some(value) = authorization {
            headers.insert(header::AUTHORIZATION, HeaderValue::from_bytes(value).unwrap());
        }
        auth.verify(&headers)
    }

    #[test]
    fn only_the_token_is_accepted() {
        let auth = OperatorAuth::new(Some(&SecretString::from("correct horse")));
        assert_eq!(verify(&auth, Some(b"Bearer correct horse")), Ok(()));
        assert_eq!(verify(&auth, Some(b"bearer  correct horse ")), Ok(()));
        for wrong in [&b"Bearer correct"[..], b"Bearer correct horse battery", b"Bearer \xff", b"Bearer "] {
            assert_eq!(verify(&auth, Some(wrong)), Err(OperatorAuthError::WrongToken), "{wrong:?}");
        }
        for none in [&b"Basic Y29ycmVjdCBob3JzZQ=="[..], b"correct horse", b"Bearer", b""] {
            assert_eq!(verify(&auth, Some(none)), Err(OperatorAuthError::NoToken), "{none:?}");
        }
        assert_eq!(verify(&auth, None), Err(OperatorAuthError::NoToken));
    }

    #[test]
    fn without_a_configured_token_every_request_is_rejected() {
        let auth = OperatorAuth::new(None);
        assert_eq!(verify(&auth, Some(b"Bearer ")), Err(OperatorAuthError::NotConfigured));
        assert_eq!(verify(&auth, None), Err(OperatorAuthError::NotConfigured));
        assert!(!format!("{:?}", OperatorAuth::new(Some(&SecretString::from("hush")))).contains("hush"));
    }
}
