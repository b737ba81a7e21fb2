//! Responses over a WebSocket: each request is checked, the requests of a lane are answered one after the other, and every
//! event names its lane. There is no cancellation: a response goes on although its client has lost interest.

use std::collections::HashMap;
use std::pin::pin;

use axum::extract::State;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use futures_util::stream::FuturesUnordered;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{ModelFault, RETRY_AFTER_MS, RefusedRequest, ScriptedOpenAi, error_response};
use crate::simulator::transcript::TranscriptEvent;

/// The maximum size of a message, in bytes.
const MAX_MESSAGE_BYTES: usize = 4 * 1024 * 1024;

/// The maximum length of the identifier of a lane, in bytes.
const MAX_LANE_BYTES: usize = 64;

/// The number of messages and requests that wait.
const QUEUE_SIZE: usize = 64;

/// The code of the error after which a socket takes no requests.
const CONNECTION_LIMIT: &str = "websocket_connection_limit_reached";

/// What a lane sends.
enum Outgoing {
    Event(Value),
    /// The connection breaks.
    Cut,
}

/// A request and its lane.
struct LaneRequest {
    lane: String,
    openai: ScriptedOpenAi,
    body: String,
}

/// Opens a WebSocket, unless the server has none.
pub(super) async fn open_socket(
    State(openai): State<ScriptedOpenAi>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, axum::extract::ws::rejection::WebSocketUpgradeRejection>,
) -> Response {
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        Err(rejection) => {
            openai.record_violation("the request for a WebSocket is not valid");
            return rejection.into_response();
        }
    };
    if !openai.has_key(&headers) {
        openai.record_violation("wrong API key");
        return error_response(401, "invalid_api_key");
    }
    // The real API is asked over HTTP.
    let refusal = openai.shared.behaviour.socket_refusal.or(openai.shared.live.is_some().then_some(426));
    if let Some(status) = refusal {
        let what = format!("refuses a WebSocket with {status}");
        openai.conversation.transcript.record(TranscriptEvent::ModelFailed { what });
        return error_response(status, "upgrade_refused");
    }
    openai.conversation.transcript.record(TranscriptEvent::ModelSocketOpened);
    let upgrade = upgrade.max_message_size(MAX_MESSAGE_BYTES).max_frame_size(MAX_MESSAGE_BYTES);
    upgrade.on_upgrade(move |socket| serve(openai, socket))
}

/// Serves a socket until it is closed by either side. All its responses end with it.
async fn serve(openai: ScriptedOpenAi, mut socket: WebSocket) {
    let (sender, mut outgoing) = mpsc::channel(QUEUE_SIZE);
    let mut lanes = HashMap::<String, mpsc::Sender<LaneRequest>>::new();
    let mut answers = pin!(FuturesUnordered::new());
    let mut is_over_limit = false;
    loop {
        tokio::select! {
            message = socket.recv() => {
                let text = match message {
                    Some(Ok(Message::Text(text))) => text,
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                    Some(Ok(Message::Binary(_))) => {
                        openai.record_violation("a binary message");
                        break;
                    }
                    Some(Ok(Message::Close(_)) | Err(_)) | None => break,
                };
                let request = match read_message(&openai, &text) {
                    Ok(request) => request,
                    Err(what) => {
                        openai.record_violation(what);
                        let close = CloseFrame { code: 1008, reason: "invalid".into() };
                        let _ = socket.send(Message::Close(Some(close))).await;
                        break;
                    }
                };
                if is_over_limit {
                    request.openai.record_violation("it was sent on a socket that has reached its maximum age");
                }
                let lane = lanes.entry(request.lane.clone()).or_insert_with(|| {
                    let (requests, receiver) = mpsc::channel(QUEUE_SIZE);
                    answers.push(serve_lane(receiver, sender.clone()));
                    requests
                });
                if lane.try_send(request).is_err() {
                    openai.record_violation("too many requests wait in one lane");
                }
            }
            Some(message) = outgoing.recv() => match message {
                Outgoing::Event(event) => {
                    is_over_limit |= code_of(&event) == Some(CONNECTION_LIMIT);
                    if socket.send(Message::text(event.to_string())).await.is_err() {
                        break;
                    }
                }
                // Dropped without a close frame.
                Outgoing::Cut => return,
            },
            Some(()) = answers.next() => {}
        }
    }
    let _ = socket.close().await;
}

fn code_of(event: &Value) -> Option<&str> {
    event["error"]["code"].as_str().or_else(|| event["code"].as_str())
}

/// Reads a message: `response.create` with a lane and the body of a request that is not over HTTP.
fn read_message(openai: &ScriptedOpenAi, text: &str) -> Result<LaneRequest, String> {
    let Ok(Value::Object(mut message)) = serde_json::from_str(text) else {
        return Err("a message is not a JSON object".to_owned());
    };
    if message.remove("type") != Some(json!("response.create")) {
        return Err("a message is not response.create".to_owned());
    }
    let lane = match message.remove("stream_id") {
        Some(Value::String(lane)) if (1..=MAX_LANE_BYTES).contains(&lane.len()) => lane,
        _ => return Err("stream_id is missing or not valid".to_owned()),
    };
    for name in ["stream", "background"] {
        if message.contains_key(name) {
            return Err(format!("{name} must not be sent over a WebSocket"));
        }
    }
    // From here on it is checked as one over HTTP.
    message.insert("stream".to_owned(), json!(true));
    let body = Value::Object(message).to_string();
    let openai = openai.for_conversation(&body);
    openai.conversation.transcript.record_evidence("a request to the model", text);
    Ok(LaneRequest { lane, openai, body })
}

/// Answers the requests of a lane one after the other.
async fn serve_lane(mut requests: mpsc::Receiver<LaneRequest>, outgoing: mpsc::Sender<Outgoing>) {
    while let Some(request) = requests.recv().await {
        answer(request, &outgoing).await;
    }
}

async fn answer(LaneRequest { lane, openai, body }: LaneRequest, outgoing: &mpsc::Sender<Outgoing>) {
    let send = async |mut event: Value| {
        event["stream_id"] = json!(lane);
        let _ = outgoing.send(Outgoing::Event(event)).await;
    };
    let (number, asked) = openai.read_request(&body, true);
    let Some(asked) = asked else {
        return send(error_event(RefusedRequest::new(400, "invalid_request_error"), true)).await;
    };
    let (events, fault) = match openai.answer(number, &asked).await {
        Ok(answer) => answer,
        Err((refusal, fault)) => {
            let is_nested = !matches!(fault, Some(ModelFault::Error { is_nested: false, .. }));
            return send(error_event(refusal, is_nested)).await;
        }
    };
    for timed in events {
        openai.pause(timed.pause).await;
        if timed.event["type"] == "response.output_item.done" {
            openai.record_item(&timed.event["item"]);
        }
        send(timed.event).await;
    }
    match fault {
        Some(ModelFault::ConnectionCut(_) | ModelFault::ConnectionLost) => {
            let _ = outgoing.send(Outgoing::Cut).await;
        }
        // The lane is stuck.
        Some(ModelFault::Stall | ModelFault::StreamEndsEarly(_)) => std::future::pending().await,
        _ => {}
    }
}

/// The event of a request that is refused.
fn error_event(RefusedRequest { status, mut error }: RefusedRequest, is_nested: bool) -> Value {
    if !is_nested {
        error["type"] = json!("error");
        return error;
    }
    if status == 429 {
        error["headers"] = json!({"retry-after-ms": RETRY_AFTER_MS});
    }
    json!({"type": "error", "status": status, "error": error})
}
