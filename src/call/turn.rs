//! The model's turn: the response in flight, the tools it called, and whether it owes the caller an answer.

use std::collections::VecDeque;
use std::time::Instant;

use super::event::{RequestId, RunId};
use super::history::{History, Item, ToolCall};
use super::tool::Tool;
use crate::redact::{Card, Stream};

/// The turn of the model.
#[derive(Default)]
pub(super) struct Turn {
    requests: u64,
    runs_begun: u64,
    /// The response in flight.
    pub(super) response: Option<Response>,
    /// Whether the last response said anything.
    pub(super) spoke: bool,
    /// Calls that were made and not begun: they run in order.
    pub(super) waiting: VecDeque<ToolCall>,
    /// Tools that are running: one at most for the model, and what the call runs by itself.
    pub(super) runs: Vec<Run>,
    /// What tools answered since the response began: it follows all of its calls.
    outputs: Vec<Item>,
    /// What else happened meanwhile: it follows the outputs.
    later: Vec<Item>,
    /// Steps of the open payment among them: they come last, and not at all once the payment has moved on.
    steps: Vec<Item>,
    /// Something happened that the model has not answered.
    pub(super) owed: bool,
    /// Not to be asked before this: the caller may be about to speak.
    pub(super) hold: Option<Instant>,
    /// Responses since the caller or the payment last did something.
    pub(super) rounds: u32,
}

/// A response in flight.
pub(super) struct Response {
    pub(super) id: RequestId,
    /// The history position of the words that are being said, while they are.
    pub(super) words: Option<usize>,
    /// The history position of the last words that were said.
    pub(super) reply: Option<usize>,
    /// Words on their way to the caller: digits are held back until it is known that they are no card number.
    pub(super) stream: Stream,
    /// Reasoning from this position on has led to nothing yet.
    pub(super) unused_from: usize,
    /// Tool calls in it.
    pub(super) calls: usize,
}

/// A tool that is running.
pub(super) struct Run {
    pub(super) id: RunId,
    /// The model's call that is to be answered; `None` when the call runs it by itself.
    pub(super) call_id: Option<String>,
    pub(super) tool: Tool,
    /// The caller spoke after it was begun.
    pub(super) overtaken: bool,
}

impl Turn {
    /// Begins a response.
    pub(super) fn ask(&mut self, history: &History) -> RequestId {
        self.requests += 1;
        let id = RequestId(self.requests);
        self.response = Some(Response {
            id,
            words: None,
            reply: None,
            stream: Stream::default(),
            unused_from: history.end(),
            calls: 0,
        });
        self.spoke = false;
        self.owed = false;
        self.hold = None;
        self.rounds += 1;
        id
    }

    /// Begins a run.
    pub(super) fn run(&mut self, call_id: Option<String>, tool: Tool) -> RunId {
        self.runs_begun += 1;
        let id = RunId(self.runs_begun);
        self.runs.push(Run { id, call_id, tool, overtaken: false });
        id
    }

    /// Whether a tool of the model's is running.
    pub(super) fn is_running(&self) -> bool {
        self.runs.iter().any(|run| run.call_id.is_some())
    }

    /// Whether the model may not be asked: it is answering, or a tool of its has not answered.
    pub(super) fn is_busy(&self) -> bool {
        self.response.is_some() || !self.waiting.is_empty() || self.is_running()
    }

    /// Answers a tool call.
    pub(super) fn answer(&mut self, call_id: String, output: String) {
        self.outputs.push(Item::ToolOutput { call_id, output });
        self.owed = true;
    }

    /// Takes something into the history as soon as the calls before it are answered.
    pub(super) fn note(&mut self, item: Item) {
        self.later.push(item);
    }

    /// Tells of a step of the open payment, unless the payment moves on before that can be told.
    pub(super) fn note_step(&mut self, item: Item) {
        self.steps.push(item);
    }

    /// The payment moved on: what was not told of its steps would lead the model astray.
    pub(super) fn forget_steps(&mut self) {
        self.steps.clear();
    }

    /// The caller, or the payment, did something that the model is to answer.
    pub(super) fn wake(&mut self) {
        self.owed = true;
        self.rounds = 0;
    }

    /// Cuts what stands of a card number that came in parts, here and in the history.
    pub(super) fn forget(&mut self, card: &Card, history: &mut History) {
        for item in self.outputs.iter_mut().chain(&mut self.later) {
            item.forget(card, true);
        }
        history.forget(card, usize::try_from(card.inputs()).unwrap_or(usize::MAX));
    }

    /// Brings the history up to date. Only when nothing is running.
    pub(super) fn settle(&mut self, history: &mut History) {
        for item in self.outputs.drain(..).chain(self.later.drain(..)).chain(self.steps.drain(..)) {
            history.push(item);
        }
    }
}
