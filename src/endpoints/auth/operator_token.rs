//! Authentication of operator requests: they carry the bearer token of an operator.
//!
//! The token is verified before the body is read. A network that guesses is locked out for a while.

use std::fmt;
use std::sync::Arc;

use axum::extract::{FromRef, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use secrecy::ExposeSecret as _;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tokio::time::Instant;
use tracing::warn;

use super::super::json::ApiError;
use super::attempt_limiter::{AttemptLimiter, LockedOut};
use super::bearer_token;
use super::client_network::ClientNetwork;
use crate::config::{OperatorName, OperatorTokens};
use crate::connections;
use crate::log_limit::LogLimiter;

/// Verifies the bearer tokens of operator requests.
pub(in crate::endpoints) struct OperatorAuth {
    /// The digest of each operator's token.
    operators: Vec<(OperatorName, [u8; 32])>,
    attempts: AttemptLimiter,
    log_limiter: Arc<LogLimiter>,
}

/// An authenticated operator request, and whose it is.
#[derive(Debug)]
pub(in crate::endpoints) struct Operator(pub(in crate::endpoints) OperatorName);

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
    #[error("the token is neither the server's OPERATOR_TOKEN nor one of its OPERATOR_TOKENS")]
    WrongToken,
    /// For so many seconds.
    #[error("too many wrong tokens came from this address: try again in {0} seconds")]
    LockedOut(u64),
}

impl OperatorAuth {
    pub(in crate::endpoints) fn new(tokens: &OperatorTokens, log_limiter: Arc<LogLimiter>) -> Self {
        let digest = |token: &secrecy::SecretString| Sha256::digest(token.expose_secret()).into();
        let operators = tokens.iter().map(|(name, token)| (name.clone(), digest(token))).collect();
        Self { operators, attempts: AttemptLimiter::default(), log_limiter }
    }

    /// Forgets the networks that have not guessed for a while.
    pub(in crate::endpoints) fn remove_expired(&self, now: Instant) {
        self.attempts.remove_expired(now);
    }

    /// Authenticates a token from this network, and counts a wrong one. A refusal is logged.
    pub(in crate::endpoints) fn authenticate_token(
        &self,
        token: Option<&[u8]>,
        network: ClientNetwork,
        now: Instant,
    ) -> Result<&OperatorName, OperatorAuthError> {
        self.authenticate(token, network, now).inspect_err(|error| self.log_refusal(*error, now))
    }

    /// Whether there is an operator.
    pub(in crate::endpoints) fn is_configured(&self) -> bool {
        !self.operators.is_empty()
    }

    fn authenticate(
        &self,
        token: Option<&[u8]>,
        network: ClientNetwork,
        now: Instant,
    ) -> Result<&OperatorName, OperatorAuthError> {
        let operator = self.find_operator(token);
        if operator == Err(OperatorAuthError::NotConfigured) {
            return operator;
        }
        let is_wrong = operator == Err(OperatorAuthError::WrongToken);
        match self.attempts.admit(network, is_wrong, now) {
            Ok(()) => operator,
            Err(LockedOut(rest)) => {
                Err(OperatorAuthError::LockedOut(rest.as_secs() + u64::from(rest.subsec_nanos() > 0)))
            }
        }
    }

    /// Finds the operator with this token. All tokens are always compared, by their digests, so that the
    /// duration reveals nothing about them, not even their lengths.
    fn find_operator(&self, token: Option<&[u8]>) -> Result<&OperatorName, OperatorAuthError> {
        if !self.is_configured() {
            return Err(OperatorAuthError::NotConfigured);
        }
        let given: [u8; 32] = Sha256::digest(token.ok_or(OperatorAuthError::NoToken)?).into();
        let mut found = None;
        for (name, digest) in &self.operators {
            if given.ct_eq(digest).into() {
                found = Some(name);
            }
        }
        found.ok_or(OperatorAuthError::WrongToken)
    }

    /// Logs a refused request, at most once a minute for each reason.
    fn log_refusal(&self, error: OperatorAuthError, now: Instant) {
        let kind = match error {
            OperatorAuthError::NotConfigured => "no token configured",
            OperatorAuthError::NoToken => "no token",
            OperatorAuthError::WrongToken => "wrong token",
            OperatorAuthError::LockedOut(_) => "locked out",
        };
        if let Some(left_out) = self.log_limiter.admit("operator.request_refused", kind, now) {
            warn!(
                event = "operator.request_refused",
                reason = ?error,
                left_out,
                "An operator request was not authenticated."
            );
        }
    }
}

impl<S> FromRequestParts<S> for Operator
where
    S: Send + Sync,
    Arc<OperatorAuth>: FromRef<S>,
{
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        let (auth, now) = (Arc::<OperatorAuth>::from_ref(state), Instant::now());
        let token = request_token(&parts.headers);
        let operator = auth.authenticate_token(token, ClientNetwork::of_request(parts), now);
        if operator.is_ok() {
            connections::mark_identified(&parts.extensions);
        }
        operator.cloned().map(Self).map_err(IntoResponse::into_response)
    }
}

/// Returns the bearer token of a request.
fn request_token(headers: &HeaderMap) -> Option<&[u8]> {
    headers.get(header::AUTHORIZATION).and_then(|value| bearer_token(value.as_bytes()))
}

impl IntoResponse for OperatorAuthError {
    fn into_response(self) -> Response {
        match self {
            Self::NotConfigured => ApiError::new(StatusCode::FORBIDDEN, self).into_response(),
            Self::NoToken | Self::WrongToken => {
                let challenge = [(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"operator\""))];
                (challenge, ApiError::new(StatusCode::UNAUTHORIZED, self)).into_response()
            }
            Self::LockedOut(seconds) => {
                let wait = [(header::RETRY_AFTER, HeaderValue::from(seconds))];
                (wait, ApiError::new(StatusCode::TOO_MANY_REQUESTS, self)).into_response()
            }
        }
    }
}

/// Shows the names of the operators.
impl fmt::Debug for OperatorAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.operators.iter().map(|(name, _)| name.as_str())).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::time::Duration;

    use super::*;

    fn auth(tokens: &[(&str, &str)]) -> OperatorAuth {
        let tokens = tokens.iter().map(|(name, token)| (name.parse().unwrap(), (*token).into())).collect();
        OperatorAuth::new(&tokens, Arc::default())
    }

    fn headers(authorization: Option<&[u8]>) -> HeaderMap {
        let value = authorization.map(|value| (header::AUTHORIZATION, HeaderValue::from_bytes(value).unwrap()));
        value.into_iter().collect()
    }

    fn find<'a>(auth: &'a OperatorAuth, authorization: Option<&[u8]>) -> Result<&'a str, OperatorAuthError> {
        auth.find_operator(request_token(&headers(authorization))).map(OperatorName::as_str)
    }

    #[test]
    fn a_token_says_whose_request_it_is() {
        let auth = auth(&[("ann", "correct horse"), ("bob", "battery staple")]);
        assert_eq!(find(&auth, Some(b"Bearer correct horse")), Ok("ann"));
        assert_eq!(find(&auth, Some(b"bearer  battery staple ")), Ok("bob"));
        for wrong in
            [&b"Bearer correct"[..], b"Bearer correct horse battery", b"Bearer \xff", b"Bearer ", b"Bearer ann"]
        {
            assert_eq!(find(&auth, Some(wrong)), Err(OperatorAuthError::WrongToken), "{wrong:?}");
        }
        for none in [&b"Basic Y29ycmVjdCBob3JzZQ=="[..], b"correct horse", b"Bearer", b""] {
            assert_eq!(find(&auth, Some(none)), Err(OperatorAuthError::NoToken), "{none:?}");
        }
        assert_eq!(find(&auth, None), Err(OperatorAuthError::NoToken));
        assert!(!format!("{auth:?}").contains("horse"));
    }

    #[test]
    fn without_a_configured_token_every_request_is_rejected_and_none_counts_as_a_guess() {
        let auth = auth(&[]);
        let network = ClientNetwork::of_address(IpAddr::V4(Ipv4Addr::LOCALHOST));
        for authorization in [Some(&b"Bearer "[..]), Some(b"Bearer x"), None].repeat(4) {
            let rejected = auth.authenticate(request_token(&headers(authorization)), network, Instant::now());
            assert_eq!(rejected, Err(OperatorAuthError::NotConfigured));
        }
    }

    #[test]
    fn guesses_lock_out_and_requests_without_a_token_do_not() {
        let auth = auth(&[("ann", "correct horse")]);
        let network = ClientNetwork::of_address(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let start = Instant::now();
        let send = |authorization: Option<&[u8]>, now| {
            auth.authenticate(request_token(&headers(authorization)), network, now).cloned()
        };
        for _ in 0..20 {
            assert_eq!(send(None, start), Err(OperatorAuthError::NoToken));
        }
        for _ in 0..5 {
            assert_eq!(send(Some(b"Bearer x"), start), Err(OperatorAuthError::WrongToken));
        }
        for authorization in [Some(&b"Bearer correct horse"[..]), Some(b"Bearer x"), None] {
            assert_eq!(send(authorization, start), Err(OperatorAuthError::LockedOut(60)));
        }
        assert!(send(Some(b"Bearer correct horse"), start + Duration::from_secs(60)).is_ok());
        let response = OperatorAuthError::LockedOut(60).into_response();
        assert_eq!((response.status().as_u16(), &response.headers()["retry-after"]), (429, &HeaderValue::from(60)));
    }
}
