//! Tool calls of external clients: a flow that drives the call calls its tools over MCP.
//!
//! They run as the model's tool calls do, with the same checks, and one after the other with them. They run even while a
//! response of the model is in flight, since the flow waits for them within its answer. The output goes to the client,
//! and the model does not have to respond to it.

use super::event::{ExternalCallId, ExternalOutput, ModelRequestId};
use super::phase::Phase;
use super::{Action, Call, ToolCall, prompts};
use crate::redact::{Private, redact_json};

impl ExternalOutput {
    /// The output of a tool that did nothing. `message` says why.
    pub(crate) fn refusal(message: &str) -> Self {
        Self::new(&prompts::refusal(message))
    }

    fn new(output: &str) -> Self {
        let json = Private::new(redact_json(output).into_owned());
        Self { json, is_error: prompts::is_refusal(output) }
    }
}

impl Call {
    /// Queues a tool call, or refuses it if the call cannot perform it, or if it belongs to the answer to an earlier
    /// request.
    pub(super) fn accept_external_call(&mut self, id: ExternalCallId, request: Option<ModelRequestId>, call: ToolCall) {
        let queued = match self.phase {
            _ if request.is_some_and(|request| !self.turn.is_latest_request(request)) => {
                Err(prompts::ANSWER_INTERRUPTED)
            }
            Phase::Live | Phase::Closing(_) => {
                let call = self.redact_tool_call(call);
                self.turn.queue_external_call(id, call)
            }
            Phase::Parked { .. } => Err(prompts::CALLER_NOT_CONNECTED),
            Phase::EndSent { .. } | Phase::Ended { .. } => Err(prompts::CALL_IS_OVER),
        };
        if let Err(reason) = queued {
            self.return_output(id, &prompts::refusal(reason));
        }
    }

    /// Stops the model's response and drops the tool calls that have not started. Their external clients get `reason`.
    pub(super) fn stop_turn(&mut self, reason: &str) {
        let stopped = self.turn.stop(&mut self.history, self.now);
        if stopped.had_response {
            self.emit(Action::StopModel);
        }
        for id in stopped.dropped_calls {
            self.return_output(id, &prompts::refusal(reason));
        }
    }

    /// Returns the output of a tool to the external client that called it.
    pub(super) fn return_output(&mut self, id: ExternalCallId, output: &str) {
        self.emit(Action::ReturnToolOutput { id, output: ExternalOutput::new(output) });
    }
}
