//! Tests of the response stream against a local OpenAI stand-in over real sockets. Time limits are short, since time
//! cannot be paused.

use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use tokio::time::{Instant, timeout};

use super::{Model, ModelLimits, Profile};
use crate::call::{ConversationItem, ModelEvent, ModelRequest, ModelRequestId};
use crate::captured_log::CapturedLog;
use crate::config;
use crate::simulator::raw_server::RawResponse::{self, Bytes, Plain, Silence, Stream};
use crate::simulator::raw_server::RawServer;
use crate::simulator::raw_server::StreamStep::{self, Cut, Event, Stall};

const CREATED: StreamStep = Event(r#"{"type":"response.created","response":{"id":"resp_1"}}"#);
const HELLO: StreamStep = Event(r#"{"type":"response.output_text.delta","delta":"Hello"}"#);
const WORLD: StreamStep = Event(r#"{"type":"response.output_text.delta","delta":" world"}"#);
const ARGUMENTS: StreamStep = Event(r#"{"type":"response.function_call_arguments.delta","delta":"{"}"#);
const REASONING: StreamStep = Event(
    r#"{"type":"response.output_item.done","item":{"id":"rs_1","type":"reasoning","summary":[],"encrypted_content":"x"}}"#,
);
const MESSAGE: StreamStep = Event(r#"{"type":"response.output_item.done","item":{"id":"msg_1","type":"message"}}"#);
const CALL_1: StreamStep = Event(
    r#"{"type":"response.output_item.done","item":{"id":"fc_1","type":"function_call","call_id":"call_1","name":"end-call","arguments":"{}"}}"#,
);
const CALL_2: StreamStep = Event(
    r#"{"type":"response.output_item.done","item":{"id":"fc_2","type":"function_call","call_id":"call_2","name":"capture-card","arguments":""}}"#,
);
const COMPLETED: StreamStep = Event(r#"{"type":"response.completed","response":{"usage":{"input_tokens":3}}}"#);
const INCOMPLETE: StreamStep = Event(r#"{"type":"response.incomplete","response":{}}"#);
const OVERLOADED: StreamStep =
    Event(r#"{"type":"error","error":{"type":"server_error","code":"server_error","message":"sorry"}}"#);
const FAILED: StreamStep = Event(r#"{"type":"response.failed","response":{"error":{"code":"invalid_prompt"}}}"#);

const LIMITS: ModelLimits =
    ModelLimits { first_token: Duration::from_secs(5), response: Duration::from_secs(10), retries: 2 };
const SHORT: Duration = Duration::from_millis(150);
const JSON: (&str, &str) = ("content-type", "application/json");

fn model(origin: &str, name: &str, limits: ModelLimits) -> Model {
    let base_url = format!("{origin}/v1").parse().unwrap();
    let config = config::OpenAiConfig::new("sk-1".into(), name, base_url);
    Model::new(&config, &"secret".into(), limits).unwrap()
}

#[derive(serde::Serialize)]
struct TestTool {
    r#type: &'static str,
    name: &'static str,
}

/// Requests a response, and leaves out its report.
fn request_response(model: &Model) -> BoxStream<'static, ModelEvent> {
    request_all(model).filter(|event| ready(!matches!(event, ModelEvent::Report(_)))).boxed()
}

fn request_all(model: &Model) -> BoxStream<'static, ModelEvent> {
    let profile = Profile::new("Be kind.", &[TestTool { r#type: "function", name: "end-call" }]).unwrap();
    model.respond(
        Arc::new(profile),
        ModelRequest {
            id: ModelRequestId(1),
            input: vec![Arc::new(ConversationItem::Caller("Hi".to_owned()))],
            waited: Duration::ZERO,
        },
    )
}

/// Collects the events of a response in short form.
async fn collect_events(model: &Model) -> String {
    let events = request_response(model).map(|event| match event {
        ModelEvent::TextDelta(text) => format!("'{}'", text.reveal()),
        ModelEvent::MessagePhase(phase) => phase.as_str().to_owned(),
        ModelEvent::Reasoning(_) => "reasoning".to_owned(),
        ModelEvent::ToolCall(call) => format!("{}:{}", call.name, call.item_id.as_deref().unwrap_or("-")),
        ModelEvent::Report(_) => unreachable!("it is left out"),
        ModelEvent::Completed => "done".to_owned(),
        ModelEvent::Failed => "failed".to_owned(),
        ModelEvent::InputRefused(refusal) => format!("refused:{refusal:?}"),
    });
    timeout(Duration::from_secs(20), events.collect::<Vec<_>>()).await.expect("the stream ends").join(" ")
}

/// The events of a response with these server responses, and the number of requests.
async fn respond_with(answers: Vec<RawResponse>) -> (String, usize) {
    respond_within(LIMITS, answers).await
}

async fn respond_within(limits: ModelLimits, answers: Vec<RawResponse>) -> (String, usize) {
    let (openai, _leaving) = RawServer::start(answers).await;
    openai.cut();
    let heard = collect_events(&model(openai.origin(), "gpt-4o", limits)).await;
    (heard, openai.bodies().len())
}

fn once(heard: &str) -> (String, usize) {
    (heard.to_owned(), 1)
}

fn twice(heard: &str) -> (String, usize) {
    (heard.to_owned(), 2)
}

#[tokio::test]
async fn text_is_streamed_and_followed_by_the_end() {
    let answer = Stream(vec![CREATED, HELLO, WORLD, MESSAGE, COMPLETED, HELLO]);
    assert_eq!(respond_with(vec![answer]).await, once("'Hello' ' world' done"));
}

#[tokio::test]
async fn the_request_is_one_post_with_key_and_user_agent() {
    let (openai, _leaving) = RawServer::start(vec![Stream(vec![COMPLETED])]).await;
    collect_events(&model(openai.origin(), "gpt-4o", LIMITS)).await;
    let request = &openai.requests()[0];
    assert_eq!(request.path, "/v1/responses");
    assert_eq!(request.headers["authorization"], "Bearer sk-1");
    assert_eq!(request.headers["content-type"], "application/json");
    assert!(request.headers["user-agent"].to_str().unwrap().starts_with("crelay-payments/"));
    assert_eq!(
        request.body,
        concat!(
            r#"{"model":"gpt-4o","instructions":"Be kind.","tools":[{"type":"function","name":"end-call"}],"#,
            r#""input":[{"role":"user","content":"Hi"}],"stream":true,"store":false,"max_output_tokens":400,"#,
            r#""prompt_cache_key":"ae0a5fe2cb0dd849b91d5e41181e900d"}"#
        )
    );
}

#[tokio::test]
async fn two_calls_of_one_response_come_in_order() {
    let answer = Stream(vec![CREATED, ARGUMENTS, CALL_1, CALL_2, COMPLETED]);
    assert_eq!(respond_with(vec![answer]).await, once("end-call:- capture-card:- done"));
}

#[tokio::test]
async fn reasoning_precedes_its_calls() {
    let calls = Stream(vec![REASONING, CALL_1, CALL_2, COMPLETED]);
    assert_eq!(respond_with(vec![calls]).await, once("reasoning end-call:fc_1 capture-card:fc_2 done"));
    let words = Stream(vec![REASONING, HELLO, MESSAGE, CALL_1, COMPLETED]);
    assert_eq!(respond_with(vec![words]).await, once("'Hello' end-call:- done"));
}

#[tokio::test]
async fn unknown_events_are_skipped() {
    let strange = vec![
        Event(r#"{"type":"keepalive"}"#),
        Event("not JSON"),
        HELLO,
        Event(r#"{"type":"response.output_text.delta"}"#),
        Event(r#"{"type":"response.output_item.done","item":{"type":"function_call"}}"#),
        COMPLETED,
    ];
    assert_eq!(respond_with(vec![Stream(strange)]).await, once("'Hello' done"));
}

#[tokio::test]
async fn a_stream_that_breaks_before_the_first_token_is_retried() {
    let again = || Stream(vec![WORLD, COMPLETED]);
    assert_eq!(respond_with(vec![Stream(vec![CREATED, Cut]), again()]).await, twice("'world' done"));
    assert_eq!(respond_with(vec![Stream(vec![CREATED]), again()]).await, twice("'world' done"));
    assert_eq!(respond_with(vec![Stream(vec![OVERLOADED]), again()]).await, twice("'world' done"));
    let call = Stream(vec![CALL_1, COMPLETED]);
    assert_eq!(respond_with(vec![Stream(vec![REASONING]), call]).await, twice("end-call:- done"), "not its reasoning");
}

#[tokio::test]
async fn a_stream_that_breaks_later_is_not_retried() {
    for end in [vec![HELLO], vec![HELLO, OVERLOADED], vec![HELLO, FAILED]] {
        assert_eq!(respond_with(vec![Stream(end)]).await, once("'Hello' failed"));
    }
    let half_call = Stream(vec![ARGUMENTS]);
    assert_eq!(
        respond_with(vec![half_call, Stream(vec![HELLO, COMPLETED])]).await,
        twice("'Hello' done"),
        "nothing ran"
    );

    let (openai, _leaving) = RawServer::start(vec![Stream(vec![HELLO, Cut])]).await;
    let mut events = request_response(&model(openai.origin(), "gpt-4o", LIMITS));
    assert!(matches!(events.next().await, Some(ModelEvent::TextDelta(_))));
    openai.cut();
    assert!(matches!(events.next().await, Some(ModelEvent::Failed)));
    assert!(events.next().await.is_none());
    assert_eq!(openai.bodies().len(), 1);
}

#[tokio::test]
async fn an_answer_that_is_complete_is_one_whatever_comes_after() {
    let done = || Event(r#"{"type":"response.output_item.done","item":{"id":"m","type":"message","content":"Hello"}}"#);
    for end in [OVERLOADED, FAILED] {
        assert_eq!(respond_with(vec![Stream(vec![HELLO, done(), end])]).await, once("'Hello' done"));
    }
    let no_end = ModelLimits { response: SHORT * 2, ..LIMITS };
    assert_eq!(respond_within(no_end, vec![Stream(vec![HELLO, done(), Stall])]).await, once("'Hello' done"));
    assert_eq!(respond_with(vec![Stream(vec![HELLO, done(), ARGUMENTS, FAILED])]).await, once("'Hello' failed"));
}

#[tokio::test]
async fn an_incomplete_response_succeeds_if_it_has_output() {
    assert_eq!(respond_with(vec![Stream(vec![HELLO, INCOMPLETE])]).await, once("'Hello' done"));
    for nothing in [vec![ARGUMENTS, INCOMPLETE], vec![INCOMPLETE]] {
        assert_eq!(respond_with(vec![Stream(nothing), Stream(vec![HELLO, COMPLETED])]).await, twice("'Hello' done"));
    }
}

#[tokio::test]
async fn a_stalled_stream_fails_at_the_time_limit() {
    let no_token = ModelLimits { first_token: SHORT, ..LIMITS };
    assert_eq!(respond_within(no_token, vec![Stream(vec![CREATED, Stall])]).await, once("failed"));
    let no_end = ModelLimits { response: SHORT * 2, ..LIMITS };
    assert_eq!(respond_within(no_end, vec![Stream(vec![HELLO, Stall])]).await, once("'Hello' failed"));
}

#[tokio::test]
async fn a_stalled_connection_leaves_time_for_a_retry() {
    let limits = ModelLimits { first_token: Duration::from_millis(1200), ..LIMITS };
    let answers = vec![Silence, Stream(vec![HELLO, COMPLETED])];
    assert_eq!(respond_within(limits, answers).await, twice("'Hello' done"));
    let last = ModelLimits { retries: 0, first_token: SHORT, ..LIMITS };
    assert_eq!(respond_within(last, vec![Silence]).await, once("failed"));
}

#[tokio::test]
async fn a_connection_that_has_gone_silent_gets_no_further_request() {
    for (retries, answer, is_left) in [
        (0, Silence, true),
        (1, Silence, true),
        (0, Stream(vec![CREATED, Stall]), true),
        (1, Stream(vec![CREATED, Stall]), true),
        (0, Stream(vec![HELLO, COMPLETED]), false),
        (0, Plain(401, Vec::new(), r#"{"error":{"code":"invalid_api_key"}}"#), false),
    ] {
        let (openai, _leaving) = RawServer::start(vec![answer]).await;
        let model = model(openai.origin(), "gpt-4o", ModelLimits { first_token: SHORT, retries, ..LIMITS });
        let before = model.inner.http.lease(Instant::now()).stream;
        collect_events(&model).await;
        let after = model.inner.http.lease(Instant::now()).stream;
        assert_ne!(after.is_beside(&before), is_left, "after {retries} repetitions: {:?}", openai.bodies().len());
    }
}

#[test]
fn what_a_caller_has_waited_already_is_a_part_of_the_limit() {
    let seconds = Duration::from_secs;
    let limits = ModelLimits { first_token: seconds(8), ..LIMITS };
    for (waited, rest) in [(0, 8), (3, 5), (7, 1), (60, 1)] {
        assert_eq!(limits.after_wait(seconds(waited)), ModelLimits { first_token: seconds(rest), ..limits });
    }
    let short = ModelLimits { first_token: SHORT, ..LIMITS };
    assert_eq!(short.after_wait(seconds(60)), short);
}

#[tokio::test]
async fn a_time_limit_says_which_phase_took_too_long() {
    let log = CapturedLog::start();
    let failed = |phase: &str| log.count_events(&format!("no {phase} in time"), "openai.response_failed");
    let once = ModelLimits { first_token: SHORT, response: SHORT * 2, retries: 0 };
    for (answer, phase) in [
        (Silence, "response"),
        (Stream(vec![CREATED, Stall]), "first token"),
        (Stream(vec![HELLO, Stall]), "end of the response"),
    ] {
        respond_within(once, vec![answer]).await;
        assert_eq!(failed(phase), 1, "{phase}");
    }
    let patient = ModelLimits { response: Duration::from_secs(60), ..LIMITS };
    let (openai, _leaving) = RawServer::start(vec![Stream(vec![HELLO, Stall])]).await;
    let mut events = request_response(&model(openai.origin(), "gpt-4o", patient));
    assert!(matches!(events.next().await, Some(ModelEvent::TextDelta(_))));
    tokio::time::pause();
    assert!(matches!(events.next().await, Some(ModelEvent::Failed)));
    assert_eq!(failed("further event"), 1);
    // A server that takes connections and begins no TLS.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("https://{}", listener.local_addr().unwrap());
    let once = ModelLimits { first_token: Duration::from_secs(60), retries: 0, ..patient };
    assert_eq!(collect_events(&model(&origin, "gpt-4o", once)).await, "failed");
    assert_eq!(failed("connection"), 1);
}

#[tokio::test]
async fn a_busy_model_is_retried_after_the_requested_wait() {
    let busy = |wait| Plain(429, vec![("retry-after-ms", wait)], r#"{"error":{"code":"rate_limit_exceeded"}}"#);
    let started = Instant::now();
    let answers = vec![busy("300"), Stream(vec![HELLO, COMPLETED])];
    assert_eq!(respond_with(answers).await, twice("'Hello' done"));
    assert!(started.elapsed() >= Duration::from_millis(300));
}

#[tokio::test]
async fn a_long_requested_wait_is_a_failure() {
    let later = Plain(429, vec![("retry-after", "60")], r#"{"error":{"code":"rate_limit_exceeded"}}"#);
    assert_eq!(respond_with(vec![later]).await, once("failed"));
}

#[tokio::test]
async fn permanent_errors_are_not_retried() {
    for answer in [
        Plain(429, vec![JSON], r#"{"error":{"code":"insufficient_quota","type":"insufficient_quota"}}"#),
        Plain(400, vec![JSON], r#"{"error":{"code":null,"param":"tools[0]"}}"#),
        Plain(401, vec![JSON], "{}"),
        Plain(404, vec![("content-type", "text/html")], "<html>"),
        Plain(302, vec![("location", "/v1/elsewhere")], ""),
    ] {
        assert_eq!(respond_with(vec![answer]).await, once("failed"));
    }
}

#[tokio::test]
async fn a_body_is_read_as_what_it_is_and_not_as_its_header_says() {
    let sse = "\u{feff}: hello\r\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"Hello\"}\r\n\r\ndata: [DONE]\r\n\r\n";
    let json =
        r#"{"object":"response","output":[{"type":"message","content":[{"type":"output_text","text":"Hello"}]}]}"#;
    for body in [sse, json] {
        for header in [Vec::new(), vec![JSON], vec![("content-type", "text/event-stream")]] {
            assert_eq!(respond_with(vec![Plain(200, header, body)]).await, once("'Hello' done"), "{body}");
        }
    }
}

#[tokio::test]
async fn a_compressed_body_is_read() {
    // The same stream as text: `printf … | gzip -n`.
    const BODY: &[u8] =
        b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\x4b\x49\x2c\x49\xb4\x52\xa8\x56\x2a\xa9\x2c\x48\x55\xb2\x52\
        \x2a\x4a\x2d\x2e\xc8\xcf\x2b\x4e\xd5\xcb\x2f\x2d\x29\x28\x2d\x89\x2f\x49\xad\x28\xd1\x4b\x49\xcd\x29\
        \x49\x54\xd2\x51\x82\xd0\x56\x4a\x1e\xa9\x39\x39\xf9\x4a\xb5\x5c\x5c\x29\x38\x34\x27\xe7\xe7\x16\xe4\
        \xa4\x96\xa4\xa6\x80\x14\x01\x00\xf8\x96\x38\xc5\x62\x00\x00\x00";
    for headers in [vec![("content-encoding", "gzip")], vec![("content-encoding", "x-gzip")], Vec::new()] {
        assert_eq!(respond_with(vec![Bytes(headers, BODY)]).await, once("'Hello' done"));
    }
}

#[tokio::test]
async fn answers_are_held_back_while_they_begin_in_reasoning_and_no_longer() {
    let reasoning =
        || Stream(vec![HELLO, Event(r#"{"type":"response.output_text.delta","delta":"</think>Yes."}"#), COMPLETED]);
    let plain = || Stream(vec![HELLO, WORLD, COMPLETED]);
    let answers = vec![reasoning(), reasoning(), plain(), plain()];
    let (openai, _leaving) = RawServer::start(answers).await;
    let model = model(openai.origin(), "gpt-4o", LIMITS);
    for heard in ["'Hello' 'Yes.' done", "'Yes.' done", "'Hello world' done", "'Hello' ' world' done"] {
        assert_eq!(collect_events(&model).await, heard);
    }
}

#[tokio::test]
async fn two_texts_in_one_event_are_both_read() {
    let joined = "data: {\"type\":\"response.output_text.delta\",\"delta\":\"Hello\"}\ndata: {\"type\":\"response.completed\"}\n\n";
    let processing = "data: : OPENROUTER PROCESSING\n\n";
    let body = Box::leak(format!("{processing}{joined}").into_boxed_str());
    assert_eq!(respond_with(vec![Plain(200, Vec::new(), body)]).await, once("'Hello' done"));
}

#[tokio::test]
async fn an_empty_response_is_asked_for_again() {
    let nothing = || Stream(vec![CREATED, COMPLETED]);
    assert_eq!(respond_with(vec![nothing(), Stream(vec![HELLO, COMPLETED])]).await, twice("'Hello' done"));
    let limits = ModelLimits { retries: 1, ..LIMITS };
    assert_eq!(respond_within(limits, vec![nothing(), nothing()]).await, twice("failed"));
}

#[tokio::test]
async fn a_transient_error_event_is_retried_in_every_spelling() {
    for error in [
        r#"{"type":"error","error":{"code":"too_many_requests","message":"Too many requests"}}"#,
        r#"{"type":"error","status":503,"error":{"message":"x"}}"#,
        r#"{"error":{"code":429}}"#,
    ] {
        let answers = vec![Stream(vec![Event(error)]), Stream(vec![HELLO, COMPLETED])];
        assert_eq!(respond_with(answers).await, twice("'Hello' done"), "{error}");
    }
}

#[tokio::test]
async fn a_refusal_of_the_input_is_left_to_the_call() {
    for (body, refused) in [
        (r#"{"error":{"code":"content_filter"}}"#, "refused:Content"),
        (r#"{"error":{"message":"Item with id 'rs_1' not found.","param":"input"}}"#, "refused:Reasoning"),
        (r#"{"error":{"code":"context_length_exceeded"}}"#, "refused:Length"),
        (r#"{"error":{"param":"input[3]"}}"#, "refused:Other"),
        (r#"{"error":{"message":"Item with id 'rs_1' not found."}}"#, "refused:Reasoning"),
    ] {
        assert_eq!(respond_with(vec![Plain(400, vec![JSON], body)]).await, once(refused), "{body}");
    }
}

#[tokio::test]
async fn a_response_that_is_too_large_ends_early() {
    let event: &'static str = Box::leak(format!(r#"{{"type":"x","pad":"{}"}}"#, "x".repeat(2 << 20)).into_boxed_str());
    assert_eq!(respond_with(vec![Stream(vec![HELLO, Event(event), COMPLETED])]).await, once("'Hello' failed"));
}

#[tokio::test]
async fn the_number_of_attempts_is_limited() {
    let limits = ModelLimits { retries: 1, ..LIMITS };
    assert_eq!(
        respond_within(limits, vec![Plain(500, Vec::new(), ""), Plain(500, Vec::new(), "")]).await,
        twice("failed")
    );
    let nowhere = model("http://127.0.0.1:1", "gpt-4o", limits);
    assert_eq!(collect_events(&nowhere).await, "failed");
}

#[tokio::test]
async fn a_refusal_of_encrypted_reasoning_is_remembered() {
    let refused = r#"{"error":{"message":"Encrypted content is not supported with this model.","param":"include"}}"#;
    let hello = || Stream(vec![REASONING, HELLO, COMPLETED]);
    let limits = ModelLimits { retries: 0, ..LIMITS };
    let (openai, _leaving) = RawServer::start(vec![Plain(400, vec![JSON], refused), hello(), hello()]).await;
    let model = model(openai.origin(), "gpt-5", limits);
    assert_eq!(collect_events(&model).await, "'Hello' done");
    assert_eq!(collect_events(&model.clone()).await, "'Hello' done");
    let asks: Vec<_> = openai.bodies().iter().map(|body| body.contains("reasoning.encrypted_content")).collect();
    assert_eq!(asks, [true, false, false]);
}

#[tokio::test]
async fn a_refused_effort_is_replaced_at_once_and_remembered() {
    let refused = r#"{"error":{"message":"Unsupported value: 'reasoning.effort' does not support 'none' with this model. Supported values are: 'low' and 'high'.","param":"reasoning.effort","code":"unsupported_value"}}"#;
    let hello = || Stream(vec![HELLO, COMPLETED]);
    let limits = ModelLimits { retries: 0, ..LIMITS };
    let (openai, _leaving) = RawServer::start(vec![Plain(400, vec![JSON], refused), hello(), hello()]).await;
    let model = model(openai.origin(), "gpt-6-astra", limits);
    assert_eq!(collect_events(&model).await, "'Hello' done");
    assert_eq!(collect_events(&model.for_call(limits, None)).await, "'Hello' done");
    let effort =
        |body: &String| serde_json::from_str::<serde_json::Value>(body).unwrap()["reasoning"]["effort"].clone();
    assert_eq!(openai.bodies().iter().map(effort).collect::<Vec<_>>(), ["none", "low", "low"]);
}

#[tokio::test]
async fn a_response_reports_its_tokens_and_a_failure_its_request_id() {
    let log = CapturedLog::start();
    let busy = |id| Plain(503, vec![("x-request-id", id)], "busy");
    let answers = vec![busy("req_1"), Stream(vec![HELLO, COMPLETED]), busy("req_2"), busy("4242424242424242")];
    let (openai, _leaving) = RawServer::start(answers).await;
    let model = model(openai.origin(), "gpt-4o", ModelLimits { retries: 1, ..LIMITS });
    for (attempts, input, last) in [(2, 3, "Completed"), (2, 0, "Failed")] {
        let events: Vec<_> = request_all(&model).collect().await;
        let [.., ModelEvent::Report(report), end] = &events[..] else { panic!("{events:?}") };
        assert_eq!((report.attempts, report.usage.input, format!("{end:?}").as_str()), (attempts, input, last));
    }
    assert_eq!(log.count_events("request_id=\"req_1\"", "openai.retry"), 1);
    assert_eq!(log.count_events("request_id=\"req_2\"", "openai.retry"), 1);
    assert_eq!(log.count_events("HTTP 503", "openai.response_failed"), 1);
    assert_eq!(log.count_events("4242", "openai.response_failed"), 0, "an id is no place for a card number");
    assert_eq!(openai.bodies().len(), 4);
}

#[tokio::test]
async fn a_refused_role_is_replaced_at_once() {
    let refused = r#"{"error":{"code":500,"message":"Unexpected message role.","type":"server_error"}}"#;
    let answers = vec![Plain(500, vec![JSON], refused), Stream(vec![HELLO, COMPLETED])];
    let (openai, _leaving) = RawServer::start(answers).await;
    let model = model(openai.origin(), "gpt-6-luna", ModelLimits { retries: 0, ..LIMITS });
    let profile = Arc::new(Profile::new("Be kind.", &[] as &[TestTool]).unwrap());
    let input = vec![Arc::new(ConversationItem::Developer("The call began.".to_owned()))];
    let events = model.respond(profile, ModelRequest { id: ModelRequestId(1), input, waited: Duration::ZERO });
    assert_eq!(events.count().await, 3, "the word, the report and the end");
    let roles: Vec<_> = openai.bodies().iter().map(|body| body.contains(r#"{"role":"system""#)).collect();
    assert_eq!(roles, [false, true]);
}

#[tokio::test]
async fn a_server_that_refuses_without_a_reason_is_asked_without_optional_members() {
    let refused = || Plain(400, vec![JSON], r#"{"error":"bad request"}"#);
    let hello = || Stream(vec![HELLO, COMPLETED]);
    let (openai, _leaving) = RawServer::start(vec![refused(), hello(), hello()]).await;
    let model = model(openai.origin(), "gpt-6-luna", LIMITS);
    for _ in 0..2 {
        assert_eq!(collect_events(&model).await, "'Hello' done");
    }
    let bodies = openai.bodies();
    assert!(bodies[0].contains("prompt_cache_key") && bodies[1].ends_with(r#""stream":true,"store":false}"#));
    assert_eq!(bodies[1], bodies[2]);
    let (openai, _leaving) = RawServer::start(vec![refused(), refused()]).await;
    let model = self::model(openai.origin(), "gpt-6-luna", LIMITS);
    assert_eq!(collect_events(&model).await, "refused:Other", "something in the conversation is suspect then");
}

#[tokio::test]
async fn the_query_of_the_base_url_is_in_every_request() {
    let (openai, _leaving) = RawServer::start(vec![Stream(vec![HELLO, COMPLETED])]).await;
    let base_url = format!("{}/openai/v1/?api-version=preview", openai.origin()).parse().unwrap();
    let config = config::OpenAiConfig::new("sk-1".into(), "our-deployment", base_url);
    let model = Model::new(&config, &"secret".into(), LIMITS).unwrap();
    assert_eq!(collect_events(&model).await, "'Hello' done");
    assert_eq!(openai.requests()[0].path, "/openai/v1/responses?api-version=preview");
}

#[tokio::test]
async fn the_phase_of_a_message_comes_before_its_text() {
    let added =
        Event(r#"{"type":"response.output_item.added","item":{"type":"message","content":[],"phase":"commentary"}}"#);
    let unknown = Event(r#"{"type":"response.output_item.added","item":{"type":"message","phase":"afterthought"}}"#);
    let without = Event(r#"{"type":"response.output_item.added","item":{"type":"message","phase":null}}"#);
    let answer = Stream(vec![added, HELLO, unknown, without, WORLD, COMPLETED]);
    assert_eq!(respond_with(vec![answer]).await, once("commentary 'Hello' ' world' done"));
}

#[tokio::test]
async fn encrypted_reasoning_is_requested_once_the_model_reasons() {
    let hello = || Stream(vec![REASONING, HELLO, COMPLETED]);
    let (openai, _leaving) = RawServer::start(vec![hello(), hello()]).await;
    let model = model(openai.origin(), "custom-model", LIMITS);
    collect_events(&model).await;
    collect_events(&model).await;
    let asks: Vec<_> = openai.bodies().iter().map(|body| body.contains("reasoning.encrypted_content")).collect();
    assert_eq!(asks, [false, true]);
}

#[tokio::test]
async fn a_cancelled_poll_loses_no_event() {
    let (openai, _leaving) = RawServer::start(vec![Stream(vec![HELLO, WORLD, COMPLETED])]).await;
    let mut events = request_response(&model(openai.origin(), "gpt-4o", LIMITS));
    let mut words = 0;
    loop {
        tokio::select! {
            biased;
            event = events.next() => match event {
                Some(ModelEvent::TextDelta(_)) => words += 1,
                Some(ModelEvent::Completed) => break,
                other => panic!("{other:?}"),
            },
            () = tokio::task::yield_now() => {}
        }
    }
    assert_eq!((words, openai.bodies().len()), (2, 1));
}

#[tokio::test]
async fn dropping_the_stream_cancels_the_request() {
    let (openai, mut leaving) = RawServer::start(vec![Stream(vec![HELLO, Stall]), Silence]).await;
    let model = model(openai.origin(), "gpt-4o", LIMITS);
    let mut events = request_response(&model);
    assert!(matches!(events.next().await, Some(ModelEvent::TextDelta(_))));
    assert!(leaving.try_recv().is_err());
    drop(events);
    timeout(LIMITS.first_token, leaving.recv()).await.expect("the server notices the first");

    let mut unanswered = request_response(&model);
    assert!(timeout(SHORT, unanswered.next()).await.is_err());
    assert!(leaving.try_recv().is_err());
    drop(unanswered);
    timeout(LIMITS.first_token, leaving.recv()).await.expect("the server notices the second");
}
