//! Configuration that is allowed and probably not intended.

/// A warning at startup; the server runs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigWarning {
    /// The connector is given by its SID instead of its unique name.
    #[error("PAYMENT_CONNECTOR looks like a PC… SID: Twilio expects the unique name of the connector")]
    ConnectorSid,
    /// Requests are accepted without a signature of Twilio, at an address on this machine.
    #[error("VALIDATE_TWILIO_SIGNATURE is off: any program on this machine can start calls and report payments")]
    SignatureUnchecked,
    /// The base URL is a local address.
    #[error(
        "SERVER_BASE_URL is an address of this machine or network, which Twilio cannot reach: use a tunnel such as ngrok and \
         set its address"
    )]
    LocalBaseUrl,
    /// The URL is plain http to another machine of a private network.
    #[error("{0} is plain http: data sent there, including credentials, can be read in transit")]
    PlainHttp(&'static str),
    /// There is no live agent to hand calls off to.
    #[error(
        "neither LIVE_AGENT_NUMBER nor LIVE_AGENT_WORKFLOW_SID is set: a caller who should be handed off hears an apology, and the call ends"
    )]
    NoLiveAgent,
    /// An insecure set-up that `ALLOW_INSECURE` names.
    #[error("{place} {what}: allowed by ALLOW_INSECURE={setup}")]
    InsecureAllowed {
        /// The variable or file.
        place: String,
        /// What is wrong: a predicate whose subject is `place`.
        what: String,
        /// The name of the set-up.
        setup: &'static str,
    },
    /// Requests to the business are signed, and none reports the outcomes of payments.
    #[error(
        "PAYMENT_WEBHOOK_SECRET is set, and PAYMENT_WEBHOOK_URL is not: the business is not notified of the outcomes of payments"
    )]
    NoWebhookUrl,
    /// A SID has an unexpected prefix.
    #[error("{variable} does not begin with {prefix}: it may be another SID, or belong to another variable")]
    UnexpectedSidPrefix {
        /// The variable.
        variable: &'static str,
        /// The prefix of SIDs of that kind.
        prefix: &'static str,
    },
    /// `TWILIO_EDGE` or `TWILIO_REGION` is overridden by `TWILIO_API_BASE_URL`.
    #[error("TWILIO_EDGE and TWILIO_REGION have no effect, since TWILIO_API_BASE_URL is set")]
    EdgeIgnored,
    /// Traces are to be sent in another way than that of this server.
    #[error(
        "OTEL_EXPORTER_OTLP_PROTOCOL has no effect: traces are sent as http/protobuf, and OTEL_EXPORTER_OTLP_ENDPOINT must be \
         an endpoint for that, usually on port 4318"
    )]
    OtlpProtocol,
    /// Flowise is configured and not used.
    #[error("FLOWISE_URL has no effect: set RESPONSE_SERVICE=flowise as well, or neither")]
    FlowiseUnused,
}
