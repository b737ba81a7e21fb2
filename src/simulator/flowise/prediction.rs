//! One prediction: the flow that answers, whether somebody listens or not.

use std::time::Duration;

use axum::body::Bytes;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::request_check::PredictionQuery;
use super::{FlowiseFault, ScriptedFlowise, events};
use crate::simulator::mcp_client::McpClient;
use crate::simulator::openai::over_mcp::{MAX_ROUNDS, call_tool, outlast_stop};
use crate::simulator::openai::{AgentHabits, ModelInputItem, decide};
use crate::simulator::transcript::{Transcript, TranscriptEvent, lock};

/// How long the abort of a prediction may take after its connection was closed, on the real clock.
const ABORT_TIMEOUT: Duration = Duration::from_secs(1);

/// How late a flow that cannot be stopped calls its tools: the caller has spoken by then.
const LATE_CALL_DELAY: Duration = Duration::from_secs(3);

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
        let text = decide(&self.query.input, &[], AgentHabits::default()).text;
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
            is_heard & self.answer().await
        };
        let is_heard = tokio::select! {
            biased;
            () = self.aborted.cancelled(), if self.fault != Some(FlowiseFault::IgnoresAbort) => return Ending::Aborted,
            is_heard = run => is_heard,
        };
        if is_heard {
            return Ending::Complete;
        }
        let aborted = tokio::time::timeout(ABORT_TIMEOUT, self.aborted.cancelled()).await;
        if aborted.is_ok() { Ending::Aborted } else { Ending::Abandoned }
    }

    /// Speaks and calls tools until the agent only speaks; returns whether all of it reached the client.
    async fn answer(&self) -> bool {
        let Ok((client, tools)) = self.load_tools().await else { return false };
        let (mut is_heard, mut words, mut input) = (true, String::new(), self.query.input.clone());
        for round in 0..MAX_ROUNDS {
            let reply = decide(&input, &tools, AgentHabits::default());
            if self.fault != Some(FlowiseFault::NoWords) {
                let separator = if words.is_empty() || reply.text.is_empty() { "" } else { " " };
                let text = format!("{separator}{}", reply.text);
                words.push_str(&text);
                is_heard &= match self.speak(&text).await {
                    Some(is_heard) => is_heard,
                    // The flow has ended: there is nothing to abort.
                    None => return true,
                };
            }
            let Some(client) = client.as_ref().filter(|_| !reply.calls.is_empty()) else { break };
            if !reply.text.is_empty() {
                input.push(ModelInputItem::Assistant(reply.text));
            }
            is_heard &= self.call_tools(client, round, reply.calls, &mut input).await;
            if matches!(input.last(), Some(ModelInputItem::Output { output, .. }) if output.contains("Say nothing")) {
                break;
            }
        }
        if is_heard && !words.is_empty() {
            self.transcript.record(TranscriptEvent::ModelSaid { text: words.clone() });
        }
        for block in events::closing(&self.query.chat_id, &words, &self.query.body) {
            // The client may leave once it has read the last block.
            is_heard &= self.send(block).await;
        }
        is_heard
    }

    /// Lists the tools over MCP. Without a token there are none.
    async fn load_tools(&self) -> Result<(Option<McpClient>, Vec<String>), ()> {
        let Some(token) = self.query.call_token.clone() else { return Ok((None, Vec::new())) };
        let client = McpClient::new(self.flowise.0.server, token);
        match client.list_tools().await {
            Ok(tools) => Ok((Some(client), tools.into_iter().map(|tool| tool.name).collect())),
            Err(error) => {
                outlast_stop().await;
                self.flowise.record_violation(format!("the tools cannot be listed over MCP: {error}"));
                Err(())
            }
        }
    }

    /// Sends words, one token each; returns whether they reached the client, or `None` if the flow has failed.
    async fn speak(&self, text: &str) -> Option<bool> {
        let mut is_heard = true;
        for (at, token) in text.split_inclusive(' ').enumerate() {
            match self.fault {
                Some(FlowiseFault::Error(tokens)) if at >= tokens => {
                    let error = json!("401 Incorrect API key provided: sk-hush");
                    self.send(events::block("error", &error)).await;
                    self.send(events::end()).await;
                    return None;
                }
                Some(FlowiseFault::ConnectionCut(tokens)) if at >= tokens => {
                    lock(&self.flowise.0.memory).clients.remove(&self.query.chat_id);
                }
                _ => {}
            }
            is_heard &= self.send(events::block("token", &json!(token))).await;
            self.flowise.0.pace.sleep(self.flowise.0.behaviour.token_pause()).await;
        }
        Some(is_heard)
    }

    /// Calls tools one after the other, and adds the calls and their outputs to the input.
    async fn call_tools(
        &self,
        client: &McpClient,
        round: usize,
        calls: Vec<(String, String)>,
        input: &mut Vec<ModelInputItem>,
    ) -> bool {
        let names: Vec<Value> = calls.iter().map(|(name, _)| json!({"tool": name, "toolOutput": ""})).collect();
        if self.fault == Some(FlowiseFault::IgnoresAbort) {
            self.flowise.0.pace.sleep(LATE_CALL_DELAY).await;
        }
        let mut is_heard = self.send(events::block("calledTools", &json!(names))).await;
        for (at, (name, arguments)) in calls.into_iter().enumerate() {
            let output = call_tool(&self.transcript, client, &name, &arguments).await;
            let used = json!([{"tool": name, "toolInput": arguments, "toolOutput": output}]);
            is_heard &= self.send(events::block("usedTools", &used)).await;
            let call_id = format!("call_{round:08}_{at}");
            input.push(ModelInputItem::Call { call_id: call_id.clone(), id: None, name, arguments });
            input.push(ModelInputItem::Output { call_id, output });
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
