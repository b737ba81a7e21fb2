//! The model's turn: the response in flight, its tool calls, and whether a response is owed.

use std::collections::VecDeque;
use std::time::Instant;

use super::event::{ModelRequestId, ToolRunId};
use super::history::{ConversationItem, History, ToolCall};
use super::tool::Tool;
use crate::redact::{DetectedCard, StreamRedactor};

/// The state of the model's turn.
#[derive(Default)]
pub(super) struct ModelTurn {
    request_count: u64,
    run_count: u64,
    /// The response in flight.
    pub(super) response: Option<InFlightResponse>,
    /// Whether the last response has any text.
    pub(super) has_spoken: bool,
    /// Tool calls that have not started. They run one after the other.
    pub(super) waiting_calls: VecDeque<ToolCall>,
    /// Running tools: at most one that the model called, and any that the server started.
    pub(super) runs: Vec<ToolRun>,
    /// Tool outputs since the response began. They go into the history after all of its tool calls.
    tool_outputs: Vec<ConversationItem>,
    /// Other items since the response began. They follow the outputs.
    notes: Vec<ConversationItem>,
    /// Steps of the open payment. They come last, and are dropped once the payment progresses.
    payment_steps: Vec<ConversationItem>,
    /// The model has to respond to something that happened.
    pub(super) response_owed: bool,
    /// The model is not asked before this time: the caller may be about to speak.
    pub(super) hold_until: Option<Instant>,
    /// Responses since the last input of the caller or payment event.
    pub(super) round_count: u32,
}

/// A response in flight.
pub(super) struct InFlightResponse {
    pub(super) id: ModelRequestId,
    /// The history position of the text that is being streamed.
    pub(super) text_position: Option<usize>,
    /// The history position of the last text of this response.
    pub(super) reply_position: Option<usize>,
    /// Redacts the streamed text: digits are held back until they are known not to be a card number.
    pub(super) stream: StreamRedactor,
    /// Reasoning items from this position on are not followed by a tool call yet.
    pub(super) unused_reasoning_from: usize,
    /// The number of tool calls in the response.
    pub(super) call_count: usize,
}

/// A tool that is running.
pub(super) struct ToolRun {
    pub(super) id: ToolRunId,
    /// The `call_id` of the model's tool call; `None` if the server started the tool.
    pub(super) call_id: Option<String>,
    pub(super) tool: Tool,
    /// The caller spoke after the tool was started.
    pub(super) caller_spoke_since: bool,
}

impl ModelTurn {
    /// Begins a response.
    pub(super) fn begin_response(&mut self, history: &History) -> ModelRequestId {
        self.request_count += 1;
        let id = ModelRequestId(self.request_count);
        self.response = Some(InFlightResponse {
            id,
            text_position: None,
            reply_position: None,
            stream: StreamRedactor::default(),
            unused_reasoning_from: history.next_position(),
            call_count: 0,
        });
        self.has_spoken = false;
        self.response_owed = false;
        self.hold_until = None;
        self.round_count += 1;
        id
    }

    /// Begins a run.
    pub(super) fn begin_run(&mut self, call_id: Option<String>, tool: Tool) -> ToolRunId {
        self.run_count += 1;
        let id = ToolRunId(self.run_count);
        self.runs.push(ToolRun { id, call_id, tool, caller_spoke_since: false });
        id
    }

    /// Whether a tool that the model called is running.
    pub(super) fn is_tool_running(&self) -> bool {
        self.runs.iter().any(|run| run.call_id.is_some())
    }

    /// Whether the model must not be asked: a response is in flight, or one of its tool calls has no output.
    pub(super) fn is_busy(&self) -> bool {
        self.response.is_some() || !self.waiting_calls.is_empty() || self.is_tool_running()
    }

    /// Adds the output of a tool call, to which the model then has to respond.
    pub(super) fn push_tool_output(&mut self, call_id: String, output: String) {
        self.tool_outputs.push(ConversationItem::ToolOutput { call_id, output });
        self.response_owed = true;
    }

    /// Adds an item that goes into the history once the tool calls before it have outputs.
    pub(super) fn push_note(&mut self, item: ConversationItem) {
        self.notes.push(item);
    }

    /// Adds a step of the open payment. It is dropped if the payment progresses before the model is asked.
    pub(super) fn push_payment_step(&mut self, item: ConversationItem) {
        self.payment_steps.push(item);
    }

    /// Drops payment steps that the model has not seen: the payment has progressed, so they would mislead it.
    pub(super) fn clear_payment_steps(&mut self) {
        self.payment_steps.clear();
    }

    /// Marks a response as owed, after an input of the caller or a payment event.
    pub(super) fn require_response(&mut self) {
        self.response_owed = true;
        self.round_count = 0;
    }

    /// Removes the parts of a card number that spans several inputs, here and in the history.
    pub(super) fn redact_card(&mut self, card: &DetectedCard, history: &mut History) {
        for item in self.tool_outputs.iter_mut().chain(&mut self.notes) {
            item.redact_card(card, true);
        }
        history.redact_card(card, usize::try_from(card.earlier_inputs()).unwrap_or(usize::MAX));
    }

    /// Moves all pending items into the history. Called only while the turn is not busy.
    pub(super) fn flush_to_history(&mut self, history: &mut History) {
        for item in self.tool_outputs.drain(..).chain(self.notes.drain(..)).chain(self.payment_steps.drain(..)) {
            history.push(item);
        }
    }
}
