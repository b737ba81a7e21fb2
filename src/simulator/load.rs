//! What the load of a benchmark shares with the simulator: the agent, the events of the Responses API, payment sessions and
//! their forms, TwiML and frames. All of it is free of transcripts, which would grow with the load.

use axum::body::Bytes;
use serde_json::Value;

use super::openai;

pub(crate) use super::openai::{Pause, ResponsesRequest, ScriptedReply};
pub(crate) use super::relay::{ApplicationFrame, ConnectVerb, TwimlDocument};
pub(crate) use super::twilio::{
    CallbackForm, CardMask, CommonParameters, CreateForm, FormError, HttpFault, HttpFaultKind, PaymentResult,
    PaymentSession, PaymentSessionState, Quirks, ReportTiming, ResultReport, ScriptedSubmission, UpdateForm,
    WebhookSender,
};

/// An event of a response.
#[derive(Debug)]
pub(crate) struct ResponseEvent {
    /// The pause before it.
    pub(crate) pause: Pause,
    /// As it is sent.
    pub(crate) bytes: Bytes,
    /// The text to speak in it.
    pub(crate) delta: Option<String>,
}

/// Decides what the agent answers to a request.
pub(crate) fn decide(asked: &ResponsesRequest) -> ScriptedReply {
    openai::decide(&asked.input, &asked.tool_names, openai::AgentHabits::default())
}

/// Builds the events of a response.
pub(crate) fn write_response(asked: &ResponsesRequest, reply: &ScriptedReply, model: &str) -> Vec<ResponseEvent> {
    let script = openai::write_response(asked, reply, model, asked.input.len(), false);
    let event = |timed: openai::TimedEvent| {
        let is_text = timed.event["type"] == "response.output_text.delta";
        let delta = timed.event["delta"].as_str().filter(|_| is_text).map(str::to_owned);
        ResponseEvent { pause: timed.pause, bytes: openai::to_server_sent(&timed.event), delta }
    };
    script.events.into_iter().map(event).collect()
}

/// A request whose instructions and tools are as long as those of the built-in assets: the model repeats them in its
/// response.
pub(crate) fn long_request() -> ResponsesRequest {
    let tool = |number: usize| {
        let description = "Does something on the call that the caller has asked for, and says how it went. ".repeat(4);
        serde_json::json!({"type": "function", "name": format!("tool-{number}"), "description": description,
            "parameters": {"type": "object", "properties": {}, "additionalProperties": false}, "strict": true})
    };
    ResponsesRequest {
        model: String::new(),
        instructions: "Answer the caller in one short sentence, and ask what you need to know. ".repeat(160),
        tools: Value::Array((0..16).map(tool).collect()),
        tool_names: Vec::new(),
        input: Vec::new(),
        common_prefix_len: 0,
    }
}
