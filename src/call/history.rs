//! The conversation history that is sent to the model.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::value::RawValue;

use super::agent_output::reasoning_text;
use super::prompts;
use super::resume::complete_tool_calls;
use crate::redact::{CardParts, DetectedCard, RedactedJson, has_card_number, redact_card_numbers, redact_json};

/// The maximum size of a history, in bytes of JSON. Beyond it the oldest turns are left out. While a request is sent it is
/// held twice: here, shared with the request's input, and as the request's body.
const MAX_BYTES: usize = 2 * 1024 * 1024;

/// How much of a history is searched for the parts of a card number, in bytes of text.
pub(super) const MAX_SEARCHED_BYTES: usize = 32 * 1024;

/// After this much was added the size is checked, also if the model is not asked, in bytes of JSON.
const CHECK_INTERVAL_BYTES: usize = MAX_BYTES / 4;

/// The maximum size of the server's messages that are kept of turns that are left out, in bytes.
const MAX_PINNED_BYTES: usize = 64 * 1024;

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

    /// Removes the parts of card numbers that span several inputs. The id stays, since an output may refer to it.
    pub(super) fn redact_parts(&mut self, parts: &CardParts<'_>) {
        parts.redact_json(&mut self.arguments);
        if parts.are_in(&self.name) {
            "unknown".clone_into(&mut self.name);
        }
        self.item_id.take_if(|id| parts.are_in(id));
    }

    /// Gives the call another id if its own has a part of a card number. Nothing refers to the call yet.
    pub(super) fn replace_card_id(&mut self, parts: &CardParts<'_>) {
        if parts.are_in(&self.call_id) {
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
    fn count_items(self, inputs: u64) -> usize {
        let inputs = usize::try_from(inputs).unwrap_or(usize::MAX);
        match self {
            Self::Caller => inputs,
            Self::Agent => inputs.saturating_add(1).saturating_mul(4),
        }
    }
}

/// The items of a call, in order. An item keeps its position until its turn is left out. The inputs of requests share the
/// items; one that changes meanwhile is copied.
#[derive(Debug, Default)]
pub(super) struct History {
    /// Of the turns that were left out: the call details, which begin the history, and the later messages of the server.
    pinned: Vec<(usize, Arc<ConversationItem>)>,
    /// `None` where an item was removed.
    items: Vec<Option<Arc<ConversationItem>>>,
    dropped_count: usize,
    /// The number of turns that were left out.
    left_out_turns: usize,
    /// The size of what was added since the last check, in bytes of JSON.
    unchecked_bytes: usize,
    /// The model's server refuses reasoning items, and the ids that go with them.
    rejects_reasoning: bool,
    /// Items that were left out since the last response that succeeded, with their positions.
    left_out: Vec<(usize, Option<Arc<ConversationItem>>)>,
}

impl History {
    /// Restores a history of which these items are known, in order.
    pub(super) fn restore(items: Vec<ConversationItem>, left_out_turns: usize) -> Self {
        let mut history = Self { left_out_turns, ..Self::default() };
        for item in complete_tool_calls(items) {
            history.push(item);
        }
        history
    }

    /// Adds an item, with card numbers removed, and returns its position.
    pub(super) fn push(&mut self, item: ConversationItem) -> usize {
        let item = Some(item.into_redacted()).filter(|item| !(self.rejects_reasoning && item.is_reasoning()));
        self.unchecked_bytes += item.as_ref().map_or(0, ConversationItem::json_bytes);
        self.items.push(item.map(Arc::new));
        let position = self.dropped_count + self.items.len() - 1;
        if self.unchecked_bytes > CHECK_INTERVAL_BYTES {
            self.leave_out_turns(MAX_BYTES);
        }
        position
    }

    /// The agent's text at a position, if the item there is [`ConversationItem::Agent`].
    pub(super) fn agent_text(&self, position: usize) -> Option<&str> {
        match &**self.items.get(position.checked_sub(self.dropped_count)?)?.as_ref()? {
            ConversationItem::Agent(message) => Some(&message.text),
            _ => None,
        }
    }

    /// The same, to change it.
    pub(super) fn agent_text_mut(&mut self, position: usize) -> Option<&mut String> {
        match Arc::make_mut(self.items.get_mut(position.checked_sub(self.dropped_count)?)?.as_mut()?) {
            ConversationItem::Agent(message) => Some(&mut message.text),
            _ => None,
        }
    }

    /// Removes the parts of card numbers that span several inputs of their source. In the inputs that a number came from,
    /// and in what was said between them, even a single digit of it is removed. Parts are searched for in the newest
    /// [`MAX_SEARCHED_BYTES`], whatever the size of the history: what is older came from no input that still counts.
    pub(super) fn redact_cards(&mut self, cards: &[DetectedCard], source: CardSource) {
        if cards.is_empty() {
            return;
        }
        let inputs = self.items.iter().filter(|item| source.is_input(item.as_deref())).count();
        let (mut newer, mut room) = (0, MAX_SEARCHED_BYTES);
        for slot in self.items.iter_mut().rev() {
            let is_input = source.is_input(slot.as_deref());
            let Some(item) = slot else { continue };
            // The inputs from the newest to this item, or to the next older one.
            let rank = newer + 1;
            newer += usize::from(is_input);
            let is_among = is_input || newer < inputs;
            let said = |card: &DetectedCard| is_among && rank <= source.count_items(card.earlier_inputs());
            let bytes = item.text_bytes();
            if !Arc::make_mut(item).redact_parts(&CardParts::new(cards, said), room) {
                *slot = None;
            }
            room = room.saturating_sub(bytes);
            if room == 0 {
                break;
            }
        }
        // What may come back must not bring a part of the number with it.
        for (_, item) in self.left_out.iter_mut().rev() {
            let Some(left) = item else { continue };
            let bytes = left.text_bytes();
            if bytes > room || !Arc::make_mut(left).redact_parts(&CardParts::new(cards, |_| true), room) {
                *item = None;
            }
            room = room.saturating_sub(bytes);
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
        use ConversationItem::{Caller, Developer, ToolCall, ToolOutput};
        let is_input = |item: &Option<Arc<_>>| matches!(item.as_deref(), Some(Caller(_) | ToolOutput { .. }));
        let Some(at) = self.items.iter().rposition(is_input) else { return false };
        let input = self.items[at].take();
        let mut note = utterance_note;
        if let Some(ToolOutput { call_id, .. }) = input.as_deref() {
            note = output_note;
            let is_call =
                |item: &Option<Arc<_>>| matches!(item.as_deref(), Some(ToolCall(call)) if call.call_id == *call_id);
            if let Some(call) = self.items.iter().position(is_call) {
                self.left_out.push((self.dropped_count + call, self.items[call].take()));
            }
        }
        self.left_out.push((self.dropped_count + at, input));
        self.items[at] = Some(Arc::new(Developer(note.to_owned())));
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

    /// Leaves out the oldest turns until half of the text is left. Returns whether there was any.
    pub(super) fn drop_older_half(&mut self) -> bool {
        let before = self.dropped_count;
        self.leave_out_turns(self.json_bytes() / 2);
        self.dropped_count > before
    }

    /// The position of the next item.
    pub(super) fn next_position(&self) -> usize {
        self.dropped_count + self.items.len()
    }

    /// Builds the model's input: all items except agent text that is empty, then `last`, which is not stored. Where turns
    /// were left out a message says how many.
    pub(super) fn build_input(&mut self, last: Option<ConversationItem>) -> Vec<Arc<ConversationItem>> {
        self.shrink(MAX_BYTES);
        let heard =
            |item: &&Arc<_>| !matches!(&***item, ConversationItem::Agent(message) if message.text.trim().is_empty());
        let note = || Arc::new(ConversationItem::Developer(prompts::turns_left_out(self.left_out_turns)));
        let note = (self.left_out_turns > 0 || self.dropped_count > 0).then(note);
        let items = self.items.iter().flatten().filter(heard).cloned();
        let items = self.pinned.iter().map(|(_, item)| item.clone()).chain(note).chain(items);
        move_speech_behind_outputs(items).into_iter().chain(last.map(Arc::new)).collect()
    }

    /// All items by their positions, in order.
    pub(super) fn items(&self) -> impl Iterator<Item = (usize, &Arc<ConversationItem>)> {
        let kept = self.items.iter().enumerate();
        let kept = kept.filter_map(|(at, item)| Some((self.dropped_count + at, item.as_ref()?)));
        self.pinned.iter().map(|(position, item)| (*position, item)).chain(kept)
    }

    /// The number of turns that were left out.
    pub(super) fn left_out_turns(&self) -> usize {
        self.left_out_turns
    }

    /// Whether the agent has answered all that was said, and the outputs of its tools.
    pub(super) fn ends_with_answer(&self) -> bool {
        let answers = self.items.iter().rev().flatten().find_map(|item| match &**item {
            ConversationItem::Agent(message) if message.text.trim().is_empty() => None,
            ConversationItem::Agent(_) => Some(true),
            ConversationItem::Caller(_) | ConversationItem::ToolCall(_) | ConversationItem::ToolOutput { .. } => {
                Some(false)
            }
            ConversationItem::Developer(_) | ConversationItem::Reasoning(_) => None,
        });
        answers.unwrap_or(true)
    }

    /// The size of all items, in bytes of JSON.
    fn json_bytes(&self) -> usize {
        self.items().map(|(_, item)| item.json_bytes()).sum()
    }

    /// Makes the history at most `max_bytes` large, if that can be had: leaves out the oldest turns, then the content
    /// of the oldest tool calls of the last turn, then what is before the server's last message.
    fn shrink(&mut self, max_bytes: usize) {
        if self.json_bytes() <= max_bytes {
            return;
        }
        self.leave_out_turns(max_bytes);
        self.empty_tool_calls(max_bytes);
        let is_message =
            |item: &ConversationItem| matches!(item, ConversationItem::Caller(_) | ConversationItem::Developer(_));
        self.leave_out_until(max_bytes, is_message);
    }

    /// Leaves out whole turns, from one caller input to the next. The last turn stays.
    fn leave_out_turns(&mut self, max_bytes: usize) {
        self.leave_out_until(max_bytes, |item| matches!(item, ConversationItem::Caller(_)));
    }

    /// Leaves out the oldest items up to one that begins a turn, as often as it takes. The call details and the server's
    /// messages stay, since they state what became of payments. What is before such an item is complete: no tool call
    /// without its output, no reasoning without its call.
    fn leave_out_until(&mut self, max_bytes: usize, begins_turn: impl Fn(&ConversationItem) -> bool) {
        self.unchecked_bytes = 0;
        let mut held = self.json_bytes();
        while held > max_bytes {
            let is_server = |item: &ConversationItem| matches!(item, ConversationItem::Developer(_));
            let Some(first) = self.items.iter().position(|item| item.as_ref().is_some_and(|item| !is_server(item)))
            else {
                return;
            };
            let begins = |item: &Option<Arc<_>>| item.as_deref().is_some_and(&begins_turn);
            let Some(length) = self.items.iter().skip(first + 1).position(begins) else { return };
            for slot in self.items.drain(..=first + length) {
                let position = self.dropped_count;
                self.dropped_count += 1;
                let Some(item) = slot else { continue };
                if is_server(&item) {
                    self.pinned.push((position, item));
                } else {
                    held -= item.json_bytes();
                    self.left_out_turns += usize::from(matches!(*item, ConversationItem::Caller(_)));
                }
            }
            held -= self.unpin_oldest();
        }
    }

    /// Leaves out the oldest messages of the server above [`MAX_PINNED_BYTES`], except the call details. Returns their
    /// size.
    fn unpin_oldest(&mut self) -> usize {
        let sizes: Vec<usize> = self.pinned.iter().skip(1).map(|(_, item)| item.json_bytes()).collect();
        let (mut excess, mut count, mut removed) = (sizes.iter().sum::<usize>(), 0, 0);
        for size in sizes {
            if excess <= MAX_PINNED_BYTES {
                break;
            }
            excess -= size;
            removed += size;
            count += 1;
        }
        self.pinned.drain(1..=count).for_each(drop);
        removed
    }

    /// Empties the oldest tool calls and outputs, and removes the reasoning that led to them. Each call keeps an output.
    fn empty_tool_calls(&mut self, max_bytes: usize) {
        let mut held = self.json_bytes();
        for slot in &mut self.items {
            if held <= max_bytes {
                return;
            }
            let Some(item) = slot else { continue };
            let before = item.json_bytes();
            match Arc::make_mut(item) {
                ConversationItem::Reasoning(_) => *slot = None,
                ConversationItem::ToolCall(call) => call.arguments = RedactedJson::new("{}"),
                ConversationItem::ToolOutput { output, .. } => *output = prompts::output_left_out(),
                ConversationItem::Developer(_) | ConversationItem::Caller(_) | ConversationItem::Agent(_) => {}
            }
            held = (held + slot.as_ref().map_or(0, |item| item.json_bytes())).saturating_sub(before);
        }
    }
}

/// Moves what the agent said while a tool was running behind the output of the tool: servers that render the input as a
/// chat require the outputs to follow their calls directly.
fn move_speech_behind_outputs(items: impl Iterator<Item = Arc<ConversationItem>>) -> Vec<Arc<ConversationItem>> {
    let (mut moved, mut waiting, mut spoken) = (Vec::new(), 0_usize, Vec::new());
    for item in items {
        match *item {
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

    /// Removes the parts of card numbers from the last `max_bytes` of the text, and returns whether the item can stay: a
    /// reasoning item can only be sent back as it is.
    pub(super) fn redact_parts(&mut self, parts: &CardParts<'_>, max_bytes: usize) -> bool {
        match self {
            Self::Developer(text)
            | Self::Caller(text)
            | Self::Agent(AgentMessage { text, .. })
            | Self::ToolOutput { output: text, .. } => parts.redact_end(text, max_bytes),
            Self::ToolCall(call) if call.arguments.as_str().len() <= max_bytes => call.redact_parts(parts),
            Self::ToolCall(_) => {}
            Self::Reasoning(item) => return item.get().len() > max_bytes || !parts.are_in(&reasoning_text(item)),
        }
        true
    }

    /// The size of the text, in bytes.
    fn text_bytes(&self) -> usize {
        match self {
            Self::Developer(text) | Self::Caller(text) | Self::Agent(AgentMessage { text, .. }) => text.len(),
            Self::ToolOutput { output, .. } => output.len(),
            Self::ToolCall(call) => call.name.len() + call.arguments.as_str().len(),
            Self::Reasoning(item) => item.get().len(),
        }
    }

    /// The size of the item as JSON, in bytes: its text with escapes, and its members.
    pub(crate) fn json_bytes(&self) -> usize {
        /// More than the names, quotes and ids of any item.
        const MEMBERS: usize = 160;
        let text = match self {
            Self::Developer(text) | Self::Caller(text) | Self::Agent(AgentMessage { text, .. }) => escaped_bytes(text),
            Self::Reasoning(raw) => raw.get().len(),
            Self::ToolCall(call) => call.name.len() + call.call_id.len() + escaped_bytes(call.arguments.as_str()),
            Self::ToolOutput { output, call_id } => call_id.len() + escaped_bytes(output),
        };
        MEMBERS + text
    }
}

/// The size of a text within a JSON string, in bytes.
fn escaped_bytes(text: &str) -> usize {
    let bytes = text.bytes().map(|byte| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' => 2,
        0..0x20 => 6,
        _ => 1,
    });
    bytes.sum()
}

fn redact_text(text: String) -> String {
    match redact_card_numbers(&text) {
        Cow::Borrowed(_) => text,
        Cow::Owned(cut) => cut,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redact::Redactor;
    use proptest::prelude::*;

    #[test]
    fn parts_of_a_card_number_are_searched_for_in_the_newest_texts() {
        let mut history = History::default();
        let words = format!("4242 {}", "x ".repeat(512));
        for _ in 0..200 {
            history.push(ConversationItem::Caller(words.clone()));
        }
        let cards = Redactor::default().find_cards("4242 4242 4242 4242");
        history.redact_cards(&cards, CardSource::Caller);
        let input = history.build_input(None);
        let kept = texts(&input).iter().filter(|text| text.starts_with("4242")).count();
        let searched = MAX_SEARCHED_BYTES / words.len();
        assert!(kept.abs_diff(200 - searched) <= 1, "{kept}");
        assert!(texts(&input).iter().rev().take(searched).all(|text| !text.contains("4242")));
    }

    fn output(call_id: &str, bytes: usize) -> ConversationItem {
        ConversationItem::ToolOutput { call_id: call_id.to_owned(), output: "x".repeat(bytes) }
    }

    fn tool_call(call_id: &str, bytes: usize) -> ConversationItem {
        let arguments = format!(r#"{{"a":"{}"}}"#, "x".repeat(bytes));
        ConversationItem::ToolCall(ToolCall::new(call_id.to_owned(), None, "look-up".to_owned(), &arguments))
    }

    fn caller(text: &str) -> ConversationItem {
        ConversationItem::Caller(text.to_owned())
    }

    fn developer(text: &str) -> ConversationItem {
        ConversationItem::Developer(text.to_owned())
    }

    fn total(input: &[Arc<ConversationItem>]) -> usize {
        input.iter().map(|item| item.json_bytes()).sum()
    }

    fn texts(input: &[Arc<ConversationItem>]) -> Vec<&str> {
        input
            .iter()
            .filter_map(|item| match &**item {
                ConversationItem::Developer(text) | ConversationItem::Caller(text) => Some(text.as_str()),
                _ => None,
            })
            .collect()
    }

    /// Whether each tool call has exactly one output, which follows it.
    fn is_paired(input: &[Arc<ConversationItem>]) -> bool {
        let mut open = Vec::new();
        for item in input {
            match &**item {
                ConversationItem::ToolCall(call) => open.push(&call.call_id),
                ConversationItem::ToolOutput { call_id, .. } => {
                    let Some(at) = open.iter().position(|id| *id == call_id) else { return false };
                    open.remove(at);
                }
                _ => {}
            }
        }
        open.is_empty()
    }

    #[test]
    fn the_oldest_turns_are_left_out_with_a_message_that_says_how_many() {
        let mut history = History::default();
        history.push(developer("The call began."));
        for turn in 0..300 {
            history.push(caller(&format!("turn {turn}")));
            let id = format!("call_{turn}");
            history.push(tool_call(&id, 100));
            history.push(output(&id, 16 * 1024));
            if turn == 1 {
                history.push(developer("The payment of 25.00 USD succeeded."));
            }
            history.push(ConversationItem::Agent("Well.".into()));
        }
        let input = history.build_input(None);
        assert!(total(&input) <= MAX_BYTES && total(&input) > MAX_BYTES / 2, "{}", total(&input));
        assert!(is_paired(&input));
        let texts = texts(&input);
        let left_out = 300 - texts.iter().filter(|text| text.starts_with("turn ")).count();
        assert_eq!(texts[..2], ["The call began.", "The payment of 25.00 USD succeeded."], "facts about payments stay");
        assert_eq!(texts[2], prompts::turns_left_out(left_out));
        assert_eq!((texts[3], *texts.last().unwrap()), (&*format!("turn {left_out}"), "turn 299"));
    }

    #[test]
    fn requests_share_the_items_and_keep_what_changes_later() {
        let mut history = History::default();
        history.push(caller("Look."));
        let said = history.push(ConversationItem::Agent("I am looking.".into()));
        let (first, second) = (history.build_input(None), history.build_input(None));
        assert!(first.iter().zip(&second).all(|(first, second)| Arc::ptr_eq(first, second)));
        history.agent_text_mut(said).unwrap().truncate(4);
        let third = history.build_input(None);
        assert!(Arc::ptr_eq(&first[0], &third[0]));
        let said = |input: &[Arc<ConversationItem>]| match &*input[1] {
            ConversationItem::Agent(message) => message.text.clone(),
            other => panic!("{other:?}"),
        };
        assert_eq!((&*said(&first), &*said(&third)), ("I am looking.", "I am"));
    }

    #[test]
    fn a_last_turn_that_is_too_long_loses_the_content_of_its_oldest_tool_calls() {
        let mut history = History::default();
        history.push(developer("The call began."));
        history.push(caller("Look."));
        for number in 0..20 {
            let id = format!("call_{number}");
            history.push(tool_call(&id, 200 * 1024));
            history.push(output(&id, 16 * 1024));
        }
        let input = history.build_input(None);
        assert!(total(&input) <= MAX_BYTES, "{}", total(&input));
        assert!(is_paired(&input));
        assert_eq!(input.len(), 42, "nothing is left out whole");
        let Some(ConversationItem::ToolOutput { output, .. }) = input.last().map(|item| &**item) else {
            panic!("the last output")
        };
        assert_eq!(output.len(), 16 * 1024, "the newest stays as it is");
    }

    #[test]
    fn messages_of_the_server_are_kept_up_to_a_limit() {
        let mut history = History::default();
        history.push(developer("The call began."));
        for turn in 0..2000 {
            history.push(caller(&"y".repeat(4000)));
            history.push(developer(&format!("{turn} {}", "z".repeat(1000))));
        }
        let input = history.build_input(None);
        let texts = texts(&input);
        assert!(total(&input) <= MAX_BYTES && texts[0] == "The call began.");
        assert!(!texts.iter().any(|text| text.starts_with("7 ")) && texts.last().unwrap().starts_with("1999 "));
        assert!(history.json_bytes() <= MAX_BYTES && history.items.len() < 1200, "{}", history.items.len());
    }

    proptest! {
        /// Whatever the sizes and the order: within the limit, paired, and the newest input is there.
        #[test]
        fn a_history_is_bounded_and_consistent(
            turns in prop::collection::vec((0..4_usize, 0..3_000_usize, any::<bool>()), 1..40),
        ) {
            const LIMIT: usize = 30_000;
            let mut history = History::default();
            history.push(developer("The call began."));
            for (turn, (calls, bytes, is_event)) in turns.iter().enumerate() {
                history.push(if *is_event { developer("An event.") } else { caller("Hm.") });
                for call in 0..*calls {
                    history.push(tool_call(&format!("call_{turn}_{call}"), bytes / 10));
                }
                for call in 0..*calls {
                    history.push(output(&format!("call_{turn}_{call}"), *bytes));
                }
                let position = history.push(ConversationItem::Agent("Well.".into()));
                prop_assert_eq!(history.agent_text_mut(position).map(|text| text.as_str()), Some("Well."));
            }
            history.shrink(LIMIT);
            let input = history.build_input(None);
            prop_assert!(total(&input) <= LIMIT + 400, "{}", total(&input));
            prop_assert!(is_paired(&input));
            prop_assert_eq!(texts(&input)[0], "The call began.");
        }
    }

    #[test]
    fn the_size_of_an_item_is_that_of_its_json() {
        for text in ["plain", "\"quoted\"\n", "\u{1}\u{1f}", "\u{e9}\\"] {
            assert_eq!(escaped_bytes(text) + 2, serde_json::to_string(text).unwrap().len(), "{text:?}");
        }
    }
}
