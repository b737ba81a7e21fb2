//! Connections over real sockets, with a router of their own.

use axum::Extension;
use axum::Router;
use axum::routing::{get, post};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_util::task::AbortOnDropHandle;

use super::*;

struct Server {
    address: SocketAddr,
    connections: Arc<Connections>,
    _accepting: AbortOnDropHandle<()>,
}

impl Server {
    async fn start(total: usize, pending_per_address: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Connections::new(ConnectionLimits { total, pending_per_address }, Arc::default());
        let identify = async |Extension(connection): Extension<ConnectionState>| {
            connection.mark_identified();
            connection.peer().to_string()
        };
        let router = Router::new()
            .route("/identify", get(identify))
            .route("/echo", post(async |body: String| body))
            .route(
                "/work",
                get(async |Extension(connection): Extension<ConnectionState>| {
                    connection.mark_identified();
                    std::future::pending::<()>().await;
                }),
            )
            .route("/hang", get(async || std::future::pending::<()>().await));
        let accepting = tokio::spawn(connections.clone().accept(listener.into(), router));
        Self { address, connections, _accepting: AbortOnDropHandle::new(accepting) }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Opens a connection on which an authenticated request is being worked on.
    async fn connect_working(&self) -> TcpStream {
        let room = || self.connections.room.available_permits();
        let (pending, places) = (self.pending(), room());
        let mut stream = self.connect().await;
        stream.write_all(b"GET /work HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        while room() + 1 != places || self.pending() != pending {
            tokio::task::yield_now().await;
        }
        stream
    }

    /// Opens a connection on which an authenticated request was answered.
    async fn connect_answered(&self) -> TcpStream {
        let mut stream = self.connect().await;
        assert!(ask(&mut stream, "GET /identify HTTP/1.1\r\nhost: a\r\n\r\n").await.contains("127.0.0.1:"));
        stream
    }

    fn pending(&self) -> usize {
        lock(&self.connections.pending).count()
    }

    async fn wait_for_pending(&self, count: usize) {
        while self.pending() != count {
            tokio::task::yield_now().await;
        }
    }
}

/// Sends a text and returns what comes back first; empty if the connection was closed.
async fn ask(stream: &mut TcpStream, text: &str) -> String {
    let _ = stream.write_all(text.as_bytes()).await;
    let mut answer = vec![0; 4096];
    let length = stream.read(&mut answer).await.unwrap_or(0);
    String::from_utf8_lossy(&answer[..length]).into_owned()
}

/// Waits until the server has closed the connection.
async fn wait_for_close(stream: &mut TcpStream) {
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
}

#[tokio::test]
async fn the_connection_that_waited_longest_makes_room() {
    let server = Server::start(3, 3).await;
    let working = server.connect_working().await;
    let mut oldest = server.connect().await;
    server.wait_for_pending(1).await;
    let mut younger = server.connect().await;
    server.wait_for_pending(2).await;
    let _newest = server.connect().await;
    wait_for_close(&mut oldest).await;
    assert!(ask(&mut younger, "GET /identify HTTP/1.1\r\nhost: a\r\n\r\n").await.contains("200 OK"));
    let mut byte = [0];
    assert!(
        working.try_read(&mut byte).is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock),
        "it is open"
    );
}

#[tokio::test]
async fn an_answered_connection_makes_room_like_any_other() {
    let server = Server::start(2, 2).await;
    let mut first = server.connect_answered().await;
    let _second = server.connect_answered().await;
    server.wait_for_pending(2).await;
    assert!(ask(&mut server.connect().await, "GET /identify HTTP/1.1\r\nhost: a\r\n\r\n").await.contains("200 OK"));
    wait_for_close(&mut first).await;
}

#[tokio::test]
async fn without_a_pending_connection_a_new_one_is_refused() {
    let server = Server::start(2, 2).await;
    let (first, _second) = (server.connect_working().await, server.connect_working().await);
    wait_for_close(&mut server.connect().await).await;
    drop(first);
    while server.connections.room.available_permits() == 0 {
        tokio::task::yield_now().await;
    }
    server.connect_answered().await;
}

#[tokio::test]
async fn the_pending_connections_of_an_address_have_a_limit_of_their_own() {
    let server = Server::start(100, 2).await;
    let mut oldest = server.connect().await;
    let _others = (server.connect().await, server.connect().await);
    wait_for_close(&mut oldest).await;
    assert_eq!(server.pending(), 2);
}

#[tokio::test]
async fn half_a_head_is_closed_after_ten_seconds_and_so_is_an_idle_connection() {
    let server = Server::start(10, 10).await;
    let mut idle = server.connect_answered().await;
    let mut half = server.connect().await;
    half.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n").await.unwrap();
    server.wait_for_pending(2).await;
    tokio::time::pause();
    let began = tokio::time::Instant::now();
    tokio::join!(wait_for_close(&mut half), wait_for_close(&mut idle));
    assert!((9..=11).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    assert_eq!(server.connections.room.available_permits(), 10);
}

#[tokio::test]
async fn a_long_head_is_refused() {
    let server = Server::start(10, 10).await;
    let long = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "x".repeat(20_000));
    assert!(ask(&mut server.connect().await, &long).await.contains(" 431 "));
    let many = format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", "x: y\r\n".repeat(200));
    assert!(ask(&mut server.connect().await, &many).await.contains(" 431 "));
}

#[tokio::test]
async fn a_body_larger_than_the_buffer_arrives_whole() {
    let server = Server::start(10, 10).await;
    let body = "x".repeat(60_000);
    let mut stream = server.connect().await;
    let request = format!("POST /echo HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 60000\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with(&body), "{} bytes", answer.len());
}

#[tokio::test]
async fn closing_waits_for_no_peer_and_no_handler() {
    let server = Server::start(10, 10).await;
    let mut idle = server.connect_answered().await;
    let (mut half, mut hangs) = (server.connect().await, server.connect().await);
    half.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    hangs.write_all(b"GET /hang HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    server.wait_for_pending(3).await;
    tokio::time::pause();
    let began = tokio::time::Instant::now();
    server.connections.close(Duration::from_millis(400)).await;
    tokio::join!(wait_for_close(&mut idle), wait_for_close(&mut half), wait_for_close(&mut hangs));
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}

#[test]
fn the_limits_follow_the_descriptors() {
    let total = |configured, descriptors| ConnectionLimits::new(configured, 5, descriptors).total;
    assert_eq!(total(None, Some(1024)), 512);
    assert_eq!(total(None, Some(1_048_576)), 20_000);
    assert_eq!(total(None, None), 20_000);
    assert_eq!(total(Some(100), Some(1024)), 100);
    assert_eq!(total(Some(50_000), Some(1024)), 768);
    assert_eq!(total(Some(50_000), None), 50_000);
    assert_eq!(total(None, Some(0)), 1);
}
