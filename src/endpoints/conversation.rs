//! `POST /conversation`: a chat in writing with the same agent, in one piece or as it comes.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, stream};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::mpsc::Receiver;
use uuid::Uuid;

use super::json::{Json, Problem};
use super::operator::Operator;
use crate::call::ToolCall;
use crate::redact::Private;
use crate::session::{self, Chats, Message, NoReply, NotSaid, Reply};

/// The body.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Said {
    session_id: Option<String>,
    message: Private<String>,
    #[serde(default)]
    role: Role,
}

/// Who says it.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Role {
    #[default]
    User,
    System,
}

/// The answer, and the data of the event `done`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    session_id: String,
    reply: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<Called>,
}

/// A tool that the model called.
#[derive(Serialize)]
struct Called {
    name: String,
    arguments: Arguments,
}

/// As the model wrote them.
#[derive(Serialize)]
#[serde(untagged)]
enum Arguments {
    Json(Box<RawValue>),
    Broken(String),
}

/// Waits for the whole reply; or, where `Accept` asks for `text/event-stream`, hands out each token as it comes: events
/// `token`, then one `done` or `error`. A client that goes away stops the model.
pub(super) async fn post(
    _: Operator,
    State(context): State<Arc<session::Context>>,
    State(chats): State<Chats>,
    headers: HeaderMap,
    Json(said): Json<Said>,
) -> Result<Response, Problem> {
    if said.message.reveal().trim().is_empty() {
        return Err(Problem::bad("message must not be empty"));
    }
    let message = match said.role {
        Role::User => Message::User(said.message),
        Role::System => Message::System(said.message),
    };
    let id = said.session_id.map(|id| id.parse().map_err(|_| NotSaid::Unknown)).transpose()?;
    let (id, reply) = chats.say(&context, id, message)?;
    if wants_events(&headers) {
        Ok(Sse::new(events(id, reply)).keep_alive(KeepAlive::default()).into_response())
    } else {
        whole(id, reply).await
    }
}

fn wants_events(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted
        .flat_map(|value| value.split(','))
        .any(|kind| kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("text/event-stream"))
}

async fn whole(id: Uuid, mut reply: Receiver<Reply>) -> Result<Response, Problem> {
    while let Some(part) = reply.recv().await {
        match part {
            Reply::Token(_) => {}
            Reply::Done { text, tool_calls } => {
                return Ok(axum::Json(Answer::new(id, text, tool_calls)).into_response());
            }
            Reply::Failed(why) => return Err(why.into()),
        }
    }
    Err(NoReply::Stopped.into())
}

fn events(id: Uuid, reply: Receiver<Reply>) -> impl Stream<Item = Result<Event, Infallible>> {
    stream::unfold(Some(reply), move |reply| async move {
        let mut reply = reply?;
        let (event, more) = match reply.recv().await.unwrap_or(Reply::Failed(NoReply::Stopped)) {
            Reply::Token(token) => (event("token", &Token { token: token.into_inner() }), true),
            Reply::Done { text, tool_calls } => (event("done", &Answer::new(id, text, tool_calls)), false),
            Reply::Failed(why) => (event("error", &Failed { error: why.to_string() }), false),
        };
        Some((Ok(event), more.then_some(reply)))
    })
}

#[derive(Serialize)]
struct Token {
    token: String,
}

#[derive(Serialize)]
struct Failed {
    error: String,
}

fn event(name: &str, data: &impl Serialize) -> Event {
    // JSON holds no line break, which an event could not carry.
    Event::default().event(name).json_data(data).expect("strings always serialise")
}

impl Answer {
    fn new(id: Uuid, reply: Private<String>, tool_calls: Vec<ToolCall>) -> Self {
        let tool_calls = tool_calls.into_iter().map(|call| {
            let arguments = Some(call.arguments.into_string()).filter(|it| !it.is_empty()).unwrap_or("{}".to_owned());
            let broken = arguments.clone();
            let arguments = RawValue::from_string(arguments).map_or(Arguments::Broken(broken), Arguments::Json);
            Called { name: call.name, arguments }
        });
        Self { session_id: id.to_string(), reply: reply.into_inner(), tool_calls: tool_calls.collect() }
    }
}

impl From<NotSaid> for Problem {
    fn from(why: NotSaid) -> Self {
        match why {
            NotSaid::Unknown => Self::new(StatusCode::NOT_FOUND, why),
            NotSaid::Busy => Self::new(StatusCode::CONFLICT, why),
            NotSaid::Full | NotSaid::Draining => Self::unavailable(why),
        }
    }
}

impl From<NoReply> for Problem {
    fn from(why: NoReply) -> Self {
        match why {
            NoReply::Model => Self::new(StatusCode::BAD_GATEWAY, why),
            NoReply::TooLate => Self::new(StatusCode::GATEWAY_TIMEOUT, why),
            NoReply::Stopped | NoReply::Unwanted => Self::unavailable(why),
        }
    }
}
