//! The messages of the Model Context Protocol, as far as a client of tools needs them: JSON-RPC 2.0, revision 2025-06-18.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The header with the id of the session, if the server keeps one.
pub(super) const SESSION_HEADER: &str = "mcp-session-id";

/// The header with the agreed revision of the protocol.
pub(super) const VERSION_HEADER: &str = "mcp-protocol-version";

/// The revision that is asked for, and all that are accepted. They do not differ in what is used here.
pub(super) const PROTOCOL_VERSION: &str = "2025-06-18";
pub(super) const ACCEPTED_VERSIONS: [&str; 4] = ["2025-11-25", PROTOCOL_VERSION, "2025-03-26", "2024-11-05"];

/// The notification of a server whose list of tools has changed.
pub(super) const LIST_CHANGED: &str = "notifications/tools/list_changed";

/// A request, or a notification if it has no id.
#[derive(Serialize)]
pub(super) struct Outgoing<'a, P> {
    pub(super) jsonrpc: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<u64>,
    pub(super) method: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) params: Option<P>,
}

/// A message of the server: a response, a request or a notification.
#[derive(Deserialize)]
pub(super) struct Incoming {
    /// `null` in the response to a request that the server could not read.
    #[serde(default)]
    pub(super) id: Option<serde_json::Value>,
    pub(super) method: Option<String>,
    pub(super) result: Option<Box<RawValue>>,
    pub(super) error: Option<RpcError>,
}

/// The error of a response.
#[derive(Deserialize)]
pub(super) struct RpcError {
    #[serde(default)]
    pub(super) code: i64,
    #[serde(default)]
    pub(super) message: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct InitializeParams {
    pub(super) protocol_version: &'static str,
    pub(super) capabilities: Empty,
    pub(super) client_info: ClientInfo,
}

#[derive(Serialize)]
pub(super) struct Empty {}

#[derive(Serialize)]
pub(super) struct ClientInfo {
    pub(super) name: &'static str,
    pub(super) version: &'static str,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct InitializeResult {
    pub(super) protocol_version: String,
}

#[derive(Serialize)]
pub(super) struct ListParams {
    pub(super) cursor: String,
}

/// A page of the list of tools.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListResult {
    pub(super) tools: Vec<ToolEntry>,
    pub(super) next_cursor: Option<String>,
}

/// A tool as the server describes it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ToolEntry {
    pub(super) name: String,
    pub(super) description: Option<String>,
    pub(super) input_schema: Option<serde_json::Map<String, serde_json::Value>>,
}

#[derive(Serialize)]
pub(super) struct CallParams<'a> {
    pub(super) name: &'a str,
    pub(super) arguments: &'a RawValue,
    #[serde(rename = "_meta")]
    pub(super) meta: CallMeta<'a>,
}

/// The call that a tool is called for.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CallMeta<'a> {
    pub(super) call_sid: &'a str,
    pub(super) call_reference: Option<&'a str>,
}

/// The result of a call of a tool.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CallResult {
    #[serde(default)]
    pub(super) content: Vec<Content>,
    pub(super) structured_content: Option<Box<RawValue>>,
    #[serde(default)]
    pub(super) is_error: bool,
}

/// A part of the content. Only text is used.
#[derive(Deserialize)]
pub(super) struct Content {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) text: Option<String>,
}

impl CallResult {
    /// The text of the content, in lines.
    pub(super) fn text(&self) -> String {
        let texts = self.content.iter().filter(|part| part.kind == "text").filter_map(|part| part.text.as_deref());
        texts.collect::<Vec<_>>().join("\n")
    }
}
