//! Sends the traces of calls to a collector of OpenTelemetry: OTLP over HTTP, as protobuf.
//!
//! One task takes the records, builds spans and sends them in batches, one request at a time. What waits is bounded:
//! while the collector is slow or down, further spans are dropped and counted. A call never waits for it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use futures_util::future::BoxFuture;
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message as _;
use prost::bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::{Client, StatusCode};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::warn;
use uuid::Uuid;

use super::traces::{TraceBuilder, text};
use super::{Telemetry, TelemetryRecord};
use crate::config::TracesConfig;
use crate::http_client::{Target, builder, read_body, retry_after};
use crate::log_limit::LogLimiter;

/// The bounds of an exporter.
#[derive(Debug, Clone, Copy)]
struct ExportLimits {
    /// How many spans may wait. Those that come then are dropped.
    queue: usize,
    /// The maximum number of spans in a request.
    batch: usize,
    /// How long a span waits for others.
    delay: Duration,
    /// The wait before the first repetition of a request; then it is doubled.
    retry_delay: Duration,
    /// How long the end of the server waits for what is left.
    flush: Duration,
}

/// The first three are the defaults of OpenTelemetry's own exporters.
const LIMITS: ExportLimits = ExportLimits {
    queue: 2048,
    batch: 512,
    delay: Duration::from_secs(5),
    retry_delay: Duration::from_secs(1),
    flush: Duration::from_millis(900),
};

/// How often a request is repeated. With the waits between them a batch is given up after a minute, and the time that the
/// requests take.
const RETRIES: usize = 6;

/// The longest wait before a repetition, even if `Retry-After` asks for more.
const MAX_RETRY_WAIT: Duration = Duration::from_secs(30);

/// The part of a response that is read, in bytes.
const MAX_RESPONSE_BYTES: usize = 64 * 1024;

/// Sends the traces of calls.
#[derive(Debug)]
pub(crate) struct TraceExporter {
    collector: Arc<Collector>,
    traces: TraceBuilder,
    limits: ExportLimits,
    records: Receiver<TelemetryRecord>,
    queue: VecDeque<Span>,
    telemetry: Arc<Telemetry>,
    log_limiter: Arc<LogLimiter>,
}

/// The collector, and who sends to it.
#[derive(Debug)]
struct Collector {
    http: Client,
    config: TracesConfig,
    resource: Resource,
}

/// A request on its way, with its repetitions.
struct Export {
    spans: u64,
    /// Returns how many of the spans the collector rejects.
    work: BoxFuture<'static, Result<u64, ExportError>>,
}

/// Why spans are lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ExportError {
    /// No connection, or none in time.
    NoResponse,
    /// The collector answered with a status that says to try again.
    Unavailable,
    /// It answered with another status that is no success.
    Refused,
}

/// A request that failed.
struct FailedPost {
    error: ExportError,
    retry_after: Option<Duration>,
}

impl TraceExporter {
    /// Creates the exporter of what is recorded from now on. It fails if the root certificates cannot be loaded.
    pub(crate) fn new(
        config: &TracesConfig,
        traces: TraceBuilder,
        telemetry: Arc<Telemetry>,
        log_limiter: Arc<LogLimiter>,
    ) -> Result<Self, reqwest::Error> {
        let http = builder(Target::of(&config.endpoint)).timeout(config.timeout).build()?;
        let mut attributes = BTreeMap::from([
            ("service.version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
            ("service.instance.id".to_owned(), Uuid::new_v4().to_string()),
        ]);
        // The operator may know better.
        attributes.extend(config.resource.clone());
        let attributes = attributes.into_iter().map(|(key, value)| text(&key, value)).collect();
        let resource = Resource { attributes, ..Resource::default() };
        Ok(Self {
            collector: Arc::new(Collector { http, config: config.clone(), resource }),
            traces,
            limits: LIMITS,
            records: telemetry.subscribe(),
            queue: VecDeque::new(),
            telemetry,
            log_limiter,
        })
    }

    /// Sends traces until `stop`, and then what is left, for less than a second.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut export = None;
        let mut due = Instant::now();
        loop {
            if self.queue.len() >= self.limits.batch && export.is_none() {
                export = Some(self.begin_export());
            }
            let (waits, is_first) = (!self.queue.is_empty() && export.is_none(), self.queue.is_empty());
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                (spans, result) = finish(&mut export) => self.record_result(spans, result),
                () = sleep_until(due), if waits => export = Some(self.begin_export()),
                record = self.records.recv() => match record {
                    Ok(record) => {
                        self.add(&record);
                        if is_first {
                            due = Instant::now() + self.limits.delay;
                        }
                    }
                    Err(RecvError::Lagged(records)) => self.drop_spans("queue_full", records),
                    // The hub is held here, so this does not happen.
                    Err(RecvError::Closed) => break,
                },
            }
        }
        self.flush(export).await;
    }

    /// Sends what is left, as far as there is time.
    async fn flush(mut self, mut export: Option<Export>) {
        while let Ok(record) = self.records.try_recv() {
            self.add(&record);
        }
        let limit = self.limits.flush;
        let send_all = async {
            loop {
                if export.is_none() && !self.queue.is_empty() {
                    export = Some(self.begin_export());
                }
                if export.is_none() {
                    return;
                }
                let (spans, result) = finish(&mut export).await;
                self.record_result(spans, result);
            }
        };
        let _ = timeout(limit, send_all).await;
        let left = self.queue.len() as u64 + export.map_or(0, |export| export.spans);
        self.drop_spans("server_stopped", left);
    }

    fn add(&mut self, record: &TelemetryRecord) {
        let mut spans = self.traces.spans(record);
        let room = self.limits.queue.saturating_sub(self.queue.len());
        let dropped = spans.len().saturating_sub(room) as u64;
        spans.truncate(room);
        self.queue.extend(spans);
        self.drop_spans("queue_full", dropped);
    }

    /// Takes the next batch. There is one.
    fn begin_export(&mut self) -> Export {
        let batch: Vec<_> = self.queue.drain(..self.queue.len().min(self.limits.batch)).collect();
        let spans = batch.len() as u64;
        let (collector, delay) = (self.collector.clone(), self.limits.retry_delay);
        let body = Bytes::from(collector.encode(batch));
        Export { spans, work: Box::pin(async move { collector.export(body, delay).await }) }
    }

    fn record_result(&self, spans: u64, result: Result<u64, ExportError>) {
        let (dropped, reason) = match result {
            Ok(rejected) => (rejected.min(spans), "rejected"),
            Err(error) => (spans, error.as_str()),
        };
        self.telemetry.record_exported_spans(spans - dropped);
        self.drop_spans(reason, dropped);
    }

    fn drop_spans(&self, reason: &'static str, spans: u64) {
        if spans == 0 {
            return;
        }
        self.telemetry.record_dropped_spans(spans);
        if let Some(left_out) = self.log_limiter.admit("traces.dropped", reason, Instant::now()) {
            warn!(event = "traces.dropped", reason, spans, left_out, "Spans of traces were not sent to the collector.");
        }
    }
}

impl Collector {
    fn encode(&self, spans: Vec<Span>) -> Vec<u8> {
        let scope = InstrumentationScope {
            name: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..InstrumentationScope::default()
        };
        let scope_spans = vec![ScopeSpans { scope: Some(scope), spans, schema_url: String::new() }];
        let resource = Some(self.resource.clone());
        let request = ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans { resource, scope_spans, schema_url: String::new() }],
        };
        request.encode_to_vec()
    }

    /// Sends a request, again where that may succeed. Returns how many of the spans the collector rejects.
    async fn export(&self, body: Bytes, retry_delay: Duration) -> Result<u64, ExportError> {
        let mut waits = ExponentialBuilder::new()
            .with_min_delay(retry_delay)
            .with_max_delay(MAX_RETRY_WAIT)
            .with_max_times(RETRIES)
            .with_jitter()
            .build();
        loop {
            let failure = match self.post(body.clone()).await {
                Ok(rejected) => return Ok(rejected),
                Err(failure) => failure,
            };
            match waits.next().filter(|_| failure.error != ExportError::Refused) {
                Some(wait) => sleep(failure.wait(wait)).await,
                None => return Err(failure.error),
            }
        }
    }

    async fn post(&self, body: Bytes) -> Result<u64, FailedPost> {
        let TracesConfig { endpoint, headers, .. } = &self.config;
        let request = self.http.post(endpoint.clone()).headers(headers.clone());
        let response = request.header(CONTENT_TYPE, "application/x-protobuf").body(body).send().await;
        let response = response.map_err(|_| FailedPost { error: ExportError::NoResponse, retry_after: None })?;
        let status = response.status();
        if !status.is_success() {
            return Err(FailedPost::new(status, response.headers()));
        }
        // The spans have arrived: a body that cannot be read changes nothing.
        let body = read_body(response, MAX_RESPONSE_BYTES).await.unwrap_or_default();
        let answer = ExportTraceServiceResponse::decode(&body[..]).unwrap_or_default();
        Ok(answer.partial_success.map_or(0, |partial| partial.rejected_spans.try_into().unwrap_or_default()))
    }
}

impl FailedPost {
    fn new(status: StatusCode, headers: &HeaderMap) -> Self {
        match status.as_u16() {
            429 | 502 | 503 | 504 => Self { error: ExportError::Unavailable, retry_after: retry_after(headers) },
            _ => Self { error: ExportError::Refused, retry_after: None },
        }
    }

    /// How long to wait before the next attempt, which is not before `backoff` has passed.
    fn wait(&self, backoff: Duration) -> Duration {
        self.retry_after.unwrap_or_default().max(backoff).min(MAX_RETRY_WAIT)
    }
}

impl ExportError {
    fn as_str(self) -> &'static str {
        match self {
            Self::NoResponse => "no_response",
            Self::Unavailable => "unavailable",
            Self::Refused => "refused",
        }
    }
}

/// Waits for a request on its way, which is then none any more. Without one it never completes.
async fn finish(export: &mut Option<Export>) -> (u64, Result<u64, ExportError>) {
    let Some(Export { spans, work }) = export else { return std::future::pending().await };
    let finished = (*spans, work.await);
    *export = None;
    finished
}

#[cfg(test)]
mod tests;
