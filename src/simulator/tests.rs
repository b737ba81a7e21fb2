//! The stand-ins, asked by hand: they refuse what Twilio and OpenAI would refuse.

use serde_json::{Value, json};

use super::deployment::Proxy;
use super::house::PUBLIC;
use super::openai::{Behaviour, Fault, OpenAi};
use super::tape::{Event, Tape};
use super::twilio::{Account, Mishap, Quirks, Request, Trouble, Twilio, Webhooks};
use super::*;
use crate::twilio::Signer;

fn tape() -> Tape {
    Tape::new(|_| {})
}

fn violations(tape: &Tape) -> Vec<String> {
    let told = tape.entries().into_iter().filter_map(|entry| match entry.event {
        Event::Violation(what) => Some(what),
        _ => None,
    });
    told.collect()
}

/// Twilio's Payments API for a call that is up; callbacks go nowhere.
async fn payments(quirks: Quirks) -> (String, Tape) {
    let tape = tape();
    let account = Account { sid: "AC1".to_owned(), token: "t".to_owned() };
    let nowhere = Proxy::new(([127, 0, 0, 1], 9).into());
    let webhooks = Webhooks::new(nowhere, PUBLIC.parse().unwrap(), Signer::new(&SecretString::from("t"))).unwrap();
    // The callbacks have a tape of their own: that nobody answers them does not matter here.
    let twilio = Twilio::new(account, quirks, Pace::FAST, webhooks, tape.clone());
    twilio.call_is_up();
    let (origin, _) = stage::stand_in(twilio::router(twilio)).await.unwrap();
    (format!("{origin}/2010-04-01/Accounts/AC1/Calls/{}/Payments", twilio::call_sid(1)), tape)
}

async fn post(url: &str, token: &str, form: &[(&str, &str)]) -> (u16, Value) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = client.post(url).basic_auth("AC1", Some(token)).form(form).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

const CREATE: &[(&str, &str)] = &[("IdempotencyKey", "k1"), ("StatusCallback", "https://pay.example.com/status")];

fn broken_rules(tape: &Tape) -> Vec<String> {
    violations(tape).into_iter().filter(|what| !what.starts_with("a status callback")).collect()
}

#[tokio::test]
async fn the_same_key_creates_one_payment_and_gets_the_same_answer() {
    let (url, tape) = payments(Quirks::default()).await;
    let first = post(&format!("{url}.json"), "t", CREATE).await;
    assert_eq!(first.0, 201);
    assert_eq!(post(&format!("{url}.json"), "t", CREATE).await, first);
    assert_eq!(broken_rules(&tape), Vec::<String>::new());
    assert_eq!(tape.entries().iter().filter(|it| matches!(it.event, Event::Created { .. })).count(), 1);
}

#[tokio::test]
async fn strangers_and_second_payments_are_violations() {
    let (url, tape) = payments(Quirks::default()).await;
    assert_eq!(post(&format!("{url}.json"), "wrong", CREATE).await.0, 401);
    assert_eq!(broken_rules(&tape).len(), 1);
    post(&format!("{url}.json"), "t", CREATE).await;
    let again = [("IdempotencyKey", "k2"), CREATE[1]];
    let (status, error) = post(&format!("{url}.json"), "t", &again).await;
    assert_eq!((status, error["code"].as_u64()), (400, Some(64021)));
    assert_eq!(broken_rules(&tape).len(), 2);
}

#[tokio::test]
async fn a_key_that_is_used_for_something_else_is_a_violation() {
    let (url, tape) = payments(Quirks::default()).await;
    let (_, payment) = post(&format!("{url}.json"), "t", CREATE).await;
    let update = format!("{url}/{}.json", payment["sid"].as_str().unwrap());
    post(&update, "t", &[CREATE[0], CREATE[1], ("Status", "cancel")]).await;
    assert_eq!(broken_rules(&tape).len(), 1);
}

#[tokio::test]
async fn completing_too_early_is_refused_and_a_violation() {
    let (url, tape) = payments(Quirks::default()).await;
    let (_, payment) = post(&format!("{url}.json"), "t", CREATE).await;
    let update = format!("{url}/{}.json", payment["sid"].as_str().unwrap());
    let (status, error) = post(&update, "t", &[("IdempotencyKey", "k2"), CREATE[1], ("Status", "complete")]).await;
    assert_eq!((status, error["code"].as_u64()), (400, Some(64019)));
    assert_eq!(broken_rules(&tape).len(), 1);
}

#[tokio::test]
async fn a_lost_answer_was_done_and_is_given_to_the_retry() {
    let lost = Trouble { on: Request::Create, how: Mishap::Lost, times: 1 };
    let (url, tape) = payments(Quirks { trouble: Some(lost), ..Quirks::default() }).await;
    assert_eq!(post(&format!("{url}.json"), "t", CREATE).await.0, 504);
    assert_eq!(post(&format!("{url}.json"), "t", CREATE).await.0, 201);
    assert_eq!(tape.entries().iter().filter(|it| matches!(it.event, Event::Created { .. })).count(), 1);
}

async fn model(behaviour: Behaviour) -> (String, Tape) {
    let tape = tape();
    let openai = OpenAi::new("key", "m", behaviour, None, Pace::FAST, tape.clone());
    let (origin, _) = stage::stand_in(openai.router()).await.unwrap();
    (format!("{origin}/v1/responses"), tape)
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
    let (url, tape) = model(Behaviour::default()).await;
    let events = ask(&url, &question()).await.unwrap();
    assert!(events.starts_with("event: response.created\n"));
    assert!(events.contains("event: response.function_call_arguments.done\n"));
    assert!(events.trim_end().lines().last().unwrap().contains("\"response.completed\""));
    assert_eq!(violations(&tape), Vec::<String>::new());
    assert!(tape.entries().iter().any(|it| matches!(&it.event, Event::ToolCalled { name, .. } if name == "end-call")));
}

#[tokio::test]
async fn a_cut_breaks_the_body_and_a_dropped_request_is_noticed() {
    let (url, tape) =
        model(Behaviour { faults: vec![(1..=1, Fault::Cut(1)), (2..=2, Fault::Stalls)], ..Behaviour::default() }).await;
    assert!(ask(&url, &question()).await.is_err());
    let question = question();
    let asked_twice =
        |entries: &[Entry]| (entries.iter().filter(|it| matches!(it.event, Event::Asked)).count() == 2).then_some(());
    // It is dropped once the model has it.
    tokio::select! {
        answer = ask(&url, &question) => panic!("a model that stalls answers {answer:?}"),
        asked = tape.until(Duration::from_secs(10), asked_twice) => assert!(asked.is_some()),
    }
    let stopped = |entries: &[Entry]| entries.iter().any(|it| matches!(it.event, Event::StoppedModel)).then_some(());
    assert!(tape.until(Duration::from_secs(2), stopped).await.is_some());
}

#[tokio::test]
async fn two_questions_at_once_are_a_violation() {
    let (url, tape) = model(Behaviour { faults: vec![(1..=1, Fault::Stalls)], ..Behaviour::default() }).await;
    let (first, second) = (question(), question());
    tokio::select! {
        _ = ask(&url, &first) => {}
        _ = async { tokio::task::yield_now().await; tape.until(Duration::from_secs(2), |it| (!it.is_empty()).then_some(())).await; ask(&url, &second).await } => {}
    }
    assert_eq!(violations(&tape).len(), 1);
}
