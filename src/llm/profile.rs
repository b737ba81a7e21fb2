//! The constant part of every request, which makes OpenAI's prompt cache effective.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use sha2::{Digest as _, Sha256};

use crate::business_tools::BusinessTools;

/// Instructions and tools, serialized once and shared by all calls that use them.
#[derive(Clone)]
pub struct Profile {
    pub(super) instructions: Arc<RawValue>,
    pub(super) tools: Arc<RawValue>,
    /// The key of the prompt cache: the beginning of the SHA-256 of both, in hex. Requests with the same beginning have
    /// the same key, and it contains nothing of a call.
    pub(super) cache_key: String,
    business_tools: Arc<BusinessTools>,
}

/// The length of a cache key, in bytes of the hash. OpenAI takes 64 characters.
const CACHE_KEY_BYTES: usize = 16;

impl Profile {
    /// Serializes the system text and function tools in the form of the Responses API. Fails only if a tool cannot be
    /// serialized.
    pub fn new(instructions: &str, tools: &[impl Serialize]) -> Result<Self, serde_json::Error> {
        Ok(Self::from_json(to_raw_value(instructions)?.into(), to_raw_value(tools)?.into()))
    }

    /// Creates a profile from a serialized JSON string and a serialized JSON array.
    pub fn from_json(instructions: Arc<RawValue>, tools: Arc<RawValue>) -> Self {
        let hash =
            Sha256::new().chain_update(instructions.get()).chain_update([0]).chain_update(tools.get()).finalize();
        Self { instructions, tools, cache_key: hex::encode(&hash[..CACHE_KEY_BYTES]), business_tools: Arc::default() }
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

    /// The instructions, a JSON string.
    pub fn instructions(&self) -> &RawValue {
        &self.instructions
    }

    /// Returns these instructions with the tools of `other`.
    pub fn with_tools_of(&self, other: &Self) -> Self {
        Self::from_json(self.instructions.clone(), other.tools.clone())
            .with_business_tools(other.business_tools.clone())
    }

    /// Says which of the tools are the business's own.
    pub fn with_business_tools(self, business_tools: Arc<BusinessTools>) -> Self {
        Self { business_tools, ..self }
    }

    /// Returns these instructions with other tools, a JSON array.
    pub fn with_tools(&self, tools: Arc<RawValue>, business_tools: Arc<BusinessTools>) -> Self {
        Self::from_json(self.instructions.clone(), tools).with_business_tools(business_tools)
    }

    /// The tools of the business among these tools.
    pub fn business_tools(&self) -> &BusinessTools {
        &self.business_tools
    }
}

/// Shows the sizes only.
impl fmt::Debug for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Profile({} + {} bytes)", self.instructions.get().len(), self.tools.get().len())
    }
}
