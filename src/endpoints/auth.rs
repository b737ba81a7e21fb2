//! Request authentication: Twilio by its signature, operators by a bearer token.

pub(super) mod operator_token;
pub(super) mod twilio_signature;
