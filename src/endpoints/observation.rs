//! Records the shapes of Twilio's requests and of the answers, and of the frames on its sockets, if the server was started
//! by `observe`.

use std::sync::Arc;

use axum::Extension;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::auth::twilio_signature::SignedWebhook;
use super::outbound_twiml::OUTBOUND_TWIML;
use super::{CONNECT_ACTION, CONNECT_CONVERSATION_RELAY, TWILIO_STATUS_CALLBACK};
use crate::observation::{Direction, ObservedSocket, Recorder, observe_answer, observe_webhook};
use crate::session::{RelaySocket, SocketInput, SocketOutput};
use crate::twilio::PAYMENT_STATUS_CALLBACK;

/// The largest answer to a webhook, in bytes. TwiML is at most 64 kB.
const MAX_ANSWER_BYTES: usize = 1024 * 1024;

/// Records a verified webhook and its answer: nobody but Twilio can fill the file.
pub(super) async fn record_webhook(
    State(recorder): State<Recorder>,
    Extension(signed): Extension<SignedWebhook>,
    request: Request,
    next: Next,
) -> Response {
    let Some(path) = observed_path(request.uri().path()) else { return next.run(request).await };
    let query = request.uri().query().unwrap_or_default();
    let webhook = observe_webhook(path, query, &header_pairs(request.headers()), signed.form.fields());
    recorder.record(recorder.now_ms(), Direction::In, webhook);
    let response = next.run(request).await;
    let (parts, body) = response.into_parts();
    let Ok(body) = to_bytes(body, MAX_ANSWER_BYTES).await else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    recorder.record(recorder.now_ms(), Direction::Out, observe_answer(path, parts.status.as_u16(), &body));
    Response::from_parts(parts, Body::from(body))
}

/// The path of a webhook as it is recorded, without an id.
fn observed_path(path: &str) -> Option<&'static str> {
    let webhooks = [CONNECT_CONVERSATION_RELAY, PAYMENT_STATUS_CALLBACK, CONNECT_ACTION, TWILIO_STATUS_CALLBACK];
    let is_outbound = path.strip_prefix(OUTBOUND_TWIML).is_some_and(|rest| rest.starts_with('/'));
    webhooks.into_iter().find(|webhook| *webhook == path).or_else(|| is_outbound.then_some(OUTBOUND_TWIML))
}

/// Records all frames of a socket.
pub(super) fn observe_socket(socket: RelaySocket, recorder: &Recorder, headers: &HeaderMap) -> RelaySocket {
    let received = Arc::new(recorder.open_socket(&header_pairs(headers)));
    let sent = received.clone();
    socket.observed_by(
        move |input| match input {
            SocketInput::Text(text) => received.received(text),
            SocketInput::Alive => {}
            SocketInput::Invalid | SocketInput::TooLarge => received.received_invalid(),
            SocketInput::Closed(code) => received.closed(Direction::In, *code),
        },
        move |output| record_output(&sent, output),
    )
}

/// Records what the server sends, and returns what is to be sent.
fn record_output(socket: &ObservedSocket, output: SocketOutput) -> Vec<SocketOutput> {
    let config = match &output {
        SocketOutput::Text(text) => socket.sent(text),
        SocketOutput::Ping => None,
        SocketOutput::Close(code, _) => {
            socket.closed(Direction::Out, Some(*code));
            None
        }
    };
    let config = config.map(|config| SocketOutput::Text(config.to_owned()));
    config.into_iter().chain([output]).collect()
}

fn header_pairs(headers: &HeaderMap) -> Vec<(&str, &str)> {
    headers.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?))).collect()
}
