//! A model whose responses are bytes that no honest one sends: too long, endless, or faster than anyone listens.

use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// The bytes of a response: a beginning, a part that is repeated, and an end.
#[derive(Clone, Default)]
pub(crate) struct RawReply {
    pub(crate) begin: String,
    pub(crate) repeated: String,
    pub(crate) times: usize,
    pub(crate) end: String,
}

/// A model that answers each request with the reply to its number, from 1 on. It is stopped on drop.
pub(crate) struct RawModel {
    pub(crate) base_url: String,
    progress: watch::Receiver<Progress>,
    task: AbortHandle,
}

/// What the model has done.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Progress {
    /// The requests that have arrived.
    pub(crate) requests: usize,
    /// The responses that were sent to the end, or that the server has given up.
    pub(crate) ended: usize,
    /// The size of the largest request, in bytes.
    pub(crate) largest_request: usize,
}

impl RawModel {
    pub(crate) async fn start(reply: impl Fn(usize, &str) -> RawReply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}/v1", listener.local_addr().unwrap());
        let (changes, progress) = watch::channel(Progress::default());
        let (changes, reply) = (Arc::new(changes), Arc::new(reply));
        let accepts = async move {
            loop {
                let (connection, _) = listener.accept().await.unwrap();
                let (changes, reply) = (changes.clone(), reply.clone());
                tokio::spawn(async move { answer(connection, &changes, &*reply).await });
            }
        };
        Self { base_url, progress, task: tokio::spawn(accepts).abort_handle() }
    }

    /// Waits until the predicate holds.
    pub(crate) async fn wait_until(&self, is: impl Fn(&Progress) -> bool) -> Progress {
        let mut progress = self.progress.clone();
        let waits = progress.wait_for(|progress| is(progress));
        let found = tokio::time::timeout(std::time::Duration::from_secs(60), waits).await;
        *found.unwrap_or_else(|_| panic!("the model has not come so far: {:?}", self.progress.borrow())).unwrap()
    }
}

impl Drop for RawModel {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Reads one request, and answers it. A warm-up of the prompt cache is refused and not counted.
async fn answer(
    mut connection: TcpStream,
    progress: &watch::Sender<Progress>,
    reply: &(dyn Fn(usize, &str) -> RawReply + Send + Sync),
) {
    let Some(body) = read_request(&mut connection).await else { return };
    if body.contains(r#""stream":false"#) || !body.contains(r#""input""#) {
        let _ = connection.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").await;
        return;
    }
    let mut number = 0;
    progress.send_modify(|progress| {
        progress.requests += 1;
        progress.largest_request = progress.largest_request.max(body.len());
        number = progress.requests;
    });
    let reply = reply(number, &body);
    drop(body);
    let _ = send(&mut connection, &reply).await;
    progress.send_modify(|progress| progress.ended += 1);
}

async fn send(connection: &mut TcpStream, reply: &RawReply) -> std::io::Result<()> {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
    connection.write_all(head.as_bytes()).await?;
    connection.write_all(reply.begin.as_bytes()).await?;
    for _ in 0..reply.times {
        connection.write_all(reply.repeated.as_bytes()).await?;
    }
    connection.write_all(reply.end.as_bytes()).await?;
    connection.shutdown().await
}

async fn read_request(connection: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        if connection.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
        let Some(head) = bytes.windows(4).position(|part| part == b"\r\n\r\n") else { continue };
        let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
        let length: usize = text.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok())?;
        let (so_far, body) = (bytes.len() - head - 4, head + 4);
        bytes.resize(body + length, 0);
        connection.read_exact(&mut bytes[body + so_far..]).await.ok()?;
        return String::from_utf8(bytes.split_off(body)).ok();
    }
}

/// An event of the stream.
pub(crate) fn event(json: &str) -> String {
    format!("data: {json}\n\n")
}

/// The events of a tool call with these arguments.
pub(crate) fn tool_call(number: usize, name: &str, arguments: &str) -> String {
    let item = serde_json::json!({"type": "function_call", "id": format!("fc_{number}"), "status": "completed",
        "call_id": format!("call_{number}"), "name": name, "arguments": arguments});
    let done = serde_json::json!({"type": "response.output_item.done", "output_index": 0, "item": item});
    event(&done.to_string()) + &event(r#"{"type":"response.completed","response":{"status":"completed"}}"#)
}
