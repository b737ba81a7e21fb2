//! The model's stream against an OpenAI of our own, over real sockets: limits are short, since time cannot be paused.

mod server;

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::time::{Instant, timeout};

use self::server::Answer::{Plain, Silence, Stream};
use self::server::Step::{Cut, Event, Stall};
use self::server::{Answer, OpenAi, Step};
use super::{Limits, Model, Profile};
use crate::call::{Item, ModelEvent, Request, RequestId};
use crate::config;

const CREATED: Step = Event(r#"{"type":"response.created","response":{"id":"resp_1"}}"#);
const HELLO: Step = Event(r#"{"type":"response.output_text.delta","delta":"Hello"}"#);
const WORLD: Step = Event(r#"{"type":"response.output_text.delta","delta":" world"}"#);
const ARGUMENTS: Step = Event(r#"{"type":"response.function_call_arguments.delta","delta":"{"}"#);
const REASONING: Step = Event(
    r#"{"type":"response.output_item.done","item":{"id":"rs_1","type":"reasoning","summary":[],"encrypted_content":"x"}}"#,
);
const MESSAGE: Step = Event(r#"{"type":"response.output_item.done","item":{"id":"msg_1","type":"message"}}"#);
const CALL_1: Step = Event(
    r#"{"type":"response.output_item.done","item":{"id":"fc_1","type":"function_call","call_id":"call_1","name":"end-call","arguments":"{}"}}"#,
);
const CALL_2: Step = Event(
    r#"{"type":"response.output_item.done","item":{"id":"fc_2","type":"function_call","call_id":"call_2","name":"capture-card","arguments":""}}"#,
);
const COMPLETED: Step = Event(r#"{"type":"response.completed","response":{"usage":{"input_tokens":3}}}"#);
const INCOMPLETE: Step = Event(r#"{"type":"response.incomplete","response":{}}"#);
const OVERLOADED: Step =
    Event(r#"{"type":"error","error":{"type":"server_error","code":"server_error","message":"sorry"}}"#);
const FAILED: Step = Event(r#"{"type":"response.failed","response":{"error":{"code":"invalid_prompt"}}}"#);

const LIMITS: Limits = Limits { first_token: Duration::from_secs(5), response: Duration::from_secs(10), retries: 2 };
const SHORT: Duration = Duration::from_millis(150);
const JSON: (&str, &str) = ("content-type", "application/json");

fn model(base: &str, name: &str, limits: Limits) -> Model {
    let config = config::OpenAi { api_key: "sk-1".into(), model: name.to_owned(), base_url: base.to_owned() };
    Model::new(&config, limits).unwrap()
}

#[derive(serde::Serialize)]
struct Tool {
    r#type: &'static str,
    name: &'static str,
}

fn ask(model: &Model) -> impl futures_util::Stream<Item = ModelEvent> + Send + Unpin + 'static + use<> {
    let profile = Profile::new("Be kind.", &[Tool { r#type: "function", name: "end-call" }]).unwrap();
    model.respond(Arc::new(profile), Request { id: RequestId(1), input: vec![Item::Caller("Hi".to_owned())] })
}

/// What the call would make of it, in short; it must end by itself.
async fn heard(model: &Model) -> String {
    let events = ask(model).map(|event| match event {
        ModelEvent::Delta(text) => format!("'{}'", text.reveal()),
        ModelEvent::Reasoning(_) => "reasoning".to_owned(),
        ModelEvent::Call(call) => format!("{}:{}", call.name, call.item_id.as_deref().unwrap_or("-")),
        ModelEvent::Done => "done".to_owned(),
        ModelEvent::Failed => "failed".to_owned(),
    });
    timeout(Duration::from_secs(20), events.collect::<Vec<_>>()).await.expect("it ends").join(" ")
}

/// What is heard of these answers, and how often the server was asked.
async fn told(answers: Vec<Answer>) -> (String, usize) {
    told_within(LIMITS, answers).await
}

async fn told_within(limits: Limits, answers: Vec<Answer>) -> (String, usize) {
    let (openai, base, _leaving) = OpenAi::start(answers).await;
    openai.cut.notify_one();
    let heard = heard(&model(&base, "gpt-4o", limits)).await;
    (heard, openai.bodies().len())
}

fn once(heard: &str) -> (String, usize) {
    (heard.to_owned(), 1)
}

fn after_another(heard: &str) -> (String, usize) {
    (heard.to_owned(), 2)
}

#[tokio::test]
async fn words_arrive_as_they_come_and_then_the_end() {
    let answer = Stream(vec![CREATED, HELLO, WORLD, MESSAGE, COMPLETED, HELLO]);
    assert_eq!(told(vec![answer]).await, once("'Hello' ' world' done"));
}

#[tokio::test]
async fn the_request_is_one_post_with_the_key_and_our_name() {
    let (openai, base, _leaving) = OpenAi::start(vec![Stream(vec![COMPLETED])]).await;
    heard(&model(&base, "gpt-4o", LIMITS)).await;
    let asked = &openai.asked.lock().unwrap()[0];
    assert_eq!(asked.path, "/v1/responses");
    assert_eq!(asked.headers["authorization"], "Bearer sk-1");
    assert_eq!(asked.headers["content-type"], "application/json");
    assert!(asked.headers["user-agent"].to_str().unwrap().starts_with("crelay-payments/"));
    assert_eq!(
        asked.body,
        concat!(
            r#"{"model":"gpt-4o","instructions":"Be kind.","tools":[{"type":"function","name":"end-call"}],"#,
            r#""input":[{"role":"user","content":"Hi"}],"stream":true,"store":false}"#
        )
    );
}

#[tokio::test]
async fn two_calls_of_one_response_come_in_order() {
    let answer = Stream(vec![CREATED, ARGUMENTS, CALL_1, CALL_2, COMPLETED]);
    assert_eq!(told(vec![answer]).await, once("end-call:- capture-card:- done"));
}

#[tokio::test]
async fn reasoning_comes_with_the_calls_that_it_led_to() {
    let calls = Stream(vec![REASONING, CALL_1, CALL_2, COMPLETED]);
    assert_eq!(told(vec![calls]).await, once("reasoning end-call:fc_1 capture-card:fc_2 done"));
    let words = Stream(vec![REASONING, HELLO, MESSAGE, CALL_1, COMPLETED]);
    assert_eq!(told(vec![words]).await, once("'Hello' end-call:- done"));
    let nothing = Stream(vec![REASONING, MESSAGE, COMPLETED]);
    assert_eq!(told(vec![nothing]).await, once("done"));
}

#[tokio::test]
async fn what_is_not_understood_is_skipped() {
    let strange = vec![
        Event(r#"{"type":"keepalive"}"#),
        Event("not JSON"),
        HELLO,
        Event(r#"{"type":"response.output_text.delta"}"#),
        Event(r#"{"type":"response.output_item.done","item":{"type":"function_call"}}"#),
        COMPLETED,
    ];
    assert_eq!(told(vec![Stream(strange)]).await, once("'Hello' done"));
}

#[tokio::test]
async fn a_stream_that_breaks_off_before_the_first_token_is_asked_for_again() {
    let again = || Stream(vec![WORLD, COMPLETED]);
    assert_eq!(told(vec![Stream(vec![CREATED, Cut]), again()]).await, after_another("' world' done"));
    assert_eq!(told(vec![Stream(vec![CREATED]), again()]).await, after_another("' world' done"));
    assert_eq!(told(vec![Stream(vec![OVERLOADED]), again()]).await, after_another("' world' done"));
    let call = Stream(vec![CALL_1, COMPLETED]);
    assert_eq!(told(vec![Stream(vec![REASONING]), call]).await, after_another("end-call:- done"), "not its reasoning");
}

#[tokio::test]
async fn a_stream_that_breaks_off_later_is_not() {
    for end in [vec![HELLO], vec![HELLO, OVERLOADED], vec![HELLO, FAILED]] {
        assert_eq!(told(vec![Stream(end)]).await, once("'Hello' failed"));
    }
    assert_eq!(told(vec![Stream(vec![ARGUMENTS])]).await, once("failed"));

    let (openai, base, _leaving) = OpenAi::start(vec![Stream(vec![HELLO, Cut])]).await;
    let mut events = ask(&model(&base, "gpt-4o", LIMITS));
    assert!(matches!(events.next().await, Some(ModelEvent::Delta(_))));
    openai.cut.notify_one();
    assert!(matches!(events.next().await, Some(ModelEvent::Failed)));
    assert!(events.next().await.is_none());
    assert_eq!(openai.bodies().len(), 1);
}

#[tokio::test]
async fn a_response_that_was_cut_short_is_good_if_anything_came() {
    assert_eq!(told(vec![Stream(vec![HELLO, INCOMPLETE])]).await, once("'Hello' done"));
    assert_eq!(told(vec![Stream(vec![ARGUMENTS, INCOMPLETE])]).await, once("failed"));
    assert_eq!(told(vec![Stream(vec![INCOMPLETE])]).await, once("failed"));
}

#[tokio::test]
async fn silence_ends_at_the_limit() {
    let no_token = Limits { first_token: SHORT, ..LIMITS };
    assert_eq!(told_within(no_token, vec![Stream(vec![CREATED, Stall])]).await, once("failed"));
    let no_end = Limits { response: SHORT * 2, ..LIMITS };
    assert_eq!(told_within(no_end, vec![Stream(vec![HELLO, Stall])]).await, once("'Hello' failed"));
}

#[tokio::test]
async fn a_connection_that_says_nothing_leaves_time_for_another() {
    let limits = Limits { first_token: Duration::from_millis(1200), ..LIMITS };
    let answers = vec![Silence, Stream(vec![HELLO, COMPLETED])];
    assert_eq!(told_within(limits, answers).await, after_another("'Hello' done"));
    let last = Limits { retries: 0, first_token: SHORT, ..LIMITS };
    assert_eq!(told_within(last, vec![Silence]).await, once("failed"));
}

#[tokio::test]
async fn a_busy_model_is_asked_again_when_it_says() {
    let busy = |wait| Plain(429, ("retry-after-ms", wait), r#"{"error":{"code":"rate_limit_exceeded"}}"#);
    let asked = Instant::now();
    let answers = vec![busy("300"), Stream(vec![HELLO, COMPLETED])];
    assert_eq!(told(answers).await, after_another("'Hello' done"));
    assert!(asked.elapsed() >= Duration::from_millis(300));
}

#[tokio::test]
async fn a_caller_does_not_wait_for_long() {
    let later = Plain(429, ("retry-after", "60"), r#"{"error":{"code":"rate_limit_exceeded"}}"#);
    assert_eq!(told(vec![later]).await, once("failed"));
}

#[tokio::test]
async fn what_cannot_pass_is_not_asked_again() {
    for answer in [
        Plain(429, JSON, r#"{"error":{"code":"insufficient_quota","type":"insufficient_quota"}}"#),
        Plain(400, JSON, r#"{"error":{"code":null,"param":"input[3]"}}"#),
        Plain(401, JSON, "{}"),
        Plain(404, ("content-type", "text/html"), "<html>"),
        Plain(302, ("location", "/v1/elsewhere"), ""),
        Plain(200, JSON, r#"{"object":"response","output":[]}"#),
    ] {
        assert_eq!(told(vec![answer]).await, once("failed"));
    }
}

#[tokio::test]
async fn attempts_have_an_end() {
    let limits = Limits { retries: 1, ..LIMITS };
    assert_eq!(told_within(limits, Vec::new()).await, after_another("failed"));
    let nowhere = model("http://127.0.0.1:1/v1", "gpt-4o", limits);
    assert_eq!(heard(&nowhere).await, "failed");
}

#[tokio::test]
async fn a_refusal_of_encrypted_reasoning_is_learned() {
    let refused = r#"{"error":{"message":"Encrypted content is not supported with this model.","param":"include"}}"#;
    let hello = || Stream(vec![REASONING, HELLO, COMPLETED]);
    let limits = Limits { retries: 0, ..LIMITS };
    let (openai, base, _leaving) = OpenAi::start(vec![Plain(400, JSON, refused), hello(), hello()]).await;
    let model = model(&base, "gpt-5", limits);
    assert_eq!(heard(&model).await, "'Hello' done");
    assert_eq!(heard(&model.clone()).await, "'Hello' done");
    let asks: Vec<_> = openai.bodies().iter().map(|body| body.contains("reasoning.encrypted_content")).collect();
    assert_eq!(asks, [true, false, false]);
}

#[tokio::test]
async fn a_model_that_is_seen_to_reason_is_asked_for_its_reasoning() {
    let hello = || Stream(vec![REASONING, HELLO, COMPLETED]);
    let (openai, base, _leaving) = OpenAi::start(vec![hello(), hello()]).await;
    let model = model(&base, "house-model", LIMITS);
    heard(&model).await;
    heard(&model).await;
    let asks: Vec<_> = openai.bodies().iter().map(|body| body.contains("reasoning.encrypted_content")).collect();
    assert_eq!(asks, [false, true]);
}

#[tokio::test]
async fn an_abandoned_poll_loses_nothing() {
    let (openai, base, _leaving) = OpenAi::start(vec![Stream(vec![HELLO, WORLD, COMPLETED])]).await;
    let mut events = ask(&model(&base, "gpt-4o", LIMITS));
    let mut words = 0;
    loop {
        tokio::select! {
            biased;
            event = events.next() => match event {
                Some(ModelEvent::Delta(_)) => words += 1,
                Some(ModelEvent::Done) => break,
                other => panic!("{other:?}"),
            },
            () = tokio::task::yield_now() => {}
        }
    }
    assert_eq!((words, openai.bodies().len()), (2, 1));
}

#[tokio::test]
async fn dropping_the_stream_abandons_the_request() {
    let (_openai, base, mut leaving) = OpenAi::start(vec![Stream(vec![HELLO, Stall]), Silence]).await;
    let model = model(&base, "gpt-4o", LIMITS);
    let mut events = ask(&model);
    assert!(matches!(events.next().await, Some(ModelEvent::Delta(_))));
    assert!(leaving.try_recv().is_err());
    drop(events);
    timeout(LIMITS.first_token, leaving.recv()).await.expect("the server sees it");

    let mut unanswered = ask(&model);
    assert!(timeout(SHORT, unanswered.next()).await.is_err());
    assert!(leaving.try_recv().is_err());
    drop(unanswered);
    timeout(LIMITS.first_token, leaving.recv()).await.expect("the server sees that, too");
}
