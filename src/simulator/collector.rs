//! Plays a collector of OpenTelemetry: keeps the traces of the server, and checks their form.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

use super::transcript::{ServerSignal, Transcript, TranscriptEvent, lock};

/// The collector. Clones share what it has received.
#[derive(Clone)]
pub(super) struct ScriptedCollector {
    received: Arc<Mutex<Received>>,
    transcript: Transcript,
}

/// What the server has sent.
#[derive(Default)]
struct Received {
    bytes: Vec<u8>,
    spans: Vec<Span>,
}

impl ScriptedCollector {
    pub(super) fn new(transcript: Transcript) -> Self {
        Self { received: Arc::default(), transcript }
    }

    pub(super) fn router(&self) -> Router {
        Router::new().route("/v1/traces", post(receive)).with_state(self.clone())
    }

    /// The spans of all requests, in the order in which they came.
    pub(super) fn spans(&self) -> Vec<Span> {
        lock(&self.received).spans.clone()
    }

    /// The bodies of all requests, one behind the other.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> Vec<u8> {
        lock(&self.received).bytes.clone()
    }

    /// Records the traces as evidence, and what is wrong with them.
    pub(super) fn check(&self) {
        let spans = self.spans();
        let mut text = String::new();
        for span in &spans {
            let _ = writeln!(text, "{}{}", span.name, attributes_text(&span.attributes));
            for event in &span.events {
                let _ = writeln!(text, "  {}{}", event.name, attributes_text(&event.attributes));
            }
        }
        self.transcript.record_evidence("the traces", text);
        for fault in find_faults(&spans, self.is_server_killed()) {
            self.transcript.record_violation(format!("the traces have {fault}"));
        }
    }

    fn is_server_killed(&self) -> bool {
        let kills = |event: &TranscriptEvent| matches!(event, TranscriptEvent::ServerSignalled(ServerSignal::Kill));
        self.transcript.entries().iter().any(|entry| kills(&entry.event))
    }
}

async fn receive(State(collector): State<ScriptedCollector>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let is_protobuf = headers.get("content-type").is_some_and(|kind| kind == "application/x-protobuf");
    let Some(request) = ExportTraceServiceRequest::decode(&body[..]).ok().filter(|_| is_protobuf) else {
        collector.transcript.record_violation("the server sent traces that are no protobuf of OTLP");
        return StatusCode::BAD_REQUEST;
    };
    let mut received = lock(&collector.received);
    received.bytes.extend_from_slice(&body);
    let scopes = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
    received.spans.extend(scopes.flat_map(|scope| scope.spans));
    StatusCode::OK
}

/// The value of a text attribute.
pub(super) fn text_of<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a str> {
    match attributes.iter().find(|attribute| attribute.key == key)?.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text),
        _ => None,
    }
}

fn attributes_text(attributes: &[KeyValue]) -> String {
    attributes.iter().fold(String::new(), |mut text, attribute| {
        let value = attribute.value.as_ref().and_then(|value| value.value.as_ref());
        let _ = write!(text, " {}={value:?}", attribute.key);
        text
    })
}

/// Finds what no trace may have. A kind of operation has the attributes that the conventions require of it. Spans that a
/// killed server had not sent yet are lost, and may be the parents of others.
fn find_faults(spans: &[Span], is_server_killed: bool) -> BTreeSet<String> {
    let mut faults = BTreeSet::new();
    let by_id: BTreeMap<_, _> = spans.iter().map(|span| ((&span.trace_id, &span.span_id), span)).collect();
    if by_id.len() < spans.len() {
        faults.insert("a span twice".to_owned());
    }
    for span in spans {
        let mut require = |is_right: bool, what: &str| {
            if !is_right {
                faults.insert(format!("a span {:?} {what}", span.name));
            }
        };
        let parent = by_id.get(&(&span.trace_id, &span.parent_span_id));
        require(span.trace_id.len() == 16 && span.span_id.len() == 8, "with an identifier of another length");
        let (is_root, has_parent) = (["call", "conversation"].contains(&&*span.name), !span.parent_span_id.is_empty());
        // A request to place a call comes before the root of its trace.
        require(has_parent != is_root || span.name.starts_with("POST"), "that is or is not the root");
        require(!has_parent || parent.is_some() || is_server_killed, "without its parent");
        require(span.start_time_unix_nano <= span.end_time_unix_nano, "that ends before it begins");
        require(
            parent.is_none_or(|parent| parent.start_time_unix_nano <= span.start_time_unix_nano),
            "that begins before its parent",
        );
        let times: Vec<_> = span.events.iter().map(|event| event.time_unix_nano).collect();
        require(times.is_sorted(), "with events in another order than that of time");
        let within = span.start_time_unix_nano..=span.end_time_unix_nano;
        require(times.iter().all(|time| within.contains(time)), "with an event that is not within it");
        let required: &[&str] = match span.name.split(' ').next() {
            Some("chat") => {
                &["gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model", "server.address"]
            }
            Some("invoke_agent") => &["gen_ai.operation.name", "gen_ai.provider.name", "server.address"],
            Some("execute_tool") => &["gen_ai.operation.name", "gen_ai.tool.name"],
            Some("POST") => &["http.request.method", "url.template", "server.address"],
            Some("call" | "conversation" | "turn") => &["gen_ai.conversation.id"],
            Some("payment") => &["crelay.payment.sid"],
            _ => &["a name that is known"],
        };
        for key in required {
            require(text_of(&span.attributes, key).is_some(), &format!("without {key}"));
        }
    }
    faults
}
