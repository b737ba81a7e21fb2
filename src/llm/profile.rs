//! The part of every request that never changes, and on which the model's prompt cache lives.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

/// Instructions and tools, serialised once and shared by all calls that use them.
pub struct Profile {
    pub(super) instructions: Arc<RawValue>,
    pub(super) tools: Arc<RawValue>,
}

impl Profile {
    /// `instructions` is the system text; `tools` are function tools as the Responses API takes them. Fails only if a
    /// tool cannot be written as JSON.
    pub fn new(instructions: &str, tools: &[impl Serialize]) -> Result<Self, serde_json::Error> {
        Ok(Self::of(to_raw_value(instructions)?.into(), to_raw_value(tools)?.into()))
    }

    /// Puts together what was serialised before: a JSON string and a JSON array.
    pub fn of(instructions: Arc<RawValue>, tools: Arc<RawValue>) -> Self {
        Self { instructions, tools }
    }

    /// These instructions, and the tools of another.
    pub fn with_tools_of(&self, other: &Self) -> Self {
        Self::of(self.instructions.clone(), other.tools.clone())
    }
}

/// How much it is, not what it says.
impl fmt::Debug for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Profile({} + {} bytes)", self.instructions.get().len(), self.tools.get().len())
    }
}
