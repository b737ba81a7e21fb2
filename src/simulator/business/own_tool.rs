//! The business's own tool of the simulator, `find-invoice`: over HTTP, or on a server of tools.

use std::time::Duration;

use serde_json::{Value, json};

/// The path of the tool over HTTP.
pub(in crate::simulator) const FIND_INVOICE_PATH: &str = "/find-invoice";

/// How the business offers its tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::simulator) enum OwnTool {
    /// At a URL in the manifest. It answers after a delay, with this status.
    Http {
        /// The delay.
        delay: Duration,
        /// The status.
        status: u16,
    },
    /// On a server of tools in `ToolServers`.
    Server,
}

/// The answer of the tool.
pub(in crate::simulator) const INVOICE: &str = r#"{"amountDue": "40.10", "currency": "USD", "description": "Invoice 8", "orderReference": "order-8", "customer": "Ann Lee", "items": [{"name": "Tea", "price": "40.10"}]}"#;

/// What the caller hears while a slow tool runs.
const SPEAK: &str = "One moment, I look that up.";

const DESCRIPTION: &str = "Finds the open invoice of a customer who has named the customer number and the postal code.";

fn schema() -> Value {
    json!({
        "type": "object",
        "properties": {"customer": {"type": "string"}, "postalCode": {"type": "string"}},
        "required": ["customer", "postalCode"],
        "additionalProperties": false,
    })
}

/// The tool as a server lists it.
pub(in crate::simulator) fn listed_tool() -> Value {
    json!({"name": "find-invoice", "description": DESCRIPTION, "inputSchema": schema()})
}

/// The result of a call of it on a server.
pub(in crate::simulator) fn call_result() -> Value {
    let answer: Value = serde_json::from_str(INVOICE).unwrap_or_default();
    json!({"content": [{"type": "text", "text": INVOICE}], "structuredContent": answer, "isError": false})
}

impl OwnTool {
    /// The asset files that offer the tool of a business at this origin.
    pub(in crate::simulator) fn asset_files(self, origin: &str) -> Vec<(&'static str, String)> {
        match self {
            Self::Http { .. } => {
                let manifest = include_str!("../../../assets/PaymentToolManifest.json");
                let mut manifest: Value = serde_json::from_str(manifest).unwrap_or_default();
                let http = json!({"url": format!("{origin}{FIND_INVOICE_PATH}"), "speak": SPEAK});
                let tool = json!({"type": "function", "name": "find-invoice", "description": DESCRIPTION,
                    "parameters": schema(), "http": http});
                if let Some(tools) = manifest["tools"].as_array_mut() {
                    tools.push(tool);
                }
                vec![("PaymentToolManifest.json", manifest.to_string())]
            }
            Self::Server => {
                let mut config: Value =
                    serde_json::from_str(include_str!("../../../assets/serverConfig.json")).unwrap_or_default();
                let server = json!({"url": format!("{origin}/mcp"), "tools": ["find-invoice"], "speak": SPEAK});
                config["ToolServers"] = json!({ "crm": server });
                vec![("serverConfig.json", config.to_string())]
            }
        }
    }
}
