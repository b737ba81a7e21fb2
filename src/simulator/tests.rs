//! Tests that the stand-ins refuse what Twilio and OpenAI would refuse.

use std::collections::BTreeSet;

use futures_util::{SinkExt as _, StreamExt as _};
use opentelemetry_proto::tonic::trace::v1::Span;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use super::local_server::LocalServer;
use super::openai::{ModelBehaviour, ModelFault, ScriptedOpenAi};
use super::proxy::Proxy;
use super::server_under_test::PUBLIC_URL;
use super::transcript::{Transcript, TranscriptEvent};
use super::twilio::{
    AccountCredentials, HttpFault, HttpFaultKind, PaymentsRequest, Quirks, ScriptedTwilio, WebhookSender,
};
use super::*;
use crate::twilio::Signer;

fn new_transcript() -> Transcript {
    Transcript::new(|_| {})
}

fn violations(transcript: &Transcript) -> Vec<String> {
    let told = transcript.entries().into_iter().filter_map(|entry| match entry.event {
        TranscriptEvent::Violation(what) => Some(what),
        _ => None,
    });
    told.collect()
}

/// Starts Twilio's Payments API for a live call. Its callbacks cannot be delivered.
async fn payments(quirks: Quirks) -> (LocalServer, String, Transcript) {
    let (server, url, transcript, _) = payments_of_call(quirks).await;
    (server, url, transcript)
}

/// The same, with Twilio's side of the call.
async fn payments_of_call(quirks: Quirks) -> (LocalServer, String, Transcript, ScriptedTwilio) {
    let transcript = new_transcript();
    let account = AccountCredentials { sid: "AC1".to_owned(), auth_token: "t".to_owned() };
    let nowhere = Proxy::new(([127, 0, 0, 1], 9).into());
    let webhooks =
        WebhookSender::new(nowhere, PUBLIC_URL.parse().unwrap(), Signer::new(&SecretString::from("t"))).unwrap();
    // Undelivered callbacks are recorded as violations; `broken_rules` leaves them out.
    let twilio = ScriptedTwilio::new(account, quirks, Pace::FAST, webhooks, transcript.clone());
    twilio.start_call();
    let server = LocalServer::start(twilio::router(twilio.clone())).await.unwrap();
    let url = format!("{}/2010-04-01/Accounts/AC1/Calls/{}/Payments", server.origin(), twilio::call_sid(1));
    (server, url, transcript, twilio)
}

async fn post(url: &str, token: &str, form: &[(&str, &str)]) -> (u16, Value) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = client.post(url).basic_auth("AC1", Some(token)).form(form).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

const CREATE: &[(&str, &str)] = &[("IdempotencyKey", "k1"), ("StatusCallback", "https://pay.example.com/status")];

fn broken_rules(transcript: &Transcript) -> Vec<String> {
    violations(transcript).into_iter().filter(|what| !what.starts_with("a status callback")).collect()
}

#[tokio::test]
async fn the_same_key_creates_one_payment_and_gets_the_same_answer() {
    let (_server, url, transcript) = payments(Quirks::default()).await;
    let first = post(&format!("{url}.json"), "t", CREATE).await;
    assert_eq!(first.0, 201);
    assert_eq!(post(&format!("{url}.json"), "t", CREATE).await, first);
    assert_eq!(broken_rules(&transcript), Vec::<String>::new());
    assert_eq!(
        transcript.entries().iter().filter(|it| matches!(it.event, TranscriptEvent::PaymentCreated { .. })).count(),
        1
    );
}

#[tokio::test]
async fn wrong_credentials_and_second_payments_are_violations() {
    let (_server, url, transcript) = payments(Quirks::default()).await;
    assert_eq!(post(&format!("{url}.json"), "wrong", CREATE).await.0, 401);
    assert_eq!(broken_rules(&transcript).len(), 1);
    post(&format!("{url}.json"), "t", CREATE).await;
    let again = [("IdempotencyKey", "k2"), CREATE[1]];
    let (status, error) = post(&format!("{url}.json"), "t", &again).await;
    assert_eq!((status, error["code"].as_u64()), (400, Some(64021)));
    assert_eq!(broken_rules(&transcript).len(), 2);
}

#[tokio::test]
async fn a_reused_idempotency_key_is_a_violation() {
    let (_server, url, transcript) = payments(Quirks::default()).await;
    let (_, payment) = post(&format!("{url}.json"), "t", CREATE).await;
    let update = format!("{url}/{}.json", payment["sid"].as_str().unwrap());
    post(&update, "t", &[CREATE[0], CREATE[1], ("Status", "cancel")]).await;
    assert_eq!(broken_rules(&transcript).len(), 1);
}

#[tokio::test]
async fn completing_too_early_is_refused_and_a_violation() {
    let (_server, url, transcript) = payments(Quirks::default()).await;
    let (_, payment) = post(&format!("{url}.json"), "t", CREATE).await;
    let update = format!("{url}/{}.json", payment["sid"].as_str().unwrap());
    let (status, error) = post(&update, "t", &[("IdempotencyKey", "k2"), CREATE[1], ("Status", "complete")]).await;
    assert_eq!((status, error["code"].as_u64()), (400, Some(64019)));
    assert_eq!(broken_rules(&transcript).len(), 1);
}

#[tokio::test]
async fn a_key_of_a_card_is_a_violation_while_the_call_is_recorded() {
    let (_server, url, transcript, twilio) = payments_of_call(Quirks::default()).await;
    let recordings = url.replace("/Payments", "/Recordings");
    let (status, recording) = post(&format!("{recordings}.json"), "t", &[("RecordingChannels", "dual")]).await;
    assert_eq!((status, &recording["status"]), (201, &"in-progress".into()));
    let (_, payment) = post(&format!("{url}.json"), "t", CREATE).await;
    let update = format!("{url}/{}.json", payment["sid"].as_str().unwrap());
    let capture = [("IdempotencyKey", "k2"), CREATE[1], ("Capture", "payment-card-number")];
    assert_eq!(post(&update, "t", &capture).await.0, 202);
    let _ = twilio.press_key('4');
    assert_eq!(broken_rules(&transcript), ["a field is entered while the call is recorded"]);

    let named = format!("{recordings}/{}.json", recording["sid"].as_str().unwrap());
    let pause = [("Status", "paused"), ("PauseBehavior", "skip")];
    for path in [&named, &format!("{recordings}/Twilio.CURRENT.json")] {
        let (status, paused) = post(path, "t", &pause).await;
        assert_eq!((status, &paused["status"]), (200, &"paused".into()), "{path}");
    }
    let _ = twilio.press_key('2');
    assert_eq!(broken_rules(&transcript).len(), 1);
    assert_eq!(post(&named, "t", &[("Status", "stopped")]).await.0, 200);
    assert_eq!(post(&named, "t", &[("Status", "in-progress")]).await.0, 404, "it is over");
    assert_eq!(broken_rules(&transcript).len(), 1);
    assert_eq!(post(&named, "t", &[("Status", "halted")]).await.0, 400);
    post(&format!("{recordings}.json"), "t", &[("RecordingChannels", "dual")]).await;
    assert_eq!(broken_rules(&transcript).len(), 3, "an unknown status, and a second recording");
}

#[tokio::test]
async fn a_retry_gets_the_response_that_was_lost() {
    let lost = HttpFault { request: PaymentsRequest::Create, kind: HttpFaultKind::ResponseLost, times: 1 };
    let (_server, url, transcript) = payments(Quirks { http_fault: Some(lost), ..Quirks::default() }).await;
    assert_eq!(post(&format!("{url}.json"), "t", CREATE).await.0, 504);
    assert_eq!(post(&format!("{url}.json"), "t", CREATE).await.0, 201);
    assert_eq!(
        transcript.entries().iter().filter(|it| matches!(it.event, TranscriptEvent::PaymentCreated { .. })).count(),
        1
    );
}

async fn model(behaviour: ModelBehaviour) -> (LocalServer, String, Transcript) {
    let transcript = new_transcript();
    let openai = ScriptedOpenAi::new("key", "m", behaviour, None, Pace::FAST, transcript.clone());
    let server = LocalServer::start(openai.router()).await.unwrap();
    let url = format!("{}/v1/responses", server.origin());
    (server, url, transcript)
}

fn question() -> Value {
    json!({
        "model": "m", "stream": true, "store": false, "instructions": "Be kind.",
        "tools": [{"type": "function", "name": "end-call", "parameters": {"type": "object"}}],
        "input": [{"role": "user", "content": "That is all, goodbye."}],
    })
}

async fn ask(url: &str, question: &Value) -> reqwest::Result<String> {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    client.post(url).bearer_auth("key").json(question).send().await?.text().await
}

#[tokio::test]
async fn the_model_answers_in_events_and_calls_its_tool() {
    let (_server, url, transcript) = model(ModelBehaviour::default()).await;
    let events = ask(&url, &question()).await.unwrap();
    assert!(events.starts_with("event: response.created\n"));
    assert!(events.contains("event: response.function_call_arguments.done\n"));
    assert!(events.trim_end().lines().last().unwrap().contains("\"response.completed\""));
    assert_eq!(violations(&transcript), Vec::<String>::new());
    assert!(
        transcript
            .entries()
            .iter()
            .any(|it| matches!(&it.event, TranscriptEvent::ToolCalled { name, .. } if name == "end-call"))
    );
}

#[tokio::test]
async fn a_cut_connection_breaks_the_body_and_a_dropped_request_is_noticed() {
    let (_server, url, transcript) = model(ModelBehaviour {
        faults: vec![(1..=1, ModelFault::ConnectionCut(1)), (2..=2, ModelFault::Stall)],
        ..ModelBehaviour::default()
    })
    .await;
    assert!(ask(&url, &question()).await.is_err());
    let question = question();
    let asked_twice = |entries: &[TranscriptEntry]| {
        (entries.iter().filter(|it| matches!(it.event, TranscriptEvent::ModelRequested { .. })).count() == 2)
            .then_some(())
    };
    // The request is dropped after the model has received it.
    tokio::select! {
        answer = ask(&url, &question) => panic!("a model that stalls answers {answer:?}"),
        asked = transcript.wait_until(Duration::from_secs(10), asked_twice) => assert!(asked.is_some()),
    }
    let stopped = |entries: &[TranscriptEntry]| {
        entries.iter().any(|it| matches!(it.event, TranscriptEvent::ModelStopped)).then_some(())
    };
    assert!(transcript.wait_until(Duration::from_secs(2), stopped).await.is_some());
}

/// Sends these messages over a WebSocket, and returns the types of the events, with their lanes, until each message has a
/// response or the socket is closed.
async fn ask_over_socket(url: &str, messages: &[Value]) -> Vec<String> {
    let mut request = url.replacen("http", "ws", 1).into_client_request().unwrap();
    request.headers_mut().insert("authorization", "Bearer key".parse().unwrap());
    let stream = TcpStream::connect(request.uri().authority().unwrap().as_str()).await.unwrap();
    let (mut socket, _) = tokio_tungstenite::client_async(request, stream).await.unwrap();
    for message in messages {
        socket.send(Message::text(message.to_string())).await.unwrap();
    }
    let (mut events, mut open) = (Vec::new(), messages.len());
    while open > 0 {
        let Some(Ok(Message::Text(text))) = socket.next().await else { break };
        let event: Value = serde_json::from_str(&text).unwrap();
        let kind = event["type"].as_str().unwrap();
        open -= usize::from(matches!(kind, "response.completed" | "error"));
        events.push(format!("{}:{kind}", event["stream_id"].as_str().unwrap()));
    }
    events
}

fn message(lane: &str) -> Value {
    let mut message = question();
    message.as_object_mut().unwrap().remove("stream");
    message["type"] = json!("response.create");
    message["stream_id"] = json!(lane);
    message
}

#[tokio::test]
async fn the_requests_of_a_lane_are_answered_one_after_the_other() {
    let (_server, url, transcript) = model(ModelBehaviour::default()).await;
    let events = ask_over_socket(&url, &[message("a"), message("a"), message("b")]).await;
    let ends = |lane: &str| {
        let of_lane = events.iter().filter(|event| event.starts_with(lane)).map(|event| &event[2..]);
        of_lane.filter(|kind| matches!(*kind, "response.created" | "response.completed")).collect::<Vec<_>>()
    };
    let one = ["response.created", "response.completed"];
    assert_eq!((ends("a"), ends("b")), ([one, one].concat(), one.to_vec()));
    assert_eq!(violations(&transcript), Vec::<String>::new());
}

#[tokio::test]
async fn what_a_socket_does_not_take_is_a_violation() {
    for (name, value) in [
        ("stream", json!(true)),
        ("background", json!(false)),
        ("type", json!("response.cancel")),
        ("stream_id", json!(null)),
        ("previous_response_id", json!("resp_1")),
        ("store", json!(true)),
    ] {
        let (_server, url, transcript) = model(ModelBehaviour::default()).await;
        let mut message = message("a");
        message[name] = value;
        ask_over_socket(&url, &[message]).await;
        assert_eq!(violations(&transcript).len(), 1, "{name}");
    }
}

#[tokio::test]
async fn two_questions_at_once_are_a_violation() {
    let (_server, url, transcript) =
        model(ModelBehaviour { faults: vec![(1..=1, ModelFault::Stall)], ..ModelBehaviour::default() }).await;
    let (first, second) = (question(), question());
    tokio::select! {
        _ = ask(&url, &first) => {}
        _ = async { tokio::task::yield_now().await; transcript.wait_until(Duration::from_secs(2), |it| (!it.is_empty()).then_some(())).await; ask(&url, &second).await } => {}
    }
    assert_eq!(violations(&transcript).len(), 1);
}

/// The names of the spans, each with that of its parent, without repetition.
fn parents(spans: &[Span]) -> BTreeSet<(String, String)> {
    let name_of = |id: &[u8]| spans.iter().find(|span| span.span_id == id).map_or("", |span| &span.name);
    spans.iter().map(|span| (span.name.clone(), name_of(&span.parent_span_id).to_owned())).collect()
}

#[tokio::test]
async fn a_payment_call_is_one_trace_without_a_word_or_a_number() {
    let (runner, scenario) = (ScenarioRunner::fast(), find_scenario("charge").unwrap());
    let set = runner.start(&scenario).await.unwrap();
    let collector = set.collector.clone();
    let result = Box::pin(runner.run_started(set, &scenario)).await.unwrap();
    assert!(result.has_passed(), "{}", result.to_text());
    let (spans, bytes) = (collector.spans(), collector.bytes());

    assert!(spans.iter().all(|span| span.trace_id == spans[0].trace_id));
    let found = parents(&spans);
    let create = "POST /2010-04-01/Accounts/{AccountSid}/Calls/{CallSid}/Payments.json";
    let update = "POST /2010-04-01/Accounts/{AccountSid}/Calls/{CallSid}/Payments/{Sid}.json";
    for (name, parent) in [
        ("call", ""),
        ("turn", "call"),
        ("payment", "call"),
        ("chat gpt-6-luna", "turn"),
        ("execute_tool start-capture", "turn"),
        (create, "execute_tool start-capture"),
        (update, "execute_tool finish-capture"),
    ] {
        assert!(found.contains(&(name.to_owned(), parent.to_owned())), "{name} in {parent}: {found:#?}");
    }
    let payment = spans.iter().find(|span| span.name == "payment").unwrap();
    // The result may come before Twilio's response to the submission.
    let (submitted, steps): (Vec<_>, Vec<_>) =
        payment.events.iter().map(|event| event.name.as_str()).partition(|step| *step == "payment.submitted");
    assert!(submitted.len() <= 1);
    assert_eq!(
        steps,
        [
            "payment.opened",
            "payment.field_captured",
            "payment.field_captured",
            "payment.field_captured",
            "payment.ended"
        ]
    );
    assert_eq!(collector::text_of(&payment.attributes, "crelay.payment.end"), Some("succeeded"));

    let said = result.transcript.iter().filter_map(|entry| match &entry.event {
        TranscriptEvent::CallerSaid { text, .. }
        | TranscriptEvent::AgentSaid { text, .. }
        | TranscriptEvent::ModelSaid { text }
        | TranscriptEvent::DeveloperMessage { text } => Some(text.clone()),
        _ => None,
    });
    let numbers = scenario.entered_digits().into_iter().filter(|digits| digits.len() > 8);
    let secrets: Vec<_> = said.chain(numbers).chain(["15550".to_owned()]).collect();
    assert!(secrets.len() > 10, "{secrets:?}");
    for secret in secrets {
        let is_there = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!is_there, "{secret}");
    }
}

#[tokio::test]
async fn the_request_that_places_a_call_is_in_the_trace_of_the_call() {
    let (runner, scenario) = (ScenarioRunner::fast(), find_scenario("outbound").unwrap());
    let set = runner.start(&scenario).await.unwrap();
    let collector = set.collector.clone();
    let result = Box::pin(runner.run_started(set, &scenario)).await.unwrap();
    assert!(result.has_passed(), "{}", result.to_text());
    let spans = collector.spans();
    assert!(spans.iter().all(|span| span.trace_id == spans[0].trace_id));
    let placed = ("POST /2010-04-01/Accounts/{AccountSid}/Calls.json".to_owned(), String::new());
    assert!(parents(&spans).contains(&placed), "{:#?}", parents(&spans));
}

#[tokio::test]
async fn a_collector_that_does_not_answer_holds_no_call_up() {
    // It accepts connections, and reads nothing.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap()).leak();
    let mut scenario = find_scenario("charge").unwrap();
    scenario.server_overrides.vars = vec![("OTEL_EXPORTER_OTLP_ENDPOINT", &*endpoint)].leak();
    let result = Box::pin(ScenarioRunner::fast().run(&scenario)).await.unwrap();
    assert!(result.has_passed(), "{}", result.to_text());
}
