//! `/updateResponseService`: changes the context and the tool manifest of a live call.

use reqwest::StatusCode;
use serde_json::json;

use super::{error_response, start_server};
use crate::server::openai::Reply;
use crate::server::{caller_says, wait_for_agent};

#[tokio::test]
async fn a_live_call_goes_on_with_what_was_said_so_far() {
    let (server, _, openai) = start_server(&[Reply::Text("Hello."), Reply::Text("Of course.")]).await;
    let mut socket = server.connect_call("CA1", &json!({})).await;
    caller_says(&mut socket, "Good morning").await;
    wait_for_agent(&mut socket).await;
    let keys = json!({"callSid": "CA1", "contextKey": "PaymentContext", "manifestKey": "PaymentToolManifest"});
    assert_eq!(server.post_as_operator("/updateResponseService", &keys).await.status(), StatusCode::NO_CONTENT);
    caller_says(&mut socket, "I want to pay").await;
    assert_eq!(wait_for_agent(&mut socket).await, "Of course.");
    assert!(openai.last_input().contains("Good morning"), "{}", openai.last_input());
}

#[tokio::test]
async fn an_invalid_update_is_refused() {
    let (server, ..) = start_server(&[]).await;
    let _socket = server.connect_call("CA1", &json!({})).await;
    for (body, status, reason) in [
        (json!({"callSid": "CA2", "contextKey": "PaymentContext"}), StatusCode::NOT_FOUND, "callSid"),
        (json!({"callSid": "CA1"}), StatusCode::BAD_REQUEST, "contextKey, manifestKey or both"),
        (json!({"callSid": "CA1", "contextKey": "nope"}), StatusCode::BAD_REQUEST, "there are PaymentContext"),
        (json!({"callSid": "CA1", "manifestKey": "nope"}), StatusCode::BAD_REQUEST, "there are PaymentToolManifest"),
        (json!({"callSid": "", "contextKey": "PaymentContext"}), StatusCode::BAD_REQUEST, "a SID is"),
    ] {
        let (actual, why) = error_response(server.post_as_operator("/updateResponseService", &body).await).await;
        assert!(actual == status && why.contains(reason), "{body} {actual} {why}");
    }
}
