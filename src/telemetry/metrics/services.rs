//! The metrics of what the server uses: the model's server, tools, Twilio's REST API, the ledger.

use std::time::Duration;

use prometheus_client::metrics::family::MetricConstructor as _;
use prometheus_client::metrics::histogram::Histogram;

use super::{Counters, Histograms, LATENCY, Registrar, count, observe};
use crate::telemetry::ToolSpan;

/// Twilio's error codes that have a label of their own. Others are `other`.
pub(super) const TWILIO_CODES: [(u32, &str); 42] = [
    (20001, "20001"),
    (20003, "20003"),
    (20404, "20404"),
    (20429, "20429"),
    (21205, "21205"),
    (21210, "21210"),
    (21211, "21211"),
    (21212, "21212"),
    (21214, "21214"),
    (21215, "21215"),
    (21216, "21216"),
    (21220, "21220"),
    (21408, "21408"),
    (21602, "21602"),
    (21610, "21610"),
    (54006, "54006"),
    (54008, "54008"),
    (54103, "54103"),
    (54301, "54301"),
    (64001, "64001"),
    (64002, "64002"),
    (64003, "64003"),
    (64004, "64004"),
    (64005, "64005"),
    (64006, "64006"),
    (64007, "64007"),
    (64008, "64008"),
    (64009, "64009"),
    (64010, "64010"),
    (64011, "64011"),
    (64012, "64012"),
    (64013, "64013"),
    (64014, "64014"),
    (64015, "64015"),
    (64017, "64017"),
    (64018, "64018"),
    (64019, "64019"),
    (64020, "64020"),
    (64021, "64021"),
    (64022, "64022"),
    (64023, "64023"),
    (64024, "64024"),
];

/// Classes of HTTP statuses; `none` stands for no answer.
pub(super) const TWILIO_STATUSES: [&str; 6] = ["2xx", "429", "4xx", "5xx", "none", "other"];

/// Whether the collector of traces has taken a span.
pub(super) const SPAN_RESULTS: [&str; 2] = ["exported", "dropped"];

#[derive(Debug)]
pub(in crate::telemetry) struct ServiceMetrics {
    model_failures: Counters<2>,
    tool_calls: Counters<1>,
    tools: Counters<2>,
    tool_seconds: Histograms,
    twilio: Counters<3>,
    twilio_seconds: Histograms,
    ledger_seconds: Histogram,
    spans: Counters<1>,
    refused_webhooks: Counters<1>,
}

/// Why a request to the model's server has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ModelFailure {
    /// The connection failed.
    NoResponse,
    /// A time limit was reached.
    Timeout,
    /// HTTP 429.
    RateLimited,
    /// Another HTTP status from 400 to 499.
    Refused,
    /// An HTTP status from 500 on.
    ServerError,
    /// The response broke off.
    BrokenOff,
    /// The response could not be read, or has nothing in it.
    Unusable,
    /// The server reported a failure within the response.
    Reported,
}

/// How a tool ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ToolResult {
    /// It did what it was asked for.
    Done,
    /// It was refused, or failed certainly.
    Refused,
    /// A limit stopped it.
    LimitExceeded,
    /// Its effect is unknown.
    Unknown,
}

/// What Twilio's REST API was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TwilioOperation {
    /// To open a payment session.
    CreatePayment,
    /// To capture a field, or to complete or cancel a payment session.
    UpdatePayment,
    /// To record a call.
    CreateRecording,
    /// To pause, resume or stop a recording.
    UpdateRecording,
    /// To send a text message.
    SendMessage,
    /// To place a call.
    PlaceCall,
    /// To read assets from Sync.
    ReadSync,
    /// To write assets to Sync.
    WriteSync,
}

/// How Twilio's REST API answered one attempt: a status with an error code, if it gave one; `None` without an answer.
pub(crate) type TwilioResult = Option<(u16, Option<u32>)>;

impl ServiceMetrics {
    pub(super) fn new(registrar: &mut Registrar<'_>, tools: &[&'static str]) -> Self {
        let operations = TwilioOperation::ALL.map(TwilioOperation::as_str);
        let names: Vec<_> = tools.iter().copied().chain(["business"]).collect();
        let metrics = Self {
            model_failures: registrar.add(
                "model_failures",
                "Failed requests to the model's server, by kind and by whether they were repeated",
                Counters::default(),
            ),
            tool_calls: registrar.counters("tool_calls", "Tool calls of the model, by name", "tool", &names),
            tools: registrar.add("tools", "Tools that have run, by name and result", Counters::default()),
            tool_seconds: registrar.histograms(
                "tool_seconds",
                "The time that tools took",
                LATENCY,
                "tool",
                &["business"],
            ),
            twilio: registrar.add(
                "twilio_attempts",
                "Attempts of requests to Twilio's REST API, by operation, status and error code",
                Counters::default(),
            ),
            twilio_seconds: registrar.histograms(
                "twilio_request_seconds",
                "The time that requests to Twilio's REST API took, with all attempts",
                LATENCY,
                "operation",
                &operations,
            ),
            ledger_seconds: registrar.add(
                "ledger_write_seconds",
                "The time that write transactions of the ledger took, with waiting",
                LATENCY.new_metric(),
            ),
            spans: registrar.counters(
                "spans",
                "Spans of traces, by whether the collector has taken them",
                "result",
                &SPAN_RESULTS,
            ),
            refused_webhooks: registrar.counters(
                "webhooks_refused",
                "Requests in the name of Twilio that were refused, by reason",
                "reason",
                &WebhookRefusal::ALL.map(WebhookRefusal::as_str),
            ),
        };
        for (operation, status) in operations.into_iter().flat_map(|name| TWILIO_STATUSES.map(|status| (name, status)))
        {
            // What fails at once many times has to begin at 0, or no increase is seen.
            for code in ["none", "other", "20429"].into_iter().take(if status == "2xx" { 1 } else { 3 }) {
                drop(metrics.twilio.get_or_create(&[("operation", operation), ("status", status), ("code", code)]));
            }
        }
        for kind in ModelFailure::ALL {
            for outcome in ["repeated", "final"] {
                drop(metrics.model_failures.get_or_create(&[("kind", kind.as_str()), ("outcome", outcome)]));
            }
        }
        for result in ToolResult::ALL {
            drop(metrics.tools.get_or_create(&[("tool", "business"), ("result", result.as_str())]));
        }
        metrics
    }

    pub(in crate::telemetry) fn record_model_failure(&self, failure: ModelFailure, is_repeated: bool) {
        let outcome = if is_repeated { "repeated" } else { "final" };
        self.model_failures.get_or_create(&[("kind", failure.as_str()), ("outcome", outcome)]).inc();
    }

    pub(in crate::telemetry) fn record_tool_call(&self, tool: &'static str) {
        count(&self.tool_calls, "tool", tool);
    }

    pub(in crate::telemetry) fn record_tool(&self, tool: &ToolSpan) {
        self.tools.get_or_create(&[("tool", tool.name), ("result", tool.result.as_str())]).inc();
        observe(&self.tool_seconds, "tool", tool.name, tool.duration());
    }

    pub(in crate::telemetry) fn record_twilio_attempt(&self, operation: TwilioOperation, result: TwilioResult) {
        let status = match result {
            None => "none",
            Some((429, _)) => "429",
            Some((200..=299, _)) => "2xx",
            Some((400..=499, _)) => "4xx",
            Some((500..=599, _)) => "5xx",
            Some(_) => "other",
        };
        let code = result.and_then(|(_, code)| code).map_or("none", |code| {
            TWILIO_CODES.iter().find(|(known, _)| *known == code).map_or("other", |(_, word)| word)
        });
        self.twilio.get_or_create(&[("operation", operation.as_str()), ("status", status), ("code", code)]).inc();
    }

    pub(in crate::telemetry) fn record_twilio_request(&self, operation: TwilioOperation, took: Duration) {
        observe(&self.twilio_seconds, "operation", operation.as_str(), took);
    }

    pub(in crate::telemetry) fn record_ledger_write(&self, took: Duration) {
        self.ledger_seconds.observe(took.as_secs_f64());
    }

    pub(in crate::telemetry) fn record_refused_webhook(&self, reason: WebhookRefusal) {
        count(&self.refused_webhooks, "reason", reason.as_str());
    }

    pub(in crate::telemetry) fn record_spans(&self, result: &'static str, spans: u64) {
        self.spans.get_or_create(&[("result", result)]).inc_by(spans);
    }
}

/// Why a request in the name of Twilio was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WebhookRefusal {
    /// It has no valid signature, or its body is too large to have one.
    Signature,
    /// It is signed with a key that is not configured.
    Key,
    /// A payment status callback that cannot be read.
    Unreadable,
}

impl WebhookRefusal {
    pub(super) const ALL: [Self; 3] = [Self::Signature, Self::Key, Self::Unreadable];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Signature => "signature",
            Self::Key => "key",
            Self::Unreadable => "unreadable",
        }
    }
}

impl ModelFailure {
    pub(super) const ALL: [Self; 8] = [
        Self::NoResponse,
        Self::Timeout,
        Self::RateLimited,
        Self::Refused,
        Self::ServerError,
        Self::BrokenOff,
        Self::Unusable,
        Self::Reported,
    ];

    /// The kind of failure of an HTTP status that is no success.
    pub(crate) fn of_status(status: u16) -> Self {
        match status {
            429 => Self::RateLimited,
            500.. => Self::ServerError,
            _ => Self::Refused,
        }
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::NoResponse => "no_response",
            Self::Timeout => "timeout",
            Self::RateLimited => "rate_limited",
            Self::Refused => "refused",
            Self::ServerError => "server_error",
            Self::BrokenOff => "broken_off",
            Self::Unusable => "unusable",
            Self::Reported => "reported",
        }
    }
}

impl ToolResult {
    pub(super) const ALL: [Self; 4] = [Self::Done, Self::Refused, Self::LimitExceeded, Self::Unknown];

    /// The word in the metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
            Self::LimitExceeded => "limit_exceeded",
            Self::Unknown => "unknown",
        }
    }
}

impl TwilioOperation {
    pub(super) const ALL: [Self; 8] = [
        Self::CreatePayment,
        Self::UpdatePayment,
        Self::CreateRecording,
        Self::UpdateRecording,
        Self::SendMessage,
        Self::PlaceCall,
        Self::ReadSync,
        Self::WriteSync,
    ];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::CreatePayment => "create_payment",
            Self::UpdatePayment => "update_payment",
            Self::CreateRecording => "create_recording",
            Self::UpdateRecording => "update_recording",
            Self::SendMessage => "send_message",
            Self::PlaceCall => "place_call",
            Self::ReadSync => "read_sync",
            Self::WriteSync => "write_sync",
        }
    }
}
