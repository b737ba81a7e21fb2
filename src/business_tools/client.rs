//! The client that runs tools of the business.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use reqwest::header::ACCEPT;
use secrecy::SecretString;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};
use tracing::{info, warn};
use url::Url;

use super::answer::{MAX_ANSWER_BYTES, parse_answer, read_body, request_error};
use super::{BusinessTool, BusinessToolEndpoint, ListedTools, ToolServer, ToolServerConnection, ToolServerError};
use crate::call::{BusinessAnswer, BusinessToolError};
use crate::http_client::SignedClient;
use crate::ledger::CallData;
use crate::redact::RedactedJson;
use crate::signing::SigningSecrets;

/// Runs the tools of the business, and knows those that its servers list.
#[derive(Debug)]
pub struct BusinessToolClient {
    http: Arc<SignedClient>,
    /// The bearer tokens of servers, by name.
    tokens: BTreeMap<String, SecretString>,
    listed: ArcSwap<ListedTools>,
    /// Woken when a server says that its list has changed.
    list_changes: Arc<Notify>,
}

/// A tool call of the model, with the call that it belongs to.
#[derive(Debug)]
pub(crate) struct BusinessToolRequest<'a> {
    pub call: &'a CallData,
    /// JSON text; may be empty or invalid.
    pub arguments: &'a RedactedJson,
}

/// The body of a request to a tool.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RequestBody<'a> {
    call_sid: &'a str,
    call_reference: Option<&'a str>,
    tool: &'a str,
    arguments: &'a RawValue,
}

impl BusinessToolClient {
    /// Creates the client. It fails if the root certificates cannot be loaded.
    pub fn new(
        secrets: Option<SigningSecrets>,
        tokens: BTreeMap<String, SecretString>,
    ) -> Result<Self, reqwest::Error> {
        let http = Arc::new(SignedClient::new(secrets)?);
        Ok(Self { http, tokens, listed: ArcSwap::default(), list_changes: Arc::default() })
    }

    /// The tools that the servers list.
    pub fn listed(&self) -> Arc<ListedTools> {
        self.listed.load_full()
    }

    pub(super) fn set_listed(&self, tools: ListedTools) {
        let tools = tools.with_warnings_of(&self.listed.load());
        self.listed.store(Arc::new(tools));
    }

    /// Waits until a server says that its list has changed.
    pub(super) async fn wait_for_list_change(&self) {
        self.list_changes.notified().await;
    }

    /// Lists the tools of a server once. Returns those that it may offer, and what is wrong with the others.
    pub async fn list_server(&self, server: &ToolServer) -> Result<(ListedTools, Vec<String>), ToolServerError> {
        let connection = Arc::new(self.connect(server.clone()));
        let mut tools = ListedTools::default();
        let warnings = tools.add(&connection, connection.list_tools_in_time().await?);
        Ok((tools, warnings))
    }

    /// Creates the connection to a server. Nothing is sent yet.
    pub(super) fn connect(&self, server: ToolServer) -> ToolServerConnection {
        let token = self.tokens.get(&server.name).cloned();
        ToolServerConnection::new(server, self.http.clone(), token, self.list_changes.clone())
    }

    /// Calls a tool once, within its time limit, and logs how it went. It is never repeated, since the business may have
    /// done what was asked.
    pub(crate) async fn call(
        &self,
        tool: &BusinessTool,
        request: &BusinessToolRequest<'_>,
    ) -> Result<BusinessAnswer, BusinessToolError> {
        let arguments = parse_arguments(request.arguments)?;
        let began = Instant::now();
        let work = async {
            match &tool.endpoint {
                BusinessToolEndpoint::Http(url) => self.call_http(url, tool, request.call, &arguments).await,
                BusinessToolEndpoint::Server(server) => server.call_tool(&tool.name, request.call, &arguments).await,
            }
        };
        let answer = timeout(tool.timeout, work).await.unwrap_or(Err(BusinessToolError::TimedOut));
        let elapsed_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        match &answer {
            Ok(_) => {
                info!(
                    event = "business_tool.answered",
                    tool = tool.name,
                    elapsed_ms,
                    "A tool of the business answered."
                );
            }
            Err(error) => warn!(
                event = "business_tool.failed",
                tool = tool.name,
                elapsed_ms,
                %error,
                "A tool of the business gave no usable answer; the model was told so."
            ),
        }
        answer
    }

    async fn call_http(
        &self,
        url: &Url,
        tool: &BusinessTool,
        call: &CallData,
        arguments: &RawValue,
    ) -> Result<BusinessAnswer, BusinessToolError> {
        let body = RequestBody {
            call_sid: call.call_sid.as_str(),
            call_reference: call.call_reference.as_ref().map(|reference| reference.reveal().as_str()),
            tool: &tool.name,
            arguments,
        };
        let body = serde_json::to_vec(&body).expect("strings and valid JSON always serialise");
        if !self.http.has_secrets() {
            // The business could not know who sends it.
            return Err(BusinessToolError::NotSetUp);
        }
        let request = self.http.post(url, body).header(ACCEPT, "application/json");
        let response = request.send().await.map_err(|error| request_error(&error))?;
        if !response.status().is_success() {
            return Err(BusinessToolError::Status(response.status().as_u16()));
        }
        Ok(parse_answer(&read_body(response, MAX_ANSWER_BYTES).await?))
    }
}

/// Parses the model's arguments: a JSON object, or nothing.
fn parse_arguments(arguments: &RedactedJson) -> Result<Box<RawValue>, BusinessToolError> {
    let text = match arguments.as_str().trim() {
        "" | "null" => "{}",
        text => text,
    };
    let is_object = serde_json::from_str::<Value>(text).is_ok_and(|value| value.is_object());
    let object = is_object.then(|| RawValue::from_string(text.to_owned()).ok()).flatten();
    object.ok_or(BusinessToolError::InvalidArguments)
}
