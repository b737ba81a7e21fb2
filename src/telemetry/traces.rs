//! Builds the spans of a call's trace from the records of its turns and of its end. Pure, like the records: what is in
//! them is in the trace, under the names of OpenTelemetry's semantic conventions for generative AI and HTTP.
//!
//! All identifiers are derived from the call's SID, so the spans of a turn are sent when it ends, long before the span
//! of the call that they belong to.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::span::{Event, SpanKind};
use opentelemetry_proto::tonic::trace::v1::{Span, Status, status::StatusCode};
use sha2::{Digest as _, Sha256};
use url::Url;

use super::TelemetryRecord;
use super::call::{CallRecord, CallWork, ChatRecord, LateTool, PaymentStep, PaymentTimeline};
use super::metrics::TwilioOperation;
use super::turn::{ResponseSpan, ToolSpan, TurnRecord};
use super::twilio_work::TwilioAttempt;
use crate::config::TraceSampler;
use crate::ids::CallSid;

/// The flags of a span: it is sampled, and its parent is in this process.
const FLAGS: u32 = 0x101;

/// `error.type` of an error of which no more is known.
const OTHER_ERROR: &str = "_OTHER";

/// A server that is asked for something.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    address: String,
    port: u16,
}

/// What answers the caller, in the words of the conventions.
#[derive(Debug, Clone)]
pub(crate) struct ModelPeer {
    /// `gen_ai.operation.name`.
    pub(crate) operation: &'static str,
    /// `gen_ai.provider.name`.
    pub(crate) provider: &'static str,
    /// `gen_ai.request.model`, if the server knows it.
    pub(crate) model: Option<String>,
    /// Where it is.
    pub(crate) server: Peer,
}

/// Builds spans from records.
#[derive(Debug)]
pub(crate) struct TraceBuilder {
    /// The calls that are traced.
    pub(crate) sampler: TraceSampler,
    /// What answers the caller.
    pub(crate) model: ModelPeer,
    /// Twilio's REST API.
    pub(crate) twilio: Peer,
}

/// The trace of a call, and its root.
struct Trace {
    id: [u8; 16],
    root: SpanId,
}

type SpanId = [u8; 8];

/// A point on two clocks.
#[derive(Clone, Copy)]
struct Anchor {
    /// In nanoseconds since 1970.
    unix: u64,
    instant: Instant,
}

impl TraceSampler {
    /// Whether this call is traced. The same share of traces is chosen as by the other programs that use the ratio.
    fn admits(self, trace_id: [u8; 16]) -> bool {
        match self {
            Self::AlwaysOn => true,
            Self::AlwaysOff => false,
            #[expect(clippy::cast_precision_loss, reason = "a share needs no more precision")]
            Self::Ratio(share) => {
                let number = u64::from_be_bytes(*trace_id.last_chunk().expect("8 of 16 bytes")) >> 1;
                (number as f64) < share * (1_u64 << 63) as f64
            }
        }
    }
}

impl Peer {
    /// The server of a URL; an empty name of one that is none.
    pub(crate) fn of_text(url: &str) -> Self {
        let url = Url::parse(url).ok();
        let address = url.as_ref().and_then(Url::host_str).unwrap_or_default().to_owned();
        Self { address, port: url.and_then(|url| url.port_or_known_default()).unwrap_or_default() }
    }

    fn attributes(&self) -> [KeyValue; 2] {
        [text("server.address", &*self.address), number("server.port", self.port)]
    }
}

impl Trace {
    /// The trace of a call whose session began at this time. A call may have several sessions, each with a root.
    fn of_call(call: &CallSid, began_at: Timestamp) -> Self {
        let id = first_bytes(&Sha256::digest(call.as_str()));
        let root = span_id(&id, "call", nanoseconds_of(began_at));
        Self { id, root }
    }

    fn span(&self, id: SpanId, parent: Option<SpanId>, name: &str, kind: SpanKind, (start, end): (u64, u64)) -> Span {
        Span {
            trace_id: self.id.to_vec(),
            span_id: id.to_vec(),
            parent_span_id: parent.map(Vec::from).unwrap_or_default(),
            flags: FLAGS,
            name: name.to_owned(),
            kind: kind.into(),
            start_time_unix_nano: start,
            // The clock that gave the start may have been set since then.
            end_time_unix_nano: end.max(start),
            ..Span::default()
        }
    }
}

impl TraceBuilder {
    /// Builds the spans of a record; none if the call or the chat is not sampled.
    pub(crate) fn spans(&self, record: &TelemetryRecord) -> Vec<Span> {
        let (call, began_at) = match record {
            TelemetryRecord::Turn(turn) => (&turn.call_sid, turn.call_began_at),
            TelemetryRecord::Call(call) => (&call.call_sid, call.began_at),
            TelemetryRecord::Chat(chat) => (&chat.call_sid, chat.began_at),
            TelemetryRecord::Tool(late) => (&late.call_sid, late.call_began.1),
            // The root is not known, and not needed.
            TelemetryRecord::Twilio(work) => (&work.call_sid, work.recorded.1),
        };
        let trace = Trace::of_call(call, began_at);
        if !self.sampler.admits(trace.id) {
            return Vec::new();
        }
        match record {
            TelemetryRecord::Turn(turn) => self.turn_spans(&trace, turn),
            TelemetryRecord::Call(call) => call_spans(&trace, call),
            TelemetryRecord::Chat(chat) => vec![chat_span(&trace, chat)],
            TelemetryRecord::Tool(late) => self.late_tool_spans(&trace, late),
            TelemetryRecord::Twilio(work) => self.work_spans(&trace, work),
        }
    }

    fn turn_spans(&self, trace: &Trace, turn: &TurnRecord) -> Vec<Span> {
        let id = span_id(&trace.root, "turn", turn.number.into());
        let anchor = Anchor::of((turn.began, turn.began_at));
        let at = |since: Duration| after(anchor.unix, since);
        let times = (anchor.unix, at(turn.ended));
        let mut span = trace.span(id, Some(trace.root), "turn", SpanKind::Internal, times);
        span.attributes = vec![
            text("gen_ai.conversation.id", turn.call_sid.as_str()),
            number("crelay.turn.number", turn.number),
            text("crelay.turn.trigger", turn.trigger.as_str()),
            text("crelay.turn.end", turn.end.as_str()),
        ];
        span.attributes.extend(turn.cost.map(|cost| double("crelay.cost_usd", cost.as_dollars())));
        let moments = [("first_frame", turn.first_frame), ("speaking", turn.speaking), ("last_frame", turn.last_frame)];
        span.events = moments.into_iter().filter_map(|(name, since)| Some(event(name, at(since?)))).collect();
        span.events.sort_by_key(|event| event.time_unix_nano);
        let mut spans = vec![span];
        for (index, response) in (0..).zip(&turn.responses) {
            let id_of_response = span_id(&id, "model", index);
            let times = (at(response.asked), at(response.ended.unwrap_or(turn.ended)));
            spans.push(self.response_span(trace, id_of_response, id, response, times, turn.call_sid.as_str()));
        }
        for (index, tool) in (0..).zip(&turn.tools) {
            // One that an earlier turn started would begin before its parent.
            let parent = if tool.started < turn.began { trace.root } else { id };
            self.add_tool(&mut spans, trace, (span_id(&id, "tool", index), parent), tool, anchor);
        }
        spans
    }

    fn response_span(
        &self,
        trace: &Trace,
        id: SpanId,
        turn: SpanId,
        response: &ResponseSpan,
        times: (u64, u64),
        conversation: &str,
    ) -> Span {
        let ModelPeer { operation, provider, model, server } = &self.model;
        let name = model.as_ref().map_or_else(|| (*operation).to_owned(), |model| format!("{operation} {model}"));
        let mut span = trace.span(id, Some(turn), &name, SpanKind::Client, times);
        span.attributes = vec![
            text("gen_ai.operation.name", *operation),
            text("gen_ai.provider.name", *provider),
            text("gen_ai.conversation.id", conversation),
        ];
        span.attributes.extend(model.as_ref().map(|model| text("gen_ai.request.model", model.as_str())));
        span.attributes.extend(server.attributes());
        if let Some(waited) = response.first_token.and_then(|first| first.checked_sub(response.asked)) {
            span.attributes.push(double("gen_ai.response.time_to_first_chunk", waited.as_secs_f64()));
        }
        if let Some(report) = &response.report {
            span.attributes.extend([
                number("gen_ai.usage.input_tokens", report.usage.input),
                number("gen_ai.usage.cache_read.input_tokens", report.usage.cached),
                number("gen_ai.usage.output_tokens", report.usage.output),
                number("gen_ai.usage.reasoning.output_tokens", report.usage.reasoning),
                number("crelay.model.attempts", report.attempts),
            ]);
            span.attributes.extend(report.request_id.as_deref().map(|id| text("crelay.model.request_id", id)));
        }
        if response.is_failed {
            set_error(&mut span, OTHER_ERROR);
        }
        span
    }

    fn add_tool(
        &self,
        spans: &mut Vec<Span>,
        trace: &Trace,
        (id, parent): (SpanId, SpanId),
        tool: &ToolSpan,
        anchor: Anchor,
    ) {
        let times = (anchor.at(tool.started), anchor.at(tool.finished));
        let name = format!("execute_tool {}", tool.name);
        let mut span = trace.span(id, Some(parent), &name, SpanKind::Internal, times);
        span.attributes = vec![
            text("gen_ai.operation.name", "execute_tool"),
            text("gen_ai.tool.name", tool.name),
            text("gen_ai.tool.type", "function"),
            text("crelay.tool.result", tool.result.as_str()),
        ];
        spans.push(span);
        for (index, attempt) in (0..).zip(&tool.twilio.attempts) {
            spans.extend(self.twilio_span(trace, span_id(&id, "twilio", index), Some(id), attempt, anchor));
        }
    }

    fn late_tool_spans(&self, trace: &Trace, late: &LateTool) -> Vec<Span> {
        let anchor = Anchor::of(late.call_began);
        let id = span_id(&trace.root, "late_tool", anchor.at(late.tool.started));
        let mut spans = Vec::new();
        self.add_tool(&mut spans, trace, (id, trace.root), &late.tool, anchor);
        spans
    }

    /// The session of the call is not known: it has not begun, or was that of an earlier server. So these have no parent.
    fn work_spans(&self, trace: &Trace, work: &CallWork) -> Vec<Span> {
        let anchor = Anchor::of(work.recorded);
        let start = work.work.attempts.first().map_or(0, |attempt| anchor.at(attempt.started));
        let attempts = work.work.attempts.iter().filter_map(|attempt| {
            let id = span_id(&trace.id, "twilio", start.wrapping_add(attempt.number as u64));
            self.twilio_span(trace, id, None, attempt, anchor)
        });
        attempts.collect()
    }

    /// The conventions want a span for each attempt. `url.full` would have the SIDs of account, call and payment.
    fn twilio_span(
        &self,
        trace: &Trace,
        id: SpanId,
        parent: Option<SpanId>,
        attempt: &TwilioAttempt,
        anchor: Anchor,
    ) -> Option<Span> {
        let template = attempt.operation.url_template()?;
        let times = (anchor.at(attempt.started), anchor.at(attempt.finished));
        let mut span = trace.span(id, parent, &format!("POST {template}"), SpanKind::Client, times);
        span.attributes = vec![text("http.request.method", "POST"), text("url.template", template)];
        span.attributes.extend(self.twilio.attributes());
        if let Some(repeated) = attempt.number.checked_sub(1).filter(|repeated| *repeated > 0) {
            span.attributes.push(number("http.request.resend_count", u64::try_from(repeated).unwrap_or(u64::MAX)));
        }
        match attempt.result {
            None => set_error(&mut span, "no_response"),
            Some((status, code)) => {
                span.attributes.push(number("http.response.status_code", status));
                span.attributes.extend(code.map(|code| number("crelay.twilio.error_code", code)));
                if status >= 400 {
                    set_error(&mut span, &status.to_string());
                }
            }
        }
        span.attributes.extend(attempt.request_id.as_deref().map(|id| text("crelay.twilio.request_id", id)));
        Some(span)
    }
}

/// The root of a chat.
fn chat_span(trace: &Trace, chat: &ChatRecord) -> Span {
    let start = nanoseconds_of(chat.began_at);
    let times = (start, after(start, chat.duration));
    let mut root = trace.span(trace.root, None, "conversation", SpanKind::Server, times);
    root.attributes = vec![
        text("gen_ai.conversation.id", chat.call_sid.as_str()),
        number("crelay.chat.turns", chat.totals.turns),
        number("crelay.chat.interrupted", chat.totals.interrupted),
    ];
    root.attributes.extend(chat.totals.cost.map(|cost| double("crelay.cost_usd", cost.as_dollars())));
    root
}

/// The root, and a span for each payment session.
fn call_spans(trace: &Trace, call: &CallRecord) -> Vec<Span> {
    let start = nanoseconds_of(call.began_at);
    let end = after(start, call.duration);
    let mut root = trace.span(trace.root, None, "call", SpanKind::Server, (start, end));
    let totals = &call.totals;
    root.attributes = vec![
        text("gen_ai.conversation.id", call.call_sid.as_str()),
        text("crelay.call.direction", if call.outbound { "outbound" } else { "inbound" }),
        text("crelay.call.end", call.end),
        text("crelay.call.reason", call.reason),
        boolean("crelay.call.handed_off", call.is_handed_off),
        number("crelay.call.turns", totals.turns),
        number("crelay.call.interrupted", totals.interrupted),
        number("crelay.call.resumes", totals.resumes),
        number("crelay.call.payments", totals.payments),
        number("crelay.call.wrong_entries", totals.wrong_entries),
    ];
    root.attributes.extend(totals.payment.map(|end| text("crelay.payment.end", end.as_str())));
    root.attributes.extend(totals.cost.map(|cost| double("crelay.cost_usd", cost.as_dollars())));
    if call.end == "panicked" {
        set_error(&mut root, OTHER_ERROR);
    }
    let payments = (0..)
        .zip(&totals.payment_timelines)
        .filter_map(|(index, timeline)| payment_span(trace, span_id(&trace.root, "payment", index), start, timeline));
    std::iter::once(root).chain(payments).collect()
}

fn payment_span(trace: &Trace, id: SpanId, call_start: u64, timeline: &PaymentTimeline) -> Option<Span> {
    let (first, last) = (timeline.steps.first()?.0, timeline.steps.last()?.0);
    let times = (after(call_start, first), after(call_start, last));
    let mut span = trace.span(id, Some(trace.root), "payment", SpanKind::Internal, times);
    span.attributes.push(text("crelay.payment.sid", timeline.sid.as_str()));
    for (since, step) in &timeline.steps {
        let at = after(call_start, *since);
        let (name, attribute) = match step {
            PaymentStep::Opened => ("payment.opened", None),
            PaymentStep::Captured(field) => {
                ("payment.field_captured", Some(text("crelay.payment.field", field.wire_name())))
            }
            PaymentStep::WrongEntry(field) => {
                ("payment.invalid_entry", Some(text("crelay.payment.field", field.wire_name())))
            }
            PaymentStep::Submitted => ("payment.submitted", None),
            PaymentStep::Refused(code) => ("payment.request_refused", Some(number("crelay.twilio.error_code", *code))),
            PaymentStep::Stalled => ("payment.stalled", None),
            PaymentStep::Ended(end) => {
                span.attributes.retain(|attribute| attribute.key != "crelay.payment.end");
                span.attributes.push(text("crelay.payment.end", end.as_str()));
                ("payment.ended", Some(text("crelay.payment.end", end.as_str())))
            }
        };
        span.events.push(Event { attributes: attribute.into_iter().collect(), ..event(name, at) });
    }
    Some(span)
}

impl Anchor {
    fn of((instant, time): (Instant, Timestamp)) -> Self {
        Self { unix: nanoseconds_of(time), instant }
    }

    /// A time of the monotonic clock in nanoseconds since 1970.
    fn at(self, instant: Instant) -> u64 {
        match instant.checked_duration_since(self.instant) {
            Some(since) => after(self.unix, since),
            None => self.unix.saturating_sub(nanoseconds(self.instant.saturating_duration_since(instant))),
        }
    }
}

impl TwilioOperation {
    /// The path of its resource, with names in place of SIDs; `None` of those that are not for a call.
    fn url_template(self) -> Option<&'static str> {
        match self {
            Self::CreatePayment => Some("/2010-04-01/Accounts/{AccountSid}/Calls/{CallSid}/Payments.json"),
            Self::UpdatePayment => Some("/2010-04-01/Accounts/{AccountSid}/Calls/{CallSid}/Payments/{Sid}.json"),
            Self::CreateRecording => Some("/2010-04-01/Accounts/{AccountSid}/Calls/{CallSid}/Recordings.json"),
            Self::UpdateRecording => Some("/2010-04-01/Accounts/{AccountSid}/Calls/{CallSid}/Recordings/{Sid}.json"),
            Self::SendMessage => Some("/2010-04-01/Accounts/{AccountSid}/Messages.json"),
            Self::PlaceCall => Some("/2010-04-01/Accounts/{AccountSid}/Calls.json"),
            Self::ReadSync | Self::WriteSync => None,
        }
    }
}

/// Derives the identifier of a span from its parent's, what it is, and its number among those.
fn span_id(parent: &[u8], kind: &str, number: u64) -> SpanId {
    let hash = Sha256::new().chain_update(parent).chain_update(kind).chain_update(number.to_be_bytes()).finalize();
    first_bytes(&hash)
}

fn first_bytes<const N: usize>(hash: &[u8]) -> [u8; N] {
    *hash.first_chunk().expect("a hash of 32 bytes is longer")
}

fn nanoseconds_of(at: Timestamp) -> u64 {
    u64::try_from(at.as_nanosecond()).unwrap_or_default()
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn after(start: u64, since: Duration) -> u64 {
    start.saturating_add(nanoseconds(since))
}

fn event(name: &str, at: u64) -> Event {
    Event { time_unix_nano: at, name: name.to_owned(), ..Event::default() }
}

fn set_error(span: &mut Span, kind: &str) {
    span.attributes.push(text("error.type", kind));
    span.status = Some(Status { code: StatusCode::Error.into(), ..Status::default() });
}

/// An attribute with a text.
pub(super) fn text(key: &str, value: impl Into<String>) -> KeyValue {
    attribute(key, Value::StringValue(value.into()))
}

fn number(key: &str, value: impl Into<u64>) -> KeyValue {
    attribute(key, Value::IntValue(i64::try_from(value.into()).unwrap_or(i64::MAX)))
}

fn double(key: &str, value: f64) -> KeyValue {
    attribute(key, Value::DoubleValue(value))
}

fn boolean(key: &str, value: bool) -> KeyValue {
    attribute(key, Value::BoolValue(value))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

#[cfg(test)]
mod tests;
