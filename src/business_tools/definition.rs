//! What is configured about a tool of the business.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use url::Url;

use super::ToolServerConnection;

/// A tool of the business, by which the model can look something up or have something done.
#[derive(Debug, Clone)]
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
#[derive(Debug, Clone)]
pub enum BusinessToolEndpoint {
    /// At a URL of its own: https, or http to this machine.
    Http(Url),
    /// On a server that lists it.
    Server(Arc<ToolServerConnection>),
}

/// A server of the business that lists its tools by the Model Context Protocol: an entry of `ToolServers`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolServer {
    /// The name of the entry, for the log and the tokens.
    pub name: String,
    /// `url`: https, or http to this machine.
    pub url: Url,
    /// `tools`: the names of the tools that may be used. All others of the server are ignored.
    pub allowed: BTreeSet<String>,
    /// `timeoutMs`, of a call of a tool.
    pub timeout: Duration,
    /// `speak`, of each of its tools.
    pub speak: Option<String>,
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
