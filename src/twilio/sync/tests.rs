//! The client against a Sync of our own, over real sockets: what a well-behaved one does not do.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use tokio::net::TcpListener;

use super::*;

/// Answers every request with what `answer` makes of its path and query, and remembers both.
async fn sync(
    answer: impl Fn(&str) -> (u16, String) + Clone + Send + std::marker::Sync + 'static,
) -> (SyncClient, Arc<Mutex<Vec<String>>>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let remembered = asked.clone();
    let router = Router::new().fallback(move |request: Request| async move {
        let path = request.uri().path_and_query().unwrap().to_string();
        let (status, body) = answer(&path);
        remembered.lock().unwrap().push(format!("{} {path}", request.method()));
        (StatusCode::from_u16(status).unwrap(), body).into_response()
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let config = config::Twilio {
        account_sid: "AC1".to_owned(),
        auth_token: "token".into(),
        api_key: None,
        from_number: "+15005550006".parse().unwrap(),
        api_base: String::new(),
        sync_base: origin,
    };
    (SyncClient::new(&config).unwrap(), asked)
}

fn page(next: &str) -> String {
    format!(r#"{{"services":[{{"sid":"IS1","new":1}}],"meta":{{"key":"services","next_page_url":{next}}}}}"#)
}

fn service() -> ServiceSid {
    "IS1".parse().unwrap()
}

#[tokio::test]
async fn a_list_that_goes_on_at_another_host_is_not_followed() {
    let (stranger, asked) = sync(|_| (200, page("null"))).await;
    assert_eq!(stranger.services().await.unwrap().len(), 1);
    let elsewhere = stranger.url(&["Services"]).to_string();
    let (client, _) = sync(move |_| (200, page(&format!("{elsewhere:?}")))).await;
    assert!(matches!(client.services().await, Err(SyncError::Elsewhere)));
    assert_eq!(asked.lock().unwrap().len(), 1, "it would have got the credentials");
}

#[tokio::test]
async fn a_list_without_an_end_is_given_up() {
    let here = Arc::new(Mutex::new(String::new()));
    let told = here.clone();
    let (client, asked) = sync(move |_| (200, page(&format!("{:?}", told.lock().unwrap())))).await;
    *here.lock().unwrap() = client.url(&["Services"]).to_string();
    assert!(matches!(client.services().await, Err(SyncError::TooLong)));
    assert_eq!(asked.lock().unwrap().len(), MAX_PAGES);
}

#[tokio::test]
async fn what_is_no_list_is_an_error() {
    for body in
        ["", "{}", "[]", "<html>", r#"{"meta":{"key":"services"}}"#, r#"{"services":1,"meta":{"key":"services"}}"#]
    {
        let (client, _) = sync(move |_| (200, body.to_owned())).await;
        assert!(
            matches!(client.services().await, Err(SyncError::Request(Error::Unknown(Cause::Unreadable)))),
            "{body}"
        );
    }
}

#[tokio::test]
async fn keys_cannot_leave_their_place_in_the_path() {
    let (client, asked) = sync(|_| (200, "{}".to_owned())).await;
    client.update_item(&service(), "Context", "a#2/../?b", "{}").await.unwrap();
    assert_eq!(*asked.lock().unwrap(), ["POST /v1/Services/IS1/Maps/Context/Items/a%232%2F..%2F%3Fb"]);
}

#[tokio::test]
async fn what_is_too_large_is_not_even_sent() {
    let (client, asked) = sync(|_| (201, "{}".to_owned())).await;
    let data = format!("{{\"content\":{:?}}}", "x".repeat(MAX_DATA));
    let error = client.create_item(&service(), "Context", "acme", &data).await.unwrap_err();
    assert_eq!(error.to_string(), "acme is 16398 bytes as JSON, and Twilio Sync takes at most 16384: make it shorter");
    assert_eq!(asked.lock().unwrap().len(), 0);
}

#[tokio::test]
async fn only_what_may_be_done_twice_is_asked_twice() {
    let (client, asked) = sync(|_| (503, String::new())).await;
    assert!(client.create_service("ConversationRelay").await.is_err());
    assert_eq!(asked.lock().unwrap().len(), 1, "there would be two services");
    let (client, asked) = sync(|_| (429, String::new())).await;
    assert!(client.create_service("ConversationRelay").await.is_err());
    assert_eq!(asked.lock().unwrap().len(), 1 + LIMITS.retries, "a busy Twilio has done nothing");
}

#[tokio::test]
async fn what_is_there_or_gone_already_is_no_error() {
    let (client, _) = sync(|_| (409, r#"{"code":54208}"#.to_owned())).await;
    assert!(!client.create_item(&service(), "Context", "acme", "{}").await.unwrap());
    let (client, _) = sync(|_| (404, r#"{"code":54201}"#.to_owned())).await;
    client.delete_item(&service(), "Context", "acme").await.unwrap();
    assert!(client.document(&service(), "serverConfig").await.unwrap().is_none());
    assert!(client.items(&service(), "Context").await.unwrap_err().is_gone());
}
