//! The connection to a server of tools: a session by streamable HTTP, in which each message is a POST request.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use tokio::sync::{Mutex, Notify};
use tokio::time::timeout;

use super::ToolServer;
use super::answer::{MAX_ANSWER_BYTES, parse_answer, read_body, request_error, to_json_string};
use super::mcp::{
    ACCEPTED_VERSIONS, CallMeta, CallParams, CallResult, ClientInfo, Empty, Incoming, InitializeParams,
    InitializeResult, LIST_CHANGED, ListParams, ListResult, Outgoing, PROTOCOL_VERSION, SESSION_HEADER, ToolEntry,
    VERSION_HEADER,
};
use crate::call::{BusinessAnswer, BusinessToolError};
use crate::http_client::SignedClient;
use crate::ledger::CallData;
use crate::sse::SseDecoder;

/// The largest response to a call of a tool, in bytes. The answer may stand in it twice, as text and structured.
const MAX_CALL_BYTES: usize = 4 * MAX_ANSWER_BYTES;

/// Time limit for listing the tools of a server.
const LIST_TIMEOUT: Duration = Duration::from_secs(5);

/// The largest page of a list of tools, in bytes, and the maximum number of pages.
const MAX_LIST_BYTES: usize = 256 * 1024;
const MAX_LIST_PAGES: usize = 10;

/// A server of tools, and the session with it.
#[derive(Debug)]
pub struct ToolServerConnection {
    /// What is configured.
    pub server: ToolServer,
    http: Arc<SignedClient>,
    token: Option<SecretString>,
    session: Mutex<Option<Session>>,
    last_id: AtomicU64,
    /// Woken when any server says that its list has changed.
    changes: Arc<Notify>,
}

/// An agreed session.
#[derive(Debug, Clone)]
struct Session {
    /// The headers of every further request.
    headers: HeaderMap,
}

/// Why the tools of a server are not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ToolServerError(#[from] pub(super) RequestError);

/// A request that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum RequestError {
    /// There is no usable response.
    #[error(transparent)]
    Http(#[from] BusinessToolError),
    /// The server does not know the session any more.
    #[error("the server has ended the session")]
    SessionEnded,
    /// The server refused the request.
    #[error("the server answered with the JSON-RPC error {code}")]
    Rpc {
        /// The code.
        code: i64,
        /// The server's own text.
        message: String,
    },
    /// The server wants a revision of the protocol that is not known here.
    #[error("the server wants an unknown revision of the protocol")]
    Version,
}

impl ToolServerConnection {
    pub(super) fn new(
        server: ToolServer,
        http: Arc<SignedClient>,
        token: Option<SecretString>,
        changes: Arc<Notify>,
    ) -> Self {
        Self { server, http, token, session: Mutex::default(), last_id: AtomicU64::new(0), changes }
    }

    /// Lists all tools of the server, within [`LIST_TIMEOUT`].
    pub(super) async fn list_tools_in_time(&self) -> Result<Vec<ToolEntry>, ToolServerError> {
        let listed = timeout(LIST_TIMEOUT, self.list_tools()).await;
        listed.unwrap_or(Err(RequestError::Http(BusinessToolError::TimedOut))).map_err(ToolServerError)
    }

    async fn list_tools(&self) -> Result<Vec<ToolEntry>, RequestError> {
        let (mut tools, mut cursor) = (Vec::new(), None);
        for _ in 0..MAX_LIST_PAGES {
            let params = cursor.take().map(|cursor| ListParams { cursor });
            let page: ListResult = self.request("tools/list", params.as_ref(), MAX_LIST_BYTES).await?;
            tools.extend(page.tools);
            match page.next_cursor {
                Some(next) => cursor = Some(next),
                None => return Ok(tools),
            }
        }
        Err(BusinessToolError::TooLarge.into())
    }

    /// Forgets the session, unless a tool call is just beginning one, for which nobody should wait.
    pub(super) fn try_drop_session(&self) {
        if let Ok(mut session) = self.session.try_lock() {
            session.take();
        }
    }

    /// Forgets the session: the next request begins another one.
    async fn drop_session(&self) {
        self.session.lock().await.take();
    }

    /// Calls a tool. A call is sent again only if the server refused it because it had ended the session.
    pub(super) async fn call_tool(
        &self,
        name: &str,
        call: &CallData,
        arguments: &RawValue,
    ) -> Result<BusinessAnswer, BusinessToolError> {
        let meta = CallMeta {
            call_sid: call.call_sid.as_str(),
            call_reference: call.call_reference.as_ref().map(|reference| reference.reveal().as_str()),
        };
        let params = CallParams { name, arguments, meta };
        let result: CallResult = match self.request("tools/call", Some(&params), MAX_CALL_BYTES).await {
            Ok(result) => result,
            Err(RequestError::Http(error)) => return Err(error),
            Err(RequestError::Rpc { message, .. }) if message.len() > MAX_ANSWER_BYTES => {
                return Err(BusinessToolError::TooLarge);
            }
            Err(RequestError::Rpc { message, .. }) => {
                return Err(BusinessToolError::Refused { text: to_json_string(&message) });
            }
            Err(RequestError::SessionEnded | RequestError::Version) => return Err(BusinessToolError::InvalidAnswer),
        };
        let text = result.structured_content.as_ref().map_or_else(|| result.text(), |data| data.get().to_owned());
        match () {
            () if text.len() > MAX_ANSWER_BYTES => Err(BusinessToolError::TooLarge),
            () if result.is_error => Err(BusinessToolError::Refused { text: parse_answer(&text).data }),
            () => Ok(parse_answer(&text)),
        }
    }

    /// Sends a request within the session, which is begun if there is none, or again if the server has ended it.
    async fn request<P: Serialize, R: DeserializeOwned>(
        &self,
        method: &str,
        params: Option<&P>,
        limit: usize,
    ) -> Result<R, RequestError> {
        let session = self.session().await?;
        let result = match self.send(method, params, &session.headers, limit).await {
            Err(RequestError::SessionEnded) => {
                self.drop_session().await;
                let session = self.session().await?;
                self.send(method, params, &session.headers, limit).await?
            }
            result => result?,
        };
        serde_json::from_str(result.0.get()).map_err(|_| BusinessToolError::InvalidAnswer.into())
    }

    /// Returns the session, and begins one if there is none.
    async fn session(&self) -> Result<Session, RequestError> {
        let mut current = self.session.lock().await;
        if let Some(session) = &*current {
            return Ok(session.clone());
        }
        let params = InitializeParams {
            protocol_version: PROTOCOL_VERSION,
            capabilities: Empty {},
            client_info: ClientInfo { name: env!("CARGO_PKG_NAME"), version: env!("CARGO_PKG_VERSION") },
        };
        let (result, response) = self.send("initialize", Some(&params), &HeaderMap::new(), MAX_LIST_BYTES).await?;
        let result: InitializeResult =
            serde_json::from_str(result.get()).map_err(|_| BusinessToolError::InvalidAnswer)?;
        let version = ACCEPTED_VERSIONS.iter().find(|known| **known == result.protocol_version);
        let version = version.ok_or(RequestError::Version)?;
        let mut headers = HeaderMap::new();
        headers.insert(VERSION_HEADER, HeaderValue::from_static(version));
        if let Some(id) = response.get(SESSION_HEADER) {
            headers.insert(SESSION_HEADER, id.clone());
        }
        let initialized: Outgoing<'_, Empty> =
            Outgoing { jsonrpc: "2.0", id: None, method: "notifications/initialized", params: None };
        let response = self.post(&initialized, &headers).await?;
        check_status(response.status(), false)?;
        let session = Session { headers };
        *current = Some(session.clone());
        Ok(session)
    }

    /// Sends a request. Returns the result and the headers of the response.
    async fn send<P: Serialize>(
        &self,
        method: &str,
        params: Option<&P>,
        headers: &HeaderMap,
        limit: usize,
    ) -> Result<(Box<RawValue>, HeaderMap), RequestError> {
        let id = self.last_id.fetch_add(1, Ordering::Relaxed) + 1;
        let response = self.post(&Outgoing { jsonrpc: "2.0", id: Some(id), method, params }, headers).await?;
        check_status(response.status(), headers.contains_key(SESSION_HEADER))?;
        let headers = response.headers().clone();
        let is_stream = headers
            .get(CONTENT_TYPE)
            .and_then(|kind| kind.to_str().ok())
            .is_some_and(|kind| kind.trim_start().to_ascii_lowercase().starts_with("text/event-stream"));
        let answer = if is_stream {
            self.read_stream(response, id, limit).await?
        } else {
            self.find_response(&read_body(response, limit).await?, id)
        };
        let answer = answer.ok_or(BusinessToolError::InvalidAnswer)?;
        match (answer.result, answer.error) {
            (_, Some(error)) => Err(RequestError::Rpc { code: error.code, message: error.message }),
            (Some(result), None) => Ok((result, headers)),
            (None, None) => Err(BusinessToolError::InvalidAnswer.into()),
        }
    }

    async fn post(&self, message: &impl Serialize, headers: &HeaderMap) -> Result<reqwest::Response, RequestError> {
        let body = serde_json::to_vec(message).expect("strings and valid JSON always serialise");
        if !self.http.has_secrets() && self.token.is_none() {
            // The business could not know who sends it.
            return Err(BusinessToolError::NotSetUp.into());
        }
        let request = self.http.post(&self.server.url, body);
        let request = request.header(ACCEPT, "application/json, text/event-stream").headers(headers.clone());
        let request = match &self.token {
            Some(token) => request.bearer_auth(token.expose_secret()),
            None => request,
        };
        request.send().await.map_err(|error| request_error(&error).into())
    }

    /// Reads a stream of events up to the response with this id.
    async fn read_stream(
        &self,
        mut response: reqwest::Response,
        id: u64,
        limit: usize,
    ) -> Result<Option<Incoming>, RequestError> {
        let (mut decoder, mut received) = (SseDecoder::new(limit), 0);
        loop {
            let chunk = response.chunk().await.map_err(|error| request_error(&error))?;
            if let Some(bytes) = &chunk {
                received += bytes.len();
                decoder.push(bytes);
            }
            if received > 2 * limit {
                return Err(BusinessToolError::TooLarge.into());
            }
            let is_end = chunk.is_none();
            loop {
                let event = if is_end { decoder.finish() } else { decoder.next_event() };
                let Some(event) = event.map_err(|_| BusinessToolError::TooLarge)? else { break };
                if let Some(found) = self.find_response(&event.data, id) {
                    return Ok(Some(found));
                }
            }
            if is_end {
                return Ok(None);
            }
        }
    }

    /// Finds the response with this id in a message or a list of messages, and notes what else is in it.
    fn find_response(&self, text: &str, id: u64) -> Option<Incoming> {
        let one = |text: &str| serde_json::from_str::<Incoming>(text).map(|message| vec![message]);
        let messages: Vec<Incoming> =
            if text.trim_start().starts_with('[') { serde_json::from_str(text) } else { one(text) }.ok()?;
        let mut found = None;
        for message in messages {
            match &message.method {
                Some(method) if method == LIST_CHANGED => {
                    self.changes.notify_one();
                }
                // A request that the server could not read has no id in the response.
                None if message.id.as_ref().is_none_or(|it| it.as_u64() == Some(id)) => found = Some(message),
                _ => {}
            }
        }
        found
    }
}

fn check_status(status: StatusCode, has_session: bool) -> Result<(), RequestError> {
    match status {
        status if status.is_success() => Ok(()),
        StatusCode::NOT_FOUND if has_session => Err(RequestError::SessionEnded),
        status => Err(BusinessToolError::Status(status.as_u16()).into()),
    }
}
