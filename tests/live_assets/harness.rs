//! The real server with a Twilio Sync stand-in and a model that reports its requests.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::routing::post;
use crelay_payments::assets::Assets;
use crelay_payments::config::{Config, Vars};
use crelay_payments::server::{Shutdown, serve};
use crelay_payments::simulator::TwilioSync;
use crelay_payments::twilio::Signer;
use futures_util::{SinkExt, StreamExt};
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

const ACCOUNT_SID: &str = "AC1";
const AUTH_TOKEN: &str = "12345";
const TIMEOUT: Duration = Duration::from_secs(20);
/// The polling interval, short enough for tests.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// The stand-ins for Twilio Sync and the model.
pub struct Harness {
    pub sync: TwilioSync,
    vars: Vec<(&'static str, String)>,
    asked: broadcast::Sender<ModelRequest>,
}

/// A model request.
#[derive(Debug, Clone)]
pub struct ModelRequest {
    pub instructions: String,
    pub tools: Vec<String>,
    caller: String,
}

/// A server that is stopped on drop.
pub struct Server {
    address: SocketAddr,
    signer: Signer,
    shutdown: Shutdown,
    asked: broadcast::Sender<ModelRequest>,
}

/// A call that is connected until it is dropped.
pub struct Call {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    name: String,
    asked: broadcast::Receiver<ModelRequest>,
}

/// A directory that is removed on drop.
pub struct Directory(PathBuf);

impl Directory {
    pub fn with(files: &[(&str, &str)]) -> Self {
        let directory = Self(std::env::temp_dir().join(format!("crelay-payments-{}", uuid::Uuid::new_v4())));
        std::fs::create_dir(&directory.0).unwrap();
        for (name, text) in files {
            directory.write(name, text);
        }
        directory
    }

    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.join(name), text).unwrap();
    }

    pub fn remove(&self, name: &str) {
        std::fs::remove_file(self.0.join(name)).unwrap();
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

impl Harness {
    pub async fn new() -> Self {
        let sync = TwilioSync::new(ACCOUNT_SID, AUTH_TOKEN);
        let (asked, _) = broadcast::channel(64);
        let model = Router::new().route("/v1/responses", post(answer)).with_state(asked.clone());
        let vars = vec![
            ("SERVER_BASE_URL", "pay.example.com".to_owned()),
            ("OPENAI_API_KEY", "sk-test".to_owned()),
            ("OPENAI_BASE_URL", format!("{}/v1", serve_stand_in(model).await)),
            ("TWILIO_API_BASE_URL", serve_stand_in(sync.router()).await),
            ("ACCOUNT_SID", ACCOUNT_SID.to_owned()),
            ("AUTH_TOKEN", AUTH_TOKEN.to_owned()),
            ("FROM_NUMBER", "+15550100002".to_owned()),
            ("PAYMENT_CONNECTOR", "Default".to_owned()),
        ];
        Self { sync, vars, asked }
    }

    /// Starts the server with the assets in a directory. Its ledger is in the same directory.
    pub async fn serve(&self, dir: &Directory) -> Server {
        let ledger = format!("sqlite://{}/{}.db", dir.0.display(), uuid::Uuid::new_v4());
        let vars = self.vars.iter().map(|(name, value)| (*name, value.as_str()));
        let vars: Vars = vars.chain([("DATABASE_URL", ledger.as_str())]).collect();
        let (config, _) = Config::from_vars(&vars).unwrap();
        let assets = Assets::open(&dir.0, &config.twilio).await.unwrap().with_poll_interval(POLL_INTERVAL);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = Shutdown::default();
        tokio::spawn(serve(config, assets, listener, shutdown.clone()));
        Server { address, signer: Signer::new(&SecretString::from(AUTH_TOKEN)), shutdown, asked: self.asked.clone() }
    }

    /// Runs `upload-assets` in a directory with Twilio's variables only. Returns the exit code and the output.
    pub async fn upload(&self, dir: &Directory, arguments: &[&str]) -> (i32, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_crelay-payments"));
        command.env_clear().current_dir(&dir.0).arg("upload-assets").args(arguments);
        let twilio =
            |name: &str| name.starts_with("TWILIO") || ["ACCOUNT_SID", "AUTH_TOKEN", "FROM_NUMBER"].contains(&name);
        command.envs(self.vars.iter().filter(|(name, _)| twilio(name)).map(|(name, value)| (name, value)));
        let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
        let printed = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
        (output.status.code().unwrap(), printed)
    }
}

/// The model: sends its requests to the test and replies "Yes." to each.
async fn answer(State(asked): State<broadcast::Sender<ModelRequest>>, body: String) -> impl IntoResponse {
    let request: Value = serde_json::from_str(&body).unwrap();
    let names = |tool: &Value| tool["name"].as_str().unwrap().to_owned();
    let _ = asked.send(ModelRequest {
        instructions: request["instructions"].as_str().unwrap().to_owned(),
        tools: request["tools"].as_array().unwrap().iter().map(names).collect(),
        caller: request["input"].as_array().unwrap().last().unwrap()["content"].as_str().unwrap().to_owned(),
    });
    let events = [
        json!({ "type": "response.output_text.delta", "delta": "Yes." }),
        json!({ "type": "response.completed", "response": {} }),
    ];
    let [words, end] = events.map(|event| format!("data: {event}\n\n"));
    ([("content-type", "text/event-stream")], words + &end)
}

/// Serves a stand-in. Returns its origin.
async fn serve_stand_in(router: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    origin
}

impl Server {
    /// Connects a call with these custom parameters.
    pub async fn call(&self, parameters: &[(&str, &str)]) -> Call {
        let mut request = format!("ws://{}/conversation-relay", self.address).into_client_request().unwrap();
        let signature = self.signer.sign("wss://pay.example.com/conversation-relay", &[]);
        request.headers_mut().insert("X-Twilio-Signature", signature.parse().unwrap());
        let (mut socket, _) = tokio_tungstenite::connect_async(request).await.unwrap();
        // The SID consists of letters, because a long number could be redacted as a card number.
        let letter = |digit: u8| char::from(b'a' + digit % 16);
        let name: String =
            uuid::Uuid::new_v4().as_bytes().iter().flat_map(|byte| [letter(byte / 16), letter(*byte)]).collect();
        let parameters: serde_json::Map<String, Value> =
            parameters.iter().map(|(name, value)| ((*name).to_owned(), Value::from(*value))).collect();
        let setup = json!({ "type": "setup", "callSid": format!("CA{name}"), "customParameters": parameters });
        socket.send(Message::text(setup.to_string())).await.unwrap();
        Call { socket, name, asked: self.asked.subscribe() }
    }

    /// The TwiML of an inbound call.
    pub async fn twiml(&self) -> String {
        let signature = self.signer.sign("https://pay.example.com/connectConversationRelay", &[]);
        let http = reqwest::Client::builder().timeout(TIMEOUT).build().unwrap();
        let request = http.post(format!("http://{}/connectConversationRelay", self.address));
        request.header("X-Twilio-Signature", signature).send().await.unwrap().text().await.unwrap()
    }

    /// Connects calls until one has these instructions.
    pub async fn wait_for_instructions(&self, parameters: &[(&str, &str)], instructions: &str) {
        let waits = async { while self.call(parameters).await.ask().await.instructions != instructions {} };
        timeout(TIMEOUT, waits).await.expect("the edit takes effect in calls");
    }

    /// Requests TwiML until it contains this text.
    pub async fn wait_for_twiml(&self, part: &str) {
        let waits = async { while !self.twiml().await.contains(part) {} };
        timeout(TIMEOUT, waits).await.expect("the edit takes effect in the TwiML");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shutdown.hard.cancel();
    }
}

impl Call {
    /// Sends a prompt. Returns the resulting model request after the agent has replied.
    pub async fn ask(&mut self) -> ModelRequest {
        let prompt = json!({ "type": "prompt", "voicePrompt": self.name, "last": true });
        self.socket.send(Message::text(prompt.to_string())).await.unwrap();
        let asked = async {
            loop {
                let asked = self.asked.recv().await.unwrap();
                if asked.caller == self.name {
                    return asked;
                }
            }
        };
        let asked = timeout(TIMEOUT, asked).await.expect("the model is called");
        let answered = async { while !ends(&self.socket.next().await.unwrap().unwrap()) {} };
        timeout(TIMEOUT, answered).await.expect("the caller is answered");
        asked
    }
}

/// Whether a frame ends a talk cycle.
fn ends(frame: &Message) -> bool {
    let frame: Value = serde_json::from_str(frame.to_text().unwrap()).unwrap();
    frame["last"] == true
}
