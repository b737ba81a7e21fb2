//! A local Twilio stand-in for tests, over real sockets.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use tokio::net::TcpListener;

use super::TwilioClient;
use crate::config;

/// Sends the scripted responses in order, then closes each connection without a response. Records the requests.
#[derive(Clone, Default)]
pub(super) struct TwilioStandIn {
    answers: Arc<Mutex<VecDeque<ScriptedAnswer>>>,
    pub(super) requests: Arc<Mutex<Vec<ReceivedRequest>>>,
}

/// Status, `Retry-After` and body.
pub(super) type ScriptedAnswer = (u16, &'static str, &'static str);

pub(super) struct ReceivedRequest {
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    pub(super) form: String,
}

impl TwilioStandIn {
    pub(super) async fn start(answers: &[ScriptedAnswer]) -> (Self, TwilioClient) {
        let twilio = Self { answers: Arc::new(Mutex::new(answers.iter().copied().collect())), ..Self::default() };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(respond).with_state(twilio.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (twilio, client_for(&origin, None))
    }

    pub(super) fn forms(&self) -> Vec<String> {
        self.requests.lock().unwrap().iter().map(|asked| asked.form.clone()).collect()
    }
}

async fn respond(State(twilio): State<TwilioStandIn>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 4096).await.unwrap();
    let form = String::from_utf8(body.to_vec()).unwrap();
    twilio.requests.lock().unwrap().push(ReceivedRequest {
        path: head.uri.path().to_owned(),
        headers: head.headers,
        form,
    });
    let answer = twilio.answers.lock().unwrap().pop_front();
    let (status, retry_after, body) = answer.expect("a panic closes the connection");
    let headers = [("retry-after", retry_after), ("twilio-request-id", "RQ1")];
    (StatusCode::from_u16(status).unwrap(), headers, body).into_response()
}

pub(super) fn client_for(origin: &str, api_key: Option<config::TwilioApiKey>) -> TwilioClient {
    let config = config::TwilioConfig {
        account_sid: "AC1".to_owned(),
        auth_token: "token".into(),
        api_key,
        from_number: "+15005550006".parse().unwrap(),
        api_base: origin.to_owned(),
        sync_base: origin.to_owned(),
    };
    TwilioClient::new(&config, "https://example.com/payment-status-callback".to_owned()).unwrap()
}
