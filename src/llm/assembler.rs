//! Assembles a response from its events: what is said, and which tools are called.
//!
//! The text of a message may stand in deltas, in `done` events, in the item and in the final snapshot, and the same
//! holds for a function call. Everything is kept by item, so that only what was not said is said, and each call is
//! passed on once, when it is complete.

mod call;
mod message;

use std::borrow::Cow;
use std::collections::VecDeque;

use serde_json::value::RawValue;

use super::event::{ItemKey, MAX_ITEMS, ResponseSnapshot, StreamEvent};
use super::item::{CallItem, OutputItem};
use crate::call::{MessagePhase, ModelEvent, ModelRequestId, ToolCall};
use crate::redact::Private;
use call::PendingCall;
use message::PendingMessage;

/// The state of a response that is being received.
pub(super) struct ResponseAssembler {
    request: ModelRequestId,
    items: Vec<Item>,
    /// The calls that were passed on.
    calls: Vec<ToolCall>,
    /// Reasoning items that precede a function call that has not arrived yet. Without a call the API rejects them.
    pending_reasoning: Vec<Box<RawValue>>,
    /// The ids of the reasoning items that have arrived.
    seen_reasoning: Vec<String>,
    /// The size of the reasoning items that have arrived, in bytes.
    reasoning_bytes: usize,
    /// Whether the next function call follows reasoning items that were passed on.
    follows_reasoning: bool,
    sequence: SequenceNumbers,
    /// The number of events that began or ended an item.
    item_events: u64,
    /// The server leaves out the beginning of reasoning in the text of a message.
    may_begin_in_reasoning: bool,
    /// The size of the text that was passed on, in bytes.
    text_bytes: usize,
    /// The message that was said last, and whether its text ends in white space.
    last_said: Option<(usize, bool)>,
    events: VecDeque<ModelEvent>,
}

/// The maximum size of the text of a response, in bytes: more than an hour of speech.
const MAX_TEXT_BYTES: usize = 64 * 1024;

/// The maximum size of the tool calls of a response, in bytes: their arguments, names and ids.
const MAX_CALLS_BYTES: usize = 256 * 1024;

/// The maximum size of all that is kept of a response, in bytes: its text with reasoning that stands in it, and its
/// reasoning items.
const MAX_KEPT_BYTES: usize = 1024 * 1024;

/// The number of words that decide whether a text was said already.
const COMPARED_WORDS: usize = 32;

/// How much of what was said is compared with them, in bytes.
const COMPARED_BYTES: usize = 8 * 1024;

/// The maximum number of events that begin or end items. Each is compared with all others.
const MAX_ITEM_EVENTS: u64 = 4 * MAX_ITEMS;

/// An item of the output that is a message or a function call.
struct Item {
    /// The id with which it began.
    id: Option<String>,
    /// The id with which it was done, if that is another one.
    done_id: Option<String>,
    index: Option<u64>,
    /// `response.output_item.done` has arrived.
    is_done: bool,
    /// The snapshot has the item.
    is_in_snapshot: bool,
    content: Content,
}

enum Content {
    Message(PendingMessage),
    Call(PendingCall),
}

/// How the events of a response end.
pub(super) enum StreamEnd<'a> {
    /// By a terminal event, or a whole response as JSON.
    Snapshot(ResponseSnapshot<'a>),
    /// By `[DONE]` without a terminal event.
    DoneMark,
    /// The connection was closed.
    Closed,
}

/// The response is not complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IncompleteResponse {
    /// It ended within an item.
    CutOff,
    /// It has neither text nor a tool call.
    Empty,
}

/// The `sequence_number`s of the deltas. A delta that is delivered twice has the same number again; some servers number
/// nothing, or send 0 always.
#[derive(Default)]
struct SequenceNumbers {
    last: u64,
}

impl ResponseAssembler {
    /// `may_begin_in_reasoning` says that the server leaves out the beginning of reasoning in the text of a message.
    pub(super) fn new(request: ModelRequestId, may_begin_in_reasoning: bool) -> Self {
        Self {
            request,
            items: Vec::new(),
            calls: Vec::new(),
            pending_reasoning: Vec::new(),
            seen_reasoning: Vec::new(),
            reasoning_bytes: 0,
            follows_reasoning: false,
            sequence: SequenceNumbers::default(),
            item_events: 0,
            may_begin_in_reasoning,
            text_bytes: 0,
            last_said: None,
            events: VecDeque::new(),
        }
    }

    /// The next event for the call.
    pub(super) fn pop_event(&mut self) -> Option<ModelEvent> {
        self.events.pop_front()
    }

    /// Whether text or a function call was passed on: the request must not be repeated.
    pub(super) fn has_output(&self) -> bool {
        self.last_said.is_some() || !self.calls.is_empty()
    }

    /// Whether the text has an end of reasoning that did not begin. `None` of a response without text.
    pub(super) fn found_unopened_reasoning(&self) -> Option<bool> {
        let messages = self.items.iter().filter_map(|item| match &item.content {
            Content::Message(message) if message.has_begun() => Some(message.found_unopened_reasoning()),
            _ => None,
        });
        messages.reduce(|found, also| found || also)
    }

    /// Whether text was passed on, or a call has begun to arrive.
    pub(super) fn has_begun(&self) -> bool {
        self.has_output() || self.items.iter().any(Item::is_call)
    }

    /// Whether a reasoning item has arrived.
    pub(super) fn has_reasoning(&self) -> bool {
        !self.seen_reasoning.is_empty()
    }

    /// Whether something was passed on and every item is complete: what is missing is at most the end of the response.
    pub(super) fn is_settled(&self) -> bool {
        self.has_output() && self.items.iter().all(Item::is_settled)
    }

    /// Whether there are more items, or there is more text, than an answer to a caller can have.
    pub(super) fn is_too_large(&self) -> bool {
        let parts = |item: &Item| if let Content::Message(message) = &item.content { message.part_count() } else { 1 };
        let count = self.items.iter().map(parts).sum::<usize>() + self.seen_reasoning.len();
        let (mut calls, mut kept) = (0, self.reasoning_bytes);
        for item in &self.items {
            match &item.content {
                Content::Message(message) => kept += message.kept_bytes(),
                Content::Call(call) => calls += call.content_bytes(),
            }
        }
        u64::try_from(count).is_ok_and(|count| count > MAX_ITEMS)
            || self.item_events > MAX_ITEM_EVENTS
            || self.text_bytes > MAX_TEXT_BYTES
            || calls > MAX_CALLS_BYTES
            || kept > MAX_KEPT_BYTES
    }

    /// Applies an event. The end and a failure are for the caller.
    pub(super) fn apply(&mut self, event: StreamEvent<'_>) {
        match event {
            StreamEvent::Text { key, part, sequence, delta } => {
                if self.sequence.is_new(sequence) {
                    let at = self.message_at(&key, "");
                    self.speak(at, |message| message.push(part, &delta));
                }
            }
            StreamEvent::TextDone { key, part, text } => {
                let at = self.message_at(&key, &text);
                let is_said = self.is_said_elsewhere(at, Some(part), &text);
                self.speak(at, |message| message.complete_part(part, &text, is_said));
            }
            StreamEvent::Arguments { key, sequence, delta } => {
                if self.sequence.is_new(sequence) {
                    let at = self.call_at(&key, None);
                    self.with_call(at, |call| call.push_arguments(&delta));
                }
            }
            StreamEvent::ArgumentsDone { key, name, arguments } => {
                let at = self.call_at(&key, None);
                self.with_call(at, |call| call.complete_arguments(&name, &arguments));
            }
            StreamEvent::ItemAdded(key, item) => {
                self.item_events += 1;
                self.add_item(&key, &item);
            }
            StreamEvent::ItemDone(key, item) => {
                self.item_events += 1;
                self.complete_item(&key, item);
            }
            StreamEvent::Ended(_) | StreamEvent::Failed(_) | StreamEvent::Other => {}
        }
    }

    /// Ends the response: passes on what only the end completes.
    pub(super) fn finish(&mut self, end: StreamEnd<'_>) -> Result<(), IncompleteResponse> {
        if matches!(end, StreamEnd::Closed) && self.items.iter().any(|item| !item.is_settled()) {
            return Err(IncompleteResponse::CutOff);
        }
        // The end of a whole response completes calls without an end of their own.
        let completes = match end {
            StreamEnd::Snapshot(snapshot) => {
                let completes = !snapshot.is_incomplete;
                for (key, item) in snapshot.output {
                    self.reconcile(&key, item);
                }
                completes
            }
            StreamEnd::DoneMark => true,
            StreamEnd::Closed => false,
        };
        self.pending_reasoning.clear();
        for at in 0..self.items.len() {
            match &mut self.items[at].content {
                Content::Message(_) => self.speak(at, PendingMessage::finish),
                Content::Call(call) if self.calls.iter().any(|passed| call.repeats(passed)) => {}
                Content::Call(call) => {
                    let call = call.take_at_end(completes);
                    self.pass_on(at, call);
                }
            }
        }
        if self.has_output() { Ok(()) } else { Err(IncompleteResponse::Empty) }
    }

    fn new_message(&self, phase: Option<MessagePhase>) -> PendingMessage {
        PendingMessage::new(phase, self.may_begin_in_reasoning)
    }

    fn add_item(&mut self, key: &ItemKey<'_>, item: &OutputItem<'_>) {
        match item {
            OutputItem::Message { phase, parts } => {
                if self.find(key, Item::is_message, false).is_none() {
                    let message = self.new_message(*phase).beginning_with(parts.concat());
                    self.open(key, Content::Message(message));
                }
            }
            OutputItem::Call(call) => {
                let at = self.find(key, Item::is_call, false);
                let at = at.unwrap_or_else(|| self.open(key, Content::Call(PendingCall::default())));
                self.with_call(at, |pending| pending.begin(call));
            }
            OutputItem::Reasoning(_) | OutputItem::Other => {}
        }
    }

    fn complete_item(&mut self, key: &ItemKey<'_>, item: OutputItem<'_>) {
        match item {
            OutputItem::Message { phase, parts } => self.complete_message(key, phase, &parts),
            OutputItem::Call(call) => drop(self.complete_call(key, &call)),
            OutputItem::Reasoning(raw) => self.add_reasoning(key, raw),
            OutputItem::Other => {}
        }
    }

    /// Applies an item of the snapshot, which usually is there already, maybe under other ids.
    fn reconcile(&mut self, key: &ItemKey<'_>, item: OutputItem<'_>) {
        let OutputItem::Call(call) = &item else { return self.complete_item(key, item) };
        let is_known = |item: &&mut Item| !item.is_in_snapshot && item.was_passed_on_as(call);
        if let Some(known) = self.items.iter_mut().find(is_known) {
            known.is_in_snapshot = true;
            return self.pending_reasoning.clear();
        }
        let at = self.complete_call(key, call);
        self.items[at].is_in_snapshot = true;
    }

    fn complete_message(&mut self, key: &ItemKey<'_>, phase: Option<MessagePhase>, parts: &[Cow<'_, str>]) {
        self.discard_reasoning();
        let text = parts.concat();
        let at = self.message_at(key, &text);
        let is_said = self.is_said_elsewhere(at, None, &text);
        if let Content::Message(message) = &mut self.items[at].content {
            message.phase = message.phase.or(phase);
        }
        self.speak(at, |message| message.complete(parts, is_said));
        self.items[at].complete(key);
    }

    fn complete_call(&mut self, key: &ItemKey<'_>, call: &CallItem<'_>) -> usize {
        let at = self.call_at(key, Some(call));
        self.with_call(at, |pending| pending.complete(call));
        self.items[at].complete(key);
        if let Content::Call(pending) = &mut self.items[at].content {
            let call = pending.take_if_settled();
            self.pass_on(at, call);
        }
        at
    }

    fn add_reasoning(&mut self, key: &ItemKey<'_>, raw: &RawValue) {
        let id = key.id.as_deref().unwrap_or(raw.get());
        if !self.seen_reasoning.iter().any(|seen| seen == id) {
            self.seen_reasoning.push(id.to_owned());
            self.reasoning_bytes += raw.get().len();
            self.pending_reasoning.push(raw.to_owned());
        }
    }

    /// Discards reasoning items before text. They need not be sent back, and could be only with the very item that
    /// followed them.
    fn discard_reasoning(&mut self) {
        self.pending_reasoning.clear();
        self.follows_reasoning = false;
    }

    /// Finds the message, or begins one. `text` is what is known of its text.
    fn message_at(&mut self, key: &ItemKey<'_>, text: &str) -> usize {
        let same_text = |item: &Item| matches!(&item.content, Content::Message(known) if known.has_text(text));
        let found = self.find(key, Item::is_message, true).or_else(|| self.items.iter().position(same_text));
        found.unwrap_or_else(|| {
            let message = self.new_message(None);
            self.open(key, Content::Message(message))
        })
    }

    /// Whether the other messages of the response, or the other parts of the message, have said most words of what is
    /// new in a text: it is theirs, under another id or index.
    fn is_said_elsewhere(&self, at: usize, part: Option<u64>, text: &str) -> bool {
        let Content::Message(own) = &self.items[at].content else { return false };
        let rest = own.rest(part, text);
        if rest.trim().is_empty() {
            return false;
        }
        let elsewhere = |(other, item): (usize, &Item)| match &item.content {
            Content::Message(message) if other != at => Some(message.text_besides(None, COMPARED_BYTES)),
            Content::Message(message) => part.map(|part| message.text_besides(Some(part), COMPARED_BYTES)),
            Content::Call(_) => None,
        };
        let mut room = COMPARED_BYTES;
        let has_room = |text: &String| {
            let has_room = room > 0;
            room = room.saturating_sub(text.len());
            has_room
        };
        let said: Vec<String> = self.items.iter().enumerate().filter_map(elsewhere).take_while(has_room).collect();
        // The words that come in the same order.
        let mut said = said.iter().flat_map(|text| text.split_whitespace());
        let (mut count, mut known) = (0, 0);
        for word in rest.split_whitespace().take(COMPARED_WORDS) {
            count += 1;
            let mut after = said.clone();
            if after.any(|known| known == word) {
                known += 1;
                said = after;
            }
        }
        count > 0 && 2 * known >= count
    }

    /// Finds the call, or begins one. `call` is what is known of it.
    fn call_at(&mut self, key: &ItemKey<'_>, call: Option<&CallItem<'_>>) -> usize {
        let same_call = |item: &Item| call.is_some_and(|call| item.is_call_again(key, call));
        let found = self.items.iter().position(same_call).or_else(|| {
            let found = self.find(key, Item::is_call, true)?;
            let known = &self.items[found];
            let is_again = |call| known.is_call_again(key, call) || known.is_call_without_id(call);
            let is_other = known.is_done && call.is_some_and(|call| !is_again(call));
            (!is_other).then_some(found)
        });
        found.unwrap_or_else(|| self.open(key, Content::Call(PendingCall::default())))
    }

    /// Finds an item by its id; by its index, if that cannot mean another one; or else, if the event names neither, the
    /// last one that is open.
    ///
    /// Servers are known to change the id of an item between its events (`may_change_id`), and to send index 0 for
    /// every item.
    fn find(&self, key: &ItemKey<'_>, kind: fn(&Item) -> bool, may_change_id: bool) -> Option<usize> {
        let items = || self.items.iter().enumerate().filter(|(_, item)| kind(item));
        if let Some(id) = key.id.as_deref()
            && let Some((at, _)) = items().find(|(_, item)| item.has_id(id))
        {
            return Some(at);
        }
        if let Some(index) = key.index {
            let may_be = |item: &Item| {
                item.index == Some(index) && (key.id.is_none() || item.id.is_none() || (may_change_id && !item.is_done))
            };
            return items().rev().find(|(_, item)| may_be(item)).map(|(at, _)| at);
        }
        let is_unnamed = |item: &Item| !item.is_done && (key.id.is_none() || item.id.is_none());
        items().rev().find(|(_, item)| is_unnamed(item)).map(|(at, _)| at)
    }

    fn open(&mut self, key: &ItemKey<'_>, content: Content) -> usize {
        let id = key.id.as_deref().map(str::to_owned);
        self.items.push(Item { id, done_id: None, index: key.index, is_done: false, is_in_snapshot: false, content });
        self.items.len() - 1
    }

    fn with_call(&mut self, at: usize, change: impl FnOnce(&mut PendingCall)) {
        if let Content::Call(call) = &mut self.items[at].content {
            change(call);
        }
    }

    /// Changes a message, and passes on the text that is to be said.
    fn speak(&mut self, at: usize, change: impl FnOnce(&mut PendingMessage) -> String) {
        let Content::Message(message) = &mut self.items[at].content else { return };
        let mut text = change(message);
        let ends_in_space = message.ends_in_space();
        let follows = self.last_said.is_some_and(|(last, ends_in_space)| last != at && !ends_in_space);
        if follows && text.starts_with(|c: char| !c.is_whitespace()) {
            // The words of two messages are not one.
            text.insert(0, ' ');
        }
        let phase = if text.is_empty() { None } else { message.phase.take() };
        if !text.is_empty() {
            self.discard_reasoning();
            self.text_bytes += text.len();
            self.last_said = Some((at, ends_in_space));
            self.events.extend(phase.map(ModelEvent::MessagePhase));
            self.events.push_back(ModelEvent::TextDelta(Private::new(text)));
        }
    }

    /// Passes on a call that is complete, unless it was passed on already. An id that is empty or belongs to another
    /// call of this response is replaced.
    fn pass_on(&mut self, at: usize, call: Option<CompleteCall>) {
        let Some(CompleteCall { call_id, name, arguments }) = call else { return };
        let own_id = Some(call_id).filter(|id| !id.is_empty()).or_else(|| self.items[at].id.clone());
        let is_free = |id: &String| self.calls.iter().all(|known| known.call_id != *id);
        // The server may use one of our ids, too.
        let new_ids = (self.calls.len() + 1..).map(|number| format!("call_{}_{number}", self.request.0));
        let call_id = own_id.into_iter().chain(new_ids).find(is_free).unwrap_or_default();
        self.follows_reasoning |= !self.pending_reasoning.is_empty();
        self.events.extend(self.pending_reasoning.drain(..).map(ModelEvent::Reasoning));
        let Item { id, done_id, .. } = &self.items[at];
        let item_id = done_id.clone().or_else(|| id.clone()).filter(|_| self.follows_reasoning);
        let call = ToolCall::new(call_id, item_id, name, &arguments);
        self.calls.push(call.clone());
        self.events.push_back(ModelEvent::ToolCall(call));
    }
}

/// A function call that is to be passed on.
struct CompleteCall {
    /// May be empty.
    call_id: String,
    name: String,
    arguments: String,
}

impl Item {
    fn is_message(&self) -> bool {
        matches!(self.content, Content::Message(_))
    }

    fn is_call(&self) -> bool {
        matches!(self.content, Content::Call(_))
    }

    fn has_id(&self, id: &str) -> bool {
        [&self.id, &self.done_id].into_iter().flatten().any(|own| own == id)
    }

    /// Whether `call` is this call again.
    fn is_call_again(&self, key: &ItemKey<'_>, call: &CallItem<'_>) -> bool {
        let has_same_id = key.id.as_deref().is_some_and(|id| self.has_id(id));
        matches!(&self.content, Content::Call(known) if known.is_same(call, has_same_id))
    }

    /// Whether `call` is this call, neither of which has an id of its own.
    fn is_call_without_id(&self, call: &CallItem<'_>) -> bool {
        matches!(&self.content, Content::Call(known) if known.is_same_without_id(call))
    }

    /// Whether the item is a call that was passed on and asks for the same.
    fn was_passed_on_as(&self, call: &CallItem<'_>) -> bool {
        matches!(&self.content, Content::Call(known) if known.was_passed_on_as(call))
    }

    /// Whether nothing of the item is missing.
    fn is_settled(&self) -> bool {
        let has_all = match &self.content {
            Content::Message(message) => message.is_complete(),
            Content::Call(_) => false,
        };
        self.is_done || has_all
    }

    fn complete(&mut self, key: &ItemKey<'_>) {
        self.is_done = true;
        match key.id.as_deref() {
            Some(id) if self.id.is_none() => self.id = Some(id.to_owned()),
            Some(id) if !self.has_id(id) => self.done_id = Some(id.to_owned()),
            _ => {}
        }
    }
}

impl SequenceNumbers {
    /// Whether a delta with this number is new.
    fn is_new(&mut self, number: Option<u64>) -> bool {
        let number = number.unwrap_or_default();
        let is_new = number > self.last || self.last == 0;
        self.last = self.last.max(number);
        is_new
    }
}

#[cfg(test)]
mod tests;
