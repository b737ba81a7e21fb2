//! An OpenAI of our own on a real socket: it answers what it is told to, and remembers what it was asked.

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
pub enum Step {
    /// The `data` of an event.
    Event(&'static str),
    /// Breaks the connection once the test says so.
    Cut,
    /// Says nothing more, and keeps the connection.
    Stall,
}

/// One answer.
pub enum Answer {
    /// Status 200 and a stream of events.
    Stream(Vec<Step>),
    /// Anything else: status, one header, body.
    Plain(u16, (&'static str, &'static str), &'static str),
    /// No answer, and the connection kept.
    Silence,
}

/// What was asked.
pub struct Asked {
    pub path: String,
    pub headers: HeaderMap,
    pub body: String,
}

/// The server. What it is not told to answer it answers with 500.
#[derive(Clone)]
pub struct OpenAi {
    answers: Arc<Mutex<VecDeque<Answer>>>,
    pub asked: Arc<Mutex<Vec<Asked>>>,
    /// Lets a `Cut` happen.
    pub cut: Arc<Notify>,
    left: mpsc::Sender<()>,
}

impl OpenAi {
    /// Starts it: the server, its base URL, and a word for every answer that the client did not wait for or that ended.
    pub async fn start(answers: Vec<Answer>) -> (Self, String, mpsc::Receiver<()>) {
        let (left, leaving) = mpsc::channel(16);
        let openai =
            Self { answers: Arc::new(Mutex::new(answers.into())), asked: Arc::default(), cut: Arc::default(), left };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}/v1", listener.local_addr().unwrap());
        let router = Router::new().fallback(answer).with_state(openai.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (openai, base, leaving)
    }

    /// The bodies of all requests so far.
    pub fn bodies(&self) -> Vec<String> {
        self.asked.lock().unwrap().iter().map(|asked| asked.body.clone()).collect()
    }
}

async fn answer(State(openai): State<OpenAi>, request: Request) -> Result<Response, Infallible> {
    let leaves = Leaves(openai.left.clone());
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let body = String::from_utf8(body.to_vec()).unwrap();
    openai.asked.lock().unwrap().push(Asked { path: head.uri.path().to_owned(), headers: head.headers, body });
    let answer = openai.answers.lock().unwrap().pop_front();
    let response = match answer {
        Some(Answer::Stream(steps)) => {
            let cut = openai.cut.clone();
            let events = stream::iter(steps).then(move |step| {
                let _ = &leaves;
                event(step, cut.clone())
            });
            Response::builder()
                .header("content-type", "text/event-stream; charset=utf-8")
                .body(Body::from_stream(events))
        }
        Some(Answer::Plain(status, (name, value), body)) => {
            Response::builder().status(status).header(name, value).body(Body::from(body))
        }
        Some(Answer::Silence) => pending().await,
        None => Response::builder().status(500).body(Body::empty()),
    };
    Ok(response.unwrap())
}

async fn event(step: Step, cut: Arc<Notify>) -> io::Result<String> {
    match step {
        Step::Event(data) => Ok(format!("event: ignored\ndata: {data}\n\n")),
        Step::Cut => {
            cut.notified().await;
            Err(io::ErrorKind::ConnectionReset.into())
        }
        Step::Stall => pending().await,
    }
}

/// Says so when it is dropped.
struct Leaves(mpsc::Sender<()>);

impl Drop for Leaves {
    fn drop(&mut self) {
        let _ = self.0.try_send(());
    }
}
