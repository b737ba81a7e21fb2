//! The methods: `initialize`, `server/discover`, `ping`, `tools/list` and `tools/call`.

use std::borrow::Cow;

use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::json_rpc::RpcError;
use super::revision::{REVISIONS, Revision, negotiate};
use crate::call::{ExternalOutput, ToolCall};
use crate::session::{CallRegistry, DeliveryOutcome, ExternalAnswer, ExternalToolCall, SessionMessage, TokenScope};

/// What a client is told about the tools.
const INSTRUCTIONS: &str = "The tools act on one live phone call, and end with it. The server itself asks the caller before an \
    amount is charged. Card data never passes here: the caller enters it on the keypad, and the payment processor alone gets it. Each \
    tool returns JSON with a message that names the next step; follow it.";

/// A client of a live call.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) calls: CallRegistry,
    /// What its token opens.
    pub(super) scope: TokenScope,
    /// When the request has to be answered.
    pub(super) answer_by: Instant,
}

/// A result, with what its revision adds to it.
#[derive(Serialize)]
struct RevisedResult<T> {
    #[serde(flatten)]
    result: T,
    #[serde(flatten)]
    typed: Option<TypedResult>,
}

/// What each result of a revision without a handshake has.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TypedResult {
    result_type: &'static str,
    #[serde(rename = "_meta")]
    meta: ResultMeta,
}

#[derive(Serialize)]
struct ResultMeta {
    #[serde(rename = "io.modelcontextprotocol/serverInfo")]
    server_info: ServerInfo,
}

/// How long a client may keep a result, and with whom it may share it: not at all. The tools of a call may change at any
/// time.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CacheHints {
    ttl_ms: u32,
    cache_scope: &'static str,
}

const NOT_CACHED: CacheHints = CacheHints { ttl_ms: 0, cache_scope: "private" };

#[derive(Serialize)]
struct ServerInfo {
    name: &'static str,
    version: &'static str,
}

const SERVER_INFO: ServerInfo = ServerInfo { name: env!("CARGO_PKG_NAME"), version: env!("CARGO_PKG_VERSION") };

#[derive(Serialize)]
struct Capabilities {
    tools: ToolsCapability,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ToolsCapability {
    list_changed: bool,
}

const CAPABILITIES: Capabilities = Capabilities { tools: ToolsCapability { list_changed: false } };

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct InitializeResult {
    protocol_version: &'static str,
    capabilities: Capabilities,
    server_info: ServerInfo,
    instructions: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DiscoverResult {
    supported_versions: &'static [&'static str],
    capabilities: Capabilities,
    instructions: &'static str,
    #[serde(flatten)]
    cache_hints: CacheHints,
}

#[derive(Serialize)]
struct EmptyResult {}

#[derive(Serialize)]
struct ListToolsResult<'a> {
    tools: Vec<ListedTool<'a>>,
    #[serde(flatten)]
    cache_hints: Option<CacheHints>,
}

/// A tool: read from the form of the Responses API, written in that of the protocol.
#[derive(Deserialize, Serialize)]
struct ListedTool<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow, default)]
    description: Cow<'a, str>,
    #[serde(borrow, rename(deserialize = "parameters", serialize = "inputSchema"))]
    parameters: &'a RawValue,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CallToolResult<'a> {
    content: [TextContent<'a>; 1],
    is_error: bool,
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "text")]
struct TextContent<'a> {
    text: &'a str,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct InitializeParams {
    protocol_version: String,
}

#[derive(Deserialize)]
struct CallToolParams {
    name: String,
    arguments: Option<Box<RawValue>>,
}

impl Client {
    /// Performs a method and returns its result.
    pub(super) async fn perform(
        &self,
        revision: Revision,
        method: &str,
        params: Option<&RawValue>,
        in_batch: bool,
    ) -> Result<Box<RawValue>, RpcError> {
        match (method, revision) {
            ("initialize", Revision::WithHandshake) if in_batch => {
                Err(RpcError::invalid_request("initialize must not be part of a batch"))
            }
            ("initialize", Revision::WithHandshake) => initialize(params),
            ("ping", Revision::WithHandshake) => Ok(to_json(&EmptyResult {})),
            ("server/discover", Revision::WithoutHandshake) => Ok(revision.to_result(DiscoverResult {
                supported_versions: REVISIONS,
                capabilities: CAPABILITIES,
                instructions: INSTRUCTIONS,
                cache_hints: NOT_CACHED,
            })),
            ("tools/list", _) => self.list_tools(revision).await,
            ("tools/call", _) => self.call_tool(revision, params).await,
            (_, Revision::WithHandshake) => Err(unknown_method()),
            (_, Revision::WithoutHandshake) => Err(unknown_method().with_status(StatusCode::NOT_FOUND)),
        }
    }

    /// Lists the tools that the call has at this moment.
    async fn list_tools(&self, revision: Revision) -> Result<Box<RawValue>, RpcError> {
        let call_is_over = || RpcError::internal("the phone call is over");
        let (answer, tools) = oneshot::channel();
        match self.calls.deliver(&self.scope.call, SessionMessage::ListTools(answer)) {
            DeliveryOutcome::Delivered => {}
            DeliveryOutcome::UnknownCall => return Err(call_is_over()),
            DeliveryOutcome::MailboxFull => return Err(RpcError::internal("the call is busy: try again")),
        }
        let tools = match timeout_at(self.answer_by, tools).await {
            Ok(tools) => tools.map_err(|_| call_is_over())?,
            Err(_) => return Err(RpcError::internal("the call did not answer in time: try again")),
        };
        let tools: Vec<ListedTool<'_>> =
            serde_json::from_str(tools.get()).map_err(|_| RpcError::internal("the tools of the call are invalid"))?;
        let cache_hints = (revision == Revision::WithoutHandshake).then_some(NOT_CACHED);
        Ok(revision.to_result(ListToolsResult { tools, cache_hints }))
    }

    /// Calls a tool and waits for its output. A refusal or failure of the tool is a result, too.
    async fn call_tool(&self, revision: Revision, params: Option<&RawValue>) -> Result<Box<RawValue>, RpcError> {
        let invalid = || RpcError::invalid_params("params must have a name, and may have arguments, an object");
        let params = params.map(RawValue::get).ok_or_else(invalid)?;
        let CallToolParams { name, arguments } = serde_json::from_str(params).map_err(|_| invalid())?;
        let arguments = arguments.as_deref().map_or("{}", RawValue::get);
        if !arguments.starts_with('{') {
            return Err(invalid());
        }
        let call = ToolCall::new(String::new(), None, name, arguments);
        match self.run_tool(call).await {
            ExternalAnswer::UnknownTool => Err(RpcError::invalid_params("the call has no tool of this name")),
            ExternalAnswer::Output(ExternalOutput { json, is_error }) => {
                Ok(revision.to_result(CallToolResult { content: [TextContent { text: json.reveal() }], is_error }))
            }
        }
    }

    async fn run_tool(&self, call: ToolCall) -> ExternalAnswer {
        let refusal = |message| ExternalAnswer::Output(ExternalOutput::refusal(message));
        if Instant::now() >= self.answer_by {
            return refusal("The calls before this one took too long, so this was not done.");
        }
        let (answer, answered) = oneshot::channel();
        let message = SessionMessage::ExternalToolCall(ExternalToolCall::new(call, self.scope.request, answer));
        match self.calls.deliver(&self.scope.call, message) {
            DeliveryOutcome::Delivered => {}
            DeliveryOutcome::UnknownCall => return refusal("The phone call is over, so this was not done."),
            DeliveryOutcome::MailboxFull => return refusal("The call is busy, so this was not done. Call it again."),
        }
        match timeout_at(self.answer_by, answered).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => refusal("The phone call has ended. It is not known whether this was done."),
            Err(_) => refusal("The tool has not answered in time. It is not known whether this was done."),
        }
    }
}

fn initialize(params: Option<&RawValue>) -> Result<Box<RawValue>, RpcError> {
    let invalid = || RpcError::invalid_params("params must have a protocolVersion");
    let params = params.map(RawValue::get).ok_or_else(invalid)?;
    let InitializeParams { protocol_version } = serde_json::from_str(params).map_err(|_| invalid())?;
    Ok(to_json(&InitializeResult {
        protocol_version: negotiate(&protocol_version),
        capabilities: CAPABILITIES,
        server_info: SERVER_INFO,
        instructions: INSTRUCTIONS,
    }))
}

fn unknown_method() -> RpcError {
    RpcError::new(-32601, "the server has no method of this name")
}

impl Revision {
    fn to_result(self, result: impl Serialize) -> Box<RawValue> {
        let typed = match self {
            Self::WithHandshake => None,
            Self::WithoutHandshake => {
                Some(TypedResult { result_type: "complete", meta: ResultMeta { server_info: SERVER_INFO } })
            }
        };
        to_json(&RevisedResult { result, typed })
    }
}

fn to_json(result: &impl Serialize) -> Box<RawValue> {
    to_raw_value(result).expect("structs of text, numbers and JSON always serialise")
}
