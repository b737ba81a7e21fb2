//! Who may give orders: requests that bear `OPERATOR_TOKEN`.
//!
//! The check comes before the body is read.

use std::fmt;
use std::sync::Arc;

use axum::extract::{FromRef, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hmac::{Hmac, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use tracing::warn;

use super::json::Problem;

/// Knows the token again.
pub(super) struct Gate(Option<Hmac<Sha256>>);

/// An operator's request.
#[derive(Debug)]
pub(super) struct Operator;

/// Why a request was not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    #[error(
        "this server has no operator: set OPERATOR_TOKEN in its environment (openssl rand -hex 32 makes one), start it again, \
         and send `Authorization: Bearer` with the token"
    )]
    NotConfigured,
    #[error("send `Authorization: Bearer` with the server's OPERATOR_TOKEN")]
    NoToken,
    #[error("this is not the server's OPERATOR_TOKEN")]
    WrongToken,
}

impl Gate {
    pub(super) fn new(token: Option<&SecretString>) -> Self {
        Self(token.map(|token| keyed(token.expose_secret().as_bytes())))
    }

    fn admit(&self, headers: &HeaderMap) -> Result<(), Refused> {
        let token = self.0.as_ref().ok_or(Refused::NotConfigured)?;
        let given = headers.get(header::AUTHORIZATION).ok_or(Refused::NoToken)?;
        let given = bearer(given.as_bytes()).ok_or(Refused::NoToken)?;
        // Digests of one length are compared, in the same time wherever they differ: how long it takes says nothing.
        let digest = keyed(given).finalize().into_bytes();
        token.clone().verify(&digest).map_err(|_| Refused::WrongToken)
    }
}

/// The same for the same token only.
fn keyed(token: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(token).expect("HMAC takes keys of any length")
}

/// What follows the scheme, whose letters may be of either case.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
}

impl<S> FromRequestParts<S> for Operator
where
    S: Send + Sync,
    Arc<Gate>: FromRef<S>,
{
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refused> {
        Arc::<Gate>::from_ref(state).admit(&parts.headers).map(|()| Self)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        warn!(reason = ?self, "an operator's request was refused");
        if self == Self::NotConfigured {
            return Problem::new(StatusCode::FORBIDDEN, self).into_response();
        }
        let challenge = [(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"operator\""))];
        (challenge, Problem::new(StatusCode::UNAUTHORIZED, self)).into_response()
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Gate(configured: {})", self.0.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(gate: &Gate, authorization: Option<&[u8]>) -> Result<(), Refused> {
        let mut headers = HeaderMap::new();
        if let Some(value) = authorization {
            headers.insert(header::AUTHORIZATION, HeaderValue::from_bytes(value).unwrap());
        }
        gate.admit(&headers)
    }

    #[test]
    fn the_token_and_nothing_else_opens() {
        let gate = Gate::new(Some(&SecretString::from("correct horse")));
        assert_eq!(asked(&gate, Some(b"Bearer correct horse")), Ok(()));
        assert_eq!(asked(&gate, Some(b"bearer  correct horse ")), Ok(()));
        for wrong in [&b"Bearer correct"[..], b"Bearer correct horse battery", b"Bearer \xff", b"Bearer "] {
            assert_eq!(asked(&gate, Some(wrong)), Err(Refused::WrongToken), "{wrong:?}");
        }
        for none in [&b"Basic Y29ycmVjdCBob3JzZQ=="[..], b"correct horse", b"Bearer", b""] {
            assert_eq!(asked(&gate, Some(none)), Err(Refused::NoToken), "{none:?}");
        }
        assert_eq!(asked(&gate, None), Err(Refused::NoToken));
    }

    #[test]
    fn without_a_token_nobody_comes_in() {
        let gate = Gate::new(None);
        assert_eq!(asked(&gate, Some(b"Bearer ")), Err(Refused::NotConfigured));
        assert_eq!(asked(&gate, None), Err(Refused::NotConfigured));
        assert!(!format!("{:?}", Gate::new(Some(&SecretString::from("hush")))).contains("hush"));
    }
}
