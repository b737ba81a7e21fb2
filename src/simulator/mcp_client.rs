//! A client of the server's MCP endpoint. It behaves as agent builders do: a new session for every request.

use std::net::SocketAddr;
use std::time::Duration;

use reqwest::StatusCode;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};

/// How long an answer may take. The server answers within 20 seconds.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The revision of the protocol that it asks for.
const REVISION: &str = "2025-06-18";

/// A client with the token of one call.
#[derive(Debug, Clone)]
pub struct McpClient {
    http: reqwest::Client,
    url: String,
    token: SecretString,
}

/// A tool that the server lists.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct McpTool {
    /// Its name.
    pub name: String,
    /// What it does.
    pub description: String,
    /// The JSON schema of its arguments.
    pub input_schema: Value,
}

/// The output of a tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct McpToolOutput {
    /// The text: JSON.
    pub text: String,
    /// Whether the tool was refused or failed.
    pub is_error: bool,
}

/// Why a request has no result.
#[derive(Debug, thiserror::Error)]
pub enum McpClientError {
    /// The server was not reached, or its answer was cut off.
    #[error("no answer: {0}")]
    NoAnswer(#[from] reqwest::Error),
    /// The server answered with this status.
    #[error("status {0}")]
    Status(StatusCode),
    /// The answer is a JSON-RPC error.
    #[error("error {code}: {message}")]
    Rpc {
        /// Its code.
        code: i64,
        /// Its message.
        message: String,
    },
    /// The answer breaks the protocol.
    #[error("an answer that breaks the protocol: {0}")]
    Malformed(&'static str),
}

impl McpClient {
    /// Creates a client for the server at this address.
    pub fn new(server: SocketAddr, token: SecretString) -> Self {
        let http = reqwest::Client::builder().timeout(TIMEOUT).no_proxy().build();
        Self { http: http.expect("a client without options can be built"), url: format!("http://{server}/mcp"), token }
    }

    /// Lists the tools.
    pub async fn list_tools(&self) -> Result<Vec<McpTool>, McpClientError> {
        let result = self.request("tools/list", &json!({})).await?;
        serde_json::from_value(result["tools"].clone()).map_err(|_| McpClientError::Malformed("the tools"))
    }

    /// Calls a tool and waits for its output.
    pub async fn call_tool(&self, name: &str, arguments: &Value) -> Result<McpToolOutput, McpClientError> {
        let result = self.request("tools/call", &json!({"name": name, "arguments": arguments})).await?;
        match (result["content"].as_array().map(Vec::as_slice), result["isError"].as_bool()) {
            (Some([content]), Some(is_error)) if content["type"] == "text" => {
                let text = content["text"].as_str().ok_or(McpClientError::Malformed("the text of a tool"))?;
                Ok(McpToolOutput { text: text.to_owned(), is_error })
            }
            _ => Err(McpClientError::Malformed("the result of a tool")),
        }
    }

    /// Opens a session and sends one request in it. Returns the result.
    async fn request(&self, method: &str, params: &Value) -> Result<Value, McpClientError> {
        let client = json!({"name": "simulator", "version": "1"});
        let hello = json!({"protocolVersion": REVISION, "capabilities": {}, "clientInfo": client});
        let agreed =
            self.exchange(&json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": hello})).await?;
        if agreed["protocolVersion"] != REVISION || !agreed["capabilities"]["tools"].is_object() {
            return Err(McpClientError::Malformed("the answer to initialize"));
        }
        let notified = self.post(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await?;
        if notified.status() != StatusCode::ACCEPTED {
            return Err(McpClientError::Status(notified.status()));
        }
        self.exchange(&json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})).await
    }

    /// Sends a request and checks that the answer belongs to it. Returns the result.
    async fn exchange(&self, request: &Value) -> Result<Value, McpClientError> {
        let answer = self.post(request).await?;
        if answer.status() != StatusCode::OK {
            return Err(McpClientError::Status(answer.status()));
        }
        let answer: Value = answer.json().await?;
        if answer["jsonrpc"] != "2.0" || answer["id"] != request["id"] {
            return Err(McpClientError::Malformed("an answer to another request"));
        }
        if let Some(error) = answer.get("error") {
            let message = error["message"].as_str().unwrap_or_default().to_owned();
            return Err(McpClientError::Rpc { code: error["code"].as_i64().unwrap_or_default(), message });
        }
        answer.get("result").cloned().ok_or(McpClientError::Malformed("no result"))
    }

    /// Posts a message.
    async fn post(&self, message: &Value) -> reqwest::Result<reqwest::Response> {
        let request = self.http.post(&self.url).bearer_auth(self.token.expose_secret());
        let request = request.header("Accept", "application/json, text/event-stream");
        request.header("MCP-Protocol-Version", REVISION).json(message).send().await
    }
}
