//! The border to Twilio's data: whose socket it is, and what it says.

use std::process::Stdio;
use std::time::Duration;

use crelay_payments::simulator::{ModelReply, QueuedOpenAi, RelayClient, RelayMessage};
use reqwest::StatusCode;
use serde_json::{Value, json};
use sqlx::{Connection as _, SqliteConnection};

use crate::process::Process;
use crate::server::{OPERATOR_TOKEN, SOCKET_TOKEN, SOCKET_URL, Server, parameter, start_twilio};

const REFUSED: (u16, &str) = (1008, "this socket belongs to no call of this server");

/// Opens a socket with the observed signature, which is the same for every call, and sends this frame.
async fn open_with(server: &Server, setup: &Value) -> RelayClient {
    let signature = server.signature(SOCKET_URL, &[]);
    let mut socket = server.open_socket(Some(&signature)).await.unwrap();
    socket.send(setup).await.unwrap();
    socket
}

async fn assert_refused(server: &Server, setup: &Value) {
    let (code, reason) = open_with(server, setup).await.wait_for_close().await.unwrap();
    assert_eq!((code, reason.as_str()), REFUSED, "{setup}");
}

#[tokio::test]
async fn a_socket_without_the_token_of_its_call_has_no_effect() {
    let model = QueuedOpenAi::start_with(ModelReply::text("I am still here."), |_, _| {}).await.unwrap();
    let server = Server::start(&[("OPENAI_BASE_URL", model.base_url())]).await;
    let mut live = server.connect_call("CA1", &json!({})).await;
    let token_of = async |call| server.socket_token(call).await;
    let other = token_of("CA2").await;
    let with = |call: &str, account: &str, token: &str| json!({"type": "setup", "callSid": call, "accountSid": account, "customParameters": {SOCKET_TOKEN: token}});
    let own = token_of("CA1").await;
    for (call, account, token) in [
        ("CA1", "AC1", ""),
        ("CA1", "AC1", "wrong"),
        ("CA1", "AC1", other.as_str()),
        ("CA1", "AC2", own.as_str()),
        ("CA7", "AC1", own.as_str()),
        ("CA7", "AC1", ""),
    ] {
        assert_refused(&server, &with(call, account, token)).await;
    }
    assert_refused(&server, &json!({"type": "setup", "callSid": "CA1"})).await;
    assert_refused(&server, &json!({"type": "setup", "callSid": "CA1", "customParameters": {SOCKET_TOKEN: [1]}})).await;
    server.wait_for_calls(1).await;
    live.say("Are you there?").await.unwrap();
    assert_eq!(live.wait_for_speech().await.unwrap(), "I am still here.", "the call keeps its socket");
    let _taken = open_with(&server, &server.setup_frame("CA1", &json!({})).await).await;
    assert_eq!(live.wait_for_close().await.unwrap().0, 1001, "a further socket with the token takes the call over");
}

#[tokio::test]
async fn a_second_setup_frame_changes_nothing_and_the_model_sees_no_token() {
    let model = QueuedOpenAi::start_with(ModelReply::text("Yes."), |_, _| {}).await.unwrap();
    let server = Server::start(&[("OPENAI_BASE_URL", model.base_url())]).await;
    let mut live = server.connect_call("CA1", &json!({"customer": "Ann"})).await;
    let mut other = server.connect_call("CA2", &json!({"customer": "Bob"})).await;
    for setup in
        [server.setup_frame("CA2", &json!({"customer": "Eve"})).await, json!({"type": "setup", "callSid": "CA2"})]
    {
        live.send(&setup).await.unwrap();
    }
    live.say("Who am I?").await.unwrap();
    assert_eq!(live.wait_for_speech().await.unwrap(), "Yes.");
    let token = server.socket_token("CA1").await;
    let shown = model.wait_for_request(0, |_| true).await.unwrap().to_string();
    assert!(shown.contains("Ann") && !shown.contains("Eve") && !shown.contains(&token), "{shown}");
    assert!(!shown.contains(SOCKET_TOKEN), "{shown}");
    server.wait_for_calls(2).await;
    other.say("And I?").await.unwrap();
    assert_eq!(other.wait_for_speech().await.unwrap(), "Yes.");
}

#[tokio::test]
async fn the_voice_webhook_and_a_restarted_server_give_the_same_token() {
    let (first, second) = (Server::start(&[]).await, Server::start(&[]).await);
    let form = [("CallSid", "CA1"), ("AccountSid", "AC1"), ("CallStatus", "ringing")];
    let twiml = first.post_as_twilio("/connectConversationRelay", &form).await.text().await.unwrap();
    let token = parameter(&twiml, SOCKET_TOKEN).unwrap();
    let setup =
        json!({"type": "setup", "callSid": "CA1", "accountSid": "AC1", "customParameters": {SOCKET_TOKEN: token}});
    let _socket = open_with(&second, &setup).await;
    second.wait_for_calls(1).await;
}

#[tokio::test]
async fn a_replayed_webhook_gives_no_token_and_a_call_that_has_ended_is_not_begun_again() {
    let server = Server::start(&[]).await;
    let ring = [("CallSid", "CA1"), ("AccountSid", "AC1"), ("CallStatus", "ringing")];
    let twiml = server.post_as_twilio("/connectConversationRelay", &ring).await.text().await.unwrap();
    let setup = json!({"type": "setup", "callSid": "CA1", "accountSid": "AC1", "customParameters": {SOCKET_TOKEN: parameter(&twiml, SOCKET_TOKEN).unwrap()}});
    let _live = open_with(&server, &setup).await;
    server.wait_for_calls(1).await;
    let replay = async || {
        let answer = server.post_as_twilio("/connectConversationRelay", &ring).await;
        (answer.status(), answer.text().await.unwrap())
    };
    assert_eq!(replay().await, (StatusCode::CONFLICT, String::new()), "while the call is connected");
    let ended = [("CallSid", "CA1"), ("AccountSid", "AC1"), ("CallStatus", "completed")];
    server.post_as_twilio("/twilioStatusCallback", &ended).await;
    server.wait_for_calls(0).await;
    assert_eq!(replay().await, (StatusCode::CONFLICT, String::new()), "after its end");
    assert_refused(&server, &setup).await;
}

#[tokio::test]
async fn a_replayed_action_of_a_session_that_was_replaced_gives_no_token() {
    let server = Server::start(&[]).await;
    let failed = [("CallSid", "CA1"), ("CallStatus", "in-progress"), ("SessionStatus", "failed")];
    let act = async |path: &str| {
        let answer = server.post_as_twilio(path, &failed).await;
        (answer.status(), parameter(&answer.text().await.unwrap(), SOCKET_TOKEN))
    };
    let setup = |token: &str| json!({"type": "setup", "callSid": "CA1", "accountSid": "AC1", "customParameters": {SOCKET_TOKEN: token}});
    let (status, first) = act("/connectAction").await;
    let first = setup(&first.unwrap());
    assert_eq!(status, StatusCode::OK, "the process that had the call is gone");
    let mut live = open_with(&server, &first).await;
    server.wait_for_calls(1).await;
    assert_eq!(act("/connectAction").await, (StatusCode::CONFLICT, None), "a later session is live");
    server.wait_for_calls(1).await;
    // Twilio may say that the session has failed before the server sees that its socket is broken.
    let (_, second) = act("/connectAction?reconnects=1").await;
    let _second = open_with(&server, &setup(&second.unwrap())).await;
    assert_eq!(live.wait_for_close().await.unwrap().0, 1001);
    for replayed in ["/connectAction", "/connectAction?reconnects=1"] {
        assert_eq!(act(replayed).await, (StatusCode::CONFLICT, None), "{replayed}");
    }
    assert_refused(&server, &first).await;
    server.wait_for_calls(1).await;
    server.post_as_twilio("/connectAction", &[("CallSid", "CA1"), ("CallStatus", "completed")]).await;
    server.wait_for_calls(0).await;
    assert_eq!(act("/connectAction?reconnects=2").await, (StatusCode::CONFLICT, None), "the call has ended");
}

#[tokio::test]
async fn a_call_that_has_ended_is_not_begun_again_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let database = format!("sqlite://{}/ledger.db", directory.path().display());
    let start =
        async || Process::start("http://127.0.0.1:9/v1", &[("DATABASE_URL", database.as_str())], Stdio::null()).await;
    let (first, setup) = (start().await, json!({}));
    let setup = first.server.setup_frame("CA1", &setup).await;
    let ended = [("CallSid", "CA1"), ("CallStatus", "completed")];
    first.server.post_as_twilio("/twilioStatusCallback", &ended).await;
    first.terminate();
    assert!(first.wait_for_exit().await);
    let second = start().await;
    let ring = [("CallSid", "CA1"), ("CallStatus", "ringing")];
    let failed = [("CallSid", "CA1"), ("CallStatus", "in-progress"), ("SessionStatus", "failed")];
    for (path, form) in [("/connectConversationRelay", &ring[..]), ("/connectAction", &failed)] {
        assert_eq!(second.server.post_as_twilio(path, form).await.status(), StatusCode::CONFLICT, "{path}");
    }
    assert_refused(&second.server, &setup).await;
}

#[tokio::test]
async fn a_call_that_the_agent_has_ended_or_handed_to_a_person_is_entered_by_nobody() {
    let server = Server::start(&[]).await;
    let transfer = ("HandoffData", r#"{"reasonCode":"live-agent-handoff"}"#);
    for (call, end) in [("CA1", ("SessionStatus", "ended")), ("CA2", transfer)] {
        let ring = [("CallSid", call), ("CallStatus", "ringing")];
        let webhook = async |form: &[(&str, &str)]| {
            let answer = server.post_as_twilio("/connectConversationRelay", form).await;
            (answer.status(), parameter(&answer.text().await.unwrap(), SOCKET_TOKEN))
        };
        let token = webhook(&ring).await.1.unwrap();
        let setup =
            json!({"type": "setup", "callSid": call, "accountSid": "AC1", "customParameters": {SOCKET_TOKEN: token}});
        let _socket = server.begin_call(&setup).await;
        server.post_as_twilio("/connectAction", &[("CallSid", call), ("CallStatus", "in-progress"), end]).await;
        server.wait_for_calls(0).await;
        assert_eq!(webhook(&ring).await, (StatusCode::CONFLICT, None), "{call}");
        let failed = [("CallSid", call), ("CallStatus", "in-progress"), ("SessionStatus", "failed")];
        assert_eq!(server.post_as_twilio("/connectAction", &failed).await.status(), StatusCode::CONFLICT, "{call}");
        assert_refused(&server, &setup).await;
        // A person sends the call back to the agent; one that has ended is over.
        let (status, token) = webhook(&[("CallSid", call), ("CallStatus", "in-progress")]).await;
        assert_eq!((status == StatusCode::OK, token.is_some()), (end == transfer, end == transfer), "{call}");
    }
}

#[tokio::test]
async fn a_call_of_a_server_that_was_killed_is_taken_over_by_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let database = format!("sqlite://{}/ledger.db", directory.path().display());
    let start =
        async || Process::start("http://127.0.0.1:9/v1", &[("DATABASE_URL", database.as_str())], Stdio::null()).await;
    let first = start().await;
    let failed = [("CallSid", "CA1"), ("CallStatus", "in-progress"), ("SessionStatus", "failed")];
    let act = async |server: &Server, path: &str| {
        let answer = server.post_as_twilio(path, &failed).await;
        (answer.status(), parameter(&answer.text().await.unwrap(), SOCKET_TOKEN))
    };
    let setup = |token: &str| json!({"type": "setup", "callSid": "CA1", "accountSid": "AC1", "customParameters": {SOCKET_TOKEN: token}});
    let old = first.server.setup_frame("CA1", &json!({})).await;
    let _old = first.server.begin_call(&old).await;
    let (_, token) = act(&first.server, "/connectAction?reconnects=1").await;
    let _newest = open_with(&first.server, &setup(&token.unwrap())).await;
    let mut ledger = SqliteConnection::connect(&database).await.unwrap();
    let is_durable = async {
        let select = "SELECT count(*) FROM call_stages WHERE call_sid = 'CA1' AND stage = 2";
        while sqlx::query_scalar::<_, i64>(select).fetch_one(&mut ledger).await.unwrap() == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), is_durable).await.unwrap();
    first.kill();
    let second = start().await;
    let ring = [("CallSid", "CA1"), ("CallStatus", "ringing")];
    let webhook = second.server.post_as_twilio("/connectConversationRelay", &ring).await;
    assert_eq!(webhook.status(), StatusCode::CONFLICT);
    for replayed in ["/connectAction", "/connectAction?reconnects=1"] {
        assert_eq!(act(&second.server, replayed).await, (StatusCode::CONFLICT, None), "{replayed}");
    }
    assert_refused(&second.server, &old).await;
    let (status, token) = act(&second.server, "/connectAction?reconnects=2").await;
    assert_eq!(status, StatusCode::OK, "the genuine one");
    let _resumed = second.server.begin_call(&setup(&token.unwrap())).await;
}

#[tokio::test]
async fn a_webhook_of_another_account_or_of_none_is_refused() {
    let server = Server::start(&[]).await;
    let mut live = server.connect_call("CA1", &json!({})).await;
    // An empty `AccountSid` is none.
    for account in ["AC2", ""] {
        let over = [("CallSid", "CA1"), ("AccountSid", account), ("CallStatus", "completed")];
        for path in ["/connectAction", "/twilioStatusCallback", "/connectConversationRelay", "/outboundTwiml/1"] {
            let answer = server.post_as_twilio(path, &over).await;
            assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{path} {account:?}");
        }
    }
    let paid = |account| [("CallSid", "CA1"), ("AccountSid", account), ("Sid", "PK1"), ("Result", "success")];
    for (account, status) in [("AC2", StatusCode::FORBIDDEN), ("", StatusCode::NO_CONTENT)] {
        let answer = server.post_as_twilio("/payment-status-callback", &paid(account)).await;
        assert_eq!(answer.status(), status, "{account:?}: no real body of some callbacks is known");
    }
    server.wait_for_calls(1).await;
    live.say("Hello?").await.unwrap();
    assert!(matches!(live.receive().await, RelayMessage::Text(_)));
}

#[tokio::test]
async fn a_replayed_wrong_entry_counts_once_whatever_its_headers_and_names() {
    let twilio = start_twilio().await;
    let replies = [
        ModelReply::tool_call("start-capture", r#"{"chargeAmount":"0"}"#),
        ModelReply::tool_call("capture-card", "{}"),
        ModelReply::text("Go on."),
    ];
    let model = QueuedOpenAi::start(&replies).await.unwrap();
    let vars = [("TWILIO_API_BASE_URL", twilio.origin()), ("OPENAI_BASE_URL", model.base_url())];
    let server = Server::start(&[&vars[..], &[("OPERATOR_TOKEN", OPERATOR_TOKEN)]].concat()).await;
    let mut live = server.connect_call("CA1", &json!({})).await;
    live.say("I want to pay").await.unwrap();
    live.wait_for_speech().await.unwrap();
    let wrong = [
        ("CallSid", "CA1"),
        ("Sid", "PK1"),
        ("Capture", "payment-card-number"),
        ("ErrorType", "invalid-card-number"),
        ("DateUpdated", "2026-08-30T10:00:00.001Z"),
    ];
    let url = "https://pay.example.com/payment-status-callback";
    let signature = server.signature(url, &wrong);
    // The same signature is valid for this form, which has no `DateUpdated`.
    let mut cut = wrong;
    cut[4] = ("DateUpdate", "d2026-08-30T10:00:00.001Z");
    for n in 0..200 {
        let form = if n % 2 == 0 { wrong } else { cut };
        let token = if n == 100 { "x".repeat(7_000) } else { format!("fresh-{n}") };
        let request = server.request(reqwest::Method::POST, "/payment-status-callback").form(&form);
        let request = request.header("X-Twilio-Signature", &signature).header("I-Twilio-Idempotency-Token", token);
        assert_eq!(request.send().await.unwrap().status(), StatusCode::NO_CONTENT);
    }
    let listed: Value = server.get_as_operator("/payments").await.json().await.unwrap();
    let id = listed["payments"][0]["id"].as_str().unwrap();
    let payment: Value = server.get_as_operator(&format!("/payments/{id}")).await.json().await.unwrap();
    let events = payment["events"].as_array().unwrap();
    assert_eq!(events.iter().filter(|event| event["kind"] == "wrong").count(), 1, "{events:?}");
    assert!(!std::fs::read(server.ledger_path()).unwrap().windows(8).any(|bytes| bytes == b"xxxxxxxx"));
}

#[tokio::test]
async fn what_is_no_sid_is_refused_at_the_border() {
    let server = Server::start(&[]).await;
    let (huge, long) = ("C".repeat(10 * 1024), format!("CA{}", "0".repeat(63)));
    let malformed = [
        "4242424242424242",
        "CA4242424242424242",
        "CA00000000000000004242424242424242",
        "CA1\n\u{1b}[2J",
        "CA 1",
        "",
        "v3:abc",
        &huge,
        &long,
    ];
    for sid in malformed {
        for path in ["/connectConversationRelay", "/connectAction", "/twilioStatusCallback", "/payment-status-callback"]
        {
            let form = [("CallSid", sid), ("CallStatus", "ringing"), ("Sid", "PK1")];
            assert_eq!(server.post_as_twilio(path, &form).await.status(), StatusCode::BAD_REQUEST, "{path} {sid:?}");
        }
        let form = [("CallSid", "CA1"), ("Sid", sid), ("Result", "success")];
        let answer = server.post_as_twilio("/payment-status-callback", &form).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{sid:?}");
        let setup = json!({"type": "setup", "callSid": sid}).to_string();
        assert_eq!(server.send_and_wait_for_close(&[&setup]).await.0, 1002, "{sid:?}");
    }
    server.wait_for_calls(0).await;
}

#[tokio::test]
async fn the_attestation_of_a_caller_reaches_the_ledger_and_the_limits() {
    let twilio = start_twilio().await;
    let replies = [
        ModelReply::tool_call("start-capture", r#"{"chargeAmount":"0"}"#),
        ModelReply::text("Your card number, please."),
    ];
    let model = QueuedOpenAi::start(&replies).await.unwrap();
    let vars = [
        ("TWILIO_API_BASE_URL", twilio.origin()),
        ("OPENAI_BASE_URL", model.base_url()),
        ("OPERATOR_TOKEN", OPERATOR_TOKEN),
    ];
    let server = Server::start(&vars).await;
    let rings = [("CallSid", "CA1"), ("From", "+15550100001"), ("StirVerstat", "TN-Validation-Passed-C")];
    assert_eq!(server.post_as_twilio("/connectConversationRelay", &rings).await.status(), StatusCode::OK);
    let mut live = server.connect_call_from("+15550100001", "CA1", &json!({})).await;
    live.say("I want to store my card").await.unwrap();
    live.wait_for_speech().await.unwrap();
    let listed: Value = server.get_as_operator("/payments").await.json().await.unwrap();
    let id = listed["payments"][0]["id"].as_str().unwrap();
    let payment: Value = server.get_as_operator(&format!("/payments/{id}")).await.json().await.unwrap();
    let attested = payment["events"].as_array().unwrap().iter().find(|event| event["kind"] == "caller-attested");
    assert_eq!(attested.unwrap()["data"], json!({"attestation": "C"}));
}
