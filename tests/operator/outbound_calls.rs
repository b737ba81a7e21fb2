//! `/outboundCall`, `/outboundTwiml` and Twilio's status callbacks.

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{error_response, start_server};
use crate::server::{SOCKET_TOKEN, Server, parameter};
use crelay_payments::simulator::{ModelReply, PlacedCall, PlacedCallTwiml, TwilioRefusal, TwilioRequestKind};

fn order() -> Value {
    json!({"properties": {
        "phoneNumber": "+15550100001", "callReference": "order-7", "amount": 25.5, "customer": "Ann & Bob",
        "items": [{"name": "Tea", "count": 2}],
    }})
}

/// The path of the TwiML of a call.
fn twiml_path(call: &PlacedCall) -> String {
    match &call.twiml {
        PlacedCallTwiml::Inline(_) => panic!("the TwiML would run before it is known who answered"),
        PlacedCallTwiml::Url(url) => url.as_str().strip_prefix("https://pay.example.com").unwrap().to_owned(),
    }
}

/// Requests the TwiML of a call that a person has answered.
async fn fetch_twiml(server: &Server, call: &PlacedCall) -> String {
    let form = [("CallSid", "CA1"), ("CallStatus", "in-progress"), ("AnsweredBy", "human")];
    let answer = server.post_as_twilio(&twiml_path(call), &form).await;
    assert_eq!((answer.status(), &answer.headers()["content-type"]), (StatusCode::OK, &"text/xml".parse().unwrap()));
    answer.text().await.unwrap()
}

#[tokio::test]
async fn a_customer_is_called_and_the_agent_has_the_properties() {
    let (server, twilio, openai) = start_server(&[ModelReply::text("It is about your tea.")]).await;
    let answer = server.post_as_operator("/outboundCall", &order()).await;
    assert_eq!(answer.status(), StatusCode::CREATED);
    let placed: Value = answer.json().await.unwrap();
    assert_eq!(placed, json!({"callSid": "CA1", "callReference": "order-7"}));

    let call = &twilio.placed_calls()[0];
    let twiml = fetch_twiml(&server, call).await;
    assert_eq!((call.to.as_str(), call.from.as_str()), ("+15550100001", "+15550100002"));
    assert_eq!(call.status_callback.as_str(), "https://pay.example.com/twilioStatusCallback");
    assert_eq!(call.events, ["initiated", "ringing", "answered", "completed"]);
    assert_eq!((call.ring_timeout, call.time_limit), (Some(30), Some(4_200)));
    assert_eq!(call.machine_detection.as_deref(), Some("DetectMessageEnd"));
    for part in [
        r#"<Connect action="https://pay.example.com/connectAction?callReference=order-7">"#,
        r#"<Parameter name="callReference" value="order-7"/>"#,
        r#"<Parameter name="amount" value="25.5"/>"#,
        r#"<Parameter name="customer" value="Ann &amp; Bob"/>"#,
    ] {
        assert!(twiml.contains(part), "{part} in {twiml}");
    }
    assert!(!twiml.contains("phoneNumber") && !twiml.contains("Tea"));

    let parameters = json!({"callReference": "order-7", "amount": "25.5", "customer": "Ann & Bob"});
    let mut socket = server.connect_call("CA1", &parameters).await;
    socket.say("What is it about?").await.unwrap();
    assert_eq!(socket.wait_for_speech().await.unwrap(), "It is about your tea.");
    let shown = openai.last_input();
    assert!(shown.contains("you called this person") && shown.contains("Tea"), "{shown}");
    assert!(!shown.contains("15550100001"), "{shown}");
}

#[tokio::test]
async fn the_amount_due_of_the_order_overrides_the_parameters() {
    let (server, _twilio, openai) = start_server(&[ModelReply::text("It is 25 dollars.")]).await;
    let order =
        json!({"properties": {"phoneNumber": "+15550100001", "callReference": "order-7", "amountDue": "25.00"}});
    assert_eq!(server.post_as_operator("/outboundCall", &order).await.status(), StatusCode::CREATED);
    let mut socket = server.connect_call("CA1", &json!({"callReference": "order-7", "amountDue": "1.00"})).await;
    socket.say("How much?").await.unwrap();
    socket.wait_for_speech().await.unwrap();
    assert!(openai.last_input().contains("Due on this call: 25.00 USD."), "{}", openai.last_input());
}

#[tokio::test]
async fn a_repeated_order_is_refused_until_its_call_has_ended() {
    let (server, twilio, _openai) = start_server(&[]).await;
    assert_eq!(server.post_as_operator("/outboundCall", &order()).await.status(), StatusCode::CREATED);
    let (status, why) = error_response(server.post_as_operator("/outboundCall", &order()).await).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(why.contains("callReference"), "{why}");

    let socket = server.connect_call("CA1", &json!({"callReference": "order-7"})).await;
    drop(socket);
    // The call can be resumed until Twilio reports that it has ended.
    server.wait_for_calls(1).await;
    server.post_as_twilio("/twilioStatusCallback", &[("CallSid", "CA1"), ("CallStatus", "completed")]).await;
    server.wait_for_calls(0).await;
    assert_eq!(server.post_as_operator("/outboundCall", &order()).await.status(), StatusCode::CREATED);
    // A call that is not answered has no socket.
    let busy = [("CallSid", "CA2"), ("CallStatus", "busy"), ("SequenceNumber", "2")];
    assert_eq!(server.post_as_twilio("/twilioStatusCallback", &busy).await.status(), StatusCode::NO_CONTENT);
    assert_eq!(server.post_as_operator("/outboundCall", &order()).await.status(), StatusCode::CREATED);
    assert_eq!(twilio.placed_calls().len(), 3);
}

#[tokio::test]
async fn a_reconnected_call_keeps_its_keys_and_its_amount_due() {
    let (server, twilio, _openai) = start_server(&[]).await;
    let order = json!({"properties": {"phoneNumber": "+15550100001", "contextKey": "defaultContext", "callReference": "order-7",
        "amountDue": "25.00", "avsName": "Ann", "paymentMethod": "ach-debit"}});
    assert_eq!(server.post_as_operator("/outboundCall", &order).await.status(), StatusCode::CREATED);
    let mut twiml = fetch_twiml(&server, &twilio.placed_calls()[0]).await;
    for again in ["", "reconnects=1&amp;", "reconnects=2&amp;"] {
        let path = format!(
            "/connectAction?{again}contextKey=defaultContext&amp;amountDue=25.00&amp;callReference=order-7&amp;paymentMethod=ach-debit"
        );
        assert!(twiml.contains(&format!(r#"<Connect action="https://pay.example.com{path}">"#)), "{path} in {twiml}");
        let failed = [("CallSid", "CA1"), ("CallStatus", "in-progress"), ("SessionStatus", "failed")];
        twiml = server.post_as_twilio(&path.replace("&amp;", "&"), &failed).await.text().await.unwrap();
        for (name, value) in [("contextKey", "defaultContext"), ("amountDue", "25.00"), ("callReference", "order-7")] {
            assert!(twiml.contains(&format!(r#"<Parameter name="{name}" value="{value}"/>"#)), "{twiml}");
        }
    }
}

#[tokio::test]
async fn a_reference_gives_its_order_only_to_its_own_call() {
    let (server, _twilio, openai) = start_server(&[ModelReply::text("Hello.")]).await;
    server.post_as_operator("/outboundCall", &order()).await;
    let mut socket = server.connect_call("CA9", &json!({"callReference": "order-7"})).await;
    socket.say("Hi").await.unwrap();
    socket.wait_for_speech().await.unwrap();
    assert!(!openai.last_input().contains("Tea"), "{}", openai.last_input());
}

#[tokio::test]
async fn the_twiml_is_fetched_once_and_only_by_twilio() {
    let (server, twilio, _openai) = start_server(&[]).await;
    let order = json!({"properties": {"phoneNumber": "+15550100001", "note": "long ".repeat(1_000)}});
    assert_eq!(server.post_as_operator("/outboundCall", &order).await.status(), StatusCode::CREATED);
    let call = twilio.placed_calls().remove(0);
    let unsigned = server.post_form(&twiml_path(&call), "CallSid=CA1", None).await;
    assert_eq!(unsigned.status(), StatusCode::FORBIDDEN);
    assert!(fetch_twiml(&server, &call).await.contains("value=\"long long "));
    let form = [("CallSid", "CA1"), ("CallStatus", "in-progress")];
    assert_eq!(server.post_as_twilio(&twiml_path(&call), &form).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(server.post_as_twilio("/outboundTwiml/1", &form).await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn an_order_outlives_a_restart_while_its_call_rings() {
    let (server, twilio, _openai) = start_server(&[]).await;
    let mut order =
        json!({"properties": {"phoneNumber": "+15550100001", "callReference": "order-7", "amountDue": "25.00"}});
    assert_eq!(server.post_as_operator("/outboundCall", &order).await.status(), StatusCode::CREATED);
    order["properties"]["callReference"] = json!("order-8");
    order["properties"]["description"] = json!("\u{8336}".repeat(170));
    order["properties"]["orderReference"] = json!("\u{8336}".repeat(40));
    assert_eq!(server.post_as_operator("/outboundCall", &order).await.status(), StatusCode::CREATED);
    drop(server);

    let (server, _twilio, openai) = start_server(&[ModelReply::text("It is 25 dollars.")]).await;
    let calls = twilio.placed_calls();
    let twiml = fetch_twiml(&server, &calls[0]).await;
    let action = "https://pay.example.com/connectAction?amountDue=25.00&amp;callReference=order-7";
    assert!(twiml.contains(&format!(r#"<Connect action="{action}">"#)), "{twiml}");
    assert!(twiml.contains("welcomeGreeting="), "it is the first session: {twiml}");
    let parameters = ["amountDue", "callReference", SOCKET_TOKEN].map(|name| (name, parameter(&twiml, name).unwrap()));
    let setup = json!({"type": "setup", "callSid": "CA1", "accountSid": "AC1", "direction": "outbound-api",
        "customParameters": parameters.into_iter().collect::<Value>()});
    let mut socket = server.begin_call(&setup).await;
    socket.say("How much?").await.unwrap();
    socket.wait_for_speech().await.unwrap();
    assert!(openai.last_input().contains("Due on this call: 25.00 USD."), "{}", openai.last_input());

    let form = [("CallSid", "CA1"), ("CallStatus", "in-progress")];
    let live = server.post_as_twilio(&twiml_path(&calls[0]), &form).await;
    assert_eq!(live.status(), StatusCode::NOT_FOUND, "the call has its session");
    assert!(!twiml_path(&calls[1]).contains('?'), "Twilio refuses a URL that is too long");
    let form = [("CallSid", "CA2"), ("CallStatus", "in-progress")];
    assert_eq!(server.post_as_twilio(&twiml_path(&calls[1]), &form).await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn an_invalid_order_places_no_call() {
    let (server, twilio, _openai) = start_server(&[]).await;
    for (properties, reason) in [
        (json!({}), "E.164"),
        (json!({"phoneNumber": "555-0100"}), "E.164"),
        (json!({"phoneNumber": "+15550100001", "note": "4242 4242 4242 4242"}), "card"),
        (json!({"phoneNumber": "+15550100001", "contextKey": "No Such"}), "there are PaymentContext"),
        (json!({"phoneNumber": "+15550100001", "manifestKey": "NoSuch"}), "there are PaymentToolManifest"),
        (json!({"phoneNumber": "+15550100001", "amountDue": 25.0}), "amountDue must be a string"),
        (json!({"phoneNumber": "+15550100001", "amountDue": "25,00"}), "amountDue not a plain decimal number"),
        (json!({"phoneNumber": "+15550100001", "note": "&".repeat(20_000)}), "64,000"),
        (json!({"phoneNumber": "+15550100001", "paymentMethod": "cash"}), "credit-card or ach-debit"),
        (json!({"phoneNumber": "+15550100001", "paymentMethod": "ach-debit"}), "avsName"),
        (json!({"phoneNumber": "+15550100001", "bankAccountType": "consumer-savings"}), "is for ach-debit only"),
    ] {
        let answer = server.post_as_operator("/outboundCall", &json!({"properties": properties})).await;
        let (status, why) = error_response(answer).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{why}");
        assert!(why.contains(reason) && !why.contains("4242"), "{why}");
    }
    assert!(twilio.placed_calls().is_empty());
}

#[tokio::test]
async fn a_refusal_by_twilio_is_mapped_to_a_status_and_a_reason() {
    let (server, twilio, _openai) = start_server(&[]).await;
    let placing = async |refusal: (u16, u32)| {
        let (status, code) = refusal;
        twilio.set_refusal(Some(TwilioRefusal { request: TwilioRequestKind::Call, status, code }));
        self::error_response(server.post_as_operator("/outboundCall", &order()).await).await
    };
    let (status, why) = placing((400, 21211)).await;
    assert!(status == StatusCode::BAD_REQUEST && why.contains("phoneNumber"), "{status} {why}");
    let (status, why) = placing((401, 20003)).await;
    assert!(status == StatusCode::BAD_GATEWAY && why.contains("AUTH_TOKEN"), "{status} {why}");
    let (status, why) = placing((429, 20429)).await;
    assert!(status == StatusCode::SERVICE_UNAVAILABLE && why.contains("try again"), "{status} {why}");
    // The call may have been placed, so it is not placed again.
    let (status, why) = placing((500, 20500)).await;
    assert!(status == StatusCode::GATEWAY_TIMEOUT && why.contains("before you try again"), "{status} {why}");
    twilio.set_refusal(None);
    assert_eq!(server.post_as_operator("/outboundCall", &order()).await.status(), StatusCode::CONFLICT);
    assert!(twilio.placed_calls().is_empty());
}

async fn post_status(server: &Server, status: &str, sequence: &str) -> StatusCode {
    let form = [("CallSid", "CA1"), ("CallStatus", status), ("SequenceNumber", sequence)];
    server.post_as_twilio("/twilioStatusCallback", &form).await.status()
}

#[tokio::test]
async fn a_call_that_is_over_ends_though_its_socket_never_closed() {
    let (server, _twilio, _openai) = start_server(&[ModelReply::text("Still here.")]).await;
    let mut socket = server.connect_call("CA1", &json!({})).await;
    for (status, sequence) in [("in-progress", "2"), ("ringing", "1"), ("ringing", "1"), ("new-word", "x")] {
        assert_eq!(post_status(&server, status, sequence).await, StatusCode::NO_CONTENT);
    }
    socket.say("Hello?").await.unwrap();
    assert_eq!(socket.wait_for_speech().await.unwrap(), "Still here.");

    assert_eq!(post_status(&server, "completed", "3").await, StatusCode::NO_CONTENT);
    server.wait_for_calls(0).await;
    // A repeated and a late callback.
    assert_eq!(post_status(&server, "completed", "3").await, StatusCode::NO_CONTENT);
    assert_eq!(post_status(&server, "initiated", "0").await, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn a_status_callback_without_its_fields_is_refused() {
    let (server, _twilio, _openai) = start_server(&[]).await;
    for form in [&[("CallSid", "CA1")][..], &[("CallStatus", "busy")], &[("callSid", "CA1"), ("CallStatus", "busy")]] {
        assert_eq!(server.post_as_twilio("/twilioStatusCallback", form).await.status(), StatusCode::BAD_REQUEST);
    }
}

#[tokio::test]
async fn an_array_is_not_taken_for_an_order() {
    let (server, twilio, _openai) = start_server(&[]).await;
    let answer = server.post_as_operator("/outboundCall", &json!([order()["properties"]])).await;
    let (status, error) = error_response(answer).await;
    assert_eq!((status, error.as_str()), (StatusCode::BAD_REQUEST, "the body must be a JSON object"));
    assert!(twilio.placed_calls().is_empty());
}
