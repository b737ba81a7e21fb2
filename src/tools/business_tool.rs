//! A tool of the business, found by its name among the tools of the call.

use super::{AgentTools, ToolContext};
use crate::business_tools::BusinessToolRequest;
use crate::call::{BusinessToolError, ToolOutcome, ToolSpec};
use crate::redact::RedactedJson;

/// Runs the tool of this name, if the call has one.
pub(super) async fn business_tool(
    context: &ToolContext,
    agent: &AgentTools,
    name: &str,
    arguments: &RedactedJson,
) -> ToolOutcome {
    let own_tools = agent.profile.business_tools();
    let Some(tool) = own_tools.get(name) else {
        let names = ToolSpec::names().into_iter().chain(own_tools.keys().map(String::as_str));
        return ToolOutcome::Business(Err(BusinessToolError::Unknown { names: names.map(str::to_owned).collect() }));
    };
    let request = BusinessToolRequest { call: &context.call, arguments };
    ToolOutcome::Business(agent.business.call(tool, &request).await)
}
