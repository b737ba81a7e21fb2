//! Tests of the exporter against collectors over real sockets.

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTracePartialSuccess;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::*;
use crate::captured_log::CapturedLog;
use crate::config::TraceSampler;
use crate::telemetry::{ModelPeer, Peer, Snapshot, TurnRecord};

const PATIENCE: Duration = Duration::from_secs(8);

/// What each turn of the tests has: itself, and a response.
const SPANS: usize = 2;

/// How a collector answers the request with this number.
type AnswerFn = fn(usize) -> Answer;

enum Answer {
    Status(u16),
    /// 200, with so many spans rejected.
    Rejects(i64),
    Nothing,
}

#[derive(Clone)]
struct TestCollector {
    answer: AnswerFn,
    requests: mpsc::Sender<(HeaderMap, Bytes)>,
    count: Arc<std::sync::atomic::AtomicUsize>,
}

/// An exporter with its collector.
struct Harness {
    telemetry: Arc<Telemetry>,
    stop: CancellationToken,
    exporting: JoinHandle<()>,
    requests: mpsc::Receiver<(HeaderMap, Bytes)>,
}

async fn receive(State(collector): State<TestCollector>, headers: HeaderMap, body: Bytes) -> Response {
    let number = collector.count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let _ = collector.requests.try_send((headers, body));
    match (collector.answer)(number) {
        Answer::Status(status) => (StatusCode::from_u16(status).unwrap(), [("retry-after", "0")]).into_response(),
        Answer::Rejects(rejected_spans) => {
            let partial = ExportTracePartialSuccess { rejected_spans, ..ExportTracePartialSuccess::default() };
            ExportTraceServiceResponse { partial_success: Some(partial) }.encode_to_vec().into_response()
        }
        Answer::Nothing => std::future::pending().await,
    }
}

impl Harness {
    /// Starts both, with bounds that suit a test.
    async fn start(answer: AnswerFn, change: fn(&mut ExportLimits)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}/v1/traces", listener.local_addr().unwrap());
        let (sender, requests) = mpsc::channel(64);
        let collector = TestCollector { answer, requests: sender, count: Arc::default() };
        let router = Router::new().route("/v1/traces", post(receive)).with_state(collector);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self::start_at(&endpoint, change, requests)
    }

    fn start_at(endpoint: &str, change: fn(&mut ExportLimits), requests: mpsc::Receiver<(HeaderMap, Bytes)>) -> Self {
        let config = TracesConfig {
            endpoint: endpoint.parse().unwrap(),
            headers: HeaderMap::from_iter([("api-key".parse().unwrap(), "hush".parse().unwrap())]),
            timeout: PATIENCE,
            resource: [("service.name", "pay"), ("service.version", "mine")]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
            sampler: TraceSampler::AlwaysOn,
        };
        let peer = Peer::of_text("http://127.0.0.1:1");
        let model = ModelPeer { operation: "chat", provider: "openai", model: None, server: peer.clone() };
        let traces = TraceBuilder { sampler: config.sampler, model, twilio: peer };
        let (telemetry, stop) = (Arc::<Telemetry>::default(), CancellationToken::new());
        let mut exporter = TraceExporter::new(&config, traces, telemetry.clone(), Arc::default()).unwrap();
        exporter.limits =
            ExportLimits { delay: Duration::ZERO, retry_delay: Duration::ZERO, flush: PATIENCE, ..LIMITS };
        change(&mut exporter.limits);
        let exporting = tokio::spawn(exporter.run(stop.clone()));
        Self { telemetry, stop, exporting, requests }
    }

    fn record_turns(&self, turns: usize) {
        let now = jiff::Timestamp::now();
        for number in 0..turns {
            let turn = TurnRecord::sample(now, Duration::from_millis(1), Duration::from_millis(2));
            self.telemetry.record_turn(TurnRecord { number: number.try_into().unwrap(), ..turn });
        }
    }

    async fn next_request(&mut self) -> (HeaderMap, Bytes) {
        timeout(PATIENCE, self.requests.recv()).await.expect("a request").unwrap()
    }

    /// Stops the exporter, and returns how many spans it has exported, and how many it has dropped.
    async fn stop(self) -> (usize, usize) {
        self.stop.cancel();
        timeout(PATIENCE, self.exporting).await.expect("it stops").unwrap();
        let text = self.telemetry.metrics_text(Snapshot::default());
        let count = |result: &str| {
            let line = format!("crelay_spans_total{{result=\"{result}\"}} ");
            text.lines().find_map(|it| it.strip_prefix(&line)).unwrap().parse().unwrap()
        };
        (count("exported"), count("dropped"))
    }
}

fn span_count(body: &Bytes) -> usize {
    let request = ExportTraceServiceRequest::decode(&body[..]).unwrap();
    request.resource_spans[0].scope_spans[0].spans.len()
}

#[tokio::test]
async fn a_request_has_the_spans_of_a_service() {
    let mut harness = Harness::start(|_| Answer::Status(200), |_| {}).await;
    harness.record_turns(1);
    let (headers, body) = harness.next_request().await;
    assert!(headers["api-key"] == "hush" && headers["content-type"] == "application/x-protobuf");
    let request = ExportTraceServiceRequest::decode(&body[..]).unwrap();
    let resource = request.resource_spans[0].resource.as_ref().unwrap();
    let keys: Vec<_> = resource.attributes.iter().map(|attribute| attribute.key.as_str()).collect();
    assert_eq!(keys, ["service.instance.id", "service.name", "service.version"]);
    assert_eq!(resource.attributes[1..], [text("service.name", "pay"), text("service.version", "mine")]);
    assert_eq!(span_count(&body), SPANS);
    assert_eq!(harness.stop().await, (SPANS, 0));
}

#[tokio::test]
async fn an_unavailable_collector_gets_the_same_request_again() {
    let answer: AnswerFn = |number| Answer::Status([503, 429, 502, 504, 200][number]);
    let mut harness = Harness::start(answer, |_| {}).await;
    harness.record_turns(1);
    let (_, first) = harness.next_request().await;
    for _ in 0..4 {
        assert_eq!(harness.next_request().await.1, first);
    }
    assert_eq!(harness.stop().await, (SPANS, 0));
}

#[tokio::test]
async fn a_refused_request_is_not_repeated_and_logged_once_a_minute() {
    let log = CapturedLog::start();
    let mut harness = Harness::start(|_| Answer::Status(400), |_| {}).await;
    for _ in 0..3 {
        harness.record_turns(1);
        harness.next_request().await;
    }
    assert_eq!(harness.stop().await, (0, 3 * SPANS));
    assert_eq!(log.count_events("reason=\"refused\" spans=2 left_out=0", "traces.dropped"), 1);
    assert_eq!(log.count_events("", "traces.dropped"), 1);
}

#[tokio::test]
async fn spans_that_the_collector_rejects_are_dropped() {
    let mut harness = Harness::start(|_| Answer::Rejects(1), |_| {}).await;
    harness.record_turns(1);
    harness.next_request().await;
    assert_eq!(harness.stop().await, (SPANS - 1, 1));
}

#[tokio::test]
async fn while_the_collector_does_not_answer_few_spans_wait_and_the_rest_is_dropped() {
    let log = CapturedLog::start();
    let small = |limits: &mut ExportLimits| {
        *limits = ExportLimits { queue: 4, batch: 4, flush: Duration::from_millis(20), ..*limits };
    };
    let mut harness = Harness::start(|_| Answer::Nothing, small).await;
    harness.record_turns(2);
    let (_, body) = harness.next_request().await;
    assert_eq!(span_count(&body), 2 * SPANS);
    harness.record_turns(100);
    assert_eq!(harness.stop().await, (0, 102 * SPANS));
    assert_eq!(log.count_events("reason=\"queue_full\"", "traces.dropped"), 1);
    assert_eq!(log.count_events("reason=\"server_stopped\" spans=8", "traces.dropped"), 1);
}

#[tokio::test]
async fn a_collector_that_is_down_is_tried_some_times() {
    let log = CapturedLog::start();
    // Nothing listens there once the listener is dropped.
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let harness = Harness::start_at(&format!("http://{address}/"), |_| {}, mpsc::channel(64).1);
    harness.record_turns(1);
    assert_eq!(harness.stop().await, (0, SPANS));
    assert_eq!(log.count_events("reason=\"no_response\"", "traces.dropped"), 1);
}

#[tokio::test]
async fn what_is_left_at_the_end_is_sent_in_batches() {
    let slow = |limits: &mut ExportLimits| *limits = ExportLimits { batch: 4, delay: PATIENCE, ..*limits };
    let mut harness = Harness::start(|_| Answer::Status(200), slow).await;
    harness.record_turns(5);
    let mut requests = std::mem::replace(&mut harness.requests, mpsc::channel(64).1);
    assert_eq!(harness.stop().await, (5 * SPANS, 0));
    let mut sizes = Vec::new();
    while let Ok((_, body)) = requests.try_recv() {
        sizes.push(span_count(&body));
    }
    assert_eq!(sizes, [4, 4, 2]);
}

#[test]
fn the_wait_before_a_repetition_is_what_the_collector_asks_for_within_bounds() {
    let wait = |asked, backoff| {
        let failure = FailedPost { error: ExportError::Unavailable, retry_after: asked };
        failure.wait(Duration::from_secs(backoff)).as_secs()
    };
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    assert_eq!([wait(None, 2), wait(seconds(7), 2), wait(seconds(1), 2), wait(seconds(9999), 2)], [2, 7, 2, 30]);
}
