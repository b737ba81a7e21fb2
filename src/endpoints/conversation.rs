//! `POST /conversation`: a text chat with the same agent. The reply is sent whole or streamed.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, stream};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::mpsc::Receiver;
use tracing::info;
use uuid::Uuid;

use super::auth::operator_token::Operator;
use super::json::{ApiError, JsonBody};
use crate::call::ToolCall;
use crate::redact::Private;
use crate::server_id::ServerId;
use crate::session::{self, ChatMessage, ChatReplyError, Chats, ReplyPart, SendChatMessageError};
use crate::usage_limits::UsageLimit;

/// The request body.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ConversationRequest {
    session_id: Option<String>,
    message: Private<String>,
    #[serde(default)]
    role: Role,
}

/// The sender of a message.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Role {
    #[default]
    User,
    System,
}

/// The response body, and the data of the event `done`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ConversationResponse {
    session_id: String,
    reply: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<ConversationToolCall>,
}

/// A tool that the model called.
#[derive(Serialize)]
struct ConversationToolCall {
    name: String,
    arguments: ToolCallArguments,
}

/// The arguments as the model wrote them: JSON, or the text if it is not valid JSON.
#[derive(Serialize)]
#[serde(untagged)]
enum ToolCallArguments {
    Json(Box<RawValue>),
    Invalid(String),
}

/// The id of a chat. Where several servers share a ledger it names the server that has the chat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ChatId {
    pub(super) server: Option<ServerId>,
    pub(super) chat: Uuid,
}

impl fmt::Display for ChatId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.server {
            Some(server) => write!(f, "{server}-{}", self.chat),
            None => self.chat.fmt(f),
        }
    }
}

impl FromStr for ChatId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        let named = text.split_once('-').and_then(|(server, chat)| Some((server.parse().ok()?, chat)));
        let (server, chat) = named.map_or((None, text), |(server, chat)| (Some(server), chat));
        Ok(Self { server, chat: chat.parse()? })
    }
}

/// Responds with the whole reply, or streams it if `Accept` includes `text/event-stream`: events `token`, then one
/// `done` or `error`. A client that disconnects stops the model.
pub(super) async fn post(
    Operator(operator): Operator,
    State(context): State<Arc<session::SessionContext>>,
    State(chats): State<Chats>,
    headers: HeaderMap,
    JsonBody(request): JsonBody<ConversationRequest>,
) -> Result<Response, ApiError> {
    if request.message.reveal().trim().is_empty() {
        return Err(ApiError::bad_request("message must not be empty"));
    }
    let message = match request.role {
        Role::User => ChatMessage::User(request.message),
        Role::System => ChatMessage::System(request.message),
    };
    let is_new = request.session_id.is_none();
    let id = request.session_id.map(|id| id.parse::<ChatId>().map_err(|_| SendChatMessageError::UnknownSession));
    let (chat, reply) = chats.send(&context, id.transpose()?.map(|id| id.chat), message)?;
    let id = ChatId { server: context.fleet.as_ref().map(|fleet| fleet.id()), chat };
    if is_new {
        info!(event = "operator.chat_opened", chat = %id, %operator, "An operator opened a chat.");
    }
    if accepts_event_stream(&headers) {
        Ok(Sse::new(event_stream(id, reply)).keep_alive(KeepAlive::default()).into_response())
    } else {
        complete_response(id, reply).await
    }
}

fn accepts_event_stream(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted
        .flat_map(|value| value.split(','))
        .any(|kind| kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("text/event-stream"))
}

async fn complete_response(id: ChatId, mut reply: Receiver<ReplyPart>) -> Result<Response, ApiError> {
    while let Some(part) = reply.recv().await {
        match part {
            ReplyPart::Token(_) => {}
            ReplyPart::Done { text, tool_calls } => {
                return Ok(axum::Json(ConversationResponse::new(id, text, tool_calls)).into_response());
            }
            ReplyPart::Failed(error) => return Err(error.into()),
        }
    }
    Err(ChatReplyError::ServerStopping.into())
}

fn event_stream(id: ChatId, reply: Receiver<ReplyPart>) -> impl Stream<Item = Result<Event, Infallible>> {
    stream::unfold(Some(reply), move |reply| async move {
        let mut reply = reply?;
        let (event, more) = match reply.recv().await.unwrap_or(ReplyPart::Failed(ChatReplyError::ServerStopping)) {
            ReplyPart::Token(token) => (sse_event("token", &TokenEvent { token: token.into_inner() }), true),
            ReplyPart::Done { text, tool_calls } => {
                (sse_event("done", &ConversationResponse::new(id, text, tool_calls)), false)
            }
            ReplyPart::Failed(error) => (sse_event("error", &ErrorEvent { error: error.to_string() }), false),
        };
        Some((Ok(event), more.then_some(reply)))
    })
}

#[derive(Serialize)]
struct TokenEvent {
    token: String,
}

#[derive(Serialize)]
struct ErrorEvent {
    error: String,
}

fn sse_event(name: &str, data: &impl Serialize) -> Event {
    // Compact JSON contains no line break, so it fits into the data of one event.
    Event::default().event(name).json_data(data).expect("strings always serialise")
}

impl ConversationResponse {
    fn new(id: ChatId, reply: Private<String>, tool_calls: Vec<ToolCall>) -> Self {
        let tool_calls = tool_calls.into_iter().map(|call| {
            let arguments = Some(call.arguments.into_string()).filter(|it| !it.is_empty()).unwrap_or("{}".to_owned());
            let text = arguments.clone();
            let arguments =
                RawValue::from_string(arguments).map_or(ToolCallArguments::Invalid(text), ToolCallArguments::Json);
            ConversationToolCall { name: call.name, arguments }
        });
        Self { session_id: id.to_string(), reply: reply.into_inner(), tool_calls: tool_calls.collect() }
    }
}

impl From<SendChatMessageError> for ApiError {
    fn from(error: SendChatMessageError) -> Self {
        match error {
            SendChatMessageError::UnknownSession => Self::new(StatusCode::NOT_FOUND, error),
            SendChatMessageError::Busy => Self::new(StatusCode::CONFLICT, error),
            SendChatMessageError::TooManyChats => Self::limit_reached(UsageLimit::Chats, error),
            SendChatMessageError::ServerStopping => Self::unavailable(error),
        }
    }
}

impl From<ChatReplyError> for ApiError {
    fn from(error: ChatReplyError) -> Self {
        match error {
            ChatReplyError::ModelFailed => Self::new(StatusCode::BAD_GATEWAY, error),
            ChatReplyError::TimedOut => Self::new(StatusCode::GATEWAY_TIMEOUT, error),
            ChatReplyError::ServerStopping | ChatReplyError::ClientGone => Self::unavailable(error),
        }
    }
}
