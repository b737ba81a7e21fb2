//! A call of the proof: the caller's side of its socket, and what the model replies.

use anyhow::Context as _;
use serde_json::{Value, json};

use super::capture::OutputChannel;
use super::harness::{ProofHarness, TIMEOUT};
use super::setup::ACCOUNT_SID;
use crate::endpoints::{CONNECT_ACTION, CONVERSATION_RELAY};
use crate::simulator::{ModelReply, RelayClient};
use crate::socket_token::SOCKET_TOKEN;

/// Reads the token of the socket from the parameters of a TwiML document. The document is not parsed, since the
/// configuration under test may have attributes that the simulator does not know.
fn read_socket_token(twiml: &str) -> anyhow::Result<&str> {
    let parameter = format!(r#"<Parameter name="{SOCKET_TOKEN}" value=""#);
    let token = twiml.split_once(&parameter).and_then(|(_, rest)| rest.split_once('"'));
    token.map(|(token, _)| token).context("the TwiML has no token for the socket")
}

/// A connected call.
#[derive(Debug)]
pub(super) struct ProofCall<'a> {
    harness: &'a ProofHarness,
    /// The caller's side of its socket.
    pub client: RelayClient,
    turn_count: usize,
}

impl<'a> ProofCall<'a> {
    /// Connects a call from this number and waits until the agent has answered the caller's greeting.
    pub(super) async fn connect(
        harness: &'a ProofHarness,
        call: &str,
        from: &str,
        parameters: &Value,
    ) -> anyhow::Result<Self> {
        let form = [("CallSid", call), ("CallStatus", "in-progress"), ("SessionStatus", "failed")];
        let twiml = harness.post_as_twilio(CONNECT_ACTION, &form).await?;
        let mut parameters = parameters.clone();
        parameters[SOCKET_TOKEN] = json!(read_socket_token(&twiml)?);
        let signature = harness.signer.sign(&harness.base_url.wss_url(CONVERSATION_RELAY), &[]);
        let capture = harness.capture.clone();
        // The proxy in front of the server removes the path of the public URL.
        let url = format!("ws://{}{CONVERSATION_RELAY}", harness.server.address);
        let client = RelayClient::open(harness.server.address, &url, Some(&signature)).await?;
        let client = client.observed_by(move |text| capture.record(OutputChannel::Socket, text.to_owned()));
        let mut connected = Self { harness, client, turn_count: 0 };
        let setup = json!({
            "type": "setup", "sessionId": "VX00000000000000000000000000000001", "callSid": call, "from": from,
            "to": "+15550100002", "direction": "inbound", "accountSid": ACCOUNT_SID, "customParameters": parameters,
        });
        connected.client.send(&setup).await?;
        harness.wait_for_calls(1).await?;
        connected.say_hello().await?;
        Ok(connected)
    }

    /// Sends a prompt, to which the model gives `replies`, and waits for the agent's speech.
    pub(super) async fn say(
        &mut self,
        words: &str,
        replies: impl IntoIterator<Item = ModelReply>,
    ) -> anyhow::Result<()> {
        self.harness.model.set_replies(replies);
        self.client.say(words).await?;
        self.client.wait_for_speech().await.map(drop)
    }

    /// Says hello and waits for the reply to that. Depending on the configuration, the model or the server may greet
    /// first.
    pub(super) async fn say_hello(&mut self) -> anyhow::Result<()> {
        const HELLO: &str = "Hello, is anybody there?";
        const ANSWER: &str = "Good day to you.";
        self.harness.model.reply_when_shown(HELLO, ModelReply::text(ANSWER));
        self.client.say(HELLO).await?;
        let mut said = String::new();
        let is_answer = move |frame: &Value| {
            said += frame["token"].as_str().unwrap_or_default();
            said.contains(ANSWER) && frame["last"] == json!(true)
        };
        self.client.wait_for(is_answer).await.map(drop)
    }

    /// Runs one more turn, which sends the whole history to the model. Returns the model's input.
    pub(super) async fn run_probe_turn(&mut self) -> anyhow::Result<String> {
        self.turn_count += 1;
        // Without a digit, which would be removed during a capture.
        let words = format!("And now? I ask {}.", vec!["again"; self.turn_count].join(" "));
        self.say(&words, []).await?;
        self.harness.model.wait_for_input(&words).await
    }

    /// Waits for the `end` frame and returns its hand-off data.
    pub(super) async fn wait_for_hand_off(&mut self) -> anyhow::Result<String> {
        let end = self.client.wait_for(|frame| frame["type"] == "end").await?;
        Ok(end["handoffData"].as_str().unwrap_or_default().to_owned())
    }

    /// Reads and captures all remaining frames.
    pub(super) async fn drain(mut self) {
        // A timeout is ignored: what arrives later cannot be searched.
        let _ = self.client.drain(TIMEOUT).await;
    }
}
