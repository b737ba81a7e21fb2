//! The conversation history that is sent to the model.

use std::borrow::Cow;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::value::RawValue;

use super::agent_output::reasoning_text;
use crate::redact::{DetectedCard, RedactedJson, has_card_number, redact_card_numbers, redact_json};

/// The maximum size of a history, in bytes of text. Beyond it the oldest turns are dropped.
const MAX_BYTES: usize = 256 * 1024;

/// One item of the conversation.
#[derive(Clone)]
pub(crate) enum ConversationItem {
    /// A message of the server to the model: call details, payment updates. Role `developer`.
    Developer(String),
    /// The caller's words or keys. Role `user`.
    Caller(String),
    /// The part of the agent's words that the caller heard. Role `assistant`.
    Agent(AgentMessage),
    /// A reasoning item of OpenAI's, unchanged.
    Reasoning(Box<RawValue>),
    /// A tool call of the model.
    ToolCall(ToolCall),
    /// The output of a tool: exactly one for each tool call.
    ToolOutput {
        /// The `call_id` of the tool call.
        call_id: String,
        /// JSON text.
        output: String,
    },
}

/// A message of the agent.
#[derive(Clone, PartialEq, Eq, Default)]
pub(crate) struct AgentMessage {
    /// The words.
    pub text: String,
    /// The phase that the model gave the message, which is sent back with it; `None` if it gave none, and for what the
    /// server itself said.
    pub phase: Option<MessagePhase>,
}

/// The phase of an assistant message. OpenAI (gpt-5.3 and later) wants it back in every later request, or the model may
/// take a commentary for its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MessagePhase {
    /// `commentary`: words before or between tool calls.
    Commentary,
    /// `final_answer`.
    FinalAnswer,
}

impl MessagePhase {
    /// Parses the word on the wire; `None` if it is unknown, so that it is not sent back.
    pub(crate) fn from_wire(word: &str) -> Option<Self> {
        [Self::Commentary, Self::FinalAnswer].into_iter().find(|phase| phase.as_str() == word)
    }

    /// The word on the wire.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Commentary => "commentary",
            Self::FinalAnswer => "final_answer",
        }
    }
}

/// Shows the phase, never the words.
impl fmt::Debug for AgentMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentMessage").field("phase", &self.phase).finish_non_exhaustive()
    }
}

impl From<&str> for AgentMessage {
    fn from(text: &str) -> Self {
        Self { text: text.to_owned(), phase: None }
    }
}

/// A tool call as the model made it. It is not validated, except that it contains no card number.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ToolCall {
    /// OpenAI's `call_id`, which the output repeats.
    pub call_id: String,
    /// OpenAI's `id` of the item (`fc_…`); sent back only together with the reasoning item that led to it.
    pub item_id: Option<String>,
    /// The tool's name.
    pub name: String,
    /// JSON text; may be empty or invalid.
    pub arguments: RedactedJson,
}

impl ToolCall {
    /// Creates a tool call without the card numbers of its ids, name and arguments. Nothing sees the arguments before.
    pub(crate) fn new(call_id: String, item_id: Option<String>, name: String, arguments: &str) -> Self {
        let name = if has_card_number(&name) { "unknown".to_owned() } else { name };
        let call_id = if has_card_number(&call_id) { replacement_id() } else { call_id };
        let item_id = item_id.filter(|id| !has_card_number(id));
        Self { call_id, item_id, name, arguments: RedactedJson::new(arguments) }
    }

    /// Removes the parts of a card number that spans several inputs. The id stays, since an output may refer to it.
    pub(super) fn redact_card(&mut self, card: &DetectedCard, is_source: bool) {
        let has_part = |text: &str| matches!(card.redact_from(text, is_source), Cow::Owned(_));
        card.redact_from_json(&mut self.arguments, is_source);
        if has_part(&self.name) {
            "unknown".clone_into(&mut self.name);
        }
        self.item_id.take_if(|id| has_part(id));
    }

    /// Gives the call another id if its own has a part of a card number. Nothing refers to the call yet.
    pub(super) fn replace_card_id(&mut self, card: &DetectedCard) {
        if matches!(card.redact_from(&self.call_id, true), Cow::Owned(_)) {
            self.call_id = replacement_id();
        }
    }
}

/// A new id for a tool call, which no server has given.
fn replacement_id() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    format!("call_removed_{}", COUNT.fetch_add(1, Ordering::Relaxed) % 1_000)
}

/// Who wrote the parts of a card number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CardSource {
    /// The caller, in speech or keys.
    Caller,
    /// The model: what it says, tool calls, reasoning.
    Agent,
}

impl CardSource {
    fn is_input(self, item: Option<&ConversationItem>) -> bool {
        use ConversationItem::{Agent, Caller, Reasoning, ToolCall};
        match self {
            Self::Caller => matches!(item, Some(Caller(_))),
            Self::Agent => matches!(item, Some(Agent(_) | ToolCall(_) | Reasoning(_))),
        }
    }

    /// How many items the last `inputs` inputs are at most, and the present one if it is in the history already. The text
    /// of a response is an item for each message of it.
    fn count_items(self, inputs: usize) -> usize {
        match self {
            Self::Caller => inputs,
            Self::Agent => inputs.saturating_add(1).saturating_mul(4),
        }
    }
}

/// The items of a call, in order. An item keeps its position until it is dropped.
#[derive(Debug, Default)]
pub(super) struct History {
    /// `None` where an item was removed.
    items: Vec<Option<ConversationItem>>,
    dropped_count: usize,
    /// The model's server refuses reasoning items, and the ids that go with them.
    rejects_reasoning: bool,
    /// Items that were left out since the last response that succeeded, with their positions.
    left_out: Vec<(usize, Option<ConversationItem>)>,
}

impl History {
    /// Adds an item, with card numbers removed, and returns its position.
    pub(super) fn push(&mut self, item: ConversationItem) -> usize {
        let item = Some(item.into_redacted()).filter(|item| !(self.rejects_reasoning && item.is_reasoning()));
        self.items.push(item);
        self.dropped_count + self.items.len() - 1
    }

    /// The agent's text at a position, if the item there is [`ConversationItem::Agent`].
    pub(super) fn agent_text_mut(&mut self, position: usize) -> Option<&mut String> {
        match self.items.get_mut(position.checked_sub(self.dropped_count)?) {
            Some(Some(ConversationItem::Agent(message))) => Some(&mut message.text),
            _ => None,
        }
    }

    /// Removes the parts of a card number that spans several inputs of its source. In the last `inputs` of them, and in
    /// what was said between them, even a single digit of it is removed.
    pub(super) fn redact_card(&mut self, card: &DetectedCard, source: CardSource, inputs: usize) {
        let items = self.items.iter().enumerate().rev().filter(|(_, item)| source.is_input(item.as_ref()));
        let since = items.take(source.count_items(inputs)).last().map_or(self.items.len(), |(at, _)| at);
        for (at, item) in self.items.iter_mut().enumerate() {
            item.take_if(|item| !item.redact_card(card, at >= since));
        }
        // What may come back must not bring a part of the number with it.
        for (_, item) in &mut self.left_out {
            item.take_if(|item| !item.redact_card(card, true));
        }
    }

    /// Removes reasoning items from `position` on. No tool call follows them, and the OpenAI API rejects a reasoning
    /// item without the item that follows it.
    pub(super) fn drop_reasoning_since(&mut self, position: usize) {
        let from = position.saturating_sub(self.dropped_count);
        for item in self.items.iter_mut().skip(from) {
            item.take_if(|item| item.is_reasoning());
        }
    }

    /// Removes all reasoning items, and keeps none from now on. Returns whether there was any.
    pub(super) fn drop_all_reasoning(&mut self) -> bool {
        self.rejects_reasoning = true;
        self.items.iter_mut().filter_map(|item| item.take_if(|item| item.is_reasoning())).count() > 0
    }

    /// Leaves out what came last from outside: the words of the caller, or a tool call with its output. A note to the
    /// model stands in its place. All before it was accepted by an earlier response. Returns whether there is such an
    /// item.
    pub(super) fn leave_out_newest_input(&mut self, utterance_note: &str, output_note: &str) -> bool {
        let is_input = |item: &Option<ConversationItem>| {
            matches!(item, Some(ConversationItem::Caller(_) | ConversationItem::ToolOutput { .. }))
        };
        let Some(at) = self.items.iter().rposition(is_input) else { return false };
        match self.items[at].take() {
            Some(ConversationItem::ToolOutput { call_id, output }) => {
                let is_call = |item: &Option<ConversationItem>| matches!(item, Some(ConversationItem::ToolCall(call)) if call.call_id == call_id);
                if let Some(call) = self.items.iter().position(is_call) {
                    self.left_out.push((self.dropped_count + call, self.items[call].take()));
                }
                self.left_out.push((self.dropped_count + at, Some(ConversationItem::ToolOutput { call_id, output })));
                self.items[at] = Some(ConversationItem::Developer(output_note.to_owned()));
            }
            utterance => {
                self.left_out.push((self.dropped_count + at, utterance));
                self.items[at] = Some(ConversationItem::Developer(utterance_note.to_owned()));
            }
        }
        true
    }

    /// Puts back what was left out, since that did not help.
    pub(super) fn restore_left_out(&mut self) {
        for (position, item) in std::mem::take(&mut self.left_out) {
            if let Some(place) = position.checked_sub(self.dropped_count).and_then(|at| self.items.get_mut(at)) {
                *place = item;
            }
        }
    }

    /// Leaves it out for the rest of the call, since that helped.
    pub(super) fn forget_left_out(&mut self) {
        self.left_out.clear();
    }

    /// Drops the oldest turns until half of the text is left. Returns whether any was dropped.
    pub(super) fn drop_older_half(&mut self) -> bool {
        let before = self.dropped_count;
        let bytes: usize = self.items.iter().flatten().map(ConversationItem::text_bytes).sum();
        self.drop_oldest_turns(bytes / 2);
        self.dropped_count > before
    }

    /// The position of the next item.
    pub(super) fn next_position(&self) -> usize {
        self.dropped_count + self.items.len()
    }

    /// Builds the model's input: all items except agent text that is empty, then `last`, which is not stored.
    pub(super) fn build_input(&mut self, last: Option<ConversationItem>) -> Vec<ConversationItem> {
        self.drop_oldest_turns(MAX_BYTES);
        let heard = |item: &&ConversationItem| !matches!(item, ConversationItem::Agent(message) if message.text.trim().is_empty());
        let items = self.items.iter().flatten().filter(heard).cloned();
        move_speech_behind_outputs(items).into_iter().chain(last).collect()
    }

    /// Drops whole turns, from one caller input to the next, until at most `max_bytes` of text are left. The first item,
    /// the call details, stays, and so does the last turn.
    fn drop_oldest_turns(&mut self, max_bytes: usize) {
        let bytes = |items: &[Option<ConversationItem>]| {
            items.iter().flatten().map(ConversationItem::text_bytes).sum::<usize>()
        };
        let mut held = bytes(&self.items);
        while held > max_bytes {
            let next_turn =
                self.items.iter().skip(2).position(|item| matches!(item, Some(ConversationItem::Caller(_))));
            let Some(turn) = next_turn.map(|at| 1..at + 2) else { return };
            held -= bytes(&self.items[turn.clone()]);
            self.dropped_count += turn.len();
            self.items.drain(turn);
        }
    }
}

/// Moves what the agent said while a tool was running behind the output of the tool: servers that render the input as a
/// chat require the outputs to follow their calls directly.
fn move_speech_behind_outputs(items: impl Iterator<Item = ConversationItem>) -> Vec<ConversationItem> {
    let (mut moved, mut waiting, mut spoken) = (Vec::new(), 0_usize, Vec::new());
    for item in items {
        match item {
            ConversationItem::Agent(_) if waiting > 0 => {
                spoken.push(item);
                continue;
            }
            ConversationItem::ToolCall(_) => waiting += 1,
            ConversationItem::ToolOutput { .. } => waiting = waiting.saturating_sub(1),
            _ => {}
        }
        moved.push(item);
        if waiting == 0 {
            moved.append(&mut spoken);
        }
    }
    moved.append(&mut spoken);
    moved
}

impl ConversationItem {
    fn is_reasoning(&self) -> bool {
        matches!(self, Self::Reasoning(_))
    }

    fn into_redacted(self) -> Self {
        match self {
            Self::Developer(text) => Self::Developer(redact_text(text)),
            Self::Caller(text) => Self::Caller(redact_text(text)),
            Self::Agent(message) => Self::Agent(AgentMessage { text: redact_text(message.text), ..message }),
            Self::ToolOutput { call_id, output } => {
                Self::ToolOutput { call_id, output: redact_json(&output).into_owned() }
            }
            // Reasoning is OpenAI's own text; tool calls were redacted when they were created.
            Self::Reasoning(_) | Self::ToolCall(_) => self,
        }
    }

    /// Removes the parts of a card number. `is_source` says whether the item may be an input that contains a part of
    /// it, or repeats one. Returns whether the item is kept.
    pub(super) fn redact_card(&mut self, card: &DetectedCard, is_source: bool) -> bool {
        match self {
            Self::Developer(text) | Self::Caller(text) | Self::Agent(AgentMessage { text, .. }) => {
                cut_card(text, card, is_source);
            }
            Self::ToolOutput { output, .. } => cut_card(output, card, false),
            Self::ToolCall(call) => call.redact_card(card, is_source),
            // It can only be sent back as it is.
            Self::Reasoning(item) => {
                return matches!(card.redact_from(&reasoning_text(item), is_source), Cow::Borrowed(_));
            }
        }
        true
    }

    fn text_bytes(&self) -> usize {
        match self {
            Self::Developer(text) | Self::Caller(text) | Self::Agent(AgentMessage { text, .. }) => text.len(),
            Self::Reasoning(raw) => raw.get().len(),
            Self::ToolCall(call) => call.name.len() + call.arguments.as_str().len(),
            Self::ToolOutput { output, .. } => output.len(),
        }
    }
}

fn redact_text(text: String) -> String {
    match redact_card_numbers(&text) {
        Cow::Borrowed(_) => text,
        Cow::Owned(cut) => cut,
    }
}

fn cut_card(text: &mut String, card: &DetectedCard, is_source: bool) {
    if let Cow::Owned(cut) = card.redact_from(text, is_source) {
        *text = cut;
    }
}

/// Shows the kind of item, never its content.
impl fmt::Debug for ConversationItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Developer(_) => f.write_str("Developer"),
            Self::Caller(_) => f.write_str("Caller"),
            Self::Agent(_) => f.write_str("Agent"),
            Self::Reasoning(_) => f.write_str("Reasoning"),
            Self::ToolCall(call) => write!(f, "{call:?}"),
            Self::ToolOutput { call_id, .. } => write!(f, "ToolOutput({call_id})"),
        }
    }
}

/// Shows the name of the tool, never its arguments.
impl fmt::Debug for ToolCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ToolCall({} {})", self.name, self.call_id)
    }
}
