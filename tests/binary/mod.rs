//! The real binary between stand-ins, and every byte that leaves it: log, requests, frames, answers.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use crelay_payments::simulator::Evidence;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::Message;

use crate::server::openai::{OpenAi, Reply};
use crate::server::{AUTH_TOKEN, OPERATOR_TOKEN, Server, Socket};

const PATIENCE: Duration = Duration::from_secs(10);

/// A server that runs as a process of its own, with the most talkative log there is, until this is dropped.
pub struct Binary {
    process: Child,
    pub server: Server,
    pub openai: OpenAi,
    twilio: Twilio,
    log: Arc<Mutex<String>>,
    evidence: Mutex<Vec<Evidence>>,
}

/// A Twilio that does whatever it is asked for, and remembers all of it.
#[derive(Clone, Default)]
struct Twilio {
    asked: Arc<Mutex<Vec<String>>>,
    made: Arc<AtomicUsize>,
}

impl Binary {
    pub async fn start() -> Self {
        let openai = OpenAi::start(&[]).await;
        let (twilio, origin) = Twilio::start().await;
        let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("shield");
        let _ = std::fs::remove_dir_all(&directory);
        std::fs::create_dir_all(&directory).unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_crelay-payments"))
            .env_clear()
            .current_dir(directory)
            .envs([
                ("RUST_LOG", "trace"),
                ("PORT", "0"),
                ("SERVER_BASE_URL", "pay.example.com"),
                ("OPENAI_API_KEY", "sk-test"),
                ("OPENAI_BASE_URL", &openai.base_url),
                ("TWILIO_API_BASE_URL", &origin),
                ("ACCOUNT_SID", "AC1"),
                ("AUTH_TOKEN", AUTH_TOKEN),
                ("FROM_NUMBER", "+15550100002"),
                ("PAYMENT_CONNECTOR", "Default"),
                ("OPERATOR_TOKEN", OPERATOR_TOKEN),
                ("LIVE_AGENT_WORKFLOW_SID", "WW1"),
            ])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log: Arc<Mutex<String>> = Arc::default();
        let (found, port) = mpsc::channel();
        let (lines, written) = (BufReader::new(process.stderr.take().unwrap()).lines(), log.clone());
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if let Some((_, port)) = line.split_once("listening on 0.0.0.0:") {
                    let _ = found.send(port.trim().parse::<u16>().unwrap());
                }
                *written.lock().unwrap() += &(line + "\n");
            }
        });
        let port = tokio::task::spawn_blocking(move || port.recv_timeout(PATIENCE)).await.unwrap();
        let server = Server::at(([127, 0, 0, 1], port.expect("it listens")).into());
        Self { process, server, openai, twilio, log, evidence: Mutex::default() }
    }

    /// Keeps something that the server sent.
    pub fn keep(&self, place: &'static str, bytes: impl Into<String>) {
        self.evidence.lock().unwrap().push(Evidence { place, bytes: bytes.into() });
    }

    /// Everything that has left the server since the last time. Places to search are added here.
    pub fn take_evidence(&self) -> Vec<Evidence> {
        let mut evidence = std::mem::take(&mut *self.evidence.lock().unwrap());
        let mut add = |place, texts: Vec<String>| {
            evidence.extend(texts.into_iter().map(|bytes| Evidence { place, bytes }));
        };
        let asked = std::mem::take(&mut *self.openai.asked.lock().unwrap());
        add("a request to the model", asked.iter().map(Value::to_string).collect());
        add("a request to Twilio", std::mem::take(&mut *self.twilio.asked.lock().unwrap()));
        add("the log", vec![std::mem::take(&mut *self.log.lock().unwrap())]);
        evidence
    }

    /// The payment of which Twilio was last asked something.
    pub fn payment(&self) -> String {
        let asked = self.twilio.asked.lock().unwrap();
        let sid = asked.iter().rev().find_map(|asked| asked.split_once("/Payments/")?.1.split_once(".json"));
        sid.expect("Twilio was asked for a field").0.to_owned()
    }

    pub async fn operator_posts(&self, path: &str, body: &Value) -> String {
        let answer = self.server.operator_posts(path, body).await.text().await.unwrap();
        self.keep("an answer to the operator", answer.clone());
        answer
    }

    pub async fn twilio_posts(&self, path: &str, form: &[(&str, &str)]) -> String {
        let answer = self.server.twilio_posts(path, form).await.text().await.unwrap();
        self.keep("an answer to Twilio", answer.clone());
        answer
    }

    pub async fn sends(&self, socket: &mut Socket, frame: &Value) {
        socket.send(Message::text(frame.to_string())).await.unwrap();
    }

    /// The caller says something, the model replies, and the caller hears that.
    pub async fn says(&self, socket: &mut Socket, words: &str, reply: Reply) -> String {
        self.openai.will(reply);
        self.sends(socket, &json!({"type": "prompt", "voicePrompt": words, "lang": "en-US", "last": true})).await;
        self.hears(socket).await
    }

    /// Reads frames until the agent has said something, or the call is over.
    pub async fn hears(&self, socket: &mut Socket) -> String {
        let mut said = String::new();
        loop {
            let frame = tokio::time::timeout(PATIENCE, socket.next()).await.expect("the agent says something");
            let Some(Ok(frame)) = frame else { return said };
            let text = frame.to_text().unwrap_or_default().to_owned();
            self.keep("a socket frame", text.clone());
            let frame: Value = serde_json::from_str(&text).unwrap_or_default();
            said.push_str(frame["token"].as_str().unwrap_or_default());
            if frame["last"] == json!(true) || frame["type"] == "end" || frame.is_null() {
                return said;
            }
        }
    }

    /// Reads frames until `end` comes, and tells the hand-off data.
    pub async fn is_handed_off(&self, socket: &mut Socket) -> String {
        loop {
            let frame = tokio::time::timeout(PATIENCE, socket.next()).await.expect("the call ends");
            let text = frame.unwrap().unwrap().to_text().unwrap_or_default().to_owned();
            self.keep("a socket frame", text.clone());
            let frame: Value = serde_json::from_str(&text).unwrap_or_default();
            if frame["type"] == "end" {
                return frame["handoffData"].as_str().unwrap_or_default().to_owned();
            }
        }
    }

    /// Presses keys one after the other.
    pub async fn presses(&self, socket: &mut Socket, keys: &str) {
        for key in keys.chars() {
            self.sends(socket, &json!({"type": "dtmf", "digit": key.to_string()})).await;
        }
    }
}

impl Drop for Binary {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Twilio {
    async fn start() -> (Self, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (twilio, origin) = (Self::default(), format!("http://{}", listener.local_addr().unwrap()));
        let router = Router::new().fallback(does).with_state(twilio.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (twilio, origin)
    }
}

async fn does(State(twilio): State<Twilio>, uri: Uri, body: String) -> Response {
    twilio.asked.lock().unwrap().push(format!("{uri}\n{body}"));
    let made = twilio.made.fetch_add(1, Ordering::Relaxed);
    let (status, sid) = match uri.path().rsplit_once('/') {
        Some((_, "Payments.json")) => (StatusCode::CREATED, format!("PK{made}")),
        Some((_, "Messages.json")) => (StatusCode::CREATED, format!("SM{made}")),
        Some((_, "Calls.json")) => (StatusCode::CREATED, format!("CAx{made}")),
        _ => (StatusCode::ACCEPTED, "PK".to_owned()),
    };
    (status, json!({"sid": sid, "status": "queued"}).to_string()).into_response()
}
