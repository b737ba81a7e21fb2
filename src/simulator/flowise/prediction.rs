//! One prediction: the flow that answers, whether somebody listens or not.

use std::time::Duration;

use axum::body::Bytes;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::request_check::PredictionQuery;
use super::{FlowiseFault, ScriptedFlowise, events};
use crate::simulator::openai::{AgentHabits, ScriptedReply, decide};
use crate::simulator::transcript::{Transcript, TranscriptEvent, lock};

/// How long the abort of a prediction may take after its connection was closed, on the real clock.
const ABORT_TIMEOUT: Duration = Duration::from_secs(1);

/// A prediction.
pub(super) struct Prediction {
    flowise: ScriptedFlowise,
    query: PredictionQuery,
    fault: Option<FlowiseFault>,
    transcript: Transcript,
    /// Cancelled when the prediction is aborted.
    aborted: CancellationToken,
}

/// How a prediction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// The client got all of it.
    Complete,
    /// The client asked to stop it.
    Aborted,
    /// The client went away and let it run.
    Abandoned,
}

impl Prediction {
    /// Creates a prediction, which can be aborted from now on.
    pub(super) fn new(flowise: &ScriptedFlowise, query: PredictionQuery, fault: Option<FlowiseFault>) -> Self {
        let (transcript, aborted) = (flowise.transcript_of(&query), CancellationToken::new());
        lock(&flowise.0.memory).running.insert(query.chat_id.clone(), aborted.clone());
        Self { flowise: flowise.clone(), query, fault, transcript, aborted }
    }

    /// Answers in JSON.
    pub(super) async fn answer_whole(self) -> Value {
        self.flowise.0.pace.sleep(Duration::from_millis(900)).await;
        let text = self.decide().text;
        self.transcript.record(TranscriptEvent::ModelSaid { text: text.clone() });
        json!({"text": text, "question": self.query.body["question"], "chatId": self.query.chat_id,
            "agentFlowExecutedData": [self.query.body]})
    }

    /// Runs the flow, with its words to `client`.
    pub(super) fn start(self, client: mpsc::Sender<Bytes>) {
        lock(&self.flowise.0.memory).clients.insert(self.query.chat_id.clone(), client);
        tokio::spawn(async move {
            let ending = self.run().await;
            let mut memory = lock(&self.flowise.0.memory);
            memory.running.remove(&self.query.chat_id);
            memory.clients.remove(&self.query.chat_id);
            drop(memory);
            match ending {
                Ending::Complete => {}
                Ending::Aborted => self.transcript.record(TranscriptEvent::ModelStopped),
                Ending::Abandoned => self.flowise.record_violation("an answer was given up and not aborted"),
            }
        });
    }

    fn decide(&self) -> ScriptedReply {
        decide(&self.query.input, &[], AgentHabits::default())
    }

    async fn run(&self) -> Ending {
        let run = async {
            if self.fault == Some(FlowiseFault::Hang) {
                self.wait_until_left().await;
                return false;
            }
            let mut is_heard = true;
            for block in events::opening() {
                is_heard &= self.send(block).await;
            }
            self.flowise.0.pace.sleep(Duration::from_millis(450)).await;
            is_heard & self.speak().await
        };
        let is_heard = tokio::select! {
            biased;
            () = self.aborted.cancelled() => return Ending::Aborted,
            is_heard = run => is_heard,
        };
        if is_heard {
            return Ending::Complete;
        }
        let aborted = tokio::time::timeout(ABORT_TIMEOUT, self.aborted.cancelled()).await;
        if aborted.is_ok() { Ending::Aborted } else { Ending::Abandoned }
    }

    /// Sends the words and what follows them; returns whether all of it reached the client.
    async fn speak(&self) -> bool {
        let text = if self.fault == Some(FlowiseFault::NoWords) { String::new() } else { self.decide().text };
        let mut is_heard = true;
        for (at, token) in text.split_inclusive(' ').enumerate() {
            match self.fault {
                Some(FlowiseFault::Error(tokens)) if at >= tokens => {
                    let error = json!("401 Incorrect API key provided: sk-hush");
                    return is_heard & self.send(events::block("error", &error)).await & self.send(events::end()).await;
                }
                Some(FlowiseFault::ConnectionCut(tokens)) if at >= tokens => {
                    lock(&self.flowise.0.memory).clients.remove(&self.query.chat_id);
                }
                _ => {}
            }
            is_heard &= self.send(events::block("token", &json!(token))).await;
            self.flowise.0.pace.sleep(self.flowise.0.behaviour.token_pause()).await;
        }
        if is_heard && !text.is_empty() {
            self.transcript.record(TranscriptEvent::ModelSaid { text: text.clone() });
        }
        for block in events::closing(&self.query.chat_id, &text, &self.query.body) {
            // The client may leave once it has read the last block.
            is_heard &= self.send(block).await;
        }
        is_heard
    }

    /// Waits until the client has closed the connection.
    async fn wait_until_left(&self) {
        let client = lock(&self.flowise.0.memory).clients.get(&self.query.chat_id).cloned();
        if let Some(client) = client {
            client.closed().await;
        }
    }

    /// Sends a block to the client that the chat has now; returns whether there is one.
    async fn send(&self, block: Bytes) -> bool {
        let client = lock(&self.flowise.0.memory).clients.get(&self.query.chat_id).cloned();
        match client {
            Some(client) => client.send(block).await.is_ok(),
            None => false,
        }
    }
}
