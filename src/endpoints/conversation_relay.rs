//! `GET /conversation-relay`: the ConversationRelay WebSocket of a call.

use std::future::ready;
use std::sync::Arc;

use axum::extract::State;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::http::HeaderMap;
use axum::response::Response;
use futures_util::{SinkExt, StreamExt};
use tracing::Instrument;

use super::auth::twilio_signature::SignedUpgrade;
use super::observation::observe_socket;
use crate::observation::Recorder;
use crate::session::{self, RelaySocket, SendFrameError, SocketInput, SocketOutput};

/// The largest frame that is read, in bytes.
const MAX_FRAME_BYTES: usize = 64 * 1024;

/// The size of the read buffer, in bytes. Frames are small, and the default buffers would be most of an idle call's
/// memory.
const READ_BUFFER_BYTES: usize = 4 * 1024;

/// Upgrades the connection and serves the call until it ends.
pub(super) async fn get(
    _: SignedUpgrade,
    State(context): State<Arc<session::SessionContext>>,
    State(recorder): State<Option<Recorder>>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    upgrade
        .max_message_size(MAX_FRAME_BYTES)
        .max_frame_size(MAX_FRAME_BYTES)
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(0)
        .on_upgrade(move |socket| {
            let tasks = context.tasks.clone();
            let observed = recorder.map(|recorder| (recorder, headers));
            tasks.track_future(serve_websocket(context, socket, observed)).in_current_span()
        })
}

async fn serve_websocket(
    context: Arc<session::SessionContext>,
    socket: WebSocket,
    observed: Option<(Recorder, HeaderMap)>,
) {
    let (outgoing, incoming) = socket.split();
    let incoming = incoming.filter_map(|message| ready(to_socket_input(message)));
    let outgoing = outgoing.sink_map_err(|_| SendFrameError).with(|frame| ready(Ok(to_websocket_message(frame))));
    let mut socket = RelaySocket::new(incoming, outgoing);
    if let Some((recorder, headers)) = observed {
        socket = observe_socket(socket, &recorder, &headers);
    }
    session::serve_socket(context, socket).await;
}

/// Converts a WebSocket message. The library answers pings. Any error counts as the end of the socket.
fn to_socket_input(message: Result<Message, axum::Error>) -> Option<SocketInput> {
    match message {
        Ok(Message::Text(text)) => Some(SocketInput::Text(text.as_str().to_owned())),
        Ok(Message::Binary(_)) => Some(SocketInput::Invalid),
        Ok(Message::Ping(_) | Message::Pong(_)) => None,
        Ok(Message::Close(frame)) => Some(SocketInput::Closed(frame.map(|frame| frame.code))),
        Err(_) => Some(SocketInput::Closed(None)),
    }
}

fn to_websocket_message(frame: SocketOutput) -> Message {
    match frame {
        SocketOutput::Text(text) => Message::Text(text.into()),
        SocketOutput::Close(code, reason) => Message::Close(Some(CloseFrame { code, reason: reason.into() })),
    }
}
