//! The constant part of every request, which makes OpenAI's prompt cache effective.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

/// Instructions and tools, serialized once and shared by all calls that use them.
pub struct Profile {
    pub(super) instructions: Arc<RawValue>,
    pub(super) tools: Arc<RawValue>,
}

impl Profile {
    /// Serializes the system text and function tools in the form of the Responses API. Fails only if a tool cannot be
    /// serialized.
    pub fn new(instructions: &str, tools: &[impl Serialize]) -> Result<Self, serde_json::Error> {
        Ok(Self::from_json(to_raw_value(instructions)?.into(), to_raw_value(tools)?.into()))
    }

    /// Creates a profile from a serialized JSON string and a serialized JSON array.
    pub fn from_json(instructions: Arc<RawValue>, tools: Arc<RawValue>) -> Self {
        Self { instructions, tools }
    }

    /// Returns the tools: a JSON array in the form of the Responses API.
    pub fn tools(&self) -> Arc<RawValue> {
        self.tools.clone()
    }

    /// Whether a tool of this name is among the tools.
    pub fn has_tool(&self, name: &str) -> bool {
        #[derive(Deserialize)]
        struct ToolName<'a> {
            #[serde(borrow)]
            name: Cow<'a, str>,
        }
        let tools: Vec<ToolName<'_>> = serde_json::from_str(self.tools.get()).unwrap_or_default();
        tools.iter().any(|tool| tool.name == name)
    }

    /// Returns these instructions with the tools of `other`.
    pub fn with_tools_of(&self, other: &Self) -> Self {
        Self::from_json(self.instructions.clone(), other.tools.clone())
    }
}

/// Shows the sizes only.
impl fmt::Debug for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Profile({} + {} bytes)", self.instructions.get().len(), self.tools.get().len())
    }
}
