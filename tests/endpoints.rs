//! The endpoints of the real server: Twilio's webhooks, the ConversationRelay socket, and health checks.

#![cfg(feature = "simulator")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod business;
mod operator;
#[expect(dead_code, reason = "not all clients are used")]
mod server;
mod webhook_delivery;

use crelay_payments::simulator::{ModelReply, QueuedOpenAi, RelayMessage};
use reqwest::StatusCode;
use serde_json::json;
use server::{OPERATOR_TOKEN, Server, start_twilio};

#[tokio::test]
async fn a_call_that_comes_in_is_connected_to_the_relay() {
    let server = Server::start(&[]).await;
    let answer =
        server.post_as_twilio("/connectConversationRelay", &[("CallSid", "CA1"), ("CallStatus", "ringing")]).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["content-type"], "text/xml");
    let twiml = answer.text().await.unwrap();
    for part in [
        r#"<Connect action="https://pay.example.com/connectAction">"#,
        r#"<ConversationRelay url="wss://pay.example.com/conversation-relay" "#,
        r#"dtmfDetection="true""#,
        r#"events="speaker-events tokens-played""#,
        r#"<Language code="en-AU" ttsProvider="ElevenLabs" voice="IKne3meq5aSn9XLyUdCD" transcriptionProvider="Deepgram" speechModel="nova-3-general"/>"#,
    ] {
        assert!(twiml.contains(part), "{part} in {twiml}");
    }
}

#[tokio::test]
async fn requests_without_a_valid_signature_are_refused() {
    let server = Server::start(&[]).await;
    for path in ["/connectConversationRelay", "/payment-status-callback", "/connectAction", "/twilioStatusCallback"] {
        for signature in [None, Some("bm90IGEgc2lnbmF0dXJl"), Some("no base64 at all")] {
            let answer = server.post_form(path, "CallSid=CA1", signature).await;
            assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{path} {signature:?}");
        }
    }
    // A signature is valid for one path only.
    let signature = server.signature("https://pay.example.com/connectAction", &[("CallSid", "CA1")]);
    let answer = server.post_form("/payment-status-callback", "CallSid=CA1", Some(&signature)).await;
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn an_unknown_path_or_method_is_answered_with_a_hint() {
    let server = Server::start(&[]).await;
    for (answer, status, hint) in [
        (server.get("/nowhere").await, StatusCode::NOT_FOUND, "no such endpoint"),
        (
            server.get("/conversation").await,
            StatusCode::METHOD_NOT_ALLOWED,
            "this endpoint does not support this method",
        ),
    ] {
        assert_eq!(answer.status(), status);
        assert_eq!(answer.json::<serde_json::Value>().await.unwrap(), json!({"error": hint}));
    }
}

#[tokio::test]
async fn the_socket_opens_only_for_twilio() {
    let server = Server::start(&[]).await;
    let wss = server.signature("wss://pay.example.com/conversation-relay", &[]);
    let https = server.signature("https://pay.example.com/conversation-relay", &[]);
    assert!(server.open_socket(Some(&wss)).await.is_ok());
    assert_eq!(server.open_socket(Some(&https)).await.err(), Some(403));
    assert_eq!(server.open_socket(None).await.err(), Some(403));
}

#[tokio::test]
async fn a_callback_for_an_unknown_call_is_accepted() {
    let server = Server::start(&[]).await;
    let form = [("CallSid", "CA404"), ("Sid", "PK1"), ("Result", "success"), ("Unknown", "")];
    assert_eq!(server.post_as_twilio("/payment-status-callback", &form).await.status(), StatusCode::NO_CONTENT);
    let without_sid = server.post_as_twilio("/payment-status-callback", &[("CallSid", "CA404")]).await;
    assert_eq!(without_sid.status(), StatusCode::BAD_REQUEST);
    assert!(without_sid.text().await.unwrap().contains("Sid"));
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused() {
    let server = Server::start(&[]).await;
    let body = "a=b&".repeat(20_000);
    let signature = server.signature("https://pay.example.com/connectAction", &[("a", "b")]);
    assert_eq!(server.post_form("/connectAction", &body, Some(&signature)).await.status(), StatusCode::FORBIDDEN);
    let unsigned =
        Server::start(&[("VALIDATE_TWILIO_SIGNATURE", "false"), ("ALLOW_INSECURE", "unsigned-webhooks")]).await;
    assert_eq!(unsigned.post_form("/connectAction", &body, None).await.status(), StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn the_connect_action_returns_the_next_twiml() {
    let alone = Server::start(&[]).await;
    let staffed = Server::start(&[("LIVE_AGENT_NUMBER", "+15550009999")]).await;
    let live = ("CallStatus", "in-progress");
    let ended = ("SessionStatus", "ended");
    let handed_off = ("HandoffData", r#"{"reasonCode":"live-agent-handoff"}"#);
    let dial = r#"<Dial action="https://pay.example.com/connectAction"><Number>+15550009999</Number></Dial>"#;
    let apology = "<Say>I am sorry, nobody is free";

    assert!(staffed.post_connect_action(&[live, ended, handed_off]).await.contains(dial));
    assert!(alone.post_connect_action(&[live, ended, handed_off]).await.contains(apology));
    assert!(staffed.post_connect_action(&[live, ("DialCallStatus", "no-answer")]).await.contains(apology));
    assert!(
        staffed.post_connect_action(&[live, ("DialCallStatus", "completed")]).await.contains("<Response><Hangup/>")
    );
    assert!(staffed.post_connect_action(&[live, ended]).await.contains("<Response><Hangup/>"));
    let over = staffed.post_connect_action(&[("CallStatus", "completed"), ("SessionStatus", "completed")]).await;
    assert!(over.ends_with("<Response></Response>"), "{over}");
}

#[tokio::test]
async fn a_failed_session_is_reconnected_three_times_and_then_dialled_to_a_person() {
    let server = Server::start(&[("LIVE_AGENT_NUMBER", "+15550009999")]).await;
    let failed =
        [("CallSid", "CA1"), ("CallStatus", "in-progress"), ("SessionStatus", "failed"), ("ErrorCode", "64105")];
    let mut path = "/connectAction".to_owned();
    for reconnects in 1..=3 {
        let twiml = server.post_as_twilio(&path, &failed).await.text().await.unwrap();
        path = format!("/connectAction?reconnects={reconnects}");
        assert!(twiml.contains(&format!(r#"<Connect action="https://pay.example.com{path}">"#)), "{twiml}");
        assert!(
            twiml.contains(r#"<Parameter name="crelayReconnect""#) && !twiml.contains("welcomeGreeting"),
            "{twiml}"
        );
    }
    let twiml = server.post_as_twilio(&path, &failed).await.text().await.unwrap();
    assert!(twiml.contains("<Number>+15550009999</Number>"), "{twiml}");
}

#[tokio::test]
async fn a_workflow_gets_a_task_made_of_what_the_agent_wrote_down() {
    let server = Server::start(&[("LIVE_AGENT_WORKFLOW_SID", "WW1"), ("LIVE_AGENT_NUMBER", "+15550009999")]).await;
    let handed_off = [("CallStatus", "in-progress"), ("HandoffData", r#"{"reasonCode":"x","reason":"<&>"}"#)];
    let twiml = server.post_connect_action(&handed_off).await;
    let task = r#"<Enqueue workflowSid="WW1" action="https://pay.example.com/connectAction"><Task>{&quot;reason&quot;:&quot;&lt;&amp;&gt;&quot;,&quot;reasonCode&quot;:&quot;x&quot;}</Task></Enqueue>"#;
    assert!(twiml.contains(task), "{twiml}");
    let left = |result| [("CallStatus", "in-progress"), ("QueueResult", result)];
    assert!(server.post_connect_action(&left("bridged")).await.contains("<Response><Hangup/>"));
    assert!(server.post_connect_action(&left("error")).await.contains("<Say>"));
}

#[tokio::test]
async fn a_server_that_stops_takes_no_new_calls() {
    let server = Server::start(&[]).await;
    assert_eq!(server.get("/ready").await.status(), StatusCode::OK);
    let signature = server.signature("wss://pay.example.com/conversation-relay", &[]);
    let mut socket = server.open_socket(Some(&signature)).await.unwrap();
    socket.send(&server.setup_frame("CA1", &json!({})).await).await.unwrap();
    server.wait_for_calls(1).await;
    server.start_shutdown();
    assert_eq!(server.get("/ready").await.status(), StatusCode::SERVICE_UNAVAILABLE);
    let rings = server.post_as_twilio("/connectConversationRelay", &[("CallSid", "CA2")]).await;
    assert_eq!(rings.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(
        server.get("/health").await.text().await.unwrap(),
        r#"{"status":"ok","calls":1}"#,
        "live calls continue"
    );
}

#[tokio::test]
async fn calls_without_a_payment_are_closed_at_half_of_the_drain_time() {
    let server = Server::start(&[("DRAIN_SECONDS", "1")]).await;
    let signature = server.signature("wss://pay.example.com/conversation-relay", &[]);
    let mut socket = server.open_socket(Some(&signature)).await.unwrap();
    socket.send(&server.setup_frame("CA1", &json!({})).await).await.unwrap();
    server.wait_for_calls(1).await;
    server.start_shutdown();
    assert_eq!(socket.wait_for_close().await.unwrap().0, 1012);
}

#[tokio::test]
async fn the_result_of_a_payment_is_spoken_before_its_call_is_ended() {
    let replies = [
        ModelReply::tool_call("start-capture", r#"{"chargeAmount":"0"}"#),
        ModelReply::text("Ready."),
        ModelReply::text("You cancelled it."),
    ];
    let (twilio, openai) = (start_twilio().await, QueuedOpenAi::start(&replies).await.unwrap());
    let vars =
        [("DRAIN_SECONDS", "4"), ("TWILIO_API_BASE_URL", twilio.origin()), ("OPENAI_BASE_URL", openai.base_url())];
    let server = Server::start(&vars).await;
    let mut pays = server.connect_call("CA1", &json!({})).await;
    pays.say("I want to pay").await.unwrap();
    assert_eq!(pays.wait_for_speech().await.unwrap(), "Ready.");
    let mut talks = server.connect_call("CA2", &json!({})).await;

    server.start_shutdown();
    let cut = talks.receive().await;
    assert!(matches!(cut, RelayMessage::Closed(..)), "half of the drain time has passed: {cut:?}");
    let star = [("CallSid", "CA1"), ("Sid", "PK1"), ("Result", "caller-interrupted-with-star")];
    assert_eq!(server.post_as_twilio("/payment-status-callback", &star).await.status(), StatusCode::NO_CONTENT);
    assert_eq!(pays.wait_for_speech().await.unwrap(), "You cancelled it.");
}

#[tokio::test]
async fn a_frame_that_is_too_large_closes_the_socket_but_not_the_call() {
    let server = Server::start(&[]).await;
    let mut older = server.connect_call("CA1", &json!({})).await;
    older.send_text(" ".repeat(256 * 1024 + 1)).await.unwrap();
    assert_eq!(older.wait_for_close().await.unwrap(), (1009, "the frame is too large".to_owned()));
    server.wait_for_calls(1).await;
    let signature = server.signature("wss://pay.example.com/conversation-relay", &[]);
    let mut newer = server.open_socket(Some(&signature)).await.unwrap();
    newer.send(&server.setup_frame("CA1", &json!({})).await).await.unwrap();
    newer.say("Hello?").await.unwrap();
    assert!(newer.wait_for_speech().await.unwrap().contains("AI assistant"), "the greeting was cut off");
    assert!(
        newer.wait_for_speech().await.unwrap().contains("something went wrong"),
        "the call continues without the model"
    );
    server.wait_for_calls(1).await;
}

#[tokio::test]
async fn a_new_socket_of_a_call_replaces_the_old_one() {
    let server = Server::start(&[]).await;
    let signature = server.signature("wss://pay.example.com/conversation-relay", &[]);
    let mut older = server.open_socket(Some(&signature)).await.unwrap();
    older.send(&server.setup_frame("CA1", &json!({})).await).await.unwrap();
    server.wait_for_calls(1).await;
    let mut newer = server.open_socket(Some(&signature)).await.unwrap();
    newer.send(&server.setup_frame("CA1", &json!({})).await).await.unwrap();
    assert_eq!(older.wait_for_close().await.unwrap().0, 1001);
    server.wait_for_calls(1).await;
    newer.close(1000, "").await.unwrap();
    server.post_as_twilio("/connectAction", &[("CallSid", "CA1"), ("CallStatus", "completed")]).await;
    server.wait_for_calls(0).await;
}

#[tokio::test]
async fn the_root_and_health_need_no_credentials() {
    let server = Server::start(&[]).await;
    assert!(server.get("/").await.text().await.unwrap().contains("running"));
    assert_eq!(server.get("/health").await.text().await.unwrap(), r#"{"status":"ok","calls":0}"#);
}

#[tokio::test]
async fn metrics_need_an_operators_token_but_on_their_own_port() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let server = Server::start(&[("OPERATOR_TOKEN", OPERATOR_TOKEN), ("METRICS_PORT", &port.to_string())]).await;
    assert_eq!(server.get("/metrics").await.status(), StatusCode::UNAUTHORIZED);
    let shown = server.get_as_operator("/metrics").await;
    assert_eq!(shown.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    assert!(shown.text().await.unwrap().contains("\ncrelay_calls_live 0\n"));
    let get = async |path| reqwest::get(format!("http://127.0.0.1:{port}{path}")).await.unwrap();
    assert!(get("/metrics").await.text().await.unwrap().contains("\ncrelay_calls_live 0\n"));
    assert_eq!(get("/payments").await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn metrics_count_a_call_its_turns_and_the_failures_of_the_model() {
    let server = Server::start(&[("OPERATOR_TOKEN", OPERATOR_TOKEN)]).await;
    let mut call = server.connect_call("CA1", &json!({})).await;
    call.say("Hello?").await.unwrap();
    assert!(call.wait_for_speech().await.unwrap().contains("something went wrong"));
    let metrics = async || server.get_as_operator("/metrics").await.text().await.unwrap();
    let during = metrics().await;
    for sample in [
        "crelay_calls_live 1",
        r#"crelay_model_outages_total{effect="apology"} 1"#,
        r#"crelay_model_failures_total{kind="no_response",outcome="final"} 1"#,
    ] {
        assert!(during.lines().any(|line| line == sample), "{sample} is not in\n{during}");
    }
    call.close(1000, "").await.unwrap();
    server.post_as_twilio("/connectAction", &[("CallSid", "CA1"), ("CallStatus", "completed")]).await;
    server.wait_for_calls(0).await;
    let ended = r#"crelay_calls_ended_total{reason="caller-hung-up"} 1"#;
    let after = tokio::time::timeout(std::time::Duration::from_secs(10), async {
        loop {
            let text = metrics().await;
            if text.lines().any(|line| line == ended) {
                return text;
            }
        }
    });
    let after = after.await.expect("the end of the call is counted");
    for sample in [
        r#"crelay_turns_total{trigger="prompt",end="call_ended"} 1"#,
        r#"crelay_model_responses_total{end="reported"} 1"#,
        r#"crelay_turn_share_seconds_count{share="first_frame"} 1"#,
        "crelay_call_seconds_count 1",
    ] {
        assert!(after.lines().any(|line| line == sample), "{sample} is not in\n{after}");
    }
}

#[tokio::test]
async fn a_socket_that_does_not_begin_with_setup_is_closed() {
    let server = Server::start(&[]).await;
    for first in [r#"{"type":"prompt","voicePrompt":"Hello"}"#, "no JSON", r#"{"type":"setup"}"#] {
        let (code, reason) = server.send_and_wait_for_close(&[first]).await;
        assert_eq!((code, reason.as_str()), (1002, "the first frame must be setup"), "{first}");
    }
}

#[tokio::test]
async fn bad_frames_are_ignored_and_ten_in_a_row_close_the_socket() {
    let server = Server::start(&[]).await;
    let setup = server.setup_frame("CA1", &json!({})).await.to_string();
    let mut frames = vec![setup.as_str()];
    frames.extend(["{"; 9]);
    frames.push(r#"{"type":"dtmf","digit":"1"}"#);
    frames.extend(["{"; 10]);
    let (code, _) = server.send_and_wait_for_close(&frames).await;
    assert_eq!(code, 1007);
}
