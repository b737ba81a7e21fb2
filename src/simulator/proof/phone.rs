//! The caller's end of a call, over the socket as Twilio holds it.

use anyhow::Context as _;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use super::catch::Place;
use super::model::Reply;
use super::world::{PATIENCE, World};

/// A call.
#[derive(Debug)]
pub struct Phone<'a> {
    world: &'a World,
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    turns: usize,
}

impl<'a> Phone<'a> {
    /// A call over this socket.
    pub fn new(world: &'a World, socket: WebSocketStream<MaybeTlsStream<TcpStream>>) -> Self {
        Self { world, socket, turns: 0 }
    }

    /// Twilio sends a frame.
    pub async fn sends(&mut self, frame: &Value) -> anyhow::Result<()> {
        self.socket.send(Message::text(frame.to_string())).await.context("the socket is closed")
    }

    /// The caller presses keys, one after the other.
    pub async fn presses(&mut self, keys: &str) -> anyhow::Result<()> {
        for key in keys.chars() {
            self.sends(&json!({"type": "dtmf", "digit": key.to_string()})).await?;
        }
        Ok(())
    }

    /// The caller says something, the model does this, and the caller hears something.
    pub async fn says(&mut self, words: &str, replies: impl IntoIterator<Item = Reply>) -> anyhow::Result<()> {
        self.world.model.will(replies);
        self.sends(&json!({"type": "prompt", "voicePrompt": words, "lang": "en-US", "last": true})).await?;
        self.hears().await
    }

    /// The caller says hello, and hears the answer to that: a set-up may have the model greet first, or the server, or nobody.
    pub async fn says_hello(&mut self) -> anyhow::Result<()> {
        const HELLO: &str = "Hello, is anybody there?";
        const ANSWER: &str = "Good day to you.";
        self.world.model.answers(HELLO, ANSWER);
        self.sends(&json!({"type": "prompt", "voicePrompt": HELLO, "lang": "en-US", "last": true})).await?;
        let mut said = String::new();
        let is_answer = move |frame: &Value| {
            said += frame["token"].as_str().unwrap_or_default();
            said.contains(ANSWER) && frame["last"] == json!(true)
        };
        self.until(is_answer).await.map(drop)
    }

    /// One more turn, which shows the model all that was kept. Tells it.
    pub async fn goes_on(&mut self) -> anyhow::Result<String> {
        self.turns += 1;
        let words = format!("And now? That is question {}.", self.turns);
        self.says(&words, []).await?;
        self.world.model.is_shown(&words, PATIENCE).await
    }

    /// Waits until the agent has said something, or the call is over.
    pub async fn hears(&mut self) -> anyhow::Result<()> {
        self.until(|frame| frame["last"] == json!(true) || frame["type"] == "end").await.map(drop)
    }

    /// Waits until the session is ended, and tells the hand-off data.
    pub async fn is_handed_off(&mut self) -> anyhow::Result<String> {
        let end = self.until(|frame| frame["type"] == "end").await?;
        Ok(end["handoffData"].as_str().unwrap_or_default().to_owned())
    }

    /// The call is over: what was not heard yet is kept too.
    pub async fn hears_the_rest(mut self) {
        let rest = async { while self.frame().await.is_some() {} };
        // What does not come any more cannot be searched.
        let _ = tokio::time::timeout(PATIENCE, rest).await;
    }

    async fn until(&mut self, mut is: impl FnMut(&Value) -> bool) -> anyhow::Result<Value> {
        let waits = async {
            while let Some(text) = self.frame().await {
                let frame: Value = serde_json::from_str(&text).unwrap_or_default();
                if is(&frame) {
                    return Some(frame);
                }
            }
            None
        };
        let frame = tokio::time::timeout(PATIENCE, waits).await.context("the agent said nothing")?;
        frame.context("the server closed the call")
    }

    async fn frame(&mut self) -> Option<String> {
        let text = self.socket.next().await?.ok()?.to_text().unwrap_or_default().to_owned();
        self.world.catch.keep(Place::Socket, text.clone());
        Some(text)
    }
}
