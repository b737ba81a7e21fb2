//! Toll fraud and floods of calls, orders and text messages: each reaches a limit, and live calls go on.

use crelay_payments::simulator::{ModelReply, PlacedCallTwiml, QueuedOpenAi, RecordingTwilio, TwilioRequestKind};
use futures_util::future::join_all;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::server::{OPERATOR_TOKEN, Server, start_twilio};

const CALLER: &str = "+15550100001";

/// With a greeting the model is not asked before the caller has spoken.
const GREETS: &str = r#"{"ConversationRelay": {"Configuration": {"welcomeGreeting": "Hello. {disclosure}"}}}"#;

/// Starts a server with an operator token, these variables and this `serverConfig.json`, and the stand-ins for Twilio and
/// the model.
async fn start_server(vars: &[(&str, &str)], config: &str) -> (Server, RecordingTwilio, QueuedOpenAi) {
    let (twilio, openai) = (start_twilio().await, QueuedOpenAi::start(&[]).await.unwrap());
    let assets = tempfile::tempdir().unwrap();
    std::fs::write(assets.path().join("serverConfig.json"), config).unwrap();
    let own = [
        ("OPERATOR_TOKEN", OPERATOR_TOKEN),
        ("TWILIO_API_BASE_URL", twilio.origin()),
        ("OPENAI_BASE_URL", openai.base_url()),
        ("ASSETS_DIR", assets.path().to_str().unwrap()),
    ];
    let server = Server::start(&[vars, &own].concat()).await;
    (server, twilio, openai)
}

fn count(twilio: &RecordingTwilio, kind: TwilioRequestKind) -> usize {
    twilio.requests().iter().filter(|request| request.kind == kind).count()
}

fn order_to(number: &str) -> Value {
    json!({"properties": {"phoneNumber": number}})
}

async fn refusals(server: &Server) -> Value {
    server.get("/health").await.json::<Value>().await.unwrap()["refused"].take()
}

/// The caller says this many things on a call, after each of which the model sends this many text messages.
async fn send_messages(
    server: &Server,
    openai: &QueuedOpenAi,
    call: &str,
    from: &str,
    [utterances, messages]: [usize; 2],
) {
    let message = ModelReply::tool_call("send-sms", r#"{"message":"Win a prize."}"#);
    let mut socket = server.connect_call_from(from, call, &json!({})).await;
    for _ in 0..utterances {
        openai.set_replies(std::iter::repeat_n(message.clone(), messages).chain([ModelReply::text("Done.")]));
        socket.say("Send it to me again and again").await.unwrap();
        assert_eq!(socket.wait_for_speech().await.unwrap(), "Done.");
    }
}

#[tokio::test]
async fn five_of_160_text_messages_are_sent_on_a_call_and_ten_to_a_caller_in_an_hour() {
    let (server, twilio, openai) = start_server(&[], GREETS).await;
    send_messages(&server, &openai, "CA1", CALLER, [16, 10]).await;
    assert_eq!(count(&twilio, TwilioRequestKind::Message), 5);
    assert_eq!(refusals(&server).await, json!({"messagesPerCall": 155}));
    for call in ["CA2", "CA3"] {
        send_messages(&server, &openai, call, CALLER, [1, 6]).await;
    }
    assert_eq!(count(&twilio, TwilioRequestKind::Message), 10);
    assert_eq!(refusals(&server).await, json!({"messagesPerCall": 157, "messagesPerCallerInHour": 5}));
    send_messages(&server, &openai, "CA4", "+15550100003", [1, 1]).await;
    assert_eq!(count(&twilio, TwilioRequestKind::Message), 11, "another caller");
}

#[tokio::test]
async fn no_text_message_goes_to_a_spoofed_premium_or_satellite_number() {
    let (server, twilio, openai) = start_server(&[], GREETS).await;
    for (call, from) in [
        ("CA1", "+881612345678"),
        ("CA2", "+19005550100"),
        ("CA3", "+18765550100"),
        ("CA4", "+447012345678"),
        ("CA5", "+37190123456"),
        ("CA6", "+33612345678"),
    ] {
        send_messages(&server, &openai, call, from, [1, 1]).await;
        assert!(openai.last_input().contains("No text message can be sent to the number of this caller"), "{from}");
    }
    assert_eq!(count(&twilio, TwilioRequestKind::Message), 0);
}

#[tokio::test]
async fn thirty_of_200_orders_in_a_burst_are_placed_and_the_live_call_goes_on() {
    let (server, twilio, openai) = start_server(&[], GREETS).await;
    let mut socket = server.connect_call_from(CALLER, "CA1000", &json!({})).await;
    let orders = (0..200).map(|n| {
        let server = &server;
        async move { server.post_as_operator("/outboundCall", &order_to(&format!("+1555011{n:04}"))).await }
    });
    let answers = join_all(orders).await;
    let placed = answers.iter().filter(|answer| answer.status() == StatusCode::CREATED).count();
    assert_eq!((placed, twilio.placed_calls().len()), (30, 30));
    for answer in answers.into_iter().filter(|answer| answer.status() != StatusCode::CREATED) {
        assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS);
        let wait: u64 = answer.headers()["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((1..=60).contains(&wait), "{wait}");
        let body: Value = answer.json().await.unwrap();
        assert_eq!(body["limit"], "OUTBOUND_PER_MINUTE");
        assert!(body["error"].as_str().unwrap().contains("raise OUTBOUND_PER_MINUTE"), "{body}");
    }
    assert_eq!(refusals(&server).await, json!({"OUTBOUND_PER_MINUTE": 170}));
    openai.set_replies([ModelReply::text("I am here.")]);
    socket.say("Are you there?").await.unwrap();
    assert_eq!(socket.wait_for_speech().await.unwrap(), "I am here.");
}

#[tokio::test]
async fn one_number_is_not_called_more_than_three_times_at_once() {
    let (server, twilio, _openai) = start_server(&[], GREETS).await;
    for _ in 0..3 {
        assert_eq!(server.post_as_operator("/outboundCall", &order_to(CALLER)).await.status(), StatusCode::CREATED);
    }
    let answer = server.post_as_operator("/outboundCall", &order_to(CALLER)).await;
    assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(answer.json::<Value>().await.unwrap()["limit"], "callsPerCaller");
    let ended = [("CallSid", "CA2"), ("CallStatus", "no-answer")];
    server.post_as_twilio("/twilioStatusCallback", &ended).await;
    assert_eq!(server.post_as_operator("/outboundCall", &order_to(CALLER)).await.status(), StatusCode::CREATED);
    assert_eq!(twilio.placed_calls().len(), 4);
}

#[tokio::test]
async fn numbers_that_cost_more_and_emergency_numbers_are_not_called() {
    let (server, twilio, _openai) =
        start_server(&[("OUTBOUND_ALLOWED", "+1, +44, +49, +33, +39, +8, +9")], GREETS).await;
    for (number, status, reason) in [
        ("+19005550100", StatusCode::FORBIDDEN, "add +1900 to it"),
        ("+12129765010", StatusCode::FORBIDDEN, "add +1212976 to it"),
        ("+18095550100", StatusCode::FORBIDDEN, "add +1809 to it"),
        ("+449098790000", StatusCode::FORBIDDEN, "add +449 to it"),
        ("+447012345678", StatusCode::FORBIDDEN, "personal number"),
        ("+499001234567", StatusCode::FORBIDDEN, "add +49900 to it"),
        ("+491805123456", StatusCode::FORBIDDEN, "shared-cost number"),
        ("+33899123456", StatusCode::FORBIDDEN, "add +3389 to it"),
        ("+39899123456", StatusCode::FORBIDDEN, "add +3989 to it"),
        ("+881612345678", StatusCode::FORBIDDEN, "satellite number"),
        ("+870773123456", StatusCode::FORBIDDEN, "satellite number"),
        ("+88213123456", StatusCode::FORBIDDEN, "add +882 to it"),
        ("+979123456789", StatusCode::FORBIDDEN, "premium-rate number"),
        ("+80012345678", StatusCode::FORBIDDEN, "add +800 to it"),
        ("+34612345678", StatusCode::FORBIDDEN, "add +34 to OUTBOUND_ALLOWED"),
        ("+19115550100", StatusCode::UNPROCESSABLE_ENTITY, "emergency"),
        ("+1911911", StatusCode::UNPROCESSABLE_ENTITY, "emergency"),
        ("+1911", StatusCode::UNPROCESSABLE_ENTITY, "emergency"),
        ("+49112", StatusCode::UNPROCESSABLE_ENTITY, "emergency"),
        ("911", StatusCode::UNPROCESSABLE_ENTITY, "emergency"),
        ("112", StatusCode::UNPROCESSABLE_ENTITY, "emergency"),
        ("999", StatusCode::UNPROCESSABLE_ENTITY, "emergency"),
    ] {
        let answer = server.post_as_operator("/outboundCall", &order_to(number)).await;
        let got = answer.status();
        let error = answer.json::<Value>().await.unwrap()["error"].as_str().unwrap().to_owned();
        assert_eq!(got, status, "{number}: {error}");
        assert!(error.contains(reason), "{number}: {error}");
    }
    assert!(twilio.placed_calls().is_empty());
    for number in ["+12125550100", "+442071838750", "+4930123456"] {
        let placed = server.post_as_operator("/outboundCall", &order_to(number)).await;
        assert_eq!(placed.status(), StatusCode::CREATED, "{number}");
    }
}

#[tokio::test]
async fn calls_beyond_the_limit_hear_a_sentence_and_live_calls_go_on() {
    let config = r#"{"ConversationRelay": {"Configuration": {"language": "de-DE", "welcomeGreeting": "Guten Tag. {disclosure}"}},
        "Limits": {"calls": 20}}"#;
    let (server, _twilio, openai) = start_server(&[], config).await;
    let ring = async |call: String, from: String| {
        let form = [("CallSid", call.as_str()), ("From", from.as_str()), ("CallStatus", "ringing")];
        server.post_as_twilio("/connectConversationRelay", &form).await.text().await.unwrap()
    };
    let mut socket = server.connect_call_from(CALLER, "CA1", &json!({})).await;
    // The fourth call of one number.
    for call in 2..=3 {
        assert!(ring(format!("CA{call}"), CALLER.to_owned()).await.contains("<ConversationRelay"));
    }
    let twiml = ring("CA4".to_owned(), CALLER.to_owned()).await;
    assert!(
        twiml.contains(r#"<Say language="de-DE">Es tut mir leid"#) && twiml.ends_with("<Hangup/></Response>"),
        "{twiml}"
    );
    assert!(ring("CA3".to_owned(), CALLER.to_owned()).await.contains("<ConversationRelay"), "a repeated webhook");
    // A burst of calls before any socket is open.
    let calls = (100..200).map(|n| ring(format!("CA{n}"), format!("+1555012{n:04}")));
    let answers = join_all(calls).await;
    assert_eq!(answers.iter().filter(|twiml| twiml.contains("<ConversationRelay")).count(), 17);
    assert_eq!(refusals(&server).await, json!({"calls": 83, "callsPerCaller": 1}));
    let order = server.post_as_operator("/outboundCall", &order_to("+15550130001")).await;
    assert_eq!(order.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(order.json::<Value>().await.unwrap()["limit"], "calls");
    openai.set_replies([ModelReply::text("Ich bin da.")]);
    socket.say("Hallo?").await.unwrap();
    assert_eq!(socket.wait_for_speech().await.unwrap(), "Ich bin da.");
    // A call that has ended makes room.
    server.post_as_twilio("/twilioStatusCallback", &[("CallSid", "CA2"), ("CallStatus", "completed")]).await;
    assert!(ring("CA901".to_owned(), "+15550130003".to_owned()).await.contains("<ConversationRelay"));
}

#[tokio::test]
async fn an_answering_machine_hears_a_sentence_and_gets_no_agent() {
    let (server, twilio, openai) = start_server(&[], GREETS).await;
    for (n, answered_by) in ["machine_start", "machine_end_beep", "machine_end_silence", "fax"].iter().enumerate() {
        let order = json!({"properties": {"phoneNumber": format!("+1555014000{n}"), "callReference": "order-7",
            "amountDue": "25.00", "customer": "Ann"}});
        let placed = server.post_as_operator("/outboundCall", &order).await;
        assert_eq!(placed.status(), StatusCode::CREATED, "the reference is free again");
        let call: Value = placed.json().await.unwrap();
        let PlacedCallTwiml::Url(url) = twilio.placed_calls()[n].twiml.clone() else { panic!("inline TwiML") };
        let path = url.as_str().strip_prefix("https://pay.example.com").unwrap().to_owned();
        let form = [("CallSid", call["callSid"].as_str().unwrap()), ("AnsweredBy", answered_by)];
        let twiml = server.post_as_twilio(&path, &form).await.text().await.unwrap();
        assert!(
            twiml.contains("<Say") && twiml.contains("We tried to reach you") && twiml.contains("<Hangup/>"),
            "{twiml}"
        );
        for private in ["ConversationRelay", "25.00", "Ann", "order-7"] {
            assert!(!twiml.contains(private), "{twiml}");
        }
        assert_eq!(server.post_as_twilio(&path, &form).await.status(), StatusCode::NOT_FOUND);
    }
    for answered_by in ["human", "unknown"] {
        let order = order_to("+15550140009");
        assert_eq!(server.post_as_operator("/outboundCall", &order).await.status(), StatusCode::CREATED);
        let PlacedCallTwiml::Url(url) = twilio.placed_calls().pop().unwrap().twiml else { panic!("inline TwiML") };
        let path = url.as_str().strip_prefix("https://pay.example.com").unwrap().to_owned();
        let form = [("CallSid", "CA9"), ("AnsweredBy", answered_by)];
        assert!(server.post_as_twilio(&path, &form).await.text().await.unwrap().contains("<ConversationRelay"));
    }
    // Twilio finds out later.
    let mut socket = server.connect_call("CA77", &json!({})).await;
    let form = [("CallSid", "CA77"), ("CallStatus", "in-progress"), ("AnsweredBy", "machine_end_other")];
    server.post_as_twilio("/twilioStatusCallback", &form).await;
    assert!(socket.wait_for_speech().await.unwrap().contains("We tried to reach you"));
    assert_eq!(openai.request_count(), 0);
}
