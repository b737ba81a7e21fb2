//! A card number by another road: spread over words, prompts, turns, messages, names and values.

use crelay_payments::simulator::{ModelReply, QueuedOpenAi, RecordingTwilio, RelayClient, TwilioRequestKind};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::server::{OPERATOR_TOKEN, Server, start_twilio};

const CALLER: &str = "+15550100001";

async fn start_server() -> (Server, RecordingTwilio, QueuedOpenAi) {
    let model = QueuedOpenAi::start_with(ModelReply::text("Mm-hm, go on."), |_, _| {}).await.unwrap();
    let twilio = start_twilio().await;
    let vars = [
        ("OPERATOR_TOKEN", OPERATOR_TOKEN),
        ("TWILIO_API_BASE_URL", twilio.origin()),
        ("OPENAI_BASE_URL", model.base_url()),
    ];
    (Server::start(&vars).await, twilio, model)
}

/// Says this, lets the model answer, and returns what the agent said.
async fn say(socket: &mut RelayClient, model: &QueuedOpenAi, words: &str, reply: Option<ModelReply>) -> String {
    model.set_replies(reply);
    socket.say(words).await.unwrap();
    socket.wait_for_speech().await.unwrap()
}

/// The number 4485 2757 4230 8327 by the roads that were seen, each as the prompts of one call.
const ROADS: &[&[&str]] = &[
    &[
        "then I see 44 on it, then I see 85 on it, then I see 27 on it, then I see 57 on it, then I see 42 on it, then I \
       see 30 on it, then I see 83 on it, then I see 27 on it",
    ],
    &[
        "it begins 44",
        "then 85 I think",
        "then it says 27",
        "I see 57 there",
        "the next is 42",
        "and behind it 30",
        "a bit worn, 83",
        "and last 27",
    ],
    &["the first half is 4485 2757", "sorry, the dog", "yes", "one moment", "here I am", "the other half is 4230 8327"],
    &[
        "digit 4 digit 4 digit 8 digit 5 digit 2 digit 7 digit 5 digit 7 digit 4 digit 2 digit 3 digit 0 digit 8 digit 3 \
       digit 2 digit 7",
    ],
    &[
        "first forty-four",
        "it goes on eighty-five",
        "twenty-seven follows it",
        "I read fifty-seven there",
        "forty-two is what comes",
        "thirty I believe",
        "eighty-three as it looks",
        "twenty-seven at the end",
    ],
    &["4485 on the left", "2757 beside it", "4230 is the third group", "8327 on the right"],
    // The last digit is wrong.
    &["4485 on the left", "2757 beside it", "4230 is the third group", "8328 on the right"],
];

#[tokio::test]
async fn no_caller_tells_the_model_a_card_number_over_time() {
    let (server, _twilio, model) = start_server().await;
    for (n, prompts) in ROADS.iter().enumerate() {
        let mut socket = server.connect_call_from(&format!("+1415555{n:04}"), &format!("CA{n:032x}"), &json!({})).await;
        for said in *prompts {
            say(&mut socket, &model, said, None).await;
        }
        let shown = model.last_input();
        assert!(shown.contains("[digits removed]") && shown.contains("ask to use the keypad"), "{prompts:?}: {shown}");
        let said: Vec<&str> = shown.lines().filter(|line| line.contains(r#""role":"user""#)).collect();
        assert_eq!(said.len(), prompts.len(), "{shown}");
        let left = said.concat().replace("one moment", "");
        for part in ["44", "85", "27", "57", "42", "83", "forty", "eighty", "twenty", "digit 4", "digit 8"] {
            assert!(!left.contains(part), "{part} is left of {prompts:?}: {left}");
        }
    }
}

#[tokio::test]
async fn the_agent_says_no_card_number_over_time() {
    let (server, _twilio, model) = start_server().await;
    let mut socket = server.connect_call_from(CALLER, &format!("CA{:032x}", 1), &json!({})).await;
    let with_words = "It has 44 then a 85 then a 27 then a 57 then a 42 then a 30 then a 83 then a 27 at its end.";
    let said = say(&mut socket, &model, "What is it?", Some(ModelReply::text(with_words))).await;
    assert!(said.contains("[digits removed]") && !said.contains("27 at its end"), "{said}");
    say(&mut socket, &model, "And halves?", Some(ModelReply::text("The first half is 4485 2757 I think."))).await;
    let said = say(&mut socket, &model, "Yes?", Some(ModelReply::text("The second half is 4230 8327 I think."))).await;
    assert_eq!(said, "The second half is [digits removed] I think.");
    say(&mut socket, &model, "Thank you", None).await;
    let shown = model.last_input();
    assert!(!shown.contains("4485") && !shown.contains("8327"), "{shown}");
}

#[tokio::test]
async fn the_agent_writes_no_card_number_over_time() {
    let (server, twilio, model) = start_server().await;
    let mut socket = server.connect_call_from(CALLER, &format!("CA{:032x}", 1), &json!({})).await;
    for (name, first, second) in [
        ("send-sms", r#"{"message":"begin 4485a2757"}"#, r#"{"message":"4230b8327 end"}"#),
        ("send-dtmf", r#"{"digits":"44852757"}"#, r#"{"digits":"42308327"}"#),
        ("send-sms", r#"{"message":"4485a2757b4230c8327"}"#, r#"{"message":"done"}"#),
    ] {
        for arguments in [first, second] {
            say(&mut socket, &model, "Do it.", Some(ModelReply::ToolCall(name.into(), arguments.into()))).await;
        }
    }
    say(&mut socket, &model, "Thank you", None).await;
    let shown = model.last_input();
    let is_message = |kind: &TwilioRequestKind| *kind == TwilioRequestKind::Message;
    let sent = twilio.requests().into_iter().filter(|request| is_message(&request.kind));
    let sent: Vec<String> = sent.map(|request| request.field("Body").unwrap_or_default().to_owned()).collect();
    for output in [shown, sent.join("\n")] {
        assert!(!output.contains("8327"), "{output}");
    }
    assert!(sent.len() >= 2 && sent.last().is_some_and(|body| body == "done"), "{sent:?}");
}

#[tokio::test]
async fn no_order_brings_a_card_number_in_parts() {
    let (server, _twilio, _model) = start_server().await;
    for properties in [
        json!({"a": "4485 2757", "b": "4230 8327"}),
        json!({"note": {"n1": "4485", "n2": "2757", "n3": "4230", "n4": "8327"}}),
        json!({"note": "4485a2757b4230c8327"}),
    ] {
        assert_eq!(order(&server, properties.clone()).await, StatusCode::BAD_REQUEST, "{properties}");
    }
    let ordinary =
        json!({"customerPhone": "44852757", "orderReference": "42308327", "zip": "44852", "dueDate": "2026-12-01"});
    let status = order(&server, ordinary).await;
    assert!(status.is_success(), "{status}");
}

async fn order(server: &Server, mut properties: Value) -> StatusCode {
    properties["phoneNumber"] = json!(CALLER);
    server.post_as_operator("/outboundCall", &json!({ "properties": properties })).await.status()
}
