//! A phone call as a value: fed an [`Event`] and the time, it answers with [`Action`]s.
//!
//! Pure: no I/O, no clock, no lock, nothing spawned, nothing logged.

mod history;
mod settings;

pub use history::{Item, ToolCall};
pub use settings::{Messages, Settings, Silence};

use serde_json::value::RawValue;

/// Tells one request to the model from all others of the call, so that an event of an abandoned one is recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// What the model is asked: the whole history. Instructions and tools are constant and are added by `llm`.
#[derive(Debug, Clone)]
pub struct Request {
    /// Comes back with every event of the response.
    pub id: RequestId,
    /// Everything said so far, in the order in which the model is to see it.
    pub input: Vec<Item>,
}

/// One event of the model's streamed response.
#[derive(Debug)]
pub enum ModelEvent {
    /// Words to say, as they come.
    Delta(crate::redact::Private<String>),
    /// A reasoning item, whole, as OpenAI wrote it; it must travel back with the calls that follow it.
    Reasoning(Box<RawValue>),
    /// A tool call, whole.
    Call(ToolCall),
    /// The response ended well. Nothing follows.
    Done,
    /// The response will not come, or broke off. Nothing follows.
    Failed,
}
