//! The real server with a Twilio Sync stand-in and a model that reports its requests.

use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

use crelay_payments::simulator::{LocalServer, ModelReply, QueuedOpenAi, RelayClient, TwilioSync};
use serde_json::Value;
use tokio::time::timeout;

use crate::server::{AUTH_TOKEN, REQUIRED_VARS, SOCKET_URL, Server};

const TIMEOUT: Duration = Duration::from_secs(20);
/// The polling interval, short enough for tests.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// The stand-ins for Twilio Sync and the model.
pub(crate) struct Harness {
    pub sync: TwilioSync,
    twilio: LocalServer,
    openai: QueuedOpenAi,
}

/// A model request.
#[derive(Debug)]
pub(crate) struct ModelRequest {
    pub instructions: String,
    pub tools: Vec<String>,
}

/// A server that polls its assets.
pub(crate) struct LiveServer {
    server: Server,
    openai: QueuedOpenAi,
}

/// A call that is connected until it is dropped.
pub(crate) struct Call {
    socket: RelayClient,
    name: String,
    openai: QueuedOpenAi,
}

/// A directory that is removed on drop.
pub(crate) struct Directory(TempDir);

impl Directory {
    pub(crate) fn with(files: &[(&str, &str)]) -> Self {
        let directory = Self(tempfile::tempdir().unwrap());
        for (name, text) in files {
            directory.write(name, text);
        }
        directory
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.path().join(name), text).unwrap();
    }

    pub(crate) fn remove(&self, name: &str) {
        std::fs::remove_file(self.0.path().join(name)).unwrap();
    }
}

impl Harness {
    pub(crate) async fn new() -> Self {
        let sync = TwilioSync::new("AC1", AUTH_TOKEN);
        let twilio = LocalServer::start(sync.router()).await.unwrap();
        let openai = QueuedOpenAi::start_with(ModelReply::text("Yes."), |_, _| {}).await.unwrap();
        Self { sync, twilio, openai }
    }

    /// Starts the server with the assets in a directory.
    pub(crate) async fn serve(&self, dir: &Directory) -> LiveServer {
        let vars = [
            ("ASSETS_DIR", dir.0.path().to_str().unwrap()),
            ("OPENAI_BASE_URL", self.openai.base_url()),
            ("TWILIO_API_BASE_URL", self.twilio.origin()),
        ];
        let server = Server::start_with(&vars, |assets| assets.with_poll_interval(POLL_INTERVAL)).await;
        LiveServer { server, openai: self.openai.clone() }
    }

    /// Runs `upload-assets` in a directory with Twilio's variables only. Returns the exit code and the output.
    pub(crate) async fn upload(&self, dir: &Directory, arguments: &[&str]) -> (i32, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_crelay-payments"));
        command.env_clear().current_dir(dir.0.path()).arg("upload-assets").args(arguments);
        let twilio = |(name, _): &(&str, &str)| ["ACCOUNT_SID", "AUTH_TOKEN", "FROM_NUMBER"].contains(name);
        command.envs(REQUIRED_VARS.into_iter().filter(twilio)).env("TWILIO_API_BASE_URL", self.twilio.origin());
        let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
        let printed = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
        (output.status.code().unwrap(), printed)
    }
}

impl LiveServer {
    /// Connects a call with these custom parameters.
    pub(crate) async fn call(&self, parameters: &[(&str, &str)]) -> Call {
        let signature = self.server.signature(SOCKET_URL, &[]);
        let mut socket = self.server.open_socket(Some(&signature)).await.unwrap();
        // The SID consists of letters, because a long number could be redacted as a card number.
        let letter = |digit: u8| char::from(b'a' + digit % 16);
        let name: String =
            uuid::Uuid::new_v4().as_bytes().iter().flat_map(|byte| [letter(byte / 16), letter(*byte)]).collect();
        let parameters: serde_json::Map<String, Value> =
            parameters.iter().map(|(name, value)| ((*name).to_owned(), Value::from(*value))).collect();
        let setup = self.server.setup_frame(&format!("CA{name}"), &Value::Object(parameters)).await;
        socket.send(&setup).await.unwrap();
        Call { socket, name, openai: self.openai.clone() }
    }

    /// The TwiML of an inbound call.
    pub(crate) async fn twiml(&self) -> String {
        self.server.post_as_twilio("/connectConversationRelay", &[("CallSid", "CA1")]).await.text().await.unwrap()
    }

    /// Connects calls until one has these instructions.
    pub(crate) async fn wait_for_instructions(&self, parameters: &[(&str, &str)], instructions: &str) {
        let is_used =
            |request: Option<ModelRequest>| request.is_some_and(|request| request.instructions == instructions);
        let waits = async { while !is_used(self.call(parameters).await.try_ask().await) {} };
        timeout(TIMEOUT, waits).await.expect("the edit takes effect in calls");
    }

    /// Requests TwiML until it contains this text.
    pub(crate) async fn wait_for_twiml(&self, part: &str) {
        let waits = async { while !self.twiml().await.contains(part) {} };
        timeout(TIMEOUT, waits).await.expect("the edit takes effect in the TwiML");
    }
}

impl Call {
    /// Sends a prompt. Returns the resulting model request after the agent has replied.
    pub(crate) async fn ask(&mut self) -> ModelRequest {
        self.try_ask().await.expect("the call has an agent")
    }

    /// Sends a prompt. Returns the resulting model request after the agent has replied, or `None` if the call has no
    /// agent and is handed to a person.
    pub(crate) async fn try_ask(&mut self) -> Option<ModelRequest> {
        let known = self.openai.request_count();
        self.socket.say(&self.name).await.unwrap();
        if self.socket.wait_for_speech().await.unwrap().contains("I will put you through") {
            return None;
        }
        let is_of_call = |request: &Value| request["input"].as_array().unwrap().last().unwrap()["content"] == self.name;
        let request = self.openai.wait_for_request(known, is_of_call).await.unwrap();
        let name = |tool: &Value| tool["name"].as_str().unwrap().to_owned();
        Some(ModelRequest {
            instructions: request["instructions"].as_str().unwrap().to_owned(),
            tools: request["tools"].as_array().unwrap().iter().map(name).collect(),
        })
    }
}
