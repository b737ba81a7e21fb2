//! `GET /conversation-relay`: the WebSocket of a call.

use std::future::ready;
use std::sync::Arc;

use axum::extract::State;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use futures_util::{SinkExt, StreamExt};
use tracing::Instrument;

use super::signed::SignedUpgrade;
use crate::session::{self, Broken, Line, Received, Sent};

/// The largest frame that is read.
const MAX_FRAME: usize = 64 * 1024;

/// A token frame is small; the default buffers would be most of what an idle call holds.
const READ_BUFFER: usize = 4 * 1024;

/// Opens the socket and serves its call until it has ended.
pub(super) async fn get(
    _: SignedUpgrade,
    State(context): State<Arc<session::Context>>,
    upgrade: WebSocketUpgrade,
) -> Response {
    upgrade
        .max_message_size(MAX_FRAME)
        .max_frame_size(MAX_FRAME)
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(0)
        .on_upgrade(move |socket| {
            let tasks = context.tasks.clone();
            tasks.track_future(converse(context, socket)).in_current_span()
        })
}

async fn converse(context: Arc<session::Context>, socket: WebSocket) {
    let (outgoing, incoming) = socket.split();
    let incoming = incoming.filter_map(|message| ready(received(message)));
    let outgoing = outgoing.sink_map_err(|_| Broken).with(|frame| ready(Ok(message(frame))));
    session::run(context, Line::new(incoming, outgoing)).await;
}

/// Pings are answered by the library. Whatever breaks the socket ends it.
fn received(message: Result<Message, axum::Error>) -> Option<Received> {
    match message {
        Ok(Message::Text(text)) => Some(Received::Text(text.as_str().to_owned())),
        Ok(Message::Binary(_)) => Some(Received::Bad),
        Ok(Message::Ping(_) | Message::Pong(_)) => None,
        Ok(Message::Close(frame)) => Some(Received::Closed(frame.map(|frame| frame.code))),
        Err(_) => Some(Received::Closed(None)),
    }
}

fn message(frame: Sent) -> Message {
    match frame {
        Sent::Text(text) => Message::Text(text.into()),
        Sent::Close(code, reason) => Message::Close(Some(CloseFrame { code, reason: reason.into() })),
    }
}
