//! `GET /conversation-relay`: the ConversationRelay WebSocket of a call.

use std::future::ready;
use std::sync::Arc;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::http::HeaderMap;
use axum::response::Response;
use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::tungstenite;
use tracing::Instrument;

use super::auth::twilio_signature::SignedUpgrade;
use super::observation::observe_socket;
use crate::connections::ConnectionState;
use crate::observation::Recorder;
use crate::session::{self, RelaySocket, SendFrameError, SocketInput, SocketOutput};

/// The largest frame that is read, in bytes. The call cuts long speech; a frame above this limit costs the socket.
const MAX_FRAME_BYTES: usize = 256 * 1024;

/// The most that a socket sends before its `setup` frame is accepted, in bytes, so that sockets of nobody hold little
/// memory.
const MAX_SETUP_BYTES: usize = 32 * 1024;

/// The size of the read buffer, in bytes. Frames are small, and the default buffers would be most of an idle call's
/// memory. It is also cleared each time that the socket is asked for a frame.
const READ_BUFFER_BYTES: usize = 1024;

/// The largest amount that waits to be written, in bytes: a few frames. The session waits until each is written.
const MAX_WRITE_BUFFER_BYTES: usize = 256 * 1024;

/// Upgrades the connection and serves the call until it ends. The signature of an upgrade is the same for every call, so
/// the connection stays pending until the session has accepted the `setup` frame.
pub(super) async fn get(
    _: SignedUpgrade,
    State(context): State<Arc<session::SessionContext>>,
    Extension(connection): Extension<ConnectionState>,
    State(recorder): State<Option<Recorder>>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    connection.await_setup(MAX_SETUP_BYTES);
    upgrade
        .max_message_size(MAX_FRAME_BYTES)
        .max_frame_size(MAX_FRAME_BYTES)
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(MAX_WRITE_BUFFER_BYTES)
        .on_upgrade(move |socket| {
            let tasks = context.tasks.clone();
            let observed = recorder.map(|recorder| (recorder, headers));
            tasks.track_future(serve_websocket(context, connection, socket, observed)).in_current_span()
        })
}

async fn serve_websocket(
    context: Arc<session::SessionContext>,
    connection: ConnectionState,
    socket: WebSocket,
    observed: Option<(Recorder, HeaderMap)>,
) {
    let frames = socket.map(to_socket_input).sink_map_err(|_| SendFrameError);
    let frames = frames.with(|frame| ready(Ok(to_websocket_message(frame))));
    let mut socket = RelaySocket::new(frames).on_connection(connection);
    if let Some((recorder, headers)) = observed {
        socket = observe_socket(socket, &recorder, &headers);
    }
    session::serve_socket(context, socket).await;
}

/// Converts a WebSocket message. The library answers pings. Any other error than a frame above the limit, of which only the
/// head was read, counts as the end of the socket.
fn to_socket_input(message: Result<Message, axum::Error>) -> SocketInput {
    match message {
        Ok(Message::Text(text)) => SocketInput::Text(text.as_str().to_owned()),
        Ok(Message::Binary(_)) => SocketInput::Invalid,
        Ok(Message::Ping(_) | Message::Pong(_)) => SocketInput::Alive,
        Ok(Message::Close(frame)) => SocketInput::Closed(frame.map(|frame| frame.code)),
        Err(error) => match error.into_inner().downcast_ref() {
            Some(tungstenite::Error::Capacity(_)) => SocketInput::TooLarge,
            _ => SocketInput::Closed(None),
        },
    }
}

fn to_websocket_message(frame: SocketOutput) -> Message {
    match frame {
        SocketOutput::Text(text) => Message::Text(text.into()),
        SocketOutput::Ping => Message::Ping(Bytes::new()),
        SocketOutput::Close(code, reason) => Message::Close(Some(CloseFrame { code, reason: reason.into() })),
    }
}
