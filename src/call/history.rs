//! What was said so far, as the model is to see it.

use std::borrow::Cow;
use std::fmt;

use serde_json::value::RawValue;

use crate::redact::{Card, ShieldedJson, has_card_number, json_without_card_numbers, without_card_numbers};

/// What a history may hold in bytes of text; beyond it the oldest turns are forgotten.
const MAX_BYTES: usize = 256 * 1024;

/// One item of the conversation.
#[derive(Clone)]
pub enum Item {
    /// From this program to the model: call details, what the payment did. Role `developer`.
    Developer(String),
    /// What the caller said. Role `user`.
    Caller(String),
    /// What the caller heard of the agent. Role `assistant`.
    Agent(String),
    /// A reasoning item, as OpenAI wrote it.
    Reasoning(Box<RawValue>),
    /// The model called a tool.
    ToolCall(ToolCall),
    /// What the tool answered: exactly one for each call.
    ToolOutput {
        /// The call's.
        call_id: String,
        /// JSON text.
        output: String,
    },
}

/// A tool call as the model made it: nothing in it is checked but that it holds no card number.
#[derive(Clone, PartialEq, Eq)]
pub struct ToolCall {
    /// OpenAI's `call_id`, which the output repeats.
    pub call_id: String,
    /// OpenAI's `id` of the item (`fc_…`); sent back only together with the reasoning item that led to it.
    pub item_id: Option<String>,
    /// The tool's name.
    pub name: String,
    /// JSON text; may be empty or broken.
    pub arguments: ShieldedJson,
}

impl ToolCall {
    /// A call with the arguments that the model wrote. This is the one place where they are checked: nobody sees them before.
    pub fn new(call_id: String, item_id: Option<String>, name: String, arguments: &str) -> Self {
        let name = if has_card_number(&name) { "unknown".to_owned() } else { name };
        Self { call_id, item_id, name, arguments: ShieldedJson::new(arguments) }
    }
}

/// The items of a call, in order. An item keeps its position for as long as it is remembered.
#[derive(Debug, Default)]
pub(super) struct History {
    /// `None` where something was taken out.
    items: Vec<Option<Item>>,
    forgotten: usize,
}

impl History {
    /// Adds an item and tells its position. Whatever it is and wherever it comes from, no card number stands in it.
    pub(super) fn push(&mut self, item: Item) -> usize {
        self.items.push(Some(item.shielded()));
        self.forgotten + self.items.len() - 1
    }

    /// The agent's words at a position, if that is what stands there.
    pub(super) fn agent_mut(&mut self, position: usize) -> Option<&mut String> {
        match self.items.get_mut(position.checked_sub(self.forgotten)?) {
            Some(Some(Item::Agent(words))) => Some(words),
            _ => None,
        }
    }

    /// Cuts what stands of a card number that came in parts; in the last `inputs` that the caller made even a digit of it.
    pub(super) fn forget(&mut self, card: &Card, inputs: usize) {
        let is_input = |item: &Option<Item>| matches!(item, Some(Item::Caller(_)));
        let inputs = self.items.iter().enumerate().rev().filter(|(_, item)| is_input(item)).take(inputs);
        let since = inputs.last().map_or(self.items.len(), |(at, _)| at);
        for (at, item) in self.items.iter_mut().enumerate() {
            if let Some(item) = item {
                item.forget(card, at >= since);
            }
        }
    }

    /// Takes out the reasoning that was pushed from `position` on: what it led to was never finished or was only
    /// said, and the API refuses reasoning without what follows it.
    pub(super) fn drop_reasoning_since(&mut self, position: usize) {
        let from = position.saturating_sub(self.forgotten);
        for item in self.items.iter_mut().skip(from) {
            item.take_if(|item| matches!(item, Item::Reasoning(_)));
        }
    }

    /// Where the next item will stand.
    pub(super) fn end(&self) -> usize {
        self.forgotten + self.items.len()
    }

    /// Everything for the model, without words that nobody heard; `last` is shown behind it and not remembered.
    pub(super) fn input(&mut self, last: Option<Item>) -> Vec<Item> {
        self.forget_oldest();
        let heard = |item: &&Item| !matches!(item, Item::Agent(words) if words.trim().is_empty());
        self.items.iter().flatten().filter(heard).cloned().chain(last).collect()
    }

    /// Forgets whole turns, from one thing the caller said to the next, until the rest fits; the first item, the
    /// call's details, stays.
    fn forget_oldest(&mut self) {
        let bytes = |items: &[Option<Item>]| items.iter().flatten().map(Item::len).sum::<usize>();
        let mut held = bytes(&self.items);
        while held > MAX_BYTES {
            let next_turn = self.items.iter().skip(2).position(|item| matches!(item, Some(Item::Caller(_))));
            let Some(turn) = next_turn.map(|at| 1..at + 2) else { return };
            held -= bytes(&self.items[turn.clone()]);
            self.forgotten += turn.len();
            self.items.drain(turn);
        }
    }
}

impl Item {
    fn shielded(self) -> Self {
        match self {
            Self::Developer(text) => Self::Developer(shielded(text)),
            Self::Caller(text) => Self::Caller(shielded(text)),
            Self::Agent(text) => Self::Agent(shielded(text)),
            Self::ToolOutput { call_id, output } => {
                Self::ToolOutput { call_id, output: json_without_card_numbers(&output).into_owned() }
            }
            // OpenAI's own, and what was shielded when it came.
            Self::Reasoning(_) | Self::ToolCall(_) => self,
        }
    }

    /// Cuts what stands of a card number; `said` is whether this may be an input of which it was made.
    pub(super) fn forget(&mut self, card: &Card, said: bool) {
        match self {
            Self::Developer(text) | Self::Caller(text) => cut(text, card, said),
            Self::Agent(text) | Self::ToolOutput { output: text, .. } => cut(text, card, false),
            Self::ToolCall(call) => card.cut_from_json(&mut call.arguments),
            Self::Reasoning(_) => {}
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Developer(text) | Self::Caller(text) | Self::Agent(text) => text.len(),
            Self::Reasoning(raw) => raw.get().len(),
            Self::ToolCall(call) => call.name.len() + call.arguments.as_str().len(),
            Self::ToolOutput { output, .. } => output.len(),
        }
    }
}

fn shielded(text: String) -> String {
    match without_card_numbers(&text) {
        Cow::Borrowed(_) => text,
        Cow::Owned(cut) => cut,
    }
}

fn cut(text: &mut String, card: &Card, said: bool) {
    if let Cow::Owned(cut) = card.cut_from(text, said) {
        *text = cut;
    }
}

/// The kind of item and nothing of what it says.
impl fmt::Debug for Item {
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

/// The name of the tool and nothing of its arguments.
impl fmt::Debug for ToolCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ToolCall({} {})", self.name, self.call_id)
    }
}
