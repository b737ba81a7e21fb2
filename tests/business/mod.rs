//! The look-up of a call at `CALL_PARAMETERS_URL`. The call is connected whatever the response is.

mod amount_due;
mod http_tools;
mod tool_servers;

use std::time::{Duration, Instant};

use crate::server::Server;
use axum::Router;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::post;
use crelay_payments::simulator::{ModelReply, QueuedOpenAi};
use serde_json::json;
use tokio::net::TcpListener;

/// Starts a business with this handler. Returns the URL of its look-up.
async fn start_business<F: Future<Output = Response> + Send + 'static>(
    answer: impl Fn(String) -> F + Clone + Send + Sync + 'static,
) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/calls?key=1", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/calls", post(answer))).await });
    url
}

const SECRET: &str = "a-secret-of-the-tests";
const CALL: [(&str, &str); 3] = [("CallSid", "CA1"), ("From", "+15550100001"), ("To", "+15550100002")];

/// Runs an inbound call on a server that looks calls up at `url`. Returns the model's input and the response time of
/// the TwiML.
async fn run_call(url: &str) -> (String, Duration) {
    let openai = QueuedOpenAi::start(&[ModelReply::text("Hello.")]).await.unwrap();
    let vars =
        [("CALL_PARAMETERS_URL", url), ("PAYMENT_WEBHOOK_SECRET", SECRET), ("OPENAI_BASE_URL", openai.base_url())];
    let server = Server::start(&vars).await;
    #[expect(clippy::disallowed_methods, reason = "the test measures real time")]
    let began = Instant::now();
    let answer = server.post_as_twilio("/connectConversationRelay", &CALL).await;
    let took = began.elapsed();
    assert_eq!(answer.status(), StatusCode::OK);
    let twiml = answer.text().await.unwrap();
    assert!(twiml.contains("<ConversationRelay") && !twiml.contains("Ann"), "{twiml}");
    let mut socket = server.connect_call("CA1", &json!({"customer": "unknown", "channel": "phone"})).await;
    socket.say("Hello?").await.unwrap();
    socket.wait_for_speech().await.unwrap();
    (openai.last_input(), took)
}

#[tokio::test]
async fn the_look_up_reaches_the_model_but_not_the_twiml() {
    let url = start_business(|body: String| async move {
        assert_eq!(body, r#"{"callSid":"CA1","from":"+15550100001","to":"+15550100002"}"#);
        r#"{"amountDue": 25.10, "currency": "EUR", "customer": "Ann"}"#.into_response()
    })
    .await;
    let (shown, _) = run_call(&url).await;
    assert!(shown.contains("Due on this call: 25.10 EUR."), "{shown}");
    assert!(shown.contains("Ann") && shown.contains("channel") && !shown.contains("unknown"), "{shown}");
}

#[tokio::test]
async fn an_invalid_amount_due_prevents_payments() {
    let url = start_business(|_| async { r#"{"amountDue": "25,10"}"#.into_response() }).await;
    assert!(run_call(&url).await.0.contains("No payment can be taken on this call"));
}

#[tokio::test]
async fn without_a_valid_response_the_call_continues() {
    let elsewhere = start_business(|_| async { r#"{"customer": "Ann"}"#.into_response() }).await;
    let redirects = start_business(move |_| {
        let elsewhere = elsewhere.clone();
        async move { Redirect::temporary(&elsewhere).into_response() }
    });
    for url in [
        redirects.await,
        start_business(|_| async { (StatusCode::INTERNAL_SERVER_ERROR, r#"{"customer": "Ann"}"#).into_response() })
            .await,
        start_business(|_| async {
            format!(r#"{{"customer": "Ann", "a": "{}"}}"#, "x".repeat(16 * 1024)).into_response()
        })
        .await,
        start_business(|_| async { r#"{"customer": "Ann", "items": []}"#.into_response() }).await,
        start_business(|_| async { panic!("the connection is closed") }).await,
        "http://127.0.0.1:9/calls".to_owned(),
    ] {
        let (shown, _) = run_call(&url).await;
        assert!(!shown.contains("Ann") && shown.contains("unknown"), "{url}: {shown}");
    }
}

#[tokio::test]
async fn the_look_up_times_out_after_two_seconds() {
    let url = start_business(|_| std::future::pending()).await;
    let (_, took) = run_call(&url).await;
    assert!((Duration::from_secs(2)..Duration::from_secs(4)).contains(&took), "{took:?}");
}

#[tokio::test]
async fn a_reconnected_call_of_another_server_is_looked_up_again() {
    let url = start_business(|_| async { r#"{"amountDue": "25.00"}"#.into_response() }).await;
    let openai = QueuedOpenAi::start(&[ModelReply::text("Hello again.")]).await.unwrap();
    let vars =
        [("CALL_PARAMETERS_URL", &*url), ("PAYMENT_WEBHOOK_SECRET", SECRET), ("OPENAI_BASE_URL", openai.base_url())];
    let server = Server::start(&vars).await;
    let failed = [("CallStatus", "in-progress"), ("SessionStatus", "failed"), ("Direction", "inbound")];
    assert!(server.post_connect_action(&failed).await.contains("reconnect"));
    let mut socket = server.connect_call("CA1", &json!({"reconnect": "1"})).await;
    socket.say("Hello?").await.unwrap();
    socket.wait_for_speech().await.unwrap();
    assert!(openai.last_input().contains("Due on this call: 25.00 USD."), "{}", openai.last_input());
}
