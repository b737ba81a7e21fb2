//! A function call of a response: its arguments, wherever they stand, and whether it is complete.

use serde::de::IgnoredAny;

use super::super::item::{CallItem, ItemStatus};
use super::CompleteCall;
use crate::call::ToolCall;

/// A function call that is being received.
#[derive(Default)]
pub(super) struct PendingCall {
    call_id: String,
    name: String,
    /// The arguments of the deltas, or of `function_call_arguments.done`.
    streamed: String,
    /// The arguments of the item.
    of_item: String,
    /// `function_call_arguments.done` has arrived.
    has_all_arguments: bool,
    /// The status of the item that is done.
    status: Option<ItemStatus>,
    /// The call was passed on.
    is_passed_on: bool,
}

impl PendingCall {
    /// Takes in the item that begins. What it says of the arguments counts if nothing else does.
    pub(super) fn begin(&mut self, item: &CallItem<'_>) {
        self.name_after(item);
        if item.status == ItemStatus::Completed && has_members(&item.arguments) && self.streamed.is_empty() {
            item.arguments.as_ref().clone_into(&mut self.of_item);
        }
    }

    /// Takes id and name of an item.
    fn name_after(&mut self, item: &CallItem<'_>) {
        if !item.call_id.is_empty() {
            item.call_id.as_ref().clone_into(&mut self.call_id);
        }
        if !item.name.is_empty() {
            item.name.as_ref().clone_into(&mut self.name);
        }
    }

    /// The size of what the call asks for, in bytes. The arguments of the item and of its deltas are the same.
    pub(super) fn content_bytes(&self) -> usize {
        self.call_id.len() + self.name.len() + self.streamed.len().max(self.of_item.len())
    }

    /// Adds a delta of the arguments.
    pub(super) fn push_arguments(&mut self, delta: &str) {
        if !self.has_all_arguments {
            self.streamed.push_str(delta);
        }
    }

    /// Applies `function_call_arguments.done`.
    pub(super) fn complete_arguments(&mut self, name: &str, arguments: &str) {
        self.has_all_arguments = true;
        if !arguments.is_empty() {
            arguments.clone_into(&mut self.streamed);
        }
        if self.name.is_empty() {
            name.clone_into(&mut self.name);
        }
    }

    /// Applies the item that is done. A repetition changes nothing.
    pub(super) fn complete(&mut self, item: &CallItem<'_>) {
        if self.is_passed_on {
            return;
        }
        self.name_after(item);
        self.status = Some(item.status);
        if self.of_item.is_empty() {
            item.arguments.as_ref().clone_into(&mut self.of_item);
        }
    }

    /// Whether `item` is this call again. A server may change one of the ids, use one for several calls, and leave out
    /// the arguments in one of the two. `has_same_id` compares the ids of the items.
    pub(super) fn is_same(&self, item: &CallItem<'_>, has_same_id: bool) -> bool {
        let has_same_call_id = !self.call_id.is_empty() && self.call_id == item.call_id;
        (has_same_id && has_same_call_id) || ((has_same_id || has_same_call_id) && self.is_equal(item))
    }

    /// Whether the call has no id of its own, neither here nor in `item`, and is the same.
    pub(super) fn is_same_without_id(&self, item: &CallItem<'_>) -> bool {
        self.call_id.is_empty() && item.call_id.is_empty() && self.is_equal(item)
    }

    /// Whether a call that was never done repeats `passed`: under the same id, or without one.
    pub(super) fn repeats(&self, passed: &ToolCall) -> bool {
        let has_same_id = self.call_id.is_empty() || self.call_id == passed.call_id;
        let has_same_name = self.name.is_empty() || self.name == passed.name;
        let asks_for_more = has_members(self.arguments()) && self.arguments() != passed.arguments.as_str();
        self.status.is_none() && has_same_id && has_same_name && !asks_for_more
    }

    /// Whether the call was passed on and `item` asks for the same.
    pub(super) fn was_passed_on_as(&self, item: &CallItem<'_>) -> bool {
        self.is_passed_on && self.is_equal(item)
    }

    fn is_equal(&self, item: &CallItem<'_>) -> bool {
        let (known, other) = (self.arguments(), item.arguments.as_ref());
        self.name == item.name && (known == other || !has_members(known) || !has_members(other))
    }

    /// Returns the call, once, if its item is completed and its arguments are there.
    pub(super) fn take_if_settled(&mut self) -> Option<CompleteCall> {
        let is_completed = self.status == Some(ItemStatus::Completed) && !self.arguments().trim().is_empty();
        if is_completed { self.take() } else { None }
    }

    /// Returns the call, once, at the end of the response if it is complete. `completes` says that the end of the
    /// response is the end of its calls.
    pub(super) fn take_at_end(&mut self, completes: bool) -> Option<CompleteCall> {
        let is_complete = match self.status {
            Some(ItemStatus::Completed) => true,
            Some(ItemStatus::InProgress | ItemStatus::Incomplete) => false,
            None => completes && (self.has_all_arguments || is_object(self.arguments())),
        };
        if is_complete { self.take() } else { None }
    }

    /// A call without a name is none.
    fn take(&mut self) -> Option<CompleteCall> {
        if self.name.is_empty() || std::mem::replace(&mut self.is_passed_on, true) {
            return None;
        }
        let arguments = self.arguments().to_owned();
        Some(CompleteCall { call_id: self.call_id.clone(), name: self.name.clone(), arguments })
    }

    /// The arguments: those of the item, unless they are empty and others were streamed, or only the others are whole.
    fn arguments(&self) -> &str {
        let (of_item, streamed) = (self.of_item.as_str(), self.streamed.as_str());
        if streamed.trim().is_empty() || has_members(of_item) || (is_object(of_item) && !has_members(streamed)) {
            of_item
        } else {
            streamed
        }
    }
}

/// Whether a text is a JSON object.
fn is_object(json: &str) -> bool {
    json.trim_start().starts_with('{') && serde_json::from_str::<IgnoredAny>(json).is_ok()
}

/// Whether a text is a JSON object that is not empty.
fn has_members(json: &str) -> bool {
    is_object(json) && json.trim().trim_start_matches('{').trim_start() != "}"
}
