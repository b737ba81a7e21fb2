//! A ConversationRelay client: the caller's side of a call.

use anyhow::Context as _;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use super::capture::OutputChannel;
use super::harness::{ProofHarness, TIMEOUT};
use super::model::ModelReply;
use crate::endpoints::CONVERSATION_RELAY;

/// The WebSocket of one call.
#[derive(Debug)]
pub struct RelayClient<'a> {
    harness: &'a ProofHarness,
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    turn_count: usize,
}

impl<'a> RelayClient<'a> {
    /// Connects a call from this number and waits until the agent has answered the caller's greeting.
    pub async fn connect(
        harness: &'a ProofHarness,
        call: &str,
        from: &str,
        parameters: &Value,
    ) -> anyhow::Result<Self> {
        let signature = harness.signer.sign(&harness.base_url.wss_url(CONVERSATION_RELAY), &[]);
        let mut request = format!("ws://{}{CONVERSATION_RELAY}", harness.server.address).into_client_request()?;
        request.headers_mut().insert("X-Twilio-Signature", signature.parse()?);
        let opened = tokio::time::timeout(TIMEOUT, tokio_tungstenite::connect_async(request)).await;
        let (socket, _) =
            opened.context("the WebSocket handshake timed out")?.context("the WebSocket handshake failed")?;
        let mut client = Self { harness, socket, turn_count: 0 };
        let setup = json!({
            "type": "setup", "sessionId": "VX00000000000000000000000000000001", "callSid": call, "from": from,
            "to": "+15550100002", "direction": "inbound", "customParameters": parameters,
        });
        client.send(&setup).await?;
        harness.wait_for_calls(1).await?;
        client.say_hello().await?;
        Ok(client)
    }

    /// Sends a frame.
    pub async fn send(&mut self, frame: &Value) -> anyhow::Result<()> {
        self.socket.send(Message::text(frame.to_string())).await.context("the socket is closed")
    }

    /// Sends one `dtmf` frame per key.
    pub async fn press_keys(&mut self, keys: &str) -> anyhow::Result<()> {
        for key in keys.chars() {
            self.send(&json!({"type": "dtmf", "digit": key.to_string()})).await?;
        }
        Ok(())
    }

    /// Sends a prompt, to which the model gives `replies`, and waits for the agent's speech.
    pub async fn say(&mut self, words: &str, replies: impl IntoIterator<Item = ModelReply>) -> anyhow::Result<()> {
        self.harness.model.set_replies(replies);
        self.send(&json!({"type": "prompt", "voicePrompt": words, "lang": "en-US", "last": true})).await?;
        self.wait_for_speech().await
    }

    /// Says hello and waits for the reply to that. Depending on the configuration, the model or the server may greet
    /// first.
    pub async fn say_hello(&mut self) -> anyhow::Result<()> {
        const HELLO: &str = "Hello, is anybody there?";
        const ANSWER: &str = "Good day to you.";
        self.harness.model.reply_when_shown(HELLO, ANSWER);
        self.send(&json!({"type": "prompt", "voicePrompt": HELLO, "lang": "en-US", "last": true})).await?;
        let mut said = String::new();
        let is_answer = move |frame: &Value| {
            said += frame["token"].as_str().unwrap_or_default();
            said.contains(ANSWER) && frame["last"] == json!(true)
        };
        self.wait_for(is_answer).await.map(drop)
    }

    /// Runs one more turn, which sends the whole history to the model. Returns the model's input.
    pub async fn run_probe_turn(&mut self) -> anyhow::Result<String> {
        self.turn_count += 1;
        let words = format!("And now? That is question {}.", self.turn_count);
        self.say(&words, []).await?;
        self.harness.model.wait_for_input(&words, TIMEOUT).await
    }

    /// Waits until the agent has finished speaking or the session has ended.
    pub async fn wait_for_speech(&mut self) -> anyhow::Result<()> {
        self.wait_for(|frame| frame["last"] == json!(true) || frame["type"] == "end").await.map(drop)
    }

    /// Waits for the `end` frame and returns its hand-off data.
    pub async fn wait_for_hand_off(&mut self) -> anyhow::Result<String> {
        let end = self.wait_for(|frame| frame["type"] == "end").await?;
        Ok(end["handoffData"].as_str().unwrap_or_default().to_owned())
    }

    /// Reads and captures all remaining frames.
    pub async fn drain(mut self) {
        let rest = async { while self.next_frame().await.is_some() {} };
        // A timeout is ignored: what arrives later cannot be searched.
        let _ = tokio::time::timeout(TIMEOUT, rest).await;
    }

    async fn wait_for(&mut self, mut is: impl FnMut(&Value) -> bool) -> anyhow::Result<Value> {
        let waits = async {
            while let Some(text) = self.next_frame().await {
                let frame: Value = serde_json::from_str(&text).unwrap_or_default();
                if is(&frame) {
                    return Some(frame);
                }
            }
            None
        };
        let frame = tokio::time::timeout(TIMEOUT, waits).await.context("the expected frame did not arrive")?;
        frame.context("the server closed the call")
    }

    async fn next_frame(&mut self) -> Option<String> {
        let text = self.socket.next().await?.ok()?.to_text().unwrap_or_default().to_owned();
        self.harness.capture.record(OutputChannel::Socket, text.clone());
        Some(text)
    }
}
