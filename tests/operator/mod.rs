//! The operator endpoints: outbound calls, chats, changes to a live call, and payments.

mod conversation;
mod outbound_calls;
mod payments;
mod update_response_service;

use reqwest::{RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};

use crate::server::{OPERATOR_TOKEN, Server, start_twilio};
use crelay_payments::simulator::{ModelReply, QueuedOpenAi, RecordingTwilio};

const ENDPOINTS: [&str; 5] = [
    "/outboundCall",
    "/conversation",
    "/updateResponseService",
    "/payments/2f1b6c1e-8f0a-5d3c-9a51-0d2f6d1c9a10/settle",
    "/payments/2f1b6c1e-8f0a-5d3c-9a51-0d2f6d1c9a10/refunded",
];

/// Starts a server with an operator token, and the stand-ins for Twilio and the model.
async fn start_server(replies: &[ModelReply]) -> (Server, RecordingTwilio, QueuedOpenAi) {
    let (twilio, openai) = (start_twilio().await, QueuedOpenAi::start(replies).await.unwrap());
    let server = Server::start(&[
        ("OPERATOR_TOKEN", OPERATOR_TOKEN),
        ("TWILIO_API_BASE_URL", twilio.origin()),
        ("OPENAI_BASE_URL", openai.base_url()),
    ])
    .await;
    (server, twilio, openai)
}

/// The status and the error text of an error response.
async fn error_response(answer: Response) -> (StatusCode, String) {
    let status = answer.status();
    let body: Value = answer.json().await.expect("the error response is JSON");
    (status, body["error"].as_str().expect("the error response has an error text").to_owned())
}

#[tokio::test]
async fn without_operator_token_every_endpoint_is_forbidden() {
    let server = Server::start(&[]).await;
    for path in ENDPOINTS {
        let (status, why) = error_response(server.post_as_operator(path, &json!({})).await).await;
        assert_eq!(status, StatusCode::FORBIDDEN);
        assert!(why.contains("set OPERATOR_TOKEN"), "{why}");
    }
}

#[tokio::test]
async fn the_token_is_checked_before_the_body_is_read() {
    let (server, twilio, openai) = start_server(&[]).await;
    for path in ENDPOINTS {
        for token in [None, Some("wrong"), Some(""), Some("a-token-for-tests-onlx")] {
            let request = server.operator_request(path).body("{".repeat(100_000));
            // Five wrong tokens from one address would be too many.
            let request = request.header("X-Forwarded-For", format!("203.0.113.{}", path.len()));
            let answer = token.into_iter().fold(request, RequestBuilder::bearer_auth).send().await.unwrap();
            assert!(answer.headers()["www-authenticate"].to_str().unwrap().starts_with("Bearer"));
            assert_eq!(error_response(answer).await.0, StatusCode::UNAUTHORIZED, "{path} {token:?}");
        }
    }
    assert!(twilio.placed_calls().is_empty() && openai.request_count() == 0);
}

#[tokio::test]
async fn an_invalid_body_is_answered_with_the_reason() {
    let (server, _twilio, _openai) = start_server(&[]).await;
    for path in ENDPOINTS {
        let post = |body: String| server.operator_request(path).bearer_auth(OPERATOR_TOKEN).body(body).send();
        for (body, place) in [("\n  {", "line 2 column 3"), ("", "line 1 column 0"), ("{}", "missing field")] {
            let (status, why) = error_response(post(body.to_owned()).await.unwrap()).await;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{path} {body}");
            assert!(why.contains(place), "{path} {body} {why}");
        }
        let (status, _) = error_response(post(" ".repeat(70_000)).await.unwrap()).await;
        assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE, "{path}");
    }
}
