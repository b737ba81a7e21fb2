//! A local OpenAI stand-in on a real socket. It sends scripted responses and records the requests.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::response::Response;
use futures_util::{StreamExt as _, stream};
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc};

/// One step of a stream of events.
pub enum StreamStep {
    /// The `data` of an event.
    Event(&'static str),
    /// Breaks the connection when the test asks for it.
    Cut,
    /// Stalls and keeps the connection.
    Stall,
}

/// One response.
pub enum StubResponse {
    /// Status 200 and a stream of events.
    Stream(Vec<StreamStep>),
    /// Any other response: status, one header, body.
    Plain(u16, (&'static str, &'static str), &'static str),
    /// No response; the connection is kept.
    Silence,
}

/// A recorded request.
pub struct RecordedRequest {
    pub path: String,
    pub headers: HeaderMap,
    pub body: String,
}

/// The server. A request without a scripted response gets status 500.
#[derive(Clone)]
pub struct OpenAiStandIn {
    responses: Arc<Mutex<VecDeque<StubResponse>>>,
    pub requests: Arc<Mutex<Vec<RecordedRequest>>>,
    /// Triggers a `Cut`.
    pub cut: Arc<Notify>,
    dropped: mpsc::Sender<()>,
}

impl OpenAiStandIn {
    /// Starts the server. Returns it, its base URL, and a channel with a message for every response that ended or that
    /// the client gave up.
    pub async fn start(answers: Vec<StubResponse>) -> (Self, String, mpsc::Receiver<()>) {
        let (left, leaving) = mpsc::channel(16);
        let openai = Self {
            responses: Arc::new(Mutex::new(answers.into())),
            requests: Arc::default(),
            cut: Arc::default(),
            dropped: left,
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}/v1", listener.local_addr().unwrap());
        let router = Router::new().fallback(respond).with_state(openai.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (openai, base, leaving)
    }

    /// The bodies of all requests so far.
    pub fn bodies(&self) -> Vec<String> {
        self.requests.lock().unwrap().iter().map(|asked| asked.body.clone()).collect()
    }
}

async fn respond(State(openai): State<OpenAiStandIn>, request: Request) -> Result<Response, Infallible> {
    let leaves = NotifyOnDrop(openai.dropped.clone());
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let body = String::from_utf8(body.to_vec()).unwrap();
    openai.requests.lock().unwrap().push(RecordedRequest {
        path: head.uri.path().to_owned(),
        headers: head.headers,
        body,
    });
    let answer = openai.responses.lock().unwrap().pop_front();
    let response = match answer {
        Some(StubResponse::Stream(steps)) => {
            let cut = openai.cut.clone();
            let events = stream::iter(steps).then(move |step| {
                let _ = &leaves;
                event(step, cut.clone())
            });
            Response::builder()
                .header("content-type", "text/event-stream; charset=utf-8")
                .body(Body::from_stream(events))
        }
        Some(StubResponse::Plain(status, (name, value), body)) => {
            Response::builder().status(status).header(name, value).body(Body::from(body))
        }
        Some(StubResponse::Silence) => pending().await,
        None => Response::builder().status(500).body(Body::empty()),
    };
    Ok(response.unwrap())
}

async fn event(step: StreamStep, cut: Arc<Notify>) -> io::Result<String> {
    match step {
        StreamStep::Event(data) => Ok(format!("event: ignored\ndata: {data}\n\n")),
        StreamStep::Cut => {
            cut.notified().await;
            Err(io::ErrorKind::ConnectionReset.into())
        }
        StreamStep::Stall => pending().await,
    }
}

/// Sends a message when it is dropped.
struct NotifyOnDrop(mpsc::Sender<()>);

impl Drop for NotifyOnDrop {
    fn drop(&mut self) {
        let _ = self.0.try_send(());
    }
}
