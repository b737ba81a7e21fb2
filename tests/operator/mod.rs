//! What an operator can do: call somebody, chat, change a live call, see and settle payments.

mod calling;
mod chatting;
mod paying;
mod reconfiguring;

use reqwest::{RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};

use crate::server::openai::{OpenAi, Reply};
use crate::server::twilio::Twilio;
use crate::server::{OPERATOR_TOKEN, Server};

const ENDPOINTS: [&str; 5] = [
    "/outboundCall",
    "/conversation",
    "/updateResponseService",
    "/payments/2f1b6c1e-8f0a-5d3c-9a51-0d2f6d1c9a10/settle",
    "/payments/2f1b6c1e-8f0a-5d3c-9a51-0d2f6d1c9a10/refunded",
];

/// A server with an operator, between Twilio and the model.
async fn house(replies: &[Reply]) -> (Server, Twilio, OpenAi) {
    let (twilio, openai) = (Twilio::start().await, OpenAi::start(replies).await);
    let server = Server::start(&[
        ("OPERATOR_TOKEN", OPERATOR_TOKEN),
        ("TWILIO_API_BASE_URL", &twilio.origin),
        ("OPENAI_BASE_URL", &openai.base_url),
    ])
    .await;
    (server, twilio, openai)
}

/// Status and reason of an answer that is an error.
async fn refusal(answer: Response) -> (StatusCode, String) {
    let status = answer.status();
    let body: Value = answer.json().await.expect("errors are JSON");
    (status, body["error"].as_str().expect("a reason").to_owned())
}

#[tokio::test]
async fn without_a_token_in_the_configuration_there_is_no_operator() {
    let server = Server::start(&[]).await;
    for path in ENDPOINTS {
        let (status, why) = refusal(server.operator_posts(path, &json!({})).await).await;
        assert_eq!(status, StatusCode::FORBIDDEN);
        assert!(why.contains("set OPERATOR_TOKEN"), "{why}");
    }
}

#[tokio::test]
async fn an_operator_is_known_by_the_token_before_the_body_is_read() {
    let (server, twilio, openai) = house(&[]).await;
    for path in ENDPOINTS {
        for token in [None, Some("wrong"), Some(""), Some("a-token-for-tests-onlx")] {
            let request = server.request(path).body("{".repeat(100_000));
            let answer = token.into_iter().fold(request, RequestBuilder::bearer_auth).send().await.unwrap();
            assert!(answer.headers()["www-authenticate"].to_str().unwrap().starts_with("Bearer"));
            assert_eq!(refusal(answer).await.0, StatusCode::UNAUTHORIZED, "{path} {token:?}");
        }
    }
    assert!(twilio.placed().is_empty() && openai.asked() == 0);
}

#[tokio::test]
async fn a_body_that_cannot_be_used_is_answered_with_what_is_wrong() {
    let (server, ..) = house(&[]).await;
    for path in ENDPOINTS {
        let post = |body: String| server.request(path).bearer_auth(OPERATOR_TOKEN).body(body).send();
        for (body, place) in [("\n  {", "line 2 column 3"), ("", "line 1 column 0"), ("{}", "missing field")] {
            let (status, why) = refusal(post(body.to_owned()).await.unwrap()).await;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{path} {body}");
            assert!(why.contains(place), "{path} {body} {why}");
        }
        let (status, _) = refusal(post(" ".repeat(70_000)).await.unwrap()).await;
        assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE, "{path}");
    }
}
