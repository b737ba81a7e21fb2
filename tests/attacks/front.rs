//! Connections that say nothing, slowly or for ever, and signals. A live call is answered in the midst of each.

mod server_process;

use std::time::Duration;

use crelay_payments::simulator::{ModelReply, QueuedOpenAi, RelayClient, RelayMessage};
use reqwest::StatusCode;
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::server::{SOCKET_URL, Server};
use server_process::ServerProcess;

const HALF_A_HEAD: &str = "POST /payment-status-callback HTTP/1.1\r\nHost: pay.example.com\r\n";
const CALLBACK: [(&str, &str); 3] = [("AccountSid", "AC1"), ("CallSid", "CA9"), ("CallStatus", "in-progress")];

/// A live call whose caller is answered in the midst of an attack, and its server.
struct LiveCall {
    server: Server,
    socket: RelayClient,
    _openai: QueuedOpenAi,
}

impl LiveCall {
    async fn start(vars: &[(&str, &str)]) -> Self {
        let openai = QueuedOpenAi::start(&[ModelReply::text("Hello."), ModelReply::text("Still here.")]).await.unwrap();
        let vars = [vars, &[("OPENAI_BASE_URL", openai.base_url())]].concat();
        let server = Server::start(&vars).await;
        let mut socket = server.connect_call("CA1", &json!({})).await;
        socket.say("Good morning").await.unwrap();
        assert_eq!(socket.wait_for_speech().await.unwrap(), "Hello.");
        Self { server, socket, _openai: openai }
    }

    /// Checks that everything is as it was, and quickly: the call, a callback, a new call and `/health`.
    async fn check(&mut self) {
        let began = Instant::now();
        assert_eq!(self.server.get("/health").await.status(), StatusCode::OK);
        let callback = self.server.post_as_twilio("/twilioStatusCallback", &CALLBACK).await;
        assert_eq!(callback.status(), StatusCode::NO_CONTENT);
        // It is milliseconds on a machine that does nothing else; what waits for half-open requests waits for 10 s.
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        self.socket.say("Are you there?").await.unwrap();
        assert_eq!(self.socket.wait_for_speech().await.unwrap(), "Still here.");
        self.server.connect_call("CA2", &json!({})).await;
    }
}

/// Opens connections and sends this text on each.
async fn open(server: &Server, count: usize, text: &str) -> Vec<TcpStream> {
    let mut opened = Vec::new();
    for _ in 0..count {
        let mut stream = TcpStream::connect(server.address()).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        opened.push(stream);
    }
    opened
}

/// Waits until the server closes the connection. Returns what it sent.
async fn read_to_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut sent = Vec::new();
    let _ = stream.read_to_end(&mut sent).await;
    sent
}

#[tokio::test]
async fn half_open_requests_by_the_hundreds_leave_calls_as_they_are() {
    let mut live = LiveCall::start(&[]).await;
    let _half_open = open(&live.server, 300, HALF_A_HEAD).await;
    live.check().await;
}

#[tokio::test]
async fn half_open_requests_by_the_thousands_leave_calls_as_they_are() {
    let granted = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: granted.maximum, ..granted }).unwrap();
    // Both ends are in this process.
    let descriptors = granted.maximum.unwrap_or(u64::MAX);
    let count = usize::try_from(descriptors / 3).unwrap_or(usize::MAX).min(4_500);
    let mut live = LiveCall::start(&[]).await;
    let _half_open = open(&live.server, count, HALF_A_HEAD).await;
    live.check().await;
}

#[tokio::test]
async fn a_signed_request_that_is_sent_again_on_many_connections_holds_no_places() {
    let mut live = LiveCall::start(&[("MAX_CONNECTIONS", "40")]).await;
    let body = "AccountSid=AC1&CallSid=CA9&CallStatus=in-progress";
    let signature = live.server.signature("https://pay.example.com/twilioStatusCallback", &CALLBACK);
    let request = format!(
        "POST /twilioStatusCallback HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: {}\r\nX-Twilio-Signature: {signature}\r\n\r\n{body}",
        body.len()
    );
    let mut replays = Vec::new();
    for _ in 0..80 {
        let mut stream = TcpStream::connect(live.server.address()).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut start = [0; 12];
        stream.read_exact(&mut start).await.unwrap();
        assert_eq!(start, *b"HTTP/1.1 204");
        replays.push(stream);
    }
    live.check().await;
}

#[tokio::test]
async fn sockets_without_setup_leave_room_for_calls() {
    let mut live = LiveCall::start(&[("MAX_CONNECTIONS", "40"), ("MAX_CONNECTIONS_PER_ADDRESS", "20")]).await;
    // The signature of an upgrade is the same for each call, and so anybody's who has seen one.
    let signature = live.server.signature(SOCKET_URL, &[]);
    let mut silent = Vec::new();
    for _ in 0..80 {
        silent.push(live.server.open_socket(Some(&signature)).await.unwrap());
    }
    live.check().await;
    assert_eq!(silent[0].wait_for_close().await.unwrap().0, 1002, "the oldest has made room");
}

#[tokio::test]
async fn a_socket_of_nobody_holds_64_kib_at_most() {
    let server = Server::start(&[]).await;
    let signature = server.signature(SOCKET_URL, &[]);
    let mut socket = server.open_socket(Some(&signature)).await.unwrap();
    let setup = server.setup_frame("CA1", &json!({"note": "x".repeat(100 * 1024)})).await;
    // The server may close the connection while it is sent.
    let _ = socket.send(&setup).await;
    assert!(!matches!(socket.receive().await, RelayMessage::Text(_)));
    server.wait_for_calls(0).await;
}

#[tokio::test]
async fn the_oldest_of_all_connections_makes_room_when_all_places_are_taken() {
    let mut live = LiveCall::start(&[("MAX_CONNECTIONS", "20"), ("MAX_CONNECTIONS_PER_ADDRESS", "100")]).await;
    let mut half_open = open(&live.server, 60, HALF_A_HEAD).await;
    live.check().await;
    assert_eq!(read_to_end(&mut half_open[0]).await, b"");
}

#[tokio::test]
async fn what_comes_slowly_or_not_at_all_is_closed_in_time() {
    let server = Server::start(&[]).await;
    let signature = server.signature("https://pay.example.com/connectAction", &[("CallSid", "CA1")]);
    let slow_body = format!(
        "POST /connectAction HTTP/1.1\r\nHost: pay.example.com\r\nX-Twilio-Signature: {signature}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 11\r\n\r\n"
    );
    let mut slow_head = open(&server, 1, HALF_A_HEAD).await.remove(0);
    let mut slow_body = open(&server, 1, &slow_body).await.remove(0);
    let mut idle = open(&server, 1, "GET / HTTP/1.1\r\nHost: pay.example.com\r\n\r\n").await.remove(0);
    let mut first = [0; 15];
    idle.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200 OK");

    tokio::time::pause();
    let began = Instant::now();
    let trickle_head = trickle(&mut slow_head, "X-Header: value\r\n");
    let trickle_body = trickle(&mut slow_body, "CallSid=CA");
    tokio::join!(trickle_head, trickle_body, read_to_end(&mut idle));
    tokio::time::resume();
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    let callback = server.post_as_twilio("/twilioStatusCallback", &CALLBACK).await;
    assert_eq!(callback.status(), StatusCode::NO_CONTENT);
}

/// Sends a byte a second until the connection is closed.
async fn trickle(stream: &mut TcpStream, text: &str) {
    let (mut from, mut to) = stream.split();
    let write = async {
        for byte in text.bytes().cycle() {
            if to.write_all(&[byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    let read = async {
        let mut answer = Vec::new();
        let _ = from.read_to_end(&mut answer).await;
    };
    tokio::select! {
        () = write => {}
        () = read => {}
    }
}

#[tokio::test]
async fn a_frozen_peer_of_a_call_is_noticed_after_two_pings() {
    let server = Server::start(&[]).await;
    let signature = server.signature(SOCKET_URL, &[]);
    let mut frozen = TcpStream::connect(server.address()).await.unwrap();
    let upgrade = format!(
        "GET /conversation-relay HTTP/1.1\r\nHost: pay.example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nX-Twilio-Signature: {signature}\r\n\r\n"
    );
    frozen.write_all(upgrade.as_bytes()).await.unwrap();
    let setup = server.setup_frame("CA1", &json!({})).await.to_string();
    let [high, low] = u16::try_from(setup.len()).unwrap().to_be_bytes();
    // A masked text frame with a length of two bytes; the mask is zero.
    frozen.write_all(&[&[0x81, 0x80 | 0x7e, high, low, 0, 0, 0, 0], setup.as_bytes()].concat()).await.unwrap();
    server.wait_for_calls(1).await;

    tokio::time::pause();
    let began = Instant::now();
    let sent = read_to_end(&mut frozen).await;
    let after = began.elapsed().as_secs();
    tokio::time::resume();
    assert!((55..=65).contains(&after), "{after} s");
    let pings = sent.windows(2).filter(|frame| *frame == [0x89, 0]).count();
    assert_eq!(pings, 2, "{sent:?}");
    // The call waits for another socket.
    let mut resumed = server.open_socket(Some(&signature)).await.unwrap();
    resumed.send_text(&setup).await.unwrap();
    server.wait_for_calls(1).await;
}

#[tokio::test]
async fn a_half_open_connection_does_not_hold_up_sigterm() {
    let mut server = ServerProcess::start(&[]).await;
    let mut half_open = server.connect(HALF_A_HEAD).await;
    server.get("/health").await.unwrap();
    let began = Instant::now();
    server.send(Signal::TERM);
    assert_eq!(server.wait_for_exit().await, Some(0), "{}", server.log());
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    assert_eq!(read_to_end(&mut half_open).await, b"");
}

#[tokio::test]
async fn a_payment_that_cannot_be_cancelled_does_not_hold_up_sigterm() {
    let openai = QueuedOpenAi::start(&[
        ModelReply::tool_call("start-capture", r#"{"chargeAmount":"0"}"#),
        ModelReply::text("Ready."),
    ])
    .await
    .unwrap();
    let twilio = HungTwilio::start().await;
    let vars =
        [("OPENAI_BASE_URL", openai.base_url()), ("TWILIO_API_BASE_URL", &twilio.origin), ("DRAIN_SECONDS", "1")];
    let mut server = ServerProcess::start(&vars).await;
    let client = Server::at(server.address);
    let mut socket = client.connect_call("CA1", &json!({})).await;
    socket.say("I want to pay").await.unwrap();
    twilio.wait_for_request().await;
    let _half_open = server.connect(HALF_A_HEAD).await;
    let began = Instant::now();
    server.send(Signal::TERM);
    assert!(server.wait_for_exit().await.is_some(), "{}", server.log());
    assert!(began.elapsed() < Duration::from_millis(6_500), "{:?}", began.elapsed());
}

/// Accepts requests and answers none.
struct HungTwilio {
    origin: String,
    requests: tokio::sync::Mutex<tokio::sync::mpsc::Receiver<TcpStream>>,
}

impl HungTwilio {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let (accepted, requests) = tokio::sync::mpsc::channel(64);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let _ = accepted.send(stream).await;
            }
        });
        Self { origin, requests: requests.into() }
    }

    /// Waits for a request, and keeps its connection open for ever.
    async fn wait_for_request(&self) {
        let stream = self.requests.lock().await.recv().await.unwrap();
        std::mem::forget(stream);
    }
}

#[tokio::test]
async fn signals_that_mean_nothing_are_ignored_and_hup_reloads() {
    let mut server = ServerProcess::start(&[]).await;
    let ignored = [
        Signal::USR1,
        Signal::USR2,
        Signal::QUIT,
        Signal::ALARM,
        Signal::PIPE,
        Signal::VTALARM,
        Signal::XFSZ,
        Signal::TRAP,
    ];
    for signal in ignored {
        server.send(signal);
    }
    server.send_number(40);
    server.send(Signal::HUP);
    server.wait_for_line("event=\"assets.unchanged\"").await;
    server.wait_for_line("signal=\"SIGALRM\"").await;
    assert!(server.get("/health").await.unwrap().contains("200 OK"));
    for signal in ["SIGUSR1", "SIGUSR2", "SIGQUIT"] {
        server.wait_for_line(&format!("signal=\"{signal}\"")).await;
    }
    server.send(Signal::INT);
    assert_eq!(server.wait_for_exit().await, Some(0), "{}", server.log());
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_power_failure_drains_the_server() {
    const SIGPWR: i32 = 30;
    let mut server = ServerProcess::start(&[]).await;
    server.send_number(SIGPWR);
    assert_eq!(server.wait_for_exit().await, Some(0), "{}", server.log());
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn core_dumps_are_off_and_descriptors_are_raised() {
    let server = ServerProcess::start(&[]).await;
    let limits = server.read_proc("limits");
    let limit =
        |name: &str| limits.lines().find(|line| line.starts_with(name)).unwrap().split_whitespace().rev().take(3);
    assert!(limit("Max core file size").skip(1).all(|value| value == "0"), "{limits}");
    let files: Vec<_> = limit("Max open files").skip(1).collect();
    assert_eq!(files[0], files[1], "the soft limit is raised to the hard one: {limits}");
}
