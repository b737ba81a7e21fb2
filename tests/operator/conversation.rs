//! `/conversation`: chats with the agent.

use futures_util::StreamExt;
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

use super::{error_response, start_server};
use crate::server::{OPERATOR_TOKEN, Server};
use crelay_payments::simulator::ModelReply;

/// The first line of the first reply of a chat.
const DISCLOSURE: &str = "This is an automated AI assistant.";

async fn send_message(server: &Server, body: Value) -> Value {
    let answer = server.post_as_operator("/conversation", &body).await;
    assert_eq!(answer.status(), StatusCode::OK);
    answer.json().await.unwrap()
}

async fn stream_message(server: &Server, body: &Value) -> Response {
    let request = server.operator_request("/conversation").bearer_auth(OPERATOR_TOKEN).json(body);
    let answer = request.header("Accept", "text/event-stream").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    answer
}

#[tokio::test]
async fn the_agent_answers_and_remembers() {
    let (server, _twilio, openai) =
        start_server(&[ModelReply::text("Hello, Ann."), ModelReply::text("You are Ann.")]).await;
    let first = send_message(&server, json!({"message": "I am Ann."})).await;
    assert_eq!(first["reply"], format!("{DISCLOSURE}\nHello, Ann."));
    assert!(first.get("toolCalls").is_none(), "{first}");
    let second =
        send_message(&server, json!({"sessionId": first["sessionId"], "message": "Who am I?", "role": "user"})).await;
    assert_eq!((&second["reply"], &second["sessionId"]), (&json!("You are Ann."), &first["sessionId"]));
    let shown = openai.last_input();
    for item in [
        r#"{"content":"I am Ann.","role":"user"}"#,
        r#"{"content":"Hello, Ann.","role":"assistant"}"#,
        r#"{"content":"Who am I?","role":"user"}"#,
    ] {
        assert!(shown.contains(item), "{item} in {shown}");
    }
}

#[tokio::test]
async fn a_system_message_becomes_a_developer_message() {
    let (server, _twilio, openai) = start_server(&[ModelReply::text("Aye.")]).await;
    send_message(&server, json!({"message": "Talk like a pirate.", "role": "system"})).await;
    assert!(
        openai.last_input().contains(r#"{"content":"Talk like a pirate.","role":"developer"}"#),
        "{}",
        openai.last_input()
    );
}

#[tokio::test]
async fn tools_that_need_a_live_call_say_so() {
    let replies =
        [ModelReply::tool_call("start-capture", r#"{"chargeAmount":"5.00"}"#), ModelReply::text("Please call us.")];
    let (server, _twilio, openai) = start_server(&replies).await;
    let answer = send_message(&server, json!({"message": "I want to pay."})).await;
    assert_eq!(answer["reply"], format!("{DISCLOSURE}\nPlease call us."));
    assert_eq!(answer["toolCalls"], json!([{"name": "start-capture", "arguments": {"chargeAmount": "5.00"}}]));
    assert!(openai.last_input().contains("only during a phone call"), "{}", openai.last_input());
}

#[tokio::test]
async fn no_card_number_comes_in() {
    for role in ["user", "system"] {
        let (server, _twilio, openai) = start_server(&[ModelReply::text("Keep it to yourself.")]).await;
        send_message(&server, json!({"message": "It is 4242 4242 4242 4242", "role": role})).await;
        assert!(openai.last_input().contains("[digits removed]") && !openai.last_input().contains("4242"), "{role}");
    }
}

#[tokio::test]
async fn tokens_are_streamed_as_server_sent_events_on_request() {
    let (server, _twilio, _openai) = start_server(&[ModelReply::text("Tea and \ncake.")]).await;
    let answer = stream_message(&server, &json!({"message": "Count."})).await;
    assert!(answer.headers()["content-type"].to_str().unwrap().starts_with("text/event-stream"));
    let events = answer.text().await.unwrap();
    let tokens = [DISCLOSURE, "\\nTea ", "and ", "\\ncake."]
        .map(|token| format!("event: token\ndata: {{\"token\":\"{token}\"}}\n\n"));
    let expected = format!("{}event: done\ndata: {{\"sessionId\":\"", tokens.concat());
    assert!(events.starts_with(&expected), "{events}");
    assert!(events.ends_with(&format!("\",\"reply\":\"{DISCLOSURE}\\nTea and \\ncake.\"}}\n\n")), "{events}");
}

#[tokio::test]
async fn a_client_that_disconnects_stops_the_model_and_may_continue() {
    let replies = [ModelReply::text("Hello."), ModelReply::Stall("Once upon "), ModelReply::text("The end.")];
    let (server, _twilio, openai) = start_server(&replies).await;
    let session = send_message(&server, json!({"message": "Hi"})).await["sessionId"].clone();
    let story = json!({"sessionId": session, "message": "Tell me a story."});
    let answer = stream_message(&server, &story).await;
    let mut events = answer.bytes_stream();
    let first = String::from_utf8(events.next().await.unwrap().unwrap().to_vec()).unwrap();
    assert!(first.contains("Once "), "{first}");

    // While a message is being answered, another one is refused.
    let (status, why) = error_response(server.post_as_operator("/conversation", &story).await).await;
    assert!(status == StatusCode::CONFLICT && why.contains("still being answered"), "{status} {why}");

    drop(events);
    openai.wait_for_drop().await.unwrap();
    let last = loop {
        let answer = server.post_as_operator("/conversation", &json!({"sessionId": session, "message": "Well?"})).await;
        // The chat is released shortly after the model was stopped.
        if answer.status() != StatusCode::CONFLICT {
            break answer.json::<Value>().await.unwrap();
        }
    };
    assert_eq!(last["reply"], "The end.");
    assert!(openai.last_input().contains(r#"{"content":"Once"#), "{}", openai.last_input());
}

#[tokio::test]
async fn an_unknown_session_is_not_created() {
    let (server, _twilio, openai) = start_server(&[]).await;
    for session in ["mine", "00000000-0000-4000-8000-000000000000"] {
        let body = json!({"sessionId": session, "message": "Hi"});
        let (status, why) = error_response(server.post_as_operator("/conversation", &body).await).await;
        assert!(status == StatusCode::NOT_FOUND && why.contains("sessionId"), "{status} {why}");
    }
    for body in [json!({"message": " "}), json!({"message": "Hi", "role": "assistant"}), json!({"message": 1})] {
        assert_eq!(
            error_response(server.post_as_operator("/conversation", &body).await).await.0,
            StatusCode::BAD_REQUEST,
            "{body}"
        );
    }
    assert_eq!(openai.request_count(), 0);
}

#[tokio::test]
async fn a_model_failure_is_an_error_response() {
    let (server, _twilio, _openai) = start_server(&[
        ModelReply::text("Hello."),
        ModelReply::Error(403),
        // An empty answer is asked for again, twice.
        ModelReply::text(" "),
        ModelReply::text(" "),
        ModelReply::text(" "),
        ModelReply::text("Again."),
    ])
    .await;
    let session = send_message(&server, json!({"message": "Hi"})).await["sessionId"].clone();
    let next = json!({"sessionId": session, "message": "Well?"});
    for _ in 0..2 {
        let (status, why) = error_response(server.post_as_operator("/conversation", &next).await).await;
        assert!(status == StatusCode::BAD_GATEWAY && why.contains("send the message again"), "{status} {why}");
    }
    assert_eq!(send_message(&server, next).await["reply"], "Again.");
    let events = stream_message(&server, &json!({"message": "Hi"})).await.text().await.unwrap();
    assert!(
        events.contains("event: error\ndata: {\"error\":\"the model gave no answer"),
        "the disclosure is no answer: {events}"
    );
}
