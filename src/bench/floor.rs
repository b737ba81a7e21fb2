//! The bare pipe: what a server costs that only moves the model's tokens to the socket, without any logic. It is the
//! measure for everything that the server does beyond that, on any machine.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::Context as _;
use axum::Router;
use axum::extract::State;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use axum::routing::{get, post};
use axum::serve::ListenerExt as _;
use tokio::net::TcpListener;
use tokio::time::Instant;

use super::call::SOCKET_PATH;
use crate::http_client::{self, ClientLease, ClientPool, Target};

/// Begins the data of an event that has a piece of text.
const DELTA: &str = r#""delta":"#;

/// Its type.
const DELTA_TYPE: &str = r#""type":"response.output_text.delta""#;

/// Serves the pipe on this port of 127.0.0.1 until the process is killed. `model` is the base URL of the model.
pub async fn serve_floor(port: u16, model: &str) -> anyhow::Result<()> {
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await?;
    let clients = ClientPool::new(|| http_client::builder(Target::ThisMachine).build())?;
    let pipe = Pipe { clients: Arc::new(clients), url: format!("{model}/responses") };
    let router = Router::new()
        .route("/", get(|| async {}))
        .route("/connectConversationRelay", post(|| async { TWIML }))
        .route(SOCKET_PATH, get(open_socket))
        .with_state(pipe);
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    axum::serve(listener, router).await.context("the bare pipe stopped listening")
}

/// A document of the length of the server's.
const TWIML: &str = concat!(
    r#"<?xml version="1.0" encoding="UTF-8"?><Response><Connect action="https://bench.example.com/connectAction">"#,
    r#"<ConversationRelay url="wss://bench.example.com/conversation-relay" "#,
    r#"welcomeGreeting="Hello, and thank you for calling. This is an automated AI assistant. How can I help you today?"/></Connect></Response>"#
);

#[derive(Debug, Clone)]
struct Pipe {
    clients: Arc<ClientPool>,
    url: String,
}

async fn open_socket(State(pipe): State<Pipe>, upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(async move |mut socket| {
        while let Some(Ok(message)) = socket.recv().await {
            let Message::Text(frame) = message else { continue };
            if frame.contains(r#""type":"prompt""#) && pipe.answer(&frame, &mut socket).await.is_err() {
                return;
            }
        }
    })
}

impl Pipe {
    /// Sends the frame to the model as it is, and each token of the response to the socket.
    async fn answer(&self, frame: &str, socket: &mut WebSocket) -> anyhow::Result<()> {
        let ClientLease { client, stream } = self.clients.lease(Instant::now());
        let request = client.post(&self.url).header("content-type", "application/json").body(frame.to_owned());
        let mut response = request.send().await?.error_for_status()?;
        let mut buffer = Vec::new();
        while let Some(bytes) = response.chunk().await? {
            stream.record_heard();
            buffer.extend_from_slice(&bytes);
            let mut start = 0;
            while let Some(length) = buffer[start..].windows(2).position(|pair| pair == b"\n\n") {
                let event = &buffer[start..start + length];
                start += length + 2;
                if let Some(token) = find_token(event) {
                    let frame = format!(r#"{{"type":"text","token":{token},"last":false}}"#);
                    socket.send(Message::Text(frame.into())).await?;
                }
            }
            buffer.drain(..start);
        }
        socket.send(Message::Text(r#"{"type":"text","token":"","last":true}"#.into())).await?;
        Ok(())
    }
}

/// The JSON string of the token that an event has.
fn find_token(event: &[u8]) -> Option<&str> {
    // The first bytes name the type; the rest of a long event is of no interest.
    let head = std::str::from_utf8(event.get(..event.len().min(512))?).ok()?;
    if !head.contains(DELTA_TYPE) {
        return None;
    }
    let (_, rest) = head.split_once(DELTA)?;
    let text = rest.strip_prefix('"')?;
    let end = text.find('"')?;
    rest.get(..end + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_found_and_nothing_else() {
        let event = br#"event: response.output_text.delta
data: {"content_index":0,"delta":" gladly","item_id":"msg_1","type":"response.output_text.delta"}"#;
        assert_eq!(find_token(event), Some(r#"" gladly""#));
        assert_eq!(find_token(br#"data: {"delta":"{}","type":"response.function_call_arguments.delta"}"#), None);
        assert_eq!(find_token(b""), None);
    }
}
