//! A local HTTP server that sends scripted responses byte for byte, valid or not, and records the requests: for the
//! tests of the clients of Twilio and OpenAI.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::response::Response;
use futures_util::{StreamExt as _, stream};
use tokio::sync::{Notify, mpsc};

use crate::simulator::LocalServer;

/// One step of a stream of events.
pub(crate) enum StreamStep {
    /// The `data` of an event.
    Event(&'static str),
    /// Breaks the connection when the test asks for it.
    Cut,
    /// Stalls and keeps the connection.
    Stall,
}

/// One response.
pub(crate) enum RawResponse {
    /// Status 200 and a stream of events.
    Stream(Vec<StreamStep>),
    /// Any other response: status, headers, body.
    Plain(u16, Vec<(&'static str, &'static str)>, &'static str),
    /// Status 200 with these headers and bytes.
    Bytes(Vec<(&'static str, &'static str)>, &'static [u8]),
    /// No response; the connection is kept.
    Silence,
}

/// A recorded request.
pub(crate) struct RecordedRequest {
    /// The path and the query.
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

/// The server. It closes the connection of a request without a scripted response.
pub(crate) struct RawServer {
    script: ResponseScript,
    server: LocalServer,
}

#[derive(Clone)]
struct ResponseScript {
    responses: Arc<Mutex<VecDeque<RawResponse>>>,
    requests: Arc<Mutex<Vec<RecordedRequest>>>,
    cut: Arc<Notify>,
    dropped: mpsc::Sender<()>,
}

impl RawServer {
    /// Starts the server. Returns it and a channel with a message for every response that ended or that the client
    /// gave up.
    pub(crate) async fn start(responses: Vec<RawResponse>) -> (Self, mpsc::Receiver<()>) {
        let (left, leaving) = mpsc::channel(16);
        let script = ResponseScript {
            responses: Arc::new(Mutex::new(responses.into())),
            requests: Arc::default(),
            cut: Arc::default(),
            dropped: left,
        };
        let router = Router::new().fallback(respond).with_state(script.clone());
        (Self { script, server: LocalServer::start(router).await.unwrap() }, leaving)
    }

    /// The origin of its URLs.
    pub(crate) fn origin(&self) -> &str {
        self.server.origin()
    }

    /// The number of connections so far.
    pub(crate) fn connection_count(&self) -> usize {
        self.server.connection_count()
    }

    /// Breaks the connection of a stream that waits at a `Cut`.
    pub(crate) fn cut(&self) {
        self.script.cut.notify_one();
    }

    /// The requests so far.
    pub(crate) fn requests(&self) -> MutexGuard<'_, Vec<RecordedRequest>> {
        self.script.requests.lock().unwrap()
    }

    /// The bodies of all requests so far.
    pub(crate) fn bodies(&self) -> Vec<String> {
        self.requests().iter().map(|request| request.body.clone()).collect()
    }
}

async fn respond(State(script): State<ResponseScript>, request: Request) -> Result<Response, Infallible> {
    let leaves = NotifyOnDrop(script.dropped.clone());
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let body = String::from_utf8(body.to_vec()).unwrap();
    script.requests.lock().unwrap().push(RecordedRequest {
        path: head.uri.path_and_query().map_or_else(String::new, ToString::to_string),
        headers: head.headers,
        body,
    });
    let response = script.responses.lock().unwrap().pop_front();
    let response = match response.expect("a panic closes the connection") {
        RawResponse::Stream(steps) => {
            let cut = script.cut.clone();
            let events = stream::iter(steps).then(move |step| {
                let _ = &leaves;
                event(step, cut.clone())
            });
            Response::builder()
                .header("content-type", "text/event-stream; charset=utf-8")
                .body(Body::from_stream(events))
        }
        RawResponse::Plain(status, headers, body) => plain(status, &headers, Body::from(body)),
        RawResponse::Bytes(headers, body) => plain(200, &headers, Body::from(body)),
        RawResponse::Silence => pending().await,
    };
    Ok(response.unwrap())
}

fn plain(status: u16, headers: &[(&str, &str)], body: Body) -> axum::http::Result<Response> {
    let response = Response::builder().status(status);
    headers.iter().fold(response, |response, (name, value)| response.header(*name, *value)).body(body)
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
