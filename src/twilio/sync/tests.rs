//! Tests of the client against a misbehaving Sync stand-in over real sockets.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use tokio::net::TcpListener;

use super::*;

/// Starts a server that responds to every request with `answer` of its path and query, and records them.
async fn start_sync(
    answer: impl Fn(&str) -> (u16, String) + Clone + Send + std::marker::Sync + 'static,
) -> (SyncClient, Arc<Mutex<Vec<String>>>) {
    let requests = Arc::new(Mutex::new(Vec::new()));
    let recorded = requests.clone();
    let router = Router::new().fallback(move |request: Request| async move {
        let path = request.uri().path_and_query().unwrap().to_string();
        let (status, body) = answer(&path);
        recorded.lock().unwrap().push(format!("{} {path}", request.method()));
        (StatusCode::from_u16(status).unwrap(), body).into_response()
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let config = config::TwilioConfig {
        account_sid: "AC1".to_owned(),
        auth_token: "token".into(),
        secondary_auth_token: None,
        webhook_shared_keys: std::collections::BTreeMap::new(),
        api_key: None,
        from_number: "+15005550006".parse().unwrap(),
        api_base: String::new(),
        sync_base: origin,
        webhooks_base: String::new(),
    };
    (SyncClient::new(&config).unwrap(), requests)
}

fn page(next: &str) -> String {
    format!(r#"{{"services":[{{"sid":"IS1","new":1}}],"meta":{{"key":"services","next_page_url":{next}}}}}"#)
}

fn service() -> ServiceSid {
    "IS1".parse().unwrap()
}

#[tokio::test]
async fn a_next_page_on_another_host_is_not_requested() {
    let (foreign, requests) = start_sync(|_| (200, page("null"))).await;
    assert_eq!(foreign.services().await.unwrap().len(), 1);
    let foreign_url = foreign.url(&["Services"]).to_string();
    let (client, _) = start_sync(move |_| (200, page(&format!("{foreign_url:?}")))).await;
    assert!(matches!(client.services().await, Err(SyncError::ForeignNextPage)));
    assert_eq!(requests.lock().unwrap().len(), 1, "the other host would have received the credentials");
}

#[tokio::test]
async fn an_endless_list_is_an_error() {
    let here = Arc::new(Mutex::new(String::new()));
    let next_page = here.clone();
    let (client, requests) = start_sync(move |_| (200, page(&format!("{:?}", next_page.lock().unwrap())))).await;
    *here.lock().unwrap() = client.url(&["Services"]).to_string();
    assert!(matches!(client.services().await, Err(SyncError::ListTooLong)));
    assert_eq!(requests.lock().unwrap().len(), MAX_PAGES);
}

#[tokio::test]
async fn a_malformed_list_is_an_error() {
    for body in
        ["", "{}", "[]", "<html>", r#"{"meta":{"key":"services"}}"#, r#"{"services":1,"meta":{"key":"services"}}"#]
    {
        let (client, _) = start_sync(move |_| (200, body.to_owned())).await;
        assert!(
            matches!(
                client.services().await,
                Err(SyncError::Request(TwilioError::Unknown(UnknownOutcomeCause::UnreadableResponse)))
            ),
            "{body}"
        );
    }
}

#[tokio::test]
async fn keys_are_percent_encoded_in_the_path() {
    let (client, requests) = start_sync(|_| (200, "{}".to_owned())).await;
    client.update_item(&service(), "Context", "a#2/../?b", "{}").await.unwrap();
    assert_eq!(*requests.lock().unwrap(), ["POST /v1/Services/IS1/Maps/Context/Items/a%232%2F..%2F%3Fb"]);
}

#[tokio::test]
async fn too_large_data_is_not_sent() {
    let (client, requests) = start_sync(|_| (201, "{}".to_owned())).await;
    let data = format!("{{\"content\":{:?}}}", "x".repeat(MAX_DATA_BYTES));
    let error = client.create_item(&service(), "Context", "acme", &data).await.unwrap_err();
    assert_eq!(error.to_string(), "acme is 16398 bytes as JSON, and Twilio Sync takes at most 16384: make it shorter");
    assert_eq!(requests.lock().unwrap().len(), 0);
}

#[tokio::test]
async fn only_idempotent_or_unprocessed_requests_are_retried() {
    let (client, requests) = start_sync(|_| (503, String::new())).await;
    assert!(client.create_service("ConversationRelay").await.is_err());
    assert_eq!(requests.lock().unwrap().len(), 1, "there would be two services");
    let (client, requests) = start_sync(|_| (429, String::new())).await;
    assert!(client.create_service("ConversationRelay").await.is_err());
    assert_eq!(requests.lock().unwrap().len(), 1 + LIMITS.retries, "a rate-limited request was not processed");
}

#[tokio::test]
async fn existing_or_missing_entries_are_not_errors() {
    let (client, _) = start_sync(|_| (409, r#"{"code":54208}"#.to_owned())).await;
    assert!(!client.create_item(&service(), "Context", "acme", "{}").await.unwrap());
    let (client, _) = start_sync(|_| (404, r#"{"code":54201}"#.to_owned())).await;
    client.delete_item(&service(), "Context", "acme").await.unwrap();
    assert!(client.document(&service(), "serverConfig").await.unwrap().is_none());
    assert!(client.items(&service(), "Context").await.unwrap_err().is_gone());
}

#[tokio::test]
async fn requests_are_counted_by_whether_they_write() {
    let answer = |path: &str| if path.contains("Maps") { (429, String::new()) } else { (200, page("null")) };
    let (mut client, _) = start_sync(answer).await;
    client.0.limits.retries = 0;
    let telemetry = Arc::<Telemetry>::default();
    client.set_telemetry(&telemetry);
    client.services().await.unwrap();
    client.create_map(&service(), "Context").await.unwrap_err();
    let text = telemetry.metrics_text(crate::telemetry::Snapshot::default());
    for sample in [
        r#"crelay_twilio_attempts_total{operation="read_sync",status="2xx",code="none"} 1"#,
        r#"crelay_twilio_attempts_total{operation="write_sync",status="429",code="none"} 1"#,
        r#"crelay_twilio_request_seconds_count{operation="write_sync"} 1"#,
    ] {
        assert!(text.lines().any(|line| line == sample), "{sample} is not in\n{text}");
    }
}
