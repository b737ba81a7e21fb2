//! What is allowed in a configuration and probably not meant.

/// Something to be told at start; the server runs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Warning {
    /// The connector is given by what looks like its SID.
    #[error("PAYMENT_CONNECTOR looks like a PC… SID: Twilio wants the unique name that the connector was given")]
    ConnectorSid,
    /// Anyone can pretend to be Twilio.
    #[error(
        "VALIDATE_TWILIO_SIGNATURE is off: whoever finds this server can start calls on it and report payments. Never do \
         this in production"
    )]
    SignatureUnchecked,
    /// Twilio is out there.
    #[error(
        "SERVER_BASE_URL is an address of this machine or network, which Twilio cannot reach: use a tunnel such as ngrok and \
         give its address"
    )]
    Unreachable,
    /// Unencrypted, and not to this machine.
    #[error("{0} is plain http: what goes there, credentials included, can be read on the way")]
    PlainHttp(&'static str),
    /// Nobody to hand a call to.
    #[error(
        "neither LIVE_AGENT_NUMBER nor LIVE_AGENT_WORKFLOW_SID is set: a caller who is to be handed off hears an apology, and the call ends"
    )]
    NoLiveAgent,
    /// A token that could be guessed.
    #[error("OPERATOR_TOKEN has fewer than {0} characters: make a longer one, for example with `openssl rand -hex 32`")]
    ShortOperatorToken(usize),
    /// A SID that is not of the kind that belongs there.
    #[error("{variable} does not begin with {prefix}: it may be another SID, or belong to another variable")]
    UnusualSid {
        /// The variable.
        variable: &'static str,
        /// What Twilio's SIDs of that kind begin with.
        prefix: &'static str,
    },
    /// Two answers to one question.
    #[error("TWILIO_EDGE and TWILIO_REGION have no effect, since TWILIO_API_BASE_URL is set")]
    EdgeUnused,
}
