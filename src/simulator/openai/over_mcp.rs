//! A flow that calls its tools over MCP within its answer, as agent builders do. The server gets only the words.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;

use super::agent::{self, ScriptedReply};
use super::input::ModelInputItem;
use super::request_check::ResponsesRequest;
use super::{ScriptedOpenAi, Transcript, TranscriptEvent};
use crate::simulator::mcp_client::McpClient;
use crate::simulator::server_under_test::CallTokens;
use crate::simulator::twilio::call_sid;

/// The number of rounds of tool calls in one answer.
pub(crate) const MAX_ROUNDS: usize = 6;

/// How long an answer may go on once its call has ended, on the real clock.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);

/// What begins the note of the server that a flow has called a tool.
pub(crate) const CALL_NOTE: &str = "The agent's flow has called the tool ";

/// Where a flow finds the tools of its calls.
#[derive(Debug, Clone)]
pub(crate) struct ToolsOverMcp {
    /// The address of the server.
    pub address: SocketAddr,
    /// The tokens of the calls.
    pub tokens: CallTokens,
}

impl ToolsOverMcp {
    /// Answers a request: calls the tools that the agent decides on, until it only speaks. The reply has no tool calls.
    pub(super) async fn answer(&self, openai: &ScriptedOpenAi, asked: &ResponsesRequest) -> ScriptedReply {
        let transcript = &openai.conversation.transcript;
        let mut reply = ScriptedReply::default();
        let Some(token) = self.tokens.of_call(&call_sid(transcript.call_number())) else {
            openai.record_violation("it is about a call that has no token");
            return reply;
        };
        let client = McpClient::new(self.address, token);
        let tools = match client.list_tools().await {
            Ok(tools) => tools.into_iter().map(|tool| tool.name).collect::<Vec<_>>(),
            Err(error) => {
                outlast_stop().await;
                openai.record_violation(format!("the tools cannot be listed over MCP: {error}"));
                return reply;
            }
        };
        if tools != asked.tool_names {
            openai.record_violation(format!("MCP lists the tools {tools:?}, and the request {:?}", asked.tool_names));
        }
        let mut input = with_earlier_calls(&asked.input);
        for round in 0..MAX_ROUNDS {
            let decided = agent::decide(&input, &tools, openai.shared.behaviour.habits);
            reply.text.push_str(&decided.text);
            if decided.calls.is_empty() {
                break;
            }
            if !decided.text.is_empty() {
                reply.text.push(' ');
                input.push(ModelInputItem::Assistant(decided.text));
            }
            for (at, (name, arguments)) in decided.calls.into_iter().enumerate() {
                let output = call_tool(transcript, &client, &name, &arguments).await;
                let call_id = format!("call_{round:08}_{at}");
                input.push(ModelInputItem::Call { call_id: call_id.clone(), id: None, name, arguments });
                input.push(ModelInputItem::Output { call_id, output });
            }
            if matches!(input.last(), Some(ModelInputItem::Output { output, .. }) if output.contains("Say nothing")) {
                break;
            }
        }
        reply
    }
}

/// Waits until this answer is stopped, if its call has ended: the token of a call is refused before its answer is stopped.
/// An answer that outlasts it was refused wrongly.
pub(crate) async fn outlast_stop() {
    tokio::time::sleep(STOP_TIMEOUT).await;
}

/// Calls a tool and records the call and its output.
pub(crate) async fn call_tool(transcript: &Transcript, client: &McpClient, name: &str, arguments: &str) -> String {
    transcript.record(TranscriptEvent::ToolCalled { name: name.to_owned(), arguments: arguments.to_owned() });
    let arguments: Value = serde_json::from_str(arguments).unwrap_or_default();
    match client.call_tool(name, &arguments).await {
        Ok(output) => {
            let returned = TranscriptEvent::ToolReturned { name: name.to_owned(), output: output.text.clone() };
            transcript.record(returned);
            transcript.record_evidence("an output over MCP", &output.text);
            if output.is_error != output.text.contains(r#""success":false"#) {
                transcript.record_violation(format!("the tool {name} is marked wrongly as failed or done"));
            }
            output.text
        }
        Err(error) => {
            outlast_stop().await;
            transcript.record_violation(format!("the tool {name} failed over MCP: {error}"));
            String::new()
        }
    }
}

/// The input of a request, with the tool calls of earlier answers where a model that calls tools itself would have them:
/// before the words that followed. The server notes them as developer messages.
pub(crate) fn with_earlier_calls(input: &[ModelInputItem]) -> Vec<ModelInputItem> {
    let mut items: Vec<ModelInputItem> = Vec::new();
    for (number, item) in input.iter().enumerate() {
        let Some((name, output)) = earlier_call(item) else {
            items.push(item.clone());
            continue;
        };
        let words = items.iter().rev().take_while(|item| matches!(item, ModelInputItem::Assistant(_))).count();
        let at = items.len() - words;
        let call_id = format!("mcp_{number:09}");
        let arguments = "{}".to_owned();
        items.insert(at, ModelInputItem::Call { call_id: call_id.clone(), id: None, name, arguments });
        items.insert(at + 1, ModelInputItem::Output { call_id, output });
    }
    items
}

/// The name and the output of a tool that an earlier answer called.
fn earlier_call(item: &ModelInputItem) -> Option<(String, String)> {
    let ModelInputItem::Developer(text) = item else { return None };
    let (name, output) = text.strip_prefix(CALL_NOTE)?.split_once(", which returned: ")?;
    Some((name.to_owned(), output.to_owned()))
}
