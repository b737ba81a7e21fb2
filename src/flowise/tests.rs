//! Tests of the response stream against a scripted server over real sockets.

use futures_util::StreamExt as _;
use tokio::time::timeout;

use super::*;
use crate::call::{ConversationItem, ModelRequestId};
use crate::call_token::CallToken;
use crate::captured_log::CapturedLog;
use crate::config::FlowiseVariable;
use crate::redact::Private;
use crate::simulator::raw_server::RawResponse::{self, Plain, Silence, Stream};
use crate::simulator::raw_server::RawServer;
use crate::simulator::raw_server::StreamStep::{self, Cut, Event, Stall};

const PROGRESS: StreamStep = Event(r#"{"event":"agentFlowEvent","data":"INPROGRESS"}"#);
const EMPTY: StreamStep = Event(r#"{"event":"token","data":""}"#);
const HELLO: StreamStep = Event(r#"{"event":"token","data":"Hello"}"#);
const WORLD: StreamStep = Event(r#"{"event":"token","data":" world"}"#);
const USED: StreamStep = Event(r#"{"event":"usedTools","data":[{"tool":"capture-card","toolOutput":"hush"}]}"#);
const METADATA: StreamStep = Event(r#"{"event":"metadata","data":{"chatId":"hush"}}"#);
const ERROR: StreamStep = Event(r#"{"event":"error","data":"hush"}"#);
const ABORT: StreamStep = Event(r#"{"event":"abort","data":"[DONE]"}"#);
const END: StreamStep = Event(r#"{"event":"end","data":"[DONE]"}"#);
const ABORTED: RawResponse = Plain(200, Vec::new(), r#"{"status":200,"message":"Chat message aborted"}"#);

const LIMITS: ModelLimits =
    ModelLimits { first_token: Duration::from_secs(5), response: Duration::from_secs(10), retries: 2 };
const SHORT: ModelLimits = ModelLimits { first_token: Duration::from_millis(150), ..LIMITS };

/// A server with these responses, and the call that it answers.
struct Harness {
    server: RawServer,
    tasks: TaskTracker,
    flowise: Flowise,
}

impl Harness {
    async fn start(answers: Vec<RawResponse>) -> Self {
        let (server, _) = RawServer::start(answers).await;
        let (tasks, config) = (TaskTracker::new(), config(server.origin()));
        let flowise = Flowise::new(&config, tasks.clone()).unwrap();
        Self { server, tasks, flowise }
    }

    fn call(&self, limits: ModelLimits, chatflow_id: Option<&str>) -> FlowiseCall {
        self.flowise.for_call(limits, identity(chatflow_id))
    }

    /// The paths of all requests, once every prediction that is not wanted any more is stopped.
    async fn paths(&self) -> Vec<String> {
        self.tasks.close();
        timeout(Duration::from_secs(5), self.tasks.wait()).await.expect("the tasks end");
        self.server.requests().iter().map(|request| request.path.clone()).collect()
    }

    /// The number of requests that stop a prediction.
    async fn abort_count(&self) -> usize {
        self.paths().await.iter().filter(|path| path.starts_with("/api/v1/chatmessage/abort/flow-1/CA1-")).count()
    }
}

fn config(url: &str) -> FlowiseConfig {
    FlowiseConfig {
        url: url.to_owned(),
        chatflow_id: "flow-1".to_owned(),
        allowed_chatflows: vec!["flow-2".to_owned()],
        api_key: Some("hush-key".into()),
        variables: FlowiseVariable::ALL.to_vec(),
    }
}

fn identity(chatflow_id: Option<&str>) -> CallIdentity {
    CallIdentity {
        call_sid: "CA1".parse().unwrap(),
        caller: None,
        call_token: Some(CallToken::generate()),
        chatflow_id: chatflow_id.map(|id| Private::new(id.to_owned())),
    }
}

fn ask(call: &FlowiseCall, id: u64) -> BoxStream<'static, ModelEvent> {
    let profile = Profile::new("Be kind.", &[""; 0]).unwrap();
    let input = vec![Arc::new(ConversationItem::Caller("Hi".to_owned()))];
    let events = call.respond(&profile, &ModelRequest { id: ModelRequestId(id), input, waited: Duration::ZERO });
    events.filter(|event| std::future::ready(!matches!(event, ModelEvent::Report(_)))).boxed()
}

fn describe(event: &ModelEvent) -> String {
    match event {
        ModelEvent::TextDelta(text) => format!("'{}'", text.reveal()),
        ModelEvent::Completed => "done".to_owned(),
        ModelEvent::Failed => "failed".to_owned(),
        other => format!("{other:?}"),
    }
}

/// The events of a prediction in short form.
async fn collect_events(call: &FlowiseCall) -> String {
    let events = ask(call, 1).map(|event| describe(&event)).collect::<Vec<_>>();
    timeout(Duration::from_secs(20), events).await.expect("the stream ends").join(" ")
}

/// The events of a prediction that is answered so, and the number of requests that stop it.
async fn answer(limits: ModelLimits, response: RawResponse) -> (String, usize) {
    let harness = Harness::start(vec![response, ABORTED, ABORTED]).await;
    let events = collect_events(&harness.call(limits, None)).await;
    let predictions = harness.paths().await.iter().filter(|path| *path == "/api/v1/prediction/flow-1").count();
    assert_eq!(predictions, 1, "a prediction is never repeated");
    (events, harness.abort_count().await)
}

fn answered(events: &str, aborts: usize) -> (String, usize) {
    (events.to_owned(), aborts)
}

#[tokio::test]
async fn words_are_passed_on_and_everything_else_is_skipped() {
    let steps = vec![PROGRESS, EMPTY, HELLO, USED, WORLD, METADATA, END];
    assert_eq!(answer(LIMITS, Stream(steps)).await, answered("'Hello' ' world' done", 0));
    assert_eq!(answer(LIMITS, Stream(vec![HELLO, METADATA])).await, answered("'Hello' done", 0), "without end");
    let steps = vec![HELLO, END, WORLD, END, Stall];
    assert_eq!(answer(LIMITS, Stream(steps)).await, answered("'Hello' ' world' done", 0), "each step has an end");
}

#[tokio::test]
async fn a_flow_that_calls_tools_has_begun_to_answer() {
    let harness = Harness::start(vec![Stream(vec![USED, Stall]), ABORTED]).await;
    let limits = ModelLimits { response: Duration::from_millis(400), ..SHORT };
    let began = tokio::time::Instant::now();
    assert_eq!(collect_events(&harness.call(limits, None)).await, "failed");
    assert!(began.elapsed() >= limits.response, "the limit for the first token applied");
}

#[tokio::test]
async fn an_answer_of_a_flow_that_does_not_stream_is_one_delta() {
    let json = Plain(200, vec![("content-type", "application/json")], r#"{"text":"Hello world","chatId":"hush"}"#);
    assert_eq!(answer(LIMITS, json).await, answered("'Hello world' done", 0));
    let error = Plain(200, vec![("content-type", "application/json")], r#"{"message":"hush"}"#);
    assert_eq!(answer(LIMITS, error).await, answered("failed", 0));
}

#[tokio::test]
async fn a_flow_that_does_not_stream_is_known_after_it_was_asked_for() {
    let answers = [r#"{"isStreaming":false}"#, r#"{"isStreaming":true}"#, r#"{"isStreaming":true}"#];
    let answers = answers.map(|body| Plain(200, vec![("content-type", "application/json")], body));
    let harness = Harness::start(answers.into_iter().chain([Plain(404, vec![], "")]).collect()).await;
    let client = &harness.flowise.0;
    assert!(client.known_flows.may_stream("flow-1"), "nothing is known yet");
    client.check_flows().await;
    assert!(!client.known_flows.may_stream("flow-1") && client.known_flows.may_stream("flow-2"));
    client.check_flows().await;
    assert!(client.known_flows.may_stream("flow-1") && client.known_flows.may_stream("flow-2"));
    let paths = harness.paths().await;
    assert_eq!(paths[..2], ["/api/v1/chatflows-streaming/flow-1", "/api/v1/chatflows-streaming/flow-2"]);
}

#[tokio::test]
async fn an_error_in_a_successful_response_is_a_failure() {
    assert_eq!(answer(LIMITS, Stream(vec![ERROR, END])).await, answered("failed", 0));
    assert_eq!(answer(LIMITS, Stream(vec![HELLO, ERROR, END])).await, answered("'Hello' failed", 0));
    assert_eq!(answer(LIMITS, Stream(vec![HELLO, ABORT])).await, answered("'Hello' failed", 0));
    assert_eq!(answer(LIMITS, Plain(500, vec![], "hush")).await, answered("failed", 0));
}

#[tokio::test]
async fn an_answer_of_a_gateway_does_not_end_the_flow() {
    for status in [502, 503, 504] {
        assert_eq!(answer(LIMITS, Plain(status, vec![], "hush")).await, answered("failed", 2), "{status}");
    }
}

#[tokio::test]
async fn an_answer_without_a_word_is_a_failure() {
    assert_eq!(answer(LIMITS, Stream(vec![METADATA, END])).await, answered("failed", 0));
    assert_eq!(answer(LIMITS, Stream(vec![USED, METADATA, END])).await, answered("done", 0), "a tool may ask for that");
    assert_eq!(answer(LIMITS, Stream(vec![EMPTY, Event(r#"{"event":"token","data":" \n"}"#), END])).await.1, 0);
}

#[tokio::test]
async fn an_answer_that_breaks_off_or_hangs_fails_and_is_stopped() {
    assert_eq!(answer(LIMITS, Stream(vec![HELLO])).await, answered("'Hello' failed", 1));
    assert_eq!(answer(SHORT, Stream(vec![PROGRESS, Stall])).await, answered("failed", 1));
    assert_eq!(answer(SHORT, Silence).await, answered("failed", 2), "Flowise may not know it yet");
    let harness = Harness::start(vec![Stream(vec![HELLO, Cut]), ABORTED]).await;
    let mut events = ask(&harness.call(LIMITS, None), 1);
    assert_eq!(describe(&events.next().await.unwrap()), "'Hello'");
    harness.server.cut();
    assert_eq!(describe(&events.next().await.unwrap()), "failed");
    drop(events);
    assert_eq!(harness.abort_count().await, 1);
}

#[tokio::test]
async fn an_answer_that_is_not_wanted_any_more_is_stopped() {
    let log = CapturedLog::start();
    let harness = Harness::start(vec![Stream(vec![HELLO, Stall]), ABORTED]).await;
    let mut events = ask(&harness.call(LIMITS, None), 1);
    assert_eq!(describe(&events.next().await.unwrap()), "'Hello'");
    drop(events);
    assert_eq!(harness.abort_count().await, 1);
    assert_eq!(log.count_events("WARN", "flowise.abort_failed"), 0);

    let harness = Harness::start(vec![Stream(vec![HELLO, Stall]), Plain(500, vec![], "")]).await;
    let mut events = ask(&harness.call(LIMITS, None), 1);
    events.next().await.unwrap();
    drop(events);
    assert_eq!(harness.abort_count().await, 1);
    assert_eq!(log.count_events("WARN", "flowise.abort_failed"), 1);
}

#[tokio::test]
async fn a_prediction_that_was_never_sent_is_not_stopped() {
    let harness = Harness::start(vec![]).await;
    drop(ask(&harness.call(LIMITS, None), 1));
    assert_eq!(harness.paths().await, Vec::<String>::new());

    let tasks = TaskTracker::new();
    let flowise = Flowise::new(&config("http://127.0.0.1:9"), tasks.clone()).unwrap();
    assert_eq!(collect_events(&flowise.for_call(LIMITS, identity(None))).await, "failed");
    assert!(tasks.is_empty());
}

#[tokio::test]
async fn each_request_of_each_call_has_its_own_chat_and_session() {
    let harness =
        Harness::start(vec![Stream(vec![HELLO, END]), Stream(vec![HELLO, END]), Stream(vec![HELLO, END])]).await;
    let (one, again) = (harness.call(LIMITS, None), harness.call(LIMITS, None));
    for (call, id) in [(&one, 1), (&one, 2), (&again, 1)] {
        ask(call, id).collect::<Vec<_>>().await;
    }
    let bodies: Vec<serde_json::Value> =
        harness.server.bodies().iter().map(|body| serde_json::from_str(body).unwrap()).collect();
    let chats: std::collections::BTreeSet<&str> = bodies.iter().filter_map(|body| body["chatId"].as_str()).collect();
    assert_eq!(chats.len(), 3, "{chats:?}");
    for body in &bodies {
        assert_eq!(body["chatId"], body["overrideConfig"]["sessionId"]);
    }
    let tokens: std::collections::BTreeSet<&str> =
        bodies.iter().filter_map(|body| body["overrideConfig"]["vars"]["callToken"].as_str()).collect();
    assert_eq!(tokens.len(), 3, "each is bound to its request");
    for request in harness.server.requests().iter() {
        assert_eq!(request.headers["authorization"], "Bearer hush-key");
    }
}

#[tokio::test]
async fn a_call_may_name_one_of_the_allowed_flows() {
    let log = CapturedLog::start();
    for (named, path) in [
        (None, "/api/v1/prediction/flow-1"),
        (Some("flow-1"), "/api/v1/prediction/flow-1"),
        (Some("flow-2"), "/api/v1/prediction/flow-2"),
        (Some("../flow-2"), "/api/v1/prediction/flow-1"),
    ] {
        let harness = Harness::start(vec![Stream(vec![HELLO, END])]).await;
        assert_eq!(collect_events(&harness.call(LIMITS, named)).await, "'Hello' done");
        assert_eq!(harness.paths().await, [path]);
    }
    assert_eq!(log.count_events("WARN", "flowise.chatflow_refused"), 1);
}

#[tokio::test]
async fn debug_shows_no_secret() {
    let harness = Harness::start(vec![]).await;
    let shown = format!("{:?}", harness.call(LIMITS, Some("hush")));
    assert!(!shown.contains("hush"), "{shown}");
}
