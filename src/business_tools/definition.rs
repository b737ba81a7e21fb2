//! What is configured about a tool of the business.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use url::Url;

/// A tool of the business, by which the model can look something up or have something done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BusinessTool {
    /// The name, under which the model calls it. No built-in tool has it.
    pub name: String,
    /// Where it runs.
    pub endpoint: BusinessToolEndpoint,
    /// `timeoutMs`: the time limit of a call of the tool, from the connection to the last byte of the answer.
    pub timeout: Duration,
    /// `speak`: what is said to the caller when the tool takes long.
    pub speak: Option<String>,
}

/// Where a tool of the business runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BusinessToolEndpoint {
    /// A URL of its own: https, or http to this machine.
    Http(Url),
}

/// The tools of the business that a call has, by name.
pub type BusinessTools = BTreeMap<String, Arc<BusinessTool>>;

impl BusinessTool {
    /// The default of `timeoutMs`.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

    /// The longest name, in characters.
    const MAX_NAME: usize = 64;

    /// Whether the Responses API accepts this name of a function: 1 to 64 letters, digits, `-` and `_`.
    pub fn is_valid_name(name: &str) -> bool {
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        (1..=Self::MAX_NAME).contains(&name.len()) && name.chars().all(is_allowed)
    }
}
