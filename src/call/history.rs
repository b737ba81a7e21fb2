//! What was said so far, as the model is to see it.

use serde_json::value::RawValue;

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

/// A tool call as the model made it: nothing in it is checked.
#[derive(Clone, PartialEq, Eq)]
pub struct ToolCall {
    /// OpenAI's `call_id`, which the output repeats.
    pub call_id: String,
    /// OpenAI's `id` of the item (`fc_…`); sent back only together with the reasoning item that led to it.
    pub item_id: Option<String>,
    /// The tool's name.
    pub name: String,
    /// JSON text; may be empty or broken.
    pub arguments: String,
}

/// The kind of item and nothing of what it says.
impl std::fmt::Debug for Item {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
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
impl std::fmt::Debug for ToolCall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ToolCall({} {})", self.name, self.call_id)
    }
}
