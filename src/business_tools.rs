//! The business's own tools: what a manifest and `serverConfig.json` say about them, and the requests to them.
//!
//! The call decides when such a tool may run; [`BusinessToolClient`] runs it.

mod answer;
mod client;
mod definition;
#[cfg(test)]
mod tests;

pub use client::BusinessToolClient;
pub(crate) use client::BusinessToolRequest;
pub use definition::{BusinessTool, BusinessToolEndpoint, BusinessTools};
