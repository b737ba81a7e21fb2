//! Tests of responses over WebSockets against a server over real sockets.

use std::sync::Arc;

use futures_util::{FutureExt as _, SinkExt as _, Stream, StreamExt as _};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use super::*;
use crate::call::{ConversationItem, ModelEvent, ModelRequest, ModelRequestId};
use crate::captured_log::CapturedLog;
use crate::config::ModelTransport;
use crate::llm::model_name::ServerKind;
use crate::llm::{Model, ModelLimits, Profile};

const LIMITS: ModelLimits =
    ModelLimits { first_token: Duration::from_secs(5), response: Duration::from_secs(10), retries: 0 };

/// How long a test waits for what must come.
const WAIT: Duration = Duration::from_secs(10);

/// A server whose connections the test answers one by one.
struct Server {
    listener: TcpListener,
}

/// A connection, by what it begins with.
enum Connection {
    Socket(Box<ServerSocket>),
    /// A request over HTTP: its body, and the stream for the answer.
    Post(String, TcpStream),
}

struct ServerSocket(WebSocketStream<TcpStream>);

impl Server {
    async fn start() -> (Self, Model) {
        Self::start_with(LIMITS).await
    }

    async fn start_with(limits: ModelLimits) -> (Self, Model) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}/v1", listener.local_addr().unwrap()).parse().unwrap();
        let config = OpenAiConfig {
            transport: ModelTransport::WebSocket,
            ..OpenAiConfig::new("sk-1".into(), "gpt-6-luna", base_url)
        };
        (Self { listener }, Model::new_at(ServerKind::OpenAi, &config, &"secret".into(), limits).unwrap())
    }

    /// The next connection, its handshake done.
    async fn accept(&self) -> Connection {
        let accept = async {
            let (stream, _) = self.listener.accept().await.unwrap();
            let mut first = [0];
            stream.peek(&mut first).await.unwrap();
            if first == *b"P" {
                read_post(stream).await
            } else {
                Connection::Socket(ServerSocket::accept(stream).await.into())
            }
        };
        timeout(WAIT, accept).await.expect("a connection comes")
    }

    async fn accept_socket(&self) -> ServerSocket {
        match self.accept().await {
            Connection::Socket(socket) => *socket,
            Connection::Post(..) => panic!("a request over HTTP"),
        }
    }

    /// Answers the next connection, which is a request over HTTP, with these words. Returns its body.
    async fn answer_post(&self, words: &str) -> Value {
        match self.accept().await {
            Connection::Post(body, mut stream) => {
                let event = json!({"type": "response.output_text.delta", "delta": words});
                let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
                let body_out = format!("{head}data: {event}\n\ndata: {{\"type\":\"response.completed\"}}\n\n");
                stream.write_all(body_out.as_bytes()).await.unwrap();
                serde_json::from_str(&body).unwrap()
            }
            Connection::Socket(_) => panic!("a socket"),
        }
    }

    /// Answers the next connection with this status.
    async fn refuse_upgrade(&self, status: &str) {
        let (mut stream, _) = timeout(WAIT, self.listener.accept()).await.unwrap().unwrap();
        let mut head = [0; 4096];
        assert!(stream.read(&mut head).await.unwrap() > 0 && head.starts_with(b"GET "));
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
        stream.write_all(answer.as_bytes()).await.unwrap();
    }
}

async fn read_post(mut stream: TcpStream) -> Connection {
    let mut request = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&request).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length =
                head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
            if body.len() == length.unwrap_or(0_usize) {
                return Connection::Post(body.to_owned(), stream);
            }
        }
        assert!(stream.read_buf(&mut request).await.unwrap() > 0);
    }
}

impl ServerSocket {
    async fn accept(stream: TcpStream) -> Self {
        Self(tokio_tungstenite::accept_async(stream).await.unwrap())
    }

    /// The next request, and its lane.
    async fn read(&mut self) -> (String, Value) {
        loop {
            match timeout(WAIT, self.0.next()).await.expect("a request comes") {
                Some(Ok(Message::Text(text))) => {
                    let request: Value = serde_json::from_str(&text).unwrap();
                    return (request["stream_id"].as_str().unwrap().to_owned(), request);
                }
                Some(Ok(Message::Ping(_))) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    async fn send(&mut self, message: impl Into<Message>) {
        self.0.send(message.into()).await.unwrap();
    }

    /// Sends an event of a lane.
    async fn event(&mut self, lane: &str, mut event: Value) {
        event["stream_id"] = json!(lane);
        self.send(event.to_string()).await;
    }

    async fn created(&mut self, lane: &str) {
        self.event(lane, json!({"type": "response.created", "response": {"id": "resp_1"}})).await;
    }

    async fn say(&mut self, lane: &str, words: &str) {
        self.event(lane, json!({"type": "response.output_text.delta", "delta": words})).await;
    }

    async fn complete(&mut self, lane: &str) {
        self.event(lane, json!({"type": "response.completed", "response": {"id": "resp_1"}})).await;
    }

    async fn answer(&mut self, words: &str) -> Value {
        let (lane, request) = self.read().await;
        self.created(&lane).await;
        self.say(&lane, words).await;
        self.complete(&lane).await;
        request
    }

    /// Waits until the client has closed it.
    async fn wait_for_close(&mut self) {
        let closed = async {
            while let Some(Ok(message)) = self.0.next().await {
                assert!(!message.is_text());
            }
        };
        timeout(WAIT, closed).await.expect("it is closed");
    }
}

fn events(model: &Model, words: &str) -> impl Stream<Item = ModelEvent> + Send + Unpin + 'static + use<> {
    let profile = Arc::new(Profile::new("Be kind.", &[] as &[()]).unwrap());
    let input = vec![Arc::new(ConversationItem::Caller(words.to_owned()))];
    // Without the report on the response.
    let events = model.respond(profile, ModelRequest { id: ModelRequestId(1), input, waited: Duration::ZERO });
    events.filter(|event| std::future::ready(!matches!(event, ModelEvent::Report(_))))
}

fn show(event: ModelEvent) -> String {
    match event {
        ModelEvent::TextDelta(text) => text.into_inner(),
        ModelEvent::Completed => "done".to_owned(),
        ModelEvent::Failed => "failed".to_owned(),
        ModelEvent::InputRefused(refusal) => format!("{refusal:?}"),
        _ => "other".to_owned(),
    }
}

/// The events of a response, in a task of their own.
fn respond(model: &Model, words: &str) -> tokio::task::JoinHandle<String> {
    let events = events(model, words).map(show).collect::<Vec<_>>();
    tokio::spawn(async move { timeout(WAIT, events).await.expect("the response ends").join(" ") })
}

#[tokio::test]
async fn a_response_is_requested_and_read_over_a_socket() {
    let (server, model) = Server::start().await;
    let response = respond(&model, "Hi");
    let mut socket = server.accept_socket().await;
    let request = socket.answer("Hello").await;
    assert_eq!(response.await.unwrap(), "Hello done");
    assert_eq!(
        request.to_string(),
        r#"{"include":["reasoning.encrypted_content"],"input":[{"content":"Hi","role":"user"}],"instructions":"Be kind.","max_output_tokens":400,"model":"gpt-6-luna","prompt_cache_key":"b6646db08bc5551d82c2b52d1bbf9d94","reasoning":{"effort":"none"},"store":false,"stream_id":"lane-1","stream_options":{"include_obfuscation":false},"text":{"verbosity":"low"},"tools":[],"type":"response.create"}"#
    );
    let response = respond(&model, "And?");
    let request = socket.answer("So").await;
    assert_eq!((response.await.unwrap().as_str(), request["stream_id"].as_str()), ("So done", Some("lane-2")));
}

#[tokio::test]
async fn the_handshake_has_the_key_and_no_extension() {
    let (server, model) = Server::start().await;
    let response = respond(&model, "Hi");
    let (mut stream, _) = server.listener.accept().await.unwrap();
    let mut head = vec![0; 4096];
    let length = stream.read(&mut head).await.unwrap();
    let head = String::from_utf8_lossy(&head[..length]).to_lowercase();
    assert!(head.starts_with("get /v1/responses http/1.1\r\n"), "{head}");
    for line in ["authorization: bearer sk-1", "upgrade: websocket", "sec-websocket-version: 13", "user-agent: crelay"]
    {
        assert!(head.contains(line), "{line}: {head}");
    }
    assert!(!head.contains("extensions"));
    // A key that was not derived from the request's.
    let answer = "HTTP/1.1 101 x\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: x\r\n\r\n";
    stream.write_all(answer.as_bytes()).await.unwrap();
    server.answer_post("Hello").await;
    assert_eq!(response.await.unwrap(), "Hello done");
}

#[tokio::test]
async fn calls_share_a_socket_and_each_hears_its_own_answer() {
    let (server, model) = Server::start().await;
    let one = respond(&model, "one");
    let mut socket = server.accept_socket().await;
    let (lane_1, _) = socket.read().await;
    let two = respond(&model, "two");
    let (lane_2, _) = socket.read().await;
    for (lane, words) in [(&lane_2, "2"), (&lane_1, "1"), (&lane_2, "b"), (&lane_1, "a")] {
        socket.say(lane, words).await;
    }
    socket.complete(&lane_2).await;
    assert_eq!(two.await.unwrap(), "2 b done");
    socket.complete(&lane_1).await;
    assert_eq!(one.await.unwrap(), "1 a done");
}

#[tokio::test]
async fn a_dead_lane_is_ignored_and_two_are_replaced_by_a_new_socket() {
    let (server, model) = Server::start().await;
    let mut live = events(&model, "Hi");
    let (first, mut socket) = tokio::join!(live.next(), async {
        let mut socket = server.accept_socket().await;
        let (lane, _) = socket.read().await;
        socket.say(&lane, "Well").await;
        socket
    });
    assert_eq!(show(first.unwrap()), "Well");
    let mut lanes = Vec::new();
    for _ in 0..MAX_DEAD_LANES {
        let mut dropped = events(&model, "Hi");
        let (first, lane) = tokio::join!(dropped.next(), async {
            let (lane, _) = socket.read().await;
            socket.say(&lane, "Never mind").await;
            lane
        });
        assert_eq!(show(first.unwrap()), "Never mind");
        drop(dropped);
        socket.say(&lane, "still talking").await;
        lanes.push(lane);
    }
    let response = respond(&model, "And?");
    let mut second = server.accept_socket().await;
    second.answer("So").await;
    assert_eq!(response.await.unwrap(), "So done");
    // The first one closes once its last response has ended, although two dead ones go on.
    socket.say("lane-1", "then").await;
    socket.complete("lane-1").await;
    assert_eq!(live.map(show).collect::<Vec<_>>().await, ["then", "done"]);
    socket.wait_for_close().await;
    let response = respond(&model, "And?");
    second.answer("So").await;
    assert_eq!(response.await.unwrap(), "So done");
}

#[tokio::test]
async fn a_socket_whose_time_is_up_is_replaced_and_the_request_repeated() {
    for limit in [
        json!({"type": "error", "status": 400, "error": {"code": CONNECTION_LIMIT, "message": "x"}}),
        json!({"type": "error", "code": CONNECTION_LIMIT, "message": "x", "param": null}),
    ] {
        let (server, model) = Server::start().await;
        let response = respond(&model, "Hi");
        let mut socket = server.accept_socket().await;
        let (lane, first) = socket.read().await;
        socket.event(&lane, limit).await;
        let mut second = server.accept_socket().await;
        let again = second.answer("Hello").await;
        assert_eq!(response.await.unwrap(), "Hello done");
        assert_eq!((&first["input"], again.get("previous_response_id")), (&again["input"], None));
        socket.wait_for_close().await;
    }
}

#[tokio::test]
async fn a_request_that_a_server_takes_for_a_continuation_is_repeated() {
    let (server, model) = Server::start().await;
    let response = respond(&model, "Hi");
    let mut socket = server.accept_socket().await;
    let (lane, first) = socket.read().await;
    let error = json!({"code": PREVIOUS_NOT_FOUND, "message": "x", "param": "previous_response_id"});
    socket.event(&lane, json!({"type": "error", "status": 400, "error": error})).await;
    let again = socket.answer("Hello").await;
    assert_eq!(response.await.unwrap(), "Hello done");
    assert_eq!((&first["input"], first.get("previous_response_id")), (&again["input"], None));
}

#[tokio::test]
async fn a_socket_that_breaks_before_the_first_word_is_replaced_by_http_at_once() {
    for is_created in [false, true] {
        let (server, model) = Server::start().await;
        let response = respond(&model, "Hi");
        let mut socket = server.accept_socket().await;
        let (lane, _) = socket.read().await;
        if is_created {
            socket.created(&lane).await;
        }
        drop(socket);
        let request = server.answer_post("Hello").await;
        assert_eq!(request["input"][0]["content"], "Hi");
        assert_eq!(response.await.unwrap(), "Hello done");
        // The next one uses a socket again.
        let response = respond(&model, "And?");
        server.accept_socket().await.answer("So").await;
        assert_eq!(response.await.unwrap(), "So done");
    }
}

#[tokio::test]
async fn what_was_said_is_not_said_twice() {
    let (server, model) = Server::start_with(ModelLimits { retries: 2, ..LIMITS }).await;
    let response = respond(&model, "Hi");
    let mut socket = server.accept_socket().await;
    let (lane, _) = socket.read().await;
    socket.say(&lane, "Hello").await;
    drop(socket);
    assert_eq!(response.await.unwrap(), "Hello failed");
    assert!(server.listener.accept().now_or_never().is_none(), "no other request");
}

#[tokio::test]
async fn http_is_used_for_a_while_after_a_refused_upgrade() {
    for status in ["426 Upgrade Required", "404 Not Found", "200 OK"] {
        let log = CapturedLog::start();
        let (server, model) = Server::start().await;
        for words in ["Hello", "So"] {
            let mut response = events(&model, "Hi");
            let serve = async {
                if words == "Hello" {
                    server.refuse_upgrade(status).await;
                }
                server.answer_post(words).await;
            };
            let (heard, ()) = tokio::join!(response.next(), serve);
            assert_eq!(show(heard.unwrap()), words);
        }
        assert_eq!(log.count_events("WARN", "openai.socket_unavailable"), 1);
        let sockets = model.inner.sockets.as_ref().unwrap();
        assert!(!sockets.needs_socket());
        tokio::time::pause();
        tokio::time::advance(HTTP_INTERVAL).await;
        tokio::time::resume();
        let response = respond(&model, "And?");
        server.accept_socket().await.answer("Yes").await;
        assert_eq!(response.await.unwrap(), "Yes done");
    }
}

#[tokio::test]
async fn a_server_that_does_not_accept_or_answer_in_time_is_asked_over_http() {
    let (server, model) = Server::start_with(ModelLimits { first_token: Duration::from_millis(600), ..LIMITS }).await;
    let response = respond(&model, "Hi");
    let mut socket = server.accept_socket().await;
    let (lane, _) = socket.read().await;
    server.answer_post("Hello").await;
    socket.say(&lane, "too late").await;
    assert_eq!(response.await.unwrap(), "Hello done");
    // Nobody else waits for it.
    let response = respond(&model, "And?");
    server.answer_post("So").await;
    assert_eq!(response.await.unwrap(), "So done");
}

#[tokio::test]
async fn a_refused_field_is_learned_over_a_socket_in_both_forms() {
    let message =
        "Unsupported value: 'reasoning.effort' does not support 'none' with this model. Supported values are: 'low'.";
    for refused in [
        json!({"type": "error", "status": 400, "error": {"message": message, "param": "reasoning.effort"}}),
        json!({"type": "error", "code": "unsupported_value", "message": message, "param": "reasoning.effort"}),
    ] {
        let (server, model) = Server::start().await;
        let response = respond(&model, "Hi");
        let mut socket = server.accept_socket().await;
        let (lane, _) = socket.read().await;
        socket.event(&lane, refused).await;
        assert_eq!(socket.answer("Hello").await["reasoning"]["effort"], "low");
        assert_eq!(response.await.unwrap(), "Hello done");
    }
}

#[tokio::test]
async fn a_busy_model_and_a_refused_input_are_what_they_are_over_http() {
    let busy = json!({"type": "error", "status": 429, "error": {"code": "rate_limit_exceeded", "headers": {"retry-after-ms": "60000"}}});
    let filter = json!({"type": "error", "status": 400, "error": {"code": "content_filter"}});
    for (error, heard) in [(busy, "failed"), (filter, "Content")] {
        let (server, model) = Server::start_with(ModelLimits { retries: 2, ..LIMITS }).await;
        let response = respond(&model, "Hi");
        let mut socket = server.accept_socket().await;
        let (lane, _) = socket.read().await;
        socket.event(&lane, error).await;
        assert_eq!(response.await.unwrap(), heard);
    }
}

#[tokio::test]
async fn a_failed_response_is_repeated_over_http() {
    let (server, model) = Server::start_with(ModelLimits { retries: 1, ..LIMITS }).await;
    let response = respond(&model, "Hi");
    let mut socket = server.accept_socket().await;
    let (lane, _) = socket.read().await;
    socket.created(&lane).await;
    socket.event(&lane, json!({"type": "response.failed", "response": {"error": {"code": "server_error"}}})).await;
    server.answer_post("Hello").await;
    assert_eq!(response.await.unwrap(), "Hello done");
}

#[tokio::test]
async fn a_server_that_refuses_what_only_a_socket_has_is_asked_over_http() {
    let (server, model) = Server::start().await;
    let response = respond(&model, "Hi");
    let mut socket = server.accept_socket().await;
    let (lane, _) = socket.read().await;
    let error =
        json!({"message": "Unknown parameter: 'stream_id'.", "param": "stream_id", "code": "unknown_parameter"});
    socket.event(&lane, json!({"type": "error", "status": 400, "error": error})).await;
    server.answer_post("Hello").await;
    assert_eq!(response.await.unwrap(), "Hello done");
    let response = respond(&model, "And?");
    let request = server.answer_post("So").await;
    assert_eq!(request["reasoning"]["effort"], "none", "no field was blamed");
    assert_eq!(response.await.unwrap(), "So done");
}

#[tokio::test]
async fn events_that_name_no_lane_reach_no_call() {
    let (server, model) = Server::start().await;
    let one = respond(&model, "one");
    let mut socket = server.accept_socket().await;
    socket.read().await;
    socket.send(r#"{"type":"response.output_text.delta","delta":"Whose?"}"#).await;
    server.answer_post("Hello").await;
    assert_eq!(one.await.unwrap(), "Hello done");
    let two = respond(&model, "two");
    server.answer_post("So").await;
    assert_eq!(two.await.unwrap(), "So done");
}

#[tokio::test]
async fn a_request_that_is_too_large_for_a_frame_goes_over_http_and_so_do_larger_ones() {
    let (server, model) = Server::start().await;
    let long = "x".repeat(5000);
    let response = respond(&model, &long);
    let mut socket = server.accept_socket().await;
    socket.read().await;
    let close = CloseFrame { code: TOO_LARGE_CODE.into(), reason: "".into() };
    socket.send(Message::Close(Some(close))).await;
    server.answer_post("Hello").await;
    assert_eq!(response.await.unwrap(), "Hello done");
    let response = respond(&model, "short");
    let mut socket = server.accept_socket().await;
    socket.answer("So").await;
    assert_eq!(response.await.unwrap(), "So done");
    let response = respond(&model, &long);
    server.answer_post("Well").await;
    assert_eq!(response.await.unwrap(), "Well done");
}

const TOO_LARGE_CODE: u16 = 1009;

#[tokio::test]
async fn a_message_that_is_too_large_ends_the_socket() {
    let (server, model) = Server::start().await;
    let response = respond(&model, "Hi");
    let mut socket = server.accept_socket().await;
    socket.read().await;
    // The client stops reading in the middle of it.
    let _ = socket.0.send(Message::text("x".repeat(2 << 20))).await;
    server.answer_post("Hello").await;
    assert_eq!(response.await.unwrap(), "Hello done");
}

#[tokio::test]
async fn a_ping_is_answered() {
    let (server, model) = Server::start().await;
    let response = respond(&model, "Hi");
    let mut socket = server.accept_socket().await;
    let (lane, _) = socket.read().await;
    socket.send(Message::Ping("1".into())).await;
    assert!(matches!(timeout(WAIT, socket.0.next()).await, Ok(Some(Ok(Message::Pong(data)))) if data == "1"));
    socket.say(&lane, "Hello").await;
    socket.complete(&lane).await;
    assert_eq!(response.await.unwrap(), "Hello done");
}

#[tokio::test]
async fn a_socket_is_opened_while_the_call_rings() {
    let (server, model) = Server::start().await;
    model.inner.capabilities.learn_prewarming_refused();
    let profile = Arc::new(Profile::new("Be kind.", &[] as &[()]).unwrap());
    model.prewarm(&profile);
    // The other connection is the one for requests over HTTP.
    let (one, _) = server.listener.accept().await.unwrap();
    let (two, _) = server.listener.accept().await.unwrap();
    let mut sockets = Vec::new();
    for stream in [one, two] {
        let mut first = [0];
        stream.peek(&mut first).await.unwrap();
        if first == *b"G" {
            sockets.push(ServerSocket::accept(stream).await);
        }
    }
    let [socket] = &mut sockets[..] else { panic!("{} sockets", sockets.len()) };
    let response = respond(&model, "Hi");
    socket.answer("Hello").await;
    assert_eq!(response.await.unwrap(), "Hello done");
    assert!(!model.inner.sockets.as_ref().unwrap().needs_socket());
}

#[tokio::test]
async fn an_old_socket_gets_no_new_lanes() {
    let (server, model) = Server::start().await;
    let response = respond(&model, "Hi");
    let mut socket = server.accept_socket().await;
    socket.answer("Hello").await;
    assert_eq!(response.await.unwrap(), "Hello done");
    let sockets = model.inner.sockets.as_ref().unwrap();
    assert!(sockets.state().has_room(Instant::now()));
    assert!(!sockets.state().has_room(Instant::now() + MAX_AGE));
    socket.wait_for_close().await;
}
