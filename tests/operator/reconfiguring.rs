//! `/updateResponseService`: changes the context and the tool manifest of a live call.

use reqwest::StatusCode;
use serde_json::json;

use super::{house, refusal};
use crate::server::openai::Reply;
use crate::server::{agent_says, caller_says};

#[tokio::test]
async fn a_live_call_goes_on_with_what_was_said_so_far() {
    let (server, _, openai) = house(&[Reply::Says("Hello."), Reply::Says("Of course.")]).await;
    let mut socket = server.connects("CA1", &json!({})).await;
    caller_says(&mut socket, "Good morning").await;
    agent_says(&mut socket).await;
    let keys = json!({"callSid": "CA1", "contextKey": "PaymentContext", "manifestKey": "PaymentToolManifest"});
    assert_eq!(server.operator_posts("/updateResponseService", &keys).await.status(), StatusCode::NO_CONTENT);
    caller_says(&mut socket, "I want to pay").await;
    assert_eq!(agent_says(&mut socket).await, "Of course.");
    assert!(openai.shown().contains("Good morning"), "{}", openai.shown());
}

#[tokio::test]
async fn an_invalid_update_is_refused() {
    let (server, ..) = house(&[]).await;
    let _socket = server.connects("CA1", &json!({})).await;
    for (body, status, reason) in [
        (json!({"callSid": "CA2", "contextKey": "PaymentContext"}), StatusCode::NOT_FOUND, "callSid"),
        (json!({"callSid": "CA1"}), StatusCode::BAD_REQUEST, "contextKey, manifestKey or both"),
        (json!({"callSid": "CA1", "contextKey": "nope"}), StatusCode::BAD_REQUEST, "there are PaymentContext"),
        (json!({"callSid": "CA1", "manifestKey": "nope"}), StatusCode::BAD_REQUEST, "there are PaymentToolManifest"),
        (json!({"callSid": "", "contextKey": "PaymentContext"}), StatusCode::BAD_REQUEST, "a SID is"),
    ] {
        let (told, why) = refusal(server.operator_posts("/updateResponseService", &body).await).await;
        assert!(told == status && why.contains(reason), "{body} {told} {why}");
    }
}
