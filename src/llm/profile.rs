//! The constant part of every request, which makes OpenAI's prompt cache effective.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use sha2::{Digest as _, Sha256};

use crate::business_tools::BusinessTools;

/// Instructions and tools, serialized and hashed once and shared by all calls that use them.
#[derive(Clone)]
pub struct Profile {
    pub(super) instructions: HashedJson,
    pub(super) tools: HashedJson,
    /// The key of the prompt cache: the beginning of the SHA-256 of both hashes, in hex. Requests with the same beginning
    /// have the same key, and it contains nothing of a call.
    pub(super) cache_key: String,
    business_tools: Arc<BusinessTools>,
}

/// A JSON text that many requests repeat, with its SHA-256. Cheap to clone.
#[derive(Debug, Clone)]
pub struct HashedJson {
    pub(super) json: Arc<RawValue>,
    hash: [u8; 32],
}

/// The length of a cache key, in bytes of the hash. OpenAI takes 64 characters.
const CACHE_KEY_BYTES: usize = 16;

impl From<Box<RawValue>> for HashedJson {
    fn from(json: Box<RawValue>) -> Self {
        Self { hash: Sha256::digest(json.get()).into(), json: json.into() }
    }
}

impl Profile {
    /// Serializes the system text and function tools in the form of the Responses API. Fails only if a tool cannot be
    /// serialized.
    pub fn new(instructions: &str, tools: &[impl Serialize]) -> Result<Self, serde_json::Error> {
        Ok(Self::of_parts(to_raw_value(instructions)?.into(), to_raw_value(tools)?.into()))
    }

    /// Creates a profile from a JSON string and a JSON array.
    pub fn of_parts(instructions: HashedJson, tools: HashedJson) -> Self {
        let hash = Sha256::new().chain_update(instructions.hash).chain_update(tools.hash).finalize();
        Self { instructions, tools, cache_key: hex::encode(&hash[..CACHE_KEY_BYTES]), business_tools: Arc::default() }
    }

    /// Returns the tools: a JSON array in the form of the Responses API.
    pub fn tools(&self) -> Arc<RawValue> {
        self.tools.json.clone()
    }

    /// Whether a tool of this name is among the tools.
    pub fn has_tool(&self, name: &str) -> bool {
        #[derive(Deserialize)]
        struct ToolName<'a> {
            #[serde(borrow)]
            name: Cow<'a, str>,
        }
        let tools: Vec<ToolName<'_>> = serde_json::from_str(self.tools.json.get()).unwrap_or_default();
        tools.iter().any(|tool| tool.name == name)
    }

    /// The instructions, a JSON string.
    pub fn instructions(&self) -> &RawValue {
        &self.instructions.json
    }

    /// Returns these instructions with the tools of `other`.
    pub fn with_tools_of(&self, other: &Self) -> Self {
        Self::of_parts(self.instructions.clone(), other.tools.clone()).with_business_tools(other.business_tools.clone())
    }

    /// Says which of the tools are the business's own.
    pub fn with_business_tools(self, business_tools: Arc<BusinessTools>) -> Self {
        Self { business_tools, ..self }
    }

    /// Returns these instructions with other tools, a JSON array.
    pub fn with_tools(&self, tools: HashedJson, business_tools: Arc<BusinessTools>) -> Self {
        Self::of_parts(self.instructions.clone(), tools).with_business_tools(business_tools)
    }

    /// The tools of the business among these tools.
    pub fn business_tools(&self) -> &BusinessTools {
        &self.business_tools
    }
}

/// Shows the sizes only.
impl fmt::Debug for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Profile({} + {} bytes)", self.instructions.json.get().len(), self.tools.json.get().len())
    }
}
