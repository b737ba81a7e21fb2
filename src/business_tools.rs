//! The business's own tools: what a manifest and `serverConfig.json` say about them, and the requests to them.
//!
//! A tool is at a URL of its own, or on a server that lists its tools by the Model Context Protocol (MCP). The call
//! decides when such a tool may run; [`BusinessToolClient`] runs it, and [`ToolServerWatcher`] keeps the lists up to
//! date.

mod answer;
mod client;
mod definition;
mod listed_tools;
mod mcp;
mod tool_server;
mod watcher;

pub use client::BusinessToolClient;
pub(crate) use client::BusinessToolRequest;
pub use definition::{BusinessTool, BusinessToolEndpoint, BusinessTools, ToolServer};
pub use listed_tools::ListedTools;
pub use tool_server::{ToolServerConnection, ToolServerError};
pub use watcher::ToolServerWatcher;
