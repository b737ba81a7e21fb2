//! Request authentication: Twilio by its signature, operators and clients of a call by a bearer token, the console by a
//! cookie.

mod attempt_limiter;
pub(super) mod call_token;
pub(super) mod call_webhook;
pub(super) mod client_network;
pub(super) mod console_session;
pub(super) mod operator_token;
pub(super) mod twilio_signature;

/// Returns the token after the scheme `Bearer`, which is case-insensitive.
pub(super) fn bearer_token(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
}
